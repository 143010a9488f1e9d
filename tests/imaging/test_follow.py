"""What lies still in a scene, followed while the camera moves."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from vidhair.imaging.follow import (
    STILL,
    Bend,
    Follower,
    inverse,
    median,
    moved,
    moved_back,
    scaled,
    shifted,
)


def texture(size: int = 96) -> NDArray[np.float64]:
    noise = np.random.default_rng(3).standard_normal((size, size))
    smooth = gaussian_filter(noise, 2)
    return np.repeat((128 + smooth / smooth.std() * 40)[..., None], 3, -1)


def seen_at(x: float, y: float) -> NDArray[np.uint8]:
    return shift(texture(), (y, x, 0), order=3, mode="nearest").clip(0, 255).astype(np.uint8)


def test_a_shift_is_followed_from_frame_to_frame() -> None:
    follow, known = Follower(), np.ones((96, 96), bool)
    for way in range(4):
        found = follow(seen_at(1.5 * way, -way), known)
        assert found is not None
        there = found @ [48, 48, 1]
        assert np.allclose(there - 48, [1.5 * way, -way], atol=0.25)


def test_a_stiff_one_neither_turns_nor_grows() -> None:
    follow, known = Follower(stiff=True), np.ones((96, 96), bool)
    follow(seen_at(0, 0), known)
    found = follow(seen_at(2, 1), known)
    assert found is not None
    assert np.allclose(found, shifted(np.array([2, 1])), atol=0.25)
    assert np.array_equal(found[:, :2], np.eye(2))


def test_what_does_not_move_stays_exactly() -> None:
    follow, known = Follower(), np.ones((96, 96), bool)
    noise = np.random.default_rng(0).integers(-4, 5, (2, 96, 96, 3))
    for picture in (texture() + noise).clip(0, 255).astype(np.uint8):
        found = follow(picture, known)
        assert found is not None and np.array_equal(found, STILL)


def test_too_little_to_follow_is_no_move() -> None:
    follow, flat = Follower(), np.full((96, 96, 3), 90, np.uint8)
    follow(flat, np.ones((96, 96), bool))
    assert follow(flat, np.ones((96, 96), bool)) is None


def test_moves_turn_back_and_scale() -> None:
    move = np.array([[0.9, -0.2, 3.0], [0.2, 0.9, -5.0]])
    there = move @ [4, 7, 1]
    assert np.allclose(inverse(move) @ [*there, 1], [4, 7])
    assert np.allclose(scaled(move, 3) @ [12, 21, 1], 3 * there)


def test_a_part_of_what_moved_is_that_part() -> None:
    picture, move = seen_at(0, 0), shifted(np.array([2.0, 1.0]))
    whole = moved(picture, move)
    assert np.array_equal(whole[:-1, :-2], picture[1:, 2:])
    part = slice(10, 20), slice(30, 50)
    assert np.array_equal(moved(picture, move, part), whole[part])


def test_a_bend_is_undone() -> None:
    picture, bend = seen_at(0, 0), Bend(np.array([4.0, -2.0]), 30, 60)
    move = shifted(np.array([3.0, 1.0]))
    bent = moved_back(picture, move, bend=bend)
    inside = np.s_[10:80, 15:80]
    again = moved(bent, move, bend=bend).astype(int)
    assert np.abs(again[inside] - picture[inside]).mean() < 3
    assert np.array_equal(bent[70:80, 20:80], picture[69:79, 17:77]), "below it only moves"
    assert np.array_equal(bent[8:20, 20:80], picture[9:21, 13:73]), "above it is moved by all"


def test_the_median_is_of_what_is_known() -> None:
    pictures = [np.full((2, 2, 3), v, np.uint8) for v in (10, 20, 200)]
    known = [np.ones((2, 2), bool), np.ones((2, 2), bool), np.zeros((2, 2), bool)]
    known[2][0, 0] = True
    for mask in known:
        mask[1, 1] = False
    made, seen = median(pictures, known)
    assert made[0, 0, 0] == 20 and made[0, 1, 0] == 10
    assert seen.tolist() == [[True, True], [True, False]] and not made[1, 1].any()
