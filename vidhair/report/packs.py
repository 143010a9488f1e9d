"""What is told of packs and of weight files: what they hold, and whether it is sound."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vidhair.checkpoints.directions import is_direction, read_direction
from vidhair.checkpoints.packs import PackFiles, Part
from vidhair.checkpoints.third_party import check_tensors, read_checkpoint, shown_path
from vidhair.conversion.convert import Conversion
from vidhair.conversion.recognise import recognise
from vidhair.flow.graph import makers_of, planned
from vidhair.models.encoders.attributes import pack_attributes
from vidhair.models.encoders.inversion import Inverter
from vidhair.models.faces.effects import pack_effects
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import TABLES, EditingVector, Pack
from vidhair.models.styleganex.network import StyleGANEX
from vidhair.recipe import load_recipe, recipe_names

MB = 1e6
SHOWN = ("task", "resolution", "size", "num_ws", "steps", "label_channels", "skips", "names")


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


# What stages take that only a pack has, and the part that it is.
ASKED = {
    MovableGenerator: "generator",
    Inverter: "encoder",
    StyleGANEX: "styleganex",
    EditingVector: "editing_vector",
}


def recipes_served(files: PackFiles) -> list[str]:
    """The recipes that come with vidhair for which a pack has the networks."""
    served = []
    for name in recipe_names():
        recipe = load_recipe(name)
        kinds = {
            needed.kind for made in planned(makers_of(recipe)) for needed in made.inputs.values()
        }
        parts = {part for kind, part in ASKED.items() if kind in kinds}
        lenders = [edit.lender(files) for edit in recipe.edits]
        held = files.parts.keys() | {part for one in lenders if one for part in one.parts}
        if parts <= held and all(edit.served_by(files) for edit in recipe.edits):
            served.append(name)
    return served


def describe_pack(files: PackFiles) -> dict[str, Any]:
    """What a pack holds, from its manifest, and which recipes it serves."""
    sources = files.manifest.get("made_from")
    sources = sources if isinstance(sources, list) else []
    return {
        "pack": files.name,
        "folder": str(files.folder),
        "licence": files.manifest.get("licence"),
        "made_from": [source for source in sources if isinstance(source, dict)],
        "recipes": recipes_served(files),
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
    rows = [
        (network["part"], _about(network, f"{network['numbers']:,} numbers"))
        for network in facts["networks"]
    ]
    file = shown_path(Path(facts["file"]))
    return "\n".join([f"{file}: {facts['format']}", *_columns(rows, "  ")])


def pack_text(facts: dict[str, Any]) -> str:
    sizes = {
        name: "missing" if part["bytes"] is None else f"{part['bytes'] / MB:.1f} MB"
        for name, part in facts["parts"].items()
    }
    rows = [(name, _about(part, sizes[name])) for name, part in facts["parts"].items()]
    return "\n".join(
        [
            f"{facts['pack']}: {facts['folder']}",
            f"licence: {facts['licence'] or 'not said'}",
            *_columns(rows, "  "),
            f"for the recipes {', '.join(facts['recipes']) or '(none)'}",
            *(
                f"made from {shown_path(Path(str(source.get('file'))))} "
                f"(sha256 {str(source.get('sha256'))[:12]}…)"
                for source in facts["made_from"]
            ),
        ]
    )


def _about(network: dict[str, Any], size: str) -> str:
    return f"{network['kind']} ({', '.join([size, *_settings(network['config'])])})"


def _settings(config: dict[str, Any]) -> Iterator[str]:
    for name in SHOWN:
        if name in config:
            value = config[name]
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{name} {text}"
    if "radial_filters" in config:
        yield "configuration R" if config["radial_filters"] else "configuration T"


def _columns(rows: Sequence[tuple[str, str]], before: str = "") -> list[str]:
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{before}{name:<{width}}  {text}" for name, text in rows]


def conversion_text(conversion: Conversion) -> str:
    rows = [
        (part, f"from {', '.join(map(shown_path, origin))}")
        for part, origin in conversion.parts.items()
    ]
    rows += [(part, f"of {shown_path(path)} is not used") for part, path in conversion.left_out]
    rows += [
        (name if name.isprintable() else ascii(name), f"of {shown_path(path)} is not used")
        for name, path in conversion.unused
    ]
    missing = [part for part in ("generator", "encoder") if part not in conversion.parts]
    if "styleganex" in conversion.parts:  # it is complete
        missing = []
    if not missing and "parser" not in conversion.parts:
        rows.append(("parser", "from the bundled pack, when it is used"))
    lines = _columns(rows)
    if missing:
        lines.append(f"to edit clips it lacks: {', '.join(missing)}")
    return "\n".join([*lines, shown_path(conversion.folder)])


def verify_pack(pack: Pack) -> Iterator[str]:
    """Check every part as far as can be without running it, a line each.

    Raises PackDamaged or CheckpointUnreadable at the first that is not sound.
    """
    width = max(map(len, pack.files.parts), default=0)
    for name, part in pack.files.parts.items():
        path = pack.files.check(name, anew=True)
        check_tensors(path, pack.files.tensors(name))
        right = "checksum, values and shapes"
        if part.kind == "attributes":
            pack_attributes(pack.files)
        elif part.kind == "effects":
            pack_effects(pack.files)
        elif part.kind in TABLES:
            right = "checksum and values"  # nothing tells its shapes
        else:
            pack.build(name)
        yield f"{name:<{width}}  {part.kind}: {right} are right"
