"""Blending of generator features under hair masks (HairCLIPv2, Wei et al. 2023, section 3.2).

Features are [B, C, H, W]; masks [B, 1, H', W'] of 0 and 1 at any size. Each result takes the
place of the source's feature behind the block of its size.
"""

import torch.nn.functional as F
from torch import Tensor

from vidhair.imaging.morphology import enlarge_mask

ENLARGEMENT = 30  # side of the square, in pixels of a mask of 512


def blend(under: Tensor, over: Tensor, mask: Tensor) -> Tensor:
    """`over` where the mask is one, `under` where it is zero.

    The mask is brought to the features' size by bicubic interpolation, which may overshoot.
    """
    m = F.interpolate(mask.to(under.dtype), size=under.shape[2:], mode="bicubic")
    return over * m + under * (1 - m)


def blend_proxy(
    source: Tensor, bald: Tensor, proxy: Tensor, source_hair_and_ears: Tensor, proxy_hair: Tensor
) -> Tensor:
    """Take the source's hair off, then put the proxy's hair on.

    source_hair_and_ears: where the source has either; it is enlarged before use.
    proxy_hair: where the proxy's own picture has hair.
    """
    bared = blend(source, bald, enlarge_mask(source_hair_and_ears, ENLARGEMENT))
    return blend(bared, proxy, proxy_hair)


def color_mask(hair: Tensor, resolution: int) -> Tensor:
    """Where a color applies: the enlarged hair mask in the picture's resolution."""
    return F.interpolate(enlarge_mask(hair, ENLARGEMENT).float(), size=(resolution, resolution))
