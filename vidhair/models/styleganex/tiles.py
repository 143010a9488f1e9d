"""Drawing a picture tile by tile, so that what the layers need of memory stays below a bound.

What looks at the whole picture runs once over all of it: the encoder, whose gates pool it, and the
fusions with an editing vector, which normalise by its means. The blocks behind hold the largest
maps. They run in legs: of a leg, each tile is drawn with what lies around it and it depends on, so
there is no seam, and the picture is the same but for rounding. The more blocks a leg has, the more
lies around a tile; the fewer, the more maps between legs are held whole.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from vidhair.models.generators.stylegan2 import Canvas
from vidhair.models.styleganex.generator import FEATURE_SIZE, fusing
from vidhair.models.styleganex.network import Layout, StyleGANEX

REACH = 5  # samples of a block's input around a pixel on which it depends at most
LEAST = 2  # sides of a tile, in samples of its leg's input
BYTES = 4  # of a number
MAPS = 7  # as large as a block's output, that it holds at once on a CPU (measured)


@dataclass(frozen=True)
class Leg:
    """Blocks start … stop − 1. rows, columns: of a tile, in samples of the first one's input.
    last: of it, nothing but the picture is wanted."""

    start: int
    stop: int
    rows: int
    columns: int
    last: bool = False

    @property
    def around(self) -> int:
        """Samples around a tile on which it may depend: a later block's are half as large."""
        return math.ceil(sum(REACH / (1 << k) for k in range(self.stop - self.start)))


