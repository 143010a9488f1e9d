"""Drawing a picture tile by tile, so that what the layers need of memory stays below a bound.

What looks at the whole picture runs once over all of it: the encoder, whose gates pool it, and the
fusions with an editing vector, which normalise by its means. Of the blocks behind, which hold the
largest maps, each tile is drawn with what lies around it and it depends on, so there is no seam:
the picture is the same but for rounding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from vidhair.models.generators.stylegan2 import Canvas
from vidhair.models.styleganex.generator import FEATURE_SIZE, fusing
from vidhair.models.styleganex.network import Layout, StyleGANEX

CONTEXT = 10  # samples of a block's input around a tile on which it and later blocks may depend
LEAST = 2  # sides of a tile, in samples of that input
BYTES = 4  # of a number
MAPS = 7  # as large as a block's output, that it holds at once on a CPU (measured)


@dataclass(frozen=True)
class Plan:
    """split: the first block that runs in tiles; the number of blocks where none does. rows,
    columns: of a tile, in samples of that block's input."""

    split: int
    rows: int = 0
    columns: int = 0


def needed(network: StyleGANEX, index: int, pixels: int, fused: bool) -> int:
    """About the bytes that a block holds at once. pixels: of its input."""
    c = network.config.generator
    size = c.sizes[index]
    before = c.channels(c.sizes[max(0, index - 1)])
    times = 4 if size > FEATURE_SIZE else 1
    merged = MAPS * before * pixels if fused else before * pixels
    return BYTES * max(MAPS * c.channels(size) * times * pixels, merged)


def planned(network: StyleGANEX, height: int, width: int, edited: bool, memory: int | None) -> Plan:
    """How a picture with a feature of height × width is drawn. edited: with an editing vector."""
    sizes, skips = network.config.generator.sizes, network.config.skips
    count = len(sizes)
    if memory is None:
        return Plan(count)
    pixels = [height * width * max(1, size // FEATURE_SIZE // 2) ** 2 for size in sizes]
    bytes_of = [needed(network, index, pixels[index], 0 < index <= skips) for index in range(count)]
    first = next((i for i, size in enumerate(sizes) if size > FEATURE_SIZE), count)
    if edited and network.config.attention_depth:
        first = max(first, skips)  # behind the last of its masks
    if max(bytes_of) <= memory or first >= count:
        return Plan(count)
    # The later the split, the less is drawn twice.
    split = next((i for i in range(count - 1, first, -1) if max(bytes_of[:i]) <= memory), first)
    across = width * (sizes[split] // FEATURE_SIZE // 2)
    samples = pixels[split] * memory // max(bytes_of[split:])
    side = math.isqrt(samples)
    columns = across if across <= side else max(LEAST, side - 2 * CONTEXT)
    rows = samples // min(across, columns + 2 * CONTEXT) - 2 * CONTEXT
    return Plan(split, max(LEAST, rows), columns)


def draw(
    network: StyleGANEX,
    layout: Layout,
    ws: Tensor,
    *,
    editing: Tensor | None = None,
    memory: int | None = None,
) -> Tensor:
    """As `StyleGANEX.render` without noise. memory: bytes that layers may take at once."""
    synthesis, fusions = network.synthesis, network.fusions
    height, width = layout.feature.shape[2:]
    plan = planned(network, height, width, editing is not None, memory)
    quiet = synthesis.no_noise()
    codes = ws if editing is None else ws + editing
    styles = synthesis.styles(codes)
    whole = synthesis.run(
        Canvas(layout.feature),
        styles,
        quiet,
        stop=plan.split,
        before=fusing(layout.skips, fusions, editing),
    )
    if plan.split == len(synthesis.blocks):
        return layout.added(whole.picture)
    masked = editing is not None and network.config.attention_depth > 0
    if masked:
        whole = fusing(layout.skips, fusions, editing)(plan.split, whole)
    feature, rgb = whole.feature, whole.picture
    times = 2 ** (len(synthesis.blocks) - plan.split)
    size = feature.shape[2] * times, feature.shape[3] * times
    picture = rgb.new_empty((len(feature), 3, *size))
    for inner, outer in tiles(feature.shape[2], feature.shape[3], plan):
        canvas = Canvas(_cut(feature, outer), _cut(rgb, outer))
        # A skip lies ahead of its block at the size of the canvas there.
        skips = [
            skip if k + 1 < plan.split else _cut(skip, _times(outer, 2 ** (k + 1 - plan.split)))
            for k, skip in enumerate(layout.skips)
        ]
        fuse = None if masked else fusing(skips, fusions, editing)
        made = synthesis.run(canvas, styles, quiet, start=plan.split, before=fuse).picture
        lead = _from(inner, outer)
        _cut(picture, _times(inner, times)).copy_(_cut(made, _times(lead, times)))
    return layout.added(picture)


Area = tuple[slice, slice]  # rows and columns


def tiles(height: int, width: int, plan: Plan) -> Iterator[tuple[Area, Area]]:
    """What is drawn, and what it is drawn from."""
    for rows, columns in product(_parts(height, plan.rows), _parts(width, plan.columns)):
        yield (rows[0], columns[0]), (rows[1], columns[1])


def _parts(length: int, step: int) -> list[tuple[slice, slice]]:
    """Parts of a side, and the same with what lies around them."""
    return [
        (
            slice(start, min(length, start + step)),
            slice(max(0, start - CONTEXT), min(length, start + step + CONTEXT)),
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
