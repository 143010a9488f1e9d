"""The published encoders, the ReStyle loop, and ArcFace."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from tests.golden.adapters.stylegan3 import load_generator
from tests.golden.runner import CannotServe, Case, Options, Results, adapter, check_as
from vidhair.checkpoints import encoder_names
from vidhair.checkpoints.official import NameMap, load_official, under
from vidhair.models.backbones.backbone import STEM, Backbone
from vidhair.models.encoders.restyle import average_image, restyle
from vidhair.models.encoders.style import (
    BackboneName,
    E4eEncoder,
    GradualEncoder,
    RestyleE4eEncoder,
    RestylePspEncoder,
    SketchEncoder,
    StyleEncoder,
    StyleEncoderConfig,
    WEncoder,
)
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.folding import folded
from vidhair.models.generators.stylegan3 import StyleGAN3Config
from vidhair.models.skip_init import SkipInit

Network = TypeVar("Network", bound=nn.Module)

RESTYLE = {"psp": RestylePspEncoder, "e4e": RestyleE4eEncoder}
BACKBONES: dict[str, BackboneName] = {
    "IR-SE50": "irse50",
    "IR50": "ir50",
    "ResNet34": "resnet34",
    "ir_se": "irse50",
    "ir": "ir50",
}
# Blocks per stage of what ArcFace's code calls 50, 100 and 152 layers.
UNITS = {50: (3, 4, 14, 3), 100: (3, 13, 30, 3), 152: (3, 8, 36, 3)}
RESTYLE_ENCODERS: dict[str, tuple[type[StyleEncoder], BackboneName]] = {
    "BackboneEncoder": (RestylePspEncoder, "irse50"),
    "ProgressiveBackboneEncoder": (RestyleE4eEncoder, "irse50"),
    "ResNetBackboneEncoder": (RestylePspEncoder, "resnet34"),
    "ResNetProgressiveBackboneEncoder": (RestyleE4eEncoder, "resnet34"),
}
RESTYLE_NAMES = {
    "irse50": encoder_names.RESTYLE_IRSE50_ENCODER,
    "ir50": encoder_names.RESTYLE_IRSE50_ENCODER,
    "resnet34": encoder_names.RESTYLE_RESNET34_ENCODER,
}
GENERATOR_WORDS = {  # official → ours
    "img_resolution": "resolution",
    "img_channels": "img_channels",
    "z_dim": "z_dim",
    "c_dim": "c_dim",
    "w_dim": "w_dim",
    "channel_base": "channel_base",
    "channel_max": "channel_max",
}


def _picture(case: Case, name: str = "image") -> Tensor:
    return case.tensor(name).permute(0, 3, 1, 2).float() / 255 * 2 - 1


def _stats(case: Case, backbone: Backbone, image: Tensor) -> Tensor:
    """Mean and deviation at the stem and behind the blocks that the note tells, [taps, B, 2]."""
    told = re.findall(r"body\.(\d+)", case.said("stats", "(.*)", ""))
    taps = [int(number) for number in told] or backbone.stage_ends
    rows = [
        torch.stack([x.mean([1, 2, 3]), x.std([1, 2, 3], correction=0)], dim=1)
        for x in backbone(image, (STEM, *taps))
    ]
    return torch.stack(rows)


def _loaded(build: Callable[[], Network], weights: Mapping[str, Tensor], names: NameMap) -> Network:
    with SkipInit():
        network = build().eval().requires_grad_(False)
    load_official(network, weights, names)
    return network


def _check(case: Case, build: Callable[[], StyleEncoder], names: NameMap, image: Tensor) -> Results:
    encoder = _loaded(build, case.weights("E"), names)
    yield "codes", encoder(image)
    for name in case.outputs:
        if name.startswith("codes_stage"):
            yield name, encoder(image, stage=int(name.removeprefix("codes_stage")))
    yield "stats", _stats(case, encoder.backbone, image)
    yield check_as(case, "codes", "folded", folded(encoder)(image))


def _backbone(option: str, name: str) -> BackboneName:
    """Of a name such as "IR-SE50", of which the first word counts."""
    if (word := name.split()[0]) not in BACKBONES:
        raise CannotServe(option, name, f"known are {', '.join(BACKBONES)}")
    return BACKBONES[word]


def _units(case: Case) -> tuple[int, ...]:
    layers = case.options["num_layers"]
    if layers not in UNITS:
        raise CannotServe("num_layers", layers, f"known are {', '.join(map(str, UNITS))}")
    return UNITS[layers]


def _config(case: Case) -> StyleEncoderConfig:
    return StyleEncoderConfig(
        num_ws=2 * case.options["stylegan_size"].bit_length() - 4,
        backbone=_backbone("mode", case.options["mode"]),
        units=_units(case),
    )


def _pyramid_config(case: Case) -> StyleEncoderConfig:
    case.options.expect("num_layers", 50, "pSp and e4e look at the blocks 6, 20 and 23 of 50")
    return _config(case)


@adapter("enc_psp_gradual")
def check_gradual(case: Case) -> Results:
    config = _pyramid_config(case)
    yield from _check(
        case, lambda: GradualEncoder(config), encoder_names.PYRAMID_ENCODER, _picture(case)
    )


@adapter("enc_e4e")
def check_e4e(case: Case) -> Results:
    config = _pyramid_config(case)
    yield from _check(
        case, lambda: E4eEncoder(config), encoder_names.PYRAMID_ENCODER, _picture(case)
    )


@adapter("enc_w_backbone")
def check_w(case: Case) -> Results:
    config = _config(case)
    yield from _check(case, lambda: WEncoder(config), encoder_names.W_ENCODER, _picture(case))


@adapter("restyle_psp_irse", "restyle_e4e_irse", "restyle_psp_resnet", "restyle_e4e_resnet")
def check_restyle_encoder(case: Case) -> Results:
    kind, backbone = case.name.split("_")[1], _backbone("backbone", case.options["backbone"])
    config = StyleEncoderConfig(
        num_ws=case.options["n_styles"],
        in_channels=case.options["input_nc"],
        backbone=backbone,
    )
    pair = torch.cat([_picture(case), _picture(case, "image2")], 1)
    yield from _check(case, lambda: RESTYLE[kind](config), RESTYLE_NAMES[backbone], pair)


def _encoder(name: str) -> tuple[type[StyleEncoder], BackboneName]:
    if name not in RESTYLE_ENCODERS:
        raise CannotServe("encoder", name, f"known are {', '.join(RESTYLE_ENCODERS)}")
    return RESTYLE_ENCODERS[name]


def _described_generator(text: str) -> StyleGAN3Config:
    """Of words such as "config R, w_dim 512, img_resolution 64, channel_base 2048, …"."""
    words = dict(word.strip().split(" ", 1) for word in text.split(","))
    letter = words.pop("config")
    if letter not in ("T", "R"):
        raise CannotServe("generator", text, "known are the configurations T and R")
    given = {GENERATOR_WORDS.get(word, ""): int(value) for word, value in words.items()}
    if "" in given or "resolution" not in given:
        raise CannotServe("generator", text, f"known words are {', '.join(GENERATOR_WORDS)}")
    rotating = letter == "R"
    return StyleGAN3Config(**given, conv_kernel=1 if rotating else 3, radial_filters=rotating)


@adapter("restyle_loop")
def check_restyle_loop(case: Case) -> Results:
    image, w_avg = _picture(case), case.tensor("latent_avg")
    for kind, options in case.options.items():
        for array, value in _restyled(case, image, w_avg, case.weights(kind), options):
            yield f"{kind}/{array}", value


def _restyled(
    case: Case, image: Tensor, w_avg: Tensor, weights: dict[str, Tensor], options: Options
) -> Iterator[tuple[str, Tensor]]:
    config = _described_generator(options["generator"])
    encoder_kind, backbone = _encoder(options["encoder"])
    encoder_config = StyleEncoderConfig(num_ws=config.num_ws, in_channels=6, backbone=backbone)
    names = RESTYLE_NAMES[backbone]
    encoder = _loaded(lambda: encoder_kind(encoder_config), under(weights, "encoder."), names)
    generator, _ = load_generator(config, under(weights, "decoder."))
    synthesis = generator.requires_grad_(False).synthesis
    average = average_image(synthesis, w_avg)
    stride = average.shape[-1] // config.resolution
    yield "avg_image", average[:, ::stride, ::stride]
    steps = options["n_iters"]
    latents = restyle(image, encoder, synthesis, w_avg, steps=steps, average=average)
    yield "latents", latents
    aligned = [synthesis(codes) for codes in latents.unbind(1)]
    last = synthesis(latents[:, -1], transform=case.tensor("landmarks_transform"))
    yield "images", torch.stack(aligned, 1)
    yield "images_unaligned", torch.stack([*aligned[:-1], last], 1)


@adapter("hairclipv2_sketch_encoder")
def check_sketch_encoder(case: Case) -> Results:
    channels, names = case.options["input_nc"], encoder_names.SKETCH_ENCODER
    encoder = _loaded(lambda: SketchEncoder(in_channels=channels), case.weights("E"), names)
    sketch = case.tensor("sketch")[None, None].float() / 255
    yield "codes", encoder(sketch)
    yield check_as(case, "codes", "folded", folded(encoder)(sketch))


@adapter("arcface")
def check_identity(case: Case) -> Results:
    options: dict[str, Any] = {
        "size": case.options["input_size"],
        "units": _units(case),
        "affine": case.options["affine"],
        "gated": _backbone("mode", case.options["mode"]) == "irse50",
    }
    names = encoder_names.FACE_IDENTITY
    model = _loaded(lambda: FaceIdentity(**options), case.weights("R"), names)
    image = _picture(case)
    yield "embedding", model(image)
    yield "stats", _stats(case, model.backbone, image)
    yield check_as(case, "embedding", "folded", folded(model)(image))
