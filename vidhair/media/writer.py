"""Writing edited frames as a video with the source's time stamps and sound.

The file appears under its name only when it is complete.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import EncodingFailed, OutputNotWritable, VidhairError, os_errors
from vidhair.media.color import SAMPLINGS, sampling, tag_codes, to_yuv
from vidhair.media.encoders import CONTAINERS, find_encoder, needs_hardware, with_quality
from vidhair.media.files import home_of, same_place, whole_file
from vidhair.media.reader import open_clip
from vidhair.media.sound import SoundTrack
from vidhair.media.source import open_container
from vidhair.media.tags import lost_tags, tags_held
from vidhair.types import Clip

_LARGEST_TIMESCALE = 2**31 - 1
# Frames in a second that MPEG-1 and MPEG-2 know.
_RATES = tuple(
    map(Fraction, ["24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "60"])
)
# Where an encoder knows nothing but bit rates: that of good H.264, and of plain wavelets.
_BITS_PER_PIXEL = {True: 0.4, False: 8.0}
_TRIAL_FRAMES = 3
_TRIAL_COLOR = (170, 130, 110)


def check_target(
    target: str | Path, *sources: str | Path, suffixes: Collection[str] = CONTAINERS
) -> None:
    """Refuse, before any work, a target that cannot be written or that is one of the sources."""
    target = Path(target)
    if target.suffix.lower() not in suffixes:
        known = "use one of " if len(suffixes) > 1 else "use "
        raise OutputNotWritable(
            f"{target} does not end in a known suffix; {known}{', '.join(suffixes)}"
        )
    with os_errors(target):
        if target.exists() and not target.is_file():
            raise OutputNotWritable(f"{target} exists and is not a file; choose another name")
        home = home_of(target)
        if not home.parent.is_dir():
            raise OutputNotWritable(f"there is no folder {home.parent}; create it first")
        if target.exists() and not os.access(target, os.W_OK):
            raise OutputNotWritable(
                f"{target} may not be written; choose another name, or chmod u+w it"
            )
        for source in sources:
            if Path(source).exists() and same_place(target, source):
                raise OutputNotWritable(
                    f"{target} is the source itself; choose another name for the output"
                )
        with tempfile.TemporaryFile(dir=home.parent):
            pass


def check_distinct(*targets: Path) -> None:
    """Refuse targets of which two are one file."""
    for a, b in combinations(targets, 2):
        with os_errors(a):
            if same_place(a, b):
                raise OutputNotWritable(f"{a} and {b} are the same file; remove one of them")


class VideoWriter:
    """Takes the frames of `clip` in order, in a `with` block, and writes `target` at its end.

    codec: "auto" or the name of an ffmpeg video encoder. crf: 0 (best) and up. preset: x264's
    trade of speed for size. odd: "keep" odd sizes, or "pad" them to even ones with the last
    column or row. sound_from: the file whose sound is carried over, if any.
    notes: sentences on what the target made necessary.
    """

    def __init__(
        self,
        target: str | Path,
        clip: Clip,
        *,
        codec: str = "auto",
        crf: int = 16,
        preset: str = "medium",
        odd: str = "keep",
        sound_from: str | Path | None = None,
    ) -> None:
        self.target = Path(target)
        self.clip = clip
        self._given: dict[str, Any] = {"codec": codec, "crf": crf, "preset": preset, "odd": odd}
        self.notes: tuple[str, ...] = ()
        self._sound_from = None if sound_from is None else Path(sound_from)
        check_target(target, clip.path, *([sound_from] if sound_from else []))
        suffix = self.target.suffix.lower()
        self._format = CONTAINERS[suffix][0]
        self._encoder = find_encoder(codec, suffix, clip.alpha)
        self._pixel_format = self._encoder.alpha_format or self._encoder.format
        if clip.alpha and not self.alpha:
            self.notes += (
                f"{self._encoder.name} in {suffix} holds no transparency: the background is "
                "filled with what lies under it; write to .mov (ProRes 4444) or .webm to keep it",
            )
        self._width, self._height = self._stored_size(odd)
        self._rate = clip.frame_rate or Fraction(
            clip.frame_count / clip.duration
        ).limit_denominator(1001)
        bits = _BITS_PER_PIXEL[self._encoder.hardware]
        bit_rate = round(self._width * self._height * float(self._rate) * bits)
        self._options, note = with_quality(self._encoder, crf, preset, bit_rate)
        self.notes += (note,) if note else ()
        if self._encoder.name == "libx265" and clip.frame_count <= 2:
            # So few frames come without times where later ones might come before them.
            self._options["x265-params"] += ":bframes=0"
        # No container holds pictures from before 0: a clip that begins there moves as a whole.
        self._delay = max(0, -int(clip.pts[0]))
        if self._delay:
            self.notes += (
                f"the clip begins {float(self._delay * clip.time_base):.3f} s before 0 "
                "and is moved to begin at 0",
            )
        if self._format == "webm" and clip.sample_aspect_ratio != 1:
            self.notes += (
                f"webm does not keep the pixels' aspect ratio {clip.sample_aspect_ratio}",
            )
        milliseconds = np.rint(clip.pts * float(clip.time_base * 1000))
        shared = int((np.diff(milliseconds) == 0).sum())
        if shared and self._format in ("matroska", "webm"):
            self.notes += (
                f"{self.target.suffix} counts milliseconds, in which {shared} frames come at the "
                "time of the frame before; write to .mp4 or .mov to keep their times",
            )
        self._pts = clip.pts + self._delay
        self._durations = np.diff(clip.pts, append=clip.end_pts)
        self._written = 0
        self._resources = ExitStack()

    def __enter__(self) -> VideoWriter:
        import av

        with ExitStack() as resources, self._named_errors():
            self._part = resources.enter_context(whole_file(self.target))
            self._output = av.open(str(self._part.absolute()), "w", format=self._format)
            resources.callback(self._abandon)
            self._video = self._add_video()
            self._sound = None
            if self._sound_from is not None:
                self._sound = SoundTrack(
                    self._sound_from,
                    self._output,
                    delay=self._delay * self.clip.time_base,
                    scratch=self._part,
                    resources=resources,
                )
                self.notes += self._sound.notes
            self._output.container_options.update(self._muxer_options())
            self._output.start_encoding()
            self._resources = resources.pop_all()
        return self

    def sized(self, width: int, height: int) -> VideoWriter:
        """The same for frames of another size than the clip's; itself, if it is the same."""
        if (width, height) == (self.clip.width, self.clip.height):
            return self
        clip = replace(self.clip, width=width, height=height, fields="progressive")
        return VideoWriter(self.target, clip, **self._given, sound_from=self._sound_from)

    @property
    def alpha(self) -> bool:
        """Whether `write` has a use for alpha."""
        return self._encoder.alpha_format != ""

    def write(self, frames: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> None:
        """Append frames. uint8 [T, H, W, 3], RGB, of the clip's size.

        alpha: uint8 [T, H, W], 0 where transparent; without it all is opaque.
        """
        import av

        shape = (self.clip.height, self.clip.width, 3)
        assert frames.dtype == np.uint8 and frames.shape[1:] == shape, (
            f"expected uint8 [T, {', '.join(map(str, shape))}], "
            f"got {frames.dtype} {list(frames.shape)}"
        )
        assert self._written + len(frames) <= self.clip.frame_count, (
            f"{self._written} + {len(frames)} frames for a clip of {self.clip.frame_count}"
        )
        with self._named_errors():
            if self.alpha:
                opaque = np.full(frames.shape[:3], 255, np.uint8)
                plane = (opaque if alpha is None else alpha)[..., None]
                frames = np.concatenate([frames, plane], axis=-1)
            kind = "rgba" if self.alpha else "rgb24"
            beyond = self._height - self.clip.height, self._width - self.clip.width
            if any(beyond):
                pad = [(0, 0), *((0, more) for more in beyond), (0, 0)]
                frames = np.pad(frames, pad, mode="edge")
            for rgb in frames:
                frame = self._to_yuv(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), kind))
                if self._encoder.timed:
                    frame.pts = int(self._pts[self._written])
                    frame.duration = int(self._durations[self._written])
                else:
                    frame.pts = self._written
                frame.time_base = self._video.codec_context.time_base
                self._written += 1
                self._encode(frame)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            self._resources.__exit__(kind, error, trace)
            return
        with self._resources, self._named_errors():
            if self._written < self.clip.frame_count:
                raise EncodingFailed(
                    f"{self._written} of {self.clip.frame_count} frames were given for "
                    f"{self.target}; write every frame of the clip"
                )
            self._encode(None)
            if self._sound is not None:
                self._sound.mux()
            self._output.close()
            self._read_back()

    def _read_back(self) -> None:
        with open_container(self._part) as written:
            lost = lost_tags(self.clip.tags, written)
        if lost:
            self.notes += (f"{self.target.suffix} does not keep the tags {', '.join(lost)}",)

    def _add_video(self) -> Any:
        import av

        clip = self.clip
        time_base = clip.time_base
        if not self._encoder.timed:
            time_base = 1 / min(_RATES, key=lambda known: abs(known - self._rate))
        video: Any = self._output.add_stream(
            self._encoder.name, rate=self._rate, options=self._options, time_base=time_base
        )
        video.width, video.height = self._width, self._height
        video.pix_fmt = self._pixel_format
        if not self._encoder.timed:
            video.codec_context.framerate = 1 / time_base
        stored = sampling(av.VideoFormat(video.pix_fmt))
        if any(a < b for a, b in zip(SAMPLINGS[clip.chroma], SAMPLINGS[stored], strict=True)):
            self.notes += (f"{clip.chroma} color is stored as {stored}",)
        fields = self._woven_fields(video, stored)
        video.codec_context.sample_aspect_ratio = clip.sample_aspect_ratio
        for name, code in tag_codes(clip.color, video.pix_fmt).items():
            setattr(video.codec_context, name, code)
        # Decoders of H.264, H.265 and MPEG-4 say "left"; where nothing is said, readers centre.
        siting = "center" if self._format == "webm" else "left"
        self._to_yuv = to_yuv(
            clip.color,
            self._width,
            self._height,
            video.pix_fmt,
            siting,
            source="rgba" if self.alpha else "rgb24",
            fields=fields,
        )
        self._output.metadata.update(tags_held(clip.tags, self._format, self._rate))
        with self._refused_by_encoder():
            video.codec_context.open()
        return video

    def _stored_size(self, odd: str) -> tuple[int, int]:
        """Pixels across and down in the file; says what an odd size needs."""
        assert odd in ("keep", "pad"), odd
        size = width, height = self.clip.width, self.clip.height
        if width % 2 == 0 and height % 2 == 0:
            return size
        if odd == "pad":
            lines = [line for line, n in (("column", width), ("row", height)) if n % 2]
            width, height = width + width % 2, height + height % 2
            self.notes += (
                f"{size[0]}×{size[1]} is odd; with its last {' and last '.join(lines)} repeated "
                f"once it becomes {width}×{height}",
            )
        elif self._encoder.even and self._pixel_format == "yuv420p":
            self._pixel_format = "yuv444p"
            self.notes += (
                f"{width}×{height} is odd, so color is stored at full resolution (4:4:4), which "
                "QuickTime, Safari, phones and hardware decoders do not play; with "
                "encode.odd=pad they do",
            )
        return width, height

    def _woven_fields(self, video: Any, stored: str) -> str:
        """The clip's fields, if they can stay fields. stored: how color is sampled."""
        from av.codec.context import Flags

        clip = self.clip
        if clip.fields == "progressive":
            return clip.fields
        # Each field needs whole rows of color of its own.
        rows = 2 * SAMPLINGS[stored][1]
        if not self._encoder.weaves or clip.height % rows:
            self.notes += (
                f"{self._encoder.name} does not keep the fields of {clip.width}×{clip.height} "
                "pictures: they are woven into progressive frames",
            )
            return "progressive"
        video.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        # ffmpeg's AV_FIELD_TB and AV_FIELD_BT.
        video.codec_context.field_order = 4 if clip.fields == "top" else 5
        return clip.fields

    def _muxer_options(self) -> dict[str, str]:
        # Otherwise Matroska would move the pictures to make room for sound that begins before 0.
        options = {"avoid_negative_ts": "disabled"}
        if self._format in ("mp4", "mov"):
            scale = self.clip.time_base.denominator
            # The scale of the whole movie counts where a stream begins.
            movie_scale = math.lcm(scale, *(self._sound.rates if self._sound else []))
            options |= {"movflags": "+faststart"}
            options |= {"video_track_timescale": str(scale)}
            if movie_scale <= _LARGEST_TIMESCALE:
                options |= {"movie_timescale": str(movie_scale)}
        return options

    def _encode(self, frame: Any) -> None:
        with self._refused_by_encoder():
            packets = self._video.encode(frame)
        for packet in packets:
            if self._encoder.timed:
                number = np.searchsorted(self._pts, packet.pts)
            else:
                number = packet.pts
                packet.pts = packet.dts = int(self._pts[number])
                packet.time_base = self.clip.time_base
            packet.duration = int(self._durations[number])
            if self._sound is not None:
                self._sound.mux(until=packet.dts * packet.time_base)
            self._output.mux(packet)

    def _abandon(self) -> None:
        with suppress(Exception):
            self._output.close()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        import av

        with os_errors(self.target):
            try:
                yield
            except (av.FFmpegError, ValueError) as error:
                if isinstance(error, OSError):
                    raise
                raise self._failed(error) from error

    @contextmanager
    def _refused_by_encoder(self) -> Iterator[None]:
        """Whatever an encoder says, with whatever number, is about itself and not the disk."""
        import av

        try:
            yield
        except (av.FFmpegError, ValueError) as error:
            if self._encoder.hardware:
                sentence = needs_hardware(self._encoder.name, self.target.suffix.lower())
                raise EncodingFailed(sentence) from error
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> EncodingFailed:
        default = CONTAINERS[self.target.suffix.lower()][1]
        odd = (self._width % 2 or self._height % 2) and self._encoder.name != default
        return EncodingFailed(
            f"{self._encoder.name} cannot write {self._width}×{self._height} pictures to "
            f"{self.target.name} ({_reason(error)}); "
            + ("try encode.odd=pad, or " if odd else "")
            + f"choose another codec, as {default}, or another suffix"
        )


