"""Another color of the hair, in the frames themselves: nothing is drawn, nobody needs to be known.

Beside edits that draw the head anew, the generator draws the color, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.cache import fingerprint
from vidhair.edits.area import PaintedArea, anywhere, check_area, check_area_fits
from vidhair.edits.dye import FRONT_REACH, Coat, Dyeing, lighter_strands
from vidhair.edits.edit import Strength
from vidhair.edits.hair_color_latent import HairColorLatent, TargetColor
from vidhair.errors import InvalidSetting
from vidhair.geometry import CropAxes, Grid
from vidhair.imaging.color import (
    lab_to_rgb,
    linear_to_srgb,
    rgb_to_lab,
    srgb_to_linear,
)
from vidhair.imaging.matting import split_reaches
from vidhair.imaging.named_colors import HAIR_COLORS, is_picture, parse_color
from vidhair.media import read_matte
from vidhair.models.pack import Pack
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.cut_out import frame_matte
from vidhair.stages.facial_hair import (
    PARTS,
    FacialHair,
    facial_colors,
    facial_hair,
    no_facial_hair,
)
from vidhair.stages.fade import Fade
from vidhair.stages.layers import Layer, Patch, make_layer, patch_of, unit, window_of
from vidhair.stages.light import ClipLight, HairLight, clip_light, hair_light
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.types import Clip, Frames
from vidhair.wiring import AtOnce, Makers, Series, Value, makers, stage

FURTHER = ("roots", "exposure", "ends", "highlights", "area", "beard", "brows")
SOFTER = {"beard": 0.8, "brows": 0.5}  # share of the dye that beard and brows take
# Where roots end and ends begin, in sides of the face's crop below its centre.
ROOTS, ENDS = (-0.55, -0.1), (-0.05, 0.5)


@dataclass(frozen=True)
class Dye(Value):
    """target: [T, 3], sRGB in 0 … 1 in the clip's light. strength: [T], how far hair is taken to
    it."""

    ROWS = ("target", "strength")
    target: NDArray[np.float32]
    strength: NDArray[np.float32]


@stage(keep=False)
def former_dye(clip: Clip) -> Dye:
    """None, before the first edit."""
    count = clip.frame_count
    return Dye(np.zeros((count, 3), np.float32), np.zeros(count, np.float32))


@dataclass(frozen=True, kw_only=True)
class HairColor(HairColorLatent):
    """Hair that a former edit colored is taken to the new color from there."""

    kind = "hair_color"
    roots: float = setting(
        0.0, "how far the roots keep their own color: 0 not at all, 1 wholly", low=0.0, high=1.0
    )
    ends: str = setting("", "another color towards the ends (balayage); empty for the same")
    highlights: str = setting("", "a color of single strands; empty for none")
    beard: bool = setting(False, "whether beard and moustache take the dye, too, a bit softer")
    brows: bool = setting(False, "whether the brows take it, about half of it")
    exposure: float = setting(
        0.0, "stops by which the dye is lighter than in the clip's light", low=-3.0, high=3.0
    )
    area: str = setting(
        "",
        "a picture as large as the frame, white (or opaque) where the dye may go, which moves "
        "along with the head; empty for everywhere",
    )
    area_frame: int = setting(0, "the frame that edit.area was painted on, counted from 0", low=0)

    @property
    def in_frames(self) -> bool:
        return True

    @property
    def facial(self) -> tuple[str, ...]:
        return tuple(part for part in PARTS if getattr(self, part))

    def identity(self) -> dict[str, Any]:
        """The further colors themselves, and nothing of those that are not set."""
        own = {k: v for k, v in super().identity().items() if k not in (*FURTHER, "area_frame")}
        own |= {name: value for name in ("roots", "exposure") if (value := getattr(self, name))}
        own |= dict.fromkeys(self.facial, True)
        if self.area:
            own |= {"area": fingerprint(read_matte(self.area)), "area_frame": self.area_frame}
        further = {name: getattr(self, name) for name in ("ends", "highlights")}
        return own | {name: list(parse_color(c)) for name, c in further.items() if c}

    def check(self, pack: Pack, place: str) -> None:
        super().check(pack, place)
        for name in ("ends", "highlights"):
            color = getattr(self, name)
            if is_picture(color):
                raise InvalidSetting(
                    f"{place}.{name} = {color!r} is a picture; give a name "
                    f"({', '.join(HAIR_COLORS)}) or a hex code"
                )
            if color:
                parse_color(color, f"{place}.{name}")
        if self.area:
            check_area(self.area, f"{place}.area")

    @property
    def keeps_hair(self) -> bool:
        return True

    @property
    def painted_over(self) -> bool:
        return bool(self.area)

    def check_clip(self, clip: Clip, place: str) -> None:
        if self.area:
            check_area_fits(self.area, self.area_frame, clip, f"{place}.area")

    def check_drawn(self, pack: Pack, place: str) -> None:
        self._refuse_further(
            place,
            "is for hair that is dyed in the frames, and this recipe draws it anew; leave it out, "
            "or dye in a run of its own",
        )

    def check_dyed_over(self, place: str) -> None:
        self._refuse_further(
            place,
            "is of a dye that a later edit dyes over as a whole; leave it out, or dye in a run of "
            "its own",
        )

    def _refuse_further(self, place: str, why: str) -> None:
        for name in FURTHER:
            if value := getattr(self, name):
                raise InvalidSetting(f"{place}.{name} = {value!r} {why}")

    def makers(self) -> Makers:
        own = makers(
            clip_light, hair_light, self.dye, layer=self.dyed_hair,
            area=self.painted if self.area else anywhere,
        )  # fmt: skip
        if self.facial:
            own |= makers(facial_colors, facial_hair)
        else:
            own |= makers(facial_hair=no_facial_hair)
        return {**super().makers(), **own}

    @stage(keep=False)
    def dye(self, former_dye: Dye, target_color: TargetColor, strength: Strength) -> Dye:
        degree, former = strength.values, former_dye.strength
        # Where there is no former one, none is left of it.
        share = np.where(former == 0, 1, degree)[:, None]
        target = target_color.rgb.astype(np.float32)
        mixed = former_dye.target + share * (target - former_dye.target)
        return Dye(np.clip(mixed, 0, 1), degree + former * (1 - degree))

    @stage(compress=True)
    def painted(self, track: Series[FaceTrack]) -> PaintedArea:
        """Raises InvalidSetting if the frame that it was painted on does not show the person."""
        return PaintedArea.on_frame(self.area, self.area_frame, track, "edit.area_frame")

    @stage(version=4, keep=False)
    def dyed_hair(
        self,
        frames: Frames,
        area: PaintedArea,
        matte: Matte,
        facial_hair: FacialHair,
        track: FaceTrack,
        fade: Fade,
        clip_light: ClipLight,
        hair_light: HairLight,
        dye: Dye,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Layer:
        side = hair_window.side * hair_window.step
        margin = sum(split_reaches(round(FRONT_REACH * side))) + 1

        def patch(item: tuple[int, NDArray[np.uint8]]) -> Patch | None:
            row, frame = item
            alpha, light = matte.alpha[row], hair_light.factor[row]
            facial = [
                (plane, _lab_in_light(lab, light), SOFTER[part])
                for part, plane, lab in zip(
                    PARTS, facial_hair.planes[row], facial_hair.lab[row], strict=False
                )
                if part in self.facial
            ]
            covered = np.stack([alpha, *(plane for plane, *_ in facial)])
            window = window_of(covered, hair_window, (frame.shape[1], frame.shape[0]), margin)
            strength = float(dye.strength[row])
            if window is None or strength == 0:
                return None
            seen = frame[window.pixels][None].copy()
            picture = unit(torch.from_numpy(seen))

            def spread(plane: NDArray[np.uint8]) -> torch.Tensor:
                share = torch.from_numpy(plane)[None, None] / 255
                return frame_matte(share, hair_window, picture, window)

            full = spread(alpha)
            lit = clip_light.factor * light * np.float32(2**self.exposure)
            target = in_light(dye.target[row], lit)
            source = torch.from_numpy(hair_light.lab[row])
            # Beyond the color, and away from it, along the line to it.
            way = strength if not 0 <= strength <= 1 else 1
            axes = track.axes_of(np.array([row]))
            allowed = area.on(axes, window)
            amount = min(1, abs(strength)) * allowed
            dyeing = Dyeing(
                source,
                source + way * (target - source),
                amount * (1 - self.roots * falling(ROOTS, axes, window)) if self.roots else amount,
                side,
                tuple(self._coats(picture, lit, amount, axes, window, side)),
            )
            result = dyeing.apply(picture, full)
            for plane, lab, softer in facial:
                own = spread(plane)
                dyeing = Dyeing(lab, lab + way * (target - lab), softer * amount, side)
                result, full = dyeing.apply(result, own), torch.maximum(full, own)
            return patch_of(window, seen, result, full * (allowed > 0))

        def make(rows: NDArray[np.intp]) -> Iterator[Patch | None]:
            return at_once(patch, frames.numbered(rows))

        return make_layer(frames, track, fade, make)

    def _coats(
        self,
        picture: torch.Tensor,
        lit: NDArray[np.float32],
        amount: torch.Tensor,
        axes: CropAxes,
        window: Grid,
        side: float,
    ) -> Iterator[Coat]:
        if self.ends:
            share = amount * (1 - falling(ENDS, axes, window))
            yield Coat(in_light(_rgb(self.ends), lit), share)
        if self.highlights:
            share = amount * lighter_strands(rgb_to_lab(picture), side)
            yield Coat(in_light(_rgb(self.highlights), lit), share)


def falling(ramp: tuple[float, float], axes: CropAxes, grid: Grid) -> torch.Tensor:
    """From one to zero between two heights in the face's crop, [1, 1, h, w] on a grid.

    ramp: distances below the crop's centre along the face, in sides; axes: of one face, [1, 2]."""
    (down,), (centre,), high = axes.y, axes.centre, axes.side[0] ** 2 / 2
    x, y = (
        torch.arange(n) * grid.step + start + grid.step / 2
        for n, start in ((grid.width, grid.left), (grid.height, grid.top))
    )
    place = ((x - centre[0]) * down[0])[None] + ((y - centre[1]) * down[1])[:, None]
    top, bottom = ramp
    share = ((place / high - top) / (bottom - top)).clamp(0, 1)
    left: torch.Tensor = (1 - share * share * (3 - 2 * share)).float()[None, None]
    return left


def _rgb(color: str) -> NDArray[np.float32]:
    return np.array(parse_color(color), np.float32)


def _lab_in_light(lab: NDArray[np.float32], factor: NDArray[np.float32]) -> torch.Tensor:
    """Lab [3] in the clip's light → in a light that is a multiple [3] of it."""
    return in_light(lab_to_rgb(torch.from_numpy(lab), dim=0).numpy(), factor)


def in_light(rgb: NDArray[np.float32], factor: NDArray[np.float32]) -> torch.Tensor:
    """sRGB [3] in the clip's light → Lab [3] in a light that is a multiple [3] of it."""
    color, light = torch.from_numpy(rgb), torch.from_numpy(factor)
    return rgb_to_lab(linear_to_srgb((srgb_to_linear(color) * light).clamp(0, 1)), dim=0)
