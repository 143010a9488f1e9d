"""Back into the full frame: by the difference that the edit makes, or by pasting what was drawn.

`residual`: the source keeps its own strands, light and sharpness; only the difference between the
edited and the unedited rendering is added, in Lab, under the hair matte. Right for color, and good
even where the generator draws the person poorly. `replace`: the rendering itself, under a feathered
mask and matched in color. Needed where the shape changes. `difference`: see
`vidhair.stages.difference`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur, blur_, box_radius, whole_cells
from vidhair.imaging.color import lab_to_rgb, levels_to_lab, rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.matting import guided_filter
from vidhair.imaging.morphology import dilate
from vidhair.imaging.rows import by_rows, mean_over, put_levels
from vidhair.imaging.warp import cut_grid, spread_grid
from vidhair.models.parsers.head_parser import Parser
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.drawn import HairDrawn
from vidhair.stages.labels import Labels, parse_canvas
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion, on_canvas, own_share
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    DrawnChange,
    Picture,
    canvas_coverage,
    input_transforms,
)
from vidhair.stages.smooth import Pivots
from vidhair.types import Clip, Frames
from vidhair.wiring import AtOnce, Derived, Every, Fact, Series, Setting, Value, ranges, stage

# Lightness of strands, as a multiple of their mean, when hair turns lighter: at its border, inside.
BRIGHTEST = (1.1, 1.8)
SHEEN = 0.5  # share of the strands' contrast that is a reflection
LIGHT_REACH = 0.03  # blur that tells light from strands, in crop sides
LARGEST_UNEVENNESS = 0.12  # of the difference over the hair, as a share of its mean


@dataclass(frozen=True, kw_only=True)
class ComposeConfig:
    mode: str = setting(
        "residual",
        "how the edit enters the frame; auto: difference where it moves the face alone, else "
        "replace",
        choices=("residual", "replace", "difference", "auto"),
    )
    region: str = setting("hair", "what `replace` may change", choices=("hair", "face", "head"))
    blur: float = setting(
        0.03, "smoothing of the difference (residual), in crop sides", low=0.0, high=0.5
    )
    evenness: float = setting(
        0.8, "how even the difference is made over the hair (residual); 0 as it is drawn",
        low=0.0, high=1.0,
    )  # fmt: skip
    exact: bool = setting(
        True, "let the hair's mean reach the color asked for, also where the drawing falls short"
    )
    shadows: float = setting(
        0.5, "share of the change that hair in the deepest shadow receives", low=0.0, high=1.0
    )
    blend: str = setting(
        "none",
        "where the drawing follows the edit (replace, of hair): smoothed, under the hair, old and "
        "new, of five frames; frame, of each frame alone; none, everywhere",
        choices=("smoothed", "frame", "none"),
    )
    keep: bool = setting(
        True, "let hair be the person's own, where it stays and where it comes (replace, of hair)"
    )
    feather: float = setting(
        0.03, "softness of the border (replace), in crop sides", low=0.0, high=0.3
    )
    fade_seconds: float = setting(
        0.3,
        "time in which the edit fades where a face comes, goes or turns away within a shot",
        low=0.0,
        high=5.0,
    )


def color_change(
    recon: Tensor,
    edited: Tensor,
    hair: Tensor,
    sigma: float,
    evenness: float = 0.0,
    wanted: Tensor | None = None,
) -> Tensor:
    """The edit as a change of Lab that covers all hair. recon, edited: Lab [T, 3, h, w].

    hair: [T, 1, h, w], the source's matte on the canvas. Where the generator sees hair that is
    not there, or misses some, the change of the hair around it is used. evenness: how far the
    change is drawn to its mean over the hair; a small generator is right about that, and less so
    about every place. What is left of its unevenness is bounded by the change itself. wanted: [3],
    the mean that the change should have, if that is known.
    """
    change = edited - recon
    size = change.square().sum(1, keepdim=True)
    typical = (size * hair).sum((2, 3), keepdim=True) / (hair.sum((2, 3), keepdim=True) + 1e-6)
    reliable = hair * (size / (typical + 1e-6)).clamp(0, 1)
    reliable = reliable / (reliable.amax((2, 3), keepdim=True) + 1e-6)
    weight = reliable / (reliable.sum((2, 3), keepdim=True) + 1e-6)
    mean = (change * weight).sum((2, 3), keepdim=True)
    uneven: Tensor = (blur(fill(change, reliable, levels=6), sigma) - mean) * (1 - evenness)
    if wanted is not None:
        mean = wanted.to(mean).view(1, 3, 1, 1)
    bound = LARGEST_UNEVENNESS * mean.norm(dim=1, keepdim=True)
    uneven = uneven * (bound / (uneven.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
    return mean + uneven


def shading_share(lightness: Tensor, mean: Tensor, shadows: float) -> Tensor:
    """How much of the change a pixel receives: all at the hair's mean lightness, `shadows` at
    black, more in bright light. What lies in shadow stays darker when hair turns light."""
    return shadows + (1 - shadows) * (lightness / (mean + 1e-3)).clamp(0, 1.25)


def add_residual(
    lab: Tensor, change: Tensor, alpha: Tensor, config: ComposeConfig, reach: float = 0.0
) -> Tensor:
    """Source and change in Lab [T, 3, H, W], alpha [T, 1, H, W] → sRGB [T, 3, H, W] in 0 … 1.

    Means over the hair change by as much as `change` says. Within it, lightness and chroma follow
    the light: dark strands receive less of both, and hair that turns dark loses contrast. The same
    shift everywhere would paint the shadows. The light is what is left of the lightness after a
    blur over `reach` pixels inside the hair: strands finer than that keep their own contrast, which
    would flicker if it grew.
    """
    mean = partial(mean_over, alpha)
    typical = mean(lambda x: x, lab)
    typical_old = typical[:, :1]
    old, more = lab[:, :1], change[:, :1]

    # Only what is surely hair tells its light: a bright wall behind fine strands is none.
    def hair_of(old: Tensor) -> Tensor:
        return old.minimum(1.5 * typical_old)

    def lit(old: Tensor, alpha: Tensor) -> Tensor:
        sure, outside = alpha**4, ((0.1 - alpha) * 10).clamp(0, 1)
        return torch.cat([hair_of(old) * sure, sure, old * outside, outside], 1)

    def lights(near: Tensor, old: Tensor) -> Tensor:
        """Of the hair, and of what is behind it."""
        inside, sure, behind, outside = near.split(1, 1)
        light = (inside + 1e-3 * hair_of(old)) / (sure + 1e-3)
        return torch.cat([light, behind / (outside + 1e-3)], 1)

    both = by_rows(lights, blur_(by_rows(lit, old, alpha), reach), old)
    light, behind = both[:, :1], both[:, 1:]

    def share(more: Tensor, light: Tensor, old: Tensor) -> Tensor:
        lighter = shading_share(light, typical_old, config.shadows)
        return torch.where(more > 0, lighter, old)

    typical_share = mean(share, more, light, old).clamp_min(0.2)

    def shift(more: Tensor, light: Tensor, old: Tensor) -> Tensor:
        return share(more, light, old) / typical_share * more

    def shifted(more: Tensor, light: Tensor, old: Tensor) -> Tensor:
        return (light + shift(more, light, old)).clamp_min(0)

    before = Proportion.over(mean, lambda light: light, light)
    after = Proportion.over(mean, shifted, more, light, old)

    def mix(lab: Tensor, change: Tensor, alpha: Tensor, light: Tensor, behind: Tensor) -> Tensor:
        old, tint, more = lab[:, :1], lab[:, 1:], change[:, :1]
        moved = typical + change
        sure = alpha**4
        # The sheen of strands is not dyed: hair that turns dark keeps some of their contrast.
        lost = (-more / typical_old.clamp_min(1)).clamp(0, 1)
        new = old + shift(more, light, old) + SHEEN * lost * (hair_of(old) - light) * sure
        own = tint - typical[:, 1:] * before(light)
        fade = (moved[:, :1] / typical_old.clamp_min(1)).clamp(0, 1)
        tinted = own * fade + moved[:, 1:] * after(shifted(more, light, old))
        mixed = torch.lerp(lab, torch.cat([new, tinted], 1), alpha)
        # Where the matte is not sure, nothing gets brighter than both hair and what is behind it.
        border, inside = BRIGHTEST
        brightest = (border + (inside - border) * sure) * moved[:, :1]
        brightest = torch.maximum(torch.maximum(brightest, behind), old)
        limited = torch.where(more > 0, mixed[:, :1].minimum(brightest), mixed[:, :1])
        return lab_to_rgb(torch.cat([limited, mixed[:, 1:]], 1))

    return by_rows(mix, lab, change, alpha, light, behind)


@dataclass(frozen=True)
class Proportion:
    """Lightness in proportion to the hair's, up to its mean; one on average. All [T, 1, 1, 1]."""

    lightness: Tensor
    share: Tensor

    @classmethod
    def over(
        cls, mean: Callable[..., Tensor], lightness: Callable[..., Tensor], *planes: Tensor
    ) -> "Proportion":
        """Of the lightness that a function gives of planes, by their `mean`."""
        scale = cls(mean(lightness, *planes).clamp_min(1), torch.ones(()))
        return cls(scale.lightness, mean(lambda *p: scale(lightness(*p)), *planes).clamp_min(0.2))

    def __call__(self, lightness: Tensor) -> Tensor:
        return (lightness / self.lightness).clamp(0, 1) / self.share


