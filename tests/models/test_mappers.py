"""Levels, and what of a code a mapper sees."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, randomised
from tests.tolerances import relative_error
from vidhair.models.mappers import BALD_CODES, BaldMapper, CodeMapper, LevelsMapper

pytestmark = pytest.mark.usefixtures("one_thread")

WS = random(3, 12, 8, seed=2)


def made(mapper: torch.nn.Module) -> torch.nn.Module:
    """With weights of the size that their learning rate of 0.01 asks for."""
    for tensor in randomised(mapper).state_dict().values():
        tensor.mul_(100)
    return mapper


@pytest.mark.parametrize("kind", [CodeMapper, LevelsMapper, BaldMapper])
def test_a_batch_equals_its_rows(kind: Any) -> None:
    mapper = made(kind(8))
    together = mapper(WS)
    for k in range(3):
        assert relative_error(together[k : k + 1], mapper(WS[k : k + 1])) < 1e-5


def test_a_level_sees_only_its_codes() -> None:
    mapper = made(LevelsMapper(8))
    before = mapper(WS)
    changed = WS.clone()
    changed[:, 6] += 1  # medium
    same = [k for k in range(12) if torch.equal(mapper(changed)[:, k], before[:, k])]
    assert same == [0, 1, 2, 3, 4, 8, 9, 10, 11]


def test_a_level_without_a_network_stays() -> None:
    change = made(LevelsMapper(8, medium=False))(WS)
    assert not change[:, 5:8].any() and change[:, :5].all() and change[:, 8:].all()


def test_the_size_of_codes_does_not_count_where_they_are_normalised() -> None:
    normalising, plain = made(CodeMapper(8)), made(CodeMapper(8, normalize=False))
    assert relative_error(normalising(WS * 7), normalising(WS)) < 1e-5
    assert not torch.allclose(plain(WS * 7), plain(WS), atol=1e-2)


def test_the_bald_mapper_reads_and_changes_the_first_codes() -> None:
    mapper = made(BaldMapper(8))
    change = mapper(WS)
    assert change.shape == (3, BALD_CODES, 8)
    changed = WS.clone()
    changed[:, BALD_CODES:] += 1
    assert torch.equal(mapper(changed), change)
