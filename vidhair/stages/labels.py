"""What every pixel around a head is, as the pack's parser sees it, and what colors say of hair.

The pack's parser has seen rendered faces only. What carries it over to real ones: MediaPipe's
silhouette and face oval as guides, and color models of this clip's own hair, skin, clothes and
background, learned from where the parser is sure.
"""

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from vidhair.errors import NoFaceFound
from vidhair.geometry import Grid, crop_axes
from vidhair.imaging.color import lab_to_rgb, rgb_to_lab
from vidhair.imaging.fill import enlarge
from vidhair.imaging.warp import cut_grid, to_unit
from vidhair.media import read_image
from vidhair.models.faces.landmarks import PersonSegmenter, eyes_and_mouth
from vidhair.models.parsers.face_parser import UNKNOWN, Label, face_oval_mask
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages.align import FaceTrack, largest_face
from vidhair.stages.region import (
    MIDDLE,
    NECK,
    HeadRegion,
    face_part,
    own_share,
    plan_region,
)
from vidhair.stages.render import Canvas
from vidhair.stages.segment import HairPrior
from vidhair.types import Frames
from vidhair.wiring import Meter, Series, Setting, Value, stage

SOFTEN = 0.15  # share of the parser's opinion on the person that is spread evenly
HAIR_ON_NECK = 0.3  # how likely hair is there beforehand
GUIDE_ZOOM = 2  # MediaPipe's silhouette is asked for at a finer size
PRIOR_ZOOM = 2  # how many times finer than the parser's grid it is said where hair is
PARSED_AT_ONCE = 8
COLOR_FRAMES = 12  # from which the colors of a clip are learned
SURE_LABEL = 0.7  # probability from which on a pixel's color counts for its label
SURE_HAIR = 0.6  # the same where a picture gives a color
LEAST_HAIR = 10  # pixels of the parser's grid, from which a color can be told
CLOSEST = 0.0075  # probability left to each of four labels, so that no prior is beyond doubt


