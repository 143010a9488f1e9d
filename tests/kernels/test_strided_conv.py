"""One contract, every implementation of the convolutions that halve or double the size."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.library import opcheck

from tests.tolerances import assert_close
from vidhair.errors import DeviceUnavailable
from vidhair.kernels import gemm
from vidhair.ops.downsampling_conv import downsampling_conv
from vidhair.ops.downsampling_conv import op as downsampling_op
from vidhair.ops.upsampling_conv import op as upsampling_op
from vidhair.ops.upsampling_conv import upsampling_conv

# (N, C_in, H, W), C_out
SHAPES = {
    "as published": ((1, 64, 16, 24), 48),
    "a batch of odd sides": ((3, 20, 9, 13), 7),
    "many channels": ((1, 130, 7, 6), 140),
    "few channels": ((2, 3, 10, 10), 5),
    "one more than a tile": ((1, 16, 10, 11), 3),
    "a long row": ((1, 5, 2, 70), 3),
    "one column": ((2, 16, 17, 1), 3),
    "two columns": ((2, 16, 17, 2), 3),
    "one pixel": ((1, 16, 1, 1), 16),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
SLOPE = 0.1


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def downsampling_arguments(
    size: tuple[int, int, int, int], outputs: int, heads: int = 2
) -> tuple[Any, ...]:
    inputs = size[1]
    scale = (9 * inputs) ** -0.5
    weights = [random(outputs + k, inputs, 3, 3, seed=1 + k) * scale for k in range(heads)]
    return random(*size), weights, [random(len(w), seed=9) for w in weights]


def halved(x: Any, weights: Any, biases: Any, slope: float = SLOPE) -> list[torch.Tensor]:
    """In float64."""
    pairs = zip(weights, biases, strict=True)
    wide = [F.conv2d(x.double(), w.double(), b.double(), stride=2, padding=1) for w, b in pairs]
    return [F.leaky_relu(y, slope) for y in wide]


def upsampling_arguments(size: tuple[int, int, int, int], outputs: int) -> tuple[Any, ...]:
    batch, inputs, *_ = size
    weight = random(outputs, inputs, 3, 3, seed=1) * (9 * inputs) ** -0.5
    return random(*size), weight, random(batch, inputs, seed=2), random(batch, outputs, seed=3)


def doubled(x: Any, weight: Any, style: Any, demodulation: Any) -> torch.Tensor:
    """Zeros between the pixels, a convolution, then smoothing; in float64."""
    x, weight = x.double() * style.double()[:, :, None, None], weight.double()
    n, c, h, w = x.shape
    apart = x.new_zeros(n, c, 2 * h, 2 * w)
    apart[..., ::2, ::2] = x
    # Correlating with turned taps spreads every pixel over them.
    spread = F.conv2d(F.pad(apart, (2, 1, 2, 1)), weight.flip(2, 3))
    taps = torch.tensor([1.0, 3, 3, 1]).double() / 4
    smooth = torch.outer(taps, taps).expand(len(weight), 1, 4, 4)
    y = F.conv2d(F.pad(spread, (1, 1, 1, 1)), smooth, groups=len(weight))
    return y * demodulation.double()[:, :, None, None]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
class TestEveryImplementation:
    @pytest.mark.parametrize("impl", ["reference", *(i.name for i in downsampling_op().fast)])
    def test_halves(self, impl: Any, shape: Any, dtype: str) -> None:
        x, weights, biases = downsampling_arguments(*SHAPES[shape])
        x = x.to(DTYPES[dtype])
        results = downsampling_conv(x, weights, biases, slope=SLOPE, impl=impl)
        for got, want in zip(results, halved(x, weights, biases), strict=True):
            assert got.dtype == x.dtype
            assert_close("downsampling_conv", got, want)

    @pytest.mark.parametrize("impl", ["reference", *(i.name for i in upsampling_op().fast)])
    def test_doubles(self, impl: Any, shape: Any, dtype: str) -> None:
        x, *others = upsampling_arguments(*SHAPES[shape])
        x = x.to(DTYPES[dtype])
        got = upsampling_conv(x, *others, impl=impl)
        assert got.dtype == x.dtype
        assert_close("upsampling_conv", got, doubled(x, *others))


@pytest.mark.parametrize("tiles", [1, 5])
def test_strips_join_without_a_seam(tiles: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gemm, "STRIP_BYTES", 1)
    monkeypatch.setattr(gemm, "STRIP_TILES", tiles)
    given = downsampling_arguments((2, 16, 70, 20), 5)
    results = downsampling_conv(*given, slope=SLOPE, impl="numba")
    for got, want in zip(results, halved(*given), strict=True):
        assert_close("downsampling_conv", got, want)
    given = upsampling_arguments((2, 16, 37, 10), 5)
    assert_close("upsampling_conv", upsampling_conv(*given, impl="numba"), doubled(*given))


def test_inputs_of_other_memory_layouts() -> None:
    x, *others = upsampling_arguments((2, 48, 12, 10), 20)
    want = doubled(x, *others)
    for same in (
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x], 1)[:, :48],
    ):
        assert_close("upsampling_conv", upsampling_conv(same, *others, impl="numba"), want)


def test_weights_that_change_in_place_are_transformed_again() -> None:
    x, (weight, *_), (bias, *_) = downsampling_arguments((1, 16, 9, 9), 7)
    style, demodulation = random(1, 16, seed=2), random(1, 7, seed=3)
    for _ in range(2):
        (got,) = downsampling_conv(x, [weight], [bias], impl="numba")
        assert_close("downsampling_conv", got, halved(x, [weight], [bias], 1)[0])
        given = x, weight, style, demodulation
        for impl in ("numba", "phases"):
            assert_close("upsampling_conv", upsampling_conv(*given, impl=impl), doubled(*given))
        weight.mul_(-2)


def test_gradients_are_those_of_the_definition() -> None:
    given = [t.requires_grad_() for t in upsampling_arguments((2, 6, 5, 4), 5)]
    dy = random(2, 5, 10, 8, seed=4)
    want = torch.autograd.grad(doubled(*given), given, dy.double())
    for impl in ("auto", "reference"):
        got = torch.autograd.grad(upsampling_conv(*given, impl=impl), given, dy)
        for a, b in zip(got, want, strict=True):
            assert_close("upsampling_conv", a, b)

    x, (weight, *_), (bias, *_) = downsampling_arguments((2, 6, 5, 4), 5)
    given = [t.requires_grad_() for t in (x, weight, bias)]
    dy = random(2, 5, 3, 2, seed=4)
    want = torch.autograd.grad(halved(x, [weight], [bias]), given, dy.double())
    got = torch.autograd.grad(downsampling_conv(x, [weight], [bias], slope=SLOPE), given, dy)
    for a, b in zip(got, want, strict=True):
        assert_close("downsampling_conv", a, b)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x, w: (x.double(), w), "no kernel for torch.float64"),
        (lambda x, w: (x, w[..., :1, :1]), "made for 3 × 3 taps"),
        (lambda x, w: (x.requires_grad_(), w), "no gradient"),
    ],
)
def test_what_is_declined_goes_elsewhere(
    change: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIDHAIR_IMPL", raising=False)
    x, weight = change(random(1, 16, 9, 9), random(7, 16, 3, 3))
    for rows in (
        downsampling_op().explain(x, [weight], [random(7)], slope=1.0),
        upsampling_op().explain(x, weight, random(1, 16), random(1, 7)),
    ):
        assert reason in dict(rows)["numba"]
        assert "used" in dict(rows[1:]).values()


def test_slopes_that_are_no_leaky_relu_are_declined() -> None:
    with pytest.raises(DeviceUnavailable, match="slopes from 0 to 1, not 2"):
        downsampling_conv(
            random(1, 4, 4, 4), [random(4, 4, 3, 3)], [random(4)], slope=2, impl="numba"
        )


def test_torch_knows_shapes_and_strides() -> None:
    opcheck(torch.ops.vidhair.downsampling_conv, (*downsampling_arguments((2, 5, 9, 8), 7), SLOPE))
    opcheck(torch.ops.vidhair.upsampling_conv, upsampling_arguments((2, 5, 9, 8), 7))
