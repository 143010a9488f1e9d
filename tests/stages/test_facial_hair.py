"""Beards and brows, painted on faces that are drawn by hand."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.flow.made_up import a_pack
from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.flow.graph import Flow
from vidhair.flow.overlap import Workers
from vidhair.geometry import Box
from vidhair.imaging.color import levels_to_lab
from vidhair.models.faces.landmarks import BROWS, FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.recipe import load_recipe
from vidhair.stages import facial_hair as stages
from vidhair.stages.align import FaceTrack
from vidhair.stages.facial_hair import (
    LIPS,
    PARTS,
    SKIN,
    Face,
    FacialColors,
    FacialHair,
    no_facial_hair,
    prior_of,
)
from vidhair.stages.matte import NEIGHBOURS, Matte
from vidhair.stages.region import BELOW_NOSE, HairWindow
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Near, Span

SIZE = 160
X, Y, RADIUS = 80.0, 78.0, 40.0
WINDOW = HairWindow(4, 2, 1, SIZE - 6, SIZE - 8, 112.0)
SHADED, LIT, DARK, WALL = (100, 70, 56), (200, 150, 125), (50, 38, 30), (120, 170, 120)
MOUTH = np.s_[96:104, 66:94]


def box(mesh: Any, points: Any, left: float, top: float, right: float, bottom: float) -> None:
    """Lay points around a rectangle, in radii from the face's middle."""
    angle = np.linspace(0, 2 * np.pi, len(points), endpoint=False)
    place = np.array([(left + right) / 2, (top + bottom) / 2])
    reach = np.array([(right - left) / 2, (bottom - top) / 2])
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    mesh[list(points)] = [X, Y] + RADIUS * (place + reach * ring)


def a_mesh() -> NDArray[Any]:
    """Oval, brows, lips, cheeks, forehead and nose; the mouth's corners lie at its sides."""
    mesh = face_mesh(X, Y, RADIUS)
    mesh[list(SKIN[0])], mesh[list(SKIN[1])] = 0, 0
    for points, *where in (
        (SKIN[0], -0.6, -0.1, -0.25, 0.2), (SKIN[1], 0.25, -0.1, 0.6, 0.2),
        (SKIN[2], -0.4, -0.8, 0.4, -0.55), (SKIN[3], -0.1, -0.3, 0.1, 0.15),
        (BROWS[0], -0.55, -0.5, -0.15, -0.38), (BROWS[1], 0.15, -0.5, 0.55, -0.38),
        (LIPS, -0.35, 0.45, 0.35, 0.65),
    ):  # fmt: skip
        box(mesh, points, *where)
    upper = np.linspace(-0.75, 0.75, len(BELOW_NOSE))
    mesh[list(BELOW_NOSE)[1:-1]] = np.stack(
        [X + RADIUS * upper[1:-1], np.full(len(upper) - 2, Y + 0.28 * RADIUS)], 1
    )
    mesh[4] = [X, Y]
    # The oval last, as its points serve others, too.
    oval = face_mesh(X, Y, RADIUS)[list(FACE_OVAL)]
    mesh[list(FACE_OVAL)] = oval
    return mesh.astype(np.float32)


MESH = a_mesh()
OVAL = polygon_mask(MESH[list(FACE_OVAL)], SIZE, SIZE) > 0.5
BEARD = OVAL & (np.arange(SIZE)[:, None] > Y + 0.33 * RADIUS)
BEARD &= polygon_mask(MESH[list(LIPS)], SIZE, SIZE) < 0.5
BROW = np.zeros((SIZE, SIZE), bool)
BROW[60:63, 60:73] = BROW[60:63, 87:100] = True
COUNT = 5


