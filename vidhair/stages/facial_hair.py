"""Beards and brows, of which neither segmenter nor parser tells: a matte of each.

A mesh says where they may be. There, what is unlike the skin of cheeks, nose and forehead, in the
way in which this person's beard is over the whole clip, is likely to be it. The border is solved
for as that of the hair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.blur import blur, blur_
from vidhair.imaging.color import levels_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import dilate, span_of
from vidhair.models.faces.landmarks import BROWS, FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import (
    COLOR_REACH,
    NEIGHBOURS,
    UNLIKELY,
    Matte,
    alpha_of,
    settled,
)
from vidhair.stages.region import HairWindow, beard_ring
from vidhair.types import Clip, Frames
from vidhair.wiring import AtOnce, Near, Series, Setting, Span, Value, stage

PARTS = ("beard", "brows")
# Of MediaPipe's mesh.
LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
UPPER_LIP = (203, 98, 2, 327, 423, 426, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185, 61, 206)
CHIN = (
    17, 314, 405, 321, 375, 291, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150, 136, 61, 146,
    91, 181, 84,
)  # fmt: skip
SKIN = (
    (117, 118, 119, 100, 142, 36, 205, 187, 123, 116),
    (346, 347, 348, 329, 371, 266, 425, 411, 352, 345),
    (151, 108, 69, 104, 105, 66, 107, 9, 336, 296, 334, 333, 299, 337),
    (6, 122, 196, 3, 51, 45, 4, 275, 281, 248, 419, 351),
)
AROUND = 0.25  # around the mesh, in crop sides, that is looked at
SHADE = 0.6  # lightness of skin in the shadow of the jaw, as a share of that in the face
FADING = 0.6  # exponent of the shade by which a and b fall
BROW_EDGE = 0.012  # how far brows are looked for beside the mesh's, in crop sides
SKIN_REACH, SKIN_LEVELS = 0.06, 8  # blur, in crop sides, and halvings over which skin is spread
SOFT = 0.005  # blur of the prior, in crop sides
LIGHTNESS = 0.6  # weight of lightness beside color, as shades of skin differ in it
# How unlike skin a pixel is that counts, and the share of those that makes a beard or brows.
UNLIKE, LEAST_SHARE = (11.0, 8.0), (0.3, 0.25)
TYPICAL = 75  # percentile of how unlike those are
LIKELY, OFF_WAY = (0.3, 0.75), (0.35, 0.7)  # of that, along its way and beside it: none to all
BROWS_EDGE = 0.01  # as matte.edge
COLOR_FRAMES = 8


@dataclass(frozen=True)
class FacialColors(Value):
    """Of PARTS. way: [2, 3], from the skin's color to theirs, as `unlike_skin` counts it; zero
    where too little is seen. lab: [2, 3], their mean color."""

    way: NDArray[np.float32]
    lab: NDArray[np.float32]

    def seen(self, part: str) -> bool:
        return bool(self.way[PARTS.index(part)].any())


@dataclass(frozen=True)
class FacialHair(Value):
    """planes: uint8 [T, 2, h, w] in the hair's window, mattes of PARTS; lab: [T, 2, 3], the mean
    color of each over the clip. [T, 0, …] where nobody asks for them."""

    ROWS = ("planes", "lab")
    planes: NDArray[np.uint8]
    lab: NDArray[np.float32]


class Face:
    """One face in a part of a window. rows, columns: which; picture: [1, 3, h, w] in 0 … 1; lab:
    the same in Lab; side: of its crop, in samples."""

    def __init__(self, mesh: NDArray[np.float32], window: HairWindow, picture: NDArray[np.uint8]):
        local = window.places(mesh)
        side, margin = window.side, AROUND * window.side
        low = np.maximum(np.floor(local.min(0) - margin), 0).astype(int)
        high = np.minimum(np.ceil(local.max(0) + margin), [window.width, window.height]).astype(int)
        self.columns, self.rows = (slice(a, max(a, b)) for a, b in zip(low, high, strict=True))
        self.side = side
        seen = picture[self.rows, self.columns]
        self._size, self._points = seen.shape[:2], local - low
        self.picture = torch.from_numpy(seen.copy()).movedim(-1, 0)[None].float() / 255
        self.lab = levels_to_lab(torch.from_numpy(seen[None].copy()))

    @property
    def empty(self) -> bool:
        return 0 in self._size

    def _mask(self, *polygons: NDArray[np.float32]) -> Tensor:
        found = [polygon_mask(points, *self._size) for points in polygons]
        return torch.from_numpy(np.maximum.reduce(found))[None, None]

    def _parts(self, *parts: Sequence[int]) -> Tensor:
        return self._mask(*(self._points[list(part)] for part in parts))

    def allowed(self, part: str) -> Tensor:
        """Where it may be."""
        if part == "brows":
            reach = max(1, round(BROW_EDGE * self.side))
            return dilate(self._parts(*BROWS), 2 * reach + 1)
        region = self._mask(beard_ring(self._points, self.side))
        return region * (1 - self._parts(LIPS))

    def core(self, part: str) -> Tensor:
        """Where some of it is, if there is any."""
        if part == "brows":
            return self._parts(*BROWS)
        return self._parts(UPPER_LIP, CHIN) * (1 - self._parts(LIPS))

    @cached_property
    def skin(self) -> Tensor:
        """The color of the skin that is nearest."""
        seen = self._parts(*SKIN) * (1 - self.allowed("brows"))
        sums = blur_(torch.cat([self.lab * seen, seen], 1), SKIN_REACH * self.side)
        mean = sums[:, :3] / (sums[:, 3:] + 1e-4)
        return fill(mean, (8 * sums[:, 3:]).clamp(0, 1), SKIN_LEVELS)

    def unlike_skin(self) -> Tensor:
        """How each pixel differs from skin, [1, 3, h, w].

        Lightness counts less, as shades of skin differ in it, and being redder does not, as lips
        are. Beside the face skin in the shadow is skin, too.
        """
        shade = (self.lab[:, :1] / self.skin[:, :1].clamp_min(1)).clamp(SHADE, 1)
        shade = torch.lerp(shade, torch.ones(()), self._parts(FACE_OVAL))
        away = self.lab - self.skin * torch.cat([shade, shade**FADING, shade**FADING], 1)
        light, a, b = away.split(1, 1)
        return torch.cat([LIGHTNESS * light, a.clamp(max=0), b], 1)

    def matte(self, prior: Tensor, edge: float) -> Tensor:
        """[1, 1, h, w] in 0 … 1, of a prior. edge: see `alpha_of`."""
        margin = round(COLOR_REACH * self.side) + 2
        rows, columns = span_of(prior[0, 0].numpy() > UNLIKELY, margin)
        alpha, part = torch.zeros_like(prior), self.picture[..., rows, columns]
        if part.numel():
            alpha[..., rows, columns] = alpha_of(part, prior[..., rows, columns], self.side, edge)
        return alpha


def prior_of(face: Face, part: str, way: NDArray[np.float32]) -> Tensor:
    """How likely it is there, [1, 1, h, w] in 0 … 1: how far on the way from skin a pixel lies,
    and not beside it. way: see FacialColors."""
    to = torch.from_numpy(way).view(1, 3, 1, 1)
    length, unlike = to.norm(), face.unlike_skin()
    along = (unlike * to).sum(1, keepdim=True) / length.square()
    off = (unlike - along * to).norm(dim=1, keepdim=True) / length
    share = _ramp(along, LIKELY) * (1 - _ramp(off, OFF_WAY))
    return blur(share, SOFT * face.side) * blur(face.allowed(part), SOFT * face.side)


def _ramp(values: Tensor, ends: tuple[float, float]) -> Tensor:
    low, high = ends
    return ((values - low) / (high - low)).clamp(0, 1)


# ---- stages


@stage()
def facial_colors(
    frames: Series[Frames], track: Series[FaceTrack], hair_window: HairWindow
) -> FacialColors:
    """From a few frames that are spread over the clip."""
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(COLOR_FRAMES, len(present))).astype(int)]
    unlike: dict[str, list[NDArray[np.float32]]] = {part: [] for part in PARTS}
    colors: dict[str, list[NDArray[np.float32]]] = {part: [] for part in PARTS}
    for frame in chosen.tolist():
        one = frame, frame + 1
        picture = hair_window.cut(frames.rows(*one).pixels[0])
        face = Face(track.rows(*one).mesh[0], hair_window, picture)
        if face.empty:
            continue
        away = face.unlike_skin()
        for part in PARTS:
            inside = face.core(part)[0, 0] > 0.5
            unlike[part].append(away[0, :, inside].T.numpy())
            colors[part].append(face.lab[0, :, inside].T.numpy())
    found = [
        _way(np.concatenate(unlike[part]), np.concatenate(colors[part]), *limits)
        if unlike[part]
        else (np.zeros(3, np.float32), np.zeros(3, np.float32))
        for part, *limits in zip(PARTS, UNLIKE, LEAST_SHARE, strict=True)
    ]
    way, lab = zip(*found, strict=True)
    return FacialColors(np.stack(way), np.stack(lab))


def _way(
    unlike: NDArray[np.float32], lab: NDArray[np.float32], least: float, share: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From pixels [N, 3] where there may be hair: how it differs from skin, and its mean color."""
    other = np.linalg.norm(unlike, axis=1) > least
    if not len(other) or other.mean() < share:
        return np.zeros(3, np.float32), np.zeros(3, np.float32)
    mean = unlike[other].mean(0)
    mean /= np.linalg.norm(mean) + 1e-9
    along = unlike @ mean
    if (along > least).mean() < share:
        return np.zeros(3, np.float32), np.zeros(3, np.float32)
    typical = np.percentile(along[along > least], TYPICAL)
    found = lab[along > (sum(LIKELY) / 2) * typical].mean(0)
    return (mean * typical).astype(np.float32), found.astype(np.float32)


