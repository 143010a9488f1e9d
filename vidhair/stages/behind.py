"""What lies behind a person's hair: the surroundings, neck and clothes, and the skin of the head.

Each is put together once per shot from what the frames show of it, where it lies still: in the
scene, on the body, on the skull. What no frame shows is continued.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter1d, label

from vidhair.imaging.fill import fill
from vidhair.imaging.follow import (
    STILL,
    Bend,
    Follower,
    Move,
    inverse,
    median,
    moved,
    moved_back,
    scaled,
    shifted,
)
from vidhair.imaging.patches import inpaint, spread
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare_skin import TEXELS, Atlas
from vidhair.stages.bare_view import (
    EARS,
    HAIR_EDGE,
    STRAY,
    WALL,
    Mask,
    Picture,
    Plane,
    View,
    coarse_view,
    furthest,
    grown,
    lowest,
    soft,
    tint,
)
from vidhair.stages.hands import Hands, hands_on
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion, own_share
from vidhair.stages.skull import HeadPose, Place, Skull, between_planes, on_picture
from vidhair.types import Frames
from vidhair.wiring import Meter, Series, Value, ranges, stage

LOOKED_AT = 14  # frames of a shot that its layers are put together from
AT_ONCE = 8  # frames that are read
FOLLOWED = 200  # samples along the longer side of pictures in which motion is followed
AROUND = 0.02  # around what hair hides in the frames that are looked at, in crop sides
# Weights, beside what is seen, of where neck and shoulders mostly are, and of the other side.
SHOULDERS, MIRRORED = 0.12, 0.5
# How far both sides have to be alike for clothes to be taken from the other one, and how far they
# stay away from those that are seen, to which they are joined, in crop sides.
ALIKE, SEAM = 0.5, 0.03
# Shares of the right side's light that the left side may have, and of what is seen on both sides
# that has to be one thing, to tell of it.
LIGHT, LEAST_TOLD = (0.5, 2.0), 0.3
CLOTH_ANCHOR = 0.05  # in `inpaint`, as holes in clothes mostly have clothes on few sides
LITTLE, ALIKE_CLOTHES = 0.15, 45  # share of what is hidden; levels by which one cloth may differ
USUALLY_ALIKE = 0.1  # squares of half a face's width by which bodies are, before they are looked at
RAISED = 0.13  # above usual shoulders, up to which hidden ones may be, likewise
# Half widths of a face by which a body's middle may lie beside that of its neck, and what that
# costs beside likeness.
OFF_AXIS, OFF_AXIS_COST = 0.3, 1.0
# Roll of a head, in radians, from which on its body may be inclined, too; what that costs beside
# likeness, by radian.
LEAST_TILT, TILT_COST = 0.17, 1.0
HOLE_EDGE = 3  # samples by which holes in a body that hair leaves are wider than they look
PLAIN = 0.06  # over which a neckline that hair hides has no bends, in crop sides
NECK_SPAN = 1.4  # half widths beside the middle, beyond which bare skin is that of arms
ROUND = 0.06  # radius of the corners of shoulders, in crop sides
SKIN_TINT, SKIN_TONE = 0.045, (0.5, 1.35)  # of a body's skin, beside the face's: off it, and shares
DARKEST_SKIN = 0.3  # share of the face's tone that labels may call skin: others are dark clothes
NECK, NECK_LENGTH = 0.7, 0.7  # half width, and length below the chin, in half widths of a face
# From the chin to its base, in half widths of a face; below that, the ends of the usual neckline,
# which are so far aside, and its lowest point. How far above it collars are looked for, between how
# much of skin and cloth, and across how much.
NECK_BASE, NECKLINE, NECKLINE_WIDE = 0.32, (0.3, 0.7), 1.15 * NECK
HIGHEST_COLLAR, NECKLINE_GAP, NECKLINE_SEEN = 0.6, 0.15, 0.2
NECK_LEANS, NECK_BACK = 0.7, 0.28  # shares of what a head leans, and of what a face looks aside
CHIN_AND_BROW = (152, 10)  # points of the mesh
LEAST_PART = 0.004  # of a crop's square: of a body, that tells anything
# Of bare shoulders, which are no arms below sleeves: of a crop's square, and how far below
# a body's outline, in half widths of a face.
LEAST_BARE, BELOW_SHOULDERS = 0.008, 0.5
LEAST_SKIN = 0.002  # of a crop's square, that tells the color of a neck, or of clothes
STRANDS = (0.025, 0.055)  # share of green more, or of blue less, than a face has, that hair has
IN_SHADE = 0.88  # tone of a neck beside that of its face, before these:
# Shares of its light that a neck lacks at its sides, and next to the jaw, with how far that reaches
# in half widths of a face.
ROUND_NECK, JAW_SHADE = 0.3, (0.22, 0.22)
# Share of an ear that hair hides, from which on skin is drawn there, and its own shape.
HIDDEN_EAR, SHAPED_EAR = 0.2, (0.35, 0.7)
# Of a hidden ear that is partly seen: up to which shares of its length above its lobe's end all,
# and some, is no hair, and the blur of the border beside it, in crop sides.
LOBE_SHARE, LOBE_EDGE = (0.32, 0.5), 0.004
# Share of the views up to which what is seen of a wall may be a hand, and how far its edge goes.
RARE, HAND_EDGE = 0.34, 0.03
UNLIKE_WALL = 30  # levels of difference from which on something else is seen
ACROSS = 0.3  # how far surroundings are filled on behind the person, in crop sides
MEETS = 0.02  # how far behind its border what is on both sides meets
SPREAD_LEVELS = 8
MOVING = 0.7  # deviation, in frames, of the mean over which moves are smoothed


@dataclass(frozen=True)
class Behind(Value):
    """What lies behind hair, by shots S. shot: [T], which one a frame is of.

    wall, body: uint8 [S, h, w, 3] in the hair's window, as in the shot's first frame with the
    person; cover: uint8 [S, h, w], how far there is body; wall_move, body_move: [T, 2, 3], from
    places there to those in each frame, in samples. lean: [T, 2], how much further than the body
    the head has moved, which its neck follows between two rows of the body, neck: [S, 2]. skin:
    float32 [S, n, n, 3], of the head on its atlas, in levels; hair: float32 [S, n, n], how far hair
    covers that. ears: float32 [S, 2], how far the left and the right one are drawn with their
    shape, below zero where they are not at all; worn: uint8 [S, h, w], what is seen of hidden
    ones where the head lies at first [S, 2, 3]; lobes: [S, 2, 2], how far from their usual place
    they lie, in half widths of the face. grain: [S], deviation of the frames' noise, in
    levels.
    """

    ROWS = ("shot", "wall_move", "body_move", "lean")
    shot: NDArray[np.int64]
    wall_move: NDArray[np.float64]
    body_move: NDArray[np.float64]
    lean: NDArray[np.float64]
    neck: NDArray[np.float64]
    wall: Picture
    body: Picture
    cover: Picture
    skin: Plane
    hair: Plane
    ears: Plane
    grain: Plane
    worn: Picture
    lobes: NDArray[np.float64]
    first: NDArray[np.float64]

    def bend(self, row: int) -> Bend:
        """Of the body in a frame."""
        top, bottom = self.neck[int(self.shot[row])]
        return Bend(self.lean[row], float(top), float(bottom))

    def noise(self, row: int, frame: int, part: tuple[slice, slice] | None = None) -> Plane:
        """As that of a frame, for what is drawn in it, [h, w] in levels. part: of the window."""
        size = self.wall[0, :, :, 0][part or ...].shape
        even = np.random.default_rng(frame).standard_normal(size).astype(np.float32)
        found: Plane = even * self.grain[int(self.shot[row])]
        return found

    def wears(self, row: int, at: Place, window: HairWindow, part: tuple[slice, slice]) -> Plane:
        """What is seen of hidden ears of a head, [h, w] in 0 … 1. part: of the window."""
        shot = int(self.shot[row])
        move = between_planes(self.first[shot], on_picture(at, window))
        found: Plane = moved_back(self.worn[shot], move, part).astype(np.float32) / 255
        return found

    def covers(self, row: int, part: tuple[slice, slice] | None = None) -> Plane:
        """How far there is body in a frame, [h, w] in 0 … 1. part: of the window."""
        cover, move = self.cover[int(self.shot[row])], self.body_move[row]
        return moved_back(cover, move, part, bend=self.bend(row)).astype(np.float32) / 255


@dataclass(frozen=True)
class Moves:
    """How a layer has moved in views, one each."""

    moves: Sequence[Move]
    bends: Sequence[Bend | None]

    def undone(self, values: Sequence[NDArray[Any]], sharp: bool = False) -> list[NDArray[Any]]:
        """What views show at the places of the shot's first one."""
        given = zip(values, self.moves, self.bends, strict=True)
        return [moved(value, move, sharp=sharp, bend=bend) for value, move, bend in given]

    def shares(self, masks: Sequence[Mask]) -> list[Plane]:
        """How much of samples there lies in masks of the views."""
        return self.undone([mask.astype(np.float32) for mask in masks])


