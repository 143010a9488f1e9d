"""Sketches and label maps → faces, by StyleGANEX's networks.

The first LAYOUT_CODES codes come from what is drawn, and are smoothed over time; the others are
drawn at random, or those of a face. T frames, N samples, L codes, D width of a code.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vidhair.cache import fingerprint
from vidhair.edits.wide import Drawing, Styles, WideEdit, drawing, working
from vidhair.errors import InvalidSetting
from vidhair.geometry import Grid, crop_axes, crop_quad
from vidhair.media import read_image
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.models.generators.stylegan2 import mix_codes
from vidhair.models.pack import Pack
from vidhair.models.parsers.bisenet import CelebAMaskLabel, CelebAMaskParser
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import HeadParser, Parser
from vidhair.models.styleganex.network import (
    ENCODER_SIZE,
    LAYOUT_CODES,
    StyleGANEX,
    StyleGANEXConfig,
)
from vidhair.settings import setting
from vidhair.stages.align import Shots, largest_face
from vidhair.stages.render import RenderConfig
from vidhair.stages.smooth import smooth_over_time
from vidhair.stages.wide import Places, everywhere, nearest, seen
from vidhair.types import Clip, Frames
from vidhair.wiring import Makers, Series, Span, Value, makers, ranges, stage

SHRINKS = 0.7  # codes drawn at random are that share of themselves: nearer to zero, as published
EDGES = 0.75  # gain of the edges of a sketch
SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
FACE_PARSER = "face_parser"  # the bundled pack's, which stands in where a pack has none
# How many labels the parsers know that label frames.
LABELS = {FACE_PARSER: len(Label), "celebamask_parser": len(CelebAMaskLabel)}
LEAST_SIDE = 32  # of labels: an encoder's statistics need several cells


@dataclass(frozen=True)
class Layouts(Value):
    """What the network is to fill in. levels: uint8 [T, h, w]: numbers of labels, or a sketch from
    0 for strokes to 255. Smaller places lie in the upper left corner."""

    ROWS = ("levels",)
    levels: NDArray[np.uint8]


@dataclass(frozen=True)
class LayoutCodes(Value):
    """codes: [T, LAYOUT_CODES, D] float32; zeros where nothing is drawn."""

    ROWS = ("codes",)
    codes: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LabelEdit(WideEdit):
    """What both have in common. given: the choice of `input` at which the clip itself is what the
    network takes, all of it."""

    given: ClassVar[str]
    input: str = setting("", "")
    framing: str = setting(
        "crop",
        "what is drawn of frames: crop, what lies around a face; frame, all that they show",
        choices=("crop", "frame"),
    )
    size: str = setting(
        "drawn",
        "source: put back into the frame; drawn: what is drawn, at its own size",
        choices=("source", "drawn"),
    )
    seed: int = setting(0, "of the face that is drawn", low=0, high=2**31 - 1)
    samples: int = setting(
        1, "how many faces are drawn, by this and the next seeds, on a sheet", low=1, high=16
    )
    style: str = setting("", "a picture of a face whose colors and light are used, not random ones")

    def identity(self) -> dict[str, Any]:
        style = fingerprint(read_image(self.style)) if self.style else ""
        return super().identity() | {"style": style}

    def check(self, pack: Pack, place: str) -> None:
        super().check(pack, place)
        if self.samples > 1 and self.size != "drawn":
            raise InvalidSetting(
                f"{place}.samples = {self.samples} makes a sheet, which no frame has room for; "
                f"use {place}.size = 'drawn'"
            )
        if self.samples > 1 and self.style:
            raise InvalidSetting(
                f"{place}.samples = {self.samples} differ by random codes, and {place}.style takes "
                "their place; leave one of the two out"
            )
        if self.style:
            read_image(self.style)

    def check_clip(self, clip: Clip, place: str) -> None:
        super().check_clip(clip, place)
        if min(clip.width, clip.height) < LEAST_SIDE:
            raise InvalidSetting(
                f"{clip.path} has {clip.width}×{clip.height} pixels, and {place}.kind = "
                f"{self.kind!r} needs {LEAST_SIDE} or more each way; enlarge it"
            )

    def styling(self) -> dict[str, Any]:
        return makers(self.wide_styles, self.layout_codes, layouts=self.layouts)

    layouts: ClassVar[Any]  # the stage that makes them

    @property
    def count(self) -> int:
        return self.samples

    def makers(self) -> Makers:
        made = dict(super().makers())
        return made | makers(places=self.everywhere) if self.input == self.given else made

    @stage()
    def everywhere(self, clip: Clip) -> Places:
        return everywhere(clip)

    @stage()
    def wide_styles(self, network: StyleGANEX) -> Styles:  # type: ignore[override]
        """Of each sample, where others have those of each place."""
        device = network.w_avg.device
        with torch.no_grad():
            if self.style:
                codes = network.encode_face(face_of(self.style).to(device))
            else:
                codes = torch.cat([sample(network, self.seed + n) for n in range(self.samples)])
        return Styles(codes.float().cpu().numpy())

    @stage()
    def layout_codes(
        self,
        layouts: Series[Layouts],
        places: Series[Places],
        shots: Series[Shots],
        network: StyleGANEX,
        config: RenderConfig,
    ) -> LayoutCodes:
        device, begins, where = network.w_avg.device, shots.whole().begins, places.whole()
        codes = np.zeros((layouts.count, LAYOUT_CODES, network.config.w_dim), np.float32)
        known = np.zeros(layouts.count, bool)
        for start, stop in ranges(layouts.count, 8):
            for row, levels in enumerate(layouts.rows(start, stop).levels, start):
                shown = list(where.shown(row))
                if not shown:
                    continue
                labels = self.labels(levels, where.grid(shown[-1][0]), network)
                with torch.no_grad(), working(config, device):
                    found = network.encode_style(labels.to(device))[0, :LAYOUT_CODES]
                codes[row], known[row] = found.float().cpu().numpy(), True
        # Neither over cuts nor from frames without codes.
        begins = begins | (known != np.concatenate([known[:1], known[:-1]]))
        return LayoutCodes(smooth_over_time(codes, begins))

    def labels(self, levels: NDArray[np.uint8], grid: Grid, network: StyleGANEX) -> Tensor:
        """What a network takes of a frame of `Layouts`, [1, C, height, width]."""
        raise NotImplementedError

    @stage(keep=False)
    def drawn(
        self,
        frames: Frames,
        layouts: Layouts,
        places: Places,
        layout_codes: LayoutCodes,
        wide_styles: Styles,
        network: StyleGANEX,
        span: Span,
        config: RenderConfig,
    ) -> Frames:
        styles = torch.from_numpy(wide_styles.codes)
        coarse = torch.zeros_like(styles[:1]).repeat(len(layouts.levels), 1, 1)
        coarse[:, :LAYOUT_CODES] = torch.from_numpy(layout_codes.codes)

        def draw_at(frame: NDArray[np.uint8], row: int, place: int) -> Drawing:
            labels = self.labels(layouts.levels[row], places.grid(place), network)
            mixed = [
                mix_codes(coarse[row : row + 1], style[None], LAYOUT_CODES) for style in styles
            ]
            return [drawing(network, labels, codes, config) for codes in mixed], None

        return self.made(frames, places, span, network, draw_at)


def sample(network: StyleGANEX, seed: int) -> Tensor:
    """Codes drawn at random, [1, L, D], the same of a seed on every machine."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(1, network.config.w_dim, generator=generator).to(network.w_avg.device)
    codes: Tensor = network.generator.mapping(z)
    return SHRINKS * codes


