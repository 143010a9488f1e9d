"""Writing edited frames as a video with the source's time stamps and sound.

The file appears under its name only when it is complete.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from vidhair.errors import EncodingFailed, OutputNotWritable, os_errors
from vidhair.media.color import SAMPLINGS, sampling, tag_codes, to_yuv
from vidhair.media.files import home_of, same_place, whole_file
from vidhair.media.sound import SoundTrack
from vidhair.media.source import open_container
from vidhair.media.tags import lost_tags, tags_held
from vidhair.types import Clip

# By suffix: ffmpeg's name of the container, and the encoder that "auto" stands for.
_CONTAINERS = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
# By container: encoders that keep a transparent background, with the pixel format and options that
# they need for it. The first is what "auto" stands for.
_TRANSPARENT: dict[str, dict[str, tuple[str, dict[str, str]]]] = {
    "mov": {"prores_ks": ("yuva444p10le", {"profile": "4444"})},
    "webm": {"libvpx-vp9": ("yuva420p", {"auto-alt-ref": "0"})},
    "matroska": {
        "ffv1": ("yuva444p", {}),
        "libvpx-vp9": ("yuva420p", {"auto-alt-ref": "0"}),
        "prores_ks": ("yuva444p10le", {"profile": "4444"}),
    },
}
# Encoders that mark frames as woven of two fields, and code them so.
_WEAVING = ("libx264", "prores_ks", "ffv1", "mpeg2video")
_LARGEST_TIMESCALE = 2**31 - 1
# These encoders save on colour first. Nobody may see skin change its tint because hair was dyed.
_FAITHFUL_COLOUR = {
    "libx264": {"x264-params": "chroma-qp-offset=-12"},
    "libx265": {"x265-params": "cbqpoffs=-12:crqpoffs=-12:log-level=error"},
}


def check_target(target: str | Path, *sources: str | Path) -> None:
    """Refuse, before any work, a target that cannot be written or that is one of the sources."""
    target = Path(target)
    if target.suffix.lower() not in _CONTAINERS:
        raise OutputNotWritable(
            f"{target} does not end in a known suffix; use one of {', '.join(_CONTAINERS)}"
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
    trade of speed for size. sound_from: the file whose sound is carried over, if any.
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
        sound_from: str | Path | None = None,
    ) -> None:
        self.target = Path(target)
        self.clip = clip
        self.notes: tuple[str, ...] = ()
        self._sound_from = None if sound_from is None else Path(sound_from)
        check_target(target, clip.path, *([sound_from] if sound_from else []))
        self._format, default = _CONTAINERS[self.target.suffix.lower()]
        transparent = _TRANSPARENT.get(self._format, {}) if clip.alpha else {}
        default = next(iter(transparent), default)
        self._codec = default if codec == "auto" else codec
        self._alpha_format, for_alpha = transparent.get(self._codec, ("", {}))
        self._options = {"crf": str(crf)} if self._codec not in ("prores_ks", "ffv1") else {}
        self._options |= for_alpha
        if clip.alpha and not self._alpha_format:
            self.notes += (
                f"{self._codec} in {self.target.suffix} holds no transparency: the background is "
                "filled with what lies under it; write to .mov (ProRes 4444) or .webm to keep it",
            )
        if self._codec in ("libx264", "libx265"):
            self._options["preset"] = preset
            self._options |= _FAITHFUL_COLOUR[self._codec]
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

    @property
    def alpha(self) -> bool:
        """Whether `write` has a use for alpha."""
        return self._alpha_format != ""

    def write(self, frames: np.ndarray, alpha: np.ndarray | None = None) -> None:
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
            for rgb in frames:
                frame = self._to_yuv(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), kind))
                frame.pts = int(self._pts[self._written])
                frame.duration = int(self._durations[self._written])
                frame.time_base = self.clip.time_base
                self._written += 1
                self._mux(self._video.encode(frame))

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
            self._mux(self._video.encode(None))
            if self._sound is not None:
                self._sound.mux()
            self._output.close()
            with open_container(self._part) as written:
                lost = lost_tags(self.clip.tags, written)
            if lost:
                self.notes += (f"{self.target.suffix} does not keep the tags {', '.join(lost)}",)

    def _add_video(self) -> Any:
        import av

        clip = self.clip
        rate = clip.frame_rate or Fraction(clip.frame_count / clip.duration).limit_denominator(1001)
        video: Any = self._output.add_stream(
            self._codec, rate=rate, options=self._options, time_base=clip.time_base
        )
        video.width, video.height = clip.width, clip.height
        video.pix_fmt = "yuv420p"
        if self._codec in ("libx264", "libx265") and (clip.width % 2 or clip.height % 2):
            video.pix_fmt = "yuv444p"
            self.notes += (
                f"{clip.width}×{clip.height} is odd, so colour is stored at full resolution "
                "(4:4:4), which some players do not show",
            )
        video.pix_fmt = self._alpha_format or video.pix_fmt
        stored = sampling(av.VideoFormat(video.pix_fmt))
        if any(a < b for a, b in zip(SAMPLINGS[clip.chroma], SAMPLINGS[stored], strict=True)):
            self.notes += (f"{clip.chroma} colour is stored as {stored}",)
        fields = self._woven_fields(video, stored)
        video.codec_context.sample_aspect_ratio = clip.sample_aspect_ratio
        for name, code in tag_codes(clip.color).items():
            setattr(video.codec_context, name, code)
        # Decoders of H.264, H.265 and MPEG-4 say "left"; where nothing is said, readers centre.
        siting = "center" if self._format == "webm" else "left"
        self._to_yuv = to_yuv(
            clip.color,
            clip.width,
            clip.height,
            video.pix_fmt,
            siting,
            source="rgba" if self.alpha else "rgb24",
            fields=fields,
        )
        self._output.metadata.update(tags_held(clip.tags, self._format, rate))
        return video

    def _woven_fields(self, video: Any, stored: str) -> str:
        """The clip's fields, if they can stay fields. stored: how colour is sampled."""
        from av.codec.context import Flags

        clip = self.clip
        if clip.fields == "progressive":
            return clip.fields
        # Each field needs whole rows of colour of its own.
        rows = 2 * SAMPLINGS[stored][1]
        if self._codec not in _WEAVING or clip.height % rows:
            self.notes += (
                f"{self._codec} does not keep the fields of {clip.width}×{clip.height} pictures: "
                "they are woven into progressive frames",
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

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            frame = np.searchsorted(self._pts, packet.pts)
            packet.duration = int(self._durations[frame])
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
                raise EncodingFailed(
                    f"{self._codec} cannot write {self.clip.width}×{self.clip.height} pictures to "
                    f"{self.target} ({error}); choose another codec or suffix"
                ) from error