def put_together(
    views: Sequence[View], masks: Sequence[Mask], moves: Moves
) -> tuple[Picture, Mask]:
    """What masks of views show, at the places of the shot's first view, and where anything is."""
    pictures = moves.undone([view.picture for view in views], sharp=True)
    return median(pictures, [share > 0.99 for share in moves.shares(masks)])


def wanted_of(views: Sequence[View], moves: Moves) -> Mask:
    """Where something beside the head is behind hair in some frame, at those places."""
    hidden = moves.shares([view.near(STRAY) & (view.head < 1) for view in views])
    found: Mask = np.max(hidden, axis=0) > 0.01
    return grown(found, AROUND * views[0].side)


def _levels(values: Plane) -> Picture:
    found: Picture = np.rint(values).clip(0, 255).astype(np.uint8)
    return found


def wall_of(views: Sequence[View], moves: Moves, cover: Picture) -> Picture:
    """The surroundings. cover: of the body, as in `Behind`."""
    seen_colors, seen = put_together(views, [view.wall for view in views], moves)
    if not seen.any():
        return views[0].picture
    wanted, colors = wanted_of(views, moves), seen_colors.astype(np.float32)
    shares = moves.shares([view.wall for view in views])
    seen &= ~passing(views, colors, seen, np.sum([share > 0.99 for share in shares], 0))
    # Where the surroundings are seen, each side goes on as it is; behind the person they meet.
    person = covered(views, moves, cover)
    beside = wanted & ~person & ~seen
    colors = inpaint(colors, beside, seen)
    wanted = grown(wanted, ACROSS * views[0].side)
    made = inpaint(colors, wanted & ~seen & ~beside, seen | beside)
    return _levels(np.where((wanted | seen)[..., None], made, spread(colors, seen)))


