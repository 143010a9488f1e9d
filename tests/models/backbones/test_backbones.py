"""IR-SE50 and the ResNets: sizes, taps, and what the blocks do."""

from typing import Any

import pytest
import torch

from tests.models.tiny import random, seeded
from vidhair.models.backbones import irse, resnet
from vidhair.models.backbones.backbone import STEM, Backbone
from vidhair.models.backbones.irse import Gate, IRSEBlock, irse50
from vidhair.models.backbones.resnet import BasicBlock, resnet18, resnet34
from vidhair.models.skip_init import SkipInit

TINY: dict[str, Any] = {"widths": (4, 6, 8), "units": (2, 1, 2)}
KINDS: dict[str, Any] = {"irse50": irse50, "resnet34": resnet34, "resnet18": resnet18}


@pytest.fixture(params=KINDS)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return seeded(lambda: KINDS[request.param](**TINY))


def test_the_published_shapes() -> None:
    with SkipInit():
        for build, ends, reductions in (
            (irse50, (2, 6, 20, 23), (2, 4, 8, 16)),
            (resnet34, (2, 6, 12, 15), (2, 4, 8, 16)),
            (resnet18, (1, 3, 5, 7), (4, 8, 16, 32)),
        ):
            backbone = build(6).eval()
            assert backbone.stage_ends == ends and len(backbone.blocks) == ends[-1] + 1
            outputs = backbone(torch.zeros(1, 6, 64, 96), ends)
            want = [(1, w, 64 // r, 96 // r) for w, r in zip(irse.WIDTHS, reductions, strict=True)]
            assert [tuple(x.shape) for x in outputs] == want
    assert irse.WIDTHS == resnet.WIDTHS


def test_taps_come_in_the_order_asked_for(backbone: Backbone) -> None:
    image = random(2, 3, 32, 32)
    stem, *rows = backbone(image, range(STEM, 5))
    assert torch.equal(stem, backbone.stem(image))
    for before, block, after in zip([stem, *rows], backbone.blocks, rows, strict=False):
        assert torch.equal(block(before), after)
    last, first, again, begin = backbone(image, (4, 0, 4, STEM))
    assert torch.equal(last, rows[4]) and torch.equal(first, rows[0])
    assert torch.equal(again, last) and torch.equal(begin, stem)


def test_blocks_after_the_last_tap_do_not_run(backbone: Backbone) -> None:
    def forbidden(*_: Any) -> None:
        raise AssertionError("must not run")

    backbone.blocks[2].register_forward_pre_hook(forbidden)
    backbone(random(1, 3, 16, 16), (1, 0))
    backbone(random(1, 3, 16, 16), (STEM,))
    with pytest.raises(AssertionError, match="must not run"):
        backbone(random(1, 3, 16, 16), (2,))


@pytest.mark.parametrize("taps", [(), (5,), (0, -2)])
def test_taps_that_are_not_there_are_refused(backbone: Backbone, taps: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="of 5 blocks"):
        backbone(random(1, 3, 16, 16), taps)


def test_pictures_of_a_batch_do_not_mix(backbone: Backbone) -> None:
    images = random(3, 3, 32, 32)
    (together,) = backbone(images, (4,))
    alone = torch.cat([backbone(image[None], (4,))[0] for image in images])
    torch.testing.assert_close(together, alone)


def test_any_number_of_channels(backbone: Backbone) -> None:
    for build in KINDS.values():
        (x,) = build(1, **TINY).eval()(random(1, 1, 32, 32), (0,))
        assert x.shape[:2] == (1, 4)


def test_gate_scales_every_channel_between_none_and_all() -> None:
    gate, x = seeded(lambda: Gate(32)), random(2, 32, 5, 5)
    share = gate(x) / x
    torch.testing.assert_close(share, share[..., :1, :1].expand_as(share))
    assert (share > 0).all() and (share < 1).all()
    assert gate.squeeze.out_channels == 2


@pytest.mark.parametrize("outputs", [4, 6])
def test_irse_block_without_its_main_path_is_its_shortcut(outputs: int) -> None:
    block: Any = seeded(lambda: IRSEBlock(4, outputs, 2))
    block.main[4].weight.zero_()
    x = random(1, 4, 8, 8)
    got, beside = block(x), x[..., ::2, ::2]
    assert got.shape == (1, outputs, 4, 4)
    assert torch.equal(got, beside if outputs == 4 else block.shortcut(beside))


def test_basic_block_without_its_main_path_is_its_shortcut() -> None:
    block: Any = seeded(lambda: BasicBlock(4, 4, 1))
    block.main[4].weight.zero_()
    x = random(1, 4, 8, 8)
    assert torch.equal(block(x), x.relu())


def test_a_narrow_block_that_halves_large_maps_has_a_gradient() -> None:
    """Of few channels in the last axis, oneDNN's strided one ends the process with AVX-512."""
    block = IRSEBlock(8, 16, 2)
    x = torch.randn(4, 8, 160, 160).to(memory_format=torch.channels_last)
    block(x).square().mean().backward()
    assert block.shortcut is not None and isinstance(block.shortcut, torch.nn.Sequential)
    convolution = block.shortcut[0]
    assert isinstance(convolution, torch.nn.Conv2d) and convolution.weight.grad is not None
    assert bool(convolution.weight.grad.any())
    plain = torch.nn.functional.conv2d(x, convolution.weight, stride=2)
    assert torch.allclose(convolution(x[..., ::2, ::2]), plain, atol=1e-5)