@dataclass(frozen=True)
class Costs:
    """What the blocks of a network take for a picture with a feature of height × width."""

    network: StyleGANEX
    height: int
    width: int

    def sides(self, index: int) -> tuple[int, int]:
        """Of a block's input."""
        times = max(1, self.network.config.generator.sizes[index] // FEATURE_SIZE // 2)
        return self.height * times, self.width * times

    def channels(self, index: int) -> tuple[int, int]:
        """Of a block's input and output."""
        c = self.network.config.generator
        return c.channels(c.sizes[max(0, index - 1)]), c.channels(c.sizes[index])

    def held(self, index: int) -> int:
        """Bytes of a block's input, feature and picture."""
        return BYTES * math.prod(self.sides(index)) * (self.channels(index)[0] + 3)

    def needed(self, index: int) -> int:
        """About the bytes that a block holds at once."""
        (before, after), pixels = self.channels(index), math.prod(self.sides(index))
        times = 4 if self.network.config.generator.sizes[index] > FEATURE_SIZE else 1
        merged = MAPS * before if 0 < index <= self.network.config.skips else before
        return BYTES * pixels * max(MAPS * after * times, merged)

    def leg(self, start: int, stop: int, memory: int) -> Leg:
        """With the largest tiles that so many bytes allow."""
        height, width = self.sides(start)
        last = stop == len(self.network.config.generator.sizes)
        most = max(self.needed(index) for index in range(start, stop))
        samples = height * width * memory // most
        if samples >= height * width:
            return Leg(start, stop, height, width, last)
        around = 2 * Leg(start, stop, 0, 0).around
        side = math.isqrt(samples)
        columns = width if width <= side else max(LEAST, side - around)
        rows = samples // min(width, columns + around) - around
        return Leg(start, stop, min(height, max(LEAST, rows)), columns, last)

    def work(self, leg: Leg) -> float:
        """Of what is drawn, and drawn again around each tile."""
        area = math.prod(
            1 + 2 * leg.around / own if own < all_ else 1
            for own, all_ in zip((leg.rows, leg.columns), self.sides(leg.start), strict=True)
        )
        blocks = range(leg.start, leg.stop)
        return area * sum(math.prod((*self.channels(k), *self.sides(k))) for k in blocks)


def planned(
    network: StyleGANEX, height: int, width: int, edited: bool, memory: int | None
) -> tuple[Leg, ...]:
    """How a picture with a feature of height × width is drawn. edited: with an editing vector.
    memory: bytes, or None for any."""
    sizes, skips = network.config.generator.sizes, network.config.skips
    count, costs = len(sizes), Costs(network, height, width)
    whole = next((i for i, size in enumerate(sizes) if size > FEATURE_SIZE), count)
    if edited and network.config.attention_depth:
        whole = max(whole, skips)  # behind the last of its masks
    while whole < count and (memory is None or costs.needed(whole) <= memory):
        whole += 1
    begun = Leg(0, whole, height, width)
    if memory is None or whole == count:
        return (begun,)
    choices = []
    for last in range(whole, count):  # where the leg begins that makes no map but the picture
        between = range(whole, last)
        spare = [memory - costs.held(k) - costs.held(k + 1) for k in between]
        if min(spare, default=1) > 0:
            legs = [costs.leg(k, k + 1, most) for k, most in zip(between, spare, strict=True)]
            ended = costs.leg(last, count, max(1, memory - costs.held(last)))
            choices.append((begun, *legs, ended))
    return min(choices, key=lambda legs: sum(map(costs.work, legs)))


def draw(
    network: StyleGANEX,
    layout: Layout,
    ws: Tensor,
    *,
    editing: Tensor | None = None,
    memory: int | None = None,
) -> Tensor:
    """As `StyleGANEX.render` without noise. memory: bytes that layers may take at once."""
    height, width = layout.feature.shape[2:]
    edited = editing is not None
    masked = edited and network.config.attention_depth > 0
    styles = network.synthesis.styles(ws if editing is None else ws + editing)

    def run(leg: Leg, canvas: Canvas, skips: Sequence[Tensor]) -> Canvas:
        fuse = fusing(skips, network.fusions, editing)
        quiet = network.synthesis.no_noise()
        return network.synthesis.run(
            canvas, styles, quiet, start=leg.start, stop=leg.stop, before=fuse
        )

    canvas = Canvas(layout.feature)
    for leg in planned(network, height, width, edited, memory):
        skips: Sequence[Tensor] = layout.skips
        if masked and leg.start == network.config.skips:
            canvas, skips = fusing(skips, network.fusions, editing)(leg.start, canvas), ()
        canvas = _in_tiles(leg, canvas, skips, run)
    return layout.added(canvas.picture)


Area = tuple[slice, slice]  # rows and columns


def _in_tiles(
    leg: Leg, canvas: Canvas, skips: Sequence[Tensor], run: Callable[..., Canvas]
) -> Canvas:
    """What `run(leg, canvas, skips)` gives, for one tile after the other."""
    height, width = canvas.feature.shape[2:]
    parts = list(tiles(height, width, leg))
    if len(parts) == 1:
        return run(leg, canvas, skips)
    whole: list[Tensor] = []
    for inner, outer in parts:
        # A skip lies ahead of its block at the size of the canvas there.
        cut = [
            skip if k + 1 < leg.start else _cut(skip, _times(outer, 2 ** (k + 1 - leg.start)))
            for k, skip in enumerate(skips)
        ]
        part = Canvas(_cut(canvas.feature, outer), _cut(canvas.picture, outer))
        made = run(leg, part, cut)
        maps = [made.picture, *([] if leg.last else [made.feature])]
        times = made.feature.shape[2] // part.feature.shape[2]
        if not whole:
            whole = [_empty_like(x, (height * times, width * times)) for x in maps]
        for all_of_it, drawn in zip(whole, maps, strict=True):
            own = _cut(drawn, _times(_from(inner, outer), times))
            _cut(all_of_it, _times(inner, times)).copy_(own)
    picture, *feature = whole
    return Canvas(feature[0] if feature else picture, picture)


def _empty_like(x: Tensor, sides: Sequence[int]) -> Tensor:
    """Memory for as many channels [B, C] of other sides."""
    shape = (*x.shape[:2], *sides)
    kind = torch.channels_last
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=kind)


def tiles(height: int, width: int, leg: Leg) -> Iterator[tuple[Area, Area]]:
    """What is drawn, and what it is drawn from."""
    parts = (_parts(n, own, leg.around) for n, own in ((height, leg.rows), (width, leg.columns)))
    for rows, columns in product(*parts):
        yield (rows[0], columns[0]), (rows[1], columns[1])


def _parts(length: int, step: int, around: int) -> list[tuple[slice, slice]]:
    """Parts of a side, and the same with what lies around them."""
    return [
        (
            slice(start, min(length, start + step)),
            slice(max(0, start - around), min(length, start + step + around)),
        )
        for start in range(0, length, step)
    ]


def _times(area: Area, times: int) -> Area:
    rows, columns = (slice(part.start * times, part.stop * times) for part in area)
    return rows, columns


def _from(inner: Area, outer: Area) -> Area:
    """Where an area lies within a larger one."""
    rows, columns = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(inner, outer, strict=True)
    )
    return rows, columns


def _cut(x: Tensor, area: Area) -> Tensor:
    return x[:, :, area[0], area[1]]


def use_own_statistics(network: torch.nn.Module) -> None:
    """Let batch norms normalise by the picture that they see, without keeping anything of it: what
    `train()` does, but that there a picture changes how later ones are drawn."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.training, module.track_running_stats = True, False
