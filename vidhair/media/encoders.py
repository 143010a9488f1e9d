"""What each encoder takes in place of quality and speed, and which pictures it holds."""

from __future__ import annotations

import difflib
import io
import re
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from vidhair.errors import EncodingFailed

if TYPE_CHECKING:
    from av.codec import Codec

Options = dict[str, str]

# By suffix: ffmpeg's name of the container, and the encoder that "auto" stands for.
CONTAINERS = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
# By container: what "auto" stands for where the background is transparent.
_TRANSPARENT = {"mov": "prores_ks", "matroska": "ffv1", "webm": "libvpx-vp9"}
PRESETS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower",
)  # fmt: skip
# Pixel formats of full color that frames are converted to, the most common first.
_FORMATS = (
    "yuv420p", "yuv422p10le", "yuv422p", "yuv444p", "yuvj420p", "yuvj444p", "yuv420p10le", "nv12",
    "yuv444p10le", "yuva444p", "rgb24", "bgr24", "gbrp", "bgr0", "rgba", "bgra", "gbrp10le",
    "yuv411p", "yuv410p",
)  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """How one video encoder is used.

    quality: what says how good pictures are: "crf", "qscale" (MPEG's quantiser, 1 to 31),
    "profile", "lossless", or "bit rate". crf: its name for crf. least: the smallest that means what
    it says; smaller ones leave the choice to the encoder.
    speed: option → its value for each of PRESETS. options: always given. format: of pixels.
    alpha: containers in which it keeps transparency, with alpha_format and alpha_options.
    weaves: whether it marks frames as woven of two fields, and codes them so.
    even: whether 4:2:0 needs even sizes. timed: whether it takes any time stamps; others are told
    numbers of frames. hardware: whether it needs some, or its driver.
    """

    name: str = ""
    quality: str = "bit rate"
    crf: str = "crf"
    least: int = 0
    speed: tuple[str, tuple[str, ...]] | None = None
    options: Options = field(default_factory=dict)
    format: str = ""
    alpha: tuple[str, ...] = ()
    alpha_format: str = ""
    alpha_options: Options = field(default_factory=dict)
    weaves: bool = False
    even: bool = False
    timed: bool = False
    hardware: bool = False


_H26X = Encoder(quality="crf", speed=("preset", PRESETS), even=True, timed=True)
_VPX = Encoder(
    quality="crf",
    speed=("cpu-used", ("5", "5", "4", "3", "2", "1", "1", "0")),
    timed=True,
    alpha_format="yuva420p",
    alpha_options={"auto-alt-ref": "0"},
)
_NVENC = Encoder(
    quality="crf",
    crf="cq",
    least=1,
    options={"rc": "vbr", "b": "0"},
    speed=("preset", ("p1", "p1", "p2", "p3", "p3", "p4", "p6", "p7")),
    timed=True,
)
_PRORES = Encoder(quality="profile", options={"profile": "3"})
# H.264 and H.265 save on color first. Nobody may see skin change its tint because hair was dyed.
_ENCODERS = {
    "libx264": replace(_H26X, options={"x264-params": "chroma-qp-offset=-12"}, weaves=True),
    "libx264rgb": replace(_H26X, even=False),
    "libx265": replace(
        _H26X, options={"x265-params": "cbqpoffs=-12:crqpoffs=-12:log-level=error"}
    ),
    "libvpx": _VPX,
    "libvpx-vp9": replace(_VPX, alpha=("webm", "matroska")),
    "libsvtav1": Encoder(
        quality="crf",
        least=1,
        speed=("preset", ("12", "11", "10", "9", "8", "7", "5", "4")),
        timed=True,
    ),
    "h264_nvenc": replace(_NVENC, even=True),
    "hevc_nvenc": replace(_NVENC, even=True),
    "av1_nvenc": _NVENC,
    "prores": _PRORES,
    "prores_aw": _PRORES,
    "prores_ks": replace(
        _PRORES,
    options={"profile": "hq"},
        weaves=True,
        alpha=("mov", "matroska"),
        alpha_format="yuva444p10le",
        alpha_options={"profile": "4444"},
    ),
    "dnxhd": Encoder(quality="profile", options={"profile": "dnxhr_hq"}, format="yuv422p"),
    "ffv1": Encoder(
        quality="lossless", weaves=True, alpha=("matroska",), alpha_format="yuva444p"
    ),
    "mjpeg": Encoder(quality="qscale", format="yuvj420p"),
    "mpeg2video": Encoder(quality="qscale", weaves=True),
} | {
    name: Encoder(quality="qscale")
    for name in (
        "amv", "asv1", "asv2", "flv", "h261", "h263", "h263p", "mpeg1video", "mpeg4", "msmpeg4",
        "msmpeg4v2", "rv10", "rv20", "snow", "speedhq", "svq1", "wmv1", "wmv2",
    )
}  # fmt: skip
_VP8_QMIN = 4  # libvpx's own
# The unit of ffmpeg's global_quality, FF_QP2LAMBDA.
_LAMBDA = 118
# AV_CODEC_CAP_HARDWARE and AV_CODEC_CAP_HYBRID.
_HARDWARE = 1 << 18 | 1 << 19
_HARDWARE_NAME = re.compile(
    r"(\w+)_(nvenc|vaapi|qsv|amf|videotoolbox|v4l2m2m|mf|vulkan|omx|mediacodec|d3d12va|rkmpp)"
)


