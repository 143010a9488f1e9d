"""The guided filter and unmixing on pictures whose true mattes are known."""

import pytest
import torch
import torch.nn.functional as F

from tests.models.tiny import random
from vidhair.ops import matting
from vidhair.ops.color import lab_to_rgb, rgb_to_lab
from vidhair.ops.matting import Border, estimate_foreground, guided_filter


class TestGuidedFilter:
    def test_constants_stay(self) -> None:
        values = torch.full((2, 1, 20, 24), 0.37)
        got = guided_filter(random(2, 3, 20, 24), values, 4, 1e-3)
        torch.testing.assert_close(got, values, atol=1e-5, rtol=0)

    def test_a_soft_border_becomes_that_of_the_picture(self) -> None:
        """The parser is a few pixels off; the picture knows where the hair ends."""
        guide = torch.zeros(1, 3, 40, 40)
        guide[..., 20:] = torch.tensor([0.6, 0.4, 0.2])[:, None, None]
        x = torch.arange(40.0)
        rough = torch.sigmoid((x - 22) / 3).expand(1, 1, 40, 40)
        got = guided_filter(guide, rough, 8, 1e-3)[0, 0, 20]
        rough, true = rough[0, 0, 20], x >= 20
        assert got[20] - got[19] > 4 * (rough[20] - rough[19])
        assert torch.equal(got > 0.5, true) and not torch.equal(rough > 0.5, true)

    def test_values_that_are_a_mixture_of_the_colors_stay(self) -> None:
        guide = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(0))
        values = (guide * torch.tensor([0.2, 0.5, 0.1])[:, None, None]).sum(1, keepdim=True) + 0.1
        got = guided_filter(guide, values, 5, 1e-6)
        torch.testing.assert_close(got, values, atol=2e-3, rtol=0)

    @pytest.mark.parametrize("tile", [1, 40])
    def test_tiles_do_not_show(self, tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
        guide = random(2, 3, 70, 90)
        values = torch.zeros(2, 1, 70, 90)
        values[:, :, 20:45, 30:60] = 1
        values[0, 0, 60:64, 10:20] = 0.4
        monkeypatch.setattr(matting, "TILE", 1000)
        whole = guided_filter(guide, values, 2, 1e-3)
        monkeypatch.setattr(matting, "TILE", tile)
        tiles = guided_filter(guide, values, 2, 1e-3)
        torch.testing.assert_close(tiles, whole, atol=1e-5, rtol=0)
        assert (whole != values).any((1, 2, 3)).all()

    def test_the_guide_may_be_bytes(self) -> None:
        guide = (torch.rand(1, 3, 20, 20) * 255).to(torch.uint8)
        values = torch.rand(1, 1, 20, 20)
        want = guided_filter(guide / 255, values, 3, 1e-3)
        got = guided_filter(guide, values, 3, 1e-3 * 255**2)
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0)

    def test_without_reach_nothing_happens(self) -> None:
        values = random(1, 1, 9, 9)
        assert guided_filter(random(1, 3, 9, 9), values, 0, 1e-3) is values

    def test_results_are_probabilities(self) -> None:
        values = random(2, 1, 16, 16).clamp(0, 1).round()
        got = guided_filter(random(2, 3, 16, 16, seed=1), values, 2, 1e-3)
        assert got.min() >= 0 and got.max() <= 1

    def test_frames_do_not_mix(self) -> None:
        guide, values = random(3, 3, 16, 16), random(3, 1, 16, 16, seed=1).sigmoid()
        together = guided_filter(guide, values, 3, 1e-2)
        alone = [guided_filter(guide[k : k + 1], values[k : k + 1], 3, 1e-2) for k in range(3)]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)


def soften(alpha: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(F.pad(alpha, (1, 1, 1, 1), mode="replicate"), 3, 1)


class TestEstimateForeground:
    BORDER = Border.on_grid(1.0)

    def scene(self, hair: float, behind: float) -> tuple[torch.Tensor, torch.Tensor]:
        """The true matte [1, 1, 24, 48] of a slanted edge, and the picture it makes."""
        y, x = torch.meshgrid(torch.arange(24.0), torch.arange(48.0), indexing="ij")
        true = (x - 20 - 0.3 * y + 0.5).clamp(0, 1)[None, None]
        lab = torch.zeros(1, 3, 24, 48)
        lab[:, :1] = true * hair + (1 - true) * behind
        return true, lab_to_rgb(lab)

    def test_a_soft_matte_becomes_as_sharp_as_the_picture(self) -> None:
        true, picture = self.scene(20, 85)
        soft = soften(true)
        sharp = estimate_foreground(soft, rgb_to_lab(picture), self.BORDER)
        inner = (..., slice(4, -4), slice(4, -4))
        before, after = ((a - true)[inner].abs().mean() for a in (soft, sharp))
        assert after < 0.25 * before and sharp.min() >= 0 and sharp.max() <= 1

    def test_where_colors_tell_nothing_the_matte_stays(self) -> None:
        true, picture = self.scene(40, 42)
        soft = soften(true)
        torch.testing.assert_close(
            estimate_foreground(soft, rgb_to_lab(picture), self.BORDER), soft, atol=0.03, rtol=0
        )

    def test_away_from_the_border_and_in_wide_soft_parts_the_matte_stays(self) -> None:
        picture = random(1, 3, 24, 64).clamp(0, 1)
        alpha = torch.linspace(0, 1, 64).expand(1, 1, 24, 64)
        assert torch.equal(estimate_foreground(alpha, rgb_to_lab(picture), self.BORDER), alpha)
        true, picture = self.scene(20, 85)
        sharp = estimate_foreground(
            soften(true), rgb_to_lab(random(1, 3, 24, 48).clamp(0, 1)), self.BORDER
        )
        sure = (true == 1) | (true == 0)
        far = sure & (F.avg_pool2d(true, 11, 1, 5) % 1 == 0)
        assert torch.equal(sharp[far], true[far])

    def test_nothing_beyond_its_support_matters(self) -> None:
        true, picture = self.scene(20, 85)
        whole = estimate_foreground(soften(true), rgb_to_lab(picture), Border(1, 1.0))
        support = Border(1, 1.0).support
        part = estimate_foreground(
            soften(true)[..., 8:40], rgb_to_lab(picture)[..., 8:40], Border(1, 1.0)
        )
        keep = slice(support, 32 - support)
        torch.testing.assert_close(part[..., keep], whole[..., 8:40][..., keep])
