"""What the golden cases do not say: conventions, invariances, and rendering beyond the square."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models.tiny import R, T, random, tiny_config, tiny_generator
from tests.tolerances import BF16, F32, TOLERANCES, gradient, relative_error
from vidhair.models.generators.stylegan3 import (
    Extent,
    FourierInput,
    Generator,
    Signal,
    StyleGAN3Config,
    layer_geometries,
    make_transform,
)

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE = 32
SEAM = 6  # pixels beside the picture's edge where the zero padding of the layers shows most
# What is left of it further inside, by the convolutions' size, as a share of the picture's range.
EQUIVARIANT = {3: 2e-2, 1: 1e-3}


@pytest.fixture(scope="module", params=[T, R], ids=["T", "R"])
def either(request: pytest.FixtureRequest) -> Generator:
    return tiny_generator(SIDE, **request.param)


@pytest.fixture(scope="module")
def translating() -> Generator:
    return tiny_generator(SIDE, **T)


@pytest.fixture(scope="module")
def rotating() -> Generator:
    return tiny_generator(SIDE, **R)


def codes(generator: Generator, count: int = 2) -> torch.Tensor:
    """W+ whose layers differ."""
    size = generator.config
    return random(count, size.num_ws, size.w_dim, seed=5)


def assert_same_inside(
    generator: Generator, got: torch.Tensor, want: Any, border: int = SEAM
) -> None:
    assert inside_error(got, want, border) < EQUIVARIANT[generator.config.conv_kernel]


def inside_error(got: torch.Tensor, want: torch.Tensor, border: int) -> float:
    assert got.shape[2:] == want.shape[2:] == (SIDE, SIDE)
    inside = (..., slice(border, -border), slice(border, -border))
    return relative_error(got[inside], want[inside], float(want.abs().max()))


def moved(x: float, y: float, angle_deg: float = 0) -> torch.Tensor:
    """What `Synthesis` takes to move its picture so."""
    return make_transform((x, y), angle_deg).inverse()


class TestGeometry:
    def test_layers_of_the_published_models(self) -> None:
        """Size and channels as in the names of the official layers of 1024² models."""
        t = StyleGAN3Config(resolution=1024)
        r = StyleGAN3Config(resolution=1024, channel_base=65536, channel_max=1024, **R)
        sizes = [36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024]
        channels = {
            t: [512, 512, 512, 512, 512, 512, 512, 323, 203, 128, 81, 51, 32, 32, 3],
            r: [1024] * 7 + [645, 406, 256, 161, 102, 64, 64, 3],
        }
        for config, want in channels.items():
            layers = layer_geometries(config)
            assert [g.result.size for g in layers] == sizes
            assert [g.result.channels for g in layers] == want

    @pytest.mark.parametrize("resolution", [16, 32, 128, 1024])
    def test_every_layer_takes_what_the_one_before_gives(self, resolution: int) -> None:
        layers = layer_geometries(tiny_config(resolution))
        for before, after in pairwise(layers):
            assert after.source == before.result
        assert layers[-1].result.size == layers[-1].result.rate == resolution
        assert [g.is_torgb for g in layers] == [False] * 14 + [True]

    def test_only_the_critical_layers_of_r_have_no_radial_filter(self) -> None:
        radial = [g.radial for g in layer_geometries(tiny_config(64, **R))]
        assert radial == [True] * 12 + [False] * 3
        assert not any(g.radial for g in layer_geometries(tiny_config(64, **T)))

    @given(
        st.tuples(*[st.integers(0, 500)] * 4),
        st.sampled_from([16, 32, 64, 128]),
        st.sampled_from([32, 128, 1024]),
    )
    def test_an_extent_at_another_rate_is_the_smallest_that_covers(
        self, sides: Any, rate: int, resolution: int
    ) -> None:
        extent = Extent(*sides).at_rate(rate, resolution)
        for pixels, samples in zip(sides, vars(extent).values(), strict=True):
            assert samples / rate >= pixels / resolution
            assert (samples - 1) / rate < pixels / resolution or samples == 0

    def test_a_negative_extent_is_refused(self) -> None:
        with pytest.raises(AssertionError, match="negative extent"):
            Extent(0, 0, -1, 0)


class TestFourierInput:
    def test_waves_are_those_of_the_plane_at_the_moved_positions(self) -> None:
        generator = tiny_generator()
        first = generator.synthesis.input.double()
        turn = random(2, 2).double()
        style = torch.cat([turn / turn.norm(dim=1, keepdim=True), random(2, 2, seed=1)], 1)
        user = torch.cat([random(2, 2, 3, seed=2), torch.tensor([[0, 0, 1.0]]).expand(2, 1, 3)], 1)
        freqs, phases = first.waves(style, user.double())
        for k, (c, s, x, y) in enumerate(style.tolist()):
            learned = torch.tensor([[c, -s], [s, c]]).double() @ torch.tensor(
                [[1, 0, -x], [0, 1, -y]]
            ).to(torch.float64)
            p = torch.tensor([0.3, -0.2, 1]).double()
            moved = learned @ user[k].double() @ p
            want = torch.sin(2 * torch.pi * (first.freqs @ moved + first.phases))
            got = torch.sin(2 * torch.pi * (freqs[k] @ p[:2] + phases[k]))
            torch.testing.assert_close(got, want, atol=1e-6, rtol=0)

    def test_frequencies_fill_the_disc_of_the_pass_band_evenly(self) -> None:
        signal = Signal(4000, 36, 16, cutoff=2.0, half_width=6.0)
        radii = FourierInput(tiny_config(), signal).freqs.norm(dim=1)
        assert radii.max() <= 2 + 1e-6
        # Half of the disc's area lies within 1/√2 of its radius.
        assert (radii < 2 / 2**0.5).float().mean() == pytest.approx(0.5, abs=0.05)


class TestMapping:
    def test_only_the_direction_of_z_counts(self) -> None:
        mapping, z = tiny_generator().mapping, random(3, 8)
        torch.testing.assert_close(mapping(z * 40), mapping(z))

    def test_all_layers_get_the_same_code(self) -> None:
        ws = tiny_generator().mapping(random(3, 8))
        assert ws.shape == (3, 16, 12)
        assert torch.equal(ws, ws[:, :1].expand_as(ws))
        assert not torch.allclose(ws[0], ws[1])

    @pytest.mark.parametrize("psi", [0, 0.5, 1, 1.5])
    def test_truncation_scales_the_distance_to_the_average(self, psi: float) -> None:
        mapping, z = tiny_generator().mapping, random(3, 8)
        mapping.w_avg.copy_(random(12, seed=1))
        full, cut = mapping(z), mapping(z, truncation_psi=psi)
        torch.testing.assert_close(cut - mapping.w_avg, (full - mapping.w_avg) * psi)

    def test_truncation_of_the_first_layers_leaves_the_others(self) -> None:
        mapping, z = tiny_generator().mapping, random(3, 8)
        full, cut = mapping(z), mapping(z, truncation_psi=0, truncation_cutoff=5)
        assert torch.equal(cut[:, 5:], full[:, 5:])
        assert torch.equal(cut[:, :5], mapping.w_avg.expand(3, 5, -1))

    def test_a_conditional_generator_asks_for_its_condition(self) -> None:
        mapping, z = tiny_generator(c_dim=3).mapping, random(2, 8)
        with pytest.raises(AssertionError, match="needs c"):
            mapping(z)
        one, other = mapping(z, torch.eye(3)[:2]), mapping(z, torch.eye(3)[1:])
        assert not torch.allclose(one, other)


class TestPicture:
    @pytest.mark.parametrize("kind", [T, R], ids=["T", "R"])
    @pytest.mark.parametrize("resolution", [16, 64])
    def test_shape(self, kind: Any, resolution: int) -> None:
        images = tiny_generator(resolution, **kind)(random(2, 8))
        assert images.shape == (2, 3, resolution, resolution) and images.dtype == F32
        assert images.isfinite().all() and images.std() > 1e-3
        assert not torch.allclose(images[0], images[1], atol=1e-3)

    def test_other_depths_and_channels(self) -> None:
        generator = tiny_generator(num_layers=6, mapping_layers=4, img_channels=4)
        assert generator.config.num_ws == 8
        assert generator(random(1, 8)).shape == (1, 4, 16, 16)

    def test_each_picture_of_a_batch_is_its_own(self, either: Any) -> None:
        ws = codes(either, 3)
        transforms = torch.stack([moved(0, 0), moved(0.1, -0.2), moved(-0.3, 0.1, 25)])
        together = either.synthesis(ws, transform=transforms)
        for k in range(3):
            alone = either.synthesis(ws[k : k + 1], transform=transforms[k])
            assert relative_error(together[k : k + 1], alone) < 1e-5

    def test_a_wrong_number_of_codes_is_refused(self, translating: Any) -> None:
        with pytest.raises(AssertionError, match="generator of 16"):
            translating.synthesis(codes(translating)[:, :15])

    def test_styles_say_all_that_codes_say(self, either: Any) -> None:
        ws, synthesis = codes(either), either.synthesis
        assert torch.equal(synthesis.render_styles(synthesis.styles(ws)), synthesis(ws))

    def test_every_layer_has_a_say(self, either: Any) -> None:
        ws = codes(either, 1).requires_grad_()
        either.synthesis(ws)[..., 9:23, 9:23].square().sum().backward()
        felt = gradient(ws).norm(dim=2)[0]
        # The Fourier features of an untrained generator do not turn with w0 yet.
        assert felt[0] == 0 and (felt[1:] > 0).all()

    def test_the_size_of_a_style_cancels(self, either: Any) -> None:
        styles = either.synthesis.styles(codes(either))
        scaled = [styles[0], *(s * 3 for s in styles[1:-1]), styles[-1]]
        render = either.synthesis.render_styles
        assert relative_error(render(scaled), render(styles)) < 1e-4

    def test_the_size_of_a_weight_cancels(self) -> None:
        generator = tiny_generator()
        ws = codes(generator)
        before = generator.synthesis(ws)
        for layer in generator.synthesis.layers[:-1]:
            layer.weight.mul_(5)
        assert relative_error(generator.synthesis(ws), before) < 1e-4

    def test_rendering_leaves_the_generator_alone(self) -> None:
        generator = tiny_generator()
        before = {n: t.clone() for n, t in generator.state_dict().items()}
        generator(random(2, 8))
        assert all(torch.equal(t, before[n]) for n, t in generator.state_dict().items())

    def test_magnitudes_are_followed_only_while_training(self) -> None:
        generator = tiny_generator()
        layer = generator.synthesis.layers[3]
        layer.magnitude_beta = 0.5
        generator(random(2, 8))
        assert layer.magnitude_ema != 1
        assert generator.synthesis.layers[4].magnitude_ema == 1

    @pytest.mark.parametrize("canvas", [Extent(), Extent(5, 0, 3, 9)])
    def test_fast_ops_draw_what_the_reference_draws(self, either: Any, canvas: Any) -> None:
        ws = codes(either)
        options = {"transform": moved(0.1, 0.05, 10), "canvas": canvas}
        fast = either.synthesis(ws, **options)
        slow = either.synthesis(ws, impl="reference", **options)
        assert relative_error(fast, slow) < TOLERANCES["synthesis", F32]

    def test_bfloat16_is_close_to_float32(self, either: Any) -> None:
        ws = codes(either)
        short, full = either.synthesis(ws, dtype=BF16), either.synthesis(ws)
        assert short.dtype == F32
        assert 0 < relative_error(short, full) < TOLERANCES["synthesis", BF16]


class TestTransform:
    def test_make_transform_turns_then_moves(self) -> None:
        right, down = torch.tensor([1.0, 0, 1]).double(), torch.tensor([0, 1.0, 1]).double()
        m = make_transform((0.5, -0.25), 90, 2)
        torch.testing.assert_close(m @ right, torch.tensor([0.5, -2.25, 1]).double())  # up
        torch.testing.assert_close(m @ down, torch.tensor([2.5, -0.25, 1]).double())  # right

    @pytest.mark.parametrize(("x", "y"), [(8, 4), (-4, 8), (6, -2)])
    def test_the_inverse_of_a_movement_moves_the_picture(self, either: Any, x: int, y: int) -> None:
        ws = codes(either)
        plain = either.synthesis(ws)
        got = either.synthesis(ws, transform=moved(x / SIDE, y / SIDE))
        assert_same_inside(either, got, plain.roll((y, x), (2, 3)), SEAM + 8)
        assert inside_error(got, plain.roll((-y, -x), (2, 3)), SEAM + 8) > 0.1

    def test_positive_angles_turn_the_picture_counter_clockwise(self, rotating: Any) -> None:
        ws = codes(rotating)
        plain, got = rotating.synthesis(ws), rotating.synthesis(ws, transform=moved(0, 0, 90))
        assert_same_inside(rotating, got, plain.rot90(1, (2, 3)))

    def test_the_stored_transform_is_the_default(self, translating: Any) -> None:
        generator = tiny_generator(SIDE, **T)
        generator.synthesis.input.transform.copy_(moved(0.25, 0))
        ws = codes(generator)
        want = translating.synthesis(ws, transform=moved(0.25, 0))
        assert relative_error(generator.synthesis(ws), want) < 1e-5

    def test_the_learned_transform_acts_as_one_given(self, translating: Any) -> None:
        x, y, angle = 0.2, -0.1, math.radians(30)
        generator = tiny_generator(SIDE, **T)
        learned = torch.tensor([math.cos(angle), math.sin(angle), x, y])
        generator.synthesis.input.affine.bias.copy_(learned * 3)  # its length is normalised
        ws = codes(generator)
        want = translating.synthesis(ws, transform=moved(x, y, 30))
        assert relative_error(generator.synthesis(ws), want) < 1e-4

    def test_frequencies_too_high_for_the_grid_vanish(self, translating: Any) -> None:
        """A picture made much smaller fades out rather than alias."""
        source = translating.synthesis.input
        style = source.style(torch.zeros(1, 12))
        tiny = make_transform((0, 0), 0, scale=0.01).inverse()
        # No more than a few frequencies near zero may be left of a hundredfold reduction.
        left = source(style, tiny, Extent()).abs().mean()
        assert left < 0.05 * source(style, None, Extent()).abs().mean()


class TestCanvas:
    EXTENTS = (Extent(8, 4, 16, 12), Extent(right=5), Extent(top=7, left=3), Extent(bottom=20))

    @pytest.mark.parametrize("canvas", EXTENTS, ids=str)
    def test_the_inside_of_a_canvas_is_the_plain_picture(self, either: Any, canvas: Any) -> None:
        ws = codes(either)
        plain, wide = either.synthesis(ws), either.synthesis(ws, canvas=canvas)
        height, width = canvas.top + SIDE + canvas.bottom, canvas.left + SIDE + canvas.right
        assert wide.shape == (2, 3, height, width)
        square = wide[..., canvas.top : canvas.top + SIDE, canvas.left : canvas.left + SIDE]
        assert_same_inside(either, square, plain)

    def test_beyond_the_square_the_canvas_shows_what_a_moved_picture_shows(
        self, either: Any
    ) -> None:
        ws, canvas = codes(either), Extent(16, 8, 0, 0)
        turn = make_transform((0.05, 0.1), 15)
        wide = either.synthesis(ws, canvas=canvas, transform=turn.inverse())
        shift = make_transform((16 / SIDE, 8 / SIDE), 0)
        shifted = either.synthesis(ws, transform=(shift @ turn).inverse())
        assert_same_inside(either, wide[..., :SIDE, :SIDE], shifted)


class TestHalves:
    """Between which hairstyles are blended."""

    TURN = make_transform((0.1, -0.05), 12).inverse().float()

    @pytest.mark.parametrize(
        ("resolution", "layer"), [(1024, 3), (512, 3), (256, 4), (128, 5), (32, 11)]
    )
    def test_they_meet_at_the_last_layer_of_rate_32(self, resolution: int, layer: int) -> None:
        with torch.device("meta"):
            synthesis = Generator(StyleGAN3Config(resolution=resolution)).synthesis
        assert synthesis.halfway_layer == layer
        assert synthesis.geometries[layer].result.rate == 32
        assert synthesis.halfway_codes == layer + 2

    @pytest.mark.parametrize("canvas", [Extent(), Extent(8, 4, 16, 12)], ids=str)
    @pytest.mark.parametrize("pictures", [None, 1])
    def test_untouched_between_them_the_picture_is_the_same_bit_for_bit(
        self, either: Any, canvas: Extent, pictures: int | None
    ) -> None:
        synthesis, ws = either.synthesis, codes(either)
        memory = None
        if pictures:
            memory = pictures * synthesis._course(canvas, torch.float32, None).plan.bytes
        placed: Any = {"transform": self.TURN, "canvas": canvas, "memory": memory}
        styles = synthesis.styles(ws)
        half = synthesis.halfway(styles, **placed)
        assert torch.equal(synthesis.finished(half, styles, **placed), synthesis(ws, **placed))

    def test_with_little_memory_the_second_half_goes_in_tiles(self) -> None:
        generator = tiny_generator(128)
        synthesis, ws = generator.synthesis, codes(generator)
        styles, half = synthesis.styles(ws), synthesis.halfway(synthesis.styles(ws))
        little = synthesis._course(Extent(), torch.float32, None).plan.bytes // 3
        assert len(synthesis._course(Extent(), torch.float32, little).plan.tiles) > 1
        got, want = synthesis.finished(half, styles, memory=little), synthesis(ws)
        assert relative_error(got, want) < TOLERANCES["synthesis", F32]

    def test_codes_beyond_the_first_half_do_not_change_it(self, either: Any) -> None:
        synthesis, ws = either.synthesis, codes(either)
        other = ws.clone()
        other[:, synthesis.halfway_codes :] += 1
        (one,), (two,) = (synthesis.halfway(synthesis.styles(x)) for x in (ws, other))
        assert torch.equal(one, two)
        other[:, synthesis.halfway_codes - 1] += 1
        (three,) = synthesis.halfway(synthesis.styles(other))
        assert not torch.equal(one, three)

    def test_samples_lie_where_they_are_drawn(self) -> None:
        """What is changed around one of them changes the picture around its place."""
        generator = tiny_generator(128, **R)
        synthesis, canvas = generator.synthesis, Extent(16, 32, 0, 8)
        styles = synthesis.styles(codes(generator, 1))
        (half,) = synthesis.halfway(styles, canvas=canvas)
        (places,) = synthesis.halfway_places(torch.eye(3)[None], canvas)
        assert half.shape[2:] == places.shape[1:3]
        row, column = 30, 20
        changed = half.clone()
        changed[..., row, column] *= 2
        drawn = [synthesis.finished((x,), styles, canvas=canvas) for x in (half, changed)]
        weight = (drawn[1] - drawn[0]).square().sum((0, 1)).double()
        y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in weight.shape), indexing="ij")
        centre = torch.stack([(axis * weight).sum() / weight.sum() for axis in (x, y)])
        want = (places[0, row, column] + 0.5) * 128 + torch.tensor([canvas.left, canvas.top])
        assert (centre - want).abs().max() < 1.5, "samples are four pixels apart"
