"""The light of a clip, and of every frame, as the person in it shows: what dyes are seen in."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vidhair.imaging.color import (
    lab_to_rgb,
    linear_to_srgb,
    rgb_to_lab,
    srgb_to_linear,
)
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import HairTone
from vidhair.stages.region import MIDDLE, HairWindow, face_part
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

TELLING = 8  # frames in which the face tells the light
# Linear light of fair skin, and of the white of eyes in the shade of their lids, in a picture that
# is well exposed; darker skin reflects less of it, and the white of the eyes does not.
WELL_LIT = 0.25
EXPOSED = (0.06, 1.3)  # of that, what is believed
WHITE_SHARE = 0.4  # of the pixels between the lids, the lightest: not lashes, nor their shadow
BESIDE_IRIS = 1.15  # radii of the iris from its centre on
LEAST_WHITE = 20  # pixels of it beside one iris, below which they are mixed with what is around
# Red and blue of the white of eyes, over its green, in daylight, and how far what is unlike that is
# taken for the light's, as exponents: lids redden it, too, so red counts where skin agrees.
RED_OF_WHITE, BLUE_OF_WHITE = 1.25, 0.9
RED_TOLD, BLUE_TOLD = 0.05, 0.8
SKIN_HUE = 52.0  # of the skin of most people in daylight, in degrees of Lab
SKIN_TOLD = 0.3  # as these: skin differs more
MOST_TINTED = (0.7, 1.35)
LIGHT_FRAMES = 1.5  # deviation, in frames, of the mean over which light is followed
LEAST_LIGHT, MOST_LIGHT = 0.002, 4.0  # of the clip's light on the hair, that frames may have
LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class HairLight(Value):
    """lab: [T, 3], the hair's mean color in each frame's light. factor: [T, 3], that light as a
    multiple of the clip's, of linear RGB."""

    ROWS = ("lab", "factor")
    lab: Floats
    factor: Floats


@stage()
def hair_light(hair_tone: Series[HairTone], track: Series[FaceTrack]) -> HairLight:
    """Followed from frame to frame within a shot: it dims with a fade and turns with a lamp."""
    area, lab = hair_tone.field("area").astype(np.float64), hair_tone.field("mean_lab")
    rgb = lab_to_rgb(torch.from_numpy(lab), dim=1)
    linear = srgb_to_linear(rgb).numpy().astype(np.float64)
    shot = np.cumsum(track.field("cuts"))
    smoothed = np.zeros_like(linear)
    for number in np.unique(shot):
        rows = np.flatnonzero(shot == number)
        weight = gaussian_filter1d(area[rows], LIGHT_FRAMES, mode="nearest")
        sums = gaussian_filter1d(linear[rows] * area[rows, None], LIGHT_FRAMES, 0, mode="nearest")
        smoothed[rows] = sums / (weight[:, None] + 1e-9)
    typical = (linear * area[:, None]).sum(0) / (area.sum() + 1e-9)
    factor = np.clip(smoothed / (typical + 1e-9), LEAST_LIGHT, MOST_LIGHT)
    if not area.any():  # nothing tells of it
        factor[:] = 1
    found = rgb_to_lab(linear_to_srgb(torch.from_numpy(smoothed).float()), dim=1).numpy()
    return HairLight(found.astype(np.float32), factor.astype(np.float32))


@dataclass(frozen=True)
class ClipLight(Value):
    """factor: [3], the clip's light as a multiple of daylight in which a picture is well exposed,
    of linear RGB."""

    factor: Floats


