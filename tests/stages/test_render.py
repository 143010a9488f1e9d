from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.models.tiny import random, seeded, tiny_generator, tiny_stylegan2_config
from tests.stages.faces import clip_of, face_track
from tests.stages.series import InMemory
from vidhair.errors import InvalidSetting
from vidhair.geometry import Box, CropAxes, Similarity
from vidhair.models.generators import stylegan3
from vidhair.models.generators.aligned import SOFT_EDGE, AlignedGenerator
from vidhair.models.generators.stylegan3 import Extent, Synthesis, make_transform
from vidhair.models.generators.tiles import Pass, Plan, plan_tiles
from vidhair.stages import render as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import (
    Canvas,
    Codes,
    Drawer,
    RenderConfig,
    canvas_coverage,
    input_transforms,
    plan_canvas,
    render,
)
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Span

pytestmark = pytest.mark.usefixtures("one_thread")


@st.composite
def clips(draw: st.DrawFn) -> tuple[CropAxes, Box, tuple[int, int]]:
    """Face crops around a box in a frame."""
    width, height = draw(st.integers(200, 1000)), draw(st.integers(200, 1000))
    count = draw(st.integers(1, 4))
    centre = [(draw(st.floats(0, width)), draw(st.floats(0, height))) for _ in range(count)]
    half = [draw(st.floats(30, 150)) for _ in range(count)]
    axes = CropAxes(np.array(centre), np.stack([half, np.zeros(count)], 1))
    side, middle = float(np.median(axes.side)), np.median(axes.centre, axis=0)
    box = Box(float(middle[0] - side / 2), float(middle[1] - side / 2), side)
    return axes, box, (width, height)


class TestPlan:
    @given(clips(), st.sampled_from([16, 128]), st.floats(0, 1))
    def test_the_canvas_covers_all_crops_inside_the_frame(
        self, clip: tuple[CropAxes, Box, tuple[int, int]], resolution: int, expand: float
    ) -> None:
        axes, box, (width, height) = clip
        canvas = plan_canvas(axes, box, (width, height), resolution, expand)
        right = canvas.left + canvas.width * canvas.step
        bottom = canvas.top + canvas.height * canvas.step
        reach = (axes.side * (0.5 + expand))[:, None]
        low, high = axes.centre - reach, axes.centre + reach
        assert canvas.left <= max(low[:, 0].min(), 0) + 1e-6
        assert canvas.top <= max(low[:, 1].min(), 0) + 1e-6
        assert right >= min(high[:, 0].max(), width) - 1e-6
        assert bottom >= min(high[:, 1].max(), height) - 1e-6

    @given(clips(), st.sampled_from([16, 128]), st.floats(0, 1))
    def test_the_box_lies_in_it_at_the_resolution_of_the_generator(
        self, clip: tuple[CropAxes, Box, tuple[int, int]], resolution: int, expand: float
    ) -> None:
        axes, box, size = clip
        canvas = plan_canvas(axes, box, size, resolution, expand)
        assert canvas.step * resolution == pytest.approx(box.side)
        assert canvas.left + canvas.extent.left * canvas.step == pytest.approx(box.left)
        assert canvas.top + canvas.extent.top * canvas.step == pytest.approx(box.top)

    @given(clips(), st.floats(0, 1))
    def test_no_pixel_is_drawn_in_vain(
        self, clip: tuple[CropAxes, Box, tuple[int, int]], expand: float
    ) -> None:
        """Each extra row or column covers something wanted, inside the frame."""
        axes, box, (width, height) = clip
        canvas = plan_canvas(axes, box, (width, height), 64, expand)
        reach = (axes.side * (0.5 + expand))[:, None]
        low, high = (axes.centre - reach).min(0), (axes.centre + reach).max(0)
        step, extent = canvas.step, canvas.extent
        right = canvas.left + canvas.width * step
        bottom = canvas.top + canvas.height * step
        if extent.left:
            assert canvas.left + step > max(low[0], 0) - 1e-6
        if extent.top:
            assert canvas.top + step > max(low[1], 0) - 1e-6
        if extent.right:
            assert right - step < min(high[0], width) + 1e-6
        if extent.bottom:
            assert bottom - step < min(high[1], height) + 1e-6

    def test_size_is_the_square_and_what_lies_beyond(self) -> None:
        canvas = Canvas(64, Extent(1, 2, 30, 40), 0.0, 0.0, 1.0)
        assert (canvas.width, canvas.height) == (95, 106)


