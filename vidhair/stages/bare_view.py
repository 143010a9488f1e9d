"""What a frame shows around a head whose hair is to go: where there is wall, body, skin."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label
from scipy.spatial import ConvexHull

from vidhair.geometry import Grid
from vidhair.imaging import morphology
from vidhair.imaging.blur import blur
from vidhair.imaging.morphology import span_of
from vidhair.imaging.patches import spread
from vidhair.imaging.warp import shrink, spread_grid
from vidhair.models.faces.landmarks import BROWS, EYE_LEFT, EYE_RIGHT, FACE_OVAL
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.facial_hair import LIPS
from vidhair.stages.region import HairWindow
from vidhair.stages.skull import Look, Place, Skull, ear_on, hanging_from, look

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]
Ear = tuple[Plane, Plane]

# Lengths are in sides of the face's crop.
HAIR_EDGE = 0.012  # around the matte, what may show hair that it lacks
STRAY = 0.065  # around hair that is sure, where single strands stand out from it
CLEAR = 0.025  # around hair, where some are taken for granted
# How wide they are at most, and levels, and multiples of what is usual, by which they stand out.
STRAND_WIDTH, STRAND_LEVELS, STRAND_NOISE = 0.006, 10, 3
BESIDE = 0.035  # the same on clothes
HAIRLINE = 0.08  # the same on the head, where roots and the hair's shadow lie on the skin
OFF_CLOTHES = 30  # levels by which what are plainly clothes next to hair may be off others
NOT_HAIR = 2 / 255  # alpha up to which a sample shows none
WALL, BODY = 0.15, 0.7  # probability of a person up to which, and from which on, that is seen
# How far from hair it may be that a matte lacks, as it lies in the shade; how bright that is beside
# what is lit; levels by which its color may be off; blur of what tells that.
DARK_REACH, DARK, OFF_HAIR, HAIR_COLOR = 0.1, (0.15, 0.62), 12, 0.03
LIGHT_HAIR = 60  # levels from which on shade can be told from it
# Shares of the way from skin to hair, from which on it shows some and is drawn, and levels that it
# is off that.
SHADE, OFF_SHADE = (0.1, 0.25), 40
BESIDE_FACE, LONG_HAIR = 0.06, 0.6  # next to a face; share of that which long hair covers
WRIST = 0.3  # how far from a hand skin that hangs together with it is that of a wrist
SLIVER = 0.015  # half the width of surroundings that tell nothing, and of a body next to hair
TIPS = 0.12  # how far from hair tips of it are
# Probability of clothes that are seen between strands; of a crop's square, and of what hair hides
# below the chin, clothes that tell of others without those.
LEAST_WORN, LEAST_CLOTHES, LEAST_SHARE = 0.5, 0.004, 0.2
GLASSES, EYES_EDGE = 0.05, 0.03  # around the eyes
MEETING = 0.02  # how round the corner is where skull and face meet
UNLIKE_SKIN = 70  # levels from the usual skin of a face from which on something else is on it
# Of an ear: how much of the matte may cover one that is seen, and how far that is rather its skin
# than hair; and what may hang below it, with less hair than so much.
MOST_HIDDEN, EAR_HAIR, LEAST_STRANDS = 0.5, (0.4, 0.8), 0.3
HANGS = 0.35  # share of what is below an ear from its top, in which what hangs from it begins
UNLIKE_STRANDS = 60  # levels from which on what a matte leaves out below an ear is no strand
INNER_HAIR = 0.5, 0.9  # alpha between which what the middle of a face shows is hair
# How far ears reach beyond usual ones, and off shades of their skin; alpha that they do not have,
# and half the width of threads that are hair; shares of an ear between which it stands on the head,
# how round that is above it, and share of one that tells of it; levels off the wall beside it.
EAR_BEYOND, LIKE_SKIN, MOST_EAR_HAIR, EAR_THREAD = 0.07, 0.3, 0.6, 0.005
EAR_ROWS, EAR_ROOT, LEAST_EAR, UNLIKE_WALL = (0.2, 0.75), 0.06, 0.25, 25
# Alpha of hair, how far from a face's oval a beard may be, share of it that is on the jaw; the
# least that labels call hair, or that alpha says of it, of what is some, though it hangs on none.
SOME_HAIR, JAW_EDGE, MOSTLY_JAW, LEAST_CALLED, SURE_LOW = 0.1, 0.025, 0.6, 0.2, 0.7
# Around the usual place of an ear that is mostly hidden, and below it, where its lobe may be seen;
# half the width of what is a lobe and no gap in hair; the least of one, of the crop's square.
NEAR_EAR, BELOW_EAR, LOBE, LEAST_LOBE = 0.04, 0.07, 0.012, 0.0018
LEAST_LIT = 0.4  # of such a lobe, beside the face
LOW = 0.2  # share of an ear's length, in which its lowest part is
SHADED = np.linspace(0.7, 2.2, 16)  # how saturated a color is in the shade, beside its usual one
TEMPLES, EARS, MOUTH, NOSE = (162, 389), (234, 454), (61, 291), 4  # points of the mesh


def grown(mask: Mask, reach: float) -> Mask:
    """A mask [h, w] with what is within a reach of it, in samples."""
    return morphology.grown(mask, max(1, round(reach)))


def soft(plane: NDArray[Any], sigma: float) -> Plane:
    """A plane [h, w], blurred."""
    given = torch.from_numpy(np.ascontiguousarray(plane, np.float32))[None, None]
    found: Plane = blur(given, sigma)[0, 0].numpy()
    return found


def furthest(away: NDArray[Any]) -> NDArray[Any]:
    """The largest distance in any of three channels, [h, w] of [h, w, 3]."""
    red, green, blue = (np.abs(away[..., channel]) for channel in range(3))
    found: NDArray[Any] = np.maximum(np.maximum(red, green), blue)
    return found


def tint(colors: NDArray[Any]) -> NDArray[np.float64]:
    """Shares [..., 3] of red, green and blue in colors."""
    given = np.asarray(colors, np.float64) + 1
    found: NDArray[np.float64] = given / given.sum(-1, keepdims=True)
    return found


def shades_of(colors: NDArray[Any], usual: NDArray[Any]) -> Plane:
    """How far colors [..., 3] are from shades of the usual one [3], which are more saturated, as
    logarithms of red beside green and of green beside blue."""
    given, own = (np.log(np.asarray(c, np.float32) + 1) for c in (colors, usual))
    given, own = -np.diff(given), -np.diff(own)
    away = given[..., None, :] - SHADED[:, None] * own
    found: Plane = np.sqrt(np.square(away).sum(-1).min(-1)).astype(np.float32)
    return found


def lowest(part: Mask, ear: Mask) -> NDArray[np.float64]:
    """The place (x, y) of the lowest part of an ear [h, w], or of a part of it."""
    rows, columns = np.nonzero(part)
    low = rows > rows.max() - LOW * np.ptp(np.nonzero(ear)[0])
    return np.array([columns[low].mean(), rows.max()])


class View:
    """A part of one frame's window. grid: it; picture: uint8 [h, w, 3]; alpha: [h, w] in 0 … 1;
    mesh: [478, 2] in its samples; at: where the head is; side: of the face's crop, in samples; own:
    [h, w], how far a sample is the person's own, and not a neighbour's or a hand's. jewels: [h, w],
    what hangs from ears; lobes: by their side, what is seen of ears that are mostly hidden,
    [h, w]; worn: [h, w], how far it is kept, see `keep`."""

    def __init__(
        self,
        picture: Picture,
        alpha: Picture,
        labels: Picture,
        mesh: NDArray[np.float32],
        at: Place,
        skull: Skull,
        grid: HairWindow,
        region: Grid,
        own: NDArray[np.float32] | None = None,
    ):
        """picture, alpha: uint8 on the grid; labels: uint8 [5, h′, w′] on the region's; mesh: in
        pixels of the frame."""
        self.picture, self.grid, self.at, self.side = picture, grid, at, grid.side
        self.alpha: Plane = alpha.astype(np.float32) / 255
        self.mesh = grid.places(mesh)
        planes = torch.from_numpy(labels)[None].float() / 255
        self._labels = spread_grid(planes, region, grid)[0].clamp(0, 1).numpy()
        self._skull = skull
        self.own = np.ones((1, 1), np.float32) if own is None else own
        self.jewels = np.zeros(self.alpha.shape, bool)
        self.lobes: dict[int, Mask] = {}
        self.worn = np.zeros(self.alpha.shape, np.float32)
        self._free_low()
        self._free_ears()
        self._free_inner()

    def _free_low(self) -> None:
        """What a matte takes for hair, and hangs together with nothing above the ears' middle, is
        none if it lies on the jaw, as a beard does, or if it is not sure and labels hardly call it
        hair, as a collar and the shade on a neck."""
        shown, low = self.alpha > SOME_HAIR, self._below(self.mesh[list(EARS), 1].mean())
        if not (shown & low).any():
            return
        jaw = grown(self.oval, JAW_EDGE * self.side) & low
        parts, count = label(shown)
        sizes, on_jaw, called, covered = (
            np.bincount(parts.ravel(), np.asarray(weight, np.float64).ravel(), count + 1)
            for weight in (shown, shown & jaw, shown * self.label(Label.HAIR), shown * self.alpha)
        )
        above = parts[: max(0, int(self.mesh[list(EARS), 1].mean()))]
        other = on_jaw > MOSTLY_JAW * np.maximum(sizes, 1)
        other |= (called < LEAST_CALLED * sizes) & (covered < SURE_LOW * sizes)
        other[np.unique(above)] = False
        other[0] = False
        if other.any():
            around = grown(other[parts], JAW_EDGE * self.side) & ~(shown & ~other[parts])
            self.alpha = np.where(around, 0, self.alpha).astype(np.float32)

    def _free_ears(self) -> None:
        """Ears that are seen lose what of the matte covers their skin, and what hangs from them,
        `jewels`."""
        face = self.oval & (self.alpha <= NOT_HAIR) & (self.label(Label.SKIN) > 0.6)
        hair = self.alpha > 0.95
        if not (face.any() and hair.any()):
            return
        usual = np.median(self.picture[face], 0)
        skin, strands = tint(usual), tint(np.median(self.picture[hair], 0))
        low, high = EAR_HAIR
        less = self.alpha * np.clip((self.alpha - low) / (high - low), 0, 1)
        for side, ear in zip((-1, 1), self.ears, strict=True):
            there = np.zeros(self.alpha.shape, bool) if ear is None else ear[1] > 0.5
            if not there.any():
                continue
            below = polygon_mask(self.grid.places(self.at.seen(hanging_from(side))), *there.shape)
            self.jewels |= self._before_hair(below > 0.5)
            if self.alpha[there].mean() > MOST_HIDDEN:
                self.lobes[side] = self._lobe(there, face, usual)
                continue
            rows, columns = span_of(there, 2)
            part = np.s_[rows, columns]
            colors = tint(self.picture[part])
            like_skin = furthest(colors - skin) < furthest(colors - strands)
            self.alpha[part] = np.where(there[part] & like_skin, less[part], self.alpha[part])
            self.alpha = np.where(self._within(there), 0, self.alpha).astype(np.float32)
            if below.any() and self.alpha[below > 0.5].mean() < LEAST_STRANDS:
                self.alpha = np.where(below > 0.5, less, self.alpha)
                self.jewels |= below > 0.5

    def _before_hair(self, below: Mask) -> Mask:
        """What a matte leaves out below an ear [h, w], and is plainly no hair: a ring, a pearl. It
        hangs from the ear and ends there: of what is longer, hair and all would leave a piece."""
        sure, free = below & (self.alpha > 0.95), below & (self.alpha < LEAST_STRANDS)
        if not (sure.any() and free.any()):
            return np.zeros_like(below)
        usual = np.median(self.picture[sure], 0)
        found = free & (furthest(self.picture - usual) > UNLIKE_STRANDS)
        rows = np.flatnonzero(below.any(1))
        high, end = np.quantile(rows, [HANGS, 1])
        parts, _ = label(grown(found, 1))
        whole = np.setdiff1d(parts[: int(high) + 1], parts[int(end) - 1 :])
        kept: Mask = found & np.isin(parts, np.setdiff1d(whole, 0))
        return kept

    def _within(self, ear: Mask) -> Mask:
        """What a matte takes for hair of an ear that is seen [h, w], and hangs on none beside it:
        its shade."""
        shown = self.alpha > NOT_HAIR
        around = grown(ear, EAR_BEYOND * self.side)
        parts, _ = label(shown)
        own = np.setdiff1d(parts[ear & shown], parts[shown & ~around])
        found: Mask = np.isin(parts, own[own > 0])
        return found

    def _free_inner(self) -> None:
        """Between brows and mouth only what is surely hair, and no skin by its labels, is any: else
        a matte saw glasses, or a nose in the shade."""
        low, high = INNER_HAIR
        skin = self.label(Label.SKIN)
        kept = np.clip((self.alpha - low) / (high - low), 0, 1)
        kept *= np.clip((high - skin) / (high - low), 0, 1)
        well = ~grown(~self.inner, HAIR_EDGE * self.side)
        inner = soft(well, 0.5 * HAIR_EDGE * self.side)
        self.alpha = self.alpha * (1 - inner * (1 - kept))

    def _lobe(self, ear: Mask, face: Mask, skin: NDArray[Any]) -> Mask:
        """What is seen next to a face [h, w] of an ear [h, w] that is mostly hidden, with what it
        wears. skin: its color [3]."""
        side, found = self.side, np.zeros_like(ear)
        lower = np.zeros_like(ear)
        lower[round(BELOW_EAR * side) :] = ear[: len(ear) - round(BELOW_EAR * side)]
        near = grown(ear | lower, NEAR_EAR * side)
        part = np.s_[span_of(near, round(NEAR_EAR * side))]
        picture, alpha, near = self.picture[part], self.alpha[part], near[part]
        hair = np.median(picture[alpha > 0.95], 0)
        like = near & (alpha > NOT_HAIR) & (shades_of(picture, skin) < shades_of(picture, hair))
        like &= picture.mean(-1) > LEAST_LIT * skin.mean()
        like = ~grown(~grown(like, 0.5 * LOBE * side), 0.5 * LOBE * side)  # a stud is no gap
        core = ~grown(~like, LOBE * side)
        parts, _ = label(grown(core, LOBE * side) & like)
        beside = np.unique(parts[grown(face, LOBE * side)[part]])
        size = np.bincount(parts.ravel(), alpha.ravel() > 0.5)
        kept = [n for n in beside if n and size[n] > LEAST_LOBE * side**2]
        if kept:
            found[part] = grown(np.isin(parts, kept), LOBE * side) & like
        return found

    def keep(self, worn: Plane) -> None:
        """Take what is seen of hidden ears, [h, w] in 0 … 1, for no hair."""
        self.alpha, self.jewels = self.alpha * (1 - worn), self.jewels | (worn > 0.5)
        self.worn = worn

    def label(self, label: Label) -> Plane:
        found: Plane = self._labels[label]
        return found

    @property
    def person(self) -> Plane:
        found: Plane = self._labels[-1]
        return found

    @cached_property
    def look(self) -> Look:
        return look(self._skull, self.at, self.grid)

    @cached_property
    def ears(self) -> list[Ear | None]:
        """The left and the right one, where they would be seen."""
        return [ear_on(side, self.at, self.grid) for side in (-1, 1)]

    def parts(self, *parts: Sequence[int]) -> Mask:
        found = [polygon_mask(self.mesh[list(part)], *self.alpha.shape) for part in parts]
        mask: Mask = np.maximum.reduce(found) > 0.5
        return mask

    def near(self, reach: float) -> Mask:
        """What may show hair: the matte, and around hair that is sure, in crop sides."""
        return self.near_matte | grown(self.alpha > 0.5, reach * self.side)

    @cached_property
    def strays(self) -> Mask:
        """Where single strands may stand out from hair: next to it, and further away where thin
        things are seen that stand out from the noise."""
        far = self.near(STRAY)
        if not far.any():
            return far
        picture = torch.from_numpy(self.picture).movedim(-1, 0)[None].float()
        size = 2 * max(1, round(STRAND_WIDTH * self.side)) + 1
        dark = morphology.erode(morphology.dilate(picture, size), size) - picture
        light = picture - morphology.dilate(morphology.erode(picture, size), size)
        thin = torch.maximum(dark, light).amax(1)[0].numpy()
        usual = float(np.median(thin[far]))
        strands = thin > max(STRAND_LEVELS, STRAND_NOISE * usual)
        return self.near(CLEAR) | (far & grown(strands, HAIR_EDGE * self.side))

    @cached_property
    def near_matte(self) -> Mask:
        return grown(self.alpha > NOT_HAIR, HAIR_EDGE * self.side)

    @cached_property
    def dark_hair(self) -> Mask:
        """What hangs together with hair and is like it in deep shade, which a matte may lack."""
        sure = self.alpha > 0.5
        near = grown(sure, DARK_REACH * self.side) & ~self.face & (self.person > 0.5)
        if not (sure.any() and near.any()):
            return np.zeros_like(sure)
        picture = self.picture.astype(np.float32)
        hair = self._hair_nearest(picture, sure)
        share = (picture * hair).sum(-1) / np.maximum(np.square(hair).sum(-1), 1)
        low, high = DARK
        dark = (share > low) & (share < high) & near & (hair.mean(-1) > LIGHT_HAIR)
        dark &= furthest(picture - share[..., None] * hair) < OFF_HAIR
        parts, _ = label(dark | sure)
        found: Mask = np.isin(parts, np.setdiff1d(parts[sure], 0)) & dark & ~sure
        return grown(found, HAIR_EDGE * self.side)

    def _hair_nearest(self, picture: Plane, sure: Mask) -> Plane:
        """The usual color [h, w, 3] of hair around that which is nearest."""
        sigma = HAIR_COLOR * self.side
        weight = soft(sure, sigma)
        mean = np.stack([soft(picture[..., k] * sure, sigma) for k in range(3)], -1)
        mean /= np.maximum(weight, 1e-3)[..., None]
        place = distance_transform_edt(~sure, return_distances=False, return_indices=True)
        found: Plane = mean[tuple(place)]
        return found

    @cached_property
    def oval(self) -> Mask:
        return self.parts(FACE_OVAL)

    @cached_property
    def face(self) -> Mask:
        """The oval of the mesh, and the forehead above it."""
        left, right = self.mesh[list(TEMPLES)]
        rows, columns = (np.arange(n, dtype=np.float32) + 0.5 for n in self.alpha.shape)
        (x, y), (across, down) = (left + right) / 2, right - left
        above = (rows - y)[:, None] * across < (columns - x)[None] * down
        found: Mask = self.oval | (above & (self.look.inside > 0))
        return found

    @cached_property
    def features(self) -> Mask:
        """Brows, eyes and mouth."""
        return grown(self.parts(*BROWS, EYE_LEFT, EYE_RIGHT, LIPS), 0.5 * HAIR_EDGE * self.side)

    @cached_property
    def inner(self) -> Mask:
        """What lies from the brows down to the mouth, and glasses there: no roots stand on it, and
        what is dark on it is its own."""
        points = [number for part in (*BROWS, EYE_LEFT, EYE_RIGHT, MOUTH) for number in part]
        around = np.asarray(points)[ConvexHull(self.mesh[points]).vertices]
        below = self._below(self.mesh[list(TEMPLES), 1].mean())
        found: Mask = self.parts(around.tolist()) | self.features | (self.around_eyes & below)
        return found

    @cached_property
    def around_eyes(self) -> Mask:
        """Eyes, and next to them what may be painted or in the shade."""
        return grown(self.parts(EYE_LEFT, EYE_RIGHT), EYES_EDGE * self.side)

    @cached_property
    def beside_long_hair(self) -> Mask:
        """The halves of the face beside which hair hangs from the ears down to the mouth."""
        found, middle = np.zeros_like(self.oval), self.mesh[NOSE, 0]
        ears, mouth = (self._below(self.mesh[list(part), 1].mean()) for part in (EARS, MOUTH))
        beside = grown(self.oval, BESIDE_FACE * self.side) & ~self.oval & ears & ~mouth
        left = np.broadcast_to(np.arange(found.shape[1]) < middle, found.shape)
        for half in (left, ~left):
            there = beside & half
            if there.any() and (self.alpha[there] > 0.5).mean() > LONG_HAIR:
                found |= self.face & half
        return found

    @cached_property
    def own_ears(self) -> Mask:
        """What is seen of ears: what is of the skin's color, rather than of the hair's, where ears
        usually are and next to that, as some stand off further or are larger than most."""
        sure, found = self.alpha > 0.95, np.zeros(self.alpha.shape, bool)
        if not (sure.any() and self.skin.any()):
            return found
        skin, hair = (np.median(self.picture[mask], 0) for mask in (self.skin, sure))
        for ear in self.ears:
            there = np.zeros_like(found) if ear is None else ear[1] > 0.5
            if there.any() and self.alpha[there].mean() < MOST_HIDDEN:
                part = np.s_[span_of(there, round(EAR_BEYOND * self.side))]
                picture = self.picture[part]
                off_skin = shades_of(picture, skin)
                like = (off_skin < LIKE_SKIN) & (off_skin < shades_of(picture, hair))
                like &= picture.mean(-1) > LEAST_LIT * skin.mean()
                like &= ~grown(self.alpha[part] > MOST_EAR_HAIR, 0.5 * EAR_THREAD * self.side)
                thin = EAR_THREAD * self.side
                like &= grown(~grown(~like, thin), 1.5 * thin)
                parts, _ = label(like & grown(there[part], EAR_BEYOND * self.side))
                found[part] |= np.isin(parts, np.setdiff1d(parts[there[part]], 0))
        return found

    @cached_property
    def _up_to_ears(self) -> Mask:
        """Between skull and ears that are seen, above their lobes: heads are as wide as ears stand
        on them, and less and less so above."""
        solid, reach = (self.look.inside > 0) | self.oval, EAR_ROOT * self.side
        found, columns = np.zeros_like(solid), np.arange(solid.shape[1])
        middle = self.mesh[list(EARS), 0].mean()
        for side, ear in zip((-1, 1), self.ears, strict=True):
            there = np.zeros_like(solid) if ear is None else ear[1] > 0.2
            own = self.own_ears & grown(there, EAR_BEYOND * self.side) & (self.person > 0.5)
            if not own.any():
                continue
            part = np.s_[span_of(there, round(2 * EAR_BEYOND * self.side))]
            picture, wall = self.picture[part].astype(np.float32), self.wall[part]
            if wall.any():  # of the skin's color, between strands
                own[part] &= furthest(picture - np.median(picture[wall], 0)) > UNLIKE_WALL
            thin = 2 * EAR_THREAD * self.side
            own &= ~solid
            own &= grown(~grown(~own, thin), thin)
            rows = np.flatnonzero(own.any(1))
            if own.sum() < LEAST_EAR * (there & ~solid).sum() or not len(rows):
                continue
            high, low = rows[0] + np.array(EAR_ROWS) * np.ptp(rows)
            own[: int(high)] = own[int(low) + 1 :] = False
            outwards = side * (columns - middle)
            furthest_out = np.where(own, outwards, 0).max(1)[:, None]
            found |= (outwards < furthest_out) & (outwards > 0)
            above = grown(found, 2 * reach) & ~self._below(low)
            found |= ~grown(~grown(found | solid, reach), reach) & above
        return found & ~self.own_ears

    @cached_property
    def eyes_and_ears(self) -> Mask:
        """With glasses, if there are any."""
        found = grown(self.parts(EYE_LEFT, EYE_RIGHT), GLASSES * self.side)
        for ear in self.ears:
            if ear is not None:
                found |= ear[1] > 0.2
        return found

    @cached_property
    def head(self) -> Plane:
        """How far a sample shows the bare head: skull and face as one."""
        inside = np.clip(0.7 * self.look.inside + 0.5, 0, 1)
        oval = self.oval.astype(np.float32)
        solid = np.maximum(inside, soft(oval, 0.8))
        rounded = (soft(solid, MEETING * self.side) - 0.5) * 2 * MEETING * self.side + 0.5
        # Outlines stay where they are, but where the two meet.
        wide = soft(oval, 2 * MEETING * self.side)
        meets = np.clip(8 * wide * (1 - wide), 0, 1) * (self.look.inside > -0.12 * self.side)
        found: Plane = np.maximum(solid, np.clip(rounded, 0, 1) * meets)
        if self._up_to_ears.any():
            found = np.maximum(found, soft(self._up_to_ears, 0.8))
        return found

    @cached_property
    def wall(self) -> Mask:
        """Surroundings, without slivers between two things, whose borders they show."""
        seen = (self.person < WALL) & ~self.strays
        clear = ~grown(~seen, (HAIR_EDGE + SLIVER) * self.side)
        return grown(clear, SLIVER * self.side)

    @cached_property
    def body(self) -> Mask:
        """Neck and clothes, without what is thin next to hair, as tips are that a matte lacks.
        Where hair leaves hardly any clothes, those between its strands tell of them, too; where it
        hides most, those of which nothing else is seen do."""
        seen = self._low & ~self.near(BESIDE)
        seen &= (self.label(Label.HAIR) < 0.5) & ~self.dark_hair
        clear = ~grown(~seen, SLIVER * self.side)
        found = seen & (grown(clear, (HAIR_EDGE + SLIVER) * self.side) | ~self.near(TIPS))
        worn = self._low & (self.label(Label.CLOTHES) > LEAST_WORN) & (self.alpha <= NOT_HAIR)
        seen = (found & worn).sum()
        hidden = (self.alpha > 0.5) & self._below(self.mesh[:, 1].max())
        if seen < max(LEAST_CLOTHES * self.side**2, LEAST_SHARE * hidden.sum()):
            thin = 0.5 * HAIR_EDGE * self.side
            parts, _ = label(grown(~grown(~worn, thin), thin))
            known = parts[found] if seen > LEAST_CLOTHES * self.side**2 else []
            found |= (parts > 0) & ~np.isin(parts, known)
        return found

    @cached_property
    def clear_body(self) -> Mask:
        """The body where neither strands nor their shade lie on it."""
        return self.body & ~grown(self.hair_on_skin > 0.5, HAIR_EDGE * self.side)

    @cached_property
    def hair_on_skin(self) -> Plane:
        """How far a body's skin shows strands that a matte lacks, or their shade, [h, w]: what
        hangs together with hair, and lies on the way to it from skin that is further away."""
        sure, near = self.alpha > 0.5, self.near(TIPS)
        bare = self._low & (self.label(Label.SKIN) > self.label(Label.CLOTHES)) & ~self.dark_hair
        if not (sure.any() and (bare & ~near).any()):
            return np.zeros_like(self.alpha)
        picture = self.picture.astype(np.float32)
        usual = spread(picture, bare & ~near)
        way = self._hair_nearest(picture, sure) - usual
        share = ((picture - usual) * way).sum(-1) / (np.square(way).sum(-1) + 1)
        found = (share > SHADE[0]) & (furthest(way) > UNLIKE_STRANDS) & bare & near
        found &= furthest(picture - usual - share[..., None] * way) < OFF_SHADE
        parts, _ = label(found | self.near(HAIR_EDGE))
        found &= np.isin(parts, np.setdiff1d(parts[sure], 0))
        shown: Plane = found * np.clip((share - SHADE[0]) / (SHADE[1] - SHADE[0]), 0, 1)
        return shown

    @cached_property
    def _low(self) -> Mask:
        """The person below head and ears."""
        below = ~grown(self.oval | (self.look.inside > 0), HAIR_EDGE * self.side)
        below &= self._below(self.mesh[list(EARS), 1].mean())
        found: Mask = below & (self.person > BODY) & (self.own > 0.5) & ~self._wrists
        return found

    @cached_property
    def _wrists(self) -> Mask:
        """Skin that hangs together with a hand, and is near it."""
        hand = np.broadcast_to(self.own < 0.5, self.alpha.shape)
        if not hand.any():
            return hand
        skin = (self.label(Label.SKIN) > 0.5) & grown(hand, WRIST * self.side) & ~self.face
        parts, _ = label(skin | hand)
        found: Mask = np.isin(parts, np.setdiff1d(parts[hand], 0)) & skin
        return grown(found, HAIR_EDGE * self.side)

    @cached_property
    def clothes_by_hair(self) -> Mask:
        """Clothes that are plainly seen next to hair: joined to the rest of the body, and of the
        color that clothes have nearest, or mostly, rather than of the hair's."""
        sure, worn = self.alpha > 0.5, self.body & (self.label(Label.CLOTHES) > BODY)
        if not (sure.any() and worn.any()):
            return np.zeros_like(sure)
        picture = self.picture.astype(np.float32)
        place = distance_transform_edt(~worn, return_distances=False, return_indices=True)
        away = furthest(picture - picture[tuple(place)])
        away = np.minimum(away, furthest(picture - np.median(picture[worn], 0)))
        like = (away < OFF_CLOTHES) & (away < furthest(picture - self._hair_nearest(picture, sure)))
        like &= self._low & (self.alpha <= NOT_HAIR) & self.near(STRAY)
        like &= grown(~grown(~(like | self.body), HAIR_EDGE * self.side), HAIR_EDGE * self.side)
        parts, _ = label(like | self.body)
        found: Mask = np.isin(parts, np.setdiff1d(parts[self.body], 0)) & like
        return found

    @cached_property
    def skin(self) -> Mask:
        """Of the face above the mouth and of the forehead, away from hair, and from eyes, around
        which skin is paler or darker."""
        seen = self.face & ~self.near(HAIRLINE) & ~self.features & (self.own > 0.5)
        seen &= ~self.around_eyes
        seen &= (self.label(Label.SKIN) > 0.6) & ~self._below(self.mesh[list(MOUTH), 1].mean())
        if seen.any():
            usual = np.median(self.picture[seen], 0)
            seen &= furthest(self.picture - usual) < UNLIKE_SKIN
        return seen

    def _below(self, y: float) -> Mask:
        return np.arange(self.alpha.shape[0], dtype=np.float32)[:, None] + 0.5 > y


def part_of(grid: HairWindow, rows: slice, columns: slice) -> HairWindow:
    """Some rows and columns of a window."""
    left, top = grid.left + columns.start * grid.step, grid.top + rows.start * grid.step
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return HairWindow(left, top, grid.step, height, width, grid.side)


def coarse_view(
    picture: Picture,
    alpha: Picture,
    labels: Picture,
    mesh: NDArray[np.float32],
    at: Place,
    skull: Skull,
    grid: HairWindow,
    region: Grid,
    times: int,
    own: NDArray[np.float32] | None = None,
) -> View:
    """As `View`, with so many times fewer samples."""
    small = shrink(picture, times)
    height, width, _ = small.shape
    coarse = HairWindow(grid.left, grid.top, grid.step * times, height, width, grid.side / times)
    own = None if own is None else own[::times, ::times]
    return View(small, alpha[::times, ::times], labels, mesh, at, skull, coarse, region, own)
