"""A run that moves the face's own pixels, with a pack that tells nothing of its attributes."""

import numpy as np
import pytest

from tests import small
from vidhair.cache import DiskStore
from vidhair.edits import Attribute, Bald
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow, mode_of
from vidhair.media import open_clip
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.recipe import load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")


def test_attributes_of_parts_of_the_face_are_moved() -> None:
    for name, moves in {
        "smile": True, "brow_raise": True, "Narrow_Eyes": True, "hair_length": False,
        "brow_colour.r": False, "age": False, "yaw": False,
    }.items():  # fmt: skip
        assert Attribute(name=name).moves_face is moves, name
    assert not Bald().moves_face


@pytest.mark.parametrize(
    ("recipe", "changes", "mode"),
    [
        ("smile", {}, "difference"),
        ("attribute", {}, "difference"),
        ("attribute", {"edit.name": "hair_wave"}, "replace"),
        ("smile", {"compose.mode": "replace"}, "replace"),
        ("bald", {"compose.mode": "auto"}, "replace"),
        ("hair_color", {}, "residual"),
    ],
)
def test_how_an_edit_enters_the_frame(recipe: str, changes: dict[str, str], mode: str) -> None:
    assert mode_of(load_recipe(recipe, changes)) == mode


def test_what_cannot_be_moved_is_refused() -> None:
    recipe = load_recipe("bald", {"compose.mode": "difference"})
    with pytest.raises(InvalidSetting, match="kind = 'bald' needs more than to move the face"):
        Flow(recipe, small.pack())


def test_stacked_edits_add_their_motion() -> None:
    recipe = load_recipe("smile")
    twice = recipe.__class__(**(vars(recipe) | {"edits": recipe.edits * 2}))
    flow = Flow(twice, small.stylegan2_pack())
    assert {"face_effect_1", "face_effect", "face_motion_1", "face_motion"} <= set(flow.stages)
    assert "face_motion_1" in flow.stages["face_motion"].values


@pytest.mark.slow
def test_a_smile_goes_through_without_a_drawing() -> None:
    store, changes = DiskStore(small.folder() / "smiles"), {"edit.strength": 5.0}
    with open_clip(small.clip()) as reader:
        flow, runner = small.flow_on(
            store, reader, changes=changes, name="smile", models=small.stylegan2_pack()
        )
        assert flow.stages.keys().isdisjoint({"latents", "tuned", "rendered", "edited", "matte"})
        notes = flow.notes(runner.work)
        assert "compose.mode is difference, as the edit asks for" in notes
        assert any("no face is found in what the pack draws" in note for note in notes)
        frames = runner.work.frames(0, 4)
        composed, _ = flow.pictures(runner.work, 0, 4)
        track = flow.value(runner.work, "track", 0, 4)
    differs = (composed != frames).any(-1)
    assert differs.any((1, 2)).all(), "every frame shows the face, and is changed"
    for changed, mesh in zip(differs, track.mesh, strict=True):
        oval = mesh[list(FACE_OVAL)]
        low, high = oval.min(0), oval.max(0)
        y, x = changed.nonzero()
        margin = 0.2 * (high - low)
        assert (np.array([x.min(), y.min()]) > low - margin).all()
        assert (np.array([x.max(), y.max()]) < high + margin).all()
