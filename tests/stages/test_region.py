"""Where hair is searched, and whose each part of that is."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.stages.faces import clip_of, face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box, CropAxes, Grid
from vidhair.imaging.warp import cut_grid
from vidhair.models.generators.stylegan3 import Extent
from vidhair.stages import region as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.region import (
    BELOW_JAW,
    BELOW_NOSE,
    BESIDE_JAW,
    FINEST_SIDE,
    HEAD,
    JAW,
    LOBES,
    LONG_HAIR,
    MIDDLE,
    NECK,
    REACH,
    HairWindow,
    HeadRegion,
    beard_ring,
    face_part,
    head_parts,
    on_canvas,
    on_face,
    own_share,
    plan_region,
    plan_window,
)
from vidhair.stages.render import Canvas


def ramps(height: int, width: int) -> torch.Tensor:
    """[1, 2, H, W]: every pixel tells the x and y of its centre."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return torch.tensor(np.stack([x, y])[None], dtype=torch.float64)


class TestRegion:
    @given(
        size=st.tuples(st.integers(100, 2000), st.integers(100, 2000)),
        faces=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0.02, 0.4)),
                       min_size=1, max_size=4),
        stride=st.sampled_from([1, 16]),
    )  # fmt: skip
    def test_covers_every_head_inside_the_frame_with_sides_that_fit(
        self, size: Any, faces: Any, stride: Any
    ) -> None:
        width, height = size
        x, y, half = np.array(faces).T * [[width], [height], [min(size)]]
        axes = CropAxes(np.stack([x, y], 1), np.stack([half, 0 * half], 1))
        region = plan_region(axes, size, 80, stride)
        assert region.width % stride == region.height % stride == 0
        assert region.step == pytest.approx(np.median(2 * half) / 80)
        reach = 2 * half * (0.5 + REACH)
        right = region.left + region.width * region.step
        bottom = region.top + region.height * region.step
        assert 0 <= region.left <= max((x - reach).min(), 0) + 1e-6
        assert 0 <= region.top <= max((y - reach).min(), 0) + 1e-6
        assert right >= min((x + reach).max(), width) - 1e-6
        assert bottom >= min((y + reach).max(), height) - 1e-6
        # … and goes no further than one stride beyond.
        assert right <= min((x + reach).max(), width) + stride * region.step + 1e-6
        assert bottom <= min((y + reach).max(), height) + stride * region.step + 1e-6

    @pytest.mark.parametrize("zoom", [1, 2])
    def test_cutting_reads_the_frame_at_the_samples(self, zoom: int) -> None:
        region = HeadRegion(left=10.5, top=4.0, step=1.5, height=8, width=12)
        got = region.cut(ramps(40, 60), zoom)
        step = 1.5 / zoom
        xs = 10.5 + (np.arange(12 * zoom) + 0.5) * step
        ys = 4.0 + (np.arange(8 * zoom) + 0.5) * step
        want = torch.tensor(np.stack(np.meshgrid(xs, ys))[None])
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)

    def test_beyond_the_frame_the_picture_goes_on(self) -> None:
        region = HeadRegion(left=0, top=0, step=1, height=30, width=30)
        assert region.cut(torch.ones(1, 3, 20, 20)).min() == 1

    @pytest.mark.parametrize("zoom", [1, 2])
    def test_values_of_the_region_are_brought_to_the_canvas(self, zoom: int) -> None:
        region = HeadRegion(left=5.0, top=2.0, step=2.0, height=20, width=24)
        place, grid = region.cut(ramps(80, 80), zoom), region.finer(zoom)
        canvas = Canvas(8, Extent(2, 1, 0, 3), left=13.0, top=8.0, step=2.5)
        got = on_canvas(place, grid, canvas)
        xs = 13.0 + (np.arange(canvas.width) + 0.5) * 2.5
        ys = 8.0 + (np.arange(canvas.height) + 0.5) * 2.5
        want = torch.tensor(np.stack(np.meshgrid(xs, ys))[None])
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


SIZE = 64
GRID = Grid(0.0, 0.0, 1.0, SIZE, SIZE)
FACE = (32.0, 38.0, 14.0)


def track_of(present: list[bool], cuts: tuple[int, ...] = ()) -> FaceTrack:
    places = [FACE if shown else None for shown in present]
    return face_track(places, Box(12.4, 16.6, 39.2), cuts)


