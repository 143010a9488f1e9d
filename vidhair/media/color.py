"""Between the YUV in files and RGB in arrays, both ways by the same matrix."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

from vidhair.types import MATRICES, Color

if TYPE_CHECKING:
    import av

HDR_TRANSFERS = ("smpte2084", "arib_std_b67")


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
    matrices = {code: name for name, code in MATRICES.items()}
    full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    return Color(
        matrix=matrices.get(frame.colorspace, guess),
        range="pc" if full else "tv",
        primaries=name(ColorPrimaries, frame.color_primaries),
        transfer=name(ColorTrc, frame.color_trc),
    )


def tag_codes(color: Color) -> dict[str, int]:
    """The colour attributes of an encoder that is fed by `to_yuv`."""
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    def code(kind: type[IntEnum], name: str) -> int:
        return int(kind["UNSPECIFIED" if name == "unknown" else name.upper()])

    return {
        "colorspace": MATRICES[color.matrix],
        "color_range": int(ColorRange.MPEG),
        "color_primaries": code(ColorPrimaries, color.primaries),
        "color_trc": code(ColorTrc, color.transfer),
    }


def to_rgb(frame: av.VideoFrame, color: Color, width: int, height: int) -> np.ndarray:
    """[H, W, 3]. Rounded exactly: swscale's faster default makes every picture a level darker."""
    from av.video.reformatter import ColorRange, Interpolation

    full = color.range == "pc" or frame.format.is_rgb
    rgb = frame.reformat(
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
    return rgb.to_ndarray()


def _swscale_matrix(color: Color) -> int:
    # swscale numbers the two names of BT.601 alike.
    return 5 if color.matrix == "smpte170m" else MATRICES[color.matrix]


Conversion = Callable[["av.VideoFrame"], "av.VideoFrame"]


def to_yuv(color: Color, width: int, height: int, pixel_format: str, siting: str) -> Conversion:
    """The way back, always to limited range: swscale's full-range chroma is half a level too low.

    siting: "left" or "center", where among its four pixels a chroma sample of 4:2:0 lies. With the
    wrong one, colours move by a quarter of a chroma pixel each time a video is edited.
    """
    return _graph(
        f"video_size={width}x{height}:pix_fmt=rgb24:colorspace=gbr:range=pc",
        "flags=bicubic+accurate_rnd+full_chroma_inp"
        f":out_color_matrix={color.matrix}:out_range=tv:out_chroma_loc={siting}",
        pixel_format,
    )


def tone_mapper(frame: av.VideoFrame, color: Color) -> Conversion:
    """From frames like this HDR one to SDR BT.709 in RGB, by ffmpeg's perceptual mapping."""
    convert = _graph(
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
        f":colorspace={color.matrix}:range={color.range}",
        "flags=bicubic+accurate_rnd+full_chroma_int:intent=perceptual"
        ":out_transfer=bt709:out_primaries=bt709",
        "rgb24",
    )

    def tagged(frame: av.VideoFrame) -> av.VideoFrame:
        frame.colorspace = MATRICES[color.matrix]
        return convert(frame)

    return tagged


def _graph(source: str, scale: str, pixel_format: str) -> Conversion:
    """ffmpeg's scale filter, which can do what `VideoFrame.reformat` cannot."""
    import av

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add("buffer", f"{source}:time_base=1/1"),
        graph.add("scale", scale),
        graph.add("format", f"pix_fmts={pixel_format}"),
        graph.add("buffersink"),
    ).configure()

    def convert(frame: av.VideoFrame) -> av.VideoFrame:
        graph.push(frame)
        return graph.vpull()

    return convert
