"""How the frames of a clip show things, beside a photo: how softly, with what motion and grain.

T frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, laplace

from vidhair.imaging.blur import blur
from vidhair.imaging.color import luma
from vidhair.imaging.motion import sample
from vidhair.imaging.opencv import opencv
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import SURE_ALPHA, Matte
from vidhair.stages.photo import PhotoHair
from vidhair.stages.photo_fit import STILL, PhotoFit, photo_places
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import Place
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

LOOKED_AT = 6  # frames in which sharpness and grain are compared
BLURS = (0.0, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.4, 1.7, 2.0, 2.5)  # that are tried, in samples
FINE, COARSE = (0.5, 1.1), (1.1, 2.6)  # blurs between which strands are fine, and less fine
MOST_SOFTER = 1.2  # by how much hair may be softer than the face, in samples
LEAST_HAIR = 400  # samples within hair, from which on its strands tell
MOST_GRAIN = 8.0  # levels
AT_ONCE = 4  # planes that OpenCV looks up
LEAST_MOTION, LEAST_SMEAR = 8.0, 0.8  # samples from frame to frame; of a smear that is seen
SHUTTERS = tuple(n / 10 for n in range(11))  # shares of a frame's time that are tried
LEAST_SHUTTER = 0.05  # that is told from none
# Blinks and other views of a face look like motion: as much of it counts as most frames show.
LEAST_MOVING, AGREED = 3, 0.25
STILLER = 12  # frames away at most, a stiller one is looked for


@dataclass(frozen=True)
class PhotoLook(Value):
    """How the frames show things. blur: deviation, in samples of the window, that makes the photo
    as soft as they are; grain: deviation of their noise, in levels; smear: [T, 2], how far things
    on the head move in samples while a frame is taken."""

    ROWS = ("smear",)
    blur: float
    grain: float
    smear: NDArray[np.float32]


def taken(planes: NDArray[Any], places: Plane) -> Plane:
    """What a photo's planes [H, W, C] hold at places [h, w, 2], filtered for how far those lie
    apart."""
    step = float(np.median(np.hypot(*np.moveaxis(np.diff(places, axis=1)[::8, ::8], -1, 0))))
    softer = torch.from_numpy(np.ascontiguousarray(planes, np.float32)).movedim(-1, 0)[None]
    sigma = 0.5 * np.sqrt(max(step * step - 1, 0))
    ready = blur(softer.contiguous(), sigma)[0].movedim(0, -1).contiguous().numpy()
    if ready.ndim < 3 or ready.shape[2] <= AT_ONCE:
        return np.asarray(sample(ready, places, sharp=True), np.float32)
    parts = [ready[..., :AT_ONCE], ready[..., AT_ONCE:]]
    return np.dstack([sample(np.ascontiguousarray(p), places, sharp=True) for p in parts])


def detail(picture: Plane, mask: NDArray[np.bool_]) -> float:
    """How much of a grey picture [h, w] changes from sample to sample, where a mask says so."""
    return float(np.sqrt(np.mean(np.square(laplace(gaussian_filter(picture, 0.5))[mask]))))


def noise_of(picture: Plane, mask: NDArray[np.bool_]) -> float:
    """Deviation of the noise of a grey picture [h, w] in its flattest parts."""
    fine = laplace(picture)
    rms = np.sqrt(gaussian_filter(fine * fine, 3)[mask]) / np.sqrt(20)
    return float(np.quantile(rms, 0.1)) if rms.size else 0.0


def softness(photo: Plane, frame: Plane, mask: NDArray[np.bool_], grain: float) -> float:
    """The blur after which a grey picture has as much detail as another one with grain."""
    noise = grain * np.sqrt(9.0)
    wanted = np.sqrt(max(detail(frame, mask) ** 2 - noise**2, 0))
    found = [detail(gaussian_filter(photo, b), mask) for b in BLURS]
    return _where(found, wanted, BLURS)


def _where(falling: Sequence[float], wanted: float, values: Sequence[float]) -> float:
    """The first of some values, or between them, at which what falls along them is as wanted."""
    never_rises = np.minimum.accumulate(falling) - 1e-6 * np.arange(len(falling))
    return float(np.interp(-wanted, -never_rises, values))


def strands(picture: Plane, mask: Mask, grain: float) -> float:
    """How much of the detail of hair, a grey picture [h, w] within a mask, is fine, beside what is
    less fine. grain: deviation of noise, that is not counted."""
    found = []
    noise = np.zeros((33, 33), np.float32)
    noise[16, 16] = grain
    for low, high in (FINE, COARSE):
        band, own = (gaussian_filter(p, low) - gaussian_filter(p, high) for p in (picture, noise))
        found.append(max(float(np.mean(np.square(band[mask]))) - float(np.square(own).sum()), 0))
    return float(np.sqrt(found[0] / (found[1] + 1e-6)))


def hair_softness(
    photo: Plane, there: Mask, frame: Plane, hair: Mask, grain: float
) -> float | None:
    """The blur after which a photo's hair has as fine strands as a frame's, both grey [h, w] within
    masks; None where too little of them is seen."""
    if min(there.sum(), hair.sum()) < LEAST_HAIR:
        return None
    wanted = strands(frame, hair, grain)
    found = [strands(gaussian_filter(photo, b), there, 0.0) for b in BLURS]
    return _where(found, wanted, BLURS)


# ---- motion


def line(way: NDArray[np.floating[Any]]) -> Plane:
    """The mean along a way [2] in samples, as a kernel [n, n]."""
    reach = int(np.ceil(np.abs(way).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    count = 4 * int(np.ceil(np.hypot(*way))) + 1
    for share in (np.arange(count) + 0.5) / count - 0.5:
        x, y = share * np.asarray(way, np.float64) + reach
        column, row = int(x), int(y)
        right, down = x - column, y - row
        kernel[row : row + 2, column : column + 2] += np.outer([1 - down, down], [1 - right, right])
    kernel /= kernel.sum()
    return kernel


def smeared(planes: Plane, way: NDArray[np.floating[Any]]) -> Plane:
    """Planes [h, w] or [h, w, C] that move by a way [2] while they are seen."""
    if np.hypot(*way) < LEAST_SMEAR:
        return planes
    found: Plane = opencv().filter2D(planes, -1, line(way), borderType=opencv().BORDER_REPLICATE)
    return found


def along_and_across(picture: Plane, mask: Mask, way: NDArray[np.floating[Any]]) -> float:
    """How much a grey picture [h, w] changes along a way [2], beside across it."""
    x, y = np.asarray(way) / np.hypot(*way)
    down, right = np.gradient(gaussian_filter(picture, 0.8))
    along, across = (x * right + y * down)[mask], (x * down - y * right)[mask]
    return float(np.sqrt(np.mean(np.square(along)) / (np.mean(np.square(across)) + 1e-6)))


def shutter(still: Plane, moving: Plane, mask: Mask, way: NDArray[np.floating[Any]]) -> float:
    """The share of a way [2] over which a moving picture [h, w] is smeared, beside one of the same
    that is still."""
    wanted = along_and_across(moving, mask, way)
    found = [along_and_across(smeared(still, s * np.asarray(way)), mask, way) for s in SHUTTERS]
    return _where(found, wanted, SHUTTERS)


def ways(places: NDArray[np.float64], present: Mask, begins: Mask) -> NDArray[np.float64]:
    """How far a place moves in a frame's time, [T, 2], of places [T, 2]."""
    found, shot = np.zeros_like(places), np.cumsum(begins)
    for row in np.flatnonzero(present).tolist():
        near = [
            other for other in (row - 1, row, row + 1)
            if 0 <= other < len(places) and present[other] and shot[other] == shot[row]
        ]  # fmt: skip
        found[row] = (places[near[-1]] - places[near[0]]) / max(1, near[-1] - near[0])
    return found


