"""A clip that looks drawn: lines of ink, flat tones, proportions of a cartoon; no generator.

Whole frames are drawn, whether they show a face or not. Faces tell how large a drawing's strokes
are, where ink is to be light, and what grows and shrinks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from vidhair.checkpoints.packs import TOON, bundled_folder, open_pack
from vidhair.edits.edit import Edit
from vidhair.edits.wide import ToonifyNetwork
from vidhair.geometry import Grid, crop_axes
from vidhair.imaging.drawing import (
    Look,
    Sketch,
    at_size,
    resized,
    sketch,
    steadied,
    working_size,
)
from vidhair.imaging.motion import fetch
from vidhair.imaging.opencv import opencv
from vidhair.models.faces.effects import pack_effects
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT, FACE_OVAL, eyes_and_mouth
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.settings import setting
from vidhair.stages.align import Faces, Shots
from vidhair.stages.difference import dense
from vidhair.stages.facial_hair import BROWS, LIPS
from vidhair.stages.people import Tracks
from vidhair.stages.smooth import smooth_over_time
from vidhair.types import Clip, Frames
from vidhair.wiring import Makers, Near, Series, Span, Value, makers, ranges, stage

NEIGHBOURS = 2  # frames on either side along whose motion drawings are averaged
WITHOUT = 0.6  # side of a face's crop in heights of the frame, where none is seen
LIGHT_INK = 0.5  # share of lines that is drawn on plain skin of faces
CHIN = 152  # point of the mesh
SOFT = 8  # pixels of a drawing over which borders of faces are soft
CELLS, AROUND = 128, 0.75  # in which proportions change, and in sides of a crop from its middle
BEYOND = 1.3  # size of the outline beyond which nothing moves, beside the face's oval
LEAST_FACE = 8  # pixels of a side, of which proportions are seen

LOOKS = {
    "ink": Look(),
    "pencil": Look(bands=9, flat=0.5, ink=0.55, chroma=1.05),
    "paint": Look(bands=6, flat=0.8, ink=0.0, chroma=1.4),
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
        "ink", "ink: a comic; pencil: thin grey lines; paint: no lines", choices=tuple(LOOKS)
    )
    strength: float = setting(
        1.0, "how far the drawing takes the place of the frame", low=0.0, high=1.0
    )
    structure: float = setting(
        0.5, "how far proportions are a cartoon's: larger eyes, a smaller chin", low=0.0, high=1.0
    )
    steady: float = setting(
        0.7, "weight of the frames before and after, along the motion", low=0.0, high=1.0
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
        return makers(heads, composed=self.drawn)

    @stage(keep=False, version=2)
    def drawn(
        self,
        frames: Annotated[Frames, Near(NEIGHBOURS)],
        faces: Annotated[Faces, Near(NEIGHBOURS)],
        heads: Annotated[Heads, Near(NEIGHBOURS)],
        shots: Annotated[Shots, Near(NEIGHBOURS)],
        span: Span,
    ) -> Frames:
        shot, look = np.cumsum(shots.begins), LOOKS[self.look]
        made: dict[int, tuple[NDArray[np.uint8], Sketch]] = {}

        def made_of(frame: int) -> tuple[NDArray[np.uint8], Sketch]:
            (picture,) = frames.rows(frame, frame + 1)
            height, width = picture.shape[:2]
            size = working_size(width, height, float(heads.side[frame]))
            scale = np.array([size[0] / width, size[1] / height], np.float32)
            small = resized(reshaped(picture, heads.anchors[frame], self.structure), size)
            face, skin = face_parts(faces.meshes[frame] * scale, size[::-1])
            found = sketch(small, face)
            lines = found.lines * (1 - (1 - LIGHT_INK) * skin)
            return small, Sketch(found.tones, lines, found.gain)

        core, drawn = span.core(NEIGHBOURS), []
        for frame in range(core.start, core.stop):
            near = [
                f
                for f in range(max(0, frame - NEIGHBOURS), min(len(frames), frame + NEIGHBOURS + 1))
                if shot[f] == shot[frame]
            ]
            made = {f: made.get(f) or made_of(f) for f in near}
            pictures, sketches = zip(*made.values(), strict=True)
            steady = steadied(sketches, pictures, near.index(frame), self.steady)
            (source,) = frames.rows(frame, frame + 1)
            height, width = source.shape[:2]
            picture = at_size(steady, look, (width, height))
            if self.strength < 1:
                mixed = source + np.float32(self.strength) * (picture.astype(np.float32) - source)
                picture = np.rint(mixed).astype(np.uint8)
            drawn.append(picture)
        return Frames.of_pixels(np.stack(drawn))


def face_parts(
    meshes: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Inside of faces [F, 478, 2], NaN for none, and what is plain skin of that, [h, w] in 0 … 1
    each, with soft borders."""
    faces, skins = np.zeros((2, *size), np.float32)
    for mesh in meshes[np.isfinite(meshes[:, 0, 0])]:
        face = _outlined(mesh, FACE_OVAL, 0.92, size)
        features = [
            _outlined(mesh, part, 1.5, size) for part in (EYE_LEFT, EYE_RIGHT, LIPS, *BROWS)
        ]
        faces = np.maximum(faces, face)
        skins = np.maximum(skins, face * (1 - np.maximum.reduce(features)))
    faces = _softened(faces)
    return faces, np.minimum(_softened(skins), faces)


def _outlined(
    mesh: NDArray[np.float32], part: Sequence[int], grown: float, size: tuple[int, int]
) -> NDArray[np.float32]:
    outline = mesh[list(part)]
    middle = outline.mean(0)
    mask: NDArray[np.float32] = polygon_mask(middle + grown * (outline - middle), *size)
    return mask


def _softened(mask: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = mask.shape
    coarse = resized(mask, (max(1, width // SOFT), max(1, height // SOFT)))
    soft: NDArray[np.float32] = resized(coarse, (width, height)).clip(0, 1)
    return soft


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
def proportions(structure: float) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """What the toon pack tells. (Both eyes and the chin [3, 2] of its face, and where each place
    around that is taken from, [CELLS, CELLS, 2]), in sides of a crop from its middle; zero beyond
    the face."""
    effects = pack_effects(open_pack(bundled_folder() / TOON))
    effect = effects and effects.of("toon")
    assert effect, "the pack that ships with vidhair tells this"
    face = effect.face.astype(np.float64)
    moved = structure * effect.moved.astype(np.float64)
    left, right, _, _ = eyes_and_mouth(face)
    grid = Grid(-AROUND, -AROUND, 2 * AROUND / CELLS, CELLS, CELLS)
    oval = face[list(FACE_OVAL)]
    oval = oval.mean(0) + BEYOND * (oval - oval.mean(0))
    still = 1 - polygon_mask(grid.places(oval), CELLS, CELLS)
    field = dense(face + moved, -moved, still, grid)[0].movedim(0, -1).contiguous().numpy()
    return np.stack([left, right, face[CHIN]]), field