def face_of(path: str) -> Tensor:
    """The largest face of a picture, aligned: [1, 3, 256, 256] in −1 … 1. Raises NoFaceFound."""
    picture = read_image(path)
    mesh = largest_face(picture, path, "give a picture of somebody from the front")
    quad = crop_axes(*eyes_and_mouth(mesh[None].astype(np.float64))).quad[0]
    face = crop_quad(Image.fromarray(picture), quad, size=ENCODER_SIZE)
    return torch.from_numpy(np.asarray(face, np.float32) / 127.5 - 1).movedim(-1, 0)[None]


def layouts_of(places: Places, rows: int, made: Sequence[NDArray[np.uint8] | None]) -> Layouts:
    """Of the frames of a chunk, each [h, w] or None, on one size."""
    sides = places.grids[:, 3:].max(0) if len(places.grids) else np.ones(2)
    levels = np.zeros((rows, *sides.astype(int)), np.uint8)
    for row, one in enumerate(made):
        if one is not None:
            levels[row, : one.shape[0], : one.shape[1]] = one
    return Layouts(levels)


# ---- sketches


@dataclass(frozen=True, kw_only=True)
class SketchToFace(LabelEdit):
    kind = "sketch_to_face"
    task: ClassVar[str] = "sketch"
    given: ClassVar[str] = "sketch"
    input: str = setting(
        "sketch",
        "what the clip shows: sketch, dark strokes on white; frames, of which a sketch is made",
        choices=("sketch", "frames"),
    )

    @stage(chunk=8, compress=True)
    def layouts(self, frames: Frames, places: Places) -> Layouts:
        made = []
        for row, frame in enumerate(frames):
            shown = list(places.shown(row))
            made.append(self._sketch(frame, places.grid(shown[-1][0])) if shown else None)
        return layouts_of(places, len(frames), made)

    def _sketch(self, frame: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
        gray = seen(frame, grid).mean(1, keepdim=True).add(1).div(2)
        strokes = gray if self.input == "sketch" else edges(gray)
        return np.asarray(strokes[0, 0].mul(255).round().clamp(0, 255).byte().numpy())

    def labels(self, levels: NDArray[np.uint8], grid: Grid, network: StyleGANEX) -> Tensor:
        own = levels[: grid.height, : grid.width].astype(np.float32) / 255
        return torch.from_numpy(own)[None, None]


def edges(gray: Tensor) -> Tensor:
    """A sketch of a picture [1, 1, H, W] in 0 … 1, white where nothing changes.

    What StyleGANEX's sketches begin with: the edges (Sobel) of a softened picture, from dark to
    bright and from bright to dark.
    """
    soft = gray.new_tensor([0.25, 0.5, 0.25])
    x = F.conv2d(F.pad(gray, (1, 1, 1, 1), mode="reflect"), torch.outer(soft, soft)[None, None])
    across = gray.new_tensor(SOBEL)
    kernels = torch.stack([across, across.T])[:, None]
    slopes = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernels)
    # Of the picture and of its negative: each gives the edges that rise its way.
    strength = EDGES * (slopes.clamp(0, 1) + (-slopes).clamp(0, 1)).sum(1, keepdim=True)
    return (1 - strength).clamp(0, 1)


