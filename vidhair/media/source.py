"""Opening a source with PyAV, and decoding it whatever state it is in."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidhair.errors import NotAVideo, SourceNotFound

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


# Sources are read several times, from any place. What cannot be: why, and what to do.
_NO_FILES = {
    stat.S_IFDIR: "it is a folder; name a file in it",
    stat.S_IFIFO: "it is a pipe, which can be read only once; write it to a file first",
    stat.S_IFSOCK: "it is a socket; write what comes from it to a file first",
    stat.S_IFCHR: "it is a device; record it to a file first",
    stat.S_IFBLK: "it is a device; copy the file off it first",
}


def existing_file(path: str | Path) -> Path:
    path = Path(path)
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind == stat.S_IFREG:
            with path.open("rb"):
                return path
        reason = _NO_FILES.get(kind, "it is no file; name a file")
    except FileNotFoundError:
        if str(path) == "-":
            reason = "standard input can be read only once; write it to a file first"
        elif re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # Path made one / of two
            reason = "it is an address, and only files are read; download it first"
        else:
            reason = "there is no such file; check the name"
    except (OSError, ValueError) as error:
        reason = f"{getattr(error, 'strerror', error)}; check the name and the permissions"
    raise SourceNotFound(f"{path} cannot be read: {reason}")


def fraction(value: Any) -> Fraction | None:
    """From PyAV's rationals, which since version 19 are no Fractions; None for 0 and 0/0."""
    known = value is not None and value.numerator and value.denominator
    return Fraction(value.numerator, value.denominator) if known else None


def open_container(path: str | Path) -> InputContainer:
    import av

    path = existing_file(path)
    # Version 19 takes any text without being told.
    lenient: Any = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
    try:
        # Absolute, since ffmpeg takes a leading "name:" for a protocol.
        result: InputContainer = av.open(str(path.absolute()), **lenient)
        return result
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = "is empty" if path.stat().st_size == 0 else "is no media file that ffmpeg can read"
        raise NotAVideo(f"{path} {reason}; give a complete video file") from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that a player would show; cover art, stills and text do not count."""
    import av
    from av.stream import Disposition

    name = container.format.name
    if name in ("tty", "image2") or name.endswith("_pipe"):
        raise NotAVideo(
            f"{path} is a still picture or text ({name}); give a video file, which of a picture "
            f"`ffmpeg -i {path.name} -c:v ffv1 {path.stem}.mkv` makes"
        )
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise NotAVideo(f"{path} holds no moving picture; give a video file")
    best = container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and best in moving else moving[0]
    if stream.codec_context is None:
        raise NotAVideo(f"{path} uses a video codec that ffmpeg does not know; convert it to H.264")
    return stream


def _decoder(stream: VideoStream) -> Any:
    """The stream's own, except where only libvpx sees the alpha channel."""
    import av

    own = stream.codec_context
    name = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(own.codec.canonical_name)
    if name is None or {**stream.metadata}.get("alpha_mode") != "1":
        return own
    decoder = av.CodecContext.create(name, "r")
    decoder.thread_type = own.thread_type
    return decoder


@dataclass
class Tally:
    """Counts made while decoding."""

    packets: int = 0  # whose pictures are meant to be shown
    hidden: int = 0  # packets that the container asks not to show
    keyframes: int = 0  # packets marked as keyframes
    leading: int = 0  # packets that are shown before the keyframe that they follow in the file
    refused: int = 0  # packets that do not decode
    patched: int = 0  # frames that decode with parts made up


def decoded_frames(
    container: InputContainer, stream: VideoStream, tally: Tally
) -> Iterator[av.VideoFrame]:
    """Every frame that decodes from here to the end, in presentation order."""
    import av

    packets = container.demux(stream)
    decoder = _decoder(stream)
    keyframe_pts = None
    ended = False
    while not ended:
        try:
            packet = next(packets)
        except av.FFmpegError:
            packet = None
            tally.refused += 1
        # An empty packet without a time asks the decoder for what it still holds.
        ended = packet is None or (packet.size == 0 and packet.dts is None)
        if packet is not None and not ended:
            if packet.size == 0:
                continue
            tally.packets += not packet.is_discard
            tally.hidden += packet.is_discard
            if packet.is_keyframe:
                tally.keyframes += 1
                keyframe_pts = packet.pts
            elif packet.pts is not None and keyframe_pts is not None:
                tally.leading += packet.pts < keyframe_pts
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError:
            tally.refused += 1
            continue
        for frame in frames:
            tally.patched += frame.is_corrupt
            yield frame
