"""What a new hair color did to a clip, told without knowing what it should look like.

Hair is where a segmenter says so, as a probability for every pixel; what lies around it is named by
the landmarks of the face. Distances are in pixels of the frame.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter, minimum_filter, uniform_filter

from vidhair.imaging.color import delta_e_2000, levels_to_lab
from vidhair.models.faces.landmarks import FACE_OVAL, POINTS
from vidhair.models.parsers.face_parser import polygon_mask

NO_HAIR, HAIR = 0.02, 0.95  # probabilities below and above which a pixel is surely none, or hair
AWAY = 6  # from hair, where nothing may change
INSIDE = 2  # from the border of what is surely hair
SEEN = 4.0  # CIEDE2000 from which a change is seen at once
CHANGED = 2.0  # CIEDE2000 from which hair counts as covered by the new color
MOST_OF_THE_WAY = 0.6
CLOSE = 2.3  # in a and b: a difference that is just noticed, so a color that is reached
WINDOW = 9  # side of the windows of local contrast
BAND = 8  # on either side of the border
LIGHTER = 3.0  # in L, than both sides of the border
TILE = 32  # of a border's neighborhood: the tile of a pixel and those around it
FEW = 16  # pixels, below which they tell nothing about a side
REGIONS = ("face", "beard", "ear", "neck", "clothes", "person", "background")

Mask = NDArray[np.bool_]
Levels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Leak:
    """What became of pixels that should stay. change: their mean CIEDE2000 difference to the
    source. seen: share of them above SEEN. pixels: how many there are, in all frames."""

    change: float
    seen: float
    pixels: int


@dataclass(frozen=True)
class Recoloring:
    """Numbers of a recolored clip; NaN where nothing was there to be measured.

    leak: away from hair, of all and by region. progress: share of pixels inside that went
    MOST_OF_THE_WAY to the wanted a and b. contrast: local deviation of L inside, over the source's.
    halo: share of pixels of the band around the border that the edit made lighter than both sides.
    flicker: change from frame to frame inside, over the source's. coverage: share of all hair that
    CHANGED. boil: mean change from frame to frame, in the band, of how much is edited (0 … 1).
    hair: share of the frames that is hair.
    """

    leak: Leak
    regions: Mapping[str, Leak]
    progress: float
    contrast: float
    halo: float
    flicker: float
    coverage: float
    boil: float
    hair: float


@dataclass
class _Sums:
    """Sums and counts by name."""

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, values: NDArray[np.generic]) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + float(values.sum(dtype=np.float64))
        self.counts[name] = self.counts.get(name, 0) + values.size

    def mean(self, name: str) -> float:
        count = self.counts.get(name, 0)
        return self.sums[name] / count if count else float("nan")

    def leak(self, name: str) -> Leak:
        change, seen = self.mean(f"{name} change"), self.mean(f"{name} seen")
        return Leak(change, seen, self.counts.get(f"{name} change", 0))


@dataclass(frozen=True)
class _Frame:
    source: Floats
    edited: Floats
    inside: Mask
    band: Mask
    share: Floats


class RecoloringMeter:
    """Takes a clip frame by frame, so that memory holds two of them.

    target: a and b that are wanted, [2]; None for the mean of the change of each frame.
    """

    def __init__(self, target: Sequence[float] | None = None):
        self._target = None if target is None else np.array(target, np.float32)
        self._all = _Sums()
        self._before: _Frame | None = None

    def cut(self) -> None:
        """What comes next is another shot."""
        self._before = None

    def add(
        self,
        source: Levels,
        edited: Levels,
        prior: Floats,
        regions: Mapping[str, Mask] | None = None,
    ) -> None:
        """One frame. source, edited: uint8 [H, W, 3]. prior: probability of hair, [H, W].
        regions: masks [H, W] by name, as of `regions_of`."""
        old, new = (levels_to_lab(torch.from_numpy(f)[None])[0].numpy() for f in (source, edited))
        apart = np.zeros(prior.shape, np.float32)
        moved = (source != edited).any(-1)
        apart[moved] = _difference(old[:, moved], new[:, moved])

        away = maximum_filter(prior, 2 * AWAY + 1) < NO_HAIR
        self._leak("all", apart[away])
        for name, mask in (regions or {}).items():
            self._leak(name, apart[away & mask])

        hair, sure = prior > 0.5, prior > HAIR
        inside = minimum_filter(sure, 2 * INSIDE + 1)
        self._all.add("hair", hair)
        self._all.add("coverage", apart[hair] > CHANGED)
        self._all.add("progress", self._arrived(old[1:, inside], new[1:, inside]))
        within = minimum_filter(sure, WINDOW)
        for name, lab in (("contrast before", old), ("contrast after", new)):
            self._all.add(name, local_contrast(lab[0])[within])

        band = maximum_filter(hair, 2 * BAND + 1) & ~minimum_filter(hair, 2 * BAND + 1)
        limit = lightest_beside(new[0], sure, prior < NO_HAIR, band)
        self._all.add("halo", (new[0] > limit + LIGHTER)[band] & (new[0] > old[0])[band])

        usual = np.median(apart[inside]) if inside.any() else 0.0
        share = np.clip(apart / max(float(usual), 1.0), 0, 1)
        self._follow(_Frame(old, new, inside, band, share))

    def _leak(self, name: str, apart: Floats) -> None:
        self._all.add(f"{name} change", apart)
        self._all.add(f"{name} seen", apart > SEEN)

    def _arrived(self, old: Floats, new: Floats) -> Mask:
        """Which of the pixels' a and b, [2, N], have gone far enough."""
        change = new - old
        if self._target is None:
            way = change.mean(1, keepdims=True) if change.size else change
            reached = np.zeros(change.shape[1], bool)
        else:
            way = self._target[:, None] - old
            reached = np.hypot(*(self._target[:, None] - new)) <= CLOSE
        square = np.square(way).sum(0)
        far = (change * way).sum(0) >= MOST_OF_THE_WAY * square
        arrived: Mask = reached | (far & (square > CLOSE**2))
        return arrived

    def _follow(self, frame: _Frame) -> None:
        before, self._before = self._before, frame
        if before is None:
            return
        both = frame.inside & before.inside
        for name in ("source", "edited"):
            now, then = getattr(frame, name), getattr(before, name)
            self._all.add(f"flicker {name}", _difference(now[:, both], then[:, both]))
        band = frame.band | before.band
        self._all.add("boil", np.abs(frame.share - before.share)[band])

    def result(self) -> Recoloring:
        found = self._all
        named = [name.removesuffix(" change") for name in found.sums if name.endswith(" change")]
        return Recoloring(
            leak=found.leak("all"),
            regions={name: found.leak(name) for name in named if name != "all"},
            progress=found.mean("progress"),
            contrast=_ratio(found.mean("contrast after"), found.mean("contrast before")),
            halo=found.mean("halo"),
            flicker=_ratio(found.mean("flicker edited"), found.mean("flicker source")),
            coverage=found.mean("coverage"),
            boil=found.mean("boil"),
            hair=found.mean("hair"),
        )


