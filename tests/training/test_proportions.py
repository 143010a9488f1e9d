"""What a cartoon's proportions do to a face, by the geometry of rendered people."""

import pytest
import torch

from vidhair.checkpoints.packs import TOON, bundled_folder, open_pack
from vidhair.models.faces.effects import PARTS, pack_effects
from vidhair.models.faces.landmarks import EYE_LEFT, FACE_OVAL, POINTS
from vidhair.synthetic import shape
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.toon import LOOKS, drawn
from vidhair.training.proportions import NAME, motion, outline, toon_proportions

pytestmark = pytest.mark.usefixtures("one_thread")

CHIN = 152


def person() -> FaceParams:
    return sample_faces(1, torch.Generator().manual_seed(0), style="short", neutral=True)


def test_an_outline_lies_on_the_head() -> None:
    head = shape.head_of(person())
    angle = torch.linspace(-3, 3, 7)
    r = outline(head, angle)
    assert ((r > 0.5) & (r < 1.5)).all()
    for share, inside in ((0.97, True), (1.03, False)):
        x, y = share * r * angle.cos(), -0.15 + share * r * angle.sin()
        z = torch.linspace(-1.2, 1.4, 200)
        rays = [c[:, None].expand(-1, 200).reshape(1, -1) for c in (x, y)]
        distance = shape.skin((*rays, z.repeat(7)[None]), head).view(7, 200).amin(1)
        assert ((distance < 0) == inside).all()


def test_points_go_where_the_cartoon_has_them() -> None:
    """Lids on the border of the opening lie on that of the cartoon's afterwards."""
    faces, look = person(), LOOKS["cel"]
    at = torch.full((POINTS, 2), 0.0)
    h = shape.head_of(faces)
    angle = torch.arange(len(EYE_LEFT)) * 2 * torch.pi / len(EYE_LEFT)
    eye = torch.stack([-h.eye_x[0] + 0.1 * angle.cos(), 0.07 + 0.05 * angle.sin()], -1)
    at[list(EYE_LEFT)] = eye
    oval = torch.arange(len(FACE_OVAL)) * 2 * torch.pi / len(FACE_OVAL)
    at[list(FACE_OVAL)] = torch.stack([oval.cos(), oval.sin()], 1)
    moved = motion(faces, look, at)
    grown = (at + moved)[list(EYE_LEFT)]
    before, after = (x.amax(0) - x.amin(0) for x in (eye, grown))
    scale = shape.head_of(drawn(faces, look)).eye_scale / h.eye_scale
    assert torch.allclose(after / before, torch.cat([scale[0], scale[0] * look.tall]), atol=1e-3)
    brows = [p for p in PARTS["brows"] if p not in (*EYE_LEFT, *FACE_OVAL)]
    assert (moved[brows] == 0).all()
    assert moved[0].isfinite().all() and moved[234].isfinite().all()
    assert moved[50].isnan().all()  # a cheek, of which nothing is known


def check(moved: torch.Tensor) -> None:
    assert moved[159, 1] < -0.005 < 0.005 < moved[145, 1]  # the lids part
    assert moved[33, 0] < 0 < moved[133, 0]
    assert moved[CHIN, 1] < -0.005 and moved[172, 0] > 0.003 > -0.003 > moved[397, 0]
    assert moved[48, 0] > 0 > moved[278, 0]
    assert moved.isfinite().all() and moved.abs().max() < 0.05


def test_what_ships_with_vidhair() -> None:
    effects = pack_effects(open_pack(bundled_folder() / TOON))
    assert effects is not None
    effect = effects.of(NAME)
    assert effect is not None and not effect.tinted.any()
    check(torch.from_numpy(effect.moved))


@pytest.mark.slow
def test_it_is_measured_anew() -> None:
    check(toon_proportions(1, 1).moved[0])
