"""Where the generator draws hair and skin, before and after an edit."""

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.imaging.color import levels_to_lab
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages.align import FaceTrack
from vidhair.stages.labels import parse_canvas
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    DrawnChange,
    Picture,
    RenderConfig,
    edited,
)
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Fact, Span, Value, stage

# Planes of `HairDrawn`.
OLD_HAIR, NEW_HAIR, NEW_SKIN = range(3)


@dataclass(frozen=True)
class HairDrawn(Value):
    """levels: how likely each is on the canvas, uint8 [T, 3, h, w], by OLD_HAIR, NEW_HAIR,
    NEW_SKIN. color: [T, 3], by how much the mean of hair changes in Lab, where both have some."""

    ROWS = ("levels", "color")
    levels: NDArray[np.uint8]
    color: NDArray[np.float32]


@stage(version=2)
def hair_drawn(
    rendered: Picture,
    edited_codes: Codes,
    drawn_change: DrawnChange,
    span: Span,
    pivots: Pivots,
    track: FaceTrack,
    canvas: Canvas,
    drawer: Drawer,
    parser: Parser,
    face_pixels: Annotated[int, Fact("face_pixels")],
    probe: Annotated[str, Fact("precision.probe")],
    config: RenderConfig,
) -> HairDrawn:
    """As the pack's parser sees it on what is drawn, with all features of the edit."""
    quick = replace(config, precision=probe)
    changed = edited(edited_codes, drawn_change, span, pivots, track, canvas, drawer, quick)
    levels = np.zeros((len(span), 3, canvas.height, canvas.width), np.uint8)
    color = np.zeros((len(span), 3), np.float32)
    rows = np.flatnonzero(track.present)
    if len(rows):
        old, new = (
            parse_canvas(picture.levels[rows], track.mesh[rows], canvas, parser, face_pixels)
            for picture in (rendered, changed)
        )
        seen = torch.cat([old["hair"], new["hair"], new["skin"]], 1)
        levels[rows] = (seen * 255).round().to(torch.uint8).numpy()
        both = old["hair"] * new["hair"]
        for row, hair in zip(rows, both, strict=True):
            before, after = (
                levels_to_lab(torch.from_numpy(picture.levels[row : row + 1]))
                for picture in (rendered, changed)
            )
            mean = ((after - before) * hair).sum((0, 2, 3)) / (hair.sum() + 1e-3)
            color[row] = mean.numpy()
    return HairDrawn(levels, color)
