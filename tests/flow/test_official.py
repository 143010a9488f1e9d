"""Whole runs with packs of published designs: StyleGAN3 with ReStyle and a BiSeNet, StyleGAN2 with
e4e, a mapper and boundaries, both tiny."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import small
from tests.flow.made_up import nodes_of
from tests.flow.test_graph import touchable
from tests.flow.test_keys import changed, keys
from tests.stages.series import means_of
from vidhair.cache import DiskStore
from vidhair.checkpoints.packs import write_pack
from vidhair.edits import recolor
from vidhair.errors import PackDamaged
from vidhair.flow.edit_video import Result
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Work
from vidhair.media import open_clip
from vidhair.models.generators.aligned import AlignedSynthesis
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import load_recipe
from vidhair.stages.smooth import share_identity, smooth_styles

pytestmark = pytest.mark.usefixtures("one_thread", "few_steps")

FRAMES = 4
REPLACE = {"compose.mode": "replace"}
RUNS: dict[str, tuple[Callable[[], Pack], str, dict[str, Any]]] = {
    "StyleGAN3, color": (small.stylegan3_pack, "hair_color_latent", {}),
    "StyleGAN2, color": (small.stylegan2_pack, "hair_color_latent", {}),
    "StyleGAN2, bald": (small.stylegan2_pack, "bald", {"edit.by": "latent"}),
    "StyleGAN2, attribute": (
        small.stylegan2_pack, "attribute", {"edit.name": "age", "edit.strength": 2.0},
    ),
    "StyleGAN2, mapper": (
        small.stylegan2_pack, "hair_length",
        {**REPLACE, "edit.kind": "mapper", "edit.strength": 9.0},
    ),
    "StyleGAN3, factorised": (
        small.stylegan3_pack, "hair_length",
        {**REPLACE, "edit.kind": "sefa", "edit.layers": "coarse"},
    ),
    "StyleGAN3, channels": (
        small.stylegan3_pack, "hair_length",
        {**REPLACE, "edit.kind": "channels", "edit.channels": "2_1,4_0"},
    ),
    "StyleGAN2, channels": (
        small.stylegan2_pack, "hair_length",
        {**REPLACE, "edit.kind": "channels", "edit.channels": "2_1,4_0"},
    ),
}  # fmt: skip
# As recipes have it by default; everything else here is tuned in float32.
COMMON = {"tune.steps": 1, "tune.frames": 2, "tune.precision": "auto"}
COLORED = [name for name, (_, recipe, _) in RUNS.items() if recipe == "hair_color_latent"]
ALIGNED = [name for name in RUNS if name not in COLORED and name.startswith("StyleGAN2")]
REPLACED = ["StyleGAN2, attribute"]  # by much of a change


@pytest.fixture(scope="module")
def few_steps() -> Iterator[None]:
    """Towards a color: what is tried is that they are taken, not how far they lead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recolor, "LINEARISATIONS", 1)
        patch.setattr(recolor, "COLOR_STEPS", 1)
        yield


@cache
def clip() -> Path:
    return small.write_clip(small.folder() / "four.mp4", small.person()[:FRAMES])


def edit(name: str, target: Path) -> Result:
    """All runs share a cache."""
    pack, recipe, changes = RUNS[name]
    store = small.folder() / "official cache"
    return small.edit(
        target, store, source=clip(), changes=COMMON | changes, name=recipe, models=pack()
    )


def stages(name: str) -> list[str]:
    """Whose results are kept, in order."""
    pack, recipe, changes = RUNS[name]
    nodes = nodes_of(Flow(load_recipe(recipe, COMMON | changes), pack()))
    return [node.name for node in nodes if node.kept]


@cache
def finished(name: str) -> Result:
    return edit(name, small.folder() / f"{name}.mp4")


