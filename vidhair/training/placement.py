"""Pictures out of their alignment: turned, scaled, shifted and cropped, so that a network learns
faces wherever they are.

Shapes: B pictures of any size; shares are of a picture's own sides.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

PROBABILITY = 0.2  # of each change
SCALE = 0.1 * math.log(2)  # deviation of the logarithm of a size
TURN = math.pi / 4  # at most, twice
SHIFT = 1 / 8  # at most, and once more as a deviation
CELL = 8  # crops begin and end at multiples of so many pixels
LEAST = 0.8  # share of a side that a crop keeps
WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Placement:
    """Where a changed picture's pixels lie in the picture as it was.

    matrix: [B, 2, 3] in half sides from the middle, as `F.affine_grid` takes it. crop: share of the
    changed picture that is kept: top, left, height, width.
    """

    matrix: Tensor
    crop: tuple[float, float, float, float] = WHOLE

    def __call__(self, picture: Tensor, *, labels: bool = False) -> Tensor:
        """[B, C, H, W] → changed and cropped; beyond the border it goes on mirrored.

        labels: nothing in between is made up.
        """
        shape = [len(picture), 1, *picture.shape[2:]]
        grid = F.affine_grid(self.matrix.to(picture), shape, align_corners=False)
        mode = "nearest" if labels else "bicubic"
        moved = F.grid_sample(picture, grid, mode, "reflection", align_corners=False)
        top, left, height, width = (
            round(share * picture.shape[2 + k % 2]) for k, share in enumerate(self.crop)
        )
        return moved[..., top : top + height, left : left + width]

    def aligned(self, picture: Tensor, side: int, share: float) -> Tensor:
        """The middle of the picture as it was, from a changed one: [B, C, side, side].

        share: of the sides, how much the middle is.
        """
        top, left, height, width = self.crop
        ones = self.matrix.new_tensor([0, 0, 1]).expand(len(self.matrix), 1, 3)
        back = torch.linalg.inv(torch.cat([self.matrix, ones], 1).double())
        # From half sides of the whole changed picture to half sides of what was kept of it.
        kept = back.new_tensor(
            [[1 / width, 0, (1 - width - 2 * left) / width],
             [0, 1 / height, (1 - height - 2 * top) / height], [0, 0, 1]]
        )  # fmt: skip
        middle = torch.diag(back.new_tensor([share, share, 1]))
        matrix = (kept @ back @ middle)[:, :2].to(picture)
        grid = F.affine_grid(matrix, [len(picture), 1, side, side], align_corners=False)
        return F.grid_sample(picture, grid, "bilinear", "border", align_corners=False)

    def cropped(self, side: int, generator: torch.Generator) -> "Placement":
        """With a random crop of pictures of this side, the same for all of them."""
        cells = side // CELL
        least = math.ceil(cells * LEAST)
        height, width = (int(torch.randint(least, cells + 1, (), generator=generator))
                         for _ in range(2))  # fmt: skip
        top, left = (int(torch.randint(0, cells - n + 1, (), generator=generator))
                     for n in (height, width))  # fmt: skip
        share = CELL / side
        return replace(self, crop=(top * share, left * share, height * share, width * share))

    def then(self, other: "Placement") -> "Placement":
        """Both, one after the other, before any crop."""
        assert self.crop == other.crop == WHOLE
        last = self.matrix.new_tensor([0, 0, 1]).expand(len(self.matrix), 1, 3)
        return Placement(self.matrix @ torch.cat([other.matrix, last], 1))


def still(batch: int) -> Placement:
    """Nothing changes."""
    return Placement(torch.eye(2, 3).repeat(batch, 1, 1))


def shifted(x: Tensor, y: Tensor) -> Placement:
    """To the right and down by shares [B] of a picture's width and height."""
    matrix = torch.eye(2, 3).repeat(len(x), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = -2 * x, -2 * y
    return Placement(matrix)


def enlarged(x: Tensor, y: Tensor) -> Placement:
    """By factors [B] of width and height, about the middle."""
    zero = torch.zeros_like(x)
    return Placement(torch.stack([1 / x, zero, zero, zero, 1 / y, zero], 1).view(-1, 2, 3))


def turned(angle: Tensor) -> Placement:
    """By angles [B] in radians about the middle of a square, anticlockwise as seen."""
    c, s, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    return Placement(torch.stack([c, -s, zero, s, c, zero], 1).view(-1, 2, 3))


def unaligned(batch: int, generator: torch.Generator) -> Placement:
    """Random changes, each in PROBABILITY of the pictures (Karras et al. 2020, "Training Generative
    Adversarial Networks with Limited Data"): shift, size, turn, stretch, turn, shift. Both axes are
    shifted on their own, by shares of their own sides."""

    def chance(probability: float = PROBABILITY) -> Tensor:
        return (torch.rand(batch, generator=generator) < probability).float()

    def normal() -> Tensor:
        return torch.randn(batch, generator=generator)

    def uniform() -> Tensor:
        return torch.rand(batch, generator=generator) * 2 - 1

    def shift(draw: Callable[[], Tensor]) -> Placement:
        drawn = SHIFT * chance()
        return shifted(drawn * draw(), drawn * draw())

    def turn() -> Placement:
        # Of both turns together as many pictures are turned.
        return turned(TURN * uniform() * chance(1 - math.sqrt(1 - PROBABILITY)))

    size = (SCALE * normal() * chance()).exp()
    stretch = (SCALE * normal() * chance()).exp()
    change = shift(uniform).then(enlarged(size, size)).then(turn())
    return change.then(enlarged(stretch, 1 / stretch)).then(turn()).then(shift(normal))
