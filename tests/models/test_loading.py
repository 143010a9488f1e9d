"""Built without memory for its weights, a module is what it is when built with random ones."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vidhair.models
from tests.models.encoders.test_style import CONFIG as ENCODER
from tests.models.encoders.test_style import KINDS as ENCODERS
from tests.models.tiny import (
    TINY_STYLEGANEX,
    R,
    T,
    random,
    randomised,
    tiny_config,
    tiny_stylegan2_config,
)
from vidhair.models.backbones.irse import FoldedIRSEBlock, irse50
from vidhair.models.backbones.resnet import resnet18, resnet34
from vidhair.models.clip import CLIP, CLIPConfig
from vidhair.models.convolution import Conv2d
from vidhair.models.encoders.heads import StyleHead
from vidhair.models.encoders.inversion import PublishedEncoder
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.encoders.style import SketchEncoder, StyleEncoderConfig
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.generators import stylegan1, stylegan2, stylegan3
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.mapping import MappingNetwork
from vidhair.models.generators.stylegan2 import Canvas, mix_codes
from vidhair.models.generators.stylegan3 import Extent
from vidhair.models.mappers import BaldMapper, LevelsMapper
from vidhair.models.parsers.bisenet import CelebAMaskParser, HairClipParser
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig
from vidhair.models.parsers.hair_segmenter import HairSegmenter
from vidhair.models.parsers.head_parser import HeadParser
from vidhair.models.skip_init import SkipInit
from vidhair.models.styleganex.generator import EditAttention, SkipFusion, WideGenerator
from vidhair.models.styleganex.network import LAYOUT_CODES, StyleGANEX

pytestmark = pytest.mark.usefixtures("one_thread")

BACKBONE: dict[str, Any] = {"widths": (4, 5, 6, 8), "units": (1, 1, 1, 1)}
SKETCH: dict[str, Any] = {"num_ws": (3, 2, 1), "w_dim": 5, "widths": (4, 5, 6), "units": (1, 1, 1)}
BISENET: dict[str, Any] = {"widths": (4, 8, 8, 12)}
SMALL = SmallEncoderConfig(size=8, num_ws=3, w_dim=5, widths=(4,), hidden=6)
STYLEGAN1 = stylegan1.StyleGAN1Config(
    resolution=16, z_dim=8, w_dim=8, channel_base=64, channel_max=6, mapping_layers=2
)
CLIP_CONFIG = CLIPConfig(
    side=32, patch=16, width=8, layers=2, words=9, length=4, text_width=6, text_layers=1,
    embedding=5,
)  # fmt: skip
Z, CODES, IMAGE, SKIP = random(2, 8), random(2, 9, 6), random(2, 3, 32, 32), random(2, 2, 5, 5)


def pictures(module: nn.Module) -> Tensor:
    return module(IMAGE)


def codes(module: nn.Module) -> Tensor:
    return module(CODES)


def generated(module: nn.Module) -> Tensor:
    return module(Z, truncation_psi=0.7)


def fused(fusion: nn.Module) -> Tensor:
    canvas = Canvas(random(2, 4, 5, 5), random(2, 3, 5, 5))
    merged = fusion(canvas, SKIP, editing=random(2, 8))
    return torch.cat([merged.feature, merged.picture], 1)


def wide(generator: WideGenerator) -> Tensor:
    """Every block at the feature's size, noise pooled."""
    ws = random(2, generator.config.num_ws, 8)
    return generator.synthesis.render(random(2, generator.config.channels(4), 5, 7), ws)


def sketched(network: StyleGANEX) -> Tensor:
    """Layout and first codes of a sketch, the later codes of a face."""
    image = IMAGE.double()
    ws, layout = network.encode(image[:, :1])
    return network.render(layout, mix_codes(ws, network.encode_face(image), LAYOUT_CODES))


def encoder_of(kind: Callable[..., nn.Module], changes: dict[str, Any]) -> nn.Module:
    return kind(StyleEncoderConfig(**ENCODER | changes))