@torch.inference_mode()
def parse(
    frames: Collection[NDArray[np.uint8]],
    meshes: NDArray[np.float32],
    region: HeadRegion,
    parser: Parser,
    segmenter: PersonSegmenter,
) -> NDArray[np.uint8]:
    """Label probabilities and the silhouette of every frame.

    frames: T of uint8 [H, W, 3]; meshes: [T, 478, 2] in frame pixels, NaN for none.
    Returns uint8 [T, 5, h, w]: background, skin, hair, clothes, person.
    """
    device = next(parser.parameters()).device
    zoom = GUIDE_ZOOM
    pictures = torch.empty(len(frames), 3, region.height, region.width, device=device)
    guides = np.zeros((len(frames), 2, region.height, region.width), np.float32)
    for index, (frame, mesh) in enumerate(zip(frames, meshes, strict=True)):
        unit = to_unit(frame[None], device)
        pictures[index] = region.cut(unit)[0]
        fine = (region.cut(unit, zoom)[0] * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        person = torch.from_numpy(segmenter(fine.permute(1, 2, 0).cpu().numpy()))[None, None]
        guides[index, 0] = F.avg_pool2d(person, zoom)[0, 0].numpy()
        if np.isfinite(mesh).all():
            local = region.places(mesh)
            guides[index, 1] = face_oval_mask(local, region.height, region.width)
    guide = torch.from_numpy(guides).to(device)
    probabilities = _probabilities(parser, pictures, guide)
    planes = torch.cat([probabilities, guide[:, :1]], 1)
    return (planes * 255).round().to(torch.uint8).cpu().numpy()


def _probabilities(parser: Parser, image: Tensor, guides: Tensor) -> Tensor:
    """Of the labels, [T, 4, h, w]; a few frames at a time, as large networks need much memory."""
    pairs = zip(image.split(PARSED_AT_ONCE), guides.split(PARSED_AT_ONCE), strict=True)
    return torch.cat([parser(*pair).softmax(1) for pair in pairs])


# How much of its lightness skin keeps in the shadow of the chin; its color fades more slowly.
SHADES = (1.0, 0.8, 0.65, 0.5, 0.38)
FADING = 0.6  # exponent of the shade by which a and b fall
BIN_BLUR = 1.2  # deviation, in bins: a clip has too few pixels for as many bins
UNSEEN = 0.02  # share of the density that lies evenly over all colors
BINS = (20, 24, 24)
_LOW, _HIGH = np.array([0.0, -50.0, -50.0]), np.array([100.0, 60.0, 70.0])


@dataclass(frozen=True)
class ColorModels(Value):
    """Log density of Lab colors, [labels + 1, *BINS], learned from one clip; the last is that of
    skin in shadow."""

    log_density: NDArray[np.float32]

    def log_likelihood(self, lab: Tensor, neck: Tensor) -> Tensor:
        """lab [T, 3, h, w], neck [T, 1, h, w] in 0 … 1 → [T, labels, h, w].

        On the neck, what looks like skin in shadow is as likely skin as what is lit.
        """
        index = _bins(lab.movedim(1, -1).cpu().numpy())
        values = self.log_density[:, index[..., 0], index[..., 1], index[..., 2]]
        likely = torch.from_numpy(values).movedim(0, 1).to(lab.device)
        labels, shaded = likely[:, :-1], likely[:, -1]
        lit = labels[:, Label.SKIN]
        labels[:, Label.SKIN] = torch.lerp(lit, torch.logaddexp(lit, shaded), neck[:, 0])
        return labels


def _bins(lab: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    scaled = (lab - _LOW) / (_HIGH - _LOW) * BINS
    bins: NDArray[np.int64] = np.clip(scaled.astype(int), 0, np.array(BINS) - 1)
    return bins


Sample = tuple[Tensor, Tensor, Tensor, Tensor]


def learn_colors(samples: Iterable[Sample]) -> ColorModels:
    """Color densities from pixels and how sure their labels are.

    samples: lab [N, 3, h, w]; probability [N, labels, h, w]; neck and face [N, 1, h, w] from
    `face_part`. Only sure pixels count; the middle of the face is skin, and of the neck nothing is
    sure.
    """
    histograms = np.zeros((len(Label) + 1, *BINS))
    for lab, probability, neck, face in samples:
        sure = ((probability - SURE_LABEL) / (1 - SURE_LABEL)).clamp(0, 1) * (1 - neck)
        skin = torch.zeros_like(sure)
        skin[:, Label.SKIN : Label.SKIN + 1] = 1
        sure = torch.lerp(sure, skin, face)
        pixels = lab.movedim(1, -1).reshape(-1, 3).cpu().numpy()
        weights = sure.movedim(1, 0).flatten(1).cpu().numpy()
        for histogram, weight in zip(histograms, weights, strict=False):
            _count(histogram, pixels, weight)
        for k in SHADES:
            _count(histograms[-1], pixels * [k, k**FADING, k**FADING], weights[Label.SKIN])
    densities = []
    for histogram in histograms:
        histogram = gaussian_filter(histogram, BIN_BLUR, mode="nearest")
        # What was never seen is unlikely, not impossible.
        histogram = histogram / max(histogram.sum(), 1e-9) + UNSEEN / np.prod(BINS)
        densities.append(np.log(histogram))
    return ColorModels(np.stack(densities).astype(np.float32))


def _count(
    histogram: NDArray[np.float64], lab: NDArray[np.floating[Any]], weight: NDArray[np.float32]
) -> None:
    """Add to a histogram [*BINS] pixels [N, 3] by their weight [N]."""
    place = np.ravel_multi_index(tuple(_bins(lab).T), BINS)
    histogram += np.bincount(place, weight, histogram.size).reshape(BINS)


def classify(probability: Tensor, log_likelihood: Tensor, neck: Tensor, weight: float) -> Tensor:
    """Parser and colors together: [T, labels, h, w] each → probability of hair [T, 1, h, w].

    The parser knows well where the person ends, but less well what is what on a person it has not
    seen the like of: there its opinion is softened, so that clear colors can overrule it. neck:
    [T, 1, h, w] in 0 … 1, where skin is likelier than hair, whatever the parser thinks.
    """
    background, person = probability[:, :1], probability[:, 1:]
    total = person.sum(1, keepdim=True)
    person = (person / (total + 1e-4)) * (1 - SOFTEN) + SOFTEN / 3
    skin, hair, clothes = person.split(1, 1)
    either = skin + hair
    skin = torch.lerp(skin, (1 - HAIR_ON_NECK) * either, neck)
    person = torch.cat([skin, either - skin, clothes], 1)
    prior = torch.cat([background, person * total], 1) * (1 - 4 * CLOSEST) + CLOSEST
    score = prior.log() + weight * log_likelihood
    return score.softmax(1)[:, Label.HAIR : Label.HAIR + 1]


def still_labels(
    picture: NDArray[np.uint8], face: NDArray[np.float32], parser: Parser
) -> tuple[HeadRegion, NDArray[np.uint8]]:
    """Where a still picture is parsed, and what `parse` finds there."""
    axes = crop_axes(*eyes_and_mouth(face))
    region = plan_region(
        axes, (picture.shape[2], picture.shape[1]), parser.face_pixels, parser.stride
    )
    segmenter = PersonSegmenter()
    planes = parse(picture, face, region, parser, segmenter)
    segmenter.close()
    return region, planes


def mean_hair_color(path: str, parser: Parser) -> tuple[float, float, float]:
    """Mean color (sRGB, 0 … 1) of the hair of the largest face in a picture.

    Raises NoFaceFound if there is no face, or no hair.
    """
    picture = read_image(path)[None]
    advice = "give a picture of hair with its face, or a hex code"
    face = largest_face(picture[0], path, advice)[None]
    region, planes = still_labels(picture, face, parser)
    hair = planes[0, Label.HAIR] / 255.0
    sure = np.clip((hair - SURE_HAIR) / (1 - SURE_HAIR), 0, 1)
    if sure.sum() < LEAST_HAIR:
        raise NoFaceFound(f"no hair is seen in {path}; give another picture or a hex code")
    lab = rgb_to_lab(region.cut(to_unit(picture)) / 2 + 0.5)[0].numpy()
    mean = torch.from_numpy((lab * sure).sum((1, 2)) / sure.sum())
    red, green, blue = lab_to_rgb(mean[None, :, None, None]).flatten().tolist()
    return red, green, blue


def parser_grid(canvas: Canvas, parser: Parser, face_pixels: int) -> Grid:
    """The parser's samples over a canvas, in its pixels. face_pixels: side of the face crop as it
    sees it."""
    step = canvas.resolution / face_pixels
    rows, columns = (
        math.ceil(n / step / parser.stride) * parser.stride for n in (canvas.height, canvas.width)
    )
    return Grid(0, 0, step, rows, columns)


def canvas_guides(meshes: NDArray[np.float32], canvas: Canvas, grid: Grid) -> Tensor:
    """What the parser is told beside pictures of a canvas: the ovals of faces [T, 478, 2] in pixels
    of the frame, and nothing of silhouettes, [T, 2, h, w]."""
    guides = torch.full((len(meshes), 2, grid.height, grid.width), UNKNOWN)
    for guide, mesh in zip(guides, meshes, strict=True):
        local = (mesh - [canvas.left, canvas.top]) / (canvas.step * grid.step)
        guide[1] = torch.from_numpy(face_oval_mask(local, grid.height, grid.width))
    return guides


@torch.inference_mode()
def parse_canvas(
    pictures: NDArray[np.uint8],
    meshes: NDArray[np.float32],
    canvas: Canvas,
    parser: Parser,
    face_pixels: int,
) -> dict[str, Tensor]:
    """Probabilities [T, 1, h, w] of "skin" and "hair" in renderings uint8 [T, h, w, 3].

    face_pixels: side of the face crop as the parser sees it.
    """
    device = next(parser.parameters()).device
    h, w = pictures.shape[1:3]
    grid = parser_grid(canvas, parser, face_pixels)
    image = cut_grid(to_unit(pictures, device), grid, padding="border")
    guides = canvas_guides(meshes, canvas, grid).to(device)
    planes = _probabilities(parser, image, guides).cpu()
    planes = cut_grid(planes, Grid.of_pixels(h, w), on=grid, padding="border")
    return {
        "skin": planes[:, Label.SKIN : Label.SKIN + 1],
        "hair": planes[:, Label.HAIR : Label.HAIR + 1],
    }


# ---- stages


@dataclass(frozen=True)
class Labels(Value):
    """planes: uint8 [T, 5, h, w] on the region's grid: background, skin, hair, clothes, person."""

    ROWS = ("planes",)
    planes: NDArray[np.uint8]

    def on_grid(self, region: HeadRegion) -> Tensor:
        """Label probabilities [T, 4, h, w] on its finer grid."""
        labels = torch.from_numpy(self.planes[:, :4]).float() / 255
        height, width = labels.shape[2:]
        return enlarge(labels, PRIOR_ZOOM * height, PRIOR_ZOOM * width)


@stage()
def labels(frames: Frames, track: FaceTrack, region: HeadRegion, parser: Parser) -> Labels:
    segmenter = PersonSegmenter()
    planes = parse(frames, track.mesh, region, parser, segmenter)
    segmenter.close()
    return Labels(planes)


def region_lab(pixels: NDArray[np.uint8], region: HeadRegion) -> Tensor:
    """The region's finer grid in Lab, [T, 3, h, w]."""
    return rgb_to_lab(region.cut(to_unit(pixels), PRIOR_ZOOM) / 2 + 0.5)


@stage(version=2)
def hair_colors(
    frames: Series[Frames],
    labels: Series[Labels],
    track: Series[FaceTrack],
    region: HeadRegion,
    meter: Meter,
) -> ColorModels:
    """Learned from COLOR_FRAMES frames that are spread over the clip."""
    chosen = np.flatnonzero(track.field("present"))
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(COLOR_FRAMES, len(chosen))).astype(int)]

    def samples() -> Iterator[Sample]:
        for done, frame in enumerate(int(f) for f in chosen):
            one = frame, frame + 1
            lab = region_lab(frames.rows(*one).pixels, region)
            place = track.rows(*one), range(1), region.finer(PRIOR_ZOOM)
            parts = face_part(NECK, *place), face_part(MIDDLE, *place)
            own = own_share(*place)
            yield lab, labels.rows(*one).on_grid(region) * own, *parts
            meter(frames.count * (done + 1) / len(chosen))

    return learn_colors(samples())


@stage()
def classified(
    frames: Frames,
    labels: Labels,
    track: FaceTrack,
    hair_colors: ColorModels,
    region: HeadRegion,
    color_weight: Annotated[float, Setting("matte.color_weight")],
) -> HairPrior:
    """What the parser and the clip's own colors say together."""
    grid = region.finer(PRIOR_ZOOM)
    levels = np.zeros((len(frames), grid.height, grid.width), np.uint8)
    for frame in np.flatnonzero(track.present).tolist():
        one = frame, frame + 1
        place = track, range(*one), grid
        neck = face_part(NECK, *place)
        likely = hair_colors.log_likelihood(region_lab(frames.rows(*one).pixels, region), neck)
        hair = classify(labels.rows(*one).on_grid(region), likely, neck, color_weight)
        hair = hair * (1 - face_part(MIDDLE, *place))
        levels[frame] = (hair[0, 0] * 255).round().to(torch.uint8).numpy()
    return HairPrior(levels)
