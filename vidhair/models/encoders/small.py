"""Encoders: aligned picture → W+."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class SmallEncoderConfig:
    """The bundled pack's encoder."""

    size: int = 128
    num_ws: int = 16
    w_dim: int = 128
    widths: tuple[int, ...] = (48, 96, 160, 256, 320)
    hidden: int = 384


class _Residual(nn.Module):
    """Halve the size: two convolutions beside a pooled shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(inputs, outputs, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.main(x) + self.shortcut(x))


class SmallEncoder(nn.Module):
    """One code for all layers, and an offset for each of them (as e4e, Tov et al. 2021)."""

    w_mean: Tensor
    w_std: Tensor

    def __init__(self, config: SmallEncoderConfig):
        super().__init__()
        self.config = config
        widths = (3, *config.widths)
        self.body = nn.Sequential(*(_Residual(a, b) for a, b in pairwise(widths)))
        cells = (config.size >> len(config.widths)) ** 2
        self.neck = nn.Sequential(
            nn.Flatten(), nn.Linear(widths[-1] * cells, config.hidden), nn.ReLU()
        )
        self.code = nn.Linear(config.hidden, config.w_dim)
        self.offsets = nn.Linear(config.hidden, config.num_ws * config.w_dim)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)
        self.register_buffer("w_mean", torch.zeros(config.w_dim))
        self.register_buffer("w_std", torch.ones(config.w_dim))

    def split(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(code [B, D], offsets [B, L, D]), in standard deviations of w."""
        x = self.neck(self.body(image))
        return self.code(x), self.offsets(x).view(-1, self.config.num_ws, self.config.w_dim)

    def forward(self, image: Tensor) -> Tensor:
        """Aligned pictures [B, 3, S, S] in −1 … 1 → W+ [B, L, D]."""
        code, offsets = self.split(image)
        return self.w_mean + self.w_std * (code[:, None] + offsets)
