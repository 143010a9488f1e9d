"""What vidhair sees in a clip, before anything is edited."""

from pathlib import Path
from typing import Any

import numpy as np

from vidhair.cache import MemoryStore
from vidhair.errors import NoFaceFound
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.media import open_clip
from vidhair.models.pack import load_pack
from vidhair.recipe import load_recipe

RECIPE = "reconstruct"  # any: they all follow faces alike


def inspect_clip(path: Path) -> dict[str, Any]:
    """Stream facts, shots and faces of a clip, as plain values."""
    flow, refusal = Flow(load_recipe(RECIPE), load_pack(), goal="track"), None
    with open_clip(path) as reader:
        clip, runner = reader.clip, Runner(MemoryStore(), reader)
        try:
            runner.run(flow.nodes())
        except NoFaceFound as error:
            refusal = str(error)
        work, count = runner.work, clip.frame_count
        cuts = flow.value(work, "shots", 0, count).begins
        track = None if refusal else flow.value(work, "track", 0, count)
        notes = list(reader.notes)
    starts = np.flatnonzero(cuts)
    facts: dict[str, Any] = {
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
    if track is None:
        return facts | {"faces": None, "refusal": refusal}
    s, present = track.similarity, track.present
    spread = {
        "angle_deg": (float(s.angle_deg[present].min()), float(s.angle_deg[present].max())),
        "scale": (float(s.scale[present].min()), float(s.scale[present].max())),
    }
    return facts | {
        "faces": {
            "most_in_a_frame": track.others + 1,
            "frames_with_the_edited_face": int(track.detected.sum()),
            "bridged": int((present & ~track.detected).sum()),
            "crop_side_px": round(track.box.side, 1),
            **{k: tuple(round(v, 2) for v in values) for k, values in spread.items()},
        }
    }


def describe(facts: dict[str, Any]) -> str:
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
    faces = facts["faces"]
    if faces is None:
        lines.append(f"  faces   an edit would refuse this clip: {facts['refusal']}")
    else:
        low, high = faces["angle_deg"]
        lines.append(
            f"  faces   {faces['most_in_a_frame']} at most in a frame; the largest is seen in "
            f"{faces['frames_with_the_edited_face']} frames ({faces['bridged']} more bridged), "
            f"crop {faces['crop_side_px']} px, tilted {low}° … {high}°"
        )
    return "\n".join(lines + [f"  note    {note}" for note in facts["notes"]])
