"""The stages of a color that is laid over the frames: its light, its target, and the layer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.colors import lab, linear
from tests.edits.codes import pack_of
from tests.flow.made_up import a_pack, nodes_of
from tests.stages.faces import clip_of, face_track
from vidhair.edits import HairColor
from vidhair.edits.area import PaintedArea, anywhere
from vidhair.edits.edit import Strength
from vidhair.edits.hair_color import (
    ENDS,
    ROOTS,
    Dye,
    falling,
    former_dye,
)
from vidhair.edits.hair_color_latent import TargetColor
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.flow.overlap import Workers
from vidhair.geometry import Box, Grid
from vidhair.imaging.color import lab_to_rgb, levels_to_lab, rgb_to_lab
from vidhair.imaging.named_colors import parse_color
from vidhair.media import write_png
from vidhair.recipe import Recipe, build, load_recipe
from vidhair.stages.facial_hair import FacialHair
from vidhair.stages.fade import Fade
from vidhair.stages.layers import Layer, fold
from vidhair.stages.light import ClipLight, HairLight
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.types import Frames
from vidhair.wiring import AtOnce

Floats = NDArray[np.float32]
Levels = NDArray[np.uint8]


BROWN = (0.3, 0.2, 0.15)


class TestDye:
    """What hair is to be, over time and after former edits."""

    RED, BLUE = TargetColor(np.array([0.6, 0.1, 0.1])), TargetColor(np.array([0.1, 0.1, 0.7]))

    def none(self, count: int = 4) -> Dye:
        return former_dye(clip_of(8, 8, range(0, 40 * count, 40)))

    def degree(self, *values: float) -> Strength:
        return Strength(np.array(values, np.float32))

    def test_the_first_is_itself_as_far_as_it_goes(self) -> None:
        assert not self.none().strength.any() and len(self.none().target) == 4
        degree = self.degree(0, 0.5, 1.0, -0.4)
        got = HairColor().dye(self.none(), self.RED, degree)
        assert np.array_equal(got.strength, degree.values)
        np.testing.assert_allclose(got.target, np.tile(self.RED.rgb, (4, 1)), rtol=1e-6)

    def test_another_takes_it_from_there(self) -> None:
        """As one that gives way to the other: all of it, none of it, a half of each."""
        first = HairColor().dye(self.none(), self.RED, self.degree(1, 1, 1, 0.5))
        got = HairColor().dye(first, self.BLUE, self.degree(1, 0, 0.5, 0.5))
        half = (self.RED.rgb + self.BLUE.rgb) / 2
        np.testing.assert_allclose(got.target, [self.BLUE.rgb, self.RED.rgb, half, half], atol=1e-6)
        np.testing.assert_allclose(got.strength, [1, 1, 1, 0.75], atol=1e-6)

    def test_a_former_one_that_is_not_seen_leaves_nothing(self) -> None:
        first = HairColor().dye(self.none(), self.RED, self.degree(0, 0, 1, 1))
        got = HairColor().dye(first, self.BLUE, self.degree(0.5, 1, 0.5, 1))
        half = (self.RED.rgb + self.BLUE.rgb) / 2
        want = [self.BLUE.rgb, self.BLUE.rgb, half, self.BLUE.rgb]
        np.testing.assert_allclose(got.target, want, atol=1e-6)

    def test_colors_stay_colors(self) -> None:
        first = HairColor().dye(self.none(), self.RED, self.degree(1, 1, 1, 1))
        got = HairColor().dye(first, self.BLUE, self.degree(2, -1, 1.5, -0.5))
        assert got.target.min() >= 0 and got.target.max() <= 1


SIZE = 96
FACE = (48.0, 56.0, 18.0)  # whose crop has a side of 50
HAIR = np.s_[14:34, 26:70]
WALL = np.array((190, 180, 170))
FINE = HairWindow(4, 2, 1, 60, 88, 50.4)


class Scene:
    """Three frames with hair over a face; in the last one there is no face."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(-6, 7, (SIZE, SIZE, 1))
        pixels = np.tile(WALL + noise, (3, 1, 1, 1))
        pixels[:, *HAIR] = np.rint(np.array(BROWN) * 255) + noise[HAIR]
        self.pixels = pixels.astype(np.uint8)
        self.alpha = np.zeros((3, SIZE, SIZE), np.uint8)
        self.alpha[:, *HAIR] = 255
        self.track = face_track([FACE, FACE, None], Box(22.0, 28.0, 50.4))
        self.fade = Fade(np.array([1.0, 1.0, 0.0]))
        self.factor = np.ones((3, 3), np.float32)
        self.tint = np.ones(3, np.float32)
        self.area = anywhere()
        self.facial = FacialHair(np.zeros((3, 0, 1, 1), np.uint8), np.zeros((3, 0, 3), np.float32))

    def layer(
        self,
        edit: HairColor,
        strength: float = 1.0,
        window: HairWindow = FINE,
        at_once: AtOnce = map,
    ) -> Layer:
        here = self.alpha[:, 2:62, 4:92]
        if window.step > 1:
            here = here[:, ::2, ::2]
        matte = Matte(here, np.full(3, 0.2, np.float32), np.tile(lab(BROWN), (3, 1)))
        target = np.tile(np.array(parse_color(edit.color), np.float32), (3, 1))
        light = HairLight(matte.mean_lab, self.factor)
        dye = Dye(target, np.full(3, strength, np.float32))
        frames = Frames.of_pixels(self.pixels)
        return edit.dyed_hair(
            frames,
            self.area,
            matte,
            self.facial,
            self.track,
            self.fade,
            ClipLight(self.tint),
            light,
            dye,
            window,
            at_once,
        )

    def dyed(self, edit: HairColor, strength: float = 1.0, window: HairWindow = FINE) -> Levels:
        patches = self.layer(edit, strength, window).patches
        return np.stack(
            [fold(f, [p] if p else []) for f, p in zip(self.pixels, patches, strict=True)]
        )

    def mean(self, pixels: Levels, rows: slice = slice(18, 30)) -> Floats:
        found: Floats = (
            levels_to_lab(torch.from_numpy(pixels[:1, rows, 32:64].copy()))[0].mean((1, 2)).numpy()
        )
        return found


