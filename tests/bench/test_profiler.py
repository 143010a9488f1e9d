"""What the profiler counts and times, and that nothing stays behind."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from tests.models.tiny import TINY_STYLEGANEX, R, T, tiny_generator, tiny_stylegan2_config
from vidhair import ops
from vidhair.bench import counting
from vidhair.bench.counting import Work
from vidhair.bench.profiler import Profiler, counted
from vidhair.bench.render import make_scene, render
from vidhair.models.encoders.style import GradualEncoder, StyleEncoderConfig
from vidhair.models.generators import stylegan3
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import Extent
from vidhair.models.styleganex.network import StyleGANEXConfig

pytestmark = pytest.mark.usefixtures("one_thread")


def by_hand(generator: stylegan3.Generator, canvas: Extent) -> Work:
    """The arithmetic of StyleGAN3 from the sizes of its layers."""
    filters = 0
    resolution = generator.config.resolution
    first = generator.synthesis.geometries[0]
    before = canvas.at_rate(first.source.rate, resolution)
    # The Fourier features are mixed.
    convolution = first.source.channels**2
    convolution *= first.source.size + before.left + before.right
    convolution *= first.source.size + before.top + before.bottom
    for g in generator.synthesis.geometries:
        after = canvas.at_rate(g.result.rate, resolution)
        w = g.source.size + before.left + before.right + g.kernel - 1
        h = g.source.size + before.top + before.bottom + g.kernel - 1
        convolution += g.source.channels * g.result.channels * g.kernel**2 * w * h
        if not g.is_torgb:
            out_w = g.result.size + after.left + after.right
            out_h = g.result.size + after.top + after.bottom
            rows, columns = 2 * (out_h - 1) + 12, 2 * (out_w - 1) + 12
            plane = rows * (w + columns) * 6
            plane += out_h * out_w * 144 if g.radial else (rows + out_h) * out_w * 12
            filters += g.result.channels * plane
        before = after
    return Work(convolution, filters)


@pytest.mark.parametrize("configuration", [T, R], ids=["T", "R"])
@pytest.mark.parametrize("canvas", [Extent(), Extent(4, 3, 2, 8)], ids=["plain", "canvas"])
def test_stylegan3_counts_as_by_hand(configuration: dict[str, int], canvas: Extent) -> None:
    generator = tiny_generator(16, **configuration)
    ws = torch.randn(2, generator.config.num_ws, generator.config.w_dim)
    once = counted(lambda: generator.synthesis(ws[:1], canvas=canvas))
    assert once == by_hand(generator, canvas)
    twice = counted(lambda: generator.synthesis(ws, canvas=canvas))
    assert (twice.convolution, twice.filter) == (2 * once.convolution, 2 * once.filter)


class Dispatched(TorchDispatchMode):
    """Counts dense convolutions where torch hands them to the device."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[Any, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | torch.Tensor:
        result = func(*args, **kwargs or {})
        if func is torch.ops.aten.convolution.default and args[8] == 1:
            transposed = args[6]
            places = args[0] if transposed else result
            self.macs += places.numel() * args[1][0].numel()
        return result


@pytest.mark.parametrize("config", [tiny_stylegan2_config(), TINY_STYLEGANEX], ids=["SG2", "EX"])
def test_convolutions_of_other_generators(
    config: StyleGAN2Config | StyleGANEXConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels are counted as the convolutions that define them."""
    scene = make_scene(config, "cpu")
    with torch.no_grad():
        work = counted(lambda: render(*scene))
        monkeypatch.setenv("VIDHAIR_IMPL", "reference")
        with Dispatched() as dispatched:
            picture = render(*scene)
    assert picture.shape == (1, 3, config.resolution, config.resolution)
    assert work.convolution == dispatched.macs > 0
    assert work.filter > 0


def test_convolutions_that_begin_together() -> None:
    encoder = StyleEncoderConfig(num_ws=9, w_dim=16, widths=(4, 8, 8, 16), units=(1, 1, 1, 1))
    network, image = GradualEncoder(encoder).eval(), torch.zeros(2, 3, 256, 256)
    with torch.no_grad():
        alone = counted(lambda: network(image[:1])).convolution
        assert counted(lambda: network(image)).convolution == 2 * alone
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("VIDHAIR_IMPL", "reference")
            assert counted(lambda: network(image[:1])).convolution == alone > 0


def test_convolutions_agree_with_torchs_own_counter() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    x, weight = torch.zeros(2, 4, 9, 8), torch.zeros(6, 4, 3, 3)

    def call() -> torch.Tensor:
        y = F.conv2d(x, weight, padding=2, stride=2)
        return F.conv_transpose2d(y, weight, stride=2)

    with FlopCounterMode(display=False) as counter:
        call()
    assert counted(call).flop == counter.get_total_flops()


def test_a_depthwise_convolution_is_a_filter() -> None:
    x, weight = torch.zeros(1, 4, 8, 8), torch.zeros(4, 1, 3, 3)
    assert counted(lambda: F.conv2d(x, weight, groups=4)) == Work(filter=4 * 36 * 9)


def test_what_a_filter_calls_belongs_to_it() -> None:
    """The reference of filtered_lrelu calls upfirdn2d, which convolves."""
    generator = tiny_generator(16)
    network: Any = stylegan3
    x, f = torch.zeros(1, 3, 9, 9), torch.ones(12)
    arguments: dict[str, Any] = {
        "fu": f,
        "fd": f,
        "up": 2,
        "down": 2,
        "padding": 12,
        "impl": "reference",
    }
    with Profiler() as profiler:
        network.filtered_lrelu(x, **arguments)
    assert profiler.work == Work(filter=counting.filtered_lrelu(x, **arguments).filter)
    assert (profiler.filters.calls, profiler.convolutions.calls) == (1, 0)
    with Profiler() as profiler:
        generator.synthesis(torch.zeros(1, 16, 12), impl="reference")
    assert (profiler.filters.calls, profiler.convolutions.calls) == (14, 16)


def test_seconds_are_those_between_two_looks_at_the_clock() -> None:
    ticks = itertools.count()
    x, weight = torch.zeros(1, 4, 8, 8), torch.zeros(4, 4, 3, 3)
    waits = []
    with Profiler(lambda: waits.append(1), lambda: float(next(ticks))) as profiler:
        for _ in range(3):
            F.conv2d(x, weight)
    assert profiler.convolutions.seconds == 3.0 and profiler.convolutions.calls == 3
    assert len(waits) == 6, "before and after every call"


def test_everything_is_as_before_afterwards_and_after_a_failure() -> None:
    network: Any = stylegan3
    before = network.filtered_lrelu, ops.upfirdn2d
    with pytest.raises(ZeroDivisionError), Profiler():
        assert network.filtered_lrelu is not before[0]
        _ = 1 / 0
    assert (network.filtered_lrelu, ops.upfirdn2d) == before
    profiler = Profiler()
    with profiler, pytest.raises(RuntimeError):
        F.conv2d(torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 1, 1))
    with profiler:
        F.conv2d(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 1))
    assert profiler.convolutions.calls == 1, "a failed call counts for nothing"
