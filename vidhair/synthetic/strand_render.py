"""Frames of people whose hair is strands, with the exact matte and what a dye makes of them.

All light is linear, of sRGB's primaries. Hair is drawn with the coverage of every strand, from
front to back, so alpha is exact where strands are finer than pixels:

    picture = alpha · foreground + (1 − alpha) · behind

H × W pixels, S strands of K points, M segments, V versions of the pigment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.synthetic import pigment, shape
from vidhair.synthetic.clips import Color, Motion, _place
from vidhair.synthetic.occluders import draw_occluder, under_hat
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.render import CAMERA, PIVOT_Y, PIVOT_Z, View, Visible, World, shade, trace
from vidhair.synthetic.shape import Points
from vidhair.synthetic.strands import Strands, ramp

Plane = NDArray[np.float32]  # [H, W] or [H, W, 3]

OVERSAMPLE = 2  # pixels per side of a pixel's own raster
PIVOT = np.array([0.0, PIVOT_Y, PIVOT_Z])
CORNER, FAR_CORNER = np.array([-1.7, -2.4, -1.5]), np.array([1.7, 1.9, 1.5])  # of the grid
STEP = 0.04  # of the grid
BODY = 60.0  # optical depth per length inside the body
SKY = np.array([[0, 1, 0], [0, 0.25, 1], [0.9, 0.4, 0.1], [-0.9, 0.4, 0.1]])
SKY_SHARES = np.array([0.35, 0.35, 0.15, 0.15])
KEY_POWER, SKY_POWER = 1.15, 0.24  # irradiance / π, to fit how `render` lights the skin
ROUGH, TILT, JITTER = 0.14, 0.06, 0.05  # of highlights, of scales, of scales by strand; radians
HIDDEN = 1e-3  # what is seen less than this counts as hidden
SHINE, SHADED = 0.008, 0.78  # mean light of hair: SHINE + SHADED · albedo
LAG = 0.12  # seconds per head unit of free strand
HAIR, BEARD = 0, 1


@dataclass(frozen=True, kw_only=True)
class Pigment:
    """What colors hair. color: how it looks on average in average light, sRGB in 0 … 1.

    grey: share of strands without pigment. variation: of concentration between strands (standard
    deviation of its logarithm). roots, ends: how much more of it there is at the scalp and how much
    less at the ends of long hair, as shares.
    """

    color: Color
    grey: float = 0.0
    variation: float = 0.3
    roots: float = 0.6
    ends: float = 0.25

    @classmethod
    def natural(cls, eumelanin: float, pheomelanin: float = 0.0) -> "Pigment":
        """Undyed hair, by concentrations as `pigment.melanin` takes them."""
        albedo = pigment.albedo_of(pigment.melanin(eumelanin, pheomelanin))
        red, green, blue = pigment.srgb(SHINE + SHADED * albedo).tolist()
        return cls(color=(red, green, blue))

    def absorption(self, strands: Strands) -> NDArray[np.float32]:
        """[S, K − 1, 3], of each strand's segments."""
        # Shadows take a part of the light and highlights add some: the means of several styles.
        albedo = (pigment.linear(np.array(self.color)) - SHINE) / SHADED
        base = pigment.absorption_of(np.clip(albedo, 0.002, 0.96))
        each = np.exp(self.variation * (0.6 * strands.tone + 0.8 * strands.lock))
        base = base * each[:, None]
        if self.grey > 0:
            # White hair is a little yellow.
            white = np.array([0.0016, 0.002, 0.0034], np.float32) * each[:, None]
            base = np.where((strands.rank < self.grey)[:, None], white, base)
        points = strands.points.astype(np.float64)
        arc = np.linalg.norm(np.diff(points, axis=1), axis=-1).cumsum(1)
        along = 1 + self.roots * np.exp(-arc / 0.12) - self.ends * np.clip(arc / 2.5, 0, 1)
        found: NDArray[np.float32] = (base[:, None] * along[..., None]).astype(np.float32)
        return found


