"""Thumbnails, shots, faces."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.stages.series import InMemory
from vidhair.models.faces.landmarks import POINTS
from vidhair.stages import align
from vidhair.stages.align import (
    MAX_FACES,
    WARM_UP,
    AlignConfig,
    Thumbnails,
    bridge,
    bridge_pieces,
    changes_between,
    find_cuts,
    shrink,
)
from vidhair.types import Frames
from vidhair.wiring import Near, Span

CONFIG = AlignConfig()
THRESHOLD = CONFIG.cut_threshold


class TestThumbnails:
    @given(st.integers(1, 90), st.integers(1, 120), st.integers(0, 255))
    def test_a_plain_picture_of_any_size_stays_plain(
        self, height: int, width: int, level: int
    ) -> None:
        frames = np.full((2, height, width, 3), level, np.uint8)
        got = shrink(frames)
        assert got.dtype == np.uint8 and got.shape == (2, 24, 32, 3)
        assert np.all(got == level)

    def test_each_sample_is_the_mean_of_its_block(self) -> None:
        frames = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
        blocks = frames.reshape(2, 24, 4, 32, 3, 3).mean((2, 4))
        assert np.array_equal(shrink(frames), np.floor(blocks + 1e-9).astype(np.uint8))

    def test_large_white_pictures_do_not_overflow(self) -> None:
        assert np.all(shrink(np.full((1, 1080, 1920, 3), 255, np.uint8)) == 255)


def shots(*lengths: int, seed: int = 0, noise: float = 3) -> NDArray[Any]:
    """Thumbnails of scenes that differ, with noise in every frame."""
    rng = np.random.default_rng(seed)
    scenes = [rng.integers(0, 256, (24, 32, 3)) for _ in lengths]
    frames = np.concatenate([[scene] * n for scene, n in zip(scenes, lengths, strict=True)])
    return np.clip(frames + rng.normal(size=frames.shape) * noise, 0, 255).astype(np.uint8)


def cut_frames(thumbs: NDArray[Any], threshold: float = THRESHOLD) -> list[int]:
    return np.flatnonzero(find_cuts(changes_between([thumbs]), threshold)).tolist()


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
    def test_shots_begin_where_scenes_change(
        self, lengths: tuple[int, ...], want: list[int]
    ) -> None:
        assert cut_frames(shots(*lengths)) == want

    def test_a_dissolve_is_no_cut(self) -> None:
        a, b = shots(1, 1, noise=0).astype(float)
        share = np.linspace(0, 1, 25)[:, None, None, None]
        assert cut_frames((a + (b - a) * share).astype(np.uint8)) == [0]

    def test_wild_motion_is_no_cut(self) -> None:
        """Every frame differs from the last by more than the threshold."""
        frames = np.random.default_rng(0).integers(0, 256, (20, 24, 32, 3), dtype=np.uint8)
        assert cut_frames(frames) == [0]

    def test_a_cut_in_moving_shots(self) -> None:
        """The wall wanders; the scene then changes by much more."""
        a, b = shots(1, 1, noise=0)
        wandering = [np.roll(a // 4, k, axis=1) for k in range(10)]
        wandering += [np.roll(b // 4 + 180, k, axis=1) for k in range(10)]
        assert cut_frames(np.array(wandering)) == [0, 10]

    def test_the_threshold_is_the_least_change_that_counts(self) -> None:
        frames = np.full((12, 24, 32, 3), 100, np.uint8)
        frames[6:] += 26  # a tenth of the range
        assert cut_frames(frames, 0.09) == [0, 6]
        assert cut_frames(frames, 0.11) == [0]

    @pytest.mark.parametrize("size", [1, 2, 5])
    def test_pieces_do_not_show(self, size: int) -> None:
        frames = shots(4, 3, 6)
        pieces = (frames[at : at + size] for at in range(0, len(frames), size))
        assert np.array_equal(changes_between(pieces), changes_between([frames]))


class TestBridge:
    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 9).map(lambda k: not k)), min_size=1),
        st.sampled_from([0.0, 0.08, 0.2, 5.0]),
        st.integers(1, 9),
    )
    def test_pieces_do_not_show(
        self, frames: list[tuple[bool, bool]], longest: float, size: int
    ) -> None:
        known, begins = (np.array(column) for column in zip(*frames, strict=True))
        rng = np.random.default_rng(0)
        values = rng.normal(size=(len(frames), 3, 2)).astype(np.float32)
        values[~known] = np.nan
        seconds = np.arange(len(frames)) / 25
        pieces = (values[at : at + size] for at in range(0, len(frames), size))
        got = list(bridge_pieces(pieces, seconds, begins, longest))
        want = bridge(values, seconds, begins, longest)
        np.testing.assert_array_equal(np.concatenate(got), want)

    def test_no_more_is_held_than_can_be_bridged(self) -> None:
        """A face that is gone for long."""
        values = np.full((1000, 3, 2), np.nan, np.float32)
        values[[0, 999]] = 1
        seconds, begins = np.arange(1000) / 25, np.zeros(1000, bool)
        taken = []

        def pieces() -> Iterator[NDArray[Any]]:
            for at in range(0, 1000, 10):
                taken.append(at)
                yield values[at : at + 10]

        done = 0
        for piece in bridge_pieces(pieces(), seconds, begins, 1.0):
            done += len(piece)
            assert taken[-1] + 10 - done <= 30


# ---- stages


class Tracker:
    """In MediaPipe's place: finds as many faces as a frame's first level says, at points that tell
    the frame and how many it has been shown before."""

    made: list["Tracker"]

    def __init__(self, *, max_faces: int, min_confidence: float) -> None:
        self.options, self.shown, self.open = (max_faces, min_confidence), 0, True
        Tracker.made.append(self)

    def __call__(self, frame: NDArray[Any]) -> NDArray[Any]:
        self.shown += 1
        faces = np.zeros((frame[0, 0, 0], POINTS, 2), np.float32)
        faces[:] = [frame[0, 0, 1], self.shown]
        return faces

    def close(self) -> None:
        self.open = False


class TestFacesStage:
    COUNT = 9

    @pytest.fixture(autouse=True)
    def tracker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        Tracker.made = []
        monkeypatch.setattr(align, "FaceMesh", Tracker)

    def found(self, start: int, stop: int) -> NDArray[Any]:
        pixels = np.zeros((self.COUNT, 4, 6, 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = 1, np.arange(self.COUNT)[:, None, None]
        seen = Near(WARM_UP, 0).range(start, stop, self.COUNT)
        frames = Frames.of_pixels(pixels).rows(*seen)
        return align.faces(frames, Span(start, stop), 0.35).meshes

    @pytest.mark.parametrize(("start", "stop"), [(0, 4), (1, 4), (2, 5), (6, 9)])
    def test_frames_before_the_chunk_only_serve_the_tracker(self, start: int, stop: int) -> None:
        meshes = self.found(start, stop)
        early = min(start, WARM_UP)
        assert meshes.shape == (stop - start, MAX_FACES, POINTS, 2) and meshes.dtype == np.float32
        assert meshes[:, 0, 7, 0].tolist() == list(range(start, stop))
        assert meshes[:, 0, 7, 1].tolist() == [early + 1 + k for k in range(stop - start)]

    def test_the_tracker_is_told_how_sure_to_be_and_closed(self) -> None:
        self.found(0, 2)
        (tracker,) = Tracker.made
        assert tracker.options == (MAX_FACES, 0.35) and not tracker.open

    def test_places_for_faces_that_are_not_there_are_empty(self) -> None:
        pixels = np.zeros((3, 4, 6, 3), np.uint8)
        pixels[:, 0, 0, 0] = [0, 2, 1]
        meshes = align.faces(Frames.of_pixels(pixels), Span(0, 3), 0.5).meshes
        assert (~np.isnan(meshes[:, :, 0, 0])).sum(1).tolist() == [0, 2, 1]


def test_thumbnails_are_those_of_the_frames() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)
    got = align.thumbnails(Frames.of_pixels(pixels).rows(1, 3)).pictures
    assert np.array_equal(got, shrink(pixels[1:]))


def test_shots_begin_where_thumbnails_change_by_more_than_the_setting() -> None:
    thumbs = np.full((12, 24, 32, 3), 100, np.uint8)
    thumbs[5:] += 30  # a change of 0.118
    series = InMemory(Thumbnails(thumbs))
    assert np.flatnonzero(align.shots(series, 0.1).begins).tolist() == [0, 5]
    assert np.flatnonzero(align.shots(series, 0.13).begins).tolist() == [0]
