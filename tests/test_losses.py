from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.tolerances import gradient
from vidhair.losses import gradient_l1, pyramid_l1, weighted_l1
from vidhair.models.perceptual import FeatureDistance


def pictures(seed: int, count: int = 2, size: int = 16) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def features(image: Tensor) -> list[Tensor]:
    pooled = torch.nn.functional.avg_pool2d(image, 2)
    return [torch.cat([image, image**2], 1), pooled + 2]


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weighted": weighted_l1,
    "pyramid": pyramid_l1,
    "gradient": gradient_l1,
    "perceptual": FeatureDistance(features),
}


@pytest.mark.parametrize("name", LOSSES)
@given(seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)))
def test_zero_for_equal_pictures_symmetric_and_positive_otherwise(name: str, seeds: Any) -> None:
    loss, a, b = LOSSES[name], pictures(seeds[0]), pictures(seeds[1])
    assert loss(a, a) == 0
    assert loss(a, b) > 1e-3
    torch.testing.assert_close(loss(a, b), loss(b, a))


@pytest.mark.parametrize("name", LOSSES)
def test_following_the_gradient_brings_pictures_together(name: str) -> None:
    got, want = pictures(0).requires_grad_(), pictures(1)
    before = LOSSES[name](got, want)
    before.backward()
    slope = gradient(got)
    assert slope.isfinite().all()
    step = got.detach() - 0.01 * slope / slope.abs().mean()
    assert LOSSES[name](step, want) < before


def test_weight_says_which_pixels_count() -> None:
    got = torch.zeros(1, 3, 4, 4)
    got[..., :2], weight = 1.0, torch.zeros(1, 1, 4, 4)
    assert weighted_l1(got, torch.zeros_like(got)) == 0.5
    weight[..., :2] = 2.0
    assert weighted_l1(got, torch.zeros_like(got), weight) == 1
    assert weighted_l1(got, torch.zeros_like(got), 2 - weight) == 0


def test_pyramid_sees_large_shapes_only() -> None:
    grey = torch.zeros(1, 3, 16, 16)
    y, x = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    board = ((x + y) % 2 * 2 - 1).float().expand(1, 3, -1, -1)
    assert pyramid_l1(board, grey) == 0
    assert pyramid_l1(grey + 0.3, grey) == pytest.approx(0.3)
    # Blocks of two pixels vanish from the second level on.
    blocks = board[..., :8, :8].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert pyramid_l1(blocks, grey) == pytest.approx(1 / 3)
    assert pyramid_l1(blocks, grey, levels=1) == 1


def test_gradient_ignores_brightness_and_sees_edges() -> None:
    got, want = pictures(0), pictures(0)
    torch.testing.assert_close(gradient_l1(got + 0.5, want), torch.tensor(0.0), atol=1e-6, rtol=0)
    flat, edge = torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 7.0
    assert gradient_l1(edge, flat) == 1  # one jump in the seven of every row
    assert gradient_l1(edge.transpose(2, 3), flat) == 1
