"""Codes and transforms → pictures of the head, over a canvas around the clip's box."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.geometry import Box, CropAxes, Grid, Similarity
from vidhair.models.generators.aligned import MovableSynthesis, coverage
from vidhair.models.generators.cuda_graph import cuda_graphed
from vidhair.models.generators.stylegan3 import Extent
from vidhair.precision import CHOICES, resolve
from vidhair.settings import setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.smooth import Pivots
from vidhair.types import Clip
from vidhair.wiring import Derived, Fact, Series, Setting, Span, Value, ranges, stage

FEATURES_REACH = 1.5  # sides of the face's square over which features can be changed


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    expand: float = setting(
        0.35, "how far beyond the face crop to render, in crop sides", low=0.0, high=1.5
    )
    precision: str = setting(
        "auto",
        "of the layers; auto is the fastest that the picture does not show, float16 is for GPUs",
        choices=CHOICES,
    )
    batch: int = setting(4, "frames rendered at once", low=1, high=64, affects=False)
    memory: int = setting(
        2048,
        "MiB that layers may take at a time; canvases that need more go in tiles",
        low=64,
        affects=False,
    )


@dataclass(frozen=True)
class Canvas(Derived):
    """The rectangle that is rendered: the box at the generator's resolution and pixels around it.

    left, top: its corner in the frame, in pixels. step: frame pixels per canvas pixel.
    """

    resolution: int
    extent: Extent
    left: float
    top: float
    step: float

    @property
    def grid(self) -> Grid:
        """What it shows of the frame."""
        return Grid(self.left, self.top, self.step, self.height, self.width)

    @property
    def nominal(self) -> "Canvas":
        """The box alone."""
        left = self.left + self.extent.left * self.step
        top = self.top + self.extent.top * self.step
        return Canvas(self.resolution, Extent(), left, top, self.step)

    @property
    def height(self) -> int:
        return self.extent.top + self.resolution + self.extent.bottom

    @property
    def width(self) -> int:
        return self.extent.left + self.resolution + self.extent.right


def plan_canvas(
    axes: CropAxes, box: Box, frame_size: tuple[int, int], resolution: int, expand: float
) -> Canvas:
    """The smallest canvas that covers every crop, expanded, as far as the frame reaches.

    axes: of the frames with a face. frame_size: (width, height).
    """
    width, height = frame_size
    reach = axes.side * (0.5 + expand)
    low = (axes.centre - reach[:, None]).min(axis=0)
    high = (axes.centre + reach[:, None]).max(axis=0)
    step = box.side / resolution
    left = max(low[0], 0.0)
    top = max(low[1], 0.0)
    right, bottom = min(high[0], width), min(high[1], height)

    def pixels(distance: float) -> int:
        return max(0, int(np.ceil(distance / step)))

    extent = Extent(
        left=pixels(box.left - left),
        top=pixels(box.top - top),
        right=pixels(right - box.left - box.side),
        bottom=pixels(bottom - box.top - box.side),
    )
    return Canvas(
        resolution, extent, box.left - extent.left * step, box.top - extent.top * step, step
    )


def input_transforms(similarity: Similarity, device: str | torch.device = "cpu") -> Tensor:
    """[T, 3, 3] float32 as `Synthesis` takes them: box → aligned face."""
    inverse = np.linalg.inv(similarity.matrices())
    return torch.as_tensor(inverse, dtype=torch.float32, device=device)


def canvas_coverage(synthesis: MovableSynthesis, transforms: Tensor, canvas: Canvas) -> Tensor:
    """How far the generator draws what each pixel of the canvas shows: [T, 1, h, w] in 0 … 1.

    transforms: [T, 3, 3], of `input_transforms`.
    """
    if synthesis.expands:
        everywhere = transforms.new_ones(1, 1, 1, 1)
        return everywhere.expand(len(transforms), -1, canvas.height, canvas.width)
    return coverage(transforms, canvas.extent, canvas.resolution)


@torch.inference_mode()
def render(
    synthesis: MovableSynthesis,
    styles: NDArray[np.float32],
    similarity: Similarity,
    canvas: Canvas,
    config: RenderConfig,
) -> NDArray[np.uint8]:
    """styles [T, L, D], similarity [T] → uint8 [T, h, w, 3] of the canvas.

    Raises InvalidSetting for a precision that the device lacks.
    """
    device = next(synthesis.parameters()).device
    gpu = device.type == "cuda"
    dtype = resolve(config.precision, device, "render").dtype
    draw = cuda_graphed(synthesis)
    codes = torch.from_numpy(styles).to(device)
    transforms = input_transforms(similarity, device)
    # Copies from a GPU into such memory go on while it draws the next pictures.
    shape = len(styles), canvas.height, canvas.width, 3
    pictures = torch.empty(shape, dtype=torch.uint8, pin_memory=gpu)
    for at in range(0, len(styles), config.batch):
        count = min(config.batch, len(styles) - at)
        # A GPU replays one size of batch: the last one is filled up.
        rows = torch.arange(at, at + (config.batch if gpu else count), device=device)
        rows = rows.clamp(max=len(styles) - 1)
        image = draw(
            codes[rows],
            transform=transforms[rows],
            canvas=canvas.extent,
            dtype=dtype,
            memory=config.memory << 20,
        )
        levels = (image[:count] * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        pictures[at : at + count].copy_(levels.permute(0, 2, 3, 1), non_blocking=True)
    if gpu:
        torch.cuda.synchronize(device)
    return pictures.numpy()


@dataclass(frozen=True)
class Codes(Value):
    """What the generator is to draw. styles: [T, L, D]."""

    ROWS = ("styles",)
    styles: NDArray[np.float32]


@dataclass(frozen=True)
class Drawer(Derived):
    """The generator of this run, tuned or not, on its device."""

    synthesis: MovableSynthesis


@dataclass(frozen=True)
class Picture(Value):
    """Renderings on the canvas. levels: uint8 [T, h, w, 3]; black where there is no face."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]


