"""What StyleGANEX's tasks are learned from: pictures and what they shall become, of rendered people
or of a user's own files.

Pictures show a face as FFHQ crops do, with a quarter more of the crop's side: WIDER. The middle of
them is the aligned face. Shapes: B pictures, M their side; uint8.
"""

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import CropAxes, crop_axes
from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.imaging.warp import cut_squares
from vidhair.media.images import read_image
from vidhair.models.faces.landmarks import eyes_and_mouth
from vidhair.models.parsers.face_parser import Label
from vidhair.stages.align import largest_face
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import aligned_view, shade, trace
from vidhair.synthetic.toon import LOOKS, drawn, shade_toon, trace_toon
from vidhair.training.dataset import Framing, shard_seed, uint8

WIDER = 1.25
WIDE = Framing(name="wide", scale=(1 / WIDER, 1 / WIDER))
SHARD = 16  # people
OVERSAMPLE = 2
STEPS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25)  # how far an edit goes
TINTS = (*HAIR_COLORS,)
TOLD = 0.1  # colors that lie as far apart tell how light hair is
LIGHTEST = 2.0  # of pictures of hair, over its color
EVERY = 10  # one of so many of a user's pictures is held out
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SOURCE, TARGET = "source", "target"  # folders of pairs

Sample = dict[str, Tensor]


class Examples(Protocol):
    """Examples by their index: image and target [B, 3, M, M]; where known, also labels
    [B, 4, M, M] by `Label`, amount [B] of the edit, and params [B, P] of the rendered person."""

    def __len__(self) -> int: ...

    def take(self, indices: list[int]) -> Sample: ...


# ---- rendered people


@dataclass(frozen=True, kw_only=True)
class World:
    """What is rendered. side: M. target: "same", the color of hair that an edit goes to, or a look
    of `synthetic.toon`. people: in all, of whom the first SHARD are held out."""

    side: int
    people: int
    target: str = "same"

    @property
    def name(self) -> str:
        return f"{self.target.replace(' ', '_')}-{self.side}"


