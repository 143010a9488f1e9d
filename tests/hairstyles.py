"""`python -m tests.hairstyles OUT`: hairstyles on rendered clips, beside what they should become.

Five people in two motions each, whom no training has seen, with exact twins: the same person in
the same motion with other hair. Every edit runs up to the frames before encoding, and a line tells

    iou       of the hair with the twin's, by the pack's parser; of `bald`, the share of it left
    distance  whole frame, to the twin, as a share of the unedited clip's (LPIPS if its weights are
              here, else its form on the parser's features)
    identity  likeness to the source, as a share of that between two of its frames: cosine of what
              the encoder reads of face and skin, pose and hair left out
    warp      error after following the source's motion, as a share of the source's own
    jitter    of the middle of the hair on the head, frame to frame, as a share of the source's
    seconds   of the processor, beyond what the clip's edits share

with `!` behind what is out of bounds. With --ways, baselines and parts left out; with --ablation
the table of them (--frames 8 --people 2 --motions 1 are enough). OUT/numbers.json, which tells of
the exact twin's identity, warp and jitter, too, as these may be out of bounds; OUT/EDIT-WAY.png of
source | edited | twin. Clips and caches stay in OUT for the next time.
"""

import argparse
import dataclasses
import json
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tests.picture import scaled, stacked
from tests.small import write_clip
from vidhair.cache import DiskStore
from vidhair.edits.bald import NO_HAIR
from vidhair.edits.hair_proxy import HAIRSTYLE
from vidhair.flow.graph import GOAL, Flow
from vidhair.flow.runner import Runner
from vidhair.imaging.motion import fetch
from vidhair.imaging.motion import flow as motion_of
from vidhair.media import open_clip, write_png
from vidhair.metrics import lpips
from vidhair.models.pack import Pack, load_pack
from vidhair.models.perceptual import Perceptual, PerceptualDistance, find_perceptual
from vidhair.recipe import load_recipe, parse_override
from vidhair.report.evaluation import prior_finder
from vidhair.stages.invert import InvertConfig, invert
from vidhair.synthetic.clips import Changes, ClipSpec, Motion, perform, render_frame
from vidhair.synthetic.params import FaceParams
from vidhair.types import Frames

