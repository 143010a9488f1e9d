"""Rendered faces on disk, in shards that can be made in any order and resumed."""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from vidhair.geometry import Similarity
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.synthetic.render import aligned_view, shade, trace

SHARD_TRACES = 64
TRACE_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class Framing:
    """How the pictures of a group show the head, relative to its FFHQ crop.

    turn_deg, shift: standard deviations, clipped at two and a half of them. scale: low and high.
    """

    name: str
    turn_deg: float = 0.0
    shift: float = 0.0
    scale: tuple[float, float] = (1.0, 1.0)
    lift: float = 0.0  # moves the head up, to show more of the body

    def sample(self, count: int, generator: torch.Generator) -> Similarity:
        def normal(scale: float) -> NDArray[Any]:
            drawn = torch.randn(count, generator=generator, dtype=torch.float64)
            return (drawn.clamp(-2.5, 2.5) * scale).numpy()

        low, high = self.scale
        scale = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        return Similarity(
            normal(self.turn_deg),
            normal(self.shift),
            normal(self.shift) - self.lift,
            scale * (high - low) + low,
        )


ALIGNED = Framing(name="aligned")
MOVED = Framing(name="moved", turn_deg=12, shift=0.08, scale=(0.62, 1.08))

# A traced face is painted several times: tracing costs more than painting.
PAINTED = (
    "melanin", "redness", "lip_redness", "brow_colour", "iris_colour", "hair_colour",
    "light_strength", "light_warmth", "background_centre", "background_edge", "clothes_colour",
)  # fmt: skip


def repaint(faces: FaceParams, generator: torch.Generator) -> FaceParams:
    """The same heads, hairstyles, poses and light positions in other colors."""
    other = sample_faces(len(faces), generator)
    chosen = {f.name: getattr(other if f.name in PAINTED else faces, f.name) for f in fields(faces)}
    return FaceParams(**chosen)


def render_shard(
    path: Path, framing: Framing, size: int, paints: int, seed: int, device: str
) -> None:
    """Write one shard: SHARD_TRACES heads, each in `paints` colorings.

    image [N, 3, S, S], mask [N, 3, S, S] (skin, hair, clothes) in uint8; params [N, P];
    transform [N, 4] (angle in degrees, tx, ty, scale).
    """
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[Tensor]] = {"image": [], "mask": [], "params": [], "transform": []}
    batch = TRACE_BATCH if device == "cpu" else SHARD_TRACES
    for _ in range(SHARD_TRACES // batch):
        faces = sample_faces(batch, generator)
        move = framing.sample(batch, generator)
        with torch.inference_mode():
            on_device = faces.to(device)
            seen = trace(on_device, aligned_view(on_device, size, transform=move).finer(2))
            for paint in range(paints):
                colors = faces if paint == 0 else repaint(faces, generator)
                truth = shade(seen, colors.to(device), reduce=2)
                parts["image"].append(uint8(truth.image))
                parts["mask"].append(uint8(truth.masks[:, 1:]))
                parts["params"].append(colors.pack())
                columns = (move.angle_deg, move.tx, move.ty, move.scale)
                parts["transform"].append(torch.tensor(np.stack(columns, 1), dtype=torch.float32))
    temporary = path.with_suffix(f".part{os.getpid()}")
    save_file({name: torch.cat(values) for name, values in parts.items()}, temporary)
    temporary.replace(path)


def uint8(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _shard_job(arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    render_shard(*arguments)


def render_group(
    folder: Path,
    framing: Framing,
    *,
    traces: int,
    paints: int,
    size: int,
    seed: int,
    device: str = "cpu",
    workers: int | None = None,
) -> None:
    """Render what is missing of a group of `traces` heads; interrupted runs go on."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for index in range(-(-traces // SHARD_TRACES)):
        path = folder / f"{framing.name}_{index:04d}.safetensors"
        if not path.exists():
            jobs.append((path, framing, size, paints, shard_seed(seed, path.stem), device))
    progress = tqdm(total=len(jobs), desc=f"render {framing.name}", unit="shard")
    if device != "cpu":
        for job in jobs:
            render_shard(*job)
            progress.update()
        return
    count = workers or os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(_shard_job, jobs):
            progress.update()


def shard_seed(seed: int, name: str) -> int:
    """A seed per shard that does not depend on the order in which shards are made."""
    state = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


class RenderedFaces:
    """Shards of some groups in memory, as uint8: 10,000 pictures of 128 px with masks take 1 GB.

    The first shard of every group is held out from training.
    """

    def __init__(self, folder: Path, groups: tuple[str, ...], *, held_out: bool):
        loaded: dict[str, list[Tensor]] = {}
        for group in groups:
            shards = sorted(folder.glob(f"{group}_*.safetensors"))
            for path in shards[:1] if held_out else shards[1:]:
                for name, values in load_file(path).items():
                    loaded.setdefault(name, []).append(values)
        self.arrays = {name: torch.cat(values) for name, values in loaded.items()}

    def __len__(self) -> int:
        return len(self.arrays["params"])

    def batches(self, size: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        """Endless shuffled batches; smaller ones where there are fewer faces than asked for."""
        size = min(size, len(self))
        while True:
            order = torch.randperm(len(self), generator=generator)
            for at in range(0, len(order) - size + 1, size):
                chosen = order[at : at + size]
                yield {n: values[chosen] for n, values in self.arrays.items()}
