"""What a mouth shows that opens further than the frame has it: teeth and the dark behind them.

Teeth of the upper jaw stand still in the skull, what is below moves with the lower lip. What other
frames of the shot show of the open mouth is taken from there; what none shows is drawn.

Places are on the person's face as it is seen from the front, in sides of its crop. S shots.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.imaging.blur import blur
from vidhair.imaging.motion import sample
from vidhair.models.faces.expressions import (
    LOWER_INNER,
    LOWER_MIDDLE,
    UPPER_INNER,
    UPPER_MIDDLE,
    opening,
)
from vidhair.models.faces.landmarks import EYE_LEFT, EYE_RIGHT
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.steady_face import SteadyFace, affine
from vidhair.types import Frames
from vidhair.wiring import Series, Value, stage

Plane = NDArray[np.float32]
Places = NDArray[np.float64]

# The part of a face that holds an open mouth: its top below the closed lips' line, and its size.
ABOVE, WIDE, HIGH, TEXELS = 0.05, 0.28, 0.2, 400
WELL_OPEN = 0.35  # of `opening`, from which on a frame tells what a mouth holds
LOOKED_AT = 8  # frames of a shot that tell how bright its teeth are
# Upper teeth: how far they reach below the line of closed lips, how much less at the sides, and the
# right borders of those from the middle on, as they are seen from the front.
EDGE, ARC, BORDERS = 0.014, 0.9, (0.034, 0.058, 0.078, 0.094, 0.106)
# Width of the furrow between two, how round their corners are, and how soft their edges.
SEAM, ROUND, EDGE_SOFT = 0.0022, 0.0035, 0.004
SIDEWAYS = 0.095  # at which they lie in the dark
LOWER_EDGE = 0.004  # how far lower teeth stand above the lip
IVORY = np.array([1.0, 0.955, 0.86])  # of the white of eyes, which is bluish
PALATE, TONGUE = np.array([0.24, 0.1, 0.09]), np.array([0.52, 0.26, 0.24])  # of the teeth's light
SHADE = 0.012  # how far the shadow of the upper lip reaches
# Growth of the gap between the lips: at which nothing of this is drawn, and at which all.
OPENS = (0.003, 0.012)
CLOSED = (0.006, 0.018)  # gap in the frame that is none yet, and that shows what is behind
LIP_BORDER = 0.004  # how soft it is
BESIDE_MOUTH = (206, 426, 203, 423, 205, 425, 57, 287)
LEAST_WHITE = 12  # pixels of an eye
LEAST_GAP = 1.0  # pixels
RING = [*UPPER_INNER, *LOWER_INNER[::-1]]


@dataclass(frozen=True)
class Mouth(Value):
    """shot: [T], which one a frame is of. line: the closed lips' height on the face. white: [S, 3],
    levels of teeth in full light; seen: float32 [S, h, w, 3] in levels, known: [S, h, w] in 0 … 1,
    what the shot's widest open mouth shows; lips: [S, 2], the heights of its upper and lower one.
    """

    ROWS: ClassVar[tuple[str, ...]] = ("shot",)
    shot: NDArray[np.int64]
    line: float
    white: Plane
    seen: Plane
    known: Plane
    lips: Plane


def inner(mesh: NDArray[Any], lips: tuple[int, ...]) -> Places:
    """The inner border of the upper or the lower lip [n, 2], from left to right."""
    found: Places = mesh[list(lips)].astype(np.float64)
    return found[np.argsort(found[:, 0], kind="stable")]


def border(points: Places, x: NDArray[Any]) -> NDArray[np.float64]:
    """Height of a lip's border at x."""
    found: NDArray[np.float64] = np.interp(x, points[:, 0], points[:, 1])
    return found


def depth_of(places: Places, upper: Places, lower: Places) -> NDArray[np.float64]:
    """How far places [h, w, 2] are from the upper lip, zero, to the lower one, one."""
    top, bottom = border(upper, places[..., 0]), border(lower, places[..., 0])
    found: NDArray[np.float64] = (places[..., 1] - top) / np.maximum(bottom - top, 1e-4)
    return found.clip(0, 1)


