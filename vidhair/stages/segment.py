"""Where hair is likely, before its strands are looked for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vidhair.wiring import Value


@dataclass(frozen=True)
class HairPrior(Value):
    """levels: uint8 [T, h, w] on the region's prior_grid, how likely each sample is hair."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]
