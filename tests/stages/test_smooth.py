from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.stages.faces import face_track
from tests.stages.series import InMemory, means_of
from vidhair.geometry import Box, Similarity
from vidhair.models.encoders.attributes import MOVING, AttributeSpace
from vidhair.stages.invert import Latents
from vidhair.stages.smooth import (
    REACH,
    Pivots,
    SmoothConfig,
    average_fine_layers,
    pivots,
    runs,
    share_identity,
    shot_codes,
    smooth_over_time,
    smooth_similarity,
    smooth_styles,
)
from vidhair.wiring import Near, Span


def smoothed(
    styles: NDArray[Any],
    present: NDArray[Any],
    cuts: NDArray[Any],
    config: SmoothConfig,
    space: AttributeSpace | None = None,
) -> NDArray[Any]:
    """As if the frames were a clip."""
    return smooth_styles(styles, means_of(styles, present, cuts), present, cuts, config, space)


TAPS = np.array([1 / 12, 3 / 12, 4 / 12, 3 / 12, 1 / 12])


def by_definition(values: NDArray[Any], cuts: NDArray[Any]) -> NDArray[Any]:
    shot, result = np.cumsum(cuts), np.empty_like(values)
    for i in range(len(values)):
        total, weight = 0.0, 0.0
        for offset, tap in zip(range(-2, 3), TAPS, strict=True):
            j = i + offset
            if 0 <= j < len(values) and shot[j] == shot[i]:
                total, weight = total + tap * values[j], weight + tap
        result[i] = total / weight
    return result


