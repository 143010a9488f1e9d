"""Glasses: whether somebody wears some, and what of every frame shows their rims and arms.

A pair of lenses of one shape, with a bridge between them, is laid before the eyes of a few frames.
What is worn stands out as lines along all of it, which brows, lids and wrinkles do in parts. From
there on the lines themselves are followed: around the lenses, over the nose, and from the lenses to
where ears begin, as far as they are seen before skin and hair.

Lengths are in half widths of a face, as in `skull`; places beside an eye are outwards, down and
away from the viewer. N shapes of lenses, P places around one.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d, label

from vidhair.imaging.morphology import dilate, grown
from vidhair.imaging.thin import ORIENTATIONS, Trace, covered, line_at, lines, normals, trace
from vidhair.models.faces.landmarks import BROWS, EYE_LEFT, EYE_RIGHT, FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import NEIGHBOURS, SURE_ALPHA, Matte, mean_of, settled
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import HeadPose, Place
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Near, Series, Span, Value, stage

Plane = NDArray[np.float32]
Points = NDArray[np.float64]

# Of the mesh: outer and inner corners of the left eye and of the right one.
EYE_CORNERS = (33, 263), (133, 362)
FRAMES = 8  # spread over the clip, in which glasses are looked for
SMALLEST = 50.0  # pixels of half a face's width, from which on wrinkles are told from rims
REACH = (1.75, 1.0)  # around the middle of the eyes, that is looked at
WIDTHS = (0.02, 0.04, 0.08)  # of rims
# What lenses may be like: how far their middles lie further out than eyes and below, half their
# widths and heights, and exponents: of ellipses, and of ever squarer ones. Heights, as shares of
# half a lens's, at which bridges and arms begin; how far bridges are arched.
OUTWARDS, BELOW = np.linspace(-0.06, 0.07, 5), np.linspace(-0.04, 0.14, 7)
HALF_WIDTHS, HALF_HEIGHTS = np.linspace(0.31, 0.46, 6), np.linspace(0.21, 0.41, 8)
SQUARE = (2, 3, 5)
HIGHEST_LENS = 1.12  # half its height, at most, by half its width
HEIGHTS, ARCHED = np.linspace(-0.8, 0.2, 6), (0.0, 0.06, 0.12)
BEFORE = -0.2  # how far lenses lie before the middles of eyes' corners
AROUND, ALONG = 48, 7  # places of a lens and of a bridge at which shapes are compared
LOOSE = 0.0125  # how far beside a shape lines may lie
EYE_EDGE, BROW_EDGE = 0.1, 0.05  # around eyes and brows, whose lines are none of glasses
LEAST_FREE = 0.5  # share of a rim beside those
# Lines count by the logarithm of one and their strength, by that which USUAL of a face stay below
# and at least so many levels; and up to a bound.
USUAL, LEAST_USUAL, BOUND = 0.75, 1.5, 1.8
FIRST, UNLIKELY = 3, 0.15  # frames that tell whether more are looked at, and what those lack if not
# Weights of the mean of both rims, of the clearer one, and of the bridge; what they have to reach.
WEIGHTS, WORN = (0.4, 0.3, 0.3), 1.49
# How far arms run down to the ear, and how far behind the eye that is; how far out they bend back,
# how far behind the lens, and how far beside it they begin.
ARM_DOWN, ARM_BACK = (-0.15, -0.05, 0.05), 0.75
ARM_OUT, BENT, BESIDE_LENS = (0.52, 0.6, 0.7), 0.05, 0.02
HINGE = 0.05  # how far beyond a lens its arm begins to lie beside the head
# What lines of an arm have to count, so that it is longer, and do at most; how wide they may be.
ARM_WORTH, ARM_BOUND, THICK = 1.0, 4.0, 0.13
LEAST_ARM = 0.015  # what is more than that along an arm, times its length
# Places of lines that are followed, and how far beside the shape.
FOLLOWED = 0.014, 0.02, 0.03, 0.045, 0.065, 0.09  # and their widths
RIM_PLACES, ARM_PLACES, BRIDGE_PLACES, BESIDE = 160, 60, 40, 0.07
ARM_BESIDE, STIFF = 0.06, 0.3  # of arms, and what every pixel costs that they are bent
SEEN = 0.6  # of the logarithm, from which on a line is seen
GAP, SOFT = 0.1, 0.02  # the longest gap in it, and over which it begins and ends
LATEST, ARM_TELLS = 0.4, 0.3  # shares of arms, in which they have to begin, and that tell how wide
OFF_ARM = 30.0  # levels from which on what follows an arm has none of the colors of its beginning
ALIKE, DARK = 20.0, 60.0  # levels up to which hair is as dark as an arm, and that is dark
SMOOTH = 0.6  # over time, as in `MatteConfig`


@dataclass(frozen=True)
class Glasses(Value):
    """What glasses of a person are like, who wears some or not. lens: [5], their shape, as a row of
    `lenses`; bridge: [2], its height, and how far it is arched; arms: [2, 3], the height at which
    each begins, how far out it is and by how much it runs down to the ear, or NaN; usual: strength
    of what is no line on the face, in levels."""

    worn: bool
    lens: NDArray[np.float64]
    bridge: NDArray[np.float64]
    arms: NDArray[np.float64]
    usual: float


@dataclass(frozen=True)
class Eyewear(Value):
    """alpha: uint8 [T, h, w] in the hair's window, how far a sample shows glasses' frames."""

    ROWS: ClassVar[tuple[str, ...]] = ("alpha",)
    alpha: NDArray[np.uint8]


@cache
def lenses() -> NDArray[np.float64]:
    """All shapes that are tried, [N, 5]."""
    every = product(OUTWARDS, BELOW, HALF_WIDTHS, HALF_HEIGHTS, SQUARE)
    return np.array([s for s in every if s[3] <= HIGHEST_LENS * s[2]])


def rim(lens: NDArray[np.float64], places: int) -> Points:
    """Around lenses [..., 5], beside the eye: [..., P, 2], outwards and down."""
    turn = 2 * np.pi * (np.arange(places) + 0.5) / places
    out, below, wide, high, square = (lens[..., k, None] for k in range(5))
    across, down = np.cos(turn), np.sin(turn)
    size = (np.abs(across) ** square + np.abs(down) ** square) ** (-1 / square)
    return np.stack([out + wide * across * size, below + high * down * size], -1)


def inner_end(lens: NDArray[np.float64], height: float) -> Points:
    """Where lenses [..., 5] reach furthest inwards at a height, beside the eye: [..., 2]."""
    out, below, wide, high, square = np.moveaxis(lens, -1, 0)
    reach = wide * (1 - abs(height) ** square) ** (1 / square)
    return np.stack([out - reach, below + height * high], -1)


@dataclass(frozen=True)
class Eyes:
    """Where lenses of a frame would be. middles: [2, 2] of the left eye and the right one, in
    samples; turn: [2, 3], what of the head's axes is seen, in samples per half width of the face,
    which has as many as the unit."""

    middles: Points
    turn: NDArray[np.float64]
    unit: float

    @classmethod
    def of(cls, mesh: NDArray[np.float32], at: Place, window: HairWindow) -> "Eyes":
        places = window.places(mesh).astype(np.float64)
        middles = np.stack([places[[a, b]].mean(0) for a, b in zip(*EYE_CORNERS, strict=True)])
        unit = at.scale / window.step
        return cls(middles, at.rotation[:2] * unit, unit)

    def seen(self, side: int, beside: Points, away: NDArray[np.float64] | float = BEFORE) -> Points:
        """Places [..., 2] beside the left eye (0) or the right one (1), in samples."""
        across = (2 * side - 1) * self.turn[:, 0]
        depth = np.broadcast_to(np.asarray(away), beside.shape[:-1])[..., None]
        found: Points = (
            self.middles[side]
            + beside[..., :1] * across
            + beside[..., 1:] * self.turn[:, 1]
            + depth * self.turn[:, 2]
        )
        return found

    def bridge(
        self, lens: NDArray[np.float64], height: float, arched: float, places: int
    ) -> Points:
        """From lens to lens [..., 5], [..., P, 2]."""
        left, right = (self.seen(side, inner_end(lens, height)) for side in (0, 1))
        share = np.linspace(0.1, 0.9, places)[:, None]
        line = left[..., None, :] + share * (right - left)[..., None, :]
        found: Points = line - 4 * arched * share * (1 - share) * self.turn[:, 1]
        return found

    def arm(self, side: int, lens: NDArray[np.float64], arm: NDArray[np.float64]) -> Points:
        """From a lens [5] on, evenly, [ARM_PLACES, 2]: outwards, and then back to the ear as far as
        that is seen further out. arm: [3], one of `Glasses`."""
        height, out, down = arm
        start = np.array([lens[0] + lens[2] + BESIDE_LENS, lens[1] + height * lens[3]])
        corners = np.array([start, [max(out, start[0]), start[1]], [out, start[1] + down]])
        seen = self.seen(side, corners, np.array([BEFORE, BEFORE + BENT, ARM_BACK]))
        out, aside = ((seen - seen[1]) @ self.turn[:, :2] * [2 * side - 1, 1]).T
        if out[2] < abs(aside[2]):
            seen = seen[:2]
        lengths = np.hypot(*np.diff(seen, axis=0).T)
        way = np.concatenate([[0], np.cumsum(lengths)])
        at = np.linspace(0, way[-1], ARM_PLACES)
        return np.stack([np.interp(at, way, seen[:, k]) for k in (0, 1)], -1)


@dataclass(frozen=True)
class Shown:
    """The lines of one frame around its eyes. worth: [ORIENTATIONS, h, w]; thick: the same with
    lines as thick as arms; free: [h, w], where they may be glasses'; corner: [2], where that lies,
    in samples of the window; eyes: in it; usual: strength of what is no line, in levels."""

    worth: Plane
    thick: Plane
    free: NDArray[np.bool_]
    corner: NDArray[np.float64]
    eyes: Eyes
    usual: float

    def along(
        self, line: Points, closed: bool, worth: Plane | None = None
    ) -> tuple[Plane, NDArray[np.bool_]]:
        """What lines count along places [..., P, 2] in samples, in their direction, and whether
        these are free, [..., P] each."""
        x, y = np.moveaxis(np.floor(line - self.corner).astype(int), -1, 0)
        across = normals(line, closed)
        angle = np.arctan2(across[..., 1], across[..., 0]) * ORIENTATIONS / np.pi
        height, width = self.free.shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        x, y = x.clip(0, width - 1), y.clip(0, height - 1)
        given = self.worth if worth is None else worth
        found = given[np.rint(angle).astype(int) % ORIENTATIONS, y, x]
        return found * inside, self.free[y, x] & inside


def usual_strength(found: Plane, face: NDArray[np.bool_]) -> float:
    """The strength of what is no line on a face [h, w], of lines [n, h, w] of a picture."""
    return float(np.quantile(found[:, face], USUAL)) + LEAST_USUAL if face.any() else LEAST_USUAL


def part_around(eyes: Eyes, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a window [h, w] that may show glasses."""
    middle, reach = eyes.middles.mean(0), np.array(REACH) * eyes.unit
    low, high = np.floor(middle - reach), np.ceil(middle + reach)
    left, top = low.clip(0, np.array(shape[1::-1]) - 1).astype(int)
    right, bottom = high.clip(1, shape[1::-1]).astype(int)
    return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


