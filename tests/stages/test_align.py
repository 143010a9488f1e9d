"""Shots, the face that is followed, gaps, the box: everything after detection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.errors import NoFaceFound
from vidhair.models.face_landmarks import POINTS
from vidhair.stages import align
from vidhair.stages.align import (
    LEAST_FACE,
    MAX_FACES,
    WARM_UP,
    AlignConfig,
    Faces,
    FaceTrack,
    Shots,
    Thumbnails,
    find_cuts,
    follow_face,
    shrink,
)
from vidhair.types import Frames
from vidhair.wiring import Near, Span

CONFIG = AlignConfig()
THRESHOLD = CONFIG.cut_threshold


class TestThumbnails:
    @given(st.integers(1, 90), st.integers(1, 120), st.integers(0, 255))
    def test_a_plain_picture_of_any_size_stays_plain(self, height, width, level):
        frames = np.full((2, height, width, 3), level, np.uint8)
        got = shrink(frames)
        assert got.dtype == np.uint8 and got.shape == (2, 24, 32, 3)
        assert np.all(got == level)

    def test_each_sample_is_the_mean_of_its_block(self):
        frames = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
        blocks = frames.reshape(2, 24, 4, 32, 3, 3).mean((2, 4))
        assert np.array_equal(shrink(frames), np.floor(blocks + 1e-9).astype(np.uint8))

    def test_large_white_pictures_do_not_overflow(self):
        assert np.all(shrink(np.full((1, 1080, 1920, 3), 255, np.uint8)) == 255)


def shots(*lengths: int, seed: int = 0, noise: float = 3) -> np.ndarray:
    """Thumbnails of scenes that differ, with noise in every frame."""
    rng = np.random.default_rng(seed)
    scenes = [rng.integers(0, 256, (24, 32, 3)) for _ in lengths]
    frames = np.concatenate([[scene] * n for scene, n in zip(scenes, lengths, strict=True)])
    return np.clip(frames + rng.normal(size=frames.shape) * noise, 0, 255).astype(np.uint8)


def cut_frames(thumbs: np.ndarray, threshold: float = THRESHOLD) -> list[int]:
    return np.flatnonzero(find_cuts(thumbs, threshold)).tolist()


class TestCuts:
    @pytest.mark.parametrize(
        ("lengths", "want"),
        [
            ((1,), [0]),
            ((9,), [0]),
            ((1, 8), [0, 1]),
            ((8, 1), [0, 8]),
            ((1, 1), [0, 1]),
            ((12, 7, 20), [0, 12, 19]),
            ((5, 5, 5, 5), [0, 5, 10, 15]),
        ],
    )
    def test_shots_begin_where_scenes_change(self, lengths, want):
        assert cut_frames(shots(*lengths)) == want

    def test_a_dissolve_is_no_cut(self):
        a, b = shots(1, 1, noise=0).astype(float)
        share = np.linspace(0, 1, 25)[:, None, None, None]
        assert cut_frames((a + (b - a) * share).astype(np.uint8)) == [0]

    def test_wild_motion_is_no_cut(self):
        """Every frame differs from the last by more than the threshold."""
        frames = np.random.default_rng(0).integers(0, 256, (20, 24, 32, 3), dtype=np.uint8)
        assert cut_frames(frames) == [0]

    def test_a_cut_in_moving_shots(self):
        """The wall wanders; the scene then changes by much more."""
        a, b = shots(1, 1, noise=0)
        wandering = [np.roll(a // 4, k, axis=1) for k in range(10)]
        wandering += [np.roll(b // 4 + 180, k, axis=1) for k in range(10)]
        assert cut_frames(np.array(wandering)) == [0, 10]

    def test_the_threshold_is_the_least_change_that_counts(self):
        frames = np.full((12, 24, 32, 3), 100, np.uint8)
        frames[6:] += 26  # a tenth of the range
        assert cut_frames(frames, 0.09) == [0, 6]
        assert cut_frames(frames, 0.11) == [0]


NONE = np.full((POINTS, 2), np.nan, np.float32)


def meshes(*rows: list[np.ndarray], faces: int = 3) -> np.ndarray:
    """[T, faces, 478, 2] from the faces seen in every frame."""
    return np.array([row + [NONE] * (faces - len(row)) for row in rows])


def follow(found: np.ndarray, cuts: tuple[int, ...] = (), **options) -> FaceTrack:
    count = len(found)
    starts = np.isin(np.arange(count), [0, *cuts])
    seconds = options.pop("seconds", np.arange(count) / 25)
    return follow_face(found, seconds, starts, AlignConfig(**options), "clip.mp4")


class TestFollow:
    def test_one_face_in_every_frame(self):
        rows = [face_mesh(100 + 2 * k, 80, 40) for k in range(6)]
        track = follow(meshes(*([row] for row in rows)))
        assert np.array_equal(track.mesh, rows)
        assert track.detected.all() and track.present.all() and track.others == 0

    def test_the_larger_of_two_whatever_their_order(self):
        near = [face_mesh(100 + k, 100, 50) for k in range(6)]
        far = [face_mesh(300 - k, 100, 20) for k in range(6)]
        rows = [[a, b] if k % 2 else [b, a] for k, (a, b) in enumerate(zip(near, far, strict=True))]
        track = follow(meshes(*rows))
        assert np.array_equal(track.mesh, near) and track.others == 1

    def test_the_person_seen_most_not_the_one_largest_for_a_moment(self):
        near = [face_mesh(100, 100, 40) for _ in range(8)]
        rows = [[mesh] for mesh in near]
        rows[3].insert(0, face_mesh(400, 100, 90))
        assert np.array_equal(follow(meshes(*rows)).mesh, near)

    def test_every_shot_has_its_own_largest_face(self):
        one, other = face_mesh(100, 100, 50), face_mesh(300, 100, 60)
        rows = [[one, face_mesh(300, 100, 30)]] * 3 + [[face_mesh(100, 100, 40), other]] * 3
        track = follow(meshes(*rows), cuts=(3,))
        assert np.array_equal(track.mesh, [one] * 3 + [other] * 3)

    def test_nobody_at_all(self):
        with pytest.raises(NoFaceFound) as error:
            follow(meshes([], [], []), min_confidence=0.4)
        message = str(error.value)
        assert "3 frames" in message and "clip.mp4" in message
        assert "align.min_confidence=0.3 (now 0.4)" in message

    def test_what_would_not_help_is_not_advised(self):
        with pytest.raises(NoFaceFound) as error:
            follow(meshes([], []), min_confidence=0.3)
        assert "min_confidence" not in str(error.value) and "from the front" in str(error.value)

    def test_a_face_too_small_to_edit_is_called_that(self):
        with pytest.raises(NoFaceFound) as error:
            follow(meshes(*[[face_mesh(100, 100, 15), face_mesh(200, 100, 12)]] * 3))
        assert "30 pixels high, too small to edit" in str(error.value)
        assert f"{LEAST_FACE} or more" in str(error.value)

    def test_the_least_face_is_measured_over_its_shot(self):
        """Not in every frame, where a face near the limit would come and go."""
        rows = [[face_mesh(100, 100, LEAST_FACE / 2 + d)] for d in (1, -1, 1, 1, -1, 1)]
        assert follow(meshes(*rows)).detected.all()

    def test_a_shot_of_small_faces_stays_empty_beside_one_of_large_ones(self):
        rows = [[face_mesh(100, 100, 15)]] * 3 + [[face_mesh(100, 100, 40)]] * 3
        track = follow(meshes(*rows), cuts=(3,))
        assert track.present.tolist() == [False] * 3 + [True] * 3

    def test_a_shot_without_a_face_stays_empty(self):
        mesh = face_mesh(100, 100, 40)
        track = follow(meshes([mesh], [mesh], [], [], [mesh]), cuts=(2, 4))
        assert track.present.tolist() == [True, True, False, False, True]
        assert np.isnan(track.mesh[2:4]).all()


class TestGaps:
    def test_a_short_gap_is_filled_along_a_line_in_time(self):
        a, b = face_mesh(100, 80, 40), face_mesh(130, 90, 45)
        seconds = np.array([0, 0.1, 0.25, 0.4])  # frames need not be equally far apart
        track = follow(meshes([a], [], [], [b]), seconds=seconds)
        assert track.detected.tolist() == [True, False, False, True]
        assert track.present.all()
        for frame in (1, 2):
            want = a + (b - a) * (seconds[frame] / 0.4)
            np.testing.assert_allclose(track.mesh[frame], want, rtol=1e-4)

    @pytest.mark.parametrize(("longest", "filled"), [(0.3, False), (0.5, True), (0.0, False)])
    def test_only_up_to_the_longest_gap(self, longest, filled):
        a = face_mesh(100, 80, 40)
        seconds = np.array([0, 0.2, 0.4])
        track = follow(meshes([a], [], [a]), seconds=seconds, bridge_seconds=longest)
        assert track.present[1] == filled

    def test_never_across_a_cut(self):
        a = face_mesh(100, 80, 40)
        for cut in (1, 2):
            assert not follow(meshes([a], [], [a]), cuts=(cut,)).present[1]

    def test_nor_before_the_first_or_after_the_last_face(self):
        a = face_mesh(100, 80, 40)
        track = follow(meshes([], [a], [a], []))
        assert track.present.tolist() == [False, True, True, False]


class TestBox:
    def test_a_still_upright_face_fills_its_box(self):
        track = follow(meshes(*[[face_mesh(100, 80, 40)]] * 3))
        s = track.similarity
        for values, want in ((s.angle_deg, 0), (s.tx, 0), (s.ty, 0), (s.scale, 1)):
            np.testing.assert_allclose(values, want, atol=1e-4)
        assert track.box.side == pytest.approx(2.8 * 40, rel=1e-3)
        np.testing.assert_allclose(track.box.centre, [100, 80 - 0.13 * 40], atol=0.5)

    def test_the_transform_tells_turn_place_and_size(self):
        rows = [[face_mesh(100, 80, 40)]] * 5 + [[face_mesh(128, 80, 40)]]
        rows += [[face_mesh(100, 80, 40, 30)], [face_mesh(100, 80, 60)]]
        track = follow(meshes(*rows), bridge_seconds=0)
        s, side = track.similarity, track.box.side
        assert s.tx[5] - s.tx[0] == pytest.approx(28 / side, abs=1e-3)
        assert s.angle_deg[6] == pytest.approx(30, abs=0.01)
        assert s.scale[7] == pytest.approx(1.5, abs=1e-3)

    def test_one_stray_frame_does_not_move_the_box(self):
        rows = [[face_mesh(100, 80, 40)]] * 9
        calm = follow(meshes(*rows)).box
        assert follow(meshes(*rows[:-1], [face_mesh(108, 60, 70)])).box == calm

    def test_absent_frames_have_no_transform(self):
        a = face_mesh(100, 80, 40)
        track = follow(meshes([a], [], [a]), bridge_seconds=0)
        assert np.isnan(track.similarity.tx).tolist() == [False, True, False]


# ---- stages


class Tracker:
    """In MediaPipe's place: finds as many faces as a frame's first level says, at points that tell
    the frame and how many it has been shown before."""

    made: list["Tracker"]

    def __init__(self, *, max_faces: int, min_confidence: float):
        self.options, self.shown, self.open = (max_faces, min_confidence), 0, True
        Tracker.made.append(self)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.shown += 1
        faces = np.zeros((frame[0, 0, 0], POINTS, 2), np.float32)
        faces[:] = [frame[0, 0, 1], self.shown]
        return faces

    def close(self) -> None:
        self.open = False


class TestFacesStage:
    COUNT = 9

    @pytest.fixture(autouse=True)
    def tracker(self, monkeypatch):
        Tracker.made = []
        monkeypatch.setattr(align, "FaceMesh", Tracker)

    def found(self, start: int, stop: int) -> np.ndarray:
        pixels = np.zeros((self.COUNT, 4, 6, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = 1, np.arange(self.COUNT)[:, None, None]
        seen = Near(WARM_UP, 0).range(start, stop, self.COUNT)
        frames = Frames.of_pixels(pixels).rows(*seen)
        return align.faces(frames, Span(start, stop), 0.35).meshes

    @pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 4), (2, 5), (6, 9)])
    def test_frames_before_the_chunk_only_serve_the_tracker(self, start, stop):
        meshes = self.found(start, stop)
        early = min(start, WARM_UP)
        assert meshes.shape == (stop - start, MAX_FACES, POINTS, 2) and meshes.dtype == np.float32
        assert meshes[:, 0, 7, 0].tolist() == list(range(start, stop))
        assert meshes[:, 0, 7, 1].tolist() == [early + 1 + k for k in range(stop - start)]

    def test_the_tracker_is_told_how_sure_to_be_and_closed(self):
        self.found(0, 2)
        (tracker,) = Tracker.made
        assert tracker.options == (MAX_FACES, 0.35) and not tracker.open

    def test_places_for_faces_that_are_not_there_are_empty(self):
        pixels = np.zeros((3, 4, 6, 3), np.uint8)
        pixels[:, 0, 0, 0] = [0, 2, 1]
        meshes = align.faces(Frames.of_pixels(pixels), Span(0, 3), 0.5).meshes
        assert (~np.isnan(meshes[:, :, 0, 0])).sum(1).tolist() == [0, 2, 1]


def test_thumbnails_are_those_of_the_frames():
    pixels = np.random.default_rng(3).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    got = align.thumbnails(Frames.of_pixels(pixels).rows(1, 3)).pictures
    assert np.array_equal(got, shrink(pixels[1:]))


def test_shots_begin_where_thumbnails_change_by_more_than_the_setting():
    thumbs = np.full((12, 24, 32, 3), 100, np.uint8)
    thumbs[5:] += 30  # a change of 0.118
    series = InMemory(Thumbnails(thumbs))
    assert np.flatnonzero(align.shots(series, 0.1).begins).tolist() == [0, 5]
    assert np.flatnonzero(align.shots(series, 0.13).begins).tolist() == [0]


class TestTrackStage:
    TIMES = (0, 40, 80, 120, 160, 200)

    def track(self, places, *, cuts=(), times=TIMES, **config) -> FaceTrack:
        """places: of the faces in every frame, the larger ones anywhere among them."""
        meshes = np.full((len(places), MAX_FACES, POINTS, 2), np.nan, np.float32)
        for frame, faces in enumerate(places):
            for number, place in enumerate(faces):
                meshes[frame, number] = face_mesh(*place)
        begins = np.isin(np.arange(len(places)), [0, *cuts])
        clip = clip_of(640, 360, times)
        series = InMemory(Faces(meshes)), InMemory(Shots(begins))
        return align.track(*series, clip, AlignConfig(**config))

    HERE, THERE = (200.0, 150.0, 60.0), (420.0, 180.0, 80.0)

    def test_the_largest_face_of_every_shot_is_followed(self):
        small = (100.0, 100.0, 40.0)
        got = self.track([[small, self.HERE]] * 3 + [[self.THERE]] * 3, cuts=(3,))
        assert got.cuts.tolist() == [True, False, False, True, False, False]
        assert got.present.all() and got.others == 1
        want = np.stack([face_mesh(*self.HERE)] * 3 + [face_mesh(*self.THERE)] * 3)
        assert np.array_equal(got.mesh, want)

    def test_a_gap_is_bridged_inside_a_shot_alone(self):
        faces = [[self.HERE], [], [self.HERE], [self.HERE], [], [self.HERE]]
        assert self.track(faces).present.all()
        assert self.track(faces, cuts=(5,)).present.tolist() == [1, 1, 1, 1, 0, 1]
        assert self.track(faces, bridge_seconds=0.0).present.tolist() == [1, 0, 1, 1, 0, 1]

    def test_a_gap_is_as_long_as_the_clips_times_say(self):
        faces = [[self.HERE], [], [self.HERE], [self.HERE], [], [self.HERE]]
        times = (0, 40, 80, 120, 500, 900)
        got = self.track(faces, times=times, bridge_seconds=0.5)
        assert got.present.tolist() == [1, 1, 1, 1, 0, 1]

    def test_a_bridged_face_is_where_it_is_at_that_time(self):
        left, right = (200.0, 150.0, 60.0), (240.0, 150.0, 60.0)
        times = (0, 40, 160, 200, 240, 280)
        got = self.track([[left], [], [right], [right], [right], [right]], times=times)
        np.testing.assert_allclose(got.mesh[1], face_mesh(210.0, 150.0, 60.0), atol=1e-3)

    def test_a_clip_without_a_face_is_named(self):
        with pytest.raises(NoFaceFound, match=r"any of the 6 frames of made up\.mp4"):
            self.track([[]] * 6)
