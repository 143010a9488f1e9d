"""Training state on disk: tensors in safetensors, the rest in JSON, replaced atomically."""

import csv
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def save_state(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write both into one file; an interrupted write leaves the old one."""
    temporary = path.with_suffix(f".part{os.getpid()}")
    contiguous = {n: t.detach().contiguous() for n, t in tensors.items()}
    save_file(contiguous, temporary, metadata={"meta": json.dumps(meta)})
    temporary.replace(path)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_state` wrote, or None if there is nothing yet."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["meta"])
        return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118


def load_meta(path: Path) -> dict[str, Any] | None:
    """What was told beside the tensors of a state, or None if there is nothing yet."""
    if not path.exists():
        return None
    with safe_open(path, "pt") as file:
        meta: dict[str, Any] = json.loads(file.metadata()["meta"])
    return meta


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{n}": t for n, t in tensors.items()}


def strip(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    n = len(prefix) + 1
    return {name[n:]: t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


class Curves:
    """Measured values, appended to a JSON-lines file so that a resumed run goes on in it."""

    def __init__(self, path: Path, start: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            kept = [
                line for line in path.read_text().splitlines() if json.loads(line)["step"] <= start
            ]
            path.write_text("".join(f"{line}\n" for line in kept))
        self.path = path

    def add(self, step: int, **values: float) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")


class Table:
    """Measured values as a table of comma-separated values, a row a step; a resumed run goes on in
    it, without the rows behind the step that it goes on from. One with other columns keeps those
    that are still known."""

    def __init__(self, path: Path, columns: tuple[str, ...], start: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.columns = path, ("step", *columns)
        rows = list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []
        kept = [[row.get(n, "") for n in self.columns] for row in rows if int(row["step"]) <= start]
        path.write_text("".join(f"{','.join(cells)}\n" for cells in [self.columns, *kept]))

    def add(self, step: int, **values: float) -> None:
        """Columns without a value stay empty."""
        assert set(values) <= set(self.columns), f"{set(values)} in {self.columns}"
        cells = [f"{values[name]:.6g}" if name in values else "" for name in self.columns[1:]]
        with self.path.open("a") as file:
            file.write(",".join([str(step), *cells]) + "\n")


def seed_everything(seed: int) -> torch.Generator:
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
