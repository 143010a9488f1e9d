from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from vidhair.training.optim import (
    Average,
    Muon,
    MuonAdam,
    Optimisers,
    Ranger,
    constant_then_linear,
    load_state_tensors,
    orthogonalise,
    state_tensors,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (64, 16), (16, 16), (3, 200)])
def test_orthogonalising_evens_out_the_singular_values(shape: tuple[int, int]) -> None:
    """All near one, in the directions that the matrix had."""
    g = random(*shape)
    got = orthogonalise(g, steps=7)
    assert got.shape == shape
    values = torch.linalg.svdvals(got)
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    rotated = u.t() @ got @ vt.t()
    off_diagonal = rotated - torch.diag(rotated.diagonal())
    assert float(off_diagonal.abs().max()) < 1e-3
    assert float(rotated.diagonal().min()) > 0


def test_an_orthogonal_matrix_stays_nearly_as_it_is() -> None:
    q, _ = torch.linalg.qr(random(20, 20))
    got = orthogonalise(q)
    share = (got * q).sum() / q.square().sum()
    assert 0.6 < float(share) < 1.3
    assert float((got - share * q).abs().max()) < 1e-4


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_size_of_the_gradient_does_not_matter(factor: float) -> None:
    g = random(12, 30)
    torch.testing.assert_close(orthogonalise(g * factor), orthogonalise(g), atol=1e-3, rtol=1e-3)


def test_a_transposed_matrix_gives_the_transpose() -> None:
    g = random(12, 30)
    torch.testing.assert_close(orthogonalise(g.t()), orthogonalise(g).t())


def test_no_gradient_gives_no_step() -> None:
    assert float(orthogonalise(torch.zeros(8, 9)).abs().max()) == 0


def test_muons_steps_are_as_long_as_its_learning_rate() -> None:
    p = nn.Parameter(random(16, 8, 3, 3))
    before, optimiser = p.detach().clone(), Muon([p], lr=0.01)
    p.grad = random(16, 8, 3, 3, seed=1) * 1e-3
    optimiser.step()
    change = p.detach() - before
    assert float(change.square().mean().sqrt()) == pytest.approx(0.01, rel=1e-4)
    assert float((change * p.grad).sum()) < 0, "downhill"


def test_muon_leaves_parameters_without_a_gradient_alone() -> None:
    p = nn.Parameter(random(16, 16))
    before = p.detach().clone()
    Muon([p], lr=1.0).step()
    assert torch.equal(p, before)


@pytest.mark.parametrize("kind", [Muon, MuonAdam])
def test_muon_stays_where_layers_behind_give_no_gradient(kind: Any) -> None:
    p = nn.Parameter(random(16, 16))
    before = p.detach().clone()
    p.grad = torch.zeros(16, 16)
    kind([{"params": [p], "matrices": True}], lr=0.1).step()
    assert torch.equal(p, before)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mapping = nn.Linear(20, 20)
        self.body = nn.Linear(20, 20)
        self.head = nn.Linear(20, 3)
        self.frozen = nn.Parameter(torch.ones(20, 20), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(torch.relu(self.mapping(x)))))


def optimisers(net: Net) -> Optimisers:
    return Optimisers(net.named_parameters(), lr=1e-3, adam_lr=2e-3)


def groups_of(both: Optimisers) -> list[dict[str, Any]]:
    return [*both.muon.param_groups, *both.adam.param_groups]


def test_matrices_go_to_muon_and_the_rest_to_adam() -> None:
    net = Net()
    both = optimisers(net)
    groups = [[id(p) for p in g["params"]] for g in groups_of(both)]
    assert groups[0] == [id(net.body.weight)]
    assert set(groups[1]) == {id(net.body.bias), id(net.head.weight), id(net.head.bias)}
    assert set(groups[2]) == {id(net.mapping.weight), id(net.mapping.bias)}
    assert both.rates == [1e-3, 2e-3, pytest.approx(0.2)]


def train(net: Net, both: Optimisers, steps: int, seed: int = 5) -> list[float]:
    losses = []
    for step in range(steps):
        x = random(32, 20, seed=seed + step)
        loss = (net(x) - x[:, :3]).square().mean()
        both.zero_grad()
        loss.backward()
        both.step()
        losses.append(loss.item())
    return losses


def test_they_learn_together() -> None:
    net = Net()
    both = optimisers(net)
    both.set_factor(5)
    assert [g["lr"] for g in groups_of(both)] == [5e-3, 1e-2, pytest.approx(1.0)]
    # The mapping's rate is made for weights that are stored a hundred times too large.
    groups_of(both)[2]["lr"] = 1e-3
    losses = train(net, both, 150)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])
    assert torch.equal(net.frozen, torch.ones(20, 20))


def test_a_restored_state_goes_on_exactly() -> None:
    first, second = Net(), Net()
    a, b = optimisers(first), optimisers(second)
    train(first, a, 5)
    second.load_state_dict(first.state_dict())
    b.load_tensors({name: t.clone() for name, t in a.tensors().items()})
    fresh = Net()
    fresh.load_state_dict(first.state_dict())
    c = optimisers(fresh)
    for net, both in ((first, a), (second, b), (fresh, c)):
        train(net, both, 3, seed=50)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert not torch.equal(fresh.body.weight, first.body.weight), "the state should matter"


