"""`python -m tests.picture CLIPS OUT`: hair of every clip in six colors, measured and on sheets.

With the published segmenter and without, up to the frames before encoding. A line per clip, color
and way, `!` behind what is out of bounds; OUT/numbers.json; OUT/CLIP/overview.png, and
COLOR-WAY.png of frame | edited | hairline and side of the hair at 3 ×, source and edited; then six
frames in a row. The cache is shared, so what comes before the color runs once per clip.

Behind each clip's name stands how far the pack's parser agrees with the segmenter on where hair is:
the intersection of the two over their union, in the frames that are measured.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vidhair.cache import DiskStore
from vidhair.edits.hair_color import in_light
from vidhair.errors import VidhairError
from vidhair.flow.graph import GOAL, Flow
from vidhair.flow.runner import Runner
from vidhair.imaging.named_colors import parse_color
from vidhair.media import ClipReader, open_clip, write_png
from vidhair.metrics.hair import Recoloring, RecoloringMeter, regions_of
from vidhair.models.faces.landmarks import PersonSegmenter
from vidhair.models.pack import Pack, load_pack
from vidhair.models.parsers.hair_segmenter import HairSegmenter, find_segmenter
from vidhair.recipe import load_recipe, parse_override
from vidhair.report.evaluation import ab_of, prior_finder
from vidhair.stages.align import FaceTrack
from vidhair.stages.region import HeadRegion
from vidhair.types import Frames

COLORS = ("blonde", "platinum", "black", "auburn", "#6b4a2b", "blue")
WITH, WITHOUT = "with", "without"
AT_ONCE = 8
CACHE_BYTES = 20 << 30
# What a picture has to keep, by name of a number: (lowest, highest).
BOUNDS = {
    "leak": (0.0, 0.3), "seen": (0.0, 0.002), "progress": (0.9, 1.0), "contrast": (0.6, 1.6),
    "halo": (0.0, 0.005), "flicker": (0.0, 1.15),
}  # fmt: skip
OTHERS = ("coverage", "boil", "hair")  # printed without a bound
ROWS, CROP, ZOOM, IN_A_ROW, STRIP = 3, 150, 3, 6, 320
TOP, SIDES = 10, (234, 454)  # points of the mesh: where the hairline and the sides of the hair are

Picture = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Scene:
    """What all colors of a clip share. chosen: frames that are measured, in runs of neighbors."""

    reader: ClipReader
    track: FaceTrack
    region: HeadRegion
    chosen: list[range]
    priors: dict[int, NDArray[np.float32]]
    agreement: float
    persons: dict[int, NDArray[np.float32]]


def spread(count: int, most: int) -> list[range]:
    """Frames of a clip in runs: all of them, or pairs that are evenly spread; most: frames, 0 for
    all."""
    if not most or count <= most:
        return [range(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    starts = np.linspace(0, count - 2, max(1, most // 2)).astype(int)
    return [range(int(start), int(start) + 2) for start in starts]


def numbers_of(found: Recoloring) -> dict[str, float]:
    """By the names of BOUNDS and OTHERS."""
    leak = {"leak": found.leak.change, "seen": found.leak.seen}
    return leak | {name: getattr(found, name) for name in [*BOUNDS, *OTHERS] if name not in leak}


def broken(numbers: dict[str, float]) -> list[str]:
    """Names of the bounds that do not hold; what could not be measured does not."""
    return [name for name, (low, high) in BOUNDS.items() if not low <= numbers[name] <= high]


def line(numbers: dict[str, float], worst: str = "") -> str:
    out = broken(numbers)
    cells = [f"{numbers[n]:>8.4f}{'!' if n in out else ' '}" for n in [*BOUNDS, *OTHERS]]
    return "".join(cells) + f"  {worst}"


def worst_region(found: Recoloring) -> str:
    """Where the most pixels were seen to change."""
    seen = {n: leak.seen * leak.pixels for n, leak in found.regions.items() if leak.pixels}
    name = max(seen, key=lambda n: seen[n], default="")
    return f"{name} {found.regions[name].seen:.1%}" if name and seen[name] else ""


# ---- running


def made(
    reader: ClipReader, settings: dict[str, Any], pack: Pack, store: DiskStore
) -> tuple[Flow, Runner]:
    """A flow of which everything is up to date but the composed frames."""
    flow = Flow(load_recipe("hair_color", settings), pack)
    runner = Runner(store, reader)
    runner.run(flow.nodes())
    runner.run([node for node in flow.fanned_nodes(runner.work) if node.stage != GOAL])
    return flow, runner


def composed(flow: Flow, runner: Runner, frames: range) -> Picture:
    """uint8 [T, H, W, 3], before encoding."""
    found: Frames = flow.value(runner.work, "composed", frames.start, frames.stop)
    return found.pixels


def scene_of(
    reader: ClipReader, flow: Flow, runner: Runner, judge: HairSegmenter, pack: Pack, most: int
) -> Scene:
    count = reader.clip.frame_count
    track: FaceTrack = flow.value(runner.work, "track", 0, count)
    region: HeadRegion = flow.value(runner.work, "region")
    find, person = prior_finder(region, judge, pack.parser), PersonSegmenter()
    parsed = prior_finder(region, None, pack.parser)
    chosen, overlap = spread(count, most), np.zeros(2)
    priors: dict[int, NDArray[np.float32]] = {}
    persons: dict[int, NDArray[np.float32]] = {}
    for run in chosen:
        pixels = reader.read(run.start, run.stop)
        given = Frames.of_pixels(pixels), track.rows(run.start, run.stop)
        seen = list(find(*given))
        priors |= zip(run, seen, strict=True)
        overlap += sum(overlap_of(a, b) for a, b in zip(seen, parsed(*given), strict=True))
        persons |= {frame: person(picture) for frame, picture in zip(run, pixels, strict=True)}
    person.close()
    return Scene(reader, track, region, chosen, priors, overlap[0] / overlap[1], persons)


def overlap_of(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pixels in the intersection and in the union of two maps [H, W] of how likely hair is."""
    one, other = a > 0.5, b > 0.5
    return np.array([(one & other).sum(), (one | other).sum()], np.float64)


