"""Tracks, people, who is chosen, and the face of one: everything between detection and edit."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.models.tiny import seeded
from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import CropAxes
from vidhair.imaging.color import linear_to_srgb, rgb_to_lab, srgb_to_linear
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.faces.identity import FaceIdentity
from vidhair.models.faces.landmarks import POINTS
from vidhair.stages import people as stages
from vidhair.stages.align import LEAST_FACE, MAX_FACES, Faces, FaceTrack, Shots
from vidhair.stages.invert import InvertConfig
from vidhair.stages.people import (
    COUNTS,
    LASTING,
    LIT,
    Look,
    Looks,
    People,
    Person,
    Tracks,
    color_look,
    describe,
    good_frames,
    is_reference,
    link_tracks,
    number_people,
    unlikeness,
)
from vidhair.types import Clip, Frames

Rows = list[list[Any]]  # what `face_mesh` takes, of the faces of every frame
STEP = 40  # milliseconds from frame to frame


def clip_with(count: int) -> Clip:
    return clip_of(640, 360, [STEP * k for k in range(count)])


def meshes_of(rows: Rows) -> NDArray[Any]:
    """[T, MAX_FACES, 478, 2], in the order in which they are given."""
    meshes = np.full((len(rows), MAX_FACES, POINTS, 2), np.nan, np.float32)
    for frame, faces in enumerate(rows):
        for number, place in enumerate(faces):
            meshes[frame, number] = face_mesh(*place)
    return meshes


def shots_of(count: int, cuts: tuple[int, ...] = ()) -> InMemory[Shots]:
    return InMemory(Shots(np.isin(np.arange(count), [0, *cuts])))


def tracks_of(rows: Rows, cuts: tuple[int, ...] = (), clip: Clip | None = None) -> Tracks:
    faces = InMemory(Faces(meshes_of(rows)))
    return stages.tracks(faces, shots_of(len(rows), cuts), clip or clip_with(len(rows)))


def numbers(rows: Rows, cuts: tuple[int, ...] = ()) -> list[list[int]]:
    """Tracks of the faces of every frame."""
    return [[int(k) for k in row if k >= 0] for row in tracks_of(rows, cuts).track]


def looks_of(features: NDArray[Any], track: NDArray[Any]) -> Looks:
    """Of people whose colors are alike."""
    return Looks(features, np.zeros((len(track), 5), np.float32), track)


class TestTracks:
    def test_faces_that_stay_near_are_one_track_each_whatever_their_order(self) -> None:
        near = [(100.0 + k, 100.0, 50.0) for k in range(6)]
        far = [(300.0 - k, 100.0, 40.0) for k in range(6)]
        rows = [[a, b] if k % 2 else [b, a] for k, (a, b) in enumerate(zip(near, far, strict=True))]
        assert numbers(rows) == [[0, 1], [1, 0]] * 3

    def test_no_track_goes_over_a_cut(self) -> None:
        rows: Rows = [[(100.0, 100.0, 50.0)]] * 4
        assert numbers(rows, cuts=(2,)) == [[0], [0], [1], [1]]

    def test_a_face_that_is_far_from_all_begins_a_track(self) -> None:
        rows: Rows = [[(100.0, 100.0, 50.0)], [(220.0, 100.0, 50.0)]]
        assert numbers(rows) == [[0], [1]]

    @pytest.mark.parametrize("step", [10.0, 16.0, 25.0])
    @pytest.mark.parametrize("hidden", [0, 1, 3])
    def test_two_who_cross_are_not_swapped(self, step: float, hidden: int) -> None:
        """One behind the other for `hidden` frames, in which only the nearer one is found."""
        count = 15
        rows: Rows = []
        for k in range(count):
            right, left = 300 + (k - 7) * step, 300 - (k - 7) * step
            pair = [(right, 150.0, 60.0), (left, 155.0, 52.0)]
            seen = pair[:1] if abs(k - 7) < (hidden + 1) / 2 and hidden else pair
            rows.append(seen if k % 2 else seen[::-1])
        found = tracks_of(rows)
        size = np.array([[f[2] for f in row] + [0] * (MAX_FACES - len(row)) for row in rows])
        for wanted in (60.0, 52.0):
            assert len(set(found.track[size == wanted].tolist())) == 1
        assert found.track.max() == 1

    def test_they_are_told_apart_by_size_where_they_meet(self) -> None:
        rows: Rows = [[(200.0, 150.0, 60.0), (204.0, 150.0, 45.0)]]
        rows += [[(203.0, 150.0, 45.0), (201.0, 150.0, 60.0)]]
        assert numbers(rows) == [[0, 1], [1, 0]]

    def test_one_face_does_not_take_what_is_the_other_ones(self) -> None:
        """The first is as near to the second's place as the second itself; together it fits."""
        rows: Rows = [[(200.0, 150.0, 60.0), (240.0, 150.0, 60.0)]]
        rows += [[(225.0, 150.0, 60.0), (262.0, 150.0, 60.0)]]
        assert numbers(rows) == [[0, 1], [0, 1]]

    def test_who_comes_back_to_the_same_place_goes_on(self) -> None:
        place = (100.0, 100.0, 50.0)
        assert numbers([[place], *[[]] * 30, [place]])[-1] == [0]

    def test_heights_and_times_are_those_of_each_track(self) -> None:
        rows: Rows = [[(100.0, 100.0, 50.0), (300.0, 100.0, 40.0)]] * 2 + [[(100.0, 100.0, 50.0)]]
        clip = clip_of(640, 360, [0, 100, 300])  # the last frame lasts 40 ms
        found = tracks_of(rows, clip=clip)
        np.testing.assert_allclose(found.height, [100, 80], rtol=1e-4)
        want = [100**2 * 0.34, 80**2 * 0.3]
        np.testing.assert_allclose(found.area_seconds, want, rtol=1e-4)

    def test_crops_are_those_of_the_meshes(self) -> None:
        axes = tracks_of([[(100.0, 80.0, 50.0)]]).axes
        np.testing.assert_allclose(axes[0, 0], [100, 80 - 6.5, 70, 0], atol=0.5)
        assert np.isnan(axes[0, 1:]).all()

    def test_a_face_from_the_side_is_less_frontal(self) -> None:
        front, side = meshes_of([[(100.0, 100.0, 50.0)]] * 2)
        for mesh, nose in ((front, 100), (side, 80)):
            mesh[0, [234, 454, 1]] = [[60, 100], [140, 100], [nose, 100]]
        faces = InMemory(Faces(np.stack([front, side])))
        found = stages.tracks(faces, shots_of(2), clip_with(2))
        np.testing.assert_allclose(found.frontal[:, 0], [1, 0.5], atol=1e-3)

    def test_meshes_are_read_by_range(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stages, "AT_ONCE", 4)
        faces = InMemory(Faces(meshes_of([[(100.0 + k, 100.0, 50.0)] for k in range(10)])))
        found = stages.tracks(faces, shots_of(10), clip_with(10))
        assert faces.asked == [(0, 4), (4, 8), (8, 10)] and (found.track[:, 0] == 0).all()


