"""Into the frame by the difference that an edit makes.

The source keeps its own strands, light and sharpness; only the difference between the edited and
the unedited rendering is added, in Lab, under the hair matte. Right for color, and good even where
the generator draws the person poorly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur, blur_, box_radius
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.rows import by_rows, mean_over
from vidhair.imaging.warp import cut_grid, spread_grid
from vidhair.stages.align import FaceTrack
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.cut_out import frame_matte
from vidhair.stages.fade import Fade
from vidhair.stages.layers import Layer, Patch, make_layer, patch_of, unit, window_of
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.render import (
    Canvas,
    Picture,
)
from vidhair.types import Clip, Frames
from vidhair.wiring import Value, stage

# Lightness of strands, as a multiple of their mean, when hair turns lighter: at its border, inside.
BRIGHTEST = (1.1, 1.8)
SHEEN = 0.5  # share of the strands' contrast that is a reflection
LIGHT_REACH = 0.03  # blur that tells light from strands, in crop sides
LARGEST_UNEVENNESS = 0.12  # of the difference over the hair, as a share of its mean


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
) -> list[Patch | None]:
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