def scene(*, beard: bool = True, brows: bool = True, shade: bool = False) -> NDArray[Any]:
    """uint8 [H, W, 3]: a face before a green wall, with a neck; shade: under the jaw."""
    picture = np.tile(np.array(WALL, np.uint8), (SIZE, SIZE, 1))
    picture[110:, 60:100] = SHADED if shade else LIT
    picture[OVAL] = LIT
    picture[MOUTH][polygon_mask(MESH[list(LIPS)], SIZE, SIZE)[MOUTH] > 0.5] = (190, 80, 80)
    if beard:
        picture[BEARD] = DARK
    if brows:
        picture[BROW] = DARK
    noise = np.random.default_rng(0).integers(-6, 7, (SIZE, SIZE, 1))
    return (picture + noise).clip(0, 255).astype(np.uint8)


def a_track(present: Any = None) -> FaceTrack:
    seen = np.ones(COUNT, bool) if present is None else np.array(present)
    meshes = np.where(seen[:, None, None], MESH, np.nan).astype(np.float32)
    starts = np.arange(COUNT) == 0
    nobody = np.zeros((COUNT, 0, 5), np.float32)
    return FaceTrack(meshes, seen, seen, starts, Box(24.0, 24.0, 112.0), nobody)


def colors_of(picture: NDArray[Any]) -> FacialColors:
    frames = InMemory(Frames.of_pixels(np.stack([picture] * COUNT)))
    return stages.facial_colors(frames, InMemory(a_track()), WINDOW)


def lab(rgb: Any) -> NDArray[Any]:
    pixel = torch.tensor(rgb, dtype=torch.uint8)[None, None, None]
    found: NDArray[Any] = levels_to_lab(pixel)[0, :, 0, 0].numpy()
    return found


class TestFacialColors:
    def test_they_are_those_of_what_is_no_skin(self) -> None:
        found = colors_of(scene())
        for part, color in zip(PARTS, found.lab, strict=True):
            assert found.seen(part)
            assert np.linalg.norm(color - lab(DARK)) < 4
        assert (found.way[:, 0] < -15).all(), "darker than skin"

    @pytest.mark.parametrize("missing", PARTS)
    def test_what_cannot_be_told_from_the_skin_is_not_seen(self, missing: str) -> None:
        found = colors_of(scene(beard=missing != "beard", brows=missing != "brows", shade=True))
        assert [found.seen(part) for part in PARTS] == [part != missing for part in PARTS]

    def test_a_clip_without_the_face_in_sight_has_none(self) -> None:
        away = HairWindow(0, 0, 1, 4, 4, 112.0)
        frames = InMemory(Frames.of_pixels(np.stack([scene()] * COUNT)))
        found = stages.facial_colors(frames, InMemory(a_track()), away)
        assert not found.way.any() and not found.lab.any()


class TestPrior:
    def prior(self, picture: NDArray[Any], part: str = "beard") -> NDArray[Any]:
        face = Face(MESH, WINDOW, WINDOW.cut(picture))
        way = colors_of(picture).way[PARTS.index(part)]
        whole = np.zeros((SIZE, SIZE), np.float32)
        found = prior_of(face, part, way)[0, 0].numpy()
        whole[2 : 2 + WINDOW.height, 4 : 4 + WINDOW.width][face.rows, face.columns] = found
        return whole

    def test_a_beard_is_likely_where_it_is(self) -> None:
        got = self.prior(scene())
        inside = BEARD & (np.arange(SIZE)[:, None] > Y + 0.4 * RADIUS)
        assert np.median(got[inside]) > 0.95
        assert got[OVAL & ~BEARD].mean() < 0.05
        assert got[MOUTH][4, 6:-6].max() < 0.1, "not on the lips"

    def test_neither_wall_nor_shaded_neck_beside_it_is_beard(self) -> None:
        got = self.prior(scene(shade=True))
        beside = ~polygon_mask(MESH[list(FACE_OVAL)], SIZE, SIZE).astype(bool)
        assert got[beside].max() < 0.5 and got[beside].mean() < 0.01

    def test_a_beard_may_reach_beyond_the_face(self) -> None:
        picture = scene()
        picture[116:126, 70:90] = DARK
        beyond = np.s_[120:123, 72:88]
        assert self.prior(picture)[beyond].mean() > 0.25
        assert self.prior(scene(shade=True))[beyond].mean() < 0.1

    def test_brows_are_likely_where_they_are(self) -> None:
        got = self.prior(scene(), "brows")
        assert got[BROW].mean() > 0.4 and got[~BROW].mean() < 0.01


