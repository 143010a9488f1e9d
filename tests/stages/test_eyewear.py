"""Glasses that are drawn on a painted face."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tests.stages.faces import face_mesh
from tests.stages.series import InMemory
from vidhair.geometry import Box
from vidhair.models.faces.landmarks import BROWS, EYE_LEFT, EYE_RIGHT, FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.eyewear import Eyes, Eyewear, Glasses, eyewear, glasses, matte, rim
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import NUMBERS, REFERENCE, HeadPose, Place, head_pose
from vidhair.types import Frames
from vidhair.wiring import Span

HIGH, WIDE, SCALE, FINER = 300, 320, 90.0, 4
SKIN, HAIR = (200, 150, 125), (50, 36, 28)
FRAMES = 2
WINDOW = HairWindow(0, 0, 1, HIGH, WIDE, 320.0)
Levels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def place(frame: int, turn: float) -> Place:
    """A head turned to the viewer's right, in degrees."""
    a = np.deg2rad(turn)
    rotation = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    return Place(rotation, SCALE, np.array([158.0 + 2 * frame, 170.0]))


def mesh_at(at: Place) -> NDArray[np.float32]:
    mesh = face_mesh(at.shift[0], at.shift[1], SCALE)
    mesh[list(FACE_OVAL)] = at.seen(
        np.array([(np.sin(t), -0.1 - 1.05 * np.cos(t), -0.3 * abs(np.cos(t)))
                  for t in np.arange(len(FACE_OVAL)) / len(FACE_OVAL) * 2 * np.pi])
    )  # fmt: skip
    mesh[NUMBERS] = at.seen(REFERENCE)
    for ring, brow, x in ((EYE_LEFT, BROWS[0], -0.45), (EYE_RIGHT, BROWS[1], 0.45)):
        turns = np.arange(len(ring)) / len(ring) * 2 * np.pi
        lids = [(x + 0.19 * np.cos(t), -0.3 + 0.06 * np.sin(t), -0.8) for t in turns]
        mesh[list(ring)] = at.seen(np.array(lids))
        wide = np.linspace(-0.27, 0.27, 5)
        above = [(x + w, -0.66 + 0.3 * w * w, -0.85) for w in wide]
        below = [(x + w, -0.58 + 0.3 * w * w, -0.85) for w in wide[::-1]]
        mesh[list(brow)] = at.seen(np.array(above + below))
    mesh[NUMBERS] = at.seen(REFERENCE)
    return mesh.astype(np.float32)


def head(mesh: NDArray[np.float32], at: Place) -> tuple[Levels, Mask]:
    """A face with brows, eyes and wrinkles, and where hair hangs beside it."""
    random = np.random.default_rng(1)
    rows, columns = np.mgrid[:HIGH, :WIDE] + 0.5
    picture = np.full((HIGH, WIDE, 3), (120.0, 140.0, 150.0))
    picture[polygon_mask(mesh[list(FACE_OVAL)], HIGH, WIDE) > 0.5] = SKIN
    away = (columns - at.shift[0]) / SCALE, (rows - at.shift[1]) / SCALE
    hair = (np.hypot(away[0] / 1.35, (away[1] + 0.3) / 1.5) < 1) & (away[1] < 0.4)
    inner = np.hypot((away[0] - at.rotation[0] @ [0, 0, -0.3]) / 0.95, (away[1] + 0.05) / 1.0) < 1
    hair &= ~inner
    strands = random.standard_normal((1, WIDE)) * 12 + random.standard_normal((HIGH, WIDE)) * 4
    picture[hair] = np.array(HAIR) + strands[np.broadcast_to(hair, (HIGH, WIDE))][:, None]
    for part in (*BROWS, EYE_LEFT, EYE_RIGHT):
        picture[polygon_mask(mesh[list(part)], HIGH, WIDE) > 0.5] = (70, 50, 45)
    picture += random.standard_normal((HIGH, WIDE, 1)) * 3
    return picture.clip(0, 255).astype(np.uint8), hair


def worn(mesh: NDArray[np.float32], at: Place, width: float) -> NDArray[np.float64]:
    """How far glasses cover a picture, whose arms end where ears begin."""
    eyes = Eyes.of(mesh, at, WINDOW)
    drawn = Image.new("L", (WIDE * FINER, HIGH * FINER))
    pen, lens = ImageDraw.Draw(drawn), np.array([0.03, 0.05, 0.38, 0.27, 3.0])

    def draw(line: NDArray[np.float64]) -> None:
        points = [tuple(p) for p in line * FINER]
        pen.line(points, fill=255, width=round(width * SCALE * FINER), joint="curve")

    for side in (0, 1):
        around = eyes.seen(side, rim(lens, 200))
        draw(np.concatenate([around, around[:2]]))
        places = np.array([(0.40, -0.05), (0.58, -0.06), (0.6, -0.08)])
        draw(eyes.seen(side, places, np.array([-0.2, -0.12, 0.7])))
    ends = [eyes.seen(side, np.array([-0.35, 0.0])) for side in (0, 1)]
    draw(np.stack(ends))
    small = drawn.resize((WIDE, HIGH), Image.Resampling.BOX)
    return np.asarray(small, np.float64) / 255


