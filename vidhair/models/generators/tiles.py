"""Drawing a picture in tiles, so that what its layers need of memory at a time stays below a bound.

The last layers, which are the large ones, run once per tile, on the rows that the tile sees; the
others run once, over the whole picture. Neighbouring tiles see rows in common, which are computed
for both, so the picture is the same but for rounding.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from vidhair.kernels.layout_cpu import padded_width


@dataclass(frozen=True)
class Rows:
    """start … stop − 1 of a picture."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Pass:
    """One layer over the whole picture: what decides which rows see which, and what it needs.

    padding: of the upsampled signal, before and after its columns, before and after its rows.
    height, width: of the input; out_height, out_width: of the output.
    """

    kernel: int
    up: int
    down: int
    up_taps: int
    down_taps: int
    padding: tuple[int, int, int, int]
    in_channels: int
    out_channels: int
    height: int
    width: int
    out_height: int
    out_width: int

    def seen_by(self, rows: Rows) -> Rows:
        """The rows of the input that rows of the output depend on."""
        first = self.down * rows.start
        last = self.down * (rows.stop - 1) + self.down_taps - 1
        # Of the convolution, whose row c sees the rows c − kernel + 1 … c of the input.
        low = math.ceil((first - self.padding[2]) / self.up)
        high = math.floor((last + self.up_taps - 1 - self.padding[2]) / self.up)
        return Rows(max(0, low - self.kernel + 1), max(1, min(self.height, high + 1)))

    def padding_of(self, seen: Rows, rows: Rows) -> tuple[int, int, int, int]:
        """The padding that makes rows of the rows they see."""
        left, right, before, after = self.padding
        before += seen.start * self.up - rows.start * self.down
        after += (self.height - seen.stop) * self.up - (self.out_height - rows.stop) * self.down
        return left, right, before, after

    def numbers(self, seen: Rows, rows: Rows) -> int:
        """The most that are held at once while this layer makes rows."""
        reach = self.kernel - 1
        convolved = padded_width(self.out_channels) * (seen.count + reach) * (self.width + reach)
        read = padded_width(self.in_channels) * seen.count * self.width
        made = padded_width(self.out_channels) * rows.count * self.out_width
        return convolved + max(read, made)

    def work(self, seen: Rows) -> int:
        """Multiplications of the convolution."""
        reach = self.kernel - 1
        pixels = (seen.count + reach) * (self.width + reach)
        return pixels * self.kernel**2 * self.in_channels * self.out_channels

    @property
    def whole(self) -> tuple[Rows, Rows]:
        return Rows(0, self.height), Rows(0, self.out_height)


@dataclass(frozen=True)
class Plan:
    """split: the first layer that runs in tiles. tiles: of the picture, from the top."""

    split: int
    tiles: tuple[Rows, ...]
    bytes: int


def rows_of_layers(passes: Sequence[Pass], rows: Rows) -> list[tuple[Rows, Rows]]:
    """(rows of the input, rows of the output) of each layer, for rows of the last one's output."""
    found: list[tuple[Rows, Rows]] = []
    for layer in reversed(passes):
        seen = layer.seen_by(rows)
        found.append((seen, rows))
        rows = seen
    return found[::-1]


def _tiles(height: int, count: int) -> tuple[Rows, ...]:
    edges = [round(height * k / count) for k in range(count + 1)]
    return tuple(Rows(a, b) for a, b in pairwise(edges))


def plan_tiles(passes: tuple[Pass, ...], bytes_per_number: int, memory: int | None) -> Plan:
    """The least work within `memory` bytes, or the least memory if that is not enough.

    bytes_per_number: times the size of the batch. memory: None is no bound.
    """
    numbers = max(layer.numbers(*layer.whole) for layer in passes)
    whole = Plan(len(passes), _tiles(passes[-1].out_height, 1), numbers * bytes_per_number)
    if memory is None or whole.bytes <= memory:
        return whole
    return _planned(passes, bytes_per_number, memory)


@lru_cache(maxsize=64)
def _planned(passes: tuple[Pass, ...], bytes_per_number: int, memory: int) -> Plan:
    plans = list(_plans(passes, bytes_per_number))
    enough = [(work, plan) for work, plan in plans if plan.bytes <= memory]
    if enough:
        return min(enough, key=lambda pair: pair[0])[1]
    return min((plan for _, plan in plans), key=lambda plan: plan.bytes)


def _plans(passes: tuple[Pass, ...], bytes_per_number: int) -> Iterator[tuple[int, Plan]]:
    """(work, plan) with 2, 3, 4, 6, 8, … tiles, from every layer on."""
    before = [layer.numbers(*layer.whole) for layer in passes]
    last = passes[-1]
    picture = last.out_channels * last.out_height * last.out_width
    powers = range(1, last.out_height.bit_length())
    counts = [n for k in powers for n in (2**k, 3 * 2 ** (k - 1)) if n <= last.out_height]
    for split in range(len(passes)):
        first = passes[split]
        held = padded_width(first.in_channels) * first.height * first.width + picture
        done = sum(layer.work(layer.whole[0]) for layer in passes[:split])
        for count in counts:
            tiles = _tiles(last.out_height, count)
            # One in the middle sees the most rows.
            rows = rows_of_layers(passes[split:], tiles[count // 2])
            parts = list(zip(passes[split:], rows, strict=True))
            numbers = max(layer.numbers(*pair) for layer, pair in parts)
            work = done + count * sum(layer.work(seen) for layer, (seen, _) in parts)
            needed = max(max(before[:split], default=0), held + numbers)
            yield work, Plan(split, tiles, needed * bytes_per_number)
