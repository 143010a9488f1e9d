"""Strength over time: by the frames' own times, from the first frame on."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests import small
from tests.stages.faces import clip_of
from vidhair.cache import DiskStore
from vidhair.edits import (
    EDITS,
    Attribute,
    Bald,
    Direction,
    FaceAttribute,
    HairColor,
    HairLength,
    Mix,
)
from vidhair.edits.edit import GradedEdit
from vidhair.media import open_clip
from vidhair.settings import Curve

# At 5.0, 5.1, 5.3, 6.0 and 7.5 seconds of the file: frames are not evenly spaced.
CLIP = replace(
    clip_of(8, 8, range(5)), pts=np.array([50, 51, 53, 60, 75]), end_pts=80,
    time_base=Fraction(1, 10),
)  # fmt: skip
RAMP = Curve([(0.1, 0.0), (1.1, 1.0)])


@pytest.mark.parametrize(
    "edit",
    [
        Bald(strength=RAMP),
        Attribute(strength=RAMP),
        Direction(strength=RAMP),
        Mix(strength=RAMP),
        HairColor(strength=RAMP),
        HairLength(amount=RAMP),
        FaceAttribute(strength=RAMP),
    ],
)
def test_every_degree_follows_its_curve(edit: GradedEdit) -> None:
    values = edit.over_time(CLIP).values
    np.testing.assert_allclose(values, [0, 0, 0.2, 0.9, 1], atol=1e-6)
    assert values.dtype == np.float32
    assert edit.makers()["strength"] == edit.over_time


def test_all_kinds_that_have_degrees_are_tried_above() -> None:
    graded = {kind for kind, cls in EDITS.items() if issubclass(cls, GradedEdit)}
    assert graded == set(EDITS) - {
        "reconstruct", "hair_reference", "toonify", "toonify_network", "restore",
        "sketch_to_face", "mask_to_face", "invert_frame",
    }  # fmt: skip


@pytest.mark.parametrize("steady", [[(0.0, 0.3)], [(0.2, 0.3), (1.0, 0.3)]])
def test_a_curve_that_never_changes_is_its_number(steady: list[tuple[float, float]]) -> None:
    plain, curve = (Bald(strength=s).over_time(CLIP).values for s in (0.3, Curve(steady)))
    assert plain.tolist() == curve.tolist() == [np.float32(0.3)] * 5


RECIPE = """
[[edit]]
kind = "attribute"
name = "smile"
[[edit]]
kind = "hair_color_latent"
color = "blonde"
strength = STRENGTH
"""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_color_grows_on_what_former_edits_left(tmp_path: Path) -> None:
    """Half a second on, it is as if its strength had been one all along."""
    store = DiskStore(small.finished().copy(tmp_path / "cache"))
    frames, pictures = [], []
    for name, strength in {"plain": "1.0", "rising": "[[0.0, 0.0], [0.5, 1.0]]"}.items():
        path = tmp_path / f"{name}.toml"
        path.write_text(RECIPE.replace("STRENGTH", strength))
        with open_clip(small.clip()) as reader:
            flow, runner = small.flow_on(store, reader, name=str(path))
            work, count = runner.work, small.FRAMES
            late = reader.clip.seconds_T >= 0.5
            frames.append(flow.pictures(work, 0, count)[0])
            pictures.append(work.per_frame("edited", 0, count)["levels"])
            source = work.frames(0, count)
    (plain, rising), (whole, growing) = frames, pictures
    assert late.sum() > 3 and np.array_equal(growing[late], whole[late])
    assert np.array_equal(rising[late], plain[late])
    assert np.abs(rising[0].astype(int) - source[0]).max() <= 1
    change = np.abs(rising.astype(float) - source).mean((1, 2, 3))
    assert change[0] < change[2] < change[4] < change[-1]
