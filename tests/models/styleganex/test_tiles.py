"""Drawn in tiles, a picture is what it is when drawn at once."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, tiny_styleganex
from vidhair.models.styleganex.network import StyleGANEX, StyleGANEXConfig
from vidhair.models.styleganex.tiles import Costs, Leg, draw, planned, tiles, use_own_statistics

pytestmark = pytest.mark.usefixtures("one_thread")


def large(**changes: Any) -> StyleGANEX:
    """With three blocks above the feature's size, so that there is a choice of where to split."""
    return tiny_styleganex(resolution=256, channel_base=1024, **changes)


@torch.no_grad()
def both(network: StyleGANEX, memory: int, editing: bool = False) -> tuple[Any, Any]:
    picture = random(1, 3, 200, 40)
    ws, layout = network.encode(picture)
    v = random(1, network.config.generator.num_ws, 16, seed=4) if editing else None
    whole = network.render(layout, ws, editing=v, noise=network.synthesis.no_noise())
    return whole, draw(network, layout, ws, editing=v, memory=memory)


def in_one(legs: tuple[Leg, ...]) -> bool:
    return len(legs) == 1


@pytest.mark.parametrize("memory", [1, 40_000, 200_000, 400_000, 1 << 40])
@pytest.mark.parametrize("skips", [0, 4, 6])
def test_tiles_leave_no_seam(memory: int, skips: int) -> None:
    network = large(skips=skips)
    whole, got = both(network, memory)
    assert in_one(planned(network, 25, 5, False, memory)) == (memory == 1 << 40)
    assert torch.allclose(got, whole, atol=1e-5 * float(whole.abs().max()), rtol=0)


def test_tiles_are_added_to_the_picture() -> None:
    network = large(skips=4, residual=True)
    whole, got = both(network, 1)
    assert torch.allclose(got, whole, atol=1e-5 * float(whole.abs().max()), rtol=0)
    network.encoder.residual = False
    without, _ = both(network, 1)
    assert torch.allclose(whole - without, random(1, 3, 200, 40), atol=1e-4)


def test_where_masks_see_the_whole_picture_only_later_blocks_run_in_tiles() -> None:
    network = large(skips=5, attention_depth=1)
    begun, *_ = planned(network, 25, 5, True, 1)
    earlier, *_ = planned(network, 25, 5, False, 1)
    assert (begun.stop, earlier.stop) == (5, 4)
    whole, got = both(network, 1, editing=True)
    assert torch.allclose(got, whole, atol=1e-5 * float(whole.abs().max()), rtol=0)


def test_less_around_a_tile_would_leave_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidhair.models.styleganex.tiles.REACH", 1)
    whole, got = both(large(skips=6), 1)
    assert not torch.allclose(got, whole, atol=1e-4 * float(whole.abs().max()), rtol=0)


def test_less_memory_makes_more_tiles() -> None:
    network = large(skips=4)
    plans = [planned(network, 200, 100, False, 1 << bits) for bits in (30, 24, 22, 20)]
    counts = [sum(len(list(tiles(200, 100, leg))) for leg in legs if leg.start) for legs in plans]
    assert counts[0] == 0 and counts == sorted(counts) and counts[1] < counts[-1]


def test_legs_follow_each_other_and_only_the_last_one_makes_the_picture_alone() -> None:
    for bits in range(16, 32):
        legs = planned(large(skips=4), 200, 100, False, 1 << bits)
        assert [leg.start for leg in legs] == [0, *[leg.stop for leg in legs[:-1]]]
        assert legs[-1].stop == 7 and [leg.last for leg in legs] == [False] * (len(legs) - 1) + [
            len(legs) > 1
        ]


def test_tiles_cover_every_sample_once() -> None:
    covered, leg = torch.zeros(47, 33), Leg(4, 6, 10, 15)
    for inner, outer in tiles(47, 33, leg):
        covered[inner] += 1
        for a, b, length in zip(inner, outer, (47, 33), strict=True):
            assert b.start == max(0, a.start - 8) and b.stop == min(length, a.stop + 8)
    assert bool((covered == 1).all())


def published() -> StyleGANEX:
    with torch.device("meta"):
        return StyleGANEX(StyleGANEXConfig(skips=7, fuse_rgb=True, task="toonify"))


@pytest.mark.parametrize("mebibytes", [512, 1024, 2048])
def test_little_is_drawn_twice_where_memory_is_scarce(mebibytes: int) -> None:
    """The network as it was published, of the largest picture: in one leg from where its maps no
    longer fit, tiles of 512 MiB would draw all of it thirty times."""
    network = published()
    legs = planned(network, 92, 160, False, mebibytes << 20)
    costs = Costs(network, 92, 160)
    least = sum(costs.work(Leg(k, k + 1, *costs.sides(k))) for k in range(legs[-1].stop))
    assert sum(map(costs.work, legs)) < 2 * least
    assert all(
        costs.held(leg.start) + (0 if leg.last else costs.held(leg.stop)) < mebibytes << 20
        for leg in legs[1:]
    )


@torch.no_grad()
def test_own_statistics_are_those_of_training_and_leave_nothing_behind() -> None:
    first, second = random(1, 3, 64, 64), random(1, 3, 64, 64, seed=5)
    network, trained = tiny_styleganex(label_channels=19), tiny_styleganex(label_channels=19)
    use_own_statistics(network)
    trained.train()
    before = {n: t.clone() for n, t in network.state_dict().items()}
    want = trained.encode_style(first)
    assert torch.allclose(network.encode_style(first), want)
    network.encode_style(second)
    assert torch.equal(network.encode_style(first), want)
    assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())