def render_shard(path: Path, world: World, seed: int) -> None:
    """Write one shard of people, one by one: what a batch does not share costs nothing."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Tensor]] = {}
    for _ in range(SHARD):
        faces = sample_faces(1, generator)
        view = aligned_view(faces, world.side, transform=WIDE.sample(1, generator))
        view = view.finer(OVERSAMPLE)
        step = STEPS[int(torch.randint(len(STEPS), (), generator=generator))]
        with torch.inference_mode():
            seen = trace(faces, view)
            truth = shade(seen, faces, reduce=OVERSAMPLE)
            if world.target == "same":
                other = truth.image
            elif world.target in LOOKS:
                look = LOOKS[world.target]
                toon = drawn(faces, look)
                seen = trace_toon(toon, view, look)
                other = shade_toon(seen, toon, look, reduce=OVERSAMPLE).image
            else:
                other = shade(seen, dyed(faces, world.target, step), reduce=OVERSAMPLE).image
        made = {
            "image": uint8(truth.image),
            "target": uint8(other),
            "labels": uint8(truth.masks),
            "amount": torch.tensor([step]),
            "params": faces.pack(),
        }
        for name, value in made.items():
            parts.setdefault(name, []).append(value)
    temporary = path.with_suffix(".part")
    save_file({name: torch.cat(values) for name, values in parts.items()}, temporary)
    temporary.replace(path)


def dyed(faces: FaceParams, color: str, amount: float) -> FaceParams:
    """Hair on its way to a color; 0: as it was, 1: there."""
    wanted = torch.tensor(HAIR_COLORS[color])
    return faces.replace(hair_colour=torch.lerp(faces.hair_colour, wanted, amount).clamp(0.02, 1))


def in_other_colors(sample: Sample, color: str, generator: torch.Generator) -> Sample:
    """Image, target and amount of rendered people with hair of each other's colors, on its way to a
    color by other amounts: of one color and amount for each, a network remembers those.

    Channel by channel, pictures go with the color of the hair. How far they do at a pixel is what
    image and target tell, or, where their colors are much alike, the hair itself. Who was not
    edited stays so.
    """
    own, wanted = FaceParams.unpack(sample["params"]).hair_colour, torch.tensor(HAIR_COLORS[color])
    image, target, hair = (sample[n].float() / 255 for n in ("image", "target", "labels"))
    apart = (sample["amount"][:, None] * (wanted - own))[..., None, None]
    told = apart.abs() >= TOLD
    of_hair = hair[:, Label.HAIR, None] * image / own.clamp_min(TOLD)[..., None, None]
    light = torch.where(told, (target - image) / torch.where(told, apart, 1), of_hair)
    edited = sample["amount"] > 0
    light = light.clamp(0, LIGHTEST) * edited[:, None, None, None]
    begin = own[torch.randperm(len(own), generator=generator)]
    amount = torch.rand(len(own), generator=generator) * STEPS[-1] * edited
    end = torch.lerp(begin, wanted, amount[:, None]).clamp(0.02, 1)
    made, goal = (image + light * (x - own)[..., None, None] for x in (begin, end))
    return {"image": uint8(made), "target": uint8(goal), "amount": amount}


class RenderedPairs:
    """Shards in memory: a thousand people of 80 pixels take 70 MB."""

    def __init__(self, paths: list[Path]):
        shards = [load_file(path) for path in paths]
        self.arrays = {name: torch.cat([s[name] for s in shards]) for name in shards[0]}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def take(self, indices: list[int]) -> Sample:
        return {name: values[indices] for name, values in self.arrays.items()}


def rendered_pairs(
    folder: Path, world: World, *, seed: int, workers: int | None = None
) -> tuple[RenderedPairs, RenderedPairs]:
    """People to learn from, and those held out; what is missing of them is rendered first."""
    assert world.people >= 2 * SHARD, f"{world.people} people, where {SHARD} are held out"
    assert world.target in ("same", *LOOKS, *HAIR_COLORS), world.target
    folder.mkdir(parents=True, exist_ok=True)
    count = -(-world.people // SHARD)
    paths = [folder / f"{world.name}_{index:04d}.safetensors" for index in range(count)]
    jobs = [
        (p, world, shard_seed(seed, p.stem.rpartition("_")[2])) for p in paths if not p.exists()
    ]
    if jobs:
        progress = tqdm(total=len(jobs), desc=f"render {world.name}", unit="shard", disable=None)
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        with progress, pool:
            for _ in pool.map(render_shard, *zip(*jobs, strict=True)):
                progress.update()
    return RenderedPairs(paths[1:]), RenderedPairs(paths[:1])


# ---- a user's files


def listed(folder: Path) -> list[Path]:
    """Pictures of a folder, by name. Raises InvalidSetting."""
    if not folder.is_dir():
        raise InvalidSetting(f"{folder} is no folder; name one that holds pictures")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES)
    if not found:
        raise InvalidSetting(f"{folder} holds no pictures; name one with {', '.join(PICTURES)}")
    return found


def paired(folder: Path) -> list[tuple[Path, Path]]:
    """Pictures of folder/source and folder/target of the same names. Raises InvalidSetting."""
    targets = {path.stem: path for path in listed(folder / TARGET)}
    sources = listed(folder / SOURCE)
    missing = [path.name for path in sources if path.stem not in targets]
    if missing:
        raise InvalidSetting(
            f"{len(missing)} pictures of {folder / SOURCE} have no partner in {folder / TARGET}, "
            f"such as {missing[0]}; give both the same name"
        )
    return [(path, targets[path.stem]) for path in sources]


def located(files: list[Path], notes: Path) -> dict[Path, CropAxes]:
    """Where faces are; files without one are left out.

    notes: a file in which it is remembered for another time.
    """
    known = json.loads(notes.read_text()) if notes.exists() else {}
    found: dict[Path, CropAxes] = {}
    for path in tqdm(files, desc="faces", unit="picture", disable=None):
        stat = path.stat()
        key = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
        if key not in known:
            try:
                axes = crop_axes(*eyes_and_mouth(largest_face(read_image(path), str(path), "")))
                known[key] = [axes.centre.tolist(), axes.x.tolist()]
            except NoFaceFound:
                known[key] = None
        if known[key] is not None:
            centre, x = known[key]
            found[path] = CropAxes(np.array(centre), np.array(x))
    notes.parent.mkdir(parents=True, exist_ok=True)
    temporary = notes.with_suffix(".part")
    temporary.write_text(json.dumps(known))
    temporary.replace(notes)
    return found


def cut(path: Path, axes: CropAxes, side: int) -> Tensor:
    """A picture around a face, uint8 [1, 3, side, side]."""
    picture = torch.from_numpy(read_image(path)).movedim(-1, 0)[None].float()
    wide = cut_squares(picture, axes.centre[None], WIDER * axes.x[None], side)
    return wide.round().clamp(0, 255).to(torch.uint8)


class FilePairs:
    """Files, read when they are asked for. face: of a pair the one (0 or 1) in which the face is
    found. labels: pictures [B, 3, M, M] → [B, 4, M, M], if they are wanted."""

    def __init__(
        self,
        pairs: list[tuple[Path, Path]],
        axes: dict[Path, CropAxes],
        side: int,
        *,
        face: int = 0,
        labels: Callable[[Tensor], Tensor] | None = None,
    ):
        self.pairs, self.axes, self.side = pairs, axes, side
        self.face, self.labels = face, labels

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, indices: list[int]) -> Sample:
        columns: tuple[list[Tensor], list[Tensor]] = ([], [])
        for index in indices:
            pair = self.pairs[index]
            own = self.axes[pair[self.face]]
            sizes = (
                [np.array(read_image(p).shape[1::-1]) for p in pair] if pair[0] != pair[1] else []
            )
            for number, (path, column) in enumerate(zip(pair, columns, strict=True)):
                scale = sizes[number] / sizes[self.face] if sizes else np.ones(2)
                column.append(cut(path, CropAxes(own.centre * scale, own.x * scale), self.side))
        image, target = (torch.cat(column) for column in columns)
        sample = {"image": image, "target": target, "amount": torch.ones(len(image))}
        if self.labels is not None:
            sample["labels"] = self.labels(target)
        return sample


def file_pairs(
    pairs: list[tuple[Path, Path]],
    notes: Path,
    side: int,
    *,
    face: int = 0,
    labels: Callable[[Tensor], Tensor] | None = None,
) -> tuple[FilePairs, FilePairs]:
    """Pairs to learn from, and those held out. Raises InvalidSetting."""
    axes = located([pair[face] for pair in pairs], notes)
    usable = [pair for pair in pairs if pair[face] in axes]
    if len(usable) < 2:
        raise InvalidSetting(
            f"of {len(pairs)} pictures {len(usable)} show a face, and two are the least: one is "
            "held out; give more pictures of faces"
        )
    held = usable[::EVERY]
    rest = [pair for index, pair in enumerate(usable) if index % EVERY]
    options = {"face": face, "labels": labels}
    return FilePairs(rest, axes, side, **options), FilePairs(held, axes, side, **options)  # type: ignore[arg-type]
