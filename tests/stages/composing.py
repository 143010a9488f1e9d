"""Frames, renderings and mattes that tests of composing share."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from vidhair.geometry import Box, Grid
from vidhair.imaging.color import rgb_to_lab
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages.compose import ComposeConfig, composed
from vidhair.stages.fade import Fade
from vidhair.stages.in_front import InFront
from vidhair.stages.layers import Patch, fold
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.render import (
    Canvas,
    Picture,
)
from vidhair.stages.residual import HairChange, dyed, residual
from vidhair.types import Frames

HEIGHT, WIDTH = 48, 64
CANVAS = Canvas(16, Extent(4, 2, 6, 5), left=8.0, top=4.0, step=1.5)  # to (47, 38.5)
CROP_SIDE = 24.0  # frame pixels
LEFT, TOP = 12, 8  # corner of the matte's grid
GRID = Grid.of_pixels(24, 28, LEFT, TOP)
INSIDE, BORDER = np.s_[:, 14:26, 18:34], np.s_[:, 12:28, 16:36]
COUNT = 7


def without_arms(alpha: NDArray[np.uint8]) -> InFront:
    """What is in front [T, h, w], of which nothing is glasses."""
    return InFront(alpha, np.zeros(alpha.shape, bool))


def levels(*rgb: float, size: tuple[int, int] = (HEIGHT, WIDTH), count: int = 2) -> NDArray[Any]:
    return np.full((count, *size, 3), rgb, np.uint8)


def on_canvas(*rgb: float) -> NDArray[Any]:
    return levels(*rgb, size=(CANVAS.height, CANVAS.width))


def noise(seed: int = 0, low: int = 0, high: int = 256) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (2, HEIGHT, WIDTH, 3), dtype=np.uint8)


def matte(level: int = 255, border: int = 128) -> NDArray[Any]:
    """uint8 [2, 24, 28] on the grid at (LEFT, TOP): sure hair with a soft border."""
    full = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    full[BORDER], full[INSIDE] = border * level // 255, level
    return full[:, TOP : TOP + 24, LEFT : LEFT + 28]


def over(frames: NDArray[Any], patches: list[Patch | None]) -> NDArray[Any]:
    """Frames [T, H, W, 3] with a patch, or none, over each."""
    return np.stack([fold(f, [p] if p else []) for f, p in zip(frames, patches, strict=True)])


def lab(picture: NDArray[Any]) -> torch.Tensor:
    """uint8 [..., 3] → Lab [..., 3]."""
    return rgb_to_lab(torch.from_numpy(picture).double() / 255, dim=-1)


def moving() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Frames, two renderings and mattes of which every one lies elsewhere; one is empty."""
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 256, (COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
    size = (COUNT, CANVAS.height, CANVAS.width, 3)
    recon, edited = (rng.integers(40, 200, size, dtype=np.uint8) for _ in range(2))
    alpha = np.zeros((COUNT, 24, 28), np.uint8)
    for t in range(COUNT - 1):
        alpha[t, 2 + t : 9 + 2 * t, 1 + 2 * t : 8 + 2 * t] = 255 - 20 * t
    return frames, recon, edited, alpha


class Scene:
    """Four frames, of which the second shows no face. Every value differs from frame to frame, and
    where there is no face it is made up."""

    COUNT, ROWS = 4, [0, 2, 3]
    # Of the matte, with a step of one, the grid is twice as fine as the parser's.
    REGION = HeadRegion(LEFT, TOP, 2.0, 12, 14)
    WINDOW = HairWindow(LEFT, TOP, 1, 24, 28, CROP_SIDE)
    CONFIG = ComposeConfig(evenness=0.0, blur=0.2)
    DEGREE = np.array([[1.0], [0.8], [0.5], [-0.3]])  # of the change wanted, by frame

    def __init__(self, present: bool = True) -> None:
        places = [None if k == 1 or not present else (28.0 + k, 22.0, 8.0) for k in range(4)]
        self.track = face_track(places, Box(14.0, 7.0, CROP_SIDE))
        self.fade = Fade(np.ones(4))
        rng = np.random.default_rng(5)
        self.pixels = rng.integers(40, 120, (self.COUNT, HEIGHT, WIDTH, 3), dtype=np.uint8)
        size = CANVAS.height, CANVAS.width
        self.recon, self.redrawn = (
            levels(60, 40, 30, size=size, count=self.COUNT) + np.uint8(step) * steps
            for step, steps in ((1, self._steps()), (20, self._steps()))
        )
        self.redrawn += rng.integers(0, 60, self.redrawn.shape, dtype=np.uint8)
        self.alpha = np.concatenate([matte(), matte(200)])
        self.alpha[2] = np.roll(self.alpha[2], 2, 1)

    def _steps(self) -> NDArray[Any]:
        return np.arange(1, 1 + self.COUNT, dtype=np.uint8)[:, None, None, None]

    @property
    def frames(self) -> Frames:
        return Frames.of_pixels(self.pixels)

    def residual(self, wanted: NDArray[Any] | None = None, **options: Any) -> NDArray[Any]:
        config = ComposeConfig(**options) if options else self.CONFIG
        numbers = np.zeros(4, np.float32), np.zeros((4, 3), np.float32)
        given = (
            self.frames, Picture(self.recon), Picture(self.redrawn), Matte(self.alpha, *numbers),
            self.track, self.fade, CANVAS, self.WINDOW,
        )  # fmt: skip
        if wanted is None:
            layer = residual(*given, config)
        else:
            lab: NDArray[Any] = np.tile(wanted, (self.COUNT, 1)) * self.DEGREE
            change = HairChange(lab, np.zeros((4, 1, 1), np.float32))
            layer = dyed(*given, change, config)
        return composed(self.frames, [layer], map).pixels
