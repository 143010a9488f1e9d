"""The ReStyle loop over stand-in encoders."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, tiny_generator
from vidhair.models.encoders.restyle import average_image, restyle
from vidhair.models.generators.stylegan3 import make_transform

SIZE = 32


@pytest.fixture
def synthesis() -> Any:
    return tiny_generator(16).synthesis


@pytest.fixture
def w_avg() -> Any:
    return random(12, seed=1)


class Recorder:
    """An encoder that keeps what it sees and answers with the number of the step."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, pair: Any) -> Any:
        self.seen.append(pair)
        return torch.full((len(pair), 16, 12), float(len(self.seen)))


def test_changes_add_up_from_the_average(synthesis: Any, w_avg: Any) -> None:
    codes = restyle(random(2, 3, SIZE, SIZE), Recorder(), synthesis, w_avg, steps=3)
    assert codes.shape == (2, 3, 16, 12)
    for step, total in enumerate((1, 3, 6)):
        torch.testing.assert_close(codes[:, step], (w_avg + total).expand(2, 16, 12))


def test_the_encoder_sees_the_picture_beside_the_present_reconstruction(
    synthesis: Any, w_avg: Any
) -> None:
    image, encoder = random(2, 3, SIZE, SIZE), Recorder()
    codes = restyle(image, encoder, synthesis, w_avg, steps=3)
    assert all(torch.equal(pair[:, :3], image) for pair in encoder.seen)
    average = average_image(synthesis, w_avg, SIZE)
    assert torch.equal(encoder.seen[0][:, 3:], average.expand(2, 3, SIZE, SIZE))
    for step in (1, 2):
        shown = synthesis(codes[:, step - 1]).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(encoder.seen[step][:, 3:], shown)


def test_the_encoder_sees_aligned_faces_whatever_transform_the_generator_holds(
    synthesis: Any, w_avg: Any
) -> None:
    image = random(1, 3, SIZE, SIZE)
    straight, turned = Recorder(), Recorder()
    restyle(image, straight, synthesis, w_avg, steps=2)
    synthesis.input.transform.copy_(make_transform((0.2, 0.1), 30).inverse())
    restyle(image, turned, synthesis, w_avg, steps=2)
    for a, b in zip(straight.seen, turned.seen, strict=True):
        assert torch.equal(a, b)


def test_an_average_image_at_hand_is_used(synthesis: Any, w_avg: Any) -> None:
    image, encoder = random(1, 3, SIZE, SIZE), Recorder()
    restyle(image, encoder, synthesis, w_avg, steps=1, average=torch.ones(3, SIZE, SIZE))
    assert torch.equal(encoder.seen[0][:, 3:], torch.ones(1, 3, SIZE, SIZE))


def test_rows_do_not_mix(synthesis: Any, w_avg: Any) -> None:
    def encoder(pair: Any) -> Any:
        return pair.mean((1, 2, 3))[:, None, None].expand(-1, 16, 12)

    images = random(2, 3, SIZE, SIZE)
    together = restyle(images, encoder, synthesis, w_avg, steps=2)
    rows = [restyle(image[None], encoder, synthesis, w_avg, steps=2) for image in images]
    alone = torch.cat(rows)
    torch.testing.assert_close(together, alone)


def test_an_average_of_its_own_for_every_layer(synthesis: Any, w_avg: Any) -> None:
    each = random(16, 12)
    codes = restyle(random(1, 3, SIZE, SIZE), Recorder(), synthesis, each, steps=1)
    torch.testing.assert_close(codes[0, 0], each + 1)


def test_no_step_is_refused(synthesis: Any, w_avg: Any) -> None:
    with pytest.raises(AssertionError):
        restyle(random(1, 3, SIZE, SIZE), Recorder(), synthesis, w_avg, steps=0)
