"""What each edit promises of its result."""

import pytest
import torch

from tests.models.tiny import random
from vidhair.edits import latents

WS = random(3, 6, 8, seed=1)


def test_along_goes_there_and_back() -> None:
    there = latents.along(WS, random(8), 2.5)
    torch.testing.assert_close(latents.along(there, random(8), -2.5), WS)
    several = latents.along(WS, random(8), torch.tensor([0.0, 2.5]).view(-1, 1, 1, 1))
    assert torch.equal(several, torch.stack([WS, there]))


def test_a_change_of_few_codes_leaves_the_others() -> None:
    change = random(3, 2, 8)
    edited = latents.add_change(WS, change, 0.5)
    assert torch.equal(edited[:, :2], WS[:, :2] + 0.5 * change)
    assert torch.equal(edited[:, 2:], WS[:, 2:])
    with pytest.raises(AssertionError, match="7 codes for 6"):
        latents.add_change(WS, random(3, 7, 8), 1)


def test_a_component_takes_the_value_that_is_set() -> None:
    component, mean, std = torch.nn.functional.normalize(random(8), dim=0), random(8, seed=3), 1.7
    edited = latents.set_component(WS, mean, component, std, -2.0, slice(0, 4))
    position = (edited[:, 0] - mean) @ component / std
    torch.testing.assert_close(position, torch.full((3,), -2.0))
    assert torch.equal(edited[:, 4:], WS[:, 4:])
    # Nothing but the component changes.
    change = edited - WS
    along = (change @ component)[..., None] * component
    torch.testing.assert_close(change, along)


def test_factorised_directions_are_orthonormal_and_sorted() -> None:
    weights = [random(20, 8), random(13, 8, seed=1)]
    directions, values = latents.factorize(weights)
    torch.testing.assert_close(directions @ directions.t(), torch.eye(8), atol=1e-5, rtol=0)
    assert (values.diff() <= 0).all() and values.min() >= 0
    rows = torch.nn.functional.normalize(torch.cat(weights), dim=1)
    torch.testing.assert_close((rows @ directions[0]).square().sum(), values[0])


def test_the_direction_that_is_felt_most_comes_first() -> None:
    loud = torch.eye(8)[2]
    weights = [0.01 * random(30, 8) + torch.outer(random(30, seed=4).sign(), loud)]
    directions, _ = latents.factorize(weights)
    assert directions[0][2].abs() > 0.99


def test_codes_that_are_not_named_stay() -> None:
    edited = latents.along_in_codes(WS, random(8), 3, [1, 4])
    same = [k for k in range(6) if torch.equal(edited[:, k], WS[:, k])]
    assert same == [0, 2, 3, 5]


def test_a_text_direction_has_unit_length_and_a_sense() -> None:
    neutral, target = random(4, 16), random(4, 16, seed=1)
    there, back = latents.text_direction(neutral, target), latents.text_direction(target, neutral)
    assert float(there.norm()) == pytest.approx(1)
    torch.testing.assert_close(there, -back)
    scaled = latents.text_direction(neutral * torch.tensor([[2.0], [1], [5], [0.1]]), target)
    torch.testing.assert_close(scaled, there)


class TestStyleDirection:
    effects = random(9, 16, seed=2)
    wanted = torch.nn.functional.normalize(random(16, seed=3), dim=0)
    stds = (random(4, seed=4).abs(), random(5, seed=5).abs())

    def test_the_most_relevant_channel_moves_by_its_deviation(self) -> None:
        change = torch.cat(latents.style_direction(self.wanted, self.effects, self.stds, 0))
        relative = (change / torch.cat(self.stds)).abs()
        assert float(relative.max()) == pytest.approx(1)
        assert relative.argmax() == (self.effects @ self.wanted).abs().argmax()

    def test_channels_below_the_threshold_stay(self) -> None:
        relevance = (self.effects @ self.wanted).abs()
        threshold = float(relevance.median())
        change = torch.cat(latents.style_direction(self.wanted, self.effects, self.stds, threshold))
        assert torch.equal(change == 0, relevance < threshold)

    def test_a_threshold_above_all_gives_no_edit(self) -> None:
        change = latents.style_direction(self.wanted, self.effects, self.stds, 1e3)
        assert [len(c) for c in change] == [4, 5] and not torch.cat(change).any()
