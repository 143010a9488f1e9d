"""A whole edit of the shipped sample clip with the bundled pack, stage by stage."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from vidhair.bench.clock import Timing
from vidhair.bench.contest import Row
from vidhair.bench.memory import Peak, PeakMemory
from vidhair.bench.options import Options, Progress, silent
from vidhair.checkpoints.packs import BUNDLED
from vidhair.flow.edit_video import edit_video
from vidhair.flow.runner import Meter
from vidhair.media import VideoWriter, open_clip
from vidhair.models.pack import Pack, load_pack
from vidhair.recipe import Recipe, load_recipe
from vidhair.samples import sample_clips

RECIPE = "hair_color"
SHORT = 6  # frames: of the run that warms up, and of all with --quick
QUICK_SETTINGS = {"tune.steps": 4, "tune.refine_steps": 2, "tune.frames": 8}


@dataclass(frozen=True)
class Lap:
    """A stage of one run. count: of frames or steps (the unit) that it took."""

    stage: str
    unit: str
    count: float
    seconds: float
    peak: Peak | None


class Stopwatch:
    """A reporter that keeps what every stage took."""

    def __init__(self, device: str, clock: Callable[[], float] = time.perf_counter):
        self.memory, self.clock = PeakMemory(device), clock
        self.laps: list[Lap] = []

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Meter]:
        reached = 0.0

        def meter(done: float, note: str = "") -> None:
            nonlocal reached
            reached = max(reached, done)

        self.memory.start()
        began = self.clock()
        yield meter
        seconds = self.clock() - began
        self.laps.append(Lap(name, unit, reached or total, seconds, self.memory.stop()))


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
    watch = Stopwatch(pack.device)
    result = edit_video(
        source, recipe, folder / "edited.mp4", pack=pack, cache=False, reporter=watch
    )
    rest = result.seconds - sum(lap.seconds for lap in watch.laps)
    return [
        *watch.laps,
        Lap("opening, storing, closing", "frame", result.frames, rest, None),
        Lap("all", "frame", result.frames, result.seconds, None),
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
