"""The hair of somebody on a photo, cut out: its own colors, how far it covers, and the face's pose.

A photo is looked at as a clip of one frame, by the functions that find a clip's hair.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.errors import NoFaceFound
from vidhair.geometry import Box
from vidhair.imaging.blur import blur, wide_blur
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.matting import split_colors
from vidhair.imaging.morphology import dilate, erode
from vidhair.imaging.motion import sample
from vidhair.models.faces.landmarks import FACE_OVAL
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.models.parsers.hair_segmenter import HairSegmenter
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages import labels, segment
from vidhair.stages.align import FaceTrack, largest_face
from vidhair.stages.matte import SURE_ALPHA, MatteConfig, matte
from vidhair.stages.region import (
    MIDDLE,
    NECK,
    HairWindow,
    HeadRegion,
    face_part,
    plan_region,
    plan_window,
)
from vidhair.stages.skull import poses
from vidhair.types import Frames
from vidhair.wiring import Span, Value

# Lengths are in sides of the face's crop.
LEAST_HAIR = 0.004  # of the picture around the head, that has to be surely hair
LEAST_CERTAINTY = 0.25  # how far a face has to be seen from the front
COLOR_REACH = 0.06  # how far the colors of hair and of what is behind are looked for
PURE = (0.3, 0.8)  # alpha from which on a pixel's own color counts, and where it counts alone
SPREAD_LEVELS = 8
BEYOND = 0.36  # how far hair goes on, at most, that the photo cuts off
ENDS, SIDES = (0.12, 0.34), (0.0, 0.12)  # lengths of the strands' ends below and beside it
STRETCHED = 0.4  # how fast the reflection is run through that it goes on as
SOFT_ENDS = 2.5  # the share of that in which they fade is its inverse
ROUND = 0.55  # radius of a head with its hair
CORE = 0.03  # how far within the border hair is surely nothing else
HUE_REACH = 0.12  # how far around that its hue is that of hair
UNLIKE, LEAST_UNLIKE = 2.0, 7.0  # deviations of hue, and the least in Lab, from which it is not
LOCKS = (0.07, 0.012)  # how wide locks and strands are that end at different places
WAVES = (0.3, 0.06)  # the same of what stands out at the sides
OUTER = 0.6  # how far out hair may be that ears are seen before, as a share of the way there
EARS, EAR_EDGE = 0.2, 0.025  # how far above its middle they begin, and how far hair goes on there
FAINT = 60  # levels of alpha that count as hair further out
RAYS = 9  # places that are looked at along a ray
BEHIND = 0.14  # how far hair reaches under the face and neck that hide it


Pair = tuple[float, float]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class PhotoHair(Value):
    """levels: uint8 [h, w, 3], colors of the hair alone, which go on beyond it; alpha: uint8
    [h, w]; behind: uint8 [h, w], the same of hair that face and neck may hide. picture: uint8
    [h, w, 3], what the photo shows. mesh: [478, 2], in samples of these. rotation, scale, shift:
    as a row of `HeadPose`, in samples; long: of the face, beside the mean one. side: of the face's
    crop, in samples."""

    levels: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    behind: NDArray[np.uint8]
    picture: NDArray[np.uint8]
    mesh: NDArray[np.float32]
    rotation: NDArray[np.float64]
    scale: float
    shift: NDArray[np.float64]
    long: float
    side: float


def cut_out(
    picture: NDArray[np.uint8],
    path: str,
    parser: Parser,
    segmenter: HairSegmenter | None,
    config: MatteConfig,
) -> PhotoHair:
    """Of the largest face in a picture [H, W, 3]. path: of it, in messages.

    Raises NoFaceFound if there is no face, if it is turned too far, or without hair.
    """
    advice = "give a photo of the hair together with its face"
    track = _still(largest_face(picture, path, advice))
    if track.certainty[0] < LEAST_CERTAINTY:
        raise NoFaceFound(
            f"the face in {path} is turned too far away to take its hair; give a photo that shows "
            "it more from the front"
        )
    side = float(track.axes.side[0])
    size = picture.shape[1], picture.shape[0]
    region = plan_region(track.axes, size, parser.face_pixels, parser.stride)
    window = plan_window(region, side, size)
    frames = Frames.of_pixels(picture[None])
    if segmenter is not None:
        prior = segment.segmented(frames, track, region, segmenter, map)
    else:
        prior = _classified(frames, track, region, parser, config)
    found = matte(frames, prior, track, region, window, Span(0, 1), config, map)
    if found.area[0] < LEAST_HAIR:
        raise NoFaceFound(f"no hair is seen in {path}; give a photo that shows the hair to take")
    return of_parts(window.cut(picture), found.alpha[0], track, window, size)


def _still(mesh: NDArray[np.float32]) -> FaceTrack:
    """One face in one frame."""
    low = mesh.min(0)
    seen, nobody = np.ones(1, bool), np.zeros((1, 0, 5), np.float32)
    box = Box(float(low[0]), float(low[1]), float(np.ptp(mesh, 0).max()))
    return FaceTrack(mesh[None], seen, seen, seen, box, nobody)


def _classified(
    frames: Frames, track: FaceTrack, region: HeadRegion, parser: Parser, config: MatteConfig
) -> segment.HairPrior:
    """By the pack's parser, and by the colors of this picture alone."""
    found = labels.labels(frames, track, region, parser)
    place = track, range(1), region.finer(labels.PRIOR_ZOOM)
    parts = face_part(NECK, *place), face_part(MIDDLE, *place)
    lab = labels.region_lab(frames.pixels, region)
    colors = labels.learn_colors([(lab, found.on_grid(region), *parts)])
    return labels.classified(frames, found, track, colors, region, config.color_weight)


