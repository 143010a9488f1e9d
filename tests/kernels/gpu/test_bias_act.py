from typing import Any

import pytest
import torch
from torch.library import opcheck

from tests.kernels.gpu.numbers import DTYPES, assert_near, on, random
from tests.tolerances import gradient
from vidhair.ops import bias_act
from vidhair.ops.bias_act import ACTIVATIONS, reference


def test_golden(golden: Any) -> None:
    assert golden("ops_bias_act") > 30


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_value_and_gradients(device: Any, act: str, dtype: torch.dtype) -> None:
    options: dict[str, Any] = {"act": act, "gain": 1.5, "clamp": 1.2, "alpha": 0.3}
    x, b, dy = random(3, 4, 5).to(dtype), random(4, seed=1).to(dtype), random(3, 4, 5, seed=2)
    exact = x.double().requires_grad_(), b.double().requires_grad_()
    want = reference(*exact, **options)
    want.backward(dy.to(dtype).double())
    x, b = (on(device, t).requires_grad_() for t in (x, b))
    got = bias_act(x, b, impl="triton", **options)
    got.backward(dy.to(got))
    assert_near("bias_act", got, want)
    grad = gradient(exact[0])
    assert_near("bias_act", gradient(x), grad)
    scale = float(grad.abs().sum((0, 2)).max())
    assert_near("bias_act", gradient(b), gradient(exact[1]), scale)


@pytest.mark.parametrize("dim", range(4))
def test_bias_lies_along_the_named_dimension_whatever_the_layout(device: Any, dim: int) -> None:
    x, b = random(2, 3, 4, 5), random(2 + dim, seed=1)
    layouts = (x, x.contiguous(memory_format=torch.channels_last), x.transpose(2, 3).contiguous())
    for given in (layouts[0], layouts[1], layouts[2].transpose(2, 3), x.flip(0).flip(0)):
        got = bias_act(on(device, given), on(device, b), dim=dim, impl="triton")
        assert_near("bias_act", got, reference(x, b, dim=dim))


def test_nothing_to_do(device: Any) -> None:
    assert bias_act(on(device, random(0, 3)), impl="triton").shape == (0, 3)
    x = on(device, random(4))
    got = bias_act(x, impl="triton")
    assert torch.equal(got, x) and got.data_ptr() != x.data_ptr()


def test_contract_with_torch(device: Any) -> None:
    x = on(device, random(2, 3, 4, 5)).contiguous(memory_format=torch.channels_last)
    b = on(device, random(3, seed=1)).requires_grad_()
    given = x.requires_grad_(), b, 1, "lrelu", 0.2, 1.4, 0.5
    opcheck(torch.ops.vidhair.bias_act, given)
    opcheck(torch.ops.vidhair.bias_act, (x, None, 1, "swish", 0.0, 1.0, None))
    tensors = torch.ones_like(x), x.detach(), b.detach()
    opcheck(torch.ops.vidhair.bias_act_backward, (*tensors, *given[2:]))