class TestLinking:
    def apart(self, count: int, *pairs: tuple[int, int]) -> NDArray[Any]:
        found = np.zeros((count, count), bool)
        for a, b in pairs:
            found[a, b] = found[b, a] = True
        return found

    def distance(self, *points: float) -> NDArray[Any]:
        places = np.array(points)
        return abs(places[:, None] - places)

    def test_those_who_look_alike_are_one(self) -> None:
        got = link_tracks(self.distance(0, 5, 0.3, 5.4, 9), self.apart(5))
        assert got.tolist() == [0, 1, 0, 1, 2]

    def test_whoever_is_seen_together_is_two(self) -> None:
        got = link_tracks(self.distance(0, 0.1), self.apart(2, (0, 1)))
        assert got[0] != got[1]

    def test_nor_are_they_joined_through_a_third(self) -> None:
        got = link_tracks(self.distance(0, 0.4, 0.2), self.apart(3, (0, 1)))
        assert got[0] != got[1] and got[2] in got[:2]

    def test_the_most_alike_are_joined_first(self) -> None:
        got = link_tracks(self.distance(0, 0.6, 0.9), self.apart(3, (0, 2)))
        assert got[1] == got[2] != got[0]

    def test_a_group_counts_by_its_mean(self) -> None:
        assert len(set(link_tracks(self.distance(0, 0.2, 1.05), self.apart(3)).tolist())) == 1
        assert len(set(link_tracks(self.distance(0, 0.2, 1.25), self.apart(3)).tolist())) == 2

    def test_tracks_are_compared_by_the_means_of_their_looks(self) -> None:
        features = np.array([[0, 0], [2, 0], [1, 3.0]])
        got = unlikeness(features, np.array([0, 0, 2]), 3)
        assert got[0, 2] == 3 and np.isinf(got[0, 1])


