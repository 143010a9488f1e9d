"""Along what a generator's own layers respond to most: found without a file or a label."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.edits.latent_file import chosen_layers, layers_setting
from vidhair.edits.latents import along_in_codes, factorize
from vidhair.edits.stepped import SteppedEdit
from vidhair.errors import InvalidSetting
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.generators.aligned import MovableGenerator
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting


@dataclass(frozen=True, kw_only=True)
class Sefa(SteppedEdit):
    """Closed-form factorisation (Shen and Zhou 2021): of the affine maps of the chosen codes'
    convolutions, which are the codes that move."""

    kind = "sefa"
    component: int = setting(0, "which direction, from 0, that which is felt most", low=0)
    layers: int | str = layers_setting()
    strength: float | Curve = setting(
        2.0, "how far, in lengths of the direction, or a curve of it over time", low=-100, high=100
    )

    def check(self, pack: Pack, place: str) -> None:
        config = pack.generator.config
        layers = chosen_layers(self.layers, config, f"{place}.layers")
        if self.component >= config.w_dim:
            raise InvalidSetting(
                f"{place}.component = {self.component} is not there; this pack's codes have "
                f"{config.w_dim} numbers, so give 0 … {config.w_dim - 1}"
            )
        if not self._weights(pack.generator, layers):
            raise InvalidSetting(
                f"{place}.layers = {self.layers!r} are codes of no convolution; choose others"
            )

    def _weights(self, generator: MovableGenerator, layers: list[int]) -> dict[int, Tensor]:
        affines = generator.synthesis.code_affines()
        return {code: weight.float() for code, weight in affines if code in layers}

    def change(self, generator: MovableGenerator, space: AttributeSpace | None) -> Tensor:
        config = generator.config
        weights = self._weights(generator, chosen_layers(self.layers, config))
        directions, _ = factorize([weight.cpu() for weight in weights.values()])
        direction = directions[self.component]
        # An eigenvector has no sense; its largest number is made positive, so that it keeps one.
        direction = direction * direction[direction.abs().argmax()].sign()
        still = torch.zeros(1, config.num_ws, config.w_dim)
        return along_in_codes(still, direction, 1.0, list(weights))[0]
