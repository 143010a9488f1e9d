"""The pieces of the matte on pictures drawn by hand; networks are not run."""

import math
import weakref
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from tests.models.tiny import random
from tests.stages.faces import clip_of, face_mesh, face_track
from tests.stages.series import InMemory
from vidhair.errors import InvalidSetting
from vidhair.geometry import Box, CropAxes, Grid
from vidhair.models.face_parser import Label
from vidhair.models.stylegan3 import Extent
from vidhair.ops.color import rgb_to_lab
from vidhair.stages import matte as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import (
    BINS,
    COLOR_FRAMES,
    HEAD,
    MIDDLE,
    NECK,
    NEIGHBOURS,
    REACH,
    ColorModels,
    HeadRegion,
    Labels,
    Matte,
    MatteConfig,
    classify,
    face_part,
    follow,
    learn_colors,
    make_mattes,
    on_canvas,
    own_share,
    parse,
    parse_canvas,
    plan_region,
)
from vidhair.stages.render import Canvas
from vidhair.types import Frames
from vidhair.wiring import Near, Span

LABELS = len(Label)


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
        self, size: tuple[int, int], faces: list[tuple[float, float, float]], stride: int
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
        place = region.cut(ramps(80, 80), zoom)
        canvas = Canvas(8, Extent(2, 1, 0, 3), left=13.0, top=8.0, step=2.5)
        got = on_canvas(place, region, canvas, zoom)
        xs = 13.0 + (np.arange(canvas.width) + 0.5) * 2.5
        ys = 8.0 + (np.arange(canvas.height) + 0.5) * 2.5
        want = torch.tensor(np.stack(np.meshgrid(xs, ys))[None])
        torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


def blob(x: float, y: float, size: int = 48) -> torch.Tensor:
    ys, xs = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return torch.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 30)[None, None]


def place(x: float, y: float, angle_deg: float = 0, size: int = 48) -> NDArray[Any]:
    """Face → grid, for a face in pixels around (x, y)."""
    a = math.radians(angle_deg)
    turn = np.array([[math.cos(a), math.sin(a), 0], [-math.sin(a), math.cos(a), 0], [0, 0, 1]])
    normalise = np.array([[2 / size, 0, 2 * x / size - 1], [0, 2 / size, 2 * y / size - 1],
                          [0, 0, 1]])  # fmt: skip
    return normalise @ turn


class TestFollow:
    def test_what_moves_with_the_face_is_kept(self) -> None:
        at = [(16, 20), (22, 22), (30, 18)]
        values = torch.cat([blob(x, y) for x, y in at])
        matrices = np.stack([place(x, y) for x, y in at])
        for index in range(3):
            got = follow(values, matrices, index, 1.0)
            torch.testing.assert_close(got, values[index : index + 1], atol=0.03, rtol=0)

    def test_what_turns_with_the_face_is_kept(self) -> None:
        # Twelve pixels to the right of the face, then above it.
        values = torch.cat([blob(36, 24), blob(24, 12)])
        matrices = np.stack([place(24, 24), place(24, 24, 90)])
        got = follow(values, matrices, 0, 1.0)
        torch.testing.assert_close(got, values[:1], atol=0.03, rtol=0)

    def test_weights_fall_with_the_distance_in_time(self) -> None:
        values = torch.tensor([1.0, 0, 0, 0]).view(4, 1, 1, 1).expand(4, 1, 8, 8)
        matrices = np.stack([np.eye(3)] * 4)
        got = follow(values, matrices, 2, 0.5)
        want = 0.25 / (0.25 + 0.5 + 1 + 0.5)
        torch.testing.assert_close(got, torch.full((1, 1, 8, 8), want))

    def test_without_weight_the_frame_is_left_alone(self) -> None:
        values, matrices = random(3, 1, 8, 8), np.stack([np.eye(3)] * 3)
        torch.testing.assert_close(follow(values, matrices, 1, 0.0), values[1:2])


def one_label(label: Label, sure: float, shape: tuple[int, int] = (1, 1)) -> torch.Tensor:
    p = torch.full((1, LABELS, *shape), (1 - sure) / (LABELS - 1))
    p[:, label] = sure
    return p


NOTHING_KNOWN = torch.zeros(1, LABELS, 1, 1)
NO_NECK = torch.zeros(1, 1, 1, 1)


