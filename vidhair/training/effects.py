"""What attributes of the rendered world do to a face's mesh: more exactly than a small generator
draws it."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vidhair.models.faces.effects import Effect, EffectReader, FaceEffects, typical
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import View, shade, trace

# By how much each is changed to see what it does, in its own unit; those that move the face alone.
AMOUNTS = {
    "smile": 1.0, "mouth_open": 0.6, "brow_raise": 1.0, "brow_height": 1.0, "eye_size": 1.0,
    "eye_tilt": 1.0, "jaw_width": 1.0, "chin_length": 1.0, "cheeks": 1.0, "nose_length": 1.0,
    "nose_width": 1.0, "lip_thickness": 1.0, "mouth_width": 1.0,
}  # fmt: skip
SIDE, SEEN_SIDE = 144, 512  # of the pictures as they are rendered, and as the mesh is read
STEP = 3.5 / 1.5 / SIDE  # plane units of a pixel
TOP = 0.2 - STEP * SIDE / 2  # of the picture, in plane units from the middle of the head
VIEW = View(
    torch.tensor([[[STEP, 0, -STEP * SIDE / 2], [0, STEP, TOP]]], dtype=torch.float32), SIDE, SIDE
)


@torch.inference_mode()
def face_effects(people: int, seed: int) -> FaceEffects:
    """Means over some people in a frontal light, without an expression."""
    generator = torch.Generator().manual_seed(seed)
    faces = sample_faces(people, generator, style="short", neutral=True)
    faces = faces.replace(light_azimuth=0.0, light_elevation=0.5)
    read = EffectReader()
    found: dict[str, list[Effect]] = {name: [] for name in AMOUNTS}
    for index in range(people):
        plain = picture_of(faces[index])
        for name, amount in AMOUNTS.items():
            changed = faces[index].replace(**{name: getattr(faces[index], name) + amount})
            effect = read(plain, picture_of(changed))
            if effect is not None:
                found[name].append(effect.times(1 / amount))
    read.close()
    names = tuple(name for name, effects in found.items() if effects)
    means = [typical(found[name]) for name in names]
    face = np.median([mean.face for mean in means], axis=0)
    tables = face, [mean.moved for mean in means], [mean.tinted for mean in means]
    return FaceEffects(names, *(torch.tensor(np.array(t), dtype=torch.float32) for t in tables))


def picture_of(face: FaceParams) -> NDArray[np.uint8]:
    """One face, uint8 [SEEN_SIDE, SEEN_SIDE, 3]."""
    image = shade(trace(face, VIEW), face, wall=VIEW).image[0]
    levels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.asarray(Image.fromarray(levels).resize((SEEN_SIDE,) * 2, Image.Resampling.BICUBIC))