def seen(*rows: Rows, cuts: tuple[int, ...] = ()) -> tuple[Tracks, NDArray[Any]]:
    tracks = tracks_of([row for part in rows for row in part], cuts)
    return tracks, np.array([(tracks.track == k).sum() * STEP / 1000 for k in range(99)])


class TestNumbers:
    LARGE, SMALL, TINY = (100.0, 100.0, 60.0), (300.0, 100.0, 40.0), (400.0, 100.0, 10.0)

    def people(
        self, *rows: Rows, cuts: tuple[int, ...] = (), alike: Sequence[tuple[int, int]] = ()
    ) -> list[int]:
        tracks, seconds = seen(*rows, cuts=cuts)
        count = len(tracks.height)
        distance = np.full((count, count), 9.0)
        for a, b in alike:
            distance[a, b] = distance[b, a] = 0.1
        return number_people(tracks, distance, seconds[:count]).person.tolist()

    def test_the_first_has_most_face_times_time(self) -> None:
        assert self.people([[self.SMALL, self.LARGE]] * 10) == [2, 1]
        assert self.people([[self.LARGE, self.SMALL]] * 6, [[self.SMALL]] * 10) == [2, 1]

    def test_over_all_their_tracks(self) -> None:
        once, again = [[self.SMALL]] * 8, [[self.LARGE]] * 8
        assert self.people(once, again, once, once, cuts=(8, 16, 24)) == [2, 1, 3, 4]
        alike = [(0, 2), (0, 3), (2, 3)]
        assert self.people(once, again, once, once, cuts=(8, 16, 24), alike=alike) == [1, 2, 1, 1]

    def test_faces_too_small_to_edit_are_nobodys(self) -> None:
        assert self.people([[self.TINY, self.SMALL]] * 10) == [0, 1]

    def test_nor_is_who_is_hardly_seen_unless_all_are(self) -> None:
        assert self.people([[self.SMALL]] * 10, [[self.SMALL, self.LARGE]]) == [1, 0]
        assert self.people([[self.SMALL, self.LARGE]] * 2) == [2, 1]


class TestPeopleStage:
    def people(self, rows: Rows, **options: Any) -> People:
        tracks = tracks_of(rows)
        count = len(tracks.height)
        looks = looks_of(9.0 * np.eye(max(count, 1))[:count], np.arange(count))
        given = {"min_confidence": 0.5} | options
        return stages.people(InMemory(tracks), looks, clip_with(len(rows)), **given)

    def test_everybody_has_a_number(self) -> None:
        got = self.people([[(100.0, 100.0, 60.0), (300.0, 100.0, 40.0)]] * 8)
        assert got.count == 2 and got.tracks_of(1).tolist() == [0]

    def test_nobody_at_all(self) -> None:
        with pytest.raises(NoFaceFound) as error:
            self.people([[], [], []], min_confidence=0.4)
        message = str(error.value)
        assert "3 frames" in message and "made up.mp4" in message
        assert "align.min_confidence=0.3 (now 0.4)" in message

    def test_what_would_not_help_is_not_advised(self) -> None:
        with pytest.raises(NoFaceFound) as error:
            self.people([[], []], min_confidence=0.3)
        assert "min_confidence" not in str(error.value) and "from the front" in str(error.value)

    def test_a_face_too_small_to_edit_is_called_that(self) -> None:
        with pytest.raises(NoFaceFound) as error:
            self.people([[(100.0, 100.0, 15.0), (200.0, 100.0, 12.0)]] * 3)
        assert "30 pixels high, too small to edit" in str(error.value)
        assert f"{LEAST_FACE} or more" in str(error.value)

    def test_the_least_face_is_measured_over_its_track(self) -> None:
        """Not in every frame, where a face near the limit would come and go."""
        rows: Rows = [[(100.0, 100.0, LEAST_FACE / 2 + d)] for d in (1, -1, 1, 1, -1, 1)]
        assert self.people(rows).count == 1