def lines_of(picture: NDArray[np.uint8], mesh: NDArray[np.float32], eyes: Eyes) -> Shown:
    """Of a window [h, w, 3]. mesh: [478, 2], in its samples."""
    rows, columns = part_around(eyes, picture.shape)
    part, corner = picture[rows, columns].astype(np.float32), np.array([columns.start, rows.start])
    size = part.shape[:2]

    def mask(ring: tuple[int, ...], edge: float) -> NDArray[np.bool_]:
        inside = polygon_mask(mesh[list(ring)] - corner.astype(np.float32), *size) > 0.5
        return grown(inside, round(edge * eyes.unit)) if edge else inside

    found = lines(part, [width * eyes.unit for width in WIDTHS])
    usual = usual_strength(found, mask(FACE_OVAL, 0))
    thick = np.maximum(found, lines(part, [THICK * eyes.unit]))
    bounds = np.array([BOUND, ARM_BOUND], np.float32)[:, None, None, None]
    worth = np.minimum(np.log1p(np.stack([found, thick]) / usual), bounds)
    others = [mask(ring, EYE_EDGE) for ring in (EYE_LEFT, EYE_RIGHT)]
    others += [mask(brow, BROW_EDGE) for brow in BROWS]
    free = ~np.logical_or.reduce(others)
    loose = 2 * max(1, round(LOOSE * eyes.unit)) + 1
    worth, thick = dilate(torch.from_numpy(worth), loose).numpy()
    return Shown(worth, thick, free, corner.astype(np.float64), eyes, usual)


