import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import random
from vidhair.models.faces.landmarks import FACE_OVAL, POINTS
from vidhair.models.parsers.face_parser import (
    UNKNOWN,
    FaceParser,
    FaceParserConfig,
    Label,
    face_oval_mask,
    polygon_mask,
)


@pytest.fixture(scope="module")
def parser() -> FaceParser:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return FaceParser(FaceParserConfig(widths=(4, 6, 8))).eval().requires_grad_(False)


@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 8, 10)])
def test_stride_is_what_the_coarsest_scale_needs(widths: tuple[int, ...]) -> None:
    parser = FaceParser(FaceParserConfig(widths=widths)).eval()
    assert parser.stride == 2 ** (len(widths) - 1)
    maps = parser.features(random(1, 3, 16, 32))
    assert [m.shape[1] for m in maps] == list(widths)
    assert maps[0].shape[2:] == (16, 32)
    assert maps[-1].shape[2:] == (16 // parser.stride, 32 // parser.stride)


@pytest.mark.parametrize("size", [(4, 4), (8, 20), (32, 12)])
def test_a_logit_per_label_and_pixel_at_any_size(parser: FaceParser, size: tuple[int, int]) -> None:
    logits = parser(random(2, 3, *size))
    assert logits.shape == (2, len(Label), *size) and logits.isfinite().all()


def test_no_guides_are_guides_that_do_not_know(parser: FaceParser) -> None:
    image = random(1, 3, 16, 16).clamp(-1, 1)
    unknown = torch.full((1, 2, 16, 16), UNKNOWN)
    assert torch.equal(parser(image), parser(image, unknown))


def test_guides_count_from_minus_one_to_one_as_the_picture_does(parser: FaceParser) -> None:
    """Middle grey and not knowing are both nothing to an untrained parser without biases."""
    grey = torch.zeros(1, 3, 16, 16)
    assert not any(m.any() for m in parser.features(grey))
    ends = [parser.features(grey, torch.full((1, 2, 16, 16), v))[0] for v in (0.0, 1.0)]
    assert all(m.any() for m in ends)


@pytest.mark.parametrize("guide", [0, 1], ids=["person", "face oval"])
def test_each_guide_has_a_say(parser: FaceParser, guide: int) -> None:
    image, guides = random(1, 3, 16, 16).clamp(-1, 1), torch.zeros(1, 2, 16, 16)
    before = parser(image, guides)
    guides[:, guide] = 1
    assert not torch.allclose(parser(image, guides), before, atol=1e-3)


def test_a_picture_moved_by_whole_strides_moves_its_labels(parser: FaceParser) -> None:
    image, guides = random(1, 3, 64, 64), random(1, 2, 64, 64, seed=1).clamp(0, 1)
    logits = parser(image, guides)
    moved = parser(image.roll((8, -4), (2, 3)), guides.roll((8, -4), (2, 3)))
    inside = np.s_[..., 28:-28, 28:-28]
    want = logits.roll((8, -4), (2, 3))[inside]
    torch.testing.assert_close(moved[inside], want, rtol=1e-4, atol=1e-5)


side = st.floats(1, 20)


class TestPolygonMask:
    @given(st.tuples(st.floats(0, 10), st.floats(0, 10)), side, side)
    def test_area_of_a_rectangle(
        self, corner: tuple[float, float], width: float, height: float
    ) -> None:
        (x, y), far = corner, (corner[0] + width, corner[1] + height)
        points = np.array([(x, y), (far[0], y), far, (x, far[1])])
        mask = polygon_mask(points, 34, 32)
        assert mask.shape == (34, 32) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1
        # Every side is known to a quarter of a pixel.
        assert mask.sum() == pytest.approx(width * height, abs=0.5 * (width + height) + 0.25)

    def test_inside_and_outside(self) -> None:
        mask = polygon_mask(np.array([(4, 2), (12, 2), (12, 10), (4, 10)]), 16, 20)
        assert np.all(mask[2:10, 4:12] == 1)
        assert np.all(mask[:2] == 0) and np.all(mask[11:] == 0)
        assert np.all(mask[:, :4] == 0) and np.all(mask[:, 13:] == 0)

    def test_a_slanted_edge_is_soft(self) -> None:
        triangle = polygon_mask(np.array([(0, 0), (16, 0), (0, 16)]), 16, 16)
        diagonal = triangle[np.arange(16), 15 - np.arange(16)]
        assert np.all((diagonal > 0.3) & (diagonal < 0.85))

    def test_either_way_round_is_the_same(self) -> None:
        points = np.array([(3.3, 2.1), (14.8, 5.2), (10.1, 13.7), (2.2, 9.9)])
        assert np.array_equal(polygon_mask(points, 16, 16), polygon_mask(points[::-1], 16, 16))

    def test_what_lies_beyond_the_picture_is_cut_off(self) -> None:
        mask = polygon_mask(np.array([(-20, -20), (8, -20), (8, 40), (-20, 40)]), 16, 16)
        assert np.all(mask[:, :8] == 1) and np.all(mask[:, 9:] == 0)
        assert not polygon_mask(np.array([(40, 0), (50, 0), (50, 9)]), 16, 16).any()


def test_the_face_oval_takes_only_the_points_of_the_oval() -> None:
    mesh = np.random.default_rng(0).uniform(-100, 100, (POINTS, 2))
    angle = np.arange(len(FACE_OVAL)) / len(FACE_OVAL) * 2 * np.pi
    mesh[list(FACE_OVAL)] = np.stack([20 + 9 * np.sin(angle), 24 - 12 * np.cos(angle)], 1)
    y, x = np.mgrid[:48, :40] + 0.5
    distance = np.hypot((x - 20) / 9, (y - 24) / 12)
    mask = face_oval_mask(mesh, 48, 40)
    assert np.all(mask[distance < 0.85] == 1) and np.all(mask[distance > 1.15] == 0)