class TestChoice:
    PEOPLE = People(np.array([2, 1, 0, 2], np.int32))
    CLIP = clip_with(4)

    def chosen(self, wanted: str | int) -> list[Person]:
        return list(stages.person(self.PEOPLE, wanted, self.CLIP))

    @pytest.mark.parametrize(
        ("wanted", "numbers"), [("largest", [1]), ("all", [1, 2]), (2, [2]), ("2", [2])]
    )
    def test_by_size_by_number_or_all(self, wanted: int | str, numbers: list[int]) -> None:
        assert [person.number for person in self.chosen(wanted)] == numbers
        assert [str(person) for person in self.chosen(wanted)] == [f"person {n}" for n in numbers]

    def test_each_has_their_tracks(self) -> None:
        assert self.chosen(2)[0].tracks.tolist() == [0, 3]

    @pytest.mark.parametrize("wanted", [0, 3, "3", -1])
    def test_a_number_that_nobody_has(self, wanted: int | str) -> None:
        with pytest.raises(InvalidSetting, match="shows 2 people; see `vidhair inspect`"):
            self.chosen(wanted)

    def test_what_is_none_of_these_is_a_picture(self) -> None:
        assert [is_reference(w) for w in ("largest", "all", "7", 7, "face.png")] == [0, 0, 0, 0, 1]

    LOOKS = looks_of(
        np.array([[0, 0], [0.2, 0], [5, 0], [9, 9], [4.8, 0]]), np.array([1, 1, 0, 2, 3])
    )

    @pytest.mark.parametrize(("look", "number"), [((0.5, 0), 1), ((4.5, 0), 2)])
    def test_who_is_most_like_a_picture(self, look: tuple[float, int], number: int) -> None:
        (got,) = stages.most_like(self.PEOPLE, self.LOOKS, Look(np.array(look)), "face.png")
        assert got.number == number
        assert got.tracks.tolist() == self.PEOPLE.tracks_of(number).tolist()

    def test_nobody_is(self) -> None:
        with pytest.raises(InvalidSetting, match=r"nobody in the clip looks like .*'face.png'"):
            stages.most_like(self.PEOPLE, self.LOOKS, Look(np.array([2.5, 0])), "face.png")


