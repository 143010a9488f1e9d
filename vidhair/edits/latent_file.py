"""What edits have in common that take numbers of codes from a file."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_directions
from vidhair.edits.edit import GradedEdit
from vidhair.errors import InvalidSetting
from vidhair.models.pack import Pack
from vidhair.settings import setting


@dataclass(frozen=True, kw_only=True)
class EditFromFile(GradedEdit):
    """One row is for all chosen codes; of as many rows as there are codes, each is for its own."""

    file: str = setting("", "rows of numbers: .npy, or a tensor saved by torch")
    row: int | None = setting(None, "which one, from 0, of a file that holds several", low=0)
    layers: str = setting("all", "codes that are changed: all, or such as 0-3,8")

    def identity(self) -> dict[str, Any]:
        """The numbers themselves, so that the file's name does not matter."""
        return super().identity() | {"file": fingerprint(read_directions(Path(self.file)))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.file:
            raise InvalidSetting(f"{place}.file is not given; name a file of numbers")
        config = pack.generator.config
        codes, width = config.num_ws, config.w_dim
        chosen_layers(self.layers, codes, f"{place}.layers")
        rows = read_directions(Path(self.file))
        if rows.shape[1] != width:
            raise InvalidSetting(
                f"{place}.file = {self.file!r} holds rows of {rows.shape[1]} numbers, and "
                f"the codes of this pack have {width}; take one that was made for its generator"
            )
        if self.row is not None and self.row >= len(rows):
            raise InvalidSetting(
                f"{place}.row = {self.row} is not in {self.file!r}, which holds {len(rows)}; give "
                f"0 … {len(rows) - 1}"
            )
        if self.row is None and len(rows) not in (1, codes):
            raise InvalidSetting(
                f"{place}.file = {self.file!r} holds {len(rows)} rows; choose one by {place}.row"
            )

    def rows(self, count: int) -> tuple[Tensor, list[int]]:
        """Rows [1 or K, D] for the K of so many codes that are chosen, and which these are."""
        rows, layers = read_directions(Path(self.file)), chosen_layers(self.layers, count)
        if self.row is not None:
            return rows[self.row : self.row + 1], layers
        return rows[layers] if len(rows) > 1 else rows, layers


def chosen_layers(text: str, count: int, place: str = "edit.layers") -> list[int]:
    """ "all", or numbers and ranges such as "0-3,8" (ends included) → which of `count` codes.

    place: of the setting. Raises InvalidSetting.
    """
    if text.strip() == "all":
        return list(range(count))
    chosen: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last < count:
            raise InvalidSetting(
                f"{place} = {text!r} names no codes; give all, or numbers from 0 to {count - 1} "
                "such as 0-3,8"
            )
        chosen |= set(range(first, last + 1))
    return sorted(chosen)
