"""The ops as torch knows them: compiling and exporting go through them, and change nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch.library import opcheck

from tests.kernels.test_filtered_lrelu import mirrored
from tests.models.tiny import R, T, random, tiny_generator
from vidhair.errors import DeviceUnavailable
from vidhair.ops import filtered_lrelu

pytestmark = pytest.mark.usefixtures("one_thread")

# Wide enough for the fast convolution, and no more layers than it takes to have all kinds.
SMALL = {"num_layers": 4, "channel_base": 1024, "channel_max": 48}


def lrelu_arguments(
    radial: bool = False, *, gradients: bool = True, **changes: Any
) -> tuple[Any, ...]:
    """Of `torch.ops.vidhair.filtered_lrelu`."""
    given = {
        "x": random(2, 3, 9, 8).requires_grad_(gradients),
        "fu": mirrored(12, seed=1),
        "fd": mirrored(12, 12) if radial else mirrored(12),
        "b": random(3, seed=3).requires_grad_(gradients),
        "up": 2,
        "down": 2,
        "padding": [9, 8, 9, 8],
        "gain": 1.4,
        "slope": 0.2,
        "clamp": 0.8,
        "flip_filter": False,
    }
    return tuple((given | changes).values())


def conv_arguments(*, gradients: bool, demodulated: bool = True) -> tuple[Any, ...]:
    """Of `torch.ops.vidhair.modulated_conv`."""
    weight, style = random(5, 48, 3, 3, seed=1), random(2, 48, seed=2)
    tensors = [random(2, 48, 7, 6), weight, style]
    tensors += [random(2, 5, seed=3)] if demodulated else []
    for tensor in tensors:
        tensor.requires_grad_(gradients)
    return *tensors, *(() if demodulated else (None,)), 1


class TestContractWithTorch:
    """Schema, shapes and strides while tracing, and the gradients: torch's own checks."""

    @pytest.mark.parametrize("gradients", [True, False])
    @pytest.mark.parametrize("radial", [False, True], ids=["separable", "radial"])
    def test_filtered_lrelu(self, radial: bool, gradients: bool) -> None:
        opcheck(
            torch.ops.vidhair.filtered_lrelu, lrelu_arguments(radial, gradients=gradients)
        )  # fmt: skip

    def test_filtered_lrelu_with_fewer_arguments(self) -> None:
        given = lrelu_arguments(b=None, clamp=None, flip_filter=True)
        opcheck(torch.ops.vidhair.filtered_lrelu, given)
        x = random(2, 3, 9, 8).bfloat16().contiguous(memory_format=torch.channels_last)
        opcheck(torch.ops.vidhair.filtered_lrelu, lrelu_arguments(x=x, gradients=False))

    def test_backward_of_filtered_lrelu(self) -> None:
        given = lrelu_arguments(gradients=False)
        dy = torch.randn_like(torch.ops.vidhair.filtered_lrelu(*given))
        opcheck(torch.ops.vidhair.filtered_lrelu_backward, (dy, *given))

    @pytest.mark.parametrize("demodulated", [True, False])
    def test_modulated_conv(self, demodulated: bool) -> None:
        given = conv_arguments(gradients=False, demodulated=demodulated)
        opcheck(torch.ops.vidhair.modulated_conv, given)


def run(
    call: Callable[..., Any], x: torch.Tensor, weights: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """A picture and the gradients of the codes and the weights."""
    x = x.clone().requires_grad_()
    y = call(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *weights], random(*y.shape, seed=7))]


@pytest.mark.parametrize("configuration", [T, R], ids=["T", "R"])
class TestGenerator:
    def test_compiled_forward_and_backward_equal_eager(self, configuration: dict[str, int]) -> None:
        generator = tiny_generator(16, **configuration | SMALL)
        synthesis = generator.synthesis.requires_grad_(True)
        ws = random(2, generator.config.num_ws, generator.config.w_dim)
        weights = [p for layer in synthesis.tunable() for p in layer.parameters()]
        torch.compiler.reset()
        compiled = torch.compile(synthesis, fullgraph=True, backend="aot_eager")
        for got, want in zip(
            run(compiled, ws, weights), run(synthesis, ws, weights), strict=True
        ):  # fmt: skip
            torch.testing.assert_close(got, want)

    def test_exported_equals_eager(self, configuration: dict[str, int]) -> None:
        generator = tiny_generator(16, **configuration | SMALL)
        synthesis, size = generator.synthesis, generator.config
        ws = random(2, size.num_ws, size.w_dim)
        with torch.no_grad():
            exported = torch.export.export(synthesis, (ws,))
            others = random(2, size.num_ws, size.w_dim, seed=1)
            torch.testing.assert_close(exported.module()(others), synthesis(others))
        used = {str(node.target) for node in exported.graph.nodes}
        assert "vidhair.filtered_lrelu.default" in used


def test_second_gradients_are_refused() -> None:
    """Never silently wrong."""
    x = random(1, 3, 9, 9).requires_grad_()
    y = filtered_lrelu(x, fu=mirrored(12), fd=mirrored(12), up=2, down=2, padding=9)
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(DeviceUnavailable, match="no second one; VIDHAIR_IMPL=reference has it"):
        dx.sum().backward()


def test_a_filter_that_tracing_could_not_see_is_checked_when_it_runs() -> None:
    """The graph was made for a filter that is the same from all sides."""

    def call(x: Any, fd: Any) -> Any:
        return filtered_lrelu(x, fu=torch.ones(12), fd=fd, up=2, down=2, padding=9)

    x, even, lopsided = random(1, 1, 9, 9), torch.ones(12, 12), random(12, 12)
    graph = torch.export.export(_Module(call), (x, even)).module()
    torch.testing.assert_close(graph(x, even), call(x, even))
    with pytest.raises(DeviceUnavailable, match="the same from either end"):
        graph(x, lopsided)
    with torch.no_grad():
        even.copy_(lopsided)  # the same tensor, another filter
    with pytest.raises(DeviceUnavailable, match="the same from either end"):
        graph(x, even)


class _Module(torch.nn.Module):
    def __init__(self, call: Callable[..., Any]) -> None:
        super().__init__()
        self.call = call

    def forward(self, *args: Any) -> Any:
        return self.call(*args)
