"""People of the second world whose hair is strands: shaven first, then grown anew.

What they wear, their ears, beards and light are those of `people`; the matte is exact.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F

from vidhair.synthetic import pigment
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.people import NO_HAT, PLANES, Looks, People, Portrait, paint
from vidhair.synthetic.render import Visible
from vidhair.synthetic.strand_render import BEARD, HAIR, Pigment, Wig, standing_points
from vidhair.synthetic.strands import (
    BEARD_STYLES,
    STRAND_STYLES,
    Strands,
    StrandStyle,
    grow_strands,
)

FEWER = 0.3  # strands of long hair, as a share of what styles say: portraits are small
SHORT = 10  # points of a strand, up to which hair is short
THICKER = 1.2
LONG = 1.75  # times as likely as short hair
FRINGED = 0.35  # of those with a parting
CURLED = 0.35  # of those with long hair, beside those whose style it is
BEARDED = 0.4  # of those with short hair
HAIR_PLANE, BEARD_PLANE = PLANES.index("hair"), PLANES.index("beard")


@dataclass(frozen=True)
class Grown:
    """The hair of one person, and the beard if there is one."""

    hair: Strands
    beard: Strands | None


def shaven(faces: FaceParams, looks: Looks) -> tuple[FaceParams, Looks]:
    """The same person without hair, beard and hat."""
    none = torch.zeros_like(looks.hat)
    looks = replace(looks, hat=none + NO_HAT, beard=none, beard_length=none, moustache=none)
    return faces.replace(hair_volume=0.0), looks


def sample_strands(faces: FaceParams, generator: torch.Generator) -> Grown:
    """Random hair for one face ([1]): a style, varied."""

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    def varied(style: StrandStyle) -> StrandStyle:
        length, density = between(0.75, 1.35), between(0.7, 1.2)
        fewer = FEWER if style.points > SHORT else 1.0
        curled = float(style.part is not None and between(0, 1) < CURLED)
        fringed = style.part is not None and between(0, 1) < FRINGED
        aside, ahead = style.comb
        return replace(
            style,
            count=round(style.count * fewer * density),
            width=style.width * THICKER / fewer,
            top=style.top * length,
            sides=style.sides * length * between(0.85, 1.1),
            comb=(aside + between(-0.9, 0.9), ahead + between(-0.3, 0.4)),
            part=None if style.part is None else between(-0.45, 0.45),
            fringe=between(0.2, 0.7) if fringed else 0.0,
            forward=between(0.0, 0.5),
            volume=style.volume * between(0.7, 1.4) * (1 + 0.4 * curled),
            clumps=max(1, round(style.clumps * between(0.4, 1.2))),
            clumping=min(0.9, style.clumping * between(0.6, 1.4)),
            wave=style.wave * between(0.3, 1.8) + curled * between(0.02, 0.1),
            wave_length=style.wave_length * between(0.6, 1.3),
            curl=style.curl * between(0.6, 1.3) + curled * between(0.0, 0.05),
            curl_length=style.curl_length * (1 + curled * between(0.0, 1.5)),
            frizz=style.frizz * between(0.5, 2),
            flyaway=style.flyaway * between(0.2, 2),
            recede=style.recede * between(0.7, 1.2),
        )

    styles = list(STRAND_STYLES.values())
    weights = torch.tensor([LONG if style.part is not None else 1.0 for style in styles])
    chosen = styles[int(torch.multinomial(weights, 1, generator=generator))]
    seed = int(torch.randint(2**31, (), generator=generator))
    hair = grow_strands(faces, varied(chosen), seed)
    beard = None
    if chosen.part is None and between(0, 1) < BEARDED:
        styles = list(BEARD_STYLES.values())
        chosen = styles[int(torch.randint(len(styles), (), generator=generator))]
        beard = grow_strands(faces, varied(chosen), seed, beard=True)
    return Grown(hair, beard)


def paint_strands(
    seen: Visible, painted: list[tuple[FaceParams, Looks]], grown: Grown, size: tuple[int, int]
) -> list[Portrait]:
    """Portraits of a shaven person, traced, in several colorings, with hair grown on it.

    size: (height, width) in pixels. The hair's own light stays that of the traced person.
    """
    kinds = ((grown.hair, HAIR), (grown.beard, BEARD))
    wig = Wig(seen, [(s, standing_points(s, seen.world.faces), k) for s, k in kinds if s])
    drawn = wig.drawn([_pigments(*who) for who in painted])
    seen, amount = wig.shadowed, drawn.amount
    made = []
    for number, (faces, looks) in enumerate(painted):
        bald = paint(seen, People(faces, looks), (seen.view.height, seen.view.width))
        light = drawn.light[..., 3 * number : 3 * number + 3]
        shown = pigment.srgb(light / np.maximum(amount, 1e-6)[..., None]) * amount[..., None]
        clear = torch.from_numpy(drawn.clear)
        image = bald.image * clear + torch.from_numpy(shown.sum(0)).movedim(-1, 0)
        planes = bald.planes * clear
        for kind, plane in ((HAIR, HAIR_PLANE), (BEARD, BEARD_PLANE)):
            planes[:, plane] += torch.from_numpy(amount[kind])
        whole = torch.cat([image, planes, bald.oval], 1)
        whole = F.interpolate(whole, size=size, mode="area")
        made.append(Portrait(*whole.split([3, len(PLANES), 1], 1)))
    return made


def _pigments(faces: FaceParams, looks: Looks) -> tuple[Pigment, Pigment]:
    """Of hair and beard."""
    grey = float(looks.grey)
    hair, beard = (tuple(c[0].tolist()) for c in (faces.hair_colour, looks.beard_color))
    return Pigment(color=hair, grey=grey), Pigment(color=beard, grey=min(1.0, 1.3 * grey))
