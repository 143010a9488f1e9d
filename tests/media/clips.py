"""Small sources for the tests, and what is needed to look into files."""

import struct
import subprocess
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from vidhair.media import VideoWriter, ffmpeg_path
from vidhair.types import Clip, Color

REAL_CLIPS = Path(__file__).parents[3] / "shared" / "clips"

Packet = tuple[int, int, int, bytes]


def ffmpeg(*arguments: object) -> None:
    command = [str(ffmpeg_path()), "-hide_banner", "-loglevel", "error", "-y", "-nostdin"]
    subprocess.run(command + [str(argument) for argument in arguments], check=True)


def sine(seconds: float = 1.0, rate: int = 44100) -> tuple[object, ...]:
    return "-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}:sample_rate={rate}"


def a_clip(
    pts: Iterable[int] = range(24),
    time_base: Fraction = Fraction(1, 24),
    *,
    width: int = 64,
    height: int = 48,
    end_pts: int | None = None,
    color: Color | None = None,
    sample_aspect_ratio: Fraction = Fraction(1),
    frame_rate: Fraction | None = None,
) -> Clip:
    ticks = np.array(list(pts), np.int64)
    return Clip(
        path=Path("made up"),
        width=width,
        height=height,
        pts=ticks,
        end_pts=int(ticks[-1]) + 1 if end_pts is None else end_pts,
        time_base=time_base,
        frame_rate=frame_rate,
        color=color or Color(),
        sample_aspect_ratio=sample_aspect_ratio,
    )


def numbered_frames(clip: Clip) -> NDArray[Any]:
    """Frames that differ so much from their neighbours that none can be mistaken for another."""
    count, h, w = clip.frame_count, clip.height, clip.width
    y, x = np.mgrid[:h, :w]
    bar = x * count // w == np.arange(count)[:, None, None]
    shade = 40 + 120 * (y + x) / (h + w)
    return np.repeat(np.where(bar, 230, shade)[..., None], 3, axis=3).astype(np.uint8)


def smooth_frames(clip: Clip) -> NDArray[Any]:
    """Slow gradients over most of the color cube, drifting a little from frame to frame."""
    y, x = np.mgrid[: clip.height, : clip.width] / max(clip.height, clip.width)
    t = np.arange(clip.frame_count)[:, None, None] / 50
    planes = [np.sin(3 * x + t), np.cos(2 * y + x + t), np.sin(2 * y - 2 * x + 1 + t)]
    return np.rint(128 + 80 * np.stack(planes, axis=-1)).astype(np.uint8)


def write(
    path: Path, clip: Clip, frames: NDArray[Any] | None = None, **options: object
) -> VideoWriter:
    frames = numbered_frames(clip) if frames is None else frames
    with VideoWriter(path, clip, preset="veryfast", **options) as writer:  # type: ignore[arg-type]
        for start in range(0, len(frames), 7):
            writer.write(frames[start : start + 7])
    return writer


def sound_packets(path: Path, stream: int = 0) -> list[Packet]:
    with av.open(str(path)) as container:
        return [
            (packet.pts or 0, packet.dts or 0, packet.duration or 0, bytes(packet))
            for packet in container.demux(container.streams.audio[stream])
            if packet.size
        ]


def turn_on_display(source: Path, target: Path, matrix: tuple[int, int, int, int]) -> None:
    """Copy an mp4 with another display matrix (a, b, c, d), as phones write it."""
    data = bytearray(source.read_bytes())
    start = data.index(b"tkhd") + 44
    a, b, c, d = (n << 16 for n in matrix)
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
