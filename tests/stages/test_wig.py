"""Rendered hair as that of a photo."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from vidhair.geometry import Grid
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.ends import LAST, heights
from vidhair.stages.photo import PhotoHair
from vidhair.stages.skull import Place, look, mean_skull
from vidhair.stages.wig import hanging_to, strand_hair
from vidhair.synthetic import wigs
from vidhair.synthetic.wigs import HAIRSTYLES


def worn(y: float) -> PhotoHair:
    return strand_hair(replace(hanging_to(HAIRSTYLES["long"], y), count=6000, width=0.005))


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wigs, "SIZE", (400, 500))
        yield


@pytest.fixture(scope="module")
def bob() -> PhotoHair:
    return worn(0.7)


def end(photo: PhotoHair) -> float:
    at = Place(photo.rotation, photo.scale, photo.shift)
    y = heights(at, Grid.of_pixels(*photo.alpha.shape))
    return float(np.percentile(y[photo.alpha > 127], LAST))


def test_it_ends_where_it_is_asked_to(bob: PhotoHair) -> None:
    assert end(bob) == pytest.approx(0.7, abs=0.15)
    assert end(worn(1.9)) == pytest.approx(1.9, abs=0.15)


def test_it_covers_the_head_of_anybody(bob: PhotoHair) -> None:
    """What it leaves free of the mean skull lies below the hairline."""
    at = Place(bob.rotation, bob.scale, bob.shift)
    inside = look(mean_skull(bob.long), at, Grid.of_pixels(*bob.alpha.shape)).inside > 0
    above = np.arange(len(inside))[:, None] < bob.mesh[:, 1].min() - 0.06 * bob.side
    crown = inside & above
    assert crown.sum() > 1000 and (bob.alpha[crown] > 127).mean() > 0.97


def test_the_face_hides_what_is_behind_it(bob: PhotoHair) -> None:
    face = polygon_mask(0.6 * bob.mesh[list(FACE_OVAL)] + 0.4 * bob.mesh[4], *bob.alpha.shape) > 0.5
    ears = bob.mesh[[234, 454], 1].min() - 0.1 * bob.side
    upper = face & (bob.alpha == 0) & (np.arange(len(face))[:, None] < ears)
    assert upper.sum() > 300 and not bob.behind[upper].any(), "it would shine through skin"
    row = int(bob.mesh[[234, 454], 1].mean() + 0.03 * bob.side)
    wide = [(plane[row] > 127).sum() for plane in (bob.alpha, bob.behind)]
    assert wide[1] > wide[0] + 0.1 * bob.side, "narrower faces hide less"


def test_nobody_has_no_hair() -> None:
    mesh = np.random.default_rng(0).normal(100, 20, (478, 2)).astype(np.float32)
    none = PhotoHair.none(mesh)
    assert not none.alpha.any() and none.mesh.min() >= 0 and none.mesh.max() <= len(none.alpha)
