"""Portraits of the second rendered world on disk, in shards that can be made in any order."""

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
from vidhair.training.dataset import Framing, shard_seed, uint8

SHARD_PEOPLE = 32
PAINTS = 3  # of each traced person
MARGIN = 0.6  # beyond the face crop on every side, in sides of it
OVERSAMPLE = 1.0  # framing resamples them anyway, and people are worth more than pixels
PORTRAIT = Framing(name="portrait", turn_deg=8, shift=0.05, scale=(0.8, 1.25), lift=0.04)


def render_portraits(path: Path, side: int, seed: int, people: int = SHARD_PEOPLE) -> None:
    """Write one shard of people seen from all sides of the crop. side: of the face crop, in pixels.

    image [N, 3, S, S] before black, planes [N, 5, S, S] by `people.PLANES` and oval [N, 1, S, S]
    in uint8; S is `side` and the margins.
    """
    generator = torch.Generator().manual_seed(seed)
    margin = round(MARGIN * side)
    parts: dict[str, list[Tensor]] = {"image": [], "planes": [], "oval": []}
    for _ in range(people):
        # One by one: what somebody does not wear costs nothing.
        faces, looks = sample_people(1, generator)
        move = PORTRAIT.sample(1, generator)
        view = aligned_view(faces, side, transform=move, margin=(margin,) * 4)
        with torch.inference_mode():
            seen = trace(faces, oversampled(view, OVERSAMPLE), People(faces, looks))
            for number in range(PAINTS):
                if number:
                    faces, looks = repainted(faces, looks, generator)
                made = paint(seen, People(faces, looks), (view.height, view.width))
                for name, values in parts.items():
                    values.append(uint8(getattr(made, name)))
    temporary = path.with_suffix(f".part{os.getpid()}")
    save_file({name: torch.cat(values) for name, values in parts.items()}, temporary)
    temporary.replace(path)


def _portrait_job(arguments: tuple[Path, int, int, int]) -> None:
    torch.set_num_threads(1)
    render_portraits(*arguments)


def render_people(
    folder: Path, *, people: int, side: int, seed: int, workers: int | None = None
) -> None:
    """Render what is missing of a number of people; interrupted runs go on."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"portrait_{i:04d}.safetensors" for i in range(-(-people // SHARD_PEOPLE))]
    jobs = [(p, side, shard_seed(seed, p.stem), SHARD_PEOPLE) for p in paths if not p.exists()]
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
