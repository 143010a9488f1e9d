"""Another color of the hair, in the frames themselves: nothing is drawn, nobody needs to be known.

Beside edits that draw the head anew, the generator draws the color, too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from vidhair.cache import fingerprint
from vidhair.edits.area import PaintedArea, anywhere, check_area, check_area_fits
from vidhair.edits.colors import HAIR_COLORS, is_picture, parse_color
from vidhair.edits.dye import FRONT_REACH, Coat, Dyeing, lighter_strands
from vidhair.edits.edit import Strength
from vidhair.edits.hair_color_latent import HairColorLatent, TargetColor
from vidhair.errors import InvalidSetting
from vidhair.geometry import CropAxes, Grid
from vidhair.imaging.color import (
    lab_to_rgb,
    levels_to_lab,
    linear_to_srgb,
    rgb_to_lab,
    srgb_to_linear,
)
from vidhair.imaging.matting import split_reaches
from vidhair.media import read_matte
from vidhair.models.pack import Pack
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.compose import (
    Fade,
    Layer,
    Patch,
    frame_matte,
    make_layer,
    patch_of,
    unit,
    window_of,
)
from vidhair.stages.facial_hair import (
    PARTS,
    FacialHair,
    facial_colors,
    facial_hair,
    no_facial_hair,
)
from vidhair.stages.matte import Matte
from vidhair.stages.region import MIDDLE, HairWindow, face_part
from vidhair.types import Clip, Frames
from vidhair.wiring import Makers, Series, Value, makers, stage

FURTHER = ("roots", "ends", "highlights", "area", "beard", "brows")
SOFTER = {"beard": 0.8, "brows": 0.5}  # share of the dye that beard and brows take
# Where roots end and ends begin, in sides of the face's crop below its centre.
ROOTS, ENDS = (-0.55, -0.1), (-0.05, 0.5)
SKIN_FRAMES = 8  # in which skin tells the color of the light
SKIN_HUE = 52.0  # of the skin of most people in daylight, in degrees of Lab
SKIN_TOLD = 0.3  # exponent: how far what is unlike that is taken for the light's color
MOST_TINTED = (0.88, 1.14)
LIGHT_FRAMES = 1.5  # deviation, in frames, of the mean over which light is followed
LEAST_LIGHT, MOST_LIGHT = 0.002, 4.0  # of the clip's light on the hair, that frames may have


@dataclass(frozen=True)
class HairLight(Value):
    """lab: [T, 3], the hair's mean color in each frame's light. factor: [T, 3], that light as a
    multiple of the clip's, of linear RGB."""

    ROWS = ("lab", "factor")
    lab: NDArray[np.float32]
    factor: NDArray[np.float32]


@dataclass(frozen=True)
class ClipLight(Value):
    """factor: [3], the color of the clip's light as a multiple of daylight, of linear RGB."""

    factor: NDArray[np.float32]


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


@stage()
def hair_light(matte: Series[Matte], track: Series[FaceTrack]) -> HairLight:
    """Followed from frame to frame within a shot: it dims with a fade and turns with a lamp."""
    area, lab = matte.field("area").astype(np.float64), matte.field("mean_lab")
    rgb = lab_to_rgb(torch.from_numpy(lab), dim=1)
    linear = srgb_to_linear(rgb).numpy().astype(np.float64)
    shot = np.cumsum(track.field("cuts"))
    smoothed = np.zeros_like(linear)
    for number in np.unique(shot):
        rows = np.flatnonzero(shot == number)
        weight = gaussian_filter1d(area[rows], LIGHT_FRAMES, mode="nearest")
        sums = gaussian_filter1d(linear[rows] * area[rows, None], LIGHT_FRAMES, 0, mode="nearest")
        smoothed[rows] = sums / (weight[:, None] + 1e-9)
    typical = (linear * area[:, None]).sum(0) / (area.sum() + 1e-9)
    factor = np.clip(smoothed / (typical + 1e-9), LEAST_LIGHT, MOST_LIGHT)
    if not area.any():  # nothing tells of it
        factor[:] = 1
    found = rgb_to_lab(linear_to_srgb(torch.from_numpy(smoothed).float()), dim=1).numpy()
    return HairLight(found.astype(np.float32), factor.astype(np.float32))


