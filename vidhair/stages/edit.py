"""Codes → edited codes."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from vidhair.edits.colors import is_picture, parse_colour
from vidhair.edits.directions import AttributeSpace
from vidhair.edits.kinds import Attribute, Bald, Edit, HairColor, HairLength, Reconstruct
from vidhair.errors import InvalidSetting
from vidhair.models.aligned import MovableSynthesis
from vidhair.models.head_parser import Parser
from vidhair.models.mappers import BaldMapper
from vidhair.ops.color import rgb_to_lab
from vidhair.stages.align import FaceTrack
from vidhair.stages.matte import HeadRegion, Matte, mean_hair_color, on_canvas
from vidhair.stages.render import Canvas, Codes, Drawer, drawn_share, input_transforms
from vidhair.stages.smooth import Pivots
from vidhair.wiring import Fact, Series, Value, stage

HAIR_COLOUR = ("hair_colour.r", "hair_colour.g", "hair_colour.b")
# What makes a head bald; the rest of the hair's attributes no longer matter then.
NO_HAIR = {
    "hair_volume": 0.0, "hair_length": 0.0, "hair_wave": 0.0, "hair_fringe": 0.0,
    "hair_bun": 0.0, "hair_curl": 0.0, "hair_lift": 0.0,
}  # fmt: skip
PROBE = 0.08  # change of a colour attribute by which its effect is measured
LARGEST = 1.6  # no colour attribute is changed by more than this
COLOUR_STEPS = 6
PROBE_FRAMES = 4
SMALLEST_STEP = 1e-3
SHRINK = 0.4  # of a step that did not help, for the next one
# Without attributes: the codes that colour the hair, as shares of all (9 to 12 of 18 in
# HairCLIPv2), how far in Lab a unit along their gradients leads, and how often these are taken.
COLOUR_CODES = (9 / 18, 13 / 18)
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


def check_edit(edit: Edit, space: AttributeSpace | None, bald: BaldMapper | None = None) -> None:
    """Refuse, before any work, an edit that the pack has no attributes or mapper for."""
    if isinstance(edit, (Reconstruct, HairColor)) or (isinstance(edit, Bald) and bald is not None):
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
        HairLength: ("hair_length",), Bald: tuple(NO_HAIR),
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
    bald: BaldMapper | None = None,
) -> np.ndarray:
    """Edited codes [T, L, D]. bald: a pack's mapper, which goes before its attributes."""
    check_edit(edit, space, bald)
    if isinstance(edit, Reconstruct):
        return styles
    edited = styles.copy()
    if isinstance(edit, Bald):
        # One change per shot, from its mean code: hair does not come and go with the pose.
        shot = np.cumsum(cuts)
        for index in np.unique(shot[present]):
            frames = present & (shot == index)
            mean = torch.from_numpy(styles[frames].mean(0))
            edited[frames] += edit.strength * _towards_bald(mean, space, bald).numpy()
    elif isinstance(edit, HairLength) and space is not None:
        edited[present] += edit.amount * space.direction("hair_length").numpy()
    elif isinstance(edit, Attribute) and space is not None:
        edited[present] += edit.strength * space.direction(edit.name).numpy()
    return edited


def _towards_bald(code: Tensor, space: AttributeSpace | None, bald: BaldMapper | None) -> Tensor:
    """The change of a code [L, D] that takes the hair off, [L, D] or [D]."""
    if bald is None:
        assert space is not None
        return space.towards(code, NO_HAIR)
    device = next(bald.parameters()).device
    change = torch.zeros_like(code)
    with torch.inference_mode():
        first = bald.strength * bald(code[None].to(device))[0].cpu()
    change[: len(first)] = first
    return change