def measure_recoloring(
    source: Iterable[Levels],
    edited: Iterable[Levels],
    prior: Iterable[Floats],
    regions: Iterable[Mapping[str, Mask]] | None = None,
    target: Sequence[float] | None = None,
) -> Recoloring:
    """Of one shot. source, edited: T of uint8 [H, W, 3]; prior: T of [H, W] in 0 … 1; regions: T
    of masks by name; target: wanted a and b, see `RecoloringMeter`."""
    meter = RecoloringMeter(target)
    if regions is None:
        for frame in zip(source, edited, prior, strict=True):
            meter.add(*frame)
    else:
        for with_regions in zip(source, edited, prior, regions, strict=True):
            meter.add(*with_regions)
    return meter.result()


def _difference(a: Floats, b: Floats) -> Floats:
    """CIEDE2000 of Lab [3, N]."""
    found: Floats = delta_e_2000(torch.from_numpy(a), torch.from_numpy(b), dim=0).numpy()
    return found


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


def local_contrast(lightness: Floats) -> Floats:
    """Standard deviation in the window around each pixel, of [H, W]."""
    mean = uniform_filter(lightness, WINDOW)
    square = uniform_filter(np.square(lightness), WINDOW)
    contrast: Floats = np.sqrt(np.maximum(square - np.square(mean), 0))
    return contrast


