"""Pictures drawn in tiles are the same pictures, and take less memory."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.tiny import R, T, random, tiny_generator
from tests.tolerances import assert_close
from vidhair.kernels.buffers import buffer_pool
from vidhair.models.generators import stylegan3
from vidhair.models.generators.stylegan3 import Extent, Generator, StyleGAN3Config, layer_geometries
from vidhair.models.generators.tiles import Pass, Plan, Rows, plan_tiles, rows_of_layers

pytestmark = pytest.mark.usefixtures("one_thread")

LARGE = StyleGAN3Config(resolution=1024)
PLAIN = Extent()
CANVASES = {"plain": PLAIN, "wider": Extent(5, 0, 3, 9), "much wider": Extent(30, 20, 0, 16)}


def passes_of(config: StyleGAN3Config, canvas: Extent = PLAIN) -> tuple[Pass, ...]:
    geometries = layer_geometries(config)
    rates = [geometries[0].source.rate, *(g.result.rate for g in geometries)]
    extents = [canvas.at_rate(rate, config.resolution) for rate in rates]
    return tuple(g.over(*pair) for g, pair in zip(geometries, pairwise(extents), strict=True))


def draw(generator: Generator, **options: Any) -> torch.Tensor:
    config = generator.config
    with torch.inference_mode():
        return generator.synthesis(random(2, config.num_ws, config.w_dim), **options)


@pytest.mark.parametrize(("split", "count"), [(0, 2), (6, 5), (12, 3), (14, 4)])
@pytest.mark.parametrize("canvas", CANVASES)
@pytest.mark.parametrize("configuration", [T, R], ids=["T", "R"])
def test_bands_make_the_same_picture(
    monkeypatch: pytest.MonkeyPatch, configuration: Any, canvas: Any, split: int, count: int
) -> None:
    generator = tiny_generator(32, **configuration)
    whole = draw(generator, canvas=CANVASES[canvas])
    height = whole.shape[2]
    edges = [height * k // count for k in range(count + 1)]
    tiles = tuple(Rows(*pair) for pair in pairwise(edges))
    monkeypatch.setattr(stylegan3, "plan_tiles", lambda *_: Plan(split, tiles, bytes=1))
    assert_close("synthesis", draw(generator, canvas=CANVASES[canvas], memory=2), whole)


def test_without_need_nothing_is_cut() -> None:
    passes = passes_of(LARGE)
    whole = plan_tiles(passes, 4, None)
    assert whole.split == len(passes) and whole.tiles == (Rows(0, 1024),)
    assert plan_tiles(passes, 4, whole.bytes) == whole


@settings(max_examples=40)
@given(
    radial=st.booleans(),
    sides=st.tuples(*[st.integers(0, 700)] * 4),
    memory=st.integers(192 << 20, 2 << 30),
)
def test_plans_keep_the_bound_and_cover_the_picture(radial: bool, sides: Any, memory: Any) -> None:
    config = StyleGAN3Config(
        resolution=1024, conv_kernel=1 if radial else 3, radial_filters=radial, channel_max=512
    )
    passes = passes_of(config, Extent(*sides))
    plan = plan_tiles(passes, 4, memory)
    assert plan.bytes <= memory
    edges = [tile.start for tile in plan.tiles] + [passes[-1].out_height]
    assert [(tile.start, tile.stop) for tile in plan.tiles] == list(pairwise(edges))
    for tile in plan.tiles:
        for layer, (seen, made) in zip(
            passes[plan.split :], rows_of_layers(passes[plan.split :], tile), strict=True
        ):
            assert 0 <= seen.start < seen.stop <= layer.height
            assert 0 <= made.start < made.stop <= layer.out_height


def test_a_bound_that_cannot_be_kept_is_come_near_to() -> None:
    passes = passes_of(LARGE)
    least = plan_tiles(passes, 4, 1)
    assert least.bytes < plan_tiles(passes, 4, None).bytes / 4
    assert plan_tiles(passes, 4, 1000) == least


@pytest.mark.parametrize("index", [2, 5, 9, 13])
def test_rows_that_a_band_does_not_see_do_not_matter(index: int) -> None:
    generator = tiny_generator(32, **T)
    layer, whole = generator.synthesis.layers[index], passes_of(generator.config)[index]
    x = random(1, whole.in_channels, whole.height, whole.width)
    style = torch.ones(1, whole.in_channels)
    rows = Rows(whole.out_height // 2, whole.out_height // 2 + 3)
    seen = whole.seen_by(rows)
    with torch.no_grad():
        want = layer(x, style)[:, :, rows.start : rows.stop]
        for first, last in ((0, seen.start), (seen.stop, whole.height)):
            changed = x.clone()
            changed[:, :, first:last] += 1
            assert_close("synthesis", layer(changed, style)[:, :, rows.start : rows.stop], want)
        # Both rows at the ends matter.
        for row in (seen.start, seen.stop - 1):
            changed = x.clone()
            changed[:, :, row] += 1
            moved = layer(changed, style)[:, :, rows.start : rows.stop] - want
            assert moved.abs().max() > 1e-6 * want.abs().max()


def test_fewer_pictures_at_once_before_bands() -> None:
    generator = tiny_generator(32)
    one = plan_tiles(passes_of(generator.config), 4, None).bytes
    whole = draw(generator)
    for bound in (one, 2 * one):
        assert_close("synthesis", draw(generator, memory=bound), whole)


def test_memory_stays_below_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    # What others still hold would count as in use, of which a share may be kept on top.
    monkeypatch.setattr(buffer_pool, "_pieces", [])
    generator = tiny_generator(256, channel_base=8192, channel_max=32)
    bound = plan_tiles(passes_of(generator.config), 4, None).bytes // 3
    draw(generator, memory=bound)
    buffer_pool.release()
    before = buffer_pool.kept  # weights that kernels have prepared
    picture = draw(generator, memory=bound)
    assert picture.shape == (2, 3, 256, 256)
    assert buffer_pool.kept - before <= 1.3 * bound, (buffer_pool.kept, before, bound)
    buffer_pool.release()
