"""What pixels are and what colors say of hair, on pictures drawn by hand; networks are not run."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from tests.models.tiny import random
from tests.stages.faces import face_mesh, face_track
from tests.stages.series import InMemory
from vidhair.geometry import Box, Grid
from vidhair.imaging.color import rgb_to_lab
from vidhair.models.generators.stylegan3 import Extent
from vidhair.models.parsers.face_parser import Label
from vidhair.stages import labels as stages
from vidhair.stages.labels import (
    BINS,
    COLOR_FRAMES,
    PRIOR_ZOOM,
    ColorModels,
    Labels,
    classify,
    learn_colors,
    parse,
    parse_canvas,
)
from vidhair.stages.region import MIDDLE, NECK, HeadRegion, face_part
from vidhair.stages.render import Canvas
from vidhair.types import Frames

LABELS = len(Label)


def one_label(label: Label, sure: float, shape: Any = (1, 1)) -> torch.Tensor:
    p = torch.full((1, LABELS, *shape), (1 - sure) / (LABELS - 1))
    p[:, label] = sure
    return p


NOTHING_KNOWN = torch.zeros(1, LABELS, 1, 1)
NO_NECK = torch.zeros(1, 1, 1, 1)


class TestClassify:
    @pytest.mark.parametrize("label", list(Label))
    def test_without_colors_the_parser_decides(self, label: Any) -> None:
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


def test_frames_are_parsed_alike_however_many_there_are() -> Any:
    """A few at a time, as networks for large pictures need much memory."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (19, 32, 40, 3), dtype=np.uint8)
    meshes = np.stack([face_mesh(20.0, 16.0, 8.0)] * 19)
    region = HeadRegion(0.0, 0.0, 1.0, 32, 40)
    parser: Any = ColorParser()
    segmenter: Any = lambda image: image[..., 2].astype(np.float32) / 255  # noqa: E731

    together = parse(frames, meshes, region, parser, segmenter)
    assert together.shape == (19, 5, 32, 40)
    assert max(len(image) for image, _ in parser.shown) < 19
    for row in (0, 7, 8, 18):
        alone = parse(frames[row : row + 1], meshes[row : row + 1], region, parser, segmenter)
        np.testing.assert_array_equal(alone[0], together[row])


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
    def labelled(self, monkeypatch: pytest.MonkeyPatch) -> Any:
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

    def test_hair_and_person_are_those_of_the_frame(self, labelled: Any) -> None:
        planes, _ = labelled
        assert planes.dtype == np.uint8 and planes.shape == (3, 5, 32, 40)
        for plane, top in ((Label.HAIR, 8), (4, 22)):
            for k, seen in enumerate(planes[:, plane]):
                rows, columns = slice(top + 2, top + 8), slice(6 + 10 * k, 12 + 10 * k)
                assert seen[rows, columns].min() > 200
                others = [seen[rows, 6 + 10 * n : 12 + 10 * n] for n in range(3) if n != k]
                assert max(other.max() for other in others) < 10

    def test_the_parser_is_shown_the_oval_of_that_frames_face(self, labelled: Any) -> None:
        _, parser = labelled
        ((_, guides),) = parser.shown
        columns, ovals = torch.arange(40) + 0.5, guides[[0, 2], 1]
        middle = (ovals * columns).sum((1, 2)) / ovals.sum((1, 2))
        np.testing.assert_allclose(middle, [12, 26], atol=0.7)
        assert guides[1, 1].max() == 0

    def test_the_segmenter_is_closed(self, labelled: Any) -> None:
        (segmenter,) = Segmenter.made
        assert not segmenter.open


