"""Holes are filled with what is around them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.imaging.patches import inpaint, nearest_through, spread


def stripes(size: int = 64, period: int = 8) -> NDArray[np.float32]:
    column = np.where(np.arange(size) % period < period // 2, 60, 180).astype(np.float32)
    return np.broadcast_to(column[None, :, None], (size, size, 3)).copy()


def test_texture_goes_on() -> None:
    picture = stripes()
    hole = np.zeros((64, 64), bool)
    hole[20:42, 22:41] = True
    made = inpaint(np.where(hole[..., None], 255, picture), hole, ~hole)
    assert np.abs(made - picture).mean() < 3, "a blur would be off by 60"
    assert np.array_equal(made[~hole], picture[~hole])


def test_a_slow_change_joins_without_a_seam() -> None:
    picture = np.broadcast_to(np.arange(64, dtype=np.float32)[:, None, None] * 2, (64, 64, 3))
    hole = np.zeros((64, 64), bool)
    hole[16:48, 24:40] = True
    made = inpaint(np.where(hole[..., None], 0, picture), hole, ~hole)
    assert np.abs(made - picture).max() < 12
    assert np.abs(np.diff(made, axis=1)).max() < 4


def test_what_is_unlike_at_one_border_colors_that_border_alone() -> None:
    picture = np.full((60, 130, 3), 10, np.float32)
    picture[:, 127:] = 90
    hole = np.zeros((60, 130), bool)
    hole[:, 30:127] = True
    made = inpaint(picture, hole, ~hole)
    assert made[:, 30:65].max() < 22 and made.min() >= 10
    assert made[:, 126].min() > 70, "without a seam"


def test_a_hole_with_little_around_it_keeps_the_colors_of_its_patches() -> None:
    """Of sequins, whose steps do not agree and add up to other colors."""
    sequins = np.random.default_rng(2).uniform(60, 220, (16, 16, 3)).repeat(4, 0).repeat(4, 1)
    picture, source = np.zeros((64, 160, 3), np.float32), np.zeros((64, 160), bool)
    picture[:, :64], source[:, :64] = sequins, True
    hole = np.zeros_like(source)
    hole[20:44, 64:150] = True
    usual = picture[source].mean(0)
    away = [inpaint(picture, hole, source, anchor)[24:40, 110:150] for anchor in (1e-3, 0.05)]
    off = [np.abs(made.mean((0, 1)) - usual).max() for made in away]
    assert off[1] < 8 < 20 < off[0]


def test_what_is_in_neither_is_not_looked_at() -> None:
    picture, hole, hidden = stripes(), np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    hole[20:30, 20:30], hidden[30:40, 20:30] = True, True
    picture[hole | hidden] = 7
    other = picture.copy()
    other[hidden] = 250
    first, second = (inpaint(p, hole, ~(hole | hidden)) for p in (picture, other))
    assert np.array_equal(first[hole], second[hole])


def test_it_is_the_same_every_time() -> None:
    rng = np.random.default_rng(0)
    picture = rng.uniform(0, 255, (48, 48, 3)).astype(np.float32)
    hole = np.zeros((48, 48), bool)
    hole[15:30, 15:30] = True
    assert np.array_equal(inpaint(picture, hole, ~hole), inpaint(picture, hole, ~hole))


@pytest.mark.parametrize("seen", [0, 5])
def test_too_little_around_it_gives_an_even_color(seen: int) -> None:
    picture = np.full((40, 40, 3), 90, np.float32)
    source = np.zeros((40, 40), bool)
    source[:seen, :seen] = True
    made = inpaint(picture, ~source, source)
    assert np.isfinite(made).all()
    assert not seen or np.allclose(made, 90, atol=1)


def test_colors_spread_from_where_they_are_seen() -> None:
    picture = np.zeros((16, 16, 3), np.float32)
    seen = np.zeros((16, 16), bool)
    picture[4:8, 4:8], seen[4:8, 4:8] = 50, True
    assert np.allclose(spread(picture, seen), 50, atol=0.01)


def test_a_hole_goes_on_from_where_ways_through_it_lead() -> None:
    source, hole = np.zeros((5, 9), bool), np.zeros((5, 9), bool)
    source[:, 0] = source[:, 8] = True
    hole[:, 1:8] = True
    hole[:4, 5] = False  # a wall, with a gap below
    rows, columns = nearest_through(hole, source)
    assert (columns[0, 1:5] == 0).all() and (columns[0, 6:8] == 8).all()
    assert (rows[0, :4] == 0).all()
    assert columns[4, 5] == 8
    shut = hole.copy()
    shut[:, 5] = False
    source[:, 8] = False
    assert (nearest_through(shut, source)[1][:, 6:8] == 0).all(), "at least what is nearest"
