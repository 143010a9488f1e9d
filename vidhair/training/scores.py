"""What a pack sees in faces that its own generator draws, in numbers: labels without a person.

N codes [D] of W; every score is a number per code, NaN where it cannot be told.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.geometry import Grid, crop_axes
from vidhair.imaging.color import levels_to_lab
from vidhair.imaging.warp import cut_grid
from vidhair.models.faces.landmarks import (
    MOUTH_LEFT,
    MOUTH_RIGHT,
    FaceMesh,
    PersonSegmenter,
    eyes_and_mouth,
)
from vidhair.models.generators.sampling import sampled_codes
from vidhair.models.pack import Pack
from vidhair.models.parsers.face_parser import Label
from vidhair.models.parsers.head_parser import Parser
from vidhair.stages.align import turned
from vidhair.stages.difference import pictures_of
from vidhair.stages.labels import parse
from vidhair.stages.region import plan_region

TRUNCATION = 0.7  # of the codes, as those of InterFaceGAN's boundaries for StyleGAN3
SURE = 127  # of 255, from which a pixel is a label's


@dataclass(frozen=True)
class Seen:
    """A drawn face. picture: uint8 [S, S, 3]; mesh: [478, 2]; parse: gives `planes`, when they are
    asked for: [labels, S, S] in 0 … 255."""

    picture: NDArray[np.uint8]
    mesh: NDArray[np.float32]
    parse: Callable[[], NDArray[np.float32]]

    @cached_property
    def planes(self) -> NDArray[np.float32]:
        return self.parse()

    def share(self, label: Label) -> float:
        """Of the picture."""
        return float((self.planes[label] > SURE).mean())

    def lab(self, label: Label) -> NDArray[np.float64]:
        """The mean color [3] of a label; NaN without any."""
        under = self.planes[label] > SURE
        if not under.any():
            return np.full(3, np.nan)
        lab = levels_to_lab(torch.from_numpy(self.picture[under])[None, None])[0, :, 0]
        return np.asarray(lab.double().mean(1))

    def reach(self) -> float:
        """How far down hair goes, as a share of the picture: its lowest twentieth begins there."""
        rows = (self.planes[Label.HAIR] > SURE).sum(1).cumsum()
        return float(np.searchsorted(rows, 0.95 * rows[-1]) / len(rows)) if rows[-1] else 0.0

    def smile(self) -> float:
        """How far the corners of the mouth stand above its middle, in sides of the face's crop."""
        axes = crop_axes(*eyes_and_mouth(self.mesh))
        corners = axes.locate(self.mesh.astype(np.float64))[[MOUTH_LEFT, MOUTH_RIGHT, *LIPS], 1]
        return float(corners[2:].mean() - corners[:2].mean())

    def turn(self) -> float:
        """Of the head aside: 0 from the front."""
        return float(turned(self.mesh, crop_axes(*eyes_and_mouth(self.mesh))))


LIPS = (13, 14)  # the middle of the upper and of the lower one, of the mesh
READ: dict[str, Callable[[Seen], float]] = {
    "seen_hair": lambda seen: seen.share(Label.HAIR),
    "seen_hair_reach": Seen.reach,
    "seen_hair_lightness": lambda seen: float(seen.lab(Label.HAIR)[0]),
    "seen_hair_warmth": lambda seen: float(seen.lab(Label.HAIR)[1:].sum()),
    "seen_skin_lightness": lambda seen: float(seen.lab(Label.SKIN)[0]),
    "seen_smile": Seen.smile,
    "seen_turn": Seen.turn,
}


def known_scores(pack: Pack) -> list[str]:
    """The names of what can be scored: the pack's attributes, and what is seen in pictures."""
    own = [] if pack.attributes is None else list(pack.attributes.names)
    return [*own, *READ]


def check_score(pack: Pack, name: str) -> None:
    """Raises InvalidSetting for a name that is none."""
    if name not in known_scores(pack):
        raise InvalidSetting(
            f"--by {name!r} is nothing that pack {pack.name!r} can tell; it can tell "
            f"{', '.join(known_scores(pack))}"
        )


def drawn_codes(pack: Pack, count: int, seed: int) -> Tensor:
    """[N, D] on the CPU."""
    parts = sampled_codes(pack.generator, count, seed=seed, truncation_psi=TRUNCATION)
    return torch.cat([ws[:, 0].cpu() for ws in parts])


def scores_of(
    pack: Pack, codes: Tensor, name: str, progress: Callable[[int], None] = lambda done: None
) -> NDArray[np.float64]:
    """[N]: of an attribute as the pack reads it in codes [N, D], else of what their pictures show.

    Raises NoFaceFound if half of the pictures show no face.
    """
    space = pack.attributes
    if space is not None and name in space.names:
        return np.asarray(space.read(codes[:, None])[:, space.index([name])[0]].double())
    scores = []
    for done, seen in enumerate(looks_of(pack, codes), 1):
        scores.append(np.nan if seen is None else READ[name](seen))
        progress(done)
    found = np.array(scores)
    if np.isnan(found).mean() > 0.5:
        raise NoFaceFound(
            f"{name} cannot be told in {int(np.isnan(found).sum())} of {len(found)} pictures that "
            f"pack {pack.name!r} draws; give labels, or another --by"
        )
    return found


def looks_of(pack: Pack, codes: Tensor) -> Iterator[Seen | None]:
    """What the pictures of codes [N, D] show; None without a face. To be looked at one by one."""
    generator, look = pack.generator, Looker(pack.parser)
    for code in codes:
        yield look(pictures_of(generator, code.expand(1, generator.config.num_ws, -1))[0])
    look.close()


class Looker:
    """Finds a face in pictures, and what the parser sees of it."""

    def __init__(self, parser: Parser) -> None:
        self._mesh, self._segmenter = FaceMesh(still=True), PersonSegmenter()
        self._parser = parser

    def __call__(self, picture: NDArray[np.uint8]) -> Seen | None:
        """uint8 [S, S, 3]; None without a face."""
        faces = self._mesh(picture)
        if not len(faces):
            return None
        mesh: NDArray[np.float32] = faces[0]
        return Seen(picture, mesh, lambda: self._planes(picture, mesh))

    def _planes(self, picture: NDArray[np.uint8], mesh: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width, _ = picture.shape
        axes = crop_axes(*eyes_and_mouth(mesh[None]))
        region = plan_region(axes, (width, height), self._parser.face_pixels, self._parser.stride)
        planes = parse(picture[None], mesh[None], region, self._parser, self._segmenter)
        whole = cut_grid(torch.from_numpy(planes).float(), Grid.of_pixels(height, width), on=region)
        return whole[0].numpy()

    def close(self) -> None:
        self._mesh.close()
        self._segmenter.close()
