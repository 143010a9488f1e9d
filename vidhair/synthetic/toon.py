"""Rendered faces as cartoons: the same parameters, drawn flat, and so exact pairs.

A person of the world keeps pose, expression, light, colors and hairstyle. What changes is how they
are drawn: light falls in bands, materials have one color each, hair is a few simple masses, lines
run where something ends, and eyes, noses and chins have a cartoon's proportions.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.synthetic import shape
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.render import (
    BACKGROUND,
    CLOTHES,
    EYE,
    HAIR,
    SKIN,
    Noise,
    RenderedTruth,
    View,
    Visible,
    World,
    assembled,
    background,
    dot,
    hair_color,
    skin_color,
    trace,
    unit,
)
from vidhair.synthetic.shape import Head, Points, ramp

LEAP = 0.13  # of the depth from one pixel to those around, in head units, where a line runs
SPARSE = 0.02  # volume from which on hair is a mass, and not skin that shows through
GLOSS_FROM = 0.10  # sheen of hair that becomes a stripe of light
BACKGROUND_BANDS = 3


@dataclass(frozen=True, kw_only=True)
class ToonLook:
    """How a cartoon is drawn.

    bands: of light on a surface. soft: 0 hard borders … 1 none. line: width of lines in head units,
    0 for none. ink: 0 … 1, how dark they are. shade: light of the darkest band, of the brightest's.
    chroma: a factor. locks: 0 … 1, how much of the waves and locks of hair stays. tall: a factor of
    the height of eyes. eyes, chin, jaw, nose, brows, lips: what is added to those sizes, in
    standard deviations of the population.
    """

    bands: int
    soft: float
    line: float
    ink: float
    shade: float
    chroma: float
    locks: float
    tall: float
    eyes: float
    chin: float = -1.5
    jaw: float = -1.5
    nose: float = -1.2
    brows: float = 1.0
    lips: float = -0.8


LOOKS = {
    "cel": ToonLook(
        bands=2, soft=0.05, line=0.018, ink=0.85, shade=0.66, chroma=1.2, locks=0.35, tall=1.5,
        eyes=3.5,
    ),
    "comic": ToonLook(
        bands=3, soft=0.0, line=0.03, ink=1.0, shade=0.5, chroma=1.45, locks=0.6, tall=1.3,
        eyes=2.0,
        chin=-0.5, jaw=-0.5, nose=-0.6,
    ),
    "doll": ToonLook(
        bands=4, soft=0.8, line=0.0, ink=0.0, shade=0.6, chroma=1.1, locks=0.2, tall=1.8,
        eyes=5.0, chin=-2.0,
        jaw=-2.0, nose=-2.0,
    ),
}  # fmt: skip


def drawn(faces: FaceParams, look: ToonLook) -> FaceParams:
    """The same people with a cartoon's proportions."""
    return faces.replace(
        eye_size=faces.eye_size + look.eyes,
        chin_length=faces.chin_length + look.chin,
        jaw_width=faces.jaw_width + look.jaw,
        nose_width=faces.nose_width + look.nose,
        nose_length=faces.nose_length + look.nose / 2,
        nose_projection=faces.nose_projection + look.nose,
        brow_thickness=faces.brow_thickness + look.brows,
        lip_thickness=faces.lip_thickness + look.lips,
        hair_wave=faces.hair_wave * look.locks,
    )


def toon_head(head: Head, look: ToonLook) -> Head:
    return replace(head, eye_height=look.tall * head.eye_height)


class ToonWorld(World):
    """Heads whose hair is smooth masses: without the waves, curls and locks that `shape.ruffled`
    cuts into it, but for their share that a look keeps."""

    def __init__(self, faces: FaceParams, look: ToonLook):
        super().__init__(faces)
        self.locks, self.head = look.locks, toon_head(self.head, look)

    def distances(self, p: Points) -> tuple[Tensor, Tensor, Tensor]:
        q, h = self.to_head(p), self.head
        skin = shape.union(shape.skin(q, h), shape.neck(*p), 0.10)
        mass = shape.union(shape.cap(q, h, shape.hairline(q, h), h["hair_volume"]),
                           shape.curtain(q, h), 0.16)  # fmt: skip
        mass = shape.union(mass, shape.fringe(q, h), 0.10)
        mass = shape.union(mass, shape.bun(q, h), 0.12)
        mass = torch.lerp(mass, shape.ruffled(mass, q, h), self.locks)
        hair = torch.where(h["hair_volume"] > SPARSE, mass, shape.NOWHERE)
        return skin, hair, shape.clothes(*p)


class Even(Noise):
    """In place of textures: none."""

    def __init__(self) -> None:
        pass

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        return torch.full_like(u, 0.5)


def trace_toon(faces: FaceParams, view: View, look: ToonLook) -> Visible:
    """As `trace`, of people `drawn` in a look."""
    return trace(faces, view, ToonWorld(faces, look))