def covered(views: Sequence[View], moves: Moves, cover: Picture) -> Mask:
    """What heads always hide, and the body in the first view, well within their borders."""
    heads = np.min(moves.shares([view.head > 0.5 for view in views]), axis=0) > 0.5
    found: Mask = ~grown(~(heads | (cover > 127)), MEETS * views[0].side)
    return found


def passing(views: Sequence[View], colors: Plane, seen: Mask, often: NDArray[np.int64]) -> Mask:
    """What is taken for wall and is rather something that goes by: in few of the views (often:
    [h, w], in how many), unlike the wall that more of them show next to it, and of the face's tint,
    as a hand, or as narrow as what is left of a thing that is mostly told from a wall."""
    rare = seen & (often <= RARE * len(views))
    if not rare.any() or not (seen & ~rare).any():
        return np.zeros_like(seen)
    usual, side = spread(colors, seen & ~rare), views[0].side
    narrow = furthest(colors - usual) > UNLIKE_WALL
    narrow &= rare
    narrow &= ~grown(~grown(~narrow, HAND_EDGE * side), HAND_EDGE * side)
    found = narrow
    faces = [view.picture[view.skin] for view in views]
    if any(map(len, faces)):
        own = tint(np.median(np.concatenate(faces), 0))
        skin = furthest(tint(colors) - own) < SKIN_TINT
        found = found | (rare & skin & (furthest(tint(colors) - tint(usual)) > SKIN_TINT))
    return grown(found, HAND_EDGE * side) & rare


@dataclass(frozen=True)
class Told:
    """What views tell of a body, at the places of the shot's first one, [h, w] each. colors:
    [h, w, 3], where they are seen; wall, skin, clothes: in how many views there are any; wanted:
    where hair hides something; mesh: [478, 2], of the face above."""

    colors: Plane
    seen: Mask
    wall: Plane
    skin: Plane
    clothes: Plane
    wanted: Mask
    mesh: NDArray[np.float64]

    @classmethod
    def by(cls, views: Sequence[View], moves: Moves) -> "Told":
        colors, seen = put_together(views, [view.clear_body for view in views], moves)
        seen = without_crumbs(seen, LEAST_PART * views[0].side ** 2)
        shown = zip(*(kinds(view) for view in views), strict=True)
        wall, skin, clothes = (np.sum(moves.shares(list(masks)), axis=0) for masks in shown)
        wanted, mesh = wanted_of(views, moves), views[0].mesh
        return cls(colors.astype(np.float32), seen, wall, skin, clothes, wanted, mesh)

    def turned(self, angle: float) -> tuple["Told", Move]:
        """On a larger plane that is turned by an angle, with the move from there to here."""
        height, width = self.seen.shape
        size = np.array([width, height])
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        wide, high = np.ceil(np.abs(turn) @ size).astype(int).tolist()
        back = np.column_stack([turn, size / 2 - turn @ [wide / 2, high / 2]])
        part = slice(0, high), slice(0, wide)
        # Beyond the window nothing is seen.
        planes = [self.seen, self.wall, self.skin, self.clothes, self.wanted]
        around = [(1, 1), (1, 1)]
        shifted_back = np.column_stack([back[:, :2], back[:, 2] + 1])
        seen, wall, skin, clothes, wanted = (
            moved(np.pad(plane.astype(np.float32), around), shifted_back, part) for plane in planes
        )
        colors = moved(self.colors, back, part, sharp=True)
        mesh = (self.mesh - back[:, 2]) @ turn
        return Told(colors, seen > 0.99, wall, skin, clothes, wanted > 0.5, mesh), back

    def person(self) -> tuple[Plane, Mask]:
        """How far there rather is a person than a wall, [h, w], and where that is known."""
        counted = self.skin + self.clothes
        return counted / np.maximum(self.wall + counted, 1e-6), self.wall + counted > 0.5


def body_of(views: Sequence[View], moves: Moves) -> tuple[Picture, Picture]:
    """Neck and clothes, and how far they cover what is behind them."""
    told = Told.by(views, moves)
    angle = tilt_of(told)
    if not angle:
        made, cover = drawn_body(views, told)
    else:
        there, back = told.turned(angle)
        size = slice(0, told.seen.shape[0]), slice(0, told.seen.shape[1])
        made, cover = (moved(p, inverse(back), size) for p in drawn_body(views, there))
        made = np.where(told.seen[..., None], told.colors, made)
    return _levels(made), _levels(cover * 255)


def tilt_of(told: Told) -> float:
    """By which angle a body stands inclined, in radians: by that of its head, as where the camera
    is turned, by half of it, or not at all, by how alike its sides then are."""
    across = np.subtract(*told.mesh[list(EARS[::-1])])
    roll = float(np.arctan2(across[1], across[0]))
    if abs(roll) < LEAST_TILT:
        return 0.0

    def likeness(angle: float) -> float:
        there = told.turned(angle)[0] if angle else told
        return symmetry(*there.person(), there.mesh)[1] - TILT_COST * abs(angle)

    return max((0.0, roll / 2, roll), key=likeness)


