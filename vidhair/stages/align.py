"""Where faces are in every frame, shots, and one person's face: mesh, box, transforms."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import NoFaceFound
from vidhair.geometry import Box, CropAxes, Similarity, crop_axes, similarity_in_box
from vidhair.models.faces.landmarks import POINTS, FaceMesh, eyes_and_mouth
from vidhair.models.faces.regions import face_heights
from vidhair.settings import setting
from vidhair.types import Frames
from vidhair.wiring import Near, Series, Setting, Span, Value, ranges, stage

MAX_FACES = 4
# Height in pixels. A face's crop is then some 72 pixels wide, half of what the smallest generator
# draws, and finer than that a face is found in one frame and missed in the next.
LEAST_FACE = 48
DOUBTFUL = 0.3  # a confidence that finds more tilted and dark faces; below, walls have faces too
# By `facing`, where an edit begins to be trusted, and where it is fully: one that shows a face or
# hair as it is from the front, and one of what is seen, for which the mesh has to lie on the head.
TURNED, ASIDE = (0.05, 0.2), (-2.0, -1.0)
# How much of a face is hidden where it is still trusted fully, and where no longer.
HIDDEN = 0.3, 0.7
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
    person: str | int = setting(
        "largest",
        "who is edited: largest (most face area times seconds), all, a number that `vidhair "
        "inspect` shows, or a picture of the person",
    )


def find_faces(
    frames: Collection[NDArray[np.uint8]], min_confidence: float, warm_up: int = 0
) -> NDArray[np.float32]:
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


def largest_face(picture: NDArray[np.uint8], path: str, advice: str) -> NDArray[np.float32]:
    """The mesh [478, 2] of the largest face in a picture [H, W, 3].

    path, advice: of the picture, and what to give in place of it. Raises NoFaceFound.
    """
    mesh = FaceMesh(max_faces=MAX_FACES, still=True)
    faces = mesh(picture)
    mesh.close()
    if not len(faces):
        raise NoFaceFound(f"no face in {path}; {advice}")
    found: NDArray[np.float32] = faces[np.argmax(face_heights(faces))]
    return found


def shrink(frames: Iterable[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """T frames uint8 [H, W, 3] → uint8 [T, 24, 32, 3], by nearest blocks' means."""
    return np.stack([_thumbnail(frame) for frame in frames])


