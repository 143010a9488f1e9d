"""What hair proxies are optimised for (HairCLIPv2, Wei et al. 2023, section 3.3).

Pictures are [B, 3, H, W] in −1 … 1, masks [B, 1, H, W] of 0 and 1.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.imaging.color import xyz_to_lab
from vidhair.models.parsers.face_parser import Label

TINY = 1e-12

# The published loss takes pictures for linear RGB; its white is the sum of each row.
_TO_XYZ = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
MAPPING_SLOPE = 0.2  # of the leaky ReLU that ends the mapping network


def linear_to_xyz(rgb: Tensor) -> Tensor:
    """Linear RGB in 0 … 1 → XYZ relative to white."""
    matrix = rgb.new_tensor(_TO_XYZ)
    matrix = matrix / matrix.sum(1, keepdim=True)
    return (rgb.movedim(1, -1) @ matrix.t()).movedim(-1, 1)


def lab(picture: Tensor) -> Tensor:
    """Lab of a picture as the published color loss sees it: without undoing sRGB's curve."""
    return xyz_to_lab(linear_to_xyz((picture + 1) / 2))


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean over the mask, [B, C, 1, 1]; zero where the mask is empty."""
    return (x * mask).sum([2, 3], keepdim=True) / mask.sum([2, 3], keepdim=True).clamp_min(1)


def hair_colour_loss(picture: Tensor, hair: Tensor, target_lab: Tensor) -> Tensor:
    """Mean absolute difference of the hair's mean Lab from a target [B, 3, 1, 1]."""
    return (masked_mean(lab(picture), hair) - target_lab).abs().mean()


def background_loss(picture: Tensor, source: Tensor, hair: Tensor, source_hair: Tensor) -> Tensor:
    """Mean square of the change where neither picture has hair, over all pixels."""
    background = (1 - hair) * (1 - source_hair)
    return F.mse_loss(picture * background, source * background)


def masked_features(features: Tensor, mask: Tensor) -> Tensor:
    """Features [B, C, h, w] under a mask of any size, whose nearest pixels count."""
    return features * F.interpolate(mask, size=features.shape[2:])


def gram_matrix(features: Tensor) -> Tensor:
    """[B, C, h, w] → [B·C, B·C]: products of channels, over the number of values."""
    rows = features.flatten(0, 1).flatten(1)
    return rows @ rows.t() / features.numel()


def gram_matrices(
    features: Callable[[Tensor], list[Tensor]], pictures: Tensor, hair: Tensor
) -> list[list[Tensor]]:
    """Of the hair in every picture, [B] of one per layer. Both the picture and its features are
    seen under the mask."""
    layers = [masked_features(maps, hair) for maps in features(pictures * hair)]
    return [[gram_matrix(maps[row : row + 1]) for maps in layers] for row in range(len(pictures))]


def style_loss(got: list[list[Tensor]], want: list[list[Tensor]], relative: bool) -> Tensor:
    """How unlike hair looks: mean squared difference of Gram matrices, averaged over layers and
    pictures. relative: to the mean square of what is wanted, for features of any scale."""
    terms = []
    for ours, theirs in zip(got, want, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            scale = b.square().mean() + TINY if relative else 1.0
            terms.append(F.mse_loss(a, b) / scale)
    return torch.stack(terms).mean()


def shape_loss(scores: Tensor, hair: Tensor, weight: Tensor) -> Tensor:
    """Cross entropy between what a parser sees and where hair is wanted.

    scores: [B, labels, h, w], logits; hair: [B, 1, h, w] in 0 … 1; weight: [B], of pictures.
    """
    others = [label for label in range(scores.shape[1]) if label != Label.HAIR]
    odds = scores[:, Label.HAIR : Label.HAIR + 1] - scores[:, others].logsumexp(1, keepdim=True)
    entropy = F.binary_cross_entropy_with_logits(odds, hair, reduction="none").mean((1, 2, 3))
    return (entropy * weight).mean()


def courses(picture: Tensor) -> Tensor:
    """Which way things run in a grey picture [B, 1, H, W]: [B, 2, H, W], the cosine and sine of
    twice the angle across them, times how clearly. Of the structure tensor (Bigün and Granlund
    1987), so that a line's two ways are one."""
    padded = F.pad(picture, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    tensor = torch.cat([across.square() - down.square(), 2 * across * down], 1)
    return F.avg_pool2d(tensor, 3, stride=1, padding=1, count_include_pad=False)


def course_loss(picture: Tensor, lines: Tensor) -> Tensor:
    """How far what is drawn at lines runs another way than they do: 0 along them, 2 across.

    picture: [B, 3, H, W]; lines: [B, 1, H, W], 1 on a line; those count.
    """
    grey = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    got, want = courses(grey), courses(lines)
    # Where nothing is seen to run any way, the loss is 1, and it pulls towards some texture.
    likeness = (got * want).sum(1) / (got.square().sum(1) + 1e-6).sqrt()
    clear = want.norm(dim=1)
    loss: Tensor = 1 - likeness.sum() / (clear.sum() + TINY)
    return loss


def angle_loss(a: Tensor, b: Tensor) -> Tensor:
    """Half the squared angle between vectors [..., E], on average: 2·asin²(‖a − b‖/2) of unit
    ones."""
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    angle: Tensor = 2 * ((a - b).norm(dim=-1) / 2).asin()
    return angle.square().mean() / 2


def prior_loss(ws: Tensor, mean: Tensor, components: Tensor, stds: Tensor) -> Tensor:
    """How far codes [B, L, W] lie from those of random faces (Zhu et al. 2020, the P-norm space).

    The leaky ReLU at the end of the mapping is undone; then mean [W], components [W, W] (one per
    row) and stds [W] of a principal component analysis whiten the code.
    """
    whitened = (F.leaky_relu(ws, 1 / MAPPING_SLOPE) - mean) @ components.t() / stds
    return whitened.square().mean()