class TestHairWindow:
    @given(
        size=st.tuples(st.integers(20, 300), st.integers(20, 300)),
        start=st.tuples(st.floats(0, 1), st.floats(0, 1)),
        step=st.floats(0.3, 12),
        count=st.tuples(st.integers(1, 60), st.integers(1, 60)),
        side=st.floats(10, 3000),
    )
    def test_it_covers_the_region_inside_the_frame_in_whole_pixels(
        self, size: Any, start: Any, step: Any, count: Any, side: Any
    ) -> None:
        left, top = ((length - 1) * at for length, at in zip(size, start, strict=True))
        region = Grid(left, top, step, *count)
        window = plan_window(region, side, size)
        samples = side / window.step
        assert window.side == pytest.approx(samples) and samples <= FINEST_SIDE + 1e-6
        assert window.step == 1 or side / (window.step - 1) > FINEST_SIDE - 1e-6
        for low, number, begin, extent, length in (
            (window.left, window.width, left, count[1], size[0]),
            (window.top, window.height, top, count[0], size[1]),
        ):
            assert low == int(low) and 0 <= low <= begin < low + 1
            end = min(length, begin + step * extent)
            # It ends at the region, or with the sample in which that ends.
            assert end - 1e-6 <= low + number * window.step < end + 1 + window.step
            assert low + (number - 1) * window.step < length

    def test_pixels_are_those_of_the_frame(self) -> None:
        frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        got = HairWindow(5, 3, 1, 20, 30, 100.0).cut(frame)
        assert np.array_equal(got, frame[3:23, 5:35]) and got.flags.c_contiguous

    def test_samples_are_means_and_the_frames_border_goes_on(self) -> None:
        frame = np.random.default_rng(0).integers(0, 256, (11, 13, 3), dtype=np.uint8)
        got = HairWindow(2, 4, 2, 4, 6, 100.0).cut(frame)
        assert got.shape == (4, 6, 3) and got.dtype == np.uint8
        wide = np.pad(frame, [(0, 1), (0, 1), (0, 0)], mode="edge").astype(float)
        for row, column in ((0, 0), (1, 4), (3, 5)):
            y, x = 4 + 2 * row, 2 + 2 * column
            want = wide[y : y + 2, x : x + 2].mean((0, 1))
            np.testing.assert_allclose(got[row, column], want, atol=0.5)

    def test_samples_lie_where_the_grid_says(self) -> None:
        """As values on the window are read by its `left`, `top` and `step`."""
        y, x = np.mgrid[:60, :80] + 0.5
        frame = np.stack([2 * x, 3 * y, 0 * x], -1).astype(np.uint8)
        window = HairWindow(6, 9, 3, 10, 20, 100.0)
        seen = torch.from_numpy(frame).movedim(-1, 0)[None].double()
        want = cut_grid(seen, window)[0].movedim(0, -1)
        np.testing.assert_allclose(window.cut(frame), want, atol=0.6)

    def test_the_stage_takes_the_usual_side_of_the_crops(self) -> None:
        places = [(100.0, 100.0, size) for size in (18.0, 20.0, 30.0)]
        track = InMemory(face_track([None, *places], Box(72.0, 69.4, 56.0)))
        region = HeadRegion(27.2, 24.6, 2.0, 80, 96)
        got = stages.hair_window(track, region, clip_of(400, 300, range(4)))
        assert got.side == pytest.approx(56, abs=0.1) and got.step == 1
        assert (got.left, got.top, got.height, got.width) == (27, 24, 161, 193)


def test_places_are_in_sides_along_the_face() -> None:
    """As the crop's axes locate them."""
    grid = Grid(3.0, 5.0, 2.0, 30, 40)
    axes = CropAxes(np.array([[40.0, 35.0]]), np.array([[24.0, 7.0]]))
    y, x = np.mgrid[:30, :40] + 0.5
    points = np.stack([3 + 2 * x, 5 + 2 * y], -1).reshape(1, -1, 2)
    assert np.allclose(on_face(axes, grid).reshape(1, -1, 2), axes.locate(points), atol=1e-6)


