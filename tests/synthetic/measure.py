"""How near a matte and an edited clip come to the truth about a clip of hair of strands."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, uniform_filter

from vidhair.imaging.color import delta_e_2000, levels_to_lab
from vidhair.metrics import psnr

UNKNOWN = (0.02, 0.98)  # alphas between which hair and what is behind it mix
AROUND = 2  # pixels that are added around those
WINDOW = 9  # pixels within which contrast of strands is measured


@dataclass(frozen=True)
class Scores:
    """alpha_error: mean |alpha − truth| over the unknown band. leakage_db: PSNR to the source where
    there is no hair. delta_e: mean CIEDE2000 to the twin where alpha is above ½, of single pixels.
    contrast: local standard deviation of L there, over the twin's.
    """

    alpha_error: float
    leakage_db: float
    delta_e: float
    contrast: float


def measure(
    truth: Mapping[str, NDArray[Any]], alpha: NDArray[Any], edited: NDArray[Any], dye: int = 0
) -> Scores:
    """truth: what NAME.truth.npz of `vidhair synth --scene strands` holds. alpha: float [T, H, W],
    0 … 1. edited: uint8 [T, H, W, 3]. dye: which of the truth's twins it should be."""
    true = truth["alpha"].astype(np.float32) / 255
    band = (true > UNKNOWN[0]) & (true < UNKNOWN[1])
    band = maximum_filter(band, (1, 2 * AROUND + 1, 2 * AROUND + 1))
    inside = true > 0.5
    lab, twin = levels_to_lab(torch.from_numpy(edited)), twin_lab(truth, dye)
    differences = delta_e_2000(lab, twin).numpy()
    contrasts = [local_deviation(x[:, 0].numpy(), inside)[inside].mean() for x in (lab, twin)]
    return Scores(
        alpha_error=float(np.abs(alpha - true)[band].mean()),
        leakage_db=psnr(edited, truth["frames"], (true == 0).astype(np.float32)),
        delta_e=float(differences[inside].mean()),
        contrast=float(contrasts[0] / contrasts[1]),
    )


def twin_lab(truth: Mapping[str, NDArray[Any]], dye: int) -> torch.Tensor:
    return levels_to_lab(torch.from_numpy(truth["twins"][dye]))


def local_deviation(values: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[Any]:
    """Standard deviation [T, H, W] of the values inside, within a window around each pixel."""
    size = (1, WINDOW, WINDOW)
    weight = uniform_filter(inside.astype(np.float64), size)
    mean, square = (
        uniform_filter(np.where(inside, v, 0.0), size) / np.maximum(weight, 1e-6)
        for v in (values.astype(np.float64), values.astype(np.float64) ** 2)
    )
    found: NDArray[Any] = np.sqrt(np.maximum(square - mean**2, 0))
    return found
