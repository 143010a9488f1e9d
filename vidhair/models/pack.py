"""A pack's networks, built and loaded when they are first asked for."""

import hashlib
import json
import os
from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from vidhair.checkpoints.packs import BUNDLED, PackFiles, open_pack
from vidhair.errors import PackDamaged
from vidhair.models.encoders import SmallEncoder, SmallEncoderConfig
from vidhair.models.face_parser import FaceParser, FaceParserConfig
from vidhair.models.stylegan3 import Generator, StyleGAN3Config

# kind of a part → how to build the empty module from its configuration
BUILDERS: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "stylegan3": lambda c: Generator(StyleGAN3Config(**c)),
    "small_encoder": lambda c: SmallEncoder(SmallEncoderConfig(**c)),
    "face_parser": lambda c: FaceParser(FaceParserConfig(**c)),
}


class Pack:
    """The networks of one pack on one device, in evaluation mode and without gradients."""

    def __init__(self, files: PackFiles, device: str = "cpu"):
        self.files = files
        self.device = device

    @property
    def name(self) -> str:
        return self.files.name

    def fingerprint(self, part: str) -> str:
        """sha256 over a part's weights and configuration; goes into cache keys."""
        if part not in self.files.parts:
            self.files.tensors(part)  # says what is missing
        entry = self.files.parts[part]
        text = json.dumps([entry.kind, entry.config, entry.sha256], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _build(self, part: str) -> Any:
        tensors = self.files.tensors(part)
        entry = self.files.parts[part]
        if entry.kind not in BUILDERS:
            raise PackDamaged(
                f"pack {self.name!r} has a {part} of kind {entry.kind!r}, which this vidhair does "
                "not know; update vidhair"
            )
        try:
            module = BUILDERS[entry.kind](entry.config)
            module.load_state_dict(tensors, strict=True)
        except (
            RuntimeError, TypeError, AssertionError, ValueError, ArithmeticError, LookupError,
        ) as error:  # fmt: skip
            reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
            raise PackDamaged(
                f"the {part} of pack {self.name!r} does not fit its configuration ({reason}); "
                "install the pack again"
            ) from error
        return module.eval().requires_grad_(False).to(self.device)

    @cached_property
    def generator(self) -> Generator:
        return self._build("generator")

    @cached_property
    def encoder(self) -> SmallEncoder:
        return self._build("encoder")

    @cached_property
    def parser(self) -> FaceParser:
        return self._build("parser")

    def table(self, part: str) -> dict[str, Tensor]:
        """Tensors of a part that is no network, on the pack's device."""
        return {n: t.to(self.device) for n, t in self.files.tensors(part).items()}


def load_pack(name: str | os.PathLike = BUNDLED, *, device: str | torch.device = "cpu") -> Pack:
    """Open a model pack by name or folder.

    Raises PackNotFound or PackDamaged. Networks load on first use.
    """
    return Pack(open_pack(name), str(device))
