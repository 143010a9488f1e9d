"""Edits one after the other: who takes what from whom."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.edits.codes import COUNT, LAYERS, RAMP, SPACE, TRACK, D, steady, styles
from tests.flow.made_up import a_pack, nodes_of
from tests.stages.series import InMemory
from vidhair.cache import MemoryStore, fingerprint
from vidhair.edits import Attribute, Bald, Edit, HairColor, HairLength, Reconstruct
from vidhair.edits.stack import stacked
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.recipe import Recipe, build
from vidhair.stages.render import Codes
from vidhair.wiring import stage_of


def takes(edits: Sequence[Edit], value: str) -> set[str]:
    return set(stage_of(value, stacked(edits)[value]).values)


def test_one_edit_has_plain_names() -> None:
    for edit in (HairColor(), HairLength(), Bald(), Attribute(), Reconstruct()):
        assert set(stacked([edit])) == set(edit.makers())
    assert takes([HairColor()], "edited_codes") == {
        "codes", "track", "former_change", "code_change", "strength",
    }  # fmt: skip


def test_each_takes_the_codes_that_the_former_left() -> None:
    edits = [Bald(), Attribute(), HairColor(), HairColor()]
    assert "codes" in takes(edits, "edited_codes_1")
    for value, former in {
        "edited_codes_2": "edited_codes_1",
        "edited_codes_3": "edited_codes_2",
        "code_change_3": "edited_codes_2",
        "edited_codes": "edited_codes_3",
        "code_change": "edited_codes_3",
    }.items():
        names = takes(edits, value)
        assert former in names and "codes" not in names
    assert {"strength_1"} < takes(edits, "edited_codes_1")
    assert {"strength", "code_change", "hair_change_3"} < takes(edits, "edited_codes")
    assert {"strength_3", "target_color_3", "former_change"} < takes(edits, "code_change_3")
    assert {"hair_change_3", "code_change", "strength"} == takes(edits, "hair_change")


def test_a_value_of_one_edit_keeps_its_name_wherever_that_stands() -> None:
    for edits in ([HairColor(), Attribute()], [Attribute(), HairColor()]):
        assert {"target_color", "code_change", "hair_change"} <= set(stacked(edits))
    assert "codes" in takes([HairColor(), Attribute()], "code_change")
    assert "edited_codes_1" in takes([HairColor(), Attribute()], "edited_codes")


def test_no_edit_in_between_hands_on_what_it_got() -> None:
    edits = [Attribute(), Reconstruct(), HairLength()]
    assert takes(edits, "edited_codes") == {"edited_codes_1", "track", "strength"}


def test_two_of_a_kind_act_each_by_its_own_settings() -> None:
    found = stacked([Attribute(name="smile"), Attribute(name="hair_wave")])
    given: Any = {"track": TRACK, "space": SPACE}
    first = found["edited_codes_1"](codes=Codes(styles()), strength_1=steady(0.5), **given)
    last = found["edited_codes"](edited_codes_1=first, strength=RAMP, **given)
    want = np.zeros((COUNT, LAYERS, D), np.float32)
    want[..., SPACE.names.index("smile")] = 0.5
    want[..., SPACE.names.index("hair_wave")] = RAMP.values[:, None]
    want[~TRACK.present] = 0
    np.testing.assert_allclose(last.styles - styles(), want, atol=1e-6)


def test_the_order_counts() -> None:
    """What is bald first and then grows hair has some; the other way round it is bald."""
    bald, longer, space = Bald(), HairLength(), SPACE

    def bared(codes: Codes) -> Codes:
        changes = bald.shot_changes(InMemory(codes), InMemory(TRACK), space, None)
        return bald.bared(codes, TRACK, steady(1.0), changes)

    def length(codes: Codes) -> float:
        mean = codes.styles[:4][TRACK.present[:4]].mean(0)
        return float(space.read(torch.from_numpy(mean))[1])

    grown = longer.shifted(bared(Codes(styles())), TRACK, steady(0.5), space)
    shaved = bared(longer.shifted(Codes(styles()), TRACK, steady(0.5), space))
    assert length(grown) == pytest.approx(0.5, abs=1e-5)
    assert length(shaved) == pytest.approx(0.0, abs=1e-5)


# ---- in a recipe


def recipe_of(*edits: dict[str, Any], mode: str = "residual") -> Recipe:
    return build("stack", "", {"edit": list(edits), "compose": {"mode": mode}})


SMILE = {"kind": "attribute", "name": "smile", "strength": 0.5}
BLONDE = {"kind": "hair_color", "color": "blonde"}


def keys(recipe: Recipe) -> dict[str, str]:
    reader: Any = SimpleNamespace(clip=SimpleNamespace(fingerprint=fingerprint("clip")), reading="")
    runner = Runner(MemoryStore(), reader)
    nodes = nodes_of(Flow(recipe, a_pack()))
    for node in nodes:
        runner.keys[node.name] = runner.key(node)
    return {node.name: runner.keys[node.name].digest for node in nodes}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in after if before.get(name) != after[name]}


def test_what_one_edit_says_is_in_the_keys_of_those_after_it_alone() -> None:
    before = keys(recipe_of(SMILE, BLONDE))
    more = {"strength_1", "edited_codes_1", "code_change", "edited_codes", "edited"}
    after = keys(recipe_of(SMILE | {"strength": 0.6}, BLONDE))
    assert changed(before, after) == more | {"hair_change", "layer", "composed", "changes"}
    after = keys(recipe_of(SMILE, BLONDE | {"color": "red"}))
    assert not changed(before, after) & {"strength_1", "edited_codes_1"}
    assert {"target_color", "code_change", "edited_codes"} <= changed(before, after)
    turned = keys(recipe_of(BLONDE, SMILE))
    assert turned["target_color"] == before["target_color"]
    assert turned["edited"] != before["edited"]


def test_a_curve_is_in_the_keys_and_one_that_never_changes_is_its_number() -> None:
    plain = keys(recipe_of(SMILE))
    assert keys(recipe_of(SMILE | {"strength": [[0, 0.5], [2, 0.5]]})) == plain
    assert keys(recipe_of(SMILE | {"strength": [[1, 0.5]]})) == plain
    rising = keys(recipe_of(SMILE | {"strength": [[0, 0], [2, 0.5]]}))
    assert {"strength", "edited_codes", "edited"} <= changed(plain, rising)
    later = keys(recipe_of(SMILE | {"strength": [[0, 0], [3, 0.5]]}))
    assert {"strength", "edited_codes", "edited"} <= changed(rising, later)


@pytest.mark.parametrize("mode", ["residual", "replace"])
def test_how_it_enters_the_frame_is_as_the_recipe_says(mode: str) -> None:
    layer = Flow(recipe_of(SMILE, BLONDE, mode=mode), a_pack()).stages["layer"]
    assert ("hair_change" in layer.values) == (mode == "residual")
    alone = Flow(recipe_of(SMILE, SMILE, mode=mode), a_pack())
    assert "hair_change" not in alone.stages


def test_a_drawn_head_shows_only_where_an_edit_changes_it() -> None:
    """But without an edit it is all that is asked for."""
    fade = Flow(recipe_of(SMILE, BLONDE, mode="replace"), a_pack()).stages["fade"]
    assert {"codes", "edited_codes"} <= set(fade.values)
    for edits, mode in (([{"kind": "reconstruct"}], "replace"), ([SMILE], "residual")):
        fade = Flow(recipe_of(*edits, mode=mode), a_pack()).stages["fade"]
        assert set(fade.values) == {"track"}


def test_every_edit_is_checked_before_any_work_and_named_by_its_place() -> None:
    with pytest.raises(InvalidSetting, match=r"edit\.2\.name = 'height' is no attribute"):
        Flow(recipe_of(SMILE, SMILE | {"name": "height"}), a_pack())
    with pytest.raises(InvalidSetting, match=r"edit\.name = 'height' is no attribute"):
        Flow(recipe_of(SMILE | {"name": "height"}), a_pack())
    with pytest.raises(InvalidSetting, match=r"edit\.1\.color = 'blurple' is no color"):
        Flow(recipe_of(BLONDE | {"color": "blurple"}, SMILE), a_pack())


def test_nothing_but_no_edit_draws_once() -> None:
    plain = {"kind": "reconstruct"}
    stages = Flow(recipe_of(plain, plain), a_pack()).stages
    assert set(stages["edited"].values) == {"rendered"}
    assert not {"edited_codes", "code_change"} & set(stages)