def measured(
    scene: Scene, flow: Flow, runner: Runner, target: Sequence[float] | None
) -> Recoloring:
    meter, before = RecoloringMeter(target), -1
    for run in scene.chosen:
        pairs = zip(
            run, scene.reader.read(run.start, run.stop), composed(flow, runner, run), strict=True
        )
        for frame, old, new in pairs:
            if frame != before + 1 or scene.track.cuts[frame]:
                meter.cut()
            regions = regions_of(scene.track.mesh[frame], scene.persons[frame])
            meter.add(old, new, scene.priors[frame], regions)
            before = frame
    return meter.result()


# ---- sheets


def scaled(picture: Picture, height: int) -> Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def around(picture: Picture, x: float, y: float, size: int) -> Picture:
    """A square of a frame, continued by its border."""
    half = size // 2
    padded = np.pad(picture, [(half, half), (half, half), (0, 0)], "edge")
    top, left = (
        int(np.clip(round(v), 0, n - 1)) for v, n in ((y, picture.shape[0]), (x, picture.shape[1]))
    )
    return padded[top : top + size, left : left + size]


def closeups(scene: Scene, frame: int, old: Picture, new: Picture) -> Iterator[Picture]:
    """The hairline and the side with more of the border of the hair, source and edited."""
    mesh, prior = scene.track.mesh[frame], scene.priors[frame]
    if not np.isfinite(mesh).all():
        return
    unsure = ((prior > 0.05) & (prior < 0.95)).astype(np.uint8)[..., None].repeat(3, -1)
    side = max(
        SIDES, key=lambda point: int(around(unsure, mesh[point][0], mesh[point][1], CROP).sum())
    )
    for point in (TOP, side):
        for picture in (old, new):
            cut = Image.fromarray(around(picture, mesh[point][0], mesh[point][1], CROP))
            yield np.asarray(cut.resize((CROP * ZOOM,) * 2, Image.Resampling.NEAREST))


def head(scene: Scene, picture: Picture) -> Picture:
    region = scene.region
    right, bottom = (
        region.left + region.width * region.step,
        region.top + region.height * region.step,
    )
    return picture[int(region.top) : math.ceil(bottom), int(region.left) : math.ceil(right)]


def stacked(rows: list[list[Picture]]) -> Picture:
    """Rows of pictures, black where one is shorter."""
    lines = [np.concatenate(row, 1) for row in rows]
    width = max(one.shape[1] for one in lines)
    return np.concatenate(
        [np.pad(one, [(0, 0), (0, width - one.shape[1]), (0, 0)]) for one in lines]
    )


