"""Reading a matte that somebody else made, or corrected: one plane for every frame of a clip.

Legend: T frames, H and W of the upright picture.
"""

import hashlib
import re
import threading
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vidhair.errors import MatteDoesNotFit, NotAVideo
from vidhair.media.images import has_alpha, picture_size, read_plane
from vidhair.media.reader import open_clip
from vidhair.types import Clip

SUFFIX = ".png"


class MatteReader:
    """Planes of one matte, in any order. count: of them; size: width and height, in pixels.

    Its plane is the transparency, where some pixel is transparent, and else the grey of what is
    seen. Several threads may read.
    """

    def __init__(
        self,
        path: Path,
        count: int,
        size: tuple[int, int],
        plane: Callable[[int], NDArray[np.uint8]],
        pieces: Iterable[Path],
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.count, self.size = path, count, size
        self._plane, self._pieces = plane, list(pieces)
        self._lock, self._close = threading.Lock(), close

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Planes start to stop − 1. uint8 [T, H, W], 255 where there is hair alone."""
        with self._lock:
            return np.stack([self._plane(frame) for frame in range(start, stop)])

    def close(self) -> None:
        """Give back files and decoders. Reading again opens them anew."""
        self._close()

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of all bytes, in order; names do not matter."""
        digest = hashlib.sha256()
        for path in self._pieces:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def check(self, clip: Clip) -> None:
        """Raises MatteDoesNotFit where it is not as long and as large as a clip."""
        if self.count != clip.frame_count:
            raise MatteDoesNotFit(
                f"{self.path} has {_counted(self.count, 'picture')}, and {clip.path} has "
                f"{_counted(clip.frame_count, 'frame')}; give a matte with one picture for every "
                "frame, as `vidhair matte` writes it"
            )
        if self.size != (clip.width, clip.height):
            wide, high = self.size
            raise MatteDoesNotFit(
                f"{self.path} is {wide}×{high} pixels, and {clip.path} is {clip.width}×"
                f"{clip.height} when upright; give a matte of the clip's size"
            )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count > 1 else ''}"


def open_matte(path: str | Path) -> MatteReader:
    """A video, or a folder of PNGs in the order of the numbers in their names.

    Raises SourceNotFound or NotAVideo for what is neither, MatteDoesNotFit for pictures of several
    sizes.
    """
    path = Path(path)
    return _pictures(path) if path.is_dir() else _video(path)


def _video(path: Path) -> MatteReader:
    reader = open_clip(path)
    reader.keep(1)  # they are asked for in order, and once
    look = reader.alpha if reader.clip.alpha else reader.grey
    size = reader.clip.width, reader.clip.height

    def plane(frame: int) -> NDArray[np.uint8]:
        return look(frame, frame + 1).reshape(size[::-1])

    return MatteReader(path, reader.clip.frame_count, size, plane, [path], reader.close)


def _in_order(path: Path) -> list[tuple[int, str]]:
    """Numbers in a name count as numbers: 9 comes before 10."""
    return [(int(n or -1), text) for text, n in re.findall(r"(\D*)(\d*)", path.name)]


def _pictures(folder: Path) -> MatteReader:
    found = [p for p in folder.iterdir() if p.suffix.lower() == SUFFIX and p.name[0] != "."]
    found.sort(key=_in_order)
    if not found:
        raise NotAVideo(f"{folder} holds no {SUFFIX} picture; name the folder that holds the matte")
    sizes = [picture_size(path) for path in found]
    for path, size in zip(found, sizes, strict=True):
        if size != sizes[0]:
            (wide, high), (first_wide, first_high) = size, sizes[0]
            raise MatteDoesNotFit(
                f"{path} is {wide}×{high} pixels, and {found[0].name} beside it "
                f"{first_wide}×{first_high}; give pictures of one size"
            )
    transparent = any(has_alpha(path) for path in found)
    return MatteReader(
        folder, len(found), sizes[0], lambda frame: read_plane(found[frame], transparent), found
    )
