"""What vidhair sees in a clip, before anything is edited."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vidhair.cache import MemoryStore
from vidhair.checkpoints.packs import BUNDLED
from vidhair.errors import NoFaceFound
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.imaging.warp import cut_squares, to_unit
from vidhair.media import SHEET, ClipReader, check_target, open_clip, write_png
from vidhair.models.pack import load_pack
from vidhair.recipe import load_recipe
from vidhair.stages.people import Tracks, good_frames
from vidhair.types import Clip

Facts = dict[str, Any]
RECIPE = "reconstruct"  # any: they all follow faces alike
CROP = 160  # pixels of a person's picture on a sheet


def inspect_clip(
    path: Path, pack: str | os.PathLike[str] = BUNDLED, sheet: Path | None = None
) -> Facts:
    """Stream facts, shots and people of a clip, as plain values. sheet: where to write a picture
    with a crop of every person, in their order."""
    if sheet is not None:
        check_target(sheet, path, suffixes=SHEET)
    flow, refusal = Flow(load_recipe(RECIPE), load_pack(pack), goal="people"), None
    with open_clip(path) as reader:
        clip, runner = reader.clip, Runner(MemoryStore(), reader)
        try:
            runner.run(flow.nodes())
        except NoFaceFound as error:
            refusal = str(error)
        work, count = runner.work, clip.frame_count
        cuts = flow.value(work, "shots", 0, count).begins
        found = []
        if refusal is None:
            tracks, people = flow.value(work, "tracks", 0, count), flow.value(work, "people")
            found = [
                _seen(tracks, people.tracks_of(n + 1), clip, cuts) for n in range(people.count)
            ]
            if sheet is not None:
                numbers = [people.tracks_of(n + 1) for n in range(people.count)]
                write_png(sheet, _sheet([_portrait(tracks, of, reader) for of in numbers]))
        notes = list(reader.notes)
    starts = np.flatnonzero(cuts)
    facts: Facts = {
        "file": str(path),
        "container": clip.container,
        "codec": clip.codec,
        "width": clip.width,
        "height": clip.height,
        "rotation": clip.rotation,
        "frames": clip.frame_count,
        "seconds": round(clip.duration, 3),
        "frame_rate": None if clip.frame_rate is None else round(float(clip.frame_rate), 3),
        "time_base": str(clip.time_base),
        "color": f"{clip.color.matrix}, {clip.color.range}",
        "chroma": clip.chroma,
        "alpha": clip.alpha,
        "fields": clip.fields,
        "tags": dict(clip.tags),
        "sound": [f"{s.codec}, {s.rate} Hz, {s.channels} ch" for s in clip.sound],
        "shots": [round(float(s), 3) for s in clip.seconds_T[starts]],
        "notes": notes,
    }
    if refusal is not None:
        return facts | {"people": None, "refusal": refusal}
    most = int((tracks.track >= 0).sum(1).max())
    return facts | {"most_faces_in_a_frame": most, "people": found}


def _seen(tracks: Tracks, of: NDArray[Any], clip: Clip, cuts: NDArray[Any]) -> Facts:
    """One person: in how many frames, for how long, how large, and in which shots, from 1 on."""
    frames, faces = np.nonzero(np.isin(tracks.track, of))
    lasts = np.diff(np.append(clip.seconds_T, clip.end_pts * float(clip.time_base)))
    sides = 2 * np.hypot(*tracks.axes[frames, faces, 2:].T)
    return {
        "frames": len(frames),
        "seconds": round(float(lasts[frames].sum()), 3),
        "crop_side_px": round(float(np.median(sides)), 1),
        "shots": np.unique(np.cumsum(cuts)[frames]).tolist(),
    }


def _portrait(tracks: Tracks, of: NDArray[Any], reader: ClipReader) -> NDArray[Any]:
    """A good look at a person, uint8 [CROP, CROP, 3]."""
    longest = of[np.argmax(tracks.area_seconds[of])]
    (frame,) = good_frames(tracks, int(longest), 1)
    axes = tracks.axes[frame][tracks.track[frame] == longest]
    picture = to_unit(reader.read(int(frame), int(frame) + 1))
    square = cut_squares(picture, axes[:, :2].astype(float), axes[:, 2:].astype(float), CROP)
    return (square[0].movedim(0, -1) * 127.5 + 127.5).round().clamp(0, 255).byte().numpy()


def _sheet(portraits: list[NDArray[Any]], columns: int = 6) -> NDArray[Any]:
    """Side by side, with their numbers."""
    rows = -(-len(portraits) // columns)
    sheet = Image.new("RGB", (min(columns, len(portraits)) * CROP, rows * CROP), "white")
    draw = ImageDraw.Draw(sheet)
    for index, portrait in enumerate(portraits):
        corner = index % columns * CROP, index // columns * CROP
        sheet.paste(Image.fromarray(portrait), corner)
        place = corner[0] + 6, corner[1] + 4
        draw.text(
            place,
            str(index + 1),
            "white",
            ImageFont.load_default(24),
            stroke_width=2,
            stroke_fill="black",
        )
    return np.asarray(sheet)


def describe(facts: Facts) -> str:
    """The same as text."""
    rate = "variable" if facts["frame_rate"] is None else f"{facts['frame_rate']:g} fps"
    turned = f", turned by {facts['rotation']}°" if facts["rotation"] else ""
    fields = "" if facts["fields"] == "progressive" else f", {facts['fields']} field first"
    alpha = ", transparent" if facts["alpha"] else ""
    shots = facts["shots"]
    lines = [
        f"{facts['file']}",
        f"  video   {facts['codec']} in {facts['container']}, {facts['width']}×{facts['height']}"
        f"{turned}, {facts['color']}, {facts['chroma']}{fields}{alpha}",
        f"  length  {facts['frames']} frames, {facts['seconds']} s, {rate}, "
        f"ticks of {facts['time_base']} s",
        f"  sound   {'; '.join(facts['sound']) or 'none'}",
        f"  shots   {len(shots)}" + (f", beginning at {shots} s" if len(shots) > 1 else ""),
    ]
    if facts["tags"]:
        lines.append(f"  tags    {'; '.join(f'{k}: {v}' for k, v in facts['tags'].items())}")
    people = facts["people"]
    if people is None:
        lines.append(f"  people  an edit would refuse this clip: {facts['refusal']}")
    else:
        most = facts["most_faces_in_a_frame"]
        lines.append(
            f"  people  {len(people)}; {most} {'face' if most == 1 else 'faces'} at most in a frame"
        )
        for number, seen in enumerate(people, 1):
            of = f", shots {_ranges(seen['shots'])}" if len(shots) > 1 else ""
            lines.append(
                f"  {number:>6}  {seen['frames']} frames, {seen['seconds']} s, "
                f"crop {seen['crop_side_px']} px{of}"
            )
    return "\n".join(lines + [f"  note    {note}" for note in facts["notes"]])


def _ranges(numbers: list[int]) -> str:
    """1–3, 5 for [1, 2, 3, 5]."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{r[0]}–{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