# ---- label maps


@dataclass(frozen=True, kw_only=True)
class MaskToFace(LabelEdit):
    kind = "mask_to_face"
    task: ClassVar[str] = "mask"
    given: ClassVar[str] = "labels"
    input: str = setting(
        "frames",
        "what the clip shows: frames, which the pack's parser labels; labels, their numbers as "
        "levels of grey",
        choices=("frames", "labels"),
    )

    def check(self, pack: Pack, place: str) -> None:
        super().check(pack, place)
        parts = pack.files.parts
        network = pack.holder("styleganex").parts["styleganex"]
        known = StyleGANEXConfig(**network.config).label_channels
        parser = parts["parser"].kind if "parser" in parts else FACE_PARSER
        if self.input == "frames" and LABELS.get(parser) != known:
            raise InvalidSetting(
                f"{place}.input = 'frames' needs a parser of the {known} labels of the network, "
                f"which the pack {pack.name!r} lacks; convert a BiSeNet together "
                "with the network, or give a clip of label maps and use labels"
            )

    def styling(self) -> dict[str, Any]:
        layouts = self.parsed if self.input == "frames" else self.given_labels
        return super().styling() | makers(layouts=layouts)

    layouts: ClassVar[Any] = None

    @stage(chunk=8, compress=True)
    def parsed(self, frames: Frames, places: Places, parser: Parser) -> Layouts:
        made = []
        for row, frame in enumerate(frames):
            shown = list(places.shown(row))
            grid = places.grid(shown[-1][0]) if shown else None
            made.append(None if grid is None else parsed(seen(frame, grid), parser))
        return layouts_of(places, len(frames), made)

    @stage(chunk=8, compress=True)
    def given_labels(self, frames: Frames, places: Places) -> Layouts:
        made = [nearest(frame, places.grid(0)) for frame in frames]
        return layouts_of(places, len(frames), made)

    def labels(self, levels: NDArray[np.uint8], grid: Grid, network: StyleGANEX) -> Tensor:
        own = torch.from_numpy(levels[: grid.height, : grid.width].astype(np.int64))
        count = network.config.label_channels
        if int(own.max()) >= count:
            raise InvalidSetting(
                f"the clip holds the label {int(own.max())}, and the network knows 0 … "
                f"{count - 1}; store label maps without loss, as PNG or FFV1, or use "
                "edit.input = 'frames'"
            )
        return F.one_hot(own, count).movedim(-1, 0)[None].float()


@torch.no_grad()
def parsed(picture: Tensor, parser: Parser) -> NDArray[np.uint8]:
    """Numbers of labels [H, W] of a picture [1, 3, H, W] in −1 … 1 with faces of ENCODER_SIZE,
    seen twice as large by a BiSeNet, by the small parser as small as it has learned."""
    picture = picture.to(next(parser.parameters()).device)
    if isinstance(parser, HeadParser):
        assert isinstance(parser.network, CelebAMaskParser)
        large = F.interpolate(picture, scale_factor=2, mode="bilinear", align_corners=False)
        logits = F.interpolate(parser.network(large), scale_factor=0.5)
    else:
        share, stride = parser.face_pixels / ENCODER_SIZE, parser.stride
        sides = [max(1, round(n * share / stride)) * stride for n in picture.shape[2:]]
        small = F.interpolate(picture, size=sides, mode="bicubic", antialias=True)
        logits = F.interpolate(parser(small), size=picture.shape[2:], mode="bilinear")
    return np.asarray(logits[0].argmax(0).byte().cpu().numpy())
