"""A whole edit of the shipped sample clip with the bundled pack, stage by stage."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vidhair.bench.benchmark import Row
from vidhair.bench.clock import Timing
from vidhair.bench.memory import Peak, PeakMemory
from vidhair.bench.options import Options, Progress, silent
from vidhair.cache import DiskStore
from vidhair.checkpoints.packs import BUNDLED
from vidhair.flow.edit_video import edit_video
from vidhair.flow.encode import Encoding
from vidhair.flow.graph import Flow
from vidhair.flow.runner import EXECUTORS, Means, Meter, Runner
from vidhair.media import VideoWriter, open_clip
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import Recipe, load_recipe
from vidhair.samples import sample_clips
from vidhair.stages import align, compose
from vidhair.stages.align import Shots
from vidhair.types import Frames
from vidhair.wiring import makers, stage

RECIPE = "hair_color"
SHORT = 6  # frames: of the run that warms up, and of all with --quick
QUICK_SETTINGS = {"tune.steps": 4, "tune.refine_steps": 2, "tune.frames": 8}


@dataclass(frozen=True)
class Lap:
    """A part of one run. count: of frames or steps (the unit) that it took."""

    stage: str
    unit: str
    count: float
    seconds: float
    peak: Peak | None = None


class Counter:
    """A reporter that keeps in what, and how far, every stage counted: (unit, count)."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[str, float]] = {}

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        reached = 0.0

        def meter(done: float, note: str = "") -> None:
            nonlocal reached
            reached = max(reached, done)

        yield meter
        self.counts[name] = unit, reached or total


def rows(
    options: Options,
    progress: Progress = silent,
    *,
    source: Path | None = None,
    pack: Pack | None = None,
) -> list[Row]:
    """Seconds per frame, or per step where a stage has steps. Raises UnknownRecipe.

    options.configs: recipes. A run on a few frames comes first and is not counted.
    """
    source = sample_clips()[0] if source is None else source
    pack = load_pack(BUNDLED, device=options.device) if pack is None else pack
    recipes = [load_recipe(name) for name in options.configs or [RECIPE]]
    quick = [recipe.override(QUICK_SETTINGS) for recipe in recipes]
    rows = []
    with tempfile.TemporaryDirectory(prefix="vidhair-bench-") as name:
        folder = Path(name)
        short = cut(source, folder / "short.mp4", SHORT)
        turns = options.repeats or 1  # a run takes long enough to be measured once
        total = len(recipes) * (1 + turns)
        for index, small in enumerate(quick):
            progress(index, total, f"{small.name}, warming up")
            _run(short, small, pack, folder)
        if options.quick:
            source, recipes = short, quick
        runs: list[list[list[Lap]]] = []
        for turn in range(1, turns + 1):
            runs.append([])
            for index, recipe in enumerate(recipes):
                progress(turn * len(recipes) + index, total, recipe.name)
                runs[-1].append(_run(source, recipe, pack, folder))
        for recipe, laps in zip(recipes, zip(*runs, strict=True), strict=True):
            rows += [_row(recipe.name, stage) for stage in zip(*laps, strict=True)]
    return rows


def cut(source: Path, target: Path, frames: int) -> Path:
    """The first frames of a clip, without sound."""
    with open_clip(source) as reader:
        clip = reader.clip
        frames = min(frames, clip.frame_count)
        ends = int(clip.pts[frames]) if frames < clip.frame_count else clip.end_pts
        short = replace(clip, pts=clip.pts[:frames], end_pts=ends)
        with VideoWriter(target, short, preset="ultrafast") as writer:
            writer.write(reader.read(0, frames))
    return target


def _run(source: Path, recipe: Recipe, pack: Pack, folder: Path) -> list[Lap]:
    """Every stage, decoding and encoding alone, and all of it in order and overlapped."""
    laps: list[Lap] = []
    plain = [without_networks(source, pack, folder, name) for name in reversed(EXECUTORS)]
    for executor in reversed(EXECUTORS):
        memory, counter = PeakMemory(pack.device), Counter()
        memory.start()
        result = edit_video(
            source, recipe, folder / "edited.mp4", pack=pack, cache=False, reporter=counter,
            means=Means(executor=executor),
        )  # fmt: skip
        peak = memory.stop()
        if executor == "in-order":
            laps = [Lap(s.name, *counter.counts[s.name], s.seconds) for s in result.stages]
            rest = result.seconds - sum(lap.seconds for lap in laps)
            laps.append(Lap("opening, storing, closing", "frame", result.frames, rest))
            laps += alone(source, recipe, folder) + plain
        laps.append(Lap(f"all, {executor}", "frame", result.frames, result.seconds, peak))
    return laps


@stage(keep=False)
def passed(frames: Frames, shots: Shots) -> Frames:
    """Every frame as it is, after a pass that looks for cuts."""
    return frames


def without_networks(source: Path, pack: Pack, folder: Path, executor: str) -> Lap:
    """What it takes to decode, store and encode a clip in two passes over it."""
    recipe, means = load_recipe("reconstruct"), Means(executor=executor)
    stages = makers(align.thumbnails, align.shots, compose.changes, composed=passed)
    flow = Flow(recipe, pack, means=means, makers=stages)
    target = folder / "passed.mp4"
    with open_clip(source) as reader, tempfile.TemporaryDirectory(dir=folder) as cache:
        began = time.perf_counter()
        runner = Runner(DiskStore(cache), reader, means=means)
        writer = VideoWriter(target, reader.clip, **asdict(recipe.encode), sound_from=source)
        with Encoding(writer, recipe.encode, flow, means) as encoding:
            # Nothing fans out, so composing and encoding can share one pass, as they do in a run.
            runner.run([*flow.nodes(), encoding.node])
        seconds = time.perf_counter() - began
        return Lap(f"no networks, {executor}", "frame", reader.clip.frame_count, seconds)


def alone(source: Path, recipe: Recipe, folder: Path) -> list[Lap]:
    """Decoding a clip and encoding its frames, each by itself."""
    decoding = encoding = 0.0
    with open_clip(source) as reader:
        clip, chunk = reader.clip, Means().at_once(reader.clip.width, reader.clip.height)
        writer = VideoWriter(folder / "alone.mp4", clip, **asdict(recipe.encode))
        began = time.perf_counter()
        with writer:
            for start in range(0, clip.frame_count, chunk):
                now = time.perf_counter()
                frames = reader.read(start, min(start + chunk, clip.frame_count))
                decoding += time.perf_counter() - now
                writer.write(frames)
        encoding = time.perf_counter() - began - decoding
    return [
        Lap("decoding alone", "frame", clip.frame_count, decoding),
        Lap("encoding alone", "frame", clip.frame_count, encoding),
    ]


def _row(recipe: str, laps: tuple[Lap, ...]) -> Row:
    """Of the same stage in every run."""
    first = laps[0]
    peaks = [lap.peak for lap in laps if lap.peak is not None]
    timing = Timing(
        tuple(lap.seconds / lap.count for lap in laps),
        peak=max(peaks, key=lambda peak: peak.total, default=None),
    )
    unit = f"{first.count:g} {first.unit}{'s' if first.count != 1 else ''}"
    whole = first.seconds
    return Row(recipe, f"{first.stage}, a {first.unit}", timing, note=f"{whole:.2f} s, {unit}")