def still(count: int, *, angle: float = 0, tx: float = 0, ty: float = 0) -> Similarity:
    return Similarity(*(np.full(count, float(v)) for v in (angle, tx, ty, 1)))


def test_input_transforms_undo_the_movement_of_the_face() -> None:
    similarity = Similarity(*np.array([[10.0, -5], [0.1, 0], [0.2, -0.3], [0.9, 1.2]]))
    got = input_transforms(similarity)
    assert got.dtype == torch.float32
    for k in range(2):
        m = make_transform((similarity.tx[k], similarity.ty[k]), similarity.angle_deg[k],
                           similarity.scale[k])  # fmt: skip
        torch.testing.assert_close(got[k].double() @ m, torch.eye(3).double(), atol=1e-6, rtol=0)


class TestCanvasCoverage:
    CANVAS = Canvas(32, Extent(6, 3, 5, 8), 10.0, 20.0, 1.5)
    TRANSFORMS = input_transforms(Similarity(*np.array([[10.0], [0.1], [0.2], [0.9]])))

    def test_stylegan3_draws_all_of_the_canvas(self, synthesis: Synthesis) -> None:
        share = canvas_coverage(synthesis, self.TRANSFORMS, self.CANVAS)
        assert torch.equal(share, torch.ones(1, 1, 43, 43))

    def test_stylegan2_draws_the_face_crop(self) -> None:
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(32)))
        share = canvas_coverage(generator.synthesis, self.TRANSFORMS, self.CANVAS)[0, 0]
        assert share.shape == (43, 43) and share.min() == 0 and share.max() == 1
        y, x = torch.meshgrid(*(torch.arange(43) + 0.5,) * 2, indexing="ij")
        middle = [float((share * at).sum() / share.sum()) for at in (x, y)]
        np.testing.assert_allclose(middle, [6 + 32 * (0.5 + 0.1), 3 + 32 * (0.5 + 0.2)], atol=0.2)
        side = 32 * 0.9 - SOFT_EDGE * 0.9
        assert float(share.sum()) == pytest.approx(side**2, rel=0.05)


@pytest.fixture(scope="module")
def synthesis() -> Synthesis:
    return tiny_generator(16).synthesis


class TestRender:
    STYLES = random(5, 16, 12).numpy()
    PLAIN = Canvas(16, Extent(), 0.0, 0.0, 1.0)

    def test_levels_of_what_the_generator_draws(self, synthesis: Synthesis) -> None:
        got = render(synthesis, self.STYLES, still(5), self.PLAIN, RenderConfig())
        assert got.dtype == np.uint8 and got.shape == (5, 16, 16, 3)
        want = synthesis(torch.from_numpy(self.STYLES)).permute(0, 2, 3, 1) * 127.5 + 127.5
        assert np.abs(got - want.clamp(0, 255).numpy()).max() <= 0.51

    def test_values_beyond_the_range_are_clipped(self) -> None:
        generator = tiny_generator(16)
        generator.synthesis.layers[-1].weight.mul_(1000)
        got = render(generator.synthesis, self.STYLES, still(5), self.PLAIN, RenderConfig())
        image = generator.synthesis(torch.from_numpy(self.STYLES)).permute(0, 2, 3, 1).numpy()
        assert np.all(got[image > 1.01] == 255) and np.all(got[image < -1.01] == 0)
        assert (got == 255).any() and (got == 0).any()

    @pytest.mark.parametrize("batch", [1, 2, 64])
    def test_the_size_of_batches_does_not_show(self, synthesis: Synthesis, batch: int) -> None:
        similarity = Similarity(*np.array([[0, 5, -9, 20, 3.0], *[[0, 0.1, -0.2, 0.1, 0]] * 2,
                                           [1, 1.1, 0.9, 1, 1]]))  # fmt: skip
        canvas = Canvas(16, Extent(3, 0, 4, 2), 0.0, 0.0, 1.0)
        usual = render(synthesis, self.STYLES, similarity, canvas, RenderConfig())
        got = render(synthesis, self.STYLES, similarity, canvas, RenderConfig(batch=batch))
        assert got.shape == (5, 18, 23, 3)
        assert np.abs(got.astype(int) - usual).max() <= 1

    def test_a_face_that_moves_right_is_drawn_further_right(self) -> None:
        generator = tiny_generator(32, conv_kernel=1, radial_filters=True)
        generator.synthesis.layers[-1].weight.mul_(20)
        square = Canvas(32, Extent(), 0.0, 0.0, 1.0)
        config = RenderConfig()
        before = render(generator.synthesis, self.STYLES, still(5), square, config).astype(int)
        moved = still(5, tx=8 / 32, ty=-4 / 32)
        after = render(generator.synthesis, self.STYLES, moved, square, config)
        inside = np.s_[:, 12:20, 12:20]
        assert before[inside].std() > 5
        assert np.abs(after[inside] - np.roll(before, (-4, 8), (1, 2))[inside]).max() <= 2

    def test_bfloat16_is_close(self, synthesis: Synthesis) -> None:
        full = render(synthesis, self.STYLES, still(5), self.PLAIN, RenderConfig())
        short = RenderConfig(precision="bfloat16")
        got = render(synthesis, self.STYLES, still(5), self.PLAIN, short)
        assert np.abs(got.astype(int) - full).max() <= 6

    def test_float16_is_for_gpus(self, synthesis: Synthesis) -> None:
        config = RenderConfig(precision="float16")
        with pytest.raises(InvalidSetting, match=r"'float16' is for GPUs.*choose auto"):
            render(synthesis, self.STYLES, still(5), self.PLAIN, config)


