"""Design of low-pass filters by the window method, as StyleGAN3 asks for them.

The sampled impulse response of the ideal filter, tapered by a window of Kaiser's, is scaled to a
unit sum. Kaiser (1974, "Nonrecursive digital filter design using the I0-sinh window function"):
N taps whose gain falls over a transition of Δ cycles per sample attenuate by
A = 7.95 + 14.36·(N − 1)·Δ dB; β follows from A by a rule that he fitted. Oppenheim and Schafer,
"Discrete-Time Signal Processing", chapter 7, repeat both. That the generators use it: Karras et al.
2021, appendix C.

Filters are numpy float64 here and become float32 buffers of the layers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1


def lowpass(
    taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool = False
) -> NDArray[np.float64] | None:
    """Windowed low-pass with unit gain at zero frequency.

    taps: length of the filter; one tap is the identity and gives None.
    cutoff, half_width: end of the pass band and half the transition band, in cycles per image side.
    rate: sampling rate of the signal that is filtered, in samples per image side.
    radial: passes a disc of frequencies instead of a square of them; it does not separate.
    Returns [taps] if separable, [taps, taps] if radial.
    """
    if taps == 1:
        return None
    assert 0 < cutoff < rate / 2, f"{cutoff=} is not below half of {rate=}"
    centred = np.arange(taps) - (taps - 1) / 2
    band = 2 * cutoff / rate  # as a share of all frequencies that the rate carries
    taper = kaiser(taps, 2 * half_width / rate)
    if radial:
        distance = np.hypot(centred, centred[:, None])
        response = disc_response(band * distance) * np.multiply.outer(taper, taper)
    else:
        response = np.sinc(band * centred) * taper
    taps_of_unit_gain: NDArray[np.float64] = response / response.sum()
    return taps_of_unit_gain


def kaiser(taps: int, transition: float) -> NDArray[np.float64]:
    """Kaiser's window for a transition band in cycles per sample."""
    # 14.36 is 2π · 2.285, the rounder of the two constants in use.
    attenuation_db = 7.95 + 2 * np.pi * 2.285 * (taps - 1) * transition
    return np.kaiser(taps, kaiser_shape(attenuation_db))


def kaiser_shape(attenuation_db: float) -> float:
    """β of the window whose filter attenuates its stop band by so many decibels."""
    if attenuation_db > 50:
        return 0.1102 * (attenuation_db - 8.7)
    above = attenuation_db - 21  # what a rectangle attenuates
    return 0.5842 * above**0.4 + 0.07886 * above if above > 0 else 0.0


def disc_response(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Impulse response of the ideal filter that passes a disc of frequencies, 1 at its centre.

    The Fourier transform of a disc is 2·J₁(πr) / πr, as that of an interval is sin(πr) / πr.
    radius: in samples times the disc's diameter in cycles per sample.
    """
    angle = np.maximum(np.pi * np.asarray(radius, np.float64), 1e-9)  # the limit at zero is 1
    response: NDArray[np.float64] = 2 * j1(angle) / angle
    return response
