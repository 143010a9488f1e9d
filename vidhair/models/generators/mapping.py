"""The mapping network of StyleGAN2 and 3: z → w.

Shapes: B batch, Z, W widths of the latent spaces, L codes per image.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.ops import bias_act

MAPPING_LR_MULTIPLIER = 0.01


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(ABC):
    """What decides the shape of a generator."""

    resolution: int
    z_dim: int = 512
    c_dim: int = 0
    w_dim: int = 512
    channel_base: int = 32768
    channel_max: int = 512
    mapping_layers: int = 8
    img_channels: int = 3

    @property
    @abstractmethod
    def num_ws(self) -> int:
        """Codes per image."""

    @property
    def level_ends(self) -> tuple[int, int]:
        """Behind which codes the coarse and the middle ones end (Karras et al. 2019, section 3.1):
        pose and shape up to 8 pixels, features and hair up to 32, then color and texture."""
        return 4, 8


class EqualizedLinear(nn.Module):
    """Fully connected layer whose weight is scaled at run time (Karras et al. 2018)."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        act: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ):
        super().__init__()
        self.act = act
        self.weight_gain = lr_multiplier / in_features**0.5
        self.bias_gain = lr_multiplier
        weight = torch.empty(out_features, in_features)
        self.weight = nn.Parameter(weight.normal_(std=1 / lr_multiplier))
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init) / lr_multiplier))

    def forward(self, x: Tensor) -> Tensor:
        # The gain goes to x, which is the smaller one.
        y = F.linear(x * self.weight_gain, self.weight.to(x.dtype))
        return bias_act(y, self.bias.to(x.dtype) * self.bias_gain, act=self.act)


def normalize_second_moment(x: Tensor) -> Tensor:
    """Scale [B, N] to a mean square of one per row."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class MappingNetwork(nn.Module):
    """z (and a condition c) → w."""

    w_avg: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.num_ws = config.num_ws
        width = config.w_dim
        if config.c_dim:
            self.embed = EqualizedLinear(config.c_dim, width)
        features = config.z_dim + (width if config.c_dim else 0)
        self.layers = nn.ModuleList()
        for _ in range(config.mapping_layers):
            self.layers.append(
                EqualizedLinear(features, width, act="lrelu", lr_multiplier=MAPPING_LR_MULTIPLIER)
            )
            features = width
        self.register_buffer("w_avg", torch.zeros(width))

    def w(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """[B, Z] → [B, W], before truncation and broadcast."""
        x = normalize_second_moment(z.float())
        if hasattr(self, "embed"):
            assert c is not None, "this generator is conditional and needs c"
            x = torch.cat([x, normalize_second_moment(self.embed(c.float()))], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """[B, Z] → [B, L, W]; truncation pulls the first `truncation_cutoff` codes to w_avg."""
        ws = self.w(z, c).unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1:
            cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
            ws = torch.cat([self.w_avg.lerp(ws[:, :cut], truncation_psi), ws[:, cut:]], dim=1)
        return ws
