"""Blending of generator features under hair masks (HairCLIPv2, Wei et al. 2023, section 3.2).

Features are [B, C, H, W]; masks [B, 1, H', W'] of 0 and 1 at any size. Each result takes the
place of the source's feature behind the block of its size.

In a clip the proxy is the person themself with one change of all frames' codes, so what it shows
where hair is gone is right, too: the features of both are mixed once, where either has hair. Masks
are those of every frame, averaged over its neighbours where these show the same place of the head.
"""

import math
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.blur import blur
from vidhair.imaging.morphology import dilate, enlarge_mask, erode
from vidhair.stages.align import FaceTrack
from vidhair.stages.drawn import HairDrawn
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    Drawing,
    DrawnChange,
    Picture,
    RenderConfig,
)
from vidhair.stages.smooth import REACH, TAPS, Pivots, runs
from vidhair.stages.steady import faces_of, mean_on_head, neighbour_weights
from vidhair.wiring import Near, Setting, Span, stage

ENLARGEMENT = 30  # side of the square, in pixels of a mask of 512


def blend(under: Tensor, over: Tensor, mask: Tensor) -> Tensor:
    """`over` where the mask is one, `under` where it is zero.

    The mask is brought to the features' size by bicubic interpolation, which may overshoot.
    """
    m = F.interpolate(mask.to(under.dtype), size=under.shape[2:], mode="bicubic")
    return over * m + under * (1 - m)


def blend_proxy(
    source: Tensor, bald: Tensor, proxy: Tensor, source_hair_and_ears: Tensor, proxy_hair: Tensor
) -> Tensor:
    """Take the source's hair off, then put the proxy's hair on.

    source_hair_and_ears: where the source has either; it is enlarged before use.
    proxy_hair: where the proxy's own picture has hair.
    """
    bared = blend(source, bald, enlarge_mask(source_hair_and_ears, ENLARGEMENT))
    return blend(bared, proxy, proxy_hair)


def color_mask(hair: Tensor, resolution: int) -> Tensor:
    """Where a color applies: the enlarged hair mask in the picture's resolution."""
    return F.interpolate(enlarge_mask(hair, ENLARGEMENT).float(), size=(resolution, resolution))


# ---- in a clip

# Of a Gaussian of one cycle per unit: its deviation, where half of the wave is left.
HALF_POWER = math.sqrt(math.log(2) / 2) / math.pi


def enlarged_hair(levels: NDArray[np.uint8], canvas: Canvas, cutoff: float) -> Tensor:
    """Where an edit may show, [T, 1, h, w] in 0 … 1 on the canvas: the old hair enlarged, and the
    new hair; without waves finer than the features carry.

    levels: of `HairDrawn`. cutoff: in cycles per side of the box.
    """
    old, new = (torch.from_numpy(levels[:, k : k + 1]).float() / 255 for k in range(2))
    # As `enlarge_mask`, by squares that reach as far to either side.
    reach = max(1, round(ENLARGEMENT / 2 * canvas.resolution / 512))
    grown = erode(dilate(old, 2 * reach + 1), 2 * (reach // 2) + 1)
    either = torch.maximum(grown, new)
    return blur(either, HALF_POWER / cutoff * canvas.resolution)


ALONE = np.ones(1)


@stage()
def blended(
    codes: Codes,
    edited_codes: Codes,
    drawn_change: DrawnChange,
    hair_drawn: Annotated[HairDrawn, Near(REACH)],
    pivots: Annotated[Pivots, Near(REACH)],
    track: Annotated[FaceTrack, Near(REACH)],
    span: Span,
    canvas: Canvas,
    drawer: Drawer,
    how: Annotated[str, Setting("compose.blend")],
    config: RenderConfig,
) -> Picture:
    """The edit where hair was or is, and what the generator makes of the person elsewhere."""
    core = span.core(REACH)
    made = np.zeros((len(span), canvas.height, canvas.width, 3), np.uint8)
    drawing = Drawing.of(drawer, canvas, config)
    masks = enlarged_hair(hair_drawn.levels, canvas, drawing.synthesis.halfway_cutoff)
    faces = faces_of(pivots, track)
    begins = runs(track.present, track.cuts)
    for row in (np.flatnonzero(track.present[core]) + core.start).tolist():
        own, frame = row - core.start, span.start + row - core.start
        one = slice(own, own + 1)
        transform = faces[row : row + 1].to(drawing.device)
        under, _ = drawing.half(codes.styles[one], transform)
        change = drawn_change.rows(own, own + 1), range(frame, frame + 1)
        over, styles = drawing.half(edited_codes.styles[one], transform, *change)
        weights = neighbour_weights(row, begins, TAPS if how == "smoothed" else ALONE)
        all_places = drawing.synthesis.halfway_places(transform, canvas.extent)
        half = []
        for low, high, places in zip(under, over, all_places, strict=True):
            given = weights, places.cpu(), faces, canvas.grid, track.box
            mask = mean_on_head(masks, row, *given).clamp(0, 1)
            half.append(torch.lerp(low, high, mask.to(low)))
        made[one] = drawing.finished(tuple(half), styles, transform)
    return Picture(made)
