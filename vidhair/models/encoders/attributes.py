"""Attributes as directions in W: read them from codes, set or shift them.

A linear model in both directions, fitted on codes whose attributes are known: w ≈ A·p + const and
p ≈ R·w + const. Moving along a column of A changes one attribute and leaves the others; this leaks
less than mapping changed parameters through the network again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.checkpoints.packs import PackFiles
from vidhair.errors import PackDamaged

# What lives in a single frame: everything else of a person is the same all through a shot.
MOVING = (
    "mouth_open", "smile", "blink_left", "blink_right", "gaze_x", "gaze_y", "brow_raise", "yaw",
    "pitch", "light_azimuth", "light_elevation",
)  # fmt: skip


@dataclass(frozen=True)
class AttributeSpace:
    """names: P attributes. directions: [P, D], change of w per unit of the attribute.
    readout: [P, D] and offset: [P], attribute values of a code. low, high: [P], their usual range.
    """

    names: tuple[str, ...]
    directions: Tensor
    readout: Tensor
    offset: Tensor
    low: Tensor
    high: Tensor

    def __post_init__(self) -> None:
        p, _ = self.directions.shape
        assert len(self.names) == p and self.readout.shape == self.directions.shape
        assert self.offset.shape == self.low.shape == self.high.shape == (p,)

    @property
    def knows_motion(self) -> bool:
        """Whether it tells all that moves in a shot from what belongs to the person."""
        return set(MOVING) <= set(self.names)

    def index(self, names: Sequence[str]) -> list[int]:
        return [self.names.index(n) for n in names]

    def read(self, ws: Tensor) -> Tensor:
        """W+ [..., L, D] → attributes [..., P], from the mean code of the layers."""
        return ws.mean(-2) @ self.readout.t() + self.offset

    def direction(self, name: str) -> Tensor:
        """[D]: change of w per unit."""
        return self.directions[self.names.index(name)]

    def towards(self, ws: Tensor, values: Mapping[str, float]) -> Tensor:
        """The change [..., D] that sets the named attributes of codes [..., L, D]."""
        index = self.index(list(values))
        wanted = ws.new_tensor([values[n] for n in values])
        return (wanted - self.read(ws)[..., index]) @ self.directions[index]

    def moving_part(self, deviations: Tensor) -> Tensor:
        """Keep of deviations [..., D] what the moving attributes explain (least squares)."""
        basis = self.directions[self.index([n for n in MOVING if n in self.names])].double()
        basis = basis / (basis.norm(dim=1, keepdim=True) + 1e-12)
        # Attributes that always change together share a direction, which counts once.
        _, sizes, rows = torch.linalg.svd(basis, full_matrices=False)
        q = rows[sizes > 1e-3]
        moving: Tensor = (deviations.double() @ q.t()) @ q
        return moving.to(deviations.dtype)

    def tensors(self) -> dict[str, Tensor]:
        names = ("directions", "readout", "offset", "low", "high")
        return {n: getattr(self, n) for n in names}


def pack_attributes(files: PackFiles) -> AttributeSpace | None:
    """The attributes of a pack, if it has any. Raises PackDamaged."""
    if "attributes" not in files.parts:
        return None
    tensors = files.tensors("attributes")
    try:
        return AttributeSpace(tuple(files.parts["attributes"].config["names"]), **tensors)
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise PackDamaged(
            f"the attributes of pack {files.name!r} do not fit their names; install the pack again"
        ) from error


def fit_attributes(
    names: Sequence[str], params: Tensor, codes: Tensor, ridge: float = 1e-3
) -> AttributeSpace:
    """Ridge regression both ways. params: [N, P], codes: [N, D] (N in the thousands)."""
    p_mean, p_std = params.mean(0), params.std(0).clamp_min(1e-4)
    w_mean = codes.mean(0)
    p, w = ((params - p_mean) / p_std).double(), (codes - w_mean).double()

    def solve(x: Tensor, y: Tensor) -> Tensor:
        gram = x.t() @ x
        gram += ridge * gram.diagonal().mean() * torch.eye(len(gram), dtype=x.dtype)
        solved: Tensor = torch.linalg.solve(gram, x.t() @ y)
        return solved

    directions = solve(p, w) / p_std[:, None].double()
    readout = (solve(w, p) * p_std.double()).t()
    offset = p_mean.double() - readout @ w_mean.double()
    return AttributeSpace(
        tuple(names),
        directions.float(),
        readout.float(),
        offset.float(),
        torch.quantile(params, 0.02, dim=0),
        torch.quantile(params, 0.98, dim=0),
    )
