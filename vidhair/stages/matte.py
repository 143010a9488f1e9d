"""Where the hair is: a soft matte for every frame, on people that no network here was trained on.

The pack's parser has seen rendered faces only. What carries it over to real ones: MediaPipe's
silhouette and face oval as guides; color models of this clip's own hair, skin, clothes and
background, learned from where the parser is sure; smoothing over time in the coordinates of the
face; and a guided filter that lays the soft result onto the strands of each frame.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import CropAxes, Grid, crop_axes
from vidhair.media import read_image
from vidhair.models.face_landmarks import (
    MIDDLE_OF_FACE,
    FaceMesh,
    PersonSegmenter,
    eyes_and_mouth,
)
from vidhair.models.face_parser import (
    UNKNOWN,
    Label,
    face_oval_mask,
    polygon_mask,
)
from vidhair.models.head_parser import Parser
from vidhair.ops.color import lab_to_rgb, rgb_to_lab
from vidhair.ops.matting import guided_filter
from vidhair.ops.warp import cut_grid, to_unit
from vidhair.settings import setting
from vidhair.stages.align import FACE, FaceTrack
from vidhair.stages.render import Canvas, crops_of
from vidhair.types import Clip, Frames
from vidhair.wiring import Derived, Fact, Meter, Near, Series, Span, Value, stage

REACH = 0.8  # crop sides beyond the crop that are searched for hair
SOFTEN = 0.15  # share of the parser's opinion on the person that is spread evenly
SURE_NOT, SURE = 0.1, 0.82  # refined probabilities that are taken for none and for all
HAIR_ON_NECK = 0.3  # how likely hair is there beforehand
NEIGHBOURS = 2  # frames on either side that smoothing over time looks at
GUIDE_ZOOM = 2  # MediaPipe's silhouette is asked for at a finer size
PARSED_AT_ONCE = 8
SMALLEST_FACE = 48  # pixels
COLOR_FRAMES = 12  # from which the colors of a clip are learned
FINEST_ZOOM = 4  # of the matte over the parser's grid; bounds its memory on large frames
SURE_LABEL = 0.7  # probability from which on a pixel's color counts for its label
SURE_HAIR = 0.6  # the same where a picture gives a color
LEAST_HAIR = 10  # pixels of the parser's grid, from which a color can be told
CLOSEST = 0.0075  # probability left to each of four labels, so that no prior is beyond doubt
GUIDED_EPSILON = 1e-3  # variance below which the filter sees no edge; Lab counts in hundreds


@dataclass(frozen=True, kw_only=True)
class MatteConfig:
    size: int = setting(
        0,
        "side of the face crop, in pixels, that the parser sees, from 48 on; 0: as it was made for",
        low=0,
        high=1024,
    )
    color_weight: float = setting(
        0.8, "how much the clip's own colors count beside the parser", low=0.0, high=1.0
    )
    smooth: float = setting(
        0.6, "weight of the frames before and after in smoothing over time", low=0.0, high=1.0
    )
    edge: float = setting(
        0.02, "reach of the refinement along strands, in crop sides", low=0.0, high=0.1
    )
    segmenter: str = setting(
        "auto",
        "auto: MediaPipe's hair segmentation if it was pulled; none: the pack's parser alone; or "
        "the path of hair_segmentation.tflite",
        affects=False,  # the weights that it finds do
    )

    def __post_init__(self) -> None:
        if 0 < self.size < SMALLEST_FACE:
            raise InvalidSetting(
                f"matte.size = {self.size} is too small to see hair; give 0 or {SMALLEST_FACE} and "
                "more"
            )


@dataclass(frozen=True)
class HeadRegion(Grid, Derived):
    """Where hair is searched, as finely as the parser sees it; fixed for the clip."""

    @property
    def zoom(self) -> int:
        """How many times finer than the parser's grid the matte is."""
        return max(1, min(FINEST_ZOOM, int(self.step)))

    @property
    def matte_grid(self) -> Grid:
        return self.finer(self.zoom)

    def cut(self, frames: Tensor, zoom: int = 1) -> Tensor:
        """The region of [T, C, H, W] frames, `zoom` times finer than its grid."""
        # Beyond the frame's border the picture goes on mirrored: nothing there looks like clothes.
        return cut_grid(frames, self.finer(zoom), padding="reflection")