def drawn_body(views: Sequence[View], told: Told) -> tuple[Plane, Plane]:
    """Neck and clothes [h, w, 3] in levels, and how far they cover [h, w], of an upright body."""
    size, side, mesh = told.seen.shape, views[0].side, told.mesh
    colors, seen, wall, skin, clothes = told.colors, told.seen, told.wall, told.skin, told.clothes
    figure, neck = usual_body(mesh, *size)
    axis, wide = middle_of(mesh)
    beside = np.abs(np.arange(size[1]) + 0.5 - axis) > NECK_SPAN * wide
    counted = skin + clothes
    hand = (counted > 0) & (counted <= RARE * len(views)) & (skin > clothes) & beside
    hand |= grown(hand, HAND_EDGE * side) & (counted <= RARE * len(views))
    seen, counted = seen & ~hand, np.where(hand, 0, counted)
    sure = wall + counted > 0.5
    person = np.where(sure, counted / np.maximum(wall + counted, 1e-6), figure)
    # Shoulders, where they are hidden, are like the other ones, as far as both sides are alike.
    at, there, alike = mirrored(person, sure, mesh)
    possible = grown(figure > 0.5, RAISED * side)  # an arm that is lifted is no shoulder
    there &= possible
    person = np.where(there & ~sure, person[:, at], person)
    weight = np.where(sure, 1, np.where(there, max(SHOULDERS, MIRRORED * alike**2), SHOULDERS))
    inner = between(sure & (person > 0.5), sure & (person <= 0.5))
    inner &= possible
    inner[: max(0, int(mesh[CHIN_AND_BROW[0], 1]))] = False
    person, weight = np.where(inner, 1, person), np.where(inner, 1, weight)
    cover = in_one(_edge(soft(_spread(person, weight), 0.012 * side)), figure > 0.5)
    cover = np.maximum(cover, hidden_holes(cover > 0.5, sure & (person <= 0.5)))
    cover = rounded(cover, (sure & (person > 0.5)) | (neck > 0.5), ROUND * side)
    cover = in_one(cover, figure > 0.5)

    # Where clothes begin is told by the other side, too, but not by arms, which end elsewhere,
    # unless shoulders are bare: then so is what is between, if nothing tells of clothes.
    bare = np.minimum(1, skin / np.maximum(counted, 1e-6))
    is_skin = bare > 0.5
    deep = np.arange(size[0])[:, None] - (cover > 0.5).argmax(0)
    on_top = beside & (deep < BELOW_SHOULDERS * wide)
    shoulders = (seen & is_skin & on_top).sum() > LEAST_BARE * side**2
    if shoulders:
        beside = np.zeros_like(beside)
    garment = without_crumbs(counted * ~is_skin > 0.5, LEAST_PART * side**2)
    known = garment | ((counted > 0.5) & is_skin & ~beside)
    at, there, _ = mirrored(bare, known, mesh)
    _, neck = usual_body(mesh, size[0], size[1], collar_above(mesh, known & is_skin, garment))
    neckline = np.where(there, bare[:, at], figure if shoulders else neck)
    weight = np.where(known, 1, np.where(there, MIRRORED, SHOULDERS))
    flesh = plain(_spread(np.where(known, bare, neckline), weight), known, side)
    flesh = flesh if shoulders else part_with(flesh, neck > 0.5)
    flesh = np.maximum(flesh, hidden_holes(flesh > 0.5, known & ~is_skin))[..., None]
    wanted = told.wanted & (cover > 0)
    dressed = without_crumbs(seen & ~is_skin, LEAST_PART * side**2)  # as strands may be
    if dressed.sum() < LEAST_SKIN * side**2:  # clothes of the skin's color, or none that are seen
        dressed, flesh = seen, flesh if seen.any() else np.ones_like(flesh)
    from_other = there & dressed[:, at] & ~grown(dressed, SEAM * side) & (alike > ALIKE)
    worn = np.where(from_other[..., None], in_own_light(colors, dressed, at), colors)
    hole, source = wanted & ~seen & ~from_other, dressed | (wanted & from_other)
    hole &= flesh[..., 0] < 1
    if source.sum() < LITTLE * hole.sum():  # no pattern to go on, and borders of other things
        cloth = spread(worn, alike_part(worn, source))
    else:
        cloth = inpaint(worn, hole, source, CLOTH_ANCHOR)
    shade = neck_shade(mesh, *size)[..., None]
    skin_color = neck_color(views, colors / shade, seen & is_skin & ~beside) * shade
    drawn = cloth + flesh * (skin_color - cloth)
    made = np.where(seen[..., None], colors, drawn)
    made = np.where((seen | wanted)[..., None], made, spread(made, seen | wanted))
    return made.astype(np.float32), cover


def in_own_light(colors: Plane, known: Mask, at: NDArray[np.int64]) -> Plane:
    """Colors [h, w, 3] of the other side, whose column of each is `at` [w], as bright as what is
    seen on both sides is on this one, which may lie in less light. known: [h, w], what is seen.

    Only what is of one tint and of about one tone on both sides tells of the light: else those are
    different things, as a strap beside a bare shoulder.
    """
    tone, left = colors.mean(-1) + 1, np.arange(len(at)) < at
    share = np.where(left, tone / tone[:, at], tone[:, at] / tone)
    both = known & known[:, at]
    told = both & (furthest(tint(colors) - tint(colors[:, at])) < SKIN_TINT)
    told &= (share >= LIGHT[0]) & (share <= LIGHT[1])
    light = float(np.median(share[told])) if told.sum() > LEAST_TOLD * both.sum() else 1.0
    found: Plane = (colors[:, at] * np.where(left, light, 1 / light)[:, None]).clip(0, 255)
    return found.astype(np.float32)


