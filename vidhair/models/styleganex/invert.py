"""Two-step inversion (Yang et al. 2023): what an encoder finds of a picture, then optimised for it.

A feature f [1, C, h, w] takes the place of the generator's constant, and codes W+ [1, L, D] give
the style. Both are moved by Adam until the drawing, reduced to the picture's size, is perceived as
the picture.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.models.perceptual import PerceptualDistance
from vidhair.models.styleganex.network import StyleGANEX

RATE = 0.05  # of both optimisers
WARM_UP, DECAY = 0.05, 0.25  # shares of the steps in which the rate rises and falls
JITTER, STILL = 0.01, 0.75  # of the codes, in deviations of all codes; the share of steps it lasts
STRIDE = 32  # by which sides are divisible for what measures likeness
SAMPLES = 1000  # codes of which that deviation is taken
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Inversion:
    """feature: [1, C, h, w]. codes: [1, L, D]."""

    feature: Tensor
    codes: Tensor


def rate(t: float) -> float:
    """The learning rate after a share t of the steps: linear warm-up, cosine decay."""
    left = min(1.0, (1 - t) / DECAY)
    return RATE * (0.5 - 0.5 * math.cos(left * math.pi)) * min(1.0, t / WARM_UP)


@torch.no_grad()
def deviation(network: StyleGANEX, generator: torch.Generator) -> float:
    """Root mean square distance of codes of random faces from their mean."""
    z = torch.randn(SAMPLES, network.config.generator.z_dim, generator=generator)
    w = network.generator.mapping.w(z.to(network.w_avg.device))
    return float((w - w.mean(0)).square().sum(1).mean().sqrt())


def optimised(
    network: StyleGANEX,
    picture: Tensor,
    start: Inversion,
    distance: PerceptualDistance,
    steps: int,
    *,
    fixed_codes: bool = False,
    seed: int = 0,
    progress: Progress = lambda done: None,
) -> Inversion:
    """picture: [1, 3, H, W] in −1 … 1, sides divisible by 8, 32 or more.

    The published way with two mends: it ends with the codes of after the last step, and there is no
    noise, neither drawn nor optimised, which edits afterwards would not have. fixed_codes: only the
    feature moves.
    """
    generator = torch.Generator().manual_seed(seed)
    jitter = JITTER * deviation(network, generator)
    feature = start.feature.detach().clone().requires_grad_()
    codes = start.codes.detach().clone().requires_grad_(not fixed_codes)
    optimisers = [torch.optim.Adam([x], lr=RATE) for x in (feature, codes) if x.requires_grad]
    quiet = network.synthesis.no_noise()
    for step in range(steps):
        t = step / steps
        shake = torch.randn(codes.shape, generator=generator).to(codes)
        tried = codes + jitter * max(0.0, 1 - t / STILL) ** 2 * shake
        drawn = network.synthesis.render(feature, tried, noise=quiet)
        loss = distance(whole_cells(like(drawn, picture)), whole_cells(picture))
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = rate(t)
            optimiser.zero_grad()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        progress(step + 1)
    return Inversion(feature.detach(), codes.detach())


def like(drawn: Tensor, picture: Tensor) -> Tensor:
    """A drawing at a picture's size: means of whole blocks where it is larger."""
    factor = drawn.shape[2] // picture.shape[2]
    if factor > 1:
        return F.avg_pool2d(drawn, factor)
    if drawn.shape[2] == picture.shape[2]:
        return drawn
    return F.interpolate(drawn, size=picture.shape[2:], mode="bilinear", align_corners=False)


def whole_cells(picture: Tensor) -> Tensor:
    """With its border going on, so that networks that look at it can halve its sides."""
    height, width = picture.shape[2:]
    return F.pad(picture, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
