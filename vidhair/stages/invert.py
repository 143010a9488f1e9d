"""Pictures → codes."""

from dataclasses import dataclass

import numpy as np
import torch

from vidhair.geometry import CropAxes
from vidhair.models.inversion import Inverter
from vidhair.ops.warp import cut_squares, to_unit
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
    frames: np.ndarray, axes: CropAxes, inverter: Inverter, config: InvertConfig
) -> np.ndarray:
    """Encode the FFHQ crop of every frame. frames: uint8 [T, H, W, 3]; axes: [T, 2] each.

    Returns W+ [T, L, D] float32.
    """
    codes = []
    for at in range(0, len(frames), config.batch):
        rows = slice(at, at + config.batch)
        crops = cut_squares(
            to_unit(frames[rows], inverter.device), axes.centre[rows], axes.x[rows], inverter.size
        )
        codes.append(inverter.codes(crops).float().cpu())
    return torch.cat(codes).numpy()


@dataclass(frozen=True)
class Latents(Value):
    """styles: W+ codes [T, L, D] float32; of frames without the face they mean nothing."""

    ROWS = ("styles",)
    styles: np.ndarray


@stage()
def latents(frames: Frames, track: FaceTrack, inverter: Inverter, config: InvertConfig) -> Latents:
    """The encoder's codes; zeros where there is no face."""
    present = track.present
    styles = np.zeros((len(present), inverter.num_ws, inverter.w_dim), np.float32)
    if present.any():
        here = track.axes_of(present)
        styles[present] = invert(frames.pixels[present], here, inverter, config)
    return Latents(styles)
