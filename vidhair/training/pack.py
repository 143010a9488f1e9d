"""The bundled pack from nothing: rendered faces, parser, generator, encoder, attributes and what
they do to faces."""

from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.packs import BUNDLED, TOON, bundled_folder, open_pack, write_pack
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import fit_attributes
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.parsers.face_parser import FaceParser
from vidhair.models.perceptual import FeatureDistance
from vidhair.synthetic.params import column_names
from vidhair.training.dataset import ALIGNED, MOVED, RenderedFaces, render_group
from vidhair.training.effects import face_effects
from vidhair.training.encoder import (
    EncoderTraining,
    evaluate_encoder,
    known_codes,
    train_encoder,
)
from vidhair.training.generator import DistillConfig, Standardiser, distill, evaluate
from vidhair.training.parser import ParserTraining, evaluate_parser, train_parser
from vidhair.training.portraits import Portraits, render_people
from vidhair.training.proportions import toon_proportions

PackPart = tuple[str, dict[str, Any], dict[str, Tensor]]  # kind, configuration, tensors


@dataclass(frozen=True, kw_only=True)
class PackRecipe:
    """Everything that decides a pack. traces and paints: per group of rendered faces. sitters:
    people on whom it is seen what attributes do; 0 for none."""

    name: str
    size: int
    traces: dict[str, int]
    paints: dict[str, int]
    generator: DistillConfig
    parser: ParserTraining = field(default_factory=ParserTraining)
    encoder: EncoderTraining = field(default_factory=EncoderTraining)
    sitters: int = 6


def _generator(size: int, base: int, width: int) -> StyleGAN3Config:
    return StyleGAN3Config(
        resolution=size, z_dim=64, w_dim=128, channel_base=base, channel_max=width
    )


RECIPES = {
    # What the shipped pack was made with: a few hours on two CPU cores.
    "cpu": PackRecipe(
        name=BUNDLED,
        size=128,
        traces={"aligned": 3008, "moved": 3008},
        paints={"aligned": 3, "moved": 3},
        generator=DistillConfig(
            generator=_generator(128, 4096, 128),
            phases=((32, 2000, 8), (64, 1200, 6), (128, 5000, 4)),
        ),
        parser=ParserTraining(people=2048, size=128, steps=6000, batch=8, lr=1e-3),
        encoder=EncoderTraining(steps=1500, drawn=2),
    ),
    # For one large GPU: twice the resolution, many more faces.
    "gpu": PackRecipe(
        name="rendered-faces-256",
        size=256,
        traces={"aligned": 12032, "moved": 12032},
        paints={"aligned": 3, "moved": 3},
        generator=DistillConfig(
            generator=_generator(256, 8192, 256),
            phases=((32, 4000, 32), (64, 4000, 32), (128, 8000, 24), (256, 16000, 16)),
        ),
        parser=ParserTraining(people=16384, steps=20000),
        encoder=EncoderTraining(
            encoder=SmallEncoderConfig(size=256, widths=(32, 48, 96, 160, 256, 320)),
            steps=12000,
            batch=32,
            drawn=8,
        ),
    ),
    # Seconds; shows that every part runs, not that it learns.
    "tiny": PackRecipe(
        name="tiny",
        size=32,
        traces={"aligned": 128, "moved": 128},
        paints={"aligned": 1, "moved": 1},
        generator=DistillConfig(generator=_generator(32, 256, 16), phases=((16, 2, 4), (32, 4, 4))),
        parser=ParserTraining(people=64, steps=4, batch=4, size=32),
        encoder=EncoderTraining(
            encoder=SmallEncoderConfig(size=32, widths=(16, 32, 48), hidden=64),
            steps=4,
            batch=4,
            drawn=2,
        ),
        sitters=0,
    ),
}


def _parser(
    recipe: PackRecipe, work: Path, seed: int, device: str
) -> tuple[FaceParser, dict[str, float]]:
    """The parser of a recipe and what was measured of it."""
    people, config = work / "people", recipe.parser
    render_people(people, people=config.people, side=config.side, seed=seed, strands=config.strands)
    held_out = Portraits(people, held_out=True)
    data = Portraits(people, held_out=False)
    parser = train_parser(data, held_out, config, work, seed=seed, device=device)
    return parser, evaluate_parser(parser, held_out, config, seed)


def train_parser_alone(
    recipe: PackRecipe, work: Path, target: Path, *, seed: int, device: str
) -> None:
    """The bundled pack with another parser; everything else in it stays as it is."""
    parser, measured = _parser(recipe, work, seed, device)
    part = ("face_parser", asdict(parser.config), parser.cpu().state_dict())
    command = {"command": "vidhair train parser", "seed": seed, "recipe": asdict(recipe.parser)}
    _with_part(target, "parser", part, command, measured)


def measure_effects(
    recipe: PackRecipe, work: Path, target: Path, *, seed: int, device: str
) -> None:
    """The bundled pack with what its attributes do to faces, seen anew. Raises InvalidSetting."""
    if not recipe.sitters:
        raise InvalidSetting(
            f"--preset {recipe.name!r} looks at nobody, so it tells nothing of attributes; use cpu"
        )
    command = {"command": "vidhair train effects", "seed": seed, "sitters": recipe.sitters}
    _with_part(target, "effects", _effects(recipe.sitters, seed), command, {})


