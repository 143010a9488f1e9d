from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.edits.codes import (
    CUTS,
    PRESENT,
    RAMP,
    SPACE,
    TRACK,
    D,
    pack_of,
    space_of,
    steady,
    styles,
)  # fmt: skip
from tests.stages.composing import without_arms
from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.edits import Bald
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.edit import Strength
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import draws, makers_of, mode_of, planned
from vidhair.geometry import Box
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.mappers import BaldMapper
from vidhair.recipe import build, load_recipe
from vidhair.stages.bare import Bare
from vidhair.stages.bare_skin import TEXELS
from vidhair.stages.behind import Behind
from vidhair.stages.fade import Fade
from vidhair.stages.layers import fold
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Codes
from vidhair.stages.skull import HeadPose, mean_skull
from vidhair.types import Frames

SHOTS = slice(0, 4), slice(4, 7)


def bared(
    strength: Strength, space: AttributeSpace | None = SPACE, mapper: BaldMapper | None = None
) -> NDArray[Any]:
    given = styles()
    edit, codes = Bald(), Codes(given)
    changes = edit.shot_changes(InMemory(codes), InMemory(TRACK), space, mapper)
    got = edit.bared(codes, TRACK, strength, changes).styles
    assert np.array_equal(given, styles()), "what is given is left alone"
    return got


def mapper_of() -> BaldMapper:
    return BaldMapper(D, depth=2, strength=0.7).requires_grad_(False)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.0])
def test_the_mean_of_every_shot_comes_towards_no_hair(strength: float) -> None:
    got = bared(steady(strength))
    for shot in SHOTS:
        rows = np.flatnonzero(PRESENT[shot]) + shot.start
        before, after = (
            SPACE.read(torch.from_numpy(codes[rows].mean(0))) for codes in (styles(), got)
        )
        bare = list(range(len(NO_HAIR)))
        torch.testing.assert_close(after[bare], before[bare] * (1 - strength), atol=1e-5, rtol=0)
        torch.testing.assert_close(after[len(bare) :], before[len(bare) :])


@pytest.mark.parametrize("space", [None, SPACE])
def test_a_mapper_goes_before_attributes(space: AttributeSpace | None) -> None:
    mapper = mapper_of()
    change = bared(steady(0.5), space, mapper) - styles()
    for shot in SHOTS:
        mean = torch.from_numpy(styles()[shot][PRESENT[shot]].mean(0))
        want = (0.5 * 0.7 * mapper(mean[None])).numpy()
        got = change[shot][PRESENT[shot]]
        np.testing.assert_allclose(got, np.broadcast_to(want, got.shape), atol=1e-6)


@pytest.mark.parametrize("mapper", [None, mapper_of()], ids=["attributes", "mapper"])
def test_all_frames_of_a_shot_change_alike_each_by_its_share(mapper: BaldMapper | None) -> None:
    full, change = (bared(s, mapper=mapper) - styles() for s in (steady(1.0), RAMP))
    assert np.array_equal((full != 0).any((1, 2)), PRESENT)
    for shot in SHOTS:
        assert np.ptp(full[shot][PRESENT[shot]], axis=0).max() < 1e-6
    assert CUTS[4] and np.abs(full[0] - full[4]).max() > 1e-3
    np.testing.assert_allclose(change, RAMP.values[:, None, None] * full, atol=1e-6)


def test_a_pack_that_draws_needs_a_mapper_or_all_of_the_hairs_attributes() -> None:
    Bald().check(pack_of(None), "edit")
    Bald().check_drawn(pack_of(SPACE), "edit")
    Bald().check_drawn(pack_of(None, "bald_mapper"), "edit")
    with pytest.raises(InvalidSetting, match=r"edit\.2\.kind = 'bald'.*another pack"):
        Bald().check_drawn(pack_of(None), "edit.2")
    with pytest.raises(InvalidSetting, match="'hair_length', which this pack does not have"):
        Bald().check_drawn(pack_of(space_of(("hair_volume", "yaw"))), "edit")


@pytest.mark.parametrize("settings", [{"by": "layer"}, {"stubble": 0.5}])
def test_what_is_for_frames_is_refused_where_they_are_drawn(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSetting, match=rf"edit\.{next(iter(settings))} = .*draws"):
        Bald(**settings).check_drawn(pack_of(SPACE), "edit")


@pytest.mark.parametrize(
    ("changes", "drawn"),
    [
        ({}, False),
        ({"edit.by": "layer"}, False),
        ({"edit.by": "latent"}, True),
        ({"compose.mode": "replace"}, True),
    ],
)
def test_it_is_drawn_where_that_is_asked_for(changes: dict[str, Any], drawn: bool) -> None:
    recipe = load_recipe("bald", changes)
    assert draws(recipe) == (mode_of(recipe) == "replace") == drawn
    names = {made.name for made in planned(makers_of(recipe))}
    assert ("edited_codes" in names) == drawn


