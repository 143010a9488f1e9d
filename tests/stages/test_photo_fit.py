"""Where on a head the hair of a photo goes, and in which light."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.stages.photos import mesh_at, photo, turned
from vidhair.geometry import Grid
from vidhair.stages.photo_fit import (
    POINTS,
    SKIN,
    UPPER,
    Relief,
    bending,
    light_color,
    light_on_hair,
    lit,
    nearer,
    photo_places,
    skin_light,
)
from vidhair.stages.skull import Place

SHIFT = np.array([80.0, 90.0])
PLACES = np.stack(np.meshgrid(np.linspace(-1.8, 1.8, 25), np.linspace(-2.2, 2.5, 25)), -1)


@pytest.mark.parametrize("degrees", [-30, -12, 0, 20, 30])
def test_the_map_is_found_back(degrees: float) -> None:
    relief, at = Relief(photo(8)), Place(turned(8 + degrees), 40.0, SHIFT)
    again = relief.seen(relief.samples(PLACES, at, 1.1), at, 1.1)
    np.testing.assert_allclose(again, PLACES, atol=0.02)


@pytest.mark.parametrize("degrees", [-45, -30, 30, 45])
def test_turned_hair_has_no_folds(degrees: float) -> None:
    at = Place(turned(degrees), 40.0, SHIFT)
    seen = Relief(photo()).samples(PLACES, at, 1.0)
    assert (np.diff(seen[..., 0], axis=1) > 0).all() and (np.diff(seen[..., 1], axis=0) > 0).all()


def test_what_lies_in_front_moves_against_what_lies_deep() -> None:
    given = photo()
    relief = Relief(given)
    middle = given.shift + given.scale * np.array([[0, -0.9], [0, 2.2]])
    moved = relief.seen(middle, Place(turned(20), 40.0, SHIFT), 1.0)
    assert moved[0, 0] < moved[1, 0] - 0.2


def test_a_photo_in_its_own_place_is_itself() -> None:
    given = photo(10)
    at = Place(given.rotation, given.scale, given.shift)
    bent = np.zeros((len(POINTS), 2), np.float32)
    places = photo_places(given, at, bent, given.long, Grid(0, 0, 1, 150, 120))
    rows, columns = np.mgrid[:150, :120]
    np.testing.assert_allclose(places, np.stack([columns, rows], -1), atol=0.02)


def test_points_of_both_faces_meet_and_far_away_nothing_bends() -> None:
    given, at = photo(), Place(turned(0), 50.0, np.array([120.0, 150.0]))
    bent = np.zeros((len(POINTS), 2), np.float32)
    bent[:, 0] = 0.1
    places = photo_places(given, at, bent, 1.0, Grid(0, 0, 1, 300, 240))
    ear = np.rint(given.mesh[454] - 0.5).astype(int)
    assert places[ear[1], ear[0], 0] == pytest.approx(ear[0] - 5, abs=0.8)
    assert places[295, 5] == pytest.approx([5, 295], abs=0.3)


def test_a_place_is_corrected_by_where_points_are() -> None:
    at = Place(turned(15), 40.0, SHIFT)
    points = np.random.default_rng(0).normal(0, 1, (9, 3))
    tilt = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    true = Place(tilt @ at.rotation, 44.0, np.array([83.0, 93.0]))
    seen = (at.seen(points) - at.shift) / at.scale
    found = nearer(at, seen, true.seen(points).astype(np.float32))
    np.testing.assert_allclose(found.rotation, true.rotation, atol=1e-5)
    assert found.scale == pytest.approx(44) and found.shift == pytest.approx(SHIFT + 3, abs=1e-3)


def test_a_bending_is_smooth() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0]])
    bend = bending(points, np.array([[0.2, 0.0], [0.0, 0.0]]))
    assert bend(points)[0, 0] == pytest.approx(0.18, abs=0.03)
    assert np.abs(bend(np.array([[9.0, 0.0]]))).max() < 1e-6


def test_the_upper_face_is_followed_closely_and_by_no_kinks() -> None:
    head = Place(turned(0), 1.0, np.zeros(2))
    points = mesh_at(head)[list(POINTS)].astype(np.float64)
    points += 0.02 * np.random.default_rng(1).normal(size=points.shape)
    away = np.stack([0.05 * points[:, 1] ** 2, 0.03 * np.sin(2 * points[:, 0])], 1)
    upper = slice(len(UPPER))
    bend = bending(points, away, np.zeros_like(away))
    assert np.abs(bend(points) - away)[upper].max() < 0.012
    held = bending(points, away, away)  # as always in this shot
    np.testing.assert_allclose(held(PLACES), bending(points, away)(PLACES), atol=1e-9)
    away[POINTS.index(454)] += 0.5  # of one point alone, not all
    other = bending(points, away, np.zeros_like(away))
    assert np.abs(other(PLACES) - bend(PLACES)).max() < 0.35


@pytest.mark.parametrize("most", [0.05, 0.3])
def test_a_bending_never_folds(most: float) -> None:
    """Faces that differ much, at outlines that are turned away."""
    head = Place(turned(35), 1.0, np.zeros(2))
    points = mesh_at(head)[list(POINTS)].astype(np.float64)
    away = np.where(points[:, :1] < 0, [[most, 0.1]], [[-most, 0.0]])
    away += 0.08 * np.random.default_rng(2).normal(size=away.shape)
    bend = bending(points, away, 0.5 * away)
    step = 0.05
    along = np.arange(-2, 2, step)
    places = np.stack(np.meshgrid(along, along), -1)
    down, right = np.gradient(places - bend(places), step, axis=(0, 1))
    assert (right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).min() > 0.2
    if most < 0.1:
        near = bend(points) - away
        assert np.abs(near.mean(0)).max() < 0.03, "what needs not be held is followed"


# ---- light


def picture(left: float, right: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """A face lit from a side, and its mesh: linear light at its two sides."""
    x = np.broadcast_to(np.linspace(0, 1, 200), (200, 200))
    linear = left * (1 - x) + right * x
    levels = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
    mesh = mesh_at(Place(turned(0), 70.0, np.array([100.0, 110.0])))
    random = np.random.default_rng(0).uniform(40, 160, (len(SKIN), 2))
    mesh[list(SKIN)] = random
    return np.rint(levels * 255)[..., None].repeat(3, -1).astype(np.uint8), mesh


def test_light_on_skin_is_read_with_its_slope() -> None:
    even = skin_light(*picture(0.3, 0.3), 200.0)
    np.testing.assert_allclose(even[:, 0], np.log(0.302), atol=0.03)
    assert np.abs(even[:, 1:]).max() < 0.02
    slanted = skin_light(*picture(0.1, 0.5), 200.0)
    assert (slanted[:, 1] > 0.3).all() and np.abs(slanted[:, 2]).max() < 0.1


def test_glasses_do_not_tell_of_the_light() -> None:
    seen, mesh = picture(0.3, 0.3)
    plain = skin_light(seen, mesh, 200.0)
    for point in mesh[list(SKIN[:5])].astype(int):
        seen[point[1] - 6 : point[1] + 7, point[0] - 6 : point[0] + 7] = 5
    np.testing.assert_allclose(skin_light(seen, mesh, 200.0)[:, 0], plain[:, 0], atol=0.15)


def test_a_fade_is_followed_wholly_and_the_skins_difference_in_part() -> None:
    frames = np.zeros((40, 3, 3), np.float32)
    frames[20:, :, 0] = np.linspace(0, -3, 20)[:, None]
    same = np.zeros((3, 3), np.float32)
    seen, begins = np.ones(40, bool), np.arange(40) == 0
    found = light_on_hair(frames, same, seen, begins)
    assert found[-1, 0, 0] - found[0, 0, 0] < -2.5
    other = same.copy()
    other[:, 0] = 1.0
    share = light_on_hair(np.zeros_like(frames), other, seen, begins)[0, 0, 0]
    assert -0.6 < share < -0.2
    assert not light_on_hair(frames, other, ~seen, begins).any()


def test_hair_that_has_the_colors_of_the_light_gets_no_more_of_it() -> None:
    """But it is lighter on the side from which that comes, and follows it over time."""
    frames, photo_light = np.zeros((40, 3, 3), np.float32), np.zeros((3, 3), np.float32)
    frames[:, 2, 0], frames[:, :, 1] = -1, 0.2
    frames[20:, :, 0] -= 2
    given = frames, photo_light, np.ones(40, bool), np.arange(40) == 0
    found = light_on_hair(*given, lit=True)
    middle = np.median(found[:, :, 0], 0)
    assert np.ptp(middle) < 1e-6, "no tint"
    assert np.ptp(light_on_hair(*given)[0, :, 0]) > 0.05
    assert found[0, :, 1] == pytest.approx([0.6 * 0.2] * 3)
    assert found[0, 0, 0] - found[-1, 0, 0] > 1.5


def test_what_skins_differ_in_is_not_taken_for_light() -> None:
    """Tanned skin beside pale skin, and skin in greenish light beside skin in daylight."""
    seen, begins = np.ones(1, bool), np.ones(1, bool)

    def told(color: tuple[float, float, float]) -> NDArray[np.float32]:
        frame = np.zeros((1, 3, 3), np.float32)
        frame[0, :, 0] = color
        return light_on_hair(frame, np.zeros((3, 3), np.float32), seen, begins)[0, :, 0]

    tanned, green = told((0.2, 0.0, -0.2)), told((-0.1, 0.2, -0.1))
    assert np.ptp(tanned) < 0.2 * 0.4
    assert green[1] - green[0] == pytest.approx(0.4 * 0.3, abs=0.01)


def test_in_which_the_white_of_eyes_agrees_is_the_lights() -> None:
    skin = np.array([0.2, 0.0, -0.2])
    agreed = light_color(skin, np.array([0.5, 0.1, 0.2]))
    assert agreed[0] - agreed[1] == pytest.approx(0.7 * 0.2)
    assert agreed[2] == pytest.approx(agreed[1]), "the eyes are not bluer"
    assert agreed.sum() == pytest.approx(0)
    assert light_color(skin, np.array([0.1, 0.1, 0.1])) == pytest.approx([0, 0, 0])
    assert np.ptp(light_color(skin, None)) < 0.2 * 0.4


def test_light_is_put_on_hair() -> None:
    at, grid = Place(turned(0), 20.0, np.array([30.0, 30.0])), Grid(0, 0, 1, 60, 60)
    gray = np.full((60, 60, 3), 100, np.float32)
    none = np.zeros((3, 3), np.float32)
    np.testing.assert_allclose(lit(gray, none, at, grid), gray, atol=0.6)
    darker, slanted = none.copy(), none.copy()
    darker[:, 0], slanted[:, 1] = -1, 0.5
    assert (lit(gray, darker, at, grid) < 75).all()
    across = lit(gray, slanted, at, grid)[30, :, 0]
    assert (np.diff(across) > 0).all() and across[0] > 60
