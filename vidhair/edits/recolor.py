"""Which change of the codes gives hair a color: measured on the generator, and solved for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.imaging.color import rgb_to_lab
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.generators.aligned import MovableSynthesis
from vidhair.stages.render import Canvas

HAIR_COLOR = ("hair_colour.r", "hair_colour.g", "hair_colour.b")
PROBE = 0.08  # change of a color attribute by which its effect is measured
LARGEST = 1.6  # no color attribute is changed by more than this
COLOR_STEPS = 6
SMALLEST_STEP = 1e-3
SHRINK = 0.4  # of a step that did not help, for the next one
# Without attributes: the codes that color the hair, as shares of all (9 to 12 of 18 in
# HairCLIPv2), how far in Lab a unit along their gradients leads, and how often these are taken.
COLOR_CODES = (9 / 18, 13 / 18)
UNIT_OF_LAB = 25.0
LINEARISATIONS = 3
NEAR_ENOUGH = 1.0  # in Lab
NEAR_SHARE = 0.05  # or of the change that is wanted: composing makes its mean exact


@dataclass(frozen=True)
class Probe:
    """Some frames on which the effect of a change of the codes can be measured.

    styles: [N, L, D]; transforms: [N, 3, 3]; hair: [N, 1, h, w], the source's matte on the canvas.
    dtype: of the layers.
    """

    synthesis: MovableSynthesis
    styles: Tensor
    transforms: Tensor
    hair: Tensor
    canvas: Canvas
    dtype: torch.dtype = torch.float32

    @torch.inference_mode()
    def lab(self, change: Tensor) -> Tensor:
        """The rendering [N, 3, h, w] in Lab after a change [D] or [L, D] of all codes."""
        return self._lab(change, slice(None))

    def _lab(self, change: Tensor, rows: slice) -> Tensor:
        image = self.synthesis(
            self.styles[rows] + change,
            transform=self.transforms[rows],
            canvas=self.canvas.extent,
            dtype=self.dtype,
        )
        return rgb_to_lab((image / 2 + 0.5).clamp(0, 1))

    def gradients(self, change: Tensor) -> Tensor:
        """Of the hair's mean L, a and b by the change [L, D]: [3, L, D]. One frame at a time."""
        total = torch.zeros(3, *change.shape, device=change.device)
        weight = self.hair / (self.hair.sum() + 1e-6)
        for row in range(len(self.styles)):
            rows = slice(row, row + 1)
            variable = change.detach().clone().requires_grad_()
            mean = (self._lab(variable, rows) * weight[rows]).sum((0, 2, 3))
            for axis in range(3):
                (got,) = torch.autograd.grad(mean[axis], variable, retain_graph=axis < 2)
                total[axis] += got
        return total


def solve_hair_color(probe: Probe, space: AttributeSpace | None, wanted: Tensor) -> Tensor:
    """The change [D] or [L, D] of the codes that changes the mean Lab of the hair by `wanted` [3].

    Along the pack's three color attributes, if it has any; else along the gradients of the hair's
    mean color by the codes that color it (HairCLIPv2, Wei et al. 2023, color proxy), which is
    the smallest change that does it. Either way by steps of Gauss-Newton: the effect on the
    rendering is measured, not assumed.
    """
    if space is not None and set(HAIR_COLOR) <= set(space.names):
        directions = space.directions[space.index(HAIR_COLOR)].to(probe.styles.device)
        return _reach(probe, directions, wanted, torch.zeros_like(directions[0]))[0].cpu()
    change = torch.zeros_like(probe.styles[0])
    count = len(change)
    first, end = (round(share * count) for share in COLOR_CODES)
    missing = wanted
    for _ in range(LINEARISATIONS):
        if float(missing.norm()) < NEAR_ENOUGH:
            break
        gradients = probe.gradients(change)
        gradients[:, :first] = gradients[:, end:] = 0
        sizes = gradients.square().sum((1, 2), keepdim=True)
        if float(sizes.max()) < 1e-12:
            break
        directions = gradients * (UNIT_OF_LAB / sizes.clamp_min(1e-12))
        change, missing = _reach(probe, directions, missing, change)
    return change.cpu()


def _reach(
    probe: Probe, directions: Tensor, wanted: Tensor, start: Tensor
) -> tuple[Tensor, Tensor]:
    """From a change of the codes on along three directions [3, …], until the hair's mean Lab has
    moved by `wanted` [3]: the new change, and what is still missing. Only hair that the generator
    draws and can recolor counts, as in composing.
    """
    plain = probe.lab(start)
    nudged = probe.lab(start + directions.sum(0) * PROBE * (1 if float(wanted[0]) >= 0 else -1))
    moved = (nudged - plain).square().sum(1, keepdim=True)
    typical = (moved * probe.hair).sum() / (probe.hair.sum() + 1e-6)
    weight = probe.hair * (moved / (typical + 1e-6)).clamp(0, 1)
    weight = weight / (weight.sum() + 1e-6)

    def along(amounts: Tensor) -> Tensor:
        change: Tensor = start + torch.tensordot(amounts, directions, 1)
        return change

    def effect(amounts: Tensor) -> Tensor:
        mean: Tensor = ((probe.lab(along(amounts)) - plain) * weight).sum((0, 2, 3))
        return mean

    columns = []
    for axis in range(3):
        step = torch.zeros(3, device=directions.device)
        step[axis] = PROBE
        columns.append(effect(step) / PROBE)
    jacobian = torch.stack(columns, 1)
    amounts, reached = torch.zeros_like(columns[0]), torch.zeros_like(columns[0])
    share, near = 1.0, max(NEAR_ENOUGH, NEAR_SHARE * float(wanted.norm()))
    for _ in range(COLOR_STEPS):
        missing = wanted - reached
        # Damped, because a nearly black or white hair hardly answers to some attributes.
        normal = jacobian.t() @ jacobian
        size = normal.diagonal().mean()
        if float(missing.norm()) < near or size < 1e-6:
            break
        normal = normal + 0.01 * size * torch.eye(3, device=normal.device)
        step = share * torch.linalg.solve(normal, jacobian.t() @ missing)
        tried = (amounts + step).clamp(-LARGEST, LARGEST)
        step = tried - amounts
        if float(step.norm()) < SMALLEST_STEP:
            break
        got = effect(tried)
        # What the step taught about the effect, taken or not (Broyden 1965), costs no probe.
        surprise = got - reached - jacobian @ step
        jacobian = jacobian + torch.outer(surprise, step) / step.square().sum()
        if float((wanted - got).norm()) < float(missing.norm()):
            amounts, reached, share = tried, got, 1.0
        else:
            share *= SHRINK
    return along(amounts), wanted - reached