class TestLooks:
    def test_good_frames_are_spread_large_and_frontal(self) -> None:
        rows: Rows = [[(100.0 + k, 100.0, 50.0)] for k in range(12)]
        rows[2], rows[7] = [(102.0, 100.0, 55.0)], [(107.0, 100.0, 55.0)]
        found = tracks_of(rows)
        found.frontal[:, 0] = 0.5
        found.frontal[9, 0] = 1
        assert good_frames(found, 0, 3).tolist() == [2, 7, 9]
        assert good_frames(found, 0, 99).tolist() == list(range(12))

    def space(self, *names: str) -> AttributeSpace:
        count = len(names)
        table = torch.arange(count * 4.0).reshape(count, 4)
        return AttributeSpace(names, table, table, *torch.zeros(3, count))

    def inverter(self) -> Any:
        """Codes of two layers: the mean color of a picture, and one more number."""

        def codes(squares: torch.Tensor) -> torch.Tensor:
            mean = squares.mean((2, 3))
            return torch.cat([mean, mean[:, :1] + 2], 1)[:, None].repeat(1, 2, 1)

        return SimpleNamespace(
            size=8, num_ws=2, w_dim=4, device=torch.device("cpu"), codes=codes,
            average=torch.full((4,), 0.5),
        )  # fmt: skip

    PICTURES = np.stack([np.full((64, 64, 3), v, np.uint8) for v in (60, 60, 200)])
    AXES = CropAxes(np.full((3, 2), 32.0), np.array([[10.0, 0]] * 3))

    def features(
        self, space: AttributeSpace | None = None, identity: FaceIdentity | None = None
    ) -> NDArray[Any]:
        return describe(self.PICTURES, self.AXES, self.inverter(), space, identity, InvertConfig())

    def test_what_lasts_of_a_person_is_read_where_the_pack_can(self) -> None:
        lasting = list(LASTING)
        space = self.space("yaw", *lasting)
        got = self.features(space)
        codes = self.inverter().codes(torch.from_numpy(self.PICTURES).movedim(3, 1) / 127.5 - 1)
        want = space.read(codes)[:, 1:] * torch.tensor(list(LASTING.values()))
        np.testing.assert_allclose(got, want, rtol=0.02)

    def test_else_codes_count_by_where_they_point_from_the_mean(self) -> None:
        got = self.features(self.space("smile", "age"))
        assert got.shape == (3, 8)
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, rtol=1e-5)
        assert np.abs(got[0] - got[1]).max() == 0 and np.abs(got[0] - got[2]).max() > 0.1

    def test_an_identity_network_goes_first(self) -> None:
        network = seeded(
            lambda: FaceIdentity(size=16, width=8, widths=(4, 4, 4, 4), units=(1,) * 4)
        )
        got = self.features(self.space(*LASTING), network.eval())
        np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1 / np.sqrt(1.3), rtol=1e-5)

    def test_the_stage_looks_at_faces_that_can_be_edited(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows: Rows = [[(32.0, 32.0, 30.0), (200.0, 100.0, 5.0)], [(33.0, 32.0, 30.0)], []]
        shown: list[tuple[int, float]] = []

        def describe(pictures: Iterator[Any], axes: CropAxes, *rest: Any) -> NDArray[Any]:
            found = [int(p[0, 0, 0]) for p in pictures]
            shown.extend(zip(found, axes.centre[:, 0].round(), strict=True))
            return np.zeros((len(found), 3))

        monkeypatch.setattr(stages, "describe", describe)
        pixels = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((64, 64, 3), np.uint8)
        frames = InMemory(Frames.of_pixels(pixels))
        got = stages.looks(
            frames, InMemory(tracks_of(rows)), self.inverter(), None, None, InvertConfig()
        )
        assert got.track.tolist() == [0, 0] and shown == [(0, 32.0), (1, 33.0)]

    def test_colors_are_those_of_skin_and_hair(self) -> None:
        """Wherever the face is, however it is turned and lit."""
        upright = np.full((64, 64, 3), (200, 150, 130), np.uint8)
        upright[:20] = 120, 90, 60
        aslant = np.rot90(upright).copy()
        middle = np.array([32.0, 32.0])
        got = color_look(upright, middle, np.array([32.0, 0.0]))
        turned = color_look(aslant, middle, np.array([0.0, -32.0]))
        skin, hair = rgb_to_lab(torch.tensor([[200, 150, 130], [120, 90, 60]]) / 255)
        lit = (LIT + 16) / (float(skin[0]) + 16)
        seen = np.array([*skin[1:], hair[0] + 16, *hair[1:]])
        want = seen * np.array(COUNTS) * lit
        np.testing.assert_allclose(got, want, atol=0.01)
        np.testing.assert_allclose(turned, got, atol=0.01)
        darker = linear_to_srgb(srgb_to_linear(torch.from_numpy(upright) / 255) / 2)
        dark = (darker * 255).round().to(torch.uint8).numpy()
        dim = color_look(dark, middle, np.array([32.0, 0.0]))
        np.testing.assert_allclose(dim, got, atol=0.03)

    def test_who_looks_alike_but_for_the_colors_is_somebody_else(self) -> None:
        rows: Rows = [[(100.0, 100.0, 50.0)]] * 20
        tracks = tracks_of(rows, cuts=(10,))
        for lightness, count in ((0.5, 1), (0.9, 2)):
            colors = np.zeros((2, 5), np.float32)
            colors[1, 0] = lightness
            looks = Looks(np.array([[0.0], [0.6]]), colors, np.arange(2))
            assert stages.people(InMemory(tracks), looks, clip_with(20), 0.5).count == count

    def test_a_clip_without_a_face_has_none(self) -> None:
        frames = InMemory(Frames.of_pixels(np.zeros((2, 4, 4, 3), np.uint8)))
        tracks = InMemory(tracks_of([[], []]))
        got = stages.looks(frames, tracks, self.inverter(), None, None, InvertConfig())
        assert len(got.features) == len(got.track) == 0

    def test_a_reference_without_a_face_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "wall.png"
        Image.new("RGB", (64, 64), "grey").save(path)
        with pytest.raises(NoFaceFound, match=r"no face in .*wall\.png"):
            stages.reference(str(path), "", self.inverter(), None, None, InvertConfig())


HERE, THERE = (200.0, 150.0, 60.0), (420.0, 180.0, 80.0)


def follow(rows: Rows, number: int = 0, cuts: tuple[int, ...] = (), **options: Any) -> FaceTrack:
    """The face of whoever has these tracks. options: times [ms], bridge [s], tracks."""
    clip = clip_of(640, 360, options.get("times", [STEP * k for k in range(len(rows))]))
    tracks = tracks_of(rows, cuts, clip)
    mine = [k for k in options.get("tracks", [number]) if k < len(tracks.height)]
    pieces = stages.track(
        InMemory(Faces(meshes_of(rows))), InMemory(tracks), shots_of(len(rows), cuts),
        Person(1, np.array(mine)), clip, options.get("bridge", 0.5),
    )  # fmt: skip
    return joined(list(pieces))


def joined(pieces: list[FaceTrack]) -> FaceTrack:
    rows = {k: np.concatenate([getattr(p, k) for p in pieces]) for k in FaceTrack.ROWS}
    assert all(piece.box == pieces[0].box for piece in pieces)
    return replace(pieces[0], **rows)


class TestTrack:
    def test_one_face_in_every_frame(self) -> None:
        rows: Rows = [[(100.0 + 2 * k, 80.0, 40.0)] for k in range(6)]
        track = follow(rows)
        assert np.array_equal(track.mesh, meshes_of(rows)[:, 0])
        assert track.detected.all() and track.present.all() and track.neighbours.shape == (6, 0, 5)

    def test_only_the_persons_own_faces_over_all_shots(self) -> None:
        rows: Rows = [[HERE, THERE]] * 3 + [[THERE, HERE]] * 3
        track = follow(rows, cuts=(3,), tracks=[0, 3])
        assert np.array_equal(track.mesh, np.stack([face_mesh(*HERE)] * 6))
        assert track.cuts.tolist() == [True, False, False, True, False, False]

    def test_where_the_person_is_not_there_is_nothing(self) -> None:
        track = follow([[HERE], [HERE], [THERE], []], tracks=[0])
        assert track.present.tolist() == [True, True, False, False]
        assert np.isnan(track.mesh[2:]).all()

    def test_everybody_else_is_a_neighbour(self) -> None:
        far = (560.0, 100.0, 30.0)
        track = follow([[HERE, THERE], [THERE, far, HERE], [HERE]], number=0)
        beside = track.neighbours
        assert beside.shape == (3, 2, 5) and np.isnan(beside[2]).all() and np.isnan(beside[0, 1, 0])
        np.testing.assert_allclose(beside[0, 0], [420, 180 - 10.4, 112, 0, 80 / 60], atol=0.6)
        np.testing.assert_allclose(beside[1, 1], [560, 100 - 3.9, 42, 0, 0.5], atol=0.6)

    def test_a_neighbour_who_is_hidden_for_a_while_is_there(self) -> None:
        rows: Rows = [[HERE, THERE], [HERE], [HERE, THERE]]
        for times, there in (([0, 900, 1900], True), ([0, 900, 2100], False)):
            beside = follow(rows, bridge=0.0, times=times).neighbours[1]
            assert np.isfinite(beside).all() == there and (not there or beside[0, 4] == 0)

    def test_who_is_found_where_the_person_is_not_lies_in_front(self) -> None:
        beside = follow([[HERE, THERE], [THERE], [HERE, THERE]]).neighbours
        np.testing.assert_allclose(beside[:, 0, 4], [80 / 60, np.inf, 80 / 60], rtol=1e-3)


class TestGaps:
    def test_a_short_gap_is_filled_along_a_line_in_time(self) -> None:
        a, b = face_mesh(100, 80, 40), face_mesh(106, 84, 41)
        times = [0, 100, 250, 400]  # frames need not be equally far apart
        track = follow([[(100.0, 80.0, 40.0)], [], [], [(106.0, 84.0, 41.0)]], times=times)
        assert track.detected.tolist() == [True, False, False, True]
        assert track.present.all()
        for frame in (1, 2):
            want = a + (b - a) * (times[frame] / 400)
            np.testing.assert_allclose(track.mesh[frame], want, rtol=1e-4)

    @pytest.mark.parametrize(("longest", "filled"), [(0.3, False), (0.5, True), (0.0, False)])
    def test_only_up_to_the_longest_gap(self, longest: float, filled: bool) -> None:
        track = follow([[HERE], [], [HERE]], times=[0, 200, 400], bridge=longest)
        assert track.present[1] == filled

    def test_never_across_a_cut(self) -> None:
        for cut in (1, 2):
            track = follow([[HERE], [], [HERE]], cuts=(cut,), tracks=[0, 1])
            assert track.present.tolist() == [True, False, True]

    def test_a_long_clip_is_followed_bit_by_bit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rows: Rows = [[] if k % 7 in (3, 4) else [(200.0 + k, 150.0, 60.0)] for k in range(40)]
        whole = follow(rows)
        monkeypatch.setattr(stages, "AT_ONCE", 3)
        parts = follow(rows)
        for name in FaceTrack.ROWS:
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))

    def test_nor_before_the_first_or_after_the_last_face(self) -> None:
        assert follow([[], [HERE], [HERE], []]).present.tolist() == [False, True, True, False]


