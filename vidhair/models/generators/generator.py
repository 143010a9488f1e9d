"""What the generators have in common: mapping and synthesis, z → w → image."""

from typing import Any, ClassVar, Generic, TypeVar

from torch import Tensor, nn

from vidhair.models.generators.mapping import GeneratorConfig, MappingNetwork

Config = TypeVar("Config", bound=GeneratorConfig)


class Generator(nn.Module, Generic[Config]):
    """A mapping network, and a synthesis of the kind that the subclass names."""

    synthesis_class: ClassVar[type[nn.Module]]

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config)
        self.synthesis = self.synthesis_class(config)

    def forward(self, z: Tensor, *, truncation_psi: float = 1.0, **render: Any) -> Tensor:
        """z [B, Z] → image [B, 3, R, R]. render: what the synthesis takes beside the codes."""
        result: Tensor = self.synthesis(self.mapping(z, truncation_psi=truncation_psi), **render)
        return result