@stage(version=4)
def clip_light(
    frames: Series[Frames], track: Series[FaceTrack], hair_window: HairWindow
) -> ClipLight:
    """As the face shows it: the lighter of its skin and of the white of its eyes how much there is,
    so that dark skin is not taken for shade; the white of the eyes, or else the skin, its color."""
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(TELLING, len(present))).astype(int)]
    skins: list[Floats] = []
    whites: list[Floats] = []
    for frame in chosen.tolist():
        one = frame, frame + 1
        (picture,), face = frames.rows(*one).pixels, track.rows(*one)
        inside = face_part(MIDDLE, face, range(1), hair_window)[0, 0].numpy() > 0.5
        if inside.any():
            skins.append(np.median(_linear(hair_window.cut(picture)[inside]), 0))
        whites += whites_of_eyes(picture, face.mesh[0])
    if not skins:
        return ClipLight(np.ones(3, np.float32))
    skin = np.median(skins, 0)
    exposure, tint = float(skin @ LUMINANCE), tint_of_skin(skin)
    if whites:
        white = np.median(whites, 0)
        exposure, tint = max(exposure, float(white @ LUMINANCE)), tint_of_white(white, skin)
    tint = np.clip(tint, *MOST_TINTED)
    return ClipLight((np.clip(exposure / WELL_LIT, *EXPOSED) * tint).astype(np.float32))


def _linear(levels: NDArray[np.uint8]) -> Floats:
    found: Floats = srgb_to_linear(torch.from_numpy(levels).float() / 255).numpy()
    return found


def whites_of_eyes(picture: NDArray[np.uint8], mesh: Floats) -> Iterator[Floats]:
    """Linear RGB [3] of the white of each eye that is open and large enough.

    picture: uint8 [H, W, 3]; mesh: [478, 2] in its pixels.
    """
    for eye, iris in ((EYE_LEFT, IRIS_LEFT), (EYE_RIGHT, IRIS_RIGHT)):
        lids, (centre, *rim) = mesh[list(eye)], mesh[list(iris)]
        low = np.maximum(np.floor(lids.min(0)).astype(int), 0)
        high = np.minimum(np.ceil(lids.max(0)).astype(int) + 1, picture.shape[1::-1])
        width, height = high - low
        if width <= 0 or height <= 0:
            continue
        seen = picture[low[1] : high[1], low[0] : high[0]]
        x, y = (np.arange(n) + 0.5 + start for n, start in zip((width, height), low, strict=True))
        radius = np.linalg.norm(np.stack(rim) - centre, axis=1).mean()
        away = np.hypot(x - centre[0], (y - centre[1])[:, None]) > BESIDE_IRIS * radius
        white = _linear(seen[(polygon_mask(lids - low, height, width) > 0.9) & away])
        if len(white) < LEAST_WHITE:
            continue
        light = white @ np.array(LUMINANCE, np.float32)
        yield white[light >= np.quantile(light, 1 - WHITE_SHARE)].mean(0)


def tint_of_white(white: Floats, skin: Floats) -> Floats:
    """The light's color [3], of luminance one, by the white of eyes and skin [3] in it, all linear
    RGB.

    Reddish light reddens both: as far as they agree, red is the light's.
    """
    red, blue = white[[0, 2]] / max(white[1], 1e-4) / [RED_OF_WHITE, BLUE_OF_WHITE]
    of_skin = skin / _usual(skin)
    seen, beside = np.log(np.maximum([red, of_skin[0] / max(of_skin[1], 1e-4)], 1e-4))
    agreed = min(abs(seen), max(beside * np.sign(seen), 0))
    red = np.exp(np.sign(seen) * max(agreed, RED_TOLD * abs(seen)))
    tint = np.array([red, 1, blue**BLUE_TOLD])
    found: Floats = (tint / (tint @ LUMINANCE)).astype(np.float32)
    return found


def tint_of_skin(skin: Floats) -> Floats:
    """The same by skin: in daylight all skin has nearly the same hue."""
    found: Floats = ((skin / _usual(skin)) ** SKIN_TOLD).astype(np.float32)
    return found


def _usual(skin: Floats) -> Floats:
    """Skin [3] of such lightness and chroma in daylight, linear RGB."""
    lab = rgb_to_lab(linear_to_srgb(torch.from_numpy(skin).float()), dim=0)
    chroma, hue = lab[1:].norm(), math.radians(SKIN_HUE)
    usual = torch.stack([lab[0], chroma * math.cos(hue), chroma * math.sin(hue)])
    found: Floats = srgb_to_linear(lab_to_rgb(usual, dim=0)).clamp(min=1e-3).numpy()
    return found
