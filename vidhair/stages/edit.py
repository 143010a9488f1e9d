"""Codes → edited codes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vidhair.edits.directions import AttributeSpace
from vidhair.edits.kinds import Attribute, Bald, Edit, HairColor, HairLength, Reconstruct
from vidhair.errors import InvalidSetting
from vidhair.models.stylegan3 import Synthesis
from vidhair.ops.color import rgb_to_lab
from vidhair.stages.render import Canvas

HAIR_COLOUR = ("hair_colour.r", "hair_colour.g", "hair_colour.b")
# What makes a head bald; the rest of the hair's attributes no longer matter then.
NO_HAIR = {
    "hair_volume": 0.0, "hair_length": 0.0, "hair_wave": 0.0, "hair_fringe": 0.0,
    "hair_bun": 0.0, "hair_curl": 0.0, "hair_lift": 0.0,
}  # fmt: skip
PROBE = 0.08  # change of a colour attribute by which its effect is measured
LARGEST = 1.6  # no colour attribute is changed by more than this
COLOUR_STEPS = 4
SHARES = (1.0, 0.4, 0.15)  # of a step that are tried, until one helps


@dataclass(frozen=True)
class Probe:
    """Some frames on which the effect of a change of the codes can be measured.

    styles: [N, L, D]; transforms: [N, 3, 3]; hair: [N, 1, h, w], the source's matte on the canvas.
    """

    synthesis: Synthesis
    styles: Tensor
    transforms: Tensor
    hair: Tensor
    canvas: Canvas

    @torch.inference_mode()
    def lab(self, change: Tensor) -> Tensor:
        """The rendering [N, 3, h, w] in Lab after a change [D] of all codes."""
        image = self.synthesis(
            self.styles + change,
            transform=self.transforms,
            canvas=self.canvas.extent,
            dtype=torch.bfloat16 if self.styles.device.type == "cpu" else torch.float32,
        )
        return rgb_to_lab((image / 2 + 0.5).clamp(0, 1))


def check_edit(edit: Edit, space: AttributeSpace | None) -> None:
    """Refuse, before any work, an edit that the pack's attributes cannot make."""
    if isinstance(edit, Reconstruct):
        return
    if space is None:
        raise InvalidSetting(
            f"edit.kind = {edit.kind!r} needs a pack with attributes; choose another pack"
        )
    if isinstance(edit, Attribute) and edit.name not in space.names:
        raise InvalidSetting(
            f"edit.name = {edit.name!r} is no attribute of this pack; it has "
            f"{', '.join(space.names)}"
        )
    needed: dict[type[Edit], tuple[str, ...]] = {
        HairColor: HAIR_COLOUR, HairLength: ("hair_length",), Bald: tuple(NO_HAIR),
    }  # fmt: skip
    missing = [n for n in needed.get(type(edit), ()) if n not in space.names]
    if missing:
        raise InvalidSetting(
            f"edit.kind = {edit.kind!r} needs the attribute {missing[0]!r}, which this pack does "
            "not have; choose another pack"
        )


def edit_styles(
    edit: Edit,
    styles: np.ndarray,
    present: np.ndarray,
    cuts: np.ndarray,
    space: AttributeSpace | None,
    color_change: Callable[[AttributeSpace], Tensor] | None = None,
) -> np.ndarray:
    """Edited codes [T, L, D]. color_change: gives the change of the codes for a hair colour."""
    check_edit(edit, space)
    if isinstance(edit, Reconstruct):
        return styles
    assert space is not None
    edited = styles.copy()
    if isinstance(edit, HairColor):
        assert color_change is not None
        edited[present] += color_change(space).numpy()
    elif isinstance(edit, HairLength):
        edited[present] += edit.amount * space.direction("hair_length").numpy()
    elif isinstance(edit, Attribute):
        edited[present] += edit.strength * space.direction(edit.name).numpy()
    elif isinstance(edit, Bald):
        # One change per shot, from its mean code: hair does not come and go with the pose.
        shot = np.cumsum(cuts)
        for index in np.unique(shot[present]):
            frames = present & (shot == index)
            mean = torch.from_numpy(styles[frames].mean(0))
            edited[frames] += edit.strength * space.towards(mean, NO_HAIR).numpy()
    return edited


def solve_hair_color(probe: Probe, space: AttributeSpace, wanted: Tensor) -> Tensor:
    """The change [D] of the codes that changes the mean Lab of the hair by `wanted` [3].

    Gauss-Newton over the three colour attributes: their effect on the rendering is measured, not
    assumed. Only hair that the generator draws and can recolour counts, as in composing.
    """
    directions = space.directions[space.index(HAIR_COLOUR)].to(probe.styles.device)
    plain = probe.lab(torch.zeros_like(directions[0]))
    nudged = probe.lab(directions.sum(0) * PROBE * (1 if float(wanted[0]) >= 0 else -1))
    moved = (nudged - plain).square().sum(1, keepdim=True)
    typical = (moved * probe.hair).sum() / (probe.hair.sum() + 1e-6)
    weight = probe.hair * (moved / (typical + 1e-6)).clamp(0, 1)
    weight = weight / (weight.sum() + 1e-6)

    def effect(amounts: Tensor) -> Tensor:
        change = probe.lab(amounts @ directions) - plain
        return (change * weight).sum((0, 2, 3))

    amounts = torch.zeros(3, device=directions.device)
    reached = torch.zeros(3, device=directions.device)
    error = float(wanted.norm())
    for _ in range(COLOUR_STEPS):
        if error < 1.0:
            break
        columns = []
        for axis in range(3):
            step = torch.zeros_like(amounts)
            step[axis] = PROBE if amounts[axis] <= LARGEST - PROBE else -PROBE
            columns.append((effect(amounts + step) - reached) / step[axis])
        jacobian = torch.stack(columns, 1)
        # Damped, because a nearly black or white hair hardly answers to some attributes.
        normal = jacobian.t() @ jacobian
        size = normal.diagonal().mean()
        if size < 1e-6:
            break
        normal = normal + 0.01 * size * torch.eye(3, device=normal.device)
        step = torch.linalg.solve(normal, jacobian.t() @ (wanted - reached))
        for share in SHARES:
            tried = (amounts + share * step).clamp(-LARGEST, LARGEST)
            got = effect(tried)
            if float((wanted - got).norm()) < error:
                break
        else:
            break
        amounts, reached, error = tried, got, float((wanted - got).norm())
    return (amounts @ directions).cpu()
