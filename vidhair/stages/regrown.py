"""Hair whose shape an edit changes, in the person's own pixels.

A small generator knows where other hair would be better than what it looks like. So its drawings
with and without the edit say where hair goes and comes, and the frames give the rest: what hair hid
is that of `bare`; new hair has the colors of the person's own next to it, and the strands of the
same columns of the picture, mirrored where they end; averaged over neighbouring frames at the same
place of the head, as the hair next to it changes with every frame's matte.
"""

from functools import cache
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from torch import Tensor

from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import erode
from vidhair.imaging.warp import spread_grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.compose import (
    LIGHT_REACH,
    ComposeConfig,
    Fade,
    Layer,
    Patch,
    add_residual,
    make_layer,
    patch_of,
    unit,
    window_of,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Canvas
from vidhair.stages.reshaped import Reshaped, square
from vidhair.stages.smooth import REACH, TAPS, Pivots, runs
from vidhair.stages.steady import Averaged, faces_of, places_of
from vidhair.types import Frames
from vidhair.wiring import Near, Span, stage

Mask = NDArray[np.bool_]
Plane = NDArray[np.float32]
Picture = NDArray[np.uint8]

# Lengths are in sides of the face's crop.
SOFT = 0.008  # blur of the border of what goes
STRAND_BLUR = 0.03  # blur that tells the color of a place from its strands
HOLES, EVEN = 0.01, 0.03  # half the width of what is closed, and of what ends alike, of own hair
LEAST_RUN = 0.04  # of own hair in a column whose strands go on
LONG_ENOUGH = (0.15, 0.4)  # of those, between which they take the place of streaks
# Streaks, as long and as wide as strands and locks are, around the head; the waves in which they
# hang, and how much lighter and darker than hair they are at most.
STRANDS, STRAND_LENGTH, AROUND_HEAD, FINENESS = (0.003, 0.008, 0.02), 0.12, 1.5, 320
WAVES = (0.012, 9.0)
MOST_CONTRAST = 4.5
# Of the border of new hair: blur, by how much strands move it, and how soft it is, both as shares
# of that; the deviation of lightness below which there are no strands.
TIPS, UNEVEN, SHARP, STILL = 0.012, 0.2, 0.5, 1.0
SHOWS = 0.2  # how far hair comes, from which on it is looked at
SEAM = 0.01  # of the border of own hair, that new hair hides
OWN = (0.6, 0.95)  # share of a pixel that own hair has, between which it comes in front of new
SURE = 0.9  # share of a pixel that own hair has, whose colors go on
# Difference in Lab from which hair is drawn in another color, and fully so.
OTHERWISE = (8.0, 12.0)


def strands_below(own: Mask, detail: Plane, least: float, even: float) -> tuple[Plane, Plane]:
    """What own hair of a column shows, mirrored at its lower end, and at its upper one again, below
    it; zero where there is none. And how much of it there is, [h, w], in samples.

    own: [h, w]; detail: [C, h, w]; least: samples of a column that must hang together; even: of
    columns to either side, which end alike: else strands would be torn.
    """
    height = len(own)
    rows = np.arange(height)[:, None]
    run = np.zeros(own.shape, np.int64)
    for row in range(height):
        run[row] = np.where(own[row], (run[row - 1] if row else 0) + 1, 0)
    # The last sample of own hair above each one that belongs to a run that is long enough.
    ends = own & (run >= least)
    last = np.maximum.accumulate(np.where(ends, rows, -1), axis=0)
    length = np.maximum(np.take_along_axis(run, last.clip(0), 0) - 1, 1)
    across = (1, 2 * round(even) + 1)
    end, long = (
        uniform_filter(uniform_filter(x.astype(float), across), across) for x in (last, length)
    )
    away = (rows - end) % (2 * long)
    place = (end - np.minimum(away, 2 * long - away)).clip(0, height - 1)
    above = place.astype(np.int64)
    share = (place - above)[None]
    below = (above + 1).clip(max=height - 1)
    first, second = (np.take_along_axis(detail, x[None], 1) for x in (above, below))
    found = np.where(last >= 0, first + share * (second - first), 0).astype(np.float32)
    return found, np.where(last >= 0, long, 0).astype(np.float32)


@cache
def _streaks() -> Tensor:
    """Lightness of strands around a head, [1, 1, n, n], of mean 0 and deviation 1."""
    rng, count = np.random.default_rng(1), round(2 * AROUND_HEAD * FINENESS)
    total = np.zeros((count, count), np.float32)
    for width in STRANDS:
        noise = rng.standard_normal((count, count)).astype(np.float32)
        sigma = STRAND_LENGTH * FINENESS, width * FINENESS
        layer = gaussian_filter(noise, sigma, mode="wrap")
        total += layer / layer.std()
    return torch.from_numpy(total / total.std())[None, None]


def streaks_at(places: Tensor) -> Plane:
    """Lightness of strands that hang, [h, w], of about mean 0 and deviation 1.

    places: [1, h, w, 2], on the head, in sides of the face's crop.
    """
    x, y = places.unbind(-1)
    bent = x + WAVES[0] * torch.sin(WAVES[1] * y + 5 * x)
    at = torch.stack([bent, y], -1) / AROUND_HEAD
    found = F.grid_sample(_streaks(), at.float(), padding_mode="reflection", align_corners=False)
    return found[0, 0].numpy()


def grown_color(lab: Tensor, alpha: Tensor, kept: Tensor, streaks: Plane, side: float) -> Tensor:
    """What new hair looks like everywhere, [1, 3, h, w], by own hair: lab [1, 3, h, w].

    alpha: of own hair, kept: whether it stays, [1, 1, h, w]. streaks: [h, w], of `streaks_at`, for
    where own hair is too short to tell how long strands look.
    """
    sure = erode(((alpha > SURE) & (kept > 0.5)).float(), 3)
    sigma = STRAND_BLUR * side
    share = blur(sure, sigma)
    even = blur(lab * sure, sigma) / (share + 1e-3)
    known = (4 * share).clamp(0, 1) * (share > 0.02)
    color = blur(fill(even, known, levels=8), sigma / 2)
    detail = ((lab - even) * sure)[0].numpy()
    inside = sure[0, 0].numpy() > 0.5
    whole = square(square(inside, HOLES * side, True), HOLES * side, False)
    strands, long = strands_below(whole, detail, LEAST_RUN * side, EVEN * side)
    low, high = LONG_ENOUGH
    strands *= ((long / side - low) / (high - low)).clip(0, 1)
    missing = np.sqrt(1 - ((long / side - low) / (high - low)).clip(0, 1) ** 2)
    contrast = float(detail[0][inside].std()) if inside.any() else 0.0
    strands[0] += min(contrast, MOST_CONTRAST) * missing * streaks
    return color + torch.from_numpy(strands)[None]


def with_tips(new: Plane, kept: Plane, lightness: Plane, side: float) -> Plane:
    """New hair [h, w] whose border is as smooth as hair hangs and ends strand by strand: lighter
    strands reach further, darker ones less far.

    kept: own hair that stays, beside which it has no border; lightness: L of the hair that comes.
    """

    def even(plane: Plane) -> Plane:
        found: Plane = blur(torch.from_numpy(plane)[None, None], TIPS * side)[0, 0].numpy()
        return found

    fine = lightness - even(lightness)
    strands = np.clip(fine / (2 * float(fine[new > SHOWS].std()) + STILL), -1, 1)
    soft = even(np.maximum(new, kept)) + UNEVEN * strands
    share = ((soft - 0.5) / SHARP + 0.5).clip(0, 1)
    around = square(new > 0, 2 * TIPS * side, grow=True).astype(np.float32)
    return np.minimum(share, even(around))


def regrown_picture(
    picture: NDArray[np.uint8],
    alpha: Plane,
    bare: NDArray[np.uint8],
    gone: Plane,
    new: Plane,
    color: Plane | None,
    side: float,
) -> Plane:
    """Levels [h, w, 3] of a picture with hair that goes and comes.

    alpha: of own hair; bare: the picture without any; gone, new: see `Reshaped`; all [h, w]. color:
    [h, w, 3], levels of the hair that comes.
    """
    result = picture.astype(np.float32)
    away = blur(torch.from_numpy(gone)[None, None], SOFT * side)[0, 0].numpy()
    result += away[..., None] * (bare - result)
    if color is None:
        return result
    # Own hair stays in front; at its border, which what is behind it shines through, new hair hides
    # both.
    low, high = OWN
    reach = 2 * round(SEAM * side) + 1
    eroded = erode(torch.from_numpy(alpha * (1 - away))[None, None], reach)
    inside = blur(eroded, SEAM * side)[0, 0].numpy()
    front = ((inside - low) / (high - low)).clip(0, 1)
    share = new * (1 - front)
    result += share[..., None] * (color - result)
    return result


def recolored(
    picture: NDArray[np.uint8], alpha: Tensor, change: Plane, side: float, config: ComposeConfig
) -> NDArray[np.uint8] | None:
    """A picture [h, w, 3] whose hair changes its mean color in Lab by [3], or less, if that is
    little more than drawings are uncertain by; None where it is not. alpha: of own hair,
    [1, 1, h, w]."""
    low, high = OTHERWISE
    share = np.clip((np.linalg.norm(change) - low) / (high - low), 0, 1)
    if not share:
        return None
    lab = levels_to_lab(torch.from_numpy(picture)[None])
    moves = torch.from_numpy(np.float32(share * change)).view(1, 3, 1, 1)
    moves = moves.expand_as(lab).contiguous()
    colored = add_residual(lab, moves, alpha, config, LIGHT_REACH * side)
    levels: NDArray[np.uint8] = (colored[0].movedim(0, -1) * 255).round().to(torch.uint8).numpy()
    return levels


# ---- the stage


@stage(version=2, keep=False)
def regrown(
    frames: Annotated[Frames, Near(REACH)],
    reshaped: Annotated[Reshaped, Near(REACH)],
    matte: Annotated[Matte, Near(REACH)],
    pivots: Annotated[Pivots, Near(REACH)],
    track: Annotated[FaceTrack, Near(REACH)],
    bare: Bare,
    fade: Fade,
    span: Span,
    canvas: Canvas,
    hair_window: HairWindow,
    config: ComposeConfig,
) -> Layer:
    """Own hair where the edit leaves it, and its like where it makes more."""
    core, side = span.core(REACH), hair_window.side

    def hair(row: int) -> tuple[Picture, Tensor, Plane, Plane]:
        """A picture with its hair in the color of the edit, its alpha [1, 1, h, w], and where it
        goes and comes."""
        (frame,) = frames.rows(row, row + 1)
        alpha = torch.from_numpy(matte.alpha[row])[None, None].float() / 255
        picture = hair_window.cut(frame)
        colored = recolored(picture, alpha, reshaped.color[row], side, config)
        planes = torch.from_numpy(reshaped.levels[row : row + 1]).float() / 255
        gone, new = spread_grid(planes, canvas.grid, hair_window)[0].clamp(0, 1).numpy()
        return picture if colored is None else colored, alpha, gone, new

    def grown(row: int) -> Tensor:
        picture, alpha, gone, _ = hair(row)
        lab = levels_to_lab(torch.from_numpy(picture)[None])
        kept, face = 1 - torch.from_numpy(gone)[None, None], faces[row]
        on_head = places @ face[:2, :2].t() + face[:2, 2]
        return grown_color(lab, alpha, kept, streaks_at(on_head), side)[0]

    faces, begins = faces_of(pivots, track), runs(track.present, track.cuts)
    places = places_of(hair_window, track.box)
    colors = Averaged(grown, TAPS, faces, begins, hair_window, track.box)

    def patch(own: int) -> Patch | None:
        row = own + core.start
        (frame,) = frames.rows(row, row + 1)
        picture, alpha, gone, new = hair(row)
        gone = gone * (bare.changed[own] > 0)
        plane, color = alpha[0, 0].numpy(), None
        if (new > SHOWS).any():
            lab = colors(row)[None]
            color = (lab_to_rgb(lab)[0] * 255).movedim(0, -1).numpy()
            new = with_tips(new, plane * (1 - gone), lab[0, 0].numpy(), side)
        made = regrown_picture(picture, plane, bare.levels[own], gone, new, color, side)
        changed = np.maximum(gone, new * (color is not None))
        if np.linalg.norm(reshaped.color[row]) > OTHERWISE[0]:
            changed = np.maximum(changed, plane)
        changed = np.where(changed > 1 / 255, changed, 0)
        return _patch(frame, made - hair_window.cut(frame), changed, hair_window)

    here = frames.rows(core.start, core.stop), track.rows(core.start, core.stop)
    return make_layer(*here, fade, lambda rows: [patch(int(row)) for row in rows])


def _patch(frame: NDArray[np.uint8], away: Plane, changed: Plane, grid: HairWindow) -> Patch | None:
    """What is to be added to a frame [H, W, 3] in the window's samples, in levels [h, w, 3], where
    it is changed, [h, w] in 0 … 1."""
    levels = np.ceil(changed * 255).astype(np.uint8)
    window = window_of(levels[None], grid, (frame.shape[1], frame.shape[0]))
    if window is None:
        return None
    seen = frame[window.pixels][None].copy()
    moved = torch.from_numpy(away / 255).movedim(-1, 0)[None].contiguous()
    full = torch.from_numpy(levels)[None, None].float() / 255
    moved, full = (spread_grid(x, grid, window) for x in (moved, full))
    result = (unit(torch.from_numpy(seen)) + moved).clamp(0, 1)
    return patch_of(window, seen, result, full.clamp(0, 1) * (full >= 1 / 255))
