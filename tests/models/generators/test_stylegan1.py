"""AdaIN, noise, and every row on its own."""

import pytest
import torch

from tests.models.tiny import random, randomised
from tests.tolerances import gradient, relative_error
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan1 import Generator, StyledLayer, StyleGAN1Config, adain

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = StyleGAN1Config(
    resolution=32, z_dim=8, w_dim=8, channel_base=128, channel_max=6, mapping_layers=2
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    return randomised(Generator(CONFIG))


def codes(count: int = 2) -> torch.Tensor:
    return random(count, CONFIG.num_ws, CONFIG.w_dim, seed=5)


def test_published_channels_and_codes() -> None:
    config = StyleGAN1Config(resolution=1024)
    want = [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [config.channels(size) for size in config.sizes] == want
    assert config.num_ws == 18


def test_adain_sets_mean_and_spread() -> None:
    style = random(2, 8)
    x = adain(random(2, 4, 9, 9, seed=1) * 5 + 3, style)
    torch.testing.assert_close(x.mean((2, 3)), style[:, 4:], atol=1e-5, rtol=1e-5)
    want = (style[:, :4] + 1).abs()
    torch.testing.assert_close(x.std((2, 3), correction=0), want, atol=1e-5, rtol=1e-4)


def test_adain_forgets_what_was_there() -> None:
    x, style = random(2, 4, 9, 9), random(2, 8, seed=1)
    assert relative_error(adain(x * 7 - 2, style), adain(x, style)) < 1e-5


def test_upsampling_interpolates_between_pixels() -> None:
    layer = StyledLayer(1, 1, 4, size=16, up=True)
    assert layer.weight is not None
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0, 1, 1] = 1 / layer.gain
        layer.affine.weight.zero_()
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    x = layer(ramp, layer.affine(torch.zeros(1, 4)), None)
    columns = x[0, 0, 4:12]
    assert relative_error(columns, columns[:1].expand_as(columns)) < 1e-5
    steps = columns[0].diff()[3:12]
    torch.testing.assert_close(steps, steps[:1].expand_as(steps))


def test_shape(generator: AlignedGenerator) -> None:
    images = generator(random(2, 8))
    assert images.shape == (2, 3, 32, 32) and images.isfinite().all()


def test_each_picture_of_a_batch_is_its_own(generator: AlignedGenerator) -> None:
    ws = codes(3)
    together = generator.synthesis(ws)
    for k in range(3):
        alone = generator.synthesis(ws[k : k + 1])
        assert relative_error(together[k : k + 1], alone) < 1e-4


def test_every_code_has_a_say(generator: AlignedGenerator) -> None:
    ws = codes(1).requires_grad_()
    generator.synthesis(ws).square().sum().backward()
    assert (gradient(ws).norm(dim=2) > 0).all()


def test_noise(generator: AlignedGenerator) -> None:
    ws, synthesis = codes(), generator.synthesis
    assert torch.equal(synthesis(ws), synthesis(ws, noise=synthesis.stored_noise()))
    still = synthesis(ws, noise=synthesis.no_noise())
    zeros = [torch.zeros_like(n) for n in synthesis.stored_noise()]
    assert torch.equal(still, synthesis(ws, noise=zeros))
    assert not torch.allclose(still, synthesis(ws), atol=1e-2)


def test_styles_say_all_that_codes_say(generator: AlignedGenerator) -> None:
    ws, synthesis = codes(), generator.synthesis
    assert torch.equal(synthesis.render_styles(synthesis.styles(ws)), synthesis(ws))


def test_a_wrong_number_of_codes_is_refused(generator: AlignedGenerator) -> None:
    with pytest.raises(AssertionError, match="generator of 8"):
        generator.synthesis(codes()[:, :7])
