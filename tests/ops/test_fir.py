from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidhair.ops.fir import disc_response, kaiser, lowpass


def response(f: NDArray[Any], frequency: float, rate: float, direction: float = 0.0) -> float:
    """Gain of a centred filter at a frequency, along a direction in radians (2-D only)."""
    at = (np.arange(f.shape[0]) - (f.shape[0] - 1) / 2) / rate
    if f.ndim == 1:
        return float((f * np.cos(2 * np.pi * frequency * at)).sum())
    along = np.cos(direction) * at[None, :] + np.sin(direction) * at[:, None]
    return float((f * np.cos(2 * np.pi * frequency * along)).sum())


@given(
    taps=st.integers(2, 48),
    cutoff=st.floats(0.1, 0.4),
    half_width=st.floats(0.02, 0.3),
    radial=st.booleans(),
)
def test_gain_at_zero_is_one_and_the_filter_is_symmetric(
    taps: int, cutoff: float, half_width: float, radial: bool
) -> None:
    f = lowpass(taps, cutoff * 64, half_width * 64, 64, radial=radial)
    assert f is not None
    assert f.shape == ((taps, taps) if radial else (taps,))
    assert np.isclose(f.sum(), 1)
    np.testing.assert_allclose(f, np.flip(f), atol=1e-12)
    if radial:
        np.testing.assert_allclose(f, f.T, atol=1e-12)


@pytest.mark.parametrize("radial", [False, True])
def test_one_tap_is_the_identity(radial: bool) -> None:
    assert lowpass(1, 10, 5, 64, radial=radial) is None


@pytest.mark.parametrize("radial", [False, True])
def test_passes_below_the_band_and_stops_above_it(radial: bool) -> None:
    f = lowpass(24, 12, 6, 64, radial=radial)
    assert f is not None
    assert abs(response(f, 3, 64) - 1) < 0.03
    assert 0.3 < response(f, 12, 64) < 0.6
    assert all(abs(response(f, frequency, 64)) < 0.03 for frequency in range(20, 33))


def test_radial_filter_is_the_same_in_every_direction() -> None:
    f, separable = lowpass(24, 12, 6, 64, radial=True), lowpass(24, 12, 6, 64)
    assert f is not None and separable is not None
    for frequency in (6, 12, 16):
        gains = [response(f, frequency, 64, angle) for angle in np.linspace(0, np.pi, 9)]
        assert np.ptp(gains) < 0.02
    square = np.outer(separable, separable)
    gains = [response(square, 16, 64, angle) for angle in (0, np.pi / 4)]
    assert np.ptp(gains) > 0.05


@pytest.mark.parametrize(("taps", "attenuation_db"), [(12, 30), (24, 45), (48, 70)])
def test_the_window_attenuates_as_much_as_its_transition_allows(
    taps: int, attenuation_db: int
) -> None:
    """Kaiser's formula, solved for the transition; both sides of the rule for β."""
    transition = (attenuation_db - 7.95) / (14.36 * (taps - 1))
    ideal = np.sinc(0.5 * (np.arange(taps) - (taps - 1) / 2))
    f = ideal * kaiser(taps, transition)
    f /= f.sum()
    stop = np.linspace(0.25 + transition / 2, 0.5, 50)
    loudest = max(abs(response(f, frequency, 1)) for frequency in stop)
    assert abs(-20 * np.log10(loudest) - attenuation_db) < 3


def test_the_disc_response_is_the_transform_of_a_disc() -> None:
    """Against the sum over the disc's frequencies, at distances along x."""
    grid = (np.arange(600) + 0.5) / 600 - 0.5
    inside = np.hypot(grid, grid[:, None]) <= 0.5
    for radius in (0.0, 0.3, 1.0, 1.7, 3.2):
        waves = np.cos(2 * np.pi * grid * radius) * inside
        assert abs(waves.sum() / inside.sum() - disc_response(np.array(radius))) < 1e-3
