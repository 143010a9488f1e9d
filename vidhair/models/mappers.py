"""Networks that turn codes into changes of codes.

Shapes: B batch, L codes per image, W width of a code.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from vidhair.models.generators.mapping import (
    MAPPING_LR_MULTIPLIER,
    EqualizedLinear,
    normalize_second_moment,
)

# Codes of StyleCLIP's levels: pose and shape, features, color and texture.
COARSE_END, MEDIUM_END = 5, 8
STYLECLIP_STRENGTH = 0.1
# The bald mapper moves the codes that shape the hair, and somewhat further than it was trained to.
BALD_CODES = 8
BALD_GAIN = 1.2


class CodeMapper(nn.Module):
    """A few layers, the same for every code.

    normalize: divide by the root mean square over the codes of a picture first, per component:
    the published mappers of StyleCLIP do so.
    """

    def __init__(self, w_dim: int = 512, *, depth: int = 4, normalize: bool = True):
        super().__init__()
        self.normalize = normalize
        self.layers = nn.ModuleList(
            EqualizedLinear(w_dim, w_dim, act="lrelu", lr_multiplier=MAPPING_LR_MULTIPLIER)
            for _ in range(depth)
        )

    def forward(self, ws: Tensor) -> Tensor:
        """[B, L, W] → [B, L, W]."""
        if self.normalize:
            ws = normalize_second_moment(ws)
        x = ws.flatten(0, 1)
        for layer in self.layers:
            x = layer(x)
        return x.view_as(ws)


class LevelsMapper(nn.Module):
    """StyleCLIP's latent mapper (Patashnik et al. 2021, section 5): one network per level.

    A level without a network stays as it is.
    """

    def __init__(
        self, w_dim: int = 512, *, coarse: bool = True, medium: bool = True, fine: bool = True
    ):
        super().__init__()
        self.coarse = CodeMapper(w_dim) if coarse else None
        self.medium = CodeMapper(w_dim) if medium else None
        self.fine = CodeMapper(w_dim) if fine else None

    def forward(self, ws: Tensor) -> Tensor:
        """W+ [B, L, W] → its change [B, L, W], to be scaled by about `STYLECLIP_STRENGTH`."""
        mappers = (self.coarse, self.medium, self.fine)
        changes = []
        for mapper, (start, stop) in zip(
            mappers, pairwise((0, COARSE_END, MEDIUM_END, ws.shape[1])), strict=True
        ):
            level = ws[:, start:stop]
            changes.append(torch.zeros_like(level) if mapper is None else mapper(level))
        return torch.cat(changes, dim=1)


class BaldMapper(nn.Module):
    """HairMapper (Wu et al. 2022): the change that takes the hair off.

    strength: by what the change is to be multiplied: the checkpoint's alpha times `BALD_GAIN`.
    """

    def __init__(self, w_dim: int = 512, *, depth: int = 8, strength: float = 1.0):
        super().__init__()
        self.strength = strength
        self.structure = CodeMapper(w_dim, depth=depth, normalize=False)

    def forward(self, ws: Tensor) -> Tensor:
        """W+ [B, L, W] → change of its first codes [B, 8, W], to be scaled by `strength`."""
        result: Tensor = self.structure(ws[:, :BALD_CODES])
        return result
