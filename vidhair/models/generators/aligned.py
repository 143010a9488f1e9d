"""StyleGAN2 in a flow that moves faces: it draws them aligned, and the picture is moved after."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.models.generators import stylegan2, stylegan3
from vidhair.models.generators.stylegan2 import Canvas
from vidhair.models.generators.stylegan3 import HALFWAY_RATE, Extent

WHOLE = Extent()
SOFT_EDGE = 4  # pixels over which the drawn square ends


def places(transform: Tensor, canvas: Extent, side: int) -> Tensor:
    """[B, h, w, 2]: the place in a picture that each pixel of a canvas around it shows.

    transform: [B, 3, 3], from positions in the canvas to positions in the picture, in units of its
    side from its centre.
    """

    def centres(before: int, after: int) -> Tensor:
        index = torch.arange(-before, side + after, device=transform.device, dtype=transform.dtype)
        return (index + 0.5) / side - 0.5

    x, y = centres(canvas.left, canvas.right), centres(canvas.top, canvas.bottom)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
    return (
        torch.einsum("hwk,bck->bhwc", grid, transform[:, :2, :2]) + transform[:, None, None, :2, 2]
    )


def moved(image: Tensor, transform: Tensor | None, canvas: Extent) -> Tensor:
    """Resample square pictures as `stylegan3.Synthesis` would have rendered them.

    image: [B, 3, R, R]. transform: [3, 3] or [B, 3, 3] as of `places`; None: the identity.
    Beyond the image its border goes on.
    """
    matrix = torch.eye(3) if transform is None else transform
    matrix = matrix.to(image).expand(len(image), 3, 3)
    grid = 2 * places(matrix, canvas, image.shape[-1])
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def coverage(transform: Tensor, canvas: Extent, side: int) -> Tensor:
    """Where `moved` shows the picture and not its border going on: [B, 1, h, w] in 0 … 1.

    It falls to zero at the picture's edge, within SOFT_EDGE pixels.
    """
    depth = 0.5 - places(transform, canvas, side).abs().amax(-1)
    return (depth * (side / SOFT_EDGE)).clamp(0, 1)[:, None]


class AlignedSynthesis(stylegan2.Synthesis):
    """Codes → image where the face is in the clip, without noise, which would stick to the screen.

    Only what lies within the aligned crop is drawn.
    """

    expands = False

    def forward(  # type: ignore[override]
        self,
        ws: Tensor,
        *,
        transform: Tensor | None = None,
        canvas: Extent = WHOLE,
        dtype: torch.dtype = torch.float32,
        memory: int | None = None,
    ) -> Tensor:
        """W+ [B, L, W] → image [B, 3, top + R + bottom, left + R + right], as StyleGAN3's.

        memory: is not heeded; what it draws does not grow with the canvas.
        """
        start = Canvas(self.start(len(ws)).feature.to(dtype))
        image = self.run(start, self.styles(ws), self.no_noise()).picture.float()
        if transform is None and canvas == WHOLE:
            return image
        return moved(image, transform, canvas)

    # ---- the way in two halves, to blend between them; see `stylegan3.Synthesis`

    @property
    def halfway_size(self) -> int:
        """Of the block behind which it is cut."""
        return min(HALFWAY_RATE, self.config.resolution // 2)

    @property
    def halfway_codes(self) -> int:
        """How many codes, the first ones, decide the features there."""
        return 2 * self._block_of(self.halfway_size) + 1

    @property
    def halfway_cutoff(self) -> float:
        """Finest waves of what is halfway, in cycles per image side."""
        return self.halfway_size / 4

    def halfway(
        self,
        styles: Sequence[Tensor],
        *,
        transform: Tensor | None = None,
        canvas: Extent = WHOLE,
        dtype: torch.dtype = torch.float32,
        memory: int | None = None,
    ) -> tuple[Tensor, ...]:
        """S → features and picture behind a block, [B, C, h, h] and [B, 3, h, h], of the aligned
        face: transform and canvas move only what is finished."""
        start = Canvas(self.start(len(styles[0])).feature.to(dtype))
        stop = self._block_of(self.halfway_size) + 1
        half = self.run(start, styles, self.no_noise(), stop=stop)
        return half.feature, half.picture

    def finished(
        self,
        half: tuple[Tensor, ...],
        styles: Sequence[Tensor],
        *,
        transform: Tensor | None = None,
        canvas: Extent = WHOLE,
        memory: int | None = None,
    ) -> Tensor:
        """What `halfway` gave, and S → image, bit for bit that of `forward` for the same S."""
        first = self._block_of(self.halfway_size) + 1
        image = self.run(Canvas(*half), styles, self.no_noise(), start=first).picture.float()
        if transform is None and canvas == WHOLE:
            return image
        return moved(image, transform, canvas)

    def halfway_places(self, transform: Tensor, canvas: Extent = WHOLE) -> tuple[Tensor, ...]:
        """Where the samples lie in the picture that is finished, [B, h, h, 2] of both."""
        back = torch.linalg.inv(transform)
        found = places(back, WHOLE, self.halfway_size)
        return found, found


class AlignedGenerator(stylegan2.Generator):
    """StyleGAN2 as the flow takes a generator; weights of a StyleGAN2 fit."""

    synthesis_class = AlignedSynthesis
    synthesis: AlignedSynthesis


# What the flow renders with.
MovableSynthesis = stylegan3.Synthesis | AlignedSynthesis
MovableGenerator = stylegan3.Generator | AlignedGenerator
