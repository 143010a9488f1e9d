"""The plan that `vidhair explain` prints."""

import re
from typing import Annotated

import pytest

from tests import small
from tests.flow.made_up import nodes_of, pack_for
from vidhair import cli
from vidhair.flow import graph
from vidhair.flow.graph import Flow, makers_of, planned
from vidhair.flow.node import passes
from vidhair.recipe import load_recipe, recipe_names
from vidhair.report.plan import plan_text
from vidhair.stages.align import Thumbnails
from vidhair.types import Frames
from vidhair.wiring import Near, Span, stage, sweeps


def rows(text: str) -> dict[str, tuple[bool, str]]:
    """Stage → whether it is kept, and what it takes."""
    found = {}
    for line in text.splitlines()[1:]:
        if not line.startswith(("# pass", "# for each")):
            mark, (name, taken) = line[2], re.split(" {2,}", line[3:].strip(), maxsplit=1)
            found[name] = (mark != "*", taken)
    return found


@pytest.mark.parametrize("mode", ["residual", "replace"])
@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("name", recipe_names())
def test_every_stage_is_told_in_the_order_in_which_it_is_planned(
    name: str, steps: int, mode: str
) -> None:
    settings = {"tune.steps": steps, "tune.refine_steps": 0, "compose.mode": mode}
    recipe = load_recipe(name, settings)
    text = plan_text(recipe)
    stages = planned(makers_of(recipe))
    told = [made.name + " → each" * made.each for made in stages]
    assert list(rows(text)) == told
    for name, made in zip(told, stages, strict=True):
        kept, taken = rows(text)[name]
        assert kept == made.kept
        parts = [part.removeprefix("every ").split()[0] for part in taken.split(", ")]
        assert parts == (list(made.values) or ["nothing"])
    assert all(line.startswith("# ") for line in text.splitlines()), "it can stand in TOML"


def test_how_much_is_seen_of_each() -> None:
    told = rows(plan_text(load_recipe("hair_color")))
    assert told["thumbnails"] == (True, "frames")
    assert told["faces"] == (True, "frames − 2")
    assert told["track"] == (True, "faces …, tracks …, shots …, person")
    assert told["person → each"] == (False, "people")
    assert told["composed"] == (False, "frames, every layer")
    assert told["found_matte"] == (False, "frames ± 2, prior ± 2, track ± 2, region, hair_window")
    assert told["matte"] == (True, "frames, found_matte, eyewear, hair_window")
    assert told["target_color"] == (True, "nothing")
    assert told["hair_window"] == (False, "track …, region")


def test_more_before_than_after(monkeypatch: pytest.MonkeyPatch) -> None:
    @stage()
    def thumbnails(frames: Annotated[Frames, Near(3, 1)], span: Span) -> Thumbnails:
        raise AssertionError("is only planned")

    monkeypatch.setitem(graph.HEAD, "thumbnails", thumbnails)
    told = rows(plan_text(load_recipe("hair_color")))
    assert told["thumbnails"] == (True, "frames − 3 + 1")


def test_passes_over_the_clip() -> None:
    lines = plan_text(load_recipe("hair_color_latent")).splitlines()
    passes = [line for line in lines if line.startswith("# pass")]
    assert passes[0] == "# pass 1 over the clip: faces, thumbnails"
    assert passes[1] == "# pass 2 over the clip: latents, labels, eyewear"
    assert "composed" in passes[-1] and len(passes) == 5


def test_a_dye_takes_no_more_than_four() -> None:
    """What needs none of the frames waits for none of them."""
    lines = plan_text(load_recipe("hair_color")).splitlines()
    passes = [line.partition(": ")[2] for line in lines if line.startswith("# pass")]
    want = (
        "faces, thumbnails, dye", "labels, eyewear", "prior, found_matte, matte",
        "layer, composed, changes",
    )  # fmt: skip
    assert passes == list(want)


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_told_is_what_runs(name: str) -> None:
    flow = Flow(load_recipe(name, small.needed(name)), pack_for(name))
    ran = [[node.name for node in group] for group in passes(nodes_of(flow))]
    over_frames = [group for group in ran if not flow.stages[group[0]].whole]
    assert over_frames == sweeps(flow.stages.values())


def test_explain_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["explain", "bald", "--set", "tune.steps=7"]) == 0
    plain = load_recipe("bald", {"tune.steps": 7})
    assert capfd.readouterr().out.endswith(f"\n\n{plan_text(plain)}\n")
