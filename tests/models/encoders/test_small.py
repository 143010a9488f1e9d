import pytest
import torch

from tests.models.tiny import random
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig

CONFIG = SmallEncoderConfig(size=16, num_ws=5, w_dim=7, widths=(4, 6), hidden=9)


@pytest.fixture
def encoder() -> SmallEncoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SmallEncoder(CONFIG).eval().requires_grad_(False)


def test_one_code_per_layer(encoder: SmallEncoder) -> None:
    assert encoder(random(3, 3, 16, 16)).shape == (3, 5, 7)


def test_an_untrained_encoder_gives_all_layers_the_same_code(encoder: SmallEncoder) -> None:
    ws = encoder(random(3, 3, 16, 16))
    assert torch.equal(ws, ws[:, :1].expand_as(ws))
    assert not torch.allclose(ws[0], ws[1])


def test_code_and_offsets_count_in_standard_deviations_around_the_mean(
    encoder: SmallEncoder,
) -> None:
    encoder.offsets.weight.copy_(random(5 * 7, 9, seed=1))
    encoder.w_mean.copy_(random(7, seed=2))
    encoder.w_std.copy_(random(7, seed=3).abs())
    image = random(2, 3, 16, 16)
    code, offsets = encoder.split(image)
    assert code.shape == (2, 7) and offsets.shape == (2, 5, 7)
    ws = encoder(image)
    for layer in range(5):
        want = encoder.w_mean + encoder.w_std * (code + offsets[:, layer])
        torch.testing.assert_close(ws[:, layer], want)
    assert not torch.allclose(ws[:, 0], ws[:, 1])


def test_mean_and_deviation_are_stored_with_the_weights(encoder: SmallEncoder) -> None:
    assert {"w_mean", "w_std"} <= encoder.state_dict().keys()


def test_pictures_of_a_batch_do_not_mix(encoder: SmallEncoder) -> None:
    images = random(4, 3, 16, 16)
    alone = torch.cat([encoder(image[None]) for image in images])
    torch.testing.assert_close(encoder(images), alone)


def test_place_matters(encoder: SmallEncoder) -> None:
    """No pooling to one value: where something is in the crop is part of the code."""
    image = torch.zeros(1, 3, 16, 16)
    image[..., 2:6, 2:6] = 1
    assert not torch.allclose(encoder(image), encoder(image.roll(8, 3)), atol=1e-4)


def test_a_crop_of_another_size_is_refused(encoder: SmallEncoder) -> None:
    with pytest.raises(RuntimeError):
        encoder(random(1, 3, 24, 24))
