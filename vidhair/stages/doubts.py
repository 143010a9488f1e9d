"""What makes a matte doubtful, so that somebody looks before the result is used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from vidhair.geometry import CropAxes
from vidhair.imaging.color import levels_to_lab
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import SURE_ALPHA, Matte
from vidhair.stages.region import MIDDLE, HairWindow
from vidhair.types import Frames
from vidhair.wiring import Series

SEEN_FRAMES = 4  # of a clip, that are looked at
CHIN, CHEEKS = 152, (234, 454)  # of MediaPipe's mesh; ears lie beside those
EAR = (0.05, 0.1)  # half width and half height, in crop sides
OF_EAR, LEAST_EAR = 0.5, 30  # share of it that is skin under the matte; pixels
UNLIKE = 20.0  # difference in Lab from which skin and hair are told apart
SHADE = 0.5  # lightness of skin in shadow, as a share of that in the face
LOOSE = 0.3  # share of hair from which on a pixel hangs together with others
OF_HAIR = 0.03  # share of the hair that hangs loose below the jaw
TILE, BAND = 0.12, 0.03  # in which colors are compared, and how far from the border, in crop sides
LEAST_PIXELS = 40  # of hair and of what is beside, in a tile
NOISE = 2.0  # deviation in Lab that colors have at least
ALIKE = 0.6  # overlap of the colors in a tile from which they cannot be told apart
OF_BORDER = 0.4  # share of the border where that is so


@dataclass(frozen=True)
class Doubts:
    """ears: share of an ear that is skin, and under the matte; loose: share of the hair that hangs
    together with none on the head, below the jaw; alike: share of the hair's border at which its
    colors are those beside. Each is the median of some frames, in 0 … 1."""

    ears: float
    loose: float
    alike: float

    @property
    def sentences(self) -> list[str]:
        found = [
            (self.ears > OF_EAR, "the matte covers skin where an ear is"),
            (
                self.loose > OF_HAIR,
                "the matte has parts below the jaw that no hair leads to, as clothes may be",
            ),
            (
                self.alike > OF_BORDER,
                "along most of its border the hair has the colors of what is behind it",
            ),
        ]
        look = "; look at it with `vidhair matte`, and correct it with matte.from if need be"
        return [f"{about}{look}" for applies, about in found if applies]


def doubts(
    frames: Series[Frames], matte: Series[Matte], track: Series[FaceTrack], window: HairWindow
) -> Doubts:
    """Of SEEN_FRAMES frames that are spread over those with the person and hair."""
    shown = np.flatnonzero(track.field("present") & (matte.field("area") > 0))
    chosen = shown[np.linspace(0, len(shown) - 1, min(SEEN_FRAMES, len(shown))).astype(int)]
    found = []
    for frame in chosen.tolist():
        one = frame, frame + 1
        alpha = matte.rows(*one).alpha[0].astype(np.float32) / 255
        picture, face = window.cut(frames.rows(*one).pixels[0]), track.rows(*one)
        mesh = window.places(face.mesh[0])
        lab = levels_to_lab(torch.from_numpy(picture[None].copy()))[0].numpy()
        axes = CropAxes(window.places(face.axes.centre[0]), face.axes.x[0] / window.step)
        found.append(
            (
                skin_of_ears(lab, alpha, mesh, axes),
                loose(alpha, mesh, axes),
                alike(lab, alpha, axes),
            )
        )
    return Doubts(*np.median(found, axis=0).tolist()) if found else Doubts(0, 0, 0)


def skin_of_ears(
    lab: NDArray[np.float32], alpha: NDArray[np.float32], mesh: NDArray[Any], axes: CropAxes
) -> float:
    """The larger share of an ear that the matte takes for hair, and that is like the face's skin.

    lab: [3, h, w]; alpha: [h, w]; mesh: [478, 2] in samples; axes: of the crop, likewise. Where
    hair is like skin, none.
    """
    size = alpha.shape
    middle, sure = polygon_mask(MIDDLE(mesh), *size) > 0.5, alpha > SURE_ALPHA
    if not (middle & ~sure).any() or not sure.any():
        return 0.0
    skin = np.median(lab[:, middle & ~sure], axis=1)
    # Of what is no ear: on top of the head, above the eyes.
    y = np.arange(size[0])[:, None] - axes.centre[1]
    x = np.arange(size[1])[None] - axes.centre[0]
    above = sure & (x * axes.y[0] + y * axes.y[1] < 0)
    hair = np.median(lab[:, above if above.any() else sure], axis=1)
    shares = []
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    for cheek in CHEEKS:
        outwards = np.sign((mesh[cheek] - axes.centre) @ axes.x)
        wide, high = (2 * half * axis for half, axis in zip(EAR, (axes.x, axes.y), strict=True))
        ring = (
            mesh[cheek]
            + outwards * wide
            + np.outer(np.cos(turn), wide)
            + np.outer(np.sin(turn), high)
        )
        ear = polygon_mask(ring, *size) > 0.5
        if ear.sum() >= LEAST_EAR:
            seen = lab[:, ear]
            shade = np.clip(seen[0] / max(skin[0], 1), SHADE, 1.2)
            to_skin = np.linalg.norm(seen - skin[:, None] * shade, axis=0)
            to_hair = np.linalg.norm(seen - hair[:, None], axis=0)
            apart = to_hair > np.maximum(2 * to_skin, UNLIKE / 2)
            shares.append(float((apart & (alpha[ear] > 0.5)).mean()))
    unlike = np.linalg.norm(skin - hair)
    return max(shares, default=0.0) if unlike > UNLIKE else 0.0


def loose(alpha: NDArray[np.float32], mesh: NDArray[Any], axes: CropAxes) -> float:
    """The share of a matte [h, w] that lies below the chin, and hangs together with no other."""
    parts, count = label(alpha > LOOSE)
    if count < 2:
        return 0.0
    down = axes.y / np.linalg.norm(axes.y)
    rows, columns = (np.arange(n) + 0.5 for n in alpha.shape)
    below = (columns - mesh[CHIN, 0])[None] * down[0] + (rows - mesh[CHIN, 1])[:, None] * down[
        1
    ] > 0
    higher = np.unique(parts[~below & (parts > 0)])
    return float(alpha[~np.isin(parts, higher) & (parts > 0)].sum() / max(alpha.sum(), 1e-6))


def alike(lab: NDArray[np.float32], alpha: NDArray[np.float32], axes: CropAxes) -> float:
    """The share of the hair's border at which the colors of hair and of what is beside it overlap,
    tile by tile, [3, h, w] and [h, w]."""
    side = float(axes.side)
    reach, tile = max(1, round(BAND * side)), max(8, round(TILE * side))
    sure, beside = alpha > SURE_ALPHA, alpha < 1 - SURE_ALPHA
    near = np.ones((3, 3), bool)
    # Where the matte is not sure lies between the two.
    border = binary_dilation(~beside & ~sure, near, 1) | (sure ^ binary_dilation(sure, near))
    band = binary_dilation(border, near, reach)
    weights, overlaps = [], []
    for top in range(0, alpha.shape[0], tile):
        for left in range(0, alpha.shape[1], tile):
            place = np.s_[top : top + tile, left : left + tile]
            inside, outside = (x[place] & band[place] for x in (sure, beside))
            if min(inside.sum(), outside.sum()) >= LEAST_PIXELS:
                seen = lab[:, *place]
                overlaps.append(overlap(seen[:, inside], seen[:, outside]) > ALIKE)
                weights.append(int(min(inside.sum(), outside.sum())))
    return float(np.average(overlaps, weights=weights)) if weights else 0.0


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Of the colors [3, N] of two groups, taken for normal distributions, in 0 … 1 (Bhattacharyya
    1946, the coefficient)."""
    (mean_a, spread_a), (mean_b, spread_b) = (
        (x.mean(1, dtype=np.float64), np.cov(x) + NOISE**2 * np.eye(3)) for x in (a, b)
    )
    both, way = (spread_a + spread_b) / 2, mean_a - mean_b
    logs = [np.linalg.slogdet(spread)[1] for spread in (both, spread_a, spread_b)]
    distance = way @ np.linalg.solve(both, way) / 8 + (logs[0] - (logs[1] + logs[2]) / 2) / 2
    return float(np.exp(-distance))