def shade_toon(
    seen: Visible, faces: FaceParams, look: ToonLook, *, reduce: int = 1, wall: View | None = None
) -> RenderedTruth:
    """As `shade`. faces: as they were traced, in any colors."""
    rgb, material, covered = _paint(seen, toon_head(shape.head_of(faces), look), look)
    behind = _flat_background(wall or seen.view, faces)
    ink = 1 - look.ink * _lines(seen, material, look.line) if look.line else None
    return assembled(seen, faces, rgb, material, covered, behind, reduce, ink)


def render_toon(
    faces: FaceParams, view: View, look: ToonLook, *, oversample: int = 2
) -> RenderedTruth:
    """The cartoon of what `render` shows of faces in the same view."""
    faces = drawn(faces, look)
    seen = trace_toon(faces, view.finer(oversample), look)
    return shade_toon(seen, faces, look, reduce=oversample)


def banded(light: Tensor, bands: int, soft: float) -> Tensor:
    """0 … 1 in so many equal steps, with borders that take a share of them."""
    scaled = light.clamp(0, 1) * bands
    step = scaled.floor().clamp(max=bands - 1)
    rise = ramp(1 - max(soft, 1e-3), 1.0, scaled - step)
    return ((step + rise) / bands).clamp(0, 1)


def _paint(seen: Visible, h: Head, look: ToonLook) -> tuple[Tensor, Tensor, Tensor]:
    """Colors [B, 3, M], material [B, M] and hair coverage [B, M] of the seen points."""
    p, normal, light, even = seen.point, seen.normal, seen.light, Even()
    q = seen.world.to_head(p)
    half = unit(tuple(a - b for a, b in zip(light, seen.direction, strict=True)))
    skin_rgb, _, _, is_eye = skin_color(h, q, light, even)
    strand, sheen, _ = hair_color(seen.world, h, q, normal, half, even)

    # Hair too short for a mass is a flat color on the scalp.
    short = (shape.hairline(q, h) > 0) & (h["hair_volume"] > 0.004) & ~seen.on_clothes
    covered = (seen.on_hair | short).to(strand.dtype)
    stripe = ramp(GLOSS_FROM - 0.02 - 0.05 * look.soft, GLOSS_FROM, sheen)
    strand = strand * (1 + 0.45 * stripe[:, None]) + 0.05 * stripe[:, None]
    cloth = h["clothes_colour"][:, :, None].expand_as(skin_rgb)
    rgb = torch.where(covered[:, None] > 0, strand, skin_rgb)
    rgb = torch.where(seen.on_clothes[:, None], cloth, rgb)

    fall = (dot(normal, light) + 0.35) / 1.1 * (0.35 + 0.65 * seen.shadow)
    fall = fall * (0.6 + 0.4 * seen.occlusion)
    lit = look.shade + (1 - look.shade) * banded(fall, look.bands, look.soft)
    eye = is_eye & (covered == 0) & ~seen.on_clothes
    lit = torch.where(eye, 0.9 + 0.1 * lit, lit)  # eyes stay bright
    warm = 0.05 * h["light_warmth"]
    tint = torch.stack([1 + warm, torch.ones_like(warm), 1 - warm], 1)
    rgb = rgb * lit[:, None] * tint * (0.6 + 0.42 * h["light_strength"])[:, None]
    grey = (rgb * rgb.new_tensor([0.3, 0.59, 0.11])[:, None]).sum(1, keepdim=True)
    rgb = (grey + look.chroma * (rgb - grey)).clamp(0, 1)

    material = torch.where(covered > 0, HAIR, SKIN)
    material = torch.where(eye, EYE, material)
    return rgb, torch.where(seen.on_clothes, CLOTHES, material), covered


def _flat_background(view: View, faces: FaceParams) -> Tensor:
    """[B, 3, H·W]: the wall of `background`, in bands."""
    low, high = faces.background_edge[:, :, None], faces.background_centre[:, :, None]
    span = high - low
    share = (background(view, faces) - low) * span.sign() / span.abs().clamp_min(1e-3)
    middle = (share.mean(1, keepdim=True) * BACKGROUND_BANDS).floor() / (BACKGROUND_BANDS - 1)
    return low + span * middle.clamp(0, 1)


def _lines(seen: Visible, material: Tensor, width: float) -> Tensor:
    """[B, 1, H·W] in 0 … 1: where another material begins, or what lies much further back."""
    view, batch = seen.view, len(material)
    pixel = float(view.matrix[:, :, 0].norm(dim=1).mean())
    side = max(2, round(width / pixel) + 1)
    kinds = seen.hit.new_full((batch, view.height * view.width), BACKGROUND, dtype=torch.float)
    depth = torch.full_like(kinds, float(seen.point[2].min()))
    kinds.scatter_(1, seen.index, torch.where(seen.hit, material.float(), BACKGROUND))
    depth.scatter_(1, seen.index, torch.where(seen.hit, seen.point[2], depth[:, :1]))
    kinds, depth = (x.view(batch, 1, view.height, view.width) for x in (kinds, depth))

    def spread(x: Tensor) -> Tensor:
        around = F.pad(x, ((side - 1) // 2, side // 2) * 2, mode="replicate")
        return F.max_pool2d(around, side, 1) + F.max_pool2d(-around, side, 1)

    leap = spread(depth) > LEAP * side / 3
    return ((spread(kinds) > 0) | leap).flatten(2).to(depth.dtype)
