"""What a dye makes of hair that is seen: light and pigment apart.

Colors are CIE Lab with L in 0 … 100, [1, 3, h, w]; a mean color is [3].
"""

import math
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.imaging.blur import (
    blur,
    blur_,
    blurred_cells,
    box_mean,
    box_mean_,
    box_radius,
    cell_radius,
    cell_side,
    wide_blur,
    wide_mean,
)
from vidhair.imaging.color import (
    lab_to_rgb,
    linear_to_srgb,
    rgb_to_lab,
    srgb_to_linear,
    xyz_matrix,
    xyz_to_lab,
)
from vidhair.imaging.fill import enlarge, fill
from vidhair.imaging.matting import split_colors, split_reaches
from vidhair.imaging.morphology import dilate
from vidhair.kernels import plain, start_threads

FRONT_REACH = 0.09  # how far the colors of hair and of what is behind are looked for, in crop sides
LIGHT_REACH = 0.035  # blur that tells light from strands, in crop sides
BLACK = 8.0  # lightness that is added where ratios of lightness are taken
# How much contrast strands gain or lose, by the change of the hair's lightness.
GAIN = ((-50.0, 0.8), (0.0, 1.0), (60.0, 1.3))
# Lightness of strands that is approached and not passed, as multiples of the dye's, and how far
# away from it at least.
DARKEST, BRIGHTEST, LEAST_ROOM = 0.1, 1.4, 14.0
UNLIKE = 1.6  # times as light or as dark, from which on nothing of the hair's own highlights stays
DEEPER = 0.8  # how many more times light goes through the pigment of strands that are nearly black
LEAST_PASSED = 1e-3  # share of the light that any pigment lets through
SHINE = 0.3  # share of the chroma that strands twice as light as the dye lose to the light's color
OWN = 0.15  # share of the hair's own variation of hue that stays
INNER = 0.75  # mean of the matte over that from which it lies behind the border, by the 4th power
# Blur of hair carried from there to the border, in crop sides; times its share from which it
# is taken from nearby; halvings of cells over which it spreads else; how far it counts.
BORDER_REACH, NEARBY, SPREAD_LEVELS, WITHIN_REACH = 0.0175, 8, 5, 0.07
BELIEVED = 0.95  # share of a lighter border that is taken for what lies beside
# Grey sets in from the one to the other lightness, and ends from the one to the other chroma. Its
# strands differ in pigment, which a dye covers, and which is that share of their contrast.
GREY_LIGHTNESS, GREY_CHROMA, PIGMENT = (30.0, 45.0), (7.0, 12.0), 0.5
STRAND_WIDTH, LOCK_WIDTH = 0.004, 0.02  # deviations of blurs that show highlights, in crop sides
STRAND_SHARE, STRAND_EDGE = 0.4, 4.0  # by how many deviations strands are lighter, and how sharply
THIN, AROUND = 0.95, 2  # the matte below which hair is thin, and pixels around that count, too
KNOWN = 1e-3  # share of hair around below which it tells nothing
MARGIN = 1.0  # lightness by which a border may pass what lies on both sides


# Entries of the kernels' tables, and up to which change of lightness these reach.
TABLE, FURTHEST = 8192, 500.0


class Places:
    """Some pixels of a picture, in a row: colors are converted where they are seen. mask: bool
    [1, 1, h, w]."""

    def __init__(self, mask: Tensor):
        self.mask = mask
        self._at = mask.flatten().nonzero()[:, 0]

    def take(self, x: Tensor) -> Tensor:
        """[1, C, h, w] → [1, C, 1, n]."""
        return x.flatten(2).index_select(2, self._at)[:, :, None]

    def put(self, values: Tensor, x: Tensor) -> Tensor:
        """x, a whole [1, C, h, w], with values [1, C, 1, n] in their places; x is changed."""
        x.view(*x.shape[:2], -1).index_copy_(2, self._at, values[:, :, 0])
        return x


@dataclass(frozen=True)
class Coat:
    """Another color over a dye. target: Lab [3]; share: [1, 1, h, w] in 0 … 1, where it lies."""

    target: Tensor
    share: Tensor


