"""What networks of whole frames see of them, and how a drawing goes back."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tests.edits.test_toonify import faces_of, shots_of
from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import CropAxes, Grid, crop_axes, frame_crop
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.stages import wide
from vidhair.stages.people import tracks
from vidhair.stages.wide import (
    FADE_SECONDS,
    LARGEST_INPUT,
    REACH,
    Paste,
    Places,
    aligned_face,
    face_grid,
    find_places,
    grained,
    inside,
    matched,
    nearest,
    noise_of,
    put_back,
    seen,
    whole_grid,
    window_on,
)

pytestmark = pytest.mark.usefixtures("one_thread")

Place = tuple[float, float, float]
WHOLE = Paste(feather=0.0, match=False, grain=0.0, strength=1.0)


def eyes_of(*places: Place) -> NDArray[np.float64]:
    meshes = [face_mesh(*place).astype(np.float64) for place in places]
    return np.stack([np.stack(eyes_and_mouth(mesh)[:2]) for mesh in meshes])


def smooth_picture(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / a) * np.cos(y / b) for a, b in ((9, 13), (17, 7), (11, 23))]
    return np.rint(128 + 100 * np.stack(waves, -1)).astype(np.uint8)


class TestFaceGrid:
    def test_a_still_face_is_cut_as_styleganex_cuts_it(self) -> None:
        eyes = eyes_of((300, 200, 60))
        grid = face_grid(eyes, 480, 640)
        left, right = eyes[0]
        crop = frame_crop(left, right, 480, 640, (REACH,) * 4)
        assert (grid.height, grid.width) == (crop.bottom - crop.top, crop.right - crop.left)
        assert np.allclose([grid.left, grid.top], [crop.left / crop.scale, crop.top / crop.scale])
        assert grid.height % 8 == grid.width % 8 == 0 and np.isclose(grid.step, 1 / crop.scale)

    def test_it_holds_every_place_to_which_a_face_moves(self) -> None:
        still = face_grid(eyes_of((800, 500, 60)), 1080, 1920)
        moving = face_grid(eyes_of((800, 500, 60), (1000, 440, 60), (700, 500, 60)), 1080, 1920)
        assert moving.step == still.step
        ends = [(g.left + g.width * g.step, g.top + g.height * g.step) for g in (still, moving)]
        assert abs((ends[1][0] - ends[0][0]) - 200) < 9 * still.step
        assert abs((still.left - moving.left) - 100) < 9 * still.step
        assert abs((still.top - moving.top) - 60) < 9 * still.step
        assert abs(ends[1][1] - ends[0][1]) < 9 * still.step

    def test_of_a_small_face_that_runs_far_less_is_seen(self) -> None:
        grid = face_grid(eyes_of((200, 200, 12), (3600, 2000, 12)), 2160, 3840)
        assert grid.height * grid.width <= LARGEST_INPUT

    def test_a_lying_head_is_measured_along_its_eyes(self) -> None:
        mesh = face_mesh(300, 200, 60, 85).astype(np.float64)
        eyes = np.stack(eyes_and_mouth(mesh)[:2])[None]
        upright = face_grid(eyes_of((300, 200, 60)), 480, 640)
        assert np.isclose(face_grid(eyes, 480, 640).step, upright.step, rtol=1e-4)

    def test_the_whole_frame(self) -> None:
        grid = face_grid(eyes_of((300, 200, 60)), 470, 630, "frame")
        assert grid.left == grid.top == 0 and grid.height % 8 == grid.width % 8 == 0
        assert 0 <= grid.height * grid.step - 470 < 8 * grid.step
        large = whole_grid(2160, 3840, 4.0)
        assert large.height * large.width <= 1.02 * LARGEST_INPUT
        assert whole_grid(64, 64) == Grid(0, 0, 1.0, 64, 64)


def found(
    rows: list[list[Place]], *cuts: int, wanted: Any = "largest", framing: str = "crop"
) -> Places:
    clip = clip_of(640, 480, [40 * n for n in range(len(rows))])
    faces, shots = InMemory(faces_of(rows)), shots_of(len(rows), *cuts)
    followed = tracks(faces, InMemory(shots), clip)
    return find_places(faces, followed, shots.begins, clip, wanted, framing)


NEAR, FAR = (200.0, 240.0, 80.0), (480.0, 240.0, 40.0)


class TestPlaces:
    def test_one_per_shot(self) -> None:
        places = found([[NEAR]] * 3 + [[FAR]] * 2, 3)
        assert sorted(places.first.tolist()) == [0, 3]
        shown = [list(places.shown(row)) for row in range(5)]
        assert [len(one) for one in shown] == [1] * 5 and all(share == 1 for [(_, share)] in shown)
        assert shown[0] == shown[2] != shown[3]
        near, far = (places.grid(shown[row][0][0]) for row in (0, 3))
        assert np.isclose(near.step, 2 * far.step)

    def test_its_axes_are_those_of_the_first_frame(self) -> None:
        places = found([[NEAR], [(210.0, 240.0, 80.0)]])
        axes = crop_axes(*eyes_and_mouth(face_mesh(*NEAR)[None].astype(float)))
        crop = places.crop(0)
        assert crop is not None and np.allclose(crop.centre, axes.centre[0], atol=1e-3)

    def test_the_largest_or_all(self) -> None:
        rows = [[NEAR, FAR]] * 2
        assert len(found(rows).first) == 1
        places = found(rows, wanted="all")
        order = [place for place, _ in places.shown(0)]
        assert places.grid(order[-1]).step > places.grid(order[0]).step, "the nearer one in front"
        assert len(found(rows, wanted="all", framing="frame").first) == 1

    def test_where_a_face_is_lost_within_a_shot_it_fades(self) -> None:
        count = round(FADE_SECONDS / 0.04) + 5
        places = found([[NEAR]] * 3 + [[]] * count)
        share = places.share.max(1)
        assert (share[:3] == 1).all() and (np.diff(share[2:]) <= 0).all() and share[-1] == 0
        whole = found([[NEAR]] * 3 + [[]] * count, framing="frame")
        assert (whole.share.max(1) == 1).all()

    @pytest.mark.parametrize("wanted", [1, "2", "somebody.png"])
    def test_people_are_not_told_apart(self, wanted: Any) -> None:
        with pytest.raises(InvalidSetting, match=r"align\.person"):
            found([[NEAR]], wanted=wanted)

    def test_without_any_face(self) -> None:
        with pytest.raises(NoFaceFound, match="no face"):
            found([[], []])

    def test_everywhere(self) -> None:
        places = wide.everywhere(clip_of(101, 67, [0, 40]))
        assert places.grid(0) == Grid(0, 0, 1.0, 72, 104) and places.crop(0) is None
        assert [list(places.shown(row)) for row in (0, 1)] == [[(0, 1.0)]] * 2


class TestSeen:
    @pytest.mark.parametrize("scale", [0.4, 1.0, 2.7])
    def test_a_drawing_of_what_is_seen_goes_back_where_it_was(self, scale: float) -> None:
        """So no half pixel is lost on the way, whatever the size of the face."""
        frame = smooth_picture(150, 210)
        grid = Grid(13.3, 9.7, 1 / scale, 8 * int(12 * scale), 8 * int(20 * scale))
        drawn = F.interpolate(seen(frame, grid), scale_factor=4, mode="bicubic")
        back = put_back(frame, drawn, grid, WHOLE)
        window = window_on(grid, 150, 210)
        error = np.abs(back[window.pixels].astype(int) - frame[window.pixels])[4:-4, 4:-4]
        moved = np.abs(np.diff(frame[window.pixels].astype(int), axis=1)).mean()
        assert error.mean() < 0.12 * moved, "in changes from pixel to pixel"
        outside = np.ones(frame.shape[:2], bool)
        outside[window.pixels] = False
        assert np.array_equal(back[outside], frame[outside])

    def test_scaling_down_averages(self) -> None:
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 255
        shown = [seen(np.roll(stripes, n, 1), whole_grid(64, 64, 0.25)) for n in (0, 1)]
        assert all(bool((one[..., 2:-2].abs() < 0.05).all()) for one in shown), "no aliasing"

    def test_labels_are_never_mixed(self) -> None:
        labels = (
            np.random.default_rng(0).choice([0, 5, 17], (40, 40, 1)).repeat(3, -1).astype(np.uint8)
        )
        assert np.array_equal(nearest(labels, whole_grid(40, 40)), labels[..., 0])
        coarse = nearest(labels, Grid(0, 0, 2.5, 16, 16))
        assert set(np.unique(coarse)) <= {0, 5, 17}
        assert nearest(labels, Grid(0, 0, 1, 48, 48))[47, 47] == labels[39, 39, 0]

    def test_an_aligned_face_fills_the_crop_of_ffhq(self) -> None:
        frame = np.zeros((300, 300, 3), np.uint8)
        crop = CropAxes(np.array([150.0, 140.0]), np.array([64.0, 0.0]))
        frame[76:204, 86:150] = 200
        grid = whole_grid(300, 300)
        face = aligned_face(seen(frame, grid), grid, crop)
        assert face.shape == (1, 3, 256, 256)
        assert bool((face[..., 8:-8, 4:120] > 0.5).all()) and bool(
            (face[..., 136:252] < -0.9).all()
        )


class TestPutBack:
    GRID = Grid(20, 16, 1, 64, 80)

    def test_borders_of_the_frame_are_none(self) -> None:
        share = inside(Grid.of_pixels(40, 60, 0, 10), 50, 100, 8)
        assert (share[30:, 20] == 1).all() and share[0, 20] < 0.1, "it reaches the lower edge"
        assert (share[20:, 0] == 1).all() and share[20, -1] < 0.1
        assert (inside(Grid.of_pixels(9, 9), 9, 9, 4) == 1).all()

    def test_a_soft_border(self) -> None:
        frame = np.full((100, 120, 3), 100, np.uint8)
        back = put_back(frame, torch.ones(1, 3, 64, 80), self.GRID, Paste(0.2, False, 0, 1))
        assert back[48, 60, 0] == 255 and back[48, 20, 0] < 110
        assert (np.diff(back[48, 20:50, 0].astype(int)) >= 0).all()
        half = put_back(frame, torch.ones(1, 3, 64, 80), self.GRID, Paste(0.2, False, 0, 0.5))
        assert half[48, 60, 0] in (177, 178)

    def test_colors_are_the_sources_at_the_border_and_the_drawings_inside(self) -> None:
        source, drawn = torch.full((1, 3, 96, 96), 60.0), torch.full((1, 3, 96, 96), 150.0)
        window = Grid.of_pixels(96, 96, 10, 10)
        inner = torch.from_numpy(inside(window, 200, 200, 12))[None, None]
        near = torch.from_numpy(inside(window, 200, 200, 30))[None, None]
        got = matched(drawn, source, inner, near)
        assert abs(float(got[0, 0, 48, 1]) - 60) < 4 and abs(float(got[0, 0, 48, 48]) - 150) < 1
        assert torch.equal(matched(drawn, source, torch.ones_like(inner), near), drawn)

    def test_only_the_difference(self) -> None:
        frame = smooth_picture(100, 120)
        made = torch.rand(1, 3, 64, 80, generator=torch.Generator().manual_seed(0)) * 2 - 1
        paste = Paste(0.0, True, 1.0, 1.0)
        assert np.array_equal(put_back(frame, made, self.GRID, paste, undrawn=made), frame)
        more = put_back(frame, made + 0.08, self.GRID, paste, undrawn=made)
        change = more.astype(int) - frame
        assert set(np.unique(change[16:80, 20:100])) <= {9, 10, 11} and not change[:16].any()

    @pytest.mark.parametrize("level", [2.0, 6.0])
    def test_noise_is_measured_and_given(self, level: float) -> None:
        clean = torch.from_numpy(smooth_picture(128, 128).astype(np.float32)).movedim(-1, 0)[None]
        clean = F.avg_pool2d(F.interpolate(clean, scale_factor=2), 3, 1, 1)
        noise = level * torch.randn(1, 1, 256, 256, generator=torch.Generator().manual_seed(1))
        source = clean + noise
        assert abs(noise_of(source) - level) < 0.3 * level + 0.3
        got = grained(clean, source, 1.0, seed=3)
        assert abs(noise_of(got) - noise_of(source)) < 0.15 * level
        assert torch.equal(grained(clean, source, 0.0, 3), clean)
        assert torch.equal(got, grained(clean, source, 1.0, 3))
        assert torch.equal(grained(source, clean, 1.0, 3), source)
