"""Hair as a text says, drawn by the generator: one change for all frames, judged by CLIP."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.edits.hair_losses import angle_loss
from vidhair.edits.hair_proxy import HairProxy, Keyframes, Proxy
from vidhair.edits.proxies import Aim, Scene
from vidhair.edits.text import WordedEdit
from vidhair.models.clip import CLIP
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.pack import Pack
from vidhair.models.perceptual import FeaturesDistance, Perceptual
from vidhair.settings import setting
from vidhair.wiring import Makers, Meter, makers, stage

WORDS = 1.0  # weight of what CLIP says (HairCLIPv2)
VIEWS, TURN, SHIFT, OFTEN = 8, 15.0, 0.1, 0.7  # of a picture: the first as it is, others moved


@dataclass(frozen=True, kw_only=True)
class HairText(HairProxy, WordedEdit):
    kind: ClassVar[str] = "hair_text"
    text: str = setting("", "what the hair is like, in English, such as 'a bob cut hairstyle'")
    rounds: int = setting(
        0, "rounds in which attributes are fitted; none, as a text tells no shape",
        low=0, high=50,
    )  # fmt: skip
    steps: int = setting(60, "steps towards the hair", low=0, high=2000)

    def identity(self) -> dict[str, Any]:
        return super().identity() | self.words_identity()

    def check(self, pack: Pack, place: str) -> None:
        self.check_words([("text", self.text)], place)

    def makers(self) -> Makers:
        return {**super().makers(), **makers(self.proxy)}

    @stage(steps=lambda edit: edit.all_steps)
    def proxy(
        self,
        keyframes: Keyframes,
        space: AttributeSpace | None,
        perceptual: Perceptual,
        meter: Meter,
    ) -> Proxy:
        """The change by which faces have hair as the text says."""
        reader = self.reader()
        wanted = reader.embedded([self.text]).clone()
        device = keyframes.scenes[0].codes.device
        judge, rng = reader.clip.to(device), torch.Generator().manual_seed(0)

        def sees(pictures: Tensor, rows: Tensor) -> Tensor:
            return WORDS * words_loss(judge, pictures, wanted.to(device), rng)

        def aim(index: int, scene: Scene, distance: FeaturesDistance) -> Aim:
            start = self.unchanged(scene)
            # Where hair is to be nobody has said.
            return Aim(start, scene.hair, scene.codes.new_zeros(len(scene.codes)), None, sees)

        return self.find(keyframes, aim, space, perceptual, meter)


def words_loss(clip: CLIP, pictures: Tensor, wanted: Tensor, rng: torch.Generator) -> Tensor:
    """Half the squared angle between what CLIP sees in views of pictures [B, 3, H, W] and a text
    [1, E], on average."""
    views = torch.cat([pictures, *(moved_view(pictures, rng) for _ in range(VIEWS - 1))])
    return angle_loss(clip.see(views), wanted)


def moved_view(pictures: Tensor, rng: torch.Generator) -> Tensor:
    """Pictures turned and moved a little at random, or, now and then, as they are."""
    if float(torch.rand(1, generator=rng)) > OFTEN:
        return pictures
    turn, x, y = (2 * torch.rand(3, generator=rng) - 1).tolist()
    angle = torch.tensor(turn * TURN).deg2rad()
    cos, sin = float(angle.cos()), float(angle.sin())
    matrix = pictures.new_tensor([[cos, -sin, 2 * SHIFT * x], [sin, cos, 2 * SHIFT * y]])
    grid = F.affine_grid(
        matrix.expand(len(pictures), -1, -1), list(pictures.shape), align_corners=False
    )
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
