"""StyleGAN2 (Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN").

Shapes: B batch, L codes per image, W width of a code, C channels, H, W pixels.
One block per resolution: conv0 doubles the size (the first block has none), conv1 keeps it, torgb
adds to the picture so far. torgb of one block and conv0 of the next share a code of W+.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.convolution import add, working_dtype
from vidhair.models.generators import generator
from vidhair.models.generators.mapping import EqualizedLinear, GeneratorConfig
from vidhair.ops import bias_act
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.remembered import Remembered
from vidhair.ops.upfirdn2d import setup_filter, upsample2d
from vidhair.ops.upsampling_conv import upsampling_conv

FIRST_SIZE = 4
RESAMPLING_TAPS = (1, 3, 3, 1)
SLOPE, ACTIVATION_GAIN = 0.2, 2**0.5

# One map per layer, [H, W], [1, 1, H, W] or [B, 1, H, W]; None adds nothing.
Noise = Sequence[Tensor | None]


@dataclass(frozen=True, kw_only=True)
class StyleGAN2Config(GeneratorConfig):
    """A block for every power of two from 4 to the resolution, and two codes for each."""

    conv_clamp: float | None = None  # bound of the activations in StyleGAN2-ADA

    def __post_init__(self) -> None:
        r = self.resolution
        assert r >= FIRST_SIZE and r & (r - 1) == 0, f"resolution {r} is no power of two from 4 on"

    @property
    def sizes(self) -> list[int]:
        """Resolutions of the blocks: 4, 8, …"""
        return [1 << k for k in range(2, self.resolution.bit_length())]

    def channels(self, size: int) -> int:
        return min(self.channel_base // size, self.channel_max)

    @property
    def num_ws(self) -> int:
        return 2 * len(self.sizes)


@dataclass(frozen=True)
class Canvas:
    """Where synthesis stands: feature [B, C, H, W], and the picture so far [B, 3, H, W]."""

    feature: Tensor
    rgb: Tensor | None = None

    @property
    def picture(self) -> Tensor:
        assert self.rgb is not None, "no block has run, so there is no picture"
        return self.rgb


class ModulatedConv(nn.Module):
    """Convolution whose input channels are scaled by a style, with one weight for the whole batch.

    Scaling the input by the style, then the output by the demodulation, equals a convolution with
    a weight per sample: w'_oi = w_oi·s_i / ‖w_o·s‖ (eqs. 1 and 3).
    """

    clamp: float | None = None  # bound of the output

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, *, kernel: int, demodulate: bool
    ):
        super().__init__()
        self.demodulate = demodulate
        self.gain = (in_channels * kernel**2) ** -0.5
        self.affine = EqualizedLinear(w_dim, in_channels, bias_init=1)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self._energy = Remembered(lambda weight: weight.square().sum([2, 3]).t())

    def style(self, w: Tensor) -> Tensor:
        """[B, W] → [B, C_in]: one scale per input channel (the S space)."""
        result: Tensor = self.affine(w)
        return result

    def modulated(self, x: Tensor, style: Tensor, gain: float = 1.0) -> Tensor:
        """x [B, C_in, H, W], style [B or 1, C_in] → gain times [B, C_out, H', W'], without bias."""
        style = (style * self.gain).expand(len(x), -1)
        if not self.demodulate:
            return self.convolve(x.to(working_dtype(x)), style * gain, None)
        energy = style.square() @ self._energy.of(self.weight)
        return self.convolve(x.to(working_dtype(x)), style, (energy + 1e-8).rsqrt() * gain)

    def convolve(self, x: Tensor, style: Tensor, demodulation: Tensor | None) -> Tensor:
        padding = self.weight.shape[-1] // 2
        return modulated_conv(x, self.weight, style, demodulation, padding=padding)


class StyledConv(ModulatedConv):
    """Modulated 3×3 convolution, noise, bias, leaky ReLU; `up` doubles the size first."""

    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, *, size: int, up: bool):
        super().__init__(in_channels, out_channels, w_dim, kernel=3, demodulate=True)
        self.up = up
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(size, size))

    def convolve(self, x: Tensor, style: Tensor, demodulation: Tensor | None) -> Tensor:
        if not self.up:
            return super().convolve(x, style, demodulation)
        assert demodulation is not None
        return upsampling_conv(x, self.weight, style, demodulation)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor | None) -> Tensor:
        # lrelu(g·x) = g·lrelu(x), so the gain that follows the activation goes ahead of all.
        y = self.modulated(x, style, ACTIVATION_GAIN)
        if noise is not None:
            y = add(y, (self.noise_strength * ACTIVATION_GAIN * noise).to(y.dtype))
        bias = self.bias * ACTIVATION_GAIN
        if y.device.type != "cpu" or y.requires_grad:
            return bias_act(y, bias, act="lrelu", alpha=SLOPE, gain=1.0, clamp=self.clamp)
        # In place: fresh memory for every layer takes longer than what is done in it.
        y = F.leaky_relu_(y.add_(bias.to(y.dtype)[:, None, None]), SLOPE)
        return y if self.clamp is None else y.clamp_(-self.clamp, self.clamp)


class ToRGB(ModulatedConv):
    """Modulated 1×1 convolution to colors, added to the picture of the block before."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, w_dim: int):
        super().__init__(in_channels, out_channels, w_dim, kernel=1, demodulate=False)
        taps = setup_filter(RESAMPLING_TAPS, separable=True)
        self.register_buffer("resample_filter", taps, persistent=False)

    def convolve(self, x: Tensor, style: Tensor, demodulation: Tensor | None) -> Tensor:
        # As a product of few rows: libraries are slow at convolutions to three channels.
        weight = self.weight.flatten(1) * style[:, None]
        result: Tensor = (weight.to(x.dtype) @ x.flatten(2)).unflatten(2, x.shape[2:])
        return result

    def enlarge(self, rgb: Tensor) -> Tensor:
        return upsample2d(rgb, self.resample_filter)

    def forward(self, x: Tensor, style: Tensor, rgb: Tensor | None = None) -> Tensor:
        # Pictures are added up in the precision of the weights.
        y = self.modulated(x, style).to(self.bias.dtype)
        y = bias_act(y, self.bias, clamp=self.clamp)
        return y if rgb is None else y + self.enlarge(rgb)


