"""Rendered scenes of several people, with the truth about who is where.

A person is rendered in a few poses, and the pictures are moved over a wall and laid over each
other: enough to try who is followed and who is edited, at a fraction of rendering every frame.

Shapes: T frames, A people.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.synthetic.clips import OVERSAMPLE, Color, _place
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import shade, trace

SIZE = (352, 200)  # width, height
FPS = 12
POSES = 3  # that a person has in a scene; they come one after the other, back and forth
STEPS = 3  # frames for which one is held


@dataclass(frozen=True)
class Actor:
    """Somebody. scale: of the picture; those who are larger stand in front."""

    seed: int
    style: str
    hair: Color
    melanin: float
    scale: float = 1.0


@dataclass(frozen=True)
class Pose:
    """A person on nothing, as wide as high: picture float32 [S, S, 3] in 0 … 255, cover and hair
    float32 [S, S] in 0 … 1, centre: [2] of the face in pixels."""

    picture: NDArray[Any]
    cover: NDArray[Any]
    hair: NDArray[Any]
    centre: NDArray[Any]


@torch.inference_mode()
def poses_of(actor: Actor, shot: int, height: int) -> list[Pose]:
    """An actor in one shot: as always, but in another light and turned a little."""
    generator = torch.Generator().manual_seed(actor.seed)
    person = sample_faces(1, generator, style=actor.style, neutral=True)
    person = person.replace(hair_colour=actor.hair, melanin=actor.melanin)
    light = sample_faces(1, torch.Generator().manual_seed(1000 * actor.seed + shot), neutral=True)
    names = ("light_azimuth", "light_elevation", "light_strength", "light_warmth")
    own = {name: getattr(person, name) for name in names}
    person = person.replace(**{n: torch.lerp(v, getattr(light, n), 0.5) for n, v in own.items()})
    rng = np.random.default_rng([actor.seed, shot])
    turned = rng.uniform(-0.15, 0.15)
    found = []
    for step in range(POSES):
        moves = {"yaw": turned + 0.05 * step, "pitch": 0.03 * step, "mouth_open": 0.15 * step}
        found.append(_pose(person.replace(**moves), actor.scale, height))
    return found


def _pose(face: FaceParams, scale: float, height: int) -> Pose:
    view = _place(0, 0, 0.1, scale, height, height)
    truth = shade(trace(face, view.finer(OVERSAMPLE)), face, reduce=OVERSAMPLE)
    return Pose(
        (truth.image[0].permute(1, 2, 0) * 255).numpy(),
        1 - truth.background[0, 0].numpy(),
        truth.hair[0, 0].numpy(),
        truth.landmarks[0].mean(0).numpy(),
    )


@dataclass(frozen=True)
class Scene:
    """Who is where. x: [T, A] float64, middle of each person as a share of the frame's width, NaN
    where absent. begins: frames with which shots begin. actors: from back to front."""

    name: str
    actors: tuple[Actor, ...]
    x: NDArray[Any]
    begins: tuple[int, ...] = (0,)
    size: tuple[int, int] = SIZE
    poses: Mapping[tuple[int, int], list[Pose]] = field(default_factory=dict)

    @cached_property
    def shot(self) -> NDArray[Any]:
        """[T], from 0 on."""
        return np.searchsorted(self.begins, np.arange(len(self.x)), side="right") - 1

    def frame(self, index: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """(picture uint8 [H, W, 3]; each one's hair as it is seen, uint8 [A, H, W]; centres of
        faces [A, 2], NaN where absent)."""
        width, height = self.size
        shot = int(self.shot[index])
        picture = _wall(shot, width, height)
        hair = np.zeros((len(self.actors), height, width), np.float32)
        centres = np.full((len(self.actors), 2), np.nan)
        step = index // STEPS % (2 * POSES - 2)
        for number, actor in enumerate(self.actors):
            if np.isnan(self.x[index, number]):
                continue
            poses = self._poses(number, actor, shot)
            pose = poses[min(step, 2 * POSES - 2 - step)]
            left = round(self.x[index, number] * width - height / 2)
            low, high = max(0, left), min(width, left + height)
            centres[number] = pose.centre + np.array([left, 0])
            if low >= high:
                continue
            here, there = slice(low, high), slice(low - left, high - left)
            cover = pose.cover[:, there]
            picture[:, here] += cover[..., None] * (pose.picture[:, there] - picture[:, here])
            hair[:, :, here] *= 1 - cover
            hair[number, :, here] = pose.hair[:, there]
        levels = np.rint(picture).clip(0, 255).astype(np.uint8)
        return levels, np.rint(hair * 255).astype(np.uint8), centres

    def _poses(self, number: int, actor: Actor, shot: int) -> list[Pose]:
        if (number, shot) not in self.poses:
            self.poses[number, shot] = poses_of(actor, shot, self.size[1])  # type: ignore[index]
        return self.poses[number, shot]


def _wall(shot: int, width: int, height: int) -> NDArray[Any]:
    """float32 [H, W, 3], another one in every shot."""
    rng = np.random.default_rng(shot)
    tint = (70 if shot % 2 else 170) + rng.uniform(-30, 30, 3)
    y, x = np.mgrid[:height, :width]
    waves = 8 * np.sin(x / rng.uniform(20, 40)) + 8 * np.cos(y / rng.uniform(15, 30))
    wall: NDArray[np.float32] = (tint + waves[..., None]).astype(np.float32)
    return wall


def _path(*points: tuple[float, float], count: int) -> NDArray[Any]:
    """Places at all frames, along lines between (frame, place)."""
    frames, places = zip(*points, strict=True)
    return np.interp(np.arange(count), frames, places)


BLONDE = Actor(11, "long", HAIR_COLORS["blonde"], 0.1)
DARK = Actor(23, "short", HAIR_COLORS["black"], 0.75, 1.15)
RED = Actor(37, "bob", HAIR_COLORS["ginger"], 0.25)


def crossing() -> Scene:
    """Two people walk past each other; the one in front hides the other for a moment."""
    count = 3 * FPS
    apart = _path((0, 0.25), (count - 1, 0.75), count=count)
    return Scene("crossing", (BLONDE, DARK), np.stack([apart, 1 - apart], 1))


def cuts() -> Scene:
    """Three people, one after the other and over again, each for a second."""
    x = np.full((6 * FPS, 3), np.nan)
    for shot in range(6):
        x[shot * FPS : (shot + 1) * FPS, shot % 3] = 0.35 + 0.06 * shot
    return Scene("cuts", (BLONDE, DARK, RED), x, tuple(range(0, 6 * FPS, FPS)))


def returning() -> Scene:
    """One of two people leaves the picture and comes back."""
    count = 4 * FPS
    away = _path((0, 0.7), (FPS, 0.7), (2 * FPS, 1.4), (2.5 * FPS, 1.4), (3.5 * FPS, 0.7),
                 (count, 0.7), count=count)  # fmt: skip
    stays = np.full(count, 0.25)
    return Scene("returning", (RED, DARK), np.stack([stays, away], 1))


SCENES = {made.__name__: made for made in (crossing, cuts, returning)}
