"""Pictures → codes."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.geometry import CropAxes
from vidhair.imaging.warp import cut_squares, to_unit
from vidhair.models.encoders.inversion import Inverter
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.types import Frames
from vidhair.wiring import Value, stage


@dataclass(frozen=True, kw_only=True)
class InvertConfig:
    batch: int = setting(
        16, "pictures that the encoder takes at once", low=1, high=256, affects=False
    )


@torch.inference_mode()
def invert(
    frames: Iterable[NDArray[np.uint8]], axes: CropAxes, inverter: Inverter, config: InvertConfig
) -> NDArray[np.float32]:
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


@dataclass(frozen=True)
class Latents(Value):
    """styles: W+ codes [T, L, D] float32; of frames without the face they mean nothing."""

    ROWS = ("styles",)
    styles: NDArray[np.float32]


@stage()
def latents(frames: Frames, track: FaceTrack, inverter: Inverter, config: InvertConfig) -> Latents:
    """The encoder's codes; zeros where there is no face."""
    present = track.present
    styles = np.zeros((len(present), inverter.num_ws, inverter.w_dim), np.float32)
    if present.any():
        here = track.axes_of(present)
        seen = (frame for frame, shown in zip(frames, present, strict=True) if shown)
        styles[present] = invert(seen, here, inverter, config)
    return Latents(styles)
