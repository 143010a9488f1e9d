"""One contract, every implementation of the modulated convolution."""

from typing import Any

import pytest
import torch
from vidhair.kernels.modulated_conv import cpu

from tests.tolerances import assert_close
from vidhair.errors import DeviceUnavailable
from vidhair.kernels import cached, gemm
from vidhair.ops.modulated_conv import modulated_conv, op

# (N, C_in, H, W), C_out, taps per side, padding
SHAPES = {
    "as in StyleGAN3 T": ((1, 48, 14, 13), 50, 3, 2),
    "as in StyleGAN3 R": ((2, 37, 9, 11), 50, 1, 0),
    "as in StyleGAN2": ((2, 64, 16, 16), 48, 3, 1),
    "to colors": ((2, 20, 12, 9), 3, 1, 0),
    "no padding": ((1, 48, 9, 11), 5, 3, 0),
    "few channels": ((2, 3, 9, 8), 5, 3, 1),
    "many channels": ((1, 130, 7, 6), 140, 3, 1),
    "one result": ((1, 48, 3, 3), 3, 3, 0),
    "one tile": ((1, 48, 4, 4), 3, 3, 1),
    "one more than a tile": ((1, 48, 5, 5), 3, 3, 1),
    "one row": ((1, 48, 1, 30), 3, 3, 1),
    "one column": ((3, 48, 17, 1), 3, 3, 2),
    "one pixel": ((1, 48, 1, 1), 3, 3, 2),
    "one pixel by one tap": ((2, 48, 1, 1), 3, 1, 0),
    "many pixels by one tap": ((1, 18, 41, 13), 70, 1, 0),
}
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def arguments(size: tuple[int, int, int, int], outputs: int, taps: int = 3) -> tuple[Any, ...]:
    batch, inputs, *_ = size
    weight = random(outputs, inputs, taps, taps, seed=1) / inputs**0.5
    return random(*size), weight, random(batch, inputs, seed=2), random(batch, outputs, seed=3)


def definition(x: Any, weight: Any, style: Any, demodulation: Any, padding: int) -> torch.Tensor:
    """A convolution per sample with a weight of its own, in float64."""
    results = []
    for index in range(len(x)):
        own = weight.double() * style[index].double()[:, None, None]
        if demodulation is not None:
            own = own * demodulation[index].double()[:, None, None, None]
        sample = x[index : index + 1].double()
        results.append(torch.nn.functional.conv2d(sample, own, padding=padding))
    return torch.cat(results)


IMPLEMENTATIONS = ["reference", "numba"]  # those for GPUs have tests of their own, in `gpu`


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
@pytest.mark.parametrize("demodulated", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_implementation_is_the_definition(
    impl: Any, shape: Any, dtype: str, demodulated: bool
) -> None:
    size, outputs, taps, padding = SHAPES[shape]
    x, weight, style, demodulation = arguments(size, outputs, taps)
    given = [x.to(DTYPES[dtype]), weight, style]
    given += [demodulation] if demodulated else []
    for tensor in given:
        tensor.requires_grad_()
    demodulation = demodulation if demodulated else None
    four = given[0], weight, style, demodulation
    got = modulated_conv(*four, padding=padding, impl=impl)
    want = definition(*four, padding)
    assert got.dtype == DTYPES[dtype]
    assert_close("modulated_conv", got, want)
    dy = random(*want.shape, seed=4).to(got.dtype)
    gradients = torch.autograd.grad(got, given, dy)
    for a, b in zip(gradients, torch.autograd.grad(want, given, dy.double()), strict=True):
        # Gradients of weights and styles are float32 sums of products of the picture's dtype.
        assert_close("modulated_conv", a.to(DTYPES[dtype]), b)


def test_strips_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, style, demodulation = arguments((1, 48, 41, 30), 20)
    dy = random(1, 20, 41, 30, seed=4)
    wanted = (True,) * 4

    def results() -> list[torch.Tensor]:
        y = cpu.forward(x, weight, style, demodulation, 1)
        return [y, *cpu.backward(dy, x, weight, style, demodulation, y, 1, wanted)]

    whole = results()
    monkeypatch.setattr(gemm, "STRIP_BYTES", 1)
    for tiles in (1, 17):  # one row of tiles, two
        monkeypatch.setattr(gemm, "STRIP_TILES", tiles)
        for strips, at_once in zip(results(), whole, strict=True):
            assert_close("modulated_conv", strips, at_once)


def test_inputs_of_other_memory_layouts() -> None:
    x, weight, style, demodulation = arguments((2, 48, 12, 10), 20)
    want = definition(x, weight, style, demodulation, 1)
    for same in (
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x], 1)[:, :48],
    ):
        got = modulated_conv(same, weight, style, demodulation, padding=1, impl="numba")
        assert_close("modulated_conv", got, want)


