"""What the golden cases do not say: every row on its own, cutting in two, and errors."""

import pytest
import torch
import torch.nn.functional as F

from tests.models.tiny import random, randomised, tiny_stylegan2_config
from tests.tolerances import gradient, relative_error
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan2 import (
    Canvas,
    Generator,
    ModulatedConv,
    StyleGAN2Config,
    mix_codes,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def generator() -> Generator:
    return randomised(Generator(tiny_stylegan2_config()))


def codes(generator: Generator, count: int = 2, seed: int = 5) -> torch.Tensor:
    return random(count, generator.config.num_ws, generator.config.w_dim, seed=seed)


def test_published_channels_and_codes() -> None:
    config = StyleGAN2Config(resolution=1024)
    want = [512, 512, 512, 512, 512, 256, 128, 64, 32]
    assert [config.channels(size) for size in config.sizes] == want
    assert config.num_ws == 18


def test_a_resolution_must_be_a_power_of_two() -> None:
    with pytest.raises(AssertionError, match="resolution 48"):
        StyleGAN2Config(resolution=48)


def test_modulation_equals_a_weight_per_sample() -> None:
    conv = randomised(ModulatedConv(3, 4, 5, kernel=3, demodulate=True))
    x, style = random(2, 3, 6, 7), random(2, 3, seed=1)
    got = conv.modulated(x, style)
    for k in range(2):
        weight = conv.weight * conv.gain * style[k][:, None, None]
        weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        assert relative_error(got[k : k + 1], F.conv2d(x[k : k + 1], weight, padding=1)) < 1e-5


def test_shape(generator: AlignedGenerator) -> None:
    images = generator(random(2, 8))
    assert images.shape == (2, 3, 32, 32) and images.isfinite().all()
    assert not torch.allclose(images[0], images[1], atol=1e-2)


def test_each_picture_of_a_batch_is_its_own(generator: AlignedGenerator) -> None:
    ws = codes(generator, 3)
    together = generator.synthesis(ws)
    for k in range(3):
        alone = generator.synthesis(ws[k : k + 1])
        assert relative_error(together[k : k + 1], alone) < 1e-5


def test_every_code_has_a_say(generator: AlignedGenerator) -> None:
    ws = codes(generator, 1).requires_grad_()
    generator.synthesis(ws).square().sum().backward()
    assert (gradient(ws).norm(dim=2) > 0).all()


def test_styles_say_all_that_codes_say(generator: AlignedGenerator) -> None:
    ws, synthesis = codes(generator), generator.synthesis
    assert torch.equal(synthesis.render_styles(synthesis.styles(ws)), synthesis(ws))


def test_a_wrong_number_of_codes_is_refused(generator: AlignedGenerator) -> None:
    with pytest.raises(AssertionError, match="generator of 8"):
        generator.synthesis(codes(generator)[:, :7])


class TestPrecision:
    @pytest.mark.parametrize("clamp", [None, 0.5])
    def test_in_place_or_with_gradients(self, clamp: float | None) -> None:
        """Without gradients, activations reuse the memory of what they are made of."""
        synthesis = randomised(Generator(tiny_stylegan2_config(conv_clamp=clamp))).synthesis
        ws = random(2, synthesis.config.num_ws, synthesis.config.w_dim)
        want = synthesis(ws.clone().requires_grad_())
        assert relative_error(synthesis(ws), want) < 1e-5
        loose = randomised(Generator(tiny_stylegan2_config())).synthesis
        assert (clamp is None) == (relative_error(loose(ws), want) < 1e-5)

    def test_autocast_rounds_features_and_adds_pictures_up_in_float32(
        self, generator: AlignedGenerator
    ) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        with torch.autocast("cpu", torch.bfloat16):
            half = synthesis.feature_at(ws, 16)
            image = synthesis(ws)
        assert half.feature.dtype == torch.bfloat16
        assert half.picture.dtype == image.dtype == torch.float32
        assert 0 < relative_error(image, synthesis(ws)) < 5e-2

    def test_one_style_for_a_batch(self, generator: AlignedGenerator) -> None:
        conv = generator.synthesis.blocks[1].conv0
        assert conv is not None
        x, style = random(2, conv.weight.shape[1], 5, 6), random(1, conv.weight.shape[1], seed=1)
        got = conv.modulated(x, style)
        assert torch.equal(got, conv.modulated(x, style.expand(2, -1)))


class TestNoise:
    def test_the_stored_one_is_the_default(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        assert torch.equal(synthesis(ws), synthesis(ws, noise=synthesis.stored_noise()))

    def test_none_is_noise_of_zeros(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        zeros = [torch.zeros_like(n) for n in synthesis.stored_noise()]
        assert torch.equal(synthesis(ws, noise=synthesis.no_noise()), synthesis(ws, noise=zeros))
        assert not torch.allclose(synthesis(ws, noise=zeros), synthesis(ws))

    def test_one_per_picture(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator, 1).expand(2, -1, -1), generator.synthesis
        each = [random(2, 1, *n.shape) for n in synthesis.stored_noise()]
        together = synthesis(ws, noise=each)
        assert not torch.allclose(together[0], together[1], atol=1e-2)
        second = synthesis(ws[1:], noise=[n[1:] for n in each])
        assert relative_error(together[1:], second) < 1e-5


class TestCut:
    """The F/S split."""

    @pytest.mark.parametrize("size", [4, 8, 16, 32])
    def test_the_two_parts_make_the_whole(self, generator: AlignedGenerator, size: int) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        half = synthesis.feature_at(ws, size)
        assert half.feature.shape[2:] == half.picture.shape[2:] == (size, size)
        assert torch.equal(synthesis.finish(half, ws), synthesis(ws))

    def test_going_on_in_steps(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        steps = synthesis.advance(synthesis.feature_at(ws, 8), ws, 32)
        assert torch.equal(steps.feature, synthesis.feature_at(ws, 32).feature)

    def test_only_later_codes_count_after_the_cut(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        half = synthesis.feature_at(ws, 8)
        other = codes(generator, seed=6)
        other[:, 3:] = ws[:, 3:]  # the first that conv0 of the block of 16 reads
        assert torch.equal(synthesis.finish(half, other), synthesis(ws))

    def test_without_the_picture_its_colors_are_missing(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        half = synthesis.feature_at(ws, 16)
        bare = synthesis.finish(Canvas(half.feature), ws)
        missing = synthesis.blocks[-1].torgb.enlarge(half.picture)
        assert relative_error(bare + missing, synthesis(ws)) < 1e-5

    def test_there_is_no_way_back(self, generator: AlignedGenerator) -> None:
        ws, synthesis = codes(generator), generator.synthesis
        with pytest.raises(AssertionError, match="beyond 8"):
            synthesis.advance(synthesis.feature_at(ws, 16), ws, 8)
        with pytest.raises(AssertionError, match="no block of 12"):
            synthesis.feature_at(ws, 12)


class TestMixing:
    def test_takes_codes_of_both(self) -> None:
        coarse, fine = random(2, 6, 3), random(2, 6, 3, seed=1)
        mixed = mix_codes(coarse, fine, 2)
        assert torch.equal(mixed[:, :2], coarse[:, :2])
        assert torch.equal(mixed[:, 2:], fine[:, 2:])
        assert torch.equal(mix_codes(coarse, fine, 0), fine)

    def test_a_crossover_lies_within(self) -> None:
        with pytest.raises(AssertionError):
            mix_codes(random(1, 6, 3), random(1, 6, 3), 7)