def fit(shown: list[Shown]) -> tuple[Glasses, float]:
    """The shape that the lines of all frames are most like, and how much those of each are like
    glasses of any shape."""
    shapes = lenses()
    likes, bridges = zip(*(_likes(one, shapes) for one in shown), strict=True)
    best = int(np.argmax(np.sum(likes, 0)))
    of_best = np.sum(bridges, 0)[..., best]
    h, k = np.unravel_index(of_best.argmax(), of_best.shape)
    lens, bridge = shapes[best], np.array([HEIGHTS[h], ARCHED[k]])
    score, usual = float(np.mean([like.max() for like in likes])), [one.usual for one in shown]
    arms = _arms(shown, lens) if score > WORN else np.zeros((2, 3))
    return Glasses(score > WORN, lens, bridge, arms, float(np.mean(usual))), score


def _likes(one: Shown, shapes: NDArray[np.float64]) -> tuple[Points, Points]:
    """How much the lines of a frame are like glasses of each shape [N, 5], [N], and like bridges
    between them, [heights, arched, N]."""
    rims = np.zeros((2, len(shapes)))
    bridges = np.zeros((len(HEIGHTS), len(ARCHED), len(shapes)))
    around = rim(shapes, AROUND)
    for side in (0, 1):
        worth, free = one.along(one.eyes.seen(side, around), True)
        share = free.mean(-1)
        mean = (worth * free).mean(-1) / np.maximum(share, 1e-6)
        rims[side] = np.where(share < LEAST_FREE, 0, mean)
    for (h, height), (k, arched) in product(enumerate(HEIGHTS), enumerate(ARCHED)):
        worth, _ = one.along(one.eyes.bridge(shapes, height, arched, ALONG), False)
        bridges[h, k] = worth.mean(-1)
    parts = np.stack([rims.mean(0), rims.max(0), bridges.max((0, 1))])
    like: Points = np.array(WEIGHTS) @ parts
    return like, bridges


