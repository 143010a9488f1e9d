"""Networks small enough for tests, with random weights that are the same every time."""

from collections.abc import Callable

import torch
from torch import nn

from vidhair.models.stylegan2 import StyleGAN2Config
from vidhair.models.stylegan3 import Generator, StyleGAN3Config

T = {"conv_kernel": 3, "radial_filters": False}
R = {"conv_kernel": 1, "radial_filters": True}


def tiny_config(resolution: int = 16, **changes) -> StyleGAN3Config:
    small = {"z_dim": 8, "w_dim": 12, "channel_base": 256, "channel_max": 12}
    return StyleGAN3Config(resolution=resolution, **small | changes)


def tiny_generator(resolution: int = 16, *, seed: int = 0, **changes) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(tiny_config(resolution, **changes))
    return generator.eval().requires_grad_(False)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_stylegan2_config(resolution: int = 32, **changes) -> StyleGAN2Config:
    small = {"z_dim": 8, "w_dim": 8, "channel_base": 128, "channel_max": 6, "mapping_layers": 2}
    return StyleGAN2Config(resolution=resolution, **small | changes)


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter and buffer that a checkpoint stores drawn anew, none of them special."""
    draw = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    return module.eval().requires_grad_(False)


def seeded(build: Callable[[], nn.Module], *, seed: int = 0) -> nn.Module:
    """A module for evaluation whose random weights are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build()
    return module.eval().requires_grad_(False)
