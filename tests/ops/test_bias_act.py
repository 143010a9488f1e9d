import math

import numpy as np
import pytest
import scipy.special
import torch

from tests.tolerances import assert_close
from vidhair.ops import bias_act

# name: (function of x, gain that it has by default)
ACTIVATIONS = {
    "linear": (lambda x: x, 1),
    "relu": (lambda x: np.maximum(x, 0), math.sqrt(2)),
    "lrelu": (lambda x: np.where(x > 0, x, 0.2 * x), math.sqrt(2)),
    "tanh": (np.tanh, 1),
    "sigmoid": (scipy.special.expit, 1),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(x)), 1),
    "selu": (
        lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
        1,
    ),
    "softplus": (lambda x: np.logaddexp(x, 0), 1),
    "swish": (lambda x: x * scipy.special.expit(x), math.sqrt(2)),
}


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_activation_of_x_plus_bias_times_gain_clamped(act: str, dtype: torch.dtype) -> None:
    function, default_gain = ACTIVATIONS[act]
    x, b = random(3, 4, 5).to(dtype), random(4, seed=1).to(dtype)
    plain = function(x.double().numpy() + b.double().numpy()[:, None])
    assert_close("bias_act", bias_act(x, b, act=act), plain * default_gain)
    assert_close("bias_act", bias_act(x, b, act=act, gain=3.0), plain * 3)
    clamped = bias_act(x, b, act=act, gain=3.0, clamp=0.5)
    assert_close("bias_act", clamped, (plain * 3).clip(-0.5, 0.5))
    without = function(x.double().numpy()) * default_gain
    assert_close("bias_act", bias_act(x, act=act), without)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradients(act: str) -> None:
    x, b = random(2, 3, 4).requires_grad_(), random(3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, b: bias_act(x, b, act=act, gain=1.5, clamp=1.2), (x, b)
    )


@pytest.mark.parametrize("dim", range(-4, 4))
def test_bias_lies_along_the_named_dimension(dim: int) -> None:
    x = torch.zeros(2, 3, 4, 5)
    b = torch.arange(1.0, 1 + x.shape[dim])
    got = bias_act(x, b, dim=dim)
    assert torch.equal(got.movedim(dim, -1), b.expand(*got.movedim(dim, -1).shape))
    with pytest.raises(AssertionError, match="bias"):
        bias_act(x, torch.zeros(1), dim=dim)


def test_memory_keeps_its_order() -> None:
    x = random(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert bias_act(x, random(3), act="lrelu").stride() == x.stride()


def test_slope_of_lrelu_can_be_set() -> None:
    x = torch.tensor([[-2.0, 3.0]])
    assert torch.equal(bias_act(x, act="lrelu", alpha=0.5, gain=1), torch.tensor([[-1.0, 3.0]]))


def test_input_is_left_alone() -> None:
    x, b = random(2, 3, 4), random(3, seed=1)
    kept = x.clone()
    bias_act(x, b, act="lrelu", gain=2, clamp=0.1)
    bias_act(x)[0] = 7
    assert torch.equal(x[1:], kept[1:])