def measure_proportions(
    recipe: PackRecipe, work: Path, target: Path, *, seed: int, device: str
) -> None:
    """The small pack of what a cartoon's proportions are."""
    effects = toon_proportions(max(1, recipe.sitters), seed)
    part: PackPart = ("effects", {"names": list(effects.names)}, effects.tensors())
    about = {
        "version": 1,
        "licence": "Apache-2.0",
        "about": "How a cartoon's proportions move a face, by rendered people and their cartoons. "
        "No photograph of a person was used.",
        "training": {"command": "vidhair train proportions", "seed": seed},
    }
    write_pack(target, TOON, {"effects": part}, about)


def _effects(people: int, seed: int) -> PackPart:
    effects = face_effects(people, seed)
    return "effects", {"names": list(effects.names)}, effects.tensors()


def _with_part(
    target: Path, name: str, part: PackPart, command: dict[str, Any], measured: dict[str, float]
) -> None:
    """The bundled pack with one part that is new."""
    files = open_pack(bundled_folder() / BUNDLED)
    parts: dict[str, PackPart] = {
        old: (has.kind, has.config, files.tensors(old)) for old, has in files.parts.items()
    }
    parts[name] = part
    about = {n: v for n, v in files.manifest.items() if n not in ("format", "name", "parts")}
    about["training"] = {**about["training"], name: command}
    about["quality"] = about["quality"] | _rounded(measured)
    write_pack(target, files.name, parts, about)


def _rounded(quality: dict[str, float]) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in quality.items()}


def train_pack(recipe: PackRecipe, work: Path, target: Path, *, seed: int, device: str) -> None:
    """Make a pack; what is in `work` from an earlier run is taken up where it stopped."""
    faces = work / "faces"
    for framing in (ALIGNED, MOVED):
        render_group(
            faces,
            framing,
            traces=recipe.traces[framing.name],
            paints=recipe.paints[framing.name],
            size=recipe.size,
            seed=seed,
            device=device,
        )

    def faces_of(*groups: str, held_out: bool = False) -> RenderedFaces:
        return RenderedFaces(faces, groups, held_out=held_out)

    parser, parser_quality = _parser(recipe, work, seed, device)
    parser.requires_grad_(False)
    distance = FeatureDistance(parser.features)
    run = distill(
        faces_of("aligned", "moved"),
        faces_of("aligned", "moved", held_out=True),
        recipe.generator,
        work,
        seed=seed,
        device=device,
        distance=distance,
    )
    generator = Generator(recipe.generator.generator)
    generator.load_state_dict(run.average.values)
    generator.eval().requires_grad_(False)
    standardiser = deepcopy(run.standardiser).cpu()
    aligned, held_out = faces_of("aligned"), faces_of("aligned", held_out=True)
    encoder = train_encoder(
        aligned,
        held_out,
        generator,
        standardiser,
        recipe.encoder,
        work,
        distance=distance,
        seed=seed,
        device=device,
    )
    quality = {
        "generator_held_out_psnr_db": evaluate(run, faces_of("aligned", "moved", held_out=True)),
        **evaluate_encoder(
            encoder, generator, held_out, known_codes(generator, standardiser, held_out)
        ),
        **parser_quality,
    }
    for module in (generator, encoder, parser):
        module.cpu()
    assemble(recipe, target, generator, standardiser, encoder, parser, aligned, quality, seed)


def assemble(
    recipe: PackRecipe,
    target: Path,
    generator: Generator,
    standardiser: Standardiser,
    encoder: SmallEncoder,
    parser: FaceParser,
    faces: RenderedFaces,
    quality: dict[str, float],
    seed: int,
) -> None:
    """Fit the attributes and write the pack."""
    params = faces.arrays["params"]
    with torch.no_grad():
        codes = generator.mapping.w(standardiser(params))
        generator.mapping.w_avg.copy_(codes.mean(0))
    space = fit_attributes(column_names(), params, codes)
    about: dict[str, Any] = {
        "version": 1,
        "licence": "Apache-2.0",
        "about": "A StyleGAN3 of rendered faces with its encoder, parser and attributes. "
        "No photograph of a person was used.",
        "training": {"command": "vidhair train pack", "seed": seed, "recipe": asdict(recipe)},
        "quality": _rounded(quality),
    }
    parts: dict[str, PackPart] = {
        "generator": ("stylegan3", asdict(generator.config), generator.state_dict()),
        "encoder": ("small_encoder", asdict(encoder.config), encoder.state_dict()),
        "parser": ("face_parser", asdict(parser.config), parser.state_dict()),
        "attributes": ("attributes", {"names": list(space.names)}, space.tensors()),
        "world": ("standardiser", {"columns": list(column_names())}, standardiser.state_dict()),
    }
    if recipe.sitters:
        parts["effects"] = _effects(recipe.sitters, seed)
    write_pack(target, recipe.name, parts, about)
