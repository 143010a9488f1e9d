"""Whole frames for networks that take pictures of any size: what they see, and back into the frame.

The rule is StyleGANEX's: a frame is scaled so that the eyes are EYE_DISTANCE pixels apart and cut
REACH pixels around them. Here the cut is one per face and shot and holds all places to which the
face moves, so nothing jumps from frame to frame, and scaling down averages.

T frames, K places, F faces at most, [..., 5] the numbers of a `Grid`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import EYE_DISTANCE, CropAxes, Grid, crop_quad, frame_crop
from vidhair.imaging.fill import fill
from vidhair.imaging.warp import cut_frame, cut_grid
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.models.styleganex.network import CELL, ENCODER_SIZE
from vidhair.stages.align import DOUBTFUL, MAX_FACES, Faces
from vidhair.stages.people import ALL, LARGEST, Tracks
from vidhair.types import Clip
from vidhair.wiring import Series, Value, ranges

REACH = 256  # pixels around the middle of the eyes, where they are EYE_DISTANCE apart
TILTED = 0.5  # share of the eyes' distance that lies across, below which a head is lying
# Pixels that a network sees at most, so that 4 GiB are enough; and one with masks of edits.
LARGEST_INPUT, LARGEST_MASKED = 1280 * 736, 640 * 416
LARGEST_SCALE = 16.0  # of a frame: the eyes of the smallest face that is found are some 16 apart
FADE_SECONDS = 0.3  # in which a drawing goes where a face comes or goes within a shot
COARSE = 8  # pixels of the frame per sample of what matches colors
NOISE = 0.6745 * 6  # median of |noise| and norm of the Laplacian below, for a deviation of one
LAPLACIAN = ((1, -2, 1), (-2, 4, -2), (1, -2, 1))


@dataclass(frozen=True)
class Places(Value):
    """Where in the frames networks look, one place per face and shot.

    grids: [K, 5] float64, samples of the network's input. first: [K] int64, the frame from which a
    place takes its style; axes: [K, 4] float32, centre and x axis of the face's crop in it, NaN
    for a place without a face. at: [T, F] int32, the places in a frame, the one in front last, −1
    for none. share: [T, F] float32 in 0 … 1, how far each is drawn.
    """

    ROWS = ("at", "share")
    grids: NDArray[np.float64]
    first: NDArray[np.int64]
    axes: NDArray[np.float32]
    at: NDArray[np.int32]
    share: NDArray[np.float32]

    def grid(self, place: int) -> Grid:
        left, top, step, height, width = self.grids[place].tolist()
        return Grid(left, top, step, int(height), int(width))

    def crop(self, place: int) -> CropAxes | None:
        """Of the face, in pixels of the place's first frame."""
        if np.isnan(self.axes[place, 0]):
            return None
        centre, x = self.axes[place].astype(np.float64).reshape(2, 2)
        return CropAxes(centre, x)

    def shown(self, row: int) -> Iterator[tuple[int, float]]:
        """(place, share) of a frame, the one in front last."""
        for place, share in zip(self.at[row].tolist(), self.share[row].tolist(), strict=True):
            if place >= 0 and share > 0:
                yield place, share


def whole_grid(height: int, width: int, scale: float = 1.0, most: int = LARGEST_INPUT) -> Grid:
    """All of a frame, scaled, but to `most` pixels at most; sides are multiples of CELL, so it may
    reach beyond the right and the lower edge."""
    scale = min(scale, LARGEST_SCALE, math.sqrt(most / (height * width)))
    sides = (math.ceil(round(n * scale, 6) / CELL) * CELL for n in (height, width))
    return Grid(0, 0, 1 / scale, *sides)


def scale_of(left: NDArray[Any], right: NDArray[Any]) -> float:
    """By which the eyes become EYE_DISTANCE apart: across, as StyleGANEX measures, or as they are
    where the head lies."""
    across, apart = float(right[0] - left[0]), float(np.linalg.norm(right - left))
    return EYE_DISTANCE / (across if across > TILTED * apart else apart)


