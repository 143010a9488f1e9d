"""Random codes of a generator, and what its styles do among them.

B codes at once, L codes per image, W width of a code, C channels of all layers' styles.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from vidhair.models.generators.aligned import MovableGenerator

AT_ONCE = 256


@torch.inference_mode()
def sampled_codes(
    generator: MovableGenerator,
    count: int,
    *,
    seed: int = 0,
    truncation_psi: float = 1.0,
    truncation_cutoff: int | None = None,
) -> Iterator[Tensor]:
    """`count` codes [B, L, W] in all, on the generator's device; always the same for a seed.

    Of a conditional generator each is of a random class.
    """
    config, device = generator.config, generator.mapping.w_avg.device
    source = torch.Generator().manual_seed(seed)
    for at in range(0, count, AT_ONCE):
        some = min(AT_ONCE, count - at)
        z = torch.randn(some, config.z_dim, generator=source).to(device)
        c = None
        if config.c_dim:
            classes = torch.randint(config.c_dim, (some,), generator=source)
            c = torch.nn.functional.one_hot(classes, config.c_dim).float().to(device)
        yield generator.mapping(
            z, c, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )


@torch.inference_mode()
def style_statistics(
    generator: MovableGenerator, count: int, truncation_psi: float, truncation_cutoff: int | None
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation [C] of every channel of S among random codes, on the CPU."""
    total, squares = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for ws in sampled_codes(
        generator, count, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
    ):
        styles = torch.cat(generator.synthesis.styles(ws), 1).double().cpu()
        total, squares = total + styles.sum(0), squares + styles.square().sum(0)
    mean = total / count
    return mean.float(), (squares / count - mean.square()).clamp_min(0).sqrt().float()