def lightest_beside(lightness: Floats, hair: Mask, other: Mask, band: Mask) -> Floats:
    """What is light on either side of a border, [H, W], for the pixels of the band around it.

    It is the larger of two 95th percentiles, of what is surely hair and of what is surely none, in
    the tile of a pixel and the eight around it. The band itself does not count, unless one side has
    nothing beyond it; infinite where both sides are empty.
    """
    limit = np.full(lightness.shape, np.inf, np.float32)
    high, wide = lightness.shape
    for top in range(0, high, TILE):
        for left in range(0, wide, TILE):
            tile = slice(top, top + TILE), slice(left, left + TILE)
            if not band[tile].any():
                continue
            near = (
                slice(max(0, top - TILE), top + 2 * TILE),
                slice(max(0, left - TILE), left + 2 * TILE),
            )
            sides = []
            for side in (hair, other):
                beyond = lightness[near][side[near] & ~band[near]]
                found = beyond if beyond.size >= FEW else lightness[near][side[near]]
                if found.size >= FEW:
                    sides.append(np.percentile(found, 95))
            limit[tile] = max(sides, default=np.inf)
    return limit


# ---- what lies around the hair


JAW_LEFT, JAW_RIGHT, CHIN, TOP = 172, 397, 152, 10
CHEEK_LEFT, CHEEK_RIGHT, BELOW_NOSE, BROW = 234, 454, 2, 9
EAR = 0.22  # how far ears stand out beside the oval, in widths of the face
NECK = 0.55  # length, in heights of the face


def regions_of(mesh: NDArray[np.floating[Any]], person: Floats) -> dict[str, Mask]:
    """Masks [H, W] by REGIONS that share no pixel, whether there is hair or not.

    mesh: [478, 2] in pixels; NaN for no face, where all of the person is "person". person:
    probability [H, W]. "beard": of the face, all from below the nose on; "ear": of the person, what
    lies beside the oval between brows and jaw; "neck": below the jaw, half a face long; "clothes":
    the rest of the person below the chin.
    """
    assert mesh.shape == (POINTS, 2), f"mesh is {mesh.shape}"
    high, wide = person.shape
    left = person > 0.5
    found = {name: np.zeros((high, wide), bool) for name in REGIONS}
    found["background"] = ~left
    if not np.isfinite(mesh).all():
        return found | {"person": left}

    def take(name: str, where: Mask, of: Mask) -> None:
        found[name] = where & of
        of &= ~where

    across, up = mesh[CHEEK_RIGHT] - mesh[CHEEK_LEFT], mesh[TOP] - mesh[CHIN]
    rows, columns = np.mgrid[:high, :wide].astype(np.float32) + 0.5
    height = (columns - mesh[CHIN, 0]) * up[0] + (rows - mesh[CHIN, 1]) * up[1]

    def of(point: int) -> float:
        """How high a landmark lies above the chin, in the units of `height`."""
        return float((mesh[point] - mesh[CHIN]) @ up)

    oval = polygon_mask(mesh[list(FACE_OVAL)], high, wide) > 0.5
    found["background"] &= ~oval
    left |= oval
    take("beard", oval & (height < of(BELOW_NOSE)), left)
    take("face", oval, left)
    jaw = min(of(JAW_LEFT), of(JAW_RIGHT))
    ends = mesh[CHEEK_LEFT] - EAR * across, mesh[CHEEK_RIGHT] + EAR * across
    along = [(columns - x) * across[0] + (rows - y) * across[1] for x, y in ends]
    beside = (along[0] > 0) & (along[1] < 0) & (height > jaw) & (height < of(BROW))
    take("ear", beside, left)
    corners = mesh[[JAW_LEFT, JAW_RIGHT]]
    neck = np.concatenate([corners, corners[::-1] - NECK * up])
    take("neck", polygon_mask(neck, high, wide) > 0.5, left)
    take("clothes", height < 0, left)
    return found | {"person": left}