SIZE = 64
REGION = HeadRegion(0.0, 0.0, 2.0, SIZE // 2, SIZE // 2)  # the prior's grid is the frame's
GRID = REGION.finer(PRIOR_ZOOM)
assert Grid.of_pixels(SIZE, SIZE) == GRID
BROWN, RED, BLUE, GREEN = (90, 60, 40), (230, 30, 30), (40, 60, 220), (30, 200, 60)


class TestHairColorsStage:
    """All is called hair. In frames with a face, brown is around it, its middle is red, and below
    it is a blue neck; frames without one are green."""

    def learned(self, present: list[bool], painted: bool = False) -> Any:
        places = [(28.0 + k % 9, 30.0 + k % 7, 14.0) if p else None for k, p in enumerate(present)]
        track = face_track(places, Box(12.0, 16.0, 39.2))
        pixels = np.full((len(present), SIZE, SIZE, 3), BROWN, np.uint8)
        pixels[~track.present] = GREEN
        for part, color in ((MIDDLE, RED), (NECK, BLUE)) if painted else ():
            mask = face_part(part, track, range(len(present)), GRID)[:, 0].numpy()
            pixels[mask == 1] = color
        planes = np.zeros((len(present), 5, SIZE // 2, SIZE // 2), np.uint8)
        planes[:, Label.HAIR] = 255
        given: tuple[Any, ...] = tuple(
            InMemory(v) for v in (Frames.of_pixels(pixels), Labels(planes), track)
        )
        told: list[float] = []
        models = stages.hair_colors(
            given[0], given[1], given[2], REGION, lambda done, note="": told.append(done)
        )
        return models, given, told

    @pytest.mark.parametrize("present", [[True] * 40, [k % 3 > 0 for k in range(40)]])
    def test_so_many_frames_with_a_face_are_looked_at_from_all_over_the_clip(
        self, present: Any
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

    def test_the_hair_is_what_is_labelled_so_and_neither_face_nor_neck(self) -> Any:
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


class TestClassifiedStage:
    """A bar of hair over a face in frames 0 and 2; in frame 1 there is no face."""

    TRACK = face_track([(32.0, 38.0, 14.0), None, (26.0, 40.0, 14.0)], Box(12.4, 16.6, 39.2))
    BAR = np.s_[8:18, 18:46]  # of the finer grid, which are the frame's pixels

    def levels(
        self, colors: ColorModels | None = None, weight: float = 0.8, label: Label = Label.SKIN
    ) -> NDArray[Any]:
        pixels = np.full((3, SIZE, SIZE, 3), BLUE, np.uint8)
        pixels[:, *self.BAR] = BROWN
        planes = np.zeros((3, 5, SIZE // 2, SIZE // 2), np.uint8)
        planes[:, Label.BACKGROUND] = 255
        for plane, level in ((Label.BACKGROUND, 0), (label, 255)):
            planes[:, plane, 4:9, 9:23] = level
        colors = colors or ColorModels(np.zeros((LABELS + 1, *BINS), np.float32))
        frames = Frames.of_pixels(pixels)
        return stages.classified(frames, Labels(planes), self.TRACK, colors, REGION, weight).levels

    def test_what_the_parser_calls_hair_is_likely(self) -> None:
        got = self.levels(label=Label.HAIR)
        assert got.dtype == np.uint8 and got.shape == (3, SIZE, SIZE)
        for row in (0, 2):
            assert got[row, 10:16, 20:44].min() > 180
            assert got[row, 24:].max() < 30

    def test_a_frame_without_a_face_has_no_hair(self) -> None:
        assert not self.levels(label=Label.HAIR)[1].any()

    def test_it_is_what_the_pieces_say_of_each_frame(self) -> None:
        """Colors of the frame's own pixels, and neck and face where they are in it."""
        colors = ColorModels(random(LABELS + 1, *BINS, seed=3).numpy() * np.float32(3))
        got = self.levels(colors, weight=0.6)
        neck = face_part(NECK, self.TRACK, range(3), GRID)
        face = face_part(MIDDLE, self.TRACK, range(3), GRID)
        pixels = torch.tensor(BLUE).view(1, 3, 1, 1).repeat(1, 1, SIZE, SIZE)
        pixels[..., *self.BAR] = torch.tensor(BROWN).view(1, 3, 1, 1)
        lab = rgb_to_lab(pixels / 255)
        background = torch.ones(1, 1, SIZE // 2, SIZE // 2)
        background[..., 4:9, 9:23] = 0
        probability = torch.zeros(1, LABELS, SIZE // 2, SIZE // 2)
        probability[:, Label.BACKGROUND], probability[:, Label.SKIN] = background, 1 - background
        probability = F.interpolate(probability, scale_factor=2, mode="bilinear")
        for row in (0, 2):
            one = slice(row, row + 1)
            likely = colors.log_likelihood(lab, neck[one])
            want = classify(probability, likely, neck[one], 0.6) * (1 - face[one])
            np.testing.assert_allclose(got[row], want[0, 0] * 255, atol=1)

    def test_clear_colors_overrule_the_parser_as_far_as_they_count(self) -> None:
        hair = np.zeros((LABELS + 1, *BINS), np.float32)
        hair[Label.HAIR] = 7
        models = ColorModels(hair)
        plain, weak, strong = (
            float(self.levels(models, weight)[0][self.BAR].mean()) for weight in (0, 0.2, 1)
        )
        assert plain < 40 and plain + 20 < weak < strong - 20 and strong > 200

    def test_the_middle_of_the_face_is_never_hair(self) -> None:
        hair = np.zeros((LABELS + 1, *BINS), np.float32)
        hair[Label.HAIR] = 20
        got = self.levels(ColorModels(hair))
        for row, (x, y) in ((0, (32, 38)), (2, (26, 40))):
            assert got[row, y - 2 : y + 3, x - 2 : x + 3].max() == 0
            assert got[row, y - 12 : y - 10, x - 14 : x + 15].min() > 0
