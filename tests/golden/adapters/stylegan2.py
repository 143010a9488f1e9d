"""StyleGAN2 in the form that rosinality's code gave it."""

from typing import TypeVar

import torch
from torch import nn

from tests.golden.runner import Case, Options, Results, adapter
from vidhair.checkpoints import generator_names
from vidhair.checkpoints.official import load_official
from vidhair.models.generators.mapping import MAPPING_LR_MULTIPLIER
from vidhair.models.generators.stylegan2 import (
    RESAMPLING_TAPS,
    Generator,
    StyleGAN2Config,
    Synthesis,
    mix_codes,
)
from vidhair.ops.upfirdn2d import setup_filter

Kind = TypeVar("Kind", bound=Generator)

FILTER = setup_filter(RESAMPLING_TAPS) * 4  # as the official filters are stored, gain included
SMALL_FILTER = setup_filter([1, 2, 1])  # of StyleGANEX


def check_filters(weights: dict[str, torch.Tensor]) -> None:
    """The filters are designed, not loaded; those of the case must be the same."""
    for name, value in weights.items():
        if name.endswith(("blur_weight", ".kernel")):
            designed = SMALL_FILTER if name.endswith("blur_weight") else FILTER
            torch.testing.assert_close(value.squeeze(), designed, msg=name)


def build(case: Case, options: Options, kind: type[Kind]) -> Kind:
    """Our generator with the case's weights."""
    config = StyleGAN2Config(
        resolution=options["size"],
        z_dim=options["style_dim"],
        w_dim=options["style_dim"],
        channel_base=16384 * options["channel_multiplier"],
        mapping_layers=options["n_mlp"],
    )
    generator = kind(config).eval()
    weights = case.weights("G")
    names = generator_names.stylegan2(len(config.sizes), config.mapping_layers)
    noise = {name: weights[name] for name in weights if name.startswith("noises.")}
    load_official(generator, weights | {name: value[:1] for name, value in noise.items()}, names)
    convs = (conv for block in generator.synthesis.blocks for conv in block.convs)
    for index, conv in enumerate(convs):
        value = noise.get(f"noises.noise_{index}")
        if value is not None and len(value) > 1:  # one per picture
            conv.noise_const = value
    check_filters(weights)
    return generator


def _layer_stats(synthesis: Synthesis, ws: torch.Tensor) -> torch.Tensor:
    rows: list[torch.Tensor] = []

    def note(_module: nn.Module, _inputs: object, x: torch.Tensor) -> None:
        rows.append(torch.stack([x.mean([1, 2, 3]), x.std([1, 2, 3], correction=0)], dim=1))

    hooks = [m.register_forward_hook(note) for b in synthesis.blocks for m in b.layers]
    synthesis(ws)
    for hook in hooks:
        hook.remove()
    return torch.stack(rows)


@adapter("sg2_rosinality")
def check_generator(case: Case) -> Results:
    case.options.expect("blur_kernel", list(RESAMPLING_TAPS))
    case.options.expect("lr_mlp", MAPPING_LR_MULTIPLIER)
    generator = build(case, case.options["constructor"], Generator)
    mapping, synthesis = generator.mapping, generator.synthesis
    with torch.no_grad():
        z1, z2 = case.tensor("z1"), case.tensor("z2")
        ws1, ws2 = mapping(z1), mapping(z2)
        yield case.as_stored("style_z1", mapping.w(z1))
        yield case.as_stored("latent_z1", ws1)
        yield case.as_stored("img_z1", synthesis(ws1))
        yield "layer_stats_z1", _layer_stats(synthesis, ws1)
        noise = [case.tensor(f"noise/{i}") for i in range(len(synthesis.stored_noise()))]
        yield case.as_stored("img_z1_noise", synthesis(ws1, noise=noise))
        mixed = mix_codes(ws1, ws2, case.options["inject_index"])
        yield case.as_stored("latent_mix", mixed)
        yield case.as_stored("img_mix", synthesis(mixed))
        yield case.as_stored("img_wplus", synthesis(case.tensor("wplus")))
        yield "mean_latent_of_z", mapping.w(torch.cat([z1, z2])).mean(0, keepdim=True)
        mapping.w_avg.copy_(case.tensor("truncation_latent")[0])
        psi = float(case.said("img_trunc", r"truncation=([\d.]+)", "0.6"))
        yield case.as_stored("img_trunc", generator(z1, truncation_psi=psi))
        psi = float(case.said("img_mix_trunc", r"truncation=([\d.]+)", "0.5"))
        coarse, fine = (mapping(z, truncation_psi=psi) for z in (z2, z1))
        mixed = mix_codes(coarse, fine, int(case.said("img_mix_trunc", r"inject_index=(\d+)", "4")))
        yield case.as_stored("img_mix_trunc", synthesis(mixed))

    wplus = case.tensor("wplus")[:1].requires_grad_()
    synthesis(wplus).backward(case.tensor("grad/dimg"))
    yield "grad/dwplus", wplus.grad
