"""One contract, every implementation of the modulated convolution."""

import pytest
import torch
from vidhair.kernels.modulated_conv import cpu

from tests.tolerances import assert_close
from vidhair.errors import DeviceUnavailable
from vidhair.ops.modulated_conv import modulated_conv, op, reference

# (N, C_in, H, W), C_out, padding
SHAPES = {
    "as in StyleGAN3": ((1, 48, 14, 13), 50, 2),
    "as in StyleGAN2": ((2, 64, 16, 16), 48, 1),
    "no padding": ((1, 48, 9, 11), 5, 0),
    "one result": ((1, 48, 3, 3), 3, 0),
    "one tile": ((1, 48, 4, 4), 3, 1),
    "one more than a tile": ((1, 48, 5, 5), 3, 1),
    "one row": ((1, 48, 1, 30), 3, 1),
    "one column": ((3, 48, 17, 1), 3, 2),
    "one pixel": ((1, 48, 1, 1), 3, 2),
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def arguments(size: tuple[int, int, int, int], outputs: int) -> tuple:
    batch, inputs, *_ = size
    weight = random(outputs, inputs, 3, 3, seed=1) / inputs**0.5
    return random(*size), weight, random(batch, inputs, seed=2), random(batch, outputs, seed=3)


def definition(x, weight, style, demodulation, padding: int) -> torch.Tensor:
    """A convolution per sample with a weight of its own, in float64."""
    results = []
    for index in range(len(x)):
        own = weight.double() * style[index].double()[:, None, None]
        if demodulation is not None:
            own = own * demodulation[index].double()[:, None, None, None]
        sample = x[index : index + 1].double()
        results.append(torch.nn.functional.conv2d(sample, own, padding=padding))
    return torch.cat(results)


@pytest.mark.parametrize("impl", ["reference", *(i.name for i in op().fast)])
@pytest.mark.parametrize("demodulated", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_implementation_is_the_definition(impl, shape, demodulated, monkeypatch):
    size, outputs, padding = SHAPES[shape]
    x, weight, style, demodulation = arguments(size, outputs)
    demodulation = demodulation if demodulated else None
    got = modulated_conv(x, weight, style, demodulation, padding=padding, impl=impl)
    want = definition(x, weight, style, demodulation, padding)
    assert_close("modulated_conv", got, want)


def test_strips_join_without_a_seam(monkeypatch):
    x, weight, style, demodulation = arguments((1, 48, 41, 30), 20)
    whole = cpu.forward(x, weight, style, demodulation, 1)
    for size in (1, 4 * cpu.PRODUCTS * 48 * 8 * 2):  # one row of tiles, two
        monkeypatch.setattr(cpu, "STRIP_BYTES", size)
        strips = cpu.forward(x, weight, style, demodulation, 1)
        assert_close("modulated_conv", strips, whole)


def test_inputs_of_other_memory_layouts():
    x, weight, style, demodulation = arguments((2, 48, 12, 10), 20)
    want = definition(x, weight, style, demodulation, 1)
    for same in (
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x], 1)[:, :48],
    ):
        got = modulated_conv(same, weight, style, demodulation, padding=1, impl="winograd")
        assert_close("modulated_conv", got, want)


def test_a_weight_that_changes_in_place_is_transformed_again():
    x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
    for _ in range(2):
        got = modulated_conv(x, weight, style, demodulation, padding=1, impl="winograd")
        assert_close("modulated_conv", got, definition(x, weight, style, demodulation, 1))
        weight.mul_(-2)


def test_weights_of_inference_mode_too():
    with torch.inference_mode():
        x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
        got = modulated_conv(x, weight, style, demodulation, padding=1, impl="winograd")
    assert_close("modulated_conv", got.clone(), definition(x, weight, style, demodulation, 1))


def test_a_transformed_weight_goes_with_its_weight():
    x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
    before = len(cpu._known)
    modulated_conv(x, weight, style, demodulation, padding=1, impl="winograd")
    assert len(cpu._known) == before + 1
    del weight
    assert len(cpu._known) == before


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": lambda x: x.bfloat16()}, "no kernel for torch.bfloat16"),
        ({"weight": lambda w: w.double()}, "no kernel for torch.float64"),
        ({"weight": lambda w: w[..., :1, :1]}, "made for 3 × 3 taps"),
        ({"weight": lambda w: w[:, :20], "x": lambda x: x[:, :20]}, "does not pay below 48"),
        ({"weight": lambda w: w.clone().requires_grad_()}, "no gradient"),
        ({"style": lambda s: s.clone().requires_grad_()}, "no gradient"),
    ],
)
def test_what_is_declined_goes_to_the_reference(change, reason, monkeypatch):
    monkeypatch.delenv("VIDHAIR_IMPL", raising=False)
    names = ("x", "weight", "style", "demodulation")
    given = dict(zip(names, arguments((1, 48, 9, 9), 7), strict=True))
    given |= {name: make(given[name]) for name, make in change.items()}
    rows = op().explain(*given.values(), padding=1)
    assert rows[-1] == ("reference", "used") and any(reason in why for _, why in rows)
    with pytest.raises(DeviceUnavailable, match="winograd declines"):
        modulated_conv(*given.values(), padding=1, impl="winograd")


def test_a_weight_for_training_does_not_matter_without_gradients():
    x, weight, style, demodulation = arguments((1, 48, 9, 9), 7)
    weight = torch.nn.Parameter(weight)
    with torch.no_grad():
        assert dict(op().explain(x, weight, style, demodulation, padding=1))["winograd"] == "used"


def test_gradients_are_those_of_the_definition():
    given = [t.requires_grad_() for t in arguments((2, 48, 7, 6), 5)]
    for rows in (slice(0, 2), slice(0, 1)):  # a batch, and a single sample
        x, weight, style, demodulation = given
        batch = x[rows], weight, style[rows], demodulation[rows]
        dy = random(*reference(*batch, padding=1).shape, seed=4)
        got = torch.autograd.grad(reference(*batch, padding=1), given, dy)
        want = torch.autograd.grad(definition(*batch, 1), given, dy.double())
        for a, b in zip(got, want, strict=True):
            assert_close("modulated_conv", a, b)