@dataclass(frozen=True)
class Dyeing:
    """source: Lab [3], what the hair is on average; target: Lab [3], what it is to be, in the same
    light. amount: in 0 … 1, how much of the change is seen, everywhere or by place [1, 1, h, w].
    side: of the face's crop in pixels. coats: over that, one after the other."""

    source: Tensor
    target: Tensor
    amount: float | Tensor
    side: float
    coats: tuple[Coat, ...] = ()

    def of(self, lab: Tensor, alpha: Tensor) -> Tensor:
        """Hair [1, 3, h, w] once it is dyed. alpha: [1, 1, h, w], how far it is seen.

        The light that falls on a place, which is the hair's lightness without its strands, is kept
        in proportion, and less so where the dye is lighter than the hair, as dark hair shows the
        sheen of the light rather than its amount. Strands keep their contrast, a bit more of it on
        hair that turns light. Strands that shine have the color of the light.
        """
        light, tint = lab[:, :1], lab[:, 1:]
        source, target = (x.view(1, 3, 1, 1) for x in (self.source, self.target))
        sure = alpha.square()
        sums = wide_blur(torch.cat([light * sure, sure], 1), LIGHT_REACH * self.side)
        around = (sums[:, :1] + KNOWN * light) / (sums[:, 1:] + KNOWN)
        way = self._lit(around) + self._gain * (light - around) - target[:, :1]
        light = self._lightness(way)
        return torch.cat([light, self._tint(light) + OWN * (tint - source[:, 1:])], 1)

    def _lit(self, light: Tensor) -> Tensor:
        """The dye's lightness by that of the hair around."""
        old, new = float(self.source[0]), float(self.target[0])
        exponent = min(1.0, (old + BLACK) / (new + BLACK))
        return new * (light / max(old, 1)).clamp(0.05, 3) ** exponent

    @property
    def _gain(self) -> float:
        """How much of strands' contrast is seen."""
        changes, gains = np.transpose(GAIN)
        gain = np.interp(float(self.target[0] - self.source[0]), changes, gains)
        return float(gain) * (1 - PIGMENT * self._greyness)

    @property
    def _alike(self) -> float:
        """How near the dye's lightness is to the hair's, 0 … 1: what does not change keeps its
        highlights, which the sun makes several times as light as the rest."""
        change = math.log((float(self.target[0]) + BLACK) / (float(self.source[0]) + BLACK))
        return max(0.0, 1 - abs(change) / math.log(UNLIKE))

    def _lightness(self, way: Tensor) -> Tensor:
        """Of strands that would differ from the dye's lightness by `way`."""
        new = float(self.target[0])
        above = max(new * (BRIGHTEST - 1), LEAST_ROOM)
        above += self._alike * max(100 - new - above, 0)
        room = torch.where(way > 0, above, new * (1 - DARKEST))
        return (new + room * torch.tanh(way / room)).clamp(0, 98)

    def _tint(self, light: Tensor) -> Tensor:
        """a and b [1, 2, h, w] of strands of such lightness [1, 1, h, w].

        From those that are darker than the dye light comes that went through more of its pigment,
        which takes the same share of it on every stretch of the way (Beer and Lambert): blonde
        shows gold in its depth, and not olive. Those that are lighter shine.
        """
        target = self.target.view(1, 3, 1, 1)
        ratio = light / max(float(self.target[0]), 1)
        passed = srgb_to_linear(lab_to_rgb(target)).clamp(min=LEAST_PASSED)
        deep = passed ** (1 + DEEPER * (1 - ratio).clamp(0))
        grey = lab_to_rgb(torch.cat([light, torch.zeros_like(light).expand(-1, 2, -1, -1)], 1))
        weights = xyz_matrix(light)[1].view(1, 3, 1, 1)
        deep = deep * srgb_to_linear(grey)[:, :1] / (deep * weights).sum(1, keepdim=True)
        shade = rgb_to_lab(linear_to_srgb(deep.clamp(0, 1)))[:, 1:]
        shine = SHINE * (1 - self._alike) * (ratio - 1).clamp(0, 1)
        return torch.where(ratio < 1, shade, target[:, 1:] * (1 - shine))

    @property
    def _reach(self) -> int:
        """How far the colors of hair and of what is behind are looked for, in pixels."""
        return max(2, round(FRONT_REACH * self.side))

    @property
    def _greyness(self) -> float:
        """How far the hair's strands differ in pigment, 0 … 1."""
        light = np.interp(float(self.source[0]), GREY_LIGHTNESS, (0, 1))
        dull = np.interp(float(self.source[1:].norm()), GREY_CHROMA, (1, 0))
        return float(light * dull)

    def apply(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """A picture [1, 3, h, w], sRGB in 0 … 1, in which the hair under a matte is dyed.

        What is seen is α·hair + (1 − α)·behind, of which only the hair changes.
        """
        if plain(picture, alpha):
            return self._apply_in_tiles(picture, alpha)
        return self._apply(picture, alpha)

    def _apply(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """The definition."""
        hair, _, behind = split_colors(picture, alpha, self._reach)
        near = Places(dilate((alpha > 0).float(), 2 * AROUND + 1) > 0)
        lab = near.put(rgb_to_lab(near.take(hair)), torch.zeros_like(hair))
        inside = self._inside(lab, alpha, near.mask)
        dyed = lab + self.amount * (self.of(inside, alpha) - lab)
        for coat in self.coats:
            over = replace(self, target=coat.target).of(inside, alpha)
            dyed = dyed + coat.share * (over - dyed)
        seen = Places(alpha > 0)
        change = lab_to_rgb(seen.take(dyed)) - seen.take(hair)
        result = (seen.take(picture) + seen.take(alpha) * change).clamp(0, 1)
        result = seen.put(result, picture.clone())
        # Where hair is thin, nothing is lighter than it and what is behind.
        thin = Places((alpha > 0) & (alpha < THIN))
        lab, before = rgb_to_lab(thin.take(result)), rgb_to_lab(thin.take(picture))[:, :1]
        most = torch.maximum(before, rgb_to_lab(thin.take(behind))[:, :1])
        most = torch.maximum(most, thin.take(box_mean(dyed[:, :1], AROUND))) + MARGIN
        glows = lab[:, :1] > most
        lab[:, :1] = lab[:, :1].minimum(most)
        return thin.put(torch.where(glows, lab_to_rgb(lab), thin.take(result)), result)

    def _apply_in_tiles(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """The same on CPUs, up to rounding."""
        kernels, tables = _kernels(), _tables()
        seen, matte = (x.contiguous().numpy() for x in (picture[0], alpha[0, 0]))

        def cells(count: int, side: int) -> NDArray[np.float32]:
            return np.zeros((count, *(-(-n // side) for n in matte.shape)), np.float32)

        sides = np.zeros((kernels.SIDES, 0, 0), np.float32)
        for reach in split_reaches(self._reach):
            means, side = sides, cell_side(reach)
            sides = cells(kernels.SIDES, side)
            kernels.share_out(seen, matte, means, side, sides)
            box_mean_(torch.from_numpy(sides)[None], cell_radius(reach))
        hair = kernels.near_tiles(matte, AROUND)
        result, lab = seen.copy(), np.empty_like(seen)
        side = self._border_side
        within = cells(4, side)
        inner = np.float32(INNER)
        kernels.find_hair(seen, matte, *hair, sides, inner, tables, side, result, lab, within)
        within = self._carried(torch.from_numpy(within)[None], side)[0].contiguous().numpy()
        border = sides, within, inner, np.float32(BELIEVED)
        sigma = LIGHT_REACH * self.side
        side = cell_side(box_radius(sigma))
        light = cells(2, side)
        kernels.find_light(matte, *hair, lab, border, side, light)
        blur_(torch.from_numpy(light)[None], sigma / side)
        kernels.lay_on(seen, matte, *hair, border, light, self._layers(), tables, lab, result)
        limits = np.float32(THIN), AROUND, np.float32(MARGIN)
        kernels.keep_from_glowing(seen, matte, *hair, sides, limits, tables, lab, result)
        return torch.from_numpy(result)[None]

    def _layers(self) -> tuple[Any, ...]:
        """The dye and its coats, one after the other, as the kernels take them."""
        layers = [self, *(replace(self, target=coat.target) for coat in self.coats)]
        numbers = [torch.tensor([float(x.target[0]), x._gain]) for x in layers]
        shares = [torch.ones(1, 1, 1, 1) * self.amount, *(coat.share for coat in self.coats)]
        found = (
            self.source, np.float32(OWN), torch.stack(numbers),
            torch.stack([x._curves() for x in layers]), np.float32(FURTHEST),
            torch.cat(torch.broadcast_tensors(*shares))[:, 0],
        )  # fmt: skip
        return tuple(x.contiguous().numpy() if isinstance(x, Tensor) else x for x in found)

    def _curves(self) -> Tensor:
        """[4, TABLE]: the dye's lightness by that of the hair around, 0 … 100, and the lightness,
        a and b of strands by how far they differ from the dye, −FURTHEST … FURTHEST."""
        lit = self._lit(torch.linspace(0, 100, TABLE))
        light = self._lightness(torch.linspace(-FURTHEST, FURTHEST, TABLE))
        return torch.cat([torch.stack([lit, light]), self._tint(light[None, None, None])[0, :, 0]])

    @property
    def _border_side(self) -> int:
        """Of cells of hair behind the border, in pixels."""
        return cell_side(box_radius(BORDER_REACH * self.side))

    def _carried(self, cells: Tensor, side: int) -> Tensor:
        """Hair behind the border, carried to it from as near as there is any: [1, 4, h', w'] of Lab
        times a share, and the share. cells: the same of what lies behind it."""
        near = blur(cells, BORDER_REACH * self.side / side)
        share = blur(cells[:, 3:], WITHIN_REACH * self.side / side)
        trust = (NEARBY * near[:, 3:]).clamp(max=1)
        lab = fill(near[:, :3] / (near[:, 3:] + KNOWN), trust, SPREAD_LEVELS)
        return torch.cat([lab * share, share], 1)

    def _inside(self, lab: Tensor, alpha: Tensor, near: Tensor) -> Tensor:
        """Hair [1, 3, h, w] that is no lighter at its border than within: there a lens and a codec
        have mixed into it what lies beside. near: bool [1, 1, h, w], where its color is known."""
        nearby = wide_mean(alpha, split_reaches(self._reach)[1])
        inner = ((nearby - INNER) / (1 - INNER)).clamp(0) ** 4 * near
        side = self._border_side
        cells = blurred_cells(torch.cat([lab * inner, inner], 1), 0, side)
        sums = enlarge(self._carried(cells, side), *lab.shape[2:])
        within = sums[:, :3] / (sums[:, 3:] + KNOWN)
        known = sums[:, 3:] / (sums[:, 3:] + 0.02)
        lighter = (lab[:, :1] > within[:, :1]) * (1 - inner) * known
        return torch.lerp(lab, within, BELIEVED * lighter)


@cache
def _kernels() -> ModuleType:
    from vidhair.kernels import _dye

    start_threads()
    return _dye


@cache
def _tables() -> tuple[NDArray[np.float32], ...]:
    """From sRGB to light, from XYZ to its root, from light to sRGB, of 0 … 1 each, and the matrices
    from light to XYZ and back."""
    x = torch.linspace(0, 1, TABLE)
    to_xyz = xyz_matrix(x)
    root = (xyz_to_lab(x.expand(3, -1), dim=0)[0] + 16) / 116
    tables = srgb_to_linear(x), root, linear_to_srgb(x), to_xyz, torch.linalg.inv(to_xyz)
    return tuple(table.contiguous().numpy() for table in tables)


def lighter_strands(lab: Tensor, side: float) -> Tensor:
    """[1, 1, h, w] in 0 … 1: strands that are lighter than those around them, which move as the
    hair does. lab: [1, 3, h, w]; side: of the face's crop in pixels."""
    light = lab[:, :1]
    fine, coarse = STRAND_WIDTH * side, LOCK_WIDTH * side
    between = blur(light, fine) - blur(light, coarse)
    spread = blur(between.square(), 2 * coarse).sqrt()
    return torch.sigmoid(STRAND_EDGE * (between / (spread + 0.3) - STRAND_SHARE))
