"""Pictures that look drawn: flat tones along the strokes, and lines of ink.

A frame is analysed at a size at which faces are as large as they usually are in drawings; bands of
light and ink are decided on the frame's own pixels, so that their borders are crisp at any size.
The smoothing follows the directions of the picture's structure (Kang et al. 2009, "Flow-based image
abstraction"), and lines are differences of Gaussians along them (Winnemöller et al. 2012, "XDoG").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.imaging.motion import fetch, seen_in_others
from vidhair.imaging.opencv import opencv

Floats = NDArray[np.float32]

DIRECTION_BLUR = 3.0  # pixels over which directions of strokes agree
ORDER_BLUR, ORDER = 5.0, (0.3, 0.5)  # pixels, and shares of one direction: texture, and lines
STROKE = 6  # pixels on either side along which tones are averaged
LINE_STROKE = 7  # the same for lines
ROUNDS = 4  # of smoothing
RANGE, RANGE_GROWS = 6.0, 1.5  # Lab distance that is smoothed over, and by how much more a round
REACH = 2.6  # pixels across which it is
AROUND = 26.0  # pixels of which the usual contrast is taken
USUAL, LEAST_CONTRAST = 15.0, 4.0  # deviation of L in a picture of strong contrast; what is noise
GAIN = (0.7, 2.2)
FINE_PEN, BROAD_PEN = (1.2, 1.0), (2.4, 0.62)  # widths in pixels, and how hard each is pressed
WIDER = 1.6  # the second of the Gaussians whose difference a line is
PAPER, CRISP = -0.5, 9.0  # response at which ink begins, and how suddenly
IN_FOCUS, FOCUS_AROUND = (
    1.3,
    9,
)  # how much stronger than the fine lines around, in pixels, a broad one is
# Contrast in broad strokes over that in fine ones, and pixels around of both, tell how blurred
# edges are; how many times as much as those of faces, or as USUALLY, ink begins to fade, and goes.
BLUR_PENS, BLUR_AROUND = (4.8, 1.2), 8.0
USUALLY, FADES = 1.8, (2.1, 2.9)
INKED, LEAST_INKED = -0.4, 50  # lines of which that is told, and how many pixels of a face's do
MOST_INK, CLOSE = 0.27, 12.0  # share of a neighborhood, of so many pixels, that is drawn fully
LIVELIER, LIGHTEST = 1.7, 95.0  # contrast of eyes and open mouths, and the most of their L
CRISPEST, SOFTEST = 5.0, 1.5  # borders of bands
STEEP = 1.6  # how much crisper they are, the steeper the light falls


@dataclass(frozen=True)
class Sketch:
    """What a drawing is made of. tones: Lab [h, w, 3], flat along strokes. lines: [h, w], below
    zero where ink may go. gain: [h, w], by how much the contrast around is raised."""

    tones: Floats
    lines: Floats
    gain: Floats

    def planes(self) -> Floats:
        return np.concatenate([self.tones, self.lines[..., None], self.gain[..., None]], -1)

    @classmethod
    def of(cls, planes: Floats) -> "Sketch":
        return cls(planes[..., :3], planes[..., 3], planes[..., 4])


@dataclass(frozen=True)
class Parts:
    """Where a picture shows what of faces, [h, w] in 0 … 1. face: only the fine pen draws. ink: how
    much of it. detail: tones keep what is small. features: eyes and open mouths, whose tones are
    livened: rows, columns and a mask of those, and how much lighter they become, in L."""

    face: Floats
    ink: Floats
    detail: Floats
    features: Sequence[tuple[slice, slice, Floats, float]]


def _gauss(x: Floats, sigma: float) -> Floats:
    cv2 = opencv()
    found: Floats = cv2.GaussianBlur(x, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    return found


def _slopes(x: Floats) -> tuple[Floats, Floats]:
    """Differences to the right and down of a plane [h, w]."""
    cv2 = opencv()
    return tuple(
        cv2.Scharr(x, cv2.CV_32F, *way, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
        for way in ((1, 0), (0, 1))
    )


def changes(lab: Floats) -> Sequence[Floats]:
    """The structure tensor of a picture [h, w, 3]: its parts xx, xy and yy, [h, w] each."""
    xx: Any = 0.0
    xy: Any = 0.0
    yy: Any = 0.0
    for channel in range(3):
        dx, dy = _slopes(np.ascontiguousarray(lab[..., channel]))
        xx, xy, yy = xx + dx * dx, xy + dx * dy, yy + dy * dy
    return xx, xy, yy


def directions(tensor: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Of strokes, by `changes`: unit vectors along which a picture changes least, x and y
    [h, w]."""
    xx, xy, yy = (_gauss(part, DIRECTION_BLUR) for part in tensor)
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.float32(np.pi / 2)
    return np.cos(angle), np.sin(angle)


