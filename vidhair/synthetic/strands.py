"""Hair as strands: curves that grow from the scalp, or from the jaw and the lip.

Curves are in head space (see `vidhair.synthetic.shape`), where one unit is about 12 cm.

S strands, K points along each.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vidhair.synthetic import shape
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.shape import Head

Vectors = NDArray[np.float64]  # [..., 3]
Floats = NDArray[np.float64]
Part = Callable[[Vectors], Floats]

CROWN = np.array([0.03, 1.1, -0.45])  # where the whorl is
HAIRLINE_Z = 0.55  # above the brow
SCALP_CENTRE = np.array([0.0, shape.CRANIUM_Y, shape.CRANIUM_Z])
JAW_CENTRE = np.array([0.0, -0.42, 0.12])


@dataclass(frozen=True, kw_only=True)
class StrandStyle:
    """How hair is cut and combed; lengths in head units.

    count: of strands. points: along each. width: of a strand. top, sides: lengths above and below
    the `fade`, two heights between which the one becomes the other. spread: of lengths, as a share.
    lift: how far roots stand off the skin, 0 … 1. comb: how far hair on top lies to the side and
    how far forward; the rest falls from the crown. part: x of a parting from which hair falls to
    both sides instead, None for none; longer hair leaves the face free. fringe: length of hair at
    the front that is combed (by `comb`) over the forehead, 0 for none. forward: slope by which what
    grows beside the face falls to the front, before the shoulders. weight: how soon strands
    bend down. volume: thickness of the hair's layer. clumps: how many locks; clumping: how much
    strands gather in them, 0 … 1. wave, wave_length; curl (radius), curl_length: their shape.
    frizz: roughness of single strands. flyaway: share of strands that leave the others.
    recede: as in FaceParams.
    """

    count: int = 16000
    points: int = 20
    width: float = 0.0022
    top: float = 0.5
    sides: float = 0.3
    fade: tuple[float, float] = (0.2, 0.7)
    spread: float = 0.12
    lift: float = 0.35
    comb: tuple[float, float] = (0.0, 0.6)
    part: float | None = None
    fringe: float = 0.0
    forward: float = 0.0
    weight: float = 0.3
    volume: float = 0.12
    clumps: int = 700
    clumping: float = 0.5
    wave: float = 0.0
    wave_length: float = 0.5
    curl: float = 0.0
    curl_length: float = 0.2
    frizz: float = 0.006
    flyaway: float = 0.02
    recede: float = 0.0


STRAND_STYLES = {
    "buzz": StrandStyle(
        count=45000, points=4, width=0.0018, top=0.05, sides=0.03, lift=0.6, volume=0.02,
        clumping=0.0, weight=0.0, flyaway=0.0, frizz=0.002,
    ),
    "fade": StrandStyle(
        count=42000, points=8, width=0.0018, top=0.24, sides=0.012, fade=(0.1, 0.72), lift=0.6,
        comb=(0.35, 0.5), volume=0.09, clumping=0.35, clumps=1500, weight=0.05, frizz=0.004,
    ),
    "crop": StrandStyle(
        count=30000, points=10, top=0.3, sides=0.1, fade=(0.0, 0.7), lift=0.5, comb=(0.1, 1.0),
        volume=0.1, clumps=1200, clumping=0.45, weight=0.1,
    ),
    "swept": StrandStyle(
        count=26000, points=16, top=0.6, sides=0.12, fade=(0.3, 0.8), lift=0.75, comb=(0.8, -0.5),
        volume=0.16, clumps=700, clumping=0.5, weight=0.12, wave=0.012, wave_length=0.4,
    ),
    "parted": StrandStyle(
        count=26000, points=18, top=0.75, sides=0.3, fade=(0.1, 0.7), lift=0.55, part=-0.22,
        volume=0.13, clumps=600, clumping=0.5, weight=0.4,
    ),
    "bob": StrandStyle(
        count=24000, points=26, top=1.45, sides=1.0, fade=(0.0, 1.0), part=0.12, volume=0.17,
        lift=0.55, clumps=500, clumping=0.45, spread=0.05, weight=0.5, flyaway=0.03,
    ),
    "long": StrandStyle(
        count=24000, points=36, top=2.5, sides=1.9, fade=(0.0, 1.0), part=0.05, volume=0.17,
        lift=0.5, clumps=420, clumping=0.55, weight=0.5, flyaway=0.03, wave=0.015, wave_length=0.9,
    ),
    "wavy": StrandStyle(
        count=22000, points=44, top=2.3, sides=1.7, fade=(0.0, 1.0), part=-0.1, volume=0.24,
        lift=0.6, clumps=300, clumping=0.7, weight=0.5, flyaway=0.05, wave=0.05, wave_length=0.55,
        spread=0.2, frizz=0.012,
    ),
    "curly": StrandStyle(
        count=20000, points=44, top=1.3, sides=0.9, fade=(0.0, 0.9), volume=0.3, lift=0.8,
        clumps=700, clumping=0.85, weight=0.25, curl=0.035, curl_length=0.2, flyaway=0.06,
        spread=0.2, frizz=0.02,
    ),
    "afro": StrandStyle(
        count=26000, points=30, top=0.62, sides=0.5, volume=0.3, lift=1.0, clumps=2500,
        clumping=0.6, weight=0.0, comb=(0.0, 0.0), curl=0.02, curl_length=0.09, spread=0.25,
        frizz=0.02, flyaway=0.0,
    ),
    "receding": StrandStyle(
        count=20000, points=8, width=0.0018, top=0.16, sides=0.09, recede=1.1, lift=0.45,
        comb=(0.1, 0.5), volume=0.05, clumping=0.3, clumps=1500, weight=0.1,
    ),
}  # fmt: skip

BEARD_STYLES = {
    "stubble": StrandStyle(
        count=9000, points=4, width=0.0018, top=0.018, sides=0.018, spread=0.4, lift=0.7,
        volume=0.01, clumping=0.0, weight=0.0, flyaway=0.0, frizz=0.001,
    ),
    "short": StrandStyle(
        count=12000, points=6, width=0.0020, top=0.07, sides=0.07, spread=0.35, lift=0.5,
        volume=0.04, clumps=900, clumping=0.35, weight=0.1, flyaway=0.03, frizz=0.008,
    ),
    "full": StrandStyle(
        count=12000, points=10, width=0.0022, top=0.22, sides=0.14, fade=(-0.5, -0.9), spread=0.3,
        lift=0.6, volume=0.1, clumps=500, clumping=0.5, weight=0.15, flyaway=0.05, frizz=0.015,
        curl=0.006, curl_length=0.12,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Strands:
    """points: float32 [S, K, 3] in head space, roots first; widths: float32 [S, K].

    tone: float32 [S], a random number per strand, N(0, 1), and lock: float32 [S], one that strands
    of a lock share: pigment varies with them. rank: float32 [S], 0 … 1 in random order: strands of
    a rank below the share of grey hair have no pigment.
    """

    points: NDArray[np.float32]
    widths: NDArray[np.float32]
    tone: NDArray[np.float32]
    lock: NDArray[np.float32]
    rank: NDArray[np.float32]

    def __post_init__(self) -> None:
        count, points = self.widths.shape
        assert self.points.shape == (count, points, 3), f"points {self.points.shape}"
        assert self.tone.shape == self.lock.shape == self.rank.shape == (count,)


class _Body:
    """A person at rest, as distances that strands must keep. keep_out: of what lies before the
    face, too; clothed: and of clothes."""

    def __init__(self, faces: FaceParams, keep_out: bool, clothed: bool = True):
        self.head = shape.head_of(faces)
        self.keep_out, self.clothed = keep_out, clothed

    def distance(self, p: Vectors) -> Floats:
        x, y, z = _points(p)
        d = torch.minimum(shape.skin((x, y, z), self.head), shape.neck(x, y, z))
        if self.clothed:
            d = torch.minimum(d, shape.clothes(x, y, z))
        if self.keep_out:
            d = torch.minimum(d, shape.ellipsoid(x, y + 0.15, z - 0.8, 0.56, 0.95, 0.6))
        found: Floats = d[0].double().numpy()
        return found

    def gradient(self, p: Vectors, e: float = 0.01) -> Vectors:
        corners = np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]) * e
        around = self.distance((p[:, None] + corners).reshape(-1, 3)).reshape(-1, 4)
        return _unit(around @ corners)


def _unit(v: Vectors) -> Vectors:
    found: Vectors = v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-9)
    return found


def ramp(low: float, high: float, x: Floats) -> Floats:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    found: Floats = t * t * (3 - 2 * t)
    return found


def _points(p: Vectors) -> shape.Points:
    return tuple(torch.from_numpy(np.ascontiguousarray(c[None], np.float32)) for c in p.T)


def _scalp(p: Vectors, head: Head) -> Floats:
    """Density of hair on the scalp, 0 … 1; no hair on ears."""
    inside = shape.hairline(_points(p), head)[0].double().numpy()
    x, y, z = _points(p)
    above = shape.cranium(x, y, z, head)[0].double().numpy()
    ear = (np.abs(p[:, 0]) > 0.66) & (above > 0.035) & (np.abs(p[:, 1]) < 0.3)
    return np.where(ear, 0.0, ramp(-0.03, 0.07, inside))


def _jaw(p: Vectors, head: Head) -> Floats:
    """Density of a beard, 0 … 1: sideburns, cheeks, lip, chin, throat."""
    x, y, z = p.T
    a = np.abs(x)
    tip_y, mouth_y = float(head.nose_tip_y), float(head.mouth_y)
    cheek = -0.55 + 0.75 * np.maximum(0, a - 0.24) + 2.4 * np.maximum(0, a - 0.52)
    front = ramp(-0.12, 0.02, z) * ramp(-1.12, -0.95, y)
    jaw = ramp(0.10, -0.07, y - cheek) * ramp(0.25, 0.18, y) * front
    above = np.minimum(tip_y - 0.12 - y, y - mouth_y)
    lip_line = ramp(-0.03, 0.03, above) * ramp(0.36, 0.28, a) * (z > 0.3)
    across, up, _ = _points(p)
    lip, inner = shape.lips(across, up, head)
    bare = (lip + inner)[0].double().numpy() * (z > 0.3)
    soul = ramp(0.05, 0.09, a) * ramp(0.17, 0.13, a) * ramp(-0.09, -0.06, y - mouth_y)
    soul = soul * ramp(-0.2, -0.15, y - mouth_y) * (z > 0.3)
    on_ear = (a > 0.66) & (np.abs(y) < 0.3)
    found = np.maximum(jaw, lip_line) * (1 - np.clip(3 * bare, 0, 1)) * (1 - 0.8 * soul)
    return np.where(on_ear, 0.0, found)


def _roots(
    body: _Body, part: Part, centre: Vectors, count: int, rng: np.random.Generator
) -> Vectors:
    """`count` points of the skin, as dense as `part` says."""
    kept: list[Vectors] = []
    found = 0
    while found < count:
        direction = _unit(rng.standard_normal((max(4000, count), 3)))
        t = np.full(len(direction), 1.7)
        for _ in range(24):
            t -= 0.9 * body.distance(centre + direction * t[:, None])
        p = centre + direction * t[:, None]
        p = p[rng.random(len(p)) < part(p)]
        found += len(p)
        kept.append(p)
        assert found, "no skin bears hair"
    return np.concatenate(kept)[:count]


def _combed(
    root: Vectors, normal: Vectors, style: StrandStyle, rng: np.random.Generator
) -> Vectors:
    """The way in which hair lies at its roots: [S, 3] along the skin."""
    away = root - CROWN
    if style.part is None:
        aside, forward = style.comb
        top = ramp(0.35, 0.8, root[:, 1]) * ramp(-0.7, 0.1, root[:, 2])
        wanted = np.array([aside, 0, forward])
        way = _unit(away) * (1 - top)[:, None] + wanted * top[:, None]
    else:
        side = np.tanh((root[:, 0] - style.part) / 0.05 + 0.7 * rng.standard_normal(len(root)))
        back = -0.35 - 0.45 * ramp(0.1, 0.5, root[:, 2])
        behind = ramp(-0.3, -0.8, root[:, 2])
        way = np.stack([side * 1.1, np.zeros(len(root)), back], 1) * (1 - behind)[:, None]
        way = way + _unit(away) * behind[:, None]
    way = way - (way * normal).sum(1, keepdims=True) * normal
    return _unit(way)


def _lengths(root: Vectors, style: StrandStyle, rng: np.random.Generator) -> Floats:
    low, high = style.fade
    t = ramp(low, high, root[:, 1]) if high > low else 1 - ramp(high, low, root[:, 1])
    # A fade grows by steps of the clipper: the same share per height.
    length = np.exp(np.log(style.sides) * (1 - t) + np.log(style.top) * t)
    found: Floats = length * np.clip(1 + style.spread * rng.standard_normal(len(root)), 0.3, 1.5)
    return found


def _grown(
    body: _Body, root: Vectors, way: Vectors, lengths: Floats, style: StrandStyle,
    rng: np.random.Generator,
) -> Vectors:  # fmt: skip
    """Curves [S, K, 3] that leave the skin, bend down and lie on the head and shoulders."""
    count, steps = len(root), style.points - 1
    normal = body.gradient(root)
    lift = style.lift * (1 if style.part is not None else 0.45 + 0.55 * ramp(0.3, 0.9, root[:, 1]))
    lift = np.clip(lift + 0.15 * rng.standard_normal(count), 0.05, 1)[:, None]
    direction = _unit(normal * lift + way * (1 - lift) + 0.06 * rng.standard_normal((count, 3)))
    gap = style.volume * rng.uniform(0.05, 1, count)  # to the skin, where the strand lies on it
    step = lengths / steps
    still = np.zeros(count)
    down = np.stack([still, still - 1, style.forward * ramp(-0.7, -0.2, root[:, 2])], 1)
    curves = np.empty((count, steps + 1, 3))
    curves[:, 0] = p = root
    for k in range(steps):
        bend = np.minimum(1, style.weight * (1 + k / 4) * step / 0.06)[:, None]
        direction = _unit(direction + bend * down)
        p = p + direction * step[:, None]
        # The strand may not be nearer to the body than its gap, which opens from the root on.
        room = gap * np.minimum(1, (k + 1) * step / (1.5 * style.volume + 1e-3))
        depth = room - body.distance(p)
        touching = depth > 0
        if touching.any():
            out = body.gradient(p[touching])
            p[touching] += out * np.minimum(depth[touching], 0.08)[:, None]
            inward = np.minimum(0, (direction[touching] * out).sum(1, keepdims=True))
            direction[touching] = _unit(direction[touching] - inward * out)
        curves[:, k + 1] = p
    return curves


def _across(curves: Vectors) -> tuple[Vectors, Vectors]:
    """Two unit vectors [S, K, 3] across each point's direction."""
    along = _unit(np.gradient(curves, axis=1))
    fixed = np.array([0.37, 0.21, 0.9])
    first = _unit(np.cross(along, fixed))
    return first, np.cross(along, first)


