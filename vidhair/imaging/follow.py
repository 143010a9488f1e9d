"""What lies still in a scene while the camera moves, or moves as one: followed, and put together.

Places are (x, y) in samples, with the corner of the first one at the origin. A move is an affine
map [2, 3] of places in a reference picture to those in another one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.imaging.motion import flow, sample

Picture = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Move = NDArray[np.float64]

STILL: Move = np.array([[1.0, 0, 0], [0, 1.0, 0]])
UNBENT = 4  # rounds in which a bend is undone
EVERY = 3  # of how many samples one tells of a move
LOOKS, FITS = 2, 5  # at every picture; of a move, each with what fits it better
OFF_MOVE = 1.0  # distance in samples at which a place tells less of the move
FLAT = 8.0  # change of levels from sample to sample, below which a place tells little
LEAST = 150  # uneven samples from which on something can be followed
PLAINER, MOST_UNLIKE = 0.85, 60.0  # share of the unlikeness without a move; counted up to so much


class Follower:
    """Follows what is known of pictures, given one after the other, from the first one on.

    stiff: whether it only shifts, and neither turns nor grows.
    """

    def __init__(self, stiff: bool = False) -> None:
        self._stiff = stiff
        self._first: tuple[Picture, Mask] | None = None
        self._last = STILL

    def __call__(self, picture: Picture, known: Mask) -> Move | None:
        """The move of a picture uint8 [h, w, 3], a similarity; None where too little is known of
        it [h, w]."""
        if self._first is None:
            self._first = picture, known
            return STILL
        found = _moved(*self._first, picture, known, self._last, self._stiff)
        self._last = self._last if found is None else found
        return found


def _moved(
    reference: Picture, known: Mask, picture: Picture, mask: Mask, guess: Move, stiff: bool
) -> Move | None:
    slope = np.hypot(*np.gradient(reference.mean(-1)))
    move, uneven = guess, known & (slope > FLAT)
    for _ in range(LOOKS):
        both = known & (moved(mask.astype(np.uint8), move) > 0)
        if (both & uneven).sum() < LEAST:
            return None
        motion = flow(reference, moved(picture, move))
        rows, columns = (index[::EVERY] for index in np.nonzero(both))
        steep = slope[rows, columns] ** 2
        places = (columns + 0.5) + 1j * (rows + 0.5)
        way = motion[rows, columns] @ [1, 1j]
        a, b = _similarity(places, places + way, steep / (steep + FLAT**2) + 1e-3, stiff)
        change = np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
        turn = move[:, :2]
        move = np.column_stack([turn @ change[:, :2], turn @ change[:, 2] + move[:, 2]])
    # What explains hardly more than that nothing moves is no move.
    still, found = (_unlike(reference, uneven, picture, mask, m) for m in (STILL, move))
    return move if found < PLAINER * still else STILL


def _similarity(
    places: NDArray[np.complex128],
    there: NDArray[np.complex128],
    weight: NDArray[np.float64],
    stiff: bool,
) -> tuple[complex, complex]:
    """a and b of there = a · places + b, that most of the places agree on."""
    share, turn, shift = weight, 1 + 0j, 0j
    for _ in range(FITS):
        total = share.sum()
        p, q = (share @ v / total for v in (places, there))
        if not stiff:
            spread = np.conj(places - p) * share
            turn = (spread @ (there - q)) / (spread @ (places - p)).real
        shift = q - turn * p
        off = np.abs(turn * places + shift - there)
        share = weight / (1 + (off / OFF_MOVE) ** 2) ** 2
    return turn, shift


def _unlike(reference: Picture, known: Mask, picture: Picture, mask: Mask, move: Move) -> float:
    """Mean difference in levels, where both are known."""
    both = known & (moved(mask.astype(np.uint8), move) > 0)
    away = reference[both].astype(np.float32) - moved(picture, move)[both]
    return float(np.minimum(np.abs(away), MOST_UNLIKE).mean()) if both.any() else 0.0


def scaled(move: Move, times: float) -> Move:
    """The same move of pictures that have as many times the samples along their sides."""
    return np.column_stack([move[:, :2], move[:, 2] * times])


def shifted(by: NDArray[Any]) -> Move:
    """The move by [x, y]."""
    return np.column_stack([np.eye(2), by])


def inverse(move: Move) -> Move:
    turn = np.linalg.inv(move[:, :2])
    return np.column_stack([turn, -turn @ move[:, 2]])


@dataclass(frozen=True)
class Bend:
    """What places of the reference are moved by beside a move: all of [x, y] above a row, nothing
    below another one."""

    by: NDArray[np.float64]
    top: float
    bottom: float

    def at(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """[..., 2] for rows of the reference [...]."""
        share = np.clip((self.bottom - rows) / (self.bottom - self.top), 0, 1)
        found: NDArray[np.float64] = share[..., None] * self.by
        return found


def moved(
    values: NDArray[Any],
    move: Move,
    part: tuple[slice, slice] | None = None,
    *,
    sharp: bool = False,
    bend: Bend | None = None,
) -> NDArray[Any]:
    """What a picture [h, w] or [h, w, C] shows where the places of the reference have moved to.

    part: of the reference, rows and columns. sharp: by cubics between samples.
    """
    rows, columns = part or (slice(0, values.shape[0]), slice(0, values.shape[1]))
    if bend is None and np.array_equal(move, STILL):
        return values[rows, columns]
    places = _places(rows, columns)
    there = _apply(move, places) + (0 if bend is None else bend.at(places[..., 1]))
    return sample(values, (there - 0.5).astype(np.float32), sharp)


def moved_back(
    values: NDArray[Any],
    move: Move,
    part: tuple[slice, slice] | None = None,
    *,
    sharp: bool = False,
    bend: Bend | None = None,
) -> NDArray[Any]:
    """What the reference [h, w] or [h, w, C] shows of places that have moved, at where they are.

    part: of where they are, rows and columns.
    """
    back = inverse(move)
    if bend is None:
        return moved(values, back, part, sharp=sharp)
    rows, columns = part or (slice(0, values.shape[0]), slice(0, values.shape[1]))
    places = _places(rows, columns)
    there = _apply(back, places)
    for _ in range(UNBENT):
        there = _apply(back, places - bend.at(there[..., 1]))
    return sample(values, (there - 0.5).astype(np.float32), sharp)


def _places(rows: slice, columns: slice) -> NDArray[np.float64]:
    x, y = np.arange(columns.start, columns.stop) + 0.5, np.arange(rows.start, rows.stop) + 0.5
    return np.stack(np.meshgrid(x, y), -1)


def _apply(move: Move, places: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = places @ move[:, :2].T + move[:, 2]
    return found


def median(pictures: Sequence[Picture], known: Sequence[Mask]) -> tuple[Picture, Mask]:
    """Of what is known in several pictures [h, w, 3], sample by sample, and where anything is."""
    made, seen = np.zeros_like(pictures[0]), np.any(known, axis=0)
    for row in range(len(made)):
        mask = np.stack([one[row] for one in known])
        values = np.stack([one[row] for one in pictures]).astype(np.uint16)
        values[~mask] = np.iinfo(np.uint16).max  # sorted behind what is known
        values.sort(axis=0)
        middle = np.maximum(mask.sum(0) - 1, 0) // 2
        made[row] = np.take_along_axis(values, middle[None, :, None], 0)[0]
    made[~seen] = 0
    return made, seen