def plan_region(axes: CropAxes, frame_size: tuple[int, int], size: int, stride: int) -> HeadRegion:
    """Covers all face crops and REACH around them, inside the frame; sides fit the parser."""
    width, height = frame_size
    reach = (axes.side * (0.5 + REACH))[:, None]
    low = np.maximum((axes.centre - reach).min(0), 0)
    high = np.minimum((axes.centre + reach).max(0), [width, height])
    step = float(np.median(axes.side)) / size
    columns, rows = (
        int(np.ceil((b - a) / step / stride)) * stride for a, b in zip(low, high, strict=True)
    )
    return HeadRegion(float(low[0]), float(low[1]), step, rows, columns)


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


def follow(values: Tensor, matrices: NDArray[np.float64], index: int, weight: float) -> Tensor:
    """Mean of a frame and its neighbours, each moved to where the face is in that frame.

    values: [T, 1, h, w] of neighbouring frames; matrices: [T, 3, 3] from face to grid positions
    (−1 … 1 over the grid); index: the frame among them. Returns [1, 1, h, w].
    """
    total, weights = torch.zeros_like(values[:1]), 0.0
    size = list(values[:1].shape)
    for other in range(len(values)):
        share = weight ** abs(other - index)
        if share == 0:
            continue
        theta = (matrices[other] @ np.linalg.inv(matrices[index]))[None, :2]
        grid = F.affine_grid(torch.as_tensor(theta, dtype=values.dtype), size, align_corners=False)
        moved = F.grid_sample(
            values[other : other + 1], grid.to(values.device), padding_mode="border",
            align_corners=False,
        )  # fmt: skip
        total, weights = total + moved * share, weights + share
    return total / weights


def _grid_matrices(axes: CropAxes, index: list[int], grid: Grid) -> NDArray[np.float64]:
    """[K, 3, 3]: positions in the face crop → grid positions as grid_sample counts them."""
    sx, sy = 2 / (grid.step * grid.width), 2 / (grid.step * grid.height)
    normalise = np.array([[sx, 0, -grid.left * sx - 1], [0, sy, -grid.top * sy - 1], [0, 0, 1]])
    face = np.zeros((len(index), 3, 3))
    face[:, :2, 0], face[:, :2, 1] = axes.x[index], axes.y[index]
    face[:, :2, 2], face[:, 2, 2] = axes.centre[index], 1
    return normalise @ face


@torch.inference_mode()
def make_mattes(
    look: Callable[[int], tuple[Tensor, Tensor]],
    models: ColorModels,
    track: FaceTrack,
    given: range,
    wanted: range,
    grid: Grid,
    config: MatteConfig,
) -> dict[str, NDArray[Any]]:
    """Mattes of the frames `wanted`, from themselves and their neighbours among `given`.

    look: gives label probabilities [1, labels, h, w] and Lab [1, 3, h, w] of a frame; it is asked
    once for each that is needed, and no more are kept than smoothing over time looks at.
    Returns alpha uint8 [n, h, w], area [n] (share of the grid) and mean_lab [n, 3] of the hair.
    """
    shot, axes = np.cumsum(track.cuts), track.axes
    radius = round(config.edge * track.box.side / grid.step)
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    alphas, areas, means = [], [], []
    for frame in wanted:
        near = [
            f
            for f in given
            if abs(f - frame) <= NEIGHBOURS and track.present[f] and shot[f] == shot[frame]
        ]
        seen = {f: of for f, of in seen.items() if f >= frame - NEIGHBOURS}
        for f in {frame, *near} - seen.keys():
            probability, lab = look(f)
            seen[f] = _hair_seen(probability, lab, models, track, f, grid, config), lab
        hair, lab = seen[frame]
        alpha = torch.zeros_like(hair)
        if track.present[frame]:
            matrices = _grid_matrices(axes, near, grid)
            around = torch.cat([seen[f][0] for f in near])
            smoothed = follow(around, matrices, near.index(frame), config.smooth)
            refined = guided_filter(lab / 100, smoothed, radius, GUIDED_EPSILON)
            alpha = ((refined - SURE_NOT) / (SURE - SURE_NOT)).clamp(0, 1)
            alpha = alpha * own_share(track, range(frame, frame + 1), grid)
        area = alpha.sum()
        alphas.append((alpha[0, 0] * 255).round().to(torch.uint8).numpy())
        areas.append((area / alpha.numel()).numpy())
        means.append(((lab * alpha).sum((2, 3)) / (area + 1e-6))[0].numpy())
    return {"alpha": np.stack(alphas), "area": np.stack(areas), "mean_lab": np.stack(means)}


