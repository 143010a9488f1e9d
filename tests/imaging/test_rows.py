"""Strips of rows: what is computed in them, and how large they are."""

import numpy as np
import pytest
import torch

from vidhair.imaging import rows
from vidhair.imaging.rows import by_rows, mean_over, put_levels, strips


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 300), (2160, 3840), (3, 10**6)])
def test_strips_are_all_rows_and_small(height: int, width: int) -> None:
    found = list(strips(height, width))
    assert [i for s in found for i in range(s.start, s.stop)] == list(range(height))
    assert all((s.stop - s.start) * width <= max(rows.STRIP, width) for s in found)


@pytest.mark.parametrize("strip", [1, 50, 10**6])
def test_results_are_those_of_the_whole(strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "STRIP", strip)
    x, y = torch.rand(2, 3, 13, 20), torch.rand(2, 1, 13, 20)
    got = by_rows(lambda x, y: torch.cat([x * y, y], 1), x, y)
    assert torch.equal(got, torch.cat([x * y, y], 1))
    mean = mean_over(y, lambda x: x.square(), x)
    want = (x.square() * y).sum((2, 3), keepdim=True) / y.sum((2, 3), keepdim=True)
    torch.testing.assert_close(mean, want)


def test_no_weight_no_mean() -> None:
    assert mean_over(torch.zeros(1, 1, 4, 4), lambda x: x, torch.ones(1, 2, 4, 4)).eq(0).all()


def test_levels_are_put_where_there_is_a_matte() -> None:
    draw = torch.Generator().manual_seed(0)
    result = torch.rand(3, 17, 23, generator=draw) * 1.4 - 0.2
    alpha = (torch.rand(17, 23, generator=draw) * 2 - 1).clamp(0, 1)
    before = np.full((17, 23, 3), 7, np.uint8)
    pixels = before.copy()
    hides = put_levels(result, alpha, pixels)
    levels = (result * 255).round().clamp(0, 255).to(torch.uint8).movedim(0, -1).numpy()
    assert np.array_equal(pixels, np.where(alpha[..., None] > 0, levels, before))
    assert np.array_equal(hides, np.ceil(alpha.numpy() * np.float32(255)).astype(np.uint8))
