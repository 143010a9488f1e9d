"""The hair of a photo: what is refused, what later edits get, and one whole run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import small
from tests.edits.test_stack import takes
from tests.flow.made_up import a_pack, nodes_of
from vidhair.cache import MemoryStore
from vidhair.edits import Bald, HairColor, HairReference
from vidhair.edits.stack import stacked
from vidhair.errors import InvalidSetting, SourceNotFound
from vidhair.flow import graph
from vidhair.flow.graph import Flow, draws, makers_of
from vidhair.media import open_clip, write_png
from vidhair.recipe import load_recipe
from vidhair.wiring import stage_of


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photo.png"
    write_png(path, small.person()[-1])
    return path


class TestRefusals:
    def refused(self, settings: dict[str, Any]) -> str:
        with pytest.raises((InvalidSetting, SourceNotFound)) as caught:
            Flow(load_recipe("hair_reference", settings), a_pack())
        return str(caught.value)

    def test_no_photo(self, style: Path) -> None:
        assert self.refused({}).startswith("edit.style is empty; give a photo")
        assert "nowhere.jpg" in self.refused({"edit.style": "nowhere.jpg"})
        assert "'mohawk' is no photo" in self.refused({"edit.style": "mohawk"})

    def test_frames_that_are_drawn(self, style: Path) -> None:
        told = self.refused({"edit.style": str(style), "compose.mode": "replace"})
        assert "lays a photo's hair over the frames" in told


def test_a_pack_may_draw_it(style: Path) -> None:
    """As hair_reference_latent does, key for key."""
    settings = {"edit.style": str(style)}
    latent = load_recipe("hair_reference", settings | {"edit.by": "latent"})
    own = load_recipe("hair_reference_latent", settings | {"edit.color": "photo"})
    assert draws(latent)
    flows = [Flow(recipe, small.pack()) for recipe in (latent, own)]
    nodes = [{node.name: node for node in nodes_of(flow)} for flow in flows]
    assert nodes[0].keys() == nodes[1].keys()
    for name in ("hairstyle", "proxy", "edited_codes", "hair_drawn"):
        assert nodes[0][name].settings == nodes[1][name].settings


def test_what_the_photo_shows_is_in_the_keys_and_not_its_name(style: Path, tmp_path: Path) -> None:
    copy, other = tmp_path / "copy.png", tmp_path / "other.png"
    copy.write_bytes(style.read_bytes())
    write_png(other, small.person()[0])
    one, same, different = (
        HairReference(style=str(path)).identity() for path in (style, copy, other)
    )
    assert one == same != different


def in_frames(edits: list[Any], value: str) -> set[str]:
    return set(stage_of(value, stacked(edits, in_frames=True)[value]).values)


class TestStack:
    EDITS = (Bald(), HairReference(style="a.jpg"), HairColor())

    def test_each_takes_frames_and_matte_as_the_former_left_them(self) -> None:
        edits = list(self.EDITS)
        assert {"frames", "bare"} < in_frames(edits, "layer_1")
        assert "shown_1" in in_frames(edits, "worn") and "frames" not in in_frames(edits, "worn")
        assert {"shown", "shown_matte"} < in_frames(edits, "upper_3")
        assert {"shown", "shown_matte", "dye"} <= in_frames(edits, "upper_3") | {"dye"}
        assert "shown_tone" in in_frames(edits, "hair_light")

    def test_what_looks_at_the_face_alone_reads_the_clip(self) -> None:
        """Else a frame would be bared only for the light on its face."""
        for value in ("face_light", "photo_look", "clip_light"):
            names = in_frames(list(self.EDITS), value)
            assert "frames" in names and not {"shown", "shown_1"} & names

    def test_layers_lie_over_each_other(self) -> None:
        edits = list(self.EDITS)
        assert in_frames(edits, "layer_2") == {"frames", "layer_1", "upper_2"}
        assert in_frames(edits, "layer") == {"frames", "layer_2", "upper_3"}
        assert in_frames(edits, "shown") == {"frames", "layer_2"}

    def test_drawn_heads_are_handed_on_by_their_codes_alone(self) -> None:
        assert "hair_tone" in takes([Bald(), HairColor()], "hair_light")

    def test_the_light_on_new_hair_is_told_without_drawing_it(self) -> None:
        """Else every frame would be bared, and the hair put on, once more."""
        own = HairReference(style="a.jpg", color="own")
        for edits, value in ((list(self.EDITS), "hair_light"), ([own, own], "photo_hair")):
            names: set[str] = set()
            todo = [value]
            found = graph.HEAD | stacked(edits, in_frames=True)
            while todo:
                new = stage_of(todo[0], found[todo.pop(0)]).values.keys() & found.keys() - names
                names |= new
                todo += new
            plain = {name.rstrip("_123") for name in names}
            assert "shown_tone" in plain and not {"bare", "worn", "behind"} & plain

    def test_one_dye_after_the_other_is_laid_over_once(self) -> None:
        edits = [HairReference(style="a.jpg"), HairColor(), HairColor()]
        assert in_frames(edits, "layer") == {"frames", "layer_1", "upper_3"}


@pytest.mark.parametrize("name", ["bob", "afro"])
def test_a_hairstyle_by_name_needs_no_photo_and_has_the_persons_color(name: str) -> None:
    recipe = load_recipe("hairstyle", {"edit.style": name})
    (edit,) = recipe.edits
    assert isinstance(edit, HairReference) and not draws(recipe)
    assert makers_of(recipe)["photo_hair"].__name__ == "photo_hair_in_own_color"
    assert edit.identity() != HairReference(style="curly").identity()
    with pytest.raises(InvalidSetting, match=f"edit.style = '{name}' is none; give a photo"):
        HairReference(style=name, by="latent").check(a_pack(), "edit")


def test_of_another_photo_only_what_shows_it_is_made(style: Path, tmp_path: Path) -> None:
    """What is known of the clip is shared, so that many photos can be tried."""
    other, store = tmp_path / "other.png", MemoryStore()
    write_png(other, small.person()[0])
    made = []
    with open_clip(small.clip()) as reader:
        for path in (style, other):
            changes = {"edit.style": str(path), "matte.segmenter": "none"}
            _, runner = small.flow_on(
                store, reader, name="hair_reference", changes=changes, until="photo_look"
            )
            made.append({report.name for report in runner.reports if report.computed})
    first, again = made
    assert {"track", "matte", "labels", "behind", "skull", "face_light"} <= first
    assert again == {"photo_cut", "photo_hair", "photo_fit", "photo_look"}


def test_a_whole_run(style: Path) -> None:
    """Somebody wears their own hair as another frame shows it, dyed: the head stays where it is."""
    recipe = load_recipe("hair_reference", {"edit.style": str(style), "matte.segmenter": "none"})
    assert not draws(recipe)
    changes = {"edit.style": str(style), "matte.segmenter": "none"}
    with open_clip(small.clip()) as reader:
        flow, runner = small.flow_on(
            MemoryStore(), reader, name="hair_reference", changes=changes, until="layer"
        )
        count = reader.clip.frame_count
        source = reader.read(0, count)
        found = flow.value(runner.work, "composed", 0, count).pixels
        matte = flow.value(runner.work, "shown_matte" if "shown_matte" in flow.stages else "worn",
                           0, count)  # fmt: skip
    assert found.shape == source.shape
    assert matte.alpha.max() > 200
    change = np.abs(found.astype(int) - source).mean(-1)
    assert (change > 4).any((1, 2)).any()
    assert (change == 0).mean() > 0.2, "what is far from the head is the source's, bit for bit"