class TestClassify:
    @pytest.mark.parametrize("label", list(Label))
    def test_without_colors_the_parser_decides(self, label: Label) -> None:
        hair = classify(one_label(label, 0.94), NOTHING_KNOWN, NO_NECK, 0.8)
        assert hair > 0.75 if label is Label.HAIR else hair < 0.12

    def test_clear_colors_overrule_the_parser_on_the_person(self) -> None:
        colors = NOTHING_KNOWN.clone()
        colors[:, Label.HAIR] = 7
        parser = one_label(Label.SKIN, 0.9)
        assert classify(parser, colors, NO_NECK, 0.8) > 0.8
        assert classify(parser, colors, NO_NECK, 0.0) < 0.12  # not if they do not count

    def test_they_hardly_overrule_where_the_person_ends(self) -> None:
        colors = NOTHING_KNOWN.clone()
        colors[:, Label.HAIR] = 4
        wall, skin = one_label(Label.BACKGROUND, 0.98), one_label(Label.SKIN, 0.98)
        on_wall, on_skin = (classify(p, colors, NO_NECK, 0.8) for p in (wall, skin))
        assert on_wall < 0.5 * on_skin

    def test_on_the_neck_skin_is_likelier(self) -> None:
        parser = one_label(Label.HAIR, 0.6)
        usual = classify(parser, NOTHING_KNOWN, NO_NECK, 0.8)
        neck = classify(parser, NOTHING_KNOWN, NO_NECK + 1, 0.8)
        half = classify(parser, NOTHING_KNOWN, NO_NECK + 0.5, 0.8)
        assert neck < half < usual and neck < 0.35

    def test_probabilities(self) -> None:
        g = torch.Generator().manual_seed(0)
        p = torch.randn(2, LABELS, 6, 7, generator=g).softmax(1)
        colors = torch.randn(2, LABELS, 6, 7, generator=g) * 30
        hair = classify(p, colors, torch.rand(2, 1, 6, 7, generator=g), 1.0)
        assert hair.shape == (2, 1, 6, 7) and hair.min() >= 0 and hair.max() <= 1


COLORS = {  # Lab
    Label.BACKGROUND: (60.0, -30.0, 30.0),
    Label.SKIN: (70.0, 18.0, 18.0),
    Label.HAIR: (20.0, 5.0, 8.0),
    Label.CLOTHES: (45.0, 10.0, -40.0),
}


