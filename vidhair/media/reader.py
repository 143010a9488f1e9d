"""Reading a video as upright RGB frames.

Legend: T frames, H and W of the upright picture.

`read` and `read_at` decode with PyAV and convert with exact rounding. `peek` decodes with decord,
which reaches scattered frames sooner, but whose conversion is about one level too dark and repeats
chroma over 2×2 pixels: good for looking, not for editing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import NotAVideo
from vidhair.media.color import Conversion, alpha_of, fields_to_rgb, grey_of, to_rgb
from vidhair.media.light import converts, to_sdr_rgb
from vidhair.media.orientation import rotation, turned, upright
from vidhair.media.scan import Scan, scan_source
from vidhair.media.source import Tally, decoded_frames, open_container, video_stream
from vidhair.types import Clip

if TYPE_CHECKING:
    import av

# Decoded frames that are kept, so that chunks may overlap without going back to a keyframe.
_KEPT = 16
# Jumping over fewer frames than this to a keyframe takes longer than decoding them.
_WORTH_A_JUMP = 32
# Some containers land behind the time they are asked for; so many earlier keyframes are tried.
_ATTEMPTS = 3


def open_clip(path: str | Path) -> ClipReader:
    """Open a video, to be closed by a `with` block.

    Decodes the whole file once without making pictures: only that tells its frames and times.
    """
    return ClipReader(scan_source(Path(path)))


class ClipReader:
    """The frames of one video, in any order; in forward order each is decoded once.

    clip: what the video is. notes: sentences on what is unusual about the source.
    10-bit pictures are reduced to 8 bits, HDR (PQ, HLG) is tone-mapped to SDR BT.709.
    reading: how colors are read where it is not plainly by their matrix; else empty.
    """

    def __init__(self, scan: Scan) -> None:
        from av.video.reformatter import VideoReformatter

        self._scan = scan
        self.clip = scan.clip
        self.notes = scan.notes
        self.reading = scan.reading
        self._container: Any = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next = self.clip.frame_count
        self._recent: deque[tuple[int, av.VideoFrame]] = deque(maxlen=_KEPT)
        self._by_field: Conversion | None = None
        self._reformatter = VideoReformatter()
        self._decord: Any = None

    def __enter__(self) -> ClipReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the file and the decoders. Reading again opens them anew."""
        if self._container is not None:
            self._container.close()
        self._container, self._frames, self._next = None, iter(()), self.clip.frame_count
        self._recent.clear()
        self._decord = None

    def turned(self, quarters: int) -> ClipReader:
        """Another reader of the same video, whose pictures are turned by so many quarters of a
        circle to the left."""
        scan = self._scan
        orientation = turned(scan.orientation, quarters)
        clip = replace(self.clip, rotation=rotation(orientation))
        if quarters % 2:
            shape = 1 / clip.sample_aspect_ratio
            clip = replace(clip, width=clip.height, height=clip.width, sample_aspect_ratio=shape)
        found = ClipReader(replace(scan, clip=clip, orientation=orientation, plain=False))
        found.reading = f"{self.reading} turned by {quarters % 4} quarters".strip()
        return found

    def keep(self, count: int = _KEPT) -> None:
        """Hold so many of the frames that were decoded last, which can be read again at once."""
        self._recent = deque(self._recent, maxlen=max(count, 1))

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames start to stop − 1. uint8 [T, H, W, 3]."""
        return self.read_at(range(start, stop))

    def read_at(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """The frames with these numbers, in any order. uint8 [T, H, W, 3]."""
        wanted = self._checked(indices)
        out = np.empty((len(wanted), self.clip.height, self.clip.width, 3), np.uint8)
        for number in np.unique(wanted):
            out[wanted == number] = self._rgb(self._frame(int(number)))
        return out

    def alpha(self, start: int, stop: int) -> NDArray[np.uint8]:
        """How opaque the frames start to stop − 1 are. uint8 [T, H, W], 0 where transparent."""
        out = np.empty((stop - start, self.clip.height, self.clip.width), np.uint8)
        for number in self._checked(range(start, stop)):
            stored = alpha_of(self._frame(int(number)), *self._stored_size())
            out[number - start] = upright(stored, self._scan.orientation)
        return out

    def grey(self, start: int, stop: int) -> NDArray[np.uint8]:
        """How bright the frames start to stop − 1 are, as they are stored: without tone mapping.
        uint8 [T, H, W]."""
        out = np.empty((stop - start, self.clip.height, self.clip.width), np.uint8)
        for number in self._checked(range(start, stop)):
            stored = grey_of(self._frame(int(number)), self._scan.color, *self._stored_size())
            out[number - start] = upright(stored, self._scan.orientation)
        return out

    def peek(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Like `read_at`, sooner, and only nearly the same levels: for looking, not for editing."""
        wanted = self._checked(indices)
        if self._decord is None:
            self._decord = _open_decord(self.clip) if self._scan.plain else False
        if self._decord and len(wanted):
            with suppress(Exception):  # what decord trips over, PyAV reads
                found: NDArray[np.uint8] = self._decord.get_batch(wanted.tolist()).asnumpy()
                return found
            self._decord = False
        return self.read_at(wanted)

    def _checked(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        wanted = np.asarray(indices, int)
        count = self.clip.frame_count
        assert wanted.ndim == 1, f"frame numbers are [T], not {list(wanted.shape)}"
        assert ((wanted >= 0) & (wanted < count)).all(), f"frame outside 0–{count - 1}: {indices}"
        return wanted

    def _rgb(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        scan = self._scan
        size = self._stored_size()
        if converts(scan.color):
            rgb = to_sdr_rgb(frame, scan.color, *size)
        elif scan.reading and (frame.width, frame.height) == size:
            self._by_field = self._by_field or fields_to_rgb(frame, scan.color)
            rgb = np.asarray(self._by_field(frame).to_ndarray(), np.uint8)
        else:
            rgb = to_rgb(frame, scan.color, *size, self._reformatter)
        return upright(rgb, scan.orientation)

    def _stored_size(self) -> tuple[int, int]:
        """Width and height before the picture is turned upright."""
        size = (self.clip.width, self.clip.height)
        return size if self._scan.orientation[0, 0] else size[::-1]

    def _frame(self, number: int) -> av.VideoFrame:
        for kept, frame in self._recent:
            if kept == number:
                return frame
        keyframe = int(self._scan.keyframes[self._scan.keyframes <= number].max(initial=0))
        if number < self._next or keyframe > self._next + _WORTH_A_JUMP:
            self._jump(keyframe)
        while self._next <= number:
            decoded = next(self._frames, None)
            if decoded is None:
                raise NotAVideo(f"{self.clip.path} changed while it was read; open it again")
            self._recent.append((self._next, decoded))
            self._next += 1
        return self._recent[-1][1]

    def _jump(self, keyframe: int) -> None:
        """Make `keyframe`, or else the first frame, the next one."""
        if self._container is None:
            self._reopen()
        earlier = self._scan.keyframes[self._scan.keyframes <= keyframe][: -_ATTEMPTS - 1 : -1]
        if keyframe > 0 and any(self._seek(keyframe, int(target)) for target in earlier):
            self._next = keyframe
        else:
            self._reopen()
            self._next = 0

    def _reopen(self) -> None:
        if self._container is not None:
            self._container.close()
        self._container = open_container(self.clip.path)
        stream = video_stream(self._container, self.clip.path)
        stream.thread_type = "AUTO" if self._scan.threads else "NONE"
        self._frames = decoded_frames(self._container, stream, Tally())

    def _seek(self, keyframe: int, target: int) -> bool:
        """Whether `keyframe` comes up when the container is asked for frame `target`."""
        import av

        stream = video_stream(self._container, self.clip.path)
        pts = int(self.clip.pts[keyframe])
        try:
            self._container.seek(int(self.clip.pts[target]), stream=stream)
        except av.FFmpegError:
            return False
        frames = decoded_frames(self._container, stream, Tally())
        # What comes before the keyframe may lack the pictures it refers to.
        first = next((frame for frame in frames if frame.pts is None or frame.pts >= pts), None)
        if first is None or first.pts != pts:
            return False
        self._frames = chain([first], frames)
        return True


def _open_decord(clip: Clip) -> Any:
    """A decord reader that numbers the frames as `clip` does, or False."""
    try:
        import decord
    except ImportError:  # it has no wheels for 64-bit Arm
        return False
    decord.logging.set_level(decord.logging.QUIET)
    seconds_T = clip.seconds_T - clip.seconds_T[0]
    with suppress(Exception):
        video = decord.VideoReader(str(clip.path.absolute()))
        if len(video) == clip.frame_count and video[0].shape == (clip.height, clip.width, 3):
            starts_T = video.get_frame_timestamp(range(len(video)))[:, 0]
            tolerance = np.diff(seconds_T).min(initial=1.0) / 4
            if abs(starts_T - starts_T[0] - seconds_T).max() < tolerance:
                return video
    return False
