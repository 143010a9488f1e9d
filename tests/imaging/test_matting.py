"""The guided filter, mattes and unmixing on pictures whose true mattes are known."""

from itertools import product

import numpy as np
import pytest
import torch

from tests.models.tiny import random
from vidhair.imaging import matting
from vidhair.imaging.matting import ColorLines, guided_filter, solve_matte, split_colors, tiles_of


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


class TestColorLines:
    @pytest.mark.parametrize("size", [(1, 1), (3, 5), (33, 300), (70, 40)])
    @pytest.mark.parametrize("radius", [1, 2, 4])
    def test_tiles_are_as_the_boxes(
        self, size: tuple[int, int], radius: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        picture, values = random(2, 3, *size).sigmoid(), random(2, 1, *size, seed=1)
        lines = ColorLines(picture, radius, 1e-3)
        got = lines.smooth(values)
        monkeypatch.setattr(matting, "SMALL_WINDOW", 0)
        torch.testing.assert_close(got, lines.smooth(values), atol=1e-5, rtol=0)

    def test_only_tiles_that_are_asked_for_are_made(self) -> None:
        wanted = torch.zeros(1, 1, 80, 600, dtype=torch.bool)
        wanted[0, 0, 40, 590] = True
        tiles = tiles_of(wanted)
        assert tiles.tolist() == [[32, 512]]
        lines = ColorLines(random(1, 3, 80, 600).sigmoid(), 2, 1e-3)
        values = random(1, 1, 80, 600, seed=1)
        whole, part = lines.smooth(values), lines.smooth(values, tiles)
        assert torch.equal(part[..., 32:64, 512:], whole[..., 32:64, 512:])
        assert not part[..., :32, :].any() and not part[..., :512].any()

    def test_gradients_go_through_the_boxes(self) -> None:
        values = random(1, 1, 9, 9).requires_grad_()
        lines = ColorLines(random(1, 3, 9, 9).sigmoid(), 2, 1e-3)
        assert lines.smooth(values).sum().requires_grad


def sides() -> tuple[torch.Tensor, torch.Tensor]:
    """What is in front and behind, [1, 3, 32, 40]: each changes slowly over the picture."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 40), indexing="ij")
    front = torch.stack([0.6 + 0.1 * x, 0.3 + 0.1 * y, 0.1 + 0.1 * x])[None]
    back = torch.stack([0.1 + 0.1 * y, 0.3 + 0.2 * x, 0.8 - 0.1 * x])[None]
    return front, back


def strands() -> torch.Tensor:
    """A matte [1, 1, 32, 40] that has strands between nothing on the left and hair."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    edge = torch.sigmoid((x - 20 - 5 * torch.sin(y)) / 1.5)
    edge[x < 8], edge[x > 31] = 0, 1
    return edge[None, None]


def composite(alpha: torch.Tensor) -> torch.Tensor:
    front, back = sides()
    return alpha * front + (1 - alpha) * back


NO_WEIGHT = torch.zeros(1, 1, 32, 40)
REACH = 24  # beyond the soft border


class TestSolveMatte:
    X = torch.arange(40.0).expand(1, 1, 32, 40)
    KNOWN = (X < 8) | (X > 31)

    def test_a_matte_is_found_again_between_what_is_known(self) -> None:
        true = strands()
        wanted = torch.where(self.KNOWN, true, 0.5)
        got = solve_matte(
            composite(true), wanted, NO_WEIGHT, self.KNOWN, eps=1e-5, rounds=500, tolerance=1e-6
        )
        assert (got - true).abs().mean() < 0.01 and (got - true).abs().max() < 0.08

    def test_it_is_close_after_as_many_rounds_as_are_usual(self) -> None:
        true = strands()
        rough = torch.where(self.KNOWN, true, ((self.X - 12) / 16).clamp(0, 1))
        weight = torch.full_like(true, 0.01)
        got = solve_matte(composite(true), rough, weight, self.KNOWN)
        assert (got - true).abs().mean() < 0.3 * (rough - true).abs().mean()

    def test_what_is_known_is_kept_to_the_bit(self) -> None:
        wanted = random(1, 1, 32, 40).sigmoid()
        weight = random(1, 1, 32, 40, seed=2).exp()
        got = solve_matte(random(1, 3, 32, 40, seed=1).sigmoid(), wanted, weight, self.KNOWN)
        assert torch.equal(got[self.KNOWN], wanted[self.KNOWN])
        assert not torch.equal(got[~self.KNOWN], wanted[~self.KNOWN])

    def test_where_colors_say_nothing_it_is_as_wanted_by_its_weight(self) -> None:
        """In an even picture windows only hold neighbours together."""
        picture = torch.full((1, 3, 32, 40), 0.4)
        wanted = (self.X >= 20).float()
        nothing = torch.zeros(1, 1, 32, 40, dtype=torch.bool)
        errors = []
        for weight in (0.01, 1.0, 1e4):
            got = solve_matte(picture, wanted, torch.full_like(wanted, weight), nothing)
            errors.append(float((got - wanted).abs().mean()))
        assert errors[0] > 4 * errors[1] > 4 * errors[2] and errors[2] < 1e-3
        # A heavier half has the say over the lighter one.
        uneven = torch.where(self.X < 20, 1e-4, 1.0)
        got = solve_matte(picture, wanted, uneven, nothing, rounds=500)
        assert got[..., :20].mean() > 0.5 and got[..., 20:].mean() > 0.9

    @pytest.mark.parametrize("radius", [1, 2])
    def test_it_is_that_of_the_written_laplacian(self, radius: int) -> None:
        """Levin et al. 2008, eq. 12: sums over windows of δ − (1 + (I − μ)ᵀ(Σ + ε)⁻¹(I − μ))/n,
        with which a weight is n times a share of what windows count."""
        size, n = 9, (2 * radius + 1) ** 2
        picture = random(1, 3, size, size, seed=3).sigmoid()
        wanted = random(1, 1, size, size, seed=4).sigmoid()
        weight = 0.1 + random(1, 1, size, size, seed=5).exp()
        known = torch.zeros(1, 1, size, size, dtype=torch.bool)
        known[..., 2, 1:4] = known[..., 7, 5] = True
        eps = 1e-3
        got = solve_matte(
            picture, wanted, weight, known, radius=radius, eps=eps, rounds=500, tolerance=1e-6
        )

        # Windows around every pixel, the picture's border repeated where they reach beyond it.
        reach = np.arange(-radius, radius + 1)
        laplacian = np.zeros((size * size, size * size))
        colors = picture[0].double().numpy().reshape(3, -1).T
        for y, x in product(range(size), repeat=2):
            rows, columns = (np.clip(at + reach, 0, size - 1) for at in (y, x))
            index = (rows[:, None] * size + columns).ravel()
            off = colors[index] - colors[index].mean(0)
            inverse = np.linalg.inv(off.T @ off / n + eps * np.eye(3))
            window = np.eye(n) - (1 + off @ inverse @ off.T) / n
            np.add.at(laplacian, np.ix_(index, index), window / n)
        kept, drawn, pull = (x.flatten().double().numpy() for x in (known, wanted, weight))
        free = np.flatnonzero(kept == 0)
        fixed = np.flatnonzero(kept)
        system = laplacian[np.ix_(free, free)] + np.diag(pull[free])
        given = (pull * drawn)[free] - laplacian[np.ix_(free, fixed)] @ drawn[fixed]
        want = drawn.copy()
        want[free] = np.linalg.solve(system, given)
        inner = np.zeros((size, size), bool)
        inner[2 * radius : -2 * radius, 2 * radius : -2 * radius] = True
        error = np.abs(got.flatten().numpy() - want.clip(0, 1))
        assert error[inner.ravel()].max() < 0.01, error.reshape(size, size)

    def test_results_are_in_range_and_finite_for_any_picture(self) -> None:
        wanted, known = strands().round(), self.KNOWN
        for picture in (torch.zeros(1, 3, 32, 40), random(1, 3, 32, 40).sigmoid().round()):
            got = solve_matte(picture, wanted, torch.full_like(wanted, 0.01), known)
            assert got.isfinite().all() and got.min() >= 0 and got.max() <= 1


class TestSplitColors:
    def test_both_sides_make_the_picture(self) -> None:
        alpha = strands()
        picture = composite(alpha)
        front, back, _ = split_colors(picture, alpha, REACH)
        torch.testing.assert_close(alpha * front + (1 - alpha) * back, picture, atol=0.02, rtol=0)

    def test_sides_of_one_color_are_found(self) -> None:
        alpha = strands()
        front = torch.tensor([0.7, 0.4, 0.1]).view(1, 3, 1, 1)
        back = torch.tensor([0.1, 0.3, 0.8]).view(1, 3, 1, 1)
        found = split_colors(alpha * front + (1 - alpha) * back, alpha, REACH)
        near = (alpha > 0.02) & (alpha < 0.98)
        for got, want in zip(found, (front, back, back), strict=True):
            assert ((got - want).abs() * near).amax() < 0.08
            assert ((got - want).abs() * near).sum() / near.sum() / 3 < 0.02

    def test_sides_that_change_slowly_are_followed(self) -> None:
        alpha = strands()
        true_front, true_back = sides()
        front, back, _ = split_colors(composite(alpha), alpha, REACH)
        soft = alpha * (1 - alpha) > 0.1
        for got, want in ((front, true_front), (back, true_back)):
            assert ((got - want).abs() * soft).sum() / soft.sum() / 3 < 0.04

    def test_where_all_or_nothing_is_hair_its_side_is_the_picture(self) -> None:
        alpha = strands()
        picture = random(1, 3, 32, 40).sigmoid()
        front, back, _ = split_colors(picture, alpha, REACH)
        hair, none = (alpha == 1).expand_as(picture), (alpha == 0).expand_as(picture)
        torch.testing.assert_close(front[hair], picture[hair], atol=1e-5, rtol=0)
        torch.testing.assert_close(back[none], picture[none], atol=1e-5, rtol=0)

    def test_without_hair_nothing_is_made_up(self) -> None:
        picture = random(1, 3, 32, 40).sigmoid()
        for alpha, side in ((torch.zeros(1, 1, 32, 40), 1), (torch.ones(1, 1, 32, 40), 0)):
            found = split_colors(picture, alpha, REACH)
            assert all(one.isfinite().all() for one in found)
            torch.testing.assert_close(found[side], picture, atol=1e-4, rtol=0)

    def test_what_is_behind_nearby_is_even(self) -> None:
        alpha = strands()
        picture = composite(alpha) + 0.1 * random(1, 3, 32, 40)
        _, back, behind = split_colors(picture.clamp(0, 1), alpha, REACH)
        none = (alpha == 0).expand_as(picture)
        assert behind[none].std() < back[none].std()
