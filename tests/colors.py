"""Colors as tests write them down."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.imaging.color import rgb_to_lab, srgb_to_linear


def lab(rgb: Any) -> NDArray[np.float32]:
    """sRGB [..., 3] in 0 … 1 → Lab [..., 3]."""
    found: NDArray[np.float32] = rgb_to_lab(torch.tensor(np.array(rgb, np.float32)), dim=-1).numpy()
    return found


def linear(rgb: Any) -> NDArray[np.float32]:
    """sRGB in 0 … 1 → light."""
    found: NDArray[np.float32] = srgb_to_linear(torch.tensor(np.array(rgb, np.float32))).numpy()
    return found
