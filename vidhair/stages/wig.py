"""Hair of rendered strands, as that of a photo: what nobody has to bring, or to cut out.

Lengths are in sides of the face's crop.
"""

import numpy as np
import torch

from vidhair.imaging.fill import fill
from vidhair.stages.photo import SPREAD_LEVELS, PhotoHair, face_of_photo, hidden_hair
from vidhair.stages.skull import poses
from vidhair.synthetic.strands import StrandStyle
from vidhair.synthetic.wigs import WigPicture, hanging, wig

# y where hair ends that is no length below the ears, and by how much lower for one more of it.
ENDS = (-0.3, 1.53)
SURE = (0.3, 0.8)  # alpha from which on a sample's own color counts, and where it counts alone


def hanging_to(style: StrandStyle, y: float) -> StrandStyle:
    """A style that ends at a height on the head, as those of `ends`."""
    return hanging(style, (y - ENDS[0]) / ENDS[1])


def strand_hair(style: StrandStyle) -> PhotoHair:
    """A hairstyle, rendered."""
    return as_photo(wig(style))


def as_photo(made: WigPicture) -> PhotoHair:
    """What a picture of a hairstyle shows of it."""
    picture, track = face_of_photo(made.picture, "a rendered picture")
    mesh, side = track.mesh[0].astype(np.float32), float(track.axes.side[0])
    pose, long = poses(mesh[None], np.ones(1, bool), np.ones(1, bool))
    covered = np.rint(255 * made.alpha).astype(np.uint8)
    low, high = SURE
    sure = ((made.behind - low) / (high - low)).clip(0, 1)
    own = np.dstack([made.levels.astype(np.float32) / 255, sure])
    colors, known = torch.from_numpy(own).movedim(-1, 0)[None].split([3, 1], 1)
    filled = fill(colors.contiguous(), known.contiguous(), SPREAD_LEVELS)[0].movedim(0, -1).numpy()
    bare = (2 * made.skin - 1).clip(0, 1)
    hidden = np.maximum(hidden_hair(covered, mesh, side), 255 * (1 - bare))
    hidden = np.minimum(hidden, np.rint(255 * made.behind))
    return PhotoHair(
        np.rint(255 * filled).clip(0, 255).astype(np.uint8),
        covered,
        np.maximum(covered, hidden).astype(np.uint8),
        picture,
        mesh,
        pose.rotation[0],
        float(pose.scale[0]),
        pose.shift[0],
        long,
        side,
    )