def window_of(
    alpha: NDArray[np.uint8], grid: Grid, frame_size: tuple[int, int], margin: int = 0
) -> Grid | None:
    """The part of the frame, from the corner of a cell on, that holds all of a matte [T, h, w];
    None if empty.

    margin: pixels around it that are held, too.
    """
    width, height = frame_size
    left, top, step = grid.left, grid.top, grid.step
    rows, columns = alpha.any((0, 2)).nonzero()[0], alpha.any((0, 1)).nonzero()[0]
    if not len(rows):
        return None
    low_x = whole_cells(max(0, int(np.floor(left + (columns[0] - 1) * step)) - margin))
    low_y = whole_cells(max(0, int(np.floor(top + (rows[0] - 1) * step)) - margin))
    high_x = min(width, int(np.ceil(left + (columns[-1] + 2) * step)) + margin)
    high_y = min(height, int(np.ceil(top + (rows[-1] + 2) * step)) + margin)
    if high_x <= low_x or high_y <= low_y:
        return None
    return Grid.of_pixels(high_y - low_y, high_x - low_x, low_x, low_y)


def frame_matte(alpha: Tensor, grid: Grid, picture: Tensor, window: Grid) -> Tensor:
    """A matte [T, 1, h, w] on a grid brought to the window's pixels.

    picture: [T, 3, H, W] in 0 … 1, the source there. A grid coarser than the frame is laid onto the
    strands of the full-size picture.
    """
    full = spread_grid(alpha, grid, window).clamp_(0, 1)
    if grid.step > 1:
        reach = round(2 * grid.step)
        near = dilate((full > 0).float(), reach + 1)
        full = guided_filter(picture, full, reach, 1e-3) * near
    # Nothing at all is changed where there is next to no hair.
    return by_rows(lambda a: a * (a >= 1 / 128), full)


