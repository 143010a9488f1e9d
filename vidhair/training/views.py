"""What networks for whole frames are shown of pictures: reduced, worn, in windows, as sketches or
labels. Shapes: B pictures, S, M their sides."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.models.parsers.face_parser import FaceParser, Label
from vidhair.models.styleganex.network import CELL
from vidhair.training.disguise import Chance, Disguise, blurred
from vidhair.training.pairs import WIDER


def resized(image: Tensor, side: int) -> Tensor:
    """[B, C, M, M] reduced to a side without aliasing."""
    if image.shape[-1] == side:
        return image
    return F.interpolate(image, size=(side, side), mode="area")


def middle(image: Tensor, share: float = 1 / WIDER) -> Tensor:
    """The aligned face in a picture [B, C, S, S]."""
    side = image.shape[-1]
    kept = round(side * share)
    start = (side - kept) // 2
    return image[..., start : start + kept, start : start + kept]


def parsed(parser: FaceParser, image: Tensor) -> Tensor:
    """What the parser makes of pictures [B, 3, M, M] in −1 … 1, at the size of faces that it knows:
    logits [B, 4, m, m]."""
    side = round(parser.face_pixels * WIDER / parser.stride) * parser.stride
    small = F.interpolate(image, size=(side, side), mode="bicubic", antialias=True)
    logits: Tensor = parser(small)
    return logits


def lowered(image: Tensor, factor: int, *, crisp: bool = False) -> Tensor:
    """[B, 3, S, S] reduced by a factor and enlarged again, as inference does it.

    crisp: by the kernel of small faces in a clip, cubic convolution with −¾ for −½.
    """
    if factor == 1:
        return image
    side = image.shape[-1]
    small = F.interpolate(image, size=(side // factor,) * 2, mode="bicubic", antialias=True)
    size = (side, side)
    large = F.interpolate(small.clamp(-1, 1), size=size, mode="bicubic", antialias=not crisp)
    return large.clamp(-1, 1)


def worn(image: Tensor, factor: int, generator: torch.Generator, share: float = 1.0) -> Tensor:
    """As `lowered`, of a picture that was soft before, and is noisy and at times compressed: blurs
    of up to a thirtieth of a side, factors around the given one, grain of up to 20 levels.

    share: of blurs and grain.
    """
    chance = Chance(generator)
    batch, side = len(image), image.shape[-1]
    sigma = chance.uniform(batch, low=0.1, high=max(0.2, share * side / 32))
    soft = torch.lerp(image, blurred(image, sigma), chance.chance(batch, 0.8))
    around = int(torch.randint(max(1, round(0.75 * factor)), 2 + factor * 3 // 2, (),
                               generator=generator))  # fmt: skip
    small_side = max(8, side // around)
    small = F.interpolate(soft, size=(small_side,) * 2, mode="bicubic", antialias=True)
    grain = torch.randn(small.shape, generator=generator)
    small = small + grain * chance.uniform(batch, 1, 1, 1, high=share * 20 / 127.5)
    unit = ((small + 1) / 2).clamp(0, 1)
    unit = Disguise(generator).compress(unit)
    large = F.interpolate(unit * 2 - 1, size=(side, side), mode="bicubic", antialias=True)
    return large.clamp(-1, 1)


def windowed(
    image: Tensor, target: Tensor, share: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A square out of each picture [B, C, M, M] and its target, half of them mirrored. share: of
    the side; squares begin at multiples of CELL, so that a network sees no other grid later."""
    side = image.shape[-1]
    kept = round(side * share)
    starts = torch.randint((side - kept) // CELL + 1, (len(image), 2), generator=generator) * CELL
    mirrored = torch.rand(len(image), generator=generator) < 0.5
    both = torch.stack([image, target], 1)
    cut = [
        one[..., top : top + kept, left : left + kept].flip([-1] if flip else [])
        for one, (top, left), flip in zip(both, starts.tolist(), mirrored, strict=True)
    ]
    first, second = torch.stack(cut).unbind(1)
    return first, second


def as_picture(seen: Tensor, side: int) -> Tensor:
    """What a network sees [1, C, S, S] as a picture [3, side, side]."""
    if seen.shape[1] == 1:
        seen = seen.expand(-1, 3, -1, -1) * 2 - 1
    elif seen.shape[1] != 3:
        colors = torch.tensor([[-1, -1, -1], [1, 0.6, 0.4], [0.5, 0, -0.5], [-0.5, 0, 1.0]])
        seen = torch.einsum("bchw,cd->bdhw", seen, colors.to(seen))
    return F.interpolate(seen, size=(side, side))[0]


def sketch_of(picture: Tensor) -> Tensor:
    """Strokes of a picture [B, 3, H, W] in −1 … 1: [B, 1, H, W], 1 on paper and less where light
    changes, three quarters of Sobel's gradient (as `generate_sketch_data` of StyleGANEX, without
    its network that cleans up)."""
    grey = (picture * picture.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, True)
    smooth = picture.new_tensor([1.0, 2.0, 1.0]) / 4
    slope = picture.new_tensor([-1.0, 0.0, 1.0])

    def filtered(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv2d(x, (rows[:, None] * columns)[None, None])

    grey = filtered((grey + 1) / 2, smooth, smooth)
    gradient = torch.hypot(filtered(grey, 4 * smooth, slope), filtered(grey, slope, 4 * smooth))
    return (1 - 0.75 * 2 * gradient).clamp(0, 1)


def one_hot(labels: Tensor) -> Tensor:
    """Shares of labels [B, L, H, W] → the largest alone, float32."""
    return F.one_hot(labels.argmax(1), len(Label)).movedim(-1, 1).float()
