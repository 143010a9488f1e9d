"""Clips of different lengths through all stages with tiny networks: what a frame takes, and the
memory. Neither should grow with the clip."""

import tempfile
import time
from dataclasses import asdict
from fractions import Fraction
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from vidhair.bench.benchmark import Row
from vidhair.bench.clock import Timing
from vidhair.bench.memory import Peak, PeakMemory
from vidhair.bench.options import Options, Progress, silent
from vidhair.cache import DiskStore
from vidhair.checkpoints.packs import write_pack
from vidhair.flow.encode import Encoding
from vidhair.flow.graph import Flow, makers_of
from vidhair.flow.runner import EXECUTORS, Means, Runner
from vidhair.media import VideoWriter, open_clip
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.pack import load_pack
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig
from vidhair.recipe import load_recipe
from vidhair.samples import sample_clips
from vidhair.stages.align import WARM_UP, Faces, find_faces
from vidhair.stages.labels import Labels
from vidhair.stages.matte import Matte
from vidhair.stages.region import HairWindow, HeadRegion
from vidhair.types import Clip, Color, Frames
from vidhair.wiring import Near, Span, makers, stage

SECONDS, QUICK_SECONDS = (10, 600), (1, 2)
HEIGHT, WIDTH, FPS = 360, 640, 25
PERSON = 240  # pixels of the picture of a person within
LOOPED = 50  # frames that are shown forwards and backwards again and again
SETTINGS = {
    "tune.steps": 2, "tune.refine_steps": 1, "tune.frames": 4, "tune.precision": "float32",
    "render.precision": "float32", "matte.size": 64, "encode.preset": "veryfast",
}  # fmt: skip
WIDTH_OF_CODES = 128
MEAN_LAB = np.array([30, 8, 12], np.float32)  # of the hair


def rows(options: Options, progress: Progress = silent) -> list[Row]:
    """Seconds per frame and the peak of a run on a clip of every length, in both executors.

    options.seconds: the lengths. Each run has a process of its own.
    """
    lengths = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    found = []
    with tempfile.TemporaryDirectory(prefix="vidhair-bench-") as name:
        folder = Path(name)
        write_tiny_pack(folder / "pack")
        runs = [(seconds, executor) for seconds in lengths for executor in EXECUTORS]
        for index, (seconds, executor) in enumerate(runs):
            progress(index, len(runs), f"{seconds:g} s, {executor}")
            clip = folder / f"{seconds:g}.mp4"
            if not clip.exists():
                write_looped(clip, max(2, round(seconds * FPS)))
            with get_context("spawn").Pool(1) as pool:
                work = folder / f"{seconds:g}-{executor}"
                frames, took, peak = pool.apply(run, (clip, folder / "pack", work, executor))
            timing = Timing((took / frames,), peak=peak)
            note = f"{took:.1f} s, {frames} frames"
            found.append(Row(f"{seconds:g} s", f"{executor}, a frame", timing, note=note))
    return found


def write_tiny_pack(target: Path) -> None:
    """A pack of random networks, as small as they can be."""
    torch.manual_seed(0)
    generator = Generator(
        StyleGAN3Config(
            resolution=32, z_dim=64, channel_base=256, channel_max=16, w_dim=WIDTH_OF_CODES
        )
    )
    encoder = SmallEncoder(
        SmallEncoderConfig(
            size=32, num_ws=generator.config.num_ws, widths=(8, 16), hidden=16, w_dim=WIDTH_OF_CODES
        )
    )
    parser = FaceParser(FaceParserConfig(widths=(8, 12, 16)))
    parts = {
        "generator": ("stylegan3", asdict(generator.config), generator.state_dict()),
        "encoder": ("small_encoder", asdict(encoder.config), encoder.state_dict()),
        "parser": ("face_parser", asdict(parser.config), parser.state_dict()),
    }
    write_pack(target, "tiny", parts, {})


def write_looped(target: Path, count: int) -> None:
    """A person in so many frames of WIDTH × HEIGHT, without a cut."""
    with open_clip(sample_clips()[0]) as reader:
        pictures = [
            np.asarray(Image.fromarray(frame).resize((PERSON, PERSON)))
            for frame in reader.read(0, min(LOOPED, reader.clip.frame_count))
        ]
    left, top = (WIDTH - PERSON) // 2, HEIGHT - PERSON
    margins = ((top, 0), (left, WIDTH - PERSON - left), (0, 0))
    pictures = [np.pad(picture, margins, mode="edge") for picture in pictures]
    clip = Clip(
        target, WIDTH, HEIGHT, np.arange(count), count, Fraction(1, FPS),
        color=Color("bt709", "tv", "bt709", "bt709"),
    )  # fmt: skip
    with VideoWriter(target, clip, preset="ultrafast") as writer:
        for picture in islice(cycle(pictures + pictures[-2:0:-1]), count):
            writer.write(picture[None])


@stage(chunk=64)
def faces(frames: Annotated[Frames, Near(WARM_UP, 0)], span: Span) -> Faces:
    """Of all frames those of the first one."""
    found = find_faces([next(iter(frames))], 0.5)
    return Faces(np.repeat(found, len(span), axis=0))


def face_and_hair(height: int, width: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A face with hair around it, in the middle: [height, width] each."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot((x - width / 2) / width, (y - height / 2) / height)
    return away < 0.18, (away >= 0.18) & (away < 0.3)


@stage()
def labels(frames: Frames, region: HeadRegion) -> Labels:
    """The same in every frame."""
    skin, hair = face_and_hair(region.height, region.width)
    planes = np.zeros((5, *skin.shape), np.uint8)
    planes[0], planes[1], planes[2], planes[4] = ~(skin | hair), skin, hair, skin | hair
    return Labels(np.repeat(planes[None] * 255, len(frames), axis=0))


@stage(compress=True)
def matte(labels: Labels, hair_window: HairWindow) -> Matte:
    """In place of one that is solved for, which takes as much for every frame, and long."""
    count = len(labels.planes)
    _, hair = face_and_hair(hair_window.height, hair_window.width)
    return Matte(
        np.repeat(hair[None].astype(np.uint8) * 255, count, axis=0),
        np.full(count, hair.mean(), np.float32),
        np.repeat(MEAN_LAB[None], count, axis=0),
    )


def run(source: Path, pack: Path, work: Path, executor: str) -> tuple[int, float, Peak | None]:
    """(frames, seconds, peak) of a run in this process."""
    recipe = load_recipe("hair_color_latent", SETTINGS)
    means, memory = Means(executor=executor), PeakMemory()
    memory.start()
    began = time.perf_counter()
    with open_clip(source) as reader:
        tiny = makers(faces, labels, matte)
        flow = Flow(recipe, load_pack(pack), means=means, makers={**makers_of(recipe), **tiny})
        target = work.with_suffix(".mp4")
        runner = Runner(DiskStore(work), reader, means=means)
        writer = VideoWriter(target, reader.clip, **asdict(recipe.encode), sound_from=source)
        with Encoding(writer, recipe.encode, flow, means) as encoding:
            runner.run(flow.nodes())
            runner.run([*flow.fanned_nodes(runner.work), encoding.node])
        return reader.clip.frame_count, time.perf_counter() - began, memory.stop()
