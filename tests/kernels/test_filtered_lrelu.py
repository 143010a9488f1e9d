"""One contract, every fast implementation of filtered leaky ReLU."""

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.tolerances import assert_close
from vidhair.errors import DeviceUnavailable
from vidhair.models.generators.stylegan3 import Extent, StyleGAN3Config, layer_geometries
from vidhair.ops import filtered_lrelu
from vidhair.ops.dispatch import Implementation
from vidhair.ops.filtered_lrelu import op, reference

# (N, C, H, W), up, padding: x before, after, y before, after
SHAPES = {
    "up 2": ((2, 5, 20, 17), 2, (9, 8, 9, 8)),
    "up 4": ((2, 5, 12, 11), 4, (7, 6, 7, 6)),
    "larger than a tile": ((1, 2, 150, 75), 2, (9, 8, 9, 8)),
    "larger than a tile, up 4": ((1, 2, 70, 43), 4, (9, 8, 9, 8)),
    "odd paddings": ((2, 3, 7, 13), 2, (10, 5, 13, 8)),
    "odd paddings, up 4": ((2, 3, 7, 5), 4, (9, 14, 3, 17)),
    "all sides cropped": ((1, 3, 24, 21), 2, (-3, -5, -4, -2)),
    "all sides cropped, up 4": ((1, 3, 17, 16), 4, (-9, -6, -7, -13)),
    "cropped and padded": ((2, 2, 14, 11), 2, (20, -9, -7, 18)),
    "cropped more than there is": ((1, 2, 1, 11), 2, (10, 5, -3, 24)),
    "one pixel": ((1, 1, 1, 1), 2, (15, 12, 14, 15)),
    "one pixel, up 4": ((1, 1, 1, 1), 4, (20, 15, 23, 17)),
    "one row": ((1, 2, 1, 9), 2, (9, 8, 15, 15)),
    "one column": ((3, 1, 9, 1), 4, (17, 18, 9, 8)),
    "one sample out": ((1, 2, 6, 6), 2, (6, 5, 5, 6)),
    "many planes": ((3, 67, 6, 6), 2, (9, 8, 9, 8)),
    "no batch": ((0, 3, 9, 9), 2, (9, 8, 9, 8)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "clamp": {"clamp": 0.4},
    "flip": {"flip_filter": True},
    "gain": {"gain": 0.7, "slope": 0.0},
    "linear": {"slope": 1.0},
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mirrored(*taps: int, seed: int = 2) -> torch.Tensor:
    """A filter that is the same from either end of every axis, as those of StyleGAN3 are."""
    f = random(*taps, seed=seed) / sum(taps)
    for axis in range(f.ndim):
        f = f + f.flip(axis)
    return f


def arguments(up: int, channels: int, radial: bool = False) -> dict[str, Any]:
    fd = mirrored(12, 12) if radial else mirrored(12)
    fu = mirrored(6 * up, seed=1)
    return {"fu": fu, "fd": fd, "b": random(channels, seed=3), "up": up, "down": 2}


def with_gradients(
    call: Callable[..., Any],
    x: torch.Tensor,
    b: torch.Tensor | None,
    dy: torch.Tensor | None,
    options: Any,
) -> Any:
    """y, dx, db of a call."""
    x = x.detach().requires_grad_()
    b = None if b is None else b.detach().clone().requires_grad_()
    y = call(x, b=b, **options)
    y.backward(torch.ones_like(y) if dy is None else dy.to(y.dtype))
    return y, x.grad, None if b is None else b.grad


@pytest.fixture(params=["numba"])  # those for GPUs have tests of their own, in `gpu`
def implementation(request: pytest.FixtureRequest) -> Implementation:
    (found,) = (i for i in op().fast if i.name == request.param)
    return found


class TestContract:
    """What every implementation does as the reference does it in float64, wherever it accepts."""

    def compare(
        self,
        implementation: Implementation,
        x: torch.Tensor,
        options: dict[str, Any],
        dy: Any = None,
    ) -> None:
        reason = implementation.refusal(x, **options)
        if reason is not None:
            pytest.skip(f"{implementation.name} declines: {reason}")
        options, bias = {**options}, options["b"]
        del options["b"]
        exact = x.double(), None if bias is None else bias.double()
        shape = reference(exact[0], b=exact[1], **options).shape
        dy = random(*shape, seed=4).to(x.dtype) if dy is None else dy
        got = with_gradients(implementation.call, x, bias, dy, options)
        want = with_gradients(reference, *exact, dy, options)
        assert got[0].dtype == x.dtype and got[1].dtype == x.dtype
        for result, definition in zip(got[:2], want[:2], strict=True):
            assert_close("filtered_lrelu", result, definition)
        if bias is not None:
            # A sum over all samples of a channel, whose parts may cancel.
            scale = float(want[1].abs().sum((0, 2, 3)).max()) if want[1].numel() else 1.0
            assert_close("filtered_lrelu", got[2].to(x.dtype), want[2], scale=scale)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
    @pytest.mark.parametrize("radial", [False, True], ids=["separable", "radial"])
    @pytest.mark.parametrize("shape", SHAPES)
    def test_shapes_and_paddings(
        self, implementation: Any, shape: Any, radial: bool, dtype: Any
    ) -> None:
        size, up, padding = SHAPES[shape]
        options = arguments(up, size[1], radial) | {"padding": padding}
        self.compare(implementation, random(*size).to(dtype), options)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
    @pytest.mark.parametrize("up", [2, 4])
    @pytest.mark.parametrize("radial", [False, True], ids=["separable", "radial"])
    @pytest.mark.parametrize("chosen", OPTIONS)
    def test_options(
        self, implementation: Any, chosen: Any, radial: bool, up: int, dtype: Any
    ) -> None:
        options = arguments(up, 3, radial) | {"padding": (8, 9, 7, 10)} | OPTIONS[chosen]
        self.compare(implementation, random(2, 3, 11, 10).to(dtype), options)

    def test_without_bias(self, implementation: Any) -> None:
        options = arguments(2, 3) | {"padding": 9, "b": None}
        self.compare(implementation, random(2, 3, 11, 10), options)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
    def test_memory_layouts(self, implementation: Any, dtype: Any) -> None:
        whole = random(2, 8, 24, 20).to(dtype)
        layouts = {
            "channels last": whole.contiguous(memory_format=torch.channels_last),
            "transposed": whole.transpose(2, 3),
            "every other channel": whole[:, ::2],
            "a window": whole[:, :, 3:17, 5:16],
            "one row repeated": whole[:, :, :1].expand(-1, -1, 9, -1),
        }
        for x in layouts.values():
            self.compare(implementation, x, arguments(2, x.shape[1]) | {"padding": 9})

    def test_layouts_of_the_upstream_gradient(self, implementation: Any) -> None:
        x, options = random(1, 3, 10, 12), arguments(2, 3) | {"padding": 10}
        height, width = reference(x, **options).shape[2:]
        dy = random(1, 3, width, height, seed=4).transpose(2, 3)
        self.compare(implementation, x, options, dy)
        self.compare(implementation, x, options, random(1, 3, 1, 1).expand(-1, -1, height, width))

    def test_large_values_are_clamped_and_stop_the_gradient(self, implementation: Any) -> None:
        x, options = random(1, 2, 12, 12) * 1e4, arguments(2, 2) | {"padding": 9, "clamp": 256.0}
        self.compare(implementation, x, options)

    def test_filters_of_other_memory_layouts(self, implementation: Any) -> None:
        options = arguments(2, 3) | {"padding": 9}
        spread = torch.stack([options["fu"], options["fd"]], 1)
        options |= {"fu": spread[:, 0], "fd": spread[:, 1].double()}
        self.compare(implementation, random(1, 3, 9, 9), options)

    def test_the_same_call_gives_the_same_bits(self, implementation: Any) -> None:
        x, options = random(2, 33, 15, 16), arguments(2, 33) | {"padding": 9}
        if implementation.refusal(x, **options):
            pytest.skip(f"{implementation.name} declines")
        first = with_gradients(implementation.call, x, options.pop("b"), None, options)
        again = with_gradients(implementation.call, x, arguments(2, 33)["b"], None, options)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_picture_too_small_for_the_filters_is_refused(self, implementation: Any) -> None:
        x, options = random(1, 1, 3, 3), arguments(2, 1) | {"padding": 0}
        for call in (implementation.call, reference):
            with pytest.raises(AssertionError):
                call(x, **options)


LOPSIDED = "the downsampling filter is not the same from either end"


class TestRefusal:
    """Calls that the CPU kernel declines go to the reference, and the reason is told."""

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"x": random(1, 3, 9, 9).double()}, "no kernel for torch.float64"),
            ({"x": random(1, 3, 9, 9).half()}, "no kernel for torch.float16"),
            ({"x": torch.zeros(1, 3, 9, 9, device="meta")}, "runs on cpu, not on meta"),
            ({"up": 1, "fu": None}, "made for up 2 or 4 and down 2, not 1 and 2"),
            ({"up": 3, "fu": random(18)}, "made for up 2 or 4 and down 2, not 3 and 2"),
            ({"down": 1}, "made for up 2 or 4 and down 2, not 2 and 1"),
            ({"down": 4, "fd": random(24)}, "made for up 2 or 4 and down 2, not 2 and 4"),
            ({"fu": None}, "there is no upsampling filter"),
            ({"fd": None}, "there is no downsampling filter"),
            ({"fu": mirrored(12, 12)}, "the upsampling filter is not separable"),
            ({"fu": random(12)}, "the upsampling filter is not the same from either end"),
            ({"fd": random(12)}, LOPSIDED),
            ({"fd": random(12, 12)}, LOPSIDED),
            ({"fd": mirrored(12, 12) * torch.arange(1, 13)}, LOPSIDED),
            ({"fd": mirrored(1, 12)}, LOPSIDED),
            ({"slope": -0.1}, "made for slopes from 0 to 1 and positive gains, not -0.1 and 1.4"),
            ({"gain": -1.0}, "made for slopes from 0 to 1 and positive gains, not 0.2 and -1"),
            ({"fu": random(8)}, "made for 12 upsampling taps, not 8"),
            ({"up": 4}, "made for 24 upsampling taps, not 12"),
            ({"fd": random(6)}, "made for 12 downsampling taps, not 6"),
            ({"fu": mirrored(12).requires_grad_()}, "no gradient for the filters"),
            ({"fd": mirrored(12).requires_grad_()}, "no gradient for the filters"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_reason(self, monkeypatch: pytest.MonkeyPatch, change: Any, reason: Any) -> None:
        monkeypatch.delenv("VIDHAIR_IMPL", raising=False)
        options = {"x": random(1, 3, 9, 9), **arguments(2, 3), "padding": 14, **change}
        x = options.pop("x")
        rows = op().explain(x, **options)
        assert dict(rows)["numba"].startswith(reason) and rows[-1] == ("reference", "used")
        with pytest.raises(DeviceUnavailable, match="numba declines"):
            filtered_lrelu(x, impl="numba", **options)
        if x.device.type == "cpu":
            assert torch.equal(filtered_lrelu(x, **options), reference(x, **options))

    def test_gradient_of_the_bias_alone_is_right(self) -> None:
        options = arguments(2, 3) | {"padding": 9}
        bias, x, dy = options.pop("b"), random(2, 3, 9, 9), random(2, 3, 7, 7, seed=4)
        got, want = bias.clone().requires_grad_(), bias.double().requires_grad_()
        filtered_lrelu(x, b=got, **options).backward(dy)
        reference(x.double(), b=want, **options).backward(dy.double())
        torch.testing.assert_close(got.grad.double(), want.grad, rtol=1e-4, atol=1e-4)

    def test_a_bias_that_could_be_trained_does_not_matter_without_gradients(self) -> None:
        options = arguments(2, 3) | {"padding": 9, "b": torch.nn.Parameter(random(3))}
        with torch.no_grad():
            assert op().explain(random(1, 3, 9, 9), **options)[0] == ("numba", "used")


class TestChoice:
    x = random(1, 3, 9, 9)
    options = arguments(2, 3) | {"padding": 9}

    def test_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VIDHAIR_IMPL", "nonsense")  # a name in the call goes first
        fast = filtered_lrelu(self.x, impl="numba", **self.options)
        slow = filtered_lrelu(self.x, impl="reference", **self.options)
        assert_close("filtered_lrelu", fast, slow)
        assert not torch.equal(fast, slow), "both names gave the same bits"

    def test_by_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("numba", "reference"):
            monkeypatch.setenv("VIDHAIR_IMPL", name)
            want = filtered_lrelu(self.x, impl=name, **self.options)
            assert torch.equal(filtered_lrelu(self.x, **self.options), want)
        for name, reason in (
            ("triton", r"triton declines \(runs on cuda, not on cpu\)"),
            ("triton-parts", r"triton-parts declines \(runs on cuda, not on cpu\)"),
            ("cuda", "no implementation 'cuda'; choose from auto, reference, numba, triton"),
        ):
            monkeypatch.setenv("VIDHAIR_IMPL", name)
            with pytest.raises(DeviceUnavailable, match=reason):
                filtered_lrelu(self.x, **self.options)

    @pytest.mark.parametrize("radial", [False, True], ids=["T", "R"])
    def test_layers_of_stylegan3_take_the_fast_way(
        self, monkeypatch: pytest.MonkeyPatch, radial: bool
    ) -> None:
        monkeypatch.delenv("VIDHAIR_IMPL", raising=False)
        config = StyleGAN3Config(resolution=256, radial_filters=radial)
        for layer in layer_geometries(config)[:-1]:
            options = {
                "fu": torch.ones(layer.up_taps),
                "fd": torch.ones([layer.down_taps] * (2 if layer.radial else 1)),
                "b": torch.zeros(3),
                "up": layer.up,
                "down": layer.down,
                "padding": layer.padding(Extent(), Extent()),
                "clamp": 256,
            }
            side = layer.source.size
            rows = dict(op().explain(torch.zeros(1, 3, side, side), **options))
            assert rows["reference"] == "available", rows


def test_importing_compiles_nothing() -> None:
    code = (
        "import sys, torch; from vidhair.ops.filtered_lrelu import filtered_lrelu, op; op(); "
        "filtered_lrelu(torch.zeros(1, 1, 9, 9), up=1); "
        "print(any(name in sys.modules for name in ('numba', 'triton')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "VIDHAIR_IMPL"}
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert shown.stdout.strip() == "False"
