"""A published parser in the place of the bundled one: the same four labels, from other networks."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from vidhair.models.parsers.bisenet import (
    BiSeNet,
    CelebAMaskLabel,
    CelebAMaskParser,
    HairClipLabel,
    HairClipParser,
    imagenet_normalised,
)
from vidhair.models.parsers.face_parser import FaceParser, Label

# The labels of a network that are not skin; skin are all others: face, ears, neck, glasses …
Groups = Mapping[Label, Sequence[int]]
GROUPS: dict[type[BiSeNet], Groups] = {
    CelebAMaskParser: {
        Label.BACKGROUND: (CelebAMaskLabel.BACKGROUND,),
        Label.HAIR: (CelebAMaskLabel.HAIR,),
        Label.CLOTHES: (
            CelebAMaskLabel.CLOTHES,
            CelebAMaskLabel.HAT,
            CelebAMaskLabel.EARRING,
            CelebAMaskLabel.NECKLACE,
        ),
    },
    HairClipParser: {
        Label.BACKGROUND: (HairClipLabel.BACKGROUND,),
        Label.HAIR: (HairClipLabel.HAIR,),
        Label.CLOTHES: (HairClipLabel.CLOTHES,),
    },
}


class HeadParser(nn.Module):
    """A BiSeNet as the flow takes a parser. Any size whose sides are multiples of `stride`."""

    stride = 32
    face_pixels = 256  # side of the face crop as it sees it; training had twice as many

    def __init__(self, network: BiSeNet):
        super().__init__()
        self.network = network
        groups = GROUPS[type(network)]
        taken = {index for group in groups.values() for index in group}
        rest = [index for index in range(network.labels) if index not in taken]
        self.groups = [list(groups.get(label, rest)) for label in Label]

    def features(self, image: Tensor) -> list[Tensor]:
        """Feature maps at 1/4 to 1/32 of the size. image: [B, 3, H, W] in −1 … 1."""
        backbone = self.network.context.backbone
        result: list[Tensor] = backbone(imagenet_normalised(image), backbone.stage_ends)
        return result

    def forward(self, image: Tensor, guides: Tensor | None = None) -> Tensor:
        """image [B, 3, H, W] in −1 … 1 → logits [B, 4, H, W] of `Label`; guides are not used."""
        logits = self.network.logits(imagenet_normalised(image))
        return torch.stack([logits[:, group].logsumexp(1) for group in self.groups], 1)


Parser = FaceParser | HeadParser  # as the flow takes one
