"""What tells real from drawn: it learns to, it is penalised rightly, and it looks at squares."""

import pytest
import torch

from vidhair.training.discriminator import (
    Discriminator,
    gradient_penalty,
    real_or_drawn,
    windows,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def small(side: int = 16) -> Discriminator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Discriminator(side, 256, 16)


def test_it_learns_to_tell_smooth_from_noisy_pictures() -> None:
    network, generator = small(), torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)

    def batch() -> tuple[torch.Tensor, torch.Tensor]:
        flat = torch.rand(4, 3, 1, 1, generator=generator).expand(-1, -1, 16, 16) * 2 - 1
        return flat, flat + 0.5 * torch.randn(4, 3, 16, 16, generator=generator)

    for _ in range(30):
        loss = real_or_drawn(network, *batch())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    real, drawn = batch()
    assert network(real).min() > network(drawn).max()


def test_the_penalty_is_half_the_squared_gradient() -> None:
    network = small(8)
    real = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    got = gradient_penalty(network, real)
    step, total = 1e-2, 0.0
    base = real.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(network(base).sum(), base)
    way = gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]
    with torch.no_grad():
        for index in range(4):
            only = torch.zeros_like(real)
            only[index] = way[index] * step
            slope = (network(real + only).sum() - network(real - only).sum()) / (2 * step)
            total += float(slope) ** 2 / 2
    assert got.item() == pytest.approx(total / 4, rel=0.1)
    got.backward()
    assert network.colors.weight.grad is not None


def test_copies_of_one_picture_look_otherwise_than_different_ones() -> None:
    network = small()
    pictures = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    alone = network(pictures[:1].expand(4, -1, -1, -1))
    assert not torch.allclose(network(pictures)[0], alone[0], atol=1e-4)


def test_windows_are_squares_within_the_picture_which_may_be_smaller() -> None:
    picture = torch.arange(20 * 12, dtype=torch.float32).view(1, 1, 20, 12)
    seen = set()
    for seed in range(10):
        part = windows(picture, 8, torch.Generator().manual_seed(seed))
        top, left = divmod(int(part[0, 0, 0, 0]), 12)
        assert torch.equal(part, picture[..., top : top + 8, left : left + 8])
        seen.add((top, left))
    assert len(seen) > 4
    assert windows(picture, 16, torch.Generator()).shape == (1, 1, 16, 16)
