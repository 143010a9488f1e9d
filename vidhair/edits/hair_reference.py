"""The hair of somebody on a photo, its own pixels, in place of the person's."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vidhair.cache import fingerprint
from vidhair.edits.edit import Edit
from vidhair.edits.hair_proxy import HairReferenceLatent
from vidhair.edits.own_color import in_own_color
from vidhair.errors import InvalidSetting
from vidhair.media import read_image
from vidhair.models.pack import Pack
from vidhair.models.parsers.hair_segmenter import HairSegmenter
from vidhair.models.parsers.head_parser import Parser
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.fade import Fade, fade_of_fronts
from vidhair.stages.hair_look import HairLook, hair_look
from vidhair.stages.in_front import in_front, usual_hair
from vidhair.stages.layers import Layer, laid
from vidhair.stages.matte import HairTone, Matte, MatteConfig
from vidhair.stages.photo import PhotoHair, cut_out, looks_away
from vidhair.stages.photo_fit import face_light, photo_fit
from vidhair.stages.photo_look import photo_look
from vidhair.stages.region import HairWindow
from vidhair.stages.wig import strand_hair
from vidhair.stages.worn import Worn, worn, worn_tone
from vidhair.synthetic.wigs import HAIRSTYLES
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Makers, Series, makers, stage


@dataclass(frozen=True, kw_only=True)
class HairReference(Edit):
    kind = "hair_reference"
    reshapes: ClassVar[bool] = True
    style: str = setting(
        "",
        "a photo of somebody from the front, whose hair is to be worn; or a hairstyle that is "
        f"rendered, in the person's own color: {', '.join(HAIRSTYLES)}",
    )
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
    def rendered(self) -> bool:
        """Whether the hair is that of no photo."""
        return self.style in HAIRSTYLES

    @property
    def in_frames(self) -> bool:
        return self.by == "layer"

    @property
    def _drawn(self) -> HairReferenceLatent:
        return HairReferenceLatent(style=self.style, color=self.color, steps=0, refine_steps=0)

    @property
    def note(self) -> str:
        whose = "rendered strands" if self.rendered else "the photo's own pixels"
        return f"the hair is {whose}, turned with the head"

    def identity(self) -> dict[str, Any]:
        of = asdict(HAIRSTYLES[self.style]) if self.rendered else read_image(self.style)
        return {**super().identity(), "style": fingerprint(of)}

    def check(self, pack: Pack, place: str) -> None:
        check_style(self.style, f"{place}.style")
        if self.rendered and self.by == "latent":
            raise InvalidSetting(
                f"{place}.by = 'latent' has the pack draw the hair of a photo, and "
                f"{place}.style = {self.style!r} is none; give a photo, or leave out {place}.by"
            )

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
        own = self.rendered or self.color == "own"
        hair = self.photo_hair_in_own_color if own else self.photo_hair
        return makers(
            face_light, hair_look, usual_hair, in_front, photo_fit, photo_look, worn,
            self.shown_matte, photo_cut=self.photo_cut, photo_hair=hair, layer=self.worn_hair,
            shown_tone=worn_tone, fade=fade_of_fronts,
        )  # fmt: skip

    @stage(version=15)
    def photo_cut(
        self, parser: Parser, segmenter: HairSegmenter | None, config: MatteConfig
    ) -> PhotoHair:
        if self.rendered:
            return strand_hair(HAIRSTYLES[self.style])
        return cut_out(read_image(self.style), self.style, parser, segmenter, config)

    @stage(version=12)
    def photo_hair(
        self,
        photo_cut: PhotoHair,
        track: Series[FaceTrack],
        parser: Parser,
        segmenter: HairSegmenter | None,
        config: MatteConfig,
    ) -> PhotoHair:
        """As the person mostly looks."""
        if self.rendered or not looks_away(photo_cut, track.field("mesh")):
            return photo_cut
        mirrored = np.ascontiguousarray(read_image(self.style)[:, ::-1])
        return replace(cut_out(mirrored, self.style, parser, segmenter, config), mirrored=1)

    @stage(version=12)
    def photo_hair_in_own_color(
        self,
        photo_cut: PhotoHair,
        track: Series[FaceTrack],
        hair_look: HairLook,
        hair_tone: Series[HairTone],
        parser: Parser,
        segmenter: HairSegmenter | None,
        config: MatteConfig,
    ) -> PhotoHair:
        found = self.photo_hair(photo_cut, track, parser, segmenter, config)
        return in_own_color(found, hair_look, hair_tone)

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


def check_style(style: str, called: str) -> None:
    """Refuse what is neither the name of a hairstyle nor a picture. called: what says so, in
    messages.

    Raises InvalidSetting, and what `read_image` does.
    """
    names = ", ".join(HAIRSTYLES)
    if not style:
        raise InvalidSetting(
            f"{called} is empty; give a photo of somebody whose hair is to be worn, or one of "
            f"{names}"
        )
    if style in HAIRSTYLES:
        return
    if not (Path(style).suffix or Path(style).exists()):
        raise InvalidSetting(
            f"{called} = {style!r} is no photo, and no hairstyle that has a name; give a photo, or "
            f"one of {names}"
        )
    read_image(style)