def compose_residual(
    frames: NDArray[np.uint8],
    recon: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    grid: Grid,
    canvas: Canvas,
    crop_side: float,
    config: ComposeConfig,
    wanted: NDArray[np.float32] | None = None,
) -> "list[Patch | None]":
    """frames uint8 [T, H, W, 3]; recon, edited uint8 [T, h, w, 3] on the canvas; alpha uint8
    [T, h', w'] on the grid; wanted: [T, 3], see `color_change`. Pixels outside the matte are those
    of the source, bit for bit."""
    patches: list[Patch | None] = [None] * len(frames)
    reach = LIGHT_REACH * crop_side
    # As far around it as anything matters.
    margin = 3 * box_radius(reach)
    exact = wanted is not None and config.exact
    means = torch.from_numpy(wanted).float() if exact else [None] * len(frames)
    # Every frame by itself, so that it does not matter which ones are composed together, and so
    # that no more than one needs memory.
    given = zip(frames, recon, edited, alpha, means, strict=True)
    for row, (frame, *pictures, matte, mean) in enumerate(given):
        window = window_of(matte[None], grid, frame.shape[1::-1], margin)
        if window is None:
            continue
        seen = frame[window.pixels][None].copy()
        levels = torch.from_numpy(seen)
        lab = _lab(levels)
        share = torch.from_numpy(matte)[None, None] / 255
        full = frame_matte(share, grid, unit(levels), window)
        # The matte as the canvas sees it.
        drawn, redrawn = (levels_to_lab(torch.from_numpy(p)[None]) for p in pictures)
        change = color_change(
            drawn,
            redrawn,
            cut_grid(full, canvas.grid, on=window).clamp(0, 1),
            config.blur * crop_side / canvas.step,
            config.evenness,
            mean,
        )
        change = spread_grid(change, canvas.grid, window)
        patches[row] = patch_of(window, seen, add_residual(lab, change, full, config, reach), full)
    return patches


