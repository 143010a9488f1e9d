"""Batches of matrix products by matrices that are prepared once, for the kernels of other ops."""

import torch
from torch import Tensor
from vidhair.kernels.modulated_conv.cpu import _even, _multiply, _pack, _products

from vidhair.kernels.memory import recycler


def fewest_rows() -> int:
    """M of `multiply` at least."""
    return _products().ROWS


def packed(x: Tensor, dtype: torch.dtype) -> Tensor:
    """x [B, K, N] in float32, N in whole vectors → what `multiply` takes, one after the other."""
    if not _products().takes(dtype):
        return x.to(dtype).flatten()
    batch, count, columns = x.shape
    size = batch * _even(count * columns, columns, dtype)
    result = recycler.take(size, dtype)[:size]
    _pack(x, torch.ones(count), torch.ones(columns), result)
    return result


def multiply(a: Tensor, b: Tensor, c: Tensor) -> None:
    """c [B, M, N] = a [B, M, K] · b, of which `packed` has made [B, K, N]."""
    if _products().takes(a.dtype):
        _multiply(a, b, c)
    else:
        torch.bmm(a, b.view(len(a), a.shape[2], c.shape[2]), out=c)