@cache
def scene(
    color: tuple[int, int, int] | None, width: float, turn: float
) -> tuple[Frames, FaceTrack, HeadPose, NDArray[np.float64], NDArray[np.bool_]]:
    """Frames, with glasses of a color, and how far these cover each; where hair is."""
    pictures, meshes, covers, hairs = [], [], [], []
    for frame in range(FRAMES):
        at = place(frame, turn)
        mesh = mesh_at(at)
        picture, hair = head(mesh, at)
        cover = worn(mesh, at, width) if color else np.zeros((HIGH, WIDE))
        mixed = picture + cover[..., None] * (np.array(color or SKIN) - picture.astype(float))
        pictures.append(np.rint(mixed).astype(np.uint8))
        meshes.append(mesh)
        covers.append(cover)
        hairs.append(hair)
    yes, none = np.ones(FRAMES, bool), np.full((FRAMES, 0, 5), np.nan, np.float32)
    track = FaceTrack(np.stack(meshes), yes, yes, np.arange(FRAMES) == 0, Box(0, 0, 320.0), none)
    pose = head_pose(InMemory(track))
    return Frames.of_pixels(np.stack(pictures)), track, pose, np.stack(covers), np.stack(hairs)


def seen(
    color: tuple[int, int, int] | None, width: float = 0.04, turn: float = 0.0
) -> tuple[Glasses, Eyewear]:
    frames, track, pose, *_ = scene(color, width, turn)
    found = glasses(InMemory(frames), InMemory(track), InMemory(pose), WINDOW)
    return found, eyewear(frames, track, pose, found, WINDOW, Span(0, FRAMES), map)


LOOKS = [((25, 22, 24), 0.06), ((215, 215, 220), 0.03), ((120, 40, 30), 0.04)]


class TestGlasses:
    @pytest.mark.parametrize("turn", [-25.0, 0.0, 18.0])
    @pytest.mark.parametrize(("color", "width"), LOOKS)
    def test_they_are_kept(self, color: tuple[int, int, int], width: float, turn: float) -> None:
        found, worn = seen(color, width, turn)
        *_, cover, hair = scene(color, width, turn)
        assert found.worn
        alpha = worn.alpha / 255
        assert alpha[cover > 0.95].mean() > 0.8
        assert alpha[(cover > 0.95) & hair].mean() > 0.7, "arms before hair"
        near = np.stack([grown_by(one, 3) for one in cover > 0])
        assert alpha[hair & ~near].mean() < 0.01

    def test_a_face_without_has_none(self) -> None:
        found, worn = seen(None)
        assert not found.worn and not worn.alpha.any()

    def test_of_small_faces_nothing_is_told(self) -> None:
        frames, track, pose, *_ = scene(LOOKS[0][0], 0.06, 0.0)
        coarse = HairWindow(0, 0, 2, HIGH // 2, WIDE // 2, 160.0)
        assert not glasses(InMemory(frames), InMemory(track), InMemory(pose), coarse).worn


def grown_by(mask: Mask, reach: int) -> Mask:
    rows, columns = np.nonzero(mask)
    found = np.zeros_like(mask)
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            found[(rows + y).clip(0, HIGH - 1), (columns + x).clip(0, WIDE - 1)] = True
    return found


class TestMatte:
    def test_glasses_are_no_hair(self) -> None:
        frames, *_, hair = scene(None, 0.04, 0.0)
        told = np.ones(FRAMES, np.float32), np.zeros((FRAMES, 3), np.float32)
        given = Matte(hair.astype(np.uint8) * np.uint8(255), *told)
        alpha = np.zeros((FRAMES, HIGH, WIDE), np.uint8)
        alpha[0, 100:110] = 255
        alpha[0, 110:112] = 51
        made = matte(frames, given, Eyewear(alpha), WINDOW, map)
        assert not made.alpha[0, 100:110].any()
        assert np.all(made.alpha[0, 110:112] == np.where(hair[0, 110:112], 204, 0))
        rest = np.ones(HIGH, bool)
        rest[100:112] = False
        assert np.array_equal(made.alpha[0, rest], given.alpha[0, rest])
        assert np.array_equal(made.alpha[1], given.alpha[1]), "none are worn there"
        assert made.area[0] == pytest.approx((made.alpha[0] > 242).mean()) and made.area[1] == 1
        assert made.mean_lab[0].any() and not made.mean_lab[1].any()
