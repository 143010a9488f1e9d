"""A pack's networks, built and loaded when they are first asked for."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from vidhair.checkpoints.packs import BUNDLED, PackFiles, bundled_folder, open_pack
from vidhair.errors import PackDamaged
from vidhair.models.encoders.attributes import AttributeSpace, pack_attributes
from vidhair.models.encoders.inversion import ENCODERS, Inverter, PublishedEncoder, RestyleLoop
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.encoders.style import SketchEncoder
from vidhair.models.faces.effects import FaceEffects, pack_effects
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.folding import folded
from vidhair.models.generators.aligned import AlignedGenerator, MovableGenerator
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.mappers import BaldMapper, CodeMapper, LevelsMapper
from vidhair.models.parsers.bisenet import BiSeNet, CelebAMaskParser, HairClipParser
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig
from vidhair.models.parsers.head_parser import HeadParser, Parser
from vidhair.models.skip_init import SkipInit
from vidhair.models.styleganex.network import StyleGANEX, StyleGANEXConfig
from vidhair.models.styleganex.tiles import use_own_statistics
from vidhair.process import give_back_memory

# kind of a part → how to build the empty module from its configuration
BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "stylegan3": lambda c: Generator(StyleGAN3Config(**c)),
    "stylegan2": lambda c: AlignedGenerator(StyleGAN2Config(**c)),
    "small_encoder": lambda c: SmallEncoder(SmallEncoderConfig(**c)),
    **{kind: partial(PublishedEncoder.planned, kind) for kind in ENCODERS},
    "face_parser": lambda c: FaceParser(FaceParserConfig(**c)),
    "celebamask_parser": lambda c: CelebAMaskParser(**c),
    "hairclip_parser": lambda c: HairClipParser(**c),
    "face_identity": lambda c: FaceIdentity(**c),
    "levels_mapper": lambda c: LevelsMapper(**c),
    "code_mapper": lambda c: CodeMapper(**c),
    "bald_mapper": lambda c: BaldMapper(**c),
    "sketch_encoder": lambda c: SketchEncoder(**c),
    "styleganex": lambda c: StyleGANEX(StyleGANEXConfig(**c)),
}
# Kinds of parts that are no networks; the last one is for training alone.
TABLES = ("attributes", "effects", "editing_vector", "standardiser")
# What building or filling a network raises if its configuration or its weights make no sense.
MISFITS = (RuntimeError, TypeError, AssertionError, ValueError, ArithmeticError, LookupError)
MAPPER = "mapper-"  # before the name of a mapper, as a part
# Parts for which the bundled pack stands in: they do not belong to a generator.
STAND_INS = ("parser",)


def empty_network(kind: str, config: dict[str, Any]) -> nn.Module:
    """A network whose weights are going to be replaced, without memory for others before.

    Raises one of MISFITS.
    """
    with SkipInit():
        return BUILDERS[kind](config)


def reason_of(error: Exception) -> str:
    """What an error says, on one line."""
    return (str(error).splitlines() or [type(error).__name__])[-1].strip()


@dataclass(frozen=True)
class EditingVector:
    """What a StyleGANEX network for edits adds to codes by one unit. values: [1, L, D]. sign: 1, or
    −1 for a network whose authors subtract it."""

    values: Tensor
    sign: int

    @property
    def signed(self) -> Tensor:
        return self.sign * self.values


@dataclass(frozen=True)
class Mappers:
    """The mappers of StyleCLIP in a pack. build: the network of a name."""

    names: tuple[str, ...]
    build: Callable[[str], CodeMapper | LevelsMapper]

    @property
    def parts(self) -> list[str]:
        return [MAPPER + name for name in self.names]


class Pack:
    """The networks of one pack on one device, in evaluation mode and without gradients."""

    def __init__(self, files: PackFiles, device: str = "cpu", lender: PackFiles | None = None):
        """lender: what parts are taken from that the pack lacks."""
        self.files = files
        self.device = device
        self.lender = lender

    @property
    def name(self) -> str:
        return self.files.name

    def has(self, part: str) -> bool:
        return part in self.files.parts

    def lent(self, lender: PackFiles | None) -> "Pack":
        """With the parts of another pack, where it has none of its own; itself for None."""
        return Pack(self.files, self.device, lender) if lender else self

    def holder(self, part: str) -> PackFiles:
        """The files that a part is taken from; its own, if none has it."""
        if self.has(part):
            return self.files
        if self.lender is not None and part in self.lender.parts:
            return self.lender
        return self._bundled if part in STAND_INS else self.files

    @cached_property
    def _bundled(self) -> PackFiles:
        return open_pack(bundled_folder() / BUNDLED)

    def fingerprint(self, part: str) -> str:
        """sha256 over a part's weights and configuration; goes into cache keys."""
        entry = self.holder(part).part(part)
        text = json.dumps([entry.kind, entry.config, entry.sha256], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @torch.inference_mode(False)  # of weights made in that mode, kernels keep nothing prepared
    def build(self, part: str) -> Any:
        """The network of a part, from its file. Raises PackDamaged."""
        files = self.holder(part)
        entry, tensors = files.part(part), files.tensors(part)
        if entry.kind not in BUILDERS:
            raise PackDamaged(
                f"pack {files.name!r} has a {part} of kind {entry.kind!r}, which this vidhair does "
                "not know; update vidhair"
            )
        try:
            module = empty_network(entry.kind, entry.config)
            module.load_state_dict(tensors, strict=True, assign=True)
        except MISFITS as error:
            raise PackDamaged(
                f"the {part} of pack {files.name!r} does not fit its configuration "
                f"({reason_of(error)}); install the pack again"
            ) from error
        return module.eval().requires_grad_(False).to(self.device)

    @torch.inference_mode(False)
    def faster(self, part: str) -> Any:
        """As `build`, for inference alone: normalisations folded into convolutions."""
        network = folded(self.build(part))
        give_back_memory()  # of the weights as they were
        return network

    @cached_property
    def generator(self) -> MovableGenerator:
        result: MovableGenerator = self.build("generator")
        return result

    @cached_property
    def encoder(self) -> SmallEncoder | PublishedEncoder:
        result: SmallEncoder | PublishedEncoder = self.faster("encoder")
        return result

    @property
    def inverter_parts(self) -> tuple[str, ...]:
        """Whose weights decide what `inverter` gives."""
        looped = self.files.part("encoder").kind.startswith("restyle")
        return ("encoder", "generator") if looped else ("encoder",)

    @cached_property
    def inverter(self) -> Inverter:
        """How pictures become codes."""
        encoder, config = self.encoder, self.encoder.config
        codes: Callable[[Tensor], Tensor] = encoder
        if "generator" in self.inverter_parts:
            assert isinstance(encoder, PublishedEncoder)
            codes = RestyleLoop(encoder, self.generator.synthesis)
        average = encoder.w_mean if isinstance(encoder, SmallEncoder) else encoder.w_avg
        device = torch.device(self.device)
        return Inverter(config.size, config.num_ws, config.w_dim, device, codes, average.cpu())

    @cached_property
    def identity(self) -> FaceIdentity | None:
        """What tells who a face is, if the pack has it."""
        return self.build("identity") if self.has("identity") else None

    @cached_property
    def parser(self) -> Parser:
        network = self.faster("parser")
        return HeadParser(network).eval() if isinstance(network, BiSeNet) else network

    @property
    def mappers(self) -> Mappers:
        names = sorted(part.removeprefix(MAPPER) for part in self.files.parts if MAPPER in part)
        return Mappers(tuple(names), lambda name: self.build(MAPPER + name))

    @cached_property
    def attributes(self) -> AttributeSpace | None:
        """On the CPU; None if it has none. Raises PackDamaged."""
        return pack_attributes(self.files)

    @cached_property
    def effects(self) -> FaceEffects | None:
        """What its attributes do to faces, if it tells that. Raises PackDamaged."""
        return pack_effects(self.files)

    @cached_property
    def styleganex(self) -> StyleGANEX:
        """Its network of whole frames; one that takes labels normalises by each of them."""
        network: StyleGANEX = self.faster("styleganex")
        if network.config.label_channels:
            use_own_statistics(network)
        return network

    @cached_property
    def editing_vector(self) -> EditingVector:
        """Raises PackDamaged."""
        sign = self.holder("editing_vector").part("editing_vector").config.get("sign", 1)
        if sign not in (1, -1):
            raise PackDamaged(
                f"pack {self.name!r} says that the sign of its editing vector is {sign!r}; write "
                "1 or -1"
            )
        return EditingVector(self.table("editing_vector")["editing_w"][:1], sign)

    def table(self, part: str) -> dict[str, Tensor]:
        """Tensors of a part that is no network, on the pack's device."""
        return {n: t.to(self.device) for n, t in self.holder(part).tensors(part).items()}


def load_pack(
    name: str | os.PathLike[str] = BUNDLED, *, device: str | torch.device = "cpu"
) -> Pack:
    """Open a model pack by name or folder.

    Raises PackNotFound or PackDamaged. Networks load on first use.
    """
    return Pack(open_pack(name), str(device))
