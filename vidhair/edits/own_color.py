"""Hair of somebody else in the colors of a person's own."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.edits.dye import BLACK
from vidhair.imaging.color import lab_to_rgb, levels_to_lab
from vidhair.stages.hair_look import LEAST, SHARES, HairLook
from vidhair.stages.matte import SURE_ALPHA, HairTone
from vidhair.stages.photo import PhotoHair
from vidhair.wiring import Series

Palette = NDArray[np.float32]

BRIGHTER = 0.5  # how much further than the palette what is lighter than most goes


def in_colors(photo: PhotoHair, palette: Palette) -> PhotoHair:
    """A photo's hair, as much of it as light as of a palette [17, 3], as of `HairLook`, and in its
    hue there: what is lighter stays so, by as much as the person's own, and as yellow or grey."""
    sure = photo.alpha > 255 * SURE_ALPHA
    if not sure.any():
        return photo
    light = levels_to_lab(torch.from_numpy(photo.levels)[None])[0, 0].numpy()
    rising = np.arange(len(SHARES)) * 1e-4  # where many are alike
    given, wanted = np.quantile(light[sure], SHARES) + rising, palette[:, 0] + rising
    made = np.interp(light, given, wanted) * np.clip(light / max(float(given[0]), 1e-3), 0, 1)
    made += BRIGHTER * np.clip(light - given[-1], 0, None)
    hue = [np.interp(made, wanted, palette[:, k]) for k in (1, 2)]
    lab = torch.from_numpy(np.stack([made, *hue]).astype(np.float32))[None]
    levels = (lab_to_rgb(lab)[0].clamp(0, 1) * 255).round().to(torch.uint8)
    return replace(photo, levels=levels.movedim(0, -1).contiguous().numpy(), lit=1)


def shifted(palette: Palette, mean: Palette) -> Palette:
    """A palette [17, 3] whose mean is another [3]: darker hair differs less in light."""
    before = palette.mean(0)
    less = min(1.0, (float(mean[0]) + BLACK) / (float(before[0]) + BLACK))
    found: Palette = (mean + (palette - before) * [less, 1, 1]).astype(np.float32)
    found[:, 0] = found[:, 0].clip(0, 100)
    return found


def in_own_color(photo: PhotoHair, look: HairLook, hair_tone: Series[HairTone]) -> PhotoHair:
    """A photo's hair in the colors of a person's, of the mean of all frames, also where that was
    dyed; of somebody without hair in those of the brows, if these are seen."""
    area, lab = hair_tone.field("area"), hair_tone.field("mean_lab")
    if min(area.max(), look.area) < LEAST:
        return in_colors(photo, look.palette) if look.palette.any() else photo
    return in_colors(photo, shifted(look.palette, (lab * area[:, None]).sum(0) / area.sum()))
