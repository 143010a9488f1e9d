from typing import Any

import pytest
import torch
from torch.library import opcheck
from vidhair.kernels.filtered_lrelu import gpu

from tests.kernels.gpu.numbers import DTYPES, assert_near, on, random
from tests.kernels.test_filtered_lrelu import OPTIONS, SHAPES, with_gradients
from vidhair.errors import DeviceUnavailable
from vidhair.kernels import layout_gpu as layout
from vidhair.ops import filtered_lrelu
from vidhair.ops.filtered_lrelu import op, reference
from vidhair.ops.fir import lowpass

# Filters of two dimensions, by how many separable parts they are the sum of.
KINDS = ("separable", "radial", "lopsided")


def arguments(up: int, channels: int, kind: str = "separable") -> dict[str, Any]:
    fd = random(12, seed=2) / 3
    if kind == "radial":
        fd = torch.as_tensor(lowpass(12, 0.7, 0.8, 4, radial=True), dtype=torch.float32)
    elif kind == "lopsided":
        parts = [torch.outer(random(12, seed=s), random(12, seed=s + 9)) for s in (2, 3)]
        fd = (parts[0] + parts[1]) / 12
    b, fu = random(channels, seed=3), random(6 * up, seed=1) / 3
    return {"fu": fu, "fd": fd, "b": b, "up": up, "down": 2}


def check(
    device: str, x: torch.Tensor, options: dict[str, Any], dy: torch.Tensor | None = None
) -> None:
    """Value and gradients against the reference in float64."""
    options = {**options}
    bias = options.pop("b")
    exact = x.double(), None if bias is None else bias.double()
    dy = random(*reference(x.double(), **options).shape, seed=4) if dy is None else dy
    dy = dy.to(x.dtype)
    want = with_gradients(reference, *exact, dy, options)
    moved = {n: on(device, v) if isinstance(v, torch.Tensor) else v for n, v in options.items()}
    bias = None if bias is None else on(device, bias)

    def call(x: Any, **options: Any) -> Any:
        return filtered_lrelu(x, impl="triton", **options)

    got = with_gradients(call, on(device, x), bias, on(device, dy), moved)
    assert got[0].dtype == x.dtype and got[1].dtype == x.dtype
    assert_near("filtered_lrelu", got[0], want[0])
    assert_near("filtered_lrelu", got[1], want[1], gradient=True)
    if bias is not None:
        # A sum over all samples of a channel, whose parts may cancel.
        scale = float(want[1].abs().sum((0, 2, 3)).max()) if want[1].numel() else 1.0
        assert_near("filtered_lrelu", got[2].to(x.dtype), want[2], scale)


