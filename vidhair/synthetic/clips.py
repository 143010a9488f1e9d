"""Rendered clips: a person who moves, blinks and talks, with everything that is true of them.

The same clip with other hair is rendered from the same motion, so it is the exact answer that an
edit of the hair should give.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import RenderedTruth, View, Visible, shade, trace
from vidhair.synthetic.toon import LOOKS, drawn, shade_toon, trace_toon

PLANE_HEIGHT = 3.5  # plane units that the frame's height shows at scale 1
SOUND_RATE = 48_000
OVERSAMPLE = 2

Color = tuple[float, float, float]  # sRGB in 0 … 1
Changes = Mapping[str, float | Color]


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """One rendered clip. size: (width, height) in pixels. hair: fields of FaceParams to set."""

    name: str
    seed: int
    style: str
    seconds: float = 5.0
    fps: int = 25
    size: tuple[int, int] = (512, 512)
    hair_colour: Color = (0.25, 0.155, 0.09)
    melanin: float | None = None
    liveliness: float = 1.0

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)


@dataclass(frozen=True)
class Motion:
    """How a person moves: faces [T] and their place in the picture.

    turn (radians), x, y (plane units), scale: float64 [T], the in-plane movement of the person.
    """

    faces: FaceParams
    turn: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    scale: NDArray[np.float64]

    def view(self, index: int, width: int, height: int) -> View:
        """The picture's place in the person's plane at one frame."""
        place = (self.turn[index], self.x[index], self.y[index], self.scale[index])
        return _place(*place, width, height)


def _place(turn: float, x: float, y: float, scale: float, width: int, height: int) -> View:
    """A frame that shows PLANE_HEIGHT of the plane, after moving what is in it."""
    unit = PLANE_HEIGHT / height
    c, s = math.cos(turn), math.sin(turn)
    rotate = np.array([[c, -s], [s, c]]) * unit / scale
    offset = np.array([0.0, 0.2]) - rotate @ (
        np.array([width / 2 + x / unit, height / 2 + y / unit])
    )
    matrix = torch.tensor(np.column_stack([rotate, offset])[None], dtype=torch.float32)
    return View(matrix, height, width)


def _wander(
    rng: np.random.Generator, count: int, fps: int, seconds: float, size: float
) -> NDArray[np.float64]:
    """Smooth random motion: mean 0, standard deviation `size`, features of about `seconds`."""
    sigma = seconds * fps / 2
    pad = int(4 * sigma)
    smooth = gaussian_filter1d(rng.standard_normal(count + 2 * pad), sigma)[pad : pad + count]
    moved: NDArray[np.float64] = smooth * size * math.sqrt(2 * math.sqrt(math.pi) * sigma)
    return moved


def _blinks(rng: np.random.Generator, count: int, fps: int) -> NDArray[np.float64]:
    """0 open … 1 closed; one blink every two to four seconds."""
    closed, at = np.zeros(count), rng.uniform(0.5, 1.5)
    time = np.arange(count) / fps
    while at < count / fps:
        closed = np.maximum(closed, np.exp(-(((time - at) / 0.07) ** 2)))
        at += rng.uniform(1.6, 3.6)
    return closed


def _talk(rng: np.random.Generator, count: int, fps: int) -> NDArray[np.float64]:
    """Opening of the mouth: syllables in phrases, with pauses."""
    time = np.arange(count) / fps
    phase = 2 * np.pi * np.cumsum(4.2 + _wander(rng, count, fps, 0.5, 0.7)) / fps
    syllables = np.clip(np.sin(phase) * 0.5 + 0.35, 0, 1)
    phrases = np.clip(_wander(rng, count, fps, 0.8, 1.0) * 1.5 + 0.8, 0, 1)
    result: NDArray[np.float64] = syllables * phrases * (0.5 + 0.3 * np.sin(time * 1.3)) * 0.9
    return result


def perform(spec: ClipSpec) -> Motion:
    """The motion of a spec; the same spec always gives the same."""
    rng = np.random.default_rng(spec.seed)
    generator = torch.Generator().manual_seed(spec.seed)
    count, fps, live = spec.frames, spec.fps, spec.liveliness
    person = sample_faces(1, generator, style=spec.style, neutral=True)
    person = person.replace(hair_colour=spec.hair_colour)
    if spec.melanin is not None:
        person = person.replace(melanin=spec.melanin)
    faces = FaceParams.unpack(person.pack().expand(count, -1).clone())
    opened = _talk(rng, count, fps)

    def wander(seconds: float, size: float) -> NDArray[np.float64]:
        return _wander(rng, count, fps, seconds, size * live)

    blink = _blinks(rng, count, fps)
    changes = {
        "yaw": np.clip(wander(1.0, 0.16), -0.45, 0.45),
        "pitch": np.clip(wander(0.8, 0.07) + 0.02 * opened, -0.25, 0.25),
        "mouth_open": opened,
        "smile": np.clip(0.25 + wander(1.2, 0.25), -0.2, 0.9),
        "blink_left": blink,
        "blink_right": blink,
        "gaze_x": np.clip(wander(0.5, 0.4), -1, 1),
        "gaze_y": np.clip(wander(0.6, 0.25), -1, 1),
        "brow_raise": np.clip(wander(0.7, 0.3), -0.5, 1),
    }
    faces = faces.replace(**{n: torch.tensor(v, dtype=torch.float32) for n, v in changes.items()})
    return Motion(
        faces=faces,
        turn=wander(0.9, 0.07),
        x=wander(1.1, 0.10),
        y=wander(0.9, 0.05),
        scale=np.exp(wander(1.5, 0.04)),
    )


def voice(opened: NDArray[np.float64], fps: int, seed: int) -> NDArray[np.float32]:
    """A hummed voice that follows the mouth: float32 mono samples at SOUND_RATE, −1 … 1."""
    rng = np.random.default_rng(seed)
    count = round(len(opened) / fps * SOUND_RATE)
    time = np.arange(count) / SOUND_RATE
    loud = np.interp(time * fps, np.arange(len(opened)), opened)
    pitch = 150 + 25 * np.sin(time * 2.1 + rng.uniform(0, 6)) + 30 * loud
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_RATE
    tone = sum(np.sin(phase * k) / k**1.3 for k in range(1, 9))
    breath = rng.standard_normal(count) * 0.02
    result: NDArray[np.float32] = (
        (0.25 * tone * loud + breath * (0.3 + loud)).astype(np.float32).clip(-1, 1)
    )
    return result


@dataclass(frozen=True)
class FrameTruth:
    """One rendered frame: picture uint8 [H, W, 3], hair uint8 [H, W], landmarks [K, 2] in px."""

    picture: NDArray[np.uint8]
    hair: NDArray[np.uint8]
    landmarks: NDArray[np.float64]


@torch.inference_mode()
def render_frame(
    motion: Motion,
    index: int,
    spec: ClipSpec,
    versions: Sequence[Changes],
    toons: Sequence[str] = (),
) -> list[FrameTruth]:
    """Render one frame, once per version (fields of FaceParams that differ from the motion's), then
    as a cartoon in every one of some looks (of `toon.LOOKS`).

    Versions that differ in colors only share the traced geometry.
    """
    view = motion.view(index, *spec.size).finer(OVERSAMPLE)
    truths, traced = [], {}
    for version in versions:
        face = motion.faces[index].replace(**version)
        shape = tuple(sorted((k, v) for k, v in version.items() if not k.endswith("_colour")))
        if shape not in traced:
            traced[shape] = trace(face, view)
        truths.append(_painted(traced[shape], face, spec))
    for name in toons:
        look = LOOKS[name]
        face = drawn(motion.faces[index], look)
        seen, wall = trace_toon(face, view, look), _wall(spec)
        truths.append(_frame(shade_toon(seen, face, look, reduce=OVERSAMPLE, wall=wall)))
    return truths


def _wall(spec: ClipSpec) -> View:
    return _place(0, 0, 0, 1, *spec.size).finer(OVERSAMPLE)


def _painted(traced: Visible, face: FaceParams, spec: ClipSpec) -> FrameTruth:
    """One face, as it was traced, in its colors before the wall."""
    return _frame(shade(traced, face, reduce=OVERSAMPLE, wall=_wall(spec)))


def _frame(truth: RenderedTruth) -> FrameTruth:
    picture = (truth.image[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    hair = (truth.hair[0, 0] * 255).round().to(torch.uint8).numpy()
    return FrameTruth(picture, hair, truth.landmarks[0].numpy())


def dye(spec: ClipSpec, wanted: Color, *, frames: int = 3, rounds: int = 4) -> Color:
    """The `hair_colour` with which the clip's hair shows `wanted` as its mean (in Lab).

    `hair_colour` is what hair shows in average light; a clip has its own. Judged on a few small
    frames. Where the light is too dim or too bright for the color, the nearest that can be.
    """
    height = min(160, spec.size[1])
    small = replace(spec, size=(max(1, round(spec.size[0] * height / spec.size[1])), height))
    motion = perform(small)
    chosen = np.linspace(0, spec.frames - 1, frames + 2).round().astype(int)[1:-1]
    faces = [motion.faces[int(index)] for index in chosen]
    views = [motion.view(int(index), *small.size).finer(OVERSAMPLE) for index in chosen]
    traces = [trace(face, view) for face, view in zip(faces, views, strict=True)]
    target = torch.tensor(wanted)
    color = target
    for _ in range(rounds):
        shown = []
        for traced, face in zip(traces, faces, strict=True):
            face = face.replace(hair_colour=tuple(color.tolist()))
            truth = _painted(traced, face, small)
            picture = torch.from_numpy(truth.picture).float() / 255
            shown.append(rgb_to_lab(picture[torch.from_numpy(truth.hair) > 127]))
        mean = lab_to_rgb(torch.cat(shown).mean(0, keepdim=True))[0]
        color = (color * (target / mean.clamp_min(0.01)).clamp(0.25, 4)).clamp(0.002, 1)
    red, green, blue = (round(c, 4) for c in color.tolist())
    return red, green, blue
