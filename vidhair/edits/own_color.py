"""Hair of somebody else in the color of a person's own."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.edits.dye import Dyeing
from vidhair.imaging.color import levels_to_lab
from vidhair.stages.layers import unit
from vidhair.stages.matte import SURE_ALPHA, HairTone
from vidhair.stages.photo import PhotoHair
from vidhair.wiring import Series

LEAST = 0.001  # share of what is looked at: less on a bald head is stubble, and of its skin's color


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


def in_own_color(photo: PhotoHair, hair_tone: Series[HairTone]) -> PhotoHair:
    """A photo's hair in the mean color of a person's, if enough of that is seen."""
    area, lab = hair_tone.field("area"), hair_tone.field("mean_lab")
    if area.max() < LEAST:
        return photo
    return in_color(photo, (lab * area[:, None]).sum(0) / area.sum())