@dataclass(frozen=True, kw_only=True)
class StrandFrame:
    """One frame. Light is linear float32, coverage 0 … 1.

    picture, behind [H, W, 3]: with hair, and what is behind the hair (in its shadow, beard and
    occluders included). alpha [H, W] of the hair; beard [H, W]: how much beard is seen.
    foreground [H, W, 3]: color of the hair, the mean of what is seen in each pixel; 0 where there
    is none. twin_foregrounds [V, H, W, 3]: the same for each dye; `twin(v)` is its picture.
    landmarks: float64 [K, 2] in pixels, in the order of `render.LANDMARKS`.
    """

    behind: Plane
    alpha: Plane
    beard: Plane
    foreground: Plane
    twin_foregrounds: Plane
    landmarks: NDArray[np.float64]

    @property
    def picture(self) -> Plane:
        return self._over(self.foreground)

    def twin(self, version: int) -> Plane:
        return self._over(self.twin_foregrounds[version])

    def in_light(self, gains: NDArray[np.float32]) -> "StrandFrame":
        """The same frame in a light whose red, green and blue are multiplied by `gains` [3]."""
        names = ("behind", "foreground", "twin_foregrounds")
        return replace(self, **{name: getattr(self, name) * gains for name in names})

    def _over(self, foreground: Plane) -> Plane:
        alpha = self.alpha[..., None]
        picture: Plane = alpha * foreground + (1 - alpha) * self.behind
        return picture


class Bald(World):
    """Heads without the hair that is a solid."""

    def distances(self, p: Points) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        skin = shape.union(shape.skin(self.to_head(p), self.head), shape.neck(*p), 0.10)
        return skin, torch.full_like(skin, shape.NOWHERE), shape.clothes(*p)


@dataclass(frozen=True)
class _Segments:
    """Strands of one or two kinds as they lie in the world, cut into segments."""

    starts: NDArray[np.float32]  # [M, 3]
    ends: NDArray[np.float32]
    widths: NDArray[np.float32]  # [M]
    kind: NDArray[np.uint8]  # [M]: HAIR, BEARD
    tone: NDArray[np.float32]  # [M]