class TestBox:
    PLACE = (100.0, 80.0, 40.0)

    def test_a_still_upright_face_fills_its_box(self) -> None:
        track = follow([[self.PLACE]] * 3)
        s = track.similarity
        for values, want in ((s.angle_deg, 0), (s.tx, 0), (s.ty, 0), (s.scale, 1)):
            np.testing.assert_allclose(values, want, atol=1e-4)
        assert track.box.side == pytest.approx(2.8 * 40, rel=1e-3)
        np.testing.assert_allclose(track.box.centre, [100, 80 - 0.13 * 40], atol=0.5)

    def test_the_transform_tells_turn_place_and_size(self) -> None:
        rows: Rows = [[self.PLACE]] * 5 + [[(128.0, 80.0, 40.0)]]
        rows += [[(100.0, 80.0, 40.0, 30.0)], [(100.0, 80.0, 60.0)]]
        track = follow(rows, tracks=[0, 1, 2, 3], bridge=0)
        s, side = track.similarity, track.box.side
        assert s.tx[5] - s.tx[0] == pytest.approx(28 / side, abs=1e-3)
        assert s.angle_deg[6] == pytest.approx(30, abs=0.01)
        assert s.scale[7] == pytest.approx(1.5, abs=1e-3)

    def test_one_stray_frame_does_not_move_the_box(self) -> None:
        rows: Rows = [[self.PLACE]] * 9
        calm = follow(rows).box
        assert follow([*rows[:-1], [(108.0, 60.0, 70.0)]], tracks=[0, 1]).box == calm

    def test_absent_frames_have_no_transform(self) -> None:
        track = follow([[self.PLACE], [], [self.PLACE]], bridge=0)
        assert np.isnan(track.similarity.tx).tolist() == [False, True, False]


