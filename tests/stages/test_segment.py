"""The prior of hair, by a segmenter with random weights: where it looks, and what it hands on."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.faces import face_track
from vidhair.flow.overlap import Workers
from vidhair.geometry import Box, Grid
from vidhair.imaging.warp import to_unit
from vidhair.models.parsers.hair_segmenter import SIDE, STRIDE, HairSegmenter
from vidhair.stages.region import REACH, HeadRegion, plan_region
from vidhair.stages.segment import (
    AT_ONCE,
    GRAIN,
    prior_grid,
    segment,
    segmented,
    view,
)
from vidhair.types import Frames

pytestmark = pytest.mark.usefixtures("one_thread")

HIGH, WIDE = 96, 160


@pytest.fixture(scope="module")
def network() -> HairSegmenter:
    torch.manual_seed(0)
    return HairSegmenter().eval()


def noise(count: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, HIGH, WIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("side", [60.0, 200.0, 900.0])
@pytest.mark.parametrize("samples", [48, 80, 256])
def test_the_grid_has_as_many_samples_around_a_head_as_the_network_was_trained_on(
    side: float, samples: int
) -> None:
    track = face_track([(1000.0, 500.0, side / 2.8)], Box(0, 0, side))
    region = plan_region(track.axes, (1920, 1080), samples, 16)
    grid = prior_grid(region, side)
    factor = grid.height // region.height
    assert grid == region.finer(factor)
    around = min(max(region.height, region.width), (1 + 2 * REACH) * samples) * factor
    assert around >= SIDE - 1e-6
    assert factor == 1 or around * (factor - 1) / factor < SIDE


def test_the_view_covers_the_head_and_goes_no_further_than_a_grain() -> None:
    grid = Grid(100.0, 50.0, 0.5, 1000, 1500)
    for centre in ((150.0, 80.0), (500.0, 300.0), (840.0, 540.0)):
        seen = view(np.array(centre), 80.0, grid)
        assert seen.height % GRAIN == seen.width % GRAIN == GRAIN % STRIDE == 0
        corner = grid.places(np.array([seen.left, seen.top]))
        assert (corner % GRAIN == 0).all() and (corner >= 0).all()
        reach = (0.5 + REACH) * 80
        low = np.maximum(grid.places(np.array(centre) - reach), 0)
        high = np.minimum(grid.places(np.array(centre) + reach), [1500, 1000])
        end = corner + np.array([seen.width, seen.height])
        assert (corner <= low).all() and (low - corner < GRAIN).all()
        assert (high <= end).all() and (end - high < GRAIN).all()


def test_levels_are_those_of_the_network_and_zero_elsewhere(network: Any) -> None:
    frames, grid = noise(1), Grid.of_pixels(HIGH, WIDE)
    seen = Grid(64.0, 0.0, 1, 64, 64)
    (levels,) = segment(Frames.of_pixels(frames), [seen], grid, network, map)
    picture = to_unit(frames)[:, :, :64, 64:128] / 2 + 0.5
    with torch.inference_mode():
        want = network(picture, torch.zeros(1, 1, 64, 64))[0, 0] * 255
    np.testing.assert_allclose(levels[:64, 64:128], want.numpy(), atol=0.51)
    assert levels[:64, 64:128].min() > 0  # of random weights
    levels[:64, 64:128] = 0
    assert not levels.any()


def test_a_view_may_reach_beyond_the_grid(network: Any) -> None:
    grid = Grid.of_pixels(50, 70)
    seen = Grid(0.0, 0.0, 1, 64, 128)
    levels = segment(Frames.of_pixels(noise(1)), [seen], grid, network, map)
    assert levels.shape == (1, 50, 70) and levels.min() > 0


def test_frames_are_found_alike_alone_and_in_batches(network: Any) -> None:
    """However views change, and where nobody is."""
    count, grid = AT_ONCE + 3, Grid.of_pixels(HIGH, WIDE)
    left, right = Grid(0.0, 0.0, 1, 64, 64), Grid(64.0, 0.0, 1, 128, 64)
    views = [left, left, None, right, right, left, None]
    frames = Frames.of_pixels(noise(count))
    whole = segment(frames, views, grid, network, map)
    for t in range(count):
        alone = segment(frames.rows(t, t + 1), views[t : t + 1], grid, network, map)[0]
        np.testing.assert_allclose(whole[t].astype(int), alone, atol=1)
    assert not whole[2].any() and not whole[6].any()


def test_threads_that_cut_change_nothing(network: Any, workers: Workers) -> None:
    grid, seen = Grid.of_pixels(HIGH, WIDE), Grid(0.0, 0.0, 1, 64, 128)
    frames, views = Frames.of_pixels(noise(AT_ONCE + 3)), [seen, seen, None, seen, None, seen, seen]
    got, want = (segment(frames, views, grid, network, how) for how in (workers, map))
    assert np.array_equal(got, want)


REGION = HeadRegion(left=0.0, top=0.0, step=4.0, height=32, width=48)


def test_the_prior_lies_on_the_region_and_fades_with_the_person(network: Any) -> None:
    track = face_track([(80.0, 50.0, 30.0), None], Box(38, 8, 84))
    prior = segmented(Frames.of_pixels(noise(2)), track, REGION, network, map)
    assert prior.levels.dtype == np.uint8
    assert prior.grid(REGION) == prior_grid(REGION, 84)
    assert prior.levels.shape[1:] == (prior.grid(REGION).height, prior.grid(REGION).width)
    assert prior.levels[0].any() and not prior.levels[1].any()
