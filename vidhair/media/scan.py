"""The first pass over a source: how many frames it really has, when, and what they are like."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vidhair.errors import NoFrames, NotAVideo
from vidhair.media.color import HDR_TRANSFERS, tagged_color
from vidhair.media.orientation import orientation_of, rotation
from vidhair.media.source import Tally, decoded_frames, open_container, video_stream
from vidhair.types import MATRICES, Clip, Color, Sound

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Scan:
    """A clip and what the reader needs to find its frames again.

    color: what the stored pictures are tagged with; `clip.color` differs from it for HDR.
    keyframes: frame numbers at which decoding may begin; only 0 where seeking is not trusted.
    threads: whether decoding in several threads gives the same frames.
    plain: nothing about the source is known to lead decord to other pictures.
    """

    clip: Clip
    notes: tuple[str, ...]
    color: Color
    orientation: np.ndarray
    keyframes: np.ndarray
    threads: bool
    plain: bool


@dataclass
class _Pass:
    """What one pass of decoding saw. first is the first frame, or None."""

    first: av.VideoFrame | None
    pts: list[int | None]
    keyframes: list[int]
    last_duration: int
    tally: Tally


def scan_source(path: Path) -> Scan:
    seen = _decode_all(path, threads=True)
    threads = len(seen.pts) == seen.tally.packets and not seen.tally.patched
    if not threads:
        # With threads, frames behind a fault get lost, and how faults are patched is chance.
        again = _decode_all(path, threads=False)
        threads = len(again.pts) == len(seen.pts) and not again.tally.refused + again.tally.patched
        seen = again
    with open_container(path) as container:
        return _describe(path, container, video_stream(container, path), seen, threads)


def _decode_all(path: Path, threads: bool) -> _Pass:
    seen = _Pass(None, [], [], 0, Tally())
    with open_container(path) as container:
        stream = video_stream(container, path)
        stream.thread_type = "AUTO" if threads else "NONE"
        for frame in decoded_frames(container, stream, seen.tally):
            seen.first = seen.first or frame
            if frame.key_frame:
                seen.keyframes.append(len(seen.pts))
            seen.pts.append(frame.pts)
            seen.last_duration = frame.duration
    return seen


def _describe(
    path: Path, container: InputContainer, stream: VideoStream, seen: _Pass, threads: bool
) -> Scan:
    frame, tally = seen.first, seen.tally
    if frame is None and tally.refused:
        raise NotAVideo(f"{path} has a video stream of which no frame decodes; give another copy")
    if frame is None:
        raise NoFrames(f"{path} has a video stream without frames; give a clip that has some")

    color = tagged_color(frame)
    hdr = color.transfer in HDR_TRANSFERS
    turn = orientation_of(frame)
    width, height, aspect = frame.width, frame.height, stream.sample_aspect_ratio or Fraction(1)
    if turn is not None and turn[0, 0] == 0:
        width, height, aspect = height, width, 1 / aspect
    rate, time_base = stream.average_rate or stream.guessed_rate, stream.time_base
    assert time_base is not None, f"{path} has a stream without a time base"
    step = round(1 / (rate * time_base)) if rate else 1
    pts, trusted = whole_pts(seen.pts, max(step, 1))
    last = seen.last_duration or (int(np.median(np.diff(pts))) if len(pts) > 1 else step)
    clip = Clip(
        path=path,
        width=width,
        height=height,
        pts=pts,
        end_pts=int(pts[-1]) + max(last, 1),
        time_base=time_base,
        frame_rate=rate,
        rotation=0 if turn is None else rotation(turn),
        color=Color("bt709", "tv", "bt709", "bt709") if hdr else color,
        sample_aspect_ratio=aspect,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        sound=tuple(
            Sound(s.codec_context.codec.canonical_name, s.rate, s.channels)
            for s in container.streams.audio
            if s.codec_context is not None
        ),
    )
    bits = max(component.bits for component in frame.format.components)
    promised = stream.frames - tally.hidden
    end = _promised_end(stream)
    possible_notes = [
        (tally.refused, f"parts that do not decode and are left out: {tally.refused}"),
        (tally.patched, f"frames that decode only with damage: {tally.patched}"),
        (
            promised > len(pts),
            f"the file announces {promised} frames, of which {len(pts)} decode and are used",
        ),
        (
            end is not None and end - clip.end_pts * clip.time_base > 0.5,
            f"the file announces {end} s, but its last frame ends after "
            f"{float(clip.end_pts * clip.time_base):.3f} s; it is probably cut short",
        ),
        (not trusted, "time stamps are missing or out of order and are filled in"),
        (turn is None, "the display matrix is no quarter turn and is ignored"),
        (hdr, f"HDR ({color.transfer}) is tone-mapped to 8-bit SDR BT.709"),
        (bits > 8 and not hdr, f"{bits}-bit pictures are reduced to 8 bits"),
    ]
    notes = tuple(note for applies, note in possible_notes if applies)
    return Scan(
        clip=clip,
        notes=notes,
        color=color,
        orientation=np.eye(2, dtype=int) if turn is None else turn,
        keyframes=np.array(seen.keyframes if trusted and threads else [0]),
        threads=threads,
        # decord ignores edit lists, mirroring and turns by 180°, takes every untagged matrix for
        # BT.601, and miscounts where keyframes are not all closed starts.
        plain=bool(
            container.format.name.startswith(("mov,", "matroska,"))
            and not notes
            and threads
            and turn is not None
            and (turn == np.eye(2)).all()
            and (frame.colorspace in MATRICES.values() or color.matrix == "smpte170m")
            and tally.hidden == tally.leading == 0
            and tally.keyframes == len(seen.keyframes)
        ),
    )


def whole_pts(pts: list[int | None], step: int) -> tuple[np.ndarray, bool]:
    """Time stamps that increase strictly, int64, and whether they already did.

    Missing ones are interpolated, or continued by `step` ticks at the ends.
    """
    frames = np.arange(len(pts))
    known = np.array([i for i, p in enumerate(pts) if p is not None], int)
    if len(known) == len(pts) and (np.diff(stored := np.array(pts, np.int64)) > 0).all():
        return stored, True
    if len(known) == 0:
        return frames * step, False
    stored = np.array([pts[i] for i in known], np.int64)
    first = int(stored[0])
    filled = np.rint(np.interp(frames, known, stored - first)).astype(np.int64) + first
    filled += step * (np.minimum(frames - known[0], 0) + np.maximum(frames - known[-1], 0))
    # Subtracting the frame number turns "increases by at least one" into "never decreases".
    return np.maximum.accumulate(filled - frames) + frames, False


def _promised_end(stream: VideoStream) -> float | None:
    """Seconds at which Matroska says that the video ends."""
    try:
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return None
