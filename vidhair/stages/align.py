"""Where the face is in every frame: mesh, shots, one face per clip, the clip's box, transforms."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import numpy as np

from vidhair.errors import NoFaceFound
from vidhair.geometry import Box, CropAxes, Similarity, crop_axes, similarity_in_box
from vidhair.models.face_landmarks import POINTS, FaceMesh, eyes_and_mouth
from vidhair.models.face_regions import face_heights
from vidhair.settings import setting
from vidhair.types import Clip, Frames
from vidhair.wiring import Near, Series, Setting, Span, Value, stage

MAX_FACES = 4
# Height in pixels. A face's crop is then some 72 pixels wide, half of what the smallest generator
# draws, and finer than that a face is found in one frame and missed in the next.
LEAST_FACE = 48
DOUBTFUL = 0.3  # a confidence that finds more tilted and dark faces; below, walls have faces too
THUMBNAIL = (24, 32)  # height, width
WARM_UP = 2  # frames that let the face tracker settle before a chunk begins


@dataclass(frozen=True, kw_only=True)
class AlignConfig:
    min_confidence: float = setting(
        0.5, "how sure the face detector and the tracker must be", low=0.05, high=0.99
    )
    bridge_seconds: float = setting(
        0.5, "longest gap without a face that is bridged by interpolation", low=0.0, high=5.0
    )
    cut_threshold: float = setting(
        0.12, "mean change of a thumbnail (0 … 1) that makes a cut", low=0.01, high=1.0
    )


def find_faces(
    frames: Collection[np.ndarray], min_confidence: float, warm_up: int = 0
) -> np.ndarray:
    """T frames uint8 [H, W, 3] → meshes float32 [T − warm_up, MAX_FACES, 478, 2]; NaN for none.

    warm_up: frames at the beginning that only serve the tracker.
    """
    mesh = FaceMesh(max_faces=MAX_FACES, min_confidence=min_confidence)
    found = np.full((len(frames), MAX_FACES, POINTS, 2), np.nan, np.float32)
    for index, frame in enumerate(frames):
        faces = mesh(frame)
        found[index, : len(faces)] = faces
    mesh.close()
    return found[warm_up:]


def shrink(frames: Iterable[np.ndarray]) -> np.ndarray:
    """T frames uint8 [H, W, 3] → uint8 [T, 24, 32, 3], by nearest blocks' means."""
    return np.stack([_thumbnail(frame) for frame in frames])


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    h, w, _ = frame.shape
    rows = np.linspace(0, h, THUMBNAIL[0] + 1).astype(int)
    columns = np.linspace(0, w, THUMBNAIL[1] + 1).astype(int)
    sums = np.add.reduceat(frame, rows[:-1], axis=0, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns[:-1], axis=1)
    area = np.maximum(np.diff(rows), 1)[:, None] * np.maximum(np.diff(columns), 1)[None]
    return (sums / area[..., None]).astype(np.uint8)


def find_cuts(thumbs: np.ndarray, threshold: float) -> np.ndarray:
    """[T] bool: True where a frame begins a new shot (the first frame included).

    A cut changes the picture by more than the threshold, and by much more than its neighbours do.
    """
    change = np.abs(np.diff(thumbs.astype(float), axis=0)).mean((1, 2, 3)) / 255
    padded = np.pad(change, 3, mode="reflect") if len(change) > 3 else np.pad(change, 3)
    usual = np.array([np.median(padded[i : i + 7]) for i in range(len(change))])
    cuts = (change > threshold) & (change > 3 * usual)
    return np.concatenate([[True], cuts])


@dataclass(frozen=True)
class FaceTrack(Value):
    """The face that is edited.

    mesh: [T, 478, 2] float32 in pixels of the frame, NaN where absent. detected: [T] bool, found
    in the frame itself; present: [T] bool, found or bridged. cuts: [T] bool.
    box: the clip's fixed upright square. others: most faces seen beside this one in a frame.
    """

    ROWS = ("mesh", "detected", "present", "cuts")
    mesh: np.ndarray
    detected: np.ndarray
    present: np.ndarray
    cuts: np.ndarray
    box: Box
    others: int = 0

    def __post_init__(self):
        t = len(self.mesh)
        assert self.mesh.shape == (t, POINTS, 2), f"mesh is {self.mesh.shape}"
        assert self.detected.shape == self.present.shape == self.cuts.shape == (t,)

    @property
    def axes(self) -> CropAxes:
        """The FFHQ crop of every frame, [T, 2]; NaN where absent."""
        return crop_axes(*eyes_and_mouth(self.mesh.astype(np.float64)))

    def axes_of(self, frames: np.ndarray) -> CropAxes:
        """The crops of the frames that an index or a mask picks."""
        axes = self.axes
        return CropAxes(axes.centre[frames], axes.x[frames])

    @property
    def similarity(self) -> Similarity:
        """(r, tx, ty, scale) of every frame in the box; NaN where absent."""
        return similarity_in_box(self.axes, self.box)


