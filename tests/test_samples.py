"""The shipped clips, and what the flow finds in them against what is true of them."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidhair.cache import MemoryStore
from vidhair.checkpoints.packs import file_sha256
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.geometry import Similarity, similarity_in_box
from vidhair.imaging.color import delta_e_2000, rgb_to_lab
from vidhair.imaging.named_colors import parse_color
from vidhair.media import open_clip
from vidhair.metrics import mean_lab
from vidhair.models.pack import load_pack
from vidhair.recipe import load_recipe
from vidhair.samples import MANIFEST, sample_clips, sample_folder
from vidhair.synthetic.render import LANDMARKS, true_crop

MANIFESTED = json.loads((sample_folder() / MANIFEST).read_text())["clips"]
NAMES = [entry["file"] for entry in MANIFESTED]


@pytest.fixture(params=MANIFESTED, ids=NAMES)
def entry(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_there_are_several_and_the_demo_takes_the_first() -> None:
    assert [path.name for path in sample_clips()] == NAMES and len(NAMES) >= 2


def test_files_are_those_of_the_manifest(entry: dict[str, Any]) -> None:
    for name, digest in entry["sha256"].items():
        assert file_sha256(sample_folder() / name) == digest


def test_twins_have_the_same_frames_and_sound_that_goes_into_an_mp4_as_it_is(
    entry: dict[str, Any],
) -> None:
    with open_clip(sample_folder() / entry["file"]) as reader:
        clip = reader.clip
    assert 4 <= clip.frame_count / float(clip.frame_rate or 0) <= 6
    assert [sound.codec for sound in clip.sound] == ["aac"]
    for twin in entry["twins"].values():
        with open_clip(sample_folder() / twin) as reader:
            np.testing.assert_array_equal(reader.clip.seconds_T, clip.seconds_T)
            assert reader.clip.sound == clip.sound


def test_twins_differ_in_the_hair_alone(entry: dict[str, Any]) -> None:
    truth = np.load(sample_folder() / entry["truth"])
    middle = len(truth["hair"]) // 2
    hair = truth["hair"][middle] > 128
    with open_clip(sample_folder() / entry["file"]) as reader:
        source = reader.read(middle, middle + 1)[0].astype(int)
    for name, twin in entry["twins"].items():
        with open_clip(sample_folder() / twin) as reader:
            change = np.abs(reader.read(middle, middle + 1)[0].astype(int) - source).mean(-1)
        bare = truth["hair"][middle] == 0
        assert change[hair].mean() > 15 > 4 * change[bare].mean(), name


def test_hair_of_a_twin_shows_the_color_of_its_name(entry: dict[str, Any]) -> None:
    hair = np.load(sample_folder() / entry["truth"])["hair"][::20] > 128
    for name, twin in entry["twins"].items():
        with open_clip(sample_folder() / twin) as reader:
            frames = np.concatenate([reader.read(i, i + 1) for i in range(0, 20 * len(hair), 20)])
        shown = torch.from_numpy(mean_lab(frames, hair.astype(np.float32)))
        wanted = rgb_to_lab(torch.tensor(parse_color(name))[None])[0]
        assert delta_e_2000(shown, wanted, dim=0) < 4, name


def errors(found: Similarity, true: Similarity) -> NDArray[Any]:
    """[T, 3]: rotation in degrees, then the translation in shares of the crop."""
    turn = found.angle_deg - true.angle_deg
    return np.stack([turn, found.tx - true.tx, found.ty - true.ty], 1)


def rms(values: NDArray[Any]) -> tuple[float, float]:
    """Of the rotation, and of the translation."""
    squares = np.square(values).mean(0)
    return float(np.sqrt(squares[0])), float(np.sqrt(squares[1:].sum()))


def test_tracking_is_near_the_truth_and_smoothing_steadies_it(entry: dict[str, Any]) -> None:
    path = sample_folder() / entry["file"]
    pack = load_pack()
    with open_clip(path) as reader, torch.inference_mode():
        flow = Flow(load_recipe("reconstruct"), pack)
        runner = Runner(MemoryStore(), reader)
        runner.run(flow.nodes())
        nodes = flow.fanned_nodes(runner.work)
        runner.run(nodes[: [node.name for node in nodes].index("pivots") + 1])
        count = reader.clip.frame_count
        track = flow.value(runner.work, "track", 0, count)
        steady = flow.value(runner.work, "pivots", 0, count).similarity
    assert track.present.all() and track.detected.all()
    points = torch.from_numpy(np.load(sample_folder() / entry["truth"])["landmarks"])
    assert points.shape[1] == len(LANDMARKS)
    true = similarity_in_box(true_crop(points), track.box)
    raw, smooth = errors(track.similarity, true), errors(steady, true)
    assert rms(smooth)[0] <= 1.5 and rms(smooth)[1] <= 0.015
    assert rms(smooth)[0] < rms(raw)[0] and rms(smooth)[1] < rms(raw)[1]
    jitter = [rms(np.diff(e, axis=0)) for e in (raw, smooth)]
    assert jitter[1][0] < 0.5 * jitter[0][0] and jitter[1][1] < jitter[0][1]