class TestHeadParts:
    @pytest.mark.parametrize("step", [1.0, 0.5])
    def test_the_head_is_an_ellipse_around_the_face(self, step: float) -> None:
        grid = Grid(4.0, 6.0, step, round(120 / step), round(120 / step))
        track = face_track([None, (60.0, 70.0, 20.0)], Box(32.0, 39.4, 56.0))
        inside = head_parts(track, 1, grid).head
        rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
        middle_y = grid.top + (rows[0] + rows[-1] + 1) / 2 * step
        middle_x = grid.left + (columns[0] + columns[-1] + 1) / 2 * step
        assert (middle_x, middle_y) == pytest.approx((60, 70 - 0.13 * 20), abs=1)
        assert len(columns) * step == pytest.approx(2 * HEAD[0] * 56, abs=2)
        assert len(rows) * step == pytest.approx(2 * HEAD[1] * 56, abs=2)
        # Of an ellipse, not of the rectangle around it.
        assert inside.sum() * step**2 == pytest.approx(np.pi * HEAD[0] * HEAD[1] * 56**2, rel=0.05)

    def test_it_turns_with_the_face(self) -> None:
        grid, box = Grid.of_pixels(160, 160), Box(52.0, 50.0, 56.0)
        upright, turned = (
            head_parts(face_track([(80.0, 80.0, 20.0, angle)], box), 0, grid) for angle in (0, 90)
        )
        high, wide = (np.ptp(np.flatnonzero(upright.head.any(axis))) for axis in (1, 0))
        assert high > wide + 5
        assert np.ptp(np.flatnonzero(turned.head.any(0))) == pytest.approx(high, abs=2)
        assert np.ptp(np.flatnonzero(turned.head.any(1))) == pytest.approx(wide, abs=2)
        assert turned.crown.sum() == pytest.approx(upright.crown.sum(), rel=0.05)

    def test_crown_and_beard_lie_above_and_below_the_lobes_and_hair_beside(self) -> None:
        grid, place = Grid.of_pixels(160, 160), (80.0, 80.0, 30.0)
        track = face_track([place], Box(38.0, 34.1, 84.0))
        parts = head_parts(track, 0, grid)
        assert parts.crown[60, 50] and not parts.crown[60, 80], "the face is not on top"
        # The crop's middle is 3.9 above the face's, whose chin is 30 below its own.
        lobes, chin = 76.1 + LOBES * 84, 110
        crown, beard, left, right = (
            np.argwhere(x) + 0.5 for x in (parts.crown, parts.beard, *parts.beside)
        )
        assert (
            crown[:, 0].max() == pytest.approx(lobes, abs=1) and (parts.head | ~parts.crown).all()
        )
        above = beard[beard[:, 0] < chin]
        assert (parts.beard[111:]).all() and 30 < np.ptp(above[:, 1]) < 52
        assert beard_ring(track.mesh[0], 84.0)[:, 1].max() == pytest.approx(
            chin + (BELOW_JAW + BESIDE_JAW) * 84, abs=1.5
        )
        for side in (left, right):
            high, low = ((lobes + chin) / 2 + way * LONG_HAIR[2] * 84 for way in (-1, 1))
            assert (side[:, 0].min(), side[:, 0].max()) == pytest.approx((high, low), abs=1)
        assert left[:, 1].max() < 80 < right[:, 1].min() and len(left) == len(right)
        assert left[:, 1].min() == pytest.approx(80 - LONG_HAIR[1] * 84, abs=1)
        assert not (parts.beard & (parts.beside[0] | parts.beside[1])).any()

    def test_of_a_turned_head_long_hair_is_looked_for_where_its_back_is(self) -> None:
        grid, place = Grid.of_pixels(160, 160), (80.0, 80.0, 30.0)
        track = face_track([place], Box(38.0, 34.1, 84.0))
        left, right = head_parts(track, 0, grid).beside
        track.mesh[0, [234, 454], 0] -= 2
        nearer, further = head_parts(track, 0, grid).beside
        ends = [int(np.flatnonzero(x.any(0))[k]) for x, k in ((left, 0), (right, -1))]
        turned = [int(np.flatnonzero(x.any(0))[k]) for x, k in ((nearer, 0), (further, -1))]
        assert [b - a for a, b in zip(ends, turned, strict=True)] == [-3, -3]


def test_the_jaw_goes_from_ear_to_ear() -> None:
    assert JAW[0] == BELOW_NOSE[-1] == 454 and JAW[-1] == BELOW_NOSE[0] == 234
    assert 152 in JAW and 10 not in JAW


