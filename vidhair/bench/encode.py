"""Inversion: pictures → codes, by the published encoders with random weights."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidhair.bench.benchmark import Candidate, Case
from vidhair.bench.generators import STYLEGAN3, as_loaded
from vidhair.bench.options import Options, name_of
from vidhair.models.encoders.inversion import PublishedEncoder, RestyleLoop
from vidhair.models.encoders.restyle import STEPS
from vidhair.models.encoders.style import StyleEncoderConfig
from vidhair.models.generators import stylegan3
from vidhair.models.generators.stylegan3 import StyleGAN3Config

SIZE = 256
DTYPES = ("float32", "bfloat16")
BATCHES = (1, 4)
LOOP = "restyle_e4e"
QUICK = ("e4e", "restyle_e4e")

STYLEGAN2_CODES, STYLEGAN3_CODES = 18, 16
ENCODERS: dict[str, tuple[int, StyleEncoderConfig]] = {
    **{kind: (SIZE, StyleEncoderConfig(num_ws=STYLEGAN2_CODES)) for kind in ("psp", "e4e")},
    **{
        kind: (SIZE, StyleEncoderConfig(num_ws=STYLEGAN3_CODES, in_channels=6))
        for kind in ("restyle_psp", "restyle_e4e")
    },
}
# The whole of ReStyle: the encoder and a generator, in turns.
LOOPS = {f"loop-{name}": entry for name, entry in STYLEGAN3.items() if name.endswith("T")}


def cases(options: Options, dtypes: Sequence[torch.dtype]) -> list[Case]:
    """One per encoder and batch. Raises InvalidSetting."""
    known: dict[str, tuple[int, Any]] = {**ENCODERS, **LOOPS}
    made = []
    for name, config in options.choose(known, QUICK).items():
        if name in LOOPS:
            title = f"{LOOP}, {STEPS} steps with {name.removeprefix('loop-')}"
            made.append(Case(title, partial(_loop, config, dtypes, options)))
            continue
        made += [
            Case(f"{name}, batch {batch}", partial(_encoder, name, config, batch, dtypes, options))
            for batch in (BATCHES[:1] if options.quick else BATCHES)
        ]
    return made


def _encoder(
    kind: str,
    config: StyleEncoderConfig,
    batch: int,
    dtypes: Sequence[torch.dtype],
    options: Options,
) -> list[Candidate]:
    torch.manual_seed(0)
    encoder = PublishedEncoder(kind, config).eval().to(options.device)
    pictures = torch.rand(batch, config.in_channels, config.size, config.size) * 2 - 1
    return _candidates(
        as_loaded(encoder, options), encoder, pictures.to(options.device), dtypes, options
    )


def _loop(
    config: StyleGAN3Config, dtypes: Sequence[torch.dtype], options: Options
) -> list[Candidate]:
    torch.manual_seed(0)
    shape = ENCODERS[LOOP][1]
    encoder = PublishedEncoder(LOOP, shape, STEPS).eval().to(options.device)
    generator = stylegan3.Generator(config).eval().to(options.device)
    pictures = torch.rand(1, 3, shape.size, shape.size, device=options.device) * 2 - 1
    loop = RestyleLoop(as_loaded(encoder, options), generator.synthesis)
    described = RestyleLoop(encoder, generator.synthesis)
    return _candidates(loop, described, pictures, dtypes, options)


def _candidates(
    network: Any,
    described: Any,
    pictures: Tensor,
    dtypes: Sequence[torch.dtype],
    options: Options,
) -> list[Candidate]:
    """described: what a foreign function is given of the network."""
    network(pictures)  # a loop renders its average face once

    def encode(dtype: torch.dtype) -> Tensor:
        with torch.autocast(pictures.device.type, dtype, enabled=dtype != torch.float32):
            result: Tensor = network(pictures).float()
            return result

    candidates = [
        Candidate(f"vidhair {name_of(dtype)}", partial(encode, dtype), dtype=dtype, profiled=True)
        for dtype in dtypes
    ]
    if options.baseline is not None:
        foreign = partial(options.baseline, described, pictures)
        candidates.append(Candidate(options.baseline.name, foreign, third_party=True))
    return candidates