SIZE, FPS = (192, 192), 12
PEOPLE = {9101: "bob", 9102: "long", 9103: "wavy", 9104: "bob_fringe", 9105: "curly"}
MOTIONS = (9201, 9202)
MODELS = {"long_fringe": 9301, "pixie": 9302, "wavy": 9303, "bob": 9304, "curly": 9305}
LONG, SHORT, FRINGED = 0.95, 0.1, 0.9  # what hair becomes that is made longer, shorter, fringed
# Of the world's parameters, an amount of one: edits count from the chin to below the shoulders.
OF_LENGTH = 0.57
MOVES = (
    "yaw", "pitch", "mouth_open", "smile", "blink_left", "blink_right", "gaze_x", "gaze_y",
    "brow_raise",
)  # fmt: skip
OF_A_FACE = (
    "cranium_width", "cranium_height", "jaw_width", "chin_length", "cheeks", "nose_length",
    "nose_width", "nose_projection", "eye_size", "eye_spacing", "eye_tilt", "brow_height",
    "brow_thickness", "lip_thickness", "mouth_width", "melanin", "redness",
)  # fmt: skip
BOUNDS = {
    "iou": (0.75, 1.0), "distance": (0.0, 0.6), "identity": (0.9, 9.0), "warp": (0.0, 1.15),
    "jitter": (0.0, 1.2),
}  # fmt: skip
DRAWN = {"compose.mode": "replace", "compose.keep": False}
STEPS = {"edit.steps": 20, "edit.refine_steps": 6}
# What is changed of the recipes, by what the line is called. Steps in the codes, W+, are compared
# with such in styles, S, and in the features halfway, beside the frame's own styles, F/S.
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "no smoothing": {
        "smooth.latents": False, "smooth.transforms": False, "smooth.share": False,
        "smooth.average_fine_from": 18,
    },
    "drawn": {**DRAWN},
    "drawn, blended": {**DRAWN, "compose.blend": "smoothed"},
    "drawn, blended by frame": {**DRAWN, "compose.blend": "frame"},
    "not fitted": {"edit.rounds": 0},
    "w+": {**STEPS, "edit.space": "w+"},
    "s": {**STEPS, "edit.space": "s"},
    "f/s": {**STEPS, "edit.space": "f"},
    "no refinement": {**STEPS, "edit.refine_steps": 0},
    "no tuning": {"tune.steps": 0, "tune.refine_steps": 0},
    "by latent": {"edit.by": "latent", "compose.mode": "replace", "compose.region": "head"},
    "fixed code": {"edit.consistency": "fixed"},
    "code per frame": {
        **STEPS, "edit.consistency": "frame", "smooth.latents": False,
        "smooth.share": False, "smooth.average_fine_from": 18,
    },
}  # fmt: skip
FOR_PROXIES = (
    "not fitted", "w+", "s", "f/s", "no refinement", "fixed code", "code per frame"
)  # fmt: skip
# Each beside what it is left out of: smoothing, tuning and fitting of what is shipped, blending of
# what is drawn, refinement and spaces of steps, and the two baselines.
ABLATION = (
    "as it is", "no smoothing", "no tuning", "not fitted", "drawn, blended", "drawn", "w+", "s",
    "f/s", "no refinement", "fixed code", "code per frame",
)  # fmt: skip
FOR_DRAWN = ("drawn", "drawn, blended", "drawn, blended by frame")  # not for bald by layer
IN_A_ROW = 3

Picture = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Case:
    """One edit of one clip. settings: of the recipe; twin: what is true of it then."""

    edit: str
    recipe: str
    settings: dict[str, Any]
    twin: Changes


# ---- the clips


def spec_of(seed: int, style: str, frames: int) -> ClipSpec:
    seconds = frames / FPS
    return ClipSpec(
        name=f"{style}-{seed}", seed=seed, style=style, seconds=seconds, fps=FPS, size=SIZE,
        hair_colour=(0.33, 0.21, 0.13) if seed % 2 else (0.5, 0.38, 0.24),
    )  # fmt: skip


def played(person: ClipSpec, motion: int) -> Motion:
    """A person in the motion of another seed."""
    own = perform(person)
    played = perform(dataclasses.replace(person, seed=motion))
    moves = {name: getattr(played.faces, name) for name in MOVES}
    return dataclasses.replace(played, faces=own.faces.replace(**moves))


def hair_of(face: FaceParams) -> dict[str, float]:
    return {name: float(getattr(face, name)) for name in HAIRSTYLE}


def cases_of(face: FaceParams, photos: Mapping[str, tuple[Path, Changes]]) -> Iterator[Case]:
    """The edits that make a difference to somebody."""
    hair = hair_of(face)
    length, fringe = hair["hair_length"], hair["hair_fringe"]
    if length < 0.7:
        amount = min(1.5, (LONG - length) / OF_LENGTH)
        yield Case("longer", "hair_length", {"edit.amount": amount}, {"hair_length": LONG})
    if length > 0.35:
        amount = max(-1.5, (SHORT - length) / OF_LENGTH)
        yield Case("shorter", "hair_length", {"edit.amount": amount}, {"hair_length": SHORT})
    yield Case("bald", "bald", {}, NO_HAIR)
    if fringe < 0.3:
        amount = FRINGED - fringe
        yield Case("fringe", "fringe", {"edit.amount": amount}, {"hair_fringe": FRINGED})
    for path, style in photos.values():
        settings = {"edit.style": str(path)}
        yield Case("reference", "hair_reference_latent", settings, style)


