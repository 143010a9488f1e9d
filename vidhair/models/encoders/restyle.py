"""Inversion in steps (ReStyle, Alaluf et al. 2021): look at what is still wrong, and correct it."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.models.generators.aligned import MovableSynthesis

STEPS = 3


def average_image(synthesis: MovableSynthesis, w_avg: Tensor, size: int = 256) -> Tensor:
    """The average face [3, size, size], aligned; w_avg: [D] or [L, D]."""
    codes = w_avg.expand(1, synthesis.config.num_ws, -1)
    return _seen_by_encoder(synthesis, codes, size)[0]


def restyle(
    image: Tensor,
    encoder: Callable[[Tensor], Tensor],
    synthesis: MovableSynthesis,
    w_avg: Tensor,
    *,
    steps: int = STEPS,
    average: Tensor | None = None,
) -> Tensor:
    """Codes after every step, [B, steps, L, D]; the last ones are the inversion.

    image: aligned pictures [B, 3, S, S] in −1 … 1. encoder: [B, 6, S, S] → change of the codes
    [B, L, D]. average: `average_image`, if it is at hand. The first change is added to the average
    code, each later one to the codes before. Whatever transform the codes are rendered with
    afterwards, the encoder always sees the aligned face.
    """
    assert steps > 0
    size = image.shape[-1]
    codes = w_avg.expand(1, synthesis.config.num_ws, -1)
    seen = average_image(synthesis, w_avg, size) if average is None else average
    seen = seen.expand_as(image)
    history = []
    for step in range(steps):
        if step:
            seen = _seen_by_encoder(synthesis, codes, size)
        codes = codes + encoder(torch.cat([image, seen], 1))
        history.append(codes)
    return torch.stack(history, 1)


def _seen_by_encoder(synthesis: MovableSynthesis, codes: Tensor, size: int) -> Tensor:
    """Render without a transform; mean over the pixels of a cell, or their repetition."""
    aligned = torch.eye(3, device=codes.device)
    return F.adaptive_avg_pool2d(synthesis(codes, transform=aligned), size)
