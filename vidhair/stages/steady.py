"""Means over neighbouring frames, of what these show at the same place of the head."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Box, Grid, crop_axes, similarity_in_box
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import input_transforms
from vidhair.stages.smooth import Pivots


def neighbour_weights(
    row: int, begins: NDArray[np.bool_], taps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[T], summing to one: of the frames around `row`, in the same run of frames."""
    run = np.cumsum(begins)
    weights = np.zeros(len(begins))
    reach = len(taps) // 2
    for offset, tap in zip(range(-reach, reach + 1), taps, strict=True):
        other = row + offset
        if 0 <= other < len(begins) and run[other] == run[row]:
            weights[other] = tap
    found: NDArray[np.float64] = weights / weights.sum()
    return found


def places_of(grid: Grid, box: Box) -> Tensor:
    """Where the samples of a grid lie in a box, [1, h, w, 2], in its sides around its centre."""
    x = ((torch.arange(grid.width) + 0.5) * grid.step + grid.left - box.left) / box.side - 0.5
    y = ((torch.arange(grid.height) + 0.5) * grid.step + grid.top - box.top) / box.side - 0.5
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]


def mean_on_head(
    values: Tensor, row: int, weights: NDArray[np.float64], places: Tensor, faces: Tensor,
    grid: Grid, box: Box,
) -> Tensor:  # fmt: skip
    """Values of neighbouring frames on a grid [T, C, h, w], averaged at places of one of them.

    weights: [T], of the frames for `row`; places: [1, h', w', 2], in the box; faces: [T, 3, 3],
    positions in the box → in the face. Returns [1, C, h', w'].
    """
    face = faces[row]
    total = places.new_zeros(1, values.shape[1], *places.shape[1:3])
    size = places.new_tensor([grid.width, grid.height]) * grid.step
    corner = places.new_tensor([box.left - grid.left, box.top - grid.top])
    for other in np.flatnonzero(weights).tolist():
        # From the place on this frame's head to the same place of the head in the other one.
        way = torch.linalg.inv(faces[other]) @ face
        there = places @ way[:2, :2].t() + way[:2, 2]
        at = ((there + 0.5) * box.side + corner) * 2 / size - 1
        value = values[other : other + 1].to(places)
        found = F.grid_sample(value, at, padding_mode="border", align_corners=False)
        total += float(weights[other]) * found
    return total


class Averaged:
    """Means over frames around each one, of what a function makes of them, [C, h, w] on a grid.

    faces: [T, 3, 3], positions in the box → in the face; begins: [T], where means begin anew;
    taps: [odd], weights of the frames around. What is made is kept for as many frames.
    """

    def __init__(
        self, make: Callable[[int], Tensor], taps: NDArray[np.float64], faces: Tensor,
        begins: NDArray[np.bool_], grid: Grid, box: Box,
    ) -> None:  # fmt: skip
        self._make, self._taps, self._made = make, taps, dict[int, Tensor]()
        self._faces, self._begins, self._grid, self._box = faces, begins, grid, box
        self._places = places_of(grid, box)

    def of(self, row: int) -> Tensor:
        """Of one frame alone."""
        if row not in self._made:
            self._made[row] = self._make(row)
            while len(self._made) > len(self._taps):
                del self._made[min(self._made)]
        return self._made[row]

    def __call__(self, row: int) -> Tensor:
        weights = neighbour_weights(row, self._begins, self._taps)
        near = np.flatnonzero(weights)
        values = torch.stack([self.of(other) for other in near.tolist()])
        place = int(np.flatnonzero(near == row)[0])
        given = weights[near], self._places, self._faces[near], self._grid, self._box
        return mean_on_head(values, place, *given)[0]


def faces_of(pivots: Pivots, track: FaceTrack) -> Tensor:
    """[T, 3, 3], positions in the box → in the face; the identity where it is absent."""
    faces = torch.eye(3).repeat(len(track.present), 1, 1)
    faces[track.present] = input_transforms(pivots.similarity)[track.present]
    return faces


def faces_seen(track: FaceTrack) -> Tensor:
    """As `faces_of`, of where each frame shows the face: heads that begin to move are ahead of what
    is smoothed."""
    faces = torch.eye(3).repeat(len(track.present), 1, 1)
    there = np.flatnonzero(track.present)
    mesh = track.mesh[there]
    similarity = similarity_in_box(crop_axes(*eyes_and_mouth(mesh)), track.box)
    faces[there] = input_transforms(similarity)
    return faces