def rendered(folder: Path, motion: Motion, spec: ClipSpec, changes: Changes) -> Picture:
    """A version of a clip, uint8 [T, H, W, 3], from the folder if it is there."""
    tag = zlib.crc32(json.dumps(dict(changes), sort_keys=True).encode())
    path = folder / f"{tag:08x}.npy"
    if not path.exists():
        frames = range(len(motion.turn))
        made = [render_frame(motion, k, spec, [changes])[0].picture for k in frames]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(path, np.stack(made))
    found: Picture = np.load(path)
    return found


def photo_of(folder: Path, seed: int, style: str) -> tuple[Path, Changes]:
    """A portrait of somebody, and their hair."""
    spec = dataclasses.replace(spec_of(seed, style, FPS), size=(384, 384))
    motion, path = perform(spec), folder / f"{spec.name}.png"
    if not path.exists():
        straight = dataclasses.replace(
            motion, faces=motion.faces.replace(yaw=0.05, pitch=0.0, mouth_open=0.0)
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_png(path, render_frame(straight, 0, spec, [{}])[0].picture)
    return path, hair_of(motion.faces[0])


# ---- what is measured


@dataclasses.dataclass(frozen=True)
class Judge:
    """What looks at the frames of one clip: the pack's parser and encoder, and a distance."""

    pack: Pack
    flow: Flow
    runner: Runner
    distance: PerceptualDistance

    def hair(self, frames: Picture) -> NDArray[np.bool_]:
        count = len(frames)
        region = self.flow.value(self.runner.work, "region")
        track = self.flow.value(self.runner.work, "track", 0, count)
        find = prior_finder(region, None, self.pack.parser)
        return np.stack(list(find(Frames.of_pixels(frames), track))) > 0.5

    def face(self, frames: Picture) -> NDArray[np.float64]:
        """[T, K], of length one: what the encoder reads of the face, without pose and hair."""
        track = self.flow.value(self.runner.work, "track", 0, len(frames))
        codes = invert(frames, track.axes, self.pack.inverter, InvertConfig())
        space = self.pack.attributes
        assert space is not None, "the bundled pack has attributes"
        index = space.index(OF_A_FACE)
        middle, half = (space.low + space.high) / 2, (space.high - space.low) / 2
        read = ((space.read(torch.from_numpy(codes)) - middle) / half)[:, index].numpy()
        return np.asarray(read / np.linalg.norm(read, axis=1, keepdims=True), np.float64)


def warp_error(frames: Picture, source: Picture) -> float:
    """Mean square of what a frame and the next one, brought back along the source's motion, differ
    by where nothing is hidden; see `occluded`. Levels in 0 … 1."""
    errors = []
    for k in range(len(frames) - 1):
        forth, back = motion_of(source[k], source[k + 1]), motion_of(source[k + 1], source[k])
        unlike = fetch(frames[k + 1].astype(np.float32), forth) - frames[k]
        errors.append(np.square(unlike / 255)[~occluded(forth, back)].mean())
    return float(np.mean(errors))


def occluded(forth: NDArray[np.float32], back: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where a pixel is not seen in the next frame, or at an edge of the motion (Ruder et al. 2016):
    the way there and back does not come back, or the motion changes much."""

    def square(x: NDArray[np.float32]) -> NDArray[np.float32]:
        total: NDArray[np.float32] = np.square(x).sum(-1)
        return total

    returned = fetch(back, forth)
    there = square(forth)
    lost = square(returned + forth) > 0.01 * (there + square(returned)) + 0.5
    slope = sum(square(np.gradient(forth, axis=axis)) for axis in (0, 1))
    hidden: NDArray[np.bool_] = lost | (slope > 0.01 * there + 0.002)
    return hidden


def jitter(hair: NDArray[np.bool_], flow: Flow, runner: Runner) -> float:
    """Root mean square of the second differences of the hair's middle, in sides of the face's crop
    around its centre."""
    track = flow.value(runner.work, "track", 0, len(hair))
    high, wide = hair.shape[1:]
    rows, columns = np.mgrid[:high, :wide] + 0.5
    area = hair.sum((1, 2)).clip(1)
    middle = np.stack([(hair * axis).sum((1, 2)) / area for axis in (columns, rows)], 1)
    place = track.axes.locate(middle[:, None])[:, 0]
    return float(np.sqrt(np.square(np.diff(place, 2, axis=0)).sum(1).mean()))


@dataclasses.dataclass
class Source:
    """A clip, and what its edits share of measuring it."""

    frames: Picture
    hair: NDArray[np.bool_]
    face: NDArray[np.float64]
    warp: float

    @classmethod
    def of(cls, frames: Picture, judge: Judge) -> "Source":
        return cls(frames, judge.hair(frames), judge.face(frames), warp_error(frames, frames))


def measured(
    case: Case, judge: Judge, source: Source, edited: Picture, twin: Picture
) -> dict[str, float]:
    old, new, want = source.hair, judge.hair(edited), judge.hair(twin)
    everywhere = np.ones(edited.shape[:3], np.float32)
    shown = edited, source.frames
    apart = [lpips(frames, twin, judge.distance, everywhere) for frames in shown]
    faces = source.face
    own = float((faces[:-1] * faces[1:]).sum(1).mean())
    like, like_twin = (
        float((faces * judge.face(frames)).sum(1).mean()) / own for frames in (edited, twin)
    )
    found = {
        "distance": apart[0] / apart[1],
        "identity": like,
        "identity of the twin": like_twin,
        "warp": warp_error(edited, source.frames) / source.warp,
        "warp of the twin": warp_error(twin, source.frames) / source.warp,
    }
    if case.edit == "bald":
        return {"iou": new.sum() / old.sum(), **found, "jitter": float("nan")}
    still, moved, right = (jitter(x, judge.flow, judge.runner) for x in (old, new, want))
    overlap = (new & want).sum() / (new | want).sum()
    return {"iou": overlap, **found, "jitter": moved / still, "jitter of the twin": right / still}


def within(edit: str, name: str, value: float) -> bool:
    if (edit, name) == ("bald", "iou"):  # a parser takes a cap of stubble for hair
        return True
    low, high = BOUNDS[name]
    return bool(np.isnan(value)) or low <= value <= high


def line(title: str, edit: str, numbers: Mapping[str, float]) -> str:
    cells = [
        f"{numbers[name]:>9.3f}{' ' if within(edit, name, numbers[name]) else '!'}"
        for name in BOUNDS
    ]
    return f"{title:<34}{''.join(cells)}{numbers['seconds']:>9.1f}"


def mean_of(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.nanmean([one[name] for one in found])) for name in found[0]}


# ---- running


def edited_frames(
    path: Path, case: Case, changes: Mapping[str, Any], pack: Pack, store: DiskStore
) -> tuple[Picture, Flow, Runner, float]:
    """The frames that an edit makes, and the seconds of the processor that it took beyond what is
    there already."""
    with open_clip(path) as reader:
        flow = Flow(load_recipe(case.recipe, case.settings | dict(changes)), pack)
        runner = Runner(store, reader)
        runner.run(flow.nodes())
        nodes = [node for node in flow.fanned_nodes(runner.work) if node.stage != GOAL]
        late: set[str] = set()
        for node in nodes:
            if node.stage in OWN or not late.isdisjoint(node.needs):
                late.add(node.name)
        runner.run([node for node in nodes if node.name not in late])
        start = time.process_time()
        runner.run(nodes)
        made = flow.value(runner.work, "composed", 0, reader.clip.frame_count)
        return made.pixels.copy(), flow, runner, time.process_time() - start


# Stages that depend on the edit.
OWN = (
    "shot_changes", "hairstyle", "proxy", "shown_fringe", "edited_codes", "hair_drawn", "reshaped",
    "edited", "drawn_change", "hair_fall",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hairstyles", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("out", type=Path, help="folder for clips, sheets and numbers")
    parser.add_argument("--people", type=int, default=len(PEOPLE))
    parser.add_argument("--first", type=int, default=0, help="so many of the people left out")
    parser.add_argument("--motions", type=int, default=len(MOTIONS))
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--photos", type=int, default=1, help="references per clip")
    parser.add_argument("--edits", nargs="+", default=[])
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), help="none named: all of them")
    parser.add_argument("--ablation", action="store_true", help="ABLATION's, of the reference")
    parser.add_argument("--pack", default="rendered-faces")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    options = parser.parse_args()
    if options.ablation:
        options.ways, options.edits = options.ways or list(ABLATION), options.edits or ["reference"]
    return options


def main() -> None:
    options = arguments()
    pack, store = load_pack(options.pack), DiskStore(options.out / "cache", 20 << 30)
    perceptual: Perceptual = find_perceptual("auto", "", lambda: pack.parser.features, {})
    distance = perceptual.build()
    ways = ["as it is"] if options.ways is None else options.ways or list(WAYS)
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    rows: dict[tuple[str, str], list[list[Picture]]] = {}
    given = dict(map(parse_override, options.settings))
    head = f"{'':<34}" + "".join(f"{name:>9} " for name in [*BOUNDS, "s"])
    print(f"{perceptual.about}\n{head}")
    people = list(enumerate(PEOPLE.items()))[options.first :][: options.people]
    for number, (seed, style) in people:
        for motion_seed in MOTIONS[: options.motions]:
            spec = spec_of(seed, style, options.frames)
            motion = played(spec, motion_seed)
            name = f"{style}-{seed}-{motion_seed}"
            folder = options.out / "clips" / f"{name}-{options.frames}"
            source = rendered(folder, motion, spec, {})
            path = folder / "source.mp4"
            if not path.exists():
                write_clip(path, source)
            with open_clip(path) as reader:
                source = reader.read(0, reader.clip.frame_count)
            photos = list(MODELS.items())
            photos = (photos[number:] + photos[:number])[: options.photos]
            shown = {
                model: photo_of(options.out / "photos", portrait, model)
                for model, portrait in photos
            }
            known: Source | None = None
            for case in cases_of(motion.faces[0], shown):
                if options.edits and case.edit not in options.edits:
                    continue
                twin = rendered(folder, motion, spec, case.twin)
                for way in ways:
                    if way in FOR_PROXIES and case.edit != "reference":
                        continue
                    if case.edit == "bald" and way in FOR_DRAWN:
                        continue
                    if case.edit not in ("bald", "longer") and way == "by latent":
                        continue
                    made, flow, runner, seconds = edited_frames(
                        path, case, WAYS[way] | given, pack, store
                    )
                    judge = Judge(pack, flow, runner, distance)
                    known = known or Source.of(source, judge)
                    numbers = measured(case, judge, known, made, twin) | {"seconds": seconds}
                    found.setdefault((case.edit, way), []).append(numbers)
                    print(line(f"{name} {case.edit} {way}", case.edit, numbers), flush=True)
                    chosen = np.linspace(0, len(source) - 1, IN_A_ROW + 2)[1:-1].astype(int)
                    row = [scaled(x[k], 256) for k in chosen for x in (source, made, twin)]
                    rows.setdefault((case.edit, way), []).append(row)
    print(f"\n{head}")
    for (edit, way), numbers_of in found.items():
        print(line(f"{edit}, {way} ({len(numbers_of)})", edit, mean_of(numbers_of)))
        name = f"{edit}-{way}.png".replace(" ", "_").replace("/", "")
        write_png(options.out / name, stacked(rows[edit, way]))
    table = {f"{edit}, {way}": numbers for (edit, way), numbers in found.items()}
    (options.out / "numbers.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