@st.composite
def clips(draw: st.DrawFn, low: int = 1, high: int = 14) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values [T, 2, 3] and cuts [T]."""
    count = draw(st.integers(low, high))
    values = draw(hnp.arrays(np.float64, (count, 2, 3), elements=st.floats(-100, 100)))
    return values, np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)))


class TestOverTime:
    @given(clips())
    def test_is_the_mean_of_five_frames_of_the_shot(
        self, clip: tuple[NDArray[Any], NDArray[Any]]
    ) -> None:
        values, cuts = clip
        got = smooth_over_time(values, cuts)
        np.testing.assert_allclose(got, by_definition(values, cuts), atol=1e-10)

    def test_one_frame_spreads_over_five(self) -> None:
        values = np.zeros(11)
        values[5] = 1
        np.testing.assert_allclose(smooth_over_time(values), np.r_[[0] * 3, TAPS, [0] * 3])

    @given(st.floats(-1e6, 1e6, width=32), st.lists(st.booleans(), min_size=1, max_size=20))
    def test_what_is_still_stays_exactly_still(self, value: float, cuts: list[bool]) -> None:
        values = np.full((len(cuts), 3), value, np.float32)
        assert np.array_equal(smooth_over_time(values, np.array(cuts)), values)

    def test_steady_motion_is_kept_between_the_ends(self) -> None:
        values = np.arange(20.0)[:, None] * [1, -3] + 7
        got = smooth_over_time(values)
        np.testing.assert_allclose(got[2:-2], values[2:-2], atol=1e-12)
        # At the ends the mean lies a little inside.
        assert got[0, 0] > values[0, 0] and got[-1, 0] < values[-1, 0]

    @given(clips(low=2))
    def test_nothing_crosses_a_cut(self, clip: tuple[NDArray[Any], NDArray[Any]]) -> None:
        values, cuts = clip
        pieces = np.split(values, np.flatnonzero(cuts))
        alone = [smooth_over_time(piece) for piece in pieces if len(piece)]
        np.testing.assert_allclose(
            smooth_over_time(values, cuts), np.concatenate(alone), atol=1e-10
        )

    def test_not_even_nothing_crosses_a_cut(self) -> None:
        values = np.array([1.0, 1, 1, np.nan, np.nan, 2, 2])
        cuts = np.isin(np.arange(7), [0, 3, 5])
        np.testing.assert_allclose(smooth_over_time(values, cuts), values)

    @given(clips())
    def test_results_stay_among_the_values(self, clip: tuple[NDArray[Any], NDArray[Any]]) -> None:
        values, cuts = clip
        got = smooth_over_time(values, cuts)
        assert got.shape == values.shape
        assert np.all(got >= values.min(0) - 1e-9) and np.all(got <= values.max(0) + 1e-9)

    def test_flicker_is_damped(self) -> None:
        flicker = (np.arange(40) % 2 * 2 - 1).astype(np.float32)
        got = smooth_over_time(flicker)
        assert got.dtype == np.float32 and np.abs(got[2:-2]).max() < 1e-6

    def test_the_input_is_left_alone(self) -> None:
        values = np.random.default_rng(0).normal(size=(9, 4))
        kept = values.copy()
        smooth_over_time(values, np.arange(9) == 4)
        assert np.array_equal(values, kept)


def test_runs_begin_at_cuts_and_where_the_face_comes_or_goes() -> None:
    present = np.array([0, 0, 1, 1, 1, 0, 1, 1], bool)
    cuts = np.array([1, 0, 0, 0, 1, 0, 0, 0], bool)
    assert runs(present, cuts).tolist() == [True, False, True, False, True, True, True, False]


def random(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_fine_layers_are_averaged_over_their_shot() -> None:
    styles, cuts = random(7, 4, 3), np.arange(7) == 3
    got = average_fine_layers(styles, 2, means_of(styles, cuts | True, cuts))
    assert np.array_equal(got[:, :2], styles[:, :2])
    for shot in (slice(0, 3), slice(3, 7)):
        want = styles[shot, 2:].mean(0)
        np.testing.assert_allclose(got[shot, 2:], np.broadcast_to(want, got[shot, 2:].shape))


D = 6
MOVES = np.array([0, 2])  # the axes along which the space below says that faces move


def space_of(names: Sequence[str]) -> AttributeSpace:
    """What moves lies along axes 0 and 2 in turn, all else along axis 1."""
    axes = [0 if k % 2 else 2 for k in range(len(MOVING))]
    axis = dict(zip(MOVING, axes, strict=True))
    directions = torch.eye(D)[[axis.get(name, 1) for name in names]] * 2
    zero = torch.zeros(len(names))
    return AttributeSpace(tuple(names), directions, directions, zero, zero, zero)


def space() -> AttributeSpace:
    return space_of((*MOVING, "hair_length"))


class TestShareIdentity:
    def test_only_what_moves_differs_within_a_shot(self) -> None:
        styles, cuts = random(8, 4, D), np.arange(8) == 5
        got = share_identity(styles, space(), means_of(styles, cuts | True, cuts))
        stays = np.setdiff1d(np.arange(D), MOVES)
        for shot in (slice(0, 5), slice(5, 8)):
            assert np.ptp(got[shot][..., stays], axis=0).max() < 1e-6
            mean = styles[shot].mean(0)
            np.testing.assert_allclose(got[shot].mean(0), mean, atol=1e-6)
            # All layers move by the mean movement of the layers.
            moved = (styles[shot] - mean).mean(1)[:, MOVES]
            for layer in range(4):
                np.testing.assert_allclose((got[shot] - mean)[:, layer, MOVES], moved, atol=1e-6)

    def test_codes_that_only_move_are_kept(self) -> None:
        base, path = random(1, 4, D), np.zeros((9, 1, D), np.float32)
        path[:, 0, MOVES] = random(9, 2, seed=1)
        styles = base + path
        got = share_identity(styles, space(), styles.mean(0, keepdims=True))
        np.testing.assert_allclose(got, styles, atol=1e-5)


class TestStyles:
    PLAIN = SmoothConfig(share=False, average_fine_from=18)

    def test_only_smoothing(self) -> None:
        styles, cuts = random(9, 4, D), np.arange(9) == 4
        got = smoothed(styles, np.ones(9, bool), cuts, self.PLAIN)
        np.testing.assert_allclose(got, by_definition(styles, cuts), atol=1e-6)

    def test_everything_can_be_switched_off(self) -> None:
        styles, present = random(9, 4, D), np.ones(9, bool)
        off = SmoothConfig(latents=False, share=False, average_fine_from=18)
        assert np.array_equal(smoothed(styles, present, present & False, off, space()), styles)

    def test_a_pack_without_attributes_is_smoothed_too(self) -> None:
        styles, present = random(9, 4, D), np.ones(9, bool)
        got = smoothed(styles, present, present & False, SmoothConfig(average_fine_from=18))
        np.testing.assert_allclose(got, by_definition(styles, present & False), atol=1e-6)

    @pytest.mark.parametrize(
        "names", [("age", "hair_length"), ("smile",), ("smile", "yaw", "age"), MOVING[1:]]
    )
    def test_attributes_that_do_not_tell_all_that_moves_freeze_nobody(
        self, names: tuple[str, ...]
    ) -> None:
        """Boundaries of InterFaceGAN, say: what none of them explains is not flicker for that."""
        styles, cuts = random(9, 12, D), np.arange(9) == 4
        present = np.ones(9, bool)
        got = smoothed(styles, present, cuts, SmoothConfig(), space_of(names))
        assert np.array_equal(got, smoothed(styles, present, cuts, SmoothConfig(), None))
        for shot in (slice(0, 4), slice(4, 9)):
            assert np.ptp(got[shot, :9], axis=0).min() > 0.05

    def test_attributes_that_tell_all_of_it_keep_the_rest_of_the_person(self) -> None:
        styles, cuts = random(9, 12, D), np.arange(9) == 4
        got = smoothed(styles, np.ones(9, bool), cuts, SmoothConfig(), space())
        for shot in (slice(0, 4), slice(4, 9)):
            assert np.ptp(got[shot][..., [1, 3, 4, 5]], axis=0).max() < 1e-5
            assert np.ptp(got[shot, :9][..., MOVES], axis=0).min() > 0.01

    def test_absent_frames_stay_and_touch_no_others(self) -> None:
        present = np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 0], bool)
        cuts = np.arange(10) == 7
        styles = random(10, 12, D)
        config = SmoothConfig(average_fine_from=9)
        got = smoothed(styles, present, cuts, config, space())
        # Smoothing among absent frames alone would be harmless, touching present ones would not.
        spoilt = styles.copy()
        spoilt[~present] = 1e6
        again = smoothed(spoilt, present, cuts, config, space())
        assert np.array_equal(again[present], got[present])

    def test_an_absent_face_everywhere(self) -> None:
        styles, absent = random(5, 4, D), np.zeros(5, bool)
        got = smoothed(styles, absent, absent, SmoothConfig(), space())
        assert np.array_equal(got, styles)

    def test_a_still_face_stays_still(self) -> None:
        styles = np.broadcast_to(random(1, 12, D), (8, 12, D)).copy()
        present, cuts = np.ones(8, bool), np.arange(8) == 3
        got = smoothed(styles, present, cuts, SmoothConfig(), space())
        np.testing.assert_allclose(got, styles, atol=1e-6)

    def test_fine_layers_are_the_same_all_through_a_shot(self) -> None:
        styles, present = random(9, 12, D), np.ones(9, bool)
        config = SmoothConfig(share=False, average_fine_from=5)
        got = smoothed(styles, present, np.arange(9) == 4, config)
        for shot in (slice(0, 4), slice(4, 9)):
            assert np.ptp(got[shot, 5:], axis=0).max() < 1e-6
            assert np.ptp(got[shot, :5], axis=0).max() > 0.1


class TestSimilarity:
    @staticmethod
    def motion(count: int) -> Similarity:
        t = np.arange(count) / 10
        return Similarity(20 * np.sin(t), 0.1 * np.cos(t), 0.2 * t, 1 + 0.1 * np.sin(2 * t))

    def test_a_still_face_stays_still(self) -> None:
        still = Similarity(*(np.full(7, v) for v in (12.5, 0.1, -0.2, 0.8)))
        present = np.ones(7, bool)
        got = smooth_similarity(still, present, np.arange(7) == 3, SmoothConfig())
        for name in ("angle_deg", "tx", "ty", "scale"):
            np.testing.assert_allclose(getattr(got, name), getattr(still, name), atol=1e-12)

    def test_matrices_are_averaged(self) -> None:
        moving, cuts = self.motion(12), np.arange(12) == 5
        got = smooth_similarity(moving, np.ones(12, bool), cuts, SmoothConfig())
        np.testing.assert_allclose(
            got.matrices(), by_definition(moving.matrices(), cuts), atol=1e-12
        )

    def test_angles_are_averaged_the_short_way_round(self) -> None:
        around = Similarity(np.array([179.0, -179] * 5), np.zeros(10), np.zeros(10), np.ones(10))
        got = smooth_similarity(around, np.ones(10, bool), np.zeros(10, bool), SmoothConfig())
        assert np.all(np.abs(got.angle_deg) > 178.9)

    def test_frames_without_a_face_do_not_count(self) -> None:
        moving = self.motion(10)
        present = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0], bool)
        for values in (moving.angle_deg, moving.tx, moving.ty, moving.scale):
            values[~present] = np.nan
        got = smooth_similarity(moving, present, np.zeros(10, bool), SmoothConfig())
        want = by_definition(np.nan_to_num(moving.matrices()), runs(present, np.zeros(10, bool)))
        np.testing.assert_allclose(got.matrices()[present], want[present], atol=1e-12)

    def test_can_be_switched_off(self) -> None:
        moving = self.motion(6)
        config = SmoothConfig(transforms=False)
        assert smooth_similarity(moving, np.ones(6, bool), np.zeros(6, bool), config) is moving


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_clips_shorter_than_the_taps(count: int) -> None:
    values = random(count, 3).astype(np.float64)
    got = smooth_over_time(values)
    np.testing.assert_allclose(got, by_definition(values, np.zeros(count, bool)), atol=1e-12)


class TestPivotsStage:
    """Frame 3 shows no face; with frame 5 a shot begins. Faces move, turn and grow."""

    PLACES = tuple(
        None if k == 3 else (60.0 + 3 * k, 50 + 2 * k * k / 8, 20 + 0.5 * k, 8.0 * (k % 3))
        for k in range(9)
    )
    TRACK = face_track(PLACES, Box(30.0, 20.0, 70.0), cuts=(5,))
    OFF = SmoothConfig(latents=False, transforms=False, share=False, average_fine_from=18)
    STYLES = random(9, 4, D)

    def pivots(self, config: SmoothConfig, space: AttributeSpace | None = None) -> Pivots:
        """Of all frames, in one chunk and in chunks of which each sees its neighbours."""
        codes, track = Latents(self.STYLES), self.TRACK
        shots = shot_codes(InMemory(codes), InMemory(track))
        whole = pivots(codes, track, shots, Span(0, 9), space, config)
        for start, stop in ((0, 2), (2, 6), (6, 9)):
            near = Near(REACH).range(start, stop, 9)
            seen = codes.rows(*near), track.rows(*near), shots.rows(*near)
            part = pivots(*seen, Span(start, stop), space, config)
            for name in Pivots.ROWS:
                want = getattr(whole, name)[start:stop]
                np.testing.assert_allclose(getattr(part, name), want, atol=1e-6)
        return whole

    def test_without_smoothing_they_are_the_codes_and_where_the_face_is(self) -> None:
        got = self.pivots(self.OFF)
        assert np.array_equal(got.styles, self.STYLES)
        s, seen = self.TRACK.similarity, self.TRACK.present
        columns = [s.angle_deg, s.tx, s.ty, s.scale]
        assert all(np.ptp(column[seen]) > 0.05 for column in columns)
        for k, column in enumerate(columns):
            assert np.array_equal(got.transform[seen, k], column[seen])

    def test_the_transform_is_a_similarity_again(self) -> None:
        got, want = self.pivots(self.OFF).similarity, self.TRACK.similarity
        seen = self.TRACK.present
        assert np.array_equal(got.matrices()[seen], want.matrices()[seen])

    @pytest.mark.parametrize("smoothed", ["latents", "transforms"])
    def test_each_is_smoothed_if_it_is_asked_for(self, smoothed: str) -> None:
        rough = self.pivots(self.OFF)
        got = self.pivots(SmoothConfig(**{**vars(self.OFF), smoothed: True}))
        changed = {
            "latents": np.abs(got.styles - rough.styles).max() > 0.01,
            "transforms": np.abs(got.transform - rough.transform)[self.TRACK.present].max() > 0.01,
        }
        assert [name for name, is_changed in changed.items() if is_changed] == [smoothed]

    def test_nothing_crosses_a_cut_or_a_gap(self) -> None:
        config = SmoothConfig(share=False, average_fine_from=18)
        got = self.pivots(config)
        for run in (slice(0, 3), slice(4, 5), slice(5, 9)):
            begins = np.arange(run.stop - run.start) == 0
            want = smooth_over_time(self.STYLES[run], begins)
            np.testing.assert_allclose(got.styles[run], want, atol=1e-6)
            matrices = self.TRACK.similarity.matrices()[run]
            np.testing.assert_allclose(
                got.similarity.matrices()[run],
                Similarity.from_matrices(smooth_over_time(matrices, begins)).matrices(),
                atol=1e-9,
            )
        assert np.isfinite(got.transform).all()

    def test_a_packs_attributes_keep_the_rest_of_the_person(self) -> None:
        config = SmoothConfig(latents=False, average_fine_from=18)
        got, seen = self.pivots(config, space()).styles, self.TRACK.present
        want = smoothed(self.STYLES, seen, self.TRACK.cuts, config, space())
        np.testing.assert_allclose(got, want, atol=1e-6)
        assert np.abs(got - self.STYLES)[seen].max() > 0.1
        assert np.array_equal(self.pivots(config).styles, self.STYLES)


def test_shots_have_the_mean_codes_of_their_frames_with_the_face() -> None:
    places = [None if k in (3, 4) else (60.0, 50.0, 20.0, 0.0) for k in range(700)]
    track = face_track(places, Box(30.0, 20.0, 70.0), cuts=(3, 5, 400))
    styles, series = random(700, 2, D), InMemory(track)
    codes = InMemory(Latents(styles))
    got = shot_codes(codes, series)
    assert got.shot.tolist() == (np.cumsum(track.cuts) - 1).tolist()
    want = means_of(styles, track.present, track.cuts)
    np.testing.assert_allclose(got.styles[got.shot], want, atol=1e-6)
    assert max(stop - start for start, stop in codes.asked) < 300, "the clip is never held whole"