class Block(nn.Module):
    """The layers of one resolution. conv0 is absent from the first block."""

    conv0: StyledConv | None

    def __init__(self, conv0: StyledConv | None, conv1: StyledConv, torgb: ToRGB):
        super().__init__()
        self.conv0, self.conv1, self.torgb = conv0, conv1, torgb

    @property
    def convs(self) -> list[StyledConv]:
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    @property
    def layers(self) -> list[ModulatedConv]:
        return [*self.convs, self.torgb]

    def forward(self, canvas: Canvas, styles: Sequence[Tensor], noise: Noise) -> Canvas:
        x = canvas.feature
        for conv, style, added in zip(self.convs, styles[:-1], noise, strict=True):
            x = conv(x, style, added)
        return Canvas(x, self.torgb(x, styles[-1], canvas.rgb))


class Synthesis(nn.Module):
    """Codes → image. `feature_at` and `finish` cut the way in two at a chosen resolution."""

    blocks: Sequence[Block]  # a ModuleList

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        self.config = config
        first = config.channels(FIRST_SIZE)
        self.const = nn.Parameter(torch.randn(first, FIRST_SIZE, FIRST_SIZE))
        blocks = [self.make_block(size) for size in config.sizes]
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        for layer in (layer for block in blocks for layer in block.layers):
            layer.clamp = config.conv_clamp

    def make_block(self, size: int) -> Block:
        c, width = self.config, self.config.w_dim
        channels = c.channels(size)
        conv0 = None
        if size > FIRST_SIZE:
            conv0 = StyledConv(c.channels(size // 2), channels, width, size=size, up=True)
        conv1 = StyledConv(channels, channels, width, size=size, up=False)
        return Block(conv0, conv1, ToRGB(channels, c.img_channels, width))

    def tunable(self) -> list[nn.Module]:
        """What pivotal tuning may change: all but the learned constant."""
        return [*self.blocks]

    def code_affines(self) -> list[tuple[int, Tensor]]:
        """(code, weights [C, W] of the affine map that it goes through) of every convolution but
        those to colors."""
        convs = [conv for block in self.blocks for conv in block.convs]
        return [(index, conv.affine.weight) for index, conv in enumerate(convs)]

    def to_color(self) -> list[bool]:
        """Of every style, whether its layer draws colors."""
        return [isinstance(layer, ToRGB) for block in self.blocks for layer in block.layers]

    def styles(self, ws: Tensor) -> list[Tensor]:
        """W+ [B, L, W] → S: [B, C_in] per layer in order of execution, torgb last in a block."""
        assert ws.ndim == 3 and ws.shape[1] == self.config.num_ws, (
            f"{tuple(ws.shape)} codes for a generator of {self.config.num_ws}"
        )
        styles, index = [], 0
        for block in self.blocks:
            layers = block.layers
            styles += [layer.style(ws[:, index + k]) for k, layer in enumerate(layers)]
            index += len(layers) - 1  # torgb shares its code with the next block
        return styles

    def stored_noise(self) -> list[Tensor]:
        """The fixed noise that belongs to the weights."""
        return [conv.noise_const for block in self.blocks for conv in block.convs]

    def no_noise(self) -> list[None]:
        """A still picture, for video: stored noise would stick to the screen."""
        return [None] * sum(len(block.convs) for block in self.blocks)

    def start(self, batch: int) -> Canvas:
        """The learned constant."""
        return Canvas(self.const.expand(batch, -1, -1, -1))

    def forward(self, ws: Tensor, *, noise: Noise | None = None) -> Tensor:
        """W+ [B, L, W] → image [B, 3, R, R], about −1 … 1. noise: default `stored_noise()`."""
        return self.render_styles(self.styles(ws), noise=noise)

    def render_styles(self, styles: Sequence[Tensor], *, noise: Noise | None = None) -> Tensor:
        """S → image [B, 3, R, R]."""
        return self.run(self.start(len(styles[0])), styles, noise).picture

    def feature_at(self, ws: Tensor, size: int, *, noise: Noise | None = None) -> Canvas:
        """W+ → feature (the F of an F/S code) and picture behind the block of this size."""
        stop = self._block_of(size) + 1
        return self.run(self.start(len(ws)), self.styles(ws), noise, stop=stop)

    def advance(
        self, canvas: Canvas, ws: Tensor, size: int, *, noise: Noise | None = None
    ) -> Canvas:
        """Go on from behind one block to behind the block of `size`."""
        start, stop = self._block_of(canvas.feature.shape[-1]) + 1, self._block_of(size) + 1
        assert start <= stop, f"a feature of {canvas.feature.shape[-1]} is already beyond {size}"
        return self.run(canvas, self.styles(ws), noise, start=start, stop=stop)

    def finish(self, canvas: Canvas, ws: Tensor, *, noise: Noise | None = None) -> Tensor:
        """Feature [B, C, H, H] and W+ → image; without canvas.rgb the colors of the earlier
        blocks are missing, as in HairCLIPv2."""
        return self.advance(canvas, ws, self.config.resolution, noise=noise).picture

    def run(
        self,
        canvas: Canvas,
        styles: Sequence[Tensor],
        noise: Noise | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        before: Callable[[int, Canvas], Canvas] | None = None,
    ) -> Canvas:
        """Blocks start … stop − 1; styles and noise are those of all blocks.

        before: may change the canvas ahead of a block, by the block's index.
        """
        style, added = iter(styles), iter(self.stored_noise() if noise is None else noise)
        for index, block in enumerate(self.blocks[:stop]):
            own_styles = [next(style) for _ in block.layers]
            own_noise = [next(added) for _ in block.convs]
            if index >= start:
                canvas = before(index, canvas) if before else canvas
                canvas = block(canvas, own_styles, own_noise)
        return canvas

    def _block_of(self, size: int) -> int:
        sizes = self.config.sizes
        assert size in sizes, f"no block of {size} pixels in a generator of {sizes}"
        return sizes.index(size)


class Generator(generator.Generator[StyleGAN2Config]):
    """Mapping and synthesis of StyleGAN2."""

    synthesis_class = Synthesis
    synthesis: Synthesis


def mix_codes(coarse: Tensor, fine: Tensor, crossover: int) -> Tensor:
    """Style mixing: the first `crossover` codes of one W+ [B, L, W], the others of another."""
    assert coarse.shape == fine.shape and 0 <= crossover <= coarse.shape[1]
    return torch.cat([coarse[:, :crossover], fine[:, crossover:]], dim=1)
