"""Bicubic shrinking."""

import pytest
import torch

from vidhair.imaging.resize import bicubic_shrink


@pytest.mark.parametrize("factor", [2, 4])
class TestBicubicShrink:
    def test_constants_stay(self, factor: int) -> None:
        x = torch.full((2, 3, 16, 24), -0.7)
        want = torch.full((2, 3, 16 // factor, 24 // factor), -0.7)
        torch.testing.assert_close(bicubic_shrink(x, factor), want)

    def test_away_from_the_border_a_slope_stays_a_slope(self, factor: int) -> None:
        x = torch.arange(48.0).expand(1, 1, 48, 48)
        got = bicubic_shrink(x, factor)[0, 0, 3, 3:-3]
        centres = torch.arange(48 // factor)[3:-3] * factor + (factor - 1) / 2
        torch.testing.assert_close(got, centres)

    def test_detail_finer_than_a_pixel_goes_away(self, factor: int) -> None:
        x = torch.tensor([-1.0, 1.0]).repeat(24).expand(1, 1, 48, 48)
        assert bicubic_shrink(x, factor)[..., 3:-3].abs().max() < 0.1

    def test_channels_and_axes_are_treated_alike(self, factor: int) -> None:
        x = torch.rand(1, 2, 16, 24, generator=torch.Generator().manual_seed(0))
        got = bicubic_shrink(x, factor)
        alone = bicubic_shrink(x[:, 1:], factor)
        torch.testing.assert_close(got[:, 1:], alone)
        turned = bicubic_shrink(x.transpose(2, 3), factor).transpose(2, 3)
        torch.testing.assert_close(got, turned)
