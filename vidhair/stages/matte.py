"""Where the hair is: for every frame a matte with strands.

Something says where hair is likely (the segmenter, or the pack's parser with the clip's colors).
Where that is sure, it holds; the border between is solved for from the frame's own pixels, so that
colors in every small window lie on a line from what is behind to the hair. The result is averaged
over neighbouring frames along the motion.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_opening, label
from torch import Tensor

from vidhair.errors import InvalidSetting
from vidhair.imaging.blur import blurred_cells
from vidhair.imaging.color import levels_to_lab
from vidhair.imaging.fill import enlarge, fill
from vidhair.imaging.matting import solve_matte
from vidhair.imaging.morphology import dilate, reconstruct, span_of
from vidhair.imaging.motion import mean_along_motion
from vidhair.imaging.warp import spread_grid
from vidhair.media import MatteReader
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.region import HairWindow, HeadParts, HeadRegion, head_parts, own_share
from vidhair.stages.segment import HairPrior
from vidhair.types import Clip, Frames
from vidhair.wiring import AtOnce, Near, Series, Span, Value, stage

SMALLEST_FACE = 48  # pixels
NEIGHBOURS = 2  # frames on either side that smoothing over time looks at
LIKELY, UNLIKELY = 0.9, 0.1  # probabilities of hair that hold, away from where they change
THINNING = 2  # how many times further strands are looked for within hair than beside it
JOINED = 0.2  # probability of hair over which it hangs together with what is on the head
HANGS_BY = 3  # samples: what hangs together by less, such as the edge of a shelf, is not joined
MORE_THAN_NOT = 0.5  # probability over which hair may have more of it around
LONG = 0.4  # share of the places beside the mouth that hair covers, from which on it is long
AROUND = 4  # samples of the prior around that which may show hair, too
# Between those, the prior tells hair from none in this range.
PRIOR_RANGE = (0.15, 0.85)
PRIOR_WEIGHT = 0.01  # beside the windows' lines
SURE_WEIGHT = 0.1  # the same where the prior is sure
COLOR_WEIGHT = 0.1  # of what the colors of sure hair and of what is behind say
COLOR_REACH = 0.05  # how far these are looked for, in crop sides
ALIKE = 0.08  # difference of the two, of 1, at which half of that is believed
OFF_LINE = 0.06  # distance from the line between the two at which it is no more believed
WIDE_REACH = 16  # pixels from which that is done on every other one
BORDER = 2  # times as far as strands are looked for, hair is mixed into what lies beside it
MIXED = 0.55  # of that reach, over which what is mixed in falls to a third
CLAIMED = 0.05  # of hair where there is none, by colors alone, with which half of it is believed
SPREAD_LEVELS = 6  # halvings over which colors spread to where none are sure
LEAST_ALPHA = 0.04  # less, or as much short of one, is the picture's noise
LEAST_TOLD = 0.02  # the same of what a single pixel's color tells of it
SURE_ALPHA = 0.95  # from which a pixel shows hair alone


@dataclass(frozen=True, kw_only=True)
class MatteConfig:
    size: int = setting(
        0,
        "side of the face crop, in pixels, that the parser sees, from 48 on; 0: as it was made for",
        low=0,
        high=1024,
    )
    color_weight: float = setting(
        0.8, "how much the clip's own colors count beside the parser", low=0.0, high=1.0
    )
    smooth: float = setting(
        0.6, "weight of the frames before and after in smoothing over time", low=0.0, high=1.0
    )
    edge: float = setting(
        0.02, "how far from a change of the prior strands are looked for, in crop sides",
        low=0.0, high=0.1,
    )  # fmt: skip
    segmenter: str = setting(
        "auto",
        "auto: MediaPipe's hair segmentation if it was pulled; none: the pack's parser alone; or "
        "the path of hair_segmentation.tflite",
        affects=False,  # the weights that it finds do
    )
    from_: str = setting(
        "",
        "a matte of yours in place of one that is made: a video (its transparency, else its grey) "
        "or a folder of PNGs, with a picture for every frame; empty for none",
        affects=False,  # what it shows does
    )

    def __post_init__(self) -> None:
        if 0 < self.size < SMALLEST_FACE:
            raise InvalidSetting(
                f"matte.size = {self.size} is too small to see hair; give 0 or {SMALLEST_FACE} and "
                "more"
            )


@dataclass(frozen=True)
class Matte(Value):
    """alpha: uint8 [T, h, w] in the window; area: [T], the share of it that is surely hair;
    mean_lab: [T, 3] of that."""

    ROWS = ("alpha", "area", "mean_lab")
    alpha: NDArray[np.uint8]
    area: NDArray[np.float32]
    mean_lab: NDArray[np.float32]


@dataclass(frozen=True)
class HairTone(Value):
    """area, mean_lab: as of `Matte`, without the mattes."""

    ROWS = ("area", "mean_lab")
    area: NDArray[np.float32]
    mean_lab: NDArray[np.float32]


def joined(prior: NDArray[np.float32], head: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The prior [h, w] around what is rather hair than not, and hangs together with hair on the
    head [h, w]."""
    parts, _ = label(binary_opening(prior > JOINED, np.ones((HANGS_BY, HANGS_BY))))
    own = np.isin(parts, np.setdiff1d(parts[head], 0)) & (prior > MORE_THAN_NOT)
    near = dilate(torch.from_numpy(own)[None, None], 2 * AROUND + 1)[0, 0].numpy()
    kept: NDArray[np.float32] = prior * near
    return kept


