"""No hair: taken away in the frames themselves, or drawn by a pack, by its mapper or attributes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.edits.edit import GradedEdit, Strength, check_attributes, moved
from vidhair.edits.latents import add_change
from vidhair.errors import InvalidSetting
from vidhair.imaging.color import lab_to_rgb
from vidhair.imaging.warp import spread_grid
from vidhair.models.encoders.attributes import AttributeSpace
from vidhair.models.mappers import BaldMapper
from vidhair.models.pack import Pack
from vidhair.settings import Curve, setting
from vidhair.stages.align import FaceTrack
from vidhair.stages.bare import Bare
from vidhair.stages.bare_skin import TEXELS, on_head
from vidhair.stages.behind import Behind
from vidhair.stages.fade import Fade
from vidhair.stages.in_front import InFront, in_front, under, usual_hair
from vidhair.stages.layers import Layer, Patch, change_of, make_layer, patch_of, unit, window_of
from vidhair.stages.matte import Matte, no_matte, no_tone
from vidhair.stages.region import HairWindow
from vidhair.stages.render import Codes
from vidhair.stages.skull import HeadPose, Place, Skull, look
from vidhair.stages.smooth import ShotCodes, means_of_shots
from vidhair.types import Frames
from vidhair.wiring import AtOnce, Makers, Series, makers, stage

# What makes a head bald; the rest of the hair's attributes no longer matter then.
NO_HAIR = {
    "hair_volume": 0.0, "hair_length": 0.0, "hair_wave": 0.0, "hair_fringe": 0.0,
    "hair_bun": 0.0, "hair_curl": 0.0, "hair_lift": 0.0,
}  # fmt: skip


BRISTLES = 0.55  # share of the hair's color in the densest stubble


@dataclass(frozen=True, kw_only=True)
class Bald(GradedEdit):
    kind = "bald"
    reshapes: ClassVar[bool] = True
    strength: float | Curve = setting(
        1.0, "share of the way to no hair, or a curve of it over time", low=0.0, high=2.0
    )
    by: str = setting(
        "auto",
        "layer: hair is taken away in the frames themselves; latent: the pack draws the head anew; "
        "auto: layer, where the recipe draws nothing else",
        choices=("auto", "layer", "latent"),
    )
    stubble: float = setting(
        0.0, "how dense short stubble is where hair was (layer): 0 for none", low=0.0, high=1.0
    )

    @property
    def in_frames(self) -> bool:
        return self.by != "latent"

    @property
    def note(self) -> str:
        return "the head is bared in the frames themselves; edit.by = latent has the pack draw it"

    def check_drawn(self, pack: Pack, place: str) -> None:
        if self.by == "layer":
            raise InvalidSetting(
                f"{place}.by = 'layer' takes hair away in the frames, and this recipe draws them; "
                "leave out compose.mode and other edits, or give auto"
            )
        if self.stubble:
            raise InvalidSetting(
                f"{place}.stubble = {self.stubble} is for hair that is taken away in the frames, "
                "and this recipe draws them; leave it out"
            )
        if not pack.has("bald_mapper"):
            check_attributes(self, list(NO_HAIR), pack, place)

    def makers(self) -> Makers:
        return makers(
            usual_hair, in_front, strength=self.over_time, shot_changes=self.shot_changes,
            edited_codes=self.bared, layer=self.bared_head, shown_matte=no_matte,
            shown_tone=no_tone,
        )  # fmt: skip

    @stage(keep=False)
    def bared_head(
        self,
        frames: Frames,
        bare: Bare,
        behind: Behind,
        matte: Matte,
        track: FaceTrack,
        head_pose: HeadPose,
        skull: Skull,
        in_front: InFront,
        fade: Fade,
        strength: Strength,
        hair_window: HairWindow,
        at_once: AtOnce,
    ) -> Layer:
        def patch(item: tuple[int, NDArray[np.uint8]]) -> Patch | None:
            row, frame = item
            seen, scalp = hair_window.cut(frame), bare.scalp[row] / np.float32(255)
            front = in_front.alpha[row].astype(np.float32) / 255
            below, changed, scalp = under(
                bare.over(row, seen), bare.changed[row], scalp, seen, front, hair_window.side
            )
            levels = below.astype(np.float32)
            window = window_of(changed[None], hair_window, (frame.shape[1], frame.shape[0]))
            share = min(1.0, float(strength.values[row]))
            if window is None or share == 0:
                return None
            if self.stubble and matte.area[row]:
                area = behind.hair[int(behind.shot[row])]
                here = look(skull, Place.of(head_pose, row), hair_window)
                dense = on_head(area * bristles(), here) * scalp
                hair = lab_to_rgb(torch.from_numpy(matte.mean_lab[row]), dim=0).numpy() * 255
                levels += BRISTLES * self.stubble * dense[..., None] * (hair - levels)
            pixels = frame[window.pixels][None].copy()
            source = unit(torch.from_numpy(pixels))
            drawn = bare.drawn[row] / np.float32(255) * (1 - front) * (changed > 0)
            away = change_of(source, seen, levels, drawn, hair_window, window)
            full = torch.from_numpy(changed)[None, None].float() / 255
            full = spread_grid(full, hair_window, window)
            result = (source + share * away).clamp(0, 1)
            return patch_of(window, pixels, result, full.clamp(0, 1) * (full >= 1 / 255))

        def make(rows: NDArray[np.intp]) -> Iterator[Patch | None]:
            return at_once(patch, frames.numbered(rows))

        return make_layer(frames, track, fade, make)

    @stage()
    def shot_changes(
        self,
        codes: Series[Codes],
        track: Series[FaceTrack],
        space: AttributeSpace | None,
        bald: BaldMapper | None,
    ) -> ShotCodes:
        """One change per shot, from its mean code: hair does not come and go with the pose."""
        means = means_of_shots(codes, track)
        changes = np.zeros_like(means.styles)
        for index in np.unique(means.shot[track.field("present")]):
            mean = torch.from_numpy(means.styles[index])
            changes[index] = towards_bald(mean, space, bald).numpy()
        return ShotCodes(changes, means.shot)

    @stage(version=2, keep=False)
    def bared(
        self, codes: Codes, track: FaceTrack, strength: Strength, shot_changes: ShotCodes
    ) -> Codes:
        return moved(codes, track, strength, shot_changes.styles[shot_changes.shot])


def towards_bald(code: Tensor, space: AttributeSpace | None, bald: BaldMapper | None) -> Tensor:
    """The change of a code [L, D] that takes the hair off, [L, D] or [D]."""
    if bald is None:
        assert space is not None
        return space.towards(code, NO_HAIR)
    device = next(bald.parameters()).device
    with torch.inference_mode():
        change = bald(code[None].to(device)).cpu()
        return add_change(torch.zeros_like(code)[None], change, bald.strength)[0]


def bristles() -> NDArray[np.float32]:
    """How dense stubble is on the head's atlas, [n, n] in 0 … 1."""
    noise = np.random.default_rng(1).random((TEXELS, TEXELS)).astype(np.float32)
    return np.float32(0.35) + np.float32(0.65) * noise
