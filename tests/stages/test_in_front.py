"""Things before a painted head, which come and go."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.hand import flat_hand
from tests.stages.series import InMemory
from tests.stages.test_bare import (
    FRAMES,
    HAIR,
    NO_HANDS,
    REGION,
    SKIN,
    STRAND,
    WINDOW,
    a_view,
    bare_chest,
    given,
    scene,
)
from vidhair.stages.eyewear import Eyewear, Glasses
from vidhair.stages.hands import Hands, hands_on
from vidhair.stages.in_front import (
    InFront,
    Known,
    beyond,
    in_front,
    left_over,
    like_colors,
    rather_hair,
    under,
    usual_hair,
)
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.types import Frames
from vidhair.wiring import Span

Mask = NDArray[np.bool_]
NOTHING = slice(0, 0), slice(0, 0)
NO_GLASSES = Eyewear(np.zeros((FRAMES, WINDOW.height, WINDOW.width), np.uint8))
LENSES = Glasses(True, np.array([0.1, 0.05, 0.35, 0.25, 2.0]), np.zeros(2), np.zeros((2, 3)), 1.0)
HELD = slice(52, 125), slice(78, 96)  # before hair, cheek and shoulder


def found(
    thing: tuple[slice, slice],
    color: tuple[int, int, int],
    frame: int = 1,
    bare: tuple[slice, slice] | None = None,
    hands: Hands = NO_HANDS,
    worn: Eyewear = NO_GLASSES,
) -> InFront:
    """What is found if a thing of a color comes in one frame, that nothing was told of. bare: where
    all frames show skin instead of hair. hands, worn: what was found of them."""
    values = given()
    pictures = values["frames"].pixels.copy()
    alpha, labels = values["matte"].alpha.copy(), values["labels"].planes.copy()
    if bare is not None:
        pictures[:, *bare], alpha[:, *bare] = SKIN, 0
        labels[:, :, *bare] = np.array([0, 255, 0, 0, 255])[:, None, None]
    pictures[frame][thing] = color
    alpha[frame][thing] = 0
    labels[frame][:, *thing] = np.array([0, 0, 0, 255, 255])[:, None, None]
    changes: dict[str, Any] = {
        "frames": Frames.of_pixels(pictures), "labels": Labels(labels),
        "matte": Matte(alpha, values["matte"].area, values["matte"].mean_lab),
    }  # fmt: skip
    values = values | changes
    series = {name: InMemory(values[name]) for name in ("matte", "track", "head_pose")}
    usual = usual_hair(**series, hair_window=WINDOW)
    return in_front(
        **values, hands=hands, eyewear=worn, glasses=LENSES, usual_hair=usual, region=REGION,
        hair_window=WINDOW, span=Span(0, FRAMES), at_once=map,
    )  # fmt: skip


def mask(thing: tuple[slice, slice]) -> Mask:
    there = np.zeros((WINDOW.height, WINDOW.width), bool)
    there[thing] = True
    return there


def held_up(middle: tuple[float, float]) -> tuple[Hands, Mask]:
    """A hand in all frames, and where it covers the window."""
    points = NO_HANDS.points.copy()
    points[:, 1] = flat_hand(middle, 26.0)
    return Hands(points), hands_on(points[0], WINDOW) > 0.9


class TestFound:
    @pytest.mark.parametrize("color", [(30, 30, 160), (230, 220, 60)])
    def test_what_is_held_before_hair_and_body(self, color: tuple[int, int, int]) -> None:
        alpha = found(HELD, color).alpha
        hair = scene(1)[2] > 0
        before = alpha[1][mask(HELD) & hair]
        assert (before > 200).mean() > 0.9
        assert alpha[1][~mask(HELD)].mean() < 3
        assert not alpha[[0, 2]].any(), "no ghost where it was or will be"

    def test_a_hand_in_the_hair_has_the_color_of_the_face(self) -> None:
        hand = slice(40, 70), slice(84, 120)
        alpha = found(hand, SKIN).alpha[1]
        hair = scene(1)[2] > 0
        assert (alpha[mask(hand) & hair] > 200).mean() > 0.75

    def test_a_hand_that_all_frames_show_where_a_body_would_be(self) -> None:
        hands, there = held_up((103, 78))
        place = slice(60, 95), slice(88, 118)
        alpha = found(NOTHING, SKIN, bare=place, hands=hands).alpha
        assert (alpha[:, there] > 100).mean() > 0.9
        assert not found(NOTHING, SKIN, bare=place).alpha.any()

    def test_what_is_hair_is_no_hand(self) -> None:
        hands, there = held_up((65, 37))
        assert (scene(1)[2][there] > 0).mean() > 0.9
        assert not found(NOTHING, SKIN, hands=hands).alpha.any()

    def test_the_hairline_of_a_bare_forehead_is_its_own(self) -> None:
        """Between hair and skin there are colors of neither."""
        forehead, line = (slice(38, 52), slice(50, 80)), (slice(38, 45), slice(50, 80))
        assert not found(line, (150, 75, 40), bare=forehead).alpha.any()

    def test_glasses_are(self) -> None:
        worn = Eyewear(NO_GLASSES.alpha.copy())
        worn.alpha[1, 60:63, 40:80] = 200
        assert np.array_equal(found(NOTHING, (0, 0, 0), worn=worn).alpha, worn.alpha)

    def test_their_arms_lie_below_new_hair(self) -> None:
        """And what is of their lenses before it."""
        worn = Eyewear(NO_GLASSES.alpha.copy())
        worn.alpha[1, 60:63, 30:102] = 255
        front = found(NOTHING, (0, 0, 0), worn=worn)
        hair = np.zeros(worn.alpha.shape[1:], np.float32)
        assert (front.over(1, hair)[61, 30:102] == 1).all(), "nothing hides them"
        over = front.over(1, hair + 1)[61]
        assert not over[30:34].any() and not over[98:102].any()
        assert (over[50:80] == 1).all()

    def test_nothing_where_nothing_is(self) -> None:
        assert not found(NOTHING, SKIN).alpha.any()

    def test_what_goes_on_behind_covers_nothing(self) -> None:
        beside = slice(20, 80), slice(108, 128)
        assert not (scene(1)[3][4][beside] > 0).any(), "beside the person"
        assert not found(beside, (30, 30, 160)).alpha.any()


@pytest.mark.parametrize(("color", "is_thing"), [(HAIR, False), ((40, 60, 200), True)])
def test_strands_on_a_chest_that_a_matte_lacks_are_nothing_in_front(
    color: tuple[int, int, int], is_thing: bool
) -> None:
    """They stayed before what is drawn where the hair was."""
    picture, alpha, labels = bare_chest(np.array(color))
    none = np.zeros(alpha.shape, np.float32)
    body = np.broadcast_to(np.array(SKIN, np.float32), picture.shape)
    known = Known(0 * body, body, none + 1, none, none)
    maybe = left_over(a_view(picture, alpha, None, labels), known)[0]
    assert maybe[STRAND][1:-1, 2:-1].any() == is_thing


def test_a_layer_that_has_moved_a_little_explains_what_is_seen() -> None:
    layer = np.zeros((20, 20, 3), np.float32)
    layer[:, 10:] = 100
    picture = np.roll(layer, 2, 1)
    all_of_it = np.ones((20, 20), bool)
    assert not beyond(picture, layer, all_of_it, 2)[:, 2:].any()
    assert beyond(picture, layer, all_of_it, 1)[:, 11].all()
    assert beyond(picture + 30, layer, all_of_it, 2)[5, 15] == 30
    right = all_of_it.copy()
    right[:, :10] = False
    assert beyond(picture, layer, right, 2)[5, 9] == 100, "only what is known explains it"


def test_hair_is_told_by_its_own_spread_of_colors() -> None:
    random = np.random.default_rng(1)
    picture = random.normal([60, 45, 35], 12, (30, 30, 3)).clip(0, 255).astype(np.uint8)
    picture[:, 20:] = 200, 150, 130
    hair = np.zeros((30, 30), bool)
    hair[:, :10] = True
    alike = like_colors(picture, hair)
    assert alike[:, 10:20].mean() > 0.9 and not alike[:, 20:].any()
    assert not like_colors(picture, np.zeros((30, 30), bool)).any()


class TestUnder:
    PICTURE = np.full((40, 60, 3), 90, np.uint8)
    DRAWN = np.full((40, 60, 3), 200, np.uint8)
    ALL = np.full((40, 60), 255, np.uint8)
    ONES = np.ones((40, 60), np.float32)

    def under(self, front: NDArray[np.float32]) -> tuple[Any, Any, Any]:
        return under(self.DRAWN, self.ALL, self.ONES, self.PICTURE, front, 50.0)

    def test_what_is_in_front_is_the_frames_own_bit_for_bit(self) -> None:
        front = np.zeros((40, 60), np.float32)
        front[10:30, 20:40] = 1
        levels, changed, alpha = self.under(front)
        there = front > 0
        assert (levels[there] == 90).all() and not changed[there].any() and not alpha[there].any()
        assert (levels[~there] == 200).all() and (changed[~there] == 255).all()

    def test_a_border_is_a_mixture(self) -> None:
        levels, changed, alpha = self.under(np.full((40, 60), 0.5, np.float32))
        assert (levels == 145).all() and (changed == 255).all() and (alpha == 0.5).all()

    def test_without_it_nothing_is_done(self) -> None:
        levels, changed, _ = self.under(np.zeros((40, 60), np.float32))
        assert levels is self.DRAWN and changed is self.ALL


@pytest.mark.parametrize("color", [SKIN, (30, 30, 34)])
def test_strands_beside_a_thing_are_none_of_it(color: tuple[int, int, int]) -> None:
    """Of a hand, and of a microphone that is about as dark as hair."""
    random = np.random.default_rng(0)
    picture = np.full((100, 120, 3), (110, 70, 45), np.float32)
    picture[30:70, 60:] = color
    picture += random.normal(size=picture.shape) * 4
    hair, thing = np.zeros((100, 120), np.float32), np.zeros((100, 120), np.float32)
    picture[20:27, 60:] = picture[20:27, 60:] / 2 + 110  # strands before a wall
    hair[:, :58], thing[18:80, 60:] = 1, 1  # what is above and below it is taken for it
    seen, wall = (
        torch.from_numpy(p / 255).float().movedim(-1, 0)[None].contiguous()
        for p in (picture, np.full_like(picture, 220))
    )
    found = rather_hair(seen, wall, thing, hair, 100.0)
    assert found[21:26, 61:66].min() > 0.9
    assert found[73:78, 61:66].min() > 0.9, "where hair is near"
    assert found[32:68, 62:].max() < 0.1