def _arms(shown: list[Shown], lens: NDArray[np.float64]) -> NDArray[np.float64]:
    """What both arms [2, 3] from lenses [5] lines are most like, NaN where none is seen."""
    every = np.array(list(product(HEIGHTS, ARM_OUT, ARM_DOWN)))
    worth = np.zeros((2, len(every)))
    for (k, arm), side, one in product(enumerate(every), (0, 1), shown):
        line = one.eyes.arm(side, lens, arm)
        step = np.hypot(*(line[1] - line[0])) / one.eyes.unit
        worth[side, k] += (one.along(line, False, one.thick)[0] - ARM_WORTH).sum() * step
    arms: Points = every[worth.argmax(1)]
    arms[worth.max(1) < LEAST_ARM * len(shown)] = np.nan
    return arms


def cover(
    picture: NDArray[np.uint8], mesh: NDArray[np.float32], glasses: Glasses, eyes: Eyes
) -> Plane:
    """How far a window [h, w, 3] shows glasses, [h, w] in 0 … 1. mesh: [478, 2], in its samples."""
    levels, brows = picture.astype(np.float32), _brows(mesh, (picture.shape[0], picture.shape[1]))
    found = np.zeros(brows.shape, np.float32)
    given = BESIDE * eyes.unit, [width * eyes.unit for width in FOLLOWED], glasses.usual
    reach, widths = ARM_BESIDE * eyes.unit, [width * eyes.unit for width in (*FOLLOWED, THICK)]

    def add(line: Trace, shown: NDArray[np.bool_], closed: bool = False) -> None:
        steps = np.hypot(*np.diff(line.places, axis=0).T).mean()
        mode = "wrap" if closed else "nearest"
        share = gaussian_filter1d(shown.astype(np.float32), SOFT * eyes.unit / steps, mode=mode)
        np.maximum(found, covered(levels, line, share), out=found)

    for side in (0, 1):
        near = eyes.seen(side, rim(glasses.lens, RIM_PLACES))
        around = trace(levels, near, *given, closed=True, told=~brows)
        clear = around.strengths >= np.median(around.strengths)
        color = np.median(around.colors[clear], 0)
        around = trace(levels, near, *given, closed=True, told=~brows, color=color)
        told = ~_at(brows, around.places)
        add(around, _stands_out(around, glasses.usual, eyes.unit, told), closed=True)
        if np.isnan(glasses.arms[side]).any():
            continue
        line = eyes.arm(side, glasses.lens, glasses.arms[side])
        arm = trace(levels, line, reach, widths, glasses.usual, stiff=STIFF, clear=ARM_TELLS)
        add(*_arm(levels, arm, glasses.usual, eyes.unit))
    height, arched = glasses.bridge
    over_nose = trace(levels, eyes.bridge(glasses.lens, height, arched, BRIDGE_PLACES), *given)
    add(over_nose, _stands_out(over_nose, glasses.usual, eyes.unit))
    return found