def test_a_weight_that_changes_in_place_is_transformed_again() -> None:
    x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
    for _ in range(2):
        got = modulated_conv(x, weight, style, demodulation, padding=1, impl="numba")
        assert_close("modulated_conv", got, definition(x, weight, style, demodulation, 1))
        weight.mul_(-2)


def test_weights_of_inference_mode_too() -> None:
    with torch.inference_mode():
        x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
        got = modulated_conv(x, weight, style, demodulation, padding=1, impl="numba")
    assert_close("modulated_conv", got.clone(), definition(x, weight, style, demodulation, 1))


def test_what_is_prepared_goes_with_its_weight() -> None:
    x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
    before = len(cached._known)
    modulated_conv(x, weight, style, demodulation, padding=1, impl="numba")
    assert len(cached._known) == before + 1
    del weight
    assert len(cached._known) == before


@pytest.mark.parametrize(
    ("change", "padding", "reason"),
    [
        ({"x": lambda x: x.double()}, 1, "no kernel for torch.float64"),
        ({"weight": lambda w: w[..., :2, :2]}, 1, "made for 1 × 1 taps"),
        ({"weight": lambda w: w[..., :1, :1]}, 1, "made for 1 × 1 taps without padding"),
        ({}, 3, "a padding of at most 2"),
    ],
)
def test_what_is_declined_goes_to_the_reference(
    change: Any, padding: int, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VIDHAIR_IMPL", raising=False)
    names = ("x", "weight", "style", "demodulation")
    given = dict(zip(names, arguments((1, 48, 9, 9), 7), strict=True))
    given |= {name: make(given[name]) for name, make in change.items()}
    rows = op().explain(*given.values(), padding=padding)
    assert rows[-1] == ("reference", "used") and any(reason in why for _, why in rows)
    with pytest.raises(DeviceUnavailable, match="numba declines"):
        modulated_conv(*given.values(), padding=padding, impl="numba")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", ["as in StyleGAN3 R", "as in StyleGAN2", "few channels"])
def test_gradients_of_some_arguments_alone(shape: str, dtype: str) -> None:
    size, outputs, taps, padding = SHAPES[shape]
    x, *others = arguments(size, outputs, taps)
    given = [x.to(DTYPES[dtype]).requires_grad_(), *(t.requires_grad_() for t in others)]
    x, weight, style, demodulation = given
    exact = definition(x, weight, style, demodulation, padding)
    dy = random(*exact.shape, seed=4).to(DTYPES[dtype])
    want = torch.autograd.grad(exact, given, dy.double())
    for wanted in ((0,), (1,), (2,), (3,), (0, 2), (2, 3), (0, 2, 3), (0, 1)):
        some = [t.detach().requires_grad_(k in wanted) for k, t in enumerate(given)]
        y = modulated_conv(*some, padding=padding, impl="numba")
        got = torch.autograd.grad(y, [some[k] for k in wanted], dy)
        for k, gradient in zip(wanted, got, strict=True):
            assert_close("modulated_conv", gradient.to(DTYPES[dtype]), want[k])


def test_what_bfloat16_loses() -> None:
    """The bound of the table is for the worst place; this is over all places, for white noise."""
    given = arguments((1, 256, 30, 30), 128)
    x = given[0].bfloat16()
    _, weight, style, demodulation = given
    exact = definition(x, weight, style, demodulation, 1)
    got = modulated_conv(x, *given[1:], padding=1, impl="numba")
    assert (got.double() - exact).square().mean().sqrt() < 0.02 * exact.std()