def ordered(tensor: Sequence[Floats]) -> Floats:
    """How far a picture has lines, by `changes`, and no mere texture, which changes alike on all
    ways: grain, knits and plaster would be covered with worms of ink. [h, w] in 0 … 1."""
    xx, xy, yy = (_gauss(part, ORDER_BLUR) for part in tensor)
    order = np.hypot(xx - yy, 2 * xy) / (xx + yy + np.float32(1e-3))
    low, high = ORDER
    found: Floats = np.clip((order - low) / (high - low), 0, 1)
    return found


class Strokes:
    """Ways along the directions of a picture, from every pixel `length` pixels to either side."""

    def __init__(self, along: tuple[Floats, Floats], length: int):
        cv2 = opencv()
        height, width = along[0].shape
        here = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._ways: list[list[Any]] = []
        for sign in (1, -1):
            x, y = (axis.copy() for axis in here)
            vx, vy = (sign * axis for axis in along)
            steps = []
            for _ in range(length):
                x += vx
                y += vy
                steps.append(cv2.convertMaps(x, y, cv2.CV_16SC2))
                nx, ny = (
                    cv2.remap(a, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
                    for a in along
                )
                # Directions have no sign: strokes go on the way they came.
                turn = np.where(nx * vx + ny * vy < 0, np.float32(-1), np.float32(1))
                vx, vy = nx * turn, ny * turn
            self._ways.append(steps)

    def mean(self, values: Floats, length: int) -> Floats:
        """Of a picture [h, w] or [h, w, C] along them, by a Gaussian of half the length."""
        cv2 = opencv()
        total, weights = values.copy(), 1.0
        for steps in self._ways:
            for step, maps in enumerate(steps[:length], 1):
                weight = math.exp(-2 * (step / length) ** 2)
                seen = cv2.remap(values, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
                cv2.scaleAdd(seen, weight, total, total)
                weights += weight
        total /= weights
        return total


def sketch(picture: NDArray[np.uint8], parts: Parts | None = None) -> Sketch:
    """Of a picture uint8 [h, w, 3] in which the crop of a face has about FACE pixels a side."""
    cv2 = opencv()
    lab = cv2.cvtColor(picture / np.float32(255), cv2.COLOR_RGB2LAB)
    tensor = changes(lab)
    strokes = Strokes(directions(tensor), max(STROKE, LINE_STROKE))
    tones = lab
    fine = once = lab
    for number in range(ROUNDS):
        tones = cv2.bilateralFilter(tones, 0, RANGE + RANGE_GROWS * number, REACH)
        fine = fine if number else tones
        tones = strokes.mean(tones, STROKE)
        once = once if number else tones
    light = np.ascontiguousarray(once[..., 0])
    mean = _gauss(light, AROUND)
    deviation = np.sqrt(np.maximum(_gauss(light * light, AROUND) - mean * mean, 0))
    gain = np.clip(USUAL / (deviation + LEAST_CONTRAST), *GAIN).astype(np.float32)
    lines = np.minimum(_pen(light, *FINE_PEN), 0)
    broad = np.maximum(np.minimum(_pen(light, *BROAD_PEN), 0), IN_FOCUS * _lowest(lines))
    if parts is not None:
        broad *= 1 - parts.face
    lines = strokes.mean(gain * np.minimum(lines, broad), LINE_STROKE)
    order = ordered(tensor)
    if parts is not None:
        order = np.maximum(order, parts.face)
    lines = _sparing(lines * order * in_focus(lab[..., 0], lines, parts))
    if parts is None:
        return Sketch(tones, lines, gain)
    tones = tones + parts.detail[..., None] * (fine - tones)
    for rows, columns, mask, lighter in parts.features:
        tones[rows, columns, 0] = _livened(tones[rows, columns, 0], mask, lighter)
    return Sketch(tones, lines * parts.ink, gain)


def in_focus(light: Floats, lines: Floats, parts: Parts | None) -> Floats:
    """How far edges [h, w] are as sharp as those of faces, or where there are none, as most that
    have lines: what lies out of focus behind a person has no ink, in which it would be blots."""
    light = np.ascontiguousarray(light)
    coarse, fine = (_gauss(_pen(light, width, 1.0) ** 2, BLUR_AROUND) for width in BLUR_PENS)
    blurred = np.sqrt(coarse / (fine + np.float32(1e-3)))
    inked = lines < INKED
    if parts is not None and (inked & (parts.face > 0.5)).sum() > LEAST_INKED:
        inked &= parts.face > 0.5
    usual = max(USUALLY, float(np.median(blurred[inked])) if inked.any() else 0.0)
    low, high = FADES
    found: Floats = np.clip((high - blurred / usual) / (high - low), 0, 1)
    return found


def _lowest(lines: Floats) -> Floats:
    """Of what is around, as far as a broad line reaches."""
    cv2 = opencv()
    found: Floats = cv2.erode(lines, np.ones((FOCUS_AROUND, FOCUS_AROUND), np.uint8))
    return found


def _sparing(lines: Floats) -> Floats:
    """Fewer of them where they lie close together, so that strands and knits become masses."""
    inked = _gauss(np.clip((PAPER / 2 - lines) / -PAPER, 0, 1), CLOSE)
    found: Floats = lines * np.minimum(1, MOST_INK / np.maximum(inked, 1e-3)) ** 2
    return found


def _livened(light: Floats, mask: Floats, lighter: float) -> Floats:
    """Lightness [h, w] with more contrast under a mask, about its own mean."""
    mean = (light * mask).sum() / max(float(mask.sum()), 1.0)
    raised = np.clip(mean + LIVELIER * (light - mean) + lighter, 0, LIGHTEST)
    found: Floats = light + mask * (raised - light)
    return found


def _pen(light: Floats, width: float, press: float) -> Floats:
    """Below zero where it is darker than around."""
    return press * (_gauss(light, width) - _gauss(light, WIDER * width))


FACE = 330.0  # pixels of the side of a face's crop, at which a picture is analysed
LARGEST, MOST_PIXELS = 2.5, 1_000_000  # how many times larger than the frame; of the picture


def working_size(width: int, height: int, side: float) -> tuple[int, int]:
    """Width and height at which a frame is analysed. side: of the crop of a face, in pixels."""
    scale = min(FACE / side, LARGEST, math.sqrt(MOST_PIXELS / (width * height)))
    return max(16, round(width * scale)), max(16, round(height * scale))


def resized(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """A picture [h, w] or [h, w, C] at another width and height, without aliasing."""
    cv2 = opencv()
    smaller = size[0] < values.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    found: NDArray[Any] = cv2.resize(values, size, interpolation=way)
    return found


@dataclass(frozen=True)
class Look:
    """How a sketch is finished. bands: of lightness, from black to white. flat: 0 … 1, how far
    tones are drawn to their bands. ink: 0 … 1, how dark lines are. tinted: 0 … 1, how far they have
    the color of what they are drawn on. chroma: a factor."""

    bands: int = 7
    flat: float = 0.65
    ink: float = 0.9
    tinted: float = 0.0
    chroma: float = 1.3


def finished(drawn: Sketch, look: Look, scale: float = 1.0) -> NDArray[np.uint8]:
    """A sketch as a picture, uint8 [h, w, 3]. scale: by how much it was enlarged."""
    cv2 = opencv()
    light = np.ascontiguousarray(drawn.tones[..., 0])
    dx, dy = _slopes(light)
    steep = _gauss(np.hypot(dx, dy), 1.0) * np.float32(4 * scale)
    crisp = np.clip(STEEP * steep * drawn.gain, SOFTEST, CRISPEST)
    step = np.float32(100 / look.bands)
    border = np.round(light / step) * step
    band = border + step / 2 * np.tanh(crisp * 2 * (light - border) / step) / np.tanh(crisp)
    light = light + np.float32(look.flat) * (band - light)
    paper = 1 / (1 + np.exp(np.clip((PAPER - drawn.lines) * CRISP, -30, 30)))
    dark = 1 - np.float32(look.ink) * (1 - paper)
    lab = np.empty_like(drawn.tones)
    lab[..., 0] = light * dark
    grey = 1 - np.float32(look.ink * (1 - look.tinted)) * (1 - paper)
    lab[..., 1:] = drawn.tones[..., 1:] * (np.float32(look.chroma) * grey)[..., None]
    rgb = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)
    levels: NDArray[np.uint8] = np.rint(rgb * 255).astype(np.uint8)
    return levels


def at_size(drawn: Sketch, look: Look, size: tuple[int, int]) -> NDArray[np.uint8]:
    """A sketch as a picture of a width and height: what is enlarged is decided on the larger
    picture, what is reduced on the sketch's own."""
    width = drawn.lines.shape[1]
    if size[0] <= width:
        return resized(finished(drawn, look), size)
    planes = resized(drawn.planes(), size)
    return finished(Sketch.of(planes), look, size[0] / width)


# ---- from frame to frame

# What tones in Lab, lines and gain may stay behind by before they follow, and how far they do so in
# each frame where they need not.
BEHIND = np.array([4.5, 3.5, 3.5, 0.5, 0.3], np.float32)
FOLLOWS = 0.06


def held(
    now: Sketch,
    before: Sketch,
    pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
    steady: float,
) -> Sketch:
    """A frame's sketch where it differs enough from that of the frame before, taken along the
    motion; else as that was: a play (Prandtl 1928), so bands and lines have a hysteresis, and
    nothing trails by more than BEHIND.

    pictures: uint8 [h, w, 3], the frame and the one before. steady: a factor of BEHIND; 0 for now.
    """
    if steady <= 0:
        return now
    ((_, motion, seen),) = seen_in_others(pictures, 0, 1.0)
    planes, most = now.planes(), np.float32(steady) * BEHIND
    away = np.clip(fetch(before.planes(), motion) - planes, -most, most)
    return Sketch.of(planes + ((1 - np.float32(FOLLOWS)) * seen)[..., None] * away)
