"""Means over frames, where they show the same place of the head."""

import numpy as np
import pytest
import torch

from tests.stages.faces import face_track
from vidhair.geometry import Box, Grid
from vidhair.models.generators.stylegan3 import Extent, make_transform
from vidhair.stages.render import Canvas
from vidhair.stages.smooth import TAPS
from vidhair.stages.steady import (
    Averaged,
    faces_seen,
    mean_on_head,
    neighbour_weights,
    places_of,
)

CANVAS = Canvas(64, Extent(8, 4, 0, 16), 0.0, 0.0, 1.0)
PLACE = CANVAS.grid, Box(CANVAS.nominal.left, CANVAS.nominal.top, 64.0)


def test_neighbours_count_within_their_run_and_sum_to_one() -> None:
    begins = np.array([1, 0, 0, 1, 0, 0, 0, 0], bool)
    for row in range(len(begins)):
        weights = neighbour_weights(row, begins, TAPS)
        assert weights.sum() == pytest.approx(1)
        same = np.cumsum(begins) == np.cumsum(begins)[row]
        assert not weights[~same].any() and weights.argmax() == row
    assert np.array_equal(neighbour_weights(3, begins, np.ones(1)), np.arange(8) == 3)


def test_masks_of_neighbours_are_seen_where_the_head_was() -> None:
    """A spot that stays on the head is in one place, however the head moves."""
    moves = [make_transform((0.03 * k, -0.02 * k), 8.0 * k) for k in range(5)]
    faces = torch.stack([move.inverse().float() for move in moves])
    spot = torch.tensor([0.1, -0.15])
    masks = torch.zeros(5, 1, CANVAS.height, CANVAS.width)
    y, x = torch.meshgrid(
        torch.arange(CANVAS.height) + 0.5, torch.arange(CANVAS.width) + 0.5, indexing="ij"
    )
    for mask, move in zip(masks, moves, strict=True):
        place = (move[:2, :2].float() @ spot + move[:2, 2].float() + 0.5) * 64
        at = place + torch.tensor([CANVAS.extent.left, CANVAS.extent.top])
        mask[0] = torch.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 50)
    index = (torch.arange(32) + 0.5) / 32 - 0.5
    places = torch.stack(torch.meshgrid(index, index, indexing="xy"), -1)[None]
    weights = neighbour_weights(2, np.arange(5) == 0, TAPS)
    alone = mean_on_head(masks, 2, (np.arange(5) == 2).astype(float), places, faces, *PLACE)
    smoothed = mean_on_head(masks, 2, weights, places, faces, *PLACE)
    torch.testing.assert_close(smoothed, alone, atol=0.02, rtol=0)
    still = mean_on_head(masks, 2, weights, places, torch.eye(3).repeat(5, 1, 1), *PLACE)
    assert (still - alone).abs().max() > 0.05


@pytest.mark.parametrize("step", [1.0, 2.5])
def test_the_places_of_a_grid_show_it_as_it_is(step: float) -> None:
    grid, box = Grid(3.0, -7.0, step, 20, 30), Box(10.0, 5.0, 40.0)
    values = torch.rand(1, 2, 20, 30)
    found = mean_on_head(values, 0, np.ones(1), places_of(grid, box), torch.eye(3)[None], grid, box)
    torch.testing.assert_close(found, values, atol=1e-4, rtol=0)


def test_frames_are_looked_at_once_and_averaged_within_their_run() -> None:
    asked = []

    def make(row: int) -> torch.Tensor:
        asked.append(row)
        return torch.full((1, 4, 4), float(row))

    grid, begins = Grid.of_pixels(4, 4), np.array([1, 0, 0, 1, 0], bool)
    averaged = Averaged(make, np.ones(3), torch.eye(3).repeat(5, 1, 1), begins, grid, Box(0, 0, 4))
    assert [float(averaged(row).mean()) for row in range(5)] == [0.5, 1, 1.5, 3.5, 3.5]
    assert asked == [0, 1, 2, 3, 4] and float(averaged.of(4).mean()) == 4


def test_faces_are_seen_where_each_frame_shows_them() -> None:
    """The same place of a face, in the box, lies at the same place of it in every frame."""
    box = Box(0.0, 0.0, 64.0)
    first, last = (30.0, 32.0, 12.0), (44.0, 26.0, 15.0)
    faces = faces_seen(face_track([first, None, last], box)).numpy()
    assert np.array_equal(faces[1], np.eye(3))
    chins = [
        face @ [x / 64 - 0.5, (y + size) / 64 - 0.5, 1]
        for face, (x, y, size) in zip(faces[::2], (first, last), strict=True)
    ]
    np.testing.assert_allclose(chins[0], chins[1], atol=1e-3)
