"""All that a run needs, small enough for seconds: a pack, a clip with sound, quick settings.

Made once per run of the tests, where they are first asked for; tests only read them.
"""

import atexit
import itertools
import math
import shutil
import tempfile
import wave
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from tests.checkpoints.test_styleganex_names import official as official_styleganex
from tests.media.clips import ffmpeg
from tests.models.clip_files import MERGES, official_clip
from tests.models.tiny import (
    R,
    seeded,
    tiny_generator,
    tiny_published_encoder,
    tiny_stylegan2_config,
    tiny_styleganex,
)
from vidhair.cache import Store
from vidhair.checkpoints.packs import open_pack, write_pack
from vidhair.conversion.convert import convert
from vidhair.flow.edit_video import Result, edit_video
from vidhair.flow.graph import Flow
from vidhair.flow.runner import Means, Reporter, Runner
from vidhair.media import ClipReader, VideoWriter, open_clip, write_png
from vidhair.models.encoders.small import SmallEncoder, SmallEncoderConfig
from vidhair.models.generators.aligned import AlignedGenerator
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.mappers import BaldMapper, LevelsMapper
from vidhair.models.pack import Pack, load_pack
from vidhair.models.parsers.bisenet import MEAN, STD, CelebAMaskLabel, CelebAMaskParser
from vidhair.models.parsers.face_parser import FaceParser, FaceParserConfig, Label
from vidhair.models.perceptual import BACKBONES
from vidhair.recipe import Recipe, load_recipe
from vidhair.synthetic.clips import SOUND_RATE, ClipSpec, perform, render_frame, voice
from vidhair.synthetic.params import column_names, sample_faces
from vidhair.training.generator import Standardiser
from vidhair.training.pack import RECIPES, assemble
from vidhair.types import Clip, Color

FRAMES, SIZE = 12, (160, 144)
TIME_BASE = Fraction(1, 1000)
# The frames are not evenly spaced: nothing may rely on a constant rate.
STEPS = (100, 90, 110, 100, 80, 120, 100, 100, 130, 70, 100, 100)
# Rendering is most of the cost, so the person moves there and back again.
RENDERED = (0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1)
WIDTH = 32  # of a code
GENERATOR = StyleGAN3Config(resolution=32, z_dim=64, w_dim=WIDTH, channel_base=256, channel_max=16)

RECIPE = "hair_color_latent"  # it has nearly all stages
QUICK: dict[str, Any] = {
    "tune.steps": 2,
    "tune.refine_steps": 1,
    "tune.frames": 3,
    "tune.precision": "float32",
    "render.expand": 0.1,
    "matte.size": 48,
    "encode.preset": "ultrafast",
}
STAGES = [
    "target_color", "faces", "thumbnails", "shots", "tracks", "looks", "people", "track", "latents",
    "shot_codes", "pivots", "labels", "tuned", "rendered", "hair_colors", "prior", "glasses",
    "eyewear", "matte", "code_change", "edited", "doubts", "changes",
]  # fmt: skip
# Those of `hair_color`, which draws nothing.
DYEING = [
    "target_color", "faces", "thumbnails", "shots", "tracks", "looks", "people", "track", "labels",
    "hair_colors", "prior", "glasses", "eyewear", "matte", "clip_light", "hair_light", "doubts",
    "changes",
]  # fmt: skip


