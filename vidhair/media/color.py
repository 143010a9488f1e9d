"""Between the YUV in files and RGB in arrays, both ways by the same matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidhair.types import MATRICES, READ_MATRICES, Color

if TYPE_CHECKING:
    import av
    from av.video.reformatter import VideoReformatter

LUMA = (0.2126, 0.7152, 0.0722)  # of BT.709
HDR_TRANSFERS = ("smpte2084", "arib_std_b67")
# Pixels per chroma sample, across and down.
SAMPLINGS = {
    "4:4:4": (1, 1), "4:2:2": (2, 1), "4:4:0": (1, 2), "4:2:0": (2, 2), "4:1:1": (4, 1),
    "4:1:0": (4, 4), "4:0:0": (64, 64),
}  # fmt: skip
# Matrices of ISO/IEC 23091-2 that are not read.
UNREAD_MATRICES = {
    11: "SMPTE ST 2085", 13: "chromaticity-derived constant luminance", 15: "IPT-C2",
    16: "YCgCo-Re", 17: "YCgCo-Ro",
}  # fmt: skip


def tagged_color(frame: av.VideoFrame) -> Color:
    """What a decoded frame is tagged with; what is untagged follows the usual guess.

    Untagged matrices are BT.601 below 720 lines and BT.709 from there on; untagged ranges are
    limited.
    """
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    def name(kind: type[IntEnum], code: int) -> str:
        known = {int(member): member.name.lower() for member in kind if member.value != 2}
        return known.get(code, "unknown")

    guess = "bt709" if frame.height >= 720 else "smpte170m"
    matrices = {code: name for name, code in (MATRICES | READ_MATRICES).items()}
    if frame.format.is_rgb or (frame.colorspace == 0 and sampling(frame.format) != "4:4:4"):
        del matrices[0]  # says nothing about RGB, and is wrong where color is subsampled
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Color(
        matrix=matrices.get(frame.colorspace, guess),
        range="pc" if full else "tv",
        primaries=name(ColorPrimaries, frame.color_primaries),
        transfer=name(ColorTrc, frame.color_trc),
    )


def written_color(color: Color) -> Color:
    """As which color pictures of this one are written: the nearest that `to_yuv` makes."""
    if color.transfer in HDR_TRANSFERS:
        return Color("bt709", "tv", "bt709", "bt709")
    matrix = {"bt2020c": "bt2020nc"}.get(color.matrix, "bt709")
    return color if color.matrix in MATRICES else replace(color, matrix=matrix, range="tv")


def sampling(format: av.VideoFormat) -> str:
    """How finely a pixel format samples color: "4:2:0" and so on; RGB is "4:4:4"."""
    if format.is_rgb or format.has_palette:
        return "4:4:4"
    if sum(not component.is_alpha for component in format.components) < 3:
        return "4:0:0"
    steps = 64 // format.chroma_width(64), 64 // format.chroma_height(64)
    return next(name for name, known in SAMPLINGS.items() if known == steps)


def has_alpha(format: av.VideoFormat) -> bool:
    return format.has_palette or any(component.is_alpha for component in format.components)


def alpha_of(frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    """[H, W] uint8, 0 where the picture is transparent."""
    rgba = np.asarray(frame.reformat(width, height, "rgba").to_ndarray(), np.uint8)
    return rgba[..., 3]


def grey_of(frame: av.VideoFrame, color: Color, width: int, height: int) -> NDArray[np.uint8]:
    """[H, W] uint8, black to white as 0 … 255: the luma, whatever range and depth it has."""
    from av.video.reformatter import ColorRange, Interpolation

    if frame.format.is_rgb or frame.format.has_palette:
        return _levels(to_rgb(frame, color, width, height) @ np.array(LUMA))
    # In 16 bits, as swscale dithers what it brings to 8.
    plain = frame.reformat(
        width,
        height,
        "gray16le",
        src_color_range=ColorRange.JPEG if color.range == "pc" else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
    )
    grey = plain.to_ndarray() / np.float32(257)
    # It takes grey without chroma for full range, whatever it is told.
    if sampling(frame.format) == "4:0:0" and frame.color_range == ColorRange.MPEG:
        grey = (grey - 16) * (255 / 219)
    return _levels(grey)


def _levels(values: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(values).clip(0, 255).astype(np.uint8)
    return levels


def has_full_range(pixel_format: str) -> bool:
    """Whether a pixel format has full range by its name alone."""
    import av

    return pixel_format.startswith("yuvj") or av.VideoFormat(pixel_format).is_rgb


def tag_codes(color: Color, pixel_format: str = "yuv420p") -> dict[str, int]:
    """The color attributes of an encoder that is fed by `to_yuv`."""
    import av
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    def code(kind: type[IntEnum], name: str) -> int:
        return int(kind["UNSPECIFIED" if name == "unknown" else name.upper()])

    rgb = av.VideoFormat(pixel_format).is_rgb
    full = has_full_range(pixel_format)
    return {
        "colorspace": READ_MATRICES["gbr"] if rgb else MATRICES[color.matrix],
        "color_range": int(ColorRange.JPEG if full else ColorRange.MPEG),
        "color_primaries": code(ColorPrimaries, color.primaries),
        "color_trc": code(ColorTrc, color.transfer),
    }


def to_rgb(
    frame: av.VideoFrame,
    color: Color,
    width: int,
    height: int,
    reformatter: VideoReformatter | None = None,
) -> NDArray[np.uint8]:
    """[H, W, 3]. Rounded exactly: swscale's faster default makes every picture a level darker.

    reformatter: one that serves all frames of a clip is set up only once.
    """
    from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

    full = color.range == "pc" or frame.format.is_rgb
    rgb = (reformatter or VideoReformatter()).reformat(
        frame,
        width,
        height,
        "rgb24",
        src_colorspace=_swscale_matrix(color),
        src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC
        | Interpolation.ACCURATE_RND
        | Interpolation.FULL_CHR_H_INT,
    )
    return np.asarray(rgb.to_ndarray(), np.uint8)


def first_field(frame: av.VideoFrame) -> str:
    """Which field of an interlaced frame is shown first: "top" or "bottom"."""
    import av

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1",
        ),
        graph.add("select", "eq(interlace_type,BOTTOMFIRST)"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    try:
        graph.vpull()
    except (BlockingIOError, EOFError):
        return "top"
    return "bottom"


def by_field(frame: av.VideoFrame) -> bool:
    """Whether `fields_to_rgb` says more than `to_rgb`: each field has rows of color of its own."""
    down = SAMPLINGS[sampling(frame.format)][1]
    return 1 < down < 64 and frame.height % (2 * down) == 0


def fields_to_rgb(frame: av.VideoFrame, color: Color) -> Conversion:
    """Like `to_rgb`, for woven frames like this one: color of each field from its own lines."""
    full = color.range == "pc" or frame.format.is_rgb
    return _graph(
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}",
        "flags=bicubic+accurate_rnd+full_chroma_int:interl=1"
        f":in_color_matrix={color.matrix}:in_range={'pc' if full else 'tv'}:out_range=pc",
        "rgb24",
    )


def _swscale_matrix(color: Color) -> int:
    # swscale numbers the two names of BT.601 alike.
    return 5 if color.matrix == "smpte170m" else MATRICES[color.matrix]


Conversion = Callable[["av.VideoFrame"], "av.VideoFrame"]


def to_yuv(
    color: Color,
    width: int,
    height: int,
    pixel_format: str,
    siting: str,
    *,
    source: str = "rgb24",
    fields: str = "progressive",
) -> Conversion:
    """The way back, to limited range wherever the pixel format has it.

    swscale's full-range chroma is half a level too low.
    source: "rgb24" or "rgba". fields: the one shown first, "top" or "bottom", of woven frames.
    siting: "left" or "center", where among its four pixels a chroma sample of 4:2:0 lies. With the
    wrong one, colors move by a quarter of a chroma pixel each time a video is edited.
    """
    import av

    woven = fields != "progressive"
    rgb = av.VideoFormat(pixel_format).is_rgb
    matrix = "" if rgb else f":out_color_matrix={color.matrix}:out_chroma_loc={siting}"
    return _graph(
        f"video_size={width}x{height}:pix_fmt={source}:colorspace=gbr:range=pc",
        "flags=bicubic+accurate_rnd+full_chroma_inp"
        f":out_range={'pc' if has_full_range(pixel_format) else 'tv'}{matrix}:interl={woven:d}",
        pixel_format,
        ("setfield", {"top": "tff", "bottom": "bff"}[fields] if woven else "prog"),
    )


def _graph(source: str, scale: str, pixel_format: str, *after: tuple[str, str]) -> Conversion:
    """ffmpeg's scale filter, which can do what `VideoFrame.reformat` cannot."""
    import av

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add("buffer", f"{source}:time_base=1/1"),
        graph.add("scale", scale),
        graph.add("format", f"pix_fmts={pixel_format}"),
        *(graph.add(*node) for node in after),
        graph.add("buffersink"),
    ).configure()

    def convert(frame: av.VideoFrame) -> av.VideoFrame:
        graph.push(frame)
        return graph.vpull()

    return convert