def _thumbnail(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    h, w, _ = frame.shape
    rows = np.linspace(0, h, THUMBNAIL[0] + 1).astype(int)
    columns = np.linspace(0, w, THUMBNAIL[1] + 1).astype(int)
    # Row by row is several times faster than `reduceat` along the first axis.
    heights = np.maximum(np.diff(rows), 1)
    bands = zip(rows[:-1], heights, strict=True)
    sums = np.stack([frame[row : row + height].sum(0, dtype=np.uint32) for row, height in bands])
    sums = np.add.reduceat(sums, columns[:-1], axis=1)
    area = heights[:, None] * np.maximum(np.diff(columns), 1)
    means: NDArray[np.uint8] = (sums / area[..., None]).astype(np.uint8)
    return means


def changes_between(pieces: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Mean change from each frame to the next, [T − 1] in 0 … 1. pieces: thumbnails [n, 24, 32, 3]
    of the frames one after the other."""
    found, last = [np.zeros(0)], np.zeros((0, *THUMBNAIL, 3), np.int16)
    for piece in pieces:
        here = np.concatenate([last, piece], dtype=np.int16)
        found.append(np.abs(np.diff(here, axis=0)).mean((1, 2, 3)) / 255)
        last = here[-1:]
    return np.concatenate(found)


def find_cuts(change: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """[T] bool: True where a frame begins a new shot (the first frame included).

    A cut changes the picture by more than the threshold, and by much more than its neighbours do.
    change: [T − 1].
    """
    padded = np.pad(change, 3, mode="reflect") if len(change) > 3 else np.pad(change, 3)
    usual = np.array([np.median(padded[i : i + 7]) for i in range(len(change))])
    cuts = (change > threshold) & (change > 3 * usual)
    return np.concatenate([[True], cuts])


@dataclass(frozen=True)
class FaceTrack(Value):
    """The face of one person, over the whole clip.

    mesh: [T, 478, 2] float32 in pixels of the frame, NaN where absent. detected: [T] bool, found
    in the frame itself; present: [T] bool, found or bridged. cuts: [T] bool.
    box: the clip's fixed upright square. neighbours: [T, N, 5] float32, all other faces, chosen or
    not: centre and x axis of the crop, and how many times larger the face is than the person's, as
    larger ones are nearer; 0 for one that is behind, infinite for one in front. NaN where there are
    fewer.
    """

    ROWS = ("mesh", "detected", "present", "cuts", "neighbours")
    mesh: NDArray[np.float32]
    detected: NDArray[np.bool_]
    present: NDArray[np.bool_]
    cuts: NDArray[np.bool_]
    box: Box
    neighbours: NDArray[np.float32]

    def __post_init__(self) -> None:
        t = len(self.mesh)
        assert self.mesh.shape == (t, POINTS, 2), f"mesh is {self.mesh.shape}"
        assert self.detected.shape == self.present.shape == self.cuts.shape == (t,)
        assert self.neighbours.shape[::2] == (t, 5), f"neighbours are {self.neighbours.shape}"

    @property
    def axes(self) -> CropAxes:
        """The FFHQ crop of every frame, [T, 2]; NaN where absent."""
        return crop_axes(*eyes_and_mouth(self.mesh))

    def axes_of(self, frames: NDArray[Any]) -> CropAxes:
        """The crops of the frames that an index or a mask picks."""
        axes = self.axes
        return CropAxes(axes.centre[frames], axes.x[frames])

    @property
    def certainty(self) -> NDArray[np.float64]:
        """How far an edit that knows faces from the front can be trusted, [T] in 0 … 1: less where
        the face is turned away or nearer ones hide it, and 0 where it is absent."""
        return self._trusted(TURNED)

    @property
    def sight(self) -> NDArray[np.float64]:
        """The same for an edit of what is seen, which holds for heads that are turned far aside."""
        return self._trusted(ASIDE)

    def _trusted(self, turned: tuple[float, float]) -> NDArray[np.float64]:
        axes = self.axes
        away = (facing(self.mesh, axes) - turned[0]) / (turned[1] - turned[0])
        seen = 1 - (hidden_share(axes, self.neighbours) - HIDDEN[0]) / (HIDDEN[1] - HIDDEN[0])
        return np.where(self.present, np.clip(away, 0, 1) * np.clip(seen, 0, 1), 0)

    @property
    def similarity(self) -> Similarity:
        """(r, tx, ty, scale) of every frame in the box; NaN where absent."""
        return similarity_in_box(self.axes, self.box)


NOSE, CHEEKS = 1, (234, 454)  # points of the mesh


def facing(meshes: NDArray[np.float32], axes: CropAxes) -> NDArray[np.float64]:
    """How far faces [..., 478, 2] look here, [...]: where the nose lies between the outlines of the
    cheeks. 1 from the front, 0 where it reaches one of them, turned by 35 to 40°, and less beyond:
    −0.5 at some 50°, from where on the mesh follows less and less."""
    across = axes.x / np.hypot(axes.x[..., :1], axes.x[..., 1:])
    nose, left, right = ((meshes[..., p, :] * across).sum(-1) for p in (NOSE, *CHEEKS))
    nearer = np.minimum(nose - left, right - nose)
    share: NDArray[np.float64] = 2 * nearer / np.maximum(right - left, 1e-6)
    return share


def frontal(meshes: NDArray[np.float32], axes: CropAxes) -> NDArray[np.float32]:
    """`facing`, in 0 … 1."""
    return np.clip(facing(meshes, axes), 0, 1).astype(np.float32)


def turned(meshes: NDArray[np.float32], axes: CropAxes) -> NDArray[np.float64]:
    """How far faces [..., 478, 2] are turned aside, [...]: 0 from the front, ±1 where the nose
    reaches the outline of a cheek."""
    across = axes.x / np.hypot(axes.x[..., :1], axes.x[..., 1:])
    nose, left, right = ((meshes[..., p, :] * across).sum(-1) for p in (NOSE, *CHEEKS))
    share: NDArray[np.float64] = (2 * nose - left - right) / np.maximum(right - left, 1e-6)
    return share


FACE = (0.27, 0.36)  # half width and half height of a face, in sides of its crop


def hidden_share(axes: CropAxes, neighbours: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much of a face nearer ones hide, [T] in 0 … 1. axes: [T]; neighbours: [T, N, 5].

    Both are taken for ellipses; counted over points of one.
    """
    steps = np.linspace(-0.9, 0.9, 7)
    disc = np.array([(u, v) for u in steps for v in steps if u * u + v * v < 1]) * FACE
    points = (
        axes.centre[:, None] + 2 * disc[:, :1] * axes.x[:, None] + 2 * disc[:, 1:] * axes.y[:, None]
    )
    hidden = np.zeros(points.shape[:2], bool)
    for other in np.moveaxis(neighbours.astype(np.float64), 1, 0):
        nearer = CropAxes(other[:, :2], other[:, 2:4])
        place = nearer.locate(points) / FACE
        inside = np.square(place).sum(-1) < 1  # not where it is absent
        hidden |= inside & (other[:, 4:] > 1)
    share: NDArray[np.float64] = hidden.mean(1)
    return share


def bridge(
    values: NDArray[np.float32],
    seconds: NDArray[np.float64],
    begins: NDArray[np.bool_],
    longest: float,
) -> NDArray[np.float32]:
    """Interpolate over gaps inside a shot that are no longer than `longest` seconds.

    values: [T, n, 2], NaN where there is nothing. begins: [T] bool, True where a shot begins.
    """
    bridged, shot = values.copy(), np.cumsum(begins)
    known = np.flatnonzero(~np.isnan(values[:, 0, 0]))
    for a, b in pairwise(known):
        if b - a < 2 or shot[a] != shot[b] or seconds[b] - seconds[a] > longest:
            continue
        for frame in range(a + 1, b):
            share = np.float32((seconds[frame] - seconds[a]) / (seconds[b] - seconds[a]))
            bridged[frame] = values[a] + (values[b] - values[a]) * share
    return bridged


def bridge_pieces(
    pieces: Iterable[NDArray[np.float32]],
    seconds: NDArray[np.float64],
    begins: NDArray[np.bool_],
    longest: float,
) -> Iterator[NDArray[np.float32]]:
    """As `bridge`, of values that come and go in pieces [n, P, 2]. Frames of a gap are held until
    it is known whether it is bridged."""
    held, first = None, 0
    for piece in pieces:
        held = piece if held is None else np.concatenate([held, piece])
        end = first + len(held)
        known = np.flatnonzero(~np.isnan(held[:, 0, 0]))
        last = int(known[-1]) if len(known) else len(held)
        if len(known):
            since = first + last
            if begins[since + 1 : end].any() or seconds[end - 1] - seconds[since] > longest:
                last = len(held)  # what follows is no longer bridged from there
        here = slice(first, first + len(held[: last + 1]))
        yield bridge(held[: last + 1], seconds[here], begins[here], longest)[:last]
        held, first = held[last:], first + last
    if held is not None and len(held):
        yield held


# ---- stages


@dataclass(frozen=True)
class Thumbnails(Value):
    """pictures: uint8 [T, 24, 32, 3]."""

    ROWS = ("pictures",)
    pictures: NDArray[np.uint8]


@dataclass(frozen=True)
class Faces(Value):
    """All faces of every frame. meshes: float32 [T, MAX_FACES, 478, 2] in pixels, NaN for none."""

    ROWS = ("meshes",)
    meshes: NDArray[np.float32]


@dataclass(frozen=True)
class Shots(Value):
    """begins: [T] bool, True where a frame begins a new shot (the first frame included)."""

    ROWS = ("begins",)
    begins: NDArray[np.bool_]


@stage(chunk=64)
def thumbnails(frames: Frames) -> Thumbnails:
    return Thumbnails(shrink(frames))


@stage(version=3, chunk=64)
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
    pieces = (thumbnails.rows(*part).pictures for part in ranges(thumbnails.count))
    return Shots(find_cuts(changes_between(pieces), cut_threshold))
