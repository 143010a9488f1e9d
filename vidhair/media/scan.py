"""The first pass over a source: how many frames it really has, when, and what they are like."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import NoFrames, NotAVideo
from vidhair.media.color import (
    HDR_TRANSFERS,
    alpha_of,
    by_field,
    first_field,
    has_alpha,
    sampling,
    tagged_color,
    written_color,
)
from vidhair.media.light import WHITE, converts, refuse_unread
from vidhair.media.orientation import orientation_of, rotation, turned_fields
from vidhair.media.source import (
    Tally,
    decoded_frames,
    fraction,
    open_container,
    video_stream,
)
from vidhair.media.tags import left_behind, tags_of
from vidhair.types import MATRICES, Clip, Color, Sound

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream


@dataclass(frozen=True)
class Scan:
    """A clip and what the reader needs to find its frames again.

    color: what the stored pictures are tagged with; `clip.color` is what they are read as.
    reading: how pictures are read where it is not plainly by their matrix; else empty.
    keyframes: frame numbers at which decoding may begin; only 0 where seeking is not trusted.
    threads: whether decoding in several threads gives the same frames.
    plain: nothing about the source is known to lead decord to other pictures.
    """

    clip: Clip
    notes: tuple[str, ...]
    color: Color
    reading: str
    orientation: NDArray[Any]
    keyframes: NDArray[Any]
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
    sizes: list[tuple[int, int]] = field(default_factory=list)  # in the order in which they come
    woven: av.VideoFrame | None = None  # the first frame of two fields
    woven_count: int = 0
    alpha: bool = False  # whether a pixel is transparent


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
            if frame.interlaced_frame:
                seen.woven = seen.woven or frame
                seen.woven_count += 1
            if (size := (frame.width, frame.height)) not in seen.sizes:
                seen.sizes.append(size)
            if has_alpha(frame.format) and not seen.alpha:
                seen.alpha = bool(alpha_of(frame, *size).min() < 255)
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
    refuse_unread(frame.colorspace, color, path)
    hdr = color.transfer in HDR_TRANSFERS
    turn = orientation_of(frame)
    woven = seen.woven is not None and seen.woven_count * 2 > len(seen.pts)
    fields = stored_fields = first_field(seen.woven) if woven and seen.woven else "progressive"
    if woven and turn is not None:
        fields = turned_fields(fields, turn, frame.height)
    width, height, aspect = frame.width, frame.height, fraction(stream.sample_aspect_ratio)
    aspect = aspect or Fraction(1)
    if turn is not None and turn[0, 0] == 0:
        width, height, aspect = height, width, 1 / aspect
    rate = fraction(stream.average_rate) or fraction(stream.guessed_rate)
    time_base = fraction(stream.time_base)
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
        color=written_color(color),
        sample_aspect_ratio=aspect,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        sound=tuple(
            Sound(s.codec_context.codec.canonical_name, s.rate, s.channels)
            for s in container.streams.audio
            if s.codec_context is not None
        ),
        chroma=sampling(frame.format),
        alpha=seen.alpha,
        fields=fields,
        tags=tags_of(container, stream),
    )
    lost = left_behind(container, stream)
    reading = ""
    if converts(color):
        reading = (
            f"{color.matrix}, {color.transfer}, white {WHITE:g} cd/m²" if hdr else color.matrix
        )
    elif stored_fields != "progressive" and by_field(frame):
        reading = "color by field"
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
        (
            len(seen.sizes) > 1,
            f"the pictures change their size ({', '.join(f'{w}×{h}' for w, h in seen.sizes)}) "
            "and are all scaled to the first",
        ),
        (
            stored_fields != "progressive",
            f"the pictures are interlaced ({stored_fields} field first), and each pair of fields "
            "is edited as one picture; deinterlace the clip first if hair in motion shows combs",
        ),
        (lost, f"not carried over: {', '.join(lost)}"),
    ]
    notes = tuple(note for applies, note in possible_notes if applies)
    return Scan(
        clip=clip,
        notes=notes,
        color=color,
        reading=reading,
        orientation=np.eye(2, dtype=int) if turn is None else turn,
        keyframes=np.array(seen.keyframes if trusted and threads else [0]),
        threads=threads,
        # decord ignores edit lists, mirroring and turns by 180°, takes every untagged matrix for
        # BT.601, and miscounts where keyframes are not all closed starts.
        plain=bool(
            container.format.name.startswith(("mov,", "matroska,"))
            and not any(applies for applies, note in possible_notes[:-1])
            and not reading
            and not clip.alpha
            and threads
            and turn is not None
            and (turn == np.eye(2)).all()
            and (frame.colorspace in MATRICES.values() or color.matrix == "smpte170m")
            and tally.hidden == tally.leading == 0
            and tally.keyframes == len(seen.keyframes)
        ),
    )


def whole_pts(pts: list[int | None], step: int) -> tuple[NDArray[Any], bool]:
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