@contextmanager
def opened(name: str) -> Iterator[tuple[Flow, Work]]:
    """A finished run, to look into."""
    finished(name)
    pack, recipe, changes = RUNS[name]
    with open_clip(clip()) as reader:
        flow, runner = small.flow_on(
            DiskStore(small.folder() / "official cache"),
            reader,
            changes=COMMON | changes,
            name=recipe,
            models=pack(),
        )
        assert all(report.status == "reused" for report in runner.reports)
        yield flow, runner.work


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
class TestEveryRun:
    def test_it_goes_through(self, name: str) -> None:
        result = finished(name)
        assert [stage.name for stage in result.stages] == [*stages(name), "encode"]
        assert (result.frames, result.untouched) == (FRAMES, 0)
        assert small.decoded(result.path).shape == small.decoded(clip()).shape

    def test_a_second_one_takes_everything_from_the_cache(self, name: str, tmp_path: Path) -> None:
        again = edit(name, tmp_path / "again.mp4")
        assert again.reused == tuple(stages(name))
        first = small.decoded(finished(name).path)
        assert np.array_equal(small.decoded(again.path), first)

    def test_what_lies_around_a_face_is_said_to_stay(self, name: str) -> None:
        notes = " ".join(finished(name).notes)
        assert ("aligned face only" in notes) == (name in ALIGNED)


@pytest.mark.parametrize("name", COLORED)
def test_color_stays_in_the_hair(name: str) -> None:
    with opened(name) as (flow, work):
        frames, alpha = work.frames(0, FRAMES), work.per_frame("matte", 0, FRAMES)["alpha"]
        composed, grid = flow.pictures(work, 0, FRAMES)[0], flow.value(work, "hair_window")
        assert np.abs(work.per_clip("code_change")["lab"]).max() > 5
    differs = (composed != frames).any(-1)
    assert not (differs & ~touchable(alpha, grid)).any()
    sure = touchable(np.where(alpha > 200, alpha, 0), grid, reach=0)
    assert 0.02 < sure.mean() < 0.3 and differs[sure].mean() > 0.9


def outside(flow: Flow, work: Work, margin: float) -> NDArray[Any]:
    """[T, H, W]: pixels that lie that many pixels of the generator or more beyond the face crop."""
    track = flow.value(work, "track", 0, FRAMES)
    similarity = flow.value(work, "pivots", 0, FRAMES).similarity
    y, x = np.mgrid[: small.SIZE[1], : small.SIZE[0]] + 0.5
    places = (np.stack([x, y], -1) - track.box.centre) / track.box.side
    inverse = np.linalg.inv(similarity.matrices())
    aligned = np.einsum("tij,hwj->thwi", inverse[:, :2, :2], places) + inverse[:, None, None, :2, 2]
    resolution = flow.pack.generator.config.resolution
    return np.abs(aligned).max(-1) > 0.5 + margin / resolution


@pytest.mark.parametrize("name", REPLACED)
def test_nothing_is_pasted_that_was_not_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the head may be replaced, but StyleGAN2 draws no more than its square."""
    with opened(name) as (flow, work):
        whole = flow.recipe.override({"compose.region": "head", "compose.feather": 0.1})
        flow.recipe = whole
        frames, beyond = work.frames(0, FRAMES), outside(flow, work, margin=2)
        composed = flow.value(work, "composed", 0, FRAMES).pixels
        monkeypatch.setattr(AlignedSynthesis, "expands", True)
        careless = flow.value(work, "composed", 0, FRAMES).pixels
    assert 0.1 < beyond.mean() < 0.9
    assert np.array_equal(composed[beyond], frames[beyond])
    assert (composed != frames).any(-1)[~beyond].mean() > 0.2
    assert (careless != frames).any(-1)[beyond].mean() > 0.01, "its border goes on there"


def test_an_attribute_moves_all_codes_along_its_direction() -> None:
    with opened("StyleGAN2, attribute") as (flow, work):
        change = (
            flow.value(work, "edited_codes", 0, FRAMES).styles
            - flow.value(work, "codes", 0, FRAMES).styles
        )
        assert flow.pack.attributes is not None and flow.pack.attributes.names == ("age", "smile")
        direction = flow.pack.attributes.direction("age").numpy()
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(change, np.broadcast_to(2 * direction, change.shape), atol=1e-5)


def test_boundaries_do_not_decide_what_moves() -> None:
    """One of them is called smile, which says nothing of gaze or pose."""
    with opened("StyleGAN2, attribute") as (flow, work):
        assert flow.pack.attributes is not None
        raw, track = (
            work.per_frame("latents", 0, FRAMES)["styles"],
            flow.value(work, "track", 0, FRAMES),
        )
        config, steady = flow.recipe.smooth, work.per_frame("pivots", 0, FRAMES)["styles"]
        means = means_of(raw, track.present, track.cuts)
        shared = share_identity(raw, flow.pack.attributes, means)
    want = smooth_styles(raw, means, track.present, track.cuts, config, None)
    np.testing.assert_allclose(steady, want, atol=1e-6)
    assert np.abs(shared - raw).max() > 1e-4, "sharing would have made a difference"


# ---- keys


def other(write: Callable[..., Any], folder: Path) -> Pack:
    """The same pack but for the generator's weights."""
    return load_pack(write(folder / "other", seed=8))


