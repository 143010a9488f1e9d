"""Reading and writing video, sound and stills. Nothing above this package touches a codec."""

from vidhair.media.ffmpeg import ffmpeg_path
from vidhair.media.images import SHEET, PictureWriter, read_image, read_matte, write_png
from vidhair.media.mattes import MatteReader, open_matte
from vidhair.media.reader import ClipReader, open_clip
from vidhair.media.writer import VideoWriter, check_distinct, check_target, try_out

__all__ = [
    "SHEET",
    "ClipReader",
    "MatteReader",
    "PictureWriter",
    "VideoWriter",
    "check_distinct",
    "check_target",
    "ffmpeg_path",
    "open_clip",
    "open_matte",
    "read_image",
    "read_matte",
    "try_out",
    "write_png",
]
