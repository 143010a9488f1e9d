"""The hair of a photo on a person: over the head without its own, from back to front."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from vidhair.geometry import Grid
from vidhair.imaging.blur import blur
from vidhair.imaging.morphology import dilate, erode
from vidhair.imaging.motion import sample
from vidhair.imaging.warp import spread_grid
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import Label, polygon_mask
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.behind import Behind
from vidhair.stages.in_front import InFront, under
from vidhair.stages.labels import Labels
from vidhair.stages.matte import SURE_ALPHA, HairTone, mean_of
from vidhair.stages.photo import PhotoHair, towards
from vidhair.stages.photo_fit import PhotoFit, lit, photo_places
from vidhair.stages.photo_look import PhotoLook, smeared, taken
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.stages.skull import Look as Seen
from vidhair.stages.skull import Place, Skull, look
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Span, Value, stage

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

# Hair throws a shadow on skin: how dark, how soft and how far down, in crop sides.
SHADOW, SHADOW_BLUR, SHADOW_FALL = 0.3, 0.02, 0.018
# How far the skull faces the photo where that tells nothing of it, and where it does; y at which
# hair ends in the neck, and how softly, in half widths of the face.
OUTWARDS = 0.3  # how far out of hair the scalp is covered, as a share of the way from the middle
FACE_SOFT = 0.03  # how softly that ends at the face, in crop sides
TURNED_AWAY = (-0.02, 0.1)
NAPE_HAIR, NAPE_SOFT = 0.25, 0.2
DEEP = 0.72  # light on hair behind the neck
MIXED = 0.004  # width of a border that is neither person nor what is behind, in crop sides
GAP = 0.03  # half the width of gaps between hair and person that hair behind them fills, in sides
TONE_STEP = 4  # samples between those that tell the mean color
NOTHING = 3  # levels of alpha that show no hair


@dataclass(frozen=True)
class Worn(Value):
    """The person with the photo's hair, in the hair's window. levels: uint8 [T, h, w, 3]; changed:
    uint8 [T, h, w], how far a sample is not the frame's; alpha: uint8 [T, h, w], of the new hair,
    that behind the person, too."""

    ROWS = ("levels", "changed", "alpha")
    levels: Picture
    changed: Picture
    alpha: Picture


def unseen_hair(photo: PhotoHair, here: Seen, head: Skull, long: float) -> tuple[Plane, Plane]:
    """What a photo does not show of a head with hair: for a skull as it is seen, where on the photo
    the nearest is that it shows, [h, w, 2], and how far there is hair, [h, w] in 0 … 1.

    long: of the face that is seen, beside the mean one.
    """
    place = np.moveaxis(here.place, 0, -1).astype(np.float64)
    normal = place / head.axes
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-9
    facing = -normal @ photo.rotation[2]
    points = (head.centre + place * head.axes) * [1, photo.long / long, 1]
    low, high = TURNED_AWAY
    away = np.clip((high - facing) / (high - low), 0, 1)
    above = np.clip((NAPE_HAIR - points[..., 1]) / NAPE_SOFT + 0.5, 0, 1)
    seen = (points @ photo.rotation.T)[..., :2] * photo.scale + photo.shift - 0.5
    return seen.astype(np.float32), (away * above).astype(np.float32)


def over(
    bare: Picture,
    changed: Picture,
    scalp: Picture,
    person: Plane,
    body: Plane,
    oval: Plane,
    hair: Plane,
    alpha: Plane,
    behind: Plane,
    unseen: tuple[Plane, Plane],
    centre: NDArray[np.float64],
    side: float,
    grain: Plane,
) -> tuple[Picture, Picture, Plane]:
    """The head without hair, with new hair over it, how far that is not the frame, and how far it
    is hair, in front or behind.

    bare, changed, scalp: as in `Bare`, of one frame. person: how far skin and clothes are seen in
    it, body: how far neck and clothes are, where they are drawn; oval: how far the face is; hair:
    [h, w, 3] in levels; alpha, behind: of it, in front of the person and behind, 0 … 1; unseen:
    colors and alpha of what the photo does not show, on the skull. All [h, w]. centre: [2], of the
    head; side: of the face's crop, in samples; grain: in levels.
    """
    drawn = changed.astype(np.float32) / 255
    skull = scalp.astype(np.float32) / 255
    # Of neighbours that meet, both count where the border between them is soft.
    kept = np.minimum(oval + skull + person * (1 - drawn) + body * drawn, 1)
    # So that nothing is seen between the two.
    back = np.maximum(behind - alpha, 0) / np.maximum(1 - alpha, 1e-3)
    back *= between(alpha, kept, centre, side)
    # Beside it, the border of what is kept is mixed with what was behind it.
    reach = 2 * round(MIXED * side) + 1
    back, within = (
        grow(torch.from_numpy(x)[None, None], reach)[0, 0].numpy()
        for grow, x in ((dilate, back * (1 - kept)), (erode, kept))
    )
    back = back * (1 - within)
    result = bare.astype(np.float32)
    result += back[..., None] * (DEEP * hair + grain[..., None] - result)
    color, unknown = unseen
    outer = towards(alpha, centre, -OUTWARDS)
    face = gaussian_filter(oval, FACE_SOFT * side)
    cover = np.maximum(unknown, outer) * skull * (1 - face)
    color = color + outer[..., None] * (hair - color)
    result += cover[..., None] * (color + grain[..., None] - result)
    kept = kept * (1 - cover)
    both = torch.from_numpy(alpha)[None, None]
    fallen = np.roll(blur(both, SHADOW_BLUR * side)[0, 0].numpy(), round(SHADOW_FALL * side), 0)
    shade = SHADOW * np.clip(fallen, 0, 1) * np.maximum(kept, oval) * (1 - alpha)
    result *= 1 - shade[..., None]
    result += alpha[..., None] * (hair + grain[..., None] - result)
    shown = 1 - (1 - back) * (1 - alpha) * (1 - cover)
    share = 1 - (1 - drawn) * (1 - shown) * (shade < 1 / 255)
    levels = np.where(share[..., None] > 0, np.rint(result).clip(0, 255), bare).astype(np.uint8)
    return levels, np.ceil(share * 255).astype(np.uint8), shown


def between(alpha: Plane, kept: Plane, centre: NDArray[np.float64], side: float) -> Plane:
    """How far what lies behind the person is hair, [h, w] in 0 … 1: where hair is seen further out
    in the same row, and in gaps between hair and person, but not beyond both, where it would widen
    hair by a soft border. alpha, kept: of hair and the person, [h, w]; centre: [2], of the head;
    side: of the face's crop, in samples."""
    column = int(np.clip(round(float(centre[0])), 0, alpha.shape[1]))
    left = np.maximum.accumulate(alpha[:, :column], axis=1)
    right = np.maximum.accumulate(alpha[:, column:][:, ::-1], axis=1)[:, ::-1]
    outside = np.concatenate([left, right], axis=1)
    edge = round(GAP * side) + 1
    both = np.maximum(alpha, kept)
    plane = torch.from_numpy(np.pad(both, edge))[None, None]
    closed = erode(dilate(plane, 2 * edge - 1), 2 * edge - 1)[0, 0, edge:-edge, edge:-edge]
    gaps = (closed.numpy() - both) / np.maximum(1 - both, 1e-3)
    found: Plane = np.maximum(outside, gaps)
    return found


