"""From a picture to codes: one face for the encoders of all packs.

Shapes: B batch, S side of the picture, L codes per picture, D width of a code.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vidhair.models.encoders.restyle import average_image, restyle
from vidhair.models.encoders.style import (
    E4eEncoder,
    GradualEncoder,
    RestyleE4eEncoder,
    RestylePspEncoder,
    StyleEncoder,
    StyleEncoderConfig,
    WEncoder,
)
from vidhair.models.generators.aligned import MovableSynthesis

# kind of a part → network
ENCODERS: dict[str, type[StyleEncoder]] = {
    "psp": GradualEncoder,
    "e4e": E4eEncoder,
    "w_encoder": WEncoder,
    "restyle_psp": RestylePspEncoder,
    "restyle_e4e": RestyleE4eEncoder,
}


@dataclass(frozen=True)
class Inverter:
    """How a pack inverts. size: S of the aligned pictures that `codes` takes.

    codes: [B, 3, S, S] in −1 … 1 → W+ [B, L, D]. average: the mean code, [L, D] or [D].
    """

    size: int
    num_ws: int
    w_dim: int
    device: torch.device
    codes: Callable[[Tensor], Tensor]
    average: Tensor


class PublishedEncoder(nn.Module):
    """A published encoder with the average code [L, D] that its answers are relative to."""

    w_avg: Tensor

    def __init__(self, kind: str, config: StyleEncoderConfig, steps: int = 1):
        super().__init__()
        assert steps > 0, f"{steps} steps of inversion"
        self.kind, self.config, self.steps = kind, config, steps
        self.network = ENCODERS[kind](config)
        self.register_buffer("w_avg", torch.zeros(config.num_ws, config.w_dim))

    @classmethod
    def planned(cls, kind: str, plan: dict[str, Any]) -> "PublishedEncoder":
        """From what `plan` gave, also after JSON, which turns tuples into lists."""
        shape: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in plan.items() if n != "steps"
        }
        return cls(kind, StyleEncoderConfig(**shape), int(plan.get("steps", 1)))

    @property
    def plan(self) -> dict[str, Any]:
        """All that decides the network but its kind, as plain values."""
        return {**asdict(self.config), "steps": self.steps}

    def forward(self, image: Tensor) -> Tensor:
        """Aligned pictures [B, 3, S, S] in −1 … 1 → W+ [B, L, D], without ReStyle's loop."""
        result: Tensor = self.network(image) + self.w_avg
        return result


class RestyleLoop:
    """Aligned pictures → W+, by looking at what the generator makes of the codes so far.

    synthesis: renders W+ [B, L, D] without a transform.
    """

    def __init__(self, encoder: PublishedEncoder, synthesis: MovableSynthesis):
        self.encoder, self.synthesis = encoder, synthesis

    @cached_property
    def average(self) -> Tensor:
        return average_image(self.synthesis, self.encoder.w_avg, self.encoder.config.size)

    def __call__(self, image: Tensor) -> Tensor:
        e = self.encoder
        steps = restyle(
            image, e.network, self.synthesis, e.w_avg, steps=e.steps, average=self.average
        )
        return steps[:, -1]
