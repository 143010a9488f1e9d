"""What swscale does not convert: HDR to SDR, and matrices that are no plain matrices.

Signals (primed in the standards) and light are float32 [H, W, 3], RGB unless named otherwise.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import NotAVideo
from vidhair.media.color import HDR_TRANSFERS, UNREAD_MATRICES
from vidhair.types import MATRICES, Color

if TYPE_CHECKING:
    import av

# Luma weights of red and blue (ISO/IEC 23091-2, table 4).
LUMA = {
    "bt709": (0.2126, 0.0722), "fcc": (0.30, 0.11), "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114), "smpte240m": (0.212, 0.087), "bt2020nc": (0.2627, 0.0593),
}  # fmt: skip
# x, y of red, green, blue and white (the same, table 2).
PRIMARIES = {
    "bt709": (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    "bt470m": (0.670, 0.330, 0.210, 0.710, 0.140, 0.080, 0.310, 0.316),
    "bt470bg": (0.640, 0.330, 0.290, 0.600, 0.150, 0.060, 0.3127, 0.3290),
    "smpte170m": (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    "smpte240m": (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, 0.3127, 0.3290),
    "bt2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290),
    "smpte431": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    "smpte432": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290),
}
# BT.2408: diffuse white of HDR, cd/m²; it is SDR's white before the shoulder.
WHITE = 203.0
# Brightest light of each signal, cd/m². For HLG, that of its reference display.
PEAK = {"smpte2084": 10_000.0, "arib_std_b67": 1_000.0}
# Up to this share of diffuse white, light is kept; above it is the shoulder, which leaves white at
# 0.85 (signal 238) and has room for every highlight.
KNEE = 0.7
DISPLAY_GAMMA = 2.4  # BT.1886

# BT.2100, table 10: RGB of BT.2020 to LMS; tables 11 and 13: L'M'S' to ICtCp.
_LMS = np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096
_ICTCP = {
    "smpte2084": np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096,
    "arib_std_b67": np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096,
}


def converts(color: Color) -> bool:
    """Whether pictures tagged so are for this module."""
    return color.transfer in HDR_TRANSFERS or color.matrix not in MATRICES


def refuse_unread(code: int, color: Color, path: object) -> None:
    """code: the matrix that the file names."""
    hdr = color.transfer in HDR_TRANSFERS
    if code in UNREAD_MATRICES:
        reason = f"color by {UNREAD_MATRICES[code]}, which is not read"
    elif color.matrix == "ictcp" and not hdr:
        reason = f"ICtCp color with the transfer {color.transfer}, where only HLG and PQ have it"
    elif color.matrix == "bt2020c" and hdr:
        reason = f"color of constant luminance with {color.transfer}, where only SDR has it"
    else:
        return
    raise NotAVideo(f"{path} has {reason}; export it again as ordinary BT.709 or BT.2020")


def to_sdr_rgb(frame: av.VideoFrame, color: Color, width: int, height: int) -> NDArray[np.uint8]:
    """[H, W, 3] uint8."""
    signal = _signal(frame, color, width, height)
    if color.transfer not in HDR_TRANSFERS:
        return _rounded(signal)
    light = decoded(signal, color.transfer)
    if color.matrix == "ictcp":
        light = light @ _single(np.linalg.inv(_LMS).T)
    return tone_mapped(light, color)


def tone_mapped(light: NDArray[np.float32], color: Color) -> NDArray[np.uint8]:
    """SDR BT.709, [H, W, 3] uint8, of light as `decoded` gives it.

    Hue is kept: the largest of the three goes through the shoulder and the others follow it.
    """
    primaries = color.primaries if color.primaries in PRIMARIES else "bt2020"
    if color.matrix == "ictcp":
        primaries = "bt2020"
    if color.transfer == "arib_std_b67":
        # BT.2100's OOTF for a display of 1000 cd/m²: light goes by luminance to the power of 1.2.
        luminance = np.maximum(light, 0) @ _single(to_xyz(primaries)[1])
        light = light * luminance[..., None] ** 0.2 * (PEAK[color.transfer] / WHITE)
    else:
        light = light / WHITE
    if primaries != "bt709":
        light = light @ _single((np.linalg.inv(to_xyz("bt709")) @ to_xyz(primaries)).T)
        # Colors outside BT.709 move towards grey of their luminance until they are inside.
        luminance = np.maximum(light @ _single(to_xyz("bt709")[1]), 0)
        below = np.minimum(light.min(axis=-1), 0)
        share = luminance / np.maximum(luminance - below, 1e-9)
        grey = luminance[..., None]
        light = np.maximum(grey + (light - grey) * share[..., None], 0)
    largest = light.max(axis=-1)
    gain = shoulder(largest, PEAK[color.transfer] / WHITE) / np.maximum(largest, 1e-9)
    return _rounded((light * gain[..., None]) ** (1 / DISPLAY_GAMMA))


def shoulder(light: NDArray[np.float32], peak: float) -> NDArray[np.float32]:
    """Light in units of diffuse white, to 0–1: kept up to the knee, then ever flatter; peak is 1.

    Above the knee Reinhard's curve x (1 + x / X²) / (1 + x), whose slope begins at 1.
    """
    x = np.maximum(light - KNEE, 0) / (1 - KNEE)
    top = (peak - KNEE) / (1 - KNEE)
    bent = KNEE + (1 - KNEE) * x * (1 + x / top**2) / (1 + x)
    return np.minimum(np.where(light <= KNEE, light, bent), 1)


def decoded(signal: NDArray[np.float32], transfer: str) -> NDArray[np.float32]:
    """Light of PQ in cd/m², of HLG as seen by the camera, 0–1."""
    steps: NDArray[np.uint16] = np.rint(np.clip(signal, 0, 1) * 65535).astype(np.uint16)
    return _decoding_table(transfer)[steps]


@cache
def _decoding_table(transfer: str) -> NDArray[np.float32]:
    signal = np.linspace(0, 1, 65536)
    if transfer == "smpte2084":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = signal ** (1 / m2)
        light = 10_000 * (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    else:
        a = 0.17883277
        b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
        light = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(light, np.float32)


@cache
def to_xyz(primaries: str) -> NDArray[np.float64]:
    """[3, 3] from linear RGB to XYZ, white having Y = 1; row 1 is the luminance of each."""
    x, y = np.reshape(PRIMARIES[primaries], (4, 2)).T
    columns = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    xyz: NDArray[np.float64] = columns[:, :3] * np.linalg.solve(columns[:, :3], columns[:, 3])
    return xyz


def _signal(frame: av.VideoFrame, color: Color, width: int, height: int) -> NDArray[np.float32]:
    """R'G'B' (L'M'S' for ICtCp), 0–1."""
    if frame.format.is_rgb:
        return frame.reformat(width, height, "rgb48le").to_ndarray().astype(np.float32) / 65535
    bits = max(component.bits for component in frame.format.components)
    planes = _planes(frame, bits, width, height)
    step, top, middle = 2 ** (bits - 8), 2**bits - 1, 2 ** (bits - 1)
    full = color.range == "pc"
    low, luma, chroma = (0, top, top) if full else (16 * step, 219 * step, 224 * step)
    y = (planes[0] - low) / luma
    if color.matrix == "gbr":
        blue, red = ((plane - low) / luma for plane in planes[1:])
        return np.stack([red, y, blue], axis=-1)
    if color.matrix == "ycgco":
        green, orange = ((plane - middle) / luma for plane in planes[1:])
        return np.stack([y - green + orange, y + green, y - green - orange], axis=-1)
    cb, cr = ((plane - middle) / chroma for plane in planes[1:])
    if color.matrix == "ictcp":
        back = _single(np.linalg.inv(_ICTCP[color.transfer]).T)
        lms: NDArray[np.float32] = np.stack([y, cb, cr], axis=-1) @ back
        return lms
    if color.matrix == "bt2020c":
        return _constant_luminance(y, cb, cr)
    if color.matrix == "chroma-derived-nc":
        known = color.primaries if color.primaries in PRIMARIES else "bt709"
        red_weight, _, blue_weight = to_xyz(known)[1].tolist()
    else:
        red_weight, blue_weight = LUMA[color.matrix]
    red, blue = y + 2 * (1 - red_weight) * cr, y + 2 * (1 - blue_weight) * cb
    green = (y - red_weight * red - blue_weight * blue) / (1 - red_weight - blue_weight)
    return np.stack([red, green, blue], axis=-1)


def _constant_luminance(
    y: NDArray[np.float32], cb: NDArray[np.float32], cr: NDArray[np.float32]
) -> NDArray[np.float32]:
    """BT.2020, table 4: luma is the signal of linear luminance, and the divisors of differences
    are other ones below zero and above."""
    red_weight, blue_weight = LUMA["bt2020nc"]
    blue = y + cb * np.where(cb < 0, np.float32(1.9404), np.float32(1.5816))
    red = y + cr * np.where(cr < 0, np.float32(1.7184), np.float32(0.9936))
    light = _light_2020(y) - red_weight * _light_2020(red) - blue_weight * _light_2020(blue)
    light = np.maximum(light / (1 - red_weight - blue_weight), 0)
    alpha, beta = 1.09929682680944, 0.018053968510807
    green = np.where(light < beta, 4.5 * light, alpha * light**0.45 - (alpha - 1))
    return np.stack([red, green, blue], axis=-1)


def _light_2020(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    alpha, beta = 1.09929682680944, 0.018053968510807
    bent = (np.maximum(signal, 0) + (alpha - 1)) / alpha
    return np.where(signal < 4.5 * beta, np.maximum(signal, 0) / 4.5, bent ** (1 / 0.45))


def _planes(frame: av.VideoFrame, bits: int, width: int, height: int) -> list[NDArray[np.float32]]:
    """Levels as stored, chroma brought to full size. float32, three of [H, W]."""
    from av.video.reformatter import ColorRange, Interpolation

    whole = frame.reformat(
        width,
        height,
        "yuv444p" if bits == 8 else f"yuv444p{bits}le",
        src_color_range=ColorRange.MPEG,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    )
    kind = np.dtype(np.uint8 if bits == 8 else "<u2")
    return [
        np.frombuffer(memoryview(plane), kind)
        .reshape(plane.height, plane.line_size // kind.itemsize)[:, : plane.width]
        .astype(np.float32)
        for plane in whole.planes
    ]


def _rounded(signal: NDArray[np.float32]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(255 * np.clip(signal, 0, 1)).astype(np.uint8)
    return levels


def _single(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    return matrix.astype(np.float32)
