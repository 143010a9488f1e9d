"""Reading and writing stills. RGB, uint8, [H, W, 3]."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vidhair.errors import NotAVideo, os_errors
from vidhair.media.files import whole_file
from vidhair.media.source import existing_file


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """A picture as a viewer shows it: EXIF orientation applied, transparency on white."""
    path = existing_file(path)
    try:
        with Image.open(path) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow would clip to 8
                image = Image.fromarray(np.uint8(np.clip(np.asarray(image) >> 8, 0, 255)))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise NotAVideo(
            f"{path} is not a readable picture ({error}); convert it to PNG or JPEG"
        ) from error


def write_png(path: str | Path, array: NDArray[np.uint8]) -> None:
    """Write [H, W, 3] uint8 whole or not at all."""
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3, (
        f"expected uint8 [H, W, 3], got {array.dtype} {list(array.shape)}"
    )
    path = Path(path)
    with whole_file(path) as part, os_errors(path):
        Image.fromarray(array).save(part, format="PNG")