class TestDyedHair:
    @pytest.mark.parametrize("color", ["#7a2a1a", "#c8a878", "#203090"])
    @pytest.mark.parametrize("window", [FINE, HairWindow(4, 2, 2, 30, 44, 25.2)])
    def test_hair_becomes_the_color_and_the_rest_stays_to_the_bit(
        self, color: str, window: HairWindow
    ) -> None:
        scene = Scene()
        before = scene.pixels.copy()
        got = scene.dyed(HairColor(color=color), window=window)
        assert np.linalg.norm(scene.mean(got) - lab(parse_color(color))) < 6
        reach = 8 if window.step > 1 else 0  # twice the guided filter
        outside = np.ones((SIZE, SIZE), bool)
        outside[14 - reach : 34 + reach, 26 - reach : 70 + reach] = False
        assert np.array_equal(got[:, outside], before[:, outside])
        assert np.array_equal(scene.pixels, before)

    def test_threads_change_nothing(self, workers: Workers) -> None:
        edit = HairColor(color="blonde", highlights="#ffffff")
        got, want = (Scene().layer(edit, at_once=how).patches for how in (workers, map))
        for one, other in zip(got, want, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert one.window == other.window
                assert np.array_equal(one.pixels, other.pixels)
                assert np.array_equal(one.alpha, other.alpha)

    def test_a_frame_without_a_face_and_one_without_hair_are_left_alone(self) -> None:
        scene = Scene()
        scene.alpha[1] = 0
        layer = scene.layer(HairColor())
        assert layer.patches[0] is not None and layer.patches[1:] == [None, None]
        assert layer.nearness[0] > layer.nearness[2] == 0

    def test_no_strength_is_no_layer(self) -> None:
        assert Scene().layer(HairColor(), 0.0).patches == [None] * 3

    def test_it_goes_as_far_as_it_is_told_and_the_other_way(self) -> None:
        scene, edit = Scene(), HairColor(color="#7a2a1a")
        start, whole = scene.mean(scene.pixels), scene.mean(scene.dyed(edit))
        way = whole - start
        for strength, least, most in ((0.5, 0.4, 0.6), (1.5, 1.3, 1.7), (-0.5, -0.6, -0.1)):
            share = (scene.mean(scene.dyed(edit, strength)) - start) @ way / (way @ way)
            assert least < share < most, (strength, share)

    def test_it_dims_and_turns_with_the_light(self) -> None:
        scene, edit = Scene(), HairColor(color="#c8a878")
        plain = scene.mean(scene.dyed(edit))
        scene.factor[:] = 0.3
        dim = scene.mean(scene.dyed(edit))
        want = lab_to_rgb(torch.tensor(lab(parse_color("#c8a878"))), dim=0)
        scaled = rgb_to_lab(
            torch.from_numpy((linear(want.tolist()) * 0.3) ** (1 / 2.2)).float(), dim=0
        ).numpy()
        assert abs(dim[0] - scaled[0]) < 6 and dim[0] < plain[0] - 20
        scene.factor[:] = 1
        scene.tint[2] = 0.75
        assert scene.mean(scene.dyed(edit))[2] > plain[2] + 3

    def test_a_fade_of_the_edit_is_a_share_of_it(self) -> None:
        scene, edit = Scene(), HairColor(color="#203090")
        whole = scene.dyed(edit).astype(int)
        scene.fade = Fade(np.array([0.5, 1.0, 0.0]))
        got = scene.dyed(edit).astype(int)
        np.testing.assert_allclose(got[0], (whole[0] + scene.pixels[0]) / 2, atol=1)
        assert np.array_equal(got[1], whole[1])

    def test_roots_keep_their_color(self) -> None:
        scene = Scene()
        top = slice(16, 22)
        own, whole, kept, half = (
            scene.mean(pixels, top)
            for pixels in (
                scene.pixels,
                *(scene.dyed(HairColor(color="#203090", roots=r)) for r in (0.0, 1.0, 0.5)),
            )
        )
        way = np.linalg.norm(whole - own)
        assert np.linalg.norm(kept - own) < 0.25 * way
        assert 0.3 * way < np.linalg.norm(half - own) < 0.75 * way

    def test_exposure_makes_the_dye_lighter_or_darker(self) -> None:
        scene = Scene()
        darker, plain, lighter = (
            scene.mean(scene.dyed(HairColor(color="#804020", exposure=x)))[0] for x in (-1, 0, 1)
        )
        assert darker < plain - 5 and lighter > plain + 5
        assert HairColor(exposure=0).identity() == HairColor().identity()

    def test_an_area_limits_the_dye_and_all_over_it(self) -> None:
        scene = Scene()
        edit = HairColor(color="#7a2a1a", ends="#203090", highlights="#e8d0a0")
        whole = scene.dyed(edit).astype(int)
        levels = np.zeros((SIZE, SIZE), np.uint8)
        levels[:, :48] = 255
        levels[:, 40:48] = np.linspace(255, 0, 8)
        axes = scene.track.axes_of(np.array([0]))
        scene.area = PaintedArea(levels, axes.centre[0], axes.x[0])
        got = scene.dyed(edit).astype(int)
        assert np.array_equal(got[:, :, 48:], scene.pixels[:, :, 48:])
        assert np.array_equal(got[0, :, :39], whole[0, :, :39])
        way = (whole - scene.pixels)[0, 16:32, 40:48, 0].mean(0)
        share = (got - scene.pixels)[0, 16:32, 40:48, 0].mean(0) / way
        np.testing.assert_allclose(share, np.linspace(1, 0, 8), atol=0.2)

    def test_beard_and_brows_take_a_part_of_it_if_they_are_asked_to(self) -> None:
        scene, beard, brows = Scene(), np.s_[54:60, 40:60], np.s_[44:48, 40:60]
        for place in (beard, brows):
            scene.pixels[:, *place] = scene.pixels[:, 20:21, 30:31]
        plain = scene.dyed(HairColor(color="#203090"))
        planes = np.zeros((3, 2, SIZE, SIZE), np.uint8)
        planes[:, 0, *beard] = planes[:, 1, *brows] = 255
        colors = np.tile(lab(BROWN), (3, 2, 1))
        scene.facial = FacialHair(planes[:, :, 2:62, 4:92], colors)
        assert np.array_equal(scene.dyed(HairColor(color="#203090")), plain), "nobody asked"
        got = scene.dyed(HairColor(color="#203090", beard=True, brows=True)).astype(int)
        touched = np.zeros((SIZE, SIZE), bool)
        touched[beard], touched[brows] = True, True
        assert np.array_equal(got[:2, ~touched], plain[:2, ~touched])
        whole = np.abs(plain[0][HAIR].astype(int) - scene.pixels[0][HAIR]).mean()
        for place, low, high in ((beard, 0.65, 0.95), (brows, 0.35, 0.65)):
            moved = np.abs(got[0][place] - scene.pixels[0][place]).mean()
            assert low < moved / whole < high
        assert np.array_equal(got[2], scene.pixels[2]), "no face"

    def test_a_beard_is_dyed_where_there_is_no_hair(self) -> None:
        scene = Scene()
        scene.alpha[:] = 0
        planes = np.zeros((3, 2, 60, 88), np.uint8)
        planes[:, 0, 50:56, 30:50] = 255
        scene.facial = FacialHair(planes, np.tile(lab(WALL / 255), (3, 2, 1)))
        got = scene.dyed(HairColor(color="#203090", beard=True)).astype(int)
        changed = np.abs(got - scene.pixels).max((0, 3)) > 0
        assert changed[52:58, 34:54].all() and changed.sum() == 6 * 20

    def test_ends_have_another_color(self) -> None:
        scene = Scene()
        scene.alpha[:, 14:60, 26:70] = 255
        scene.pixels[:, 34:60, 26:70] = scene.pixels[:, 24:25, 26:70]
        plain = scene.dyed(HairColor(color="#7a2a1a"))
        got = scene.dyed(HairColor(color="#7a2a1a", ends="#203090"))
        assert np.array_equal(got[0, 16:40], plain[0, 16:40]) or (
            np.abs(got[0, 16:40].astype(int) - plain[0, 16:40]).max() <= 2
        )
        low = slice(55, 60)
        assert scene.mean(got, low)[2] < scene.mean(plain, low)[2] - 2

    def test_highlights_are_of_single_strands(self) -> None:
        scene = Scene()
        x = np.arange(SIZE)
        scene.pixels[:, *HAIR] += np.where(x % 8 < 2, 24, 0).astype(np.uint8)[26:70, None]
        plain = scene.dyed(HairColor(color="#7a2a1a")).astype(float)
        got = scene.dyed(HairColor(color="#7a2a1a", highlights="#e8d0a0")).astype(float)
        gain = (got - plain)[0, 20:28, 34:62].mean((0, 2))
        strands = x[34:62] % 8 < 2
        assert gain[strands].mean() > 20 and gain[strands].mean() > 2 * gain[~strands].mean()


class TestFalling:
    def test_it_falls_from_one_to_zero_along_the_face(self) -> None:
        axes = face_track([FACE], Box(22.0, 28.0, 50.4)).axes_of(np.array([0]))
        middle, side = float(axes.centre[0, 1]), float(axes.side[0])
        grid = Grid(8.0, 4.0, 0.5, 180, 150)
        for ramp in (ROOTS, ENDS):
            share = falling(ramp, axes, grid)[0, 0]
            assert share.shape == (180, 150)
            assert torch.equal(share, share[:, :1].expand_as(share))
            y = 4 + (np.arange(180) + 0.5) * 0.5
            place = (y - middle) / side
            column = share[:, 0].numpy()
            assert (column[place < ramp[0]] == 1).all() and (column[place > ramp[1]] == 0).all()
            assert (np.diff(column) <= 0).all()
            half = np.abs(place - sum(ramp) / 2).argmin()
            assert column[half] == pytest.approx(0.5, abs=0.03)

    def test_it_turns_with_the_face(self) -> None:
        axes = face_track([(*FACE, 90.0)], Box(22.0, 28.0, 50.4)).axes_of(np.array([0]))
        share = falling(ROOTS, axes, Grid.of_pixels(SIZE, SIZE))[0, 0]
        assert float(share.std(0).max()) < 1e-3 < float(share.std(1).max())


def with_color(name: str, color: str) -> HairColor:
    given: dict[str, Any] = {name: color}
    return HairColor(**given)


class TestSettings:
    def test_what_is_not_set_is_no_part_of_what_results_rest_on(self) -> None:
        plain = HairColor().identity()
        assert not {"roots", "ends", "highlights"} & set(plain)
        others = HairColor(roots=0.5), HairColor(ends="blonde"), HairColor(highlights="#fff")
        assert all(other.identity() != plain for other in others)
        assert HairColor(beard=True).identity() != HairColor(brows=True).identity() != plain
        assert HairColor(ends="gray").identity() == HairColor(ends="grey").identity()

    @pytest.mark.parametrize("name", ["ends", "highlights"])
    def test_further_colors_are_checked_with_their_place(self, name: str) -> None:
        with_color(name, "blonde").check(pack_of(None), "edit")
        with pytest.raises(InvalidSetting, match=rf"edit\.2\.{name} = 'blurple' is no color"):
            with_color(name, "blurple").check(pack_of(None), "edit.2")
        with pytest.raises(InvalidSetting, match=rf"edit\.{name} = 'a\.png' is a picture"):
            with_color(name, "a.png").check(pack_of(None), "edit")


# ---- in recipes

DRAWING = {"latents", "pivots", "tuned", "drawer", "rendered", "edited", "codes", "edited_codes"}
BLONDE, RED = ({"kind": "hair_color", "color": color} for color in ("blonde", "red"))
LONGER = {"kind": "hair_length", "amount": 0.5}
REPLACE = {"mode": "replace"}


def recipes() -> Iterator[Recipe]:
    yield load_recipe("hair_color")
    yield load_recipe("hair_color", {"tune.steps": 0, "tune.refine_steps": 0})
    yield build("two", "", {"edit": [BLONDE, RED]})


@pytest.mark.parametrize("recipe", list(recipes()), ids=lambda recipe: recipe.name)
def test_alone_a_color_needs_no_generator_nor_codes(recipe: Recipe) -> None:
    stages = Flow(recipe, a_pack()).stages
    assert not DRAWING & set(stages)
    assert {"matte", "hair_light", "dye"} <= set(stages)
    taken = {needed.kind.__name__ for made in stages.values() for needed in made.inputs.values()
             if isinstance(needed.kind, type)}  # fmt: skip
    assert "Drawer" not in taken and "MovableGenerator" not in taken


@pytest.mark.parametrize(
    ("edits", "mode"),
    [
        ([LONGER, BLONDE], "replace"),
        ([BLONDE, LONGER], "replace"),
        ([BLONDE], "replace"),
        ([{"kind": "hair_color_latent", "color": "red"}, BLONDE], "residual"),
    ],
)
def test_beside_what_is_drawn_a_color_is_drawn(edits: list[dict[str, Any]], mode: str) -> None:
    recipe = build("drawn", "", {"edit": edits, "compose": {"mode": mode}})
    stages = Flow(recipe, a_pack()).stages
    assert {"edited_codes", "code_change", "rendered", "tuned"} <= set(stages)
    assert not {"dye", "hair_light", "clip_light"} & set(stages)


def test_where_the_dye_may_go_is_known_before_long_work(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.full((4, 4, 3), 255, np.uint8))
    recipe = load_recipe("hair_color", {"edit.area": str(tmp_path / "a.png")})
    order = [node.name for node in nodes_of(Flow(recipe, a_pack()))]
    assert order.index("track") + 1 == order.index("area") < order.index("labels")


def test_facial_hair_is_looked_for_where_it_is_asked_for() -> None:
    for part, other in (("beard", "brows"), ("brows", "beard")):
        flow = Flow(load_recipe("hair_color", {f"edit.{part}": True}), a_pack())
        assert "facial_colors" in flow.stages
        assert flow.recipe.edits[-1].facial == (part,) != (other,)
    assert "facial_colors" not in Flow(load_recipe("hair_color"), a_pack()).stages


def test_two_colors_are_handed_on() -> None:
    stages = Flow(build("two", "", {"edit": [BLONDE, RED]}), a_pack()).stages
    assert "dye_1" in stages["dye"].values and "former_dye" in stages["dye_1"].values
    assert "dye" in stages["layer"].values and "dye_1" not in stages["layer"].values


@pytest.fixture
def further(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """A setting beside the color."""
    name, value = request.param
    if name == "area":
        write_png(tmp_path / value, np.full((4, 4, 3), 255, np.uint8))
        value = str(tmp_path / value)
    return {name: value}


FURTHER = [
    ("roots", 0.5), ("ends", "blonde"), ("highlights", "red"), ("area", "white.png"),
    ("beard", True), ("brows", True),
]  # fmt: skip


@pytest.mark.parametrize("further", FURTHER, indirect=True)
def test_what_another_color_goes_over_is_refused(further: dict[str, Any]) -> None:
    Flow(build("two", "", {"edit": [BLONDE, RED | further]}), a_pack())
    (name,) = further
    with pytest.raises(InvalidSetting, match=rf"edit\.1\.{name} = .*dyes over as a whole"):
        Flow(build("two", "", {"edit": [BLONDE | further, RED]}), a_pack())


@pytest.mark.parametrize("further", FURTHER, indirect=True)
def test_what_a_drawn_color_cannot_have_is_refused(further: dict[str, Any]) -> None:
    """It would have no effect, and nobody would be told."""
    alone = build("one", "", {"edit": [BLONDE | further]})
    Flow(alone, a_pack())
    (name,) = further
    for recipe, place in (
        (build("two", "", {"edit": [LONGER, BLONDE | further], "compose": REPLACE}), "edit.2"),
        (build("one", "", {"edit": [BLONDE | further], "compose": REPLACE}), "edit"),
    ):
        with pytest.raises(InvalidSetting, match=rf"{place}\.{name} = .*draws it anew"):
            Flow(recipe, a_pack())
