"""The published encoders: picture → codes of the generator's layers, relative to an average code.

Shapes: B batch, C channels, S side of the picture, L codes per picture, D width of a code.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.backbones.backbone import Backbone
from vidhair.models.backbones.irse import irse50
from vidhair.models.backbones.resnet import resnet34
from vidhair.models.encoders.heads import StyleHead, codes_of
from vidhair.models.generators.mapping import EqualizedLinear

BackboneName = Literal["irse50", "ir50", "resnet34"]
BACKBONES: dict[BackboneName, Callable[..., Backbone]] = {
    "irse50": irse50,
    "ir50": partial(irse50, gated=False),
    "resnet34": resnet34,
}
MIDDLE, FINE = 3, 7  # the first layers that look at the middle and at the fine features
SKETCH_CELLS = 7
SKETCH_NUM_WS = (9, 5, 4)  # codes from the features at 1/8, 1/4 and 1/2 of the size


@dataclass(frozen=True, kw_only=True)
class StyleEncoderConfig:
    """What decides the shape of an encoder. widths, units: of the backbone; None: as published."""

    num_ws: int
    w_dim: int = 512
    size: int = 256
    in_channels: int = 3
    backbone: BackboneName = "irse50"
    widths: tuple[int, ...] | None = None
    units: tuple[int, ...] | None = None

    def build_backbone(self) -> Backbone:
        given = {"widths": self.widths, "units": self.units}
        changes = {name: tuple(value) for name, value in given.items() if value is not None}
        return BACKBONES[self.backbone](self.in_channels, **changes)


class StyleEncoder(nn.Module):
    """What all of them share: a backbone, and the check of what it is given."""

    def __init__(self, config: StyleEncoderConfig):
        super().__init__()
        self.config = config
        self.backbone = config.build_backbone()

    def taps(self, image: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Features behind the backbone's blocks with these numbers."""
        c = self.config
        assert image.shape[1:] == (c.in_channels, c.size, c.size), (
            f"pictures {tuple(image.shape)} for an encoder of {(c.in_channels, c.size, c.size)}"
        )
        result: list[Tensor] = self.backbone(image, blocks)
        return result


def _codes_around_first(
    heads: Sequence[StyleHead], features: Sequence[Tensor], stage: int | None
) -> Tensor:
    """e4e's codes: the first one for all layers, and an offset for layers 1 … stage (None: all)."""
    count = len(heads) if stage is None else min(stage + 1, len(heads))
    first, *offsets = codes_of(heads[:count], features[:count])
    plain = [first] * (len(heads) - count)
    return torch.stack([first, *(first + offset for offset in offsets), *plain], 1)


