"""Before and after, side by side: a video, and a sheet of stills."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from vidhair.flow.runner import Means
from vidhair.media import VideoWriter, check_target, open_clip, write_png

GAP = 4  # white pixels between pictures


def write_comparison(before: Path, after: Path, target: Path) -> None:
    """A video with the source on the left and the result on the right, with the source's sound.

    It is there to be looked at: odd sizes are padded, and what pads the result is left out. A
    result of another size is brought to that of the clip.
    """
    check_target(target, before, after)
    with open_clip(before) as left, open_clip(after) as right:
        count = min(left.clip.frame_count, right.clip.frame_count)
        size = left.clip.width, left.clip.height
        beyond = right.clip.width - size[0], right.clip.height - size[1]
        padded = all(0 <= n <= 1 for n in beyond)
        clip = dataclasses.replace(
            left.clip,
            width=2 * left.clip.width,
            pts=left.clip.pts[:count],
            alpha=False,
        )
        with VideoWriter(target, clip, odd="pad", sound_from=before) as writer:
            chunk = Means().at_once(clip.width, clip.height)
            for start in range(0, count, chunk):
                stop = min(start + chunk, count)
                made = right.read(start, stop)
                if not padded:
                    made = np.stack([np.asarray(Image.fromarray(f).resize(size)) for f in made])
                pair = [left.read(start, stop), made[:, : clip.height]]
                writer.write(np.concatenate(pair, axis=2)[:, :, : clip.width])


def write_sheet(clips: list[Path], target: Path, *, columns: int = 5, width: int = 320) -> None:
    """A PNG: one row per clip, evenly spaced frames of the same times in columns."""
    rows = []
    for path in clips:
        with open_clip(path) as reader:
            count = reader.clip.frame_count
            chosen = np.linspace(0, count - 1, min(columns, count)).round().astype(int)
            frames = reader.peek(chosen)
        height = round(width * frames.shape[1] / frames.shape[2])
        tiles = [
            np.asarray(Image.fromarray(f).resize((width, height), Image.Resampling.LANCZOS))
            for f in frames
        ]
        gap = np.full((height, GAP, 3), 255, np.uint8)
        pieces = [piece for tile in tiles for piece in (tile, gap)][:-1]
        rows += [np.concatenate(pieces, axis=1), np.full((GAP, 0, 3), 255, np.uint8)]
    widest = max(r.shape[1] for r in rows)
    padded = [
        np.pad(r, ((0, 0), (0, widest - r.shape[1]), (0, 0)), constant_values=255) for r in rows
    ]
    write_png(target, np.concatenate(padded[:-1]))
