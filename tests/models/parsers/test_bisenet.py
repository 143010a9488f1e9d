"""The BiSeNet parsers, tiny."""

import pytest
import torch

from tests.models.tiny import random, seeded
from vidhair.models.parsers.bisenet import (
    HAIRCLIP_LABELS,
    CelebAMaskLabel,
    CelebAMaskParser,
    HairClipLabel,
    HairClipParser,
    imagenet_normalised,
    magnified,
)

WIDTHS = (4, 8, 8, 12)


@pytest.fixture
def celebamask() -> CelebAMaskParser:
    return seeded(lambda: CelebAMaskParser(widths=WIDTHS))


@pytest.fixture
def hairclip() -> HairClipParser:
    return seeded(lambda: HairClipParser(widths=WIDTHS))


def test_labels() -> None:
    assert list(CelebAMaskLabel) == list(range(19)) and int(CelebAMaskLabel.HAIR) == 17
    assert (HairClipLabel.HAIR, HairClipLabel.EAR) == (10, 6)
    assert max(HairClipLabel) < HAIRCLIP_LABELS


def test_shapes_at_any_size(celebamask: CelebAMaskParser, hairclip: HairClipParser) -> None:
    image = random(2, 3, 64, 98)
    assert celebamask(image).shape == (2, 19, 64, 98)
    assert all(x.shape == (2, 19, 64, 98) for x in celebamask.training_logits(image))
    assert hairclip(image).shape == (2, 16, 32, 49)


def test_rows_do_not_mix(celebamask: CelebAMaskParser, hairclip: HairClipParser) -> None:
    images = random(3, 3, 64, 64)
    for parser in (celebamask, hairclip):
        alone = torch.cat([parser(image[None]) for image in images])
        torch.testing.assert_close(parser(images), alone)


def test_the_first_of_the_training_logits_are_the_answer(celebamask: CelebAMaskParser) -> None:
    image = random(1, 3, 64, 64)
    first, *others = celebamask.training_logits(image)
    assert torch.equal(first, celebamask(image))
    assert not any(torch.allclose(first, other) for other in others)


def test_odd_sides_are_refused(hairclip: HairClipParser) -> None:
    for height, width in ((63, 64), (64, 63), (63, 63)):
        with pytest.raises(AssertionError, match="odd sides"):
            hairclip(random(1, 3, height, width))


def test_the_mean_of_imagenet_becomes_zero() -> None:
    mean = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 2 - 1
    torch.testing.assert_close(imagenet_normalised(mean), torch.zeros(1, 3, 1, 1))
    one = imagenet_normalised(torch.ones(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(one, torch.tensor([2.2489, 2.4286, 2.6400]), rtol=0, atol=1e-4)


def test_magnified_logits_repeat() -> None:
    logits = random(1, 2, 4, 4)
    assert torch.equal(magnified(logits, 8), logits.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert magnified(logits).shape == (1, 2, 1024, 1024)
