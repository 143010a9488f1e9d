"""Where the bare head lies: the face's pose in three dimensions, and a skull that moves with it.

Lengths are in half widths of a face, from the middle between the ears: x to the viewer's right, y
down, z away from the viewer. T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vidhair.geometry import Grid
from vidhair.imaging.follow import Move, inverse
from vidhair.imaging.motion import sample
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.wiring import Series, Value, stage

# Points of MediaPipe's mesh that expressions move little, on a mean face: of the middle, and of the
# viewer's right half with those that lie opposite.
MIDDLE = {
    10: (-1.097, -0.957), 151: (-0.876, -1.028), 9: (-0.647, -1.086), 168: (-0.396, -1.084),
    6: (-0.278, -1.158), 4: (0.135, -1.465),
}  # fmt: skip
PAIRED = {
    (33, 263): (0.652, -0.320, -0.767), (133, 362): (0.252, -0.288, -0.851),
    (234, 454): (1.000, 0.000, 0.000), (127, 356): (1.011, -0.213, -0.049),
    (162, 389): (0.997, -0.441, -0.177), (21, 251): (0.952, -0.632, -0.347),
    (54, 284): (0.865, -0.809, -0.510), (103, 332): (0.724, -0.951, -0.686),
    (67, 297): (0.508, -1.045, -0.841), (109, 338): (0.274, -1.089, -0.933),
    (93, 323): (0.983, 0.213, -0.012), (116, 345): (0.920, -0.055, -0.605),
    (50, 280): (0.710, 0.163, -0.894), (108, 337): (0.242, -0.879, -1.007),
    (104, 333): (0.663, -0.828, -0.827),
}  # fmt: skip
# An ellipsoid that goes on from the forehead: with adults' mean breadth and length of the head, and
# as high as cameras near a face see it, it passes through the mesh's points on forehead and temples
# to a twentieth.
CENTRE, AXES = (0.0, -0.75, 0.31), (1.07, 1.14, 1.39)
# From there down to the nape another one, which is seen behind the ears.
NAPE, NAPE_AXES = (0.0, -0.2, 0.3), (1.03, 0.95, 1.2)
LONG = 0.6  # share of how long a face is, that of its head is
TURNING, MOVING = 2.0, 0.8  # deviations, in frames, of the means over which a pose is followed
# Of heads whose hair lies close: the smallest skull, as a share of it, and what hair adds at the
# sides and on top.
SMALLEST, HAIR_THICKNESS, STEPS = 0.84, (0.03, 0.11), 15
INSIDE = 0.9  # share of the outline that the hair has to hide
UPPER = -0.8  # y above which the outline is hidden by hair
OUTLINE = 96  # points
LOOKED_AT = 10  # frames


def _reference() -> tuple[list[int], NDArray[np.float64]]:
    points = {number: (0.0, y, z) for number, (y, z) in MIDDLE.items()}
    for (left, right), (x, y, z) in PAIRED.items():
        points |= {left: (-x, y, z), right: (x, y, z)}
    return list(points), np.array(list(points.values()))


NUMBERS, REFERENCE = _reference()


@dataclass(frozen=True)
class HeadPose(Value):
    """A point p of the head is seen at scale · (rotation · p)[:2] + shift in the frame.

    rotation: [T, 3, 3]; scale: [T], pixels per half width of the face; shift: [T, 2] in pixels; the
    identity at zero where the face is absent.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("rotation", "scale", "shift")
    rotation: NDArray[np.float64]
    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


@dataclass(frozen=True)
class Skull(Value):
    """The ellipsoid of a person's bare head. centre, axes: [3]."""

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Where one head is: a row of `HeadPose`."""

    rotation: NDArray[np.float64]
    scale: float
    shift: NDArray[np.float64]

    @classmethod
    def of(cls, pose: HeadPose, row: int) -> "Place":
        return cls(pose.rotation[row], float(pose.scale[row]), pose.shift[row])

    def seen(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """Points [..., 3] of the head in pixels of the frame, [..., 2]."""
        found: NDArray[np.float64] = (points @ self.rotation.T)[..., :2] * self.scale + self.shift
        return found


def nearest_pose(
    points: NDArray[np.float64], seen: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The turn [3, 3] and scale of points [n, 3] that are seen at [n, 2], up to a shift: the
    orthonormal rows nearest to the linear map of least squares."""
    linear, *_ = np.linalg.lstsq(points - points.mean(0), seen - seen.mean(0), rcond=None)
    u, scales, v = np.linalg.svd(linear.T, full_matrices=False)
    across, down = u @ v
    return np.stack([across, down, np.cross(across, down)]), float(scales.mean())


