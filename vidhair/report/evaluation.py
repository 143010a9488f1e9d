"""What a new hair color did to a clip, in numbers that need no truth to compare with."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.cache import MemoryStore
from vidhair.checkpoints.packs import BUNDLED
from vidhair.errors import InvalidSetting
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Runner
from vidhair.geometry import Grid
from vidhair.imaging.color import rgb_to_lab
from vidhair.imaging.named_colors import is_picture, parse_color
from vidhair.imaging.warp import cut_grid
from vidhair.media import ClipReader, open_clip
from vidhair.metrics.hair import Recoloring, RecoloringMeter, regions_of
from vidhair.models.faces.landmarks import PersonSegmenter
from vidhair.models.pack import load_pack
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import Parser
from vidhair.recipe import load_recipe
from vidhair.stages.align import FaceTrack
from vidhair.stages.labels import labels, mean_hair_color
from vidhair.stages.region import HeadRegion, own_share
from vidhair.stages.segment import HairPrior, segmented
from vidhair.types import Frames

AT_ONCE = 8  # frames
RECIPE = "hair_color"


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """numbers: of the whole clip. about: what found the hair. frames: how many were compared."""

    numbers: Recoloring
    about: str
    frames: int

    def as_data(self) -> dict[str, Any]:
        """As plain values, None for what could not be measured."""
        found: dict[str, Any] = plain(dataclasses.asdict(self))
        return found


def evaluate(
    source: Path,
    edited: Path,
    *,
    color: str | None = None,
    segmenter: str = "auto",
    pack: str | os.PathLike[str] = BUNDLED,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Compare a clip with what became of it, around the person whom an edit takes by default.

    color: that was wanted, as `edit.color`; None to measure how evenly the hair went its own way.
    segmenter: as `matte.segmenter`. progress: told (frames done, all of them).
    Raises InvalidSetting if the clips differ in size or number of frames.
    """
    models = load_pack(pack, device=device)
    target = None if color is None else _wanted(color, models.parser)
    flow = Flow(load_recipe(RECIPE, {"matte.segmenter": segmenter}), models)
    chosen = flow.segmenter
    with open_clip(source) as before, open_clip(edited) as after:
        check_alike(before, after)
        runner = Runner(MemoryStore(), before)
        runner.run(flow.nodes())
        fanned = flow.fanned_nodes(runner.work)
        runner.run([node for node in fanned if node.stage == "track"])
        count = before.clip.frame_count
        track: FaceTrack = flow.value(runner.work, "track", 0, count)
        region: HeadRegion = flow.value(runner.work, "region")
        find = prior_finder(region, chosen.build(), models.parser)
        meter, person = RecoloringMeter(target), PersonSegmenter()
        for start in range(0, count, AT_ONCE):
            stop = min(start + AT_ONCE, count)
            pixels = before.read(start, stop)
            priors = find(Frames.of_pixels(pixels), track.rows(start, stop))
            pairs = zip(pixels, after.read(start, stop), priors, strict=True)
            for frame, (old, new, prior) in enumerate(pairs, start):
                if track.cuts[frame]:
                    meter.cut()
                meter.add(old, new, prior, regions_of(track.mesh[frame], person(old)))
            progress(stop, count)
        person.close()
    return Evaluation(meter.result(), chosen.about, count)


Finder = Callable[[Frames, FaceTrack], Iterator[NDArray[np.float32]]]


def prior_finder(region: HeadRegion, segmenter: Any, parser: Parser) -> Finder:
    """Frames and the track in them → probability of the person's hair, [H, W] of every frame; by
    the parser where there is no segmenter."""

    def find(frames: Frames, track: FaceTrack) -> Iterator[NDArray[np.float32]]:
        if segmenter is None:
            prior = HairPrior(labels(frames, track, region, parser).planes[:, Label.HAIR])
        else:
            prior = segmented(frames, track, region, segmenter, map)
        levels, grid = prior.levels, prior.grid(region)
        for t, level in enumerate(levels):
            high, wide = frames.rows(t, t + 1).pixels.shape[1:3]
            own = own_share(track, range(t, t + 1), grid)
            hair = torch.from_numpy(level)[None, None].float() / 255 * own
            yield cut_grid(hair, Grid.of_pixels(high, wide), on=grid)[0, 0].numpy()

    return find


def ab_of(rgb: Sequence[float]) -> list[float]:
    """a and b of a color, sRGB in 0 … 1."""
    found: list[float] = rgb_to_lab(torch.tensor(rgb)[None, :, None, None])[0, 1:, 0, 0].tolist()
    return found


def _wanted(color: str, parser: Parser) -> list[float]:
    """a and b of a color, as `hair_color` takes it."""
    return ab_of(
        mean_hair_color(color, parser) if is_picture(color) else parse_color(color, "--color")
    )


def check_alike(before: ClipReader, after: ClipReader) -> None:
    """Raises InvalidSetting for clips that differ in size or number of frames."""
    sizes = [(r.clip.width, r.clip.height, r.clip.frame_count) for r in (before, after)]
    if sizes[0] != sizes[1]:
        told = [
            f"{r.clip.path} has {n} frames of {w}×{h}"
            for r, (w, h, n) in zip((before, after), sizes, strict=True)
        ]
        raise InvalidSetting(f"{' and '.join(told)}; compare a clip with an edit of itself")


def plain(value: Any) -> Any:
    """The same, for JSON: None for NaN."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return None if value != value else value  # NaN is unlike itself


def evaluation_text(found: Evaluation) -> str:
    """For people."""
    numbers = found.numbers
    leaks = [("where nothing may change", numbers.leak), *numbers.regions.items()]
    lines = [f"{found.frames} frames; {found.about}", "", f"{'':<26}{'ΔE2000':>8}{'above 4':>10}"]
    for name, leak in leaks:
        if leak.pixels:
            lines.append(f"{name:<26}{leak.change:>8.2f}{leak.seen:>10.2%}")
    rows = [
        ("hair in the frame", f"{numbers.hair:.1%}"),
        ("of it changed", f"{numbers.coverage:.1%}"),
        ("went 60 % of the way", f"{numbers.progress:.1%}"),
        ("contrast of strands", f"× {numbers.contrast:.2f}"),
        ("flicker", f"× {numbers.flicker:.2f}"),
        ("halo at the border", f"{numbers.halo:.2%}"),
        ("boil at the border", f"{numbers.boil:.3f}"),
    ]
    return "\n".join([*lines, "", *(f"{name:<26}{value:>8}" for name, value in rows)])
