"""Portraits of the second rendered world on disk, in shards that can be made in any order."""

import math
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vidhair.synthetic.people import People, oversampled, paint, repainted, sample_people
from vidhair.synthetic.render import aligned_view, trace
from vidhair.synthetic.strand_people import paint_strands, sample_strands, shaven
from vidhair.training.dataset import Framing, shard_seed, uint8

SHARD_PEOPLE = 32
PAINTS = 3  # of each traced person
MARGIN = 0.6  # beyond the face crop on every side, in sides of it
OVERSAMPLE = 1.0  # framing resamples them anyway, and people are worth more than pixels
PORTRAIT = Framing(name="portrait", turn_deg=8, shift=0.05, scale=(0.8, 1.25), lift=0.04)


def render_portraits(
    path: Path, side: int, seed: int, people: int = SHARD_PEOPLE, *, strands: bool = False
) -> None:
    """Write one shard of people seen from all sides of the crop. side: of the face crop, in pixels.

    strands: whether their hair is strands and not a solid.

    image [N, 3, S, S] before black, planes [N, 5, S, S] by `people.PLANES` and oval [N, 1, S, S]
    in uint8; S is `side` and the margins.
    """
    generator = torch.Generator().manual_seed(seed)
    margin = round(MARGIN * side)
    parts: dict[str, list[Tensor]] = {"image": [], "planes": [], "oval": []}
    for _ in range(people):
        # One by one: what somebody does not wear costs nothing.
        faces, looks = sample_people(1, generator)
        if strands:
            grown = sample_strands(faces, generator)
            faces, looks = shaven(faces, looks)
        move = PORTRAIT.sample(1, generator)
        view = aligned_view(faces, side, transform=move, margin=(margin,) * 4)
        size = view.height, view.width
        others = (repainted(faces, looks, generator) for _ in range(PAINTS - 1))
        painted = [(faces, looks), *others]
        with torch.inference_mode():
            seen = trace(faces, oversampled(view, OVERSAMPLE), People(faces, looks))
            if strands:
                made = paint_strands(seen, painted, grown, size)
            else:
                made = [paint(seen, People(*who), size) for who in painted]
        for name, values in parts.items():
            values.extend(uint8(getattr(portrait, name)) for portrait in made)
    temporary = path.with_suffix(f".part{os.getpid()}")
    save_file({name: torch.cat(values) for name, values in parts.items()}, temporary)
    temporary.replace(path)


def _portrait_job(arguments: tuple[Path, int, int, int, bool]) -> None:
    torch.set_num_threads(1)
    path, side, seed, people, strands = arguments
    render_portraits(path, side, seed, people, strands=strands)


def render_people(
    folder: Path,
    *,
    people: int,
    side: int,
    seed: int,
    strands: float = 0.0,
    workers: int | None = None,
) -> None:
    """Render what is missing of a number of people; interrupted runs go on.

    strands: share of the shards whose people have hair of strands, the first and then evenly.
    """
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for index in range(-(-people // SHARD_PEOPLE)):
        path = folder / f"portrait_{index:04d}.safetensors"
        of_strands = math.ceil((index + 1) * strands) > math.ceil(index * strands)
        if not path.exists():
            jobs.append((path, side, shard_seed(seed, path.stem), SHARD_PEOPLE, of_strands))
    count = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        list(tqdm(pool.map(_portrait_job, jobs), total=len(jobs), desc="people", unit="shard"))


class Portraits:
    """Shards in memory, as uint8: 1000 portraits of 176 px take 280 MB. The first is held out."""

    def __init__(self, folder: Path, *, held_out: bool):
        shards = sorted(folder.glob("portrait_*.safetensors"))
        loaded = [load_file(path) for path in (shards[:1] if held_out else shards[1:])]
        self.arrays = {name: torch.cat([s[name] for s in loaded]) for name in loaded[0]}

    def __len__(self) -> int:
        return len(self.arrays["image"])

    def batches(self, size: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless shuffled batches; smaller ones where there are fewer than asked for."""
        size = min(size, len(self))
        while True:
            order = torch.randperm(len(self), generator=generator)
            for at in range(0, len(order) - size + 1, size):
                yield {n: v[order[at : at + size]] for n, v in self.arrays.items()}