def _rotation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    u, _, v = np.linalg.svd(matrix)
    found: NDArray[np.float64] = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ v))]) @ v
    return found


def poses(
    mesh: NDArray[np.float32], present: NDArray[np.bool_], begins: NDArray[np.bool_]
) -> tuple[HeadPose, float]:
    """Smoothed within shots, and how long the face is beside the mean one.

    mesh: [T, 478, 2] in pixels, anything where absent; begins: [T], where shots begin.
    """
    count = len(mesh)
    pose = HeadPose(np.tile(np.eye(3), (count, 1, 1)), np.ones(count), np.zeros((count, 2)))
    rows = np.flatnonzero(present)
    seen = mesh[rows][:, NUMBERS].astype(np.float64)
    long = 1.0
    for _ in range(6):  # the length, and the poses with it
        points = REFERENCE * [1, long, 1]
        for row, there in zip(rows, seen, strict=True):
            pose.rotation[row], pose.scale[row] = nearest_pose(points, there)
        turned = pose.rotation[rows] @ points.T  # [n, 3, points]
        flat = turned[:, :2] - turned[:, :2].mean(2, keepdims=True)
        here = (seen - seen.mean(1, keepdims=True)) / pose.scale[rows, None, None]
        up = pose.rotation[rows][:, :2, 1]
        y = points[:, 1] - points[:, 1].mean()
        rest = here.transpose(0, 2, 1) - flat
        gain = np.einsum("nij,ni,j->", rest, up, y) / (np.square(up).sum() * (y @ y) + 1e-9)
        long = float(np.clip(long * (1 + gain), 0.8, 1.25))
    points, shot = REFERENCE * [1, long, 1], np.cumsum(begins)
    for number in np.unique(shot[rows]):
        run = rows[shot[rows] == number]
        pose.scale[run] = gaussian_filter1d(pose.scale[run], TURNING, mode="nearest")
        turns = gaussian_filter1d(pose.rotation[run], TURNING, 0, mode="nearest")
        pose.rotation[run] = [_rotation(turn) for turn in turns]
        there = mesh[run][:, NUMBERS].astype(np.float64).mean(1)
        middle = (pose.rotation[run] @ points.mean(0))[:, :2] * pose.scale[run, None]
        pose.shift[run] = gaussian_filter1d(there - middle, MOVING, 0, mode="nearest")
    return pose, long


@dataclass(frozen=True)
class Look:
    """A bare head as it is seen on a grid. inside: [h, w], how far within its outline, in samples;
    place: [3, h, w], what is seen of the skull, as the unit vector from its centre in units of its
    axes, and beyond its outline the nearest of those."""

    inside: NDArray[np.float32]
    place: NDArray[np.float32]


def look(skull: Skull, at: Place, grid: Grid) -> Look:
    """A skull with its nape, as it is seen on a grid."""
    upper = _ellipsoid(skull, at, grid)
    nape = _ellipsoid(Skull(np.array(NAPE), np.array(NAPE_AXES)), at, grid)
    return Look(np.maximum(upper.inside, nape.inside), upper.place)


def _ellipsoid(skull: Skull, at: Place, grid: Grid) -> Look:
    """Rays along z meet it where a quadratic has its smaller root."""
    x = (grid.left + (np.arange(grid.width) + 0.5) * grid.step - at.shift[0]) / at.scale
    y = (grid.top + (np.arange(grid.height) + 0.5) * grid.step - at.shift[1]) / at.scale
    # In units of the axes: a ray is p + w · d.
    inverse = (at.rotation / skull.axes).T
    d, start = inverse[:, 2], -skull.centre / skull.axes
    p = (
        start[:, None, None]
        + inverse[:, 0, None, None] * x[None, None, :]
        + inverse[:, 1, None, None] * y[None, :, None]
    )
    dd = d @ d
    beside = p - np.tensordot(d, p, 1) / dd * d[:, None, None]  # of a ray, nearest to the centre
    away = np.sqrt(np.square(beside).sum(0))
    place = beside - np.sqrt(np.maximum(1 - away**2, 0) / dd) * d[:, None, None]
    place /= np.maximum(away, 1)
    # How fast a ray comes nearer from sample to sample.
    slope = np.hypot(*(np.tensordot(inverse[:, k], beside, 1) for k in (0, 1)))
    slope *= grid.step / at.scale / (away + 1e-9)
    return Look(((1 - away) / (slope + 1e-9)).astype(np.float32), place.astype(np.float32))