def stiller(row: int, speed: NDArray[np.float64], usable: Mask) -> int:
    """The frame near one in which the head moves least. speed, usable: [T]."""
    low, high = max(0, row - STILLER), row + STILLER + 1
    return low + int(np.argmin(np.where(usable[low:high], speed[low:high], np.inf)))


# ---- stages


@stage(version=2)
def photo_look(
    frames: Series[Frames],
    matte: Series[Matte],
    track: Series[FaceTrack],
    photo_hair: PhotoHair,
    photo_fit: Series[PhotoFit],
    hair_window: HairWindow,
) -> PhotoLook:
    """By faces and hair of frames that are spread over the clip, and the photo's in their place."""
    present, begins = track.field("present"), track.field("cuts")
    if not photo_hair.alpha.any():
        return PhotoLook(0.0, 0.0, np.zeros((len(present), 2), np.float32))
    rows = np.flatnonzero(present)
    chosen = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(int)]

    def seen(frame: int) -> tuple[Plane, NDArray[np.float32], Mask]:
        """In grey, with the mesh, and the inner face."""
        one = frame, frame + 1
        picture = luma(hair_window.cut(frames.rows(*one).pixels[0]))
        mesh = hair_window.places(track.rows(*one).mesh[0])
        inner = (mesh[list(FACE_OVAL)] - mesh[4]) * 0.8 + mesh[4]
        return picture, mesh, polygon_mask(inner, *picture.shape) > 0.5

    blurs, grains, softer = [0.0], [0.0], []
    for frame in chosen.tolist():
        one = frame, frame + 1
        picture, _, face = seen(frame)
        fit = photo_fit.rows(*one)
        places = photo_places(
            photo_hair, Place.of(fit, 0), fit.bent[0], fit.long, hair_window, fit.usual[0]
        )
        photo = luma(taken(photo_hair.picture, places))
        if not face.any():
            continue
        grains.append(noise_of(picture, face))
        blurs.append(softness(photo, picture, face, grains[-1]))
        own, new = (
            binary_erosion(alpha > 255 * SURE_ALPHA, iterations=3)
            for alpha in (matte.rows(*one).alpha[0], sample(photo_hair.alpha, places))
        )
        found = hair_softness(photo, new, picture, own, grains[-1])
        softer += [] if found is None else [found]
    grain = min(float(np.median(grains[1:] or grains)), MOST_GRAIN)
    usual = float(np.median(blurs[1:] or blurs))
    if softer:
        usual = float(np.clip(np.median(softer), usual, usual + MOST_SOFTER))
    moves = ways(photo_fit.field("shift") / hair_window.step, present, begins)
    speed, shot = np.hypot(*moves.T), np.cumsum(begins)
    shutters = []
    for row in np.argsort(-speed)[:LOOKED_AT].tolist():
        other = stiller(row, speed, present & (shot == shot[row]))
        if speed[row] < LEAST_MOTION or speed[other] > speed[row] / 3:
            continue
        moving, mesh, face = seen(row)
        still, before, _ = seen(other)
        if face.any():
            still = _brought(still, before[list(STILL)], mesh[list(STILL)])
            shutters.append(shutter(still, moving, face, moves[row]))
    share = float(np.quantile(shutters, AGREED)) if len(shutters) >= LEAST_MOVING else 0.0
    smear = moves * (share if share > LEAST_SHUTTER else 0)
    return PhotoLook(usual, grain, smear.astype(np.float32))


def _brought(picture: Plane, given: Plane, wanted: Plane) -> Plane:
    """A grey picture [h, w], of which points [n, 2] are brought to where others are."""
    (a, b) = (p[:, 0] + 1j * p[:, 1] for p in (given, wanted))
    away = b - b.mean()
    factor = np.vdot(away, a - a.mean()) / np.vdot(away, away)
    rows, columns = np.indices(picture.shape)
    there = a.mean() + factor * ((columns + 0.5) + 1j * (rows + 0.5) - b.mean())
    places = np.stack([there.real, there.imag], -1).astype(np.float32) - np.float32(0.5)
    found: Plane = sample(picture, places, sharp=True)
    return found