def face_grid(
    eyes: NDArray[np.float64],
    height: int,
    width: int,
    framing: str = "crop",
    most: int = LARGEST_INPUT,
) -> Grid:
    """The place of a face. eyes: [N, 2, 2], both in each of its frames; the first decides about
    the scale. framing: "crop" or "frame". most: samples that it may have."""
    left, right = eyes[0]
    scale = scale_of(left, right)
    if framing == "frame":
        return whole_grid(height, width, scale, most)
    middles = eyes.mean(1)
    first = middles[0]
    moves = first - middles.min(0), middles.max(0) - first  # [left, up], [right, down]
    scale = min(scale, LARGEST_SCALE)
    sides = np.array([width, height])
    while (
        area := np.minimum(sum(moves) * scale + 2 * REACH, sides * scale).prod()
    ) > LARGEST_INPUT:
        scale *= 0.99 * math.sqrt(LARGEST_INPUT / area)
    half = np.array([EYE_DISTANCE / scale / 2, 0])
    left_reach, right_reach, up, below = (
        round(REACH + float(move[axis]) * scale) for axis in (0, 1) for move in moves
    )
    reach = left_reach, right_reach, up, below
    crop = frame_crop(first - half, first + half, height, width, reach)
    counts = (max(CELL, n) for n in (crop.bottom - crop.top, crop.right - crop.left))
    step = 1 / crop.scale
    return Grid(crop.left * step, crop.top * step, step, *counts)


def find_places(
    faces: Series[Faces],
    tracks: Tracks,
    begins: NDArray[np.bool_],
    clip: Clip,
    wanted: str | int,
    framing: str,
    most: int = LARGEST_INPUT,
) -> Places:
    """One place for each face that is wanted: "all", or in every shot the "largest" ones that are
    not seen at the same time. Raises InvalidSetting for others, and NoFaceFound."""
    if str(wanted) not in (LARGEST, ALL):
        raise InvalidSetting(
            f"align.person = {wanted!r}, but edits of whole frames do not tell people apart; use "
            f"{LARGEST} or {ALL}"
        )
    shot = np.cumsum(begins)
    spans = _spans(tracks.track)
    if not spans:
        raise NoFaceFound(
            f"no face in any of the {clip.frame_count} frames of {clip.path}; set "
            f"align.min_confidence={DOUBTFUL:g} or take a clip where a face is seen from the front"
        )
    chosen: list[int] = []
    for k in sorted(spans, key=lambda k: -float(tracks.area_seconds[k])):
        alone = all(
            spans[k][1] < spans[o][0] or spans[o][1] < spans[k][0]
            if framing == "crop"
            else shot[spans[k][0]] != shot[spans[o][0]]
            for o in chosen
        )
        if alone or (str(wanted) == ALL and framing == "crop"):
            chosen.append(k)
    chosen.sort(key=lambda k: float(tracks.height[k]))  # larger faces are nearer
    eyes = _eyes(faces, tracks.track, chosen)
    count = clip.frame_count
    at, share = np.full((count, MAX_FACES), -1, np.int32), np.zeros((count, MAX_FACES), np.float32)
    seconds = clip.seconds_T
    for place, k in enumerate(chosen):
        first, last = spans[k]
        here = shot == shot[first]
        weight = np.ones(count)
        if framing == "crop":
            away = np.maximum(seconds[first] - seconds, seconds - seconds[last])
            weight = np.clip(1 - away / FADE_SECONDS, 0, 1)
        for frame in np.flatnonzero(here & (weight > 0)):
            free = np.flatnonzero(at[frame] < 0)
            if len(free):
                at[frame, free[0]], share[frame, free[0]] = place, weight[frame]
    first_axes = [tracks.axes[spans[k][0]][tracks.track[spans[k][0]] == k][0] for k in chosen]
    grids = [face_grid(eyes[k], clip.height, clip.width, framing, most) for k in chosen]
    numbers = [(g.left, g.top, g.step, g.height, g.width) for g in grids]
    return Places(
        np.reshape(np.array(numbers, np.float64), (-1, 5)),
        np.array([spans[k][0] for k in chosen], np.int64),
        np.reshape(np.array(first_axes, np.float32), (-1, 4)),
        at,
        share,
    )