def alike_part(colors: Plane, mask: Mask) -> Mask:
    """Of a mask [h, w], where colors [h, w, 3] are like most of it; all if nothing is."""
    found: Mask = mask.copy()
    for _ in range(2):
        if found.any():
            near = furthest(colors - np.median(colors[found], 0)) < ALIKE_CLOTHES
            found = mask & near if (mask & near).any() else mask
    return found


def part_with(share: Plane, mask: Mask) -> Plane:
    """Of a share [h, w], the one part that has most of a mask [h, w]; all if none has any."""
    parts, count = label(share > 0)
    most = np.bincount(parts[mask & (parts > 0)], minlength=count + 1)
    found: Plane = np.where(parts == most.argmax(), share, 0) if most.any() else share
    return found


def in_one(cover: Plane, figure: Mask) -> Plane:
    """What covers [h, w] as one piece with most of a figure [h, w], or comes in from below."""
    parts, count = label(cover > 0)
    if count < 2:
        return cover
    kept = np.bincount(parts[figure & (parts > 0)], minlength=count + 1)
    found: Plane = np.where(np.isin(parts, [*parts[-1], int(kept.argmax())]), cover, 0)
    return found


def hidden_holes(cover: Mask, wall: Mask) -> Plane:
    """Holes in what covers [h, w] through which no wall [h, w], or what else lies behind, is seen:
    that covers, too."""
    parts, count = label(binary_fill_holes(cover) & ~cover)
    shown = np.bincount(parts.ravel(), wall.ravel(), count + 1) > 0
    found: Plane = soft(grown((parts > 0) & ~shown[parts], HOLE_EDGE), 1.0)
    return found


def rounded(cover: Plane, known: Mask, radius: float) -> Plane:
    """What covers [h, w], without corners and fingers that are narrower than circles, in samples,
    but where it is known [h, w]: shoulders have none. It goes on beyond the borders."""
    beyond = round(2 * radius) + 1
    shape = np.pad((cover > 0.5) | known, beyond, "edge")
    core = distance_transform_edt(shape) > radius
    away = distance_transform_edt(~core) if core.any() else np.full(shape.shape, np.inf)
    share = (radius + 0.5 - away).clip(0, 1)[beyond:-beyond, beyond:-beyond]
    found: Plane = np.where(known, cover, np.minimum(cover, share)).astype(np.float32)
    return found


def plain(share: Plane, known: Mask, side: float) -> Plane:
    """With a border of two samples where a share [h, w] passes one half, which has no bends where
    it is not known [h, w]. side: of the crop."""
    hidden = soft((share > 0.5).astype(np.float32), PLAIN * side)
    return _edge(soft(np.where(known, share, hidden), 0.012 * side))


def _spread(values: NDArray[Any], weight: NDArray[Any]) -> Plane:
    """Values [h, w] where their weight is high, and evenly on from there."""
    known, trust = (torch.from_numpy(p.astype(np.float32))[None, None] for p in (values, weight))
    found: Plane = fill(known, trust, SPREAD_LEVELS)[0, 0].numpy()
    return found


def kinds(view: View) -> tuple[Mask, Mask, Mask]:
    """Where a view shows wall, skin of the body, and clothes. Bare arms and shoulders, which labels
    take for clothes, are told from them by the color of the face, and so are dark clothes that
    labels take for skin."""
    skin = view.label(Label.SKIN) > view.label(Label.CLOTHES)
    face, neck = view.picture[view.skin], view.picture[view.body & skin]
    if len(face):
        usual = np.median(face, 0)
        tone = view.picture.mean(-1) / max(1.0, float(usual.mean()))
        skin &= tone > DARKEST_SKIN
        away = furthest(tint(view.picture) - tint(usual))
        if len(neck) > LEAST_SKIN * view.side**2:
            usual = np.median(neck, 0)
            if furthest(tint(usual) - tint(np.median(face, 0))) < SKIN_TINT:
                away = np.minimum(away, furthest(tint(view.picture) - tint(usual)))
        skin |= (away < SKIN_TINT) & (tone > SKIN_TONE[0]) & (tone < SKIN_TONE[1])
    skin |= view.hair_on_skin > 0.5
    # Strays, which colors keep away from, do not hide where the body ends.
    wall = view.wall | ((view.person < WALL) & ~view.near_matte)
    return wall, view.body & skin, (view.body | view.clothes_by_hair) & ~skin


def without_crumbs(mask: Mask, least: float) -> Mask:
    """A mask [h, w] without parts of fewer samples than `least`, which may be anything."""
    parts, count = label(mask)
    size = np.bincount(parts.ravel(), minlength=count + 1)
    found: Mask = mask & (size[parts] >= least)
    return found


def between(person: Mask, wall: Mask) -> Mask:
    """What is unknown [h, w], and has the person to both sides in its row, where either is known
    next."""
    known = np.where(person, 1, np.where(wall, -1, 0))

    def before(values: NDArray[np.int64]) -> NDArray[np.int64]:
        last = np.maximum.accumulate(np.where(values != 0, np.arange(values.shape[1]), 0), 1)
        return np.take_along_axis(values, last, 1)

    found: Mask = (known == 0) & (before(known) > 0) & (before(known[:, ::-1])[:, ::-1] > 0)
    return found


