"""Clips that are drawn: what faces tell of it, proportions, and the stage on a few frames."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests import small
from tests.flow.made_up import a_pack
from tests.stages.faces import clip_of, face_mesh
from tests.stages.series import InMemory
from vidhair.cache import DiskStore, MemoryStore, Store
from vidhair.edits import toonify
from vidhair.edits.toonify import (
    LOOKS,
    WITHOUT,
    Heads,
    Seen,
    Steadied,
    Toonify,
    face_parts,
    moved_along,
    reshaped,
)
from vidhair.flow import runner as running
from vidhair.flow.graph import Flow
from vidhair.flow.overlap import Workers
from vidhair.flow.runner import EXECUTORS, Means, Meter, Runner
from vidhair.geometry import crop_axes
from vidhair.imaging.drawing import Parts
from vidhair.media import open_clip
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT, POINTS, eyes_and_mouth
from vidhair.recipe import load_recipe
from vidhair.stages.align import MAX_FACES, Faces, Shots
from vidhair.stages.people import tracks
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Progress

Place = tuple[float, float, float]
SIZE = 96


def faces_of(rows: list[list[Place]]) -> Faces:
    meshes = np.full((len(rows), MAX_FACES, POINTS, 2), np.nan, np.float32)
    for row, places in enumerate(rows):
        for column, place in enumerate(places):
            meshes[row, column] = face_mesh(*place)
    return Faces(meshes)


def shots_of(count: int, *cuts: int) -> Shots:
    return Shots(np.isin(np.arange(count), [0, *cuts]))


def heads_of(rows: list[list[Place]], *cuts: int) -> Heads:
    clip = clip_of(SIZE, SIZE, [40 * n for n in range(len(rows))])
    faces, shots = InMemory(faces_of(rows)), InMemory(shots_of(len(rows), *cuts))
    found = tracks(faces, shots, clip)
    return toonify.heads(faces, InMemory(found), shots, clip)


def side_of(place: Place) -> float:
    return float(crop_axes(*eyes_and_mouth(face_mesh(*place)[None].astype(float))).side[0])


class TestHeads:
    def test_strokes_go_by_the_largest_face_of_each_shot(self) -> None:
        small, large = (20.0, 40.0, 12.0), (60.0, 50.0, 24.0)
        found = heads_of([[small, large], [small, large], [small], [small]], 2)
        assert np.allclose(found.side, [side_of(large)] * 2 + [side_of(small)] * 2, rtol=1e-4)

    def test_without_a_face_by_the_frame(self) -> None:
        found = heads_of([[], []])
        assert np.allclose(found.side, WITHOUT * SIZE) and np.isnan(found.anchors).all()

    def test_a_face_that_trembles_is_followed_smoothly(self) -> None:
        rows = [[(48.0 + (-1) ** n, 48.0, 20.0)] for n in range(9)]
        x = heads_of(rows).anchors[:, 0, 0, 0]
        assert np.abs(np.diff(x))[2:-2].max() < 1.0 < np.abs(np.diff([r[0][0] for r in rows])).max()

    def test_not_over_a_cut(self) -> None:
        rows: list[list[Place]] = [[(30.0, 48.0, 20.0)]] * 3 + [[(60.0, 48.0, 20.0)]] * 3
        x = heads_of(rows, 3).anchors[:, 0, 2, 0]
        assert np.allclose(x, [30, 30, 30, 60, 60, 60], atol=1e-3)


class TestReshaped:
    ANCHORS = np.array([[[36, 44], [60, 44], [48, 76]]], np.float32)

    def picture(self) -> NDArray[np.uint8]:
        """Discs for eyes, and a bar as wide as the jaw."""
        y, x = np.mgrid[:SIZE, :SIZE]
        picture = np.full((SIZE, SIZE, 3), 200, np.uint8)
        for eye in self.ANCHORS[0, :2]:
            picture[np.hypot(x - eye[0], y - eye[1]) < 3] = 0
        picture[66:72, 32:65] = 0
        return picture

    def test_eyes_grow_and_the_jaw_shrinks(self) -> None:
        picture = self.picture()
        got = reshaped(picture, self.ANCHORS, 1.0)

        def dark(frame: NDArray[np.uint8], rows: slice) -> int:
            return int((frame[rows, :, 0] < 100).sum())

        assert dark(got, np.s_[34:56]) > 1.3 * dark(picture, np.s_[34:56])
        assert dark(got, np.s_[60:66]) > 0  # the chin is higher
        widest = [(p[58:74, :, 0] < 100).sum(1).max() for p in (got, picture)]
        assert widest[0] < 0.97 * widest[1]

    def test_it_turns_with_the_face(self) -> None:
        """What is done to a turned picture is what was done to the picture, turned."""
        picture = self.picture()
        # A quarter clockwise: (x, y) → (SIZE − 1 − y, x).
        turned = np.stack([SIZE - 1 - self.ANCHORS[..., 1], self.ANCHORS[..., 0]], -1)
        got = reshaped(np.ascontiguousarray(np.rot90(picture, -1)), turned, 1.0)
        want = np.rot90(reshaped(picture, self.ANCHORS, 1.0), -1)
        assert np.abs(got.astype(int) - want).mean() < 0.5

    def test_a_face_that_is_a_line_stays(self) -> None:
        line = np.array([[[30, 40], [34, 40], [38, 40]]], np.float32)
        picture = self.picture()
        assert np.array_equal(reshaped(picture, line, 1.0), picture)

    def test_by_degrees(self) -> None:
        picture = self.picture()
        assert reshaped(picture, self.ANCHORS, 0) is picture
        half, whole = (reshaped(picture, self.ANCHORS, s).astype(int) for s in (0.3, 1.0))
        assert 0 < np.abs(half - picture).sum() < np.abs(whole - picture).sum()

    def test_away_from_faces_nothing_moves(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        got = reshaped(noise, self.ANCHORS, 1.0)
        assert np.array_equal(got[:20], noise[:20]) and np.array_equal(got[:, :12], noise[:, :12])
        absent = np.full((2, 3, 2), np.nan, np.float32)
        assert reshaped(noise, absent, 1.0) is noise


class TestFaceParts:
    MESH = face_mesh(48, 48, 30)

    def shifted(self, by: float) -> Parts:
        meshes = self.MESH[None] + np.float32(by)
        return face_parts(meshes, meshes, (SIZE, SIZE))

    def test_plain_skin_lies_beside_features(self) -> None:
        meshes = np.stack([self.MESH, np.full_like(self.MESH, np.nan)])
        found = face_parts(meshes, meshes, (SIZE, SIZE))
        left, *_ = eyes_and_mouth(self.MESH)
        x, y = np.rint(left).astype(int)
        assert found.face[y, x] > 0.9 and found.face[4, 4] == 0
        assert found.detail[y, x] > 0.9 and found.detail[60, 36] == 0
        assert found.ink[60, 36] < 0.95 and found.ink[4, 4] == 1
        assert all(part.min() >= 0 and part.max() <= 1 for part in (found.face, found.ink))

    def test_eyes_and_the_open_mouth_are_livened(self) -> None:
        found = face_parts(self.MESH[None], self.MESH[None], (SIZE, SIZE))
        assert 2 <= len(found.features) <= 3
        for rows, columns, mask, _ in found.features:
            assert mask.shape == (rows.stop - rows.start, columns.stop - columns.start)
            assert np.allclose(found.detail[rows, columns].clip(mask), found.detail[rows, columns])

    def test_closed_eyes_are_lids(self) -> None:
        shut = self.MESH.copy()
        for eye in (list(EYE_LEFT), list(EYE_RIGHT)):
            middle = shut[eye].mean(0)
            shut[eye] = middle + (shut[eye] - middle) * np.array([1, 0.1], np.float32)
        for mesh, seen in ((self.MESH, 0.9), (shut, 0.0)):
            found = face_parts(self.MESH[None], mesh[None], (SIZE, SIZE))
            peaks = [float(mask.max()) for _, _, mask, lighter in found.features if lighter]
            assert len(peaks) == 2 and all(abs(peak - seen) <= 0.1 for peak in peaks)

    def test_what_lies_beyond_the_frame_is_left_out(self) -> None:
        for shift in (-200, 60):
            found = self.shifted(shift)
            assert all(mask.size for _, _, mask, _ in found.features)
        assert not self.shifted(500).features


def test_a_mesh_goes_where_its_face_is_moved_to() -> None:
    """The middle of an eye stays, its lids part, and the chin rises."""
    mesh = face_mesh(48, 48, 30)
    left, right, *_ = eyes_and_mouth(mesh)
    anchors = np.stack([left, right, mesh[toonify.CHIN]])[None].astype(np.float32)
    absent = np.full((1, 3, 2), np.nan, np.float32)
    moved = moved_along(mesh[None], anchors, 1.0)[0]
    assert np.array_equal(moved_along(mesh[None], absent, 1.0)[0], mesh)
    assert np.array_equal(moved_along(mesh[None], anchors, 0.0)[0], mesh)
    assert moved[toonify.CHIN, 1] < mesh[toonify.CHIN, 1] - 0.3
    lids = [m[list(EYE_LEFT)] for m in (moved, mesh)]
    assert np.hypot(*(lids[0].mean(0) - lids[1].mean(0))) < 1
    assert lids[0][:, 0].std() > 1.05 * lids[1][:, 0].std()


class TestDrawn:
    def frames(self, count: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(2)
        coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
        picture = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
        return np.stack([np.roll(picture, n, 1) for n in range(count)])

    def draw(
        self,
        pixels: NDArray[np.uint8],
        *cuts: int,
        at_once: AtOnce = map,
        progress: Progress | None = None,
        stop: int | None = None,
        **settings: Any,
    ) -> NDArray[np.uint8]:
        """stop: pieces after which no more is asked for."""
        count = len(pixels)
        heads = Heads(
            np.full(count, 150, np.float32), np.full((count, MAX_FACES, 3, 2), np.nan, np.float32)
        )
        pieces = Toonify(**settings).drawn(
            InMemory(Frames.of_pixels(pixels)),
            InMemory(faces_of([[]] * count)),
            InMemory(heads),
            InMemory(shots_of(count, *cuts)),
            at_once,
            lambda done, note="": None,
            progress or Progress(),
        )
        return np.concatenate([piece.levels for piece in islice(pieces, stop)])

    def test_every_frame_is_drawn_however_many_are_read_at_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pixels = self.frames(7)
        whole = self.draw(pixels)
        assert whole.shape == pixels.shape and whole.dtype == np.uint8
        for count in (1, 3):
            monkeypatch.setattr(toonify, "AT_ONCE", count)
            assert np.array_equal(self.draw(pixels), whole)

    def test_threads_draw_the_same(self) -> None:
        pixels = self.frames(7)
        with Workers(2) as at_once:
            assert np.array_equal(self.draw(pixels, at_once=at_once), self.draw(pixels))

    @pytest.mark.parametrize("cuts", [(), (4,)])
    def test_it_goes_on_where_it_was(
        self, monkeypatch: pytest.MonkeyPatch, cuts: tuple[int, ...]
    ) -> None:
        """Bit by bit the same, within a shot and where one begins."""
        monkeypatch.setattr(toonify, "AT_ONCE", 2)
        noise = np.random.default_rng(4).normal(0, 3, (6, SIZE, SIZE, 3))
        pixels = np.rint(self.frames(6) + noise).clip(0, 255).astype(np.uint8)
        whole, progress = self.draw(pixels, *cuts), Progress()
        with Workers(2) as threads:  # which are ahead of what is handed on
            self.draw(pixels, *cuts, at_once=threads, progress=progress, stop=2)
        assert progress.rows == 4
        assert np.array_equal(self.draw(pixels, *cuts, progress=progress), whole[4:])
        forgetful = self.draw(pixels, *cuts, progress=Progress(4))
        assert np.array_equal(forgetful, whole[4:]) == bool(cuts)

    def test_what_trembles_is_held(self) -> None:
        pixels = np.repeat(self.frames(1), 6, 0)
        noise = np.random.default_rng(3).normal(0, 3, pixels.shape)
        trembling = np.rint(pixels + noise).clip(0, 255).astype(np.uint8)
        free, held = (self.draw(trembling, steady=s).astype(int) for s in (0.0, 1.0))
        assert np.abs(np.diff(held, axis=0)).mean() < 0.5 * np.abs(np.diff(free, axis=0)).mean()

    def test_nothing_is_taken_over_a_cut(self) -> None:
        pixels = self.frames(6)
        pixels[3:] = 255 - pixels[3:]
        alone = self.draw(pixels[3:])
        assert np.array_equal(self.draw(pixels, 3)[3:], alone)

    def test_strength_mixes(self) -> None:
        pixels = self.frames(2)
        none, half, all_ = (self.draw(pixels, strength=s).astype(int) for s in (0, 0.5, 1))
        assert np.array_equal(none, pixels)
        assert np.abs(half - (pixels + all_) / 2).max() <= 1

    def test_looks_differ(self) -> None:
        """Ink is darkest, pencil has least color, and paint most."""
        pixels = self.frames(1)
        found = {look: self.draw(pixels, look=look).astype(int) for look in LOOKS}
        light = {look: picture.mean() for look, picture in found.items()}
        color = {look: np.ptp(picture, axis=-1).mean() for look, picture in found.items()}
        assert light["ink"] < min(light["pencil"], light["paint"])
        assert color["pencil"] < color["ink"] < color["paint"]


class TestInAFlow:
    def flow(self, **settings: Any) -> Flow:
        return Flow(load_recipe("toonify", settings), a_pack())

    def test_it_needs_no_person_and_no_network_of_the_pack(self) -> None:
        flow = self.flow()
        assert not {"person", "track", "matte", "rendered"} & set(flow.stages)
        assert all(not node.weights for node in flow.nodes())

    def test_after_other_edits_it_draws_what_they_made(self) -> None:
        dyed = load_recipe("hair_color", {})
        flow = Flow(dataclasses.replace(dyed, edits=(*dyed.edits, Toonify())), a_pack())
        assert "folded" in flow.stages["changes"].inputs and "layer" in flow.stages

    @pytest.mark.parametrize("key", ["look", "strength", "structure", "steady"])
    def test_its_settings_are_in_the_keys_of_what_is_drawn(self, key: str) -> None:
        other = {"look": "paint", "strength": 0.5, "structure": 0.1, "steady": 0.2}[key]

        def settings(flow: Flow) -> Any:
            return {n.name: n.settings for n in flow.nodes()}

        assert settings(self.flow()) != settings(self.flow(**{f"edit.{key}": other}))


class Stops:
    """A reporter that stops a run once so many frames are drawn."""

    def __init__(self, after: int):
        self.after = after

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        def hear(done: float, note: str = "") -> None:
            if name == "changes" and done == self.after:
                raise KeyboardInterrupt

        yield hear


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_run_that_is_stopped_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: str
) -> None:
    monkeypatch.setattr(toonify, "AT_ONCE", 3)
    monkeypatch.setattr(running, "STATE_AFTER", 3)
    painted, sketched = Toonify.painted, Toonify.sketched
    made = {"painted": 0, "sketched": 0}

    def counted(self: Toonify, drawn: Steadied) -> NDArray[np.uint8]:
        made["painted"] += 1
        return painted(self, drawn)

    def counted_too(self: Toonify, seen: Seen) -> Steadied:
        made["sketched"] += 1
        return sketched(self, seen)

    monkeypatch.setattr(Toonify, "painted", counted)
    monkeypatch.setattr(Toonify, "sketched", counted_too)

    def drawn(store: Store, stop: int = 0, executor: str = executor) -> NDArray[np.uint8]:
        flow = Flow(load_recipe("toonify", {}), a_pack())
        with open_clip(small.clip()) as reader:
            reporter = Stops(stop) if stop else None
            runner = Runner(store, reader, reporter, Means(executor=executor))
            runner.run(flow.nodes())
            return flow.pictures(runner.work, 0, small.FRAMES)[0]

    want = drawn(MemoryStore(), executor="in-order")
    with pytest.raises(KeyboardInterrupt):
        drawn(DiskStore(tmp_path), stop=7)
    made.update(painted=0, sketched=0)
    assert np.array_equal(drawn(DiskStore(tmp_path)), want)
    assert made == {"painted": small.FRAMES - 6, "sketched": small.FRAMES - 6}
