from typing import Any

import numpy as np
import pytest

from tests.stages.composing import Scene
from tests.stages.faces import clip_of, face_track
from tests.stages.series import InMemory
from vidhair.flow.graph import makers_of
from vidhair.geometry import Box
from vidhair.recipe import load_recipe
from vidhair.stages.fade import Fade, fade, fade_of_edits, fade_of_fronts, strengths
from vidhair.stages.render import (
    Codes,
    no_drawn_change,
)


class TestFading:
    TIMES = np.arange(10) / 10

    def strengths(
        self, certainty: list[float], cuts: tuple[int, ...] = (), fade: float = 0.4
    ) -> list[float]:
        begins = np.isin(np.arange(len(certainty)), [0, *cuts])
        times = self.TIMES[: len(certainty)]
        return strengths(np.array(certainty, float), times, begins, fade).round(3).tolist()

    def test_a_face_that_is_always_there_shows_all_of_it(self) -> None:
        assert self.strengths([1] * 6) == [1] * 6

    def test_it_comes_and_goes_by_degrees(self) -> None:
        got = self.strengths([0, 1, 1, 1, 1, 1, 1, 0, 0])
        assert got == [0, 0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0, 0]

    def test_at_a_cut_it_is_on_or_off(self) -> None:
        assert self.strengths([0, 0, 1, 1, 1, 0], cuts=(2, 5)) == [0, 0, 1, 1, 1, 0]

    def test_it_is_nowhere_above_the_certainty(self) -> None:
        got = self.strengths([1, 1, 1, 0.5, 1, 1])
        assert got == [1, 1, 0.75, 0.5, 0.75, 1]

    def test_no_time_to_fade_is_none(self) -> None:
        assert self.strengths([0, 1, 0.5, 1], fade=0.0) == [0, 1, 0.5, 1]

    def test_time_counts_and_not_frames(self) -> None:
        times, begins = np.array([0, 0.1, 0.3]), np.array([True, False, False])
        got = strengths(np.array([0.0, 1, 1]), times, begins, 0.4)
        np.testing.assert_allclose(got, [0, 0.25, 0.75])

    def test_the_stage_takes_the_tracks_certainty_and_the_clips_times(self) -> None:
        places = [None, *[(30.0, 30.0, 20.0)] * 5]
        track = face_track(places, Box(0.0, 0.0, 56.0), cuts=(4,))
        clip = clip_of(64, 64, [0, 100, 200, 300, 400, 500])
        got = fade(InMemory(track), clip, 0.4).strength
        np.testing.assert_allclose(got, [0, 0.25, 0.5, 0.75, 1, 1])

    def test_it_shows_nothing_where_no_edit_changes_the_codes(self) -> None:
        track = face_track([(30.0, 30.0, 20.0)] * 5, Box(0.0, 0.0, 56.0))
        clip = clip_of(64, 64, [0, 100, 200, 300, 400])
        codes = np.ones((5, 2, 3), np.float32)
        edited = codes.copy()
        edited[2:, 1, 0] = 4  # one number of one code is enough
        both = InMemory(Codes(codes)), InMemory(Codes(edited))
        none = InMemory(no_drawn_change(clip))
        got = fade_of_edits(InMemory(track), *both, none, clip, 0.2).strength
        np.testing.assert_allclose(got, [0, 0, 0.5, 1, 1])
        degree = np.array([0, 0, 1, 1, 1], np.float32)
        beyond = none.value.with_styles(degree, np.ones(4, np.float32))
        same = InMemory(Codes(codes)), InMemory(Codes(codes))
        for change, want in ((InMemory(beyond), [0, 0, 0.5, 1, 1]), (none, [0] * 5)):
            got = fade_of_edits(InMemory(track), *same, change, clip, 0.2).strength
            np.testing.assert_allclose(got, want)

    def test_a_layer_has_as_much_of_its_effect(self) -> None:
        scene = Scene()
        whole = scene.residual().astype(int)
        scene.fade = Fade(np.array([0.5, 1.0, 0.0, 1.0]))
        got, source = scene.residual().astype(int), scene.pixels.astype(int)
        assert np.array_equal(got[2], source[2]) and np.array_equal(got[3], whole[3])
        np.testing.assert_allclose(got[0], (source[0] + whole[0]) / 2, atol=1)


@pytest.mark.parametrize(
    ("recipe", "settings", "front"),
    [
        ("hair_color", {}, False),
        ("bald", {}, False),
        ("wave", {}, False),
        ("hair_length", {"edit.amount": -0.5}, False),
        ("hair_length", {"edit.amount": 0.5}, True),
        ("hairstyle", {}, True),
        ("longer_auburn", {}, True),
        ("bald", {"edit.by": "latent"}, True),
        ("hair_color_latent", {}, True),
        ("smile", {}, True),
    ],
)
def test_only_what_knows_heads_from_the_front_fades_where_they_turn(
    recipe: str, settings: dict[str, Any], front: bool
) -> None:
    maker = makers_of(load_recipe(recipe).override(settings))["fade"]
    assert maker.__name__ in (["fade_of_fronts", "fade_of_edits"] if front else ["fade"])


def test_turned_aside_only_what_is_seen_is_changed() -> None:
    track = face_track([(30.0, 30.0, 20.0)] * 2, Box(0.0, 0.0, 56.0))
    clip = clip_of(64, 64, [0, 100])
    track.mesh[1, [234, 454]] = track.mesh[1, 1] + np.array([[20.0, 0], [60.0, 0]])
    assert fade(InMemory(track), clip, 0).strength.tolist() == [1, 1]
    assert fade_of_fronts(InMemory(track), clip, 0).strength.tolist() == [1, 0]
