"""Pigment: absorption and color belong together."""

import numpy as np

from vidhair.imaging.color import rgb_to_lab
from vidhair.synthetic import pigment


def test_albedo_and_absorption_are_inverses() -> None:
    albedo = np.array([[0.9, 0.5, 0.2], [0.01, 0.1, 0.4]], np.float32)
    back = pigment.albedo_of(pigment.absorption_of(albedo))
    np.testing.assert_allclose(back, albedo, rtol=1e-5)


def test_melanin_makes_the_colors_of_hair() -> None:
    import torch

    kinds = {"black": (8, 0), "brown": (1.3, 0), "blonde": (0.3, 0), "ginger": (0.2, 2.0)}
    colors = {n: pigment.albedo_of(pigment.melanin(*m)) for n, m in kinds.items()}
    levels = {n: pigment.srgb_levels(c) for n, c in colors.items()}
    lab = {n: rgb_to_lab(torch.from_numpy(v[None] / 255.0))[0] for n, v in levels.items()}
    assert lab["black"][0] < lab["brown"][0] < lab["blonde"][0]
    assert lab["ginger"][1] > lab["blonde"][1] and lab["black"][0] < 2


def test_levels_come_back() -> None:
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(pigment.srgb_levels(pigment.linear(levels / 255)), levels)