def test_a_restored_state_follows_the_learning_rate() -> None:
    both = optimisers(Net())
    both.load_tensors(both.tensors())
    both.set_factor(0.5)
    groups = [*both.muon.param_groups, *both.adam.param_groups]
    assert [g["lr"] for g in groups] == [5e-4, 1e-3, pytest.approx(0.1)]


def test_an_average_follows_and_lags() -> None:
    net = Net()
    average = Average(net, half_life=2)
    with torch.no_grad():
        net.head.bias.zero_()
        average.values["head.bias"].zero_()
        average.steps = 10**6  # long past the warm-up
        net.head.bias.fill_(1.0)
    for want in (1 - 0.5**0.5, 0.5, 1 - 0.5**1.5, 0.75):
        average.update(net)
        torch.testing.assert_close(average.values["head.bias"], torch.full((3,), want))


def test_a_young_average_forgets_where_training_began() -> None:
    net = Net()
    average = Average(net, half_life=500)
    with torch.no_grad():
        net.body.weight.add_(1.0)
    average.update(net)
    error = average.values["body.weight"] - net.body.weight.detach()
    assert float(error.abs().max()) < 2e-3


def test_an_average_copies_whole_numbers() -> None:
    net = nn.BatchNorm1d(4)
    average = Average(net, half_life=5)
    net(random(8, 4))
    net(random(8, 4))
    average.update(net)
    assert int(average.values["num_batches_tracked"]) == 2


def test_the_learning_rate_warms_up_stays_and_falls() -> None:
    total = 10_000
    factors = [constant_then_linear(step, total) for step in range(total + 1)]
    assert factors[0] == pytest.approx(0.01) and factors[49] == pytest.approx(0.5)
    assert set(factors[99:6001]) == {1.0}
    falling = factors[6001:]
    assert all(a > b for a, b in pairwise(falling))
    assert constant_then_linear(8000, total) == pytest.approx((1 + 0.03) / 2)
    assert factors[-1] == pytest.approx(0.03)
    assert constant_then_linear(500, 1000, constant=0.4, end=0.0) == pytest.approx(5 / 6)


class TestMuonAdam:
    """Matrices as by Muon, the others as by Adam."""

    def both(self, net: Net) -> MuonAdam:
        rest = [net.head.weight, net.head.bias, net.body.bias]
        groups: list[dict[str, Any]] = [
            {"params": [net.body.weight], "lr": 1e-2, "matrices": True}, {"params": rest},
        ]  # fmt: skip
        return MuonAdam(groups, lr=1e-3)

    def learn(self, net: Net, optimiser: Any, steps: int, seed: int = 5) -> None:
        for step in range(steps):
            x = random(32, 20, seed=seed + step)
            net.zero_grad()
            (net(x) - x[:, :3]).square().mean().backward()
            optimiser.step()

    def test_each_does_as_it_would_alone(self) -> None:
        net, other = Net(), Net()
        self.learn(net, self.both(net), 1)
        muon = Muon([other.body.weight], lr=1e-2)
        adam = torch.optim.Adam([other.head.weight, other.head.bias, other.body.bias], lr=1e-3)
        self.learn(other, muon, 1)
        other.body.weight.grad = None
        adam.step()
        for name, value in net.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name

    def test_its_state_goes_through_a_file(self) -> None:
        first, second = Net(), Net()
        a, b = self.both(first), self.both(second)
        self.learn(first, a, 5)
        second.load_state_dict(first.state_dict())
        load_state_tensors(b, {n: t.clone() for n, t in state_tensors(a).items()})
        self.learn(first, a, 3, seed=50)
        self.learn(second, b, 3, seed=50)
        for name, value in first.state_dict().items():
            assert torch.equal(second.state_dict()[name], value), name


class TestRanger:
    def quadratic(self, optimiser: Any, at: torch.Tensor, steps: int) -> None:
        scale = torch.tensor([1.0, 30.0])
        for _ in range(steps):
            optimiser.zero_grad()
            (scale * at.square()).sum().backward()
            optimiser.step()

    @pytest.mark.parametrize("memory", [0.999, 0.99])
    def test_it_goes_down_directions_of_different_steepness(self, memory: float) -> None:
        at = torch.tensor([2.0, -1.0], requires_grad=True)
        self.quadratic(Ranger([at], lr=0.1, memory=memory), at, 400)
        assert at.abs().max() < 0.1

    def test_every_sixth_step_goes_back_halfway(self) -> None:
        at = torch.tensor([2.0, -1.0], requires_grad=True)
        plain = at.detach().clone().requires_grad_(True)
        ours = Ranger([at], lr=0.1)
        theirs = torch.optim.RAdam([plain], lr=0.1, betas=(0.95, 0.999), eps=1e-5)
        start = at.detach().clone()
        for steps, want in ((5, 1.0), (1, 0.5)):
            self.quadratic(ours, at, steps)
            self.quadratic(theirs, plain, steps)
            assert torch.allclose(at - start, want * (plain - start), atol=1e-6)

    def test_its_state_goes_through_a_file(self) -> None:
        one = torch.tensor([2.0, -1.0], requires_grad=True)
        first = Ranger([one], lr=0.1)
        self.quadratic(first, one, 9)
        other = one.detach().clone().requires_grad_(True)
        second = Ranger([other], lr=0.1)
        load_state_tensors(second, {n: t.clone() for n, t in state_tensors(first).items()})
        self.quadratic(first, one, 10)
        self.quadratic(second, other, 10)
        assert torch.equal(one, other)