def own_hair(prior: NDArray[np.float32], parts: HeadParts) -> NDArray[np.float32]:
    """What of the prior [h, w] hangs together with hair on top of the head, or, if long hair hangs
    beside the mouth, on the head. Else beards and collars are none of it: what lies where a beard
    may be, and below."""

    def long(found: NDArray[np.float32]) -> bool:
        hair = found > MORE_THAN_NOT
        return any(hair[side].mean() > LONG for side in parts.beside if side.any())

    found = joined(prior, parts.crown)
    # Long hair is seen in parts where a turned face hides some; below a hat there is no other.
    if long(found) or not found.any():
        below = joined(prior, parts.head)
        return below if long(below) else found
    return joined(prior * ~parts.beard, parts.crown)


def alpha_of(picture: Tensor, prior: Tensor, side: float, edge: float) -> Tensor:
    """The matte [1, 1, h, w] of one picture [1, 3, h, w] in 0 … 1.

    prior: [1, 1, h, w] in 0 … 1; side: of the face's crop in pixels; edge: see MatteConfig.
    """
    reach = max(1, round(edge * side))
    maybe = dilate((prior > UNLIKELY).float(), 2 * reach + 1)
    # Hair thins out within. Beyond the picture it goes on.
    sure = 1 - dilate((prior <= LIKELY).float(), 2 * THINNING * reach + 1)
    known = (sure > 0) | (maybe == 0)
    low, high = PRIOR_RANGE
    likely = ((prior - low) / (high - low)).clamp(0, 1)
    if known.all():
        return sure
    decided = (2 * likely - 1).abs() ** 4
    weight = PRIOR_WEIGHT + decided * (SURE_WEIGHT - PRIOR_WEIGHT)
    told, belief = _told_by_colors(picture, sure, 1 - maybe, COLOR_REACH * side)
    belief = COLOR_WEIGHT * belief
    wanted = (weight * likely + belief * told) / (weight + belief)
    alpha = solve_matte(picture, torch.where(known, sure, wanted), weight + belief, known)
    alpha = ((alpha - LEAST_ALPHA) / (1 - 2 * LEAST_ALPHA)).clamp_(0, 1)
    return _with_border(picture, alpha, reach, COLOR_REACH * side)