def _lab(levels: Tensor) -> Tensor:
    """`levels_to_lab`, a strip at a time."""
    return by_rows(lambda x: levels_to_lab(x.movedim(1, -1)), levels.movedim(-1, 1))


def unit(levels: Tensor) -> Tensor:
    """uint8 [T, H, W, 3] → float32 [T, 3, H, W] in 0 … 1."""
    return levels.movedim(-1, 1).contiguous() / 255


def _see(frame: NDArray[np.uint8], grid: Grid) -> Tensor:
    """The part of a frame [H, W, 3] that a grid shows, [1, 3, h, w] in 0 … 1."""
    everywhere = np.ones((1, grid.height, grid.width), np.uint8)
    window = window_of(everywhere, grid, (frame.shape[1], frame.shape[0]))
    assert window is not None, "the grid lies beside the frame"
    seen = torch.from_numpy(frame[window.pixels][None]).movedim(-1, 1).float() / 255
    return cut_grid(seen, grid, on=window, padding="border").clamp(0, 1)


def patch_of(window: Grid, seen: NDArray[np.uint8], result: Tensor, alpha: Tensor) -> "Patch":
    """Of a result in 0 … 1, put into what is seen in the window, [1, H, W, 3], where alpha
    [1, 1, H, W] is not zero."""
    hides = put_levels(result[0], alpha[0, 0], seen[0])
    return Patch(window, seen[0], hides)


@dataclass(frozen=True)
class Patch:
    """What an edit makes of one frame, in a window. pixels: uint8 [h, w, 3], those of the source
    where alpha, uint8 [h, w], is zero; alpha: how much of what is behind is hidden."""

    window: Grid
    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8]

    def faded(self, frame: NDArray[np.uint8], strength: float) -> "Patch":
        """With a share of its effect on the frame [H, W, 3]. strength: 0 … 1."""
        source = frame[self.window.pixels].astype(np.float32)
        pixels = source + np.float32(strength) * (self.pixels - source)
        return Patch(
            self.window,
            np.rint(pixels).astype(np.uint8),
            np.ceil(self.alpha * np.float32(strength)).astype(np.uint8),
        )


@dataclass(frozen=True)
class Layer(Derived):
    """A person's edit, by frames. patches: T of them, None where nothing changes. nearness: [T],
    the larger the nearer: the side of the face's crop in pixels."""

    ROWS = ("patches", "nearness")
    patches: "list[Patch | None]"
    nearness: NDArray[np.float64]

    def over(self, frames: Frames) -> Frames:
        """The frames, edited, one by one as they are asked for."""

        def read(start: int, stop: int) -> NDArray[np.uint8]:
            pixels = frames.rows(start, stop).pixels.copy()
            for frame, patch in zip(pixels, self.patches[start:stop], strict=True):
                if patch is not None:
                    frame[:] = fold(frame, [patch])
            return pixels

        return Frames(read, 0, len(frames))


def fold(frame: NDArray[np.uint8], patches: Iterable[Patch]) -> NDArray[np.uint8]:
    """A frame uint8 [H, W, 3] with patches over it, from back to front.

    Each was made over the source, so it hides as much of what the ones behind it changed as its
    alpha says: x ← patch + (1 − α)·(x − source).
    """
    result, behind = frame.copy(), False
    for patch in patches:
        seen, pixels = result[patch.window.pixels], patch.pixels
        if behind:
            source = frame[patch.window.pixels].astype(np.int16)
            through = 1 - patch.alpha[..., None] / np.float32(255)
            moved = pixels + through * (seen - source)
            pixels = np.rint(moved).clip(0, 255).astype(np.uint8)
        np.copyto(seen, pixels, where=patch.alpha[..., None] > 0)
        behind = True
    return result


@dataclass(frozen=True)
class ReplaceMasks:
    """For every frame, uint8 [T, h, w] on the canvas.

    taken: how much `replace` takes from the rendering. same: where source and reconstruction show
    the same, so that their difference is the color error that the rendering is to be corrected by.
    hair, same_hair: where hair is drawn, and where source and rendering both show it.
    """

    taken: NDArray[np.uint8]
    same: NDArray[np.uint8]
    hair: NDArray[np.uint8]
    same_hair: NDArray[np.uint8]


