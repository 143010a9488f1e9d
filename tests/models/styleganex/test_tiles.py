"""Drawn in tiles, a picture is what it is when drawn at once."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, tiny_styleganex
from vidhair.models.styleganex.network import StyleGANEX, StyleGANEXConfig
from vidhair.models.styleganex.tiles import CONTEXT, Plan, draw, planned, tiles, use_own_statistics

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


@pytest.mark.parametrize("memory", [1, 40_000, 200_000, 1 << 40])
@pytest.mark.parametrize("skips", [0, 4, 6])
def test_tiles_leave_no_seam(memory: int, skips: int) -> None:
    network = large(skips=skips)
    whole, got = both(network, memory)
    plan = planned(network, 25, 5, False, memory)
    assert (plan.split == len(network.config.generator.sizes)) == (memory == 1 << 40)
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
    plan = planned(network, 25, 5, True, 1)
    assert plan.split == 5 and planned(network, 25, 5, False, 1).split == 4
    whole, got = both(network, 1, editing=True)
    assert torch.allclose(got, whole, atol=1e-5 * float(whole.abs().max()), rtol=0)


def test_less_around_a_tile_would_leave_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vidhair.models.styleganex.tiles.CONTEXT", 1)
    whole, got = both(large(skips=6), 1)
    assert not torch.allclose(got, whole, atol=1e-4 * float(whole.abs().max()), rtol=0)


def test_less_memory_makes_earlier_splits_and_smaller_tiles() -> None:
    network = large(skips=4)
    plans = [planned(network, 200, 100, False, memory) for memory in (1 << 24, 1 << 22, 1 << 20)]
    assert [plan.split for plan in plans] == sorted((p.split for p in plans), reverse=True)
    assert all(plan.rows > 0 for plan in plans[1:])


def test_tiles_cover_every_sample_once() -> None:
    covered = torch.zeros(47, 33)
    for inner, outer in tiles(47, 33, Plan(4, 10, 15)):
        covered[inner] += 1
        for a, b, length in zip(inner, outer, (47, 33), strict=True):
            assert b.start == max(0, a.start - CONTEXT) and b.stop == min(length, a.stop + CONTEXT)
    assert bool((covered == 1).all())


def test_wide_pictures_are_tiled_both_ways() -> None:
    """Strips of a few rows would be drawn several times over for what lies around them."""
    config = StyleGANEXConfig(skips=7, fuse_rgb=True, task="toonify")
    with torch.device("meta"):
        network = StyleGANEX(config)
    plan = planned(network, 92, 160, False, 1 << 30)
    sides = plan.rows + 2 * CONTEXT, plan.columns + 2 * CONTEXT
    assert plan.columns < 160 * 2 and sides[0] * sides[1] < 2.5 * plan.rows * plan.columns


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