class TestFacialHair:
    def made(
        self,
        start: int = 0,
        stop: int = COUNT,
        present: Any = None,
        at_once: AtOnce = map,
        **given: Any,
    ) -> FacialHair:
        low, high = Near(NEIGHBOURS).range(start, stop, COUNT)
        frames = Frames.of_pixels(np.stack([scene(**given)] * COUNT)).rows(low, high)
        alpha = np.zeros((COUNT, WINDOW.height, WINDOW.width), np.uint8)
        alpha[:, :, :60] = 255
        none = np.zeros((COUNT, 3), np.float32)
        matte = Matte(alpha, none[:, 0], none).rows(start, stop)
        colors, track = colors_of(scene(**given)), a_track(present).rows(low, high)
        return stages.facial_hair(
            frames, track, matte, colors, WINDOW, Span(start, stop), 0.6, 0.02, at_once
        )

    def test_each_has_a_plane_and_the_hair_of_the_head_is_in_neither(self) -> None:
        got = self.made(present=[True] * 4 + [False])
        assert got.planes.shape == (COUNT, 2, WINDOW.height, WINDOW.width)
        beard, brows = (np.zeros((SIZE, SIZE)) for _ in PARTS)
        inside = np.s_[2 : 2 + WINDOW.height, 4 : 4 + WINDOW.width]
        beard[inside], brows[inside] = got.planes[0]
        right = np.arange(SIZE) > 66
        assert np.median(beard[108:113][:, right & (np.arange(SIZE) < 90)]) > 230
        assert brows[60:63, 88:99].mean() > 150 and not brows[80:].any()
        assert not beard[:, :64].any() and not beard[:70].any()
        assert not got.planes[4].any(), "nobody is there"
        assert np.linalg.norm(got.lab[0, 0] - lab(DARK)) < 4

    def test_what_is_not_seen_has_none(self) -> None:
        got = self.made(beard=False)
        assert not got.planes[:, 0].any() and got.planes[:, 1].any()

    def test_threads_change_nothing(self, workers: Workers) -> None:
        assert np.array_equal(self.made(at_once=workers).planes, self.made().planes)

    def test_chunks_do_not_show(self) -> None:
        whole = self.made()
        for start, stop in ((0, 2), (2, 5)):
            got = self.made(start, stop)
            assert np.array_equal(got.planes, whole.planes[start:stop])

    def test_without_being_asked_for_there_is_none(self) -> None:
        got = no_facial_hair(clip_of(8, 8, range(0, 120, 40)))
        assert got.planes.shape == (3, 0, 1, 1) and got.lab.shape == (3, 0, 3)


@pytest.mark.parametrize(("ways", "said"), [([0, 0], 1), ([1, 0], 0), ([1, 1], 0)])
def test_a_beard_that_nobody_has_is_told_of(
    monkeypatch: pytest.MonkeyPatch, ways: list[int], said: int
) -> None:
    """Of several people one may have it."""
    none = np.zeros((2, 3), np.float32)
    colors = [FacialColors(none + way, none) for way in ways]
    monkeypatch.setattr(Flow, "value", lambda self, work, name, unit: colors[unit])
    flow = Flow(load_recipe("hair_color", {"edit.beard": True}), a_pack())
    flow.units = [cast(Any, SimpleNamespace())] * 2
    found = flow._unseen(cast(Any, None))
    assert len(found) == said and all("no beard can be told from the skin" in n for n in found)
    without = Flow(load_recipe("hair_color"), a_pack())
    assert without._unseen(cast(Any, None)) == []
