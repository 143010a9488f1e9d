"""Design of the low-pass filters of StyleGAN3 (Karras et al. 2021, appendix C).

Filters are numpy float64 here and become float32 buffers of the layers.
"""

import numpy as np
import scipy.signal
import scipy.special


def lowpass(
    taps: int, cutoff: float, half_width: float, rate: float, *, radial: bool = False
) -> np.ndarray | None:
    """Windowed low-pass with unit gain at zero frequency.

    taps: length of the filter; one tap is the identity and gives None.
    cutoff, half_width: end of the pass band and half the transition band, in cycles per image side.
    rate: sampling rate of the signal that is filtered, in samples per image side.
    radial: a jinc of two dimensions instead of a separable sinc.
    Returns [taps] if separable, [taps, taps] if radial.
    """
    if taps == 1:
        return None
    if not radial:
        return scipy.signal.firwin(numtaps=taps, cutoff=cutoff, width=half_width * 2, fs=rate)

    position = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(*np.meshgrid(position, position))
    jinc = scipy.special.j1(2 * cutoff * np.pi * radius) / (np.pi * radius)
    beta = scipy.signal.kaiser_beta(scipy.signal.kaiser_atten(taps, 2 * half_width / (rate / 2)))
    window = np.kaiser(taps, beta)
    jinc *= np.outer(window, window)
    return jinc / jinc.sum()
