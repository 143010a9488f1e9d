"""Rendered sample clips: where the shipped ones lie, and how more are made."""

import json
import os
import wave
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from vidhair.checkpoints.packs import file_sha256
from vidhair.errors import InvalidSetting, SourceNotFound, os_errors
from vidhair.imaging.named_colors import HAIR_COLORS, parse_color
from vidhair.media import VideoWriter, check_distinct
from vidhair.synthetic.clips import (
    SOUND_RATE,
    Changes,
    ClipSpec,
    FrameTruth,
    dye,
    perform,
    render_frame,
    voice,
)
from vidhair.synthetic.params import HAIR_STYLES
from vidhair.synthetic.pigment import srgb_levels
from vidhair.synthetic.render import LANDMARKS
from vidhair.synthetic.scenes import FPS, SCENES, Scene
from vidhair.synthetic.strand_clips import GROUPS, StrandClip, StrandScene, strand_clips
from vidhair.synthetic.toon import LOOKS
from vidhair.types import Clip, Color

MANIFEST = "manifest.json"
LICENCE = "Apache-2.0; rendered by vidhair, no photograph of a person was used"


def sample_folder() -> Path:
    """Where the sample clips lie: beside this module when installed, else at the tree's top."""
    here = Path(__file__).parent
    installed = here / "sample_videos"
    return installed if installed.is_dir() else here.parent / "sample_videos"


def sample_clips() -> list[Path]:
    """The shipped clips, without their twins. Raises SourceNotFound if they are missing."""
    folder = sample_folder()
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        paths = [folder / clip["file"] for clip in manifest["clips"]]
    except (OSError, ValueError, KeyError) as error:
        raise SourceNotFound(
            f"the sample clips are not in {folder} ({error}); install vidhair again"
        ) from error
    return paths


def write_clip(
    spec: ClipSpec,
    twins: Mapping[str, Changes],
    folder: Path,
    *,
    toons: Sequence[str] = (),
    workers: int | None = None,
) -> dict[str, Any]:
    """Render a clip with its twins and the truth about it; returns its manifest entry.

    twins: name → what differs; toons: looks in which it is drawn as a cartoon, too. Files:
    NAME.mp4, NAME-TWIN.mp4, NAME-toon-LOOK.mp4, NAME.truth.npz with hair masks uint8 [T, H, W] and
    landmarks float64 [T, K, 2] in pixels.
    """
    folder.mkdir(parents=True, exist_ok=True)
    versions: list[Changes] = [{}, *twins.values()]
    drawings = {look: f"{spec.name}-toon-{look}" for look in toons}
    names = [spec.name, *(f"{spec.name}-{twin}" for twin in twins), *drawings.values()]
    check_distinct(*(folder / f"{name}.mp4" for name in names))
    motion = perform(spec)
    opened = motion.faces.mouth_open.numpy()
    sound = folder / f".{spec.name}.wav"
    _write_wave(sound, voice(opened, spec.fps, spec.seed))
    clip = _describe(folder / f"{spec.name}.mp4", spec.size, spec.frames, spec.fps)
    writers = [VideoWriter(folder / f"{n}.mp4", clip, sound_from=sound, crf=14) for n in names]
    hair, landmarks = [], []
    try:
        for writer in writers:
            writer.__enter__()
        for truths in _frames(spec, versions, toons, workers or os.cpu_count() or 1):
            for writer, truth in zip(writers, truths, strict=True):
                writer.write(truth.picture[None])
            hair.append(truths[0].hair)
            landmarks.append(truths[0].landmarks)
        for writer in writers:
            writer.__exit__(None, None, None)
    finally:
        sound.unlink(missing_ok=True)
    truth_file = folder / f"{spec.name}.truth.npz"
    # Sixteen levels are enough for a mask and take a fifth of the room.
    masks = (np.stack(hair).astype(np.uint16) + 8) // 17 * 17
    np.savez_compressed(
        truth_file,
        hair=masks.astype(np.uint8),
        landmarks=np.stack(landmarks),
        landmark_names=np.array(LANDMARKS),
    )
    files = [f"{n}.mp4" for n in names] + [truth_file.name]
    return {
        "file": f"{spec.name}.mp4",
        "truth": truth_file.name,
        "twins": {t: f"{spec.name}-{t}.mp4" for t in twins},
        "twin_changes": {t: dict(changes) for t, changes in twins.items()},
        **({"toons": {look: f"{name}.mp4" for look, name in drawings.items()}} if toons else {}),
        "spec": asdict(spec),
        "licence": LICENCE,
        "sha256": {f: file_sha256(folder / f) for f in files},
    }


def render_scene(name: str, folder: Path) -> Path:
    """What `vidhair synth --scene` does; returns the clip, or the folder of several. Raises
    InvalidSetting."""
    if name in SCENES:
        return write_scene(SCENES[name](), folder)
    clips = [clip for clip in strand_clips() if name in ("strands", clip.group)]
    if not clips:
        known = ", ".join((*SCENES, "strands", *GROUPS))
        raise InvalidSetting(f"--scene {name!r} must be one of {known}")
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        progress = tqdm(total=len(clips), desc=f"render {name}", unit=" clips", disable=None)
        pool = ProcessPoolExecutor(mp_context=get_context("spawn"))
        with progress, pool:
            for _ in pool.map(write_strand_clip, clips, [folder] * len(clips)):
                progress.update()
    return folder