def _smooth_noise(rng: np.random.Generator, count: int, points: int, knots: int) -> Vectors:
    """[S, K, 3]: random walks of unit size that begin at 0 with the root."""
    values = rng.standard_normal((count, knots + 1, 3))
    values[:, 0] = 0
    at = np.linspace(0, knots - 1e-6, points)
    low = at.astype(int)
    share = ramp(0, 1, at - low)[:, None]
    before, after = values[:, low], values[:, low + 1]
    found: Vectors = before + (after - before) * share
    return found


def _shaped(
    curves: Vectors, lengths: Floats, lock: NDArray[np.int64], locks: int,
    stray: NDArray[np.bool_], style: StrandStyle, rng: np.random.Generator,
) -> Vectors:  # fmt: skip
    """Offsets [S, K, 3] of waves and curls, which run with the lock, and of single strands' frizz.

    lock: [S], number of each strand's lock; stray: [S], those that leave the others.
    """
    count, points = curves.shape[:2]
    along = np.linspace(0, 1, points)
    sways = _smooth_noise(rng, locks, points, max(1, points // 9))[lock]
    offsets = sways * (0.022 * np.minimum(1.2, lengths[:, None]) * ramp(0, 0.5, along))[..., None]
    first, second = _across(curves)
    phase = rng.uniform(0, 2 * np.pi, locks)[lock] + 0.4 * rng.standard_normal(count)
    for radius, period, roundness in (
        (style.wave, style.wave_length, 0.3),
        (style.curl, style.curl_length, 1.0),
    ):
        pitch = period * np.exp(0.15 * rng.standard_normal(locks))[lock]
        turn = 2 * np.pi * along * (lengths / pitch)[:, None] + phase[:, None]
        size = radius * ramp(0, 0.25, along) * (1 + 0.25 * rng.standard_normal((count, 1)))
        offsets += first * (size * np.cos(turn))[..., None]
        offsets += second * (roundness * size * np.sin(turn))[..., None]
    rough = style.frizz * (1 + 4 * stray * rng.uniform(0, 1, count))
    walk = _smooth_noise(rng, count, points, max(1, points // 4))
    offsets += walk * (rough[:, None] * ramp(0, 0.5, along))[..., None]
    found: Vectors = offsets
    return found


def grow_strands(
    faces: FaceParams, style: StrandStyle, seed: int, *, beard: bool = False, clothed: bool = True
) -> Strands:
    """Grow hair on one face ([1]); the same seed always grows the same. clothed: whether it lies on
    clothes, or falls as if there were none."""
    rng = np.random.default_rng(seed)
    faces = faces.replace(hair_recede=style.recede, hair_fringe=0.0, hair_length=0.0, hair_curl=0.0)
    bare = _Body(faces, keep_out=False, clothed=clothed)
    mask, centre = (_jaw, JAW_CENTRE) if beard else (_scalp, SCALP_CENTRE)
    root = _roots(bare, lambda p: mask(p, bare.head), centre, style.count, rng)
    normal = bare.gradient(root)
    if beard:
        x = root[:, :1]
        lip = ramp(0.36, 0.25, np.abs(root[:, 0])) * (root[:, 1] > float(bare.head.mouth_y))
        way = np.array([0.0, -1.0, 0.15]) + np.sign(x) * np.array([0.9, 0, 0]) * lip[:, None]
        way = _unit(way - (way * normal).sum(1, keepdims=True) * normal)
    else:
        way = _combed(root, normal, style, rng)
    way = _unit(way + 0.12 * rng.standard_normal(way.shape))
    lengths = _lengths(root, style, rng)
    long = style.top > 0.7 and not beard
    curves = _grown(_Body(faces, long, clothed), root, way, lengths, style, rng)
    in_fringe = np.zeros(style.count, bool)
    if style.fringe > 0:
        x, _, z = root.T
        in_fringe = (np.abs(x) < 0.5) & (z > rng.uniform(-0.3, 0.2, style.count))
        lengths = np.where(in_fringe, lengths * style.fringe / style.top + HAIRLINE_Z - z, lengths)
        front, combed = root[in_fringe], replace(style, part=None, lift=0.3)
        way = _combed(front, normal[in_fringe], combed, rng)
        curves[in_fringe] = _grown(bare, front, way, lengths[in_fringe], combed, rng)

    along = np.linspace(0, 1, style.points)
    leaders = rng.choice(style.count, min(style.clumps, style.count), replace=False)
    lock = cKDTree(root[leaders]).query(root + 0.02 * rng.standard_normal(root.shape))[1]
    stray = rng.random(style.count) < style.flyaway
    pull = style.clumping * rng.uniform(0.5, 1, style.count) * ~stray
    pull = pull[:, None] * along**0.8 * ramp(0, 0.4, along)
    curves += (curves[leaders[lock]] - curves) * pull[..., None]  # locks gather towards their tips
    curves += _shaped(curves, lengths, lock, len(leaders), stray, style, rng)
    if stray.any():
        out = bare.gradient(curves[stray, -1])
        lifted = rng.uniform(0, 0.12, len(out)) * np.minimum(1, lengths[stray])
        curves[stray] += (out * lifted[:, None])[:, None] * (along**1.5)[:, None]

    # Nothing grows into the head.
    flat = curves[:, 1:].reshape(-1, 3)
    depth = 0.004 - bare.distance(flat)
    deep = depth > 0
    flat[deep] += bare.gradient(flat[deep]) * depth[deep, None]
    curves[:, 1:] = flat.reshape(style.count, -1, 3)

    taper = 1 - 0.6 * ramp(0.6, 1, along)
    widths = style.width * np.exp(0.2 * rng.standard_normal(style.count))[:, None] * taper
    tone, rank = rng.standard_normal(style.count), rng.random(style.count)
    locks = rng.standard_normal(len(leaders))[lock]
    kept = np.ones(style.count, bool)
    if long:
        kept = in_fringe | ~_in_face(curves) | (stray & (rng.random(style.count) < 0.1))
    values = (c[kept].astype(np.float32) for c in (curves, widths, tone, locks, rank))
    return Strands(*values)


def _in_face(curves: Vectors) -> NDArray[np.bool_]:
    """Which strands cross the face or the throat."""
    x, y, z = np.moveaxis(curves, -1, 0)
    limit = 0.46 - 0.6 * np.clip(y - 0.35, 0, 0.5)
    crossing: NDArray[np.bool_] = (np.abs(x) < limit) & (y < 0.78) & (z > 0.1) & (y > -1.3)
    return np.asarray(crossing.any(1))