def of_parts(
    picture: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    track: FaceTrack,
    window: HairWindow,
    size: tuple[int, int],
) -> PhotoHair:
    """picture, alpha: what a window shows of a photo of a size (width, height), [h, w, ...]."""
    mesh, side = window.places(track.mesh[0]).astype(np.float32), window.side
    margin = min(round(BEYOND * side), min(alpha.shape) - 1)
    pose, long = poses(mesh[None] + margin, np.ones(1, bool), np.ones(1, bool))
    share = torch.from_numpy(alpha)[None, None].float() / 255
    unit = torch.from_numpy(picture.copy()).movedim(-1, 0)[None].float() / 255
    front, _, _ = split_colors(unit.contiguous(), share, max(2, round(COLOR_REACH * side)))
    share = share * hue_of_hair(front, share, side)
    alpha = np.rint(share[0, 0].numpy() * 255).astype(np.uint8)
    low, high = PURE
    trust = ((share - low) / (high - low)).clamp(0, 1)
    own = continued(torch.cat([front, trust], 1)[0].movedim(0, -1).numpy(), margin)
    colors, sure = torch.from_numpy(own).movedim(-1, 0)[None].contiguous().split([3, 1], 1)
    covered = ended(alpha, margin, side)
    filled = fill(colors, sure, SPREAD_LEVELS)[0].movedim(0, -1).numpy()
    return PhotoHair(
        np.rint(filled * 255).clip(0, 255).astype(np.uint8),
        covered,
        hidden_hair(covered, mesh + margin, side),
        np.pad(picture, [(margin, margin)] * 2 + [(0, 0)], "edge"),
        mesh + margin,
        pose.rotation[0],
        float(pose.scale[0]),
        pose.shift[0],
        long,
        side,
    )


def towards(plane: Plane, centre: NDArray[Any], reach: float) -> Plane:
    """The most that a plane [h, w] holds further out from a centre [2], up to a share of the way
    from there; or less far out, if that is negative."""
    rows, columns = (np.arange(n, dtype=np.float32) + 0.5 for n in plane.shape)
    away = np.stack(np.meshgrid(columns - centre[0], rows - centre[1]), -1)
    found = np.zeros_like(plane)
    for share in np.linspace(0, reach, RAYS)[1:]:
        places = away * (1 + share) + np.asarray(centre) - 0.5
        there = sample(plane, places.astype(np.float32))
        within = (places >= 0).all(-1) & (places < plane.shape[::-1]).all(-1)
        found = np.maximum(found, there * within)
    return found.astype(np.float32)


def soft_edge(mask: NDArray[Any], reach: float) -> Plane:
    """A mask [h, w], grown by a reach and with a soft edge."""
    plane = torch.from_numpy(mask.astype(np.float32))[None, None]
    grown = blur(dilate(plane, 2 * max(1, round(reach)) + 1), 0.5 * reach)
    return grown[0, 0].clamp(0, 1).numpy()


def continued(values: NDArray[Any], margin: int) -> NDArray[Any]:
    """Planes [h, w, ...] with a margin around them, as which their stretched reflection goes on."""
    for axis in (0, 1):
        count = values.shape[axis]
        place = np.arange(-margin, count + margin).astype(float)
        place = np.where(place < 0, -STRETCHED * place, place)
        place = np.where(place > count - 1, count - 1 - STRETCHED * (place - count + 1), place)
        values = np.take(values, np.rint(place).astype(int).clip(0, count - 1), axis)
    return values


