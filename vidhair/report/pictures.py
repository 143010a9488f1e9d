"""Tensors as pictures to look at."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

# Colors of the 16 classes of HairCLIPv2's parsing network; RGB.
PARSING_COLORS = (
    (0, 0, 0), (102, 204, 255), (255, 204, 255), (255, 255, 153), (255, 255, 153), (255, 255, 102),
    (51, 255, 51), (0, 153, 255), (0, 255, 255), (0, 255, 255), (204, 102, 255), (0, 153, 255),
    (0, 255, 153), (0, 51, 0), (102, 153, 255), (255, 153, 102),
)  # fmt: skip


def to_picture(image: Tensor) -> NDArray[np.uint8]:
    """[3, H, W] in −1 … 1 → uint8 [H, W, 3], cut off rather than rounded."""
    scaled = (image.detach().cpu().movedim(0, -1) + 1) / 2 * 255
    return scaled.clamp(0, 255).numpy().astype(np.uint8)


def paint_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class indices [H, W] → uint8 [H, W, 3]; unknown classes are black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(PARSING_COLORS)] = PARSING_COLORS
    return palette[labels]
