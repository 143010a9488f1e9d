"""Networks without normalisations give what they gave with them."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import pytest
import torch
from torch import nn

from tests.models.test_loading import MODULES, generated
from tests.models.tiny import random, seeded, tiny_styleganex
from tests.tolerances import gradient, relative_error
from vidhair.models.backbones.irse import FoldedIRSEBlock, IRSEBlock, irse50
from vidhair.models.backbones.resnet import resnet18, resnet34
from vidhair.models.convolution import Conv2d
from vidhair.models.folding import affine, folded

pytestmark = pytest.mark.usefixtures("one_thread")

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


M = TypeVar("M", bound=nn.Module)


def trained(module: M, seed: int = 0) -> M:
    """With statistics, scales and shifts that are nothing special."""
    draw = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, (*NORMS, nn.PReLU)):
            for name, tensor in part.state_dict().items():
                if tensor.is_floating_point():
                    spread = torch.rand(tensor.shape, generator=draw)
                    tensor.copy_(spread + 0.5 if name != "bias" else spread - 0.5)
    return module.eval().requires_grad_(False)


def without(module: nn.Module) -> nn.Module:
    return folded(copy.deepcopy(module))


def norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, NORMS)]


# Generators have no normalisation.
FOLDABLE = [name for name, (_, output) in MODULES.items() if output is not generated]


@pytest.mark.parametrize("name", FOLDABLE)
def test_every_network_gives_the_same(name: str) -> None:
    build, output = MODULES[name]
    network = trained(seeded(build))
    want = output(network)
    # What folding makes anew is float32.
    ready = without(network).to(next(network.parameters()).dtype)
    assert relative_error(output(ready), want) < 1e-5


@pytest.mark.parametrize(
    "build",
    [irse50, partial(irse50, gated=False), resnet18, resnet34],
    ids=["ir-se50", "ir-50", "resnet18", "resnet34"],
)
def test_published_backbones_have_no_normalisation_left(build: Callable[..., Any]) -> None:
    backbone = trained(seeded(lambda: build(units=(1, 1, 1, 1))))
    image = random(2, 3, 64, 96)
    ready = without(backbone)
    assert len(norms(backbone)) > 8 and not norms(ready)
    for got, want in zip(ready(image, range(4)), backbone(image, range(4)), strict=True):
        assert relative_error(got, want) < 1e-5


class TestIRSEBlock:
    @pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (2, 2), (3, 7), (32, 33)])
    @pytest.mark.parametrize(("outputs", "stride"), [(6, 1), (6, 2), (9, 2)])
    def test_the_shift_ends_at_the_border(
        self, size: tuple[int, int], outputs: int, stride: int
    ) -> None:
        """The zeros around a map are not shifted."""
        block = trained(IRSEBlock(6, outputs, stride))
        x = random(2, 6, *size)
        ready = without(block)
        assert isinstance(ready, FoldedIRSEBlock)
        assert relative_error(ready(x), block(x)) < 1e-6

    def test_a_channel_that_is_scaled_by_nothing(self) -> None:
        block = trained(IRSEBlock(6, 6, 1))
        block.get_parameter("main.0.weight")[2] = 0
        x = random(1, 6, 5, 5)
        assert relative_error(without(block)(x), block(x)) < 1e-6

    def test_the_input_stays_as_it_is(self) -> None:
        """It is the tap of the block before."""
        ready, x = without(trained(IRSEBlock(6, 6, 1))), random(1, 6, 8, 8)
        before = x.clone()
        ready(x)
        assert torch.equal(x, before)


def test_affine() -> None:
    norm = trained(nn.BatchNorm2d(5))
    scale, shift = affine(norm)
    x = random(2, 5, 3, 3)
    want = x * scale[:, None, None] + shift[:, None, None]
    assert relative_error(norm(x), want) < 1e-6
    plain = nn.BatchNorm1d(5, affine=False).eval()
    scale, shift = affine(plain)
    assert relative_error(plain(x[..., 0, 0]), x[..., 0, 0] * scale + shift) < 1e-6


def test_gradients_reach_the_picture() -> None:
    """Distances between features are differentiated."""
    backbone = trained(seeded(lambda: resnet18(units=(1, 1, 1, 1))))
    results = []
    for network in (backbone, without(backbone)):
        image = random(1, 3, 64, 64).requires_grad_()
        (features,) = network(image, (3,))
        features.square().sum().backward()
        results.append(gradient(image))
    assert relative_error(results[1], results[0]) < 1e-5


def test_convolutions_that_are_not_plain_stay() -> None:
    grouped = nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4))
    spread = nn.Sequential(nn.Conv2d(4, 4, 3, dilation=2), nn.BatchNorm2d(4))
    for network in (trained(grouped), trained(spread)):
        ready, x = without(network), random(1, 4, 9, 9)
        assert torch.equal(ready(x), network(x))
        assert not any(isinstance(part, Conv2d) for part in ready.modules())


def test_a_network_of_labels_keeps_its_statistics() -> None:
    """It may be asked to use those of the picture."""
    labels, pictures = tiny_styleganex(label_channels=1), tiny_styleganex()
    assert len(norms(without(labels))) == len(norms(labels)) > 0
    assert not norms(without(pictures))


def test_what_sees_one_picture_of_a_place_keeps_its_weights_in_the_file() -> None:
    """The heads for styles hold three quarters of the weights of StyleGANEX."""
    network = tiny_styleganex()
    places = [p.data_ptr() for p in network.encoder.heads.parameters()]  # type: ignore[attr-defined]
    want = network.encode_style(image := random(1, 3, 256, 256))
    ready = folded(network)
    assert [p.data_ptr() for p in ready.encoder.heads.parameters()] == places
    assert relative_error(ready.encode_style(image), want) < 1e-4


@pytest.mark.parametrize("bias", [True, False])
def test_gradients_pass_through(bias: bool) -> None:
    """Of pictures, as losses on features want them."""
    network = trained(seeded(lambda: nn.Sequential(
        nn.Conv2d(32, 32, 3, padding=1, bias=bias), nn.ReLU(),
        nn.Conv2d(32, 8, 3, padding=1, bias=bias), nn.BatchNorm2d(8), nn.ReLU(),
    )))  # fmt: skip
    image = random(1, 32, 40, 40).requires_grad_()
    got, want = (
        torch.autograd.grad(n(image).square().sum(), image)[0] for n in (without(network), network)
    )
    assert relative_error(got, want) < 1e-4