def middle_of(mesh: NDArray[np.float64]) -> tuple[float, float]:
    """The column of the base of the neck below a face [478, 2], and half the face's width."""
    left, right = mesh[list(EARS)]
    lean, back = neck_ways(mesh)
    return float((left + right)[0] / 2 + lean + back), float(np.hypot(*(right - left)) / 2)


def neck_ways(mesh: NDArray[np.float64]) -> tuple[float, float]:
    """How far to the right of the middle between its ears a neck's base lies below a face [478, 2]:
    as the head leans, which it does less, and as it lies further back than a face that turns."""
    left, right, chin, brow = mesh[[*EARS, *CHIN_AND_BROW]]
    middle, down = (left + right) / 2, (chin - brow) / np.hypot(*(chin - brow))
    ahead = (chin + brow) / 2 - middle
    ahead -= (ahead @ down) * down
    return float(NECK_LEANS * ((chin - middle) @ down) * down[0]), float(-NECK_BACK * ahead[0])


def mirrored(
    values: NDArray[Any], known: Mask, mesh: NDArray[np.float64]
) -> tuple[NDArray[np.intp], Mask, float]:
    """Which columns [w] lie opposite, below a face [478, 2], as bodies are symmetric; where values
    [h, w] in 0 … 1 are known there; and how far those known on both sides are alike, their
    intersection over their union.

    They are mirrored at the column near the neck at which they are most like themselves.
    """
    wide = middle_of(mesh)[1]
    at, there = opposite(symmetry(values, known, mesh)[0], known)
    there[: int(np.clip(mesh[CHIN_AND_BROW[0], 1], 0, None))] = False
    given, other = (side[known & there] for side in (values, values[:, at]))
    usual = USUALLY_ALIKE * wide**2
    either = float(np.maximum(given, other).sum()) + usual
    return at, there, (float(np.minimum(given, other).sum()) + usual) / either


def opposite(axis: float, known: Mask) -> tuple[NDArray[np.intp], Mask]:
    """Which columns [w] lie opposite of an axis, and where something is known there, [h, w]."""
    columns = np.arange(known.shape[1])
    there = np.rint(2 * axis - 1 - columns).astype(int)
    at = there.clip(0, len(columns) - 1)
    return at, known[:, at] & (there == at)


def symmetry(values: NDArray[Any], known: Mask, mesh: NDArray[np.float64]) -> tuple[float, float]:
    """The column near the neck below a face [478, 2] at which values [h, w] in 0 … 1, where they
    are known, are most like themselves, and how much they are."""
    usual, wide = middle_of(mesh)

    def likeness(axis: float) -> float:
        at, other = opposite(axis, known)
        unlike = np.abs(values - values[:, at])[known & other]
        off = OFF_AXIS_COST * abs(axis - usual) / wide
        return float((0.5 - unlike).sum()) / wide**2 - off

    axes = (usual + wide * np.linspace(-OFF_AXIS, OFF_AXIS, 17)).tolist()
    found = [likeness(axis) for axis in axes]
    best = int(np.argmax(found))
    return axes[best], found[best]


def neck_color(views: Sequence[View], colors: Plane, seen: Mask) -> Plane:
    """Skin of the neck [h, w, 3], from where it is seen, and not strands that lie on it."""
    face = np.concatenate([view.picture[view.skin] for view in views])
    usual = np.median(face, 0) if len(face) else np.full(3, 156.0)
    away = tint(colors) - tint(usual)
    seen = seen & (away[..., 1] < STRANDS[0]) & (away[..., 2] > -STRANDS[1])
    if seen.sum() >= LEAST_SKIN * views[0].side ** 2:
        return spread(colors, seen)
    color = usual * IN_SHADE
    return np.broadcast_to(color, colors.shape).astype(np.float32)


def neck_shade(mesh: NDArray[np.float64], height: int, width: int) -> Plane:
    """How bright a neck below a face [478, 2] is, [h, w]: it is round, and lies in the shade of the
    jaw."""
    axis, wide = middle_of(mesh)
    columns = (np.arange(width) + 0.5 - axis) / (NECK * wide)
    low = mesh[CHIN_AND_BROW[0], 1] + np.array([0.0, NECK_LENGTH]) * wide
    neck = np.interp(np.arange(height) + 0.5, low, (1, 0))[:, None]
    oval = polygon_mask(mesh[list(FACE_OVAL)].astype(np.float32), height, width) > 0.5
    away = distance_transform_edt(~oval) if oval.any() else np.full(oval.shape, np.inf)
    jaw = JAW_SHADE[0] * np.exp(-away / (JAW_SHADE[1] * wide))
    shade: Plane = 1 - ROUND_NECK * neck * np.abs(columns).clip(0, 1) ** 3 - jaw
    return shade.astype(np.float32)


def _edge(share: Plane) -> Plane:
    """A border of two samples where a smooth share [h, w] passes one half."""
    slope = np.hypot(*np.gradient(share)) + 1e-4
    found: Plane = np.clip((share - 0.5) / slope / 2 + 0.5, 0, 1).astype(np.float32)
    return found


