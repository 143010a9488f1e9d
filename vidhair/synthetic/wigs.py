"""Hairstyles of strands as they lie on a head in general, cut out exactly.

They are worn by people of whom nothing is known but their faces: so the head is larger than most,
and hair falls as if there were no shoulders. H × W pixels.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.synthetic import pigment
from vidhair.synthetic.clips import _place
from vidhair.synthetic.params import SHAPE, FaceParams, sample_faces
from vidhair.synthetic.render import Visible, shade, trace
from vidhair.synthetic.shape import Points
from vidhair.synthetic.strand_render import (
    OVERSAMPLE,
    Bald,
    Pigment,
    Wig,
    reduced,
    standing_points,
)
from vidhair.synthetic.strands import STRAND_STYLES, Strands, StrandStyle, grow_strands

Picture = NDArray[np.uint8]
Plane = NDArray[np.float32]

SEED = 4
SIZE, SCALE = (720, 900), 0.72  # of the picture (width, height), and of the person in it
COLOR = (0.36, 0.26, 0.18)  # in which strands show shine and shade alike
# A head that is larger than most, and a face that is no longer.
HEAD = {"cranium_height": 8.5, "cranium_width": 1.0, "chin_length": -1.5}
LIGHT = {"light_azimuth": 0.25, "light_elevation": 0.65, "light_strength": 1.0}
LOOK = {"melanin": 0.2, "redness": 0.0, "hairline": 0.0}
FRONT, BEHIND = 0, 1
LIT = 0.35  # how far hair behind a neck is as light as the rest
MOSTLY = 0.5  # alpha from which on hair in front has its own color
LONG_TOP, BACKWARDS = 0.5, (0.0, -1.0)  # length from which on hair below is combed so
SHORTER = 0.6  # than hair, at least, is that below it
BACK = -0.35  # z of roots behind which hair falls behind shoulders
LONGER_ON_TOP = 0.55  # than at the sides, hair is that ends at one height


def hanging(style: StrandStyle, down: float) -> StrandStyle:
    """A style whose hair ends so far below the ears, in head units."""
    return replace(style, sides=down, top=down + LONGER_ON_TOP)


def _style(base: str, **changes: Any) -> StrandStyle:
    return replace(STRAND_STYLES[base], **changes)


# Strands of a lock turn together only if they are of one length: else curls blur to wool.
RINGLETS: dict[str, Any] = {
    "curl": 0.048, "curl_length": 0.32, "clumps": 280, "clumping": 1.0, "frizz": 0.004,
    "spread": 0.03, "volume": 0.27,
}  # fmt: skip
FRINGE: dict[str, Any] = {"fringe": 0.45, "comb": (0.1, 1.0)}
# By names that barbers have for them.
HAIRSTYLES = {
    "buzz": _style("buzz", count=110000, width=0.0028, top=0.07, sides=0.06),
    "crop": STRAND_STYLES["crop"],
    "fade": _style("fade", count=60000, width=0.0024),
    "slick": _style(
        "swept", top=0.5, sides=0.14, fade=(0.3, 0.9), lift=0.3, comb=(0.15, -1.0), volume=0.1
    ),
    "swept": _style(
        "swept", top=0.45, fade=(0.45, 0.9), lift=0.5, comb=(0.7, -0.3), volume=0.12
    ),
    "pixie": _style(
        "crop", top=0.45, sides=0.22, lift=0.45, comb=(0.5, 0.9), fringe=0.4, volume=0.12
    ),
    "parted": STRAND_STYLES["parted"],
    "bob": _style("bob", part=-0.25),
    "bob_fringe": _style("bob", **FRINGE),
    "long": _style("long", part=-0.2),
    "long_fringe": _style("long", **FRINGE),
    "wavy": STRAND_STYLES["wavy"],
    "curls": replace(
        _style("curly", **RINGLETS), count=26000, top=0.6, sides=0.3, clumps=420, curl=0.04,
        curl_length=0.26,
    ),
    "curly": _style("curly", **RINGLETS),
    "afro": STRAND_STYLES["afro"],
}  # fmt: skip


@dataclass(frozen=True)
class WigPicture:
    """picture: uint8 [H, W, 3], of somebody who wears it. levels: uint8 [H, W, 3], of the hair
    alone; alpha: float32 [H, W], of what falls before the shoulders, and is not hidden by face and
    neck; behind: float32 [H, W], of all of it. skin: float32 [H, W], of face and neck."""

    picture: Picture
    levels: Picture
    alpha: Plane
    behind: Plane
    skin: Plane


class _Bust(Bald):
    """A head on a neck."""

    def distances(self, p: Points) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        skin, none, _ = super().distances(p)
        return skin, none, none


@torch.inference_mode()
def wig(style: StrandStyle) -> WigPicture:
    """Render a hairstyle; the same style always looks the same."""
    faces = _model()
    hair = grow_strands(faces, replace(style, flyaway=0.0), SEED, clothed=False)
    seen = trace(faces, _place(0, 0, 0, SCALE, *SIZE).finer(OVERSAMPLE), _Bust(faces))
    back = hair.points[:, 0, 2] < BACK
    parts = [
        (_some(hair, ~back), FRONT),
        (_some(hair, back), BEHIND),
        (_undercoat(faces, style), FRONT),
    ]
    grown = Wig(seen, [(part, standing_points(part, faces), kind) for part, kind in parts])
    dye = Pigment(color=COLOR)
    front, whole = (grown.drawn([(dye, dye)], through) for through in (False, True))
    face = pigment.linear(shade(grown.shadowed, faces).image[0].movedim(0, -1).numpy())
    picture = front.light.sum(0) + front.clear[..., None] * face
    alpha, color = _layer(front.light[FRONT], front.amount[FRONT])
    behind, deep = _layer(whole.light.sum(0), whole.amount.sum(0))
    bare = reduced((front.clear * _hit(seen))[..., None])[..., 0]
    mean = (deep * behind[..., None]).sum((0, 1)) / behind.sum()
    deep += LIT * (mean - deep)
    levels = np.where(alpha[..., None] > MOSTLY, color, deep)
    return WigPicture(_levels(reduced(picture)), _levels(levels), alpha, behind, bare.clip(0, 1))


def _model() -> FaceParams:
    """Somebody without features of their own, bald."""
    faces = sample_faces(1, torch.Generator().manual_seed(SEED), style="bald", neutral=True)
    mean = dict.fromkeys(SHAPE, 0.0)
    return faces.replace(**(mean | HEAD | LOOK | LIGHT))


def _undercoat(faces: FaceParams, style: StrandStyle) -> Strands:
    """Short hair below the rest, which hides the scalp: below long hair it leaves the forehead."""
    short = replace(
        style, count=40000, points=6, width=0.003, top=min(0.2, SHORTER * style.top),
        sides=min(0.15, SHORTER * style.sides), lift=0.25, volume=0.04, clumping=0.0, fringe=0.0,
        wave=0.0, curl=0.0, flyaway=0.0, comb=BACKWARDS if style.top > LONG_TOP else style.comb,
    )  # fmt: skip
    return grow_strands(faces, short, SEED + 1)


def _hit(seen: Visible) -> NDArray[np.bool_]:
    """Where somebody is seen."""
    found = np.zeros(seen.view.height * seen.view.width, bool)
    found[seen.index[0][seen.hit[0]].numpy()] = True
    return found.reshape(seen.view.height, seen.view.width)


def _some(strands: Strands, chosen: NDArray[np.bool_]) -> Strands:
    return Strands(*(getattr(strands, f.name)[chosen] for f in fields(Strands)))


def _layer(light: NDArray[np.float32], amount: Plane) -> tuple[Plane, NDArray[np.float32]]:
    """How far hair covers, [H, W], and its color, [H, W, 3], of those at OVERSAMPLE, whose light is
    multiplied by it."""
    share = reduced(amount[..., None])
    return share[..., 0].clip(0, 1), reduced(light) / np.maximum(share, 1e-6)


def _levels(light: NDArray[np.float32]) -> Picture:
    found: Picture = np.rint(255 * pigment.srgb(light.clip(0, 1))).astype(np.uint8)
    return found
