"""Official weights, in files as they are published, give the official numbers through a pack."""

import argparse
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.checkpoints.third_party_files import EasyDict
from tests.golden.adapters import styleganex as styleganex_adapter
from tests.golden.adapters.stylegan2 import FILTER
from tests.golden.runner import Case, relative_error
from tests.models.official_files import official, pickled, write
from vidhair.checkpoints import generator_names
from vidhair.checkpoints.official import official_state
from vidhair.conversion.convert import convert
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.mappers import BALD_GAIN
from vidhair.models.pack import Pack, empty_network, load_pack

pytestmark = pytest.mark.usefixtures("memory_released")


@pytest.fixture(scope="module")
def case(shared: Callable[..., Any]) -> Callable[[str], Case]:
    folder = shared("golden")
    return lambda name: Case(folder, name)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Pack]]:
    """Make a pack of files, name → contents; only the newest is kept, because they are large."""
    made: list[Path] = []

    def packed(**files: Any) -> Pack:
        while made:
            shutil.rmtree(made.pop())
        made.append(tmp_path_factory.mktemp("golden"))
        paths = [write(made[-1] / name, files.pop(name)) for name in list(files)]
        convert(paths, made[-1] / "pack")
        for path in paths:
            path.unlink()
        return load_pack(made[-1] / "pack")

    yield packed
    for folder in made:
        shutil.rmtree(folder)


def agree(case: Case, values: Iterable[tuple[str, Tensor]]) -> None:
    for array, value in values:
        error = relative_error(value, case.data[array])
        assert error <= case.bound(array), f"{array} is off by {error:.1e}"


def picture(case: Case, name: str = "image") -> Tensor:
    return case.tensor(name).permute(0, 3, 1, 2).float() / 255 * 2 - 1


# ---- generators


@pytest.mark.parametrize("name", ["sg3_t", "sg3_r"])
@torch.no_grad()
def test_stylegan3_as_nvidia_releases_it(
    case: Callable[..., Any], packed: Callable[..., Any], name: str
) -> None:
    """Its pickle carries source that raises if it is executed."""
    golden = case(name)
    kwargs = EasyDict(golden.spec["options"]["constructor"])
    kwargs["mapping_kwargs"] = EasyDict(kwargs["mapping_kwargs"])
    generator = packed(file=pickled(golden.weights(), **kwargs)).generator

    def values() -> Iterator[tuple[str, Tensor]]:
        ws = generator.mapping(golden.tensor("z"), truncation_psi=0.7)
        yield "ws_psi07", ws
        yield "t0/img_ws_psi07", generator.synthesis(ws)
        for k in (1, 3):
            transform = golden.tensor(f"t{k}/transform")
            image = generator.synthesis(golden.tensor("wplus"), transform=transform)
            yield f"t{k}/img_wplus", image

    agree(golden, values())


@pytest.fixture(scope="module")
def rosinality(case: Callable[..., Any]) -> dict[str, Tensor]:
    return case("sg2_rosinality").weights()


def adas(golden: Case, rosinality: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a generator of rosinality's under NVIDIA's names and in NVIDIA's shapes."""
    options = golden.spec["options"]["constructor"]
    config = StyleGAN2Config(
        resolution=options["size"],
        z_dim=options["style_dim"],
        w_dim=options["style_dim"],
        channel_base=16384 * options["channel_multiplier"],
        mapping_layers=options["n_mlp"],
    )
    sizes = (len(config.sizes), config.mapping_layers)
    module = empty_network("stylegan2", asdict(config))
    ours = official_state(module, rosinality, generator_names.stylegan2(*sizes))
    ours["mapping.w_avg"] = golden.tensor("truncation_latent")[0]
    weights = official(ours, generator_names.stylegan2_ada(*sizes))
    assert len(weights) == len(ours)
    return weights | {f"synthesis.b{size}.resample_filter": FILTER / 4 for size in config.sizes}


@pytest.mark.parametrize("form", ["rosinality", "ADA", "ADA, bounded"])
@torch.no_grad()
def test_stylegan2_of_both_kinds(
    case: Callable[..., Any], packed: Callable[..., Any], rosinality: dict[str, Tensor], form: str
) -> None:
    golden = case("sg2_rosinality")
    if form == "rosinality":
        average = golden.tensor("truncation_latent")[0]
        file: Any = {"g_ema": rosinality, "latent_avg": average}
    else:
        clamp = {"conv_clamp": 256} if form == "ADA, bounded" else {}
        kwargs = EasyDict(channel_base=32768, channel_max=512, num_fp16_res=4, **clamp)
        file = pickled(adas(golden, rosinality), z_dim=128, img_channels=3, synthesis_kwargs=kwargs)
    generator = packed(file=file).generator
    assert generator.config.conv_clamp == (256 if form == "ADA, bounded" else None)
    mapping, synthesis = generator.mapping, generator.synthesis

    def render(ws: Tensor, noise: list[Tensor] | None = None) -> Tensor:
        return synthesis.render_styles(synthesis.styles(ws), noise=noise)

    def values() -> Iterator[tuple[str, Tensor]]:
        z = golden.tensor("z1")
        yield "style_z1", mapping.w(z)
        yield "img_z1", render(mapping(z))
        yield "img_trunc", render(mapping(z, truncation_psi=0.6))
        noise = [golden.tensor(f"noise/{k}") for k in range(len(synthesis.stored_noise()))]
        yield "img_z1_noise", render(mapping(z), noise)
        yield "img_wplus", render(golden.tensor("wplus"))

    agree(golden, values())


# ---- encoders


@pytest.mark.slow
@torch.no_grad()
def test_restyle_with_its_generator_in_one_file(
    case: Callable[..., Any], packed: Callable[..., Any]
) -> None:
    golden, kind = case("restyle_loop"), "e4e"
    opts = argparse.Namespace(
        encoder_type=golden.spec["options"][kind]["encoder"],
        n_iters_per_batch=golden.spec["options"][kind]["n_iters"],
        input_nc=6,
        start_from_latent_avg=True,
    )
    average = golden.tensor("latent_avg")
    # Held by nobody else: a few of these at a time take gigabytes.
    pack = packed(file={"state_dict": golden.weights(kind), "latent_avg": average, "opts": opts})
    assert pack.inverter_parts == ("encoder", "generator")
    codes = pack.inverter.codes(picture(golden))
    moved = golden.tensor("landmarks_transform")
    for array, got in (
        ("latents", codes),
        ("images", pack.generator.synthesis(codes)),
        ("images_unaligned", pack.generator.synthesis(codes, transform=moved)),
    ):
        error = relative_error(got, golden.data[f"{kind}/{array}"][:, -1])
        assert error <= golden.bound(f"{kind}/{array}"), (array, error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "encoder_type"),
    [
        ("enc_e4e", "Encoder4Editing"),
        ("enc_psp_gradual", "GradualStyleEncoder"),
        ("enc_w_backbone", "BackboneEncoderUsingLastLayerIntoW"),
    ],
)
@torch.no_grad()
def test_encoders_without_their_generator(
    case: Callable[..., Any], packed: Callable[..., Any], name: str, encoder_type: str
) -> None:
    golden = case(name)
    average = torch.linspace(-1, 1, 512)
    opts = {"encoder_type": encoder_type, "start_from_latent_avg": True}
    opts |= {"stylegan_size": golden.spec["options"]["stylegan_size"]}
    pack = packed(
        file={
            "state_dict": prefixed("encoder.", golden.weights("E")),
            "latent_avg": average,
            "opts": opts,
        }
    )
    assert pack.inverter_parts == ("encoder",)
    agree(golden, [("codes", pack.inverter.codes(picture(golden)) - average)])


