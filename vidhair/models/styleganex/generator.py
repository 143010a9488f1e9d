"""StyleGANEX (Yang et al. 2023): StyleGAN2 for whole pictures of any size, with the same weights.

The blocks up to 32 pixels all run at the size of a feature map, which may be any, and keep their
reach by dilation. A plain generator is the special case of the constant repeated eight times:
G(f0↑, w+) = G0(w+).

Shapes: B batch, L codes per image, W width of a code, C channels, h, w sides of the feature map.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.convolution import channels_last
from vidhair.models.encoders.heads import SLOPE
from vidhair.models.generators.stylegan2 import (
    FIRST_SIZE,
    Block,
    Canvas,
    Generator,
    Noise,
    StyledConv,
    StyleGAN2Config,
    Synthesis,
    ToRGB,
)
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.remembered import Remembered
from vidhair.ops.upfirdn2d import setup_filter

FEATURE_SIZE = 32  # blocks up to here run at the size of the feature map
SPREAD_TAPS = (1, 2, 1)
NEARLY_NOTHING = 0.01  # share of its usual size that what fusions merge begins with


def dilation_of(size: int) -> int:
    """How far apart the taps of a layer with input of this size are, at the feature's size."""
    return max(1, FEATURE_SIZE // size)


def _blur(x: Tensor, taps: Tensor, spacing: int, padding: int) -> Tensor:
    """Depthwise, with taps [3, 3] that are `spacing` apart."""
    channels = x.shape[1]
    weight = taps.to(x.dtype).expand(channels, 1, *taps.shape)
    return F.conv2d(x, weight, padding=padding, dilation=spacing, groups=channels)


class PooledNoiseConv(StyledConv):
    """A layer of StyleGAN2 on a map of any size: noise is averaged or repeated to fit."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, size: int, up: bool):
        super().__init__(in_channels, out_channels, w_dim, size=size, up=up)
        self.scale = 2 if up else 1

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        size = (x.shape[2] * self.scale, x.shape[3] * self.scale)
        if noise is not None and noise.shape[-2:] != size:
            noise = noise if noise.ndim == 4 else noise[None, None]
            noise = F.adaptive_avg_pool2d(noise, size)
        return super().forward(x, style, noise)


class DilatedConv(PooledNoiseConv):
    """A layer of StyleGAN2 that keeps the size and spreads its taps instead."""

    spread_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, size: int, up: bool):
        super().__init__(in_channels, out_channels, w_dim, size=size, up=up)
        self.scale = 1
        self.dilation = dilation_of(size // 2 if up else size)
        taps = setup_filter(SPREAD_TAPS)
        self.register_buffer("spread_filter", taps, persistent=False)
        self._laid_out = Remembered(channels_last)
        self._flipped = Remembered(lambda weight: channels_last(weight.flip([2, 3])))

    def convolve(self, x: Tensor, style: Tensor, demodulation: Tensor | None) -> Tensor:
        if self.up:
            # On a repeated input, the transposed convolution of stride two followed by [1, 3, 3, 1]
            # is a tent of half the spacing followed by the flipped weight of half the spacing.
            weight, spacing, padding = self._flipped.of(self.weight), self.dilation // 2, 0
            x = _blur(x, self.spread_filter, spacing, padding=2 * spacing)
        else:
            weight, spacing = self._laid_out.of(self.weight), self.dilation
            padding = spacing
        if spacing == 1:
            return modulated_conv(x, weight, style, demodulation, padding=padding)
        assert demodulation is not None
        x = channels_last(x) * style[:, :, None, None].to(x.dtype)
        y = F.conv2d(x, weight.to(x.dtype), padding=padding, dilation=spacing)
        return y * demodulation[:, :, None, None].to(x.dtype)


class DilatedToRGB(ToRGB):
    """ToRGB whose earlier picture has the same size and is smoothed instead of enlarged."""

    spread_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, size: int):
        super().__init__(in_channels, out_channels, w_dim)
        self.spacing = dilation_of(size // 2) // 2
        taps = setup_filter(SPREAD_TAPS)
        self.register_buffer("spread_filter", taps, persistent=False)

    def enlarge(self, rgb: Tensor) -> Tensor:
        return _blur(rgb, self.spread_filter, self.spacing, padding=self.spacing)


class EditAttention(nn.Module):
    """Where the encoder's feature counts, given an editing vector: a mask in 0 … 1.

    mask = tanh(relu(conv(AdaIN([feature, |feature − skip|], mlp(v))))).
    """

    def __init__(self, channels: int, w_dim: int, depth: int):
        super().__init__()
        widths = [w_dim, *[channels] * (depth + 1)]
        self.mlp = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.style = nn.Linear(channels, 4 * channels)
        self.mask = nn.Conv2d(2 * channels, 1, 3, padding=1)
        with torch.no_grad():
            self.style.bias[: 2 * channels] = 1
            self.style.bias[2 * channels :] = 0

    def forward(self, feature: Tensor, skip: Tensor, editing: Tensor) -> Tensor:
        """feature, skip [B, C, h, w], editing [B or 1, W] → [B, 1, h, w]."""
        for layer in self.mlp:
            editing = F.leaky_relu(layer(editing), 0.2)
        gain, offset = self.style(editing)[:, :, None, None].chunk(2, dim=1)
        x = F.instance_norm(torch.cat([feature, (feature - skip).abs()], dim=1))
        result: Tensor = self.mask(gain * x + offset).relu().tanh()
        return result


class SkipFusion(nn.Module):
    """An encoder's feature merged into the generator's, ahead of a block."""

    def __init__(
        self,
        skip_channels: int,
        channels: int,
        *,
        fuse_rgb: bool = True,
        attention: EditAttention | None = None,
    ):
        super().__init__()
        self.project = nn.Conv2d(skip_channels, channels, 3, padding=1)
        self.feature = _near_identity(channels, channels)
        self.rgb = _near_identity(3, channels) if fuse_rgb else None
        self.attention = attention

    def forward(self, canvas: Canvas, skip: Tensor, editing: Tensor | None = None) -> Canvas:
        """skip [B, C_skip, h, w]; editing [B or 1, W] is used by the attention only."""
        x = F.leaky_relu(self.project(skip), SLOPE, inplace=True)
        if self.attention is not None and editing is not None:
            x = x * self.attention(canvas.feature, x, editing)
        feature = self.feature(torch.cat([canvas.feature.to(x.dtype), x], dim=1))
        if self.rgb is None:
            return Canvas(feature, canvas.rgb)
        return Canvas(feature, to_few_channels(self.rgb, canvas.picture, x))


def to_few_channels(layer: nn.Conv2d, few: Tensor, many: Tensor) -> Tensor:
    """A 3 × 3 convolution of [few, many] channels to a few, in the precision of its weights.

    Libraries are slow at convolutions to three channels. Of the many, a matrix product gives what
    every pixel adds through each tap, and `F.fold` adds that where it belongs.
    """
    weight, count = layer.weight, few.shape[1]
    through_taps = weight[:, count:].flip([2, 3]).permute(0, 2, 3, 1).flatten(0, 2)
    added = through_taps.to(many.dtype) @ many.flatten(2)
    added = F.fold(added.to(weight.dtype), many.shape[2:], 3, padding=1)
    with torch.autocast(few.device.type, enabled=False):
        return F.conv2d(few, weight[:, :count], layer.bias, padding=1) + added


def _near_identity(kept: int, added: int) -> nn.Conv2d:
    """A convolution of [kept, added] channels that begins close to passing on the kept ones."""
    conv = nn.Conv2d(kept + added, kept, 3, padding=1)
    with torch.no_grad():
        conv.weight *= NEARLY_NOTHING
        conv.weight[:, :kept, 1, 1] += torch.eye(kept)
    return conv


class WideSynthesis(Synthesis):
    """StyleGAN2's synthesis from a feature map [B, C, h, w] to a picture of h·R/32 × w·R/32.

    Without a feature it renders the plain generator's picture.
    """

    def __init__(self, config: StyleGAN2Config):
        assert config.resolution >= FEATURE_SIZE, f"needs {FEATURE_SIZE} pixels or more"
        super().__init__(config)

    def make_block(self, size: int) -> Block:
        c, width = self.config, self.config.w_dim
        channels = c.channels(size)
        shallow = size <= FEATURE_SIZE
        kind = DilatedConv if shallow else PooledNoiseConv
        conv1 = kind(channels, channels, width, size=size, up=False)
        if size == FIRST_SIZE:
            return Block(None, conv1, ToRGB(channels, c.img_channels, width))
        conv0 = kind(c.channels(size // 2), channels, width, size=size, up=True)
        if shallow:
            return Block(conv0, conv1, DilatedToRGB(channels, c.img_channels, width, size=size))
        return Block(conv0, conv1, ToRGB(channels, c.img_channels, width))

    def start(self, batch: int) -> Canvas:
        """The learned constant, repeated to 32 × 32."""
        times = FEATURE_SIZE // FIRST_SIZE
        const = self.const.repeat_interleave(times, 1).repeat_interleave(times, 2)
        return Canvas(const.expand(batch, -1, -1, -1))

    def render(self, feature: Tensor, ws: Tensor, *, noise: Noise | None = None) -> Tensor:
        """Feature in place of the constant [B, C, h, w], W+ [B, L, W] → image."""
        return self.run(Canvas(feature), self.styles(ws), noise).picture

    def render_after_first_block(
        self, canvas: Canvas, ws: Tensor, *, noise: Noise | None = None
    ) -> Tensor:
        """Feature and picture [B, 3, h, w] in place of the first block's, W+ → image."""
        return self.run(canvas, self.styles(ws), noise, start=1).picture

    def render_fused(
        self,
        feature: Tensor,
        ws: Tensor,
        skips: Sequence[Tensor],
        fusions: Sequence[SkipFusion] | nn.ModuleList,
        *,
        editing: Tensor | None = None,
        noise: Noise | None = None,
    ) -> Tensor:
        """Like `render`, merging skips[k] by fusions[k] ahead of block k + 1; the shorter list
        decides how many.

        editing: [B or 1, L, W], the vector v of a video edit: added to the codes, and what the
        fusions' attention looks at.
        """

        codes = ws if editing is None else ws + editing
        fuse = fusing(skips, fusions, editing)
        return self.run(Canvas(feature), self.styles(codes), noise, before=fuse).picture


def fusing(
    skips: Sequence[Tensor], fusions: Sequence[SkipFusion] | nn.ModuleList, editing: Tensor | None
) -> Callable[[int, Canvas], Canvas]:
    """What `Synthesis.run` does ahead of a block, as `WideSynthesis.render_fused` tells it."""

    def fuse(block: int, canvas: Canvas) -> Canvas:
        k = block - 1
        if not 0 <= k < min(len(skips), len(fusions)):
            return canvas
        vector = None if editing is None else editing[:, 2 * block - 1]
        result: Canvas = fusions[k](canvas, skips[k], vector)
        return result

    return fuse


class WideGenerator(Generator):
    """Mapping and synthesis of StyleGANEX; weights of a StyleGAN2 fit."""

    synthesis_class = WideSynthesis
    synthesis: WideSynthesis
