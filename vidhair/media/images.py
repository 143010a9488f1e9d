"""Reading and writing stills. RGB, uint8, [H, W, 3]."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vidhair.errors import NotAVideo, OutputNotWritable, os_errors
from vidhair.media.files import whole_file
from vidhair.media.source import existing_file

SHEET = (".png",)  # suffixes of pictures that are written


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture as a viewer shows it: EXIF orientation applied, transparency on white."""
    with _opened(path) as file:
        image = _in_8_bits(ImageOps.exif_transpose(file))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.array(image.convert("RGB"))


def picture_size(path: str | Path) -> tuple[int, int]:
    """Width and height as stored, without reading more than the beginning of the file."""
    with _opened(path) as image:
        return image.size


def has_alpha(path: str | Path) -> bool:
    """Whether some pixel of a picture is transparent."""
    with _opened(path) as image:
        return bool(image.has_transparency_data and _alpha(image).min() < 255)


def read_plane(path: str | Path, transparency: bool) -> NDArray[np.uint8]:
    """[H, W] as stored: how opaque a picture is, or else how bright."""
    with _opened(path) as image:
        return _alpha(image) if transparency else np.array(_in_8_bits(image).convert("L"))


def read_matte(path: str | Path) -> NDArray[np.uint8]:
    """[H, W]: how opaque a picture is where some pixel is transparent, else how bright."""
    return read_plane(path, has_alpha(path))


def _alpha(image: Image.Image) -> NDArray[np.uint8]:
    return np.array(image.convert("RGBA").getchannel("A"))


def _in_8_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith("I"):
        return image
    # 16 bits of grey, which Pillow would clip.
    return Image.fromarray(np.uint8(np.rint(np.asarray(image) / 257).clip(0, 255)))


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    path = existing_file(path)
    try:
        with Image.open(path) as file:
            yield file
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAVideo(
            f"{path} is not a readable picture ({error}); convert it to PNG or JPEG"
        ) from error


def write_png(path: str | Path, array: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] uint8, or [H, W, 4] with alpha, whole or not at all."""
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (3, 4), (
        f"expected uint8 [H, W, 3 or 4], got {array.dtype} {list(array.shape)}"
    )
    path = Path(path)
    with whole_file(path) as part, os_errors(path):
        Image.fromarray(array).save(part, format="PNG")


class PictureWriter:
    """Takes frames in order, as `VideoWriter` does, and writes each as folder/000001.png and so on.

    The folder is made when the first one is written. Pictures of such names that an earlier, longer
    clip has left there are removed at the end, if that comes without an error, and `notes` says so.
    """

    alpha = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.notes: tuple[str, ...] = ()
        self._written = 0
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputNotWritable(f"{self.folder} is a file; name a folder for the pictures")
        if not self.folder.parent.is_dir():
            raise OutputNotWritable(f"there is no folder {self.folder.parent}; create it first")

    def __enter__(self) -> Self:
        with os_errors(self.folder):
            self.folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *error: object) -> None:
        """Every picture is whole as soon as it is written."""
        if error[0] is not None:
            return
        with os_errors(self.folder):
            stale = [p for p in self.folder.iterdir() if self._left_over(p.name)]
            for path in stale:
                path.unlink()
        if stale:
            self.notes = (
                "pictures behind the last one, left by an earlier clip, are removed from "
                f"{self.folder}: {len(stale)}",
            )

    def _left_over(self, name: str) -> bool:
        return bool(re.fullmatch(r"\d{6}\.png", name)) and int(name[:6]) > self._written

    def write(self, frames: NDArray[np.uint8], alpha: NDArray[np.uint8] | None = None) -> None:
        """frames: uint8 [T, H, W, 3]; alpha: uint8 [T, H, W], 0 where transparent."""
        opaque = np.full(frames.shape[:3], 255, np.uint8)
        plane = (opaque if alpha is None else alpha)[..., None]
        for picture in np.concatenate([frames, plane], axis=-1):
            self._written += 1
            write_png(self.folder / f"{self._written:06d}.png", picture)
