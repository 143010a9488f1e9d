"""The matrix products of the CPU convolutions."""

from typing import Any

import pytest
import torch

from tests.tolerances import assert_close
from vidhair.kernels import gemm
from vidhair.kernels.simd import LANES

LEAST = gemm.least_rows()
DTYPES = [torch.float32, torch.bfloat16]


def matrices(batch: int, rows: int, count: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(rows + count + columns)
    a = torch.randn(batch, rows, count, generator=made)
    return a, torch.randn(batch, count, columns, generator=made)


def padded(a: torch.Tensor) -> torch.Tensor:
    """The same numbers in longer rows, with others behind them."""
    count = a.shape[2]
    return torch.cat([a, torch.full((*a.shape[:2], 2), 9.0, dtype=a.dtype)], 2)[:, :, :count]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "batch,rows,count,columns",
    [
        (1, LEAST, 1, LANES),
        (2, LEAST + 1, 3, 2 * LANES),
        (3, 97, 16, 3 * LANES),
        (1, 200, 33, 7 * LANES),
        (36, 96, 64, 4 * LANES),
    ],
)
def test_products_are_those_of_the_matrices(
    dtype: torch.dtype, batch: int, rows: Any, count: int, columns: Any
) -> None:
    a, b = (x.to(dtype) for x in matrices(batch, rows, count, columns))
    c = torch.full((batch, rows, columns), torch.nan, dtype=dtype)
    gemm.multiply(padded(a), gemm.packed(b.float(), dtype), c)
    assert_close("product", c, a.double() @ b.double())


@pytest.mark.parametrize("dtype", DTYPES)
def test_packing_scales_rows_and_columns(dtype: torch.dtype) -> None:
    a, b = matrices(2, 48, 5, LANES)
    before, after = torch.rand(5), torch.rand(LANES)
    c = torch.empty(2, 48, LANES, dtype=dtype)
    gemm.multiply(padded(a.to(dtype)), gemm.packed(b, dtype, before, after), c)
    want = a @ (b * before[:, None] * after)
    assert_close("product", c, want)


def test_products_are_added_to_what_is_there() -> None:
    a, b = matrices(2, 4 * LEAST, 40, 4 * LANES)
    c = torch.ones(2, 4 * LEAST, 4 * LANES)
    gemm.multiply(a, b, c, onto=True)
    assert_close("product", c, 1 + a @ b)


def test_turned_matrices_are_read_as_they_lie() -> None:
    a, b = matrices(2, 4 * LEAST, 40, 4 * LANES)
    c = torch.empty(2, 4 * LEAST, 4 * LANES)
    gemm.multiply(a.transpose(1, 2).contiguous().transpose(1, 2), b, c)
    assert_close("product", c, a @ b)
