"""Codes of a few frames, a space in which attribute k is coordinate k, and packs of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.models.tiny import random
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.edit import Strength
from vidhair.edits.recolor import HAIR_COLOR
from vidhair.geometry import Box
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.faces.landmarks import POINTS
from vidhair.stages.align import FaceTrack

D, LAYERS, COUNT = 20, 4, 7
NAMES = (*NO_HAIR, "smile", *HAIR_COLOR)
PRESENT = np.array([1, 1, 0, 1, 1, 1, 0], bool)
CUTS = np.arange(COUNT) == 4
NOWHERE = np.full((COUNT, POINTS, 2), np.nan, np.float32)
NO_FACES = np.zeros((len(CUTS), 0, 5), np.float32)
TRACK = FaceTrack(NOWHERE, PRESENT, PRESENT, CUTS, Box(0.0, 0.0, 1.0), NO_FACES)
# Of another value in each frame.
RAMP = Strength(np.linspace(-0.5, 1.0, COUNT).astype(np.float32))


def steady(degree: float, count: int = COUNT) -> Strength:
    return Strength(np.full(count, degree, np.float32))


def space_of(names: tuple[str, ...] = NAMES) -> AttributeSpace:
    """Attribute k is coordinate k of the code, less a tenth."""
    directions = torch.eye(D)[: len(names)]
    offset = torch.full((len(names),), -0.1)
    return AttributeSpace(names, directions, directions, offset, offset, offset)


SPACE = space_of()


def pack_of(space: AttributeSpace | None, *parts: str) -> Any:
    return SimpleNamespace(attributes=space, has=lambda part: part in parts)


def styles() -> NDArray[Any]:
    return random(COUNT, LAYERS, D).numpy()
