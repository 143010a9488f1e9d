"""Attributes of a pack by which what it draws comes to look as wanted.

They are few, so the change that fits all keyframes together is found by least squares: Gauss and
Newton's steps, damped (Levenberg 1944), with differences in place of derivatives. N keyframes, P
attributes, L codes, D width of a code.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.edits.proxies import Scene, draw
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.generators.aligned import places
from vidhair.models.generators.stylegan3 import Extent

CELLS = 32  # along a side of the box, in which hair is compared
PROBE = 0.4  # by which each attribute is tried, in its usual range
FARTHEST = 1.2  # that an attribute is moved by, in its usual range
STAYING = (
    0.0005  # weight of what attributes are moved by, squared, in ranges, beside what is compared
)
READING = 0.4  # weight of what the encoder reads, in ranges, beside shares of the box
SHARES = (1.0, 0.4)  # of a step, that are tried


@dataclass(frozen=True)
class Wanted:
    """hair: [N, 1, R, R] in 0 … 1, where it is to be; certain: [N], how sure that is. reading: [Q],
    what `inverter` is to read of the attributes `read`, if any."""

    hair: Tensor
    certain: Tensor
    read: tuple[str, ...] = ()
    reading: Tensor | None = None
    inverter: Inverter | None = None


def read_drawn(scene: Scene, pictures: Tensor, inverter: Inverter, space: AttributeSpace) -> Tensor:
    """The attributes [N, P] that the encoder reads of drawn pictures [N, 3, R, R]."""
    way = torch.linalg.inv(scene.transforms)
    at = 2 * places(way, Extent(), inverter.size)
    aligned = F.grid_sample(pictures.float(), at, padding_mode="border", align_corners=False)
    return space.read(inverter.codes(aligned).float().cpu())


def change_of(values: Tensor, names: tuple[str, ...], space: AttributeSpace) -> Tensor:
    """[1, 1, D], of codes, that moves attributes by [P]."""
    change: Tensor = values @ space.directions[space.index(names)]
    return change[None, None]


@torch.no_grad()
def fit_attributes(
    scene: Scene,
    wanted: Wanted,
    start: Tensor,
    names: tuple[str, ...],
    space: AttributeSpace,
    rounds: int,
    progress: Callable[[int, float], None],
) -> Tensor:
    """How far to move attributes [P] beyond a change [1, L, D], all keyframes alike."""
    half = ((space.high - space.low) / 2)[space.index(names)]
    compare = _comparison(scene, wanted, start, names, space)
    bound = 2 * FARTHEST * half

    def look(values: Tensor) -> _Tried:
        values = values.clamp(-bound, bound)
        apart = compare(values)
        cost = apart.square().sum() + STAYING * (values / half).square().sum()
        return _Tried(values, apart, float(cost))

    best = look(torch.zeros(len(names)))
    for done in range(rounds):
        # To either side in turn, as hair appears and goes at a threshold.
        probes = 2 * PROBE * half * (-1) ** done
        tried = [look(best.values + _one(k, probes)) for k in range(len(names))]
        slopes = torch.stack([(one.apart - best.apart) for one in tried], 1) / (probes / half)
        normal = slopes.t() @ slopes + STAYING * torch.eye(len(names))
        pull = slopes.t() @ best.apart + STAYING * best.values / half
        way = half * torch.linalg.solve(normal, pull)
        tried += [look(best.values - share * way) for share in SHARES]
        best = min([best, *tried], key=lambda one: one.cost)
        progress(done + 1, best.cost)
    return best.values


@dataclass(frozen=True)
class _Tried:
    """values: [P]; apart: how what is drawn with them differs from what is wanted."""

    values: Tensor
    apart: Tensor
    cost: float


def _one(k: int, of: Tensor) -> Tensor:
    one = torch.zeros_like(of)
    one[k] = of[k]
    return one


def _comparison(
    scene: Scene, wanted: Wanted, start: Tensor, names: tuple[str, ...], space: AttributeSpace
) -> Callable[[Tensor], Tensor]:
    """How what is drawn with attributes moved by [P] differs from what is wanted, as a vector."""
    weight = (wanted.certain / wanted.certain.sum().clamp_min(1e-6)).sqrt().view(-1, 1)
    index = space.index(wanted.read)
    spread = (space.high - space.low)[index]

    def coarse(hair: Tensor) -> Tensor:
        cells: Tensor = F.adaptive_avg_pool2d(hair, min(CELLS, hair.shape[-1])).flatten(1)
        return cells / math.sqrt(cells.shape[1])

    goal = coarse(wanted.hair)

    def compare(values: Tensor) -> Tensor:
        change = start + change_of(values, names, space).to(start)
        hair, read = [], []
        for row in range(len(scene.codes)):
            one: Any = slice(row, row + 1)
            picture = draw(scene, change, "w+", one)
            hair.append(scene.hair_of(scene.scores(picture, one)))
            if wanted.inverter is not None:
                read.append(read_drawn(scene.rows(one), picture, wanted.inverter, space))
        apart = [(weight * (coarse(torch.cat(hair)) - goal)).flatten().cpu()]
        if wanted.reading is not None and read:
            got = torch.cat(read).mean(0)[index]
            apart.append(READING * (got - wanted.reading) / spread / len(index) ** 0.5)
        return torch.cat(apart)

    return compare
