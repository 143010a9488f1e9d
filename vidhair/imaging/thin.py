"""Thin things in pictures, such as wires: how far places stand out as lines, and what of a line's
surroundings is the line's own.

h × w pixels; N places along a line, K offsets across it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.spatial import cKDTree

from vidhair.imaging.morphology import span_of
from vidhair.imaging.motion import sample
from vidhair.imaging.opencv import opencv

Plane = NDArray[np.float32]

ORIENTATIONS = 8
ACROSS = 0.5  # pixels between offsets across a line
BEND = 0.02  # what a path pays for every offset that it steps aside, in strengths
EVEN = 5  # places along a line over which its colors are even
CORE, BEYOND = 0.35, 1.5  # of a line's width: what is its middle, and how far out is what is beside
LEAST_BESIDE = 2.0  # pixels of that
OTHER = 80.0  # levels off the color of a line that cost a path as much as a strength is worth
OUTLINE = 1.0  # pixels beside a line that show it and what is beside, mixed
TOLD = 12.0  # levels by which a line differs from what is beside it, from which on colors tell it
MIXED = (0.12, 0.85)  # shares of a line's color at which a pixel shows none of it, and it alone


def in_line(one: Plane, other: Plane) -> Plane:
    """How far a middle stands out as a line, [...]: what it differs by from both sides, in levels.

    one, other: [..., 3], the middle minus either side. A step between two sides is none.
    """
    both, first, second = (
        np.einsum("...k,...k->...", *two) for two in ((one, other), (one, one), (other, other))
    )
    found: Plane = both.clip(0) / np.sqrt(np.maximum(first, second) + 1e-3)
    return found


def lines(picture: Plane, widths: Sequence[float]) -> Plane:
    """How far every pixel of a picture [h, w, 3] lies on a line of one of these widths, in pixels:
    [ORIENTATIONS, h, w] in levels, by the angle of its normal, π · k / ORIENTATIONS."""
    cv2 = opencv()
    height, width, _ = picture.shape
    found = np.zeros((ORIENTATIONS, height, width), np.float32)

    def shifted(blurred: Plane, x: float, y: float) -> Plane:
        move = np.array([[1, 0, x], [0, 1, y]], np.float32)
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved: Plane = cv2.warpAffine(
            blurred, move, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE
        )
        return moved

    for wide in widths:
        half = max(wide / 2, 0.7)
        blurred, away = cv2.GaussianBlur(picture, (0, 0), 0.45 * half), 2 * half + 0.3
        for k, angle in enumerate(np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS):
            x, y = away * np.cos(angle), away * np.sin(angle)
            sides = (blurred - shifted(blurred, s * x, s * y) for s in (-1, 1))
            found[k] = np.maximum(found[k], in_line(*sides))
    return found


def normals(line: NDArray[np.float64], closed: bool) -> NDArray[np.float64]:
    """Across lines [..., N, 2] at every place, of length one."""
    along = np.gradient(line, axis=-2)
    if closed:
        along = np.roll(line, -1, -2) - np.roll(line, 1, -2)
    across = np.stack([along[..., 1], -along[..., 0]], -1)
    found: NDArray[np.float64] = across / (np.linalg.norm(across, axis=-1, keepdims=True) + 1e-9)
    return found


@dataclass(frozen=True)
class Trace:
    """A line as it is found in a picture. near: [N, 2], where it was looked for, in pixels; places:
    [N, 2]; across: [N, 2]; widths: [N], in pixels; strengths: [N], as of `in_line`; colors, sides:
    [N, 3] and [2, N, 3], of the line and of what is beside it, in levels."""

    near: NDArray[np.float64]
    places: NDArray[np.float64]
    across: NDArray[np.float64]
    widths: NDArray[np.float64]
    strengths: Plane
    colors: Plane
    sides: Plane


def trace(
    picture: Plane, near: NDArray[np.float64], reach: float, widths: Sequence[float], usual: float,
    closed: bool = False, told: NDArray[np.bool_] | None = None, stiff: float = BEND,
    clear: float = 1.0, color: Plane | None = None,
) -> Trace:  # fmt: skip
    """The line that stands out most of a picture [h, w, 3], near places [N, 2] of another one.

    reach, widths: in pixels; usual: strength of what is no line, in levels; closed: whether it
    comes back to where it begins; told: [h, w], where the picture tells of it; stiff: what every
    offset costs that it steps aside, in logarithms of strengths; clear: share of it, from its
    beginning, that tells how wide it is; color: [3] in levels, that it mostly has.
    """
    across = normals(near, closed)
    margin = int(np.ceil(BEYOND * max(widths) / ACROSS)) + round((OUTLINE + LEAST_BESIDE) / ACROSS)
    inner = round(reach / ACROSS)
    offsets = np.arange(-inner - margin, inner + margin + 1) * ACROSS
    there = (near + offsets[:, None, None] * across - 0.5).astype(np.float32)
    strip = sample(picture, there)
    strengths, wide = _across(strip, [width / ACROSS for width in widths])
    worth = np.log1p(strengths[margin:-margin] / usual)
    if told is not None:
        worth = worth * sample(told.astype(np.float32), there[margin:-margin])
    if color is not None:
        away = np.abs(strip[margin:-margin] - color).max(-1) / OTHER
        worth = worth - away.clip(0, 1)
    rows, columns = margin + _path(worth, closed, stiff), np.arange(len(near))
    strong = strengths[rows, columns]
    first = slice(max(1, round(clear * len(near))))
    clearer = strong[first] >= np.median(strong[first])
    even = np.full(len(near), np.median(wide[rows, columns][first][clearer]))
    places = near + offsets[rows][:, None] * across
    return replace(line_at(picture, places, across, even, strong, closed), near=near)


def line_at(
    picture: Plane, places: NDArray[np.float64], across: NDArray[np.float64],
    widths: NDArray[np.float64], strengths: Plane, closed: bool = False,
) -> Trace:  # fmt: skip
    """A line whose places, [N, 2], are known, with the colors that a picture [h, w, 3] shows."""
    most = BEYOND * widths.max() + OUTLINE + LEAST_BESIDE
    offsets = np.arange(-round(most / ACROSS), round(most / ACROSS) + 1) * ACROSS
    around = sample(picture, (places + offsets[:, None, None] * across - 0.5).astype(np.float32))
    away, half, mode = np.abs(offsets)[:, None], 0.5 * widths, "wrap" if closed else "nearest"
    beside = (away > half + OUTLINE) & (away <= half + OUTLINE + np.maximum(LEAST_BESIDE, widths))

    def mean(where: NDArray[np.bool_]) -> Plane:
        total = (around * where[..., None]).sum(0) / np.maximum(where.sum(0), 1)[:, None]
        found: Plane = uniform_filter1d(total, EVEN, axis=0, mode=mode)
        return found

    one, other = ((sign * offsets > 0)[:, None] for sign in (-1, 1))
    middle = mean(away <= np.maximum(CORE * widths, ACROSS))
    sides = np.stack([mean(beside & one), mean(beside & other)])
    return Trace(places, places, across, widths, strengths, middle, sides)


def _across(strip: Plane, widths: Sequence[float]) -> tuple[Plane, NDArray[np.float64]]:
    """Of a strip [K, N, 3] across a line, how far every place is the middle of one, and of which
    width, in pixels: [K, N] each. widths: in offsets."""
    sums = np.cumsum(np.pad(strip, ((1, 0), (0, 0), (0, 0))), 0, dtype=np.float64)
    rows = np.arange(len(strip))

    def mean(low: int, high: int) -> Plane:
        first, last = ((rows + n).clip(0, len(strip)) for n in (low, high + 1))
        share = np.maximum(last - first, 1)[:, None, None]
        found: Plane = ((sums[last] - sums[first]) / share).astype(np.float32)
        return found

    best, wide = np.zeros(strip.shape[:2], np.float32), np.full(strip.shape[:2], widths[0])
    for width in widths:
        half, gap = max(1, round(width / 2)), round(OUTLINE / ACROSS)
        middle, far = mean(-half // 2, half // 2), half + gap + max(2, half)
        found = in_line(middle - mean(-far, -half - gap), middle - mean(half + gap, far))
        wide[found > best] = width
        best = np.maximum(best, found)
    return best, wide * ACROSS


def _path(worth: Plane, closed: bool, stiff: float) -> NDArray[np.intp]:
    """The way [N] through a strip [K, N] of most worth, which steps by one row at most; each
    step costs something."""
    count = worth.shape[1]
    if closed:  # three times around, of which the middle one is sure
        worth = np.tile(worth, 3)
    total, steps = worth[:, 0].copy(), np.zeros(worth.shape, np.int8)
    for column in range(1, worth.shape[1]):
        padded = np.pad(total, 1, constant_values=-np.inf)
        choices = np.stack([padded[:-2] - stiff, padded[1:-1], padded[2:] - stiff])
        steps[:, column] = choices.argmax(0) - 1
        total = worth[:, column] + choices.max(0)
    way = np.zeros(worth.shape[1], np.intp)
    way[-1] = total.argmax()
    for column in range(len(way) - 1, 0, -1):
        way[column - 1] = way[column] + steps[way[column], column]
    return way[count : 2 * count] if closed else way


def covered(picture: Plane, line: Trace, shown: Plane) -> Plane:
    """How far the pixels of a picture [h, w, 3] show a line rather than what is beside it, [h, w]
    in 0 … 1. shown: [N] in 0 … 1, how far the line is seen at each of its places."""
    found = np.zeros(picture.shape[:2], np.float32)
    there = np.zeros(found.shape, bool)
    column, row = np.floor(line.places[shown > 0]).astype(int).T
    inside = (row >= 0) & (row < found.shape[0]) & (column >= 0) & (column < found.shape[1])
    if not inside.any():
        return found
    there[row[inside], column[inside]] = True
    rows, columns = span_of(there, int(line.widths.max()) + 3)
    part = picture[rows, columns]
    y, x = np.indices(part.shape[:2]) + 0.5
    places = np.stack([x + columns.start, y + rows.start], -1)
    _, nearest = cKDTree(line.places).query(places)
    away = places - line.places[nearest]
    aside = (away * line.across[nearest]).sum(-1)
    far = np.hypot(away[..., 0], away[..., 1])
    half = 0.5 * line.widths[nearest]
    side = (aside > 0).astype(int)
    behind, color = line.sides[side, nearest], line.colors[nearest]
    way = color - behind
    length = np.sqrt(np.square(way).sum(-1))
    share = ((part - behind) * way).sum(-1) / (np.square(length) + 1)
    low, high = MIXED
    by_color = ((share - low) / (high - low)).clip(0, 1) * (half + 2 * OUTLINE - far).clip(0, 1)
    by_place = (half + 0.5 - far).clip(0, 1)
    told = (length / TOLD - 1).clip(0, 1)
    inner = (half - OUTLINE - far).clip(0, 1)  # of a wide line, which may have a pattern
    by_color = np.maximum(by_color, inner)
    cover = (by_place + told * (by_color - by_place)) * shown[nearest]
    found[rows, columns] = cover
    return found