def with_jaw(places: Places, upper: Places, lower: Places) -> NDArray[np.float64]:
    """How far what is there goes with the lower jaw, in 0 … 1."""
    found: NDArray[np.float64] = (depth_of(places, upper, lower) - 0.4) / 0.3
    return found.clip(0, 1)


def drawn(
    places: Places, upper: Places, lower: Places, line: float, white: Plane, teeth: float
) -> NDArray[np.float64]:
    """Levels [h, w, 3] of a mouth at places [h, w, 2]; its lips' borders: [n, 2].

    teeth: how far they are drawn, in 0 … 1, and not only the dark.
    """
    x, y = places[..., 0] - 0.5 * (upper[0, 0] + upper[-1, 0]), places[..., 1]
    top, bottom = border(upper, places[..., 0]), border(lower, places[..., 0])
    depth = depth_of(places, upper, lower)
    dim = np.clip(1 - (np.abs(x) / SIDEWAYS) ** 2, 0.06, 1)  # cheeks keep the light from the sides
    colors = PALATE + (TONGUE - PALATE) * (np.clip((depth - 0.35) / 0.6, 0, 1) ** 1.5)[..., None]

    starts = np.array((0.0, *BORDERS[:-1]))
    number = np.searchsorted(BORDERS, np.abs(x)).clip(0, len(BORDERS) - 1)
    across = (np.abs(x) - starts[number]) / (np.array(BORDERS) - starts)[number]
    away = np.minimum(across, 1 - across) * (np.array(BORDERS) - starts)[number]
    seam = 1 - 0.16 * np.exp(-((away / SEAM) ** 2))
    edge = line + EDGE - ARC * x * x - ROUND * np.abs(2 * across - 1) ** 4
    tooth = teeth * _step((edge - y) / EDGE_SOFT)
    tone = seam * (0.86 + 0.14 * np.exp(-(((y - edge + 0.012) / 0.012) ** 2)))
    colors = colors + tooth[..., None] * (tone[..., None] - colors)
    low = teeth * _step((y - bottom + LOWER_EDGE) / EDGE_SOFT) * (1 - tooth)
    colors = colors + low[..., None] * (0.6 * seam[..., None] - colors)
    shadow = 0.55 + 0.45 * np.clip((y - top) / SHADE, 0, 1)
    found: NDArray[np.float64] = colors * (dim * shadow)[..., None] * white
    return found


def _step(values: NDArray[Any]) -> NDArray[np.float64]:
    return np.clip(values + 0.5, 0, 1)


