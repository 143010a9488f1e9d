"""A world of few and small faces for the tests of training."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from tests.small import GENERATOR
from vidhair.models.encoders.small import SmallEncoderConfig
from vidhair.models.parsers.face_parser import FaceParserConfig
from vidhair.synthetic.params import sample_faces
from vidhair.training.dataset import MOVED, RenderedFaces
from vidhair.training.encoder import EncoderTraining
from vidhair.training.generator import DistillConfig
from vidhair.training.pack import PackRecipe
from vidhair.training.parser import ParserTraining

SIZE = 32
SHARD = 4

# Every part in a few steps; the sizes fit together as in the recipes that are shipped.
RECIPE = PackRecipe(
    sitters=0,
    name="trained",
    size=SIZE,
    traces={"aligned": 3 * SHARD, "moved": 2 * SHARD},
    paints={"aligned": 1, "moved": 2},
    generator=DistillConfig(generator=GENERATOR, phases=((16, 2, 4), (32, 2, 4))),
    parser=ParserTraining(
        parser=FaceParserConfig(widths=(4, 8)),
        people=4,
        strands=0.0,
        side=16,
        size=SIZE,
        steps=2,
        batch=4,
    ),
    encoder=EncoderTraining(
        encoder=SmallEncoderConfig(size=SIZE, w_dim=32, widths=(8, 16), hidden=16),
        steps=2,
        batch=4,
        drawn=2,
    ),
)


class InProcess:
    """Stands in for a pool of processes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @staticmethod
    def map(function: Callable[..., Any], *jobs: Iterable[Any]) -> Iterator[Any]:
        return map(function, *jobs)


def made_up_faces(folder: Path, shards: int = 3) -> Path:
    """Shards whose pictures are noise, in which nothing but the shapes is as in a rendering."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    for index in range(shards):
        faces, move = sample_faces(SHARD, generator), MOVED.sample(SHARD, generator)
        columns = np.stack([move.angle_deg, move.tx, move.ty, move.scale], 1)

        def levels(*shape: int) -> torch.Tensor:
            return torch.randint(256, shape, generator=generator).to(torch.uint8)

        arrays = {
            "image": levels(SHARD, 3, SIZE, SIZE),
            "mask": levels(SHARD, 3, SIZE, SIZE),
            "params": faces.pack(),
            "transform": torch.tensor(columns, dtype=torch.float32),
        }
        save_file(arrays, folder / f"moved_{index:04d}.safetensors")
    return folder


class Stopping(RenderedFaces):
    """Faces that interrupt the training after some batches."""

    def __init__(self, *arguments: Any, after: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.after, self.given = after, 0

    def batches(self, size: int, generator: torch.Generator) -> Iterator[dict[str, Any]]:
        for batch in super().batches(size, generator):
            if self.given == self.after:
                raise KeyboardInterrupt
            self.given += 1
            yield batch
