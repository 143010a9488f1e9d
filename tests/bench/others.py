"""What someone else might bring along: right, wrong and broken implementations, called by --vs."""

from typing import Any

import torch

from vidhair.models.encoders.inversion import PublishedEncoder, RestyleLoop
from vidhair.models.generators.stylegan3 import Generator
from vidhair.ops.bias_act import bias_act as right_bias_act
from vidhair.ops.filtered_lrelu import reference as filtered_lrelu  # noqa: F401  named as the op

CALLS: list[tuple[Any, ...]] = []  # (args, kwargs) of `recorded`
NUMBER = 3


def bias_act(x: torch.Tensor, b: torch.Tensor | None = None, **options: Any) -> torch.Tensor:
    """Wrong by a tenth of every value."""
    return right_bias_act(x, b, **options) * 1.1


def recorded(*args: Any, **kwargs: Any) -> torch.Tensor:
    CALLS.append((args, kwargs))
    return right_bias_act(*args, **kwargs)


def small(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return x[:, :, :1]


def not_finite(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return torch.full_like(x, torch.nan)


def broken(*args: Any, **kwargs: Any) -> None:
    raise ValueError("no such thing\nand more lines")


def no_tensor(*args: Any, **kwargs: Any) -> list[float]:
    return [1.0]


def render(generator: Generator, ws: torch.Tensor, transform: torch.Tensor) -> torch.Tensor:
    """Half as bright."""
    return generator.synthesis(ws, transform=transform) / 2


def render_without_gradients(
    generator: Generator, ws: torch.Tensor, transform: torch.Tensor
) -> torch.Tensor:
    with torch.no_grad():
        return generator.synthesis(ws, transform=transform)


def encode(network: PublishedEncoder | RestyleLoop, pictures: torch.Tensor) -> torch.Tensor:
    return network(pictures)