def everywhere(clip: Clip) -> Places:
    """One place, all of the frames, whether they show a face or not."""
    grid = whole_grid(clip.height, clip.width)
    at = np.full((clip.frame_count, MAX_FACES), -1, np.int32)
    at[:, 0] = 0
    return Places(
        np.array([[grid.left, grid.top, grid.step, grid.height, grid.width]], np.float64),
        np.zeros(1, np.int64),
        np.full((1, 4), np.nan, np.float32),
        at,
        (at >= 0).astype(np.float32),
    )


def _spans(track: NDArray[np.int32]) -> dict[int, tuple[int, int]]:
    """The first and the last frame of every track."""
    frames, faces = np.nonzero(track >= 0)
    numbers = track[frames, faces]
    return {
        int(k): (int(frames[numbers == k][0]), int(frames[numbers == k][-1]))
        for k in np.unique(numbers)
    }


def _eyes(
    faces: Series[Faces], track: NDArray[np.int32], chosen: list[int]
) -> dict[int, NDArray[np.float64]]:
    """Both eyes of chosen tracks in every frame in which they are found, [N, 2, 2] each."""
    found: dict[int, list[NDArray[np.float64]]] = {k: [] for k in chosen}
    for start, stop in ranges(faces.count):
        left, right, _, _ = eyes_and_mouth(faces.rows(start, stop).meshes.astype(np.float64))
        both, numbers = np.stack([left, right], -2), track[start:stop]
        for k in chosen:
            found[k].append(both[numbers == k])
    return {k: np.concatenate(parts) for k, parts in found.items()}


# ---- what a network sees


def seen(frame: NDArray[np.uint8], grid: Grid, mode: str = "bilinear") -> Tensor:
    """A place in a frame [H, W, 3], which goes on mirrored: [1, 3, height, width] in −1 … 1. mode:
    how small ones are enlarged."""
    return cut_frame(frame, grid, mode=mode)