def usual_body(
    mesh: NDArray[np.float64], height: int, width: int, above: float = 0.0
) -> tuple[Plane, Plane]:
    """Where neck and shoulders mostly are below a face [478, 2], and which part is the neck, whose
    neckline may lie above the usual one, in half widths of the face."""
    left, right, chin, brow = mesh[[*EARS, *CHIN_AND_BROW]]
    wide, middle = np.hypot(*(right - left)) / 2, (left + right) / 2
    lean, back = neck_ways(mesh)
    base = np.array([middle[0] + lean + back, chin[1] + NECK_BASE * wide])
    jaw = middle + 0.5 * wide * np.array([0.3 * (chin - brow)[0] / np.hypot(*(chin - brow)), 1])
    jaw[0] += back
    half = [(NECK, -0.1), (0.84, 0.1), (1.1, 0.25), (1.6, 0.42), (2.3, 0.66), (2.7, 1.3), (2.7, 9)]
    sides = [base + wide * np.array([[-x, y], [x, y]]) for x, y in half]
    top = [jaw + wide * np.array([x, 0]) for x in (-NECK, NECK)]
    figure = [top[0], *(pair[0] for pair in sides), *(pair[1] for pair in sides[::-1]), top[1]]
    ends, lowest_row = NECKLINE
    half = [(-NECKLINE_WIDE, ends - above), (0, lowest_row - above), (NECKLINE_WIDE, ends - above)]
    neck = [top[0], *(base + wide * np.array(place) for place in half), top[1]]
    planes = [polygon_mask(np.array(p, np.float32), height, width) for p in (figure, neck)]
    return planes[0], planes[1]


def collar_above(mesh: NDArray[np.float64], skin: Mask, cloth: Mask) -> float:
    """How far a neckline lies above the usual one of a face [478, 2], in half widths of it, by
    where cloth is seen [h, w] to begin below skin; 0 where it is not, or lies lower. A collar that
    is seen in the middle goes on to both sides."""
    axis, wide = middle_of(mesh)
    chin = max(0, int(mesh[CHIN_AND_BROW[0], 1]))
    cloth, skin = cloth[chin:], skin[chin:]
    if not len(cloth):
        return 0.0
    first = cloth.argmax(0)
    rows = np.arange(len(cloth))[:, None]
    last = np.where(skin & (rows < first), rows, -len(cloth)).max(0)
    aside = np.abs(np.arange(cloth.shape[1]) + 0.5 - axis) / (NECKLINE_WIDE * wide)
    told = cloth.any(0) & (first - last < NECKLINE_GAP * wide) & (aside < 1)
    if told.sum() < NECKLINE_SEEN * wide:
        return 0.0
    ends, lowest_row = NECKLINE
    usual = wide * (NECK_BASE + lowest_row + (ends - lowest_row) * aside[told])
    return float(np.clip(np.median(usual - first[told]) / wide, 0, HIGHEST_COLLAR))


