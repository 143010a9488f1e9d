"""Where on a head the hair of a photo goes, and the light that it stands in there.

A photo's hair is a relief: every point of it has a depth, on a dome around the head that passes
through the face's hairline and falls to the plane of the ears, where hair hangs down. It turns with
the head, which shifts what lies deep against what lies in front, by a map without folds as long as
the dome is flat enough. What is left between the two faces, by points of their meshes, is bent away
smoothly, so that hairline, temples and sides meet. T frames, K points.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, median_filter

from vidhair.geometry import Grid
from vidhair.imaging.color import linear_to_srgb, srgb_to_linear
from vidhair.imaging.motion import sample
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.stages.align import FaceTrack
from vidhair.stages.light import whites_of_eyes
from vidhair.stages.photo import PhotoHair
from vidhair.stages.skull import AXES, CENTRE, HeadPose, Place, poses
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

# Points of the mesh that meet: the outline, forehead, temples, brows and cheeks. Of those on the
# jaw, which speech moves, only where they are on the whole.
JAW = (361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132)
UPPER = (
    *(n for n in FACE_OVAL if n not in JAW),
    151, 9, 108, 337, 69, 299, 104, 333, 71, 301, 139, 368, 116, 345, 123, 352, 168, 6,
)  # fmt: skip
POINTS = UPPER + JAW
# Of these, those that no expression moves.
STILL = (10, 127, 356, 162, 389, 21, 251, 234, 454, 93, 323, 139, 368, 116, 345, 168, 6)
# The dome: a bell around the head's middle. Its width and height in half axes of the skull.
BELL, HEIGHT, PLANE = 0.66, 1.12, 0.16
MOST_SHEAR = 0.62  # of its depth, so that it has no folds: about 32°
# Of what is bent away: how far not, and how far around, in half widths.
BROAD, NARROW = (0.12, 0.55), (0.25, 0.38)
STIFFER = (1, 2.5, 6, 15, 40)  # times that, where it would fold or stretch too much
LEAST_SHARE = 0.45  # of an area, that may be left of it
AROUND_HEAD = 2.0, 0.2  # how far around that is looked at, and how closely, in half widths
MOST_REST = 0.05  # of the latter: an outline that turns is not the same part of the head
FOLLOWED, FOLLOWED_JAW = 0.6, 6.0  # deviations, in frames, of the means over which points are
ROUNDS = 12  # to find where on the relief a place is
STEP = 4  # samples between which the map is a straight line

Pair = tuple[float, float]
Bells = tuple[NDArray[np.float64], NDArray[np.float64], float]

SKIN = (
    151, 108, 337, 69, 299, 104, 333, 50, 280, 101, 330, 36, 266, 205, 425, 118, 347, 117, 346,
    123, 352, 187, 411, 207, 427, 6, 197, 195, 5, 199,
)  # fmt: skip
SKIN_BLUR = 0.02  # over which skin is looked at, in crop sides
DARKEST = 0.002  # light that is seen, of 1
EVEN = 0.5  # points' worth of belief that light is even
LIGHT_FRAMES = 1.5  # deviation of the mean over which light is followed
# Skin differs in its own color, too: how far a difference is taken for that of the light.
LIGHTNESS_TOLD, TINT_TOLD, SLOPE_TOLD = 0.3, 0.4, 0.35
# Melanin takes from blue more than from green, and least from red: what differs so is rather skin.
MELANIN, OF_MELANIN = np.array([1, 0, -1]) / np.sqrt(2), 0.15
REDDEST = 2.0  # linear red of the white of eyes over its green
AGREED_TOLD = 0.7  # of that in which the white of the eyes agrees
MOST_LIGHTNESS, MOST_TINT, MOST_SLOPE = 0.3, 0.16, 0.12  # of the logarithm
# The same from side to side of hair in its own colors: people's own hair is lighter on the side on
# which their face is, and above and below it tells nothing of faces.
SIDES_TOLD, MOST_SIDES = 0.6, 0.35


@dataclass(frozen=True)
class FaceLight(Value):
    """log: [T, 3, 3], of the light on a face by channel: in its middle, and how much it grows per
    half width to the right and down. Zeros where it is absent. white: [T, 3], of the white of its
    eyes, NaN where none is seen."""

    ROWS = ("log", "white")
    log: NDArray[np.float32]
    white: NDArray[np.float32]


@dataclass(frozen=True)
class PhotoFit(HeadPose):
    """The pose, in every frame as its points say. bent: [T, K, 2], where points of the head are
    beside where that puts those of the photo, in half widths; usual: the same, of the shot. light:
    [T, 3, 3], of the frame on the photo's hair, as `FaceLight`. long: of the face, beside the mean
    one."""

    ROWS: ClassVar[tuple[str, ...]] = (*HeadPose.ROWS, "bent", "usual", "light")
    bent: NDArray[np.float32]
    usual: NDArray[np.float32]
    light: NDArray[np.float32]
    long: float


# ---- where


@dataclass(frozen=True)
class Relief:
    """A photo's hair in depth. plane: in samples of the photo."""

    photo: PhotoHair

    def depth(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of places [..., 2] in half widths from the head's middle, as the photo sees it."""
        rotation, long = self.photo.rotation, self.photo.long
        centre = rotation @ (np.array(CENTRE) * [1, long, 1])
        half = np.sqrt(np.square(rotation * AXES).sum(1))  # of the turned skull, along the view
        away = (places - centre[:2]) / half[:2]
        bell = np.exp(-np.square(away).sum(-1) / (2 * BELL**2))
        found: NDArray[np.float64] = centre[2] - PLANE - HEIGHT * half[2] * bell
        return found

    def turn(
        self, at: Place, long: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of the photo's view into that of a place: a point a [2] at a depth z comes to
        flat · a + z · deep + offset. flat: [2, 2]; deep, offset: [2].

        Beyond MOST_SHEAR what lies deep moves no further against what lies in front.
        """
        stretch = np.array([1, long / self.photo.long, 1])
        whole = ((at.rotation * stretch) @ self.photo.rotation.T)[:2]
        deep = whole[:, 2] * min(1.0, MOST_SHEAR / max(float(np.linalg.norm(whole[:, 2])), 1e-9))
        return whole[:, :2], deep, self.depth(np.zeros(2)) * (whole[:, 2] - deep)

    def seen(self, samples: NDArray[np.float64], at: Place, long: float) -> NDArray[np.float64]:
        """Samples [..., 2] of the photo in half widths from where a head is, [..., 2]."""
        flat, deep, offset = self.turn(at, long)
        a = (samples - self.photo.shift) / self.photo.scale
        found: NDArray[np.float64] = a @ flat.T + self.depth(a)[..., None] * deep + offset
        return found

    def samples(self, places: NDArray[np.float64], at: Place, long: float) -> NDArray[np.float64]:
        """The inverse of `seen`."""
        flat, deep, offset = self.turn(at, long)
        back = np.linalg.inv(flat).T
        start, shift = (places - offset) @ back, deep @ back
        a = start - self.depth(start)[..., None] * shift
        for _ in range(ROUNDS):
            a = 0.5 * (a + start - self.depth(a)[..., None] * shift)
        found: NDArray[np.float64] = a * self.photo.scale + self.photo.shift
        return found


def nearer(at: Place, seen: NDArray[np.float64], there: NDArray[np.float32]) -> Place:
    """A place, turned in the picture, scaled and shifted so that points that are seen from it at
    [n, 2], in half widths, are as near as can be to where they are in the frame, [n, 2]."""
    given, wanted = (p[:, 0] + 1j * p[:, 1] for p in (seen, there.astype(np.float64)))
    away = given - given.mean()
    factor = np.vdot(away, wanted - wanted.mean()) / np.vdot(away, away)
    turn, rest = factor / abs(factor), wanted.mean() - factor * given.mean()
    flat = np.array([[turn.real, -turn.imag, 0], [turn.imag, turn.real, 0], [0, 0, 1]])
    return Place(flat @ at.rotation, float(abs(factor)), np.array([rest.real, rest.imag]))


def bending(
    points: NDArray[np.float64],
    away: NDArray[np.float64],
    usual: NDArray[np.float64] | None = None,
) -> "Bending":
    """A smooth displacement of the plane that is nearly `away` [K, 2] at POINTS [K, 2], in broad
    bells; and at UPPER in narrower ones, as far as it is not as usual there, if that is known."""
    bells = (BROAD[0] * unfolded(points, away), BROAD[1])
    broad = _solved(points, away, bells)
    if usual is None:
        return Bending((broad,))
    varying = away - usual
    rest = (varying - Bending((_solved(points, varying, bells),))(points))[: len(UPPER)]
    return Bending((broad,), (_solved(points[: len(UPPER)], rest, NARROW),))


def unfolded(points: NDArray[np.float64], away: NDArray[np.float64]) -> float:
    """How many times as stiff as BROAD a displacement is, so that no area shrinks below a
    LEAST_SHARE of it. It varies as little from frame to frame as these do."""
    reach, step = AROUND_HEAD
    along = np.arange(-reach, reach + step, step)
    places = np.stack(np.meshgrid(along, along), -1)
    near, wide = _bells(points, points, BROAD[1]), _bells(places, points, BROAD[1])
    least: list[float] = []
    for times in STIFFER:
        weights = np.linalg.solve(near + BROAD[0] * times * np.eye(len(points)), away)
        down, right = np.gradient(places - wide @ weights, step, axis=(0, 1))
        least.append(float((right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]).min()))
        if least[-1] > LEAST_SHARE:
            break
    logs = np.log(STIFFER[: len(least)])
    return float(np.exp(np.interp(LEAST_SHARE, np.maximum.accumulate(least), logs)))


def _solved(points: NDArray[np.float64], away: NDArray[np.float64], bells: Pair) -> Bells:
    stiff, width = bells
    near = _bells(points, points, width) + stiff * np.eye(len(points))
    return points, np.linalg.solve(near, away), width


@dataclass(frozen=True)
class Bending:
    """The sum of bells of a width: around points [K, 2], with weights [K, 2]. held: that of these
    moves nothing further than MOST_REST, so that between points and beyond them nothing folds."""

    parts: tuple[Bells, ...]
    held: tuple[Bells, ...] = ()

    def __call__(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = _sum(self.held, places)
        length = np.linalg.norm(rest, axis=-1, keepdims=True)
        rest /= np.hypot(1, length / MOST_REST)
        return _sum(self.parts, places) + rest


def _sum(parts: tuple[Bells, ...], places: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros_like(places)
    for points, weights, width in parts:
        found += _bells(places, points, width) @ weights
    return found


def _bells(a: NDArray[np.float64], b: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    # One axis after the other is much faster than a sum over pairs.
    square = sum(np.square(a[..., None, k] - b[..., k]) for k in range(a.shape[-1]))
    found: NDArray[np.float64] = np.exp(-square / (2 * width**2))
    return found


def photo_places(
    photo: PhotoHair,
    at: Place,
    bent: NDArray[np.float32],
    long: float,
    grid: Grid,
    usual: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Which sample of the photo is seen at those of a grid: columns and rows, [h, w, 2], of which
    whole numbers are samples."""
    relief = Relief(photo)
    rows, columns = (-(-n // STEP) + 1 for n in (grid.height, grid.width))
    x = grid.left + (np.arange(columns) * STEP + 0.5) * grid.step
    y = grid.top + (np.arange(rows) * STEP + 0.5) * grid.step
    frame = np.stack(np.meshgrid(x, y), -1)
    there = (frame - at.shift) / at.scale
    start = relief.seen(photo.mesh[list(POINTS)].astype(np.float64), at, long)
    held = None if usual is None else usual.astype(np.float64)
    bend = bending(start + bent, bent.astype(np.float64), held)
    coarse = relief.samples(there - bend(there), at, long) - 0.5
    fine = np.stack(
        np.meshgrid(np.arange(grid.width) / STEP, np.arange(grid.height) / STEP), -1
    ).astype(np.float32)
    found: NDArray[np.float32] = sample(coarse.astype(np.float32), fine)
    return found


# ---- light


def skin_light(
    picture: NDArray[np.uint8], mesh: NDArray[np.float32], side: float
) -> NDArray[np.float32]:
    """Of one face in a picture [H, W, 3], as a row of `FaceLight`. side: of its crop, in pixels."""
    points = mesh[list(SKIN)].astype(np.float64)
    half = np.linalg.norm(mesh[454] - mesh[234]) / 2
    radius = max(1, round(SKIN_BLUR * side))
    linear = srgb_to_linear(torch.arange(256) / 255).numpy()
    offsets = np.arange(-radius, radius + 1)
    high, wide, _ = picture.shape
    columns = np.clip(points[:, 0].astype(int)[:, None] + offsets, 0, wide - 1)
    rows = np.clip(points[:, 1].astype(int)[:, None] + offsets, 0, high - 1)
    seen = linear[picture[rows[:, :, None], columns[:, None, :]]].mean((1, 2))
    log = np.log(seen + DARKEST)
    place = (points - points.mean(0)) / half
    base = np.concatenate([np.ones((len(place), 1)), place], 1)
    believed = np.diag([0, EVEN, EVEN])
    weight, found = np.ones(len(place)), np.zeros((3, 3))
    for _ in range(4):  # what is unlike the rest is no skin
        weighted = base * weight[:, None]
        found = np.linalg.solve(weighted.T @ base + believed + 1e-6 * np.eye(3), weighted.T @ log)
        rest = np.abs(log - base @ found).max(1)
        weight = 1 / (1 + (rest / (1.5 * np.median(rest) + 0.03)) ** 4)
    light: NDArray[np.float32] = found.T.astype(np.float32)
    return light


def white_light(picture: NDArray[np.uint8], mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logarithm of the white of the eyes [3] in a picture [H, W, 3], NaN if none is seen: what
    is too red is lids."""
    found = [
        np.log(white + DARKEST)
        for white in whites_of_eyes(picture, mesh)
        if white[0] < REDDEST * white[1]
    ]
    return np.asarray(np.mean(found, 0) if found else np.full(3, np.nan), np.float32)


def light_color(
    skin: NDArray[np.floating[Any]], white: NDArray[np.floating[Any]] | None
) -> NDArray[np.float64]:
    """What differs in color, of mean zero, between two lights, of differences of logarithms [3]:
    that of skin as far as the white of eyes agrees, or else a share of it, less of what skins
    themselves differ in."""
    if white is None:
        rest = skin - skin.mean()
        own = (rest @ MELANIN) * MELANIN
        found: NDArray[np.float64] = TINT_TOLD * (rest - own) + OF_MELANIN * own
        return found
    one, other = (v[[0, 2]] - v[1] for v in (skin, white))
    agreed = np.where(one * other > 0, np.sign(one) * np.minimum(np.abs(one), np.abs(other)), 0)
    tint: NDArray[np.float64] = AGREED_TOLD * np.array([agreed[0], 0, agreed[1]])
    tint -= tint.mean()
    return tint


def light_on_hair(
    frames: NDArray[np.float32],
    photo: NDArray[np.float32],
    present: NDArray[np.bool_],
    begins: NDArray[np.bool_],
    whites: NDArray[np.floating[Any]] | None = None,
    lit: bool = False,
) -> NDArray[np.float32]:
    """How the light of frames [T, 3, 3] differs from a photo's [3, 3], as far as it is the light's
    and not the skin's: over time wholly, and on the whole by a share. whites: [3], how the
    logarithm of the white of eyes differs, if it is seen in both. lit: whether the hair has the
    colors of the frames' light already, and only its sides differ."""
    rows = np.flatnonzero(present)
    found = np.zeros_like(frames)
    if not len(rows):
        return found
    usual = np.median(frames[rows], 0)
    base = usual - photo
    mean = base[:, 0].mean()
    told = np.clip(LIGHTNESS_TOLD * mean, -MOST_LIGHTNESS, MOST_LIGHTNESS)
    tint = np.clip(light_color(base[:, 0], whites), -MOST_TINT, MOST_TINT)
    slope = np.clip(SLOPE_TOLD * base[:, 1:], -MOST_SLOPE, MOST_SLOPE)
    if lit:
        slope[:, 0] = np.clip(SIDES_TOLD * base[:, 1].mean(), -MOST_SIDES, MOST_SIDES)
        slope[:, 1] = 0
    shot = np.cumsum(begins)
    for number in np.unique(shot[rows]):
        run = rows[shot[rows] == number]
        found[run] = gaussian_filter1d(frames[run] - usual, LIGHT_FRAMES, 0, mode="nearest")
    found[rows, :, 1:] = np.clip(found[rows, :, 1:] * SLOPE_TOLD, -MOST_SLOPE, MOST_SLOPE)
    middle = np.zeros_like(tint) if lit else told + tint
    found[rows] += np.concatenate([middle[:, None], slope], 1)
    return found


def lit(
    levels: NDArray[np.float32], light: NDArray[np.float32], at: Place, grid: Grid
) -> NDArray[np.float32]:
    """Colors [h, w, 3] in levels on a grid in a light, as a row of `PhotoFit`."""
    table = srgb_to_linear(torch.arange(256) / 255).numpy()
    x = (grid.left + (np.arange(grid.width) + 0.5) * grid.step - at.shift[0]) / at.scale
    y = (grid.top + (np.arange(grid.height) + 0.5) * grid.step - at.shift[1]) / at.scale
    reach = 1.3  # beyond the face it does not go on growing
    across, down = (reach * np.tanh(v / reach) for v in (x, y))
    log = light[:, 0] + across[None, :, None] * light[:, 1] + down[:, None, None] * light[:, 2]
    linear: NDArray[np.float64] = np.interp(levels, np.arange(256), table) * np.exp(log)
    found = linear_to_srgb(torch.from_numpy(linear.clip(0, 1).astype(np.float32)))
    result: NDArray[np.float32] = (found * 255).numpy()
    return result


# ---- stages


@stage(version=2)
def face_light(frames: Frames, track: FaceTrack) -> FaceLight:
    found = np.zeros((len(frames), 3, 3), np.float32)
    white = np.full((len(frames), 3), np.nan, np.float32)
    for row in np.flatnonzero(track.present).tolist():
        (frame,) = frames.rows(row, row + 1)
        side = float(track.axes_of(np.array([row])).side[0])
        found[row] = skin_light(frame, track.mesh[row], side)
        white[row] = white_light(frame, track.mesh[row])
    return FaceLight(found, white)


@stage(version=7)
def photo_fit(
    photo_hair: PhotoHair,
    track: Series[FaceTrack],
    head_pose: Series[HeadPose],
    face_light: Series[FaceLight],
) -> PhotoFit:
    mesh, present, begins = (track.field(name) for name in ("mesh", "present", "cuts"))
    pose, (_, long) = head_pose.whole(), poses(mesh, present, begins)
    relief, rows = Relief(photo_hair), np.flatnonzero(present)
    exact = HeadPose(pose.rotation.copy(), pose.scale.copy(), pose.shift.copy())
    bent = np.zeros((len(mesh), len(POINTS), 2), np.float32)
    still, points = (photo_hair.mesh[list(n)].astype(np.float64) for n in (STILL, POINTS))
    for row in rows:
        at = Place.of(pose, row)
        at = nearer(at, relief.seen(still, at, long), mesh[row, list(STILL)])
        exact.rotation[row], exact.scale[row], exact.shift[row] = at.rotation, at.scale, at.shift
        there = (mesh[row, list(POINTS)] - at.shift) / at.scale
        bent[row] = there - relief.seen(points, at, long)
    usual = np.zeros_like(bent)
    shot, jaw = np.cumsum(begins), slice(len(UPPER), None)
    for number in np.unique(shot[rows]):
        run = rows[shot[rows] == number]
        upper, lower = bent[run, : len(UPPER)], bent[run, jaw]
        bent[run, : len(UPPER)] = gaussian_filter1d(upper, FOLLOWED, 0, mode="nearest")
        steady = median_filter(lower, (15, 1, 1), mode="nearest")
        bent[run, jaw] = gaussian_filter1d(steady, FOLLOWED_JAW, 0, mode="nearest")
        usual[run] = np.median(bent[run], 0)
    photo_light = skin_light(photo_hair.picture, photo_hair.mesh, photo_hair.side)
    whites = face_light.field("white")
    seen = whites[np.isfinite(whites).all(1)] - white_light(photo_hair.picture, photo_hair.mesh)
    differ = np.median(seen, 0) if np.isfinite(seen).all() and len(seen) else None
    given = face_light.field("log"), photo_light, present, begins, differ
    light = light_on_hair(*given, lit=bool(photo_hair.lit))
    return PhotoFit(exact.rotation, exact.scale, exact.shift, bent, usual, light, long)
