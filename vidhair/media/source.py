"""Opening a source with PyAV, and decoding it whatever state it is in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vidhair.errors import NotAVideo, SourceNotFound

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


def existing_file(path: str | Path) -> Path:
    path = Path(path)
    try:
        if path.is_file():
            with path.open("rb"):
                return path
        reason = "it is a folder" if path.is_dir() else "there is no such file"
    except OSError as error:
        reason = str(error.strerror)
    raise SourceNotFound(f"{path} cannot be read: {reason}; check the name and the permissions")


def open_container(path: str | Path) -> InputContainer:
    import av

    path = existing_file(path)
    try:
        # Absolute, since ffmpeg takes a leading "name:" for a protocol.
        return av.open(str(path.absolute()), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = "is empty" if path.stat().st_size == 0 else "is no media file that ffmpeg can read"
        raise NotAVideo(f"{path} {reason}; give a complete video file") from error


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that a player would show; cover art, stills and text do not count."""
    import av
    from av.stream import Disposition

    name = container.format.name
    if name in ("tty", "image2") or name.endswith("_pipe"):
        raise NotAVideo(f"{path} is a still picture or text ({name}); give a video file")
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        raise NotAVideo(f"{path} holds no moving picture; give a video file")
    best = container.streams.best("video")
    stream = best if isinstance(best, av.VideoStream) and best in moving else moving[0]
    if stream.codec_context is None:
        raise NotAVideo(f"{path} uses a video codec that ffmpeg does not know; convert it to H.264")
    return stream


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
            frames = stream.codec_context.decode(packet)
        except av.FFmpegError:
            tally.refused += 1
            continue
        for frame in frames:
            tally.patched += frame.is_corrupt
            yield frame