@stage(compress=True)
def facial_hair(
    frames: Annotated[Frames, Near(NEIGHBOURS)],
    track: Annotated[FaceTrack, Near(NEIGHBOURS)],
    matte: Matte,
    facial_colors: FacialColors,
    hair_window: HairWindow,
    span: Span,
    smooth: Annotated[float, Setting("matte.smooth")],
    edge: Annotated[float, Setting("matte.edge")],
    at_once: AtOnce,
) -> FacialHair:
    """Where the hair of the head is none of it."""
    size = hair_window.height, hair_window.width
    planes = np.zeros((len(span), len(PARTS), *size), np.uint8)
    wanted = [(n, part) for n, part in enumerate(PARTS) if facial_colors.seen(part)]

    def look(picture: NDArray[np.uint8], frame: int) -> NDArray[np.float32]:
        """Of all, as none lies where another may be."""
        alpha = np.zeros(size, np.float32)
        face = Face(track.mesh[frame], hair_window, picture)
        for number, part in wanted if not face.empty else ():
            prior = prior_of(face, part, facial_colors.way[number])
            found = face.matte(prior, edge if part == "beard" else min(edge, BROWS_EDGE))
            alpha[face.rows, face.columns] += (found * face.allowed(part))[0, 0].numpy()
        return alpha

    first = span.core(NEIGHBOURS).start
    made = settled(frames, track, hair_window, span, smooth, look, at_once) if wanted else ()
    for row, (picture, alpha) in enumerate(made):
        if not alpha.any():
            continue
        face = Face(track.mesh[first + row], hair_window, picture)
        free = alpha * (1 - matte.alpha[row].astype(np.float32) / 255)
        for number, part in wanted:
            own = (face.allowed(part)[0, 0] > 0).numpy() * free[face.rows, face.columns]
            planes[row, number, face.rows, face.columns] = np.rint(own * 255)
    return FacialHair(planes, np.tile(facial_colors.lab, (len(span), 1, 1)))


@stage(keep=False)
def no_facial_hair(clip: Clip) -> FacialHair:
    """Nobody asks for any."""
    count = clip.frame_count
    return FacialHair(np.zeros((count, 0, 1, 1), np.uint8), np.zeros((count, 0, 3), np.float32))
