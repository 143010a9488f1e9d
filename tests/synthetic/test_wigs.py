"""Hairstyles on nobody in particular: what falls in front, what lies behind, where it ends."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from vidhair.synthetic import wigs
from vidhair.synthetic.wigs import HAIRSTYLES, WigPicture, hanging, wig

SIZE = (144, 180)
FACE = (slice(70, 85), slice(65, 80))  # between the eyes and the mouth


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wigs, "SIZE", SIZE)
        yield


def made(down: float) -> WigPicture:
    return wig(replace(hanging(HAIRSTYLES["long"], down), count=6000, width=0.005))


@pytest.fixture(scope="module")
def bob() -> WigPicture:
    return made(0.9)


def test_a_face_is_free_of_hair_and_the_crown_is_not(bob: WigPicture) -> None:
    assert bob.picture.shape == bob.levels.shape == (*SIZE[::-1], 3)
    assert bob.alpha[FACE].max() < 0.05 and bob.skin[FACE].min() > 0.95
    crown = slice(36, 44), slice(74, 86)
    assert bob.alpha[crown].min() > 0.9 and bob.skin[crown].max() < 0.1


def test_hair_of_the_back_lies_behind_the_neck(bob: WigPicture) -> None:
    assert (bob.behind >= bob.alpha - 0.02).all()
    neck = slice(110, 120), slice(66, 78)
    assert bob.skin[neck].min() > 0.9 and bob.alpha[neck].max() < 0.1
    assert bob.behind[neck].mean() > 0.5


def test_longer_hair_ends_lower_and_before_no_shoulders(bob: WigPicture) -> None:
    last = [np.flatnonzero((x.alpha > 0.5).any(1)).max() for x in (bob, made(1.8))]
    assert last[1] > last[0] + 15
    assert not (bob.skin[170:] > 0).any(), "a neck ends, and nothing is below it"


def test_colors_go_on_where_hair_is_hidden(bob: WigPicture) -> None:
    there = bob.behind > 0.9
    levels = bob.levels[there].astype(float).mean(1)
    assert levels.min() > 8 and 0.2 < levels[bob.alpha[there] < 0.1].mean() / levels.mean() < 0.9


def test_a_style_always_looks_the_same() -> None:
    again = made(0.9), made(0.9)
    assert all(
        np.array_equal(a, b) for a, b in zip(*(vars(x).values() for x in again), strict=True)
    )
