"""Features of any size: equality with StyleGAN2, sizes, skips and errors."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, randomised, tiny_stylegan2_config
from tests.tolerances import relative_error
from vidhair.models.generators.stylegan2 import Canvas, Generator
from vidhair.models.styleganex.generator import (
    EditAttention,
    SkipFusion,
    WideGenerator,
    WideSynthesis,
    dilation_of,
    to_few_channels,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = tiny_stylegan2_config(64)


@pytest.fixture(scope="module")
def synthesis() -> WideSynthesis:
    return randomised(WideGenerator(CONFIG)).synthesis


def codes(count: int = 2) -> torch.Tensor:
    return random(count, CONFIG.num_ws, CONFIG.w_dim, seed=5)


def feature(height: int = 5, width: int = 7, count: int = 2) -> torch.Tensor:
    return random(count, CONFIG.channels(4), height, width, seed=6)


def fusions(**options: Any) -> torch.nn.ModuleList:
    channels = [CONFIG.channels(size) for size in CONFIG.sizes[:-1]]
    return randomised(torch.nn.ModuleList(SkipFusion(3, c, **options) for c in channels[:2]))


def skips(count: int = 2) -> list[torch.Tensor]:
    return [random(count, 3, 5, 7, seed=k) for k in range(2)]


def test_weights_and_pictures_are_those_of_stylegan2(synthesis: Any) -> None:
    plain = Generator(CONFIG)
    wide = WideGenerator(CONFIG)
    randomised(plain)
    wide.load_state_dict(plain.state_dict(), strict=True)
    ws = codes()
    want = plain.synthesis(ws)
    assert relative_error(wide.synthesis(ws), want) < 1e-5
    constant = wide.synthesis.const[None].repeat_interleave(8, 2).repeat_interleave(8, 3)
    got = wide.synthesis.render(constant.expand(2, -1, -1, -1), ws)
    assert relative_error(got, want) < 1e-5


def test_dilation_keeps_the_reach() -> None:
    assert [dilation_of(size) for size in (4, 8, 16, 32, 64)] == [8, 4, 2, 1, 1]


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (12, 3)])
def test_a_picture_is_as_wide_as_its_feature(synthesis: Any, size: tuple[int, int]) -> None:
    image = synthesis.render(feature(*size), codes())
    assert image.shape == (2, 3, size[0] * 2, size[1] * 2)


def test_each_picture_of_a_batch_is_its_own(synthesis: Any) -> None:
    f, ws = feature(), codes()
    layers = fusions()
    editing = random(2, CONFIG.num_ws, CONFIG.w_dim, seed=9)
    together = synthesis.render_fused(f, ws, skips(), layers, editing=editing)
    for k in range(2):
        row = slice(k, k + 1)
        alone = synthesis.render_fused(
            f[row], ws[row], [s[row] for s in skips()], layers, editing=editing[row]
        )
        assert relative_error(together[row], alone) < 1e-5


def test_a_shifted_feature_gives_a_shifted_picture(synthesis: Any) -> None:
    f, quiet = feature(76, 76, 1), synthesis.no_noise()
    ws = codes(1)
    image = synthesis.render(f, ws, noise=quiet)
    moved = synthesis.render(f.roll((2, 3), (2, 3)), ws, noise=quiet)
    inside = (..., slice(72, 80), slice(72, 80))  # beyond the reach of border and seam
    assert relative_error(moved[inside], image.roll((4, 6), (2, 3))[inside]) < 1e-4


def test_the_first_block_can_be_replaced(synthesis: Any) -> None:
    f, ws = feature(), codes()
    after = synthesis.run(Canvas(f), synthesis.styles(ws), stop=1)
    got = synthesis.render_after_first_block(after, ws)
    assert torch.equal(got, synthesis.render(f, ws))


class TestFusion:
    def test_without_skips_nothing_changes(self, synthesis: Any) -> None:
        f, ws = feature(), codes()
        want = synthesis.render(f, ws)
        assert torch.equal(synthesis.render_fused(f, ws, [], fusions()), want)
        assert torch.equal(synthesis.render_fused(f, ws, skips(), []), want)

    def test_a_new_fusion_almost_passes_through(self) -> None:
        torch.manual_seed(0)
        canvas = Canvas(random(1, 4, 5, 5), random(1, 3, 5, 5, seed=1))
        out = SkipFusion(2, 4)(canvas, random(1, 2, 5, 5))
        assert relative_error(out.feature, canvas.feature) < 0.05
        assert relative_error(out.picture, canvas.picture) < 0.05

    def test_a_fusion_without_rgb_leaves_the_picture(self) -> None:
        canvas = Canvas(random(1, 4, 5, 5), random(1, 3, 5, 5, seed=1))
        assert SkipFusion(2, 4, fuse_rgb=False)(canvas, random(1, 2, 5, 5)).rgb is canvas.rgb

    def test_rgb_cannot_be_fused_before_there_is_any(self) -> None:
        with pytest.raises(AssertionError, match="no picture"):
            SkipFusion(2, 4)(Canvas(random(1, 4, 5, 5)), random(1, 2, 5, 5))

    def test_an_edit_adds_to_the_codes(self, synthesis: Any) -> None:
        f, ws, v = feature(), codes(), random(1, CONFIG.num_ws, CONFIG.w_dim, seed=8)
        got = synthesis.render_fused(f, ws, [], [], editing=v)
        assert torch.equal(got, synthesis.render(f, ws + v))

    def test_attention_works_only_with_an_editing_vector(self) -> None:
        torch.manual_seed(0)
        fusion = randomised(SkipFusion(2, 4, attention=EditAttention(4, 8, depth=1)))
        plain = SkipFusion(2, 4)
        plain.load_state_dict(
            {n: t for n, t in fusion.state_dict().items() if not n.startswith("attention")}
        )
        canvas, skip = Canvas(random(2, 4, 5, 5), random(2, 3, 5, 5)), random(2, 2, 5, 5)
        assert torch.equal(fusion(canvas, skip).feature, plain(canvas, skip).feature)
        edited = fusion(canvas, skip, random(2, 8))
        assert not torch.allclose(edited.feature, plain(canvas, skip).feature, atol=1e-2)

    def test_colors_are_those_of_one_convolution(self) -> None:
        torch.manual_seed(0)
        fusion = randomised(SkipFusion(2, 4))
        assert fusion.rgb is not None
        few, many = random(2, 3, 5, 7), random(2, 4, 5, 7, seed=1)
        want = fusion.rgb(torch.cat([few, many], 1))
        assert relative_error(to_few_channels(fusion.rgb, few, many), want) < 1e-5
        with torch.autocast("cpu", torch.bfloat16):
            got = to_few_channels(fusion.rgb, few, many.bfloat16())
        assert got.dtype == torch.float32 and relative_error(got, want) < 2e-2

    def test_the_mask_lies_between_none_and_all(self) -> None:
        attention = randomised(EditAttention(4, 8, depth=2))
        mask = attention(random(2, 4, 6, 5), random(2, 4, 6, 5, seed=1), random(1, 8))
        assert mask.shape == (2, 1, 6, 5)
        assert mask.min() >= 0 and 0 < mask.max() <= 1
