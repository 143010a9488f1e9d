"""A direction that others published, from a file: InterFaceGAN's, or rows of such directions."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_directions
from vidhair.edits.edit import GradedEdit, Strength, moved
from vidhair.edits.latents import along_in_codes
from vidhair.errors import InvalidSetting
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.wiring import Makers, makers, stage


@dataclass(frozen=True, kw_only=True)
class Direction(GradedEdit):
    """One row moves all chosen codes alike; as many rows as there are codes, each its own."""

    kind = "direction"
    file: str = setting("", "numbers of one direction or more: .npy, or a tensor saved by torch")
    row: int | None = setting(None, "which one, from 0, of a file that holds several", low=0)
    layers: str = setting("all", "codes that are moved: all, or such as 0-3,8")
    strength: float | Curve = setting(
        1.0, "how far, in lengths of the direction, or a curve of it over time", low=-100, high=100
    )

    def identity(self) -> dict[str, Any]:
        """The numbers themselves, so that the file's name does not matter."""
        return super().identity() | {"file": fingerprint(read_directions(Path(self.file)))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.file:
            raise InvalidSetting(f"{place}.file is not given; name the file of a direction")
        config = pack.generator.config
        codes, width = config.num_ws, config.w_dim
        chosen_layers(self.layers, codes, f"{place}.layers")
        rows = read_directions(Path(self.file))
        if rows.shape[1] != width:
            raise InvalidSetting(
                f"{place}.file = {self.file!r} holds directions of {rows.shape[1]} numbers, and "
                f"the codes of this pack have {width}; take one that was made for its generator"
            )
        if self.row is not None and self.row >= len(rows):
            raise InvalidSetting(
                f"{place}.row = {self.row} is not in {self.file!r}, which holds {len(rows)}; give "
                f"0 … {len(rows) - 1}"
            )
        if self.row is None and len(rows) not in (1, codes):
            raise InvalidSetting(
                f"{place}.file = {self.file!r} holds {len(rows)} directions; choose one by "
                f"{place}.row"
            )

    def makers(self) -> Makers:
        return makers(strength=self.over_time, edited_codes=self.directed)

    @stage(keep=False)
    def directed(self, codes: Codes, track: FaceTrack, strength: Strength) -> Codes:
        return moved(codes, track, strength, self._change(codes.styles.shape[1]).numpy())

    def _change(self, count: int) -> Tensor:
        """Of each of so many codes, [L, D]."""
        rows = read_directions(Path(self.file))
        rows = rows if self.row is None else rows[self.row : self.row + 1]
        layers = chosen_layers(self.layers, count)
        none = torch.zeros(1, count, rows.shape[1])
        return along_in_codes(none, rows[layers] if len(rows) > 1 else rows[0], 1.0, layers)[0]


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