class PyramidEncoder(StyleEncoder):
    """Features at 1/16, 1/8 and 1/4 of the size, each refined by the coarser ones."""

    heads: Sequence[StyleHead]  # a ModuleList

    def __init__(self, config: StyleEncoderConfig, *, pooled: bool = False):
        super().__init__(config)
        assert config.backbone != "resnet34", "published with an IR-SE50 only"
        *_, fine, middle, coarse = self.backbone.widths
        assert coarse == config.w_dim, f"features of {coarse} for codes of {config.w_dim}"
        self.lateral_middle = nn.Conv2d(middle, coarse, 1)
        self.lateral_fine = nn.Conv2d(fine, coarse, 1)
        heads = []
        for layer in range(config.num_ws):
            reduction = 16 if layer < MIDDLE else 8 if layer < FINE else 4
            size = config.size // reduction
            heads.append(StyleHead(coarse, config.w_dim, size, pooled=pooled))
        self.heads = nn.ModuleList(heads)  # type: ignore[assignment]

    @property
    def pyramid_taps(self) -> tuple[int, ...]:
        """The blocks with the features `layer_features` is made of."""
        return self.backbone.stage_ends[-3:]

    def layer_features(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[Tensor]:
        """What the head of each layer looks at."""
        middle = _added_to(self.lateral_middle(middle), coarse)
        fine = _added_to(self.lateral_fine(fine), middle)
        layers = range(self.config.num_ws)
        return [coarse if k < MIDDLE else middle if k < FINE else fine for k in layers]


def _added_to(lateral: Tensor, coarser: Tensor) -> Tensor:
    size = lateral.shape[2:]
    return lateral + F.interpolate(coarser, size=size, mode="bilinear", align_corners=True)


class GradualEncoder(PyramidEncoder):
    """pSp (Richardson et al. 2021): a code of its own for every layer."""

    def forward(self, image: Tensor) -> Tensor:
        """Aligned pictures [B, 3, 256, 256] in −1 … 1 → [B, L, D] relative to the average code."""
        return self.codes(*self.taps(image, self.pyramid_taps))

    def codes(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Like `forward`, from the features behind `pyramid_taps`."""
        return torch.stack(codes_of(self.heads, self.layer_features(fine, middle, coarse)), 1)


class E4eEncoder(PyramidEncoder):
    """e4e (Tov et al. 2021): one code for all layers and an offset for each of them."""

    def forward(self, image: Tensor, *, stage: int | None = None) -> Tensor:
        """Aligned pictures [B, 3, 256, 256] in −1 … 1 → [B, L, D] relative to the average code.

        stage: the last layer with an offset, as training unlocks them one by one; None: all.
        """
        features = self.layer_features(*self.taps(image, self.pyramid_taps))
        return _codes_around_first(self.heads, features, stage)


class WEncoder(StyleEncoder):
    """One code for all layers: the codes stay in W."""

    def __init__(self, config: StyleEncoderConfig):
        super().__init__(config)
        self.linear = EqualizedLinear(self.backbone.widths[-1], config.w_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Aligned pictures [B, 3, 256, 256] in −1 … 1 → [B, L, D] relative to the average code."""
        (features,) = self.taps(image, self.backbone.stage_ends[-1:])
        code = self.linear(features.mean((2, 3)))
        result: Tensor = code[:, None].repeat(1, self.config.num_ws, 1)
        return result


class LastMapEncoder(StyleEncoder):
    """ReStyle's simpler design (Alaluf et al. 2021): all heads look at the last features."""

    heads: Sequence[StyleHead]  # a ModuleList

    def __init__(self, config: StyleEncoderConfig):
        super().__init__(config)
        width, size = self.backbone.widths[-1], config.size // 16
        heads = [StyleHead(width, config.w_dim, size) for _ in range(config.num_ws)]
        self.heads = nn.ModuleList(heads)  # type: ignore[assignment]


class RestylePspEncoder(LastMapEncoder):
    """ReStyle over pSp: a code of its own for every layer."""

    def forward(self, pair: Tensor) -> Tensor:
        """Picture and present reconstruction [B, 6, 256, 256] → change of the codes [B, L, D]."""
        (features,) = self.taps(pair, self.backbone.stage_ends[-1:])
        return torch.stack(codes_of(self.heads, [features] * len(self.heads)), 1)


class RestyleE4eEncoder(LastMapEncoder):
    """ReStyle over e4e: one code for all layers and an offset for each of them."""

    def forward(self, pair: Tensor, *, stage: int | None = None) -> Tensor:
        """Picture and present reconstruction [B, 6, 256, 256] → change of the codes [B, L, D].

        stage: the last layer with an offset, as training unlocks them one by one; None: all.
        """
        (features,) = self.taps(pair, self.backbone.stage_ends[-1:])
        return _codes_around_first(self.heads, [features] * len(self.heads), stage)


class SketchEncoder(nn.Module):
    """HairCLIPv2 (Wei et al. 2023): hair strokes → codes of a hairstyle with such strands.

    The first layers' codes come from the deepest features, the last layers' from the shallowest.
    Of the IR-SE50 only the first three stages are used.
    """

    def __init__(
        self,
        *,
        num_ws: Sequence[int] = SKETCH_NUM_WS,
        w_dim: int = 512,
        in_channels: int = 1,
        widths: tuple[int, ...] = (64, 128, 256),
        units: tuple[int, ...] = (3, 4, 14),
    ):
        super().__init__()
        self.w_dim = w_dim
        self.backbone = irse50(in_channels, widths=widths, units=units)
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width),
                nn.AdaptiveAvgPool2d(SKETCH_CELLS),
                nn.Flatten(),
                nn.Linear(width * SKETCH_CELLS**2, w_dim * count),
            )
            for width, count in zip(widths[::-1], num_ws, strict=True)
        )

    def forward(self, sketch: Tensor) -> Tensor:
        """Strokes [B, 1, 256, 256] in 0 … 1 → [B, L, D] relative to the average code."""
        features = self.backbone(sketch, self.backbone.stage_ends[::-1])
        pairs = zip(self.heads, features, strict=True)
        return torch.cat([head(x).unflatten(1, (-1, self.w_dim)) for head, x in pairs], 1)