# ---- StyleGANEX


@pytest.mark.slow
@torch.no_grad()
def test_styleganex(case: Callable[..., Any], packed: Callable[..., Any]) -> None:
    golden = case("styleganex_psp")
    v = golden.tensor("editing_w")
    pack = packed(
        file={
            "state_dict": golden.weights("rgb"),
            "latent_avg": golden.tensor("latent_avg").repeat(14, 1),
            "opts": golden.spec["options"]["options"]["rgb"],
            "editing_w": torch.cat([v, torch.ones_like(v)]),
        }
    )
    assert torch.equal(pack.table("editing_vector")["editing_w"], v)
    network = pack.build("styleganex")
    quiet = network.synthesis.no_noise()
    ws, layout = network.encode(styleganex_adapter._picture(golden, "x1"))
    style = network.encode_style(styleganex_adapter._picture(golden, "x2"))
    edited = network.render(layout, style, editing=v, noise=quiet)
    values = {"codes_x1": ws, "codes_x2": style, "img_skip_edit": edited}
    agree(golden, [(f"rgb/{array}", value) for array, value in values.items()])


# ---- what else HairCLIPv2, StyleCLIP and the parsers publish


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


@torch.no_grad()
def test_parser_identity_and_mappers(case: Callable[..., Any], packed: Callable[..., Any]) -> None:
    parsing, faces = case("bisenet"), case("arcface")
    hair, clip = case("hairclipv2"), case("styleclip_mapper")
    kinds = ("levels", "levels_no_fine", "single")
    pack = packed(
        parser=parsing.weights("P"),
        identity=faces.weights("R"),
        bald={
            "state_dict": hair.weights("bald"),
            "alpha": hair.spec["options"]["bald"]["checkpoint_alpha"],
        },
        **{kind: {"state_dict": prefixed("mapper.", clip.weights(kind))} for kind in kinds},
    )
    # The pack's parser is wrapped, for the flow; the network itself gives the official logits.
    agree(parsing, [("logits", pack.build("parser")(picture(parsing)))])
    agree(faces, [("embedding", pack.build("identity")(picture(faces)))])
    agree(clip, ((f"{k}/out", pack.build(f"mapper-{k}")(clip.tensor("w"))) for k in kinds))
    mapper = pack.build("bald_mapper")
    ws = hair.tensor("bald/src_latent")
    assert mapper.strength == pytest.approx(BALD_GAIN * 0.7)
    change = mapper(ws)
    bald = torch.cat([ws[:, :8] + mapper.strength * change, ws[:, 8:]], 1)
    agree(hair, [("bald/mapper_out", change), ("bald/latent_bald", bald)])


@torch.no_grad()
def test_parser_and_sketches_of_hairclip(
    case: Callable[..., Any], packed: Callable[..., Any]
) -> None:
    parsing, sketches = case("hairclipv2_parsing"), case("hairclipv2_sketch_encoder")
    weights = prefixed("encoder_firststage.", sketches.weights("E"))
    pack = packed(parser=parsing.weights("P"), sketch={"state_dict": weights})
    agree(parsing, [("logits", pack.build("parser")(parsing.tensor("x").float()))])
    sketch = sketches.tensor("sketch")[None, None].float() / 255
    agree(sketches, [("codes", pack.build("sketch_encoder")(sketch))])
