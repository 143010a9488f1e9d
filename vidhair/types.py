"""The values that stages hand to each other. Each states its units and checks its own shapes.

Legend: T frames. Times are kept as whole ticks of `time_base` (seconds per tick), which is exact;
seconds are derived from them.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import SourceNotFound
from vidhair.wiring import Value

# Code points of ISO/IEC 23091-2, by ffmpeg's names.
MATRICES = {"bt709": 1, "fcc": 4, "bt470bg": 5, "smpte170m": 6, "smpte240m": 7, "bt2020nc": 9}
# Those that are read, and never written.
READ_MATRICES = {"gbr": 0, "ycgco": 8, "bt2020c": 10, "chroma-derived-nc": 12, "ictcp": 14}


@dataclass(frozen=True)
class Frames(Value, Collection[NDArray[Any]]):
    """Upright pictures of a clip, uint8 [H, W, 3] each, RGB: one by one, or all as `pixels`.

    read: (start, stop) → those frames, uint8 [T, H, W, 3].
    """

    ROWS = ("pixels",)
    read: Callable[[int, int], NDArray[Any]]
    start: int
    stop: int

    @classmethod
    def of_pixels(cls, pixels: NDArray[Any]) -> "Frames":
        """pixels: uint8 [T, H, W, 3]."""
        return cls(lambda start, stop: pixels[start:stop], 0, len(pixels))

    @property
    def pixels(self) -> NDArray[Any]:
        """All of them, [T, H, W, 3]."""
        return self.read(self.start, self.stop)

    def rows(self, start: int, stop: int) -> "Frames":
        return Frames(self.read, self.start + start, self.start + stop)

    def numbered(self, rows: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[Any]]]:
        """Some of them, by their rows [n], each with its row."""
        return (
            (row, self.read(self.start + row, self.start + row + 1)[0]) for row in rows.tolist()
        )

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.read(i, i + 1)[0] for i in range(self.start, self.stop))

    def __contains__(self, frame: object) -> bool:
        return any(frame is other for other in self)


@dataclass(frozen=True)
class Color:
    """How the YUV in a file relates to RGB, by ffmpeg's names.

    matrix and range ("tv" or "pc") always name what the conversion uses. primaries and transfer
    are carried along; "unknown" means that the file does not tell.
    """

    matrix: str = "smpte170m"
    range: str = "tv"
    primaries: str = "unknown"
    transfer: str = "unknown"

    def __post_init__(self) -> None:
        known = MATRICES | READ_MATRICES
        assert self.matrix in known, f"no matrix {self.matrix!r}, only {', '.join(known)}"
        assert self.range in ("tv", "pc"), f"range is tv or pc, not {self.range!r}"


@dataclass(frozen=True)
class Sound:
    """One audio stream. rate: samples per second."""

    codec: str
    rate: int
    channels: int


@dataclass(frozen=True, eq=False)
class Clip:
    """A video described, without its pixels.

    width, height: pixels of the upright picture, after `rotation`.
    pts: [T] int64, the tick at which each frame appears, strictly increasing.
    end_pts: the tick at which the last frame disappears.
    frame_rate: average frames per second, if known.
    rotation: degrees clockwise (0, 90, 180, 270) that make the stored picture upright.
    sample_aspect_ratio: width of a pixel over its height, in the upright picture.
    chroma: how finely the file samples color, "4:2:0" and so on; "4:4:4" for RGB.
    alpha: whether some pixel is transparent.
    fields: "progressive", or the field that is shown first, "top" or "bottom", of woven frames.
    tags: title, place, camera, time code and such, by ffmpeg's names.
    """

    path: Path
    width: int
    height: int
    pts: NDArray[Any]
    end_pts: int
    time_base: Fraction
    frame_rate: Fraction | None = None
    rotation: int = 0
    color: Color = field(default_factory=Color)
    sample_aspect_ratio: Fraction = Fraction(1)
    codec: str = "unknown"
    container: str = "unknown"
    sound: tuple[Sound, ...] = ()
    chroma: str = "4:2:0"
    alpha: bool = False
    fields: str = "progressive"
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pts = np.array(self.pts)
        assert pts.ndim == 1 and pts.size, f"pts is [T] with T > 0, not {list(pts.shape)}"
        assert pts.dtype == np.int64, f"pts is int64, not {pts.dtype}"
        assert (np.diff(pts) > 0).all(), "pts increases from frame to frame"
        assert self.end_pts > pts[-1], f"the clip ends at {self.end_pts}, before its last frame"
        ratio = self.time_base.numerator, self.time_base.denominator
        assert min(ratio) > 0 and max(ratio) < 2**31, f"time_base {self.time_base}"
        assert self.width > 0 and self.height > 0, f"size {self.width}×{self.height}"
        assert self.rotation in (0, 90, 180, 270), f"rotation {self.rotation}"
        assert self.sample_aspect_ratio > 0, f"sample_aspect_ratio {self.sample_aspect_ratio}"
        assert self.fields in ("progressive", "top", "bottom"), f"fields {self.fields}"
        pts.setflags(write=False)
        object.__setattr__(self, "pts", pts)

    @property
    def frame_count(self) -> int:
        return len(self.pts)

    @property
    def seconds_T(self) -> NDArray[Any]:
        """When each frame appears. float64."""
        return self.pts * self.time_base.numerator / self.time_base.denominator

    @property
    def duration(self) -> float:
        """Seconds from the first frame's appearance to the last one's disappearance."""
        return float((self.end_pts - int(self.pts[0])) * self.time_base)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the file's bytes, read once, in pieces."""
        try:
            with self.path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise SourceNotFound(
                f"{self.path} can no longer be read ({error.strerror}); put it back or reopen it"
            ) from error