def beyond_lenses(
    lens: NDArray[np.float64], eyes: Eyes, size: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where a window of a size (h, w) shows what is further out than both lenses [5], as arms."""
    rows, columns = np.indices(size)
    samples = np.stack([columns, rows], -1) + 0.5
    across = eyes.turn[:, 0] / max(float(eyes.turn[:, 0] @ eyes.turn[:, 0]), 1e-6)
    found = np.zeros(size, bool)
    for side in (0, 1):
        end = eyes.seen(side, np.array([lens[0] + lens[2] + HINGE, lens[1]]))
        found |= (2 * side - 1) * ((samples - end) @ across) > 0
    return found


def worn_on(picture: NDArray[np.uint8], mesh: NDArray[np.float32], eyes: Eyes) -> Eyewear:
    """Of a window [h, w, 3] alone. mesh: [478, 2], in its samples."""
    found = Eyewear(np.zeros((1, *picture.shape[:2]), np.uint8))
    if eyes.unit > SMALLEST:
        glasses, _ = fit([lines_of(picture, mesh, eyes)])
        if glasses.worn:
            found.alpha[0] = np.rint(255 * cover(picture, mesh, glasses, eyes))
    return found


def _brows(mesh: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where brows [h, w] and their ends are, which stand out as rims do."""
    shown = [polygon_mask(mesh[list(brow)], *size) > 0.5 for brow in BROWS]
    return np.logical_or(*shown)


def _at(mask: NDArray[np.bool_], line: Points) -> NDArray[np.bool_]:
    """A mask [h, w] at places [P, 2]."""
    x, y = np.floor(line).astype(int).T
    found: NDArray[np.bool_] = mask[y.clip(0, len(mask) - 1), x.clip(0, mask.shape[1] - 1)]
    return found


def _stands_out(
    line: Trace,
    usual: float,
    unit: float,
    told: NDArray[np.bool_] | None = None,
    least: float = SEEN,
) -> NDArray[np.bool_]:
    """Where a line is seen, [P], with short gaps, and with what nothing tells of between."""
    there = np.log1p(line.strengths / usual) > least
    if told is not None:
        there |= ~told
    gap = max(1, round(GAP * unit / float(np.hypot(*np.diff(line.places, axis=0).T).mean())))
    closed = binary_closing(np.pad(there, gap, mode="wrap"), np.ones(gap))
    found: NDArray[np.bool_] = binary_opening(closed, np.ones(max(1, gap // 2)))[gap:-gap]
    return found


def _arm(picture: Plane, line: Trace, usual: float, unit: float) -> tuple[Trace, NDArray[np.bool_]]:
    """An arm, and where it is seen, [P]: from its beginning up to where hair comes before it. In
    hair as dark as itself it goes on, straight to its end."""
    parts, count = label(_stands_out(line, usual, unit, least=ARM_WORTH))
    sums = np.bincount(parts, line.strengths, count + 1)
    early = np.unique(parts[: round(LATEST * len(parts))])
    sums[np.setdiff1d(np.arange(count + 1), early[early > 0])] = 0
    if not sums.any():
        return line, np.zeros(len(parts), bool)
    begin, end = np.flatnonzero(parts == sums.argmax())[[0, -1]] + [0, 1]
    first = line.colors[
        begin : begin + max(1, min((end - begin) // 2, round(ARM_TELLS * len(parts))))
    ]
    off = np.abs(line.colors[begin:end, None] - first).max(-1).min(-1) > OFF_ARM
    end = max(begin + 2, begin + int(np.argmax(off)) if off.any() else end)
    straight = _straight(picture, line, slice(begin, end))
    color = np.median(first, 0)
    like = (np.abs(straight.colors - color).max(-1) < ALIKE) & (color.mean() < DARK)
    like[begin:end] = True
    like[begin:] = np.logical_and.accumulate(like[begin:])
    like[:begin] = False
    return straight, like


def _straight(picture: Plane, line: Trace, seen: slice) -> Trace:
    """The straight line through what is seen of one."""
    index, strong = np.arange(len(line.places)), line.strengths[seen] + 1e-3
    through = [np.polyfit(index[seen], line.places[seen, k], 1, w=strong) for k in (0, 1)]
    places = np.stack([np.polyval(one, index) for one in through], -1)
    return line_at(picture, places, normals(places, False), line.widths, line.strengths)


# ---- stages


@stage()
def glasses(
    frames: Series[Frames],
    track: Series[FaceTrack],
    head_pose: Series[HeadPose],
    hair_window: HairWindow,
) -> Glasses:
    """From FRAMES that are spread over the clip."""
    present, pose = np.flatnonzero(track.field("present")), head_pose.whole()
    chosen = present[np.linspace(0, len(present) - 1, min(FRAMES, len(present))).astype(int)]
    rows, shown = np.unique(chosen), list[Shown]()
    for row in (int(row) for first in range(FIRST) for row in rows[first::FIRST]):
        eyes = Eyes.of(mesh := track.rows(row, row + 1).mesh[0], Place.of(pose, row), hair_window)
        if eyes.unit > SMALLEST:
            picture = hair_window.cut(frames.rows(row, row + 1).pixels[0])
            shown.append(lines_of(picture, hair_window.places(mesh), eyes))
        if len(shown) == FIRST and fit(shown)[1] < WORN - UNLIKELY:
            break
    if not shown:
        return Glasses(False, np.zeros(5), np.zeros(2), np.zeros((2, 3)), 0.0)
    return fit(shown)[0]


@stage(compress=True)
def eyewear(
    frames: Annotated[Frames, Near(NEIGHBOURS)],
    track: Annotated[FaceTrack, Near(NEIGHBOURS)],
    head_pose: Annotated[HeadPose, Near(NEIGHBOURS)],
    glasses: Glasses,
    hair_window: HairWindow,
    span: Span,
    at_once: AtOnce,
) -> Eyewear:
    size = hair_window.height, hair_window.width
    if not glasses.worn:
        return Eyewear(np.zeros((len(span), *size), np.uint8))

    def look(picture: NDArray[np.uint8], row: int) -> Plane:
        mesh = track.mesh[row]
        eyes = Eyes.of(mesh, Place.of(head_pose, row), hair_window)
        return cover(picture, hair_window.places(mesh), glasses, eyes)

    made = settled(frames, track, hair_window, span, SMOOTH, look, at_once)
    return Eyewear(np.stack([np.rint(255 * alpha) for _, alpha in made]).astype(np.uint8))


@stage(version=13, compress=True)
def matte(
    frames: Frames,
    found_matte: Matte,
    eyewear: Eyewear,
    hair_window: HairWindow,
    at_once: AtOnce,
) -> Matte:
    """Without glasses that are worn before hair."""
    alpha, area, mean_lab = found_matte.alpha.copy(), found_matte.area, found_matte.mean_lab
    rows = np.flatnonzero((eyewear.alpha > 0).any((1, 2)))
    alpha[rows] = np.rint(alpha[rows] * (1 - eyewear.alpha[rows] / np.float32(255)))
    area, mean_lab = area.copy(), mean_lab.copy()

    def tell(row: int) -> None:
        sure = alpha[row] / np.float32(255) > SURE_ALPHA
        picture = hair_window.cut(frames.rows(row, row + 1).pixels[0])
        area[row], mean_lab[row] = mean_of(picture, sure)

    for _ in at_once(tell, rows.tolist()):
        pass
    return Matte(alpha, area, mean_lab)
