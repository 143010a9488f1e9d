import pytest
import torch
import torch.nn.functional as F

from tests.tolerances import assert_close, gradient
from vidhair.ops.conv2d import conv2d


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["f32", "bf16"])
@pytest.mark.parametrize(
    ("kernel", "padding"), [((3, 3), 2), ((1, 1), 0), ((3, 2), 0), ((5, 5), 1)]
)
def test_equals_the_library_in_value_and_gradients(
    kernel: tuple[int, int], padding: int, dtype: torch.dtype
) -> None:
    x, weight = random(3, 4, 9, 7).to(dtype), random(5, 4, *kernel, seed=1).to(dtype)
    exact = x.double().requires_grad_(), weight.double().requires_grad_()
    want = F.conv2d(*exact, padding=padding)
    dy = random(*want.shape, seed=2).to(dtype)
    want.backward(dy.double())

    y = conv2d(x.requires_grad_(), weight.requires_grad_(), padding=padding)
    y.backward(dy)
    assert_close("conv2d", y, want)
    assert_close("conv2d", gradient(x), exact[0].grad)
    assert_close("conv2d", gradient(weight), exact[1].grad)


@pytest.mark.parametrize("trained", ["x", "weight"])
def test_one_gradient_alone(trained: str) -> None:
    tensors = {"x": random(2, 3, 6, 6).bfloat16(), "weight": random(4, 3, 3, 3, seed=1).bfloat16()}
    tensors[trained].requires_grad_()
    conv2d(**tensors, padding=1).float().square().sum().backward()
    other = tensors["weight" if trained == "x" else "x"].grad
    exact = {name: t.detach().double() for name, t in tensors.items()}
    exact[trained].requires_grad_()
    F.conv2d(exact["x"], exact["weight"], padding=1).square().sum().backward()
    assert other is None
    assert_close("conv2d", gradient(tensors[trained]), exact[trained].grad)
