"""What changes of a drawn face do to the points of its mesh, and to the colors around them.

P points of the mesh, A attributes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vidhair.checkpoints.packs import PackFiles
from vidhair.errors import PackDamaged
from vidhair.geometry import crop_axes
from vidhair.imaging.blur import blur
from vidhair.imaging.color import levels_to_lab
from vidhair.models.faces.landmarks import POINTS, FaceMesh, Landmarks, eyes_and_mouth
from vidhair.models.faces.regions import Region

TINT_BLUR = 0.025  # of the colors, in crop sides
STRONGEST_TINT = 8.0  # change of Lab


@dataclass(frozen=True)
class Effect:
    """On a face that is seen from the front. face: [P, 2], the points in sides of its crop, from
    the middle. moved: [P, 2], in the same unit; tinted: [P, 3], change of Lab; all float32."""

    face: NDArray[np.float32]
    moved: NDArray[np.float32]
    tinted: NDArray[np.float32]

    def times(self, amount: float) -> "Effect":
        return Effect(self.face, self.moved * np.float32(amount), self.tinted * np.float32(amount))


@dataclass(frozen=True)
class FaceEffects:
    """Of attributes, per unit. names: A of them. face: [P, 2]; moved: [A, P, 2]; tinted:
    [A, P, 3], as those of an `Effect`."""

    names: tuple[str, ...]
    face: Tensor
    moved: Tensor
    tinted: Tensor

    def __post_init__(self) -> None:
        count = len(self.names)
        assert self.face.shape == (POINTS, 2)
        assert self.moved.shape == (count, POINTS, 2) and self.tinted.shape == (count, POINTS, 3)

    def of(self, name: str) -> Effect | None:
        if name not in self.names:
            return None
        index = self.names.index(name)
        return Effect(self.face.numpy(), self.moved[index].numpy(), self.tinted[index].numpy())

    def tensors(self) -> dict[str, Tensor]:
        return {"face": self.face, "moved": self.moved, "tinted": self.tinted}


def pack_effects(files: PackFiles) -> FaceEffects | None:
    """Those of a pack, if it tells any. Raises PackDamaged."""
    if "effects" not in files.parts:
        return None
    tensors = files.tensors("effects")
    try:
        return FaceEffects(tuple(files.parts["effects"].config["names"]), **tensors)
    except (AssertionError, KeyError, TypeError) as error:
        raise PackDamaged(
            f"the effects of pack {files.name!r} do not fit their names; install the pack again"
        ) from error


# ---- measuring


class EffectReader:
    """Looks at pairs of pictures of one face, without and with a change."""

    def __init__(self) -> None:
        self._finder, self._reader = FaceMesh(still=True), Landmarks(0.3)

    def __call__(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Effect | None:
        """uint8 [S, S, 3] each; None if no face is found. Both meshes are read from the same
        square, so that what the reader errs in is the same, too."""
        seen = self._finder(before)
        if not len(seen):
            return None
        region = Region.of_mesh(seen[0].astype(np.float64))
        old, new = self._reader(before, region), self._reader(after, region)
        return None if old is None or new is None else effect_between(before, after, old, new)

    def close(self) -> None:
        self._finder.close()
        self._reader.close()


def effect_between(
    before: NDArray[np.uint8],
    after: NDArray[np.uint8],
    old: NDArray[np.float32],
    new: NDArray[np.float32],
) -> Effect:
    """Of a face whose meshes [P, 2] in two pictures are known."""
    axes = crop_axes(*eyes_and_mouth(old))
    face, changed = axes.locate(old.astype(np.float64)), axes.locate(new.astype(np.float64))
    reach = TINT_BLUR * float(axes.side)
    tinted = colors_at(after, new, reach) - colors_at(before, old, reach)
    return Effect(*(part.astype(np.float32) for part in (face, changed - face, tinted)))


def typical(effects: list[Effect]) -> Effect:
    """What they have in common: the median, of tints no more than STRONGEST_TINT."""
    face, moved, tinted = (
        np.median([getattr(effect, name) for effect in effects], axis=0).astype(np.float32)
        for name in ("face", "moved", "tinted")
    )
    return Effect(face, moved, tinted.clip(-STRONGEST_TINT, STRONGEST_TINT))


def colors_at(
    picture: NDArray[np.uint8], points: NDArray[Any], reach: float
) -> NDArray[np.float64]:
    """Lab around points [P, 2] of a picture, blurred by `reach` pixels, [P, 3]."""
    lab = levels_to_lab(torch.from_numpy(picture.copy())[None])
    return at_points(blur(lab, reach), points)


def at_points(values: Tensor, points: NDArray[Any]) -> NDArray[np.float64]:
    """What a picture [1, C, h, w] holds at points [P, 2] in pixels, [P, C]."""
    size = torch.tensor(values.shape[:1:-1])
    grid = torch.from_numpy(np.asarray(points, np.float64)) * 2 / size - 1
    found = F.grid_sample(
        values, grid.to(values)[None, None], padding_mode="border", align_corners=False
    )
    at: NDArray[np.float64] = found[0, :, 0].t().double().numpy()
    return at


# ---- which part of a face a word names

_LIPS = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
    78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 95, 88, 178, 87, 14, 317, 402, 318, 324,
)  # fmt: skip
_JAW = (152, 148, 176, 149, 150, 136, 172, 377, 400, 378, 379, 365, 397)
_BROWS = (
    70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 336, 296, 334, 293, 300, 276, 283, 282, 295, 285,
)  # fmt: skip
_EYES = (33, 145, 159, 133, 153, 158, 263, 374, 386, 362, 380, 385, *range(468, POINTS))
_NOSE = (1, 2, 4, 5, 6, 45, 48, 64, 98, 168, 195, 197, 275, 278, 294, 327)
_CHEEKS = (50, 101, 118, 123, 187, 205, 280, 330, 347, 352, 411, 425)
PARTS: dict[str, tuple[int, ...]] = {
    "smile": (*_LIPS, *_CHEEKS), "smiling": (*_LIPS, *_CHEEKS),
    "lip": _LIPS, "lips": _LIPS, "mouth": (*_LIPS, *_JAW), "jaw": _JAW, "chin": _JAW,
    "brow": _BROWS, "brows": _BROWS, "eyebrow": _BROWS, "eyebrows": _BROWS,
    "eye": _EYES, "eyes": _EYES, "blink": _EYES, "nose": _NOSE, "cheek": _CHEEKS,
    "cheeks": _CHEEKS,
}  # fmt: skip
REACH = 0.07  # around a part that moves with it, in crop sides


def part_of(name: str) -> tuple[int, ...]:
    """Points of the part of the face that an attribute's name tells, such as "brow_raise" or
    "Narrow_Eyes"; none if it tells none."""
    words = "".join(c if c.isalpha() else " " for c in name.lower()).split()
    return next((PARTS[word] for word in words if word in PARTS), ())


def local(effect: Effect, part: tuple[int, ...]) -> Effect:
    """What an effect does to a part of the face, beside what becomes of the rest: a generator that
    makes a mouth smile makes the face longer, too."""
    away = np.linalg.norm(effect.face[:, None] - effect.face[list(part)][None], axis=-1).min(1)
    near = np.exp(-0.5 * (away / REACH) ** 2)[:, None]
    known = np.concatenate([effect.face, np.ones((len(near), 1))], 1)
    weight = np.sqrt(1 - near)
    rest, *_ = np.linalg.lstsq(known * weight, effect.moved * weight, rcond=None)
    moved = (effect.moved - known @ rest) * near
    return Effect(effect.face, moved.astype(np.float32), (effect.tinted * near).astype(np.float32))
