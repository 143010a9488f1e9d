"""What more of a person's hair looks like."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests.stages.faces import face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.imaging.color import levels_to_lab
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.hair_texture import (
    combed,
    contrasts,
    fallen_by,
    hair_texture,
    long_strands,
    textured,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped
from vidhair.stages.smooth import Pivots
from vidhair.stages.steady import faces_of, places_of
from vidhair.types import Frames

SIZE, SIDE = (160, 120), 120.0
OWN, NEW = (20, 90, 20, 90), (90, 140, 20, 90)


def box(top: int, bottom: int, left: int, right: int) -> NDArray[np.float32]:
    plane = np.zeros(SIZE, np.float32)
    plane[top:bottom, left:right] = 1
    return plane


def striped(own: NDArray[Any]) -> NDArray[np.uint8]:
    """Hair of strands, before a plain wall."""
    picture = np.full((*SIZE, 3), 200, np.uint8)
    strands = 70 + 20 * np.sin(np.arange(SIZE[1]))[None, :, None] * np.ones((SIZE[0], 1, 3))
    picture[own > 0] = strands.astype(np.uint8)[own > 0]
    return picture


def view(own: NDArray[Any]) -> torch.Tensor:
    lab = levels_to_lab(torch.from_numpy(striped(own))[None])[0]
    return torch.cat([lab, torch.from_numpy(own)[None]])


def test_strands_go_on_below_own_hair() -> None:
    detail, known, contrast = textured(view(box(*OWN)), box(*NEW) > 0, SIDE)
    below = detail[0, 95:138, 25:85]
    whole = float(np.linalg.norm(contrast))
    assert whole > 3 and below.std() > 0.7 * whole
    down, across = (np.abs(np.diff(below, axis=axis)).mean() for axis in (0, 1))
    assert down < 0.3 * across, "they hang"
    assert 0.2 < known[100, 50] < 0.5 and not known[10].any(), "half as long as a face's crop"
    assert abs(below.mean()) < 0.3 * whole, "no color of its own"


def test_hair_that_is_too_short_or_missing_tells_nothing() -> None:
    short, nothing = box(80, 88, 20, 90), box(0, 0, 0, 0)
    _, known, contrast = textured(view(short), box(*NEW) > 0, SIDE)
    assert not known.any() and contrast.any()
    detail, known, contrast = textured(view(nothing), box(*NEW) > 0, SIDE)
    assert not detail.any() and not known.any() and not contrast.any()


def test_how_far_hair_has_fallen() -> None:
    hair = box(10, 50, 0, 60) + box(0, 5, 60, 120)
    found = fallen_by(hair > 0)
    assert found[49, 30] == 40 and found[12, 30] == 3 and found[4, 90] == 5
    assert not found[hair == 0].any()


def test_strands_of_long_hair_show_on_long_hair_beside_it() -> None:
    """Own hair is long on the left and short on the right; new hair is above, and below both."""
    own = box(40, 110, 5, 35) + box(40, 52, 95, 115)
    new = box(25, 40, 5, 35) + box(110, 150, 5, 35) + box(52, 62, 95, 115)
    share = long_strands(own > 0, new > 0, SIDE / 2)
    assert share[130, 20] > 0.99, "below long hair"
    assert share[28, 20] < 0.05, "where hair begins it has not hung"
    assert share[58, 105] < 0.05, "below short hair"


def test_soft_hair_has_soft_streaks() -> None:
    """Of a clip that is out of focus: no fine streaks, and the broad ones as they were."""
    rng, there = np.random.default_rng(0), box(*OWN) > 0
    sharp = gaussian_filter(rng.standard_normal(SIZE), 0.3) * 4
    sharp += gaussian_filter(rng.standard_normal(SIZE), 2.0) * 40
    soft = gaussian_filter(sharp, 1.2)
    crisp, blurred = (contrasts(x.astype(np.float32), there, SIDE) for x in (sharp, soft))
    assert crisp[0] > 1.5 and blurred[0] < 0.3 * crisp[0]
    assert 0.6 < blurred[2] / crisp[2] < 1.05


class TestStage:
    """Two frames of one shot, in the second of which the head has moved; then one without it."""

    MOVED = 6

    def made(self) -> tuple[Any, Any, Any, Any]:
        own = [box(*OWN), np.roll(box(*OWN), self.MOVED, 1), box(0, 0, 0, 0)]
        new = [box(*NEW), np.roll(box(*NEW), self.MOVED, 1), box(0, 0, 0, 0)]
        count, numbers = 3, np.zeros((3, 3), np.float32)
        frames = Frames.of_pixels(np.stack([striped(x) for x in own]))
        levels = np.stack([(255 * np.stack([0 * x, x])).astype(np.uint8) for x in new])
        alpha = np.stack([(255 * x).astype(np.uint8) for x in own])
        area = Box(0.0, 20.0, SIDE)
        moved = np.array([[0, 0, 0, 1.0], [0, self.MOVED / SIDE, 0, 1.0], [0, 0, 0, 1.0]])
        pivots = Pivots(np.zeros((count, 1, 1), np.float32), moved)
        track = face_track([(55.0, 70.0, 30.0), (61.0, 70.0, 30.0), None], area)
        window = HairWindow(0, 0, 1, *SIZE, SIDE)
        found = hair_texture(
            InMemory(frames), InMemory(Matte(alpha, numbers[:, 0], numbers)),
            InMemory(Reshaped(levels, numbers)), InMemory(pivots), InMemory(track),
            Canvas(120, Extent(top=20, bottom=20), 0.0, 0.0, 1.0), window,
        )  # fmt: skip
        return found, faces_of(pivots, track), window, area

    def test_it_is_made_once_for_a_shot_and_moves_with_the_head(self) -> None:
        found, faces, window, area = self.made()
        assert found.shot.tolist() == [0, 0, 0] and len(found.detail) == 1
        places = places_of(window, area)
        first, second = (found.on_head(row, faces[row], places, window, area) for row in (0, 1))
        shift = int(np.sign(second[1][100].nonzero()[0][0] - first[1][100].nonzero()[0][0]))
        assert shift != 0
        here, there = first[0][0, 95:135, 30:80], second[0][0, 95:135]
        moved = there[:, 30 + shift * self.MOVED : 80 + shift * self.MOVED]
        assert here.std() > 2 and (here - moved).abs().max() < 0.1 * here.std() + 0.2


def test_new_strands_are_combed_and_own_ones_left() -> None:
    """Upright strands, crossed by a single hair."""
    rng = np.random.default_rng(3)
    detail = np.tile(rng.normal(0, 3, (1, 1, 60)), (3, 80, 1)).astype(np.float32)
    for row in range(80):
        detail[:, row, (row // 2) % 60] += 20
    new = np.zeros((80, 60), bool)
    new[40:] = True
    found = combed(detail, new, 6.0)
    assert np.array_equal(found[:, :40], detail[:, :40])
    before, after = (
        np.diff(x[0, 50:70], axis=0).std() / x[0, 50:70].std() for x in (detail, found)
    )
    assert after < before / 3
    assert abs(found[0, 50:70].std() / detail[0, 50:70].std() - 1) < 0.3
    assert np.array_equal(combed(detail, np.zeros_like(new), 6.0), detail)