@dataclass(frozen=True)
class DrawnChange(Value):
    """What K edits change beyond the codes, in every frame by their strength [T, K].

    styles: [N, K, C], of all layers' styles one after the other. features: [N, K, C, h, w], of what
    is halfway, over the square of FEATURES_REACH sides around the aligned face. N is 1, for all
    frames alike, or T; edits have one of both, and the other one is empty.
    """

    ROWS = ("strength",)
    strength: NDArray[np.float32]
    styles: NDArray[np.float32]
    features: NDArray[np.float32]

    @property
    def is_none(self) -> bool:
        return not (self.styles.size or self.features.size)

    def of_frames(self, name: str, frames: range) -> Tensor:
        """The sum of all edits' `styles` or `features` in some of the clip's frames, of whose rows
        this is."""
        values = torch.from_numpy(getattr(self, name))
        chosen = values if len(values) == 1 else values[frames.start : frames.stop]
        ones = [1] * (values.ndim - 2)
        degree = torch.from_numpy(self.strength).view(*self.strength.shape, *ones)
        return (degree * chosen).sum(1)

    def with_styles(
        self, strength: NDArray[np.float32], styles: NDArray[np.float32]
    ) -> "DrawnChange":
        """With another edit's change of styles [C], by its strength [T]."""
        former = self.styles if self.styles.size else np.zeros((1, 0, len(styles)), np.float32)
        own = np.broadcast_to(styles, (len(former), 1, len(styles)))
        degrees = [self.strength[:, : former.shape[1]], strength[:, None]]
        return DrawnChange(
            np.concatenate(degrees, 1), np.concatenate([former, own], 1), self.features
        )


@stage(keep=False)
def no_drawn_change(clip: Clip) -> DrawnChange:
    none = np.zeros((0, 0, 0), np.float32)
    return DrawnChange(np.zeros((clip.frame_count, 0), np.float32), none, none[..., None, None])


def styled(synthesis: MovableSynthesis, codes: Tensor, change: Tensor | None) -> list[Tensor]:
    """Codes [B, L, D] → S, with a change [B, C] of it, if there is one."""
    styles = synthesis.styles(codes)
    if change is None:
        return styles
    parts = change.to(styles[0]).split([style.shape[1] for style in styles], dim=1)
    return [style + part for style, part in zip(styles, parts, strict=True)]


def carried(features: Tensor, places: Tensor, transforms: Tensor) -> Tensor:
    """A change of features [B, C, h, w] over the aligned face, to where the face is.

    places: [B, h', w', 2], of `halfway_places`; transforms: [B, 3, 3]: positions in the picture →
    in the face. Nothing is changed beyond it.
    """
    at = torch.einsum("bhwk,bck->bhwc", places, transforms[:, :2, :2])
    at = (at + transforms[:, None, None, :2, 2]) * (2 / FEATURES_REACH)
    return F.grid_sample(features, at.to(features), align_corners=False)


