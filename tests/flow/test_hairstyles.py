"""Whole runs of hairstyles that are drawn, with packs of published designs, tiny."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import small
from tests.flow.made_up import a_pack
from tests.flow.test_official import COMMON, FRAMES, clip
from vidhair.errors import InvalidSetting
from vidhair.flow.edit_video import Result
from vidhair.flow.graph import Flow
from vidhair.recipe import build, load_recipe

pytestmark = pytest.mark.usefixtures("one_thread")

REFERENCE, MASK = "hair_reference_latent", "hair_mask"
# What is drawn is taken as it is: on these generators' pictures no hair comes or goes.
FEW = {"edit.steps": 2, "edit.refine_steps": 1, "edit.frames": 2, "compose.keep": False}
PACKS: dict[str, Any] = {
    "T": small.stylegan3_pack, "R": small.stylegan3_r_pack, "SG2": small.stylegan2_pack,
}  # fmt: skip
RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "T reference": ("T", REFERENCE, {"compose.blend": "smoothed"}),
    "T reference s": ("T", REFERENCE, {"edit.space": "s"}),
    "T reference f": ("T", REFERENCE, {"edit.space": "f", "edit.color": "photo"}),
    "T reference each": ("T", REFERENCE, {"edit.consistency": "frame"}),
    "T mask": ("T", MASK, {}),
    "R reference": ("R", REFERENCE, {"edit.consistency": "fixed", "compose.blend": "frame"}),
    "SG2 reference": ("SG2", REFERENCE, {"compose.blend": "smoothed"}),
    "SG2 mask": ("SG2", MASK, {"edit.space": "s"}),
}


def settings(name: str) -> dict[str, Any]:
    _, recipe, changes = RUNS[name]
    given = {REFERENCE: ("edit.style", small.portrait), MASK: ("edit.mask", small.painted_hair)}
    key, picture = given[recipe]
    return COMMON | FEW | {key: str(picture())} | changes


def edit(name: str, target: Path) -> Result:
    """All runs share a cache."""
    pack, recipe, _ = RUNS[name]
    store = small.folder() / "hairstyles cache"
    changes = settings(name)
    return small.edit(
        target, store, source=clip(), changes=changes, name=recipe, models=PACKS[pack]()
    )


@cache
def finished(name: str) -> Result:
    return edit(name, small.folder() / f"{name}.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
class TestEveryRun:
    def test_it_goes_through(self, name: str) -> None:
        result = finished(name)
        assert {"proxy", "hair_drawn", "edited"} <= {stage.name for stage in result.stages}
        assert (result.frames, result.untouched) == (FRAMES, 0)
        before, after = (small.decoded(path) for path in (clip(), result.path))
        assert after.shape == before.shape
        assert (np.abs(after.astype(int) - before).max(-1) > 12).mean() > 0.02

    def test_a_second_one_takes_everything_from_the_cache(self, name: str, tmp_path: Path) -> None:
        assert not small.computed(edit(name, tmp_path / "again.mp4")), finished(name)


@pytest.mark.slow
def test_what_runs_share_is_made_once() -> None:
    finished("T reference")
    for name in ("T reference s", "T mask"):
        assert not {"tuned", "rendered", "latents"} & set(small.computed(finished(name)))


def test_a_pack_without_a_mapper_or_attributes_cannot_draw_bald() -> None:
    with pytest.raises(InvalidSetting, match="needs a pack with attributes"):
        Flow(load_recipe("bald", {"edit.by": "latent"}), small.stylegan3_pack())


def test_of_edits_beyond_the_codes_there_is_one() -> None:
    one = {"kind": REFERENCE, "style": str(small.portrait()), "space": "s"}
    with pytest.raises(InvalidSetting, match=r"edit\.2.*w\+"):
        Flow(build("two", "", {"edit": [one, one | {"space": "f"}]}), a_pack())
    Flow(build("two", "", {"edit": [one, one | {"space": "w+"}]}), a_pack())