def test_restyles_codes_depend_on_the_generator(tmp_path: Path) -> None:
    recipe, pack = load_recipe("hair_color_latent"), small.stylegan3_pack()
    anew = other(small.write_stylegan3_pack, tmp_path)
    for part in ("encoder", "parser"):
        assert anew.fingerprint(part) == pack.fingerprint(part)
    after = {
        "looks", "people", "latents", "shot_codes", "pivots", "tuned", "rendered", "code_change",
        "edited", "changes",
    }  # fmt: skip
    assert changed(keys(recipe, pack), keys(recipe, anew)) == after


def test_other_codes_do_not(tmp_path: Path) -> None:
    recipe, pack = load_recipe("hair_color_latent"), small.stylegan2_pack()
    anew = other(small.write_stylegan2_pack, tmp_path)
    after = {"tuned", "rendered", "code_change", "edited", "changes"}
    assert changed(keys(recipe, pack), keys(recipe, anew)) == after


@pytest.mark.parametrize(
    ("recipe", "expected"), [("bald", True), ("hair_color_latent", False), ("hair_color", False)]
)
def test_a_mapper_counts_where_it_is_used(recipe: str, expected: bool, tmp_path: Path) -> None:
    """Both have other weights in the second pack."""
    pack, anew = small.stylegan2_pack(), other(small.write_stylegan2_pack, tmp_path)
    changes = {"edit.by": "latent"} if recipe == "bald" else {}
    flow = Flow(load_recipe(recipe, changes), pack)
    used = {part for node in nodes_of(flow) for part in node.weights}
    assert ("bald_mapper" in used) == expected
    assert pack.fingerprint("bald_mapper") != anew.fingerprint("bald_mapper")


def test_the_bundled_parser_stands_in_and_counts() -> None:
    weights = {
        name: {n.name: n.weights for n in nodes_of(Flow(load_recipe("hair_color_latent"), pack()))}
        for name, pack in (("own", small.stylegan3_pack), ("none", small.stylegan2_pack))
    }
    bundled = load_pack().fingerprint("parser")
    assert weights["none"]["labels"] == {"parser": bundled}
    assert weights["own"]["labels"] == {"parser": small.stylegan3_pack().fingerprint("parser")}
    assert weights["none"]["tuned"]["parser"] == bundled, "it measures likeness, too"


# ---- what a pack may lack


def test_without_attributes_there_is_no_space() -> None:
    assert small.stylegan3_pack().attributes is None


@pytest.mark.parametrize("part", ["encoder", "generator"])
def test_a_pack_that_cannot_edit_is_refused_before_anything_runs(part: str, tmp_path: Path) -> None:
    files = small.stylegan3_pack().files
    parts = {n: (p.kind, p.config, files.tensors(n)) for n, p in files.parts.items() if n != part}
    write_pack(tmp_path / "half", "half", parts, {}, dtype=None)
    with pytest.raises(PackDamaged, match=f"pack 'half' has no part '{part}'"):
        small.edit(
            tmp_path / "a.mp4",
            tmp_path / "cache",
            source=clip(),
            models=load_pack(tmp_path / "half"),
        )
    assert not list((tmp_path / "cache").glob("*-v*"))