# ---- stages


@stage()
def worn_tone(
    track: FaceTrack, photo_hair: PhotoHair, photo_fit: PhotoFit, hair_window: HairWindow
) -> HairTone:
    """Of the new hair, by every TONE_STEP-th sample along both sides of the window."""
    height, width = (-(-n // TONE_STEP) for n in (hair_window.height, hair_window.width))
    step = hair_window.step * TONE_STEP
    coarse = Grid(hair_window.left, hair_window.top, step, height, width)
    area, mean_lab = np.zeros(len(track.mesh), np.float32), np.zeros((len(track.mesh), 3))
    for row in np.flatnonzero(track.present).tolist():
        at = Place.of(photo_fit, row)
        places = photo_places(
            photo_hair, at, photo_fit.bent[row], photo_fit.long, coarse, photo_fit.usual[row]
        )
        sure = _within(places, *photo_hair.alpha.shape)
        sure &= sample(photo_hair.alpha, places) > SURE_ALPHA * 255
        colors = sample(photo_hair.levels.astype(np.float32), places)
        levels = np.rint(lit(colors, photo_fit.light[row], at, coarse)).astype(np.uint8)
        area[row], mean_lab[row] = mean_of(levels, sure)
    return HairTone(area, mean_lab.astype(np.float32))


@stage(version=8, keep=False)
def worn(
    frames: Frames,
    bare: Bare,
    labels: Labels,
    track: FaceTrack,
    behind: Behind,
    skull: Skull,
    photo_hair: PhotoHair,
    photo_fit: PhotoFit,
    photo_look: PhotoLook,
    in_front: InFront,
    region: HeadRegion,
    hair_window: HairWindow,
    span: Span,
    at_once: AtOnce,
) -> Worn:
    colors = photo_hair.levels.astype(np.float32)
    planes = np.dstack([photo_hair.levels, photo_hair.alpha, photo_hair.behind])
    random = np.random.default_rng(3).standard_normal((hair_window.height, hair_window.width))
    shown = [hair_window.cut(frame) for frame in frames]
    bared = [bare.over(row, picture) for row, picture in enumerate(shown)]
    made = Worn(np.stack(bared), bare.changed.copy(), np.zeros_like(bare.changed))
    if not photo_hair.alpha.any():
        return made

    def put_on(row: int) -> None:
        at = Place.of(photo_fit, row)
        places = photo_places(
            photo_hair, at, photo_fit.bent[row], photo_fit.long, hair_window, photo_fit.usual[row]
        )
        hair, alpha, deep = _hair(planes, places, photo_look.blur, photo_look.smear[row])
        here = look(skull, at, hair_window)
        middle = hair_window.places(at.seen(np.zeros(3)))
        around, cover = unseen_hair(photo_hair, here, skull, photo_fit.long)
        color = lit(sample(colors, around), photo_fit.light[row], at, hair_window)
        hair = lit(hair, photo_fit.light[row], at, hair_window)
        mesh = hair_window.places(track.mesh[row])
        oval = polygon_mask(mesh[list(FACE_OVAL)], *alpha.shape)
        oval = gaussian_filter(oval.astype(np.float32), 1.0)
        frame = span.start + row
        grain = np.roll(random, (17 * frame, 29 * frame), (0, 1)).astype(np.float32)
        levels, changed, seen = over(
            bared[row], bare.changed[row], bare.scalp[row],
            _person(labels, row, region, hair_window), behind.covers(row), oval, hair, alpha, deep,
            (color, cover), middle, hair_window.side, photo_look.grain * grain,
        )  # fmt: skip
        front = in_front.over(row, alpha)
        made.levels[row], made.changed[row], alpha = under(
            levels, changed, seen, shown[row], front, hair_window.side
        )
        made.alpha[row] = np.rint(alpha * 255)

    for _ in at_once(put_on, np.flatnonzero(track.present).tolist()):
        pass
    return made


def _hair(
    planes: NDArray[Any], places: Plane, softer: float, smear: NDArray[np.float32]
) -> tuple[Plane, Plane, Plane]:
    """Colors [h, w, 3] in levels, and both mattes [h, w] in 0 … 1."""
    found = taken(planes, places)
    found[..., 3:] *= _within(places, *planes.shape[:2])[..., None]
    if softer >= 0.3:
        given = torch.from_numpy(found).movedim(-1, 0)[None].contiguous()
        found = blur(given, softer)[0].movedim(0, -1).contiguous().numpy()
    found = smeared(found, smear)
    alpha, behind = np.where(found[..., 3:] > NOTHING, found[..., 3:] / 255, 0).clip(0, 1).T
    return found[..., :3].clip(0, 255), np.ascontiguousarray(alpha.T), behind.T.copy()


def _within(places: Plane, high: int, wide: int) -> NDArray[np.bool_]:
    """Which places [h, w, 2] lie within a photo of that size."""
    found: NDArray[np.bool_] = (places > 0).all(-1)
    return found & (places[..., 0] < wide - 1) & (places[..., 1] < high - 1)


def _person(labels: Labels, row: int, region: HeadRegion, grid: Grid) -> Plane:
    """How far skin or clothes are seen, [h, w]."""
    planes = torch.from_numpy(labels.planes[row][None, [Label.SKIN, Label.CLOTHES]]).float() / 255
    found: Plane = spread_grid(planes, region, grid)[0].clamp(0, 1).sum(0).clamp(0, 1).numpy()
    return found