class TestCertainty:
    def test_a_face_from_the_front_with_nobody_before_it_is_certain(self) -> None:
        track = follow([[HERE, THERE], [HERE], []])
        track.mesh[:, [234, 454]] = track.mesh[:, [1]] + np.array([[-40, 0], [40, 0]], np.float32)
        assert track.certainty.tolist() == [1, 1, 0]

    @pytest.mark.parametrize(("nose", "want"), [(0.3, 1.0), (0.125, 0.5), (0.0, 0.0)])
    def test_less_so_the_farther_it_is_turned_away(self, nose: float, want: float) -> None:
        track = follow([[HERE]])
        cheeks = np.array([[-40 * nose, 0], [80 - 40 * nose, 0]])
        track.mesh[0, [234, 454]] = track.mesh[0, 1] + cheeks
        assert track.certainty[0] == pytest.approx(want, abs=1e-3)

    @pytest.mark.parametrize(("nose", "want"), [(0.0, 1.0), (-1.0, 1.0), (-1.5, 0.5), (-2.0, 0.0)])
    def test_what_is_seen_is_trusted_farther(self, nose: float, want: float) -> None:
        track = follow([[HERE]])
        cheeks = np.array([[-40 * nose, 0], [80 - 40 * nose, 0]])
        track.mesh[0, [234, 454]] = track.mesh[0, 1] + cheeks
        assert track.sight[0] == pytest.approx(want, abs=1e-3)
        assert track.certainty[0] == 0

    @pytest.mark.parametrize(("size", "certain"), [(70.0, 0), (50.0, 1)])
    def test_only_a_nearer_face_hides_it(self, size: float, certain: int) -> None:
        track = follow([[(200.0, 150.0, 60.0), (212.0, 150.0, size)]])
        track.mesh[:, [234, 454]] = track.mesh[:, [1]] + np.array([[-40, 0], [40, 0]], np.float32)
        assert track.certainty[0] == track.sight[0] == certain
