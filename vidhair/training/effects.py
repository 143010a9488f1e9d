"""What attributes of the rendered world do to a face's mesh: more exactly than a small generator
draws it."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vidhair.models.faces.effects import Effect, EffectReader, FaceEffects, typical
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import aligned_view, shade, trace

# By how much each is changed to see what it does, in its own unit; those that move the face alone.
AMOUNTS = {
    "smile": 1.0, "mouth_open": 0.6, "blink_left": 0.6, "blink_right": 0.6, "brow_raise": 1.0,
    "brow_height": 1.5, "eye_size": 1.5, "eye_tilt": 1.5, "eye_spacing": 1.5, "jaw_width": 1.5,
    "chin_length": 1.5, "cheeks": 1.5, "nose_length": 1.5, "nose_width": 1.5,
    "lip_thickness": 1.5, "mouth_width": 1.5, "lip_redness": 1.0,
}  # fmt: skip
SIDE, SEEN_SIDE = 160, 512  # of the crops: as they are rendered, and as the mesh is read from them


@torch.inference_mode()
def face_effects(people: int, seed: int) -> FaceEffects:
    """Means over some people in a frontal light, without an expression."""
    generator = torch.Generator().manual_seed(seed)
    faces = sample_faces(people, generator, style="short", neutral=True)
    faces = faces.replace(light_azimuth=0.0, light_elevation=0.5)
    read = EffectReader()
    found: dict[str, list[Effect]] = {name: [] for name in AMOUNTS}
    for index in range(people):
        plain = _picture(faces[index], faces[index])
        for name, amount in AMOUNTS.items():
            changed = faces[index].replace(**{name: getattr(faces[index], name) + amount})
            effect = read(plain, _picture(changed, faces[index]))
            if effect is not None:
                found[name].append(effect.times(1 / amount))
    read.close()
    names = tuple(name for name, effects in found.items() if effects)
    means = [typical(found[name]) for name in names]
    face = np.median([mean.face for mean in means], axis=0)
    tables = face, [mean.moved for mean in means], [mean.tinted for mean in means]
    return FaceEffects(names, *(torch.tensor(np.array(t), dtype=torch.float32) for t in tables))


def _picture(face: FaceParams, framed: FaceParams) -> NDArray[np.uint8]:
    """One face in the crop of another, uint8 [SEEN_SIDE, SEEN_SIDE, 3]."""
    image = shade(trace(face, aligned_view(framed, SIDE)), face).image[0]
    levels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    return np.asarray(Image.fromarray(levels).resize((SEEN_SIDE,) * 2, Image.Resampling.BICUBIC))
