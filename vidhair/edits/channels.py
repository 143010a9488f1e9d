"""Single channels of StyleSpace (Wu et al. 2021): a few numbers of the styles, and nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_channels
from vidhair.edits.style_space import StyleEdit, StyleSpread, style_sizes
from vidhair.errors import InvalidSetting
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting

Channel = tuple[int, int, float]  # layer, channel, how many deviations it moves by one unit


@dataclass(frozen=True, kw_only=True)
class Channels(StyleEdit):
    """Layers are counted in the order in which they run: with StyleGAN2 as in the paper, the layers
    to colors among them, with StyleGAN3 the transform's first."""

    kind = "channels"
    channels: str = setting(
        "", "layer/channel, and how much of it, such as 6/501 or 6/501:-2, 9/409"
    )
    file: str = setting("", "instead, what `vidhair train channels` found")
    strength: float | Curve = setting(
        5.0, "in standard deviations of a channel, or a curve of it over time", low=-100, high=100
    )

    def identity(self) -> dict[str, Any]:
        """The channels themselves, however they are told."""
        return super().identity() | {"channels": fingerprint(self.chosen()), "file": ""}

    def check(self, pack: Pack, place: str) -> None:
        if bool(self.channels) == bool(self.file):
            given = "both are" if self.file else "neither is"
            raise InvalidSetting(f"{place}.channels or {place}.file is needed, and {given} given")
        sizes = style_sizes(pack.generator)
        told = f"{place}.file = {self.file!r}" if self.file else f"{place}.channels"
        for layer, channel, _ in self.chosen(place):
            if layer >= len(sizes):
                raise InvalidSetting(
                    f"{told}: there is no layer {layer}; this pack's generator has "
                    f"{len(sizes)}, 0 … {len(sizes) - 1}"
                )
            if channel >= sizes[layer]:
                raise InvalidSetting(
                    f"{told}: layer {layer} of this pack's generator has "
                    f"{sizes[layer]} channels, so there is no {layer}/{channel}"
                )

    def chosen(self, place: str = "edit") -> Sequence[Channel]:
        """Raises InvalidSetting, and the errors of a file that cannot be read."""
        if self.file:
            return read_channels(Path(self.file))
        return parsed_channels(self.channels, f"{place}.channels")

    def style_change(self, spread: StyleSpread) -> NDArray[np.float32]:
        change = np.zeros_like(spread.deviation)
        starts = np.cumsum([0, *spread.sizes])
        for layer, channel, amount in self.chosen():
            place = starts[layer] + channel
            change[place] += amount * spread.deviation[place]
        return change


def parsed_channels(text: str, place: str) -> list[Channel]:
    """ "6/501:-2, 9_409" → [(6, 501, −2.0), (9, 409, 1.0)]. Raises InvalidSetting."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(
            r"\s*(\d{1,4})[/_](\d{1,6})\s*(?::\s*([+-]?\d{1,4}(?:\.\d{1,6})?))?\s*", part, re.ASCII
        )
        if match is None:
            raise InvalidSetting(
                f"{place} = {text!r} is no list of channels; write layer/channel, and :amount "
                "behind it if you like, such as 6/501 or 6/501:-2, 9/409"
            )
        found.append((int(match[1]), int(match[2]), float(match[3] or 1.0)))
    return found