def compose_replace(
    frames: NDArray[np.uint8],
    recon: NDArray[np.uint8],
    edited: NDArray[np.uint8],
    masks: ReplaceMasks,
    canvas: Canvas,
    crop_side: float,
) -> list[Patch | None]:
    """Paste the edited rendering, corrected in color: skin and surroundings place by place, hair
    by how far the mean of the person's own hair is from what the generator makes of it."""
    patches: list[Patch | None] = [None] * len(frames)
    for row, frame in enumerate(frames):
        one = slice(row, row + 1)
        taken = masks.taken[one]
        window = window_of(taken, canvas.grid, frame.shape[1::-1])
        if window is None:
            continue
        difference = rgb_to_lab(_see(frames[row], canvas.grid))
        difference -= levels_to_lab(torch.from_numpy(recon[one]))
        same = fill(difference, _share(masks.same[one]), levels=6)
        error = blur(same, 0.06 * crop_side / canvas.step)
        hair, same_hair = _share(masks.hair[one]), _share(masks.same_hair[one])
        amount = same_hair.sum((2, 3), keepdim=True)
        hair_error = (difference * same_hair).sum((2, 3), keepdim=True) / (amount + 1e-6)
        # A few stray pixels tell nothing of the hair's color.
        enough = (amount / (0.1 * hair.sum((2, 3), keepdim=True) + 1e-6)).clamp(max=1)
        error = torch.lerp(error, hair_error, hair * enough)
        drawn = levels_to_lab(torch.from_numpy(edited[one]))
        drawn += error
        alpha = spread_grid(_share(taken), canvas.grid, window).clamp_(0, 1)
        alpha = by_rows(lambda a: a * (a >= 1 / 128), alpha)
        seen = frame[window.pixels][None].copy()
        source = unit(torch.from_numpy(seen))
        pasted = by_rows(
            lambda a, b, share: torch.lerp(a, lab_to_rgb(b), share),
            source, spread_grid(drawn, canvas.grid, window), alpha,
        )  # fmt: skip
        patches[row] = patch_of(window, seen, pasted, alpha)
    return patches


def replace_masks(
    config: ComposeConfig,
    source: dict[str, Tensor],
    edited: dict[str, Tensor],
    drawn: Tensor,
    crop_pixels: float,
) -> ReplaceMasks:
    """source, edited: probabilities [T, 1, h, w] of "skin" and "hair" in source and rendering.

    drawn: [T, 1, h, w] in 0 … 1, where the rendering counts at all. crop_pixels: side of the face
    crop on the canvas.
    """
    edited = {name: probability * drawn for name, probability in edited.items()}
    hair = torch.maximum(source["hair"], edited["hair"])
    skin = torch.maximum(source["skin"], edited["skin"])
    region = {"hair": hair, "face": edited["skin"], "head": torch.maximum(hair, skin)}[
        config.region
    ]
    taken = _touching(region > 0.35, torch.maximum(source["hair"], source["skin"]) > 0.35)
    feather = config.feather * crop_pixels
    widened = 2 * max(1, round(feather)) + 1
    soft = blur(dilate(taken.float(), widened), feather)
    same = torch.minimum(source["skin"], edited["skin"])
    outside = 1 - torch.maximum(hair, skin)
    return ReplaceMasks(
        taken=_levels(soft * drawn),
        same=_levels(torch.maximum(same, 0.5 * outside) * (1 - hair) * drawn),
        hair=_levels(edited["hair"]),
        same_hair=_levels(torch.minimum(source["hair"], edited["hair"]).square()),
    )


def _touching(parts: Tensor, person: Tensor) -> Tensor:
    """Of parts [T, 1, h, w] those that touch the person: what else is drawn belongs to nobody."""
    kept = np.zeros(parts.shape, bool)
    for index, (part, body) in enumerate(
        zip(parts[:, 0].numpy(), person[:, 0].numpy(), strict=True)
    ):
        numbers, _ = label(part)
        kept[index, 0] = np.isin(numbers, numbers[part & body])
    return torch.from_numpy(kept)


