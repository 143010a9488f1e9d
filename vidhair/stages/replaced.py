"""Into the frame by pasting what is drawn, under a feathered mask and matched in color: needed
where the shape changes."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur
from vidhair.imaging.color import lab_to_rgb, levels_to_lab, rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.morphology import dilate
from vidhair.imaging.rows import by_rows
from vidhair.imaging.warp import cut_grid, spread_grid
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages.align import FaceTrack
from vidhair.stages.compose import ComposeConfig
from vidhair.stages.drawn import HairDrawn
from vidhair.stages.fade import Fade
from vidhair.stages.labels import Labels, parse_canvas
from vidhair.stages.layers import Layer, Patch, make_layer, patch_of, unit, window_of
from vidhair.stages.region import HeadRegion, on_canvas, own_share
from vidhair.stages.render import (
    Canvas,
    Drawer,
    Picture,
    canvas_coverage,
    input_transforms,
)
from vidhair.stages.smooth import Pivots
from vidhair.types import Frames
from vidhair.wiring import Fact, stage


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


def _see(frame: NDArray[np.uint8], grid: Grid) -> Tensor:
    """The part of a frame [H, W, 3] that a grid shows, [1, 3, h, w] in 0 … 1."""
    everywhere = np.ones((1, grid.height, grid.width), np.uint8)
    window = window_of(everywhere, grid, (frame.shape[1], frame.shape[0]))
    assert window is not None, "the grid lies beside the frame"
    seen = torch.from_numpy(frame[window.pixels][None]).movedim(-1, 1).float() / 255
    return cut_grid(seen, grid, on=window, padding="border").clamp(0, 1)


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
