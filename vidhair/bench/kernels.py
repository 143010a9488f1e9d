"""Single ops, in the shapes in which the generators call them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidhair.bench import counting
from vidhair.bench.baseline import Baseline
from vidhair.bench.benchmark import Candidate, Case
from vidhair.bench.generators import STYLEGAN2, STYLEGAN3
from vidhair.bench.options import Options, check_known, name_of
from vidhair.errors import InvalidSetting
from vidhair.models.generators.stylegan2 import FIRST_SIZE, RESAMPLING_TAPS, StyleGAN2Config
from vidhair.models.generators.stylegan3 import (
    CONV_CLAMP,
    Extent,
    LayerGeometry,
    StyleGAN3Config,
    designed_filters,
    layer_geometries,
)
from vidhair.ops.bias_act import op as bias_act_op
from vidhair.ops.dispatch import Op
from vidhair.ops.filtered_lrelu import op as filtered_lrelu_op
from vidhair.ops.modulated_conv import op as modulated_conv_op
from vidhair.ops.upfirdn2d import op as upfirdn2d_op
from vidhair.ops.upfirdn2d import setup_filter
from vidhair.ops.upsampling_conv import op as upsampling_conv_op

DTYPES = ("float32",)
QUICK = ("256-T", "256-R", "256-SG2")
EVERY = 4  # with --quick, every fourth shape of a generator

Call = tuple[Op, tuple[Any, ...], dict[str, Any]]  # an op, and its arguments
Make = Callable[[str, torch.dtype], Call]  # device and dtype of the picture → call


def cases(options: Options, dtypes: Sequence[torch.dtype]) -> list[Case]:
    """One per op and shape. Raises InvalidSetting."""
    check_known("--op", options.ops, counting.OPS)
    wanted = _played_by(options.baseline, options.ops) or options.ops or tuple(counting.OPS)
    chosen = options.choose({**STYLEGAN3, **STYLEGAN2}, QUICK)
    made: list[Case] = []
    for dtype in dtypes:
        for config_name, config in chosen.items():
            if isinstance(config, StyleGAN3Config):
                calls = list(stylegan3_calls(config))
            else:
                assert isinstance(config, StyleGAN2Config)
                calls = list(stylegan2_calls(config))
            for name in counting.OPS:
                found = [(where, make) for op, where, make in calls if op == name in wanted]
                for where, make in found[:: EVERY if options.quick else 1]:
                    title = f"{config_name} {where} {name}"
                    title += "" if dtype == torch.float32 else f" {name_of(dtype)}"
                    made.append(Case(title, partial(_candidates, name, make, dtype, options)))
    if not made:
        raise InvalidSetting(
            f"{', '.join(chosen)} do not call {', '.join(wanted)}; choose another --config or --op"
        )
    return made


def _played_by(baseline: Baseline | None, ops: Sequence[str]) -> Sequence[str] | None:
    """The op that a foreign function takes the part of; None if there is none."""
    if baseline is None:
        return None
    if len(ops) > 1:
        raise InvalidSetting(f"--vs {baseline.name} is one op; name it alone with --op")
    if ops:
        return ops
    name = baseline.name.rpartition(":")[2].rpartition(".")[2]
    if name not in counting.OPS:
        raise InvalidSetting(
            f"--vs {baseline.name} is not named after an op; say with --op which of "
            f"{', '.join(counting.OPS)} it is"
        )
    return [name]


def _candidates(name: str, make: Make, dtype: torch.dtype, options: Options) -> list[Candidate]:
    """Every implementation that accepts the call, the reference, and the third-party one."""
    torch.manual_seed(0)
    op, args, kwargs = make(options.device, dtype)
    work = counting.OPS[name](*args, **kwargs)
    reasons = [(i, i.refusal(*args, **kwargs)) for i in op.fast]
    calls = {i.name: i.call for i, reason in reasons if reason is None}
    calls["reference"] = op.reference
    if options.baseline is not None:
        calls[options.baseline.name] = options.baseline
    note = "; ".join(f"{i.name} declines: {reason}" for i, reason in reasons if reason)

    candidates = [
        Candidate(by, partial(call, *args, **kwargs), work, dtype) for by, call in calls.items()
    ]
    return [replace(candidates[0], note=note), *candidates[1:]]


def stylegan3_calls(config: StyleGAN3Config) -> Iterator[tuple[str, str, Make]]:
    """(op, where, call) for every shape; layers alike are named together."""
    alike: dict[tuple[Any, ...], list[int]] = {}
    geometries = layer_geometries(config)
    for index, g in enumerate(geometries):
        sizes = (g.source.channels, g.result.channels, g.source.size, g.result.size)
        alike.setdefault((*sizes, g.up, g.down, g.radial, g.is_torgb), []).append(index)
    for layers in alike.values():
        g = geometries[layers[0]]
        where = "ToRGB" if g.is_torgb else " ".join(f"L{index}" for index in layers)
        yield "modulated_conv", where, _modulated_conv(g)
        if g.is_torgb:
            yield "bias_act", where, _bias_act(g.result.channels, g.result.size, clamp=CONV_CLAMP)
        else:
            yield "filtered_lrelu", where, _filtered_lrelu(g)


def stylegan2_calls(config: StyleGAN2Config) -> Iterator[tuple[str, str, Make]]:
    """(op, where, call) for every resolution."""
    for size in config.sizes:
        channels, where = config.channels(size), f"block {size}"
        yield "modulated_conv", f"{where} conv1", _styled_conv(channels, size)
        yield "bias_act", f"{where} ToRGB", _bias_act(config.img_channels, size, clamp=None)
        if size > FIRST_SIZE:
            yield "upsampling_conv", f"{where} conv0", _upsampling_conv(config, size)
            enlarge = _upfirdn2d(config.img_channels, size // 2, up=2, padding=(2, 1, 2, 1), gain=4)
            yield "upfirdn2d", f"{where} picture", enlarge


def _styled_conv(channels: int, size: int) -> Make:
    def make(device: str, dtype: torch.dtype) -> Call:
        weight = torch.randn(channels, channels, 3, 3, device=device)
        style, demodulation = torch.rand(2, 1, channels, device=device)
        x = _picture(channels, size, device, dtype)
        return modulated_conv_op(), (x, weight, style, demodulation), {"padding": 1}

    return make


def _upsampling_conv(config: StyleGAN2Config, size: int) -> Make:
    inputs, outputs = config.channels(size // 2), config.channels(size)

    def make(device: str, dtype: torch.dtype) -> Call:
        x = _picture(inputs, size // 2, device, dtype)
        weight = torch.randn(outputs, inputs, 3, 3, device=device)
        style, demodulation = (torch.rand(1, c, device=device) for c in (inputs, outputs))
        return upsampling_conv_op(), (x, weight, style, demodulation), {}

    return make


def _filtered_lrelu(g: LayerGeometry) -> Make:
    def make(device: str, dtype: torch.dtype) -> Call:
        up, down = (None if f is None else f.to(device) for f in designed_filters(g))
        side = g.source.size + g.kernel - 1
        arguments = {
            "fu": up,
            "fd": down,
            "b": torch.randn(g.result.channels, device=device),
            "up": g.up,
            "down": g.down,
            "padding": g.padding(Extent(), Extent()),
            "clamp": CONV_CLAMP,
        }
        return filtered_lrelu_op(), (_picture(g.result.channels, side, device, dtype),), arguments

    return make


def _modulated_conv(g: LayerGeometry) -> Make:
    def make(device: str, dtype: torch.dtype) -> Call:
        x = _picture(g.source.channels, g.source.size, device, dtype)
        shape = g.result.channels, g.source.channels, g.kernel, g.kernel
        weight = torch.randn(shape, device=device)
        style = torch.randn(1, g.source.channels, device=device)
        demodulation = None if g.is_torgb else torch.rand(1, g.result.channels, device=device)
        call = (x, weight, style, demodulation), {"padding": g.kernel - 1}
        return modulated_conv_op(), *call

    return make


def _upfirdn2d(channels: int, side: int, **arguments: Any) -> Make:
    def make(device: str, dtype: torch.dtype) -> Call:
        f = setup_filter(RESAMPLING_TAPS, separable=True).to(device)
        return upfirdn2d_op(), (_picture(channels, side, device, dtype), f), arguments

    return make


def _bias_act(channels: int, side: int, **arguments: Any) -> Make:
    def make(device: str, dtype: torch.dtype) -> Call:
        b = torch.randn(channels, device=device)
        return bias_act_op(), (_picture(channels, side, device, dtype), b), arguments

    return make


def _picture(channels: int, side: int, device: str, dtype: torch.dtype) -> Tensor:
    return torch.randn(1, channels, side, side, device=device).to(dtype)