def test_a_bound_of_memory_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bands of the picture show that it got there; the picture stays the same."""
    drawn = []
    plan = plan_tiles

    def watched(passes: tuple[Pass, ...], size: int, memory: int) -> Plan:
        drawn.append(memory)
        return plan(passes, size, memory)

    monkeypatch.setattr(stylegan3, "plan_tiles", watched)
    synthesis = tiny_generator(16).synthesis
    styles = random(3, 16, 12).numpy()
    similarity = Similarity(np.zeros(3), np.zeros(3), np.zeros(3), np.ones(3))
    canvas = Canvas(16, Extent(2, 1, 0, 3), 0.0, 0.0, 1.0)
    render(synthesis, styles, similarity, canvas, RenderConfig(memory=96, batch=2))
    assert set(drawn) == {96 << 20}


class TestCanvasStage:
    """Faces whose crops are 56 pixels wide, their centres 2.6 pixels above them."""

    BOX = Box(72.0, 69.4, 56.0)

    def canvas(
        self,
        places: list[tuple[float, float, float] | None],
        expand: float = 0.0,
        size: tuple[int, int] = (300, 200),
    ) -> Canvas:
        track = InMemory(face_track(places, self.BOX))
        return stages.canvas(track, clip_of(*size, range(len(places))), 28, expand)

    def test_a_face_in_the_box_needs_the_box_alone(self) -> None:
        got = self.canvas([None, (100.0, 100.0, 20.0), None])
        assert (got.resolution, got.step, got.extent) == (28, 2.0, Extent())
        assert (got.left, got.top) == (72.0, 69.4)

    def test_it_reaches_to_every_face_that_there_is(self) -> None:
        got = self.canvas([(100.0, 100.0, 20.0), None, (140.0, 90.0, 20.0)])
        assert got.extent == Extent(left=0, right=20, top=5, bottom=0)

    def test_it_reaches_further_if_asked_to(self) -> None:
        got = self.canvas([(100.0, 100.0, 20.0)], expand=0.5)
        assert got.extent == Extent(left=14, right=14, top=14, bottom=14)

    def test_it_ends_with_the_frame(self) -> None:
        got = self.canvas([(100.0, 100.0, 20.0)], expand=1.5, size=(140, 132))
        assert got.extent == Extent(left=36, right=6, top=35, bottom=4)


class TestRenderedStage:
    PLACES = None, (100.0, 100.0, 20.0), (104.0, 98.0, 22.0), None, (96.0, 101.0, 20.0)
    TRACK = face_track(PLACES, Box(72.0, 69.4, 56.0))
    CANVAS = Canvas(16, Extent(2, 1, 0, 3), 60.0, 60.0, 3.5)
    CONFIG = RenderConfig(precision="float32", batch=2)
    STYLES = random(5, 8, 12, seed=2).numpy()
    # Of frames without a face nothing is known.
    TRANSFORM = np.where(
        TRACK.present[:, None], np.array([[0.0, 0.02, -0.1, 1.0]]) * [[1], [2], [3], [4], [5]], 0
    ) + np.where(TRACK.present[:, None], [7.0, 0, 0, -0.5], np.nan)

    @pytest.fixture
    def drawer(self) -> Drawer:
        synthesis = tiny_generator(16, num_layers=6).synthesis
        synthesis.layers[-1].weight.mul_(50)  # more than a few shades of grey
        return Drawer(synthesis)

    def picture(
        self, drawer: Drawer, styles: NDArray[Any] = STYLES, track: FaceTrack = TRACK
    ) -> NDArray[Any]:
        pivots = Pivots(np.zeros_like(self.STYLES), self.TRANSFORM)
        return stages.rendered(
            Codes(styles), pivots, track, self.CANVAS, drawer, self.CONFIG
        ).levels

    def test_frames_with_a_face_are_drawn_from_their_codes_where_it_is(
        self, drawer: Drawer
    ) -> None:
        got = self.picture(drawer)
        for k in (1, 2, 4):
            place = Similarity(*self.TRANSFORM[k, :, None])
            want = render(drawer.synthesis, self.STYLES[k : k + 1], place, self.CANVAS, self.CONFIG)
            assert np.abs(got[k].astype(int) - want[0]).max() <= 1
            assert np.ptp(got[k]) > 30

    def test_frames_without_one_are_black(self, drawer: Drawer) -> None:
        got = self.picture(drawer)
        assert got.dtype == np.uint8 and got.shape == (5, 17 + 3, 16 + 2, 3)
        assert not got[[0, 3]].any()

    def test_where_there_is_none_at_all_nothing_is_drawn(self) -> None:
        nowhere = face_track([None] * 5, self.TRACK.box)
        nothing: Any = None
        assert not self.picture(nothing, track=nowhere).any()

    def test_the_edited_picture_is_that_of_the_edited_codes(self, drawer: Drawer) -> None:
        pivots = Pivots(np.zeros_like(self.STYLES), self.TRANSFORM)
        others: NDArray[Any] = self.STYLES + 1
        codes = Codes(others)
        none = stages.no_drawn_change(clip_of(64, 64, [0, 100, 200, 300, 400]))
        parts = pivots, self.TRACK, self.CANVAS, drawer, self.CONFIG
        got = stages.edited(codes, none, Span(0, 5), *parts).levels
        assert np.array_equal(got, self.picture(drawer, self.STYLES + 1))
        assert not np.array_equal(got, self.picture(drawer))

    def test_a_change_of_styles_counts_by_the_strength_of_each_frame(self, drawer: Drawer) -> None:
        pivots = Pivots(np.zeros_like(self.STYLES), self.TRANSFORM)
        ws = torch.from_numpy(self.STYLES)
        old, new = (torch.cat(drawer.synthesis.styles(x), 1) for x in (ws, ws + 1))
        change = (new - old)[:1]
        change[:, :4] = 0
        strength = np.array([0, 0, 1, 1, 0.5], np.float32)
        none = stages.no_drawn_change(clip_of(64, 64, [0, 100, 200, 300, 400]))
        beyond = none.with_styles(strength, change[0].numpy())
        parts = pivots, self.TRACK, self.CANVAS, drawer, self.CONFIG
        got = stages.edited(Codes(self.STYLES), beyond, Span(0, 5), *parts).levels
        plain = self.picture(drawer).astype(int)
        apart = np.abs(got - plain).mean((1, 2, 3))
        assert apart[1] <= 0.05 and apart[2] > apart[4] > 0.5
        # Of frames in the middle of the clip, the same.
        part = stages.edited(
            Codes(self.STYLES[2:]), beyond.rows(2, 5), Span(2, 5),
            Pivots(pivots.styles[2:], self.TRANSFORM[2:]), self.TRACK.rows(2, 5), *parts[2:],
        ).levels  # fmt: skip
        assert np.array_equal(part, got[2:])
