"""Weight files of others → one pack."""

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.directions import is_direction, read_direction
from vidhair.checkpoints.packs import file_sha256, user_folder, write_pack
from vidhair.checkpoints.third_party import read_checkpoint, shown_path
from vidhair.conversion.recognise import Found, recognise
from vidhair.errors import OutputNotWritable, WeightsDoNotFit, os_errors
from vidhair.models.generators.mapping import GeneratorConfig
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import StyleGAN3Config
from vidhair.models.pack import MAPPER

GENERATORS: dict[str, type[GeneratorConfig]] = {
    "stylegan3": StyleGAN3Config,
    "stylegan2": StyleGAN2Config,
}
USUAL = 3.0  # how far along a direction faces usually lie
LICENCE = "that of the files it was made from; see their authors' pages before you share results"

Origin = tuple[Path, ...]  # the files of a part
Chosen = dict[str, tuple[Origin, Found]]


@dataclass(frozen=True)
class Conversion:
    """What a pack was made of. parts: name → the files it came from. left_out: (part, file).
    unused: (official name, file) of what is known in the file and has no use."""

    folder: Path
    parts: dict[str, Origin]
    left_out: list[tuple[str, Path]]
    unused: tuple[tuple[str, Path], ...] = ()


def pack_folder(name: str | os.PathLike[str]) -> Path:
    """Where a new pack goes: a bare name lies among the user's packs, all else is a path."""
    path = Path(name)
    bare = os.fspath(name) == path.name and path.name not in ("", ".", "..")
    return user_folder() / path if bare else path


def convert(files: Sequence[str | os.PathLike[str]], pack: str | os.PathLike[str]) -> Conversion:
    """Make a pack of weight files; pack: as `pack_folder` takes it.

    A network with a file of its own goes before one that only lies beside another, such as the
    generator that an encoder was trained for. Nothing is left behind if it fails. Raises
    CheckpointUnreadable, WeightsDoNotFit, OutputNotWritable and DiskFull.
    """
    folder = pack_folder(pack)
    if folder.exists() or folder.is_symlink():
        raise OutputNotWritable(f"{folder} exists already; choose another name or remove it")
    paths = [Path(file) for file in files]
    directions = {path: read_direction(path) for path in paths if is_direction(path)}
    read: list[tuple[Origin, Found]] = [
        ((path,), network)
        for path in paths
        if path not in directions
        for network in recognise(read_checkpoint(path))
    ]
    if directions:
        read.append((tuple(directions), _attributes(directions)))
    taken, left_out = _chosen(read)
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in paths]
    _write(folder, _joined(taken), sources)
    unused = tuple((name, origin[0]) for origin, network in read for name in network.unused)
    parts = {part: origin for part, (origin, _) in taken.items()}
    return Conversion(folder, parts, left_out, unused)


def _attributes(directions: Mapping[Path, Tensor]) -> Found:
    """Directions of InterFaceGAN as a pack's attributes, each called as its file is."""
    names = [path.stem for path in directions]
    widths = {len(direction) for direction in directions.values()}
    if len(set(names)) < len(names) or len(widths) > 1:
        raise WeightsDoNotFit(
            f"the directions {_shown(directions)} need different names and equal lengths "
            f"(they have {', '.join(map(str, sorted(widths)))} numbers); convert others"
        )
    rows = torch.stack(list(directions.values()))
    unit = rows / rows.norm(dim=1, keepdim=True)
    # The distance from the boundary is the attribute's value; where the boundary lies is not told.
    zeros = torch.zeros(len(names))
    space = {"offset": zeros, "low": zeros - USUAL, "high": zeros + USUAL}
    space |= {"directions": unit, "readout": unit}
    return Found("attributes", "attributes", {"names": names}, space)


def _chosen(read: Sequence[tuple[Origin, Found]]) -> tuple[Chosen, list[tuple[str, Path]]]:
    """One network per part, and those for which there is no room."""
    taken: Chosen = {}
    left_out = []
    for origin, network in sorted(read, key=lambda pair: pair[1].beside):
        part = network.part
        if part == "mapper":  # a pack may have many
            part = MAPPER + origin[0].stem
        if part not in taken:
            taken[part] = origin, network
        elif network.beside:
            left_out.append((part, origin[0]))
        else:
            raise WeightsDoNotFit(
                f"{_shown(taken[part][0])} and {_shown(origin)} both hold a {part} "
                f"({taken[part][1].kind}, {network.kind}); leave one of them out"
            )
    return taken, left_out


def _joined(taken: Chosen) -> dict[str, Found]:
    """The networks as they work together. Raises WeightsDoNotFit if they cannot."""
    codes = {part: _codes(network) for part, (_, network) in taken.items()}
    for index, what in enumerate(("codes", "numbers in a code")):
        told = {part: shape[index] for part, shape in codes.items() if shape[index]}
        if len(set(told.values())) > 1:
            each = (f"{part} of {_shown(taken[part][0])}: {told[part]}" for part in told)
            raise WeightsDoNotFit(
                f"the networks do not agree on how many {what} there are ({', '.join(each)}); "
                "convert those that belong together"
            )
    parts = {part: network for part, (_, network) in taken.items()}
    encoder, generator = parts.get("encoder"), parts.get("generator")
    if encoder is not None and "w_avg" not in encoder.tensors:
        if generator is None:
            raise WeightsDoNotFit(
                f"{_shown(taken['encoder'][0])} has no latent_avg, from which the codes of its "
                "encoder start; convert it together with its generator"
            )
        average = generator.tensors["mapping.w_avg"].float()
        w_avg = average.repeat(encoder.config["num_ws"], 1)
        parts["encoder"] = replace(encoder, tensors={**encoder.tensors, "w_avg": w_avg})
    return parts


def _codes(network: Found) -> tuple[int | None, int | None]:
    """(L, D) of the codes that a network takes or gives; None: any number."""
    config = network.config
    if network.kind in GENERATORS:
        return GENERATORS[network.kind](**config).num_ws, config["w_dim"]
    if network.part == "attributes":
        return None, network.tensors["directions"].shape[1]
    if network.part == "styleganex":  # it has an encoder and a generator of its own
        return None, None
    return config.get("num_ws"), config.get("w_dim")


def _shown(paths: Iterable[Path]) -> str:
    return ", ".join(map(shown_path, paths))


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
