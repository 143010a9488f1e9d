"""StyleGAN2 that follows faces: the picture moves as StyleGAN3's does under the same transform."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import R, T, random, seeded, tiny_generator, tiny_stylegan2_config
from tests.tolerances import BF16, TOLERANCES, gradient, relative_error
from vidhair.models.generators import stylegan2
from vidhair.models.generators.aligned import SOFT_EDGE, WHOLE, AlignedGenerator, coverage, moved
from vidhair.models.generators.stylegan3 import Extent, make_transform

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
AROUND = Extent(left=3, top=2, right=5, bottom=4)


def to_face(
    translate: tuple[float, float] = (0.0, 0.0), angle_deg: float = 0, scale: float = 1
) -> torch.Tensor:
    """What a synthesis takes for a picture that is to move so, [3, 3]."""
    return make_transform(translate, angle_deg, scale).inverse().float()


def picture(count: int = 2) -> torch.Tensor:
    return random(count, 3, SIDE, SIDE)


class TestMoved:
    @pytest.mark.parametrize("transform", [None, torch.eye(3), torch.eye(3).repeat(2, 1, 1)])
    def test_unmoved_it_is_itself_and_beyond_it_the_border_goes_on(
        self, transform: torch.Tensor | None
    ) -> None:
        got = moved(picture(), transform, AROUND)
        assert got.shape == (2, 3, 2 + SIDE + 4, 3 + SIDE + 5)
        want = torch.nn.functional.pad(picture(), (3, 5, 2, 4), mode="replicate")
        torch.testing.assert_close(got, want, atol=1e-4, rtol=0)

    @pytest.mark.parametrize(("x", "y"), [(5, 0), (-4, 0), (0, 7), (3, -6)])
    def test_whole_pixels_right_and_down(self, x: int, y: int) -> None:
        got = moved(picture(), to_face((x / SIDE, y / SIDE)), WHOLE)
        inside = coverage(to_face((x / SIDE, y / SIDE))[None], WHOLE, SIDE)[0, 0] == 1
        assert inside.sum() > SIDE**2 / 3
        rolled = picture().roll((y, x), (2, 3))
        torch.testing.assert_close(got[..., inside], rolled[..., inside], atol=1e-4, rtol=0)

    @pytest.mark.parametrize("turns", [1, 2, 3])
    def test_counter_clockwise(self, turns: int) -> None:
        got = moved(picture(), to_face(angle_deg=90 * turns), WHOLE)
        torch.testing.assert_close(got, picture().rot90(turns, (2, 3)), atol=1e-4, rtol=0)

    def test_enlarged_about_the_centre(self) -> None:
        x = torch.linspace(-0.5, 0.5, 2 * SIDE + 1)[1::2].expand(1, 3, SIDE, SIDE)
        torch.testing.assert_close(moved(x, to_face(scale=2), WHOLE), x / 2)

    def test_first_turned_and_then_moved(self) -> None:
        """A spot right of the centre goes up, then right and down."""
        spot = torch.zeros(1, 1, SIDE, SIDE)
        spot[..., 15:17, 23:25] = 1  # a quarter of the side to the right
        got = moved(spot, to_face((0.25, 0.125), 90), WHOLE)
        place = got[0, 0].flatten().topk(4).indices
        assert {(int(p) // SIDE, int(p) % SIDE) for p in place} == {
            (y, x) for y in (11, 12) for x in (23, 24)
        }

    @given(
        st.tuples(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3)),
        st.floats(-180, 180),
        st.floats(0.7, 1.4),
    )
    def test_a_canvas_goes_on_beyond_each_side(
        self, translate: tuple[float, float], angle: float, scale: float
    ) -> None:
        """What lies at its corner is what a picture moved there would begin with."""
        transform = to_face(translate, angle, scale)
        got = moved(picture(), transform, AROUND)
        corner = to_face((AROUND.left / SIDE, AROUND.top / SIDE))
        want = moved(picture(), transform @ corner, WHOLE)
        torch.testing.assert_close(got[..., :SIDE, :SIDE], want, atol=1e-4, rtol=1e-4)

    def test_each_picture_has_its_own_transform(self) -> None:
        transforms = torch.stack([to_face((0.1, 0), 20), to_face((0, -0.2), -50, 1.2)])
        together = moved(picture(), transforms, AROUND)
        for row in range(2):
            alone = moved(picture()[row : row + 1], transforms[row], AROUND)
            torch.testing.assert_close(together[row : row + 1], alone)

    @pytest.mark.parametrize(
        ("config", "translate", "angle"),
        [(T, (0.125, 0.0), 0), (T, (-0.1, 0.2), 0), (R, (0.0, 0.0), 30), (R, (0.15, -0.1), -40)],
    )
    def test_it_goes_where_stylegan3_draws_it(
        self, config: dict[str, int], translate: tuple[float, float], angle: int
    ) -> None:
        synthesis = tiny_generator(SIDE, seed=1, **config).synthesis
        ws = random(1, 16, 12)
        upright = synthesis(ws, transform=torch.eye(3))
        transform = to_face(translate, angle)
        inside = coverage(transform[None], AROUND, SIDE)[0, 0] == 1
        want = synthesis(ws, transform=transform, canvas=AROUND)[..., inside]
        got = moved(upright, transform, AROUND)[..., inside]
        assert relative_error(got, want, float(want.std())) < 0.05


class TestCoverage:
    @given(
        st.tuples(st.floats(-0.4, 0.4), st.floats(-0.4, 0.4)),
        st.floats(-180, 180),
        st.floats(0.8, 1.25),
    )
    def test_it_is_where_more_than_the_border_is_shown(
        self, translate: tuple[float, float], angle: float, scale: float
    ) -> None:
        transform = to_face(translate, angle, scale)[None]
        frame = torch.ones(1, 1, SIDE, SIDE)
        frame[..., 1:-1, 1:-1] = 0
        border = moved(frame, transform, AROUND)
        covered = coverage(transform, AROUND, SIDE)
        assert covered.shape == border.shape
        assert border[covered == 1].max() < 1e-4
        assert covered[border > 0.999].max() < 1 / SOFT_EDGE

    def test_it_falls_off_within_the_edge(self) -> None:
        (row,) = coverage(torch.eye(3)[None], AROUND, SIDE)[0, :, 2 + SIDE // 2]
        want = ((torch.arange(SIDE // 2) + 0.5) / SOFT_EDGE).clamp(max=1)
        want = torch.cat([torch.zeros(3), want, want.flip(0), torch.zeros(5)])
        torch.testing.assert_close(row, want, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def generator() -> AlignedGenerator:
    generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(SIDE)))
    for block in generator.synthesis.blocks:
        for conv in block.convs:
            conv.noise_strength.fill_(1.0)
    return generator


def codes(generator: AlignedGenerator, count: int = 2) -> torch.Tensor:
    return random(count, generator.config.num_ws, generator.config.w_dim, seed=5)


class TestSynthesis:
    def test_weights_of_stylegan2_draw_the_same_without_noise(
        self, generator: AlignedGenerator
    ) -> None:
        plain = stylegan2.Generator(generator.config)
        plain.load_state_dict(generator.state_dict(), strict=True)
        ws, noise = codes(generator), plain.synthesis.no_noise()
        torch.testing.assert_close(generator.synthesis(ws), plain.synthesis(ws, noise=noise))
        assert not torch.allclose(generator.synthesis(ws), plain.synthesis(ws), atol=0.01)

    def test_the_picture_is_moved_after_it_was_drawn(self, generator: AlignedGenerator) -> None:
        ws, transform = codes(generator), to_face((0.1, 0.05), 10)
        want = moved(generator.synthesis(ws), transform, AROUND)
        assert torch.equal(generator.synthesis(ws, transform=transform, canvas=AROUND), want)
        assert want.shape == (2, 3, SIDE + 6, SIDE + 8)

    def test_bfloat16_is_close(self, generator: AlignedGenerator) -> None:
        ws, transform = codes(generator), to_face((0.1, 0.05), 10)
        placed = {"transform": transform, "canvas": AROUND}
        got = generator.synthesis(ws, **placed, dtype=torch.bfloat16)
        want = generator.synthesis(ws, **placed)
        assert got.dtype == torch.float32 and not torch.equal(got, want)
        assert relative_error(got, want) < TOLERANCES["synthesis", BF16]

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_gradients_reach_the_codes_and_what_is_tuned(self, dtype: torch.dtype) -> None:
        generator = seeded(lambda: AlignedGenerator(tiny_stylegan2_config(SIDE)))
        for layer in generator.synthesis.tunable():
            layer.requires_grad_(True)
        ws = codes(generator).requires_grad_()
        transforms = torch.stack([to_face((0.1, 0), 20), to_face((0, -0.2), -50)])
        image = generator.synthesis(ws, transform=transforms, canvas=AROUND, dtype=dtype)
        image.square().mean().backward()
        assert gradient(ws).isfinite().all() and (gradient(ws).abs().sum(2) > 0).all()
        convolutions = [n for n, _ in generator.synthesis.named_parameters() if "conv" in n]
        weights = [n for n in convolutions if n.endswith("weight")]
        assert len(weights) == 2 * (2 * len(generator.config.sizes) - 1)
        for name in weights:
            assert gradient(generator.synthesis.get_parameter(name)).abs().sum() > 0, name
        assert generator.synthesis.const.grad is None


class TestHalves:
    """Between which hairstyles are blended."""

    def test_untouched_between_them_the_picture_is_the_same_bit_for_bit(
        self, generator: AlignedGenerator
    ) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        placed: Any = {"transform": to_face((0.1, 0.05), 10), "canvas": AROUND}
        styles = synthesis.styles(ws)
        half = synthesis.halfway(styles)
        assert torch.equal(synthesis.finished(half, styles, **placed), synthesis(ws, **placed))

    def test_codes_beyond_the_first_half_do_not_change_its_features(
        self, generator: AlignedGenerator
    ) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        for first, same in ((synthesis.halfway_codes, True), (synthesis.halfway_codes - 1, False)):
            other = ws.clone()
            other[:, first:] += 1
            one, two = (synthesis.halfway(synthesis.styles(x))[0] for x in (ws, other))
            assert torch.equal(one, two) == same

    def test_samples_lie_where_they_are_moved_to(self, generator: AlignedGenerator) -> None:
        synthesis, transform = generator.synthesis, to_face((0.2, -0.1), 0)[None]
        places, again = synthesis.halfway_places(transform)
        assert places.shape == again.shape == (1, SIDE // 2, SIDE // 2, 2)
        # The aligned face moves to the right and up, and all that is in it does.
        middle = places[0].mean((0, 1))
        torch.testing.assert_close(middle, torch.tensor([0.2, -0.1]), atol=1e-4, rtol=0)
