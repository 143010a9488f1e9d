from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.library import opcheck

from tests.kernels.gpu.numbers import DTYPES, assert_near, on, random
from tests.tolerances import gradient
from vidhair.ops import upfirdn2d
from vidhair.ops.upfirdn2d import reference

# Filter, up, down, padding (x before, after, y before, after), correlate, gain
CALLS: dict[str, tuple[Any, ...]] = {
    "identity": (None, 1, 1, 0, False, 1.0),
    "separable, up": ((6,), 2, 1, (3, 2, 4, 1), False, 4.0),
    "separable, down": ((7,), 1, 3, (2, 5, 0, 1), True, 1.0),
    "both, by coprime factors": ((4, 5), (3, 2), (2, 3), (5, 4, 2, 6), False, 2.0),
    "cropped": ((2, 3), 4, 1, (-5, -2, -3, -6), True, 1.0),
    "cropped and padded": ((5, 2), 2, 4, (9, -4, -3, 12), False, 0.5),
    "taps that no sample meets": ((1, 1), 4, 3, (1, 2, 3, 0), False, 1.0),
}


def test_golden(golden: Any) -> None:
    assert golden("ops_upfirdn2d") > 30


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_value_and_gradient(device: Any, call: str, dtype: torch.dtype) -> None:
    shape, up, down, padding, flip, gain = CALLS[call]
    f = None if shape is None else random(*shape, seed=1)
    options: dict[str, Any] = {
        "up": up,
        "down": down,
        "padding": padding,
        "flip_filter": flip,
        "gain": gain,
    }
    x = random(2, 3, 9, 8).to(dtype)
    exact = x.double().requires_grad_()
    want = reference(exact, f, **options)
    dy = random(*want.shape, seed=2).to(dtype)
    want.backward(dy.double())
    x = on(device, x).requires_grad_()
    got = upfirdn2d(x, None if f is None else on(device, f), impl="triton", **options)
    got.backward(on(device, dy))
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert_near("upfirdn2d", got, want)
    assert_near("upfirdn2d", gradient(x), gradient(exact))


def test_memory_layout_does_not_matter(device: Any) -> None:
    x, f = random(2, 6, 9, 8), random(3, 4, seed=1)
    want = reference(x, f, up=2, padding=3)
    for given in (
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x], 1)[:, :6],
    ):
        got = upfirdn2d(on(device, given), on(device, f), up=2, padding=3, impl="triton")
        assert_near("upfirdn2d", got, want)


def test_second_gradients(device: Any) -> None:
    """It is linear: the gradient of a gradient is again the op."""
    x = on(device, random(1, 2, 5, 6)).double().float().requires_grad_()
    f = on(device, random(3, 2, seed=1))

    def squares(call: Callable[..., torch.Tensor]) -> Any:
        y = call(x, f, up=2, down=1, padding=2)
        (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(dx.square().sum(), x)[0]

    got = squares(lambda *a, **k: upfirdn2d(*a, impl="triton", **k))
    assert_near("upfirdn2d", got, squares(reference).cpu())


def test_picture_smaller_than_the_filter_is_refused(device: Any) -> None:
    with pytest.raises(AssertionError, match="does not fit"):
        upfirdn2d(on(device, random(1, 1, 9, 3)), on(device, random(7, 7)), padding=1)


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("flip", [True, False])
def test_contract_with_torch(device: Any, flip: bool, gradients: bool) -> None:
    x, f = on(device, random(2, 3, 7, 6)).requires_grad_(gradients), on(device, random(4))
    opcheck(torch.ops.vidhair.upfirdn2d, (x, f, [2, 1], [1, 2], [3, 2, 1, 4], flip, 2.0))
