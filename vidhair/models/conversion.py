"""Weight files of others → one pack."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.directions import is_direction, read_direction
from vidhair.checkpoints.foreign import read_checkpoint, shown_path
from vidhair.checkpoints.packs import file_sha256, user_folder, write_pack
from vidhair.errors import OutputNotWritable, WeightsDoNotFit, os_errors
from vidhair.models.recognise import Found, recognise

USUAL = 3.0  # how far along a direction faces usually lie
LICENCE = "that of the files it was made from; see their authors' pages before you share results"


@dataclass(frozen=True)
class Conversion:
    """What a pack was made of. parts: name → the file it came from. left_out: (part, file)."""

    folder: Path
    parts: dict[str, Path]
    left_out: list[tuple[str, Path]]


def pack_folder(name: str | os.PathLike) -> Path:
    """Where a new pack goes: a bare name lies among the user's packs, all else is a path."""
    path = Path(name)
    bare = os.fspath(name) == path.name and path.name not in ("", ".", "..")
    return user_folder() / path if bare else path


def convert(files: Sequence[str | os.PathLike], pack: str | os.PathLike) -> Conversion:
    """Make a pack of weight files; pack: as `pack_folder` takes it.

    A network with a file of its own goes before one that only lies beside another, such as the
    generator that an encoder was trained for. Nothing is left behind if it fails. Raises
    CheckpointUnreadable, WeightsDoNotFit, OutputNotWritable and DiskFull.
    """
    folder = pack_folder(pack)
    if folder.exists():
        raise OutputNotWritable(f"{folder} exists already; choose another name or remove it")
    read: list[tuple[Path, Found]] = []
    directions: dict[Path, Tensor] = {}
    for path in map(Path, files):
        if is_direction(path):
            directions[path] = read_direction(path)
        else:
            read += [(path, network) for network in recognise(read_checkpoint(path))]
    if directions:
        read.append((next(iter(directions)), _attributes(directions)))
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in map(Path, files)]
    taken, left_out = _chosen(read)
    parts = _joined({part: network for part, (_, network) in taken.items()})
    _write(folder, parts, sources)
    return Conversion(folder, {part: path for part, (path, _) in taken.items()}, left_out)


def _attributes(directions: Mapping[Path, Tensor]) -> Found:
    """Directions of InterFaceGAN as a pack's attributes, each called as its file is."""
    names = [path.stem for path in directions]
    widths = {len(direction) for direction in directions.values()}
    if len(set(names)) < len(names) or len(widths) > 1:
        raise WeightsDoNotFit(
            f"the directions {', '.join(names)} need different names and equal lengths "
            f"(they have {', '.join(map(str, sorted(widths)))} numbers); convert others"
        )
    rows = torch.stack(list(directions.values()))
    unit = rows / rows.norm(dim=1, keepdim=True)
    # The distance from the boundary is the attribute's value; where the boundary lies is not told.
    zeros = torch.zeros(len(names))
    space = {"offset": zeros, "low": zeros - USUAL, "high": zeros + USUAL}
    space |= {"directions": unit, "readout": unit}
    return Found("attributes", "attributes", {"names": names}, space)


Chosen = dict[str, tuple[Path, Found]]


def _chosen(read: Sequence[tuple[Path, Found]]) -> tuple[Chosen, list[tuple[str, Path]]]:
    """One network per part, and those for which there is no room."""
    taken: Chosen = {}
    left_out = []
    for path, network in sorted(read, key=lambda pair: pair[1].beside):
        part = network.part
        if part == "mapper":  # a pack may have many
            part = f"mapper-{path.stem}"
        if part not in taken:
            taken[part] = path, network
        elif network.beside:
            left_out.append((part, path))
        else:
            raise WeightsDoNotFit(
                f"{shown_path(taken[part][0])} and {shown_path(path)} both hold a {part} "
                f"({taken[part][1].kind}, {network.kind}); leave one of them out"
            )
    return taken, left_out


def _joined(parts: dict[str, Found]) -> dict[str, Found]:
    """The networks as they work together. Raises WeightsDoNotFit if they cannot."""
    encoder, generator = parts.get("encoder"), parts.get("generator")
    if encoder is None:
        return parts
    shape = encoder.config["num_ws"], encoder.config["w_dim"]
    if generator is not None:
        style = generator.tensors["mapping.w_avg"]
        codes = _num_ws(generator), len(style)
        if codes != shape:
            raise WeightsDoNotFit(
                f"the encoder gives {shape[0]} codes of {shape[1]} numbers and the generator takes "
                f"{codes[0]} of {codes[1]}; take two that belong together"
            )
    if "w_avg" not in encoder.tensors:
        if generator is None:
            raise WeightsDoNotFit(
                "the encoder's file has no latent_avg, from which its codes start; convert it "
                "together with its generator"
            )
        w_avg = generator.tensors["mapping.w_avg"].float().expand(shape).contiguous()
        parts["encoder"] = replace(encoder, tensors={**encoder.tensors, "w_avg": w_avg})
    return parts


def _num_ws(generator: Found) -> int:
    if generator.kind == "stylegan3":
        return generator.config["num_layers"] + 2
    return 2 * generator.config["resolution"].bit_length() - 4


def _write(folder: Path, parts: dict[str, Found], sources: list[dict[str, Any]]) -> None:
    """Under another name first, so that a pack is there whole or not at all."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    contents = {part: (n.kind, n.config, n.tensors) for part, n in parts.items()}
    about = {"licence": LICENCE, "made_from": sources}
    try:
        write_pack(unfinished, folder.name, contents, about, dtype=None)
        with os_errors(folder):
            unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