def _share(levels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(levels)[:, None].float() / 255


def _levels(x: Tensor) -> NDArray[np.uint8]:
    return (x[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy()


# ---- what edits say of the hair


@dataclass(frozen=True)
class HairChange(Value):
    """How edits change the hair's color. lab: [T, 3], its mean. styles: [T, 1 or L, 1 or D], that
    of the codes."""

    ROWS = ("lab", "styles")
    lab: NDArray[np.float32]
    styles: NDArray[np.float32]


@stage(keep=False)
def former_change(clip: Clip) -> HairChange:
    """None, before the first edit."""
    count = clip.frame_count
    return HairChange(np.zeros((count, 3), np.float32), np.zeros((count, 1, 1), np.float32))


# ---- how far an edit shows


def strengths(
    certainty: NDArray[np.float64],
    seconds: NDArray[np.float64],
    begins: NDArray[np.bool_],
    fade_seconds: float,
) -> NDArray[np.float64]:
    """How far an edit shows in every frame, [T] in 0 … 1.

    certainty: [T] in 0 … 1, 0 where the face is absent; begins: [T] bool, where shots begin. Within
    a shot it changes by no more than one in `fade_seconds`, and it is nowhere above the certainty.
    """
    strength = np.array(certainty, np.float64)
    shot = np.cumsum(begins)
    order = range(len(strength))
    for frames, step in ((order, -1), (order[::-1], 1)):
        for frame in frames[1:]:
            other = frame + step
            if shot[other] == shot[frame] and fade_seconds > 0:
                most = strength[other] + abs(seconds[frame] - seconds[other]) / fade_seconds
                strength[frame] = min(strength[frame], most)
    return strength


@dataclass(frozen=True)
class Fade(Derived):
    """strength: [T] in 0 … 1, how far the edit shows."""

    ROWS = ("strength",)
    strength: NDArray[np.float64]

    def rows(self, start: int, stop: int) -> "Fade":
        return Fade(self.strength[start:stop])


@stage(keep=False)
def fade(
    track: Series[FaceTrack],
    clip: Clip,
    fade_seconds: Annotated[float, Setting("compose.fade_seconds")],
) -> Fade:
    """To the source, where the face comes, goes, turns away or is hidden by a nearer one."""
    seen = [track.rows(*some).certainty for some in ranges(track.count)]
    return _faded(seen, track, clip, fade_seconds)


@stage(keep=False)
def fade_of_edits(
    track: Series[FaceTrack],
    codes: Series[Codes],
    edited_codes: Series[Codes],
    drawn_change: Series[DrawnChange],
    clip: Clip,
    fade_seconds: Annotated[float, Setting("compose.fade_seconds")],
) -> Fade:
    """The same, and where no edit changes anything: there a drawn head would replace its like."""
    seen = []
    for some in ranges(track.count):
        changed = (codes.rows(*some).styles != edited_codes.rows(*some).styles).any((1, 2))
        more = drawn_change.rows(*some)
        changed |= (more.strength != 0).any(1) & (not more.is_none)
        seen.append(track.rows(*some).certainty * changed)
    return _faded(seen, track, clip, fade_seconds)


def _faded(
    certainty: list[NDArray[np.float64]], track: Series[FaceTrack], clip: Clip, fade_seconds: float
) -> Fade:
    begins = track.field("cuts")
    return Fade(strengths(np.concatenate(certainty), clip.seconds_T, begins, fade_seconds))


# ---- stages that end a flow; what they make is as large as the video, so it is not kept


@stage(keep=False)
def composed(frames: Frames, layer: Every[Layer], at_once: AtOnce) -> Frames:
    """All persons' edits over the source: in every frame the larger face lies in front."""
    layers = list(layer)

    def over(item: tuple[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        row, frame = item
        here = sorted(layers, key=lambda one: one.nearness[row])
        patches = [one.patches[row] for one in here]
        return fold(frame, [patch for patch in patches if patch is not None])

    return Frames.of_pixels(np.stack(list(at_once(over, enumerate(frames)))))


@stage(keep=False)
def shown(frames: Frames, layer: Layer) -> Frames:
    """One person's edit over the source."""
    return layer.over(frames)


@stage(keep=False)
def laid_over(frames: Frames, lower: Layer, upper: Layer) -> Layer:
    """Two edits of a person as one, the upper of which was made over what the lower one left."""
    pairs = zip(frames, lower.patches, upper.patches, strict=True)
    return Layer([joined(*three) for three in pairs], upper.nearness)


def joined(frame: NDArray[np.uint8], lower: Patch | None, upper: Patch | None) -> Patch | None:
    """Two patches of a frame [H, W, 3] as one; see `laid_over`."""
    if lower is None or upper is None:
        return lower or upper
    corners = np.array([[w.top, w.left, w.top + w.height, w.left + w.width]
                        for w in (lower.window, upper.window)])  # fmt: skip
    (top, left), (bottom, right) = corners[:, :2].min(0), corners[:, 2:].max(0)
    window = Grid.of_pixels(int(bottom - top), int(right - left), int(left), int(top))
    pixels, clear = frame[window.pixels].copy(), np.ones((window.height, window.width), np.float32)
    for patch in (lower, upper):
        here = patch.window.seen_from(window).pixels
        np.copyto(pixels[here], patch.pixels, where=patch.alpha[..., None] > 0)
        clear[here] *= 1 - patch.alpha / np.float32(255)
    return Patch(window, pixels, np.ceil((1 - clear) * 255).astype(np.uint8))


def make_layer(
    frames: Frames,
    track: FaceTrack,
    fade: Fade,
    make: Callable[[NDArray[np.intp]], Iterable[Patch | None]],
) -> Layer:
    """Of the frames in which the edit shows. make: gives patches for frames by their rows [n]."""
    patches: list[Patch | None] = [None] * len(frames)
    rows = np.flatnonzero(track.present & (fade.strength > 0))
    if len(rows):
        for row, patch in zip(rows, make(rows), strict=True):
            patches[row], strength = patch, float(fade.strength[row])
            if patch is not None and strength < 1:
                (source,) = frames.rows(row, row + 1)
                patches[row] = patch.faded(source, strength)
    return Layer(patches, np.where(track.present, track.axes.side, 0))


def laid(
    frames: Frames,
    levels: NDArray[np.uint8],
    changed: NDArray[np.uint8],
    track: FaceTrack,
    fade: Fade,
    hair_window: HairWindow,
    at_once: AtOnce,
) -> Layer:
    """What is drawn in the hair's window, laid over frames as a difference to what they show there.

    levels: [T, h, w, 3]; changed: [T, h, w], how far a sample is not the frame's.
    """

    def patch(item: tuple[int, NDArray[np.uint8]]) -> Patch | None:
        row, frame = item
        window = window_of(changed[row][None], hair_window, (frame.shape[1], frame.shape[0]))
        if window is None:
            return None
        seen = frame[window.pixels][None].copy()
        away = levels[row].astype(np.float32) - hair_window.cut(frame)
        moved = torch.from_numpy(away / 255).movedim(-1, 0)[None].contiguous()
        full = torch.from_numpy(changed[row])[None, None].float() / 255
        moved, full = (spread_grid(x, hair_window, window) for x in (moved, full))
        result = (unit(torch.from_numpy(seen)) + moved).clamp(0, 1)
        return patch_of(window, seen, result, full.clamp(0, 1) * (full >= 1 / 255))

    return make_layer(frames, track, fade, lambda rows: at_once(patch, frames.numbered(rows)))


@stage(keep=False)
def residual(
    frames: Frames,
    rendered: Picture,
    edited: Picture,
    matte: Matte,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    hair_window: HairWindow,
    config: ComposeConfig,
) -> Layer:
    """What the edit changes, over the source."""
    return _residual(
        frames, rendered, edited, matte, track, fade, canvas, hair_window, config, None
    )


@stage(keep=False)
def dyed(
    frames: Frames,
    rendered: Picture,
    edited: Picture,
    matte: Matte,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    hair_window: HairWindow,
    hair_change: HairChange,
    config: ComposeConfig,
) -> Layer:
    """The same, so that the hair's mean color changes as it was wanted to."""
    wanted = hair_change.lab
    return _residual(
        frames, rendered, edited, matte, track, fade, canvas, hair_window, config, wanted
    )


def _residual(
    frames: Frames,
    rendered: Picture,
    edited: Picture,
    matte: Matte,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    hair_window: HairWindow,
    config: ComposeConfig,
    wanted: NDArray[np.float32] | None,
) -> Layer:
    def make(rows: NDArray[np.intp]) -> list[Patch | None]:
        return compose_residual(
            frames.pixels[rows],
            rendered.levels[rows],
            edited.levels[rows],
            matte.alpha[rows],
            hair_window,
            canvas,
            track.box.side,
            config,
            None if wanted is None else wanted[rows],
        )

    return make_layer(frames, track, fade, make)


@stage(keep=False)
def replaced(
    frames: Frames,
    rendered: Picture,
    edited: Picture,
    labels: Labels,
    pivots: Pivots,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    region: HeadRegion,
    parser: Parser,
    drawer: Drawer,
    face_pixels: Annotated[int, Fact("face_pixels")],
    config: ComposeConfig,
) -> Layer:
    """The rendered head in place of the source's."""

    def make(rows: NDArray[np.intp]) -> list[Patch | None]:
        source = _source_parts(labels, rows, region, canvas)
        shown = parse_canvas(edited.levels[rows], track.mesh[rows], canvas, parser, face_pixels)
        drawn = drawn_share(pivots, track, rows, drawer, canvas)
        side = track.box.side
        masks = replace_masks(config, source, shown, drawn, side / canvas.step)
        return compose_replace(
            frames.pixels[rows], rendered.levels[rows], edited.levels[rows], masks, canvas, side
        )

    return make_layer(frames, track, fade, make)


def _source_parts(
    labels: Labels, rows: NDArray[np.intp], region: HeadRegion, canvas: Canvas
) -> dict[str, Tensor]:
    planes = torch.from_numpy(labels.planes[rows]).float() / 255
    places = {"skin": 1, "hair": 2}
    return {n: on_canvas(planes[:, k : k + 1], region, canvas) for n, k in places.items()}


def drawn_share(
    pivots: Pivots, track: FaceTrack, rows: NDArray[np.intp], drawer: Drawer, canvas: Canvas
) -> Tensor:
    """Where what is drawn counts, [T, 1, h, w]: where the generator draws, and nobody is nearer."""
    transforms = input_transforms(pivots.similarity)[rows]
    drawn = canvas_coverage(drawer.synthesis, transforms, canvas)
    size = (canvas.height, canvas.width)
    own = [own_share(track, range(row, row + 1), canvas.grid) for row in rows]
    return drawn * torch.cat([one.expand(1, 1, *size) for one in own])


@stage(keep=False)
def replaced_hair(
    frames: Frames,
    rendered: Picture,
    edited: Picture,
    hair_drawn: HairDrawn,
    labels: Labels,
    pivots: Pivots,
    track: FaceTrack,
    fade: Fade,
    canvas: Canvas,
    region: HeadRegion,
    drawer: Drawer,
    config: ComposeConfig,
) -> Layer:
    """The rendered hair in place of the source's."""

    def make(rows: NDArray[np.intp]) -> list[Patch | None]:
        source = _source_parts(labels, rows, region, canvas)
        levels = torch.from_numpy(hair_drawn.levels[rows]).float() / 255
        _, hair, skin = levels.split(1, 1)
        drawn = drawn_share(pivots, track, rows, drawer, canvas)
        side = track.box.side
        shown = {"skin": skin, "hair": hair}
        masks = replace_masks(config, source, shown, drawn, side / canvas.step)
        return compose_replace(
            frames.pixels[rows], rendered.levels[rows], edited.levels[rows], masks, canvas, side
        )

    return make_layer(frames, track, fade, make)


@stage(keep=False)
def unedited(rendered: Picture) -> Picture:
    return rendered


@dataclass(frozen=True)
class CutOut(Derived):
    """alpha: uint8 [T, H, W], how far each pixel shows hair of those who are chosen."""

    ROWS = ("alpha",)
    alpha: NDArray[np.uint8]


@stage(keep=False)
def frame_alpha(frames: Frames, matte: Matte, hair_window: HairWindow, at_once: AtOnce) -> CutOut:
    """One person's matte on the frame's own pixels."""

    def alpha(item: tuple[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
        row, frame = item
        whole = np.zeros(frame.shape[:2], np.uint8)
        window = window_of(matte.alpha[row][None], hair_window, (frame.shape[1], frame.shape[0]))
        if window is not None:
            picture = unit(torch.from_numpy(frame[window.pixels][None].copy()))
            share = torch.from_numpy(matte.alpha[row])[None, None] / 255
            full = frame_matte(share, hair_window, picture, window)
            whole[window.pixels] = (full[0, 0] * 255).round().to(torch.uint8).numpy()
        return whole

    return CutOut(np.stack(list(at_once(alpha, enumerate(frames)))))


@stage(keep=False)
def cut_out(frame_alpha: Every[CutOut]) -> CutOut:
    """Everybody's."""
    return CutOut(np.maximum.reduce([one.alpha for one in frame_alpha]))


@dataclass(frozen=True)
class Changes(Value):
    """What composing has changed. levels: uint8 [T, H, W, 3], composed − source modulo 256, which
    is mostly zeros."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]

    def over(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The composed frames in place of the source's, uint8 [T, H, W, 3], which are changed."""
        return np.add(pixels, self.levels, out=pixels)


@stage(chunk=0, compress=True)
def changes(frames: Frames, composed: Frames) -> Changes:
    """What is kept of composing: of whole frames it would be three to twelve times as much."""
    return Changes(composed.pixels - frames.pixels)
