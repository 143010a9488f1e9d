"""Pictures → codes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from vidhair.geometry import CropAxes
from vidhair.models.inversion import Inverter
from vidhair.ops.warp import cut_squares, to_unit
from vidhair.settings import setting


@dataclass(frozen=True, kw_only=True)
class InvertConfig:
    batch: int = setting(16, "pictures that the encoder takes at once", low=1, high=256)


@torch.inference_mode()
def invert(
    frames: Iterable[np.ndarray], axes: CropAxes, inverter: Inverter, config: InvertConfig
) -> np.ndarray:
    """Encode the FFHQ crop of every frame. frames: T of uint8 [H, W, 3]; axes: [T, 2] each.

    Returns W+ [T, L, D] float32.
    """
    codes, frames = [], iter(frames)
    for at in range(0, len(axes.x), config.batch):
        centre, x = (v[at : at + config.batch] for v in (axes.centre, axes.x))
        crops = [
            cut_squares(
                to_unit(frame[None], inverter.device), c[None], a[None], inverter.size, like=x
            )
            for c, a, frame in zip(centre, x, frames, strict=False)
        ]
        codes.append(inverter.codes(torch.cat(crops)).float().cpu())
    return torch.cat(codes).numpy()
