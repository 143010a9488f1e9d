"""Where a face is: the FFHQ crop, similarity transforms, boxes.

Points are (x right, y down) in pixels of the upright frame, float64, [..., 2]. Quads are
[..., 4, 2] in the order top-left, bottom-left, bottom-right, top-right. Positions inside a square
picture are in units of its side with the origin at its centre. Positive angles turn the picture
counter-clockwise as seen.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray
from PIL import Image

# How stills are cut like those of FFHQ, as shares of the crop's side.
MARGIN, BORDER, BLUR = 0.1, 0.3, 0.02
MIN_MARGIN, CLOSE = 3, 4  # in pixels
# How frames are cut for StyleGANEX, in pixels.
EYE_DISTANCE, GRID = 64, 8


AGREED = 0.7  # length of the mean of directions, from which on they are one


def _numbers(points: NDArray[Any]) -> NDArray[Any]:
    """Points as complex numbers x + iy: as y points down, times i is a clockwise quarter turn."""
    numbers: NDArray[np.complex128] = points[..., 0] + 1j * points[..., 1]
    return numbers


def _points(numbers: NDArray[Any]) -> NDArray[Any]:
    return np.stack([numbers.real, numbers.imag], axis=-1)


@dataclass(frozen=True)
class CropAxes:
    """The square that FFHQ cuts around a face: centre ± x ± y. All [..., 2]."""

    centre: NDArray[Any]
    x: NDArray[Any]

    @property
    def y(self) -> NDArray[Any]:
        """x turned by 90° clockwise as seen, so it points to the chin."""
        return _points(_numbers(self.x) * 1j)

    @property
    def side(self) -> NDArray[Any]:
        """Side of the square in pixels."""
        return 2 * np.hypot(self.x[..., 0], self.x[..., 1])

    def locate(self, points: NDArray[Any]) -> NDArray[Any]:
        """Points [..., n, 2] of the frame in the squares [...], in units of their sides with the
        origin at their centres."""
        moved = points - self.centre[..., None, :]
        along = [(moved * axis[..., None, :]).sum(-1) for axis in (self.x, self.y)]
        located: NDArray[Any] = np.stack(along, -1) * (2 / self.side**2)[..., None, None]
        return located

    @property
    def quad(self) -> NDArray[Any]:
        c, x, y = self.centre, self.x, self.y
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], axis=-2)

    @property
    def upright_quad(self) -> NDArray[Any]:
        """The quad of the same centre and side, not rotated."""
        x = np.stack([self.side / 2, np.zeros_like(self.side)], axis=-1)
        return CropAxes(self.centre, x).quad


def crop_axes(
    eye_left: NDArray[Any],
    eye_right: NDArray[Any],
    mouth_left: NDArray[Any],
    mouth_right: NDArray[Any],
    *,
    eyes_only: bool = False,
) -> CropAxes:
    """The square around a face that data sets aligned like FFHQ use.

    Karras et al. 2018 ("Progressive Growing of GANs", appendix C) give it for CelebA-HQ, and FFHQ
    keeps the rule. With e from eye to eye and m from between the eyes to the middle of the mouth,
    as complex numbers: right is along e, and by another estimate along m turned back by a quarter,
    −i·m; the square's x axis lies along the sum of both, half its side is max(2·|e|, 1.8·|m|), and
    its centre is a tenth of m below the eyes.

    "Left" is the viewer's left. eyes_only: the scale is 2·|e|, as in stylegan3-editing.
    """
    left, right, *mouth = map(_numbers, (eye_left, eye_right, mouth_left, mouth_right))
    eyes = (left + right) / 2
    e, m = right - left, sum(mouth) / 2 - eyes
    half = 2 * abs(e) if eyes_only else np.maximum(2 * abs(e), 1.8 * abs(m))
    rightwards = e - 1j * m
    return CropAxes(_points(eyes + m / 10), _points(rightwards * (half / abs(rightwards))))


def quarters_of(ways: NDArray[Any]) -> int:
    """Quarters of a circle, to the left, by which faces have to be turned to be upright; none
    where they do not agree. ways: [n, 2], to the right on each of them."""
    along = _numbers(ways)
    mean = (along / np.maximum(np.abs(along), 1e-9)).mean() if len(along) else 1
    return round(float(np.angle(mean)) / (np.pi / 2)) % 4 if abs(mean) > AGREED else 0


@dataclass(frozen=True)
class Box:
    """An upright square in the frame: left and top edge and side, in pixels."""

    left: float
    top: float
    side: float

    @property
    def centre(self) -> NDArray[Any]:
        return np.array([self.left + self.side / 2, self.top + self.side / 2])


@dataclass(frozen=True)
class Grid:
    """An upright rectangle of samples: a part of the frame, or what is drawn or cut over it.

    left, top: its corner in pixels of the frame. step: frame pixels per sample. height, width:
    samples.
    """

    left: float
    top: float
    step: float
    height: int
    width: int

    @classmethod
    def of_pixels(cls, height: int, width: int, left: int = 0, top: int = 0) -> "Grid":
        """Pixels of the frame themselves."""
        return Grid(left, top, 1, height, width)

    def finer(self, times: int) -> "Grid":
        """The same rectangle with `times` as many samples along each side."""
        size = self.height * times, self.width * times
        return Grid(self.left, self.top, self.step / times, *size)

    def seen_from(self, other: "Grid") -> "Grid":
        """The same samples in units of another grid, as if its samples were the frame's pixels."""
        left, top = (self.left - other.left) / other.step, (self.top - other.top) / other.step
        return Grid(left, top, self.step / other.step, self.height, self.width)

    def places(self, points: NDArray[Any]) -> NDArray[Any]:
        """Points [..., 2] in pixels of the frame → in samples from the corner."""
        return (points - [self.left, self.top]) / self.step

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Rows and columns of the frame, for a grid of its own pixels."""
        assert self.step == 1, f"{self} does not lie on the frame's pixels"
        left, top = int(self.left), int(self.top)
        return slice(top, top + self.height), slice(left, left + self.width)


@dataclass(frozen=True)
class Similarity:
    """How the aligned face lies in the clip's box, per frame. All arrays are [T].

    u_box = scale · R(angle) · u_face + (tx, ty), both in units of the side of the box or crop.
    """

    angle_deg: NDArray[Any]
    tx: NDArray[Any]
    ty: NDArray[Any]
    scale: NDArray[Any]

    def matrices(self) -> NDArray[Any]:
        """[T, 3, 3], face → box; `Synthesis` takes the inverses."""
        a = np.deg2rad(self.angle_deg)
        c, s = np.cos(a) * self.scale, np.sin(a) * self.scale
        m = np.zeros((*np.shape(a), 3, 3))
        m[..., 0, 0], m[..., 0, 1], m[..., 0, 2] = c, s, self.tx
        m[..., 1, 0], m[..., 1, 1], m[..., 1, 2] = -s, c, self.ty
        m[..., 2, 2] = 1
        return m

    @staticmethod
    def from_matrices(m: NDArray[Any]) -> "Similarity":
        """The similarity nearest to [T, 3, 3] matrices (their two diagonals are averaged)."""
        c = (m[..., 0, 0] + m[..., 1, 1]) / 2
        s = (m[..., 0, 1] - m[..., 1, 0]) / 2
        return Similarity(np.rad2deg(np.arctan2(s, c)), m[..., 0, 2], m[..., 1, 2], np.hypot(c, s))


def similarity_in_box(axes: CropAxes, box: Box) -> Similarity:
    """(r, tx, ty, scale) of FFHQ crops inside an upright box, in closed form."""
    offset = (axes.centre - box.centre) / box.side
    angle = np.rad2deg(np.arctan2(-axes.x[..., 1], axes.x[..., 0]))
    return Similarity(angle, offset[..., 0], offset[..., 1], axes.side / box.side)


def eye_rotation_deg(
    left: NDArray[Any], right: NDArray[Any], left_aligned: NDArray[Any], right_aligned: NDArray[Any]
) -> float:
    """Rotation between two eye lines in [0, 360], by the rule of stylegan3-editing.

    The angle itself is unsigned; which eye of the unaligned picture is lower decides its sense.
    """
    line, aligned = _numbers(right - left), _numbers(right_aligned - left_aligned)
    angle = abs(np.angle(line / aligned, deg=True))
    return float(360 - angle if right[1] > left[1] else angle)


def crop_quad(
    image: Image.Image,
    quad: NDArray[Any],
    *,
    size: int,
    transform_size: int | None = None,
    pad: bool = True,
) -> Image.Image:
    """Cut a quad out of a still as the FFHQ scripts do: shrink, crop, pad, warp.

    Reflection and blur beyond the border are those of Karras et al. 2018, appendix C, with the
    numbers that FFHQ was made with: a crop of at least four times the wanted side is reduced by a
    whole factor first, and a margin of a tenth of the side is kept around the quad. If the quad
    comes closer than `CLOSE` to the picture's edge, a border of at least three tenths is made up
    all around.

    quad: [4, 2]. size: side of the result. transform_size: side at which the warp samples; the
    result is then reduced. pad: continue the picture beyond its border by blurred reflection.
    """
    samples = transform_size or size
    quad = np.asarray(quad, np.float64)
    side = math.dist(quad[0], quad[3])
    factor = max(1, math.floor(side / (2 * size)))
    if factor > 1:
        reduced = round(image.width / factor), round(image.height / factor)
        image = image.resize(reduced, Image.Resampling.LANCZOS)
    quad, side = quad / factor, side / factor

    margin = max(MIN_MARGIN, round(MARGIN * side))
    window = np.stack([np.floor(quad.min(0)) - margin, np.ceil(quad.max(0)) + margin]).astype(int)
    seen = np.clip(window, 0, image.size)
    missing = abs(window - seen)  # [before or after, x or y]
    image = image.crop(tuple(seen.flatten().tolist()))
    quad = quad - seen[0]
    if pad and missing.max() > margin - CLOSE:
        border = np.maximum(missing, round(BORDER * side))
        image = _continued(image, border, blur=BLUR * side)
        quad = quad + border[0]

    corners = tuple((quad + 0.5).flatten())  # Pillow's pixels have their centres at halves
    image = image.transform(
        (samples, samples), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR
    )
    return image if samples <= size else image.resize((size, size), Image.Resampling.LANCZOS)


def _continued(image: Image.Image, border: NDArray[Any], blur: float) -> Image.Image:
    """The picture with a border of [before or after, x or y] pixels: its reflection, ever softer.

    The way from the outer edge to where the picture begins counts from 0 to 1. The border turns to
    the median color along it, and the blur fades out over a third of it more, in the picture.
    """
    widths = border.T[::-1]  # rows, then columns
    sharp = np.pad(np.asarray(image, np.float32), (*widths, (0, 0)), "reflect")
    soft = scipy.ndimage.gaussian_filter(sharp, (blur, blur, 0))

    def way(length: int, before: int, after: int) -> NDArray[Any]:
        steps = np.arange(length, dtype=np.float32)
        return np.minimum(steps / before, steps[::-1] / after)

    rows, columns = (way(n, *w) for n, w in zip(sharp.shape, widths, strict=False))
    ways = np.minimum.outer(rows, columns)[..., None]
    mixed = sharp + np.clip(4 - 3 * ways, 0, 1) * (soft - sharp)
    color = np.median(mixed, axis=(0, 1))
    mixed += np.clip(1 - ways, 0, 1) * (color - mixed)
    return Image.fromarray(np.rint(mixed).clip(0, 255).astype(np.uint8), "RGB")


@dataclass(frozen=True)
class FrameCrop:
    """A rescaled and cropped frame around a face (StyleGANEX): all in pixels after scaling."""

    height: int
    width: int
    top: int
    bottom: int
    left: int
    right: int
    scale: float


def frame_crop(
    eye_left: NDArray[Any],
    eye_right: NDArray[Any],
    height: int,
    width: int,
    padding: tuple[int, int, int, int] = (200, 200, 200, 200),
) -> FrameCrop:
    """Scale the frame so that the eyes are 64 px apart, then cut around their midpoint.

    padding: left, right, top, bottom. Borders are multiples of 8 inside the scaled frame.
    """
    scale = EYE_DISTANCE / (eye_right[0] - eye_left[0])
    before, after = np.reshape(padding, (2, 2)).T  # [left, top], [right, bottom]
    middle = (eye_left + eye_right) * (scale / 2)
    size = np.rint(np.array([width, height]) * scale)
    edges = np.clip(np.rint([middle - before, middle + after]), 0, size)
    (left, top), (right, bottom) = (edges.astype(int) // GRID * GRID).tolist()
    return FrameCrop(
        height=int(size[1]),
        width=int(size[0]),
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        scale=float(scale),
    )
