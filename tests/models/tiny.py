"""Networks small enough for tests, with random weights that are the same every time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import nn

from vidhair.models.encoders.inversion import PublishedEncoder
from vidhair.models.encoders.style import StyleEncoderConfig
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.styleganex.network import StyleGANEX, StyleGANEXConfig

Module = TypeVar("Module", bound=nn.Module)
T: dict[str, Any] = {"conv_kernel": 3, "radial_filters": False}
R: dict[str, Any] = {"conv_kernel": 1, "radial_filters": True}


def tiny_config(resolution: int = 16, **changes: Any) -> StyleGAN3Config:
    small: dict[str, Any] = {"z_dim": 8, "w_dim": 12, "channel_base": 256, "channel_max": 12}
    return StyleGAN3Config(resolution=resolution, **small | changes)


def tiny_generator(resolution: int = 16, *, seed: int = 0, **changes: Any) -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        generator = Generator(tiny_config(resolution, **changes))
    return generator.eval().requires_grad_(False)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tiny_stylegan2_config(resolution: int = 32, **changes: Any) -> StyleGAN2Config:
    small = {"z_dim": 8, "w_dim": 8, "channel_base": 128, "channel_max": 6, "mapping_layers": 2}
    return StyleGAN2Config(resolution=resolution, **small | changes)


def randomised(module: Module, seed: int = 0) -> Module:
    """Every parameter and buffer that a checkpoint stores drawn anew, none of them special."""
    draw = torch.Generator().manual_seed(seed)
    for tensor in module.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=draw))
    return module.eval().requires_grad_(False)


def seeded(build: Callable[[], Module], *, seed: int = 0) -> Module:
    """A module for evaluation whose random weights are the same every time."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = build()
    return module.eval().requires_grad_(False)


def tiny_published_encoder(
    kind: str, *, num_ws: int = 16, w_dim: int = 12, steps: int = 2, seed: int = 0
) -> PublishedEncoder:
    """For pictures of 32 × 32, with an average code that is not zero."""
    config = StyleEncoderConfig(
        num_ws=num_ws,
        w_dim=w_dim,
        size=32,
        in_channels=6 if kind.startswith("restyle") else 3,
        widths=(4, 5, 6, w_dim),
        units=(1, 1, 1, 1),
    )
    encoder = seeded(lambda: PublishedEncoder(kind, config, steps), seed=seed)
    encoder.w_avg.copy_(random(num_ws, w_dim, seed=seed + 1))
    return encoder


TINY_STYLEGANEX = StyleGANEXConfig(
    resolution=64,
    w_dim=16,
    channel_base=256,
    channel_max=8,
    mapping_layers=2,
    skips=4,
    fuse_rgb=True,
)


def tiny_styleganex(**changes: Any) -> StyleGANEX:
    """With an average code, heads and fusions that let through more than they do at first."""
    network = seeded(lambda: StyleGANEX(replace(TINY_STYLEGANEX, **changes)))
    draw = torch.Generator().manual_seed(3)
    network.w_avg.copy_(torch.randn(TINY_STYLEGANEX.w_dim, generator=draw))
    for head in network.encoder.heads:
        convolutions: Any = head.convolutions
        for layer in convolutions[::2]:
            layer.weight.mul_(3)
    for weight in network.fusions.parameters():
        weight.add_(torch.randn(weight.shape, generator=draw), alpha=0.1)
    return network