def nearest(frame: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The same of numbers of labels, which have no means: [height, width] of a frame's first
    channel."""
    rows, columns = (
        np.clip(np.floor(start + (np.arange(count) + 0.5) * grid.step), 0, length - 1).astype(int)
        for start, count, length in (
            (grid.top, grid.height, frame.shape[0]),
            (grid.left, grid.width, frame.shape[1]),
        )
    )
    found: NDArray[np.uint8] = frame[..., 0][np.ix_(rows, columns)]
    return found


def aligned_face(picture: Tensor, grid: Grid, crop: CropAxes) -> Tensor:
    """The style's source: a face cut as FFHQ cuts it out of what the network sees.

    picture: [1, 3, height, width] in −1 … 1, at a grid; crop: in pixels of the frame. Returns
    [1, 3, 256, 256].
    """
    levels = ((picture[0] + 1) * 127.5).round().clamp(0, 255).byte().movedim(0, -1).cpu().numpy()
    face = crop_quad(Image.fromarray(levels), grid.places(crop.quad), size=ENCODER_SIZE)
    array = np.asarray(face, np.float32) / 127.5 - 1
    return torch.from_numpy(array).movedim(-1, 0)[None].to(picture.device)


# ---- back into the frame


def window_on(grid: Grid, height: int, width: int) -> Grid:
    """The pixels of a frame whose centres lie within a grid."""
    ends = grid.left + grid.width * grid.step, grid.top + grid.height * grid.step
    left, top = (max(0, math.ceil(n - 0.5)) for n in (grid.left, grid.top))
    right, bottom = (
        min(most, math.floor(n + 0.5)) for n, most in zip(ends, (width, height), strict=True)
    )
    return Grid.of_pixels(max(1, bottom - top), max(1, right - left), left, top)


def drawn_grid(grid: Grid, drawn: Tensor) -> Grid:
    """Where the samples of what a network drew of a place lie. drawn: [..., h, w]."""
    height, width = drawn.shape[-2:]
    return Grid(grid.left, grid.top, grid.step * grid.width / width, height, width)


def inside(window: Grid, height: int, width: int, reach: float) -> NDArray[np.float32]:
    """[h, w]: from zero at a window's edges to one `reach` pixels inside, smoothly. Edges of the
    frame are none."""
    shares = []
    for start, count, length in (
        (window.top, window.height, height), (window.left, window.width, width),
    ):  # fmt: skip
        place = np.arange(count) + 0.5
        before = place if start > 0 else np.full(count, np.inf)
        after = count - place if start + count < length else np.full(count, np.inf)
        share = np.clip(np.minimum(before, after) / max(reach, 1e-6), 0, 1)
        shares.append(share * share * (3 - 2 * share))
    return np.outer(*shares).astype(np.float32)


def matched(drawn: Tensor, source: Tensor, inner: Tensor, near: Tensor) -> Tensor:
    """A drawing with the source's colors at its border. drawn, source: [1, 3, h, w] levels.

    inner: [1, 1, h, w], where the drawing is shown; near: where it is far from the border. What
    the two differ by at the border is spread inwards and fades.
    """
    height, width = drawn.shape[2:]
    border = 1 - inner
    if not bool((border > 0).any()):
        return drawn
    coarse = [
        F.avg_pool2d(x, COARSE, ceil_mode=True, count_include_pad=False)
        for x in ((source - drawn) * border, border)
    ]
    difference = fill(coarse[0] / (coarse[1] + 1e-6), coarse[1], levels=6)
    spread = F.interpolate(difference, size=(height, width), mode="bilinear", align_corners=False)
    return drawn + spread * (1 - near)


def noise_of(picture: Tensor) -> float:
    """Deviation of the noise in levels [1, 3, h, w], from what is no edge (Immerkær 1996, with the
    median in place of the mean)."""
    green = picture[:, 1:2]
    if min(green.shape[2:]) < 3:
        return 0.0
    kernel = green.new_tensor(LAPLACIAN)[None, None]
    return float(F.conv2d(green, kernel).abs().median()) / NOISE


def grained(drawn: Tensor, source: Tensor, share: float, seed: int) -> Tensor:
    """A drawing with as much noise as its source has, levels [1, 3, h, w] each."""
    if share <= 0:
        return drawn
    lacking = noise_of(source) ** 2 - noise_of(drawn) ** 2
    if lacking <= 0:
        return drawn
    random = np.random.default_rng(seed).standard_normal(drawn.shape[2:], np.float32)
    return drawn + share * math.sqrt(lacking) * torch.from_numpy(random)[None, None]


@dataclass(frozen=True)
class Paste:
    """How a drawing enters its frame. feather: softness of its borders, in sides of the place;
    match, grain: how far its colors are matched there, and of the source's noise how much it gets;
    strength: how far it takes the frame's place."""

    feather: float
    match: bool
    grain: float
    strength: float


def put_back(
    frame: NDArray[np.uint8],
    drawn: Tensor,
    grid: Grid,
    paste: Paste,
    *,
    undrawn: Tensor | None = None,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """A frame [H, W, 3] with what was drawn of a place [1, 3, h, w], about −1 … 1.

    undrawn: the same without the edit. With it, the frame only gets the difference of the two.
    """
    height, width = frame.shape[:2]
    window = window_on(grid, height, width)
    fine = drawn_grid(grid, drawn)
    shown = drawn if undrawn is None else drawn - undrawn
    made = (cut_grid(shown.float(), window, on=fine, padding="border") * 127.5).cpu()
    source = torch.from_numpy(frame[window.pixels].copy()).movedim(-1, 0)[None].float()
    reach = paste.feather * min(window.height, window.width)
    alpha = torch.from_numpy(inside(window, height, width, reach))[None, None]
    if undrawn is not None:
        made = source + made
    else:
        made = made + 127.5
        if paste.match:
            near = torch.from_numpy(inside(window, height, width, 2.5 * reach))[None, None]
            made = matched(made, source, alpha, near)
        made = grained(made, source, paste.grain, seed)
    mixed = source + (made - source) * (alpha * paste.strength)
    result = frame.copy()
    result[window.pixels] = mixed[0].movedim(0, -1).round().clamp(0, 255).byte().numpy()
    return result
