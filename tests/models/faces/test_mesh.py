"""The mesh through MediaPipe itself, on rendered people in frames of many sizes."""

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from vidhair.media import open_clip
from vidhair.models.faces.landmarks import POINTS, SCAN_EVERY, FaceMesh
from vidhair.models.faces.regions import face_heights

SAMPLES = Path(__file__).parents[3] / "sample_videos"
HD, UHD = (1080, 1920), (2160, 3840)
HEIGHT = 262.0  # of the faces of both samples, in their pixels
CENTRE = {"long_brown": (246, 270), "short_dark_blonde": (269, 255)}


@cache
def person(name: str) -> NDArray[Any]:
    with open_clip(SAMPLES / f"{name}.mp4") as reader:
        return reader.read(10, 11)[0]


@cache
def wall(height: int, width: int) -> NDArray[Any]:
    """Noise of every coarseness, repeated."""
    rng = np.random.default_rng(0)
    total = np.zeros((512, 512, 3), np.float32)
    for side in (4, 8, 16, 32, 64, 128, 256, 512):
        coarse = rng.normal(size=(side, side, 3)) * (40 / side**0.25)
        total += np.kron(coarse, np.ones((512 // side, 512 // side, 1))) / 2
    tile = np.clip(128 + total, 0, 255).astype(np.uint8)
    return np.tile(tile, (height // 512 + 1, width // 512 + 1, 1))[:height, :width]


def put(
    frame: NDArray[Any],
    face: float,
    at: tuple[float, float],
    name: str = "long_brown",
    turn: float = 0.0,
) -> NDArray[Any]:
    """The frame with a person whose face is `face` pixels high and centred there."""
    scale, (x, y) = face / HEIGHT, CENTRE[name]
    picture = Image.fromarray(person(name)).rotate(turn, Image.Resampling.BICUBIC, center=(x, y))
    side = round(512 * scale)
    canvas = Image.fromarray(frame)
    corner = round(at[0] - x * scale), round(at[1] - y * scale)
    canvas.paste(picture.resize((side, side), Image.Resampling.LANCZOS), corner)
    return np.asarray(canvas)


def found(frame: NDArray[Any], **options: Any) -> NDArray[Any]:
    mesh = FaceMesh(still=True, **options)
    meshes = mesh(frame)
    mesh.close()
    assert meshes.dtype == np.float32 and meshes.shape[1:] == (POINTS, 2)
    return meshes


def is_face(mesh: NDArray[Any], face: float, at: tuple[float, float]) -> bool:
    near = np.hypot(*(mesh.mean(0) - at)) < 0.15 * face
    return bool(near and 0.8 < face_heights(mesh) / face < 1.25)


class TestOneFrame:
    @pytest.mark.parametrize("size", [HD, UHD], ids=["1080p", "4K"])
    @pytest.mark.parametrize("face", [64, 150, 190, 500])
    def test_a_face_of_any_size_in_a_large_frame(self, size: tuple[int, int], face: int) -> None:
        h, w = size
        at = (w - 0.7 * face, h - 0.6 * face)
        (mesh,) = found(put(wall(*size), face, at), max_faces=4)
        assert is_face(mesh, face, at)

    @pytest.mark.parametrize("turn", [-25, 25])
    def test_a_tilted_face(self, turn: int) -> None:
        at = (500, 300)
        (mesh,) = found(put(wall(*HD), 160, at, turn=turn), max_faces=4)
        assert is_face(mesh, 160, at)

    @pytest.mark.parametrize("name", CENTRE)
    @pytest.mark.parametrize("turn", [0, 90, 135, 180, -135])
    def test_a_face_is_read_the_right_way_round(self, turn: int, name: str) -> None:
        """The detector takes faces upside down for upright ones."""
        (mesh,) = found(put(wall(*HD), 200, (500, 500), name, turn))
        (upright,) = found(put(wall(*HD), 200, (500, 500), name))
        back = np.exp(1j * np.radians(turn)) * (mesh - 500).dot([1, 1j])
        assert np.abs(back - (upright - 500).dot([1, 1j])).mean() < 0.03 * 200

    def test_a_face_larger_than_the_frame(self) -> None:
        close = person("long_brown")[150:400, 120:370]
        (mesh,) = found(np.kron(close, np.ones((6, 6, 1), np.uint8)), max_faces=4)
        assert face_heights(mesh) > 1400

    def test_two_people_are_two_and_the_larger_one_is_kept(self) -> None:
        near, far = (500, 500), (1500, 400)
        frame = put(put(wall(*HD), 300, near), 120, far, "short_dark_blonde")
        meshes = found(frame, max_faces=4)
        assert len(meshes) == 2
        assert is_face(meshes[0], 300, near) and is_face(meshes[1], 120, far)
        (mesh,) = found(frame, max_faces=1)
        assert is_face(mesh, 300, near)

    def test_walls_have_no_faces(self) -> None:
        assert len(found(wall(*UHD), max_faces=4)) == 0


class TestFollowing:
    def test_a_face_wanders_jumps_leaves_and_comes_back(self) -> None:
        """As a chunk of frames in which a shot ends."""
        empty = wall(720, 1280)
        path: list[tuple[int, int] | None] = [
            (200 + 12 * k, 200 + 5 * k) for k in range(6)
        ]  # wanders
        path += [(1000 - 9 * k, 500) for k in range(6)]  # another shot
        path += [None] * 3 + [(930, 490)] * 2  # hidden for a moment
        frames = [empty if at is None else put(empty, 70, at) for at in path]
        mesh, again = FaceMesh(max_faces=4), FaceMesh(max_faces=4)
        for frame, at in zip(frames, path, strict=True):
            meshes = mesh(frame)
            assert np.array_equal(again(frame), meshes)
            assert len(meshes) == (at is not None)
            assert at is None or is_face(meshes[0], 70, at)
        mesh.close()
        again.close()

    def test_someone_who_enters_is_seen_soon(self) -> None:
        alone = put(wall(*HD), 200, (500, 500))
        both = put(alone, 90, (1500, 300), "short_dark_blonde")
        mesh = FaceMesh(max_faces=4)
        counts = [len(mesh(alone)) for _ in range(3)] + [len(mesh(both)) for _ in range(SCAN_EVERY)]
        mesh.close()
        assert counts[:3] == [1] * 3 and counts[-1] == 2

    @pytest.mark.parametrize("face", [60, 180, 900])
    def test_a_still_face_stays_still_in_noise(self, face: int) -> None:
        at = (700, 560)
        frame = put(wall(*HD), face, at)[:, :1400].astype(np.int16)
        rng, mesh, meshes = np.random.default_rng(0), FaceMesh(max_faces=4), []
        for _ in range(12):
            noise = np.rint(3 * rng.standard_normal(frame.shape, np.float32)).astype(np.int16)
            meshes.append(mesh(np.clip(frame + noise, 0, 255).astype(np.uint8))[0])
        mesh.close()
        assert np.std(meshes[4:], axis=0).mean() < 0.002 * face

    @pytest.mark.parametrize("name", ["vt_7154235", "lp_s20", "speaker_651"])
    def test_real_people_in_4k(self, shared: Callable[..., Any], name: str) -> None:
        with open_clip(shared(f"clips/{name}.mp4")) as reader:
            frames = reader.read(0, 8)
        small, mesh = FaceMesh(), FaceMesh(max_faces=4)
        for frame in frames:
            (want,) = small(frame)
            large = wall(*UHD).copy()
            large[1000 : 1000 + frame.shape[0], 2500 : 2500 + frame.shape[1]] = frame
            (got,) = mesh(large)
            np.testing.assert_allclose(got - [2500, 1000], want, atol=0.03 * np.ptp(want))
        small.close()
        mesh.close()


# In a shell's background SIGINT is ignored, which children inherit.
INTERRUPTED = """
import _thread, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
from vidhair.models.faces.landmarks import FaceMesh

class AtThisImport:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            _thread.interrupt_main()

sys.meta_path.insert(0, AtThisImport())
try:
    FaceMesh(still=True)
except KeyboardInterrupt:
    print("interrupted,", FaceMesh(still=True)(np.zeros((64, 64, 3), np.uint8)).shape)
"""


@pytest.mark.parametrize("module", ["mediapipe.python._framework_bindings", "mediapipe.tasks"])
def test_an_interrupted_import_can_be_repeated(module: str) -> None:
    run = [sys.executable, "-c", INTERRUPTED, module]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == f"interrupted, (0, {POINTS}, 2)", done.stderr
