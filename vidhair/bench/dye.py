"""A dye on one frame, part by part: the matte where it is solved for, on the frame's own pixels,
and the color. Of a head that fills the frame's height, with strands at its border."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from vidhair.bench.benchmark import Candidate, Case
from vidhair.bench.counting import NOTHING
from vidhair.bench.options import Options
from vidhair.edits.dye import Dyeing
from vidhair.geometry import Grid
from vidhair.imaging.warp import cut_grid
from vidhair.stages.cut_out import frame_matte
from vidhair.stages.matte import MatteConfig, alpha_of
from vidhair.stages.region import FINEST_SIDE

DTYPES = ("float32",)
FRAMES = {f"{height}p": (height, height) for height in (360, 720, 1080)}  # name → (size, height)
QUICK = ("360p",)
CROP = 0.75  # the side of the face's crop, of the height
HAIR, TARGET = (22.0, 6.0, 9.0), (66.0, 4.0, 26.0)  # Lab


def cases(options: Options, dtypes: Sequence[torch.dtype]) -> list[Case]:
    """Three per height of a frame. Raises InvalidSetting."""
    parts = {"matte": _matte, "matte on the frame": _on_the_frame, "color": _color}
    return [
        Case(f"{name}, {part}", partial(make, height))
        for name, height in options.choose(FRAMES, QUICK).items()
        for part, make in parts.items()
    ]


def head(height: int) -> tuple[Tensor, Tensor]:
    """A picture [1, 3, h, h] in 0 … 1 of dark hair before a wall, and its matte [1, 1, h, h]."""
    draw = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, height)] * 2, indexing="ij")
    away, angle = torch.hypot(x, y), torch.atan2(y, x)
    reach = 0.75 + 0.05 * torch.sin(60 * angle + 9 * away)
    alpha = (((reach - away) * 20).clamp(0, 1) * ((away - 0.45) * 20).clamp(0, 1))[None, None]
    strands = (
        0.15
        + 0.05 * torch.sin(90 * angle)
        + 0.02 * torch.randn(1, 3, height, height, generator=draw)
    )
    return torch.lerp(torch.full_like(strands, 0.7), strands, alpha).clamp(0, 1), alpha


def _window(height: int) -> tuple[Grid, Grid]:
    """Of the matte, and of the frame."""
    step = -(-height * CROP // FINEST_SIDE)
    count = int(-(-height // step))
    return Grid(0, 0, step, count, count), Grid.of_pixels(height, height)


def _matte(height: int) -> list[Candidate]:
    (grid, _), (picture, alpha) = _window(height), head(height)
    seen, prior = (cut_grid(x, grid, padding="border") for x in (picture, alpha))
    side = CROP * height / grid.step
    call = partial(alpha_of, seen, prior.clamp(0, 1), side, MatteConfig().edge)
    return [Candidate("vidhair", call, NOTHING)]


def _on_the_frame(height: int) -> list[Candidate]:
    (grid, window), (picture, alpha) = _window(height), head(height)
    coarse = cut_grid(alpha, grid, padding="border").clamp(0, 1)
    return [Candidate("vidhair", partial(frame_matte, coarse, grid, picture, window), NOTHING)]


def _color(height: int) -> list[Candidate]:
    dyeing = Dyeing(torch.tensor(HAIR), torch.tensor(TARGET), 1.0, CROP * height)
    return [Candidate("vidhair", partial(dyeing.apply, *head(height)), NOTHING)]
