"""Reading and writing video, sound and stills. Nothing above this package touches a codec."""

from vidhair.media.ffmpeg import ffmpeg_path
from vidhair.media.images import PictureWriter, read_image, write_png
from vidhair.media.reader import ClipReader, open_clip
from vidhair.media.writer import VideoWriter, check_distinct, check_target, try_out

__all__ = [
    "ClipReader",
    "PictureWriter",
    "VideoWriter",
    "check_distinct",
    "check_target",
    "ffmpeg_path",
    "open_clip",
    "read_image",
    "try_out",
    "write_png",
]
