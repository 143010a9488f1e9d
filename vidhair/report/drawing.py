"""What became of a clip that was drawn as a whole, in numbers: how steady it is, and how far from
the drawing that it should be, where there is one."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vidhair.checkpoints.packs import BUNDLED
from vidhair.flow.runner import Means
from vidhair.media import open_clip
from vidhair.metrics import lpips
from vidhair.metrics.drawing import Steadiness, SteadinessMeter
from vidhair.models.pack import load_pack
from vidhair.models.perceptual import FeatureDistance
from vidhair.report.evaluation import check_alike, plain
from vidhair.stages.align import AlignConfig, changes_between, find_cuts, shrink


@dataclass(frozen=True)
class Likeness:
    """Mean distance to the wanted drawing on features of the pack's parser (`FeatureDistance`), of
    the clip as it was and as it was drawn."""

    source: float
    drawn: float


@dataclass(frozen=True)
class DrawingEvaluation:
    """numbers: of the whole clip. likeness: None without a wanted drawing. frames: compared."""

    numbers: Steadiness
    likeness: Likeness | None
    frames: int

    def as_data(self) -> dict[str, Any]:
        """As plain values, None for what could not be measured."""
        found: dict[str, Any] = plain(asdict(self))
        return found


def evaluate_drawing(
    source: Path,
    drawn: Path,
    *,
    truth: Path | None = None,
    pack: str | os.PathLike[str] = BUNDLED,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> DrawingEvaluation:
    """Compare a clip with its drawing, frame by frame.

    truth: the clip as it should be drawn, such as `vidhair synth --toon` makes. progress: told
    (frames done, all of them). Raises InvalidSetting if clips differ in size or number of frames.
    """
    meter, distances = SteadinessMeter(), [0.0, 0.0]
    with ExitStack() as open_now:
        paths = [source, drawn] + ([] if truth is None else [truth])
        readers = [open_now.enter_context(open_clip(path)) for path in paths]
        for other in readers[1:]:
            check_alike(readers[0], other)
        clip = readers[0].clip
        count, step = clip.frame_count, Means().at_once(clip.width, clip.height)
        thumbnails = (
            shrink(readers[0].read(start, min(start + step, count)))
            for start in range(0, count, step)
        )
        cuts = find_cuts(changes_between(thumbnails), AlignConfig().cut_threshold)
        features = truth and load_pack(pack, device=device).parser.features
        for start in range(0, count, step):
            stop = min(start + step, count)
            pixels = [reader.read(start, stop) for reader in readers]
            for frame in range(start, stop):
                if cuts[frame]:
                    meter.cut()
                meter.add(pixels[0][frame - start], pixels[1][frame - start])
            if features:
                distance = FeatureDistance(features)
                for k in range(2):
                    far = lpips(pixels[k], pixels[2], distance, device=device)
                    distances[k] += far * (stop - start) / count
            progress(stop, count)
    return DrawingEvaluation(meter.result(), Likeness(*distances) if truth else None, count)


def drawing_text(found: DrawingEvaluation) -> str:
    """For people."""
    numbers = found.numbers
    rows = [
        ("change beside the motion", f"× {numbers.change:.2f}"),
        ("  where nothing moves", f"× {numbers.at_rest:.2f}"),
        ("  in levels, source", f"{numbers.source:.2f}"),
        ("  in levels, drawn", f"{numbers.drawn:.2f}"),
        ("pixels that jump", f"{numbers.pops:.2%}"),
    ]
    if found.likeness is not None:
        far = found.likeness
        rows += [
            ("distance to the truth", f"{far.drawn:.4f}"),
            ("  of the source", f"{far.source:.4f}"),
            ("  over the source's", f"× {far.drawn / far.source:.2f}" if far.source else "–"),
        ]
    lines = [f"{name:<26}{value:>8}" for name, value in rows]
    return "\n".join([f"{found.frames} frames", "", *lines])
