"""What `python -m tests.picture` says of numbers, and which frames it takes."""

import dataclasses

import numpy as np
import pytest

from tests.picture import (
    BOUNDS,
    around,
    broken,
    line,
    numbers_of,
    overlap_of,
    spread,
    stacked,
    worst_region,
)
from vidhair.metrics.hair import Leak, Recoloring

FINE = Recoloring(Leak(0.1, 0.001, 900), {}, 0.95, 1.0, 0.001, 1.1, 1.0, 0.01, 0.2)


def test_every_bound_is_of_a_number_and_breaks() -> None:
    assert broken(numbers_of(FINE)) == []
    over = Recoloring(Leak(0.4, 0.003, 900), {}, 0.8, 0.5, 0.01, 1.2, 1.0, 0.01, 0.2)
    assert broken(numbers_of(over)) == list(BOUNDS)
    assert line(numbers_of(over)).count("!") == len(BOUNDS) and "!" not in line(numbers_of(FINE))


def test_what_could_not_be_measured_does_not_hold() -> None:
    assert broken(numbers_of(dataclasses.replace(FINE, flicker=float("nan")))) == ["flicker"]


def test_the_region_that_leaks_most_pixels_is_told() -> None:
    regions = {"ear": Leak(9.0, 0.5, 10), "neck": Leak(1.0, 0.1, 1000), "face": Leak(0.0, 0.0, 0)}
    assert worst_region(dataclasses.replace(FINE, regions=regions)) == "neck 10.0%"
    assert worst_region(FINE) == ""


@pytest.mark.parametrize("most", [0, 30, 100])
def test_all_frames_are_taken_once(most: int) -> None:
    assert [frame for run in spread(30, most) for frame in run] == list(range(30))


def test_a_few_frames_are_pairs_from_the_first_to_the_last() -> None:
    runs = spread(100, 8)
    assert len(runs) == 4 and all(len(run) == 2 for run in runs)
    assert runs[0].start == 0 and runs[-1].stop == 100


def test_maps_overlap_where_both_say_hair() -> None:
    one, other = np.array([[0.9, 0.9, 0.1, 0.6]]), np.array([[0.8, 0.2, 0.3, 0.7]])
    assert overlap_of(one.astype(np.float32), other.astype(np.float32)).tolist() == [2, 3]


def test_a_square_at_the_border_goes_on() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert (around(picture, 0, 0, 4)[:3, :3] == picture[0, 0]).all()
    assert around(picture, 1, 1, 4).shape == (4, 4, 3)


def test_rows_of_different_widths_are_stacked() -> None:
    wide, narrow = np.ones((2, 5, 3), np.uint8), np.ones((3, 2, 3), np.uint8)
    found = stacked([[wide], [narrow, narrow]])
    assert found.shape == (5, 5, 3) and found[2:, 4].max() == 0