def find_encoder(name: str, suffix: str, alpha: bool) -> Encoder:
    """The encoder of this name, if a file of this suffix can hold what it makes.

    name: ffmpeg's, of an encoder or a codec, or "auto". alpha: whether to keep transparency.
    Raises EncodingFailed.
    """
    container, default = CONTAINERS[suffix]
    if name == "auto":
        name = _TRANSPARENT.get(container, default) if alpha else default
    codec = _codec(name, suffix)
    if codec.canonical_name not in _held(container):
        others = [s for s, (c, _) in CONTAINERS.items() if codec.canonical_name in _held(c)]
        remedy = f"write to {' or '.join(others)}, or " if others else ""
        raise EncodingFailed(
            f"{suffix} does not hold what {codec.name} makes; {remedy}take {default}"
        )
    hardware = bool(codec.capabilities & _HARDWARE)
    lossless = codec.lossless and not codec.lossy
    general = Encoder(quality="lossless" if lossless else "bit rate", timed=hardware)
    found = _ENCODERS.get(codec.name, general)
    formats = [form.name for form in codec.video_formats or ()]
    form = found.format or next((f for f in _FORMATS if f in formats or not formats), "")
    if not form:
        raise EncodingFailed(
            f"{codec.name} holds no full color (only {', '.join(formats)}); take {default}"
        )
    if not alpha or container not in found.alpha:
        found = replace(found, alpha_format="", alpha_options={})
    return replace(found, name=codec.name, format=form, hardware=hardware)


def with_quality(encoder: Encoder, crf: int, preset: str, bit_rate: int) -> tuple[Options, str]:
    """The options that say quality and speed, and a note on what cannot be said, or "".

    bit_rate: bits in a second, for encoders that know nothing else.
    """
    options = encoder.options | encoder.alpha_options
    if encoder.speed:
        option, values = encoder.speed
        options[option] = values[PRESETS.index(preset)]
    if encoder.quality == "crf":
        # The bit rate bounds VP8, at a low rate if none is given, and qmin its quality.
        bound = {"b": str(bit_rate), "qmin": str(min(crf, _VP8_QMIN))}
        bound = bound if encoder.name == "libvpx" else {}
        given = {encoder.crf: str(max(crf, encoder.least))}
        return options | bound | given, _unplayed(encoder, crf)
    if encoder.quality == "lossless":
        return options, f"{encoder.name} is lossless and knows no crf or preset"
    if encoder.quality == "profile":
        what = f"it has profiles, and is given {options['profile']}"
    elif encoder.quality == "qscale":
        # The step of H.264 doubles with every 6 of crf; MPEG's is twice its quantiser.
        step = min(max(round(2 ** ((crf - 10) / 6)), 1), 31)
        bounds = {"qmin": str(step), "qmax": str(step)}
        options |= bounds | {"flags": "+qscale", "global_quality": str(step * _LAMBDA)}
        what = f"crf {crf} becomes its quantiser {step}, of 1 (best) to 31"
    else:
        options |= {"b": str(bit_rate)}
        what = f"it is given {bit_rate // 1000} kbit/s, if it heeds that"
    return options, f"{encoder.name} knows no crf or preset: {what}"


def _unplayed(encoder: Encoder, crf: int) -> str:
    """A note on H.264 that only computers play, or ""."""
    if encoder.name == "libx264rgb":
        what, remedy = "RGB", "libx264"
    elif encoder.name == "libx264" and crf == 0:
        what, remedy = "lossless at crf 0", "encode.crf=1"
    else:
        return ""
    return (
        f"{encoder.name} is {what}, in a profile (High 4:4:4 Predictive) which QuickTime, Safari, "
        f"phones and hardware decoders do not play; with {remedy} they do"
    )


def needs_hardware(name: str, suffix: str) -> str:
    """A sentence for an encoder whose hardware is not here, with one that needs none."""
    from av.codec import Codec

    container, default = CONTAINERS[suffix]
    match = _HARDWARE_NAME.fullmatch(name)
    with suppress(ValueError):
        codec = Codec({"mpeg2": "mpeg2video"}.get(match[1], match[1]) if match else "", "w")
        if codec.canonical_name in _held(container) and not codec.capabilities & _HARDWARE:
            default = codec.name
    return f"{name} needs hardware, or its driver, that is not here; take {default}"


@cache
def _held(container: str) -> frozenset[str]:
    """The codecs that a container holds."""
    import av

    with av.open(io.BytesIO(), "w", format=container) as output:
        return frozenset(output.supported_codecs)


def _codec(name: str, suffix: str) -> Codec:
    from av.codec import Codec

    default = CONTAINERS[suffix][1]
    with suppress(ValueError):
        codec = Codec(name, "w")
        if codec.type == "video":
            return codec
        kind = {"audio": "sound"}.get(codec.type, f"{codec.type}s")
        raise EncodingFailed(f"{name} makes {kind}, not pictures; take {default}, or auto")
    if _HARDWARE_NAME.fullmatch(name):
        raise EncodingFailed(needs_hardware(name, suffix))
    with suppress(ValueError):
        Codec(name, "r")
        raise EncodingFailed(f"{name} only reads and does not write here; take {default}, or auto")
    close = difflib.get_close_matches(name, video_encoders(), n=1)
    remedy = f"did you mean {close[0]}?" if close else f"take {default}, or auto"
    raise EncodingFailed(f"{name} is no encoder of this ffmpeg; {remedy}")


@cache
def video_encoders() -> tuple[str, ...]:
    """The names of all encoders of pictures that are here."""
    import av
    from av.codec import Codec

    found = []
    for name in sorted(av.codecs_available):
        with suppress(ValueError):
            if Codec(name, "w").type == "video":
                found.append(name)
    return tuple(found)
