"""What someone else might bring along: right, wrong and broken implementations, called by --vs."""

import torch

from vidhair.ops.bias_act import bias_act as right_bias_act
from vidhair.ops.filtered_lrelu import reference as filtered_lrelu  # noqa: F401  named as the op

CALLS: list[tuple] = []  # (args, kwargs) of `recorded`
NUMBER = 3


def bias_act(x, b=None, **options):
    """Wrong by a tenth of every value."""
    return right_bias_act(x, b, **options) * 1.1


def recorded(*args, **kwargs):
    CALLS.append((args, kwargs))
    return right_bias_act(*args, **kwargs)


def small(x, *args, **kwargs):
    return x[:, :, :1]


def not_finite(x, *args, **kwargs):
    return torch.full_like(x, torch.nan)


def broken(*args, **kwargs):
    raise ValueError("no such thing\nand more lines")


def no_tensor(*args, **kwargs):
    return [1.0]


def render(generator, ws, transform):
    """Half as bright."""
    return generator.synthesis(ws, transform=transform) / 2


def render_without_gradients(generator, ws, transform):
    with torch.no_grad():
        return generator.synthesis(ws, transform=transform)


def encode(network, pictures):
    return network(pictures)