def ended(alpha: NDArray[np.uint8], margin: int, side: float) -> NDArray[np.uint8]:
    """A matte [h, w] with a margin around it, in which hair that reaches the border goes on: above
    as the round of a head, elsewhere in locks of different lengths. side: of the face's crop, in
    samples."""
    height, width = alpha.shape
    found = np.minimum(continued(alpha, margin), np.pad(alpha, margin, "edge")).astype(np.float32)
    rows, columns = np.arange(height + 2 * margin), np.arange(width + 2 * margin)
    above = _rounded(found[margin] > 127, ROUND * side)[None]
    across = _lengths(len(columns), ENDS, LOCKS, side)
    down = _lengths(len(rows), SIDES, WAVES, side)
    beyond = [
        (np.maximum(margin - rows, 0)[:, None], above),
        (np.maximum(rows - margin - height + 1, 0)[:, None], across[None]),
        (np.maximum(margin - columns, 0)[None], down[:, None]),
        (np.maximum(columns - margin - width + 1, 0)[None], down[:, None]),
    ]
    for way, length in beyond:
        left = np.clip(SOFT_ENDS * (1 - way / np.clip(length, 1, 0.95 * margin)), 0, 1)
        found *= left * left * (3 - 2 * left)
    return np.rint(found).astype(np.uint8)


def hue_of_hair(front: Tensor, alpha: Tensor, side: float) -> Tensor:
    """How far colors [1, 3, h, w] have the hue of what is surely hair around, [1, 1, h, w]: other
    things that touch it on a photo are sometimes taken for hair. alpha: [1, 1, h, w]."""
    core = erode((alpha > SURE_ALPHA).float(), 2 * round(CORE * side) + 1)
    if not core.any():
        return torch.ones_like(alpha)
    hue = rgb_to_lab(front)[:, 1:]
    sums = wide_blur(torch.cat([hue * core, core], 1), HUE_REACH * side)
    weight = sums[:, 2:]
    usual = fill(sums[:, :2] / (weight + 1e-5), (20 * weight).clamp(max=1), SPREAD_LEVELS)
    away = (hue - usual).square().sum(1, keepdim=True)
    usually = float((away * core).sum() / core.sum())
    limit = max(LEAST_UNLIKE, UNLIKE * usually**0.5)
    like = (2 - away.sqrt() / limit).clamp(0, 1)
    return blur(like, 0.004 * side)


def _rounded(cut: NDArray[np.bool_], radius: float) -> NDArray[np.float64]:
    """How high a round of a radius stands over the part of a line that cuts it, [n]."""
    there = np.flatnonzero(cut)
    if not len(there):
        return np.zeros(len(cut))
    middle, half = float(there.mean()), float(there[-1] - there[0]) / 2
    radius = max(radius, half)
    height = np.sqrt(np.maximum(radius**2 - (np.arange(len(cut)) - middle) ** 2, 0))
    found: NDArray[np.float64] = np.maximum(height - np.sqrt(radius**2 - half**2), 0)
    return found


def _lengths(count: int, ends: Pair, widths: Pair, side: float) -> NDArray[np.float64]:
    """How far each of so many strands beside one another goes on, in samples."""
    low, high = ends
    return (low + (high - low) * _locks(count, widths, side)) * side


def _locks(count: int, widths: Pair, side: float) -> NDArray[np.float64]:
    """How far each of so many strands beside one another reaches, [count] in 0 … 1."""
    random, found = np.random.default_rng(7), np.zeros(count)
    for width, weight in zip(widths, (0.6, 0.4), strict=True):
        knots = max(3, round(count / (width * side)) + 1)
        at = np.linspace(0, knots - 1, count)
        found += weight * np.interp(at, np.arange(knots), random.random(knots))
    return found


def hidden_hair(
    alpha: NDArray[np.uint8], mesh: NDArray[np.float32], side: float
) -> NDArray[np.uint8]:
    """A matte [h, w] with what goes on under face and neck, which may hide less of it elsewhere."""
    plane = torch.from_numpy(alpha)[None, None].float()
    grown = dilate(plane, 2 * round(BEHIND * side) + 1)[0, 0].numpy()
    left, right, chin = mesh[234], mesh[454], mesh[152]
    below = np.array([0, 0.9 * side])
    jaw = mesh[[n for n in FACE_OVAL if mesh[n, 1] > (left[1] + right[1]) / 2]]
    neck = np.stack([left, right, right + below, chin + below, left + below])
    there = np.maximum(polygon_mask(jaw, *alpha.shape), polygon_mask(neck, *alpha.shape))
    # And where ears are seen before it.
    oval = polygon_mask(mesh[list(FACE_OVAL)], *alpha.shape)
    level = np.arange(alpha.shape[0])[:, None] > (left[1] + right[1]) / 2 - EARS * side
    within = towards(alpha.astype(np.float32), (left + right) / 2, OUTER)
    ears = soft_edge(level * (1 - oval) * (within > FAINT), EAR_EDGE * side)
    grown, there = np.maximum(grown, 255 * ears), np.maximum(there, ears)
    found: NDArray[np.uint8] = np.rint(np.maximum(alpha, grown * there)).astype(np.uint8)
    return found