def test_beside_an_edit_that_is_drawn_it_is_drawn() -> None:
    for other, drawn in (("hair_color", False), ("hair_color_latent", True)):
        recipe = build("both", "", {"edit": [{"kind": "bald"}, {"kind": other}]})
        assert draws(recipe) == (mode_of(recipe) == "replace") == drawn


HIGH, WIDE = 40, 30
LEFT, TOP = 6, 4


def layer_of(
    strength: float,
    step: int = 1,
    front: NDArray[np.uint8] | None = None,
    stripes: int = 0,
    **settings: Any,
) -> tuple[Any, NDArray[Any]]:
    """Over grey frames, which stripes of one pixel make so much darker and lighter, of a bare head
    that is lighter in a square of the window."""
    pixels = np.full((2, HIGH * step + TOP, WIDE * step + LEFT, 3), 90, np.uint8)
    pixels[:, :, ::2] -= np.uint8(stripes)
    pixels[:, :, 1::2] += np.uint8(stripes)
    frames = Frames.of_pixels(pixels)
    window = HairWindow(LEFT, TOP, step, HIGH, WIDE, 30.0)
    levels = np.full((2, HIGH, WIDE, 3), 90, np.uint8)
    changed = np.zeros((2, HIGH, WIDE), np.uint8)
    levels[:, 10:20, 8:18], changed[:, 10:20, 8:18] = 190, 255
    bare = Bare(levels, changed, changed, changed)
    pose = HeadPose(
        np.tile(np.eye(3), (2, 1, 1)), np.full(2, 12.0 * step),
        np.tile([LEFT + 13.0 * step, TOP + 26.0 * step], (2, 1)),
    )  # fmt: skip
    atlas = np.ones((1, TEXELS, TEXELS), np.float32)
    behind = Behind(
        np.zeros(2, np.int64), np.zeros((2, 2, 3)), np.zeros((2, 2, 3)), np.zeros((2, 2)),
        np.zeros((1, 2)), levels[:1], levels[:1], changed[:1],
        np.zeros((1, TEXELS, TEXELS, 3), np.float32), atlas, np.full((1, 2), -1, np.float32),
        np.zeros(1, np.float32), changed[:1], np.zeros((1, 2, 2)), np.zeros((1, 2, 3)),
    )  # fmt: skip
    lab = np.tile(np.array([10, 0, 0], np.float32), (2, 1))
    matte = Matte(changed, np.ones(2, np.float32), lab)
    track = face_track([(20.0, 20.0, 10.0)] * 2, Box(0, 0, 30.0))
    layer = Bald(**settings).bared_head(
        frames, bare, behind, matte, track, pose, mean_skull(1),
        without_arms(np.zeros_like(changed) if front is None else front), Fade(np.ones(2)),
        Strength(np.array([strength, 0], np.float32)), window, map,
    )  # fmt: skip
    return layer, frames.pixels


@pytest.mark.parametrize("step", [1, 2])
def test_the_bare_head_is_laid_over_the_frame(step: int) -> None:
    layer, pixels = layer_of(1, step)
    made = fold(pixels[0], [layer.patches[0]])
    inside = np.s_[TOP + 13 * step : TOP + 17 * step, LEFT + 11 * step : LEFT + 15 * step]
    assert (made[inside] == 190).all()
    assert (made[: TOP + 7 * step] == 90).all() and (made[TOP + 23 * step :] == 90).all()
    assert layer.patches[1] is None, "no strength, no change"


def test_no_strands_that_are_finer_than_samples_stay_on_the_head() -> None:
    layer, pixels = layer_of(1, 2, stripes=20)
    made = fold(pixels[0], [layer.patches[0]])
    inside = np.s_[TOP + 26 : TOP + 34, LEFT + 22 : LEFT + 30]
    assert (np.abs(made[inside].astype(int) - 190) < 3).all()
    assert np.array_equal(made[: TOP + 14], pixels[0, : TOP + 14])


def test_what_is_in_front_of_the_head_stays_bit_for_bit() -> None:
    front = np.zeros((2, HIGH, WIDE), np.uint8)
    front[:, 14:17, :] = 255
    layer, pixels = layer_of(1, front=front)
    made = fold(pixels[0], [layer.patches[0]])
    assert (made[TOP + 14 : TOP + 17] == 90).all()
    assert (made[TOP + 10 : TOP + 14, LEFT + 8 : LEFT + 18] == 190).all()


def test_half_of_it_is_half_the_way() -> None:
    layer, pixels = layer_of(0.5)
    made = fold(pixels[0], [layer.patches[0]])
    assert (made[TOP + 15, LEFT + 13] == 140).all()


def test_stubble_is_dark_like_hair_and_uneven() -> None:
    plain, stubbly = (
        fold(pixels[0], [layer.patches[0]])[TOP + 12 : TOP + 18, LEFT + 10 : LEFT + 16].astype(int)
        for layer, pixels in (layer_of(1), layer_of(1, stubble=0.8))
    )
    assert stubbly.mean() < plain.mean() - 15
    assert stubbly.std() > plain.std() + 2
