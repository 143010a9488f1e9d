"""Hair of photos, or of no photo, on one frame of a clip, to choose by looking."""

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vidhair.cache import MemoryStore
from vidhair.checkpoints.packs import BUNDLED
from vidhair.edits.hair_reference import check_style
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.flow.graph import GOAL, Flow
from vidhair.flow.runner import Meter, Reporter, Runner, Silent
from vidhair.geometry import crop_axes, quarters_of
from vidhair.media import (
    SHEET,
    ClipReader,
    VideoWriter,
    check_target,
    open_clip,
    read_image,
    write_png,
)
from vidhair.models.faces.landmarks import FaceMesh, eyes_and_mouth
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import load_recipe
from vidhair.stages.align import frontal
from vidhair.stages.photo import face_of_photo
from vidhair.synthetic.wigs import HAIRSTYLES

LOOKED_AT = 16  # frames of which the most frontal one is chosen
HEIGHT, GAP, TEXT = 420, 4, 24  # pixels
WIDTH = 1800  # of the sheet, if no tile is wider
AROUND = 1.15  # half a side of what is shown of a frame, in crop sides

Picture = NDArray[np.uint8]


def hairstyles(
    clip: Path,
    styles: Sequence[str | os.PathLike[str]],
    target: Path,
    *,
    settings: Mapping[str, Any] | None = None,
    pack: str | os.PathLike[str] = BUNDLED,
    device: str = "cpu",
    reporter: Reporter | None = None,
) -> int:
    """Write a PNG: the most frontal of some frames, and the frame with the hair of every style,
    beside the photo if it is that of one. styles: photos, or names of HAIRSTYLES; all of these if
    there is none. Returns the number of the frame.

    Raises NoFaceFound if no frame that was looked at shows a face, InvalidSetting for a style among
    the settings, and what `Flow` and the photos raise.
    """
    settings = settings or {}
    for name in settings.keys() & {"edit.style", "edit.1.style"}:
        raise InvalidSetting(
            f"{name} = {settings[name]!r} says whose hair is worn, and so does what is named for "
            "the sheet; leave it out, or name it there"
        )
    wanted = [os.fspath(style) for style in styles] or list(HAIRSTYLES)
    photos = [Path(style) for style in wanted if style not in HAIRSTYLES]
    check_target(target, clip, *photos, suffixes=SHEET)
    for photo in photos:
        check_style(str(photo), "STYLE")
        face_of_photo(read_image(photo), str(photo))
    models, store = load_pack(pack, device=device), MemoryStore()
    with (
        ExitStack() as turned,
        tempfile.TemporaryDirectory() as folder,
        open_clip(clip) as reader,
    ):
        number, mesh = most_frontal(reader)
        quarters = quarters_of(crop_axes(*eyes_and_mouth(mesh[None])).x)
        if quarters:
            reader = turned.enter_context(reader.turned(quarters))
            number, mesh = most_frontal(reader)
        still = Path(folder) / "frame.mkv"
        _write_still(reader, number, still)
        axes = crop_axes(*eyes_and_mouth(mesh))
        with open_clip(still) as one:
            (frame,) = one.read(0, 1)
            shown = _around(frame, axes.centre, float(axes.side))
            tiles = [_tile(clip.stem, [frame[shown]])]
            told = reporter or Silent()
            with told.stage("hairstyles", len(wanted), "hairstyle") as meter:
                for done, style in enumerate(wanted, 1):
                    worn = _worn(one, style, settings, models, store, _OfSteps(told))[shown]
                    beside = [] if style in HAIRSTYLES else [read_image(style)]
                    tiles.append(_tile(Path(style).name, [*beside, worn]))
                    meter(done)
    write_png(target, _sheet(tiles))
    return number


def most_frontal(reader: ClipReader) -> tuple[int, NDArray[np.float32]]:
    """The number of a frame, and the mesh of its largest face, [478, 2]."""
    count = reader.clip.frame_count
    chosen = np.linspace(0, count - 1, min(LOOKED_AT, count)).round().astype(int)
    finder = FaceMesh(still=True)
    best: tuple[float, int, NDArray[np.float32]] | None = None
    for number in chosen.tolist():
        for mesh in finder(reader.read(number, number + 1)[0]):
            axes = crop_axes(*eyes_and_mouth(mesh))
            score = float(frontal(mesh, axes)) * float(axes.side) ** 0.5
            if best is None or score > best[0]:
                best = score, number, mesh
    finder.close()
    if best is None:
        raise NoFaceFound(f"no face in {len(chosen)} frames of {reader.clip.path}; give a clip "
                          "that shows one")  # fmt: skip
    return best[1], best[2]


def _write_still(reader: ClipReader, number: int, target: Path) -> None:
    """One frame as a clip."""
    clip = reader.clip
    ends = [*clip.pts[1:].tolist(), clip.end_pts]
    one = dataclasses.replace(
        clip, pts=clip.pts[number : number + 1], end_pts=ends[number], sound=(), alpha=False
    )
    with VideoWriter(target, one, odd="pad") as writer:
        writer.write(reader.read(number, number + 1))


def _worn(
    reader: ClipReader,
    style: str,
    settings: Mapping[str, Any],
    pack: Pack,
    store: MemoryStore,
    reporter: Reporter,
) -> Picture:
    flow = Flow(load_recipe("hair_reference", {**settings, "edit.style": style}), pack)
    runner = Runner(store, reader, reporter)
    runner.run(flow.nodes())
    runner.run([node for node in flow.fanned_nodes(runner.work) if node.stage != GOAL])
    found: Picture = flow.value(runner.work, "composed", 0, 1).pixels[0]
    return found


@dataclass(frozen=True)
class _OfSteps:
    """Tells of what takes several steps alone, as of one frame all else is soon done."""

    whom: Reporter

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return (self.whom if total > 1 else Silent()).stage(name, total, unit)


def _around(frame: Picture, centre: NDArray[np.float64], side: float) -> tuple[slice, slice]:
    """Rows and columns of a frame that show a head and its surroundings."""
    reach = AROUND * side
    found = []
    for middle, length in zip(centre[::-1], frame.shape[:2], strict=True):
        found.append(slice(max(0, int(middle - reach)), min(length, int(middle + reach))))
    return found[0], found[1]


def _tile(name: str, pictures: Sequence[Picture]) -> Picture:
    """Pictures of one height beside each other, with a name above."""
    shown = []
    for picture in pictures:
        width = max(1, round(picture.shape[1] * HEIGHT / picture.shape[0]))
        image = Image.fromarray(picture).resize((width, HEIGHT), Image.Resampling.LANCZOS)
        shown += [np.asarray(image), np.zeros((HEIGHT, GAP, 3), np.uint8)]
    row = np.concatenate(shown[:-1], axis=1)
    title = Image.new("RGB", (row.shape[1], TEXT))
    font = ImageFont.load_default(TEXT * 2 // 3)
    ImageDraw.Draw(title).text((4, 2), name, fill="white", font=font)
    return np.concatenate([np.asarray(title), row])


def _sheet(tiles: Sequence[Picture]) -> Picture:
    """Tiles of one height, in rows about WIDTH wide."""
    rows: list[list[Picture]] = [[]]
    for tile in tiles:
        if rows[-1] and sum(t.shape[1] + GAP for t in rows[-1]) + tile.shape[1] > WIDTH:
            rows.append([])
        rows[-1].append(np.pad(tile, ((0, GAP), (0, GAP), (0, 0))))
    joined = [np.concatenate(row, axis=1) for row in rows]
    width = max(row.shape[1] for row in joined)
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0))) for r in joined])
