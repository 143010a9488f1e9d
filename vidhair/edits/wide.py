"""Edits by StyleGANEX's networks, which take whole frames of any size; no generator of faces.

T frames, K places, L codes, D width of a code.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.checkpoints.packs import SHIPPED, PackFiles, bundled_folder, open_pack
from vidhair.edits.edit import Edit, GradedEdit, Strength
from vidhair.errors import InvalidSetting
from vidhair.geometry import Grid
from vidhair.imaging.resize import bicubic_shrink
from vidhair.models.pack import EditingVector, Pack
from vidhair.models.styleganex.network import StyleGANEX
from vidhair.models.styleganex.tiles import draw
from vidhair.precision import resolve
from vidhair.settings import Curve, setting
from vidhair.stages.align import Faces, Shots
from vidhair.stages.people import Tracks, Wanted
from vidhair.stages.render import RenderConfig
from vidhair.stages.wide import (
    LARGEST_INPUT,
    LARGEST_MASKED,
    Paste,
    Places,
    aligned_face,
    find_places,
    put_back,
    seen,
)
from vidhair.types import Clip, Frames
from vidhair.wiring import Makers, Series, Span, Value, makers, stage

PLAIN_FACTOR = 4.0  # of super-resolution, at which a network sees frames as they are


@dataclass(frozen=True)
class Styles(Value):
    """codes: [K, L, D] float32, of each place."""

    codes: NDArray[np.float32]


@dataclass(frozen=True)
class Pictures(Value):
    """What is drawn, at its own size. levels: uint8 [T, h, w, 3]."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]

    def over(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """In place of the source's frames."""
        return self.levels


@stage(chunk=4, compress=True)
def own_pictures(composed: Frames) -> Pictures:
    """What is kept where the frames are no longer of the source's size."""
    return Pictures(composed.pixels)


def working(config: RenderConfig, device: torch.device) -> AbstractContextManager[Any]:
    """Computing in the precision of a recipe."""
    dtype = resolve(config.precision, device, "render").dtype
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def for_tiles(config: RenderConfig) -> int:
    """Bytes that tiles may take; the rest is for the weights, over a gigabyte where they are those
    that were published, and for what is held of whole pictures."""
    return config.memory << 18


# The number of a frame and a place → what is drawn there, [1, 3, h, w], one or several; with the
# same without the edit, where only the difference is wanted.
Drawing = tuple[Sequence[Tensor], Tensor | None]
Draw = Callable[[NDArray[np.uint8], int, int], Drawing]


@dataclass(frozen=True, kw_only=True)
class WideEdit(Edit):
    """Base of edits that a network for one `task` draws whole frames for."""

    whole_frames: ClassVar[bool] = True
    task: ClassVar[str]
    most: ClassVar[int] = LARGEST_INPUT  # pixels that the network sees at once
    framing: str = setting(
        "crop",
        "what is drawn: crop, what lies around a face; frame, all that the frame shows",
        choices=("crop", "frame"),
    )
    size: str = setting(
        "source",
        "source: put back into the frame; drawn: what is drawn, at its own size",
        choices=("source", "drawn"),
    )
    feather: float = setting(
        0.08, "softness of the border of what is put back, in its sides", low=0.0, high=0.5
    )
    match: bool = setting(True, "let colors at that border be the source's")
    grain: float = setting(
        0.0, "share of the source's noise that what is put back gets", low=0.0, high=1.0
    )

    @property
    def in_frames(self) -> bool:
        return True

    @property
    def note(self) -> str:
        return f"StyleGANEX's network for {self.task} draws what changes"

    def lender(self, files: PackFiles) -> PackFiles | None:
        if task_of_pack(files) or self.task not in SHIPPED:
            return None
        return open_pack(bundled_folder() / SHIPPED[self.task])

    def served_by(self, files: PackFiles) -> bool:
        """Whether a pack has a network for it, or none, and one ships."""
        return task_of_pack(self.lender(files) or files) == self.task

    def check(self, pack: Pack, place: str) -> None:
        if not self.served_by(pack.files):
            task = task_of_pack(pack.files)
            held = f"one for {task}" if task else "none"
            raise InvalidSetting(
                f"{place}.kind = {self.kind!r} needs a StyleGANEX network for {self.task}, and the "
                f"pack {pack.name!r} has {held}; convert the authors' file with `vidhair models "
                "convert` and give that pack"
            )

    def check_clip(self, clip: Clip, place: str) -> None:
        if self.size == "drawn" and clip.alpha:
            raise InvalidSetting(
                f"{place}.size = 'drawn' has no room for the transparency of {clip.path}; use "
                "source"
            )

    def check_moved(self, place: str) -> None:
        """It draws what was moved."""

    def makers(self) -> Makers:
        made = makers(self.places, composed=self.drawn, **self.styling())
        return made | makers(changes=own_pictures) if self.size == "drawn" else made

    def styling(self) -> dict[str, Any]:
        """Who makes what the drawing takes beside the frames and places."""
        return makers(self.wide_styles)

    drawn: ClassVar[Callable[..., Any]]  # the stage that draws

    @stage()
    def places(
        self,
        faces: Series[Faces],
        tracks: Series[Tracks],
        shots: Series[Shots],
        clip: Clip,
        wanted: Wanted,
    ) -> Places:
        begins = shots.whole().begins
        return find_places(faces, tracks.whole(), begins, clip, wanted, self.framing, self.most)

    @stage(version=2)
    def wide_styles(
        self,
        frames: Series[Frames],
        places: Series[Places],
        network: StyleGANEX,
        config: RenderConfig,
    ) -> Styles:
        """Of the aligned face in the first frame of each place."""
        device, where = network.w_avg.device, places.whole()
        shape = len(where.first), network.config.generator.num_ws, network.config.w_dim
        codes = np.zeros(shape, np.float32)
        for place, first in enumerate(where.first.tolist()):
            (frame,) = frames.rows(first, first + 1)
            grid, crop = where.grid(place), where.crop(place)
            assert crop is not None, "a place without a face has no style"
            face = aligned_face(self.picture(frame, where, place), grid, crop)
            with torch.no_grad(), working(config, device):
                codes[place] = network.encode_style(face.to(device))[0].float().cpu().numpy()
        return Styles(codes)

    def picture(self, frame: NDArray[np.uint8], places: Places, place: int) -> Tensor:
        """What the network sees, [1, 3, height, width] in −1 … 1."""
        return seen(frame, places.grid(place))

    def made(
        self,
        frames: Frames,
        places: Places,
        span: Span,
        network: StyleGANEX,
        draw_at: Draw,
        strengths: Sequence[float] | None = None,
    ) -> Frames:
        """The frames of a span with what is drawn of their places, or that at its own size.

        strengths: [T], how far it takes the place of the frames; default: fully.
        """
        times, pictures = network.times, []
        for row, frame in enumerate(frames):
            if self.size == "drawn":
                pictures.append(self._own(frame, row, places, times, draw_at))
                continue
            strength = 1.0 if strengths is None else float(strengths[row])
            for place, share in places.shown(row):
                drawn, undrawn = draw_at(frame, row, place)
                paste = Paste(self.feather, self.match, self.grain, strength * share)
                frame = put_back(
                    frame,
                    drawn[0],
                    places.grid(place),
                    paste,
                    undrawn=undrawn,
                    seed=span.start + row,
                )
            pictures.append(frame)
        return Frames.of_pixels(np.stack(pictures))

    def _own(
        self, frame: NDArray[np.uint8], row: int, places: Places, times: float, draw_at: Draw
    ) -> NDArray[np.uint8]:
        """What is drawn in front, at the size that the clip's first place has; the source, where
        nothing is drawn. Others fit in, with black around them."""
        height, width = frame.shape[:2]
        sides = own_sides(places.grid(int(np.argmin(places.first))), height, width, times)
        shown = list(places.shown(row))
        if not shown:
            source = torch.from_numpy(frame.copy()).movedim(-1, 0)[None].float()
            return sheet([fitted(source, sides)] * self.count)
        place, _ = shown[-1]
        rows, columns = own_sides(places.grid(place), height, width, times)
        drawn, _ = draw_at(frame, row, place)
        parts = [(x[..., :rows, :columns].float().cpu() + 1) * 127.5 for x in drawn]
        return sheet([fitted(part, sides) for part in parts])

    @property
    def count(self) -> int:
        """Pictures that are drawn of a frame."""
        return 1


def task_of_pack(files: PackFiles) -> str:
    """What a pack's StyleGANEX network is for; empty if it has none."""
    part = files.parts.get("styleganex")
    return "" if part is None else str(part.config.get("task", "inversion"))


def own_sides(grid: Grid, height: int, width: int, times: float) -> tuple[int, int]:
    """Height and width, even, of what is drawn of the part of a grid that a frame has."""
    return tuple(  # type: ignore[return-value]
        max(2, math.floor(round(min(count, (length - start) / grid.step) * times, 6)) // 2 * 2)
        for start, count, length in (
            (grid.top, grid.height, height), (grid.left, grid.width, width),
        )
    )  # fmt: skip


def fitted(levels: Tensor, sides: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture in levels [1, 3, h, w] in the middle of one of these sides, uint8 [H, W, 3]."""
    share = min(side / own for side, own in zip(sides, levels.shape[2:], strict=True))
    if share != 1:
        own = zip(levels.shape[2:], sides, strict=True)
        size = [max(1, min(side, round(n * share))) for n, side in own]
        levels = F.interpolate(levels, size=size, mode="bicubic", antialias=True)
    whole = np.zeros((*sides, 3), np.uint8)
    height, width = levels.shape[2:]
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    picture = levels[0].movedim(0, -1).round().clamp(0, 255).byte().numpy()
    whole[top : top + height, left : left + width] = picture
    return whole


def sheet(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures of one size side by side, in about as many rows as columns; the rest is black."""
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = -(-len(pictures) // columns)
    height, width, _ = pictures[0].shape
    whole = np.zeros((rows * height, columns * width, 3), np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // columns * height, index % columns * width
        whole[top : top + height, left : left + width] = picture
    return whole


@torch.no_grad()
def drawing(
    network: StyleGANEX,
    picture: Tensor,
    codes: NDArray[np.float32] | Tensor,
    config: RenderConfig,
    editing: Tensor | None = None,
) -> Tensor:
    """What a network draws of a picture or labels [1, C, H, W], with codes [L, D] or [1, L, D].

    editing: [1, L, D], the vector of an edit. Returns [1, 3, H·R/256, W·R/256] in −1 … 1.
    """
    device = network.w_avg.device
    ws = torch.as_tensor(codes, device=device).reshape(1, *codes.shape[-2:])
    with working(config, device):
        layout = network.encode_layout(picture.to(device))
        made = draw(network, layout, ws, editing=editing, memory=for_tiles(config))
    return made.float().clamp(-1, 1)


# ---- edits of pictures


@dataclass(frozen=True, kw_only=True)
class PictureEdit(WideEdit):
    """Base of edits for which a network draws what it sees, in the style of its first frame."""

    def strengths(self, count: int) -> Sequence[float] | None:
        """How far the drawing takes the place of so many frames; None for fully."""
        return None

    @stage(version=2, keep=False)
    def drawn(
        self,
        frames: Frames,
        places: Places,
        wide_styles: Styles,
        network: StyleGANEX,
        span: Span,
        config: RenderConfig,
    ) -> Frames:
        def draw_at(frame: NDArray[np.uint8], row: int, place: int) -> Drawing:
            picture = self.picture(frame, places, place)
            return [drawing(network, picture, wide_styles.codes[place], config)], None

        return self.made(frames, places, span, network, draw_at, self.strengths(len(span)))


@dataclass(frozen=True, kw_only=True)
class ToonifyNetwork(PictureEdit):
    kind = "toonify_network"
    task: ClassVar[str] = "toonify"
    framing: str = setting(
        "frame",
        "what is drawn: crop, what lies around a face; frame, all that the frame shows",
        choices=("crop", "frame"),
    )
    strength: float = setting(
        1.0, "how far the drawing takes the place of the frame", low=0.0, high=1.0
    )

    def strengths(self, count: int) -> Sequence[float]:
        return [self.strength] * count


@dataclass(frozen=True, kw_only=True)
class Restore(PictureEdit):
    kind = "restore"
    task: ClassVar[str] = "super_resolution"
    factor: float = setting(
        PLAIN_FACTOR,
        "how many times larger what is drawn is than the finest that the frames show; above 4 they "
        "are reduced first",
        low=4.0,
        high=32.0,
    )
    blind: bool = setting(
        False, "the frames are noisy, soft or compressed: a network for that sees them as they are"
    )

    def picture(self, frame: NDArray[np.uint8], places: Places, place: int) -> Tensor:
        # By the kernel that networks for it have learned; lines make steps of slanted edges.
        picture = seen(frame, places.grid(place), "bicubic")
        return picture if self.blind else lowered(picture, self.factor / PLAIN_FACTOR)


def lowered(picture: Tensor, factor: float) -> Tensor:
    """A picture [1, 3, H, W] in −1 … 1 reduced by a factor without aliasing, and enlarged again, by
    cubic convolution."""
    if factor <= 1:
        return picture
    height, width = picture.shape[2:]
    whole = int(factor)
    if whole == factor and height % whole == width % whole == 0:
        small = bicubic_shrink(picture, whole)
    else:
        sides = [max(1, round(n / factor)) for n in (height, width)]
        small = F.interpolate(picture, size=sides, mode="bicubic", antialias=True)
    # With antialias, which does nothing here, for the same kernel as above.
    large = F.interpolate(small.clamp(-1, 1), size=(height, width), mode="bicubic", antialias=True)
    return large.clamp(-1, 1)


@dataclass(frozen=True, kw_only=True)
class FaceAttribute(WideEdit, GradedEdit):
    kind = "face_attribute"
    task: ClassVar[str] = "edit"
    most: ClassVar[int] = LARGEST_MASKED
    strength: float | Curve = setting(
        1.0,
        "how far along the pack's editing vector, and which way, or a curve of it over time",
        low=-5.0,
        high=5.0,
    )
    put: str = setting(
        "difference",
        "what enters the frame: difference, what drawing with and without the edit differ by; "
        "drawn, the drawing itself",
        choices=("difference", "drawn"),
    )
    grain: float = setting(
        1.0, "share of the source's noise that a drawing that is put back gets", low=0.0, high=1.0
    )

    def check(self, pack: Pack, place: str) -> None:
        super().check(pack, place)
        if "editing_vector" not in pack.holder("editing_vector").parts:
            raise InvalidSetting(
                f"{place}.kind = {self.kind!r} needs an editing vector (editing_w), which the pack "
                f"{pack.name!r} lacks; convert a file of StyleGANEX that holds one"
            )

    def styling(self) -> dict[str, Any]:
        return makers(self.wide_styles, strength=self.over_time)

    @stage(keep=False)
    def drawn(
        self,
        frames: Frames,
        places: Places,
        wide_styles: Styles,
        strength: Strength,
        network: StyleGANEX,
        vector: EditingVector,
        span: Span,
        config: RenderConfig,
    ) -> Frames:
        def draw_at(frame: NDArray[np.uint8], row: int, place: int) -> Drawing:
            picture, codes = self.picture(frame, places, place), wide_styles.codes[place]
            degree = float(strength.values[row])
            edited = drawing(network, picture, codes, config, degree * vector.signed)
            if self.put == "drawn" or self.size == "drawn":
                return [edited], None
            # With a vector of zeros, not without one: that turns the masks off, too.
            return [edited], drawing(network, picture, codes, config, 0 * vector.signed)

        return self.made(frames, places, span, network, draw_at)
