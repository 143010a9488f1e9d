"""StyleGAN2 in a flow that moves faces: it draws them aligned, and the picture is moved after."""

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.models import stylegan2, stylegan3
from vidhair.models.stylegan3 import Extent

WHOLE = Extent()


def moved(image: Tensor, transform: Tensor | None, canvas: Extent) -> Tensor:
    """Resample square pictures as `stylegan3.Synthesis` would have rendered them.

    image: [B, 3, R, R]. transform: [3, 3] or [B, 3, 3], from positions in the result to positions
    in the image, in units of its side from its centre. Beyond the image its border goes on.
    """
    batch, _, _, side = image.shape
    device, dtype = image.device, image.dtype

    def positions(before: int, after: int) -> Tensor:
        index = torch.arange(-before, side + after, device=device, dtype=dtype)
        return (index + 0.5) / side - 0.5

    y, x = torch.meshgrid(
        positions(canvas.top, canvas.bottom), positions(canvas.left, canvas.right), indexing="ij"
    )
    places = torch.stack([x, y, torch.ones_like(x)], -1)
    matrix = torch.eye(3, device=device) if transform is None else transform
    matrix = matrix.to(image).expand(batch, 3, 3)
    grid = torch.einsum("hwk,bck->bhwc", places, matrix[:, :2]) * 2
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


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
    ) -> Tensor:
        """W+ [B, L, W] → image [B, 3, top + R + bottom, left + R + right], as StyleGAN3's."""
        with torch.autocast(ws.device.type, dtype, enabled=dtype != torch.float32):
            image = self.render_styles(self.styles(ws), noise=self.no_noise())
        image = image.float()
        if transform is None and canvas == WHOLE:
            return image
        return moved(image, transform, canvas)


class AlignedGenerator(stylegan2.Generator):
    """StyleGAN2 as the flow takes a generator; weights of a StyleGAN2 fit."""

    synthesis_class = AlignedSynthesis
    synthesis: AlignedSynthesis


# What the flow renders with.
MovableSynthesis = stylegan3.Synthesis | AlignedSynthesis
MovableGenerator = stylegan3.Generator | AlignedGenerator
