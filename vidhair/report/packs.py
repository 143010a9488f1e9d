"""What is told of packs and of weight files: what they hold, and whether it is sound."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vidhair.checkpoints.directions import is_direction, read_direction
from vidhair.checkpoints.foreign import check_tensors, read_checkpoint
from vidhair.checkpoints.packs import PackFiles, Part
from vidhair.models.conversion import Conversion
from vidhair.models.pack import TABLES, Pack
from vidhair.models.recognise import recognise

MB = 1e6
SHOWN = ("resolution", "size", "num_ws", "steps", "label_channels", "skips", "names")


def describe_file(path: Path) -> dict[str, Any]:
    """What a weight file of others holds. Raises CheckpointUnreadable and WeightsDoNotFit."""
    if is_direction(path):
        row = {"part": "attributes", "kind": "direction", "config": {}}
        networks = [{**row, "numbers": len(read_direction(path))}]
        return {"file": str(path), "format": "numpy array", "networks": networks}
    checkpoint = read_checkpoint(path)
    return {
        "file": str(path),
        "format": checkpoint.format,
        "networks": [
            {
                "part": network.part,
                "kind": network.kind,
                "config": network.config,
                "numbers": sum(t.numel() for t in network.tensors.values()),
            }
            for network in recognise(checkpoint)
        ],
    }


def describe_pack(files: PackFiles) -> dict[str, Any]:
    """What a pack holds, from its manifest."""
    return {
        "pack": files.name,
        "folder": str(files.folder),
        "licence": files.manifest.get("licence"),
        "made_from": files.manifest.get("made_from", []),
        "parts": {
            name: {"kind": part.kind, "config": part.config, "bytes": _bytes(files, part)}
            for name, part in files.parts.items()
        },
    }


def _bytes(files: PackFiles, part: Part) -> int | None:
    try:
        return (files.folder / part.file).stat().st_size
    except OSError:
        return None


def file_text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['file']}: {facts['format']}"]
    for network in facts["networks"]:
        size = f"{network['numbers']:,} numbers"
        about = ", ".join([size, *_settings(network["config"])])
        lines.append(f"  {network['part']:<12} {network['kind']} ({about})")
    return "\n".join(lines)


def pack_text(facts: dict[str, Any]) -> str:
    lines = [f"{facts['pack']}: {facts['folder']}", f"licence: {facts['licence'] or 'not said'}"]
    for name, part in facts["parts"].items():
        size = "missing" if part["bytes"] is None else f"{part['bytes'] / MB:.1f} MB"
        about = ", ".join([size, *_settings(part["config"])])
        lines.append(f"  {name:<12} {part['kind']} ({about})")
    lines += [
        f"made from {source.get('file')} (sha256 {str(source.get('sha256'))[:12]}…)"
        for source in facts["made_from"]
    ]
    return "\n".join(lines)


def _settings(config: dict[str, Any]) -> Iterator[str]:
    for name in SHOWN:
        if name in config:
            value = config[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{name} {text}"
    if "radial_filters" in config:
        yield "configuration R" if config["radial_filters"] else "configuration T"


def conversion_text(conversion: Conversion) -> str:
    lines = [f"{part:<12} from {path}" for part, path in conversion.parts.items()]
    lines += [f"{part:<12} of {path} is not used" for part, path in conversion.left_out]
    missing = [part for part in ("generator", "encoder") if part not in conversion.parts]
    if missing:
        lines.append(f"to edit clips it lacks: {', '.join(missing)}")
    elif "parser" not in conversion.parts:
        lines.append("parser       from the bundled pack, when it is used")
    return "\n".join([*lines, str(conversion.folder)])


def verify_pack(pack: Pack) -> Iterator[str]:
    """Check every part as far as can be without running it, a line each.

    Raises PackDamaged or CheckpointUnreadable at the first that is not sound.
    """
    for name, part in pack.files.parts.items():
        path = pack.files.check(name, anew=True)
        check_tensors(path, pack.files.tensors(name))
        if part.kind not in TABLES:
            pack.build(name)
        yield f"{name:<12} {part.kind}: checksum, values and shapes are right"
