"""The hair of somebody on a photo, cut out: its own colors, how far it covers, and the face's pose.

A photo is looked at as a clip of one frame, by the functions that find a clip's hair, and by what
is known of a single picture (`photo_matte`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from vidhair.errors import NoFaceFound
from vidhair.geometry import Box, Grid, crop_axes, quarters_of
from vidhair.imaging.blur import blur, wide_blur
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.imaging.fill import fill
from vidhair.imaging.matting import split_colors
from vidhair.imaging.morphology import dilate, erode
from vidhair.imaging.motion import sample
from vidhair.imaging.warp import cut_grid, spread_grid
from vidhair.models.faces.landmarks import FACE_OVAL, PersonSegmenter, eyes_and_mouth
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.models.parsers.hair_segmenter import HairSegmenter
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages import labels, segment
from vidhair.stages.align import FaceTrack, largest_face, turned
from vidhair.stages.eyewear import Eyes, matte, worn_on
from vidhair.stages.matte import MatteConfig, found_matte
from vidhair.stages.photo_matte import (
    believed,
    hanging,
    hidden_crown,
    near,
    of_person,
    parted,
    solid,
    upper_face,
    without_brows,
    without_glasses,
)
from vidhair.stages.region import (
    FINEST_SIDE,
    MIDDLE,
    NECK,
    HairWindow,
    HeadRegion,
    face_part,
    plan_region,
    plan_window,
)
from vidhair.stages.skull import Place, look, mean_skull, poses
from vidhair.types import Frames
from vidhair.wiring import Span, Value

# Lengths are in sides of the face's crop.
LEAST_HAIR = 0.004  # of the picture around the head, that has to be surely hair
HAIRLINE = 10  # point of the mesh
LEAST_CERTAINTY = 0.25  # how far a face has to be seen from the front
OTHER_WAY = 0.7  # by which faces are turned, as of `turned`, that hide what each other show
COLOR_REACH = 0.06  # how far the colors of hair and of what is behind are looked for
PURE = (0.8, 0.98)  # alpha from which on a pixel's own color counts, and where it counts alone
WITHIN, AT_BORDER = (
    0.008,
    0.03,
)  # how far within the border, and how much it counts outside of that
SPREAD_LEVELS = 8
SEEN = 0.6  # how far a color is trusted, to be taken
CORES, LEAST_CORE = (0.06, 0.03, 0.015), 0.15  # how far within its border hair's hue is told, if
HUE_REACH = 0.1  # that is so much of it; how far around it is
MOST_OF_CORE = 0.98  # of the hair within is less light and less saturated than hair gets
MOST_HUE, LEAST_HUE = 0.6, 0.03  # deviations, and the least of its share, up to which it is another
STRANDS, REFLECTED = 0.03, 0.3  # how wide those are that go on, and how far
BEYOND = 0.36  # how far hair goes on, at most, that the photo cuts off
ENDS, SIDES = (0.12, 0.34), (0.0, 0.12)  # lengths of the strands' ends below and beside it
TAPERED = (0.08, 0.3)  # how far along the border they begin, below and beside it
STRETCHED = 0.4  # how fast the reflection is run through that it goes on as
SOFT_ENDS = 2.5  # the share of that in which they fade is its inverse
ROUND, STEEP = 0.5, 0.65  # radius of a head with its hair; exponent of how its round begins
LOCKS = (0.07, 0.012)  # how wide locks and strands are that end at different places
WAVES = (0.3, 0.06)  # the same of what stands out at the sides
OUTER = 0.6  # how far out hair may be that ears are seen before, as a share of the way there
EARS, EAR_EDGE = 0.2, 0.025  # how far above its middle they begin, and how far hair goes on there
BESIDE_FACE = 0.47  # how far from its middle they are, in its widths
FAINT = 60  # levels of alpha that count as hair further out
RAYS = 9  # places that are looked at along a ray
VEIL = 0.1  # alpha up to which a photo's border is no strands, and as much short of one
NOBODY = 64  # samples of a picture without hair
BEHIND = 0.14  # how far hair reaches under the face and neck that hide it


Pair = tuple[float, float]
Plane = NDArray[np.float32]


@dataclass(frozen=True)
class PhotoHair(Value):
    """levels: uint8 [h, w, 3], colors of the hair alone, which go on beyond it; alpha: uint8
    [h, w]; behind: uint8 [h, w], the same of hair that face and neck may hide. picture: uint8
    [h, w, 3], what the photo shows. mesh: [478, 2], in samples of these. rotation, scale, shift:
    as a row of `HeadPose`, in samples; long: of the face, beside the mean one. side: of the face's
    crop, in samples. mirrored: 1 if it is the photo in a mirror, else 0. lit: 1 if its colors are
    seen in the light of the clip already, else 0."""

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
    mirrored: int = 0
    lit: int = 0

    @classmethod
    def none(cls, mesh: NDArray[np.float32]) -> "PhotoHair":
        """No hair, of somebody with a face [478, 2]."""
        low, size = mesh.min(0), float(np.ptp(mesh, 0).max())
        mesh = ((mesh - low) * NOBODY / size).astype(np.float32)
        pose, long = poses(mesh[None], np.ones(1, bool), np.ones(1, bool))
        levels = np.full((NOBODY, NOBODY, 3), 128, np.uint8)
        alpha, place = np.zeros((NOBODY, NOBODY), np.uint8), Place.of(pose, 0)
        rest = (
            place.rotation,
            place.scale,
            place.shift,
            long,
            float(crop_axes(*eyes_and_mouth(mesh)).side),
        )
        return cls(levels, alpha, alpha, levels, mesh, *rest)


def looks_away(photo: PhotoHair, meshes: NDArray[np.float32]) -> bool:
    """Whether a photo's face looks so far to another side than most of a person's [T, 478, 2] that
    it hides what those show, and would rather look as they do in a mirror."""
    here = meshes[np.isfinite(meshes[:, 0, 0])]
    own = float(np.median(turned(here, crop_axes(*eyes_and_mouth(here)))))
    given = float(turned(photo.mesh, crop_axes(*eyes_and_mouth(photo.mesh))))
    return abs(given - own) > OTHER_WAY and abs(given + own) < abs(given - own) / 2


def face_of_photo(picture: NDArray[np.uint8], path: str) -> tuple[NDArray[np.uint8], FaceTrack]:
    """A picture [H, W, 3], turned upright, and its largest face. path: of it, in messages.

    Raises NoFaceFound if there is none, or if it is turned too far or cut off.
    """
    advice = "give a photo of the hair together with its face"
    mesh = largest_face(picture, path, advice)
    quarters = quarters_of(crop_axes(*eyes_and_mouth(mesh[None])).x)
    if quarters:  # hair hangs, and heads are parsed, upright
        picture = np.ascontiguousarray(np.rot90(picture, quarters))
        mesh = largest_face(picture, path, advice)
    track = _still(mesh)
    if track.certainty[0] < LEAST_CERTAINTY:
        raise NoFaceFound(
            f"the face in {path} is turned too far away to take its hair; give a photo that shows "
            "it more from the front"
        )
    size = picture.shape[1], picture.shape[0]
    if not ((mesh[HAIRLINE] > 0) & (mesh[HAIRLINE] < size)).all():
        raise NoFaceFound(
            f"{path} ends below the hairline of its face; give a photo that shows the hair of the "
            "whole head"
        )
    return picture, track


def no_finer(picture: NDArray[np.uint8], track: FaceTrack) -> tuple[NDArray[np.uint8], FaceTrack]:
    """A picture [H, W, 3] and its face, reduced to what a window holds: FINEST_SIDE along a face's
    crop. Windows by themselves take the mean of whole numbers of pixels: of slightly larger faces
    they keep half as many.
    """
    factor = (FINEST_SIDE - 1) / float(track.axes.side[0])
    if factor >= 1:
        return picture, track
    width, height = (max(1, round(n * factor)) for n in picture.shape[1::-1])
    small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    along = np.array([width, height], np.float32) / picture.shape[1::-1]
    return np.array(small), _still((track.mesh[0] * along).astype(np.float32))


def cut_out(
    picture: NDArray[np.uint8],
    path: str,
    parser: Parser,
    segmenter: HairSegmenter | None,
    config: MatteConfig,
) -> PhotoHair:
    """Of the largest face in a picture [H, W, 3]. path: of it, in messages.

    Raises NoFaceFound if there is no face, if it is turned too far, cut off, without hair, or under
    a hat.
    """
    picture, track = no_finer(*face_of_photo(picture, path))
    side = float(track.axes.side[0])
    size = picture.shape[1], picture.shape[0]
    region = plan_region(track.axes, size, parser.face_pixels, parser.stride)
    window = plan_window(region, side, size)
    frames = Frames.of_pixels(picture[None])
    if segmenter is not None:
        prior = segment.segmented(frames, track, region, segmenter, map)
    else:
        prior = _classified(frames, track, region, parser, config)
    seen, mesh = window.cut(picture), window.places(track.mesh[0]).astype(np.float32)
    pose, long = poses(mesh[None], np.ones(1, bool), np.ones(1, bool))
    inside = look(mean_skull(long), Place.of(pose, 0), Grid.of_pixels(*seen.shape[:2])).inside > 0
    head = soft_edge(inside, 0.02 * window.side)
    likely = _likely(seen, prior, mesh, head, region, window)
    prior = _on_grid(likely, prior, region, window)
    worn = worn_on(seen, mesh, Eyes.of(track.mesh[0], Place.of(pose, 0), window))
    found = found_matte(frames, prior, track, region, window, Span(0, 1), config, map)
    found = matte(frames, found, worn, window, map)
    if found.area[0] < LEAST_HAIR:
        raise NoFaceFound(f"no hair is seen in {path}; give a photo that shows the hair to take")
    alpha = without_brows(found.alpha[0].astype(np.float32) / 255, mesh, side / window.step)
    alpha = without_glasses(alpha, mesh, side / window.step)
    if hidden_crown(seen, alpha, head, mesh, window.side):
        raise NoFaceFound(
            f"what covers the head in {path} is no hair, but something such as a hat; give a photo "
            "that shows the hair of the whole head"
        )
    alpha = near(alpha, likely, window.side)
    alpha = parted(solid(alpha, likely, head, window.side), likely, mesh, window.side)
    alpha = ((alpha - VEIL) / (1 - 2 * VEIL)).clip(0, 1)
    return of_parts(seen, np.rint(alpha * 255).astype(np.uint8), track, window, size)


def _likely(
    seen: NDArray[np.uint8],
    prior: segment.HairPrior,
    mesh: NDArray[np.float32],
    head: Plane,
    region: HeadRegion,
    window: HairWindow,
) -> Plane:
    """A prior on the window [h, w], in 0 … 1, less what is not this person's hair. head: [h, w], of
    the skull."""
    segmenter = PersonSegmenter()
    person = torch.from_numpy(segmenter(seen))[None, None]
    segmenter.close()
    levels = torch.from_numpy(prior.levels[None].astype(np.float32) / 255)
    levels = spread_grid(levels, prior.grid(region), window).clamp(0, 1)
    face = polygon_mask(mesh[list(FACE_OVAL)], *seen.shape[:2])
    face = np.maximum(face, polygon_mask(NECK(mesh), *seen.shape[:2]))
    picture = torch.from_numpy(seen.copy()).movedim(-1, 0)[None].float() / 255
    face_plane = torch.from_numpy(face)[None, None]
    own = of_person(levels, person, picture, face_plane, window.side)[0, 0].numpy()
    own = believed(own, levels[0, 0].numpy(), head)
    upper = upper_face(mesh, *seen.shape[:2])
    return hanging(own, upper, head, window.side)


def _on_grid(
    likely: Plane, prior: segment.HairPrior, region: HeadRegion, window: HairWindow
) -> segment.HairPrior:
    planes = torch.from_numpy(likely)[None, None]
    found = cut_grid(planes, prior.grid(region), on=window, padding="border")
    return segment.HairPrior((found[0] * 255).round().to(torch.uint8).numpy())


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
    low, high = PURE
    trust = ((share - low) / (high - low)).clamp(0, 1)
    # Within hair its own colors are seen through gaps, too.
    reach = max(1, round(WITHIN * side))
    whole = erode(dilate(trust, 4 * reach + 1), 6 * reach + 1)
    trust = torch.maximum(AT_BORDER * trust, whole)
    front = hair_hue(front, unit, trust, side)
    # Locks go on below the photo; beside it, the hair's own colors spread.
    own = continued(torch.cat([front, trust], 1)[0].movedim(0, -1).numpy(), margin, axes=(0,))
    planes = F.pad(torch.from_numpy(own).movedim(-1, 0)[None].contiguous(), (margin, margin))
    colors, sure = planes.split([3, 1], 1)
    covered = ended(alpha, margin, side)
    hidden = hidden_hair(covered, mesh + margin, side)
    filled = fill(colors, sure, SPREAD_LEVELS)[0].movedim(0, -1).numpy()
    filled = textured(filled * 255, sure[0, 0].numpy(), side)
    return PhotoHair(
        np.rint(filled).clip(0, 255).astype(np.uint8),
        covered,
        hidden,
        np.pad(picture, [(margin, margin)] * 2 + [(0, 0)], "edge"),
        mesh + margin,
        pose.rotation[0],
        float(pose.scale[0]),
        pose.shift[0],
        long,
        side,
    )


def hair_hue(colors: Tensor, seen: Tensor, trust: Tensor, side: float) -> Tensor:
    """Colors [1, 3, h, w] in 0 … 1, which near the border are about as those of hair within: what
    shines through thin hair has another hue, and where more is taken for behind it than is, hair
    turns more saturated and lighter than any. seen: the picture, of the same shape; trust: that
    they are of hair, [1, 1, h, w]."""
    # What a photo cuts off is a border as well, at which little shows what is hair.
    shown = F.pad((trust > SEEN).float(), (1, 1, 1, 1))
    cores = (erode(shown, 2 * max(1, round(r * side)) + 1)[..., 1:-1, 1:-1] for r in CORES)
    core = next((one for one in cores if one.sum() > LEAST_CORE * shown.sum()), None)
    if core is None:
        return colors
    lab, inside = rgb_to_lab(colors), core > 0.5
    brightness = lab[:, :1] + 16  # as much as which things of one hue are saturated
    light, hue = brightness.log(), lab[:, 1:] / brightness
    sums = wide_blur(torch.cat([hue * core, light * core, core], 1), HUE_REACH * side)
    weight = sums[:, 3:]
    told = fill(sums[:, :3] / (weight + 1e-5), (20 * weight).clamp(max=1), SPREAD_LEVELS)
    # Shades of hair are more saturated than its lights.
    low, high = torch.quantile(light[inside], torch.tensor([1 - MOST_OF_CORE, MOST_OF_CORE]))
    lighter, rest = light.clamp(low, high) - told[:, 2:], hue - told[:, :2]
    slope = (core * lighter * rest).sum((2, 3), True) / ((core * lighter**2).sum() + 1e-3)
    usual = told[:, :2] + slope * lighter
    away = hue - usual
    distance = away.square().sum(1, keepdim=True).sqrt()
    usually = float((distance.square() * core).sum() / core.sum()) ** 0.5
    limit = max(LEAST_HUE, MOST_HUE * usually)
    # More saturated strands are hair, as far as they are seen so, or there are such within.
    way = usual / (usual.square().sum(1, True).sqrt() + 1e-5)
    plain = rgb_to_lab(seen)
    more, as_seen = (
        (way * part).sum(1, True) for part in (away, plain[:, 1:] / (plain[:, :1] + 16) - usual)
    )
    most = as_seen.clamp(min=max(limit, float(more[inside].quantile(MOST_OF_CORE))))
    share = (torch.where(more > 0, most, limit) / (distance + 1e-5)).clamp(max=1)
    near = (3 - 3 * wide_blur(core, CORES[0] / 2 * side)).clamp(0, 1)
    lightest = torch.maximum(plain[:, :1] + 16, high.exp())
    brightness = brightness - near * (brightness - lightest).clamp(min=0)
    found = usual + away * (1 - near * (1 - share))
    return lab_to_rgb(torch.cat([brightness - 16, brightness * found], 1)).clamp(0, 1)


def textured(colors: NDArray[Any], sure: Plane, side: float) -> Plane:
    """Colors [h, w, 3] of which only some are seen, where texture goes on as the reflection of what
    is seen at its border. sure: how far they are, [h, w]; elsewhere they vary slowly."""
    seen = sure > SEEN
    planes = torch.from_numpy(np.dstack([colors * seen[..., None], seen]).astype(np.float32))
    sums = wide_blur(planes.movedim(-1, 0)[None].contiguous(), STRANDS * side)[0].numpy()
    detail = colors - np.moveaxis(sums[:3] / (sums[3:] + 1e-4), 0, -1)
    if not seen.any():
        return colors.astype(np.float32)
    away, nearest = distance_transform_edt(~seen, return_indices=True)
    places = np.indices(seen.shape)
    inner = distance_transform_edt(seen)
    back = nearest - np.rint(STRETCHED * (places - nearest)).astype(int)
    back = np.stack([np.clip(back[0], 0, len(seen) - 1), np.clip(back[1], 0, seen.shape[1] - 1)])
    back = np.where(inner[tuple(back)] > 0, back, nearest)
    share = np.exp(-away / (REFLECTED * side)) * ~seen
    found: Plane = (colors + share[..., None] * detail[tuple(back)]).astype(np.float32)
    return found


def towards(plane: Plane, centre: NDArray[Any], reach: float) -> Plane:
    """The most that a plane [h, w] holds further out from a centre [2], up to a share of the way
    from there; or less far out, if that is negative."""
    found = np.zeros(plane.shape, np.float32)
    for share in np.linspace(0, reach, RAYS)[1:]:
        x, y = (
            ((np.arange(n) + 0.5 - middle) * (1 + share) + middle - 0.5).astype(np.float32)
            for n, middle in zip(plane.shape[::-1], centre, strict=True)
        )
        there = sample(plane, np.stack(np.meshgrid(x, y), -1))
        beyond_x, beyond_y = ((p < 0) | (p >= n) for p, n in ((x, plane.shape[1]), (y, len(y))))
        there[:, beyond_x], there[beyond_y] = 0, 0
        np.maximum(found, there, out=found)
    return found


def soft_edge(mask: NDArray[Any], reach: float) -> Plane:
    """A mask [h, w], grown by a reach and with a soft edge."""
    plane = torch.from_numpy(mask.astype(np.float32))[None, None]
    grown = blur(dilate(plane, 2 * max(1, round(reach)) + 1), 0.5 * reach)
    return grown[0, 0].clamp(0, 1).numpy()


def continued(values: NDArray[Any], margin: int, axes: tuple[int, ...] = (0, 1)) -> NDArray[Any]:
    """Planes [h, w, ...] with a margin around them, as which their stretched reflection goes on."""
    for axis in axes:
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
    across *= _tapered(found[margin + height - 1] > 127, TAPERED[0] * side)
    down = _lengths(len(rows), SIDES, WAVES, side)
    left, right = (
        down * _tapered(found[:, column] > 127, TAPERED[1] * side)
        for column in (margin, margin + width - 1)
    )
    beyond = [
        (np.maximum(margin - rows, 0)[:, None], above),
        (np.maximum(rows - margin - height + 1, 0)[:, None], across[None]),
        (np.maximum(margin - columns, 0)[None], left[:, None]),
        (np.maximum(columns - margin - width + 1, 0)[None], right[:, None]),
    ]
    for way, length in beyond:
        rest = np.clip(SOFT_ENDS * (1 - way / np.clip(length, 1, 0.95 * margin)), 0, 1)
        found *= rest * rest * (3 - 2 * rest)
    return np.rint(found).astype(np.uint8)


def _rounded(cut: NDArray[np.bool_], radius: float) -> NDArray[np.float64]:
    """How high hair stands over the part of a line that cuts it, [n]: as high as a round of a
    radius, and steep where it begins, as what is seen of it is there."""
    there = np.flatnonzero(cut)
    if not len(there):
        return np.zeros(len(cut))
    middle, half = float(there.mean()), max(float(there[-1] - there[0]) / 2, 0.5)
    radius = max(radius, half)
    away = (np.arange(len(cut)) - middle) / half
    high = radius - np.sqrt(radius**2 - half**2)
    found: NDArray[np.float64] = high * np.maximum(1 - away**2, 0) ** STEEP
    return found


def _tapered(hair: NDArray[np.bool_], reach: float) -> NDArray[np.float64]:
    """How a run of hair on a line [n] begins and ends: as a quarter of a circle of a reach. Where
    the line ends, it goes on."""
    if hair.all():
        return np.ones(len(hair))
    away = distance_transform_edt(np.pad(hair, len(hair), "edge"))[len(hair) : -len(hair)]
    found: NDArray[np.float64] = np.sqrt(1 - (1 - np.minimum(away / reach, 1)) ** 2)
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
    # No further down than hair is seen beside.
    there = there * np.maximum.accumulate((alpha > 127).any(1)[::-1])[::-1, None]
    # And where ears are seen before it, beside the face.
    oval = polygon_mask(mesh[list(FACE_OVAL)], *alpha.shape)
    level = np.arange(alpha.shape[0])[:, None] > (left[1] + right[1]) / 2 - EARS * side
    rows, columns = np.indices(alpha.shape)
    way = right - left
    across = ((columns - left[0]) * way[0] + (rows - left[1]) * way[1]) / (way @ way)
    level = level * (np.abs(across - 0.5) > BESIDE_FACE)
    within = towards(alpha.astype(np.float32), (left + right) / 2, OUTER)
    ears = soft_edge(level * (1 - oval) * (within > FAINT), EAR_EDGE * side)
    grown, there = np.maximum(grown, 255 * ears), np.maximum(there, ears)
    found: NDArray[np.uint8] = np.rint(np.maximum(alpha, grown * there)).astype(np.uint8)
    return found
