"""Two-step inversion comes nearer to the picture, and ends where its last step led."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.tiny import random, tiny_styleganex
from vidhair.models.styleganex.invert import (
    RATE,
    Inversion,
    deviation,
    like,
    optimised,
    rate,
    whole_cells,
)
from vidhair.models.styleganex.network import StyleGANEX

pytestmark = pytest.mark.usefixtures("one_thread")


def squares(got: Tensor, want: Tensor, mask: Tensor | None = None) -> Tensor:
    assert got.shape == want.shape and got.shape[2] % 32 == got.shape[3] % 32 == 0
    return (got - want).square().mean()


def test_the_rate_rises_and_falls() -> None:
    """5 % linear warm-up, then even, cosine decay over the last quarter."""
    assert rate(0) == 0 and rate(0.025) == pytest.approx(RATE / 2)
    assert rate(0.05) == rate(0.5) == rate(0.75) == pytest.approx(RATE)
    assert rate(0.875) == pytest.approx(RATE / 2) and rate(1) == pytest.approx(0)


class TestOptimised:
    @pytest.fixture
    def network(self) -> StyleGANEX:
        network: Any = tiny_styleganex(skips=0, fuse_rgb=False)
        return network

    def start(self, network: StyleGANEX, picture: Tensor) -> Inversion:
        with torch.no_grad():
            codes, layout = network.encode(picture)
        return Inversion(layout.feature, codes)

    @torch.no_grad()
    def away(self, network: StyleGANEX, picture: Tensor, found: Inversion) -> float:
        quiet = network.synthesis.no_noise()
        drawn = network.synthesis.render(found.feature, found.codes, noise=quiet)
        return float((like(drawn, picture) - picture).square().mean())

    @torch.no_grad()
    def picture(self, network: StyleGANEX) -> Tensor:
        """One that the network can draw."""
        feature, codes = random(1, 8, 5, 6, seed=9), random(1, 10, 16, seed=8) + network.w_avg
        drawn = network.synthesis.render(feature, codes, noise=network.synthesis.no_noise())
        return F.interpolate(drawn, size=(40, 48)).tanh()

    def test_it_comes_nearer(self, network: StyleGANEX) -> None:
        picture = self.picture(network)
        begin = self.start(network, picture)
        done: list[float] = []
        end = optimised(network, picture, begin, squares, 20, progress=done.append)
        assert self.away(network, picture, end) < 0.1 * self.away(network, picture, begin)
        assert done == list(range(1, 21))
        assert not torch.equal(end.codes, begin.codes) and end.feature.shape == begin.feature.shape

    def test_codes_may_be_fixed(self, network: StyleGANEX) -> None:
        picture = self.picture(network)
        begin = self.start(network, picture)
        end = optimised(network, picture, begin, squares, 10, fixed_codes=True)
        assert torch.equal(end.codes, begin.codes)
        assert self.away(network, picture, end) < self.away(network, picture, begin)

    def test_of_no_steps_it_is_what_it_was(self, network: StyleGANEX) -> None:
        picture = self.picture(network)
        begin = self.start(network, picture)
        end = optimised(network, picture, begin, squares, 0)
        assert torch.equal(end.codes, begin.codes) and torch.equal(end.feature, begin.feature)

    def test_the_deviation_is_the_root_mean_square_distance(self, network: StyleGANEX) -> None:
        got = deviation(network, torch.Generator().manual_seed(0))
        with torch.no_grad():
            z = torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
            w = network.generator.mapping.w(z)
        want = (w - w.mean(0)).norm(dim=1).square().mean().sqrt()
        assert got == pytest.approx(float(want), rel=1e-5)


def test_a_drawing_is_compared_at_the_pictures_size() -> None:
    drawn = random(1, 3, 16, 24)
    assert torch.allclose(like(drawn, random(1, 3, 4, 6)), F.avg_pool2d(drawn, 4))
    assert like(drawn, drawn) is drawn
    assert like(drawn, random(1, 3, 64, 96)).shape == (1, 3, 64, 96)
    assert whole_cells(random(1, 3, 40, 64)).shape == (1, 3, 64, 64)