def neck_rows(mesh: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rows [2] between which a neck bends below a face [478, 2]."""
    left, right, chin = mesh[[*EARS, CHIN_AND_BROW[0]]]
    wide = np.hypot(*(right - left)) / 2
    return np.array([0.5 * (chin[1] + (left + right)[1] / 2), chin[1] + NECK_LENGTH * wide])


def drawn_ears(views: Sequence[View]) -> Plane:
    """Of the left and the right one [2], as in `Behind`: where an own ear is seen, skin goes on
    around it."""
    found = []
    for number in range(2):
        ears = [view.ears[number] for view in views]
        hidden = [
            view.alpha[ear[1] > 0.5].mean()
            for view, ear in zip(views, ears, strict=True)
            if ear is not None and (ear[1] > 0.5).any()
        ]
        share = float(np.mean(hidden)) if hidden else 0.0
        shape = float(np.interp(share, SHAPED_EAR, (0, 1)))
        found.append(shape if share > HIDDEN_EAR else -1.0)
    return np.array(found, np.float32)


def lobes_of(views: Sequence[View]) -> tuple[Picture, NDArray[np.float64]]:
    """What most views show of hidden ears, and how far lobes are off, as in `Behind`."""
    first = on_picture(views[0].at, views[0].grid)
    moves = [between_planes(first, on_picture(view.at, view.grid)) for view in views]
    worn, away = np.zeros_like(views[0].alpha), np.zeros((2, 2))
    for number, side in enumerate((-1, 1)):
        ear, shown = views[0].ears[number], [view.lobes.get(side) for view in views]
        shares = [
            moved(lobe.astype(np.float32), move)
            for lobe, move in zip(shown, moves, strict=True)
            if lobe is not None
        ]
        lobe = np.sum(shares, 0) > len(views) / 2
        if ear is None or not lobe.any():
            continue
        usual = ear[1] > 0.5
        low, long = lowest(lobe, usual), np.ptp(np.nonzero(usual)[0])
        rows = np.arange(len(lobe))[:, None]
        share = np.interp(low[1] - rows, np.array(LOBE_SHARE) * long, (1, 0)).astype(np.float32)
        worn = np.maximum(worn, soft(lobe, LOBE_EDGE * views[0].side) * share)
        way = low - lowest(usual, usual)
        away[number] = way * views[0].grid.step / views[0].at.scale
    return _levels(worn * 255), away


def grain_of(views: Sequence[View], moves: Moves, wall: Picture) -> float:
    """Deviation of the noise that single frames have and their median has not, in levels."""
    found = []
    for view, move in zip(views, moves.moves, strict=True):
        away = view.picture.astype(np.float32).mean(-1) - moved_back(wall, move).mean(-1)
        fine = (away - soft(away, 1.0))[view.wall]
        if len(fine):
            found.append(1.4826 * float(np.median(np.abs(fine))))
    return float(np.median(found)) if found else 0.0


# ---- stages

# As `View` takes them, and what is the person's own, hands left out.
Parts = tuple[Picture, Picture, Picture, NDArray[np.float32], Place]


@stage(version=32, compress=True)
def behind(
    frames: Series[Frames],
    matte: Series[Matte],
    labels: Series[Labels],
    track: Series[FaceTrack],
    head_pose: Series[HeadPose],
    hands: Series[Hands],
    skull: Skull,
    region: HeadRegion,
    hair_window: HairWindow,
    meter: Meter,
) -> Behind:
    """The frames are followed all, and LOOKED_AT of every shot are looked at."""
    count, present = track.count, track.field("present")
    shot = np.cumsum(track.field("cuts")) - 1
    times = max(1, -(-max(hair_window.height, hair_window.width) // FOLLOWED))
    moves = {name: np.tile(STILL, (count, 1, 1)) for name in ("wall", "body")}
    first: dict[int, int] = {}
    followers: dict[str, Follower] = {}

    def parts(start: int, stop: int) -> Iterator[tuple[Parts, Plane]]:
        some = start, stop
        given = frames.rows(*some), matte.rows(*some).alpha, labels.rows(*some).planes
        pose = head_pose.rows(*some)
        faces, held = track.rows(*some), hands.rows(*some).points
        for row, (frame, alpha, planes, mesh) in enumerate(zip(*given, faces.mesh, strict=True)):
            own = own_share(faces, range(row, row + 1), hair_window)[0, 0].numpy()
            hand = hands_on(held[row], hair_window)
            if hand.any():
                own = own * ~grown(hand > 0, HAIR_EDGE * hair_window.side)
            yield (hair_window.cut(frame), alpha, planes, mesh, Place.of(pose, row)), own

    for some in ranges(count, AT_ONCE):
        for frame, (given, own) in zip(range(*some), parts(*some), strict=True):
            if not present[frame]:
                continue
            view = coarse_view(*given, skull, hair_window, region, times, own)
            if shot[frame] not in first:
                first[shot[frame]], start = frame, given[-1]
                followers = {name: Follower(stiff=name == "body") for name in moves}
            for name, follower in followers.items():
                move = follower(view.picture, getattr(view, name))
                if move is not None:
                    move = scaled(move, times)
                else:
                    way = (given[-1].shift - start.shift) / hair_window.step
                    move = shifted(way) if name == "body" else STILL
                moves[name][frame] = move
        meter(0.6 * some[1])
    for of_kind in moves.values():
        for number in np.unique(shot[present]):
            rows = np.flatnonzero(present & (shot == number))
            of_kind[rows] = gaussian_filter1d(of_kind[rows], MOVING, 0, mode="nearest")
    lean, places = np.zeros((count, 2)), head_pose.field("shift") / hair_window.step
    for frame in np.flatnonzero(present).tolist():
        way = places[frame] - places[first[shot[frame]]]
        lean[frame] = way - moves["body"][frame][:, 2]
    shots, size = int(shot.max()) + 1, (hair_window.height, hair_window.width)
    made = Behind(
        shot, moves["wall"], moves["body"], lean, np.tile([0.0, 1.0], (shots, 1)),
        np.zeros((shots, *size, 3), np.uint8), np.zeros((shots, *size, 3), np.uint8),
        np.zeros((shots, *size), np.uint8), np.zeros((shots, TEXELS, TEXELS, 3), np.float32),
        np.zeros((shots, TEXELS, TEXELS), np.float32), np.full((shots, 2), -1, np.float32),
        np.zeros(shots, np.float32), np.zeros((shots, *size), np.uint8), np.zeros((shots, 2, 2)),
        np.tile(STILL, (shots, 1, 1)),
    )  # fmt: skip
    atlas = Atlas(skull)
    for done, (number, start_frame) in enumerate(first.items()):
        rows = np.flatnonzero(present & (shot == number))
        chosen = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(int)]
        assert chosen[0] == start_frame, "layers lie as in the first frame"
        views = [
            View(*given, skull, hair_window, region, own)
            for frame in chosen.tolist()
            for given, own in parts(frame, frame + 1)
        ]
        made.neck[number] = neck_rows(views[0].mesh)
        bends = [made.bend(frame) for frame in chosen.tolist()]
        wall_moves = Moves(moves["wall"][chosen], [None] * len(chosen))
        body_moves = Moves(moves["body"][chosen], bends)
        made.body[number], made.cover[number] = body_of(views, body_moves)
        made.wall[number] = wall_of(views, wall_moves, made.cover[number])
        made.skin[number], made.hair[number] = atlas.skin(views), atlas.hair(views)
        made.ears[number] = drawn_ears(views)
        made.worn[number], made.lobes[number] = lobes_of(views)
        made.first[number] = on_picture(views[0].at, hair_window)
        made.grain[number] = grain_of(views, wall_moves, made.wall[number])
        meter(count * (0.6 + 0.4 * (done + 1) / len(first)))
    return made
