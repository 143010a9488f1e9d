"""What a dye makes of hair that is seen: light and pigment apart.

Colors are CIE Lab with L in 0 … 100, [1, 3, h, w]; a mean color is [3].
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from vidhair.imaging.blur import blur, blur_, box_mean
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.imaging.matting import split_colors
from vidhair.imaging.morphology import dilate

FRONT_REACH = 0.09  # how far the colors of hair and of what is behind are looked for, in crop sides
LIGHT_REACH = 0.035  # blur that tells light from strands, in crop sides
BLACK = 8.0  # lightness that is added where ratios of lightness are taken
# How much contrast strands gain or lose, by the change of the hair's lightness.
GAIN = ((-50.0, 0.8), (0.0, 1.0), (60.0, 1.3))
# Lightness of strands that is approached and not passed, as multiples of the dye's, and how far
# away from it at least.
DARKEST, BRIGHTEST, LEAST_ROOM = 0.1, 1.4, 14.0
SHADED = 0.3  # exponent of the lightness by which strands darker than the dye have less chroma
SHINE = 0.3  # share of the chroma that strands twice as light as the dye lose to the light's color
OWN = 0.15  # share of the hair's own variation of hue that stays
BORDER = 0.015  # width of hair's border, in crop sides
INNER = 0.75  # mean of the matte over that from which it lies behind the border
BELIEVED = 0.85  # share of a lighter border that is taken for what lies beside
# Grey sets in from the one to the other lightness, and ends from the one to the other chroma. Its
# strands differ in pigment, which a dye covers, and which is that share of their contrast.
GREY_LIGHTNESS, GREY_CHROMA, PIGMENT = (40.0, 50.0), (7.0, 12.0), 0.5
STRAND_WIDTH, LOCK_WIDTH = 0.004, 0.02  # deviations of blurs that show highlights, in crop sides
STRAND_SHARE, STRAND_EDGE = 0.4, 4.0  # by how many deviations strands are lighter, and how sharply
THIN, AROUND = 0.95, 2  # the matte below which hair is thin, and pixels around that count, too
MARGIN = 1.0  # lightness by which a border may pass what lies on both sides


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
        hair that turns light. Strands in the shadow have less of the dye's chroma, and those that
        shine have the color of the light.
        """
        light, tint = lab[:, :1], lab[:, 1:]
        source, target = (x.view(1, 3, 1, 1) for x in (self.source, self.target))
        old, new = float(source[0, 0]), float(target[0, 0])
        sure = alpha.square()
        sums = blur_(torch.cat([light * sure, sure], 1), LIGHT_REACH * self.side)
        around = (sums[:, :1] + 1e-3 * light) / (sums[:, 1:] + 1e-3)
        exponent = min(1.0, (old + BLACK) / (new + BLACK))
        shade = new * (around / max(old, 1)).clamp(0.05, 3) ** exponent
        changes, gains = np.transpose(GAIN)
        gain = float(np.interp(new - old, changes, gains))
        shade = shade + gain * (1 - PIGMENT * self._greyness) * (light - around)
        way = shade - new
        room = torch.where(way > 0, max(new * (BRIGHTEST - 1), LEAST_ROOM), new * (1 - DARKEST))
        shade = (new + room * torch.tanh(way / room)).clamp(0, 98)
        ratio = shade / max(new, 1)
        chroma = torch.where(ratio < 1, ratio**SHADED, 1 - SHINE * (ratio - 1).clamp(0, 1))
        return torch.cat([shade, target[:, 1:] * chroma + OWN * (tint - source[:, 1:])], 1)

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
        hair, _, behind = split_colors(picture, alpha, max(2, round(FRONT_REACH * self.side)))
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

    def _inside(self, lab: Tensor, alpha: Tensor, near: Tensor) -> Tensor:
        """Hair [1, 3, h, w] that is no lighter at its border than within: there a lens and a codec
        have mixed into it what lies beside. near: bool [1, 1, h, w], where its color is known."""
        nearby = box_mean(alpha, max(1, round(BORDER * self.side)))
        inner = ((nearby - INNER) / (1 - INNER)).clamp(0) * near
        sums = blur_(torch.cat([lab * inner, inner], 1), 2 * LIGHT_REACH * self.side)
        within = sums[:, :3] / (sums[:, 3:] + 1e-3)
        known = sums[:, 3:] / (sums[:, 3:] + 0.02)
        lighter = (lab[:, :1] > within[:, :1]) * (1 - inner) * known
        return torch.lerp(lab, within, BELIEVED * lighter)


def lighter_strands(lab: Tensor, side: float) -> Tensor:
    """[1, 1, h, w] in 0 … 1: strands that are lighter than those around them, which move as the
    hair does. lab: [1, 3, h, w]; side: of the face's crop in pixels."""
    light = lab[:, :1]
    fine, coarse = STRAND_WIDTH * side, LOCK_WIDTH * side
    between = blur(light, fine) - blur(light, coarse)
    spread = blur(between.square(), 2 * coarse).sqrt()
    return torch.sigmoid(STRAND_EDGE * (between / (spread + 0.3) - STRAND_SHARE))