def _reason(error: Exception) -> str:
    """The last that ffmpeg said, or what the error says."""
    log = getattr(error, "log", None)
    return log[2].strip() if log else str(getattr(error, "strerror", None) or error)


class _Tried(Exception):
    """A trial went well."""


class _Trial(VideoWriter):
    """Reads what it wrote, and leaves nothing."""

    def _read_back(self) -> None:
        count = self.clip.frame_count
        try:
            with open_clip(self._part) as copy:
                whole = copy.clip.frame_count == count
                seen = copy.read(0, copy.clip.frame_count).mean(axis=(0, 1, 2))
        except VidhairError:
            whole = False
        if not whole or abs(seen - _TRIAL_COLOR).max() > 16:
            suffix = self.target.suffix.lower()
            raise EncodingFailed(
                f"what {self._encoder.name} writes to {suffix} cannot be read again; "
                f"take {CONTAINERS[suffix][1]}"
            )
        raise _Tried


def try_out(target: str | Path, clip: Clip, **options: Any) -> None:
    """Raise, before the work, what `VideoWriter` would raise after it; nothing stays.

    A few frames of the clip's size and times are written and read. options: as `VideoWriter`'s.
    """
    count = min(clip.frame_count, _TRIAL_FRAMES)
    end = clip.end_pts if count == clip.frame_count else int(clip.pts[count])
    clip = replace(clip, pts=clip.pts[:count], end_pts=end)
    frame = np.full((1, clip.height, clip.width, 3), _TRIAL_COLOR, np.uint8)
    with suppress(_Tried), _Trial(target, clip, **options) as writer:
        for _ in range(count):
            writer.write(frame)