class TestFaceParts:
    @pytest.mark.parametrize("grid", [GRID, Grid(4.0, 6.0, 0.5, 2 * SIZE, 2 * SIZE)])
    def test_they_lie_where_the_mesh_says(self, grid: Any) -> Any:
        def at(mask: torch.Tensor, x: float, y: float) -> float:
            return float(
                mask[0, 0, int((y - grid.top) / grid.step), int((x - grid.left) / grid.step)]
            )

        track = track_of([True])
        middle = face_part(MIDDLE, track, range(1), grid)
        neck = face_part(NECK, track, range(1), grid)
        x, y, length = FACE
        assert at(middle, x, y) == 1 and at(neck, x, y) == 0
        below = y + 1.2 * length
        assert at(neck, x, below) > 0.9 and at(middle, x, below) == 0
        assert at(neck, x - 1.5 * length, below) == 0
        assert middle.max() <= 1 and neck.min() >= 0

    def test_a_frame_without_a_face_has_none(self) -> None:
        masks = face_part(MIDDLE, track_of([False, True]), range(2), GRID)
        assert masks[0].max() == 0 and masks[1].max() == 1


class TestRegionStage:
    """Of faces whose crops are 56 pixels wide, their centres 2.6 pixels above them."""

    def region(self, places: Any, size: tuple[int, int] = (400, 300)) -> HeadRegion:
        track = InMemory(face_track(places, Box(72.0, 69.4, 56.0)))
        return stages.region(track, clip_of(size[0], size[1], range(len(places))), 28, 16)

    def test_it_reaches_around_every_face_that_there_is(self) -> None:
        got = self.region([None, (100.0, 100.0, 20.0), (140.0, 100.0, 20.0)])
        assert got.step == pytest.approx(2.0) and (got.height, got.width) == (80, 96)
        assert [got.left, got.top] == pytest.approx([27.2, 24.6])

    def test_it_ends_with_the_frame(self) -> None:
        got = self.region([(100.0, 100.0, 20.0)], size=(130, 100))
        assert (got.height, got.width) == (48, 64)


class TestOwnShare:
    """Of two faces of a size of 20 (crops of 56 pixels), at 30 and 90 from the left."""

    BOX = Box(2.0, 2.0, 56.0)
    MINE, OTHER = (30.0, 40.0, 20.0), (90.0, 40.0, 20.0)
    ROW = 38  # that of the middles of their crops

    def share(self, other: Any, mine: Any = MINE, **options: Any) -> NDArray[Any]:
        track = face_track([mine], self.BOX, (), other)
        step = options.get("step", 1.0)
        got = own_share(track, range(1), Grid(0.0, 0.0, step, round(80 / step), round(120 / step)))
        return got[0, 0].numpy()

    def test_alone_everything_is_ones_own(self) -> None:
        assert own_share(face_track([self.MINE], self.BOX), range(1), Grid.of_pixels(9, 9)) == 1
        assert (self.share(None) == 1).all()

    def test_what_is_nearer_to_another_face_is_theirs(self) -> None:
        row = self.share(self.OTHER)[self.ROW]
        assert (row[:57] == 1).all() and (row[63:] == 0).all()
        assert row[59:61].mean() == pytest.approx(0.5, abs=0.05), "softly"

    def test_nearness_is_counted_in_sizes_of_a_face(self) -> None:
        """A face of half the size reaches half as far."""
        row = self.share((90.0, 38.7, 10.0))[self.ROW]
        border = int(np.flatnonzero(row < 0.5)[0])
        assert border == pytest.approx(30 + 60 * 2 / 3, abs=1)

    def test_a_nearer_face_hides_and_a_farther_one_does_not(self) -> None:
        beside = 60.0
        nearer = self.share((beside, 40.0, 24.0))
        farther = self.share((beside, 40.0, 16.0))
        edges = int(beside - HEAD[0] * 2.8 * 24), int(30 + HEAD[0] * 2.8 * 20)  # of both heads
        assert nearer[self.ROW, edges[0] - 2] == 1 and nearer[self.ROW, edges[0] + 3] == 0
        assert farther[self.ROW, edges[1] - 2] == 1 and farther[self.ROW, edges[1] + 3] == 0

    def test_who_is_right_behind_takes_nothing(self) -> None:
        head = self.share((30.0, 41.0, 18.0))
        assert (head[self.ROW, 10:50] == 1).all()

    def test_a_finer_grid_sees_the_same(self) -> None:
        coarse, fine = self.share(self.OTHER), self.share(self.OTHER, step=0.5)
        np.testing.assert_allclose(fine.reshape(80, 2, 120, 2).mean((1, 3)), coarse, atol=0.1)

    def test_an_absent_person_is_not_measured(self) -> None:
        assert (self.share(self.OTHER, None) == 1).all()