def solve_hair_color(probe: Probe, space: AttributeSpace | None, wanted: Tensor) -> Tensor:
    """The change [D] or [L, D] of the codes that changes the mean Lab of the hair by `wanted` [3].

    Along the pack's three colour attributes, if it has any; else along the gradients of the hair's
    mean colour by the codes that colour it (HairCLIPv2, Wei et al. 2023, colour proxy), which is
    the smallest change that does it. Either way by steps of Gauss-Newton: the effect on the
    rendering is measured, not assumed.
    """
    if space is not None and set(HAIR_COLOUR) <= set(space.names):
        directions = space.directions[space.index(HAIR_COLOUR)].to(probe.styles.device)
        return _reach(probe, directions, wanted, torch.zeros_like(directions[0]))[0].cpu()
    change = torch.zeros_like(probe.styles[0])
    count = len(change)
    first, end = (round(share * count) for share in COLOUR_CODES)
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
    draws and can recolour counts, as in composing.
    """
    plain = probe.lab(start)
    nudged = probe.lab(start + directions.sum(0) * PROBE * (1 if float(wanted[0]) >= 0 else -1))
    moved = (nudged - plain).square().sum(1, keepdim=True)
    typical = (moved * probe.hair).sum() / (probe.hair.sum() + 1e-6)
    weight = probe.hair * (moved / (typical + 1e-6)).clamp(0, 1)
    weight = weight / (weight.sum() + 1e-6)

    def along(amounts: Tensor) -> Tensor:
        return start + torch.tensordot(amounts, directions, 1)

    def effect(amounts: Tensor) -> Tensor:
        return ((probe.lab(along(amounts)) - plain) * weight).sum((0, 2, 3))

    columns = []
    for axis in range(3):
        step = torch.zeros(3, device=directions.device)
        step[axis] = PROBE
        columns.append(effect(step) / PROBE)
    jacobian = torch.stack(columns, 1)
    amounts, reached = torch.zeros_like(columns[0]), torch.zeros_like(columns[0])
    share, near = 1.0, max(NEAR_ENOUGH, NEAR_SHARE * float(wanted.norm()))
    for _ in range(COLOUR_STEPS):
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


# ---- stages


@dataclass(frozen=True)
class TargetColor(Value):
    """rgb: sRGB [3] in 0 … 1."""

    rgb: np.ndarray


@dataclass(frozen=True)
class CodeChange(Value):
    """styles: [D] or [L, D], added to the codes of every frame. lab: [3], the change of the hair's
    mean colour that this is for."""

    styles: np.ndarray
    lab: np.ndarray


@stage()
def target_color(edit: HairColor, parser: Parser) -> TargetColor:
    """The colour that hair is to have. Raises NoFaceFound for a picture that shows none."""
    color = edit.color
    found = mean_hair_color(color, parser) if is_picture(color) else parse_colour(color)
    return TargetColor(np.array(found))


@stage(version=4)
def code_change(
    codes: Series[Codes],
    pivots: Series[Pivots],
    track: Series[FaceTrack],
    matte: Series[Matte],
    target_color: TargetColor,
    canvas: Canvas,
    region: HeadRegion,
    drawer: Drawer,
    space: AttributeSpace | None,
    probe: Annotated[str, Fact("precision.probe")],
    edit: HairColor,
) -> CodeChange:
    """For all frames the one change of the codes that takes the hair's mean to the colour.

    Measured on PROBE_FRAMES frames with much hair.
    """
    area, mean_lab = matte.field("area") * track.field("present"), matte.field("mean_lab")
    if area.sum() == 0:
        return CodeChange(np.zeros(codes.rows(0, 1).styles.shape[-1], np.float32), np.zeros(3))
    mean = (mean_lab * area[:, None]).sum(0) / area.sum()
    target = rgb_to_lab(torch.from_numpy(target_color.rgb).float()[None, :, None, None]).flatten()
    wanted = (target - torch.from_numpy(mean).float()) * edit.strength

    order = np.flatnonzero(area > np.median(area[area > 0]) / 2)
    chosen = order[np.linspace(0, len(order) - 1, min(PROBE_FRAMES, len(order))).astype(int)]
    box = canvas.nominal  # a mean needs no hair beyond it, which is about a third of the canvas
    alphas, styles, transforms = [], [], []
    for frame in (int(f) for f in chosen):
        alpha = torch.from_numpy(matte.rows(frame, frame + 1).alpha)[:, None].float() / 255
        alphas.append(on_canvas(alpha, region, box, region.zoom))
        styles.append(codes.rows(frame, frame + 1).styles)
        transforms.append(input_transforms(pivots.rows(frame, frame + 1).similarity))
    device = next(drawer.synthesis.parameters()).device
    places = torch.cat(transforms).to(device)
    hair = torch.cat(alphas).to(device) * drawn_share(drawer.synthesis, places, box)
    shown = Probe(
        drawer.synthesis,
        torch.from_numpy(np.concatenate(styles)).to(device),
        places,
        hair,
        box,
        getattr(torch, probe),
    )
    change = solve_hair_color(shown, space, wanted.to(device))
    return CodeChange(change.numpy(), wanted.numpy())


@stage(keep=False)
def recolored(codes: Codes, track: FaceTrack, code_change: CodeChange) -> Codes:
    styles = codes.styles.copy()
    styles[track.present] += code_change.styles
    return Codes(styles)


@stage(keep=False)
def moved(codes: Codes, track: FaceTrack, edit: Edit, space: AttributeSpace | None) -> Codes:
    """Along directions that are the same in every frame."""
    return Codes(edit_styles(edit, codes.styles, track.present, track.cuts, space))


@stage()
def made_bald(
    codes: Series[Codes],
    track: Series[FaceTrack],
    edit: Bald,
    space: AttributeSpace | None,
    bald: BaldMapper | None,
) -> Codes:
    """By one change per shot."""
    seen = track.whole()
    styles = codes.whole().styles
    return Codes(edit_styles(edit, styles, seen.present, seen.cuts, space, bald=bald))
