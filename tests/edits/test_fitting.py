"""Attributes by which what is drawn comes to look as wanted."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.edits.test_proxies import ALL, scene_of
from tests.models.tiny import random
from vidhair.edits.fitting import FARTHEST, Wanted, change_of, fit_attributes, read_drawn
from vidhair.edits.proxies import Scene, draw
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.parsers.face_parser import Label

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("hair_length", "hair_volume", "hair_fringe")
MOVED = torch.tensor([0.8, -0.4, 0.5])


def _dark_is_hair(pictures: torch.Tensor, guides: torch.Tensor) -> torch.Tensor:
    scores = torch.zeros(len(pictures), len(Label), *pictures.shape[2:])
    scores[:, Label.HAIR] = -20 * pictures.mean(1)
    return scores


dark_is_hair: Any = _dark_is_hair  # a parser


@pytest.fixture(scope="module")
def scene() -> Scene:
    plain: Any = replace(scene_of(), parser=dark_is_hair)
    with torch.no_grad():
        hair = plain.hair_of(plain.scores(plain.pictures, ALL))
    return replace(plain, hair=hair)


@pytest.fixture(scope="module")
def space(scene: Scene) -> AttributeSpace:
    directions = 0.5 * random(len(NAMES), scene.codes.shape[-1], seed=3)
    edge = torch.ones(len(NAMES))
    readout = torch.linalg.pinv(directions).t()
    return AttributeSpace(NAMES, directions, readout, 0 * edge, -edge, edge)


def hair_with(scene: Scene, space: AttributeSpace, values: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        pictures = draw(scene, change_of(values, NAMES, space), "w+", ALL)
        return scene.hair_of(scene.scores(pictures, ALL))


def apart(scene: Scene, space: AttributeSpace, values: torch.Tensor, hair: torch.Tensor) -> float:
    return float((hair_with(scene, space, values) - hair).square().mean())


def fitted(scene: Scene, space: AttributeSpace, wanted: Wanted, rounds: int = 4) -> Any:
    told: list[tuple[int, float]] = []
    start = torch.zeros_like(scene.codes[:1])
    found = fit_attributes(
        scene, wanted, start, NAMES, space, rounds, lambda *step: told.append(step)
    )
    return found, told


def test_hair_comes_to_where_it_is_wanted(scene: Scene, space: AttributeSpace) -> None:
    hair = hair_with(scene, space, MOVED)
    found, told = fitted(scene, space, Wanted(hair, torch.ones(len(hair))))
    none = apart(scene, space, torch.zeros(len(NAMES)), hair)
    assert apart(scene, space, found, hair) < 0.1 * none
    losses = [loss for _, loss in told]
    assert losses == sorted(losses, reverse=True) and [done for done, _ in told] == [1, 2, 3, 4]


def test_frames_that_say_nothing_do_not_count(scene: Scene, space: AttributeSpace) -> None:
    hair = hair_with(scene, space, MOVED)
    other = hair.clone()
    other[1:] = 1 - other[1:]
    first = torch.tensor([1.0, 0.0, 0.0])
    alike = [fitted(scene, space, Wanted(x, first), 2)[0] for x in (hair, other)]
    assert torch.equal(*alike)


def test_what_the_encoder_reads_counts_beside_it(scene: Scene, space: AttributeSpace) -> None:
    seen: list[torch.Tensor] = []

    def codes(pictures: torch.Tensor) -> torch.Tensor:
        """Of the pictures' brightness, along the first direction."""
        seen.append(pictures)
        return pictures.mean((1, 2, 3))[:, None, None] * space.directions[0]

    inverter = Inverter(16, 1, space.directions.shape[1], torch.device("cpu"), codes, random(1))
    hair = hair_with(scene, space, torch.zeros(len(NAMES)))
    wanted = Wanted(hair, torch.zeros(len(hair)), NAMES[:1], torch.tensor([5.0]), inverter)
    found, told = fitted(scene, space, wanted)
    assert seen[0].shape == (1, 3, 16, 16) and told[-1][1] < told[0][1]
    with torch.no_grad():
        both = (
            read_drawn(scene, draw(scene, change_of(x, NAMES, space), "w+", ALL), inverter, space)
            for x in (torch.zeros(len(NAMES)), found)
        )
    before, after = (x[:, 0].mean() for x in both)
    assert after > before
    assert (found.abs() <= 2 * FARTHEST).all()
    without = replace(wanted, inverter=None)
    assert not fitted(scene, space, without, 1)[0].abs().max() > 1e-6, "nothing is wanted then"
