"""What a dye makes of hair that is seen: light and pigment apart.

Colors are CIE Lab with L in 0 … 100, [1, 3, h, w]; a mean color is [3].
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidhair.ops.blur import blur_, box_mean
from vidhair.ops.color import lab_to_rgb, rgb_to_lab
from vidhair.ops.matting import split_colors

FRONT_REACH = 0.09  # how far the colors of hair and of what is behind are looked for, in crop sides
LIGHT_REACH = 0.035  # blur that tells light from strands, in crop sides
BLACK = 8.0  # lightness that is added where ratios of lightness are taken
# How much contrast strands gain or lose, by the change of the hair's lightness.
GAIN = ((-50.0, 0.65), (0.0, 1.0), (60.0, 1.35))
BRIGHTEST = 1.35  # lightness of strands that is not passed, as a multiple of the dye's
LEAST_ROOM = 12.0  # above the dye's lightness, for strands of dark dyes
SHADED = 0.6  # exponent of the lightness by which strands darker than the dye have less chroma
SHINE = 0.5  # share of the chroma that strands twice as light as the dye lose to the light's color
OWN = 0.25  # share of the hair's own variation of hue that stays
MARGIN = 1.0  # lightness by which a border may pass what lies on both sides


@dataclass(frozen=True)
class Dyeing:
    """source: Lab [3], what the hair is on average; target: Lab [3], what it is to be, in the same
    light. amount: 0 … 1, how much of the change is seen. side: of the face's crop in pixels."""

    source: Tensor
    target: Tensor
    amount: float
    side: float

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
        gain = float(np.interp(new - old, *zip(*GAIN, strict=True)))
        shade = shade + gain * (light - around)
        room = max(new * (BRIGHTEST - 1), LEAST_ROOM)
        above = new + room * torch.tanh((shade - new) / room)
        shade = torch.where(shade > new, above, shade).clamp(0.5, 98)
        ratio = shade / max(new, 1)
        chroma = torch.where(ratio < 1, ratio**SHADED, 1 - SHINE * (ratio - 1).clamp(0, 1))
        return torch.cat([shade, target[:, 1:] * chroma + OWN * (tint - source[:, 1:])], 1)

    def apply(self, picture: Tensor, alpha: Tensor) -> Tensor:
        """A picture [1, 3, h, w], sRGB in 0 … 1, in which the hair under a matte is dyed.

        What is seen is α·hair + (1 − α)·behind, of which only the hair changes.
        """
        hair, _, behind = split_colors(picture, alpha, max(2, round(FRONT_REACH * self.side)))
        dyed = self.of(rgb_to_lab(hair), alpha)
        result = picture + self.amount * alpha * (lab_to_rgb(dyed) - hair)
        # Where hair is thin, nothing is lighter than it and what is behind.
        lab, before = rgb_to_lab(result.clamp(0, 1)), rgb_to_lab(picture)[:, :1]
        most = torch.maximum(box_mean(dyed[:, :1], 2), rgb_to_lab(behind)[:, :1])
        most = torch.maximum(most, before) + MARGIN
        glows = (alpha < 0.95) & (lab[:, :1] > most)
        lab[:, :1] = lab[:, :1].minimum(most)
        return torch.where(glows, lab_to_rgb(lab), result).clamp(0, 1)
