"""The generators that are timed, in the shapes they are published in."""

import copy
from typing import Any

from torch import nn

from vidhair.bench.options import Options
from vidhair.models.folding import folded
from vidhair.models.generators.mapping import GeneratorConfig
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import StyleGAN3Config
from vidhair.models.styleganex.network import StyleGANEXConfig


def _t(resolution: int, base: int) -> StyleGAN3Config:
    return StyleGAN3Config(resolution=resolution, channel_base=base, channel_max=512)


def _r(resolution: int, base: int) -> StyleGAN3Config:
    return StyleGAN3Config(
        resolution=resolution,
        channel_base=base,
        channel_max=1024,
        conv_kernel=1,
        radial_filters=True,
    )


# name → (size of the picture, configuration)
STYLEGAN3: dict[str, tuple[int, StyleGAN3Config]] = {
    "256-T": (256, _t(256, 16384)),
    "256-R": (256, _r(256, 32768)),
    "1024-T": (1024, _t(1024, 32768)),
    "1024-R": (1024, _r(1024, 65536)),
}
STYLEGAN2: dict[str, tuple[int, GeneratorConfig]] = {
    "256-SG2": (256, StyleGAN2Config(resolution=256)),
    "1024-SG2": (1024, StyleGAN2Config(resolution=1024)),
}
# With all skips, as for editing a video.
STYLEGANEX: dict[str, tuple[int, StyleGANEXConfig]] = {
    "1024-EX": (1024, StyleGANEXConfig(resolution=1024, skips=7, fuse_rgb=True)),
}
TRAINED = ("256-T",)  # also timed forward and backward, as pivotal tuning runs it


def as_loaded(network: nn.Module, options: Options) -> Any:
    """For inference alone, as packs hand out encoders; a copy, if someone else is going to look at
    the network."""
    return folded(network if options.baseline is None else copy.deepcopy(network))
