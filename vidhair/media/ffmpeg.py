"""Where the ffmpeg program is."""

import shutil
from pathlib import Path

from vidhair.errors import VidhairError


def ffmpeg_path() -> Path:
    """ffmpeg on PATH, else the one that imageio-ffmpeg brings."""
    found = shutil.which("ffmpeg")
    if found is None:
        try:
            import imageio_ffmpeg

            found = imageio_ffmpeg.get_ffmpeg_exe()
        except (ImportError, RuntimeError) as error:
            raise VidhairError(
                "no ffmpeg program on PATH or in imageio-ffmpeg; install ffmpeg or reinstall "
                "imageio-ffmpeg"
            ) from error
    return Path(found)
