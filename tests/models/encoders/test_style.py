"""The published encoders, tiny."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, seeded
from vidhair.models.encoders.heads import StyleHead
from vidhair.models.encoders.style import (
    E4eEncoder,
    GradualEncoder,
    RestyleE4eEncoder,
    RestylePspEncoder,
    SketchEncoder,
    StyleEncoderConfig,
    WEncoder,
)
from vidhair.models.skip_init import SkipInit

CONFIG: dict[str, Any] = {
    "size": 32,
    "w_dim": 8,
    "widths": (4, 5, 6, 8),
    "units": (1, 1, 1, 1),
    "num_ws": 9,
}
KINDS: dict[str, Any] = {
    "pSp": (GradualEncoder, {}),
    "e4e": (E4eEncoder, {}),
    "W": (WEncoder, {}),
    "ReStyle pSp": (RestylePspEncoder, {"in_channels": 6}),
    "ReStyle e4e": (RestyleE4eEncoder, {"in_channels": 6}),
    "ReStyle pSp, ResNet": (RestylePspEncoder, {"in_channels": 6, "backbone": "resnet34"}),
    "ReStyle e4e, ResNet": (RestyleE4eEncoder, {"in_channels": 6, "backbone": "resnet34"}),
}
PROGRESSIVE = ["e4e", "ReStyle e4e"]


def tiny(name: str) -> Any:
    kind, changes = KINDS[name]
    return seeded(lambda: kind(StyleEncoderConfig(**CONFIG | changes)))


def pictures(encoder: Any, count: int = 1) -> Any:
    return random(count, encoder.config.in_channels, 32, 32)


@pytest.mark.parametrize("name", KINDS)
class TestEveryEncoder:
    def test_a_code_per_layer_and_rows_do_not_mix(self, name: str) -> None:
        encoder = tiny(name)
        images = pictures(encoder, 3)
        codes = encoder(images)
        assert codes.shape == (3, 9, 8)
        alone = torch.cat([encoder(image[None]) for image in images])
        torch.testing.assert_close(codes, alone)
        assert not torch.allclose(codes[0], codes[1])

    def test_other_sizes_and_channels_are_refused(self, name: str) -> None:
        encoder = tiny(name)
        channels = encoder.config.in_channels
        for shape in ((1, channels, 64, 64), (1, channels, 32, 16), (1, channels + 1, 32, 32)):
            with pytest.raises(AssertionError, match="pictures"):
                encoder(random(*shape))

    def test_gradients_reach_the_picture(self, name: str) -> None:
        encoder = tiny(name)
        images = pictures(encoder).requires_grad_()
        encoder(images).square().sum().backward()
        assert images.grad.abs().sum() > 0


def test_the_published_sizes() -> None:
    """At 256², with 16 layers, from the backbones as published."""
    with SkipInit():
        for kind, changes in KINDS.values():
            channels = changes.get("in_channels", 3)
            encoder = kind(StyleEncoderConfig(num_ws=16, **changes)).eval()
            assert encoder(torch.zeros(1, channels, 256, 256)).shape == (1, 16, 512)
        assert SketchEncoder().eval()(torch.zeros(2, 1, 256, 256)).shape == (2, 18, 512)


@pytest.mark.parametrize("name", PROGRESSIVE)
class TestProgressive:
    def test_a_stage_gives_offsets_to_the_layers_up_to_it(self, name: str) -> None:
        encoder = tiny(name)
        image = pictures(encoder)
        full = encoder(image)
        for stage in (0, 1, 4, 7, 8):
            codes = encoder(image, stage=stage)
            torch.testing.assert_close(codes[:, : stage + 1], full[:, : stage + 1])
            torch.testing.assert_close(codes[:, stage + 1 :], full[:, :1].expand(-1, 8 - stage, -1))
        assert not torch.allclose(full[:, 1], full[:, 0])

    def test_later_stages_than_layers_are_the_last(self, name: str) -> None:
        encoder = tiny(name)
        image = pictures(encoder)
        assert torch.equal(encoder(image, stage=18), encoder(image))


def test_w_encoder_gives_all_layers_one_code() -> None:
    encoder = tiny("W")
    codes = encoder(pictures(encoder))
    assert torch.equal(codes, codes[:, :1].expand_as(codes))


@pytest.mark.parametrize(
    ("stage_of_features", "layers"), [(-1, range(9)), (-2, range(3, 9)), (-3, range(7, 9))]
)
def test_which_layers_look_at_which_features(stage_of_features: int, layers: Any) -> None:
    """Coarse features reach all layers of the pyramid; fine ones the last layers only."""
    encoder = tiny("pSp")
    image = pictures(encoder)
    before = encoder(image)
    tapped = encoder.taps(image, encoder.pyramid_taps)
    tapped[3 + stage_of_features] = tapped[3 + stage_of_features] + 1
    encoder.taps = lambda *_: tapped
    changed = (encoder(image) - before).abs().amax((0, 2)) > 0
    assert changed.nonzero().flatten().tolist() == list(layers)


class TestStyleHead:
    def test_halves_to_one_pixel(self) -> None:
        head = seeded(lambda: StyleHead(3, 5, 8))
        assert sum(isinstance(m, torch.nn.Conv2d) for m in head.convolutions) == 3
        assert head(random(2, 3, 8, 8)).shape == (2, 5)

    def test_another_size_is_refused_unless_pooled(self) -> None:
        head = seeded(lambda: StyleHead(3, 5, 8))
        with pytest.raises(AssertionError, match="wrong picture size"):
            head(random(1, 3, 16, 16))
        pooled = seeded(lambda: StyleHead(3, 5, 8, pooled=True))
        assert pooled(random(2, 3, 16, 40)).shape == (2, 5)
        x = random(2, 3, 8, 8)
        assert torch.equal(pooled(x), head(x))

    @pytest.mark.parametrize("size", [0, 1, 12])
    def test_sizes_that_cannot_be_halved_to_one(self, size: int) -> None:
        with pytest.raises(AssertionError, match="halved"):
            StyleHead(3, 5, size)


class TestSketchEncoder:
    @pytest.fixture
    def encoder(self) -> Any:
        settings: dict[str, Any] = {
            "num_ws": (3, 2, 1),
            "w_dim": 5,
            "widths": (4, 5, 6),
            "units": (1, 1, 1),
        }
        return seeded(lambda: SketchEncoder(**settings))

    def test_rows_do_not_mix(self, encoder: SketchEncoder) -> None:
        sketches = random(3, 1, 32, 32)
        codes = encoder(sketches)
        assert codes.shape == (3, 6, 5)
        alone = torch.cat([encoder(sketch[None]) for sketch in sketches])
        torch.testing.assert_close(codes, alone)

    def test_the_first_codes_come_from_the_deepest_features(self, encoder: SketchEncoder) -> None:
        sketch = random(1, 1, 32, 32)
        before = encoder(sketch)
        encoder.get_parameter("backbone.blocks.2.main.4.bias").add_(
            1
        )  # the last block: features at 1/8
        changed = (encoder(sketch) - before).abs().amax((0, 2)) > 0
        assert changed.tolist() == [True] * 3 + [False] * 3
