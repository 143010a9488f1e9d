"""The bundled pack's parser: background, skin, hair, clothes.

Beside the picture it sees what MediaPipe knows of it: the person's silhouette and the oval of the
face. These look the same on rendered and on real faces, and carry the parser from one to the other.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor, nn

from vidhair.models.faces.landmarks import FACE_OVAL

UNKNOWN = 0.5  # value of a guide that is not available


class Label(IntEnum):
    BACKGROUND = 0
    SKIN = 1
    HAIR = 2
    CLOTHES = 3


@dataclass(frozen=True, kw_only=True)
class FaceParserConfig:
    widths: tuple[int, ...] = (24, 48, 96, 144, 192)
    labels: int = len(Label)
    guides: int = 2


class _Block(nn.Sequential):
    """Two convolutions with batch normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class FaceParser(nn.Module):
    """A U-Net. Any size whose sides are multiples of `stride`."""

    face_pixels = 80  # side of the face crop as it sees it

    def __init__(self, config: FaceParserConfig):
        super().__init__()
        self.config = config
        widths = tuple(config.widths)
        self.stride = 2 ** (len(widths) - 1)
        self.encoder = nn.ModuleList([_Block(3 + config.guides, widths[0])])
        for before, after in pairwise(widths):
            self.encoder.append(_Block(before, after, stride=2))
        self.decoder = nn.ModuleList()
        for after, before in zip(widths[-2::-1], widths[:0:-1], strict=True):
            self.decoder.append(_Block(before + after, after))
        self.head = nn.Conv2d(widths[0], config.labels, 1)

    def features(self, image: Tensor, guides: Tensor | None = None) -> list[Tensor]:
        """Feature maps of every scale, for a perceptual distance. image: [B, 3, H, W] in −1 … 1."""
        if guides is None:
            guides = image.new_full((len(image), self.config.guides, *image.shape[2:]), UNKNOWN)
        x = torch.cat([image, guides * 2 - 1], 1)
        maps = []
        for block in self.encoder:
            x = block(x)
            maps.append(x)
        return maps

    def forward(self, image: Tensor, guides: Tensor | None = None) -> Tensor:
        """image [B, 3, H, W] in −1 … 1, guides [B, 2, H, W] in 0 … 1 (person, face oval) or None
        → logits [B, labels, H, W]."""
        maps = self.features(image, guides)
        x = maps.pop()
        for block in self.decoder:
            skip = maps.pop()
            x = F.interpolate(x, size=skip.shape[2:], mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skip], 1))
        result: Tensor = self.head(x)
        return result


def polygon_mask(
    points: NDArray[Any], height: int, width: int, oversample: int = 4
) -> NDArray[Any]:
    """Anti-aliased filled polygon: points [K, 2] in pixels → float32 [H, W] in 0 … 1."""
    canvas = Image.new("L", (width * oversample, height * oversample))
    corners = [(float(x) * oversample, float(y) * oversample) for x, y in points]
    ImageDraw.Draw(canvas).polygon(corners, fill=255)
    small = canvas.resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / 255


def face_oval_mask(mesh: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """The face oval of a mesh [478, 2] in pixels as a mask [H, W]."""
    return polygon_mask(mesh[list(FACE_OVAL)], height, width)