@cache
def folder() -> Path:
    path = Path(tempfile.mkdtemp(prefix="vidhair-tests-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


# ---- the pack


def guided_parser() -> FaceParser:
    """Random, but its labels follow MediaPipe's guides: the oval is skin, the rest of the person
    is hair."""
    torch.manual_seed(1)
    parser = FaceParser(FaceParserConfig(widths=(8, 12, 16)))
    first: Any = parser.encoder[0]
    last: Any = parser.decoder[-1]

    def carry(convolution: nn.Conv2d, pairs: dict[int, int]) -> None:
        for target, source in pairs.items():
            convolution.weight[target] = 0
            convolution.weight[target, source, 1, 1] = 1

    with torch.no_grad():
        carry(first[0], {0: 3, 1: 4})
        first[1].bias[:2] = 1  # −1 … 1 becomes 0 … 2, which ReLU keeps
        carry(first[3], {0: 0, 1: 1})
        carry(last[0], {0: 12, 1: 13})
        carry(last[3], {0: 0, 1: 1})
        parser.head.weight.zero_()
        parser.head.weight[Label.BACKGROUND, 0], parser.head.weight[Label.SKIN, 1] = -6, 6
        assert parser.head.bias is not None
        parser.head.bias.copy_(torch.tensor([6.0, -6.0, 0.0, -8.0]))
    return parser.eval()


def small_encoder() -> SmallEncoder:
    torch.manual_seed(2)
    return SmallEncoder(
        SmallEncoderConfig(size=32, num_ws=16, w_dim=32, widths=(8, 16), hidden=16)
    ).eval()


def small_generator() -> tuple[Generator, Standardiser, torch.Tensor]:
    """With the parameters of the faces that it was made for, [N, P]."""
    torch.manual_seed(3)
    generator = Generator(GENERATOR)
    params = sample_faces(300, torch.Generator().manual_seed(4)).pack()
    standardiser = Standardiser(len(column_names()), GENERATOR.z_dim)
    standardiser.fit(params)
    return generator.eval(), standardiser, params


def write_small_pack(target: Path) -> Path:
    generator, standardiser, params = small_generator()
    encoder, parser = small_encoder(), guided_parser()
    with torch.no_grad():
        codes = generator.mapping.w(standardiser(params))
        encoder.w_mean.copy_(codes.mean(0))
        encoder.w_std.copy_(codes.std(0))
    faces: Any = SimpleNamespace(arrays={"params": params})
    recipe = RECIPES["tiny"]
    assemble(recipe, target, generator, standardiser, encoder, parser, faces, {}, seed=1)
    return target


@cache
def pack_folder() -> Path:
    """Its parent is a folder of packs, in which it is called "tiny"."""
    return write_small_pack(folder() / "packs" / "tiny")


@cache
def pack() -> Pack:
    return load_pack(pack_folder())


# ---- packs of published networks


def color_parser() -> CelebAMaskParser:
    """The published design with three channels carried through it: in the clip, what is dark is
    hair and what is bright is skin."""
    parser: Any = CelebAMaskParser(widths=(4, 8, 8, 12))
    backbone = parser.context.backbone
    first, norm = backbone.stem[0], backbone.stem[1]
    shortcuts = (block.shortcut for block in backbone.blocks)
    narrowed = [layers[0] for layers in shortcuts if isinstance(layers, nn.Sequential)]
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    with torch.no_grad():
        for module in parser.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
        first.weight[:2, :, 3, 3] = torch.stack([-std, std]) / 3
        norm.bias[:3] = torch.stack([0.26 - mean.mean(), mean.mean() - 0.47, torch.tensor(1.0)])
        for layer in (*narrowed, parser.fusion.block[0], parser.head[0][0]):
            middle = layer.kernel_size[0] // 2
            layer.weight[range(3), range(3), middle, middle] = 1
        last = parser.head[1].weight
        last[CelebAMaskLabel.HAIR, 0] = last[CelebAMaskLabel.SKIN, 1] = 80
        last[CelebAMaskLabel.BACKGROUND, 2] = 3
    return parser.eval()


def _directions(path: Path) -> tuple[Any, ...]:
    """Boundaries of InterFaceGAN as a part of a pack."""
    path.mkdir()
    for seed, name in enumerate(("smile", "age")):
        row = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(seed))
        np.save(path / f"{name}.npy", row.numpy())
    convert(sorted(path.glob("*.npy")), path / "pack")
    files = open_pack(path / "pack")
    part = files.part("attributes")
    return part.kind, part.config, files.tensors("attributes")


def _of(kind: str, module: Any) -> tuple[Any, ...]:
    return kind, asdict(module.config), module.state_dict()


def write_stylegan3_pack(target: Path, *, seed: int = 6, **config: Any) -> Path:
    """StyleGAN3, ReStyle over e4e, BiSeNet; no attributes. config: of the generator."""
    generator = tiny_generator(num_layers=6, w_dim=WIDTH, seed=seed, **config)
    generator.synthesis.layers[-1].weight.mul_(20)  # more than shades of grey
    encoder = tiny_published_encoder("restyle_e4e", num_ws=8, w_dim=WIDTH)
    parts = {
        "generator": _of("stylegan3", generator),
        "encoder": ("restyle_e4e", encoder.plan, encoder.state_dict()),
        "parser": ("celebamask_parser", {"widths": (4, 8, 8, 12)}, color_parser().state_dict()),
    }
    write_pack(target, "official-3", parts, {}, dtype=None)
    return target


def write_stylegan2_pack(target: Path, *, seed: int = 6) -> Path:
    """StyleGAN2, e4e, a mapper to bald heads and one of StyleCLIP, two directions; no parser."""
    config = tiny_stylegan2_config(w_dim=WIDTH)
    generator = seeded(lambda: AlignedGenerator(config), seed=seed)
    encoder = tiny_published_encoder("e4e", num_ws=config.num_ws, w_dim=WIDTH)
    mapper: dict[str, Any] = {"w_dim": WIDTH, "depth": 2, "strength": 50.0}
    bald = seeded(lambda: BaldMapper(**mapper), seed=seed)
    levels = seeded(lambda: LevelsMapper(WIDTH), seed=seed)
    parts = {
        "generator": _of("stylegan2", generator),
        "encoder": ("e4e", encoder.plan, encoder.state_dict()),
        "bald_mapper": ("bald_mapper", mapper, bald.state_dict()),
        "mapper-afro": ("levels_mapper", {"w_dim": WIDTH}, levels.state_dict()),
        "attributes": _directions(target.with_name(f"{target.name}-directions")),
    }
    write_pack(target, "official-2", parts, {}, dtype=None)
    return target


@cache
def stylegan3_pack() -> Pack:
    return load_pack(write_stylegan3_pack(folder() / "official-3"))


@cache
def stylegan3_r_pack() -> Pack:
    return load_pack(write_stylegan3_pack(folder() / "official-3-r", **R))


@cache
def stylegan2_pack() -> Pack:
    return load_pack(write_stylegan2_pack(folder() / "official-2"))


# What the authors' options call the data of each task, and how a network for it is built.
WIDE: dict[str, tuple[str, dict[str, Any]]] = {
    "inversion": ("ffhq_encode", {"skips": 0, "fuse_rgb": False}),
    "super_resolution": ("ffhq_super_resolution", {"skips": 2}),
    "sketch": ("ffhq_sketch_to_face", {"label_channels": 1, "skips": 1}),
    "mask": ("ffhq_seg_to_face", {"label_channels": 19, "skips": 2}),
    "edit": ("ffhq_edit", {"attention_depth": 1}),
    "toonify": ("toonify", {}),
}


def wide_file(target: Path, task: str) -> Path:
    """An official file of StyleGANEX, tiny."""
    dataset, shape = WIDE[task]
    network = tiny_styleganex(**shape)
    codes = network.config.generator.num_ws
    file: dict[str, Any] = {
        "state_dict": official_styleganex(network),
        "latent_avg": network.w_avg.repeat(codes, 1),
        "opts": {"encoder_type": "GradualStyleEncoder", "dataset_type": dataset},
    }
    if task == "edit":
        random = torch.Generator().manual_seed(8)
        file["editing_w"] = torch.randn(2, codes, network.config.w_dim, generator=random)
    torch.save(file, target)
    return target


@cache
def wide_pack(task: str) -> Pack:
    """A pack that was converted from such a file; for label maps with a parser."""
    path = folder() / "wide"
    path.mkdir(exist_ok=True)
    convert([wide_file(path / f"{task}.pt", task)], path / task)
    if task != "mask":
        return load_pack(path / task)
    files = open_pack(path / task)
    part = files.part("styleganex")
    parts = {
        "styleganex": (part.kind, part.config, files.tensors("styleganex")),
        "parser": ("celebamask_parser", {"widths": (4, 8, 8, 12)}, color_parser().state_dict()),
    }
    write_pack(path / "mask with a parser", "mask", parts, {}, dtype=None)
    return load_pack(path / "mask with a parser")


# ---- what LPIPS sees with


@cache
def convolutions(net: str) -> dict[str, torch.Tensor]:
    """Random weights under torchvision's names, of a size that keeps features alive."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(shape, generator=generator) * (2 / math.prod(shape[1:])) ** 0.5
        for name, shape in BACKBONES[net].shapes.items()
    }


@cache
def classifier(net: str = "alex") -> Path:
    """A file as torchvision's, but with a last layer of next to nothing."""
    path = folder() / "classifiers" / BACKBONES[net].file
    path.parent.mkdir(exist_ok=True)
    torch.save(convolutions(net) | {"classifier.6.bias": torch.zeros(3)}, path)
    return path


# ---- what tells of texts


@cache
def clip_files() -> tuple[Path, Path]:
    """CLIP's weights, random and tiny, and its merges."""
    weights, merges = folder() / "clip.safetensors", folder() / "merges.txt"
    merges.write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in MERGES) + "\n")
    save_file(official_clip(), weights)
    return weights, merges


