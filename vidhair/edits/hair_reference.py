"""The hair of somebody on a photo, its own pixels, in place of the person's."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.cache import fingerprint
from vidhair.edits.dye import Dyeing
from vidhair.edits.edit import Edit
from vidhair.edits.hair_proxy import HairReferenceLatent
from vidhair.errors import InvalidSetting
from vidhair.imaging.color import levels_to_lab
from vidhair.media import read_image
from vidhair.models.pack import Pack
from vidhair.models.parsers.hair_segmenter import HairSegmenter
from vidhair.models.parsers.head_parser import Parser
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.fade import Fade
from vidhair.stages.in_front import in_front, usual_hair
from vidhair.stages.layers import Layer, laid, unit
from vidhair.stages.matte import SURE_ALPHA, HairTone, Matte, MatteConfig
from vidhair.stages.photo import PhotoHair, cut_out, looks_away
from vidhair.stages.photo_fit import face_light, photo_fit
from vidhair.stages.photo_look import photo_look
from vidhair.stages.region import HairWindow
from vidhair.stages.worn import Worn, worn, worn_tone
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Makers, Series, makers, stage


@dataclass(frozen=True, kw_only=True)
class HairReference(Edit):
    kind = "hair_reference"
    reshapes: ClassVar[bool] = True
    style: str = setting("", "a photo of somebody from the front, whose hair is to be worn")
    by: str = setting(
        "layer",
        "layer: the photo's own pixels, turned with the head; latent: the pack draws such hair, as "
        "hair_reference_latent does without steps",
        choices=("layer", "latent"),
    )
    color: str = setting(
        "photo", "of the hair: as on the photo, or the person's own", choices=("photo", "own")
    )

    @property
    def in_frames(self) -> bool:
        return self.by == "layer"

    @property
    def _drawn(self) -> HairReferenceLatent:
        return HairReferenceLatent(style=self.style, color=self.color, steps=0, refine_steps=0)

    @property
    def note(self) -> str:
        return "the hair is the photo's own pixels, turned with the head"

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "style": fingerprint(read_image(self.style))}

    def check(self, pack: Pack, place: str) -> None:
        if not self.style:
            raise InvalidSetting(
                f"{place}.style is empty; give a photo of somebody whose hair is to be worn"
            )
        read_image(self.style)

    def check_drawn(self, pack: Pack, place: str) -> None:
        if self.by == "latent":
            return
        raise InvalidSetting(
            f"{place}.by = 'layer' lays a photo's hair over the frames, and this recipe draws "
            "them; leave out compose.mode = 'replace' and edits that draw, run them before, or let "
            f"{place}.by be 'latent'"
        )

    def makers(self) -> Makers:
        if self.by == "latent":
            return self._drawn.makers()
        hair = self.photo_hair if self.color == "photo" else self.photo_hair_in_own_color
        return makers(
            face_light, usual_hair, in_front, photo_fit, photo_look, worn, self.shown_matte,
            photo_cut=self.photo_cut, photo_hair=hair, layer=self.worn_hair, shown_tone=worn_tone,
        )  # fmt: skip

    @stage(version=14)
    def photo_cut(
        self, parser: Parser, segmenter: HairSegmenter | None, config: MatteConfig
    ) -> PhotoHair:
        return cut_out(read_image(self.style), self.style, parser, segmenter, config)

    @stage(version=11)
    def photo_hair(
        self,
        photo_cut: PhotoHair,
        track: Series[FaceTrack],
        parser: Parser,
        segmenter: HairSegmenter | None,
        config: MatteConfig,
    ) -> PhotoHair:
        """As the person mostly looks."""
        if not looks_away(photo_cut, track.field("mesh")):
            return photo_cut
        mirrored = np.ascontiguousarray(read_image(self.style)[:, ::-1])
        return replace(cut_out(mirrored, self.style, parser, segmenter, config), mirrored=1)

    @stage(version=11)
    def photo_hair_in_own_color(
        self,
        photo_cut: PhotoHair,
        track: Series[FaceTrack],
        hair_tone: Series[HairTone],
        parser: Parser,
        segmenter: HairSegmenter | None,
        config: MatteConfig,
    ) -> PhotoHair:
        found = self.photo_hair(photo_cut, track, parser, segmenter, config)
        area, lab = hair_tone.field("area"), hair_tone.field("mean_lab")
        if not area.any():
            return found
        own = (lab * area[:, None]).sum(0) / area.sum()
        return in_color(found, own)

    @stage(keep=False)
    def worn_hair(
        self,
        frames: Frames,
        worn: Worn,
        track: FaceTrack,
        fade: Fade,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Layer:
        return laid(frames, worn.levels, worn.changed, track, fade, hair_window, at_once)

    @stage(keep=False)
    def shown_matte(self, worn: Worn, shown_tone: HairTone) -> Matte:
        return Matte(worn.alpha, shown_tone.area, shown_tone.mean_lab)


def in_color(photo: PhotoHair, lab: NDArray[np.float32]) -> PhotoHair:
    """A photo's hair, dyed so that its mean is a color in Lab [3]."""
    alpha = photo.alpha.astype(np.float32) / 255
    sure = alpha > SURE_ALPHA
    if not sure.any():
        return photo
    source = levels_to_lab(torch.from_numpy(photo.levels[sure])[None, None])[0, :, 0].mean(1)
    dyeing = Dyeing(source, torch.from_numpy(np.float32(lab)), 1.0, photo.side)
    whole = torch.ones(1, 1, *alpha.shape)
    picture = unit(torch.from_numpy(photo.levels)[None])
    dyed = dyeing.apply(picture, whole)[0].movedim(0, -1).numpy()
    return replace(photo, levels=np.rint(dyed * 255).clip(0, 255).astype(np.uint8))
