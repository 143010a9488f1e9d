"""StyleGAN (Karras et al. 2019): styles act by adaptive instance normalisation.

Shapes: B batch, L codes per image, W width of a code, C channels, H, W pixels.
Two layers per resolution, each with a code of its own; the first of all starts from a constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.generators import generator
from vidhair.models.generators.mapping import EqualizedLinear
from vidhair.models.generators.stylegan2 import FIRST_SIZE, Noise, StyleGAN2Config
from vidhair.ops import bias_act, upfirdn2d
from vidhair.ops.conv2d import conv2d
from vidhair.ops.upfirdn2d import setup_filter

BLUR_TAPS = (1, 2, 1)
NORM_EPSILON = 1e-8


@dataclass(frozen=True, kw_only=True)
class StyleGAN1Config(StyleGAN2Config):
    """Blocks and codes of StyleGAN2, fewer channels in the large ones."""

    channel_base: int = 16384


def adain(x: Tensor, style: Tensor) -> Tensor:
    """Each channel of x [B, C, H, W] brought to mean and spread of the style [B, 2·C] (eq. 1).

    The style holds the spreads, less one, then the means.
    """
    spread, mean = style[:, :, None, None].chunk(2, dim=1)
    return F.instance_norm(x, eps=NORM_EPSILON) * (spread + 1) + mean


class StyledLayer(nn.Module):
    """Convolution (none in the first layer), noise, bias, leaky ReLU, AdaIN."""

    blur_filter: Tensor
    noise_const: Tensor

    def __init__(
        self, in_channels: int | None, out_channels: int, w_dim: int, *, size: int, up: bool
    ):
        super().__init__()
        self.up = up
        self.weight = None
        if in_channels is not None:
            self.gain = (2 / (in_channels * 9)) ** 0.5
            self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(out_channels))
        self.affine = EqualizedLinear(w_dim, 2 * out_channels)
        self.register_buffer("noise_const", torch.randn(size, size))
        taps = setup_filter(BLUR_TAPS, separable=True)
        self.register_buffer("blur_filter", taps, persistent=False)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        if self.up:
            x = F.interpolate(x, scale_factor=2)
        if self.weight is not None:
            x = conv2d(x, self.weight * self.gain, padding=1)
        if self.up:
            x = upfirdn2d(x, self.blur_filter, padding=1)
        if noise is not None:
            x = x + self.noise_strength[:, None, None] * noise
        return adain(bias_act(x, self.bias, act="lrelu", gain=1), style)


class Synthesis(nn.Module):
    """Codes → image."""

    layers: Sequence[StyledLayer]  # a ModuleList

    def __init__(self, config: StyleGAN1Config):
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.ones(config.channels(FIRST_SIZE), FIRST_SIZE, FIRST_SIZE))
        layers, before = [], None
        for size in config.sizes:
            channels = config.channels(size)
            up = size > FIRST_SIZE
            layers += [
                StyledLayer(before, channels, config.w_dim, size=size, up=up),
                StyledLayer(channels, channels, config.w_dim, size=size, up=False),
            ]
            before = channels
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]
        self.torgb = EqualizedLinear(config.channels(config.resolution), config.img_channels)

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise that belongs to the weights."""
        return [layer.noise_const for layer in self.layers]

    def no_noise(self) -> list[None]:
        return [None] * len(self.layers)

    def styles(self, ws: Tensor) -> list[Tensor]:
        """W+ [B, L, W] → [B, 2·C] per layer, as `adain` takes it."""
        assert ws.ndim == 3 and ws.shape[1] == self.config.num_ws, (
            f"{tuple(ws.shape)} codes for a generator of {self.config.num_ws}"
        )
        return [layer.affine(w) for layer, w in zip(self.layers, ws.unbind(1), strict=True)]

    def forward(self, ws: Tensor, *, noise: Noise | None = None) -> Tensor:
        """W+ [B, L, W] → image [B, 3, R, R], about −1 … 1. noise: default `stored_noise()`."""
        return self.render_styles(self.styles(ws), noise=noise)

    def render_styles(self, styles: Sequence[Tensor], *, noise: Noise | None = None) -> Tensor:
        """Styles of all layers → image [B, 3, R, R]."""
        noise = self.stored_noise() if noise is None else noise
        x = self.const.expand(len(styles[0]), -1, -1, -1)
        for layer, style, added in zip(self.layers, styles, noise, strict=True):
            x = layer(x, style, added)
        # A 1×1 convolution: the same linear map at every pixel.
        weight = self.torgb.weight[:, :, None, None] * self.torgb.weight_gain
        return bias_act(conv2d(x, weight), self.torgb.bias)


class Generator(generator.Generator[StyleGAN1Config]):
    """Mapping and synthesis of StyleGAN.

    The mapping is that of StyleGAN2, whose activations have a gain of √2. The published StyleGAN
    has the gain in its weights instead, which is the same map with biases √2 as large.
    """

    synthesis_class = Synthesis
    synthesis: Synthesis
