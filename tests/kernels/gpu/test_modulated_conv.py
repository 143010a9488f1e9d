from typing import Any

import pytest
import torch
from torch.library import opcheck
from vidhair.kernels.modulated_conv import gpu

from tests.kernels.gpu.numbers import DTYPES, assert_near, on, random
from tests.kernels.test_modulated_conv import definition
from vidhair.kernels import layout_gpu as layout
from vidhair.ops.modulated_conv import modulated_conv

# (N, C_in, H, W), C_out, taps per side, padding
SHAPES = {
    "as in StyleGAN3-T": ((1, 20, 9, 8), 12, 3, 2),
    "as in StyleGAN3-R": ((2, 9, 7, 5), 70, 1, 0),
    "as in StyleGAN2": ((3, 40, 6, 6), 33, 3, 1),
    "no padding": ((2, 3, 9, 11), 5, 3, 0),
    "one pixel": ((2, 8, 1, 1), 3, 3, 2),
}


def arguments(
    shape: str, dtype: torch.dtype = torch.float32, demodulated: bool = True
) -> list[Any]:
    (n, inputs, *size), outputs, taps, _ = SHAPES[shape]
    weight = random(outputs, inputs, taps, taps, seed=1) / (taps * inputs**0.5)
    demodulation = random(n, outputs, seed=3) if demodulated else None
    return [random(n, inputs, *size).to(dtype), weight, random(n, inputs, seed=2), demodulation]


@pytest.mark.parametrize("own_weights_from", [0, 10**9], ids=["own weights", "shared weights"])
@pytest.mark.parametrize(
    ("shape", "dtype", "demodulated"),
    [
        *((shape, torch.float32, True) for shape in SHAPES),
        *(("as in StyleGAN3-T", dtype, True) for dtype in DTYPES[1:]),
        *(("no padding", dtype, False) for dtype in DTYPES),
        ("as in StyleGAN3-R", torch.float32, False),
    ],
)
def test_value_and_gradients(
    device: Any,
    shape: Any,
    dtype: Any,
    demodulated: Any,
    own_weights_from: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpu, "OWN_WEIGHTS_FROM", own_weights_from)
    given, padding = arguments(shape, dtype, demodulated), SHAPES[shape][3]
    exact = [None if t is None else t.double().requires_grad_() for t in given]
    x_, weight, style, demodulation = exact
    want = definition(x_, weight, style, demodulation, padding)
    dy = random(*want.shape, seed=4).to(dtype)
    want.backward(dy.double())
    given = [None if t is None else on(device, t).requires_grad_() for t in given]
    got = modulated_conv(*given, padding=padding, impl="triton")
    got.backward(on(device, dy))
    assert got.dtype == dtype
    assert_near("modulated_conv", got, want)
    for tensor, definition_ in zip(given, exact, strict=True):
        if tensor is not None and definition_ is not None:
            # Gradients of float32 weights through 16-bit pictures are as good as those.
            assert_near("modulated_conv", tensor.grad.to(dtype), definition_.grad)


def test_only_the_wanted_gradients(device: Any) -> None:
    given = [on(device, t) for t in arguments("no padding")]
    for wanted in range(4):
        tensors = [t.clone().requires_grad_(i == wanted) for i, t in enumerate(given)]
        modulated_conv(*tensors, impl="triton").sum().backward()
        assert [t.grad is not None for t in tensors] == [i == wanted for i in range(4)]


@pytest.mark.parametrize("lies", ["dense", "window", "beside numbers that are none"])
def test_inputs_of_other_memory_layouts(device: Any, lies: str) -> None:
    x, *others = arguments("as in StyleGAN2")
    weight, style, demodulation = others
    want = definition(x, weight, style, demodulation, 1)
    if lies == "window":
        x = torch.nn.functional.pad(x, (1, 2, 3, 4, 5, 6))[:, 5:-6, 3:-4, 1:-2]
    elif lies == "beside numbers that are none":
        # As wide as the kernels' own memory; what it holds there they must not take for zeros.
        memory = torch.full((3, 6, 6, layout.padded_width(40)), torch.nan)
        memory[..., :40] = x.permute(0, 2, 3, 1)
        x = on(device, memory)[..., :40].permute(0, 3, 1, 2)
    got = modulated_conv(on(device, x), *(on(device, t) for t in others), padding=1, impl="triton")
    assert_near("modulated_conv", got, want)


def test_large_products_do_not_overflow_before_the_demodulation(device: Any) -> None:
    x, weight, style, _ = arguments("as in StyleGAN2", torch.float16)
    weight = weight * 1e4
    demodulation = torch.full((3, 33), 1e-4)
    want = definition(x, weight, style, demodulation, 1)
    given = (on(device, t) for t in (x, weight, style, demodulation))
    assert_near("modulated_conv", modulated_conv(*given, padding=1, impl="triton"), want)


@pytest.mark.parametrize("demodulated", [True, False])
def test_contract_with_torch(device: Any, demodulated: bool) -> None:
    given = [None if t is None else on(device, t) for t in arguments("no padding", torch.float32,
                                                                      demodulated)]  # fmt: skip
    plain = (*given, 0)
    opcheck(torch.ops.vidhair.modulated_conv, plain)
    y = torch.ops.vidhair.modulated_conv(*plain)
    for wanted in ([True, True, True, demodulated], [True, False, False, False]):
        back = torch.ones_like(y), *given, y, 0, wanted
        opcheck(torch.ops.vidhair.modulated_conv_backward, back)
    trained = tuple(None if t is None else t.clone().requires_grad_() for t in given)
    opcheck(torch.ops.vidhair.modulated_conv, (*trained, 0))
