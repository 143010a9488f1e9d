"""The person without hair, from the frames' own pixels: what hair hides is drawn, the rest stays.

In every frame the layers behind the hair are laid where they have moved to, from back to front
surroundings, body, head and ears, and lit as what is seen of them around the hair.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label, shift

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur
from vidhair.imaging.fill import fill
from vidhair.imaging.follow import moved_back
from vidhair.imaging.matting import split_colors
from vidhair.imaging.patches import spread
from vidhair.imaging.warp import spread_grid
from vidhair.models.parsers.face_parser import Label
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare_skin import on_head
from vidhair.stages.bare_view import (
    EARS,
    HAIR_EDGE,
    HAIRLINE,
    STRAY,
    Ear,
    Mask,
    Picture,
    Plane,
    View,
    furthest,
    grown,
    part_of,
    soft,
)
from vidhair.stages.behind import Behind
from vidhair.stages.labels import Labels
from vidhair.stages.matte import SURE_ALPHA, Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.skull import HeadPose, Place, Skull
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Span, Value, stage

# Lengths are in sides of the face's crop.
AROUND = 0.12  # around hair and face, in which their light is compared
LIGHT_BLUR = 0.035  # over which that of a layer is
LIGHT_LEVELS = 8  # halvings over which it spreads to where nothing is seen
# Levels of difference from which on a layer and the frame show different things, and where skin
# that is drawn meets the face.
OTHERS, OTHERS_MEETING = 60, 110
SHADOW, SHADOW_BLUR = 0.18, 0.02  # how far the shadow of hair on skin reaches, and its blur
ROOTS = 0.04, 0.02  # how far skin is drawn around hair, and the blur of its border
MEETS, JOIN_BLUR = 0.07, 0.016  # how far from drawn skin the face tells its color; cells of that
UNLIKE_BODY = 25, 60  # levels of difference from which on a sample near hair is not the body's
# Levels off the way from what is behind to hair, and share of it, from which on that is mixed in.
OFF_MIXED, LEAST_MIXED = 20, 0.12
LIKE_HAIR, FACE_EDGE = (
    60,
    0.04,
)  # levels up to which strands are; how far a face may lie off its mesh
TINTED = 0.8  # how far from the face its tint goes on
MOST_DRAWN = 0.7  # share of skin that is drawn, up to which the face's own tells its color
WITHIN_CELL = 0.25  # square of the distance to what is known in the same cell
FEATURES_EDGE = 0.006  # blur of the border of brows and eyes, that are not drawn over
SHADOWS_FROM = 4  # levels by which the skin has to be lighter, for a shadow to be one
# How far from hair it is thin on a face; shares of hair and levels off the way to it, and levels by
# which hair is unlike skin, from which on that is told; blur of its border; share from which on it
# is no shade of a cheek, if not by its tint.
WISPS, LEAST_TINGED, OFF_TINGED, UNLIKE_HAIR, WISPS_EDGE = 0.1, 0.1, 30, 40, 0.01
HAIR_ON_CHEEK = 0.7
# Share of the way to the tint of hair from which on a strand is of it, how unlike the two are, as
# logarithms of a channel beside the next, and levels below which tints are noise.
GOLDEN, OTHER_TINT, TINT_FLOOR = 0.25, 0.25, 8
STRANDS = 0.1  # how far from hair single strands lie on the body
STRAND_REACH = 0.04  # how far colors behind single strands are looked for
EAR_TINTS = np.array([0.85, 1.0, 1.0])  # exponents of its tone by channel: blood shines through


@dataclass(frozen=True)
class Bare(Value):
    """The person without hair, in the hair's window. levels: uint8 [T, h, w, 3], the picture with
    all hair of the head taken away where that changes it, zero elsewhere; changed: uint8 [T, h, w],
    how far a sample is not the frame's; scalp: uint8 [T, h, w], how far it shows skin that is drawn
    on the skull; drawn: uint8 [T, h, w], how far it is drawn, and not what is seen in other light.
    """

    ROWS = ("levels", "changed", "scalp", "drawn")
    levels: Picture
    changed: Picture
    scalp: Picture
    drawn: Picture

    def over(self, row: int, seen: Picture) -> Picture:
        """The whole picture, of what is seen in a frame [h, w, 3]."""
        return np.where(self.changed[row][..., None] > 0, self.levels[row], seen)


@dataclass(frozen=True)
class Layers:
    """Behind the hair of one view: wall, body, skin [h, w, 3] in levels, the cover [h, w] of the
    body, the ears that are drawn with how far each has its shape, and noise [h, w]."""

    wall: Plane
    body: Plane
    cover: Plane
    skin: Plane
    ears: list[tuple[Plane, Plane, float]]
    noise: Plane


def relit(
    layer: NDArray[np.float32],
    picture: NDArray[Any],
    known: Mask,
    side: float,
    sigma: float,
    others: float = OTHERS,
) -> Plane:
    """A layer [h, w, 3] in the light of a picture, by what both show where it is known [h, w].

    sigma: of the blur over which they are compared, in crop sides; side: of that, in samples;
    others: levels of difference, from which on they show different things.
    """
    step = max(1, int(0.25 * sigma * side))
    away = picture - layer
    weight = torch.from_numpy(known & (furthest(away) < others)).float()
    planes = torch.from_numpy(away.astype(np.float32)) * weight[..., None]
    planes = torch.cat([planes, weight[..., None]], -1).movedim(-1, 0)[None].contiguous()
    sums = F.avg_pool2d(planes, step, ceil_mode=True, count_include_pad=False)
    sums = blur(sums, sigma * side / step)
    mean = sums[:, :3] / (sums[:, 3:] + 1e-4)
    light = fill(mean, (6 * sums[:, 3:]).clamp(0, 1), LIGHT_LEVELS)
    coarse, fine = Grid(0, 0, step, *light.shape[2:]), Grid.of_pixels(*known.shape)
    found: Plane = layer + spread_grid(light, coarse, fine)[0].movedim(0, -1).numpy()
    return found


def without_hair(view: View, layers: Layers) -> tuple[Picture, Picture, Picture, Picture]:
    """levels, changed, scalp and drawn of one view, as in `Bare`."""
    side, alpha = view.side, view.alpha
    skin = relit(layers.skin, view.picture, view.skin, side, LIGHT_BLUR)
    back, light = _beside_hair(view, skin)
    body = relit(layers.body, view.picture, view.clear_body, side, LIGHT_BLUR)
    new = relit(layers.wall, view.picture, view.wall, side, LIGHT_BLUR)
    new += layers.cover[..., None] * (body - new)
    margin = np.maximum(_margin(view), _strands(view, new, layers.cover))
    wisps = _wisps(view, skin)
    wisps = _wisps(view, _joined(skin, back, view, np.maximum(margin, wisps), wisps))
    margin = np.maximum(margin, wisps)
    share = np.maximum(alpha, margin)
    skin = _joined(skin, back, view, share, wisps)

    for before in (True, False):  # an ear without a shape of its own only goes on beyond the head
        for tone, cover, shape in layers.ears:
            color = _flesh(skin, view, cover) * tone[..., None] ** EAR_TINTS
            over = cover if before else cover * shape
            new += over[..., None] * (color.astype(np.float32) - new)
        if before:
            new += view.head[..., None] * (skin - new)
    new += layers.noise[..., None]

    result = back + alpha[..., None] * (new - back)
    result += margin[..., None] * (new - result)
    changed = np.maximum(share, light)
    changed = np.where(changed > 1 / 255, changed, 0)
    levels = np.where(changed[..., None] > 0, np.rint(result).clip(0, 255), 0)
    return (
        levels.astype(np.uint8),
        np.ceil(changed * 255).astype(np.uint8),
        np.rint(share * view.head * 255 * (changed > 0)).astype(np.uint8),
        np.rint(share * 255 * (changed > 0)).astype(np.uint8),
    )


def _beside_hair(view: View, skin: Plane) -> tuple[Plane, Plane]:
    """What is seen behind and beside the hair [h, w, 3], without its shadow on the face, and how
    far that was there, [h, w]."""
    side, alpha = view.side, view.alpha
    free = view.face & ~view.features & ~view.near_matte
    picture = view.picture.astype(np.float32)
    shadow = _ramp(alpha > 0.5, 0.3 * SHADOW * side, 0.35 * SHADOW * side)
    shadow = shadow * soft(view.face, 0.5 * HAIR_EDGE * side) * view.face
    shadow *= (1 - soft(view.eyes_and_ears, HAIR_EDGE * side)) * (1 - view.worn)
    lighter = relit(picture, skin, free, side, SHADOW_BLUR) - picture
    lighter *= np.clip(lighter.mean(-1, keepdims=True) / SHADOWS_FROM, 0, 1)
    strands = torch.from_numpy(alpha)[None, None]
    unit = torch.from_numpy(picture / 255).movedim(-1, 0)[None].contiguous()
    _, rest, _ = split_colors(unit, strands, max(2, round(STRAND_REACH * side)))
    back: Plane = rest[0].movedim(0, -1).numpy() * np.float32(255)
    back += shadow[..., None] * lighter
    return back, shadow * (furthest(lighter) > 0.5)


def _wisps(view: View, skin: Plane) -> Plane:
    """How far the face shows thin hair, roots or their shade that the matte lacks, [h, w]: what
    hangs together with hair, and is on the way from skin [h, w, 3] to hair. Below the forehead that
    is some where long hair hangs beside it: else it is a beard, or the shade of a cheek."""
    side, sure = view.side, view.alpha > SURE_ALPHA
    high = view.face & (np.arange(len(sure))[:, None] < view.mesh[list(EARS), 1].mean())
    cheeks = view.beside_long_hair & (~high | view.inner)
    inner = view.features | (view.inner & (view.around_eyes | ~view.beside_long_hair))
    near = grown(sure, WISPS * side) & (high | cheeks) & ~inner
    if not near.any() or not sure.any():
        return np.zeros_like(view.alpha)
    picture = view.picture.astype(np.float32)
    hair = spread(picture, sure)
    way = hair - skin
    share = ((picture - skin) * way).sum(-1) / (np.square(way).sum(-1) + 1)
    tinged = (share > LEAST_TINGED) & (furthest(way) > UNLIKE_HAIR) & near
    tinged &= ~cheeks | (share > HAIR_ON_CHEEK) | _golden(picture, skin, hair)
    tinged &= furthest(picture - skin - share.clip(0, 1)[..., None] * way) < OFF_TINGED
    beside = view.near(0.5 * HAIR_EDGE)
    parts, _ = label(tinged | beside)
    found = tinged & np.isin(parts, np.setdiff1d(parts[sure], 0))
    found = ~grown(~grown(found | beside, WISPS_EDGE * side), WISPS_EDGE * side) & near
    kept = soft(inner, FEATURES_EDGE * side)
    wisps: Plane = soft(grown(found, WISPS_EDGE * side), WISPS_EDGE * side) * view.head * (1 - kept)
    return wisps


def _joined(skin: Plane, back: Plane, view: View, share: Plane, wisps: Plane) -> Plane:
    """Skin [h, w, 3] of the head, as bright and red as the face where the two meet. share: [h, w],
    how far it is drawn; wisps: [h, w], how far the face shows hair there."""
    edge = HAIR_EDGE * view.side
    meets = view.face & ~grown(view.features, edge) & (share < MOST_DRAWN)
    meets &= (view.label(Label.SKIN) > 0.5) & grown(share * view.head > 0.5, MEETS * view.side)
    away = back - skin
    meets &= (furthest(away) < OTHERS_MEETING) & (wisps < 0.5)
    light = carried(away, meets * (1 - share) ** 3, JOIN_BLUR * view.side)
    # Light goes on over all of the skull; tint, which roots may share, fades.
    tint = light - light.mean(-1, keepdims=True)
    far = distance_transform_edt(~meets).astype(np.float32) if meets.any() else np.zeros(1)
    joined: Plane = skin + light - (1 - np.exp(-far / (TINTED * view.side)))[..., None] * tint
    return joined


def carried(values: Plane, weight: Plane, size: float) -> Plane:
    """Values [h, w, 3] from where they have weight [h, w] evenly on to everywhere: their mean by
    weight / distance⁴. size: of cells that are told apart, in samples."""
    step = max(1, round(size))
    planes = np.concatenate([values * weight[..., None], weight[..., None]], -1)
    given = torch.from_numpy(planes.astype(np.float32)).movedim(-1, 0)[None].contiguous()
    cells = F.avg_pool2d(given, step, ceil_mode=True, count_include_pad=False)[0].numpy()
    height, width = cells.shape[1:]
    y, x = np.nonzero(cells[3] > 0)
    if not len(y):
        return np.zeros_like(values)
    across = np.square(np.arange(width, dtype=np.float32)[:, None] - x) + WITHIN_CELL
    known = cells[:, y, x].T
    sums = np.stack([(across + np.square(row - y)) ** -2 @ known for row in range(height)])
    mean = torch.from_numpy(sums[..., :3] / sums[..., 3:]).float().movedim(-1, 0)[None]
    coarse, fine = Grid(0, 0, step, height, width), Grid.of_pixels(*weight.shape)
    found: Plane = spread_grid(mean.contiguous(), coarse, fine)[0].movedim(0, -1).numpy()
    return found


def _margin(view: View) -> Plane:
    """How far a sample is drawn, though the matte does not say that it is hair, [h, w].

    Around the matte a little; on the head, where roots stand; over the wall, where single strands
    do. Brows, eyes and ears are not drawn over.
    """
    side, sure = view.side, view.alpha > 0.5
    found = _ramp(view.alpha > 0.04, 0.5 * HAIR_EDGE * side, 0.5 * HAIR_EDGE * side)
    roots = _ramp(sure, ROOTS[0] * side, ROOTS[1] * side)
    inner = soft(view.inner, FEATURES_EDGE * side)
    roots *= 1 - inner * (1 - _ramp(sure, ROOTS[1] * side, 0.5 * ROOTS[1] * side))
    found = np.maximum(found, view.head * roots)
    strays = _ramp(sure, 0.8 * STRAY * side, 0.15 * STRAY * side)
    strays *= soft(view.strays, 0.5 * HAIR_EDGE * side)
    found = np.maximum(found, strays * (view.person < 0.5) * (1 - view.head))
    own = (view.label(Label.SKIN) > 0.5) & ~view.face
    for ear in view.ears:
        if ear is not None:
            own |= ear[1] > 0.2
    own |= view.own_ears
    kept = np.maximum(soft(view.features, FEATURES_EDGE * side), soft(own & ~sure, 1.0))
    kept = np.maximum(kept, soft(grown(view.jewels, 1), 1.0))  # which may be as thin as a wire
    return found * (1 - kept)


def _strands(view: View, behind: Plane, cover: Plane) -> Plane:
    """How far a sample beside the head shows hair that the matte lacks, [h, w]: near hair, where
    the body covers [h, w], of its color rather than that of what is behind [h, w, 3]; hair in the
    shade; and elsewhere on the person what is mixed of hair and what is behind."""
    side, sure = view.side, view.alpha > SURE_ALPHA
    beside = _ramp(view.alpha > 0.5, STRANDS * side, 0.15 * STRAY * side)
    near: Plane = np.maximum(beside, view.dark_hair) * (1 - view.head)
    if not near.any() or not sure.any():
        return np.zeros_like(near)
    picture = view.picture.astype(np.float32)
    hair = spread(picture, sure)
    from_behind, from_hair = furthest(picture - behind), furthest(picture - hair)
    like_hair = np.clip((from_behind - from_hair) / (from_behind + from_hair + 1), 0, 1)
    low, high = UNLIKE_BODY
    unlike = np.clip((from_behind - low) / (high - low), 0, 1)
    way = hair - behind
    share = ((picture - behind) * way).sum(-1) / (np.square(way).sum(-1) + 1)
    mixed = furthest(picture - behind - share.clip(0, 1)[..., None] * way) < OFF_MIXED
    mixed &= (share > LEAST_MIXED) & (cover < 0.05) & (view.person > 0.5)
    mixed &= (view.label(Label.SKIN) < 0.5) & ~grown(view.face, FACE_EDGE * side)
    strands = (like_hair * unlike > 0.2) & (cover > 0.5) & (from_hair < LIKE_HAIR) | mixed
    strands &= (near > 0.5) & ~view.features
    strands |= (_golden(picture, behind, hair) & (beside > 0.5) & (cover > 0.5)) & ~view.features
    strands |= view.dark_hair & (from_behind > high)
    strands &= ~view.own_ears & ~view.jewels
    found = near * soft(grown(strands, 0.5 * HAIR_EDGE * side), 0.25 * HAIR_EDGE * side)
    found = np.maximum(found, soft(view.hair_on_skin, 0.25 * HAIR_EDGE * side) * (cover > 0.5))
    return found * (1 - soft(view.own_ears & ~(view.alpha > 0.5), 1.0))


def _golden(picture: Plane, behind: Plane, hair: Plane) -> Mask:
    """Where a picture's tint lies from that of what is behind on the way to that of hair, [h, w],
    though a strand that light shines through may be as bright as skin: [h, w, 3] each."""
    own, back, strand = (
        np.diff(np.log(colors.clip(0, 255) + TINT_FLOOR)) for colors in (picture, behind, hair)
    )
    way = strand - back
    length = np.square(way).sum(-1)
    share = ((own - back) * way).sum(-1) / (length + 1e-6)
    found: Mask = (share > GOLDEN) & (length > OTHER_TINT**2)
    return found & (furthest(picture - behind) > UNLIKE_BODY[0])


def _ramp(mask: Mask, reach: float, sigma: float) -> Plane:
    return soft(grown(mask, reach), sigma)


def _flesh(skin: Plane, view: View, cover: Plane) -> NDArray[np.float64]:
    """The color [3] of the head where an ear is."""
    there = grown(cover > 0.3, HAIRLINE * view.side) & (view.head > 0.9)
    found: NDArray[np.float64] = (
        skin[there].mean(0, dtype=np.float64) if there.any() else np.full(3, 128.0)
    )
    return found


def part_with_hair(alpha: Picture, mesh: NDArray[np.float32], side: float) -> tuple[slice, slice]:
    """Rows and columns around hair [h, w] and face [478, 2], in samples."""
    found = []
    for axis, places in ((1, mesh[:, 1]), (0, mesh[:, 0])):
        hair = np.flatnonzero(alpha.any(axis))
        low, high = min(places.min(), hair[0]), max(places.max(), hair[-1] + 1)
        margin, end = AROUND * side, alpha.shape[1 - axis]
        start = int(np.clip(low - margin, 0, end - 1))
        found.append(slice(start, int(np.clip(np.ceil(high + margin), start + 1, end))))
    return found[0], found[1]


# ---- stages


@stage(version=22, chunk=0, compress=True)
def bare(
    frames: Frames,
    matte: Matte,
    labels: Labels,
    track: FaceTrack,
    head_pose: HeadPose,
    behind: Behind,
    skull: Skull,
    region: HeadRegion,
    hair_window: HairWindow,
    span: Span,
    at_once: AtOnce,
) -> Bare:
    made = Bare(
        np.zeros((*matte.alpha.shape, 3), np.uint8),
        *(np.zeros_like(matte.alpha) for _ in range(3)),
    )

    def take_away(item: tuple[int, Picture]) -> None:
        row, frame = item
        alpha = matte.alpha[row]
        mesh = track.mesh[row]
        part = part_with_hair(alpha, hair_window.places(mesh), hair_window.side)
        view = View(
            hair_window.cut(frame)[part].copy(), alpha[part], labels.planes[row], mesh,
            Place.of(head_pose, row), skull, part_of(hair_window, *part), region,
        )  # fmt: skip
        view.keep(behind.wears(row, view.at, hair_window, part))
        layers = _layers(view, behind, row, part, span.start + row)
        planes = made.levels[row], made.changed[row], made.scalp[row], made.drawn[row]
        for plane, found in zip(planes, without_hair(view, layers), strict=True):
            plane[part] = found

    rows = np.flatnonzero(track.present & matte.alpha.any((1, 2)))
    for _ in at_once(take_away, frames.numbered(rows)):
        pass
    return made


def _layers(view: View, behind: Behind, row: int, part: tuple[slice, slice], frame: int) -> Layers:
    shot = int(behind.shot[row])

    move, bend = behind.body_move[row], behind.bend(row)
    wall = moved_back(behind.wall[shot], behind.wall_move[row], part, sharp=True)
    body = moved_back(behind.body[shot], move, part, sharp=True, bend=bend)
    return Layers(
        wall.astype(np.float32),
        body.astype(np.float32),
        behind.covers(row, part),
        on_head(behind.skin[shot], view.look),
        [
            (1 + shape * (ear[0] - 1), ear[1], float(shape))
            for ear, shape in zip(_ears(view, behind.lobes[shot]), behind.ears[shot], strict=True)
            if ear is not None and shape >= 0
        ],
        behind.noise(row, frame, part),
    )


def _ears(view: View, lobes: NDArray[np.float64]) -> list[Ear | None]:
    """The left and the right one, as their own lobes [2, 2] say."""
    ways = lobes * view.at.scale / view.grid.step
    return [
        ear if ear is None or not way.any() else (_shift(ear[0], way, 1), _shift(ear[1], way, 0))
        for ear, way in zip(view.ears, ways, strict=True)
    ]


def _shift(plane: Plane, way: NDArray[np.float64], beyond: float) -> Plane:
    found: Plane = shift(plane, way[::-1], order=1, cval=beyond)
    return found
