"""How a cartoon's proportions move the points of a face's mesh, as the rendered world knows it.

MediaPipe reads no eyes of a cartoon's size, so motions come from the geometry of the renderer
itself: between a rendered person and the same person drawn, eyes grow about their middle, noses and
lips shrink about theirs, and the outline of the head goes in along rays from its middle. The mesh
is read once, of the faithful picture. Points that none of this says anything of follow smoothly.

P points of the mesh, all seen from the front.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from torch import Tensor

from vidhair.geometry import crop_axes
from vidhair.models.faces.effects import PARTS, FaceEffects
from vidhair.models.faces.landmarks import (
    EYE_LEFT,
    EYE_RIGHT,
    FACE_OVAL,
    POINTS,
    FaceMesh,
    eyes_and_mouth,
)
from vidhair.synthetic import shape
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import CAMERA
from vidhair.synthetic.toon import LOOKS, ToonLook, drawn, toon_head
from vidhair.training.effects import SEEN_SIDE, SIDE, VIEW, picture_of

NAME, LOOK = "toon", "cel"  # of the effect, and the look whose proportions it has
FRONT = 0.6  # depth of the face's points in head units, to undo perspective
MIDDLE_Y = -0.15  # of the head's outline
DEPTHS, HALVINGS, FARTHEST = 80, 16, 1.8  # with which the outline is found
IRISES = (range(468, 473), range(473, POINTS))
NOSE = (1, 2, 4, 5, 45, 48, 64, 98, 275, 278, 294, 327, 44, 220, 115, 440, 344)


def outline(head: shape.Head, angle: Tensor) -> Tensor:
    """Radius [K] of a bald head seen from the front, at angles [K] around its middle."""
    z = torch.linspace(-1.2, 1.4, DEPTHS)
    near, far = torch.zeros_like(angle), torch.full_like(angle, FARTHEST)
    for _ in range(HALVINGS):
        r = (near + far) / 2
        x, y = r * angle.cos(), MIDDLE_Y + r * angle.sin()
        ray = (x[:, None].expand(-1, DEPTHS), y[:, None].expand(-1, DEPTHS), z.expand(len(x), -1))
        distance = shape.skin(tuple(c.reshape(1, -1) for c in ray), head)
        inside = distance.view(-1, DEPTHS).amin(1) < 0
        near, far = torch.where(inside, r, near), torch.where(inside, far, r)
    return (near + far) / 2


def motion(faces: FaceParams, look: ToonLook, at: Tensor) -> Tensor:
    """Of points [P, 2] of one face in head units (y up), NaN where nothing is known. [P, 2]."""
    before = shape.head_of(faces)
    after = toon_head(shape.head_of(drawn(faces, look)), look)
    moved = torch.full_like(at, float("nan"))
    moved[list(PARTS["brows"])] = 0

    oval = list(FACE_OVAL)
    angle = torch.atan2(at[oval, 1] - MIDDLE_Y, at[oval, 0])
    grown = outline(after, angle) - outline(before, angle)
    moved[oval] = torch.stack([grown * angle.cos(), grown * angle.sin()], 1)

    lips, nose = list(PARTS["lips"]), list(NOSE)
    thick = [1 + 0.22 * float(h["lip_thickness"]) for h in (before, after)]
    moved[lips, 0] = 0
    moved[lips, 1] = (at[lips, 1] - at[lips, 1].mean()) * (thick[1] / thick[0] - 1)
    moved[lips, 1] += float(after.mouth_y - before.mouth_y)
    wide = float(after.nose_scale / before.nose_scale)
    moved[nose, 0] = (at[nose, 0] - at[nose, 0].mean()) * (wide - 1)
    moved[nose, 1] = float(after.nose_tip_y - before.nose_tip_y)

    width = float(after.eye_scale / before.eye_scale)
    height = float(after.eye_height / before.eye_height)
    grows = torch.tensor([width - 1, width * height - 1])
    for ring, iris in zip((EYE_LEFT, EYE_RIGHT), IRISES, strict=True):
        lids, ball = list(ring), list(iris)
        middle = at[lids].mean(0)
        moved[lids] = (at[lids] - middle) * grows
        own = at[ball].mean(0)
        moved[ball] = (at[ball] - own) * (width * height**0.5 - 1) + (own - middle) * grows
    return moved


@torch.inference_mode()
def toon_proportions(people: int, seed: int) -> FaceEffects:
    """The median of some people without an expression."""
    generator = torch.Generator().manual_seed(seed)
    faces = sample_faces(people, generator, style="short", neutral=True)
    faces = faces.replace(light_azimuth=0.0, light_elevation=0.5)
    find, matrix, scale = FaceMesh(still=True), VIEW.matrix[0].double(), SEEN_SIDE / SIDE
    flatter = CAMERA / (CAMERA - FRONT)
    found: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for index in range(people):
        meshes = find(picture_of(faces[index]))
        if not len(meshes):
            continue
        mesh = torch.from_numpy(meshes[0]).double()
        plane = mesh / scale @ matrix[:, :2].t() + matrix[:, 2]
        up = torch.tensor([1.0, -1.0])
        moved = motion(faces[index], LOOKS[LOOK], (plane / flatter * up).float())
        pixels = (moved * up * flatter).double() @ torch.linalg.inv(matrix[:, :2]).t() * scale
        axes = crop_axes(*eyes_and_mouth(mesh.numpy()))
        face = axes.locate(mesh.numpy())
        found.append((face, axes.locate((mesh + pixels).numpy()) - face))
    find.close()
    assert found, "no rendered face is found"
    face, known = (np.median([pair[k] for pair in found], axis=0) for k in range(2))
    sure = np.isfinite(known[:, 0])
    spread = RBFInterpolator(face[sure], known[sure], kernel="linear")
    whole = np.where(sure[:, None], known, spread(face))
    tables = face, whole[None], np.zeros((1, POINTS, 3))
    return FaceEffects((NAME,), *(torch.tensor(t, dtype=torch.float32) for t in tables))
