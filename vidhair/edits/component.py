"""Along a principal component of codes (GANSpace, Härkönen et al. 2020), as others found them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.checkpoints.directions import read_components
from vidhair.edits.edit import Strength
from vidhair.edits.latent_file import check_width, chosen_layers, layers_setting
from vidhair.edits.latents import along_in_codes, set_component
from vidhair.edits.stepped import SteppedEdit
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.render import Codes
from vidhair.stages.smooth import ShotCodes, means_of_shots
from vidhair.wiring import Makers, Series, makers, stage


@dataclass(frozen=True, kw_only=True)
class Component(SteppedEdit):
    kind = "component"
    file: str = setting("", "components: GANSpace's .npz, or a table with mean, comp and std")
    component: int = setting(0, "which one, from 0, that with most variance", low=0)
    layers: int | str = layers_setting()
    by: str = setting(
        "add",
        "add: strength is added, as in GANSpace; set: the component gets this value, as in "
        "encoder4editing, wherever the person's mean code stood",
        choices=("add", "set"),
    )
    strength: float | Curve = setting(
        2.0, "in standard deviations, or a curve of it over time", low=-100, high=100
    )

    def identity(self) -> dict[str, Any]:
        """The numbers themselves, so that the file's name does not matter."""
        mean = read_components(Path(self.file)).mean
        return super().identity() | {"file": fingerprint((mean, *self._found))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.file:
            raise InvalidSetting(f"{place}.file is not given; name a file of components")
        config = pack.generator.config
        chosen_layers(self.layers, config, f"{place}.layers")
        found = read_components(Path(self.file))
        check_width(len(found.mean), config, f"{place}.file = {self.file!r}")
        if self.component >= len(found.directions):
            raise InvalidSetting(
                f"{place}.component = {self.component} is not in {self.file!r}, which holds "
                f"{len(found.directions)}; give 0 … {len(found.directions) - 1}"
            )

    def check_moved(self, place: str) -> None:
        if self.by == "set":
            raise InvalidSetting(
                f"{place}.by = 'set' differs between people, and compose.mode = 'difference' shows "
                "what is the same for all; use add, or replace"
            )

    @property
    def _found(self) -> tuple[Tensor, Tensor]:
        """Direction [D] and deviation."""
        found = read_components(Path(self.file))
        return found.directions[self.component], found.deviations[self.component]

    def makers(self) -> Makers:
        own = super().makers()
        if self.by == "add":
            return own
        return {**own, **makers(stood=self.stand, edited_codes=self.valued)}

    def change(self, generator: MovableGenerator, space: AttributeSpace | None) -> Tensor:
        config = generator.config
        direction, deviation = self._found
        still = torch.zeros(1, config.num_ws, config.w_dim)
        layers = chosen_layers(self.layers, config)
        return along_in_codes(still, direction, float(deviation), layers)[0]

    @stage(keep=False)
    def stand(self, codes: Series[Codes], track: Series[FaceTrack]) -> ShotCodes:
        """The mean code of every shot, so that one change is for all its frames."""
        return means_of_shots(codes, track)

    @stage(keep=False)
    def valued(
        self,
        codes: Codes,
        track: FaceTrack,
        strength: Strength,
        stood: ShotCodes,
        generator: MovableGenerator,
    ) -> Codes:
        mean = read_components(Path(self.file)).mean
        before = torch.from_numpy(stood.styles[stood.shot])
        layers, value = chosen_layers(self.layers, generator.config), strength.values
        after = set_component(before, mean, *self._found, torch.from_numpy(value), layers)
        change = (after - before).numpy()
        seen = track.present[:, None, None]
        return Codes(np.where(seen, codes.styles + change, codes.styles))
