"""Whole generators, with random weights: codes → picture."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vidhair.bench.benchmark import Candidate, Case
from vidhair.bench.counting import with_backward
from vidhair.bench.generators import STYLEGAN2, STYLEGAN3, STYLEGANEX, TRAINED, as_loaded
from vidhair.bench.options import Options, name_of
from vidhair.bench.profiler import counted
from vidhair.errors import InvalidSetting
from vidhair.models.generators import stylegan2, stylegan3
from vidhair.models.generators.cuda_graph import CudaGraph
from vidhair.models.generators.stylegan2 import StyleGAN2Config
from vidhair.models.generators.stylegan3 import Extent, StyleGAN3Config, make_transform
from vidhair.models.styleganex.network import ENCODER_SIZE, StyleGANEX, StyleGANEXConfig

EXPANSION = 0.25  # of the canvas on every side
DTYPES = ("float32", "bfloat16")
QUICK = ("256-T",)

# What a foreign function gets: the network, W+ [1, L, W], and a transform [3, 3], a frame or None.
Scene = tuple[torch.nn.Module, Tensor, Tensor | None]


def cases(options: Options, dtypes: Sequence[torch.dtype]) -> list[Case]:
    """One per generator, and one with gradients for those that are tuned. Raises InvalidSetting."""
    known: dict[str, tuple[int, Any]] = {**STYLEGAN3, **STYLEGAN2, **STYLEGANEX}
    made = []
    for name, config in options.choose(known, QUICK).items():
        made.append(Case(f"{name} render", partial(_renders, config, dtypes, options)))
        if name in TRAINED and not options.quick:
            tuning = partial(_gradients, config, dtypes[0], options)
            made.append(Case(f"{name} forward + backward", tuning, gradients=True))
    return made


def _renders(config: Any, dtypes: Sequence[torch.dtype], options: Options) -> list[Candidate]:
    described, ws, placement = make_scene(config, options.device)
    scene = as_loaded(described, options), ws, placement
    candidates = [
        Candidate(_ours(dtype), partial(render, *scene, dtype=dtype), dtype=dtype, profiled=True)
        for dtype in dtypes
    ]
    if isinstance(config, StyleGAN3Config):
        if options.device != "cpu":
            network, ws, placement = scene
            again = partial(CudaGraph(network.synthesis), ws, transform=placement, canvas=Extent())  # type: ignore[arg-type]
            candidates += [
                Candidate(f"{_ours(dtype)}, cuda_graphed", partial(again, dtype=dtype), dtype=dtype)
                for dtype in dtypes
            ]
        margin = round(config.resolution * EXPANSION)
        wider = partial(render, *scene, dtype=dtypes[0], canvas=Extent(*[margin] * 4))
        by = f"{_ours(dtypes[0])}, canvas +{EXPANSION:.0%} on all sides"
        candidates.append(
            Candidate(
                by,
                wider,
                dtype=dtypes[0],
                seen=partial(middle, margin=margin + config.resolution // 4),
                against=partial(middle, margin=config.resolution // 4),
                note="the middle half is compared",
            )
        )
    if options.baseline is not None:
        candidates.append(
            Candidate(
                options.baseline.name,
                partial(options.baseline, described, ws, placement),
                third_party=True,
            )
        )
    return candidates


def middle(picture: Tensor, margin: int) -> Tensor:
    """Without the pixels near the border, where a plain render lacks what lies beyond."""
    return picture[:, :, margin:-margin, margin:-margin]


def _ours(dtype: torch.dtype) -> str:
    return f"vidhair {name_of(dtype)}"


def _gradients(config: Any, dtype: torch.dtype, options: Options) -> list[Candidate]:
    network, ws, placement = make_scene(config, options.device)
    with torch.no_grad():
        work = with_backward(counted(partial(render, network, ws, placement)))
        upstream = torch.randn_like(render(network, ws, placement))

    def gradients(draw: Callable[..., Tensor]) -> Tensor:
        """Of the codes; those of the weights are made as well."""
        codes = ws.clone().requires_grad_()
        picture = draw(network, codes, placement)
        if not picture.requires_grad:
            raise InvalidSetting(
                f"--vs {options.baseline.name if options.baseline else ''} returns a picture "
                "without gradients; let it keep them where ws asks for them"
            )
        picture.backward(upstream)
        network.zero_grad(set_to_none=True)
        return torch.zeros_like(ws) if codes.grad is None else codes.grad

    ours = partial(gradients, partial(render, dtype=dtype))
    candidates = [Candidate(_ours(dtype), ours, work, dtype)]
    if options.baseline is not None:
        foreign = partial(gradients, options.baseline)
        candidates.append(Candidate(options.baseline.name, foreign, third_party=True))
    return candidates


def make_scene(config: Any, device: str) -> Scene:
    """A network of a configuration, and what it draws: the same at every call."""
    torch.manual_seed(0)
    if isinstance(config, StyleGANEXConfig):
        network: torch.nn.Module = StyleGANEX(config)
        placement = torch.rand(1, 3, ENCODER_SIZE, ENCODER_SIZE) * 2 - 1
        width, count = config.w_dim, config.generator.num_ws
    elif isinstance(config, StyleGAN2Config):
        network, placement = stylegan2.Generator(config), None
        width, count = config.w_dim, config.num_ws
    else:
        network = stylegan3.Generator(config)
        placement = torch.linalg.inv(make_transform((0.05, -0.03), 8.0)).float()
        width, count = config.w_dim, config.num_ws
    ws = torch.randn(1, count, width)
    placement = None if placement is None else placement.to(device)
    return network.eval().to(device), ws.to(device), placement


def render(
    network: torch.nn.Module,
    ws: Tensor,
    placement: Tensor | None,
    *,
    dtype: torch.dtype = torch.float32,
    canvas: Extent | None = None,
) -> Tensor:
    """The picture of a scene, as vidhair draws it."""
    if isinstance(network, stylegan3.Generator):
        result: Tensor = network.synthesis(
            ws, transform=placement, canvas=canvas or Extent(), dtype=dtype
        )
        return result
    with torch.autocast(ws.device.type, dtype, enabled=dtype != torch.float32):
        if isinstance(network, StyleGANEX):
            assert placement is not None
            noise = network.synthesis.no_noise()
            picture = network.render(network.encode_layout(placement), ws, noise=noise)
        else:
            assert isinstance(network, stylegan2.Generator)
            picture = network.synthesis(ws, noise=network.synthesis.no_noise())
    return picture.float()
