"""The thirty clips of hair of strands, and what is written of one."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.synthetic.few import thinned
from tests.synthetic.measure import measure
from vidhair import samples
from vidhair.cli import main
from vidhair.media import open_clip
from vidhair.samples import write_strand_clip
from vidhair.synthetic.strand_clips import GROUPS, StrandScene, backdrop, strand_clips
from vidhair.synthetic.strands import BEARD_STYLES, STRAND_STYLES

pytestmark = pytest.mark.usefixtures("one_thread")

CLIPS = strand_clips()


@pytest.fixture
def few_strands(monkeypatch: pytest.MonkeyPatch) -> None:
    for styles in (STRAND_STYLES, BEARD_STYLES):
        thin = {name: thinned(style, 0.04) for name, style in styles.items()}
        for name, style in thin.items():
            monkeypatch.setitem(styles, name, style)


def small(name: Any) -> Any:
    clip = next(clip for clip in CLIPS if clip.name == name)
    return replace(clip, size=(48, 48), frames=2)


def test_six_of_each_group_and_no_two_alike() -> None:
    assert Counter(clip.group for clip in CLIPS) == dict.fromkeys(GROUPS, 6)
    assert len({clip.name for clip in CLIPS}) == len({clip.seed for clip in CLIPS}) == 30
    for clip in CLIPS:
        assert 8 <= clip.frames <= 12 and 384 <= min(clip.size) <= max(clip.size) <= 512
        assert (clip.beard is not None) >= (clip.group == "beards")
        assert (clip.occluder is not None) == (clip.group == "occluders")
        assert (clip.group != "to_blonde") or list(clip.dyes) == ["blonde"]


def test_light_goes_from_the_first_gains_to_the_last(few_strands: Any) -> None:
    scene = StrandScene(replace(small("to_blonde_5"), style="buzz", frames=11))
    first, last = scene.clip.light
    np.testing.assert_allclose(scene.light(0), first, rtol=1e-6)
    np.testing.assert_allclose(scene.light(10), last, rtol=1e-6)
    np.testing.assert_allclose(scene.light(5), np.add(first, last) / 2, rtol=1e-6)


def test_a_clip_is_written_with_its_truth(tmp_path: Path, few_strands: Any) -> None:
    clip = small("fades_2")
    target = write_strand_clip(clip, tmp_path)
    with open_clip(target) as reader:
        assert (reader.clip.frame_count, reader.clip.width, reader.clip.height) == (2, 48, 48)
        encoded = reader.read(0, 2)
    truth = dict(np.load(tmp_path / "fades_2.truth.npz"))
    assert np.abs(encoded.astype(int) - truth["frames"]).mean() < 4
    assert truth["alpha"].shape == truth["beard"].shape == (2, 48, 48)
    assert truth["alpha"].max() > 250 and truth["beard"].max() > 20
    assert truth["twins"].shape == (1, 2, 48, 48, 3)
    assert list(truth["twin_names"]) == list(clip.dyes)
    scores = measure(truth, truth["alpha"] / 255, truth["twins"][0])
    assert scores.alpha_error < 1e-6 and (scores.delta_e, scores.contrast) == (0, 1)
    assert scores.leakage_db > 55  # alphas below half a level count as none


@pytest.mark.slow
def test_the_command_renders_a_group_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [replace(small(name), style="buzz", frames=1) for name in ("fades_4", "long_1")]
    monkeypatch.setattr(samples, "strand_clips", lambda: tiny)
    assert main(["synth", "--scene", "fades", "-o", str(tmp_path / "made")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "made")
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {"fades_4.mp4", "fades_4.truth.npz"}


def test_backdrops_are_soft_and_differ() -> None:
    one, other = backdrop(1, 64, 48), backdrop(2, 64, 48)
    assert one.shape == (48, 64, 3) and 0 <= one.min() <= one.max() <= 1
    assert np.abs(one - other).mean() > 0.02
    np.testing.assert_array_equal(one, backdrop(1, 64, 48))
