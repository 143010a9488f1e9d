"""Drawing a picture strip by strip, so that what the layers need of memory stays below a bound.

What looks at the whole picture runs once over all of it: the encoder, whose gates pool it, and the
fusions with an editing vector, which normalise by its means. Of the blocks behind, which hold the
largest maps, each strip is drawn with the rows around it that it depends on, so there is no seam:
the picture is the same but for rounding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.models.generators.stylegan2 import Canvas
from vidhair.models.styleganex.generator import FEATURE_SIZE, fusing
from vidhair.models.styleganex.network import Layout, StyleGANEX

CONTEXT = 10  # rows of a block's input around a strip on which it and later blocks may depend
LEAST_ROWS = 2  # of a strip, in rows of that input
BYTES = 4  # of a number


@dataclass(frozen=True)
class Plan:
    """split: the first block that runs in strips; the number of blocks where none does. rows: of a
    strip, in those of that block's input."""

    split: int
    rows: int


def needed(network: StyleGANEX, index: int, pixels: int, fused: bool) -> int:
    """About the bytes that a block holds at once. pixels: of its input."""
    c = network.config.generator
    size = c.sizes[index]
    before = c.channels(c.sizes[max(0, index - 1)])
    times = 4 if size > FEATURE_SIZE else 1
    merged = 4 * before * pixels if fused else before * pixels
    return BYTES * max(4 * c.channels(size) * times * pixels, merged)


def planned(network: StyleGANEX, height: int, width: int, edited: bool, memory: int | None) -> Plan:
    """How a picture with a feature of height × width is drawn. edited: with an editing vector."""
    sizes, skips = network.config.generator.sizes, network.config.skips
    count = len(sizes)
    if memory is None:
        return Plan(count, 0)
    pixels = [height * width * max(1, size // FEATURE_SIZE // 2) ** 2 for size in sizes]
    bytes_of = [needed(network, index, pixels[index], 0 < index <= skips) for index in range(count)]
    first = next((i for i, size in enumerate(sizes) if size > FEATURE_SIZE), count)
    if edited and network.config.attention_depth:
        first = max(first, skips + 1)
    if max(bytes_of) <= memory or first >= count:
        return Plan(count, 0)
    # The later the split, the fewer rows are drawn twice.
    split = next((i for i in range(count - 1, first, -1) if max(bytes_of[:i]) <= memory), first)
    rows_of_input = height * (sizes[split] // FEATURE_SIZE // 2)
    fitting = rows_of_input * memory // max(bytes_of[split:]) - 2 * CONTEXT
    return Plan(split, max(LEAST_ROWS, fitting))


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
        return whole.picture
    feature = whole.feature
    times = 2 ** (len(synthesis.blocks) - plan.split)
    size = feature.shape[2] * times, feature.shape[3] * times
    picture = whole.picture.new_empty((len(feature), 3, *size))
    for inner, outer in strips(feature.shape[2], plan.rows):
        canvas = Canvas(feature[:, :, outer], whole.picture[:, :, outer])
        # A skip lies ahead of its block at the size of the canvas there.
        skips = [
            skip if k + 1 < plan.split else skip[:, :, _times(outer, 2 ** (k + 1 - plan.split))]
            for k, skip in enumerate(layout.skips)
        ]
        made = synthesis.run(
            canvas, styles, quiet, start=plan.split, before=fusing(skips, fusions, editing)
        ).picture
        lead = (inner.start - outer.start) * times
        rows = (inner.stop - inner.start) * times
        picture[:, :, _times(inner, times)] = made[:, :, lead : lead + rows]
    return picture


def strips(height: int, rows: int) -> Iterator[tuple[slice, slice]]:
    """Rows that are drawn, and those that they are drawn from."""
    for start in range(0, height, rows):
        stop = min(height, start + rows)
        yield slice(start, stop), slice(max(0, start - CONTEXT), min(height, stop + CONTEXT))


def _times(rows: slice, times: int) -> slice:
    return slice(rows.start * times, rows.stop * times)


def use_own_statistics(network: torch.nn.Module) -> None:
    """Let batch norms normalise by the picture that they see, without keeping anything of it: what
    `train()` does, but that there a picture changes how later ones are drawn."""
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.training, module.track_running_stats = True, False