def _with_border(picture: Tensor, alpha: Tensor, reach: int, color_reach: float) -> Tensor:
    """The matte as far as hair is mixed into what lies beside it, which a lens, motion and a codec
    do for longer than straight lines of color in small windows tell.

    Outside of the border, a pixel is hair as far as its color lies on the way from what is behind
    to hair, and no further than such mixing goes, if it hangs together with hair by pixels that
    are no less, and if nothing lies on that way where there is no hair. reach: of the border,
    color_reach: of these colors, in pixels.
    """
    hair = 1 - dilate((alpha <= SURE_ALPHA).float(), 2 * (reach // 2) + 1)
    behind = 1 - dilate((alpha > UNLIKELY).float(), 2 * reach + 1)
    told, belief = _told_by_colors(picture, hair, behind, color_reach)
    sums = blurred_cells(torch.cat([told * behind, behind], 1), color_reach, 1)
    claimed, share = sums.split(1, 1)
    belief = belief / (1 + (claimed / (share + 1e-5) / CLAIMED) ** 2)
    steps, mixed = BORDER * reach, (alpha > MORE_THAN_NOT).float()
    for _ in range(steps):
        mixed = torch.maximum(mixed, math.exp(-1 / (MIXED * reach)) * dilate(mixed, 3))
    told = ((told - LEAST_TOLD) / (1 - LEAST_TOLD)).minimum(mixed).maximum(alpha)
    return reconstruct(alpha, torch.lerp(alpha, told, belief), steps)


def _told_by_colors(
    picture: Tensor, sure: Tensor, sure_not: Tensor, reach: float
) -> tuple[Tensor, Tensor]:
    """The matte as colors nearby tell it, and how far to believe that, [1, 1, h, w] each.

    A pixel lies on the line from the color behind to that of hair; it tells the more, the more
    unlike the two are, and the less, the further off that line it lies.
    """

    def nearby(weight: Tensor) -> Tensor:
        side = 2 if reach >= WIDE_REACH else 1
        sums = blurred_cells(torch.cat([picture * weight, weight], 1), reach, side)
        mean = sums[:, :3] / (sums[:, 3:] + 1e-5)
        trust = (8 * sums[:, 3:]).clamp(0, 1)
        if side == 1:
            return fill(mean, trust, SPREAD_LEVELS)
        # As the second of the halvings does it, and the first one.
        spread = fill(mean, (2 * trust).clamp(max=1), SPREAD_LEVELS - 1)
        return enlarge(torch.lerp(spread, mean, trust), *picture.shape[2:])

    hair, behind = nearby(sure), nearby(sure_not)
    way = hair - behind
    length = way.square().sum(1, keepdim=True)
    told = (((picture - behind) * way).sum(1, keepdim=True) / (length + 1e-4)).clamp(0, 1)
    off = (picture - behind - told * way).square().sum(1, keepdim=True)
    return told, length / (length + ALIKE**2) * torch.exp(off / (-2 * OFF_LINE**2))


# ---- stages


@stage(version=12, keep=False)
def found_matte(
    frames: Annotated[Frames, Near(NEIGHBOURS)],
    prior: Annotated[HairPrior, Near(NEIGHBOURS)],
    track: Annotated[FaceTrack, Near(NEIGHBOURS)],
    region: HeadRegion,
    hair_window: HairWindow,
    span: Span,
    config: MatteConfig,
    at_once: AtOnce,
) -> Matte:
    size = hair_window.height, hair_window.width

    def look(picture: NDArray[np.uint8], frame: int) -> NDArray[np.float32]:
        alpha = np.zeros(size, np.float32)
        grid = prior.grid(region)
        parts = head_parts(track, frame, grid)
        likely = own_hair(prior.levels[frame].astype(np.float32) / 255, parts)
        spread = spread_grid(torch.from_numpy(likely)[None, None], grid, hair_window)
        radius = round(COLOR_REACH * hair_window.side)
        rows, columns = span_of(spread[0, 0].numpy() > UNLIKELY, radius + 2)
        part = torch.from_numpy(picture[rows, columns]).movedim(-1, 0)[None].float() / 255
        if part.numel():
            found = alpha_of(
                part, spread[..., rows, columns].clamp(0, 1), hair_window.side, config.edge
            )
            alpha[rows, columns] = found[0, 0].numpy()
        return alpha

    def row(seen: "Seen") -> tuple[Any, ...]:
        picture, alpha = seen
        return np.rint(alpha * 255).astype(np.uint8), *mean_of(picture, alpha > SURE_ALPHA)

    made = settled(frames, track, hair_window, span, config.smooth, look, at_once)
    return Matte(*map(np.stack, zip(*at_once(row, made), strict=True)))


# A frame's window, uint8 [h, w, 3], and its matte [h, w] in 0 … 1.
Seen = tuple[NDArray[np.uint8], NDArray[np.float32]]


def settled(
    frames: Frames,
    track: FaceTrack,
    hair_window: HairWindow,
    span: Span,
    smooth: float,
    look: Callable[[NDArray[np.uint8], int], NDArray[np.float32]],
    at_once: AtOnce,
) -> Iterator[Seen]:
    """Every frame's window and matte, averaged over NEIGHBOURS along the motion, of which frames
    and track have as many beside the span.

    look: gives the matte of a window and the number of its frame, where the person is.
    """
    core, shot = span.core(NEIGHBOURS), np.cumsum(track.cuts)
    near = {
        frame: [
            f
            for f in range(max(0, frame - NEIGHBOURS), min(len(frames), frame + NEIGHBOURS + 1))
            if f == frame or (track.present[f] and shot[f] == shot[frame])
        ]
        for frame in range(core.start, core.stop)
    }

    def seen_in(item: tuple[int, NDArray[np.uint8]]) -> Seen:
        frame, whole = item
        picture = hair_window.cut(whole)
        none = np.zeros(picture.shape[:2], np.float32)
        return picture, look(picture, frame) if track.present[frame] else none

    def beside() -> Iterator[tuple[int, list[Seen]]]:
        """Every frame, with what is seen in those near it."""
        wanted = sorted(set(chain.from_iterable(near.values())))
        whole = ((f, frames.rows(f, f + 1).pixels[0]) for f in wanted)
        found, seen = zip(wanted, at_once(seen_in, whole), strict=True), dict[int, Seen]()
        for frame, others in near.items():
            while others[-1] not in seen:
                seen |= [next(found)]
            seen = {f: one for f, one in seen.items() if f >= others[0]}
            yield frame, [seen[f] for f in others]

    def settle(item: tuple[int, list[Seen]]) -> Seen:
        frame, seen = item
        pictures, alphas = zip(*seen, strict=True)
        own = near[frame].index(frame)
        alpha = alphas[own]
        if track.present[frame]:
            alpha = mean_along_motion(alphas, pictures, own, smooth)
            alpha = alpha * own_share(track, range(frame, frame + 1), hair_window)[0, 0].numpy()
        return pictures[own], alpha

    return at_once(settle, beside())


def mean_of(
    picture: NDArray[np.uint8], sure: NDArray[np.bool_]
) -> tuple[np.float32, NDArray[np.float32]]:
    """Of what is surely hair [h, w], its share of a picture [h, w, 3], and its mean in Lab [3]."""
    lab = levels_to_lab(torch.from_numpy(picture[sure])[None, None])[0, :, 0]
    # Rounded, so that it does not matter how many threads take powers and add up.
    mean = lab.double().mean(1).numpy().round(3) if sure.any() else np.zeros(3)
    return np.float32(sure.mean()), mean.astype(np.float32)


@stage(keep=False)
def no_matte(matte: Matte) -> Matte:
    """Where hair was taken away."""
    none = np.zeros_like
    return Matte(none(matte.alpha), none(matte.area), none(matte.mean_lab))


@stage(keep=False)
def hair_tone(matte: Series[Matte]) -> HairTone:
    return HairTone(matte.field("area"), matte.field("mean_lab"))


@stage(keep=False)
def no_tone(clip: Clip) -> HairTone:
    """Of the same."""
    count = clip.frame_count
    return HairTone(np.zeros(count, np.float32), np.zeros((count, 3), np.float32))


@stage(chunk=0, compress=True)
def given(
    frames: Frames, track: FaceTrack, hair_window: HairWindow, span: Span, reader: MatteReader
) -> Matte:
    """What the user's own matte says, where the person is seen."""
    alpha = reader.read(span.start, span.stop)
    alpha[~track.present] = 0
    found: list[tuple[np.float32, NDArray[np.float32]]] = []
    for row, frame in enumerate(frames):
        share = own_share(track, range(row, row + 1), hair_window)
        if share.min() < 1:
            alpha[row] = np.rint(alpha[row] * share[0, 0].numpy())
        found.append(mean_of(frame, alpha[row] / np.float32(255) > SURE_ALPHA))
    area, mean_lab = zip(*found, strict=True)
    return Matte(alpha, np.stack(area), np.stack(mean_lab))
