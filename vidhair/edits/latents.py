"""The arithmetic of published edits: what each adds to codes.

Shapes: B batch, L codes per image, W width of a code, C channels of the S space.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def along(ws: Tensor, direction: Tensor, distance: float | Tensor) -> Tensor:
    """InterFaceGAN (Shen et al. 2020, section 3.2): w + α·n.

    ws: [B, L, W]. direction: [W], [1, W] or [L, W]. distance: a number, or [N, 1, 1, 1] for N
    results [N, B, L, W], or [B, 1, 1] for one per code set.
    """
    return ws + distance * direction


def add_change(ws: Tensor, change: Tensor, strength: float) -> Tensor:
    """A mapper's step: add a change [B, K, W] to the first K of the codes [B, L, W]."""
    k = change.shape[1]
    assert k <= ws.shape[1], f"a change of {k} codes for {ws.shape[1]}"
    return torch.cat([ws[:, :k] + strength * change, ws[:, k:]], dim=1)


def set_component(
    ws: Tensor,
    mean: Tensor,
    component: Tensor,
    std: Tensor | float,
    value: Tensor | float,
    codes: slice | list[int],
) -> Tensor:
    """GANSpace (Härkönen et al. 2020): give a principal component a value in standard deviations.

    ws: [B, L, W]. mean, component: [W], the component of unit length. value: one, or [B]. codes:
    which ones change. Where the codes stand is read from the first of them.
    """
    mean, component = mean.flatten(), component.flatten()
    position = (ws[:, 0] - mean) @ component / std
    change = (value - position)[:, None] * component * std
    edited = ws.clone()
    edited[:, codes] += change[:, None]
    return edited


def factorize(weights: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """SeFa (Shen and Zhou 2021, eq. 5): directions to which the layers' styles respond most.

    weights: [C_i, W] of the layers' affine maps. Returns directions [W, W], one per row and of
    unit length, and their eigenvalues [W], the largest first. A direction's sign is arbitrary.
    """
    rows = torch.cat([weight.double() for weight in weights])
    rows = rows / rows.norm(dim=1, keepdim=True)
    values, vectors = torch.linalg.eigh(rows.t() @ rows)
    dtype = weights[0].dtype
    return vectors.t().flip(0).to(dtype), values.flip(0).to(dtype)


def along_in_codes(
    ws: Tensor, direction: Tensor, distance: float, codes: slice | Sequence[int]
) -> Tensor:
    """Move some of the codes [B, L, W] along a direction [W], or each along its own [K, W]."""
    edited = ws.clone()
    edited[:, codes] += distance * direction
    return edited


def text_direction(neutral: Tensor, target: Tensor) -> Tensor:
    """Unit vector [E] from one text to another, each given as embeddings [N, E] of N phrasings."""

    def average(embeddings: Tensor) -> Tensor:
        mean = (embeddings / embeddings.norm(dim=-1, keepdim=True)).mean(0)
        unit: Tensor = mean / mean.norm()
        return unit

    change = average(target) - average(neutral)
    direction: Tensor = change / change.norm()
    return direction


def style_direction(
    wanted: Tensor, effects: Tensor, stds: Sequence[Tensor], threshold: float
) -> list[Tensor]:
    """StyleCLIP's global direction (Patashnik et al. 2021, section 6): one change per layer of S.

    wanted: [E], of `text_direction`. effects: [C, E], what each channel does to the embedding.
    stds: [C_i] per layer, C in all, the channels' standard deviations. Channels whose relevance
    is below the threshold stay; the most relevant one moves by one standard deviation.
    """
    relevance = effects @ wanted
    relevance = torch.where(relevance.abs() < threshold, 0.0, relevance)
    largest = relevance.abs().max()
    if largest > 0:
        relevance = relevance / largest
    parts = relevance.split([len(std) for std in stds])
    return [part * std for part, std in zip(parts, stds, strict=True)]