def on_picture(at: Place, grid: Grid) -> Move:
    """From the plane through the middle of a head to where that is seen on a grid."""
    flat = at.scale * at.rotation[:, :3][:2]
    corner = np.array([grid.left, grid.top])
    return np.column_stack([flat[:, :2], at.shift + flat[:, 2] * CENTRE[2] - corner]) / grid.step


def between_planes(first: Move, then: Move) -> Move:
    """The move that takes one plane's places to the other's."""
    back = inverse(first)
    turn = then[:, :2] @ back[:, :2]
    return np.column_stack([turn, then[:, :2] @ back[:, 2] + then[:, 2]])


def outline(
    skull: Skull, rotation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of the outline of a turned skull, [OUTLINE, 2], and their y on the head."""
    angle = np.linspace(0, 2 * np.pi, OUTLINE, endpoint=False)
    d = rotation[2] / skull.axes
    d /= np.linalg.norm(d)
    u = np.cross(d, [0.3, 0.5, 0.8])
    u /= np.linalg.norm(u)
    circle = np.outer(np.cos(angle), u) + np.outer(np.sin(angle), np.cross(d, u))
    points = skull.centre + circle * skull.axes
    return (points @ rotation.T)[:, :2], points[:, 1]


def mean_skull(long: float) -> Skull:
    """That of a head whose face is so long."""
    tall = 1 + LONG * (long - 1)
    return Skull(np.array(CENTRE) * [1, long, 1], np.array(AXES) * [1, tall, 1])


def within_hair(
    skull: Skull, places: Sequence[Place], hidden: Sequence[NDArray[np.bool_]], grid: Grid
) -> Skull:
    """The largest one, up to the mean, whose outline lies within hair or face in nearly all places.

    hidden: [h, w] on a grid for every place, where hair or face hide what is behind.
    """
    smaller = skull
    for share in np.linspace(1, SMALLEST, STEPS):
        smaller = Skull(skull.centre, skull.axes * [1, share, (1 + share) / 2])
        inside = []
        for mask, at in zip(hidden, places, strict=True):
            flat, y = outline(smaller, at.rotation)
            beside, above = HAIR_THICKNESS
            away = _outwards(flat)
            high = np.square(away @ at.rotation[:2, 1])[:, None]
            flat = flat + (beside + (above - beside) * high) * away
            seen = grid.places(flat * at.scale + at.shift)[y < UPPER]
            column, row = np.floor(seen).astype(int).T
            there = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
            inside.append(mask[row[there], column[there]])
        found = np.concatenate(inside) if inside else np.zeros(0)
        if not len(found) or found.mean() >= INSIDE:
            break
    return smaller


def _outwards(points: NDArray[np.float64]) -> NDArray[np.float64]:
    away = points - points.mean(0)
    found: NDArray[np.float64] = away / np.linalg.norm(away, axis=1, keepdims=True)
    return found


# ---- ears

EAR_SIZE = (0.46, 0.76)  # how far an ear stands off, and how long it is
EAR_PLACE, EAR_TURN = (0.93, -0.38, 0.02), 36.0  # its upper corner; degrees from straight back
EARRING, LOBE = (0.22, 0.75), 0.2  # how far beside and below an ear one is; how high that ends
EAR_SAMPLES = 96
EAR_EDGE = 14.0  # how sharp its border is
EAR_RELIEF = 0.65  # share of its lights and shades that soft light leaves


def hanging_from(side: int) -> NDArray[np.float64]:
    """Corners [4, 3] on the head of what may hang from the left (−1) or right (1) ear."""
    x, y, z = np.array(EAR_PLACE) * [side, 1, 1]
    (wide, long), lobe = EARRING, y + EAR_SIZE[1]
    across = (x - wide, x + wide, x + wide, x - wide)
    down = (lobe - LOBE, lobe - LOBE, lobe + long, lobe + long)
    return np.array([[a, b, z] for a, b in zip(across, down, strict=True)])


def ear_on(
    side: int, at: Place, grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """The left (−1) or right (1) ear on a grid: its tone beside that of skin, and its cover in
    0 … 1, [h, w] each. None where the head is turned so far that it hides it."""
    turn = np.deg2rad(EAR_TURN)
    start = np.array(EAR_PLACE) * [side, 1, 1]
    out = EAR_SIZE[0] * np.array([side * np.sin(turn), -0.12, np.cos(turn)])
    down = EAR_SIZE[1] * np.array([-0.02 * side, 1.0, -0.14])
    u, v = ((at.rotation @ way)[:2] * at.scale / grid.step for way in (out, down))
    if side * u[0] <= 0.05 * np.hypot(*v):
        return None
    corner = grid.places(at.seen(start))
    x, y = np.arange(grid.width) + 0.5 - corner[0], np.arange(grid.height) + 0.5 - corner[1]
    (a, b), (c, d) = np.linalg.inv(np.stack([u, v], 1)) * EAR_SAMPLES
    there = np.stack([a * x[None] + b * y[:, None], c * x[None] + d * y[:, None]], -1)
    places = (there - 0.5).astype(np.float32)
    tone, cover = (sample(plane, places) for plane in _ear())
    return tone, cover * (there[..., 0] > 0)


@cache
def _ear() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Its tone and cover, from where it grows on the head outwards, and from its top to its lobe.

    Drawn by hand: an egg with a bright rim, a furrow along it, and a shell in shadow.
    """
    v, u = (np.mgrid[:EAR_SAMPLES, :EAR_SAMPLES] + 0.5) / EAR_SAMPLES

    def egg(x: float, y: float, wide: float, high: float) -> NDArray[np.float64]:
        """Distance from its centre, one on its border."""
        down = (v - y) / high
        across = (u - x + 0.24 * (v - y)) / (wide * (1 - 0.28 * down))
        found: NDArray[np.float64] = np.hypot(across, down)
        return found

    def ring(distance: NDArray[np.float64], radius: float, width: float) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.exp(-(((distance - radius) / width) ** 2))
        return found

    outer, furrow, shell = (
        egg(0.42, 0.5, 0.52, 0.48), egg(0.38, 0.46, 0.36, 0.37), egg(0.26, 0.52, 0.26, 0.22)
    )  # fmt: skip
    upper = np.clip((0.86 - v) / 0.25, 0, 1)
    tone = 0.97 + (0.07 * ring(outer, 0.88, 0.1) - 0.2 * ring(furrow, 0.95, 0.13)) * upper
    tone += 0.05 * ring(furrow, 0.62, 0.14) * upper - 0.26 * np.clip((1.05 - shell) * 2.2, 0, 1)
    tone += 0.21 * np.exp(-(((u - 0.06) / 0.08) ** 2) - ((v - 0.55) / 0.09) ** 2)
    tone -= 0.12 * np.clip(1 - u / 0.16, 0, 1) * np.clip((v - 0.1) * 4, 0, 1)
    tone -= 0.1 * ring(outer, 1, 0.07)
    tone = 1 + EAR_RELIEF * (tone - 1)
    cover = np.clip((1 - outer) * EAR_EDGE, 0, 1)
    cover[[0, -1]] = cover[:, -1] = 0  # so that nothing goes on beyond
    return tone.astype(np.float32), cover.astype(np.float32)


# ---- stages


@stage(keep=False)
def head_pose(track: Series[FaceTrack]) -> HeadPose:
    return _posed(track)[0]


@stage(version=2)
def skull(track: Series[FaceTrack], matte: Series[Matte], hair_window: HairWindow) -> Skull:
    """Of the person, from LOOKED_AT frames that are spread over the clip."""
    pose, long = _posed(track)
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(LOOKED_AT, len(present))).astype(int)]
    hidden = []
    for frame in chosen.tolist():
        one = frame, frame + 1
        oval = hair_window.places(track.rows(*one).mesh[0, list(FACE_OVAL)])
        face = polygon_mask(oval, hair_window.height, hair_window.width)
        hidden.append((matte.rows(*one).alpha[0] > 127) | (face > 0.5))
    places = [Place.of(pose, frame) for frame in chosen]
    return within_hair(mean_skull(long), places, hidden, hair_window)


def _posed(track: Series[FaceTrack]) -> tuple[HeadPose, float]:
    return poses(track.field("mesh"), track.field("present"), track.field("cuts"))
