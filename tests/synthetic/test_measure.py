"""The measures of mattes and dyes know what is wrong with a result."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from tests.synthetic.measure import local_deviation, measure


@pytest.fixture(scope="module")
def truth() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    alpha = np.clip(np.linspace(-1, 2, 40), 0, 1)[None, None].repeat(30, 1).repeat(2, 0)
    strands = rng.uniform(0.6, 1.4, (2, 30, 40, 1))
    hair, dyed = strands * [40, 30, 25], strands * [160, 120, 70]
    wall = np.full((2, 30, 40, 3), 90.0)
    levels = (np.rint(255 * alpha) / 255)[..., None]
    frames, twin = (
        np.rint(wall + levels * (x - wall)).clip(0, 255).astype(np.uint8) for x in (hair, dyed)
    )
    return {"alpha": np.rint(255 * alpha).astype(np.uint8), "frames": frames, "twins": twin[None]}


@pytest.fixture
def alpha(truth: Any) -> Any:
    return truth["alpha"] / np.float32(255)


def test_the_twin_itself_is_perfect(truth: Any, alpha: Any) -> None:
    assert astuple(measure(truth, alpha, truth["twins"][0])) == (0, np.inf, 0, 1)


def test_the_unedited_clip_differs_in_the_hair_alone(truth: Any, alpha: Any) -> None:
    scores = measure(truth, alpha, truth["frames"])
    assert scores.leakage_db == np.inf and scores.delta_e > 20


def test_an_error_of_alpha_counts_in_the_band_alone(truth: Any, alpha: Any) -> None:
    band = (alpha > 0.02) & (alpha < 0.98)
    at = np.flatnonzero(band[0, 0])
    near, far = alpha.copy(), alpha.copy()
    near[..., at[0] - 2] += 0.25
    far[..., : at[0] - 2] += 0.25
    expected = 0.25 / (len(at) + 4)
    assert measure(truth, near, truth["frames"]).alpha_error == pytest.approx(expected, rel=1e-4)
    assert measure(truth, far, truth["frames"]).alpha_error == 0


def test_leakage_is_what_changes_outside(truth: Any, alpha: Any) -> None:
    spilled = truth["twins"][0].copy()
    spilled[:, :, 0] += 10
    outside = int((truth["alpha"][0, 0] == 0).sum())
    expected = 10 * np.log10(255**2 / (100 / outside))
    assert measure(truth, alpha, spilled).leakage_db == pytest.approx(expected, abs=1e-3)


def test_flat_hair_has_less_contrast(truth: Any, alpha: Any) -> None:
    twin = truth["twins"][0].astype(np.float64)
    inside = truth["alpha"] > 127
    flat = twin.copy()
    flat[inside] = twin[inside].mean(0) + 0.5 * (twin[inside] - twin[inside].mean(0))
    scores = measure(truth, alpha, np.rint(flat).astype(np.uint8))
    assert 0.4 < scores.contrast < 0.6


def test_deviation_does_not_look_outside() -> None:
    values = np.zeros((1, 12, 12))
    values[:, :, 6:] = 100
    inside = values > 0
    assert local_deviation(values, inside)[inside].max() == pytest.approx(0, abs=1e-4)
    assert local_deviation(values, np.ones_like(inside))[0, 6, 6] > 40
