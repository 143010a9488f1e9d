"""What comes in front of a head: hands, microphones, glasses.

Hands and glasses are found as such. Nothing says what else looks like, so that is what is left
over: no hair of the person's own, and unlike the surroundings, the body and the skin that frames of
the shot show at that place. What goes on behind the person is left over as well, but covers nothing
of it.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, label
from torch import Tensor

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur, wide_blur
from vidhair.imaging.color import levels_to_lab, rgb_to_lab
from vidhair.imaging.follow import STILL, Bend, moved, moved_back, scaled
from vidhair.imaging.matting import split_colors
from vidhair.imaging.morphology import dilate, erode, span_of
from vidhair.imaging.warp import shrink, spread_grid
from vidhair.models.parsers.face_parser import Label
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import LIGHT_BLUR, relit
from vidhair.stages.bare_skin import on_head
from vidhair.stages.bare_view import Mask, Plane, View, coarse_view, furthest, grown, tint
from vidhair.stages.behind import SKIN_TINT, Behind
from vidhair.stages.eyewear import Eyes, Eyewear, Glasses, beyond_lenses
from vidhair.stages.hands import Hands, hands_on
from vidhair.stages.labels import Labels
from vidhair.stages.matte import NEIGHBOURS, SURE_ALPHA, Matte, alpha_of, settled
from vidhair.stages.photo_matte import NOISE, likelihood
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.skull import HeadPose, Place, Skull, between_planes, on_picture
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Near, Series, Span, Value, stage

Picture = NDArray[np.uint8]

# Lengths are in sides of the face's crop.
LOOKED_AT = 160  # samples of that side in which such things are looked for
FRAMES = 15  # of a shot, that tell where hair mostly is
SMOOTH, BORDER, COLOR_REACH = 0.6, 0.012, 0.05  # over time; of their matte, as in `MatteConfig`
OFF_WALL, OFF_BODY = 0.02, 0.05  # how far what lies behind may have moved beside its layer
UNDER_HAIR = 0.06  # the same of what hair mostly hides
NOTHING = 1e4  # levels beyond all
UNLIKE, SURELY_UNLIKE = 16.0, 28.0  # levels of difference: may be something else, and is
OWN_HAIR = 0.3  # alpha from which on a sample is hair
HAIR_BESIDE = (0.3, 0.7)  # own alpha, between which less and less is such a thing
ALIKE = 3.0, 6.0  # deviations of colors up to which one is among them; the least, in Lab
NEAR_HAIR = 0.1  # how far around hair its colors count
GOES_ON = 0.2  # how far the colors of such a thing do
SKIN_EDGE = 0.03  # around face and ears, where skin is no wonder
COVERED = 0.035  # within the border of the person, what is covered there is in front
LEAST, COVERING = 0.002, 0.0012  # of the crop's square: such a thing, and what it covers
LEAST_SURE, LEAST_BESIDE = 0.12, 0.2  # shares of one
LEAST_HAND = 0.5  # share of a hand that looks like one
FEATURES = 0.02  # around brows, eyes and mouth
WHOLE = 0.98  # of what is in front, from which on it alone is seen
DECIDED = (0.25, 0.75)  # means over time at which a sample shows none of it, and it alone
CLOSED = 0.015  # gaps in such a thing
WITHIN, LEAST_CORE = (0.03, 0.015), 30  # its border, within which it is itself, by such samples
STRAND, EDGE = 0.004, 0.01  # a strand's width, and that of such a thing's soft edge
RARELY, LEAST_MIXED = 0.15, 0.1  # share of its colors that are rare; of hair that is seen at all
LIKELIER = 2.0, 5.0  # logarithms from which on, and up to which, colors are rather those of hair


@dataclass(frozen=True)
class InFront(Value):
    """alpha: uint8 [T, h, w] in the hair's window, how far a sample shows what is in front. arms:
    bool [T, h, w], where that is arms of glasses, which lie below hair that is drawn there."""

    ROWS = ("alpha", "arms")
    alpha: Picture
    arms: Mask

    def over(self, row: int, hair: Plane) -> Plane:
        """How far what is in front of new hair [h, w] is seen, [h, w] in 0 … 1."""
        alpha = self.alpha[row].astype(np.float32) / 255
        found: Plane = np.where(self.arms[row], alpha * (1 - hair), alpha)
        return found


@dataclass(frozen=True)
class Known:
    """What is behind, as a view shows it. wall, body: [h, w, 3] in levels; cover: [h, w], of the
    body; hair: [h, w], how far the head there is mostly covered by hair; usual: [h, w], how far
    there mostly is hair, on the head and beside it."""

    wall: Plane
    body: Plane
    cover: Plane
    hair: Plane
    usual: Plane


def beyond(picture: NDArray[Any], layer: Plane, known: Mask, reach: float) -> Plane:
    """By how much a picture [h, w, 3] is unlike all that a layer [h, w, 3] shows within a reach
    where it is known [h, w], [h, w] in levels."""
    size = 2 * max(1, round(reach)) + 1
    low, high = (
        f(torch.from_numpy(np.where(known[..., None], layer, no)).movedim(-1, 0), size)
        .movedim(0, -1)
        .numpy()
        for f, no in ((erode, np.float32(NOTHING)), (dilate, np.float32(-NOTHING)))
    )
    found: Plane = np.maximum(picture - high, low - picture).max(-1).clip(0)
    return found


def like_colors(picture: Picture, known: Mask) -> Mask:
    """Where a picture [h, w, 3] has a color of what is known [h, w]."""
    if known.sum() < 10:
        return np.zeros(known.shape, bool)
    lab = levels_to_lab(torch.from_numpy(picture)[None])[0].movedim(0, -1).double().numpy()
    own = lab[known]
    most, least = ALIKE
    away = np.linalg.solve(np.cov(own.T) + least**2 * np.eye(3), (lab - own.mean(0))[..., None])
    found: Mask = ((lab - own.mean(0)) * away[..., 0]).sum(-1) < most**2
    return found


def skin_places(view: View, known: Known) -> Mask:
    """Where skin of the head is no wonder: face, ears, and what hair mostly leaves free."""
    edge = SKIN_EDGE * view.side
    found = (view.look.inside > -edge) & (known.hair < 0.5)
    for ear in view.ears:
        if ear is not None:
            found |= grown(ear[1] > 0.2, edge)
    return grown(view.oval, edge) | (found & (known.usual < 0.5))


def left_over(view: View, known: Known) -> tuple[Mask, Mask, Mask]:
    """Where a view may show something in front, where it surely does, and where it is at least no
    wall and no hair, [h, w] each."""
    side, picture = view.side, view.picture.astype(np.float32)
    wall = relit(known.wall, view.picture, view.wall, side, LIGHT_BLUR)
    body = relit(known.body, view.picture, view.clear_body, side, LIGHT_BLUR)
    # What is mostly under hair is known of frames in which that may have been such a thing.
    free = known.usual < 0.5

    def away(layer: Plane, there: Mask, reach: float) -> Plane:
        near, far = (beyond(picture, layer, there & free, r * side) for r in (reach, UNDER_HAIR))
        found: Plane = np.where(free, near, far)
        return found

    off_wall = away(wall, np.ones_like(free), OFF_WALL)
    unlike = np.minimum(off_wall, away(body, known.cover > 0.5, OFF_BODY))
    wonder, face = np.ones_like(view.oval), view.picture[view.skin]
    if len(face):
        skin = np.abs(tint(view.picture) - tint(np.median(face, 0))).max(-1) < SKIN_TINT
        skin |= view.label(Label.SKIN) > 0.5
        wonder = ~(skin & skin_places(view, known))
    wonder &= ~(view.oval & grown(view.features, FEATURES * side))
    alike = like_colors(view.picture, view.alpha > 0.95) & view.near(NEAR_HAIR)
    wonder &= ~grown(view.hair_on_skin > 0, 1)
    maybe = (unlike > UNLIKE) & (view.alpha < OWN_HAIR)
    surely = (unlike > SURELY_UNLIKE) & ~alike & ~view.near_matte
    something = (off_wall > UNLIKE) & (view.alpha < OWN_HAIR) & ~view.oval
    return maybe & wonder, surely & wonder, something


def hand_shown(view: View, cover: Plane) -> Mask:
    """Of what hands cover [h, w], where no hair is before them; none if that is most of it, as they
    were found where there are none."""
    hand = cover > 0.5
    if not hand.any():
        return hand
    free, face = view.alpha < OWN_HAIR, view.picture[view.skin]
    if len(face):
        free |= furthest(tint(view.picture) - tint(np.median(face, 0))) < SKIN_TINT
    shown: Mask = hand & free & (free[hand].mean() > LEAST_HAND)
    return shown


def in_front_of(view: View, known: Known, hand: Mask) -> Mask:
    """Where something covers the person, [h, w]. hand: where a hand does, whose colors do not go on
    in what looks like skin."""
    side, square = view.side, view.side**2
    maybe, surely, something = left_over(view, known)
    if hand.any():
        maybe &= ~grown(hand, CLOSED * side)
    gap = 2 * max(1, round(CLOSED * side)) + 1
    opened = dilate(erode(torch.from_numpy(maybe.astype(np.float32))[None, None], 3), 3)
    whole: Mask = erode(dilate(opened, gap), gap)[0, 0].numpy() > 0
    person = (view.head > 0.5) | (known.cover > 0.5) | (known.usual > 0.5)
    covered = ~grown(~binary_fill_holes(person), COVERED * side)
    parts, count = label(whole)
    numbers = np.arange(1, count + 1)

    def area(mask: Mask) -> NDArray[np.float64]:
        return np.bincount(parts[mask], minlength=count + 1)[1:].astype(float)

    # What is on a face alone, or on a bare forehead, such as a beard or a hairline, is its own.
    other = ~(view.oval | ((view.look.inside > 0) & (known.usual < 0.5)))
    size, beside = area(whole), area(whole & other)
    chosen = (size > LEAST * square) & (area(whole & covered & other) > COVERING * square)
    chosen &= (area(surely & other) > LEAST_SURE * beside) & (beside > LEAST_BESIDE * size)
    found: Mask = np.isin(parts, numbers[chosen])
    if not found.any():
        return hand
    # Its color goes on where skin and body were no wonder.
    more = something & grown(found, GOES_ON * side) & like_colors(view.picture, found & surely)
    parts, _ = label(found | grown(~grown(~more, 1), 1))  # without threads between hair and wall
    joined: Mask = np.isin(parts, np.unique(parts[found]))
    return joined | hand


def rather_hair(picture: Tensor, wall: Tensor, thing: Plane, hair: Plane, side: float) -> Plane:
    """How far a picture [1, 3, h, w] shows strands [h, w] in 0 … 1 where something in front [h, w]
    seems to be: colors of the hair nearby [h, w], also over a wall [1, 3, h, w], rather than of
    what that thing is inside."""
    whole = torch.from_numpy((thing > 0.9).astype(np.float32))[None, None]
    cores = (erode(whole, 2 * max(1, round(reach * side)) + 1) for reach in WITHIN)
    core = next((one[0, 0].numpy() > 0 for one in cores if one.sum() > LEAST_CORE), None)
    strands = torch.from_numpy((hair > SURE_ALPHA).astype(np.float32))[None, None]
    if core is None or not strands.any():
        return np.zeros_like(thing)
    lab = rgb_to_lab(picture)
    of_hair, colors = likelihood(lab, strands, side), lab[0].movedim(0, -1).numpy()
    low, high = LIKELIER
    for _ in range(2):  # strands may be among what it is inside
        thing_log = of_colors(colors, colors[core])
        log = of_hair - torch.from_numpy(thing_log)
        told = core & ~(log[0, 0].numpy() > low)
        core = told if told.sum() > LEAST_CORE else core
    share = ((blur(log, STRAND * side) - low) / (high - low)).clamp(0, 1)
    like = torch.from_numpy(thing_log > np.quantile(thing_log[core], RARELY))
    away = 1 - dilate(like.float()[None, None], 2 * max(1, round(EDGE * side)) + 1)
    share = torch.maximum(share, away * over_wall(picture, wall, strands, side))
    near = dilate(strands, 2 * round(NEAR_HAIR * side) + 1)
    found: Plane = (share * near)[0, 0].numpy()
    return found


def over_wall(picture: Tensor, wall: Tensor, strands: Tensor, side: float) -> Tensor:
    """Where a picture is a mixture of a wall, [1, 3, h, w] each, and of hair like the strands next
    to it, [1, 1, h, w]."""
    sums = wide_blur(torch.cat([picture * strands, strands], 1), NEAR_HAIR / 2 * side)
    way = sums[:, :3] / (sums[:, 3:] + 1e-4) - wall
    share = ((picture - wall) * way).sum(1, True) / (way.square().sum(1, True) + 1e-4)
    share = share.clamp(0, 1)
    rest = (picture - wall - share * way).abs().amax(1, True) * 255
    return ((rest < UNLIKE) & (share > LEAST_MIXED)).float()


def of_colors(lab: Plane, known: Plane) -> Plane:
    """The logarithm, as `likelihood`, of colors [h, w, 3] among those known [n, 3]. [h, w]."""
    cov = np.cov(known.T) + NOISE**2 * np.eye(3)
    away = lab - known.mean(0)
    square = (away * np.linalg.solve(cov, away[..., None])[..., 0]).sum(-1)
    found: Plane = (-0.5 * square - 0.5 * np.linalg.slogdet(cov)[1]).clip(-100)
    return found.astype(np.float32)


def under(
    levels: Picture, changed: Picture, alpha: Plane, picture: Picture, front: Plane, side: float
) -> tuple[Picture, Picture, Plane]:
    """What is drawn, how far it is not a picture's own and how far it is hair, under what the
    picture [h, w, 3] shows in front of it, [h, w] in 0 … 1. Where that alone is seen nothing is
    changed. side: of the face's crop, in samples."""
    if not front.any():
        return levels, changed, alpha
    margin = 2 * round(COLOR_REACH * side)
    rows, columns = span_of(front > 0, margin)
    part, share = picture[rows, columns].copy(), front[rows, columns].copy()
    unit = torch.from_numpy(part).movedim(-1, 0)[None].contiguous() / 255
    own, _, _ = split_colors(unit, torch.from_numpy(share)[None, None], max(2, margin // 2))
    seen = own[0].movedim(0, -1).numpy() * np.float32(255)
    below = levels[rows, columns].astype(np.float32)
    mixed = np.rint(below + share[..., None] * (seen - below)).clip(0, 255).astype(np.uint8)
    whole, free = share > WHOLE, changed[rows, columns] == 0
    levels, changed = levels.copy(), changed.copy()
    levels[rows, columns] = np.where((whole | free)[..., None], part, mixed)
    changed[rows, columns] = np.where(whole, 0, changed[rows, columns])
    return levels, changed, alpha * (1 - front)


# ---- stages


@dataclass(frozen=True)
class UsualHair(Value):
    """Where a person mostly has hair, by shots S. alpha: uint8 [S, h, w], their median on a coarse
    grid of `times` the window's step, as in a frame in which the head lies at first [S, 2, 3]."""

    alpha: Picture
    first: NDArray[np.float64]
    times: int

    def grid(self, window: HairWindow) -> Grid:
        return Grid(window.left, window.top, window.step * self.times, *self.alpha.shape[1:])

    def seen(self, shot: int, at: Place, window: HairWindow) -> Plane:
        """In 0 … 1, where a head is, [h, w]."""
        move = between_planes(self.first[shot], on_picture(at, self.grid(window)))
        found: Plane = moved_back(self.alpha[shot], move).astype(np.float32) / 255
        return found


@stage()
def usual_hair(
    matte: Series[Matte],
    track: Series[FaceTrack],
    head_pose: Series[HeadPose],
    hair_window: HairWindow,
) -> UsualHair:
    """From FRAMES that are spread over every shot."""
    present, shot = track.field("present"), np.cumsum(track.field("cuts")) - 1
    times, pose = max(1, round(hair_window.side / LOOKED_AT)), head_pose.whole()
    size = tuple(-(-n // times) for n in (hair_window.height, hair_window.width))
    shots = int(shot.max()) + 1
    made = UsualHair(np.zeros((shots, *size), np.uint8), np.tile(STILL, (shots, 1, 1)), times)
    grid = made.grid(hair_window)
    for number in np.unique(shot[present]).tolist():
        rows = np.flatnonzero(present & (shot == number))
        rows = rows[np.linspace(0, len(rows) - 1, min(FRAMES, len(rows))).astype(int)]
        moves = [on_picture(Place.of(pose, row), grid) for row in rows.tolist()]
        made.first[number] = moves[0]
        made.alpha[number] = np.median(
            [
                moved(
                    matte.rows(row, row + 1).alpha[0][::times, ::times],
                    between_planes(moves[0], move),
                )
                for row, move in zip(rows.tolist(), moves, strict=True)
            ],
            axis=0,
        )
    return made


@stage(version=12, compress=True)
def in_front(
    frames: Annotated[Frames, Near(NEIGHBOURS)],
    matte: Annotated[Matte, Near(NEIGHBOURS)],
    labels: Annotated[Labels, Near(NEIGHBOURS)],
    track: Annotated[FaceTrack, Near(NEIGHBOURS)],
    head_pose: Annotated[HeadPose, Near(NEIGHBOURS)],
    behind: Annotated[Behind, Near(NEIGHBOURS)],
    hands: Annotated[Hands, Near(NEIGHBOURS)],
    eyewear: Eyewear,
    glasses: Glasses,
    usual_hair: UsualHair,
    skull: Skull,
    region: HeadRegion,
    hair_window: HairWindow,
    span: Span,
    at_once: AtOnce,
) -> InFront:
    times = usual_hair.times
    small = [
        (shrink(wall, times), shrink(body, times), cover[::times, ::times])
        for wall, body, cover in zip(behind.wall, behind.body, behind.cover, strict=True)
    ]

    def look(picture: Picture, row: int) -> Plane:
        view = coarse_view(
            picture, matte.alpha[row], labels.planes[row], track.mesh[row],
            Place.of(head_pose, row), skull, hair_window, region, times,
        )  # fmt: skip
        shot, bend = int(behind.shot[row]), behind.bend(row)
        bend = Bend(bend.by / times, bend.top / times, bend.bottom / times)
        wall_move, move = (scaled(m[row], 1 / times) for m in (behind.wall_move, behind.body_move))
        wall, body, cover = small[shot]
        known = Known(
            moved_back(wall, wall_move).astype(np.float32),
            moved_back(body, move, bend=bend).astype(np.float32),
            moved_back(cover, move, bend=bend).astype(np.float32) / 255,
            on_head(behind.hair[shot], view.look),
            usual_hair.seen(shot, view.at, hair_window),
        )
        alpha = np.zeros(picture.shape[:2], np.float32)
        hand = hand_shown(view, hands_on(hands.points[row], view.grid))
        found = in_front_of(view, known, hand)
        if not found.any():
            return alpha
        masks = torch.from_numpy(np.stack([found, hand]).astype(np.float32))[None]
        prior, sure = spread_grid(masks, view.grid, hair_window).clamp(0, 1).split(1, 1)
        margin = round(COLOR_REACH * hair_window.side) + 2
        rows, columns = span_of(prior[0, 0].numpy() > 0, margin)
        part = torch.from_numpy(picture[rows, columns].copy()).movedim(-1, 0)[None].float() / 255
        solved = alpha_of(part, prior[..., rows, columns], hair_window.side, BORDER)
        low, high = HAIR_BESIDE
        own = matte.alpha[row][rows, columns].astype(np.float32) / 255
        free = 1 - ((own - low) / (high - low)).clip(0, 1)
        # A matte may have taken fingers for strands.
        thing = solved[0, 0].numpy() * np.maximum(free, sure[0, 0].numpy()[rows, columns])
        bare_wall = torch.from_numpy(known.wall).movedim(-1, 0)[None].contiguous() / 255
        back = spread_grid(bare_wall, view.grid, hair_window)[..., rows, columns]
        strands = rather_hair(part, back, thing, own, hair_window.side)
        alpha[rows, columns] = thing * (1 - strands)
        return alpha

    made = settled(frames, track, hair_window, span, SMOOTH, look, at_once)
    low, high = DECIDED
    levels = [np.rint(((alpha - low) / (high - low)).clip(0, 1) * 255) for _, alpha in made]
    other = np.stack(levels).astype(np.uint8)
    arms = eyewear.alpha > other
    core = span.core(NEIGHBOURS)
    for number, row in enumerate(range(core.start, core.stop)):
        if arms[number].any():
            eyes = Eyes.of(track.mesh[row], Place.of(head_pose, row), hair_window)
            arms[number] &= beyond_lenses(glasses.lens, eyes, arms.shape[1:])
    return InFront(np.maximum(other, eyewear.alpha), arms)