def sheet(scene: Scene, flow: Flow, runner: Runner) -> Picture:
    measured_frames = [frame for run in scene.chosen for frame in run]
    places = np.linspace(0, len(measured_frames) - 1, ROWS + 2)[1:-1].astype(int)
    rows = []
    for frame in (measured_frames[place] for place in places):
        (old,) = scene.reader.read(frame, frame + 1)
        (new,) = composed(flow, runner, range(frame, frame + 1))
        whole = [scaled(picture, CROP * ZOOM) for picture in (old, new)]
        rows.append([*whole, *closeups(scene, frame, old, new)])
    count = scene.reader.clip.frame_count
    start = max(0, count // 2 - IN_A_ROW // 2)
    run = range(start, min(start + IN_A_ROW, count))
    strips = scene.reader.read(run.start, run.stop), composed(flow, runner, run)
    rows += [[scaled(head(scene, picture), STRIP) for picture in strip] for strip in strips]
    return stacked(rows)


# ---- the command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.picture", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("clips", type=Path, help="folder of .mp4 files, or one of them")
    parser.add_argument("out", type=Path, help="folder for sheets and numbers")
    parser.add_argument("--frames", type=int, default=0, help="at most so many per clip (0: all)")
    parser.add_argument("--colors", nargs="+", default=list(COLORS))
    parser.add_argument("--ways", nargs="+", choices=(WITH, WITHOUT), default=[WITH, WITHOUT])
    parser.add_argument("--segmenter", default="auto", help="file of the published one")
    parser.add_argument("--pack", default="rendered-faces")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cache", type=Path, help="default: OUT/cache")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="STAGE.KEY=VALUE"
    )
    parser.add_argument(
        "--own-way", action="store_true", help="progress along the mean change, not to the color"
    )
    parser.add_argument(
        "--daylight",
        action="store_true",
        help="progress to the color as it is named, not as it looks in the clip's light",
    )
    return parser.parse_args()


def colored(
    path: Path, options: argparse.Namespace, judge: HairSegmenter, pack: Pack, store: DiskStore
) -> Iterator[tuple[str, Recoloring]]:
    """A clip's colors in all ways, by name; writes their sheets, and overview.png of one frame."""
    settings = dict(parse_override(text) for text in options.settings)
    folder: Path = options.out / path.stem
    folder.mkdir(exist_ok=True)
    scene: Scene | None = None
    rows: list[list[Picture]] = []
    with open_clip(path) as reader:
        middle = range(reader.clip.frame_count // 2, reader.clip.frame_count // 2 + 1)
        for way in options.ways:
            rows.append([])
            for color in options.colors:
                chosen = options.segmenter if way == WITH else "none"
                changed = settings | {"edit.color": color, "matte.segmenter": chosen}
                flow, runner = made(reader, changed, pack, store)
                if scene is None:
                    scene = scene_of(reader, flow, runner, judge, pack, options.frames)
                    print(f"{path.stem}: parser and segmenter agree to {scene.agreement:.3f}")
                target = None if options.own_way else ab_of(parse_color(color))
                if target and not options.daylight:
                    light = flow.value(runner.work, "clip_light").factor
                    seen = in_light(np.array(parse_color(color), np.float32), light)
                    target = seen[1:].tolist()
                yield f"{path.stem} {color} {way}", measured(scene, flow, runner, target)
                write_png(folder / f"{color.strip('#')}-{way}.png", sheet(scene, flow, runner))
                shown = reader.read(middle.start, middle.stop), composed(flow, runner, middle)
                source, edited = (scaled(head(scene, one), CROP * ZOOM) for (one,) in shown)
                rows[-1] += [edited] if rows[-1] else [source, edited]
                write_png(folder / "overview.png", stacked(rows))


def main() -> int:
    options = arguments()
    judge = find_segmenter(options.segmenter, device=options.device).build()
    clips = [options.clips] if options.clips.is_file() else sorted(options.clips.glob("*.mp4"))
    if judge is None or not clips:
        print(f"no clips in {options.clips}" if judge else f"no segmenter ({options.segmenter})")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    store = DiskStore(options.cache or options.out / "cache", max_bytes=CACHE_BYTES)
    pack = load_pack(options.pack, device=options.device)
    found: dict[str, Any] = {}
    print(f"{'':<30}" + "".join(f"{name:>8} " for name in [*BOUNDS, *OTHERS]) + "  leaks most")
    bounds = "".join(f"{f'{low:g}-{high:g}':>8} " for low, high in BOUNDS.values())
    print(f"{'bounds':<30}{bounds}", flush=True)
    started, refused = time.perf_counter(), 0
    for path in clips:
        try:
            for name, result in colored(path, options, judge, pack, store):
                numbers, now = numbers_of(result), time.perf_counter()
                told = line(numbers, worst_region(result))
                print(f"{name:<30}{told}  [{now - started:.0f} s]", flush=True)
                found[name] = dataclasses.asdict(result) | {"broken": broken(numbers)}
                (options.out / "numbers.json").write_text(json.dumps(found, indent=2))
                started = now
        except VidhairError as error:
            refused += 1
            print(f"{path.stem}: {error}", flush=True)
    held = sum(not numbers["broken"] for numbers in found.values())
    print(f"{held} of {len(found)} hold all bounds" + f"; {refused} clips refused" * bool(refused))
    for name in BOUNDS:
        kept = sum(name not in numbers["broken"] for numbers in found.values())
        print(f"  {name:<10}{kept:>4} of {len(found)}")
    return 0 if held == len(found) and not refused else 1


if __name__ == "__main__":
    sys.exit(main())
