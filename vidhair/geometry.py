"""Where a face is: the FFHQ crop, similarity transforms, boxes.

Points are (x right, y down) in pixels of the upright frame, float64, [..., 2]. Quads are
[..., 4, 2] in the order top-left, bottom-left, bottom-right, top-right. Positions inside a square
picture are in units of its side with the origin at its centre. Positive angles turn the picture
counter-clockwise as seen.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from PIL import Image


@dataclass(frozen=True)
class CropAxes:
    """The square that FFHQ cuts around a face: centre ± x ± y. All [..., 2]."""

    centre: np.ndarray
    x: np.ndarray

    @property
    def y(self) -> np.ndarray:
        """x turned by 90° clockwise as seen, so it points to the chin."""
        return np.stack([-self.x[..., 1], self.x[..., 0]], axis=-1)

    @property
    def side(self) -> np.ndarray:
        """Side of the square in pixels."""
        return 2 * np.hypot(self.x[..., 0], self.x[..., 1])

    @property
    def quad(self) -> np.ndarray:
        c, x, y = self.centre, self.x, self.y
        return np.stack([c - x - y, c - x + y, c + x + y, c + x - y], axis=-2)

    @property
    def upright_quad(self) -> np.ndarray:
        """The quad of the same centre and side, not rotated."""
        x = np.stack([self.side / 2, np.zeros_like(self.side)], axis=-1)
        return CropAxes(self.centre, x).quad


def crop_axes(
    eye_left: np.ndarray,
    eye_right: np.ndarray,
    mouth_left: np.ndarray,
    mouth_right: np.ndarray,
    *,
    eyes_only: bool = False,
) -> CropAxes:
    """The FFHQ crop from eye centres and mouth corners (Karras et al. 2019, appendix A).

    "Left" is the viewer's left. eyes_only: the scale comes from the eye distance alone, as in
    stylegan3-editing, instead of the larger of eye distance and eye-to-mouth distance.
    """
    eye = (eye_left + eye_right) * 0.5
    eye_to_eye = eye_right - eye_left
    eye_to_mouth = (mouth_left + mouth_right) * 0.5 - eye
    across = np.stack([-eye_to_mouth[..., 1], eye_to_mouth[..., 0]], axis=-1)
    x = eye_to_eye - across
    x = x / np.hypot(x[..., 0], x[..., 1])[..., None]
    scale = np.hypot(eye_to_eye[..., 0], eye_to_eye[..., 1]) * 2.0
    if not eyes_only:
        scale = np.maximum(scale, np.hypot(eye_to_mouth[..., 0], eye_to_mouth[..., 1]) * 1.8)
    return CropAxes(eye + eye_to_mouth * 0.1, x * scale[..., None])


@dataclass(frozen=True)
class Box:
    """An upright square in the frame: left and top edge and side, in pixels."""

    left: float
    top: float
    side: float

    @property
    def centre(self) -> np.ndarray:
        return np.array([self.left + self.side / 2, self.top + self.side / 2])


@dataclass(frozen=True)
class Similarity:
    """How the aligned face lies in the clip's box, per frame. All arrays are [T].

    u_box = scale · R(angle) · u_face + (tx, ty), both in units of the side of the box or crop.
    """

    angle_deg: np.ndarray
    tx: np.ndarray
    ty: np.ndarray
    scale: np.ndarray

    def matrices(self) -> np.ndarray:
        """[T, 3, 3], face → box; `Synthesis` takes the inverses."""
        a = np.deg2rad(self.angle_deg)
        c, s = np.cos(a) * self.scale, np.sin(a) * self.scale
        m = np.zeros((*np.shape(a), 3, 3))
        m[..., 0, 0], m[..., 0, 1], m[..., 0, 2] = c, s, self.tx
        m[..., 1, 0], m[..., 1, 1], m[..., 1, 2] = -s, c, self.ty
        m[..., 2, 2] = 1
        return m

    @staticmethod
    def from_matrices(m: np.ndarray) -> "Similarity":
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
    left: np.ndarray, right: np.ndarray, left_aligned: np.ndarray, right_aligned: np.ndarray
) -> float:
    """Rotation between two eye lines in [0, 360], by the rule of stylegan3-editing.

    The angle itself is unsigned; which eye of the unaligned picture is lower decides its sense.
    """
    a, b = right - left, right_aligned - left_aligned
    cosine = np.dot(a, b) / (np.hypot(*a) * np.hypot(*b))
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(360 - angle if right[1] > left[1] else angle)


def crop_quad(
    image: Image.Image,
    quad: np.ndarray,
    *,
    size: int,
    transform_size: int | None = None,
    pad: bool = True,
) -> Image.Image:
    """Cut a quad out of a still as the FFHQ scripts do: shrink, crop, pad, warp.

    quad: [4, 2]. size: side of the result. transform_size: side at which the warp samples; the
    result is then reduced. pad: continue the picture beyond its border by blurred reflection.
    """
    transform_size = size if transform_size is None else transform_size
    quad = np.array(quad, dtype=np.float64)
    side = float(np.hypot(*(quad[3] - quad[0])))

    shrink = int(side / size * 0.5)
    if shrink > 1:
        smaller = (round(image.width / shrink), round(image.height / shrink))
        image = image.resize(smaller, Image.Resampling.LANCZOS)
        quad, side = quad / shrink, side / shrink

    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    left, top = np.maximum(low - border, 0)
    right, bottom = np.minimum(high + border, image.size)
    if right - left < image.width or bottom - top < image.height:
        image = image.crop((int(left), int(top), int(right), int(bottom)))
        quad = quad - [left, top]

    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    before = np.maximum(border - low, 0)
    after = np.maximum(high - image.size + border, 0)
    if pad and max(*before, *after) > border - 4:
        before = np.maximum(before, round(side * 0.3))
        after = np.maximum(after, round(side * 0.3))
        image = _reflect_and_blur(image, before, after, sigma=side * 0.02)
        quad = quad + before

    corners = tuple((quad + 0.5).flatten())
    square = (transform_size, transform_size)
    image = image.transform(square, Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    if size < transform_size:
        image = image.resize((size, size), Image.Resampling.LANCZOS)
    return image


def _reflect_and_blur(
    image: Image.Image, before: np.ndarray, after: np.ndarray, sigma: float
) -> Image.Image:
    """Extend a picture by reflection that fades into blur, then into its median colour."""
    widths = ((before[1], after[1]), (before[0], after[0]), (0, 0))
    padded = np.pad(np.asarray(image, np.float32), widths, "reflect")
    h, w, _ = padded.shape
    y, x, _ = np.ogrid[:h, :w, :1]
    # Depth into the border: 0 where the picture begins, 1 at the outer edge.
    depth = np.maximum(
        1 - np.minimum(np.float32(x) / before[0], np.float32(w - 1 - x) / after[0]),
        1 - np.minimum(np.float32(y) / before[1], np.float32(h - 1 - y) / after[1]),
    )
    blurred = scipy.ndimage.gaussian_filter(padded, [sigma, sigma, 0])
    padded += (blurred - padded) * np.clip(depth * 3 + 1, 0, 1)
    padded += (np.median(padded, axis=(0, 1)) - padded) * np.clip(depth, 0, 1)
    return Image.fromarray(np.uint8(np.clip(np.rint(padded), 0, 255)), "RGB")


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
    eye_left: np.ndarray,
    eye_right: np.ndarray,
    height: int,
    width: int,
    padding: tuple[int, int, int, int] = (200, 200, 200, 200),
) -> FrameCrop:
    """Scale the frame so that the eyes are 64 px apart, then cut around their midpoint.

    padding: left, right, top, bottom. Borders are multiples of 8 inside the scaled frame.
    """
    scale = 64.0 / (eye_right[0] - eye_left[0])
    x, y = (eye_left + eye_right) / 2 * scale
    height, width = round(height * scale), round(width * scale)
    left, right, top, bottom = padding
    return FrameCrop(
        height=height,
        width=width,
        top=max(round(y - top), 0) // 8 * 8,
        bottom=min(round(y + bottom), height) // 8 * 8,
        left=max(round(x - left), 0) // 8 * 8,
        right=min(round(x + right), width) // 8 * 8,
        scale=scale,
    )
