"""Who a face is: ArcFace embeddings (Deng et al. 2019) of an IR-SE50."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from vidhair.models.backbones.irse import UNITS, WIDTHS, irse50

SIZE = 112
# Rows and columns of a 256² FFHQ-aligned picture that hold the face as ArcFace is used to it
# (identity loss of pSp, Richardson et al. 2021).
ALIGNED_SIZE = 256
FACE_ROWS = slice(35, 223)
FACE_COLUMNS = slice(32, 220)


class FaceIdentity(nn.Module):
    """The cosine of two embeddings says how much two faces look like one person.

    affine: whether the last normalisation has a weight and a bias, as the published weights have.
    gated: whether the blocks have gates: an IR-SE50, not an IR-50.
    """

    def __init__(
        self,
        *,
        size: int = SIZE,
        width: int = 512,
        widths: Sequence[int] = WIDTHS,
        units: Sequence[int] = UNITS,
        affine: bool = True,
        gated: bool = True,
    ):
        super().__init__()
        self.size = size
        self.backbone = irse50(widths=tuple(widths), units=tuple(units), gated=gated)
        cells = (size >> len(widths)) ** 2
        self.head = nn.Sequential(
            nn.BatchNorm2d(widths[-1]),
            nn.Flatten(),
            nn.Linear(widths[-1] * cells, width),
            nn.BatchNorm1d(width, affine=affine),
        )

    def forward(self, face: Tensor) -> Tensor:
        """Faces [B, 3, size, size] in −1 … 1 → embeddings [B, 512] of length one."""
        assert face.shape[2:] == (self.size, self.size), (
            f"faces {tuple(face.shape)} for a side of {self.size}"
        )
        (features,) = self.backbone(face, self.backbone.stage_ends[-1:])
        return F.normalize(self.head(features))


def face_of_aligned(image: Tensor, size: int = SIZE) -> Tensor:
    """FFHQ-aligned pictures [B, 3, S, S] → the faces in them [B, 3, size, size]."""
    if image.shape[2:] != (ALIGNED_SIZE, ALIGNED_SIZE):
        image = F.adaptive_avg_pool2d(image, ALIGNED_SIZE)
    return F.adaptive_avg_pool2d(image[..., FACE_ROWS, FACE_COLUMNS], size)