def write_strand_clip(clip: StrandClip, folder: Path) -> Path:
    """Render hair of strands with the truth about it. Files: NAME.mp4 and NAME.truth.npz with the
    frames as they were before encoding, uint8 [T, H, W, 3]; alpha and beard, uint8 [T, H, W];
    twins, uint8 [V, T, H, W, 3], with twin_names and twin_colors [V, 3] (sRGB in 0 … 1); landmarks,
    float64 [T, K, 2] in pixels."""
    torch.set_num_threads(1)
    scene, target = StrandScene(clip), folder / f"{clip.name}.mp4"
    frames = [scene.frame(index) for index in range(clip.frames)]
    pictures = np.stack([srgb_levels(frame.picture) for frame in frames])
    with VideoWriter(target, _describe(target, clip.size, clip.frames, clip.fps), crf=8) as writer:
        writer.write(pictures)
    twins = [[srgb_levels(frame.twin(v)) for frame in frames] for v in range(len(clip.dyes))]
    np.savez_compressed(
        folder / f"{clip.name}.truth.npz",
        frames=pictures,
        alpha=np.stack([np.rint(255 * frame.alpha).astype(np.uint8) for frame in frames]),
        beard=np.stack([np.rint(255 * frame.beard).astype(np.uint8) for frame in frames]),
        twins=np.array(twins),
        twin_names=np.array(list(clip.dyes)),
        twin_colors=np.array(list(clip.dyes.values())),
        landmarks=np.stack([frame.landmarks for frame in frames]),
        landmark_names=np.array(LANDMARKS),
    )
    return target


def write_scene(scene: Scene, folder: Path) -> Path:
    """Render a scene of several people. Files: NAME.mp4, NAME.truth.npz with the first frames of
    shots, hair masks uint8 [T, A, H, W] and centres of faces [T, A, 2] in pixels, NaN where absent.
    """
    count, target = len(scene.x), folder / f"{scene.name}.mp4"
    hair, centres = [], []
    clip = _describe(target, scene.size, count, FPS)
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with VideoWriter(target, clip, crf=14) as writer:
            for index in tqdm(range(count), desc=f"render {scene.name}", disable=None):
                picture, masks, places = scene.frame(index)
                writer.write(picture[None])
                hair.append(masks)
                centres.append(places)
        truth = {"hair": np.stack(hair), "centres": np.stack(centres), "begins": scene.begins}
        np.savez_compressed(folder / f"{scene.name}.truth.npz", **truth)
    return target


def _describe(path: Path, size: tuple[int, int], frames: int, fps: int) -> Clip:
    ticks = 512
    width, height = size
    return Clip(
        path=path,
        width=width,
        height=height,
        pts=np.arange(frames, dtype=np.int64) * ticks,
        end_pts=frames * ticks,
        time_base=Fraction(1, fps * ticks),
        frame_rate=Fraction(fps),
        color=Color("bt709", "tv", "bt709", "bt709"),
    )


def _write_wave(path: Path, samples: NDArray[np.float32]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes((samples * 32000).astype("<i2").tobytes())


def _frames(
    spec: ClipSpec, versions: Sequence[Changes], toons: Sequence[str], workers: int
) -> Iterator[list[FrameTruth]]:
    jobs = [(spec, index, list(versions), toons) for index in range(spec.frames)]
    progress = tqdm(total=spec.frames, desc=f"render {spec.name}", unit=" frames", disable=None)
    with progress, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for truths in pool.map(_frame_job, jobs):
            progress.update()
            yield truths


def _frame_job(job: tuple[ClipSpec, int, list[Changes], Sequence[str]]) -> list[FrameTruth]:
    spec, index, versions, toons = job
    torch.set_num_threads(1)
    return render_frame(perform(spec), index, spec, versions, toons)


def write_manifest(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    text = json.dumps({"clips": list(entries)}, indent=2)
    (folder / MANIFEST).write_text(text + "\n")


def render_clips(
    folder: Path,
    *,
    count: int,
    seconds: float,
    fps: int,
    size: str,
    style: str | None,
    seed: int,
    colors: Sequence[str],
    toons: Sequence[str] = (),
) -> list[Path]:
    """What `vidhair synth` does: clips of made-up people with twins of other hair colors, and as
    cartoons."""
    wide, _, high = size.lower().partition("x")
    if not (wide.isdigit() and high.isdigit() and int(wide) >= 64 and int(high) >= 64):
        raise InvalidSetting(f"--size {size!r} must be WIDTHxHEIGHT, at least 64x64")
    if style is not None and style not in HAIR_STYLES:
        raise InvalidSetting(f"--style {style!r} must be one of {', '.join(HAIR_STYLES)}")
    for look in toons:
        if look not in LOOKS:
            raise InvalidSetting(f"--toon {look!r} must be one of {', '.join(LOOKS)}")
    if not (0 < seconds <= 600 and 1 <= fps <= 120 and 1 <= count <= 1000):
        raise InvalidSetting("--seconds must be 0 … 600, --fps 1 … 120 and --count 1 … 1000")
    named = {c.strip("#").replace(" ", "_"): parse_color(c) for c in colors}
    styles, natural = list(HAIR_STYLES)[1:], list(HAIR_COLORS)
    entries = []
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            spec = ClipSpec(
                name=f"synth_{seed}_{index:03d}",
                seed=seed * 1000 + index,
                style=style or styles[rng.integers(len(styles))],
                seconds=seconds,
                fps=fps,
                size=(int(wide), int(high)),
                hair_colour=HAIR_COLORS[natural[rng.integers(10)]],
            )
            twins = {name: {"hair_colour": dye(spec, color)} for name, color in named.items()}
            entries.append(write_clip(spec, twins, folder, toons=toons))
        write_manifest(folder, entries)
    return [folder / entry["file"] for entry in entries]
