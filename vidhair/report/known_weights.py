"""What is told of published weights: which there are, under which terms, and which are here."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vidhair.checkpoints.download import present
from vidhair.checkpoints.known import KnownWeights, Licence


def as_data(entries: Iterable[KnownWeights], folder: Path) -> list[dict[str, Any]]:
    """The entries as plain values, with where each lies or would lie."""
    return [
        dataclasses.asdict(entry)
        | {"path": str(folder / entry.file), "present": present(entry, folder)}
        for entry in entries
    ]


def table(entries: Iterable[KnownWeights], folder: Path) -> str:
    """One line per entry, under the licence that it is published with."""
    groups: dict[Licence, list[tuple[str, ...]]] = {}
    for entry in entries:
        here = present(entry, folder)
        state = "here" if here else "can be pulled" if entry.url else "by hand"
        groups.setdefault(entry.licence, []).append((entry.name, entry.part, entry.purpose, state))
    rows = [row for group in groups.values() for row in group]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for licence, group in groups.items():
        lines.append(f"{licence.name}: {licence.terms}")
        for row in group:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            lines.append(f"  {'  '.join(cells)}".rstrip())
        lines.append("")
    return "\n".join([*lines, f"folder  {folder}", "fetch   vidhair models pull NAME"])


def terms(entry: KnownWeights) -> str:
    """The licence of an entry, in one line."""
    licence = entry.licence
    return f"{entry.name}: {licence.name} ({licence.terms}), {licence.text}"


def by_hand(entry: KnownWeights, folder: Path) -> str:
    """What a person has to do for a file that no program may fetch."""
    return (
        f"{entry.name} needs a person to fetch it:\n"
        f"  get   {entry.file}\n"
        f"  from  {entry.page or entry.source}\n"
        f"  as    {folder / entry.file}\n"
        f"and repeat the command, which then checks it; more on it at {entry.source}"
    )