def inside(
    mouth: Mouth, shot: int, places: Places, upper: Places, lower: Places, closed: float
) -> NDArray[np.float64]:
    """Levels [h, w, 3] of what an open mouth shows at places [h, w, 2] beside what the frame itself
    does. closed: how far its own lips were closed, in 0 … 1."""
    other = bool(mouth.known[shot].any())
    teeth = 0.0 if other else closed
    colors = drawn(places, upper, lower, mouth.line, mouth.white[shot], teeth)
    if not other or not closed:
        return colors
    # Teeth of other frames lie against the lips, so that none is shown twice.
    low_share = with_jaw(places, upper, lower)
    total, weight = np.zeros_like(colors), np.zeros(low_share.shape)
    for share, lip, own in zip(
        (1 - low_share, low_share), (upper, lower), mouth.lips[shot], strict=True
    ):
        corner = [-WIDE / 2, mouth.line - ABOVE + lip[len(lip) // 2, 1] - own]
        at = ((places - corner) * TEXELS - 0.5).astype(np.float32)
        known = sample(mouth.known[shot], at) * share * closed
        total += known[..., None] * sample(mouth.seen[shot], at)
        weight += known
    return colors + total - weight[..., None] * colors


def _looked_into(
    frame: NDArray[np.uint8], mesh: NDArray[np.float32], face: NDArray[np.float32], line: float
) -> tuple[Plane, Plane, Plane]:
    """What a frame shows of an open mouth, as in `Mouth`."""
    turn, shift = affine(face, mesh)
    rows, columns = round(HIGH * TEXELS), round(WIDE * TEXELS)
    y, x = np.mgrid[:rows, :columns] + 0.5
    places = np.stack([x / TEXELS - WIDE / 2, y / TEXELS + line - ABOVE], -1)
    there = places @ turn.T + shift
    seen = sample(frame.astype(np.float32), (there - 0.5).astype(np.float32), True)
    own = (mesh - shift) @ np.linalg.inv(turn).T
    outline = own[RING] - [-WIDE / 2, line - ABOVE]
    mask = torch.from_numpy(polygon_mask(outline * TEXELS, rows, columns))[None, None]
    # A lip's own border is not taken with it.
    known = (3 * blur(mask, 0.006 * TEXELS) - 2).clamp(0, 1)[0, 0].numpy()
    lips = own[[UPPER_MIDDLE, LOWER_MIDDLE], 1].astype(np.float32)
    return seen.clip(0, 255), known, lips


def white_of(frame: NDArray[np.uint8], mesh: NDArray[np.float32]) -> Plane:
    """Levels [3] of what is white in the light of a face: the white of its eyes, but no darker than
    the skin around the mouth, as brows and lids shade them."""
    skin = _median(frame, mesh[list(BESIDE_MOUTH)])
    whites = []
    for eye in (EYE_LEFT, EYE_RIGHT):
        colors = _within(frame, mesh[list(eye)])
        tone = colors.mean(1)
        if len(colors) >= LEAST_WHITE:
            whites.append(colors[tone >= np.percentile(tone, 85)].mean(0))
    if not whites:
        return np.full(3, 1.1 * skin.mean(), np.float32).clip(0, 250)
    white = np.max(whites, 0)
    found: Plane = (white * max(1.0, 1.1 * skin.mean() / max(1.0, white.mean()))).clip(0, 250)
    return found.astype(np.float32)


def _within(frame: NDArray[np.uint8], outline: NDArray[np.float32]) -> Plane:
    """The pixels [n, 3] of a frame within an outline."""
    low = np.clip(np.floor(outline.min(0)).astype(int), 0, None)
    high = np.ceil(outline.max(0)).astype(int)
    part = frame[low[1] : high[1], low[0] : high[0]]
    if min(part.shape[:2]) < 2:
        return np.zeros((0, 3), np.float32)
    found: Plane = part[polygon_mask(outline - low, *part.shape[:2]) > 0.9].astype(np.float32)
    return found


def _median(frame: NDArray[np.uint8], points: NDArray[np.float32]) -> Plane:
    """Of the frame's colors [3] at points [n, 2]."""
    found: Plane = np.median(sample(frame, (points - 0.5)[None])[0], 0).astype(np.float32)
    return found


@stage()
def mouth(
    frames: Series[Frames], track: Series[FaceTrack], steady_face: Series[SteadyFace]
) -> Mouth:
    """From the frame of every shot whose mouth is open widest, and the whites of its eyes."""
    present, cuts = track.field("present"), track.field("cuts")
    shot = np.cumsum(cuts) - 1
    meshes, face = steady_face.field("mesh"), steady_face.rows(0, 1).face
    rows = np.flatnonzero(present)
    open_by = np.zeros(len(shot))
    open_by[rows] = [opening(meshes[row]) for row in rows]
    closed = rows[open_by[rows] <= np.quantile(open_by[rows], 0.25)] if len(rows) else rows
    line = float(np.median([_lip_line(face, meshes[row]) for row in closed])) if len(rows) else 0.0
    count, size = int(shot[-1]) + 1, (round(HIGH * TEXELS), round(WIDE * TEXELS))
    made = Mouth(
        shot, line, np.full((count, 3), 200, np.float32), np.zeros((count, *size, 3), np.float32),
        np.zeros((count, *size), np.float32), np.zeros((count, 2), np.float32),
    )  # fmt: skip
    for number in np.unique(shot[rows]):
        own = rows[shot[rows] == number]
        some = own[np.linspace(0, len(own) - 1, min(LOOKED_AT, len(own))).astype(int)]
        whites = []
        for row in some.tolist():
            (frame,) = frames.rows(row, row + 1)
            whites.append(white_of(frame, meshes[row]))
        made.white[number] = np.median(whites, 0) * IVORY
        widest = int(own[np.argmax(open_by[own])])
        if open_by[widest] >= WELL_OPEN:
            (frame,) = frames.rows(widest, widest + 1)
            looked = _looked_into(frame, meshes[widest], face, line)
            made.seen[number], made.known[number], made.lips[number] = looked
    return made


def _lip_line(face: NDArray[np.float32], mesh: NDArray[np.float32]) -> float:
    turn, shift = affine(face, mesh)
    own = (mesh[UPPER_MIDDLE] - shift) @ np.linalg.inv(turn).T
    return float(own[1])


@dataclass(frozen=True)
class Opening:
    """The lips of one frame [H, W, 3] that part. mesh, moved: [P, 2] in pixels; face: [P, 2]."""

    frame: NDArray[np.uint8]
    mesh: NDArray[np.float32]
    moved: NDArray[np.float32]
    mouth: Mouth
    shot: int
    face: NDArray[np.float32]

    def put_into(self, picture: Plane, corner: tuple[int, int]) -> None:
        """Put what the mouth holds into a part [h, w, 3] of the frame, in 0 … 1, whose lips are
        where they move to. corner: column and row of the part in the frame."""
        turn, shift = affine(self.face, self.mesh)
        side, back = float(np.sqrt(abs(np.linalg.det(turn)))), np.linalg.inv(turn).T
        old = self.mesh.astype(np.float64)
        new = old + self.moved
        before, after = (
            float(((lips[LOWER_MIDDLE] - lips[UPPER_MIDDLE]) @ back)[1]) for lips in (old, new)
        )
        soft = LIP_BORDER * side
        low = np.floor(new[RING].min(0) - 3 * soft).astype(int) - corner
        high = np.ceil(new[RING].max(0) + 3 * soft).astype(int) - corner
        (x0, y0), (x1, y1) = (np.clip(end, 0, picture.shape[1::-1]) for end in (low, high))
        if after * side < LEAST_GAP or x1 - x0 < 2 or y1 - y0 < 2:
            return
        start = np.array([x0, y0]) + corner
        sure, now = (
            _soft(polygon_mask(lips[RING] - start, y1 - y0, x1 - x0), soft) for lips in (old, new)
        )
        y, x = np.mgrid[: y1 - y0, : x1 - x0] + 0.5
        there = np.stack([x, y], -1) + start
        places = (there - shift) @ back
        upper, lower = ((inner(new, lips) - shift) @ back for lips in (UPPER_INNER, LOWER_INNER))
        part = picture[y0:y1, x0:x1]
        closed = float(np.interp(before, CLOSED, (1, 0)))
        made = inside(self.mouth, self.shot, places, upper, lower, closed) / 255
        made = part + np.interp(after - before, OPENS, (0, 1)) * (made - part)

        # What the frame itself shows between its lips stays as it is, and goes with them.
        low_share = with_jaw(places, upper, lower)
        sure = (3 * sure - 2).clip(0, 1)
        total, weight = np.zeros_like(made), np.zeros(sure.shape)
        for share, middle in ((1 - low_share, UPPER_MIDDLE), (low_share, LOWER_MIDDLE)):
            at = (there - self.moved[middle] - 0.5).astype(np.float32)
            known = sample(sure, at - start.astype(np.float32)) * share
            total += known[..., None] / 255 * sample(self.frame, at, True)
            weight += known
        made += total - weight[..., None] * made
        part += (now[..., None] * (made - part)).astype(np.float32)


def _soft(mask: Plane, sigma: float) -> Plane:
    found: Plane = blur(torch.from_numpy(mask)[None, None], max(0.5, sigma))[0, 0].numpy()
    return found
