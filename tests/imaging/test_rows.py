"""Strips of rows: what is computed in them, and how large they are."""

import pytest
import torch

from vidhair.imaging import rows
from vidhair.imaging.rows import by_rows, mean_over, strips


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