def follow_face(
    meshes: np.ndarray, seconds: np.ndarray, cuts: np.ndarray, config: AlignConfig, source: str
) -> FaceTrack:
    """Choose the largest face of every shot, bridge short gaps, and fix the box.

    meshes: [T, F, 478, 2]; seconds: [T] time stamps; source: for messages. A shot whose largest
    face is lower than LEAST_FACE shows none.
    Raises NoFaceFound if there is none in the whole clip, or none that is large enough.
    """
    t = len(meshes)
    visible = ~np.isnan(meshes[:, :, 0, 0])
    if not visible.any():
        now = config.min_confidence
        surer = f"set align.min_confidence={DOUBTFUL:g} (now {now:g}) or " if now > DOUBTFUL else ""
        raise NoFaceFound(
            f"no face in any of the {t} frames of {source}; {surer}take a clip where a face is "
            f"seen from the front, {LEAST_FACE} pixels high or more"
        )
    largest = 0.0
    chosen = np.full((t, POINTS, 2), np.nan, np.float32)
    shot = np.cumsum(cuts)
    for index in np.unique(shot):
        frames = np.flatnonzero(shot == index)
        picks = np.array(_largest_track(meshes[frames], visible[frames]))
        frames, picks = frames[picks >= 0], picks[picks >= 0]
        if not len(frames):
            continue
        found = meshes[frames, picks]
        height = float(np.median(face_heights(found)))
        largest = max(largest, height)
        if height >= LEAST_FACE:
            chosen[frames] = found
    if largest < LEAST_FACE:
        raise NoFaceFound(
            f"the largest face in {source} is {largest:.0f} pixels high, too small to edit; "
            f"take a clip where it has {LEAST_FACE} or more"
        )
    detected = ~np.isnan(chosen[:, 0, 0])
    mesh = _bridge(chosen, detected, seconds, shot, config.bridge_seconds)
    present = ~np.isnan(mesh[:, 0, 0])

    axes = crop_axes(*eyes_and_mouth(mesh[present].astype(np.float64)))
    side = float(np.median(axes.side))
    centre = np.median(axes.centre, axis=0)
    box = Box(float(centre[0] - side / 2), float(centre[1] - side / 2), side)
    return FaceTrack(mesh, detected, present, cuts, box, int(visible.sum(1).max()) - 1)


def _largest_track(meshes: np.ndarray, visible: np.ndarray) -> list[int]:
    """Which face of each frame belongs to the shot's largest person; −1 for none.

    Faces of neighbouring frames are the same person if their centres are less than half a face
    apart.
    """
    centres, sizes = meshes.mean(2), np.ptp(meshes[..., 1], axis=2)
    tracks: list[dict[int, int]] = []
    for frame in range(len(meshes)):
        taken: set[int] = set()
        for face in np.flatnonzero(visible[frame]):
            best, distance = None, 0.5
            for number, track in enumerate(tracks):
                last = max(track)
                if number in taken or last == frame:
                    continue
                gap = centres[frame, face] - centres[last, track[last]]
                apart = np.hypot(*gap) / max(sizes[frame, face], 1e-6)
                if apart < distance:
                    best, distance = number, apart
            if best is None:
                tracks.append({})
                best = len(tracks) - 1
            tracks[best][frame] = int(face)
            taken.add(best)
    if not tracks:
        return [-1] * len(meshes)

    def weight(track: dict[int, int]) -> float:
        return sum(float(sizes[frame, face]) for frame, face in track.items())

    largest = max(tracks, key=weight)
    return [largest.get(frame, -1) for frame in range(len(meshes))]


def _bridge(
    mesh: np.ndarray, detected: np.ndarray, seconds: np.ndarray, shot: np.ndarray, longest: float
) -> np.ndarray:
    """Interpolate over gaps inside a shot that are no longer than `longest` seconds."""
    mesh = mesh.copy()
    known = np.flatnonzero(detected)
    for a, b in pairwise(known):
        if b - a < 2 or shot[a] != shot[b] or seconds[b] - seconds[a] > longest:
            continue
        for frame in range(a + 1, b):
            share = np.float32((seconds[frame] - seconds[a]) / (seconds[b] - seconds[a]))
            mesh[frame] = mesh[a] + (mesh[b] - mesh[a]) * share
    return mesh


# ---- stages


@dataclass(frozen=True)
class Thumbnails(Value):
    """pictures: uint8 [T, 24, 32, 3]."""

    ROWS = ("pictures",)
    pictures: np.ndarray


@dataclass(frozen=True)
class Faces(Value):
    """All faces of every frame. meshes: float32 [T, MAX_FACES, 478, 2] in pixels, NaN for none."""

    ROWS = ("meshes",)
    meshes: np.ndarray


@dataclass(frozen=True)
class Shots(Value):
    """begins: [T] bool, True where a frame begins a new shot (the first frame included)."""

    ROWS = ("begins",)
    begins: np.ndarray


@stage(chunk=64)
def thumbnails(frames: Frames) -> Thumbnails:
    return Thumbnails(shrink(frames))


@stage(version=2, chunk=64)
def faces(
    frames: Annotated[Frames, Near(WARM_UP, 0)],
    span: Span,
    min_confidence: Annotated[float, Setting("align.min_confidence")],
) -> Faces:
    """The frames before the chunk only serve the tracker."""
    early = span.core(WARM_UP).start
    return Faces(find_faces(frames, min_confidence, warm_up=early))


@stage()
def shots(
    thumbnails: Series[Thumbnails],
    cut_threshold: Annotated[float, Setting("align.cut_threshold")],
) -> Shots:
    return Shots(find_cuts(thumbnails.whole().pictures, cut_threshold))


@stage()
def track(faces: Series[Faces], shots: Series[Shots], clip: Clip, config: AlignConfig) -> FaceTrack:
    """Raises NoFaceFound."""
    meshes = faces.whole().meshes
    return follow_face(meshes, clip.seconds_T, shots.whole().begins, config, str(clip.path))