# ---- the clip


@cache
def _person() -> tuple[NDArray[Any], NDArray[Any]]:
    """(pictures uint8 [T, H, W, 3], sound at SOUND_RATE)."""
    spec = ClipSpec(name="small", seed=3, style="bob", seconds=0.6, fps=10, size=SIZE)
    motion = perform(spec)
    rendered = [render_frame(motion, i, spec, [{}])[0].picture for i in range(spec.frames)]
    pictures = np.stack([rendered[i] for i in RENDERED])
    opened = motion.faces.mouth_open.numpy()[list(RENDERED)]
    return pictures, voice(opened, spec.fps, spec.seed)


def person() -> NDArray[Any]:
    """A person seen from the front, uint8 [T, H, W, 3], before any codec."""
    return _person()[0].copy()


@cache
def portrait() -> Path:
    """A picture of somebody with hair."""
    path = folder() / "portrait.png"
    write_png(path, person()[3])
    return path


@cache
def painted_hair() -> Path:
    """A picture as large as the clip's frames: the upper half is to be hair."""
    path = folder() / "painted.png"
    levels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    levels[: SIZE[1] // 2] = 255
    write_png(path, levels)
    return path


@cache
def sketched() -> Path:
    """A line as large as the clip's frames, down from the hair."""
    path = folder() / "sketch.png"
    levels = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    levels[40:110, 50:53] = 255
    write_png(path, levels)
    return path


def nobody(count: int) -> NDArray[Any]:
    """Grey pictures with a pattern, by which a lost or changed one would be noticed."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    waves = [np.sin((x + 9 * t) / 11) + np.cos((y - 5 * t) / 17) for t in range(count)]
    return np.repeat(np.rint(128 + 30 * np.stack(waves))[..., None], 3, axis=3).astype(np.uint8)


def write_clip(
    path: Path, frames: NDArray[Any], *, sound: Path | None = None, crf: int = 8
) -> Path:
    """A video of these frames, at the uneven times of STEPS."""
    steps = list(itertools.islice(itertools.cycle(STEPS), len(frames)))
    pts = np.cumsum([0, *steps[:-1]])
    clip = Clip(
        path=path,
        width=frames.shape[2],
        height=frames.shape[1],
        pts=pts.astype(np.int64),
        end_pts=int(pts[-1]) + steps[-1],
        time_base=TIME_BASE,
        color=Color("bt709", "tv", "bt709", "bt709"),
    )
    with VideoWriter(path, clip, crf=crf, preset="ultrafast", sound_from=sound) as writer:
        writer.write(frames)
    return path


@cache
def sound_file() -> Path:
    wav, target = folder() / "voice.wav", folder() / "voice.m4a"
    with wave.open(str(wav), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SOUND_RATE)
        file.writeframes((_person()[1] * 32000).astype("<i2").tobytes())
    ffmpeg("-i", wav, "-c:a", "aac", target)
    return target


@cache
def clip() -> Path:
    """The person in FRAMES frames, with sound."""
    return write_clip(folder() / "small.mp4", person(), sound=sound_file())


@cache
def faceless_clip() -> Path:
    return write_clip(folder() / "faceless.mp4", nobody(4))


@cache
def matte() -> Path:
    """A folder of one picture: a matte, if not of any clip."""
    path = folder() / "matte"
    path.mkdir()
    write_png(path / "1.png", np.full((4, 4, 3), 255, np.uint8))
    return path


def decoded(path: Path) -> NDArray[Any]:
    with open_clip(path) as reader:
        return reader.read(0, reader.clip.frame_count)


# ---- runs


def recipe(name: str = RECIPE, changes: Mapping[str, Any] | None = None) -> Recipe:
    return load_recipe(name, QUICK | dict(changes or {}))


def needed(name: str) -> dict[str, Any]:
    """Settings that a recipe does not do without."""
    pictures = {
        "hair_reference": "edit.style",
        "hair_reference_latent": "edit.style",
        "hair_mask": "edit.mask",
    }
    if name == "hair_sketch":
        return {"edit.sketch": str(sketched())}
    if name == "hair_text":
        weights, merges = clip_files()
        return {"edit.text": "long hair", "edit.clip": str(weights), "edit.merges": str(merges)}
    return {pictures[name]: str(matte() / "1.png")} if name in pictures else {}


def edit(
    target: Path,
    cache: Any,
    *,
    source: Path | None = None,
    changes: Mapping[str, Any] | None = None,
    name: str = RECIPE,
    models: Pack | None = None,
    reporter: Reporter | None = None,
    means: Means | None = None,
) -> Result:
    return edit_video(
        source or clip(),
        recipe(name, changes),
        target,
        pack=models or pack(),
        device="cpu",
        cache=cache,
        reporter=reporter,
        means=means,
    )


def computed(result: Result) -> list[str]:
    """Stages but the last, which writes the video in every run."""
    return [stage.name for stage in result.stages[:-1] if stage.status != "reused"]


@dataclass(frozen=True)
class Finished:
    """A run that went through, with everything still in its cache."""

    cache: Path
    result: Result

    def copy(self, target: Path) -> Path:
        """The cache, to be used and spoiled."""
        shutil.copytree(self.cache, target)
        return target


@cache
def finished() -> Finished:
    cache = folder() / "cache"
    return Finished(cache, edit(folder() / "finished.mp4", cache))


def forget(cache: Path, *stages: str) -> None:
    """Remove the results of these stages."""
    for stage in stages:
        found = list(cache.glob(f"{stage}-v*"))
        assert found, f"no {stage} in {cache}"
        for entry in found:
            shutil.rmtree(entry)


def flow_on(
    store: Store,
    reader: ClipReader,
    *,
    changes: Mapping[str, Any] | None = None,
    name: str = RECIPE,
    models: Pack | None = None,
    until: str | None = None,
) -> tuple[Flow, Runner]:
    """A flow whose stages, as far as `until`, are up to date, to look into."""
    flow = Flow(recipe(name, changes), models or pack())
    runner = Runner(store, reader)
    runner.run(flow.nodes())
    nodes = flow.fanned_nodes(runner.work)
    names = [node.name for node in nodes]
    runner.run(nodes if until is None else nodes[: names.index(until) + 1])
    return flow, runner
