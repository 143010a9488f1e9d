"""Spreading on values and weights drawn by hand."""

import pytest
import torch

from vidhair.imaging.fill import enlarge, fill

VALUES = torch.rand(2, 3, 37, 50, generator=torch.Generator().manual_seed(0))


def test_trusted_values_are_kept() -> None:
    weight = torch.zeros(2, 1, 37, 50)
    weight[..., 5:20, 9:30] = 1
    got = fill(VALUES, weight, 6)
    assert torch.equal(got[..., 5:20, 9:30], VALUES[..., 5:20, 9:30])


@pytest.mark.parametrize("levels", [0, 3, 6])
def test_a_constant_spreads_unchanged(levels: int) -> None:
    weight = torch.zeros(2, 1, 37, 50)
    weight[..., 5:9, 9:30] = 0.7
    values = torch.where(weight > 0, 2.5, -100.0).expand(-1, 3, -1, -1)
    got = fill(values, weight, levels)
    torch.testing.assert_close(got, torch.full_like(got, 2.5), atol=0.01, rtol=0)


def test_untrusted_places_take_after_the_nearest_trusted_ones() -> None:
    values = torch.zeros(1, 1, 32, 64)
    values[..., :8], values[..., -8:] = -1, 1
    weight = (values != 0).float()
    got = fill(values, weight, 6)[0, 0, 16]
    assert (got.diff() >= -1e-6).all()
    assert got[9] < -0.3 and got[-10] > 0.3


def test_nothing_trusted_gives_nothing() -> None:
    got = fill(VALUES, torch.zeros(2, 1, 37, 50), 6)
    assert torch.equal(got, torch.zeros_like(got))


@pytest.mark.parametrize("size", [(7, 9), (13, 18), (14, 17), (40, 11)])
def test_enlarging_is_bilinear(size: tuple[int, int]) -> None:
    values = torch.rand(2, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    want = torch.nn.functional.interpolate(values, size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarge(values, *size), want)


def test_the_number_of_threads_does_not_show() -> None:
    values = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(2))
    weight = (values[:, :1] > 0.8).float()
    threads, found = torch.get_num_threads(), []
    for count in (1, 2):
        torch.set_num_threads(count)
        found.append(fill(values, weight, 6))
    torch.set_num_threads(threads)
    assert torch.equal(*found)
