"""Model packs: a folder of safetensors files and a manifest that says what they are.

    manifest.json   name, licence, parts (kind, configuration, file, sha256), training, quality
    <part>.safetensors

Only tensors and JSON are read; nothing in a pack is ever executed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vidhair.checkpoints.intact import known_intact, remember_intact
from vidhair.errors import PackDamaged, PackNotFound, os_errors

FORMAT = 1
BUNDLED = "rendered-faces"
TOON = "toon"  # what a cartoon's proportions are
# The packs of small networks for whole frames, by StyleGANEX's task.
SHIPPED = {"super_resolution": "restore"}
PACKS_VARIABLE = "VIDHAIR_PACKS"
CODES = {  # what safetensors calls types
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def bundled_folder() -> Path:
    """Where the packs that ship with vidhair lie."""
    return Path(__file__).parent.parent / "packs"


def user_folder() -> Path:
    """Where a user's own packs lie; the environment variable VIDHAIR_PACKS overrides it."""
    override = os.environ.get(PACKS_VARIABLE)
    return Path(override) if override else Path.home() / ".local" / "share" / "vidhair" / "packs"


@dataclass(frozen=True)
class Part:
    """One network or table of a pack."""

    kind: str
    config: dict[str, Any]
    file: str
    sha256: str


@dataclass(frozen=True)
class PackFiles:
    """An opened pack: manifest read and checked for form, tensors not yet loaded."""

    folder: Path
    name: str
    manifest: dict[str, Any]
    parts: dict[str, Part]

    def part(self, part: str) -> Part:
        """Raises PackDamaged if the pack has no such part."""
        if part not in self.parts:
            have = ", ".join(self.parts)
            raise PackDamaged(
                f"pack {self.name!r} has no part {part!r} (it has {have}); use a pack that does"
            )
        return self.parts[part]

    def check(self, part: str, *, anew: bool = False) -> Path:
        """The file of a part, whose sha256 is that of the manifest; raises PackDamaged.

        anew: even if this very file was found intact before.
        """
        entry = self.part(part)
        path = self.folder / entry.file
        remedy = "install vidhair or the pack again"
        try:
            if not anew and known_intact(path, entry.sha256):
                return path
            digest = file_sha256(path)
        except OSError as error:
            raise PackDamaged(f"{path} cannot be read ({error.strerror}); {remedy}") from error
        if digest != entry.sha256:
            raise PackDamaged(
                f"{path} does not match its manifest (sha256 {digest[:12]}…, expected "
                f"{entry.sha256[:12]}…); {remedy}"
            )
        remember_intact(path, digest)
        return path

    def tensors(self, part: str) -> dict[str, Tensor]:
        """The tensors of a part in float32, after checking its file.

        Those that the file holds in float32 lie over it. Raises PackDamaged.
        """
        path = self.check(part)
        remedy = "install vidhair or the pack again"
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise PackDamaged(f"{path} is not a safetensors file ({error}); {remedy}") from error
        return {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_pack(name: str | os.PathLike[str]) -> Path:
    """The folder of a pack: a path, or a name among the user's and the bundled packs."""
    path = Path(name)
    for folder in (path, user_folder() / path, bundled_folder() / path):
        if (folder / "manifest.json").is_file():
            return folder
    if path.is_dir():
        raise PackNotFound(f"{path} has no manifest.json; name the folder of the pack itself")
    known = sorted(
        p.parent.name for f in (user_folder(), bundled_folder()) for p in f.glob("*/manifest.json")
    )
    raise PackNotFound(
        f"there is no pack {str(name)!r}; known packs: {', '.join(known) or 'none'} "
        f"(looked in {user_folder()} and in vidhair itself)"
    )


def open_pack(name: str | os.PathLike[str] = BUNDLED) -> PackFiles:
    """Open a pack by name or path and check the form of its manifest."""
    folder = find_pack(name)
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != FORMAT:
            raise PackDamaged(
                f"{path} has format {manifest['format']!r}, this vidhair reads {FORMAT}; "
                "update vidhair or convert the pack again"
            )
        parts = {}
        for key, entry in manifest["parts"].items():
            part = Part(
                str(entry["kind"]), dict(entry["config"]), str(entry["file"]), str(entry["sha256"])
            )
            if Path(part.file).name != part.file:
                raise PackDamaged(f"{path} names {part.file!r}, which is outside the pack")
            parts[str(key)] = part
        return PackFiles(folder, str(manifest["name"]), manifest, parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise PackDamaged(
            f"{path} is not a pack manifest ({type(error).__name__}: {error}); "
            "install vidhair or the pack again"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """A safetensors file, one tensor in memory at a time: safetensors' own writing holds
    copies of all, and does not say that a disk is full.

    dtype: of floating-point tensors; None: as they are.
    """

    def stored(tensor: Tensor) -> torch.dtype:
        return dtype if dtype and tensor.is_floating_point() else tensor.dtype

    # Large numbers first, so that all are aligned.
    names = sorted(tensors, key=lambda name: (-stored(tensors[name]).itemsize, name))
    header: dict[str, Any] = {}
    at = 0
    for name in names:
        kind, shape = stored(tensors[name]), list(tensors[name].shape)
        offsets = [at, at := at + tensors[name].numel() * kind.itemsize]
        header[name] = {"dtype": CODES[kind], "shape": shape, "data_offsets": offsets}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            tensor = tensors[name].detach().to("cpu", stored(tensors[name]))
            file.write(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().data)


def write_pack(
    folder: Path,
    name: str,
    parts: Mapping[str, tuple[str, Mapping[str, Any], Mapping[str, Tensor]]],
    about: Mapping[str, Any],
    *,
    dtype: torch.dtype | None = torch.float16,
) -> None:
    """Write a pack. parts: name → (kind, configuration, tensors); about: further manifest entries.

    Floating-point tensors are stored as `dtype`; None: as they are.
    """
    entries = {}
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for key, (kind, config, tensors) in parts.items():
            file = f"{key}.safetensors"
            write_tensors(folder / file, tensors, dtype)
            sha256 = file_sha256(folder / file)
            entries[key] = {"kind": kind, "config": dict(config), "file": file, "sha256": sha256}
        manifest = {"format": FORMAT, "name": name, **about, "parts": entries}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
