"""Whole pictures and a whole run, with the instruction set that the environment asks for; see
`test_levels`, which runs this with those below the widest."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.models.tiny import R, T, random, tiny_generator
from tests.tolerances import F32, TOLERANCES, relative_error
from vidhair import cli
from vidhair.bench.flow import cut
from vidhair.kernels.simd import HAS_PAIRS, LANES, SWITCH
from vidhair.media import open_clip
from vidhair.samples import sample_clips

FRAMES = 2
SETTINGS = {
    "tune.steps": 1,
    "tune.refine_steps": 0,
    "tune.frames": 1,
    "tune.precision": "float32",
    "encode.preset": "ultrafast",
}


def test_the_level_is_what_was_asked_for() -> None:
    lanes, torch_has = {"avx2": (8, "AVX2"), "sse": (4, "DEFAULT")}[os.environ[SWITCH]]
    assert lanes == LANES and not HAS_PAIRS
    assert torch.backends.cpu.get_cpu_capability() == torch_has


@pytest.mark.parametrize("kind", [T, R], ids=["T", "R"])
def test_a_picture_and_its_gradients_are_those_of_the_reference(kind: Any) -> None:
    generator = tiny_generator(32, **kind).requires_grad_()
    config = generator.config
    upstream = random(1, 3, 32, 32, seed=1)

    def drawn(impl: str) -> list[torch.Tensor]:
        ws = random(1, config.num_ws, config.w_dim, seed=5).requires_grad_()
        generator.zero_grad()
        picture = generator.synthesis(ws, impl=impl)
        picture.backward(upstream)
        weights = [p.grad.clone() for p in generator.parameters() if p.grad is not None]
        return [picture, ws.grad, *weights]

    pairs = list(zip(drawn("auto"), drawn("reference"), strict=True))
    assert len(pairs) > 10
    for fast, slow in pairs:
        assert relative_error(fast, slow) < TOLERANCES["synthesis", F32]


def test_a_short_run(tmp_path: Path) -> None:
    short = cut(sample_clips()[0], tmp_path / "short.mp4", FRAMES)
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    target = tmp_path / "edited.mp4"
    assert cli.main(["run", str(short), "-r", "hair_color", "-o", str(target), *settings]) == 0
    with open_clip(short) as before, open_clip(target) as after:
        a, b = (c.read(0, FRAMES).astype(np.float32) for c in (before, after))
    changed = np.abs(a - b).max(-1) > 20
    assert a.shape == b.shape and 0.02 < changed.mean() < 0.6, "the hair, and little else"
