"""Face parsers of the BiSeNet kind (Yu et al. 2018): picture → a label for every pixel.

Two published networks share everything but their last lines: the 19 labels of CelebAMask-HQ
(face-parsing.PyTorch, also in StyleGANEX), and the 16 labels that HairCLIPv2 and Barbershop use.
"""

from enum import IntEnum

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.imaging.resize import bicubic_shrink
from vidhair.models.backbones.resnet import resnet18

# Of ImageNet, for pictures in 0 … 1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class CelebAMaskLabel(IntEnum):
    """Left and right as the data set names them."""

    BACKGROUND = 0
    SKIN = 1
    LEFT_BROW = 2
    RIGHT_BROW = 3
    LEFT_EYE = 4
    RIGHT_EYE = 5
    GLASSES = 6
    LEFT_EAR = 7
    RIGHT_EAR = 8
    EARRING = 9
    NOSE = 10
    MOUTH = 11
    UPPER_LIP = 12
    LOWER_LIP = 13
    NECK = 14
    NECKLACE = 15
    CLOTHES = 16
    HAIR = 17
    HAT = 18


class HairClipLabel(IntEnum):
    """The labels that the authors name; the network has `HAIRCLIP_LABELS` of them."""

    BACKGROUND = 0
    FACE = 1
    EAR = 6
    HAIR = 10
    CLOTHES = 15


HAIRCLIP_LABELS = 16


def imagenet_normalised(image: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in −1 … 1 → about zero mean and unit deviation over ImageNet."""
    mean, std = (image.new_tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((image + 1) / 2 - mean) / std


class ConvBlock(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class AttentionRefinement(nn.Module):
    """Features, each channel weighed by what the whole picture holds."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.block = ConvBlock(inputs, outputs)
        self.attention = nn.Sequential(
            nn.Conv2d(outputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(x)
        result: Tensor = x * self.attention(x.mean((2, 3), keepdim=True))
        return result


class ContextPath(nn.Module):
    """A ResNet-18 whose deep features are handed up to 1/8 of the size."""

    def __init__(self, widths: tuple[int, ...], width: int):
        super().__init__()
        self.backbone = resnet18(widths=widths)
        middle, deep = widths[-2:]
        self.whole = ConvBlock(deep, width, 1)
        self.refine_32 = AttentionRefinement(deep, width)
        self.refine_16 = AttentionRefinement(middle, width)
        self.merge_32 = ConvBlock(width, width)
        self.merge_16 = ConvBlock(width, width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """→ backbone features at 1/8, context at 1/8, context at 1/16 of the size."""
        at_8, at_16, at_32 = self.backbone(x, self.backbone.stage_ends[1:])
        whole = self.whole(at_32.mean((2, 3), keepdim=True))
        deep = F.interpolate(self.refine_32(at_32) + whole, size=at_16.shape[2:])
        deep = self.merge_32(deep)
        near = F.interpolate(self.refine_16(at_16) + deep, size=at_8.shape[2:])
        return at_8, self.merge_16(near), deep


class FeatureFusion(nn.Module):
    """Mix two feature maps, then strengthen the channels that matter in this picture."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.block = ConvBlock(inputs, outputs, 1)
        self.attention = nn.Sequential(
            nn.Conv2d(outputs, outputs // 4, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(outputs // 4, outputs, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        x = self.block(torch.cat([a, b], 1))
        result: Tensor = x + x * self.attention(x.mean((2, 3), keepdim=True))
        return result


class LabelHead(nn.Sequential):
    def __init__(self, inputs: int, hidden: int, labels: int):
        super().__init__(ConvBlock(inputs, hidden), nn.Conv2d(hidden, labels, 1, bias=False))


class BiSeNet(nn.Module):
    """Normalised picture → logits of its own size."""

    def __init__(self, labels: int, *, widths: tuple[int, ...] = (64, 128, 256, 512)):
        super().__init__()
        self.labels = labels
        self.context_width = widths[1]
        self.context = ContextPath(widths, self.context_width)
        fused = 2 * self.context_width
        self.fusion = FeatureFusion(fused, fused)
        self.head = LabelHead(fused, fused, labels)

    def logits(self, normalised: Tensor) -> Tensor:
        features, context, _ = self.context(normalised)
        return _resized(self.head(self.fusion(features, context)), normalised)


def _resized(logits: Tensor, image: Tensor) -> Tensor:
    return F.interpolate(logits, size=image.shape[2:], mode="bilinear", align_corners=True)


class CelebAMaskParser(BiSeNet):
    """The 19 labels of CelebAMask-HQ, or others; best at 512 × 512."""

    def __init__(
        self,
        *,
        labels: int = len(CelebAMaskLabel),
        widths: tuple[int, ...] = (64, 128, 256, 512),
    ):
        super().__init__(labels, widths=widths)
        width = self.context_width
        self.head_8 = LabelHead(width, width // 2, labels)
        self.head_16 = LabelHead(width, width // 2, labels)

    def forward(self, image: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in −1 … 1 → logits [B, 19, H, W]."""
        return self.logits(imagenet_normalised(image))

    def training_logits(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The logits, then those of the context at 1/8 and at 1/16 alone; all [B, 19, H, W]."""
        x = imagenet_normalised(image)
        features, context, deep = self.context(x)
        logits = self.head(self.fusion(features, context)), self.head_8(context), self.head_16(deep)
        a, b, c = (_resized(each, x) for each in logits)
        return a, b, c


class HairClipParser(BiSeNet):
    """The 16 labels of HairCLIPv2, or others, for generated pictures of 1024 × 1024."""

    def __init__(
        self, *, labels: int = HAIRCLIP_LABELS, widths: tuple[int, ...] = (64, 128, 256, 512)
    ):
        super().__init__(labels, widths=widths)

    def forward(self, image: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in −1 … 1 → logits [B, 16, H/2, W/2]; the sides must be even."""
        assert image.shape[2] % 2 == image.shape[3] % 2 == 0, f"odd sides in {tuple(image.shape)}"
        return self.logits(imagenet_normalised(bicubic_shrink(image, 2)))


def magnified(logits: Tensor, side: int = 1024) -> Tensor:
    """Logits [B, K, h, w] on a grid of side × side: repeated where it is finer, averaged else."""
    return F.adaptive_avg_pool2d(logits, side)