def quarters(size: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """Lab [1, 3, S, S] and label [S, S]: a quarter of the picture per label."""
    labels = torch.arange(4).view(2, 2).repeat_interleave(size // 2, 0)
    labels = labels.repeat_interleave(size // 2, 1)
    table = torch.tensor([COLORS[label] for label in Label])
    lab = table[labels].permute(2, 0, 1)[None] + random(1, 3, size, size)
    return lab, labels


def probabilities(labels: torch.Tensor, sure: float = 0.97) -> torch.Tensor:
    one_hot = F.one_hot(labels, LABELS).permute(2, 0, 1)[None].float()
    return one_hot * sure + (1 - one_hot) * (1 - sure) / (LABELS - 1)


class TestColors:
    NONE = torch.zeros(1, 1, 16, 16)

    def test_pixels_are_known_by_their_colors(self) -> None:
        lab, labels = quarters()
        models = learn_colors([(lab, probabilities(labels), self.NONE, self.NONE)])
        likely = models.log_likelihood(lab, self.NONE)
        assert likely.shape == (1, LABELS, 16, 16)
        assert torch.equal(likely.argmax(1)[0], labels)
        best, second = likely.topk(2, dim=1).values.unbind(1)
        assert (best - second).min() > 2

    def test_densities_sum_to_about_one(self) -> None:
        lab, labels = quarters()
        models = learn_colors([(lab, probabilities(labels), self.NONE, self.NONE)])
        assert models.log_density.shape == (LABELS + 1, *BINS)  # and skin in shadow
        np.testing.assert_allclose(np.exp(models.log_density).sum((1, 2, 3)), 1.02, rtol=1e-3)

    def test_colors_never_seen_say_nothing(self) -> None:
        lab, labels = quarters()
        models = learn_colors([(lab, probabilities(labels), self.NONE, self.NONE)])
        strange = torch.tensor([95.0, -80.0, 200.0]).view(1, 3, 1, 1)  # beyond the table, too
        likely = models.log_likelihood(strange, torch.zeros(1, 1, 1, 1))
        assert likely.isfinite().all()
        assert likely.max() - likely.min() < 0.1

    def test_pixels_the_parser_is_unsure_of_teach_nothing(self) -> None:
        lab, labels = quarters()
        p = probabilities(labels)
        p[..., 8:, :8] = 0.1
        p[:, Label.HAIR, 8:, :8] = 0.65
        p[:, Label.SKIN, 8:, :8] = 0.2
        likely = learn_colors([(lab, p, self.NONE, self.NONE)]).log_likelihood(lab, self.NONE)
        hair = likely[0, :, 8:, :8]
        assert hair.max() - hair.min() < 0.1

    def test_the_neck_teaches_nothing_and_the_face_teaches_skin(self) -> None:
        lab, labels = quarters()
        neck, face = self.NONE.clone(), self.NONE.clone()
        neck[..., 8:, :8], face[..., 8:, 8:] = 1, 1  # of what the parser calls hair and clothes
        models = learn_colors([(lab, probabilities(labels), neck, face)])
        likely = models.log_likelihood(lab, self.NONE)[0]
        assert (likely[:, 8:, :8].max(0).values - likely[:, 8:, :8].min(0).values).max() < 0.1
        assert (likely[:, 8:, 8:].argmax(0) == Label.SKIN).all()

    def test_skin_in_shadow_is_skin_on_the_neck_alone(self) -> None:
        lab, labels = quarters()
        models = learn_colors([(lab, probabilities(labels), self.NONE, self.NONE)])
        shadow = torch.tensor([35.0, 12.0, 12.0]).view(1, 3, 1, 1)
        here, elsewhere = (
            models.log_likelihood(shadow, torch.full((1, 1, 1, 1), neck))[0, :, 0, 0]
            for neck in (1.0, 0.0)
        )
        assert here.argmax() == Label.SKIN and here[Label.SKIN] > here[Label.HAIR] + 2
        assert elsewhere[Label.SKIN] < here[Label.SKIN] - 2
        others = [label for label in Label if label is not Label.SKIN]
        assert torch.equal(here[others], elsewhere[others])


SIZE = 64
GRID = Grid(0.0, 0.0, 1.0, SIZE, SIZE)
FACE = (32.0, 38.0, 14.0)
HAIR_ROWS = slice(6, 20)
HAIR_LAB, REST_LAB = (20.0, 5.0, 8.0), (70.0, 15.0, 15.0)


def track_of(present: list[bool], cuts: tuple[int, ...] = ()) -> FaceTrack:
    places = [FACE if shown else None for shown in present]
    return face_track(places, Box(12.4, 16.6, 39.2), cuts)


def scene(hair: list[bool]) -> tuple[torch.Tensor, torch.Tensor]:
    """Label probabilities [T, 4, S, S] and Lab [T, 3, S, S]: a bar of hair over the face."""
    p = one_label(Label.BACKGROUND, 0.97, (SIZE, SIZE)).repeat(len(hair), 1, 1, 1)
    lab = torch.tensor(REST_LAB).view(1, 3, 1, 1).repeat(len(hair), 1, SIZE, SIZE)
    for t, has_hair in enumerate(hair):
        if has_hair:
            p[t, :, HAIR_ROWS, 16:48] = one_label(Label.HAIR, 0.97)[0]
            lab[t, :, HAIR_ROWS, 16:48] = torch.tensor(HAIR_LAB).view(3, 1, 1)
    return p, lab


NO_COLORS = ColorModels(np.zeros((LABELS + 1, *BINS), np.float32))


def mattes(
    hair: list[bool],
    present: list[bool] | None = None,
    cuts: tuple[int, ...] = (),
    wanted: range | None = None,
    **config: Any,
) -> dict[str, NDArray[Any]]:
    p, lab = scene(hair)
    track = track_of(present or [True] * len(hair), cuts)
    wanted = wanted or range(len(hair))
    return make_mattes(
        lambda f: (p[f : f + 1], lab[f : f + 1]),
        NO_COLORS, track, range(len(hair)), wanted, GRID, MatteConfig(**config),
    )  # fmt: skip


class TestMattes:
    def test_hair_is_all_hair_and_the_rest_none(self) -> None:
        got = mattes([True] * 3)
        assert got["alpha"].dtype == np.uint8 and got["alpha"].shape == (3, SIZE, SIZE)
        assert got["alpha"][:, 9:17, 20:44].min() > 240
        outside = np.ones((SIZE, SIZE), bool)
        outside[3:23, 13:51] = False
        assert got["alpha"][:, outside].max() == 0

    def test_area_and_mean_color_are_those_of_the_hair(self) -> None:
        got = mattes([True] * 3)
        np.testing.assert_allclose(got["area"], 14 * 32 / SIZE**2, rtol=0.1)
        np.testing.assert_allclose(got["mean_lab"], np.tile(HAIR_LAB, (3, 1)), atol=2)

    def test_no_hair_at_all(self) -> None:
        got = mattes([False] * 2)
        assert got["alpha"].max() == 0 and got["area"].max() == 0
        assert np.isfinite(got["mean_lab"]).all()

    def test_frames_without_a_face_have_no_matte(self) -> None:
        got = mattes([True] * 4, present=[True, True, False, True])
        assert got["alpha"][2].max() == 0 and got["area"][2] == 0
        assert all(got["alpha"][k].max() > 240 for k in (0, 1, 3))

    def test_smoothing_over_time_fills_a_frame_in_which_hair_is_missed(self) -> None:
        """… and one in which it is seen wrongly counts little."""
        hair = [True, True, False, True, True]
        middle = (2, 13, 32)
        smooth, alone = mattes(hair, smooth=1.0), mattes(hair, smooth=0.0)
        assert smooth["alpha"][middle] > 150 and alone["alpha"][middle] == 0

    def test_it_reaches_neither_across_cuts_nor_too_far(self) -> None:
        hair = [True] * 3 + [False] * 5
        cut = mattes(hair, cuts=(3,), smooth=1.0)["alpha"][:, 13, 32]
        assert cut[:3].min() > 240 and cut[3:].max() == 0
        uncut = mattes(hair, smooth=1.0)["alpha"][:, 13, 32]
        assert uncut[3] > 0 and uncut[3 + NEIGHBOURS :].max() == 0

    def test_a_part_of_the_clip_gets_the_mattes_of_the_whole(self) -> None:
        hair = [True, False, True, True, False, True]
        whole, part = mattes(hair), mattes(hair, wanted=range(2, 5))
        for name in whole:
            np.testing.assert_array_equal(part[name], whole[name][2:5])

    def test_every_frame_is_looked_at_once_and_no_more_are_kept_than_needed(self) -> None:
        p, lab = scene([True] * 12)
        asked, kept = [], []

        def look(frame: int) -> tuple[torch.Tensor, torch.Tensor]:
            asked.append(frame)
            pair = p[frame : frame + 1].clone(), lab[frame : frame + 1].clone()
            kept.append(weakref.ref(pair[1]))
            assert sum(r() is not None for r in kept) <= 2 * NEIGHBOURS + 2
            return pair

        config = MatteConfig()
        make_mattes(look, NO_COLORS, track_of([True] * 12), range(1, 12), range(3, 9), GRID, config)
        assert sorted(asked) == list(range(1, 11))

    def test_the_middle_of_the_face_is_never_hair(self) -> None:
        everywhere = one_label(Label.HAIR, 0.97, (SIZE, SIZE))
        lab = torch.tensor(HAIR_LAB).view(1, 3, 1, 1).repeat(1, 1, SIZE, SIZE)
        config, one = MatteConfig(), range(1)
        got = make_mattes(
            lambda _: (everywhere, lab), NO_COLORS, track_of([True]), one, one, GRID, config
        )["alpha"][0]
        assert got[36:40, 30:34].max() == 0
        assert got[10, 32] > 240


class TestFaceParts:
    @pytest.mark.parametrize("grid", [GRID, Grid(4.0, 6.0, 0.5, 2 * SIZE, 2 * SIZE)])
    def test_they_lie_where_the_mesh_says(self, grid: Grid) -> None:
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


class ColorParser(torch.nn.Module):
    """Red is hair, green is skin, all else background. Keeps what it is shown."""

    stride = 8

    def __init__(self) -> None:
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.shown: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, image: torch.Tensor, guides: torch.Tensor) -> torch.Tensor:
        self.shown.append((image, guides))
        logits = torch.zeros(len(image), LABELS, *image.shape[2:])
        logits[:, Label.HAIR], logits[:, Label.SKIN] = 9 * image[:, 0], 9 * image[:, 1]
        logits[:, Label.CLOTHES] = -20
        return logits


class TestParseCanvas:
    """A canvas of 48 × 44 pixels: a bar of hair over a square of skin."""

    CANVAS = Canvas(32, Extent(7, 4, 9, 8), left=20.0, top=10.0, step=2.0)
    HAIR, SKIN = np.s_[:, 4:12, 12:36], np.s_[:, 14:34, 16:32]

    @classmethod
    def pictures(cls, count: int = 2) -> NDArray[Any]:
        pictures = np.zeros((count, 44, 48, 3), np.uint8)
        pictures[cls.HAIR], pictures[cls.SKIN] = (255, 0, 0), (0, 255, 0)
        return pictures

    @pytest.mark.parametrize("face_pixels", [16, 32, 80])
    def test_what_is_drawn_is_found_where_it_is(self, face_pixels: int) -> None:
        """Whatever the parser's scale."""
        parser: Any = ColorParser()
        meshes = np.stack([face_mesh(68.0, 58.0, 20.0)] * 2)
        got = parse_canvas(self.pictures(), meshes, self.CANVAS, parser, face_pixels)
        for channel, name in enumerate(("hair", "skin")):
            found, want = got[name][:, 0].numpy(), self.pictures()[..., channel] > 0
            assert got[name].shape == (2, 1, 44, 48)
            block = np.ones((1, 5, 5), bool)
            assert found[binary_erosion(want, block)].min() > 0.9
            assert found[~binary_dilation(want, block)].max() < 0.1

    @pytest.mark.parametrize("face_pixels", [16, 32, 80])
    def test_the_parser_sees_faces_at_its_own_scale_and_their_ovals(self, face_pixels: int) -> None:
        parser: Any = ColorParser()
        mesh = face_mesh(68.0, 58.0, 20.0)
        parse_canvas(self.pictures(1), mesh[None], self.CANVAS, parser, face_pixels)
        ((image, guides),) = parser.shown
        zoom = face_pixels / 32
        rows, columns = image.shape[2:]
        assert rows % 8 == columns % 8 == 0
        assert 44 * zoom <= rows < 44 * zoom + 8 and 48 * zoom <= columns < 48 * zoom + 8
        oval = guides[0, 1]
        y, x = torch.meshgrid(torch.arange(rows) + 0.5, torch.arange(columns) + 0.5, indexing="ij")
        middle = [float((oval * at).sum() / oval.sum()) for at in (x, y)]
        # The face is at (68 − 20) / 2 and (58 − 10) / 2 of the canvas.
        np.testing.assert_allclose(middle, [24 * zoom, 24 * zoom], atol=0.7)
        assert (guides[0, 0] == 0.5).all(), "of the silhouette nothing is known"


def test_frames_are_parsed_alike_however_many_there_are() -> None:
    """A few at a time, as networks for large pictures need much memory."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (19, 32, 40, 3), dtype=np.uint8)
    meshes = np.stack([face_mesh(20.0, 16.0, 8.0)] * 19)
    region = HeadRegion(0.0, 0.0, 1.0, 32, 40)
    parser: Any = ColorParser()

    def segmenter(image: NDArray[Any]) -> NDArray[Any]:
        return image[..., 2].astype(np.float32) / 255

    blue: Any = segmenter
    together = parse(frames, meshes, region, parser, blue)
    assert together.shape == (19, 5, 32, 40)
    assert max(len(image) for image, _ in parser.shown) < 19
    for row in (0, 7, 8, 18):
        alone = parse(frames[row : row + 1], meshes[row : row + 1], region, parser, blue)
        np.testing.assert_array_equal(alone[0], together[row])


def test_a_face_too_small_to_see_hair_is_refused() -> None:
    for size in (0, 48, 512):
        assert MatteConfig(size=size).size == size
    with pytest.raises(InvalidSetting, match=r"matte.size = 47 is too small.*0 or 48"):
        MatteConfig(size=47)


# ---- stages


class TestRegionStage:
    """Of faces whose crops are 56 pixels wide, their centres 2.6 pixels above them."""

    def region(
        self, places: list[tuple[float, float, float] | None], size: tuple[int, int] = (400, 300)
    ) -> HeadRegion:
        track = InMemory(face_track(places, Box(72.0, 69.4, 56.0)))
        return stages.region(track, clip_of(*size, range(len(places))), 28, 16)

    def test_it_reaches_around_every_face_that_there_is(self) -> None:
        got = self.region([None, (100.0, 100.0, 20.0), (140.0, 100.0, 20.0)])
        assert (got.step, got.height, got.width) == pytest.approx((2.0, 80, 96))
        assert (got.left, got.top) == pytest.approx((27.2, 24.6))

    def test_it_ends_with_the_frame(self) -> None:
        got = self.region([(100.0, 100.0, 20.0)], size=(130, 100))
        assert (got.height, got.width) == (48, 64)


class Segmenter:
    """In MediaPipe's place: what is blue is the person."""

    made: list["Segmenter"]

    def __init__(self) -> None:
        self.open = True
        Segmenter.made.append(self)

    def __call__(self, picture: NDArray[Any]) -> NDArray[Any]:
        return picture[..., 2].astype(np.float32) / 255

    def close(self) -> None:
        self.open = False


class TestLabelsStage:
    """Three frames with a square of hair, a face and a person each at a place of its own."""

    REGION = HeadRegion(4.0, 2.0, 1.0, 32, 40)
    PLACES = (16.0, 18.0, 8.0), None, (30.0, 18.0, 8.0)

    @pytest.fixture
    def labelled(self, monkeypatch: pytest.MonkeyPatch) -> tuple[NDArray[Any], ColorParser]:
        Segmenter.made = []
        monkeypatch.setattr(stages, "PersonSegmenter", Segmenter)
        pixels = np.zeros((3, 40, 48, 3), np.uint8)
        for k in range(3):
            pixels[k, 10:20, 8 + 10 * k : 18 + 10 * k, 0] = 255
            pixels[k, 24:34, 8 + 10 * k : 18 + 10 * k, 2] = 255
        parser: Any = ColorParser()
        track = face_track(self.PLACES, Box(2.0, 2.0, 22.4))
        planes = stages.labels(Frames.of_pixels(pixels), track, self.REGION, parser).planes
        return planes, parser

    def test_hair_and_person_are_those_of_the_frame(
        self, labelled: tuple[NDArray[Any], ColorParser]
    ) -> None:
        planes, _ = labelled
        assert planes.dtype == np.uint8 and planes.shape == (3, 5, 32, 40)
        for plane, top in ((Label.HAIR, 8), (4, 22)):
            for k, seen in enumerate(planes[:, plane]):
                rows, columns = slice(top + 2, top + 8), slice(6 + 10 * k, 12 + 10 * k)
                assert seen[rows, columns].min() > 200
                others = [seen[rows, 6 + 10 * n : 12 + 10 * n] for n in range(3) if n != k]
                assert max(other.max() for other in others) < 10

    def test_the_parser_is_shown_the_oval_of_that_frames_face(
        self, labelled: tuple[NDArray[Any], ColorParser]
    ) -> None:
        _, parser = labelled
        ((_, guides),) = parser.shown
        columns, ovals = torch.arange(40) + 0.5, guides[[0, 2], 1]
        middle = (ovals * columns).sum((1, 2)) / ovals.sum((1, 2))
        np.testing.assert_allclose(middle, [12, 26], atol=0.7)
        assert guides[1, 1].max() == 0

    def test_the_segmenter_is_closed(self, labelled: tuple[NDArray[Any], ColorParser]) -> None:
        (segmenter,) = Segmenter.made
        assert not segmenter.open


REGION = HeadRegion(0.0, 0.0, 2.0, SIZE // 2, SIZE // 2)  # the matte's grid is the frame's
assert REGION.matte_grid == GRID
BROWN, RED, BLUE, GREEN = (90, 60, 40), (230, 30, 30), (40, 60, 220), (30, 200, 60)


class TestHairColorsStage:
    """All is called hair. In frames with a face, brown is around it, its middle is red, and below
    it is a blue neck; frames without one are green."""

    def learned(
        self, present: list[bool], painted: bool = False
    ) -> tuple[ColorModels, list[Any], list[float]]:
        places = [(28.0 + k % 9, 30.0 + k % 7, 14.0) if p else None for k, p in enumerate(present)]
        track = face_track(places, Box(12.0, 16.0, 39.2))
        pixels = np.full((len(present), SIZE, SIZE, 3), BROWN, np.uint8)
        pixels[~track.present] = GREEN
        for part, color in ((MIDDLE, RED), (NECK, BLUE)) if painted else ():
            mask = face_part(part, track, range(len(present)), GRID)[:, 0].numpy()
            pixels[mask == 1] = color
        planes = np.zeros((len(present), 5, SIZE // 2, SIZE // 2), np.uint8)
        planes[:, Label.HAIR] = 255
        given: list[Any] = [InMemory(v) for v in (Frames.of_pixels(pixels), Labels(planes), track)]
        told: list[float] = []
        frames, labels, faces = given
        models = stages.hair_colors(
            frames, labels, faces, REGION, lambda done, note="": told.append(done)
        )
        return models, given, told

    @pytest.mark.parametrize("present", [[True] * 40, [k % 3 > 0 for k in range(40)]])
    def test_so_many_frames_with_a_face_are_looked_at_from_all_over_the_clip(
        self, present: list[bool]
    ) -> None:
        _, given, told = self.learned(present)
        with_face = np.flatnonzero(present)
        asked = given[0].frames_asked
        assert asked == given[1].frames_asked == given[2].frames_asked == sorted(set(asked))
        assert len(asked) == COLOR_FRAMES and set(asked) <= set(with_face)
        assert (asked[0], asked[-1]) == (with_face[0], with_face[-1])
        assert max(np.diff(np.searchsorted(with_face, asked))) <= 4
        assert told == pytest.approx([40 * (k + 1) / 12 for k in range(12)])

    def test_all_where_there_are_fewer(self) -> None:
        present = [True, False, True, True, False]
        _, given, told = self.learned(present)
        assert given[0].frames_asked == [0, 2, 3] and told[-1] == 5

    def test_the_hair_is_what_is_labelled_so_and_neither_face_nor_neck(self) -> None:
        models, _, _ = self.learned([False, True, True, False], painted=True)
        never = math.log(0.02 / math.prod(BINS))

        def likely(label: Label, color: tuple[int, int, int]) -> float:
            lab = rgb_to_lab(torch.tensor(color).view(1, 3, 1, 1) / 255)
            return float(models.log_likelihood(lab, torch.zeros(1, 1, 1, 1))[0, label, 0, 0])

        assert likely(Label.HAIR, BROWN) > never + 3
        for color in (RED, BLUE, GREEN):
            assert likely(Label.HAIR, color) == pytest.approx(never, abs=0.05)
        # At the soft borders of the face some of everything is skin, but most of its middle.
        assert likely(Label.SKIN, RED) > likely(Label.SKIN, BLUE) + 1


class TestMatteStage:
    """A bar of hair that moves to the right over a face that goes with it. With frame 5 a shot
    begins; in frame 2 the face is not found."""

    COUNT, CUT, ABSENT = 9, 5, 2
    CONFIG = MatteConfig(smooth=1.0, edge=0.03)

    @pytest.fixture
    def clip(self) -> tuple[Frames, Labels, FaceTrack]:
        places = [
            None if k == self.ABSENT else (28.0 + k, 38 + (-1.0) ** k, 14.0)
            for k in range(self.COUNT)
        ]
        track = face_track(places, Box(10.0, 15.0, 39.2), cuts=(self.CUT,))
        pixels = np.full((self.COUNT, SIZE, SIZE, 3), (200, 180, 170), np.uint8)
        planes = np.zeros((self.COUNT, 5, SIZE // 2, SIZE // 2), np.uint8)
        planes[:, Label.BACKGROUND] = 250
        for k in range(self.COUNT):
            left = 12 + 2 * k
            pixels[k, 6:20, left : left + 24] = BROWN
            bar = k, slice(None), slice(3, 10), slice(left // 2, left // 2 + 12)
            planes[bar] = 0
            planes[k, Label.HAIR, 3:10, left // 2 : left // 2 + 12] = 250
        return Frames.of_pixels(pixels), Labels(planes), track

    def rows(
        self, clip: tuple[Frames, Labels, FaceTrack], start: int, stop: int
    ) -> tuple[Frames, Labels, FaceTrack]:
        frames, labels, track = clip
        return frames.rows(start, stop), labels.rows(start, stop), track.rows(start, stop)

    def mattes(
        self,
        clip: tuple[Frames, Labels, FaceTrack],
        start: int = 0,
        stop: int = COUNT,
        first: int = 0,
        **options: Any,
    ) -> Matte:
        """Of a chunk, in a clip that is the given one from `first` on."""
        low, high = Near(NEIGHBOURS).range(start - first, stop - first, self.COUNT - first)
        seen = self.rows(clip, low + first, high + first)
        span = Span(start - first, stop - first)
        colors, config = options.get("colors", NO_COLORS), options.get("config", self.CONFIG)
        return stages.matte(*seen, colors, REGION, span, config)

    def test_the_hair_of_each_frame_is_found_where_it_is(
        self, clip: tuple[Frames, Labels, FaceTrack]
    ) -> None:
        got = self.mattes(clip)
        assert got.alpha.shape == (self.COUNT, SIZE, SIZE) and got.alpha.dtype == np.uint8
        for k in set(range(self.COUNT)) - {self.ABSENT}:
            assert got.alpha[k, 9:17, 17 + 2 * k : 31 + 2 * k].min() > 200
            assert got.alpha[k, 30:].max() == 0
        assert np.abs(got.area - got.alpha.mean((1, 2)) / 255).max() < 1e-3
        brown = rgb_to_lab(torch.tensor(BROWN).view(1, 3, 1, 1) / 255).flatten()
        seen = np.arange(self.COUNT) != self.ABSENT
        assert np.abs(got.mean_lab[seen] - brown.numpy()).max() < 15

    def test_a_frame_without_a_face_has_none(self, clip: tuple[Frames, Labels, FaceTrack]) -> None:
        got = self.mattes(clip)
        assert not got.alpha[self.ABSENT].any() and got.area[self.ABSENT] == 0

    @pytest.mark.parametrize("chunk", [1, 2, 4])
    def test_chunks_that_see_their_neighbours_do_not_show(
        self, clip: tuple[Frames, Labels, FaceTrack], chunk: int
    ) -> None:
        whole = self.mattes(clip)
        for start in range(0, self.COUNT, chunk):
            stop = min(start + chunk, self.COUNT)
            got = self.mattes(clip, start, stop)
            for name in Matte.ROWS:
                assert np.array_equal(getattr(got, name), getattr(whole, name)[start:stop])

    def test_neighbours_count(self, clip: tuple[Frames, Labels, FaceTrack]) -> None:
        one = self.rows(clip, 4, 5)
        alone = stages.matte(*one, NO_COLORS, REGION, Span(0, 1), self.CONFIG)
        assert not np.array_equal(self.mattes(clip).alpha[4:5], alone.alpha)

    def test_those_beyond_a_cut_do_not(self, clip: tuple[Frames, Labels, FaceTrack]) -> None:
        whole = self.mattes(clip)
        after = self.mattes(clip, self.CUT, self.COUNT, first=self.CUT)
        assert np.array_equal(after.alpha, whole.alpha[self.CUT :])

    def test_the_clips_colors_and_the_settings_count(
        self, clip: tuple[Frames, Labels, FaceTrack]
    ) -> None:
        hair = np.zeros((LABELS + 1, *BINS), np.float32)
        hair[Label.HAIR] = 8
        plain = self.mattes(clip).area.sum()
        assert self.mattes(clip, colors=ColorModels(hair)).area.sum() > 1.2 * plain
        smoothed = self.mattes(clip, config=MatteConfig(smooth=0.0, edge=0.03))
        assert not np.array_equal(smoothed.alpha, self.mattes(clip).alpha)


class TestOwnShare:
    """Of two faces of a size of 20 (crops of 56 pixels), at 30 and 90 from the left."""

    BOX = Box(2.0, 2.0, 56.0)
    MINE, OTHER = (30.0, 40.0, 20.0), (90.0, 40.0, 20.0)
    ROW = 38  # that of the middles of their crops

    def share(
        self,
        other: tuple[float, float, float] | None,
        mine: tuple[float, float, float] | None = MINE,
        **options: Any,
    ) -> NDArray[Any]:
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

    def test_hair_of_the_other_one_is_no_part_of_the_matte(self) -> None:
        hair, lab = scene([True])
        track = track_of([True])
        aside = face_track([FACE], track.box, (), (FACE[0] + 20, FACE[1], FACE[2] + 1))
        nowhere = torch.zeros(1, 1, SIZE, SIZE)
        models = learn_colors([(lab, hair, nowhere, nowhere)])

        def made(track: FaceTrack) -> dict[str, NDArray[Any]]:
            look = lambda frame: (hair, lab)  # noqa: E731
            return make_mattes(look, models, track, range(1), range(1), GRID, MatteConfig())

        alone, beside = made(track), made(aside)
        assert np.array_equal(beside["alpha"][..., :34], alone["alpha"][..., :34])
        assert (beside["alpha"][..., 43:] == 0).all() and (alone["alpha"][..., 43:] > 0).any()
        assert beside["area"] < alone["area"]