@dataclass(frozen=True)
class Drawing:
    """How frames are drawn in two halves, one or several at a time."""

    synthesis: MovableSynthesis
    canvas: Canvas
    dtype: torch.dtype
    memory: int

    @classmethod
    def of(cls, drawer: Drawer, canvas: Canvas, config: RenderConfig) -> "Drawing":
        """Raises InvalidSetting for a precision that the device lacks."""
        device = next(drawer.synthesis.parameters()).device
        dtype = resolve(config.precision, device, "render").dtype
        return cls(drawer.synthesis, canvas, dtype, config.memory << 20)

    @property
    def device(self) -> torch.device:
        return next(self.synthesis.parameters()).device

    @torch.inference_mode()
    def half(
        self,
        codes: NDArray[np.float32],
        transforms: Tensor,
        change: DrawnChange | None = None,
        frames: range = range(0),
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Codes [B, L, D] → what is halfway, and S. change: of these frames of the clip."""
        of_styles = None
        if change is not None and change.styles.size:
            of_styles = change.of_frames("styles", frames).to(self.device)
        ws = torch.from_numpy(codes).to(self.device)
        styles = styled(self.synthesis, ws, of_styles)
        placed: Any = {"transform": transforms, "canvas": self.canvas.extent}
        half = self.synthesis.halfway(styles, **placed, dtype=self.dtype, memory=self.memory)
        if change is not None and change.features.size:
            added = change.of_frames("features", frames).to(self.device)
            (places, *_) = self.synthesis.halfway_places(transforms, self.canvas.extent)
            moved = carried(added.float(), places, transforms)
            half = half[0] + moved.to(half[0]), *half[1:]
        return half, styles

    @torch.inference_mode()
    def finished(
        self, half: tuple[Tensor, ...], styles: list[Tensor], transforms: Tensor
    ) -> NDArray[np.uint8]:
        """uint8 [B, h, w, 3] of the canvas."""
        image = self.synthesis.finished(
            half, styles, transform=transforms, canvas=self.canvas.extent, memory=self.memory
        )
        levels = (image * 127.5 + 127.5).round().clamp(0, 255).to(torch.uint8)
        pictures: NDArray[np.uint8] = levels.movedim(1, -1).cpu().numpy()
        return pictures


def crops_of(track: Series[FaceTrack]) -> CropAxes:
    """The crops of all frames with the face, [T, 2]."""
    centres, axes = [], []
    for start, stop in ranges(track.count):
        rows = track.rows(start, stop)
        found = rows.axes_of(rows.present)
        centres.append(found.centre)
        axes.append(found.x)
    return CropAxes(np.concatenate(centres), np.concatenate(axes))


@stage(keep=False)
def canvas(
    track: Series[FaceTrack],
    clip: Clip,
    resolution: Annotated[int, Fact("generator.resolution")],
    expand: Annotated[float, Setting("render.expand")],
) -> Canvas:
    size, box = (clip.width, clip.height), track.rows(0, 1).box
    return plan_canvas(crops_of(track), box, size, resolution, expand)


@stage()
def rendered(
    codes: Codes,
    pivots: Pivots,
    track: FaceTrack,
    canvas: Canvas,
    drawer: Drawer,
    config: RenderConfig,
) -> Picture:
    """What the generator makes of the person, without an edit."""
    present = track.present
    levels = np.zeros((len(present), canvas.height, canvas.width, 3), np.uint8)
    if present.any():
        similarity = Similarity(*pivots.transform[present].T)
        levels[present] = render(
            drawer.synthesis, codes.styles[present], similarity, canvas, config
        )
    return Picture(levels)


@stage()
def edited(
    edited_codes: Codes,
    drawn_change: DrawnChange,
    span: Span,
    pivots: Pivots,
    track: FaceTrack,
    canvas: Canvas,
    drawer: Drawer,
    config: RenderConfig,
) -> Picture:
    """The same with the edit."""
    if drawn_change.is_none:
        return rendered(edited_codes, pivots, track, canvas, drawer, config)
    made = np.zeros((len(span), canvas.height, canvas.width, 3), np.uint8)
    drawing = Drawing.of(drawer, canvas, config)
    for row in np.flatnonzero(track.present).tolist():
        one = slice(row, row + 1)
        frame = span.start + row
        own = drawn_change.rows(row, row + 1), range(frame, frame + 1)
        transform = input_transforms(Similarity(*pivots.transform[one].T), drawing.device)
        half, styles = drawing.half(edited_codes.styles[one], transform, *own)
        made[one] = drawing.finished(half, styles, transform)
    return Picture(made)
