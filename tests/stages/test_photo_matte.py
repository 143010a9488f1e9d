"""What of a photo is its person's hair."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.stages.photos import mesh_at, turned
from vidhair.geometry import Grid
from vidhair.imaging.color import rgb_to_lab
from vidhair.models.faces.landmarks import BROWS
from vidhair.stages.photo_matte import (
    believed,
    hanging,
    hidden_crown,
    likelihood,
    near,
    of_person,
    parted,
    solid,
    unlike,
    upper_face,
    without_brows,
    without_glasses,
)
from vidhair.stages.skull import Place, look, mean_skull

SIDE = 200.0
HAIR, SKIN, WALL = (0.25, 0.15, 0.1), (0.8, 0.6, 0.5), (0.2, 0.22, 0.3)


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """picture, prior, person and face of somebody with hair from column 40 to 110 around a face,
    of whom the prior takes the wall beside for hair, up to 125, and a chair further away."""
    random = torch.Generator().manual_seed(3)
    picture = torch.tensor(WALL)[None, :, None, None].repeat(1, 1, 140, 200)
    picture[:, :, 20:120, 40:110] = torch.tensor(HAIR)[None, :, None, None]
    face = torch.zeros(1, 1, 140, 200)
    face[..., 60:110, 60:90] = 1
    picture = torch.where(face > 0, torch.tensor(SKIN)[None, :, None, None], picture)
    picture = picture + 0.02 * torch.randn(picture.shape, generator=random)
    prior, person = torch.zeros(1, 1, 140, 200), torch.zeros(1, 1, 140, 200)
    prior[..., 20:120, 40:112], prior[..., 60:120, 160:180] = 0.95, 0.95
    prior[..., 20:120, 112:125] = 0.85
    prior = torch.where(face > 0, 0.0, prior)
    person[..., 20:140, 40:118] = 1
    return picture.clamp(0, 1), prior, person, face


def test_walls_and_chairs_are_no_hair() -> None:
    picture, prior, person, face = scene()
    found = of_person(prior, person, picture, face, SIDE)[0, 0]
    assert (found[30:110, 44:56] > 0.85).all(), "hair stays"
    assert (found[60:120, 160:180] < 0.01).all(), "beyond the silhouette there is none"
    assert (found[30:110, 114:118] < 0.5).float().mean() > 0.9, "within it colors tell"
    assert (found <= prior + 1e-6).all()


def test_colors_that_would_take_the_hair_of_the_head_away_are_not_believed() -> None:
    """Hair as grey as what is behind, of which nothing was left; elsewhere they may take all."""
    prior, skull = scene()[1][0, 0].numpy(), np.zeros((140, 200), np.float32)
    skull[10:110, 45:105] = 1
    assert believed(0.2 * prior, prior, skull) is prior
    less = 0.9 * prior * skull
    assert believed(less, prior, skull) is less


def test_a_shadow_on_the_wall_is_no_hair_and_strands_before_the_wall_are() -> None:
    picture, prior, person, _ = scene()
    picture[..., 20:120, 112:125], picture[..., 70:72, 10:40] = 0.02, 0.22
    prior[..., 20:120, 112:125], prior[..., 70:72, 10:40] = 0.95, 0.95
    person[..., 110:118] = 0
    light = torch.tensor([0.9, 0.8, 0.5])[:, None, None]
    picture = torch.where(prior * person > 0, light, picture)
    found = unlike(rgb_to_lab(picture), prior, person, SIDE)[0, 0]
    assert (found[26:114, 116:122] > 0.9).all()
    assert (found[:, :104] < 0.01).all()


def test_a_partings_shade_leaves_no_notch_on_top() -> None:
    """Narrow ones are filled, wide ones where hair is somewhat likely, up to the hull of the top; a
    forehead that hair lies above is none."""
    mesh, rows = np.full((478, 2), 100, np.float32), np.arange(140)[:, None]
    mesh[10, 1], mesh[152, 1] = 75, 135
    across = np.abs(np.arange(200) - 100)[None]
    top = float(mesh[10, 1])
    arch = (
        (rows > top - 60) & (rows < top - 30) & (across < 45) & ~((across < 5) & (rows < top - 35))
    )
    alpha, none = arch.astype(np.float32), np.zeros((140, 200), np.float32)
    got = parted(alpha, none, mesh, SIDE)
    gap = np.s_[int(top) - 56 : int(top) - 38, 97:104]
    assert not alpha[gap].any() and (got[gap] > 0.9).all()
    assert (got[int(top) - 24 : int(top)] == 0).all() and (got >= alpha).all()
    assert got[: int(top) - 63].max() < 0.1, "nothing above the hull"
    wide = alpha * (across > 10)
    assert parted(wide, none, mesh, SIDE)[gap].max() < 0.1
    assert (parted(wide, none + 0.2, mesh, SIDE)[gap] > 0.9).all()
    assert parted(none, none, mesh, SIDE) is none


def test_without_a_background_the_silhouette_tells() -> None:
    picture, prior, person, face = scene()
    found = of_person(prior, torch.ones_like(person), picture, face, SIDE)
    assert torch.allclose(found, prior, atol=1e-3)


def test_colors_are_told_by_those_nearby() -> None:
    picture, prior, _, _ = scene()
    known = torch.zeros_like(prior)
    known[..., 20:120, 40:50] = 1
    lab = 100 * picture
    log = likelihood(lab, known, SIDE)[0, 0]
    assert log[60, 52] > log[60, 75] + 10
    assert torch.isfinite(log).all()


def brows() -> NDArray[np.float32]:
    """A mesh with the brow on the left, and the way up."""
    mesh = np.full((478, 2), 300, np.float32)
    mesh[[70, 63, 105, 66, 107]] = [[20, 62], [30, 58], [40, 57], [50, 58], [60, 60]]
    mesh[[55, 65, 52, 53, 46]] = [[60, 65], [50, 63], [40, 62], [30, 63], [20, 66]]
    mesh[9], mesh[10] = [70, 60], [70, 20]
    return mesh


def test_what_hangs_by_a_thread_is_not_the_heads() -> None:
    likely, face = np.zeros((120, 160), np.float32), np.zeros((120, 160), np.float32)
    face[50:90, 50:80] = 1
    likely[30:50, 40:90], likely[50:110, 84:100] = 1, 1  # above the face, and down its side
    likely[60:90, 125:150], likely[70, 100:125] = 1, 1  # beside it, on a strand
    likely[112:118, 20:40] = 1
    likely[36:80, 31] = likely[50:80, 16] = 1  # cropped hair at a temple, and a thing away from it
    skull = np.zeros_like(likely)
    skull[28:110, 30:100] = 1
    found = hanging(likely, face, skull, 100.0)
    assert found[50:78, 31].min() > 0.7 > 0.1 > found[60:78, 16].max()
    assert found[32:48, 42:88].min() > 0.9 and found[52:108, 86:98].min() > 0.9
    assert not found[60:90, 125:].any() and not found[110:, 20:40].any()
    assert found[70, 100:102].min() > 0.5, "strands that stand out stay"


def test_what_touches_the_neck_alone_is_no_hair() -> None:
    mesh = mesh_at(Place(np.eye(3), 40.0, np.array([80.0, 80.0])))
    mesh[152] = 80, 125
    likely, skull = np.zeros((200, 160), np.float32), np.zeros((200, 160), np.float32)
    likely[20:50, 30:130], likely[140:190, 20:140] = 1, 1
    found = hanging(likely, upper_face(mesh, *likely.shape), skull, SIDE)
    assert found[26:44, 36:124].min() > 0.9 and not found[140:].any()


class TestBrows:
    def test_hair_that_hangs_beside_a_brow_keeps_its_border(self) -> None:
        alpha = np.zeros((100, 120), np.float32)
        alpha[56:66, 15:62], alpha[:, :22] = 1, 1
        found = without_brows(alpha, brows(), 100.0)
        assert found[40:80, :18].min() > 0.9 and found[61, 32:58].max() < 0.2

    def test_a_brow_is_no_hair(self) -> None:
        alpha = np.zeros((100, 120), np.float32)
        alpha[56:66, 15:62], alpha[:20] = 1, 1
        found = without_brows(alpha, brows(), 100.0)
        assert found[61, 25:58].max() < 0.2
        assert (found[:20] == 1).all()

    def test_under_a_fringe_it_is(self) -> None:
        alpha = np.zeros((100, 120), np.float32)
        alpha[:70] = 1
        assert (without_brows(alpha, brows(), 100.0) == alpha).all()


class TestGlasses:
    def test_rims_and_arms_go_and_hair_beside_the_face_stays(self) -> None:
        mesh, alpha = self.mesh(), np.zeros((160, 160), np.float32)
        left, right, eyes = (int(v) for v in (mesh[234, 0], mesh[454, 0], mesh[168, 1] + 6))
        alpha[eyes : eyes + 2, left - 4 : right + 4] = 1
        alpha[20:140, left - 20 : left - 6] = 1
        found = without_glasses(alpha, mesh, SIDE)
        assert found[eyes : eyes + 2, left + 2 : right - 2].max() < 0.1
        assert found[20:140, left - 20 : left - 8].min() > 0.9

    def test_a_wide_fringe_stays_before_the_eyes(self) -> None:
        mesh, alpha = self.mesh(), np.zeros((160, 160), np.float32)
        alpha[: int(mesh[168, 1]) + 8, 50:110] = 1
        found = without_glasses(alpha, mesh, SIDE)
        assert (found[:, 54:106] >= 0.9 * alpha[:, 54:106]).mean() > 0.98

    def mesh(self) -> NDArray[np.float32]:
        mesh = mesh_at(Place(np.eye(3), 40.0, np.array([80.0, 80.0])))
        mesh[[n for brow in BROWS for n in brow], 1] = 58
        mesh[152] = 80, 125
        return mesh


def test_within_hair_on_a_head_nothing_is_seen_through() -> None:
    likely = np.zeros((100, 100), np.float32)
    likely[20:80, 20:80] = 0.95
    alpha = 0.7 * likely
    covered = np.ones_like(likely)
    found = solid(alpha, likely, covered, SIDE)
    assert (found[35:65, 35:65] > 0.97).all()
    assert found[20, 50] < 0.8 and (found >= alpha).all()
    assert (solid(alpha, likely, 0 * covered, SIDE) == alpha).all(), "beside it, locks are open"


def test_strands_do_not_stand_far_from_hair() -> None:
    likely, alpha = np.zeros((60, 60), np.float32), np.ones((60, 60), np.float32)
    likely[:, :30] = 1
    found = near(alpha, likely, SIDE)
    assert (found[:, :31] > 0.9).all() and not found[:, 40:].any()


@pytest.mark.parametrize(
    ("color", "hair", "hidden"),
    [((120, 20, 30), 0.0, True), ((200, 155, 130), 0.0, False), ((30, 28, 26), 1.0, False)],
)
def test_a_hat_is_told_from_hair_and_from_a_bald_head(
    color: tuple[int, int, int], hair: float, hidden: bool
) -> None:
    head = Place(turned(0), 40.0, np.array([80.0, 110.0]))
    mesh = mesh_at(head)
    skull = (look(mean_skull(1.0), head, Grid.of_pixels(200, 160)).inside > 0).astype(np.float32)
    picture, alpha = np.full((200, 160, 3), (200, 150, 125), np.uint8), np.zeros_like(skull)
    above = np.s_[: int(mesh[10, 1])]
    picture[above], alpha[above] = color, hair
    assert hidden_crown(picture, alpha, skull, mesh, 150.0) == hidden
    assert not hidden_crown(picture, alpha, 0 * skull, mesh, 150.0), "the photo ends there"