def _rotations(yaw: NDArray[np.float64], pitch: NDArray[np.float64]) -> NDArray[np.float64]:
    """[..., 3, 3]: head space → world space."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    zero = np.zeros_like(cy)
    rows = [[cy, sy * sp, sy * cp], [zero, cp, -sp], [-sy, cy * sp, cy * cp]]
    found: NDArray[np.float64] = np.stack([np.stack(row, -1) for row in rows], -2)
    return found


def moved_points(strands: Strands, motion: Motion, index: int, fps: float) -> NDArray[np.float32]:
    """The strands' points [S, K, 3] in world space at one frame.

    They turn with the head; what hangs free follows it later and, on the shoulders, only in part.
    """
    points = strands.points.astype(np.float64)
    arc = np.linalg.norm(np.diff(points, axis=1, prepend=points[:, :1]), axis=-1).cumsum(1)
    free = np.maximum(0, arc - 0.6)
    time = np.arange(len(motion.turn))
    at = index - LAG * fps * free
    turns = [
        np.interp(at, time, values.double().numpy())
        for values in (motion.faces.yaw, motion.faces.pitch)
    ]
    # A small sway, so that free ends never lie quite still.
    sway = 0.006 * np.minimum(free, 1) ** 2
    sway = sway * np.sin(2 * np.pi * 0.7 * index / fps + 3 * strands.lock[:, None])
    points[..., 0] += sway
    return _turned(points, turns)


def _turned(points: NDArray[np.float64], turns: list[NDArray[np.float64]]) -> NDArray[np.float32]:
    """Points [S, K, 3] of head space in world space, by yaw and pitch [S, K] or []; what lies on
    the shoulders turns only in part."""
    share = 1 - 0.5 * ramp(-0.3, -1.6, points[..., 1])
    yaw, pitch = (turn * share for turn in turns)
    moved = np.einsum("skij,skj->ski", _rotations(yaw, pitch), points - PIVOT) + PIVOT
    placed: NDArray[np.float32] = moved.astype(np.float32)
    return placed


def _segments(parts: Sequence[tuple[Strands, NDArray[np.float32], int]]) -> _Segments:
    widths = [(0.5 * (s.widths[:, :-1] + s.widths[:, 1:])).reshape(-1) for s, _, _ in parts]
    return _Segments(
        starts=np.concatenate([points[:, :-1].reshape(-1, 3) for _, points, _ in parts]),
        ends=np.concatenate([points[:, 1:].reshape(-1, 3) for _, points, _ in parts]),
        widths=np.concatenate(widths),
        kind=np.repeat([k for _, _, k in parts], [len(w) for w in widths]).astype(np.uint8),
        tone=np.concatenate([np.repeat(s.tone, s.points.shape[1] - 1) for s, _, _ in parts]),
    )


def _pixels(view: View, points: NDArray[np.float32]) -> tuple[NDArray[np.float32], Plane]:
    """(pixel positions [M, 2], pixels per unit of length [M]) of world points [M, 3]."""
    matrix = view.matrix[0].double().numpy()
    inverse = np.linalg.inv(matrix[:, :2])
    near = CAMERA / (CAMERA - points[:, 2].astype(np.float64))
    plane = np.stack([points[:, 0] * near, -points[:, 1] * near], 1)
    pixels = (plane - matrix[:, 2]) @ inverse.T
    scale = near * np.abs(np.linalg.det(inverse)) ** 0.5
    return pixels.astype(np.float32), scale.astype(np.float32)


def _grid_of(segments: _Segments) -> NDArray[np.float32]:
    """Optical depth per length of the hair, on the grid."""
    from vidhair.kernels.strands._numba import add_matter

    size = np.ceil((FAR_CORNER - CORNER) / STEP).astype(int)
    grid = np.zeros(size, np.float32)
    add_matter(grid, CORNER, STEP, segments.starts, segments.ends, segments.widths)
    return grid


def _body_in(world: World, grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """The grid with the body in it."""
    rough = 2 * STEP  # is fine enough for a body
    axes = [CORNER[i] + rough * (np.arange(-(-n // 2)) + 0.5) for i, n in enumerate(grid.shape)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    points = tuple(torch.from_numpy(c.reshape(1, -1).astype(np.float32)) for c in places)
    skin, _, clothes = world.distances(points)
    inside = torch.minimum(skin, clothes)[0].numpy().reshape(places.shape[1:]) < -0.3 * rough
    for axis, count in enumerate(grid.shape):
        inside = inside.repeat(2, axis).take(range(count), axis)
    return grid + BODY * inside.astype(np.float32)


def _lights(faces: FaceParams) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Directions [D, 3] towards the lights, the lamp first, and their powers [D, 3]."""
    azimuth, elevation = float(faces.light_azimuth), float(faces.light_elevation)
    lamp = [np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    lamp.append(np.cos(azimuth) * np.cos(elevation))
    warm = 0.06 * float(faces.light_warmth)
    # The skin's light, of display-referred colors, to the power that makes it linear.
    tint = (np.array([0.78 + warm, 0.76, 0.74 - warm]) / 0.76) ** 1.9
    key = KEY_POWER * float(faces.light_strength) ** 1.9 * tint
    sky = SKY_POWER * SKY_SHARES[:, None] * np.array([0.98, 1.0, 1.06])
    directions = np.concatenate([np.array([lamp]), SKY / np.linalg.norm(SKY, axis=1)[:, None]])
    return directions.astype(np.float32), np.concatenate([key[None], sky]).astype(np.float32)


def _shadowed(seen: Visible, hair: NDArray[np.float32], lights: NDArray[np.float32]) -> Visible:
    """What pixels see, in the shadow of the hair."""
    from vidhair.kernels.strands._numba import optical_depths

    points = torch.stack([p + 0.015 * n for p, n in zip(seen.point, seen.normal, strict=True)], -1)
    depths = optical_depths(hair, CORNER, STEP, points[0].numpy(), lights, STEP, 1.15, 14)
    lamp = torch.from_numpy(np.exp(-depths[:, 0]))[None]
    sky = torch.from_numpy(np.exp(-0.7 * depths[:, 1:]) @ SKY_SHARES.astype(np.float32))[None]
    return replace(seen, shadow=seen.shadow * lamp, occlusion=seen.occlusion * sky)


def reduced(x: NDArray[Any]) -> NDArray[np.float32]:
    """A picture [H, W, C] of half the size, as soft as a lens makes it: (1, 3, 3, 1) / 8."""
    for axis in (0, 1):
        edge = [(1, 1) if a == axis else (0, 0) for a in range(3)]
        lines = np.moveaxis(np.pad(x, edge, mode="edge"), axis, 0)
        rows = (lines[:-3:2] + lines[3::2] + 3 * (lines[1:-2:2] + lines[2:-1:2])) / 8
        x = np.moveaxis(rows, 0, axis)
    return np.ascontiguousarray(x)


@dataclass(frozen=True)
class _Drawn:
    """What is seen of hair and beard in a raster: light [2, H, W, 3 V] (premultiplied), amount
    [2, H, W], and clear [H, W], how much is seen of what is behind both."""

    light: NDArray[np.float32]
    amount: NDArray[np.float32]
    clear: NDArray[np.float32]

    def behind_of(self, over: Plane) -> "_Drawn":
        """The same with something [H, W, 4] in front."""
        left = 1 - over[..., 3]
        return _Drawn(self.light * left[..., None], self.amount * left, self.clear * left)


def _limit(seen: Visible) -> NDArray[np.float32]:
    """[H, W]: the z of the body's surface, a little inside; −∞ where there is none."""
    limit = np.full(seen.view.height * seen.view.width, -np.inf, np.float32)
    hit = seen.hit[0].numpy()
    limit[seen.index[0].numpy()[hit]] = seen.point[2][0].numpy()[hit] - 0.012
    return limit.reshape(seen.view.height, seen.view.width)


def _draw(
    seen: Visible,
    segments: _Segments,
    absorption: NDArray[np.float32],
    grid: NDArray[np.float32],
    lights: NDArray[np.float32],
    powers: NDArray[np.float32],
    limit: NDArray[np.float32],
) -> _Drawn:
    """Light the segments and lay them before the body. absorption: [M, V, 3]; limit: as `_limit`
    has it."""
    from vidhair.kernels.strands._numba import draw, optical_depths, shine

    view = seen.view
    starts, near = _pixels(view, segments.starts)
    ends, _ = _pixels(view, segments.ends)
    inside = (np.maximum(starts, ends) > -2).all(1) & (segments.widths > 0)
    inside &= (np.minimum(starts, ends) < [view.width + 2, view.height + 2]).all(1)
    chosen = np.flatnonzero(inside)
    first, last, absorption = segments.starts[chosen], segments.ends[chosen], absorption[chosen]
    middle, along = 0.5 * (first + last), last - first
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    away = np.array([0, 0, CAMERA], np.float32) - middle
    far = np.linalg.norm(away, axis=1)
    matter = _body_in(seen.world, grid)
    depths = optical_depths(matter, CORNER, STEP, middle, lights, 0.03, 1.2, 14)
    colors = shine(
        along, away / far[:, None], depths, lights, powers, JITTER * segments.tone[chosen],
        absorption, pigment.albedo_of(absorption), TILT, ROUGH,
    ).reshape(len(chosen), 3 * absorption.shape[1])  # fmt: skip
    frame = (view.height, view.width)
    light = np.zeros((2, *frame, colors.shape[1]), np.float32)
    amount, clear = np.zeros((2, *frame), np.float32), np.ones(frame, np.float32)
    draw(
        np.argsort(far, kind="stable"), starts[chosen], ends[chosen], first[:, 2], last[:, 2],
        (segments.widths * near)[chosen], colors, segments.kind[chosen], limit,
        light, amount, clear,
    )  # fmt: skip
    return _Drawn(light, amount, clear)


def _behind(drawn: _Drawn, bald: Plane, over: Plane | None) -> Plane:
    """What is behind the hair, half as large: where only a part of it is seen, that part counts."""
    beard = drawn.light[BEARD, ..., :3]
    shown = drawn.clear + drawn.amount[BEARD]
    hidden = shown < HIDDEN
    light = beard + np.where(hidden, 1 - drawn.amount[BEARD], drawn.clear)[..., None] * bald
    light = np.where(hidden[..., None], HIDDEN * light, light)
    shown = np.maximum(shown, HIDDEN)[..., None]
    if over is not None:
        light = light + over[..., :3] * over[..., 3:]
        shown = shown + over[..., 3:]
    return reduced(light) / reduced(shown)


def standing_points(strands: Strands, faces: FaceParams) -> NDArray[np.float32]:
    """The strands' points [S, K, 3] in world space, of a face ([1]) that does not move."""
    turns = [angle.double().numpy()[0] for angle in (faces.yaw, faces.pitch)]
    return _turned(strands.points.astype(np.float64), turns)


class Wig:
    """Hair, and perhaps a beard, on one person that was traced without them.

    grown: strands, where their points are in the world, and HAIR or BEARD. lights, powers: as
    `_lights` has them. shadowed: what is seen of the person, in the hair's shadow.
    """

    def __init__(self, seen: Visible, grown: Sequence[tuple[Strands, NDArray[np.float32], int]]):
        self.seen, self.grown = seen, grown
        self.segments = _segments(grown)
        self.lights, self.powers = _lights(seen.world.faces)
        self.grid = _grid_of(self.segments)
        self.shadowed = _shadowed(seen, self.grid, self.lights)

    def drawn(self, versions: Sequence[tuple[Pigment, Pigment]], through: bool = False) -> _Drawn:
        """In several colorings: pigments of the hair and of the beard. through: whether it is seen
        through the body."""
        absorption = [
            np.concatenate([worn[kind].absorption(s).reshape(-1, 3) for s, _, kind in self.grown])
            for worn in versions
        ]
        limit = _limit(self.seen)
        return _draw(
            self.seen, self.segments, np.stack(absorption, 1), self.grid, self.lights, self.powers,
            np.full_like(limit, -np.inf) if through else limit,
        )  # fmt: skip


@torch.inference_mode()
def render_strands(
    motion: Motion,
    index: int,
    size: tuple[int, int],
    *,
    hair: Strands,
    pigments: Sequence[Pigment],
    beard: Strands | None = None,
    beard_pigment: Pigment | None = None,
    fps: float = 25.0,
    backdrop: Plane | None = None,
    occluder: str | None = None,
) -> StrandFrame:
    """Render one frame of (width, height) pixels.

    pigments: the hair's own and then those of its twins; the beard keeps its own in all of them
    (`beard_pigment`, by default the hair's). The light and the pose are the motion's. backdrop:
    linear light [2 H, 2 W, 3] in place of the faces' own wall. occluder: a key of
    `occluders.OCCLUDERS`, worn or held before the hair.
    """
    faces = motion.faces[index].replace(hair_volume=0.0)
    hair = under_hat(hair) if occluder == "hat" else hair
    grown = [(hair, HAIR)] if beard is None else [(hair, HAIR), (beard, BEARD)]
    seen = trace(faces, motion.view(index, *size).finer(OVERSAMPLE), Bald(faces))
    wig = Wig(seen, [(s, moved_points(s, motion, index, fps), k) for s, k in grown])
    wall = _place(0, 0, 0, 1, *size).finer(OVERSAMPLE)
    skin = shade(wig.shadowed, faces, wall=wall)
    bald = pigment.linear(skin.image[0].permute(1, 2, 0).numpy())
    if backdrop is not None:
        bald = np.where(skin.background[0, 0].numpy()[..., None] > 0, backdrop, bald)
    drawn = wig.drawn([(own, beard_pigment or pigments[0]) for own in pigments])
    over = None
    if occluder is not None:
        over = draw_occluder(occluder, seen, index / fps, wig.lights, wig.powers)
        drawn = drawn.behind_of(over)

    alpha, bearded = (reduced(a[..., None])[..., 0] for a in drawn.amount)
    light = reduced(drawn.light[HAIR])
    foregrounds = light / np.maximum(alpha, 1e-6)[..., None]
    foregrounds = foregrounds.reshape(*alpha.shape, len(pigments), 3).transpose(2, 0, 1, 3)
    return StrandFrame(
        behind=_behind(drawn, bald, over),
        alpha=alpha,
        beard=bearded,
        foreground=foregrounds[0],
        twin_foregrounds=foregrounds[1:],
        landmarks=skin.landmarks[0].numpy() / OVERSAMPLE,
    )
