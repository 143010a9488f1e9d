"""StyleGANEX as a whole, tiny: sizes, skips, styles, labels, configuration."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from tests.models.tiny import TINY_STYLEGANEX, random, tiny_styleganex
from tests.tolerances import relative_error
from vidhair.models.generators.stylegan2 import Generator, mix_codes
from vidhair.models.styleganex.network import (
    LAYOUT_CODES,
    Layout,
    StyleGANEX,
    StyleGANEXConfig,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = TINY_STYLEGANEX
SCALE = 4  # sides of the input per side of the picture


@pytest.fixture(scope="module")
def network() -> StyleGANEX:
    return tiny_styleganex()


def pictures(height: int = 32, width: int = 48, count: int = 2, channels: int = 3) -> Any:
    return random(count, channels, height, width, seed=height + channels)


class TestPictures:
    @pytest.mark.parametrize("size", [(32, 32), (40, 64), (72, 8), (8, 8)])
    def test_a_picture_of_any_size(self, network: StyleGANEX, size: tuple[int, int]) -> None:
        ws, layout = network.encode(pictures(*size))
        assert ws.shape == (2, CONFIG.generator.num_ws, 16)
        assert layout.feature.shape == (2, 8, size[0] // 8, size[1] // 8)
        assert network.render(layout, ws).shape == (2, 3, size[0] // SCALE, size[1] // SCALE)

    @pytest.mark.parametrize("shape", [(1, 3, 32, 36), (1, 3, 36, 32), (1, 1, 32, 32)])
    def test_other_sides_and_channels_are_refused(
        self, network: StyleGANEX, shape: tuple[int, int, int, int]
    ) -> None:
        for encode in (network.encode, network.encode_style, network.encode_layout):
            with pytest.raises(AssertionError, match="divisible by 8"):
                encode(torch.zeros(shape))

    def test_the_constant_as_layout_gives_stylegan2(self, network: StyleGANEX) -> None:
        """G(f0↑, w+) = G0(w+)."""
        plain = Generator(CONFIG.generator)
        plain.load_state_dict(network.generator.state_dict())
        ws = network.encode_style(pictures())
        constant = network.synthesis.const.repeat_interleave(8, 1).repeat_interleave(8, 2)
        got = network.render(Layout(constant.expand(2, -1, -1, -1)), ws)
        assert relative_error(got, plain.synthesis(ws)) < 1e-5

    def test_one_pass_gives_what_two_give(self, network: StyleGANEX) -> None:
        image = pictures()
        ws, layout = network.encode(image)
        torch.testing.assert_close(network.encode_style(image), ws)
        alone = network.encode_layout(image)
        torch.testing.assert_close(alone.feature, layout.feature)
        torch.testing.assert_close(alone.skips, layout.skips)

    def test_codes_are_relative_to_the_average(self, network: StyleGANEX) -> None:
        face = pictures()
        codes = network.encode_style(face) - network.w_avg
        torch.testing.assert_close(codes, network.encoder(face))

    def test_one_style_serves_many_frames(self, network: StyleGANEX) -> None:
        frames, face = pictures(), pictures(64, 64, 1)
        style = network.encode_style(face)
        together = network.render(network.encode_layout(frames), style)
        for k in range(2):
            alone = network.render(network.encode_layout(frames[k : k + 1]), style)
            assert relative_error(together[k : k + 1], alone) < 1e-5
        assert not torch.allclose(together[0], together[1])

    def test_layout_and_style_both_count(self, network: StyleGANEX) -> None:
        ws, layout = network.encode(pictures())
        other_ws, other = network.encode(pictures().flip(0))
        image = network.render(layout, ws)
        assert not torch.allclose(network.render(layout, other_ws), image, atol=1e-3)
        assert not torch.allclose(network.render(other, ws), image, atol=1e-3)

    def test_gradients_reach_both_pictures(self, network: StyleGANEX) -> None:
        frame, face = pictures().requires_grad_(), pictures(64, 64).requires_grad_()
        network.render(network.encode_layout(frame), network.encode_style(face)).sum().backward()
        assert frame.grad.abs().sum() > 0 and face.grad.abs().sum() > 0

    def test_reduced(self, network: StyleGANEX) -> None:
        picture = random(1, 3, 512, 768)
        cells = picture.unflatten(3, (256, 3)).unflatten(2, (256, 2))
        torch.testing.assert_close(network.reduced(picture), cells.mean((3, 5)))
        with torch.device("meta"):
            large = StyleGANEX(replace(CONFIG, resolution=1024, channel_base=1024))
        assert large.reduced(random(1, 3, 96, 160)).shape == (1, 3, 24, 40)


class TestSkips:
    def test_none_is_an_inversion(self, network: StyleGANEX) -> None:
        inversion = tiny_styleganex(skips=0)
        assert inversion.encode_layout(pictures()).skips == ()
        own = inversion.state_dict()
        own.update((n, t) for n, t in network.state_dict().items() if n in own)
        inversion.load_state_dict(own)
        ws, layout = network.encode(pictures())
        want = network.render(Layout(layout.feature), ws)
        assert torch.equal(inversion.render(Layout(layout.feature), ws), want)
        assert not torch.allclose(network.render(layout, ws), want, atol=1e-3)

    def test_from_coarse_to_fine(self) -> None:
        """Bodies 20, 20, 15, 10, 6, 2 and the stem; the first is used twice."""
        network = tiny_styleganex(resolution=512, channel_base=1024, skips=7)
        ws, layout = network.encode(pictures(16, 32, 1))
        shapes = [tuple(skip.shape[1:]) for skip in layout.skips]
        assert shapes == [*[(8, 2, 4)] * 4, (4, 4, 8), (2, 8, 16), (2, 16, 32)]
        assert torch.equal(layout.skips[0], layout.skips[1])
        bodies = network.encoder.backbone(pictures(16, 32, 1), (20, 15, 10, 6, 2, -1))
        assert all(torch.equal(a, b) for a, b in zip(layout.skips[1:], bodies, strict=True))
        image = network.render(layout, ws)
        for k in range(7):
            other = [torch.zeros_like(s) if j == k else s for j, s in enumerate(layout.skips)]
            changed = network.render(Layout(layout.feature, tuple(other)), ws)
            assert not torch.allclose(changed, image, atol=1e-4), f"skip {k} has no effect"

    def test_the_feature_comes_from_bodies_10_15_and_20(self, network: StyleGANEX) -> None:
        maps = network.encoder.backbone(pictures(), (10, 15, 20))
        want = network.encoder.feature(torch.cat(maps, 1))
        torch.testing.assert_close(network.encode_layout(pictures()).feature, want)

    def test_an_editing_vector(self) -> None:
        network = tiny_styleganex(attention_depth=1)
        ws, layout = network.encode(pictures())
        v = random(1, CONFIG.generator.num_ws, 16, seed=9)
        bare = Layout(layout.feature)
        edited = network.render(bare, ws, editing=v)
        torch.testing.assert_close(edited, network.render(bare, ws + v))
        attended = network.render(layout, ws, editing=v)
        assert not torch.allclose(attended, network.render(layout, ws + v), atol=1e-4)


class TestLabels:
    @pytest.mark.parametrize("channels", [1, 19])
    def test_labels_stand_in_for_the_frame(self, channels: int) -> None:
        network = tiny_styleganex(label_channels=channels, skips=2)
        labels = pictures(channels=channels)
        maps = network.encoder.label_stem(labels)
        assert maps.shape == (2, 2, 32, 48)  # as the stem's of a picture
        ws, layout = network.encode(labels)
        assert network.render(layout, ws).shape == (2, 3, 8, 12)
        with pytest.raises(AssertionError, match=f"3 or {channels} channels"):
            network.encode(pictures(channels=channels + 1))

    def test_faces_still_pass_through_the_stem_of_pictures(self) -> None:
        network, faces = tiny_styleganex(label_channels=1), pictures()
        before = network.encode_style(faces)
        for weight in network.encoder.label_stem.parameters():
            weight.zero_()
        assert torch.equal(network.encode_style(faces), before)
        torch.testing.assert_close(network.encode_face(faces) + network.w_avg, before)

    def test_late_codes_of_a_face(self) -> None:
        network = tiny_styleganex(label_channels=1)
        ws, layout = network.encode(pictures(channels=1))
        mixed = mix_codes(ws, network.encode_face(pictures()), LAYOUT_CODES)
        image = network.render(layout, mixed)
        assert not torch.allclose(image, network.render(layout, ws), atol=1e-3)

    def test_a_network_of_pictures_has_no_late_codes(self, network: StyleGANEX) -> None:
        with pytest.raises(AssertionError, match="encode_style"):
            network.encode_face(pictures())


class TestAdded:
    """Networks that add what they draw to the picture, without styles."""

    @pytest.mark.parametrize("resolution", [64, 256])
    def test_what_draws_nothing_leaves_the_picture(self, resolution: int) -> None:
        network = StyleGANEX(
            replace(TINY_STYLEGANEX, resolution=resolution, skips=0, residual=True, styled=False)
        )
        for block in network.synthesis.blocks:
            block.torgb.weight.data.zero_()
        picture = pictures()
        got = network.render(network.encode_layout(picture), network.encode_style(picture))
        sides = [round(n * network.times) for n in picture.shape[2:]]
        want = torch.nn.functional.interpolate(picture, sides, mode="bicubic", antialias=True)
        assert torch.allclose(got, picture if network.times == 1 else want, atol=1e-6)

    def test_the_average_is_all_the_style_there_is(self) -> None:
        network = StyleGANEX(replace(TINY_STYLEGANEX, skips=2, residual=True, styled=False))
        network.w_avg.fill_(0.5)
        codes, layout = network.encode(pictures())
        assert bool((codes == 0.5).all()) and torch.equal(codes, network.encode_style(pictures()))
        assert len(layout.skips) == 2 and layout.picture is not None
        assert not any("heads" in n or "lateral" in n for n in network.state_dict())
        assert len(network.encoder.backbone.blocks) == 21  # behind its last feature nothing is left


class TestConfig:
    @pytest.mark.parametrize("changes", [{}, {"label_channels": 19, "attention_depth": 2}])
    def test_json_keeps_it(self, changes: dict[str, Any]) -> None:
        config = replace(CONFIG, **changes)
        assert StyleGANEXConfig(**json.loads(json.dumps(asdict(config)))) == config

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"resolution": 16, "skips": 0}, "32 pixels"),
            ({"resolution": 48}, "no power of two"),
            ({"skips": 5}, "4 are possible"),
            ({"skips": -1}, "-1 skips"),
            ({"resolution": 1024, "skips": 8}, "7 are possible"),
            ({"w_dim": 12}, "codes of 12"),
            ({"label_channels": 3}, "look like pictures"),
        ],
    )
    def test_impossible_shapes(self, changes: dict[str, Any], says: str) -> None:
        with pytest.raises(AssertionError, match=says):
            replace(CONFIG, **changes)

    @pytest.mark.parametrize(("resolution", "layers"), [(256, 14), (1024, 18)])
    def test_the_published_sizes(self, resolution: int, layers: int) -> None:
        with torch.device("meta"):
            network = StyleGANEX(StyleGANEXConfig(resolution=resolution)).eval()
            ws, layout = network.encode(torch.zeros(1, 3, 96, 160))
            assert ws.shape == (1, layers, 512) and layout.feature.shape == (1, 512, 12, 20)


def test_width_at(network: StyleGANEX) -> None:
    taps = (-1, 0, 2, 3, 6, 7, 20, 21, 23)
    widths = [network.encoder.backbone.width_at(tap) for tap in taps]
    assert widths == [2, 2, 2, 4, 4, 8, 8, 16, 16]
