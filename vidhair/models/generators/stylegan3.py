"""StyleGAN3 (Karras et al. 2021), configurations T and R, at any resolution and width.

Shapes: B batch, Z, W widths of the latent spaces, L codes per image, C channels, H, W pixels.
Positions are in units of the image side, x right, y down, origin at the image centre.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vidhair.models.generators import generator
from vidhair.models.generators.mapping import EqualizedLinear, GeneratorConfig
from vidhair.models.generators.tiles import Pass, Plan, plan_tiles, rows_of_layers
from vidhair.ops import bias_act, filtered_lrelu
from vidhair.ops.fir import lowpass
from vidhair.ops.modulated_conv import modulated_conv
from vidhair.ops.remembered import Remembered

# Of all published models, in octaves: log2 of a number of cycles per image side.
FIRST_CUTOFF, FIRST_STOPBAND = 1.0, 2.1
LAST_TRANSITION = 0.3  # by which the last stop tile begins above the last cutoff
NUM_CRITICAL = 2
MARGIN = 10
FILTER_TAPS = 6
LRELU_UPSAMPLING = 2
CONV_CLAMP = 256
OUTPUT_SCALE = 0.25
W_AVG_BETA = 0.998
HALFWAY_RATE = 32  # of the layers between which hairstyles are blended (HairCLIPv2)


@dataclass(frozen=True, kw_only=True)
class StyleGAN3Config(GeneratorConfig):
    """The same number of codes at any resolution.

    conv_kernel 3 and separable filters make configuration T (translation), conv_kernel 1 and
    radial filters configuration R (translation and rotation).
    """

    mapping_layers: int = 2
    num_layers: int = 14
    conv_kernel: int = 3
    radial_filters: bool = False

    @property
    def num_ws(self) -> int:
        return self.num_layers + 2

    @property
    def level_ends(self) -> tuple[int, int]:
        """By the layers' rates, as far as they go, for there are none below 16; the first code, of
        the transform, is a coarse one."""
        rates = [geometry.result.rate for geometry in layer_geometries(self)]
        coarse, middle = (
            1 + sum(rate <= finest for rate in rates) for finest in (16, HALFWAY_RATE)
        )
        return coarse, middle


@dataclass(frozen=True)
class Signal:
    """What flows between two layers.

    size: samples of a side, margins included. rate: samples per image side. cutoff, half_width: end
    of the pass tile and half the transition to the stop tile, in cycles per image side.
    """

    channels: int
    size: int
    rate: int
    cutoff: float
    half_width: float


@dataclass(frozen=True)
class LayerGeometry:
    """What one layer takes and gives, and with which kernel and filters.

    radial: whether its downsampling filter is the same in every direction.
    """

    source: Signal
    result: Signal
    is_torgb: bool
    kernel: int
    radial: bool

    @property
    def internal_rate(self) -> int:
        """Rate at which the nonlinearity runs."""
        return max(self.source.rate, self.result.rate) * (1 if self.is_torgb else LRELU_UPSAMPLING)

    @property
    def up(self) -> int:
        return round(self.internal_rate / self.source.rate)

    @property
    def down(self) -> int:
        return round(self.internal_rate / self.result.rate)

    @property
    def up_taps(self) -> int:
        return FILTER_TAPS * self.up if self.up > 1 and not self.is_torgb else 1

    @property
    def down_taps(self) -> int:
        return FILTER_TAPS * self.down if self.down > 1 and not self.is_torgb else 1

    def padding(self, extent_in: "Extent", extent_out: "Extent") -> tuple[int, int, int, int]:
        """Padding of the upsampled signal (x before, after, y before, after).

        The centres of input and output are to coincide. In samples of the internal rate, counted
        from there, the outermost output lies at (out_size − 1)/2·down and reads half of each
        filter's length beyond; the outermost sample of the padded convolution lies at
        (in_size + kernel − 2)/2·up. What lacks between the two is padded, the odd half before; of
        that after, the zeros which upsampling leaves behind the last sample are part. k samples
        more on one side of the input or output move that edge by k·up or k·down.
        """
        outermost = (self.result.size - 1) * self.down
        reach = (self.up_taps - 1) + (self.down_taps - 1)
        there = (self.source.size + self.kernel - 2) * self.up
        lack = (outermost + reach - there) / 2
        before, after = math.ceil(lack), math.floor(lack) - (self.up - 1)
        i, o = extent_in, extent_out
        return (
            before + o.left * self.down - i.left * self.up,
            after + o.right * self.down - i.right * self.up,
            before + o.top * self.down - i.top * self.up,
            after + o.bottom * self.down - i.bottom * self.up,
        )

    def over(self, extent_in: "Extent", extent_out: "Extent") -> Pass:
        """This layer over a picture of a larger extent."""
        (in_width, in_height), (out_width, out_height) = (
            (size + e.left + e.right, size + e.top + e.bottom)
            for size, e in ((self.source.size, extent_in), (self.result.size, extent_out))
        )
        return Pass(
            kernel=self.kernel,
            up=self.up,
            down=self.down,
            up_taps=self.up_taps,
            down_taps=self.down_taps,
            padding=self.padding(extent_in, extent_out),
            in_channels=self.source.channels,
            out_channels=self.result.channels,
            height=in_height,
            width=in_width,
            out_height=out_height,
            out_width=out_width,
        )


@dataclass(frozen=True)
class Extent:
    """Samples (or pixels) beyond each side of the nominal square; never negative."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        assert min(self.left, self.top, self.right, self.bottom) >= 0, f"negative extent {self}"

    def at_rate(self, rate: int, resolution: int) -> "Extent":
        """The smallest whole number of samples at `rate` that covers these pixels."""
        sides = (self.left, self.top, self.right, self.bottom)
        return Extent(*(-(-side * rate // resolution) for side in sides))


def signals(config: StyleGAN3Config) -> list[Signal]:
    """What the layers L0 … L{n−1} and ToRGB give (Karras et al. 2021, section 3.2, appendix F).

    Cutoff f_c and begin of the stop tile f_t grow by equal ratios from layer to layer, so by equal
    steps in octaves, up to the critical layers, whose cutoff is half the resolution. The rate s is
    the lowest power of two that carries f_t, as far as the resolution allows; the transition uses
    what room the rate leaves: half its width is f_h = max(f_t, s/2) − f_c. The number of channels
    is inversely proportional to f_c.
    """
    n, resolution = config.num_layers, config.resolution
    top = math.log2(resolution)
    growing = 0, n - NUM_CRITICAL
    cutoffs, stopbands = (
        np.interp(np.arange(n + 1), growing, octaves)
        for octaves in ((FIRST_CUTOFF, top - 1), (FIRST_STOPBAND, top - 1 + LAST_TRANSITION))
    )

    def signal(index: int) -> Signal:
        f_c, f_t = float(2 ** cutoffs[index]), float(2 ** stopbands[index])
        # Where 2·f_t is a power of two, errors of rounding must not double the rate.
        rate = 2 ** math.ceil(min(round(stopbands[index] + 1, 9), top))
        picture = index == n
        channels = min(config.channel_base / 2 / f_c, config.channel_max)
        return Signal(
            channels=config.img_channels if picture else round(channels),
            size=resolution if index >= n - 1 else rate + 2 * MARGIN,
            rate=rate,
            cutoff=f_c,
            half_width=max(f_t, rate / 2) - f_c,
        )

    return [signal(index) for index in range(n + 1)]


def layer_geometries(config: StyleGAN3Config) -> list[LayerGeometry]:
    """The layers L0 … L{n−1} and ToRGB; the Fourier features are sampled as what L0 gives."""
    results = signals(config)
    last = len(results) - 1
    return [
        LayerGeometry(
            source=source,
            result=result,
            is_torgb=index == last,
            kernel=1 if index == last else config.conv_kernel,
            radial=config.radial_filters and index < last - NUM_CRITICAL,
        )
        for index, (source, result) in enumerate(pairwise([results[0], *results]))
    ]


def designed_filters(g: LayerGeometry) -> tuple[Tensor | None, Tensor | None]:
    """The low-pass filters before and after the nonlinearity; None for a single tap."""
    up = lowpass(g.up_taps, g.source.cutoff, g.source.half_width, g.internal_rate)
    out = g.result
    down = lowpass(g.down_taps, out.cutoff, out.half_width, g.internal_rate, radial=g.radial)

    def tensor(taps: NDArray[Any] | None) -> Tensor | None:
        return None if taps is None else torch.as_tensor(taps, dtype=torch.float32)

    return tensor(up), tensor(down)


class FourierInput(nn.Module):
    """Fourier features of the plane that a transform moves (Karras et al. 2021, appendix F).

    Feature k is the wave sin 2π(f_k·p + φ_k) of the position p, with f_k anywhere within the disc
    of the pass tile. Where a transform M takes p to Ap + t it is sin 2π(fᵀA·p + φ + f·t): the wave
    of another frequency and phase. M is the caller's transform, then the learned one: minus (x, y),
    then turned by R, so with g = fᵀR and the caller's A, t the frequency is gA and the phase
    φ + g·(t − (x, y)).
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(self, config: StyleGAN3Config, signal: Signal):
        super().__init__()
        self.signal = signal
        channels = signal.channels
        # Of normal deviates in a plane the share exp(−r²/2) lies beyond the radius r, and so is
        # itself uniform. Waves whose disc holds that share of the tile's area fill the tile evenly.
        deviates = torch.randn(channels, 2)
        radius = deviates.norm(dim=1, keepdim=True)
        share = torch.exp(-radius.square() / 2)
        waves = signal.cutoff * share.sqrt() * deviates / radius
        self.weight = nn.Parameter(torch.randn(channels, channels))
        self.affine = EqualizedLinear(config.w_dim, 4)
        upright = torch.tensor([1.0, 0, 0, 0])
        self.affine.load_state_dict({"weight": torch.zeros(4, config.w_dim), "bias": upright})
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", waves)
        self.register_buffer("phases", torch.rand(channels) - 0.5)

    def style(self, w: Tensor) -> Tensor:
        """[B, W] → [B, 4]: (cos, sin, x, y) of the learned transform, already normalised."""
        t = self.affine(w)
        result: Tensor = t / t[:, :2].norm(dim=1, keepdim=True)
        return result

    def waves(self, style: Tensor, transform: Tensor) -> tuple[Tensor, Tensor]:
        """Frequencies [B, C, 2] and phases [B, C] under style [B, 4], then transform [3, 3]s."""
        (fx, fy), (cos, sin) = self.freqs.unbind(1), style[:, :2, None].unbind(1)
        turned = torch.stack([fx * cos + fy * sin, fy * cos - fx * sin], dim=2)
        linear, moved = transform[..., :2, :2], transform[..., :2, 2] - style[:, 2:]
        return turned @ linear, self.phases + (turned @ moved[:, :, None]).squeeze(2)

    def forward(self, style: Tensor, transform: Tensor | None, extent: Extent) -> Tensor:
        """style [B, 4], transform [3, 3] or [B, 3, 3] → features [B, C, H, W]."""
        freqs, phases = self.waves(
            style, self.transform if transform is None else transform.to(style)
        )
        # A transform may not raise frequencies above what the signal can carry: waves fade out
        # between the cutoff and half the rate.
        nyquist, cutoff = self.signal.rate / 2, self.signal.cutoff
        amplitudes = ((nyquist - freqs.norm(dim=2)) / (nyquist - cutoff)).clamp(0, 1)

        def positions(before: int, after: int) -> Tensor:
            index = torch.arange(-before, self.signal.size + after, device=style.device)
            return (index + 0.5 - self.signal.size / 2) / self.signal.rate

        xs, ys = positions(extent.left, extent.right), positions(extent.top, extent.bottom)
        # sin(x + y) = sin x cos y + cos x sin y: sines for rows and columns, not for pixels.
        along_x = xs[:, None] * freqs[:, None, :, 0] * (2 * torch.pi)
        along_y = (ys[:, None] * freqs[:, None, :, 1] + phases[:, None]) * (2 * torch.pi)
        (sin_x, cos_x), (sin_y, cos_y) = ((a.sin(), a.cos()) for a in (along_x, along_y))
        features_BHWC = sin_y[:, :, None] * cos_x[:, None] + cos_y[:, :, None] * sin_x[:, None]
        mix = self.weight[:, :, None, None] / self.signal.channels**0.5
        return modulated_conv(features_BHWC.permute(0, 3, 1, 2), mix, amplitudes, None)


def normalised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """[C_out, C_in, kh, kw] → the weight with a mean square of one per output channel, and its
    squares summed over the taps [C_out, C_in]."""
    weight = weight * weight.square().mean([1, 2, 3], keepdim=True).rsqrt()
    return weight, weight.square().sum([2, 3])


class SynthesisLayer(nn.Module):
    """Modulated convolution, bias and filtered leaky ReLU; for ToRGB only the first two."""

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(self, geometry: LayerGeometry, w_dim: int):
        super().__init__()
        g = self.geometry = geometry
        inputs, outputs = g.source.channels, g.result.channels
        self.affine = EqualizedLinear(w_dim, inputs, bias_init=1)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, g.kernel, g.kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones([]))
        self.magnitude_beta: float | None = None  # set while training from scratch
        self._normalised = Remembered(normalised)
        # Filters follow from the configuration, so they are not part of the weights.
        up, down = designed_filters(g)
        self.register_buffer("up_filter", up, persistent=False)
        self.register_buffer("down_filter", down, persistent=False)

    def style(self, w: Tensor) -> Tensor:
        """[B, W] → [B, C_in]: one scale per input channel (the S space)."""
        s = self.affine(w)
        if self.geometry.is_torgb:
            s = s / self.geometry.source.channels**0.5
        result: Tensor = s
        return result

    def forward(
        self,
        x: Tensor,
        style: Tensor,
        extent_in: Extent = Extent(),
        extent_out: Extent = Extent(),
        *,
        impl: str = "auto",
    ) -> Tensor:
        """x [B, C_in, H, W], style [B, C_in] → [B, C_out, H', W']."""
        padding = self.geometry.padding(extent_in, extent_out)
        return self.activate(self.convolve(x, style), padding, impl=impl)

    def activate(
        self, x: Tensor, padding: tuple[int, int, int, int], *, impl: str = "auto"
    ) -> Tensor:
        """What follows the convolution; padding: of the upsampled signal."""
        g = self.geometry
        if g.is_torgb:
            return bias_act(x, self.bias, clamp=CONV_CLAMP)
        return filtered_lrelu(
            x,
            fu=self.up_filter,
            fd=self.down_filter,
            b=self.bias,
            up=g.up,
            down=g.down,
            padding=padding,
            clamp=CONV_CLAMP,
            impl=impl,
        )

    def convolve(self, x: Tensor, style: Tensor) -> Tensor:
        """Modulated convolution: w'_oi = w_oi·s_i / ‖w_o·s‖ (Karras et al. 2020, eq. 3).

        Scaling the input by the style and the output by the demodulation equals a convolution with
        a weight per sample, so a batch shares one weight; a single sample has the weight scaled.
        """
        g = self.geometry
        weight: Tensor = self.weight
        demodulation = None
        if not g.is_torgb:
            weight, energy = self._normalised.of(weight)
            style = style * style.square().mean(1, keepdim=True).rsqrt()
            demodulation = (style.square() @ energy.t() + 1e-8).rsqrt()
        if self.magnitude_beta is not None:
            magnitude = x.detach().float().square().mean()
            self.magnitude_ema.lerp_(magnitude, 1 - self.magnitude_beta)
        style = style * self.magnitude_ema.rsqrt()
        return modulated_conv(x, weight, style, demodulation, padding=g.kernel - 1)


@dataclass(frozen=True)
class Course:
    """How layers run over a canvas. extent: of the Fourier features; memory: None for no bound."""

    extent: Extent
    passes: tuple[Pass, ...]
    plan: Plan
    memory: int | None

    def batches(self, count: int) -> list[slice]:
        """Of so many pictures those that are drawn together."""
        together = count if self.memory is None else max(1, self.memory // self.plan.bytes)
        return [slice(at, at + together) for at in range(0, count, together)]


class Synthesis(nn.Module):
    """Codes → image.

    expands: whether it draws beyond the aligned crop.
    """

    expands = True
    layers: Sequence[SynthesisLayer]  # a ModuleList

    def __init__(self, config: StyleGAN3Config):
        super().__init__()
        self.config = config
        self.geometries = layer_geometries(config)
        self.input = FourierInput(config, self.geometries[0].source)
        layers = [SynthesisLayer(g, config.w_dim) for g in self.geometries]
        self.layers = nn.ModuleList(layers)  # type: ignore[assignment]

    def tunable(self) -> list[nn.Module]:
        """What pivotal tuning may change: all but the Fourier features."""
        return [*self.layers]

    def code_affines(self) -> list[tuple[int, Tensor]]:
        """(code, weights [C, W] of the affine map that it goes through) of every layer but ToRGB.

        The transform's is none of them: it turns and moves the picture."""
        return [(index + 1, layer.affine.weight) for index, layer in enumerate(self.layers[:-1])]

    def to_color(self) -> list[bool]:
        """Of every style, whether its layer draws colors."""
        return [False, *(layer.geometry.is_torgb for layer in self.layers)]

    def styles(self, ws: Tensor) -> list[Tensor]:
        """W+ [B, L, W] → S: the input's [B, 4], then [B, C_in] per layer, ToRGB last."""
        assert ws.ndim == 3 and ws.shape[1] == self.config.num_ws, (
            f"{tuple(ws.shape)} codes for a generator of {self.config.num_ws}"
        )
        ws = ws.to(self.input.affine.weight.dtype)
        codes = ws.unbind(1)
        pairs = zip(self.layers, codes[1:], strict=True)
        return [self.input.style(codes[0]), *(layer.style(w) for layer, w in pairs)]

    def forward(
        self,
        ws: Tensor,
        *,
        transform: Tensor | None = None,
        canvas: Extent = Extent(),
        dtype: torch.dtype = torch.float32,
        memory: int | None = None,
        impl: str = "auto",
    ) -> Tensor:
        """W+ [B, L, W] → image [B, 3, H, W], about −1 … 1; see `render_styles`."""
        return self.render_styles(
            self.styles(ws),
            transform=transform,
            canvas=canvas,
            dtype=dtype,
            memory=memory,
            impl=impl,
        )

    def render_styles(
        self,
        styles: Sequence[Tensor],
        *,
        transform: Tensor | None = None,
        canvas: Extent = Extent(),
        dtype: torch.dtype = torch.float32,
        memory: int | None = None,
        impl: str = "auto",
    ) -> Tensor:
        """S → image [B, 3, top + R + bottom, left + R + right] in float32.

        transform: [3, 3] or [B, 3, 3], maps positions in the image to positions in the aligned
        face: the inverse of the movement that is wanted of the picture. Default: the one stored.
        canvas: pixels to render beyond each side. The Fourier features are evaluated on a larger
        grid and every layer keeps the extent it needs, so the cost grows with the area.
        dtype: of the activations; float32, bfloat16 or, on GPUs, float16. memory: bytes that they
        may take at a time. Fewer pictures at once keep that bound, then tiles of them (`tiles`), as
        far as that goes; for pictures without gradients. Default: no bound.
        """
        course = self._course(canvas, dtype, memory)
        pictures = []
        for some in course.batches(len(styles[0])):
            x = self._input_of(styles, some, transform, course).to(dtype)
            pictures.append(self._drawn(x, [style[some] for style in styles[1:]], course, impl))
        return pictures[0] if len(pictures) == 1 else torch.cat(pictures)

    # ---- the way in two halves, to blend between them

    @property
    def halfway_layer(self) -> int:
        """The last layer whose result has HALFWAY_RATE samples per side, or the last one before the
        critical layers, where none is as fine."""
        rates = [g.result.rate for g in self.geometries[: -1 - NUM_CRITICAL]]
        return max(index for index, rate in enumerate(rates) if rate <= HALFWAY_RATE)

    @property
    def halfway_codes(self) -> int:
        """How many codes, the first ones, decide the first half."""
        return self.halfway_layer + 2

    @property
    def halfway_cutoff(self) -> float:
        """Finest waves of what is halfway, in cycles per image side."""
        return self.geometries[self.halfway_layer].result.cutoff

    def halfway(
        self,
        styles: Sequence[Tensor],
        *,
        transform: Tensor | None = None,
        canvas: Extent = Extent(),
        dtype: torch.dtype = torch.float32,
        memory: int | None = None,
        impl: str = "auto",
    ) -> tuple[Tensor, ...]:
        """S → what the layers up to `halfway_layer` make, ([B, C, h, w],); see `render_styles`."""
        course, halves = self._course(canvas, dtype, memory), []
        for some in course.batches(len(styles[0])):
            x = self._input_of(styles, some, transform, course).to(dtype)
            own = (style[some] for style in styles[1:])
            for layer, style, whole in list(zip(self.layers, own, course.passes, strict=True))[
                : self.halfway_layer + 1
            ]:
                x = layer.activate(layer.convolve(x, style), whole.padding, impl=impl)
            halves.append(x)
        return (halves[0] if len(halves) == 1 else torch.cat(halves),)

    def finished(
        self,
        half: tuple[Tensor, ...],
        styles: Sequence[Tensor],
        *,
        transform: Tensor | None = None,
        canvas: Extent = Extent(),
        memory: int | None = None,
        impl: str = "auto",
    ) -> Tensor:
        """What `halfway` gave, and S → image; with the same S it is that of `render_styles`, bit
        for bit, unless memory is so short that the first half, too, would be drawn in tiles."""
        (features,) = half
        course, pictures = self._course(canvas, features.dtype, memory), []
        for some in course.batches(len(features)):
            own = [style[some] for style in styles[1:]]
            first = self.halfway_layer + 1
            pictures.append(self._drawn(features[some], own, course, impl, first))
        return pictures[0] if len(pictures) == 1 else torch.cat(pictures)

    def halfway_places(self, transform: Tensor, canvas: Extent = Extent()) -> tuple[Tensor, ...]:
        """Where the samples of what is halfway lie in the picture, in its sides from its centre:
        ([B, h, w, 2],), x right, y down. transform: [B, 3, 3]."""
        signal = self.geometries[self.halfway_layer].result
        extent = canvas.at_rate(signal.rate, self.config.resolution)

        def positions(before: int, after: int) -> Tensor:
            index = torch.arange(-before, signal.size + after, device=transform.device)
            return (index + 0.5 - signal.size / 2) / signal.rate

        x, y = positions(extent.left, extent.right), positions(extent.top, extent.bottom)
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        return (places.expand(len(transform), -1, -1, -1),)

    # ---- how a picture is drawn

    def _course(self, canvas: Extent, dtype: torch.dtype, memory: int | None) -> "Course":
        rates = [self.geometries[0].source.rate, *(g.result.rate for g in self.geometries)]
        extents = [canvas.at_rate(rate, self.config.resolution) for rate in rates]
        pairs = zip(self.geometries, pairwise(extents), strict=True)
        passes = tuple(g.over(*pair) for g, pair in pairs)
        return Course(extents[0], passes, plan_tiles(passes, dtype.itemsize, memory), memory)

    def _input_of(
        self, styles: Sequence[Tensor], some: slice, transform: Tensor | None, course: "Course"
    ) -> Tensor:
        if transform is not None and transform.ndim == 3:
            transform = transform[some]
        features: Tensor = self.input(styles[0][some], transform, course.extent)
        return features

    def _drawn(
        self, x: Tensor, styles: list[Tensor], course: "Course", impl: str, first: int = 0
    ) -> Tensor:
        """The picture of Fourier features x and the layers' styles. first: the layer that takes x,
        where those before have run already."""
        passes, split = course.passes, max(course.plan.split, first)
        steps = list(zip(self.layers, styles, passes, strict=True))
        for layer, style, whole in steps[first:split]:
            x = layer.convolve(x, style)
            x = layer.activate(x, whole.padding, impl=impl)
        if split == len(steps):
            return x.float() * OUTPUT_SCALE
        last = passes[-1]
        shape = len(x), last.out_channels, last.out_height, last.out_width
        picture = x.new_empty(shape, dtype=torch.float32)
        for tile in course.plan.tiles:
            rows = rows_of_layers(passes[split:], tile)
            seen = rows[0][0]
            part = x[:, :, seen.start : seen.stop]
            for (layer, style, whole), pair in zip(steps[split:], rows, strict=True):
                part = layer.convolve(part, style)
                part = layer.activate(part, whole.padding_of(*pair), impl=impl)
            picture[:, :, tile.start : tile.stop] = part.float() * OUTPUT_SCALE
        return picture

    def layer_outputs(self, ws: Tensor, *, transform: Tensor | None = None) -> list[Tensor]:
        """The Fourier features and the output of every layer, for analysis and tests."""
        styles = self.styles(ws)
        outputs = [self.input(styles[0], transform, Extent())]
        for layer, style in zip(self.layers, styles[1:], strict=True):
            outputs.append(layer(outputs[-1], style))
        return outputs


class Generator(generator.Generator[StyleGAN3Config]):
    """Mapping and synthesis of StyleGAN3."""

    synthesis_class = Synthesis
    synthesis: Synthesis


def make_transform(translate: tuple[float, float], angle_deg: float, scale: float = 1) -> Tensor:
    """[3, 3] float64: turns the picture counter-clockwise, scales it, moves it right and down.

    translate: in units of the image side. `Synthesis` takes the inverse.
    """
    a = np.deg2rad(angle_deg)
    c, s = np.cos(a) * scale, np.sin(a) * scale
    x, y = translate
    return torch.tensor([[c, s, x], [-s, c, y], [0, 0, 1]], dtype=torch.float64)
