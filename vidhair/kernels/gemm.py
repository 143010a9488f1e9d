"""Batches of matrix products for the convolutions on CPU, by matrices that are packed beforehand.

Minimal filtering makes them of pictures: a product per plane of what it transforms, strip by strip.

Torch's library (MKL) reaches three quarters of the processor's multiply-adds on AMD's processors,
and half of them where a side is not a multiple of 16; these products reach all of them. They are of
float32 or bfloat16.
"""

from functools import cache

import torch
from torch import Tensor

from vidhair.kernels import start_threads
from vidhair.kernels.buffers import buffer_pool, scratch
from vidhair.kernels.layout_cpu import flat, widened

# Of transformed pictures at a time: they should stay in the cache, but products of few rows are
# slow.
STRIP_BYTES, STRIP_TILES = 6 << 20, 96


def least_rows() -> int:
    """M of `multiply` at least."""
    return _kernels().ROWS


def panel() -> int:
    """Columns that `packed` puts beside each other."""
    return _kernels().WIDTH


def packed(
    x: Tensor, dtype: torch.dtype, before: Tensor | None = None, after: Tensor | None = None
) -> Tensor:
    """x [B, K, N] in float32, scaled by before [K] and after [N], as `multiply` takes it; flat.

    N: a multiple of LANES.
    """
    batch, count, columns = x.shape
    before = torch.ones(count) if before is None else before.float()
    after = torch.ones(columns) if after is None else after.float()
    kernels = _kernels()
    pack = kernels.pack
    if dtype == torch.bfloat16:
        pack = kernels.pack_pairs
        count += count % 2
    result = buffer_pool.take(batch * count * columns, dtype)
    before, after = widened(before, count), widened(after, columns)
    pack(flat(x), (batch, count, columns), flat(before), flat(after), flat(result))
    return result


def multiply(a: Tensor, b: Tensor, c: Tensor, *, onto: bool = False) -> None:
    """c [B, M, N] = a [B, M, K] · b, or added to c. b: what `packed` has made, or [B, K, N].

    Added only in float32, and to whole multiples of `least_rows`. In bfloat16 an odd K meets what
    lies behind a row of a, by zero: a finite number has to lie there.
    """
    (batch, rows, count), columns = a.shape, c.shape[2]
    width = panel()
    pair = 2 if a.dtype == torch.bfloat16 else 1
    *a_strides, along = a.stride()
    count = -(-count // pair)
    if b.ndim == 1:
        strides = (count * pair * columns, count * pair * width, 0)
    else:
        strides = (b.stride(0), width, b.stride(1))
    _kernels().multiply(
        flat(a), (*a_strides, along * pair), flat(b), strides, flat(c), c.stride()[:2],
        (batch, rows, count, columns), onto,
    )  # fmt: skip


def strip(rows: int, columns: int, bytes_per_tile: int) -> int:
    """How many rows of tiles to transform at a time."""
    tiles = max(STRIP_TILES, STRIP_BYTES // bytes_per_tile)
    strips = max(1, rows * columns // tiles)
    return -(-rows // strips)


def planes(name: str, shape: tuple[int, int, int], dtype: torch.dtype) -> Tensor:
    """Scratch [planes, tiles, C′], with more tiles where a product needs more rows."""
    count, tiles, width = shape
    tiles = max(tiles, least_rows())
    return scratch(name, count * tiles * width, dtype).view(count, tiles, width)


@cache
def _kernels():

    from vidhair.kernels import _gemm

    start_threads()
    return _gemm