def _hair_seen(
    probability: Tensor,
    lab: Tensor,
    models: ColorModels,
    track: FaceTrack,
    frame: int,
    grid: Grid,
    config: MatteConfig,
) -> Tensor:
    """Probability of hair [1, 1, h, w] in one frame by itself."""
    place = range(frame, frame + 1), grid
    neck = face_part(NECK, track, *place)
    hair = classify(probability, models.log_likelihood(lab, neck), neck, config.color_weight)
    return hair * (1 - face_part(MIDDLE, track, *place))


JAW_CHIN_BROW = (172, 397, 152, 10)  # of MediaPipe's mesh: corners of the jaw, chin, hairline
NECK_LENGTH = 0.55  # in lengths of a face
NECK_INSET = 0.06  # on either side, in widths of the jaw


def _middle(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    return mesh[list(MIDDLE_OF_FACE)]


def _neck(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """A quad below the jaw, as wide as most of it and as long as half a face."""
    left, right, chin, brow = mesh[list(JAW_CHIN_BROW)]
    down = (chin - brow) * NECK_LENGTH
    inwards = (right - left) * NECK_INSET
    return np.stack(
        [left + inwards, left + inwards + down, right - inwards + down, right - inwards]
    )


MIDDLE, NECK = _middle, _neck


def face_part(
    part: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    track: FaceTrack,
    frames: range,
    grid: Grid,
) -> Tensor:
    """[T, 1, h, w] soft mask of a part of the face (MIDDLE, which is never hair, or NECK)."""
    masks = np.zeros((len(frames), grid.height, grid.width), np.float32)
    for row, frame in enumerate(frames):
        if track.present[frame]:
            local = grid.places(part(track.mesh[frame]))
            masks[row] = polygon_mask(local, grid.height, grid.width)
    return blur_mask(torch.from_numpy(masks)[:, None])


OWN_BORDER = 0.04  # softness of the border between two persons' parts, in crop sides
HEAD = (1.45 * FACE[0], 1.45 * FACE[1])  # half width and half height with hair, in crop sides


def own_share(track: FaceTrack, frames: range, grid: Grid) -> Tensor:
    """[T, 1, h, w] in 0 … 1: how far each sample is the person's own, and not a neighbour's.

    Hair belongs to the face that is nearer to it, counted in sizes of that face; but of two heads
    that overlap all of the larger one, which is in front, is its own. Ones [1, 1, 1, 1] if nobody
    is beside.
    """
    beside = track.neighbours[frames.start : frames.stop].astype(np.float64)
    if np.isnan(beside).all():
        return torch.ones(1, 1, 1, 1)
    rows, columns = (np.arange(n) + 0.5 for n in (grid.height, grid.width))
    points = np.meshgrid(grid.left + columns * grid.step, grid.top + rows * grid.step)
    points = np.stack(points, -1).reshape(-1, 2)
    shares = np.ones((len(frames), len(points)), np.float32)
    for share, frame, others in zip(shares, frames, beside, strict=True):
        mine = track.axes_of(np.array([frame]))
        for other in others[~np.isnan(others[:, 0])] if track.present[frame] else []:
            theirs = CropAxes(other[None, :2], other[None, 2:4])
            place, own = theirs.locate(points[None])[0], mine.locate(points[None])[0]
            nearer = _step(np.hypot(*place.T) - np.hypot(*own.T))
            if other[4] > 1:
                share *= np.minimum(nearer, 1 - _in_head(place))
            else:
                share *= np.maximum(nearer, _in_head(own))
    return torch.from_numpy(shares).view(len(frames), 1, grid.height, grid.width)


def _in_head(place: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 … 1, for places [N, 2] in a crop."""
    return _step((1 - np.hypot(*(place / HEAD).T)) * min(HEAD))


def _step(away: NDArray[np.float64]) -> NDArray[np.float64]:
    """0 … 1, from before a border to after it. away: from it, in crop sides."""
    return np.clip(away / OWN_BORDER + 0.5, 0, 1)


def blur_mask(mask: Tensor, radius: int = 2) -> Tensor:
    return F.avg_pool2d(mask, 2 * radius + 1, 1, radius, count_include_pad=False)


def on_canvas(values: Tensor, region: HeadRegion, canvas: Canvas, zoom: int = 1) -> Tensor:
    """Values [T, 1, h, w] on the region's grid (times zoom) brought to the canvas."""
    return cut_grid(values, canvas.grid, on=region.finer(zoom))


def mean_hair_color(path: str, parser: Parser) -> tuple[float, float, float]:
    """Mean color (sRGB, 0 … 1) of the hair of the largest face in a picture.

    Raises NoFaceFound if there is no face, or no hair.
    """
    picture = read_image(path)[None]
    mesh = FaceMesh(still=True, max_faces=4)
    faces = mesh(picture[0])
    mesh.close()
    if not len(faces):
        raise NoFaceFound(f"no face in {path}; give a picture of hair with its face, or a hex code")
    face = faces[np.argmax(np.ptp(faces[..., 1], axis=1))][None]
    axes = crop_axes(*eyes_and_mouth(face))
    region = plan_region(
        axes, (picture.shape[2], picture.shape[1]), parser.face_pixels, parser.stride
    )
    segmenter = PersonSegmenter()
    planes = parse(picture, face, region, parser, segmenter)
    segmenter.close()
    hair = planes[0, Label.HAIR] / 255.0
    sure = np.clip((hair - SURE_HAIR) / (1 - SURE_HAIR), 0, 1)
    if sure.sum() < LEAST_HAIR:
        raise NoFaceFound(f"no hair is seen in {path}; give another picture or a hex code")
    lab = rgb_to_lab(region.cut(to_unit(picture)) / 2 + 0.5)[0].numpy()
    mean = torch.from_numpy((lab * sure).sum((1, 2)) / sure.sum())
    red, green, blue = lab_to_rgb(mean[None, :, None, None]).flatten().tolist()
    return red, green, blue


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
    t, h, w, _ = pictures.shape
    step = canvas.resolution / face_pixels
    rows, columns = (math.ceil(n / step / parser.stride) * parser.stride for n in (h, w))
    grid = Grid(0, 0, step, rows, columns)  # of the parser, over the canvas
    image = cut_grid(to_unit(pictures, device), grid, padding="border")
    guides = torch.full((t, 2, rows, columns), UNKNOWN)
    for guide, mesh in zip(guides, meshes, strict=True):
        local = (mesh - [canvas.left, canvas.top]) / (canvas.step * step)
        guide[1] = torch.from_numpy(face_oval_mask(local, rows, columns))
    planes = _probabilities(parser, image, guides.to(device)).cpu()
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
        """Label probabilities [T, 4, h, w] on the grid of the matte."""
        labels = torch.from_numpy(self.planes[:, :4]).float() / 255
        return F.interpolate(labels, scale_factor=region.zoom, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class Matte(Value):
    """alpha: uint8 [T, h, w] on the grid of the matte; area: [T], its share of the grid; mean_lab:
    [T, 3] of the hair."""

    ROWS = ("alpha", "area", "mean_lab")
    alpha: NDArray[np.uint8]
    area: NDArray[np.float32]
    mean_lab: NDArray[np.float32]


@stage(keep=False)
def region(
    track: Series[FaceTrack],
    clip: Clip,
    face_pixels: Annotated[int, Fact("face_pixels")],
    stride: Annotated[int, Fact("parser.stride")],
) -> HeadRegion:
    return plan_region(crops_of(track), (clip.width, clip.height), face_pixels, stride)


@stage()
def labels(frames: Frames, track: FaceTrack, region: HeadRegion, parser: Parser) -> Labels:
    segmenter = PersonSegmenter()
    planes = parse(frames, track.mesh, region, parser, segmenter)
    segmenter.close()
    return Labels(planes)


def _grid_lab(pixels: NDArray[np.uint8], region: HeadRegion) -> Tensor:
    """The grid of the matte in Lab, [T, 3, h, w]."""
    return rgb_to_lab(region.cut(to_unit(pixels), region.zoom) / 2 + 0.5)


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
            lab = _grid_lab(frames.rows(*one).pixels, region)
            place = track.rows(*one), range(1), region.matte_grid
            parts = face_part(NECK, *place), face_part(MIDDLE, *place)
            own = own_share(*place)
            yield lab, labels.rows(*one).on_grid(region) * own, *parts
            meter(frames.count * (done + 1) / len(chosen))

    return learn_colors(samples())


@stage(version=2)
def matte(
    frames: Annotated[Frames, Near(NEIGHBOURS)],
    labels: Annotated[Labels, Near(NEIGHBOURS)],
    track: Annotated[FaceTrack, Near(NEIGHBOURS)],
    hair_colors: ColorModels,
    region: HeadRegion,
    span: Span,
    config: MatteConfig,
) -> Matte:
    core = span.core(NEIGHBOURS)

    def look(frame: int) -> tuple[Tensor, Tensor]:
        one = frame, frame + 1
        return labels.rows(*one).on_grid(region), _grid_lab(frames.rows(*one).pixels, region)

    found = make_mattes(
        look,
        hair_colors,
        track,
        range(len(frames)),
        range(core.start, core.stop),
        region.matte_grid,
        config,
    )
    return Matte(**found)
