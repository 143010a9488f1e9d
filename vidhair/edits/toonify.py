"""A clip that looks drawn: lines of ink, flat tones, proportions of a cartoon; no generator.

Whole frames are drawn, whether they show a face or not. Faces tell how large a drawing's strokes
are, where ink is to be light, and what grows and shrinks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from vidhair.checkpoints.packs import TOON, bundled_folder, open_pack
from vidhair.edits.edit import Edit
from vidhair.edits.wide import Pictures, ToonifyNetwork
from vidhair.geometry import Grid, crop_axes
from vidhair.imaging.drawing import (
    Look,
    Parts,
    Sketch,
    at_size,
    held,
    resized,
    sketch,
    working_size,
)
from vidhair.imaging.motion import fetch
from vidhair.imaging.opencv import opencv
from vidhair.models.faces.effects import Effect, pack_effects
from vidhair.models.faces.landmarks import BROWS, EYE_LEFT, EYE_RIGHT, FACE_OVAL, eyes_and_mouth
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.settings import setting
from vidhair.stages.align import Faces, Shots
from vidhair.stages.difference import dense
from vidhair.stages.facial_hair import LIPS
from vidhair.stages.people import Tracks
from vidhair.stages.smooth import smooth_over_time
from vidhair.types import Clip, Frames
from vidhair.wiring import AtOnce, Makers, Meter, Progress, Series, Value, makers, ranges, stage

AT_ONCE = 8  # frames that are read, and handed on
WITHOUT = 0.6  # side of a face's crop in heights of the frame, where none is seen
LIGHT_INK = 0.7  # share of lines that is drawn on plain skin of faces
EYES_INK, LIPS_INK = 0.3, 0.6  # the same of eyes and open mouths, and of lips
EYES_LIGHTER = 5.0  # L
SHUT, OPEN = 0.1, 0.2  # height over width, at which an eye or a mouth is closed, and fully open
CHIN = 152  # point of the mesh
MOUTH = (  # within the lips
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95,
)  # fmt: skip
SOFT = 8  # pixels of a drawing over which borders of faces are soft
CELLS, AROUND = 128, 0.75  # in which proportions change, and in sides of a crop from its middle
BEYOND = 1.3  # size of the outline beyond which nothing moves, beside the face's oval
LEAST_FACE = 8  # pixels of a side, of which proportions are seen

LOOKS = {
    "ink": Look(),
    "pencil": Look(bands=9, flat=0.5, ink=0.55, chroma=1.05),
    "paint": Look(bands=6, flat=0.8, ink=0.4, tinted=1.0, chroma=1.4),
}


@dataclass(frozen=True)
class Heads(Value):
    """What faces tell of a drawing. side: [T], pixels of the side of a face's crop, one per shot.
    anchors: [T, MAX_FACES, 3, 2], both eyes and the chin of every face, followed smoothly; NaN for
    none."""

    ROWS = ("side", "anchors")
    side: NDArray[np.float32]
    anchors: NDArray[np.float32]


@stage()
def heads(faces: Series[Faces], tracks: Series[Tracks], shots: Series[Shots], clip: Clip) -> Heads:
    found, shot = tracks.whole(), np.cumsum(shots.whole().begins)
    seen = np.zeros(found.track.shape, np.float32)
    anchors = np.full((*found.track.shape, 3, 2), np.nan, np.float32)
    for start, stop in ranges(faces.count):
        meshes = faces.rows(start, stop).meshes
        left, right, _, _ = eyes_and_mouth(meshes)
        anchors[start:stop] = np.stack([left, right, meshes[..., CHIN, :]], -2)
        seen[start:stop] = crop_axes(*eyes_and_mouth(meshes)).side
    side = np.full(len(shot), WITHOUT * clip.height, np.float32)
    largest = np.where(found.track >= 0, np.nan_to_num(seen), 0).max(1)
    for number in np.unique(shot):
        of_shot = largest[shot == number]
        if (of_shot > 0).any():
            side[shot == number] = np.median(of_shot[of_shot > 0])
    smoothed = np.full_like(anchors, np.nan)
    for number in np.unique(found.track[found.track >= 0]):
        rows, columns = np.nonzero(found.track == number)
        begins = np.concatenate([[True], np.diff(rows) > 1])
        smoothed[rows, columns] = smooth_over_time(anchors[rows, columns], begins)
    return Heads(side, smoothed)


@dataclass(frozen=True)
class Seen:
    """One frame [H, W, 3], with what is known of its faces."""

    frame: NDArray[np.uint8]
    faces: Faces
    heads: Heads


@dataclass(frozen=True)
class Steadied:
    """One frame [H, W, 3], with what a drawing of it is made of. small: as it is analysed."""

    frame: NDArray[np.uint8]
    small: NDArray[np.uint8]
    sketch: Sketch


@dataclass(frozen=True, kw_only=True)
class Toonify(Edit):
    kind = "toonify"
    whole_frames: ClassVar[bool] = True
    by: str = setting(
        "auto",
        "who draws: drawing, lines and tones of the frames themselves; network, the StyleGANEX "
        "network of the pack, for which look, structure and steady mean nothing; auto, that, if "
        "the pack has one",
        choices=("auto", "drawing", "network"),
        affects=False,
    )
    look: str = setting(
        "ink", "ink: a comic; pencil: grey lines; paint: tones, faint lines", choices=tuple(LOOKS)
    )
    strength: float = setting(
        1.0, "how far the drawing takes the place of the frame", low=0.0, high=1.0
    )
    structure: float = setting(
        0.5, "how far proportions are a cartoon's: larger eyes, a smaller chin", low=0.0, high=1.0
    )
    steady: float = setting(
        0.7, "how far tones and lines stay as they were in the frame before", low=0.0, high=1.0
    )

    @property
    def in_frames(self) -> bool:
        return True

    def for_pack(self, pack: Pack) -> Edit:
        network = ToonifyNetwork(strength=self.strength)
        found = self.by == "network" or (self.by == "auto" and network.served_by(pack.files))
        return network if found else self

    def check_moved(self, place: str) -> None:
        """It draws what was moved."""

    def makers(self) -> Makers:
        return makers(heads, changes=self.drawn)

    @stage(version=5, compress=True)
    def drawn(
        self,
        frames: Series[Frames],
        faces: Series[Faces],
        heads: Series[Heads],
        shots: Series[Shots],
        at_once: AtOnce,
        meter: Meter,
        progress: Progress,
    ) -> Iterator[Pictures]:
        """One frame after the other, as each remembers the one before."""
        begins, first, state = shots.field("begins"), progress.rows, progress.state

        def seen() -> Iterator[Seen]:
            for start, stop in ranges(frames.count, AT_ONCE, first):
                found, strokes = faces.rows(start, stop), heads.rows(start, stop)
                for row, frame in enumerate(frames.rows(start, stop)):
                    yield Seen(frame, found.rows(row, row + 1), strokes.rows(row, row + 1))

        def steadied() -> Iterator[Steadied]:
            last = (state["small"], Sketch.of(state["planes"])) if state else None
            for number, now in enumerate(at_once(self.sketched, seen()), first):
                found = now.sketch
                if last is not None and not begins[number]:
                    found = held(found, last[1], (now.small, last[0]), self.steady)
                last = now.small, found
                yield replace(now, sketch=found)

        made: list[NDArray[np.uint8]] = []
        drawn = at_once(lambda now: (self.painted(now), now.small, now.sketch), steadied())
        for number, (picture, small, found) in enumerate(drawn, first + 1):
            made.append(picture)
            if len(made) == AT_ONCE or number == frames.count:
                progress.reached(number, {"small": small, "planes": found.planes()})
                yield Pictures(np.stack(made))
                made.clear()
            meter(number - first)

    def sketched(self, seen: Seen) -> Steadied:
        """What a drawing of one frame alone is made of."""
        height, width = seen.frame.shape[:2]
        size = working_size(width, height, float(seen.heads.side[0]))
        scale = np.array([size[0] / width, size[1] / height], np.float32)
        anchors = seen.heads.anchors[0]
        small = resized(reshaped(seen.frame, anchors, self.structure), size)
        meshes = seen.faces.meshes[0]
        moved = moved_along(meshes, anchors, self.structure)
        found = sketch(small, face_parts(moved * scale, meshes, size[::-1]))
        return Steadied(seen.frame, small, found)

    def painted(self, drawn: Steadied) -> NDArray[np.uint8]:
        """Over the frame, as far as `strength` says."""
        frame = drawn.frame
        height, width = frame.shape[:2]
        picture = at_size(drawn.sketch, LOOKS[self.look], (width, height))
        if self.strength < 1:
            mixed = frame + np.float32(self.strength) * (picture.astype(np.float32) - frame)
            picture = np.rint(mixed).astype(np.uint8)
        return picture


def face_parts(
    meshes: NDArray[np.float32], seen: NDArray[np.float32], size: tuple[int, int]
) -> Parts:
    """Of faces [F, 478, 2], NaN for none, in a picture [h, w]. seen: as they were in the frame,
    which says how far eyes and mouths are open."""
    face, plain, eyes, lips = np.zeros((4, *size), np.float32)
    features = []
    for index in np.flatnonzero(np.isfinite(meshes[:, 0, 0])):
        mesh = meshes[index]
        _put(face, mesh[list(FACE_OVAL)], 0.92)
        for part in (EYE_LEFT, EYE_RIGHT, LIPS, *BROWS):
            _put(plain, mesh[list(part)], 1.5)
        _put(lips, mesh[list(LIPS)], 1.0)
        for part, lighter in ((EYE_LEFT, EYES_LIGHTER), (EYE_RIGHT, EYES_LIGHTER), (MOUTH, 0.0)):
            share = _open(seen[index, list(part)])
            found = _put(eyes, mesh[list(part)], 1.1 if lighter else 1.0, share)
            features += [(*found, lighter)] if found else []
    face = _softened(face)
    skin = np.minimum(_softened(face * (1 - plain)), face)
    ink = 1 - (1 - LIGHT_INK) * skin
    ink *= 1 - (1 - LIPS_INK) * lips
    ink *= 1 - (1 - EYES_INK) * eyes
    return Parts(face, ink, eyes, features)


def _put(
    mask: NDArray[np.float32], outline: NDArray[np.float32], grown: float, share: float = 1.0
) -> tuple[slice, slice, NDArray[np.float32]] | None:
    """Adds a share of an outline [K, 2] to a mask [h, w]; where that is, and its own mask; None if
    beyond."""
    middle = outline.mean(0)
    outline = middle + grown * (outline - middle)
    low = np.floor(outline.min(0)).astype(int).clip(0, None)
    high = np.ceil(outline.max(0)).astype(int).clip(None, mask.shape[::-1])
    wide, tall = high - low
    if min(wide, tall) <= 0:
        return None
    own: NDArray[np.float32] = np.float32(share) * polygon_mask(outline - low, int(tall), int(wide))
    rows, columns = slice(low[1], high[1]), slice(low[0], high[0])
    mask[rows, columns] = np.maximum(mask[rows, columns], own)
    return rows, columns, own


def _open(outline: NDArray[np.float32]) -> float:
    """How far an eye or a mouth [K, 2] is open, 0 … 1: a lid has nothing of an eye."""
    long, high = np.linalg.svd(outline - outline.mean(0), compute_uv=False)
    return float(np.clip((high / max(long, 1e-6) - SHUT) / (OPEN - SHUT), 0, 1))


def _softened(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = mask.shape
    coarse = resized(mask, (max(1, width // SOFT), max(1, height // SOFT)))
    soft: NDArray[np.float32] = resized(coarse, (width, height)).clip(0, 1)
    return soft


def moved_along(
    meshes: NDArray[np.float32], anchors: NDArray[np.float32], structure: float
) -> NDArray[np.float32]:
    """Meshes [F, 478, 2] as `reshaped` moves what they lie on."""
    known, _ = proportions(structure)
    effect = _effect()
    found = meshes.copy()
    for index in np.flatnonzero(np.isfinite(anchors[:, 0, 0])):
        onto = np.linalg.solve(np.hstack([known, np.ones((3, 1))]), anchors[index].astype(float))
        found[index] += structure * effect.moved @ onto[:2]
    return found


def reshaped(
    picture: NDArray[np.uint8], anchors: NDArray[np.float32], structure: float
) -> NDArray[np.uint8]:
    """A frame [H, W, 3] with faces of a cartoon's proportions. anchors: [F, 3, 2], see `Heads`."""
    present = anchors[np.isfinite(anchors[:, 0, 0])]
    if not len(present) or structure <= 0:
        return picture
    known, field = proportions(structure)
    height, width = picture.shape[:2]
    motion = np.zeros((height, width, 2), np.float32)
    for points in present.astype(np.float64):
        # From sides of the crop to pixels: the one affine map that takes three points to three.
        onto = np.linalg.solve(np.hstack([known, np.ones((3, 1))]), points)
        across, down = onto[:2] / CELLS * (2 * AROUND)
        if abs(np.linalg.det([across, down])) * CELLS**2 < LEAST_FACE**2:
            continue
        corner = onto[2] - AROUND * (onto[0] + onto[1]) + (across + down) / 2
        place = np.stack([across, down, corner], 1)
        found = opencv().warpAffine(field, place, (width, height), flags=opencv().INTER_LINEAR)
        motion += found @ onto[:2].astype(np.float32)
    return fetch(picture, motion)


@cache
def _effect() -> Effect:
    """What the toon pack tells of a face's mesh."""
    effects = pack_effects(open_pack(bundled_folder() / TOON))
    effect = effects and effects.of("toon")
    assert effect, "the pack that ships with vidhair tells this"
    return effect


@cache
def proportions(structure: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """What the toon pack tells. (Both eyes and the chin [3, 2] of its face, and where each place
    around that is taken from, [CELLS, CELLS, 2]), in sides of a crop from its middle; zero beyond
    the face."""
    effect = _effect()
    face = effect.face.astype(np.float64)
    moved = structure * effect.moved.astype(np.float64)
    left, right, _, _ = eyes_and_mouth(face)
    grid = Grid(-AROUND, -AROUND, 2 * AROUND / CELLS, CELLS, CELLS)
    oval = face[list(FACE_OVAL)]
    oval = oval.mean(0) + BEYOND * (oval - oval.mean(0))
    still = 1 - polygon_mask(grid.places(oval), CELLS, CELLS)
    field = dense(face + moved, -moved, still, grid)[0].movedim(0, -1).contiguous().numpy()
    return np.stack([left, right, face[CHIN]]), field
