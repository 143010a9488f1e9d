"""What a person's own hair looks like, once for a clip: its colors, and how curly it is.

Lengths are in sides of the face's crop.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter

from vidhair.imaging.color import levels_to_lab, luma
from vidhair.models.faces.landmarks import BROWS
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import SURE_ALPHA, Matte
from vidhair.stages.region import HairWindow
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]

LOOKED_AT = 6  # frames
# Shares of hair that is darker than each color of a palette; what is beyond is rather not hair.
SHARES = np.linspace(0.02, 0.98, 17)
BESIDE = 1.5  # of their steps, over which a color's hue is the mean
# How far from its usual hue hair is, in Lab and as a share of its chroma: what differs more is a
# scarf or a wall that was taken for some of it.
ASIDE, ASIDE_SHARE = 2.0, 0.35
# How far darker and lighter than most hair is, in ranges of its middle half: what differs more is
# a shadow or skin.
TAILS = (2.2, 3.0)
LEAST = 0.001  # share of a window: less on a bald head is stubble, and of its skin's color
# Share of what lies within brows, that is their darkest; and a and b per lightness of brown hair,
# as skin that shines through is redder.
BROWN, BROWNEST = 0.25, (0.25, 0.5)
MOST_COLORS = 20000  # that are looked at, of a frame
# How wide strands are, at least in samples; over how much their direction is told, and over how
# much it is compared.
STRAND, LEAST_STRAND, TOLD, COMPARED = 0.004, 0.8, 0.012, 0.06
# Of the crop's square, hair that tells, and the least contrast of its strands, in levels.
LEAST_HAIR, LEAST_CONTRAST = 0.045, 1.0
# Of two measures of how strands run, how much that of places next to each other counts; and how
# far strands of hair agree that is curly, and wavy.
NEXT, CURLY, WAVY = 0.25, 0.39, 0.43


@dataclass(frozen=True)
class HairLook(Value):
    """area: share of frames that is hair. palette: [17, 3] Lab, from the darkest to the lightest;
    SHARES of its hair are darker; that of the brows where there is less than LEAST. agree: how far
    strands next to each other run one way, in 0 … 1, 1 where nothing tells."""

    area: float
    palette: Plane
    agree: float

    @property
    def curly(self) -> bool:
        return self.agree < CURLY

    @property
    def wavy(self) -> bool:
        return CURLY <= self.agree < WAVY


def palette_of(lab: Plane) -> Plane:
    """The colors of hair, Lab [n, 3], by lightness, [17, 3]."""
    order = np.argsort(lab[:, 0], kind="stable")
    rank = (np.arange(len(lab)) + 0.5) / len(lab)
    near = np.abs(rank[:, None] - SHARES) < BESIDE * (SHARES[1] - SHARES[0])
    weight = near / np.maximum(near.sum(0), 1)
    hue = of_one_hue(weight.T @ lab[order, 1:], np.median(lab[:, 1:], 0))
    light = np.quantile(lab[:, 0], SHARES)
    low, usual, high = np.quantile(lab[:, 0], (0.25, 0.5, 0.75))
    light = light.clip(usual - TAILS[0] * (high - low), usual + TAILS[1] * (high - low))
    found: Plane = np.concatenate([light[:, None], hue], 1).astype(np.float32)
    return found


def of_one_hue(hue: Plane, usual: Plane) -> Plane:
    """Colors of hair, a and b [n, 2], no further aside from the usual hue [2] than hair is."""
    way = usual / (np.hypot(*usual) + 1e-6)
    across = np.array([-way[1], way[0]])
    along, aside = hue @ way, hue @ across
    most = ASIDE + ASIDE_SHARE * along.clip(0)
    found: Plane = along[:, None] * way + aside.clip(-most, most)[:, None] * across
    return found


def agreement(light: Plane, hair: Mask, side: float) -> float:
    """How far strands of a lightness [h, w], where it is hair [h, w], run as those next to them do,
    and hang together: 0 … 1, NaN where too little is seen.

    By the structure tensor: its coherence within TOLD, and the length of the mean of directions, as
    vectors of twice their angle, within COMPARED.
    """
    fine, near, far = max(STRAND * side, LEAST_STRAND), TOLD * side, COMPARED * side
    inner = binary_erosion(hair, iterations=round(2 * fine) + 1)
    if inner.sum() < LEAST_HAIR * side**2:
        return float("nan")
    down, right = (gaussian_filter(light, fine, order) for order in ((1, 0), (0, 1)))
    share = gaussian_filter(inner.astype(np.float32), near) + 1e-4
    xx, yy, xy = (
        gaussian_filter(product * inner, near) / share
        for product in (right * right, down * down, right * down)
    )
    both = np.stack([xx - yy, 2 * xy])
    strong, total = np.hypot(*both), xx + yy + 1e-6
    if np.sqrt(total[inner]).mean() < LEAST_CONTRAST:
        return float("nan")
    coherent = strong / total
    weight = np.where(inner, np.sqrt(total) * coherent, 0)
    ways = both / (strong + 1e-6)
    sums = [gaussian_filter(weight * part, far) for part in (*ways, np.ones_like(weight))]
    mean = np.hypot(*sums[:2]) / (sums[2] + 1e-6)
    mean = (mean * weight).sum() / weight.sum()
    return float(coherent[inner].mean() * mean**NEXT)


def brow_colors(picture: Picture, mesh: NDArray[np.float32]) -> Plane:
    """Of brows, Lab [n, 3], in a picture [h, w, 3]: their darkest, no redder than brown hair,
    as the rest is skin between them. mesh: [478, 2], in its samples."""
    size = picture.shape[0], picture.shape[1]
    lab = [lab_of(picture[polygon_mask(mesh[list(brow)], *size) > 0.5]) for brow in BROWS]
    found = np.concatenate(lab)
    if len(found):
        found = found[found[:, 0] <= np.quantile(found[:, 0], BROWN)]
        found[:, 1:] = np.minimum(found[:, 1:], found[:, :1] * np.array(BROWNEST, np.float32))
    return found


def lab_of(levels: Picture) -> Plane:
    """Colors [n, 3] in Lab [n, 3]."""
    found: Plane = levels_to_lab(torch.from_numpy(levels)[None, None])[0, :, 0].numpy().T
    return found


# ---- the stage


@stage(version=3)
def hair_look(
    frames: Series[Frames],
    matte: Series[Matte],
    track: Series[FaceTrack],
    hair_window: HairWindow,
) -> HairLook:
    """From LOOKED_AT frames that are spread over the clip."""
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(LOOKED_AT, len(present))).astype(int)]
    areas, agree = [0.0], list[float]()
    colors, brows = list[Plane](), list[Plane]()
    for row in chosen.tolist():
        one = row, row + 1
        picture = hair_window.cut(frames.rows(*one).pixels[0])
        sure = matte.rows(*one).alpha[0] > 255 * SURE_ALPHA
        areas.append(float(sure.mean()))
        if sure.any():
            lab = lab_of(picture[sure])
            colors.append(lab[:: -(-len(lab) // MOST_COLORS)])
            agree.append(agreement(luma(picture), sure, hair_window.side))
        brows.append(brow_colors(picture, hair_window.places(track.rows(*one).mesh[0])))
    known = [a for a in agree if np.isfinite(a)]
    palette = np.zeros((len(SHARES), 3), np.float32)
    told = np.concatenate(colors if max(areas) >= LEAST else brows or [palette[:0]])
    if len(told):
        palette = palette_of(told).round(3)
    return HairLook(max(areas), palette, round(float(np.median(known)), 4) if known else 1.0)
