"""What edits have in common that change chosen codes, or take numbers of them from a file."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_directions
from vidhair.edits.edit import GradedEdit
from vidhair.errors import InvalidSetting
from vidhair.models.generators.mapping import GeneratorConfig
from vidhair.models.pack import Pack
from vidhair.settings import setting

LEVELS = ("coarse", "middle", "fine")


def layers_setting() -> Any:
    return setting(
        "all", "codes that are changed: all, coarse, middle, fine, or numbers such as 0-3,8"
    )


@dataclass(frozen=True, kw_only=True)
class EditFromFile(GradedEdit):
    """One row is for all chosen codes; of as many rows as there are codes, each is for its own."""

    file: str = setting(
        "", "rows of numbers: .npy, a tensor saved by torch, or what `vidhair train direction` made"
    )
    row: int | None = setting(None, "which one, from 0, of a file that holds several", low=0)
    layers: int | str = layers_setting()

    def identity(self) -> dict[str, Any]:
        """The numbers themselves, so that the file's name does not matter."""
        return super().identity() | {"file": fingerprint(read_directions(Path(self.file)))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.file:
            raise InvalidSetting(f"{place}.file is not given; name a file of numbers")
        config = pack.generator.config
        codes = config.num_ws
        chosen_layers(self.layers, config, f"{place}.layers")
        rows = read_directions(Path(self.file))
        check_width(rows.shape[1], config, f"{place}.file = {self.file!r}")
        if self.row is not None and self.row >= len(rows):
            raise InvalidSetting(
                f"{place}.row = {self.row} is not in {self.file!r}, which holds {len(rows)}; give "
                f"0 … {len(rows) - 1}"
            )
        if self.row is None and len(rows) not in (1, codes):
            raise InvalidSetting(
                f"{place}.file = {self.file!r} holds {len(rows)} rows; choose one by {place}.row"
            )

    def rows(self, config: GeneratorConfig) -> tuple[Tensor, list[int]]:
        """Rows [1 or K, D] for the K of a generator's codes that are chosen, and which they are."""
        rows, layers = read_directions(Path(self.file)), chosen_layers(self.layers, config)
        if self.row is not None:
            return rows[self.row : self.row + 1], layers
        return rows[layers] if len(rows) > 1 else rows, layers


def check_width(width: int, config: GeneratorConfig, what: str) -> None:
    """Raises InvalidSetting for numbers of another width than a generator's codes have."""
    if width != config.w_dim:
        raise InvalidSetting(
            f"{what} holds rows of {width} numbers, and the codes of this pack have "
            f"{config.w_dim}; take one that was made for its generator"
        )


def chosen_layers(
    text: int | str, config: GeneratorConfig, place: str = "edit.layers"
) -> list[int]:
    """ "all", or levels, numbers and ranges such as "coarse,8-9" (ends included) → which codes.

    place: of the setting. Raises InvalidSetting.
    """
    count, chosen = config.num_ws, set[int]()
    first_middle, first_fine = (min(end, count) for end in config.level_ends)
    bounds = 0, first_middle, first_fine, count
    levels = {name: range(*pair) for name, pair in zip(LEVELS, pairwise(bounds), strict=True)}
    for part in str(text).split(","):
        named = {"all": range(count), **levels}.get(part.strip(), range(0))
        match = re.fullmatch(r"\s*(\d{1,4})\s*(?:-\s*(\d{1,4})\s*)?", part, re.ASCII)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not named and not first <= last < count:
            there = [f"{name} ({codes[0]}-{codes[-1]})" for name, codes in levels.items() if codes]
            raise InvalidSetting(
                f"{place} = {text!r} names no codes; give all, {', '.join(there)}, or numbers from "
                f"0 to {count - 1} such as 0-3,8"
            )
        chosen |= {*named} or {*range(first, last + 1)}
    return sorted(chosen)
