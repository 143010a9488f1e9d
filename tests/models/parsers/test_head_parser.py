"""A published parser's many labels as the flow's four."""

import pytest
import torch

from tests.models.tiny import random, seeded
from tests.tolerances import gradient
from vidhair.models.parsers.bisenet import (
    CelebAMaskLabel,
    CelebAMaskParser,
    HairClipLabel,
    HairClipParser,
    imagenet_normalised,
)
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import GROUPS, HeadParser

pytestmark = pytest.mark.usefixtures("one_thread")

NETWORKS = {"19 labels": CelebAMaskParser, "16 labels": HairClipParser}


@pytest.fixture(params=NETWORKS)
def parser(request: pytest.FixtureRequest) -> HeadParser:
    return HeadParser(seeded(lambda: NETWORKS[request.param](widths=(4, 8, 8, 12)))).eval()


def test_every_kind_of_network_has_its_groups() -> None:
    assert set(GROUPS) == set(NETWORKS.values())


def test_every_label_is_in_exactly_one_group(parser: HeadParser) -> None:
    assert len(parser.groups) == len(Label) and all(parser.groups)
    labels = [label for group in parser.groups for label in group]
    assert sorted(labels) == list(range(parser.network.labels))


@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_a_groups_probability_is_the_sum_over_its_labels(
    parser: HeadParser, size: tuple[int, int]
) -> None:
    image = random(2, 3, *size).tanh()
    got = parser(image).softmax(1)
    assert got.shape == (2, 4, *size)
    labels = parser.network.logits(imagenet_normalised(image)).softmax(1)
    assert labels.shape == (2, parser.network.labels, *size)
    for label, group in zip(Label, parser.groups, strict=True):
        torch.testing.assert_close(got[:, label], labels[:, group].sum(1))


def test_what_the_groups_are_called() -> None:
    """Hair is hair, and all that belongs to the head is skin."""
    head = HeadParser(CelebAMaskParser(widths=(4, 8, 8, 12)))
    named = {label: {CelebAMaskLabel(k).name for k in head.groups[label]} for label in Label}
    assert named[Label.HAIR] == {"HAIR"} and named[Label.BACKGROUND] == {"BACKGROUND"}
    assert named[Label.CLOTHES] == {"CLOTHES", "HAT", "EARRING", "NECKLACE"}
    assert {"SKIN", "NOSE", "LEFT_EAR", "NECK", "GLASSES", "MOUTH"} <= named[Label.SKIN]
    hairclip = HeadParser(HairClipParser(widths=(4, 8, 8, 12)))
    assert hairclip.groups[Label.HAIR] == [HairClipLabel.HAIR]
    assert {HairClipLabel.FACE, HairClipLabel.EAR} <= set(hairclip.groups[Label.SKIN])


def test_guides_do_not_matter(parser: HeadParser) -> None:
    image = random(1, 3, 64, 64)
    assert torch.equal(parser(image, random(1, 2, 64, 64)), parser(image))


def test_features_of_four_scales(parser: HeadParser) -> None:
    image = random(2, 3, 64, 96)
    features = parser.features(image)
    assert [tuple(f.shape[2:]) for f in features] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert parser.stride == 32, "sides that the coarsest scale divides"
    alone = parser.features(image[1:])
    for both, one in zip(features, alone, strict=True):
        torch.testing.assert_close(both[1:], one)


def test_gradients_reach_the_picture_through_the_features(parser: HeadParser) -> None:
    image = random(1, 3, 64, 64).requires_grad_()
    torch.stack([f.square().mean() for f in parser.features(image)]).sum().backward()
    assert gradient(image).abs().sum() > 0


def test_features_decide_the_answer(parser: HeadParser) -> None:
    """They are those of the backbone behind the logits, of the same picture."""
    image = random(1, 3, 64, 64)
    seen = []
    backbone = parser.network.context.backbone
    hook = backbone.register_forward_hook(lambda *call: seen.append(call[-1]))
    parser(image)
    hook.remove()
    for got, want in zip(parser.features(image)[1:], seen[0], strict=True):
        assert torch.equal(got, want)
