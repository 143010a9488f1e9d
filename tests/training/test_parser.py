"""The parser's loss."""

import pytest
import torch

from vidhair.models.parsers.face_parser import Label
from vidhair.training.parser import HAIR_WEIGHT, STRAND_WEIGHT, soft_cross_entropy

WEIGHT = 1 + HAIR_WEIGHT * 0.3 + STRAND_WEIGHT * 0.21  # of a pixel that is 0.3 hair and 0.7 skin


def planes(*shares: dict[Label, float]) -> torch.Tensor:
    """[1, L, 1, W]: the shares of the labels in each pixel."""
    target = torch.zeros(1, len(Label), 1, len(shares))
    for column, pixel in enumerate(shares):
        for label, share in pixel.items():
            target[0, label, 0, column] = share
    return target


def test_the_loss_is_least_at_the_shares_themselves() -> None:
    target = planes({Label.HAIR: 0.3, Label.SKIN: 0.7}, {Label.CLOTHES: 1.0})
    right = target.clamp_min(1e-6).log()
    least = float(soft_cross_entropy(right, target))
    assert least == pytest.approx(0.61 * WEIGHT / (WEIGHT + 1), rel=0.01)
    for seed in range(5):
        noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(seed))
        assert float(soft_cross_entropy(right + 0.3 * noise, target)) > least


def test_pixels_that_are_partly_hair_count_most_and_hair_more_than_the_rest() -> None:
    half = {Label.HAIR: 0.5, Label.BACKGROUND: 0.5}
    pixels = [half, {Label.HAIR: 1.0}, {Label.SKIN: 1.0}, {Label.BACKGROUND: 1.0}]
    target = planes(*pixels)
    costs = []
    for column in range(len(pixels)):
        logits = target.clamp_min(1e-6).log()
        logits[0, :, 0, column] = 0
        logits[0, Label.CLOTHES, 0, column] = 5  # wrong in every case
        costs.append(float(soft_cross_entropy(logits, target)))
    assert costs[0] > costs[1] > costs[2] == pytest.approx(costs[3])