# How to build one of each, and an output that depends on all of it.
MODULES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Tensor]]] = {
    "StyleGAN": (lambda: stylegan1.Generator(STYLEGAN1), generated),
    "StyleGAN2": (lambda: stylegan2.Generator(tiny_stylegan2_config(16)), generated),
    "StyleGAN3-T": (lambda: stylegan3.Generator(tiny_config(**T)), generated),
    "StyleGAN3-R": (lambda: stylegan3.Generator(tiny_config(**R)), generated),
    "StyleGAN2, movable": (
        lambda: AlignedGenerator(tiny_stylegan2_config(16)),
        lambda generator: generator(Z, transform=torch.eye(3) * 0.9, canvas=Extent(1, 2, 3, 4)),
    ),
    "StyleGANEX": (lambda: WideGenerator(tiny_stylegan2_config(64)), wide),
    # In double precision, because 24 random blocks leave the range of float32.
    "StyleGANEX of sketches, whole": (
        lambda: StyleGANEX(replace(TINY_STYLEGANEX, label_channels=1)).double(),
        sketched,
    ),
    "fusion": (lambda: SkipFusion(2, 4, attention=EditAttention(4, 8, depth=1)), fused),
    "mapping": (
        lambda: MappingNetwork(tiny_stylegan2_config(c_dim=3)),
        lambda mapping: mapping(Z, random(2, 3), truncation_psi=0.7),
    ),
    "IR-SE50": (lambda: irse50(**BACKBONE), lambda backbone: backbone(IMAGE, (3,))[0]),
    "ResNet-34": (lambda: resnet34(**BACKBONE), lambda backbone: backbone(IMAGE, (3,))[0]),
    "ResNet-18": (lambda: resnet18(**BACKBONE), lambda backbone: backbone(IMAGE, (3,))[0]),
    **{
        name: (
            partial(encoder_of, kind, changes),
            lambda encoder: encoder(random(2, encoder.config.in_channels, 32, 32)),
        )
        for name, (kind, changes) in ENCODERS.items()
    },
    "with its average code": (
        lambda: PublishedEncoder("psp", StyleEncoderConfig(**ENCODER)),
        lambda encoder: encoder(random(2, encoder.config.in_channels, 32, 32)),
    ),
    "sketch": (lambda: SketchEncoder(**SKETCH), lambda encoder: encoder(IMAGE[:, :1])),
    "head": (lambda: StyleHead(3, 5, 32), pictures),
    "levels": (lambda: LevelsMapper(6), codes),
    "bald": (lambda: BaldMapper(6), codes),
    "19 labels": (
        lambda: CelebAMaskParser(**BISENET),
        lambda parser: torch.stack(parser.training_logits(IMAGE)),
    ),
    "16 labels": (lambda: HairClipParser(**BISENET), pictures),
    "4 of 19 labels": (lambda: HeadParser(CelebAMaskParser(**BISENET)), pictures),
    "parser": (lambda: FaceParser(FaceParserConfig(widths=(4, 6))), pictures),
    # In double precision, because its 30 random blocks leave the range of float32.
    "hair": (
        lambda: HairSegmenter().double(),
        lambda segmenter: segmenter.logits(IMAGE.double(), IMAGE[:, :1].double()),
    ),
    "small encoder": (lambda: SmallEncoder(SMALL), lambda encoder: encoder(IMAGE[..., :8, :8])),
    "CLIP": (
        lambda: CLIP(CLIP_CONFIG),
        lambda clip: torch.cat(clip(IMAGE, torch.tensor([[1, 2, 8, 0], [3, 8, 0, 0]]))),
    ),
    "identity": (lambda: FaceIdentity(size=32, width=7, **BACKBONE), pictures),
}


def skip_init(build: Callable[[], nn.Module]) -> nn.Module:
    with SkipInit():
        return build()


@pytest.mark.parametrize("name", MODULES)
def test_a_module_built_without_values_is_the_same_once_loaded(name: str) -> None:
    build, output = MODULES[name]
    usual = randomised(build())
    state = usual.state_dict()
    for key, value in state.items():
        if key.endswith(("running_var", "magnitude_ema")):
            value.abs_()
    loaded = skip_init(build)
    loaded.load_state_dict(state, strict=True, assign=True)
    loaded.eval().requires_grad_(False)
    want = output(usual)
    assert want.isfinite().all() and want.std() > 0
    assert torch.equal(output(loaded), want)


def test_every_class_is_among_them() -> None:
    for module in pkgutil.walk_packages(vidhair.models.__path__, "vidhair.models."):
        importlib.import_module(module.name)
    built = [part for build, _ in MODULES.values() for part in skip_init(build).modules()]
    covered = {kind for part in built for kind in type(part).__mro__}
    covered |= {Conv2d, FoldedIRSEBlock}  # made of loaded modules, never loaded
    assert {kind for kind in subclasses(nn.Module) if is_ours(kind)} <= covered


def subclasses(kind: type) -> set[type]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


def is_ours(kind: type) -> bool:
    """Of the models; not what wraps one that is built already."""
    home = kind.__module__
    return home.startswith("vidhair.models.") and home != "vidhair.models.generators.cuda_graph"