@stage(version=2)
def clip_light(
    frames: Series[Frames], track: Series[FaceTrack], hair_window: HairWindow
) -> ClipLight:
    """The light that gives the person's skin its hue: in daylight all skin has nearly the same."""
    present = np.flatnonzero(track.field("present"))
    chosen = present[np.linspace(0, len(present) - 1, min(SKIN_FRAMES, len(present))).astype(int)]
    colors = []
    for frame in chosen.tolist():
        one = frame, frame + 1
        skin = face_part(MIDDLE, track.rows(*one), range(1), hair_window)[0, 0] > 0.5
        seen = torch.from_numpy(hair_window.cut(frames.rows(*one).pixels[0]))[skin.numpy()]
        if len(seen):
            colors.append(levels_to_lab(seen[None, None])[0, :, 0].median(1).values)
    if not colors:
        return ClipLight(np.ones(3, np.float32))
    skin = torch.stack(colors).median(0).values
    chroma, hue = skin[1:].norm(), math.radians(SKIN_HUE)
    usual = torch.stack([skin[0], chroma * math.cos(hue), chroma * math.sin(hue)])
    lit, plain = (srgb_to_linear(lab_to_rgb(x, dim=0)) for x in (skin, usual))
    factor = (lit / plain.clamp_min(1e-3)) ** SKIN_TOLD
    return ClipLight(factor.clamp(*MOST_TINTED).numpy())


@dataclass(frozen=True, kw_only=True)
class HairColor(HairColorLatent):
    """Hair that a former edit colored is taken to the new color from there."""

    kind = "hair_color"
    in_frames: ClassVar[bool] = True
    roots: float = setting(
        0.0, "how far the roots keep their own color: 0 not at all, 1 wholly", low=0.0, high=1.0
    )
    ends: str = setting("", "another color towards the ends (balayage); empty for the same")
    highlights: str = setting("", "a color of single strands; empty for none")
    beard: bool = setting(False, "whether beard and moustache take the dye, too, a bit softer")
    brows: bool = setting(False, "whether the brows take it, about half of it")
    area: str = setting(
        "",
        "a picture as large as the frame, white (or opaque) where the dye may go, which moves "
        "along with the head; empty for everywhere",
    )
    area_frame: int = setting(0, "the frame that edit.area was painted on, counted from 0", low=0)

    @property
    def facial(self) -> tuple[str, ...]:
        return tuple(part for part in PARTS if getattr(self, part))

    def identity(self) -> dict[str, Any]:
        """The further colors themselves, and nothing of those that are not set."""
        own = {k: v for k, v in super().identity().items() if k not in (*FURTHER, "area_frame")}
        if self.roots:
            own["roots"] = self.roots
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

    def check_clip(self, clip: Clip, place: str) -> None:
        if self.area:
            check_area_fits(self.area, self.area_frame, clip, f"{place}.area")

    def check_drawn(self, place: str) -> None:
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

    @stage(version=2, keep=False)
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
    ) -> Layer:
        side = hair_window.side * hair_window.step
        margin = sum(split_reaches(round(FRONT_REACH * side))) + 1

        def patch(row: int) -> Patch | None:
            (frame,) = frames.rows(row, row + 1)
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
            lit = clip_light.factor * light
            target = _in_light(dye.target[row], lit)
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

        return make_layer(frames, track, fade, lambda rows: [patch(int(row)) for row in rows])

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
            yield Coat(_in_light(_rgb(self.ends), lit), share)
        if self.highlights:
            share = amount * lighter_strands(rgb_to_lab(picture), side)
            yield Coat(_in_light(_rgb(self.highlights), lit), share)


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
    return _in_light(lab_to_rgb(torch.from_numpy(lab), dim=0).numpy(), factor)


def _in_light(rgb: NDArray[np.float32], factor: NDArray[np.float32]) -> torch.Tensor:
    """sRGB [3] in the clip's light → Lab [3] in a light that is a multiple [3] of it."""
    color, light = torch.from_numpy(rgb), torch.from_numpy(factor)
    return rgb_to_lab(linear_to_srgb((srgb_to_linear(color) * light).clamp(0, 1)), dim=0)