def test_golden(golden: Any) -> None:
    assert golden("ops_filtered_lrelu") == 37


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_and_paddings(device: Any, shape: Any) -> None:
    size, up, padding = SHAPES[shape]
    size = *size[:2], min(size[2], 24), size[3]  # rows take the interpreter long
    kind = KINDS[list(SHAPES).index(shape) % 3]
    check(device, random(*size), arguments(up, size[1], kind) | {"padding": padding})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("up", [2, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_filters_and_dtypes(device: Any, kind: Any, up: int, dtype: torch.dtype) -> None:
    options = arguments(up, 5, kind) | {"padding": (8, 9, 8, 10), "clamp": 0.8}
    check(device, random(2, 5, 5 if up == 2 else 6, 10).to(dtype), options)


@pytest.mark.parametrize("parity", range(4))
@pytest.mark.parametrize("up", [2, 4])
def test_phases(device: Any, up: int, parity: Any) -> None:
    padding = (9 + parity, 9, 12 - parity, 9)
    check(device, random(1, 3, 5, 8), arguments(up, 3) | {"padding": padding})


@pytest.mark.parametrize("chosen", OPTIONS)
def test_options(device: Any, chosen: Any) -> None:
    options = arguments(2, 3) | {"padding": (8, 9, 7, 10)} | OPTIONS[chosen]
    check(device, random(2, 3, 11, 10), options)


def test_without_bias(device: Any) -> None:
    check(device, random(2, 3, 11, 10).half(), arguments(2, 3) | {"padding": 9, "b": None})


def test_several_programs_and_more_channels_than_a_multiple(device: Any) -> None:
    """Lines of one program belong to several strips and samples, and rows to several programs."""
    check(device, random(2, 37, 20, 25), arguments(2, 37) | {"padding": 9})


def test_memory_layouts(device: Any) -> None:
    whole = random(2, 8, 14, 12)
    layouts = {
        "transposed": whole.transpose(2, 3),
        "every other channel": whole[:, ::2],
        "a window": whole[:, :, 3:13, 1:11],
        "one row repeated": whole[:, :, :1].expand(-1, -1, 9, -1),
    }
    for x in layouts.values():
        check(device, x, arguments(2, x.shape[1]) | {"padding": 9})
    options = arguments(2, 3) | {"padding": 10}
    size = reference(whole[:, :3], **options).shape
    check(device, whole[:, :3], options, random(1, 1, 1, 1).expand(size))


def test_behind_the_channels_are_zeros(device: Any) -> None:
    """Convolutions take the whole memory."""
    options = {n: on(device, v) if isinstance(v, torch.Tensor) else v
               for n, v in arguments(2, 35).items()}  # fmt: skip
    y = filtered_lrelu(on(device, random(1, 35, 9, 9)), padding=9, impl="triton", **options)
    behind = layout.whole(y)[:, 35:]
    assert behind.shape[1] == 29 and not behind.any()


def test_large_values_are_clamped_and_stop_the_gradient(device: Any) -> None:
    options = arguments(2, 2) | {"padding": 9, "clamp": 256.0}
    for dtype in DTYPES:
        check(device, (random(1, 2, 12, 12) * 1e4).to(dtype), options)


def test_the_same_call_gives_the_same_bits(device: Any) -> None:
    x, options = on(device, random(2, 33, 15, 16)), arguments(2, 33) | {"padding": 9}
    options = {n: on(device, v) if isinstance(v, torch.Tensor) else v for n, v in options.items()}
    first, again = (filtered_lrelu(x, impl="triton", **options) for _ in range(2))
    assert torch.equal(first, again)


def test_filters_that_change_in_place_count(device: Any) -> None:
    options: dict[str, Any] = {
        n: on(device, v) if isinstance(v, torch.Tensor) else v for n, v in arguments(2, 3).items()
    }
    x = on(device, random(1, 3, 9, 9))
    for _ in range(2):
        got = filtered_lrelu(x, padding=9, impl="triton", **options)
        assert_near("filtered_lrelu", got, reference(x, padding=9, **options).cpu())
        options["fd"].mul_(-2)
        options["fu"].add_(0.1)


def test_a_filter_of_many_parts_goes_to_the_parts_of_the_op(device: Any) -> None:
    options = arguments(2, 3) | {"padding": 9, "fd": random(12, 12, seed=2) / 12}
    bias, x = options.pop("b"), random(1, 3, 9, 9)
    moved: dict[str, Any] = {
        n: on(device, v) if isinstance(v, torch.Tensor) else v for n, v in options.items()
    }
    rows = dict(op().explain(on(device, x), **moved))
    assert rows["triton"] == "the downsampling filter is not a sum of 6 separable ones"
    assert rows["triton-parts"] == "used"
    got = filtered_lrelu(on(device, x), b=on(device, bias), **moved)
    assert_near("filtered_lrelu", got, reference(x.double(), b=bias.double(), **options))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"slope": -0.1}, "made for a slope of 0 … 1"),
        ({"gain": -1.0}, "made for a slope of 0 … 1 and a gain that is not negative"),
        ({"fu": random(12).requires_grad_()}, "no gradient for the filters"),
        ({"up": 1, "fu": None}, "made for up 2 or 4 and down 2, not 1 and 2"),
        ({"fd": random(12, 6)}, "made for 12 downsampling taps, not 6"),
        ({"fu": random(12, 12)}, "the upsampling filter is not separable"),
        ({"fu": None}, "there is no upsampling filter"),
    ],
)
def test_what_is_declined(device: Any, change: Any, reason: str) -> None:
    options = arguments(2, 3) | {"padding": 12} | change
    assert reason in gpu.refusal(on(device, random(1, 3, 9, 9)), **options)
    assert "float64" in gpu.refusal(on(device, random(1, 3, 9, 9)).double(), **options)


class TestContractWithTorch:
    def given(self, device: str, gradients: bool, **changes: Any) -> tuple[Any, ...]:
        options = arguments(2, 3)
        given = {
            "x": random(2, 3, 9, 8),
            "fu": options["fu"],
            "fd": options["fd"],
            "b": options["b"],
            "up": 2,
            "down": 2,
            "padding": [9, 8, 9, 8],
            "gain": 1.4,
            "slope": 0.2,
            "clamp": 0.8,
            "flip_filter": False,
        } | changes
        moved = {n: on(device, v) if isinstance(v, torch.Tensor) else v for n, v in given.items()}
        for name in ("x", "b"):
            moved[name].requires_grad_(gradients)
        return tuple(moved.values())

    def test_forward(self, device: Any) -> None:
        opcheck(torch.ops.vidhair.filtered_lrelu, self.given(device, True))
        opcheck(torch.ops.vidhair.filtered_lrelu, self.given(device, False, clamp=None))

    def test_backward(self, device: Any) -> None:
        given = self.given(device, False)
        dy = torch.ones_like(torch.ops.vidhair.filtered_lrelu(*given))
        opcheck(torch.ops.vidhair.filtered_lrelu_backward, (dy, *given))

    def test_a_filter_that_tracing_could_not_see_is_checked_when_it_runs(self, device: Any) -> None:
        class Call(torch.nn.Module):
            def forward(self, x: Any, fd: Any) -> Any:
                fu = torch.ones(12, device=x.device)
                return filtered_lrelu(x, fu=fu, fd=fd, up=2, down=2, padding=9, impl="triton")

        x, fine = on(device, random(1, 1, 9, 9)), on(device, torch.ones(12, 12))
        graph = torch.export.export(Call(), (x, fine)).module()
        torch.testing.assert_close(graph(x, fine), Call()(x, fine))
        with pytest.raises(DeviceUnavailable, match="a sum of 6 separable ones"):
            graph(x, on(device, random(12, 12)))
