"""The second rendered world: heads as people have them, for what has to tell hair from all else.

The first world (`params`, `shape`, `render`) draws avatars, as its generator needs them. This one
adds, around the same head, what real pictures are full of and what gets mistaken for hair: fades,
stubble, beards, bare crowns, ears that hair leaves free, collars, scarves, hats, hoods, glasses,
headphones, and light from any side.

Parts that nobody in a batch has are not computed: small batches are the quick ones.
"""

import math
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.models.parsers.face_parser import polygon_mask
from vidhair.synthetic import shape
from vidhair.synthetic.params import COLOR, HAIR_STYLES, NATURAL_HAIR, FaceParams, sample_faces
from vidhair.synthetic.render import (
    CAMERA,
    GAMMA,
    PIVOT_Y,
    PIVOT_Z,
    Noise,
    View,
    Visible,
    World,
    dot,
    hair_color,
    noise_on,
    skin_color,
    unit,
)
from vidhair.synthetic.shape import (
    NOWHERE,
    Head,
    Points,
    capsule,
    ellipsoid,
    intersection,
    ramp,
    soft_abs,
    union,
)

NO_HAT, BEANIE, CAP, HOOD, BAND, HEADPHONES, SHAWL, BRIM = range(8)
BARE, CREW, V_NECK, ROLL, SHIRT, SUIT, SCARF = range(7)
NO_GLASSES, GLASSES, SUNGLASSES = range(3)
PLANES = ("skin", "hair", "clothes", "beard", "accessory")  # of a portrait; they sum to at most one

# Styles that the first world has not, by its fields and those of `Looks`.
STYLES: dict[str, dict[str, float]] = {
    "fade": {"volume": 0.11, "sides": 0.12, "fade": 0.55, "free": 1.0, "sideburn": 0.3},
    "skin_fade": {"volume": 0.10, "sides": 0.05, "fade": 0.9, "free": 1.0, "lift": 0.5},
    "crew": {"volume": 0.055, "sides": 0.4, "fade": 0.3, "free": 1.0, "sideburn": 0.5},
    "shaven": {"volume": 0.012, "sides": 1.0, "fade": 0.2, "free": 1.0, "sideburn": 0.6},
    "side_part": {"volume": 0.13, "sides": 0.35, "free": 1.0, "sideburn": 0.6, "lift": 0.4},
    "slick": {"volume": 0.10, "sides": 0.5, "free": 1.0, "sideburn": 0.4, "temple": 0.5},
    "over_ears": {"volume": 0.14, "sides": 0.9, "sideburn": 0.8, "fringe": 0.5},
    "mop": {"volume": 0.2, "sides": 0.6, "free": 0.5, "wave": 0.9, "curl": 0.3, "fringe": 0.6},
    "thinning": {"volume": 0.06, "sides": 0.7, "free": 1.0, "temple": 0.9, "recede": 0.9},
    "ring": {"volume": 0.07, "sides": 0.9, "free": 1.0, "crown": 1.0, "sideburn": 0.5},
    "ponytail": {"volume": 0.06, "tail": 0.8, "free": 1.0},
    "tied": {"volume": 0.05, "bun": 0.7, "free": 1.0, "temple": 0.2},
    "in_front": {"volume": 0.12, "length": 0.9, "front": 0.8},
    "lob": {"volume": 0.13, "length": 0.6, "front": 0.35, "wave": 0.4},
    "long_curls": {"volume": 0.2, "length": 0.75, "wave": 1.0, "curl": 0.25, "front": 0.7},
    "behind_ears": {"volume": 0.10, "length": 0.7, "free": 1.0},
    "big_afro": {"volume": 0.24, "wave": 0.6, "curl": 1.1},
    "high_top": {"volume": 0.16, "sides": 0.1, "fade": 0.6, "free": 1.0, "curl": 0.35, "lift": 1.2},
}
_FACE_FIELDS = ("length", "volume", "wave", "fringe", "bun", "curl", "lift", "recede")


@dataclass(frozen=True)
class Looks:
    """What a person of this world has beside `FaceParams`. Fields are [B], colors [B, 3]."""

    # hair: thickness at the sides (1: as on top), how far up it fades out, ears left free (0, 1),
    # sideburns, temples, bare crown, lengths of a tail and of locks before the shoulders
    sides: Tensor
    fade: Tensor
    free: Tensor
    sideburn: Tensor
    temple: Tensor
    crown: Tensor
    tail: Tensor
    tail_side: Tensor
    front: Tensor
    messy: Tensor
    messy_rate: Tensor
    phase: Tensor
    density: Tensor
    grey: Tensor
    # beard: 0 none … 1 full; how wide (0: chin only); length in head units; stubble 0 … 1
    beard: Tensor
    beard_width: Tensor
    beard_length: Tensor
    moustache: Tensor
    stubble: Tensor
    # body and things worn
    neck_width: Tensor
    shoulders: Tensor
    neckline: Tensor
    collar: Tensor
    hat: Tensor
    hat_low: Tensor
    glasses: Tensor
    # skin
    freckles: Tensor
    wrinkles: Tensor
    # light beside the first: how much comes from everywhere, strength of one from behind
    ambient: Tensor
    rim: Tensor
    beard_color: Tensor
    hat_color: Tensor
    inner_color: Tensor
    rim_color: Tensor

    def __post_init__(self) -> None:
        batch = len(self.sides)
        for f in fields(self):
            want = (batch, COLOR) if f.name.endswith("_color") else (batch,)
            value = getattr(self, f.name)
            assert tuple(value.shape) == want, f"{f.name} is {tuple(value.shape)}, not {want}"

    def __getitem__(self, index: slice) -> "Looks":
        return Looks(*(getattr(self, f.name)[index] for f in fields(self)))


def sample_people(count: int, generator: torch.Generator) -> tuple[FaceParams, Looks]:
    """Random people: any style of either world, in a wider range of poses and light."""

    def uniform(low: float = 0.0, high: float = 1.0, *more: int) -> Tensor:
        return torch.rand(count, *more, generator=generator) * (high - low) + low

    def normal(scale: float = 1.0) -> Tensor:
        return torch.randn(count, generator=generator).clamp(-2.5, 2.5) * scale

    def chance(probability: float) -> Tensor:
        return (uniform() < probability).float()

    def choice(*weights: float) -> Tensor:
        return torch.multinomial(
            torch.tensor(weights, dtype=torch.float32), count, replacement=True, generator=generator
        ).float()

    names = list(STYLES) + list(HAIR_STYLES)
    rows = [STYLES.get(n) or HAIR_STYLES[n] for n in names]
    # As many with long hair as with short.
    weights = torch.tensor(
        [2.5 if row.get("length", 0) + row.get("tail", 0) else 1.0 for row in rows]
    )
    weights *= torch.tensor([1.0] * len(STYLES) + [0.5] * len(HAIR_STYLES))
    style = torch.multinomial(weights, count, replacement=True, generator=generator)

    def of_style(field: str, default: float = 0.0, spread: float = 0.25) -> Tensor:
        values = torch.tensor([row.get(field, default) for row in rows])[style]
        return values * (1 + normal(spread)).clamp_min(0.1)

    faces = sample_faces(count, generator)
    natural = torch.tensor([HAIR_COLORS[n] for n in NATURAL_HAIR])
    dark = torch.tensor([3.0 if n in ("black", "dark brown") else 1.0 for n in NATURAL_HAIR])
    kind = torch.multinomial(dark, count, replacement=True, generator=generator)
    plain = (natural[kind] * uniform(0.5, 1.3)[:, None] + normal(0.015)[:, None]).clamp(0.01, 0.95)
    dyed = chance(0.12)[:, None]
    hair = torch.where(dyed > 0, faces.hair_colour, plain)
    # Beards differ from the hair: darker, redder or greyer.
    greyed = uniform(0, 1) ** 2 * chance(0.4)
    beard = torch.lerp(
        plain * uniform(0.6, 1.1)[:, None], uniform(0.3, 0.85)[:, None], greyed[:, None]
    )
    beard = beard * (1 + uniform(-0.1, 0.25, 1) * torch.tensor([1.0, 0.2, -0.3]))

    length = of_style("length")
    free = torch.tensor([row.get("free", 0.0) for row in rows])[style]
    masculine = (length < 0.3).float() * (uniform() < 0.7).float()
    bearded = masculine * chance(0.45)
    cloth = uniform(0.02, 0.9, 1) * (0.75 + 0.5 * uniform(0, 1, COLOR))
    cloth = torch.where(chance(0.25)[:, None] > 0, hair * uniform(0.6, 1.4, 1), cloth)
    face = faces.replace(
        **{f"hair_{n}": of_style(n) for n in _FACE_FIELDS},
        hair_colour=hair.clamp(0.01, 0.97),
        brow_colour=(plain * 0.6).clamp(0.01, 0.6),
        brow_thickness=normal(1.6),
        ear_size=normal(1.3),
        melanin=uniform() ** 1.2,
        redness=normal(1.5),
        yaw=normal(0.42),  # to 60°
        pitch=normal(0.2),
        light_azimuth=uniform(-2.4, 2.4),
        light_elevation=uniform(-0.4, 1.3),
        light_strength=uniform(0.2, 1.5),
        light_warmth=uniform(-3, 3),
        clothes_colour=cloth.clamp(0.01, 0.95),
    )
    hat = choice(20, 0.7, 0.9, 0.6, 0.5, 0.7, 0.5, 0.5)
    # A hat over long hair leaves it below; under a shawl none is seen.
    looks = Looks(
        sides=of_style("sides", 1.0, 0.2).clamp(0.02, 1.2),
        fade=of_style("fade").clamp(0, 1),
        free=(uniform() < free).float(),
        sideburn=of_style("sideburn", 0.3, 0.5).clamp(0, 1),
        temple=(of_style("temple") + masculine * chance(0.3) * uniform(0, 0.7)).clamp(0, 1.2),
        crown=of_style("crown", 0.0, 0.15),
        tail=of_style("tail"),
        tail_side=choice(1, 1, 1) - 1,
        front=of_style("front"),
        messy=uniform(0, 0.045) * chance(0.7),
        messy_rate=uniform(4, 13),
        phase=uniform(0, 6.28),
        density=torch.where(chance(0.25) > 0, uniform(0.45, 1.0), 1.0),
        grey=uniform(0.1, 0.9) * chance(0.2),
        beard=bearded * uniform(0.5, 1),
        beard_width=torch.where(chance(0.25) > 0, uniform(0.0, 0.4), uniform(0.7, 1.0)),
        beard_length=bearded * chance(0.5) * uniform(0.01, 0.14),
        moustache=masculine * torch.maximum(bearded * chance(0.85), chance(0.08)),
        stubble=masculine * uniform(0, 0.75),
        neck_width=(1.08 + 0.16 * masculine) * (1 + normal(0.1)),
        shoulders=1.25 + normal(0.13),
        neckline=choice(0.8, 2, 1.2, 0.8, 1.6, 1.4, 0.8),
        collar=uniform(0, 1),
        hat=hat,
        hat_low=uniform(0, 1),
        glasses=choice(7, 2.4, 0.5),
        freckles=uniform(0, 1) * chance(0.4),
        wrinkles=uniform(0, 1) * chance(0.5),
        ambient=uniform(0.15, 1.2),
        rim=uniform(0, 1.4) * chance(0.3),
        beard_color=beard.clamp(0.01, 0.9),
        hat_color=torch.where(
            chance(0.3)[:, None] > 0, hair * uniform(0.7, 1.3, 1), uniform(0.02, 0.9, COLOR)
        ).clamp(0.01, 0.95),
        inner_color=torch.lerp(uniform(0.6, 0.95, 1), uniform(0.05, 0.9, COLOR), uniform(0, 1, 1)),
        rim_color=0.7 + 0.5 * uniform(0, 1, COLOR),
    )
    return face, looks


# What does not change the shapes: a traced person is painted several times.
PAINTED_FACE = (
    "melanin", "redness", "lip_redness", "brow_colour", "brow_thickness", "iris_colour",
    "hair_colour", "light_strength", "light_warmth", "clothes_colour",
)  # fmt: skip
PAINTED_LOOKS = (
    "density", "grey", "stubble", "glasses", "freckles", "wrinkles", "ambient", "rim",
    "beard_color", "hat_color", "inner_color", "rim_color",
)  # fmt: skip


def repainted(
    faces: FaceParams, looks: Looks, generator: torch.Generator
) -> tuple[FaceParams, Looks]:
    """The same shapes, poses and places of the lamp in other colors and lights."""
    other_faces, other_looks = sample_people(len(faces), generator)
    painted = {name: getattr(other_faces, name) for name in PAINTED_FACE}
    changed = {name: getattr(other_looks, name) for name in PAINTED_LOOKS}
    return faces.replace(**painted), replace(looks, **changed)


def _any(t: Tensor) -> bool:
    return bool((t != 0).any())


class People(World):
    """`World` with the shapes of `Looks`; hats and things worn count as clothes."""

    def __init__(self, faces: FaceParams, looks: Looks):
        super().__init__(faces)
        self.looks = {f.name: getattr(looks, f.name) for f in fields(looks)}
        self.looks = {n: v[:, None] if v.ndim == 1 else v for n, v in self.looks.items()}
        # How far what is worn leaves the neck free.
        kind, collar = self.looks["neckline"], self.looks["collar"]
        open_ = (kind == BARE) | (kind == CREW) | (kind == V_NECK)
        self.drop = torch.where(open_, 0.05 + 0.45 * collar, 0.15 * collar)

    def distances(self, p: Points) -> tuple[Tensor, Tensor, Tensor]:
        q = self.to_head(p)
        k = self.looks
        skin = shape.skin(q, self.head)
        if _any(k["beard_length"]):
            skin = skin - k["beard_length"] * beard(q, self.head, k)
        skin = union(skin, self._neck(p), 0.10)
        hair = self._hair(q)
        clothes = torch.minimum(self._clothes(p), self._hat(q))
        return skin, hair, clothes

    def _neck(self, p: Points) -> Tensor:
        x, y, z = p
        width = self.looks["neck_width"]
        d = shape.neck(x / width, y, z) * 0.95
        a = soft_abs(x)
        d = union(d, capsule(a, y, z, (0.15, -1.30, -0.45), (1.0, -1.95, -0.45), 0.25, 0.22), 0.2)
        # The chest, seen where the neckline is low.
        return union(d, ellipsoid(x, y + 2.5, z + 0.36, 1.15, 1.05, 0.45), 0.2)

    def scalp(self, p: Points) -> Tensor:
        """How far inside the scalp that bears hair a point lies; negative elsewhere."""
        x, y, z = p
        h, k = self.head, self.looks
        a = x.abs()
        d = shape.hairline(p, h)
        corner = torch.exp(-(((a - 0.42) / 0.17) ** 2)) * ramp(0.35, 0.75, y) * ramp(-0.1, 0.3, z)
        d = d - 0.16 * k["temple"] * corner
        # A sideburn goes down in front of the ear.
        low = -0.02 - 0.38 * k["sideburn"]
        burn = torch.minimum(torch.minimum((z - 0.0) * 0.9, (0.24 - z) * 0.9), y - low)
        burn = torch.minimum(burn, (a - 0.55) * 0.8)
        d = torch.where(k["sideburn"] > 0.05, torch.maximum(d, burn), d)
        if _any(k["free"]):
            d = torch.where(k["free"] > 0, torch.minimum(d, ear_arc(p)), d)
        if _any(k["crown"]):
            d = torch.minimum(
                d, torch.where(k["crown"] > 0, (1.12 - 0.55 * k["crown"] - y) * 0.8, d)
            )
        return d

    def _hair(self, p: Points) -> Tensor:
        x, y, z = p
        h, k = self.head, self.looks
        volume = h["hair_volume"]
        if not _any(volume):
            return torch.full_like(x, NOWHERE)
        thick = volume * (1 - (1 - k["sides"]) * ramp(0.95, 0.45, y))
        d = shape.cap(p, h, self.scalp(p), thick)
        if _any(k["free"]):
            a = x.abs()
            ear = ellipsoid(a - h.cranium_x - 0.06, y - 0.0, z + 0.08, 0.14, 0.23, 0.16)
            d = torch.where(k["free"] > 0, intersection(d, -ear, 0.03), d)
        if _any(h["hair_length"]):
            tube = shape.curtain(p, h)
            if _any(k["free"]):
                behind = torch.maximum(tube, z + 0.22 - 0.25 * ramp(-0.2, -0.8, y))
                tube = torch.where(k["free"] > 0, behind, tube)
            d = union(d, tube, 0.10)
        if _any(h["hair_fringe"]):
            d = union(d, shape.fringe(p, h), 0.06)
        if _any(h["hair_bun"]):
            d = union(d, shape.bun(p, h), 0.08)
        if _any(k["tail"]):
            side = k["tail_side"] * 0.5
            end = (side * 1.5, -0.3 - 1.4 * k["tail"], -0.55 + 0.5 * side.abs())
            tail = capsule(x, y, z, (side * 0.3, 0.35, -1.05), end, 0.17, 0.10)
            d = union(d, torch.where(k["tail"] > 0, tail, NOWHERE), 0.1)
        if _any(k["front"]):
            a = soft_abs(x + 0.05 * torch.sin(4 * y + k["phase"]))
            end = (
                0.62 - 0.2 * k["density"],
                -0.7 - 1.3 * k["front"],
                0.22 * torch.ones_like(volume),
            )
            lock = capsule(a, y, z, (0.70, 0.1, -0.02), end, 0.13, 0.17)
            d = union(d, torch.where(k["front"] > 0, lock, NOWHERE), 0.1)
        d = shape.ruffled(d, p, h)
        if _any(k["messy"]):
            r, s = k["messy_rate"], k["phase"]
            lumps = torch.sin(r * x + 3 * s) * torch.sin(r * y * 0.8 + s) + torch.sin(
                1.7 * r * z + 2 * s + r * 0.6 * y
            )
            d = d + k["messy"] * lumps * (volume / 0.1).clamp(0, 1)
        if _any(k["hat"]):
            under = self._under_hat(p)
            d = torch.maximum(d, under)
        return torch.where(volume > 0.004, d, NOWHERE)

    def _under_hat(self, p: Points) -> Tensor:
        """Positive where a hat presses hair down to nothing."""
        y = p[1]
        k = self.looks
        hat, edge = k["hat"], self._hat_edge(p)
        dome = (hat == BEANIE) | (hat == CAP) | (hat == BRIM)
        none = torch.full_like(y, -NOWHERE)
        d = torch.where(dome, y - edge, none)
        return torch.where(hat == SHAWL, torch.full_like(y, NOWHERE), d)

    def _hat_edge(self, p: Points) -> Tensor:
        """Height of a hat's lower edge: it rises to the front with a cap, less with a beanie."""
        z = p[2]
        k = self.looks
        front = ramp(-0.6, 0.7, z)
        edge: Tensor = 0.08 + 0.22 * k["hat_low"] + (0.22 + 0.18 * k["hat_low"]) * front
        return edge

    def _hat(self, p: Points) -> Tensor:
        x, y, z = p
        h, k = self.head, self.looks
        hat, low = k["hat"], k["hat_low"]
        far = torch.full_like(x, NOWHERE)
        if not _any(hat):
            return far
        a = x.abs()
        edge = self._hat_edge(p)
        dome = intersection(shape.cranium(x, y, z, h, 0.06 + 0.07 * low), edge - y, 0.03)
        slouch = ellipsoid(x, y - 0.75, z + 0.35, 0.80, 0.55 + 0.15 * low, 0.85)
        beanie = union(dome, intersection(slouch, edge + 0.1 - y, 0.05), 0.1)
        top = edge + 0.02 + 0.06 * a * a
        peak = torch.maximum(
            ((a / 0.62) ** 2 + ((z - 0.45) / 0.85) ** 2).sqrt() * 0.6 - 0.6, 0.3 - z
        )
        peak = torch.maximum(peak, (y - top + 0.25 * (z - 0.7)).abs() - 0.03)
        cap = torch.minimum(dome, peak)
        disc = ((a / 1.25) ** 2 + ((z + 0.1) / 1.35) ** 2).sqrt() - 1
        brim = torch.maximum(disc, (y - edge - 0.02 - 0.1 * a * a).abs() - 0.03)
        brim = torch.minimum(dome, brim)
        # A hood or a shawl: a shell around the head and the neck, open before the face.
        shell = shape.cranium(x, y, z, h, 0.16 + 0.1 * low)
        shell = union(shell, capsule(x, y, z, (0, -0.1, -0.3), (0, -1.5, -0.35), 0.80, 0.95), 0.2)
        wide = 0.60 + 0.08 * low
        hole = ((x / wide) ** 2 + ((y + 0.05) / (0.86 - 0.1 * low)) ** 2).sqrt() - 1
        open_ = torch.minimum(-hole * 0.5, z + 0.1)
        hood = intersection(shell, open_, 0.04)
        shawl = shape.cranium(x, y, z, h, 0.13)
        shawl = union(shawl, capsule(x, y, z, (0, -0.3, -0.15), (0, -1.45, -0.25), 0.66, 0.72), 0.2)
        oval = ((x / 0.56) ** 2 + ((y + 0.12) / 0.82) ** 2).sqrt() - 1
        shawl = intersection(shawl, torch.minimum(-oval * 0.5, z + 0.05), 0.04)
        band_at = 0.62 + 0.3 * (z - 0.3) * low
        band = torch.maximum(
            shape.cranium(x, y, z, h, 0.05 + h["hair_volume"]), (y - band_at).abs() - 0.09
        )
        cups = ellipsoid(a - h.cranium_x - 0.1, y, z + 0.1, 0.11, 0.24, 0.20)
        arch = torch.hypot(x, y - 0.15) - (1.05 + h["hair_volume"] * 0.6)
        arch = torch.maximum(torch.maximum(arch.abs() - 0.05, (z + 0.12).abs() - 0.07), 0.1 - y)
        phones = torch.minimum(cups, arch)
        d = far
        shapes = ((BEANIE, beanie), (CAP, cap), (HOOD, hood), (BAND, band), (HEADPHONES, phones),
                  (SHAWL, shawl), (BRIM, brim))  # fmt: skip
        for kind, distance in shapes:
            d = torch.where(hat == kind, distance, d)
        return d

    def _clothes(self, p: Points) -> Tensor:
        x, y, z = p
        k = self.looks
        a = soft_abs(x) / k["shoulders"]
        kind, high = k["neckline"], k["collar"]
        y = y + self.drop
        d = capsule(a, y, z, (0.25, -1.60, -0.40), (1.20, -1.95, -0.45), 0.37, 0.38)
        d = union(d, capsule(a, y, z, (1.25, -1.95, -0.42), (1.45, -3.4, -0.3), 0.36, 0.34), 0.2)
        neck = capsule(a, y, z, (0.35, -1.36, -0.45), (1.1, -1.95, -0.45), 0.27, 0.27)
        d = union(d, torch.where(kind == BARE, NOWHERE, neck), 0.15)
        d = union(d, capsule(a, y, z, (0.1, -2.2, -0.4), (0.95, -2.5, -0.4), 0.5, 0.6), 0.2)
        d = union(d, ellipsoid(x, y + 3.1, z + 0.35, 1.5, 1.9, 0.62), 0.25)
        deep = torch.where(kind == BARE, 0.55 + 0.5 * high, 0.10 + 0.12 * high)
        hole = ellipsoid(x, y + 1.15, z + 0.2, 0.5 + 0.3 * (kind == BARE), 0.2 + deep, 0.8)
        d = intersection(d, -hole, 0.05)
        # A V is cut down the chest; a shirt and a lapel lie around it.
        deep = 1.55 + 0.75 * high
        cut = torch.maximum((y + deep) * 0.35 - a * 0.9, -z) - 0.05
        vee = (kind == V_NECK) | (kind == SHIRT)
        d = torch.where(vee, intersection(d, cut, 0.03), d)
        ring = torch.hypot(torch.hypot(x / k["neck_width"], z + 0.30) - 0.44, (y + 1.28) * 0.55)
        tall = torch.where(kind == ROLL, 0.10 + 0.06 * high, 0.085)
        collar = ring - tall
        collar = torch.where(kind == SCARF, ring - 0.16 - 0.1 * high, collar)
        # Those of shirts and suits are open at the front.
        open_ = torch.maximum(collar, -(torch.hypot(a - 0.0, z - 0.25) - 0.16))
        collar = torch.where(kind == SHIRT, open_, collar)
        worn = (kind == ROLL) | (kind == SHIRT) | (kind == SUIT) | (kind == SCARF)
        return torch.where(worn, union(d, collar, 0.06), d)


def ear_arc(p: Points) -> Tensor:
    """Distance, along the scalp, to the line on which hair is cut around an ear."""
    x, y, z = p
    around = (((y - 0.0) / 0.25) ** 2 + ((z + 0.09) / 0.17) ** 2).sqrt() - 1
    return torch.where(x.abs() > 0.45, around * 0.2, 1.0)


def beard(p: Points, h: Head, k: dict[str, Tensor]) -> Tensor:
    """Where a beard and a moustache grow, 0 … 1."""
    x, y, z = p
    a = x.abs()
    # From before the ear down to the corner of the mouth, and under the jaw to the throat.
    cheek = -0.50 + (a - 0.27) * 1.15 - 0.05 * k["collar"]
    wide = 0.16 + 0.75 * k["beard_width"]
    d = torch.minimum((cheek - y) * 0.8, wide - a)
    d = torch.minimum(d, torch.minimum((y + 1.12) * 0.9, z - 0.02))
    d = torch.minimum(d, (0.03 - y) * 1.0)
    _, upper, lower = shape.mouth_line(x, h)
    mouth = torch.maximum((y - (upper + lower) / 2).abs() - 0.07, a - h.mouth_half * 1.05)
    d = torch.minimum(d, mouth)
    lip = torch.minimum(torch.minimum(h.nose_tip_y - 0.10 - y, y - upper - 0.035), 0.30 - a)
    lip = torch.minimum(lip, z - 0.4)
    lower_face = ramp(-0.02, 0.05, d)
    return torch.maximum(lower_face * (k["beard"] > 0), ramp(-0.01, 0.03, lip) * k["moustache"])


@dataclass(frozen=True)
class Portrait:
    """image [B, 3, H, W] before black, planes [B, 5, H, W] by PLANES, oval [B, 1, H, W] of the
    face; all in 0 … 1."""

    image: Tensor
    planes: Tensor
    oval: Tensor


def oversampled(view: View, factor: float) -> View:
    """The same view with about factor² as many pixels."""
    height, width = round(view.height * factor), round(view.width * factor)
    scale = [view.width / width, view.height / height, 1.0]
    return View(view.matrix * view.matrix.new_tensor(scale), height, width)


def paint(seen: Visible, world: People, size: tuple[int, int]) -> Portrait:
    """The picture of a traced view, made smaller: (height, width) in pixels.

    world: the traced one, or one that differs from it in what `repainted` changes.
    """
    h, k = world.head, world.looks
    noise = noise_on(str(h.cranium_x.device))
    p, normal = seen.point, seen.normal
    q = world.to_head(p)
    x, y, z = q
    facing = dot(normal, seen.light)
    half = unit(tuple(a - b for a, b in zip(seen.light, seen.direction, strict=True)))
    gloss = dot(normal, half).clamp_min(0)

    # Skin: pores, freckles, wrinkles, stubble, beard, glasses.
    skin, spec, power, is_eye = skin_color(h, q, seen.light, noise)
    pores = (noise(x * 34 + 7, y * 34 + z * 9) - 0.5) * 0.16 + (
        noise(x * 7, y * 7 + 40) - 0.5
    ) * 0.12
    skin = skin * (1 + pores[:, None])
    spots = ramp(0.66, 0.8, noise(x * 26 + 3, y * 26 + 9 + z * 8)) * k["freckles"]
    skin = skin * (1 - spots[:, None] * skin.new_tensor([0.2, 0.35, 0.4])[:, None])
    creases = ramp(0.35, 0.0, torch.sin(y * 55 + 2 * torch.sin(x * 5 + k["phase"])).abs())
    creases = creases * ramp(0.36, 0.5, y) * ramp(0.4, 0.6, z) * noise(x * 4, y * 9)
    bags = torch.exp(-((x.abs() - h.eye_x) ** 2 / 0.02 + (y + 0.06) ** 2 / 0.002)) * (z > 0.3)
    folds = torch.exp(-(((x.abs() - 0.26 + 0.35 * (y + 0.45)) / 0.025) ** 2)) * (z > 0.4)
    folds = folds * ramp(-0.15, -0.3, y) * ramp(-0.7, -0.55, y)
    skin = skin * (1 - k["wrinkles"] * (0.3 * creases + 0.3 * bags + 0.35 * folds))[:, None]
    ear = ramp(0.02, 0.08, x.abs() - h.cranium_x) * ((y > -0.25) & (y < 0.3))
    skin = skin * (1 - 0.12 * ear[:, None] * skin.new_tensor([0.0, 1.0, 1.0])[:, None])
    grain = noise(x * 60 + 11, y * 60 + z * 40)
    wide = dict(k, beard=torch.ones_like(k["beard"]), beard_width=torch.ones_like(k["beard"]),
                moustache=torch.ones_like(k["beard"]))  # fmt: skip
    shadow_of_beard = beard(q, h, wide) * k["stubble"] * (0.35 + 0.5 * grain)
    bluish = k["beard_color"][:, :, None] * 0.6 + skin * 0.25
    skin = torch.lerp(skin, bluish, shadow_of_beard[:, None])
    hairy = beard(q, h, k)
    edge = (noise(x * 22, y * 22 + 5 + z * 12) - 0.5) * 0.9
    hairy = ramp(0.25, 0.7, hairy + edge * (hairy > 0) * (hairy < 1)) * (0.72 + 0.28 * grain)
    tuft = noise(torch.atan2(x, z) * 30 + 3, y * 6) * 0.6 + noise(x * 70, y * 25) * 0.5
    tuft = k["beard_color"][:, :, None] * (0.5 + 0.9 * tuft)[:, None]
    hairy = hairy * torch.maximum(k["beard"], k["moustache"] * 0.9)
    hairy = hairy * ~is_eye
    skin = torch.lerp(skin, tuft, hairy[:, None])
    framed, glass = _glasses(q, h, k)
    skin = torch.lerp(skin, 0.25 * k["hat_color"][:, :, None].expand_as(skin), framed[:, None])
    skin = torch.lerp(
        skin, 0.04 + 0.1 * noise(x * 3, y * 3)[:, None].expand_as(skin), glass[:, None]
    )

    # Hair: short hair lets the skin through, at the hairline and where it fades.
    strand, sheen, tint = hair_color(world, h, q, normal, half, noise)
    silver = ramp(0.5, 0.75, noise(shape.strand_angle(q, h) * 90 + 8, y * 5) + k["grey"] - 0.45)
    strand = torch.lerp(
        strand,
        strand.new_tensor(0.75) * (0.6 + 0.5 * grain)[:, None].expand_as(strand),
        (silver * k["grey"])[:, None],
    )
    lock = noise(shape.strand_angle(q, h) * 30 + 61, y * 3 + z * 6)
    strand = strand * (0.7 + 0.6 * lock)[:, None]
    scalp = world.scalp(q)
    fray = noise(shape.strand_angle(q, h) * 60 + 3, y * 5 + 11) - 0.5
    volume = h["hair_volume"]
    root = ramp(-0.03, 0.05, scalp + 0.07 * fray) * (volume > 0.004)
    short = ramp(0.075, 0.0, volume * (1 - (1 - k["sides"]) * ramp(0.95, 0.45, y)))
    stops = 0.75 * k["fade"] - 0.25
    faded = ramp(stops - 0.30, stops + 0.25, y - 0.1 * (z > 0.3))
    cover = 1 - short * (0.35 * grain + 0.6 * (1 - k["density"]))
    cover = cover * torch.where(k["fade"] > 0, faded, 1.0)
    cover = root * cover.clamp(0, 1)
    hanging = (h["hair_length"] + h["hair_fringe"] + k["tail"] + k["front"]) > 0
    loose = seen.on_hair & (scalp < torch.where(hanging, 0.03, -0.03))
    cover = torch.where(loose, 1.0, cover)
    thin = (volume / 0.05).clamp(0, 1)
    cover = torch.where(seen.on_hair, cover, cover * thin * ~seen.on_clothes)
    if _any(k["hat"]):
        hidden = world._under_hat(q) > 0
        cover = torch.where(hidden & ~seen.on_hair, 0.0, cover)
    albedo = torch.lerp(skin, strand, cover[:, None])
    cloth, accessory = _cloth(world, p, q, noise)
    albedo = torch.where(seen.on_clothes[:, None], cloth, albedo)

    # Light: one lamp, a sky, and at times a lamp from behind.
    wrap = torch.where(cover > 0.5, 0.35, 0.25)
    lamp = ((facing + wrap) / (1 + wrap)).clamp(0, 1) * (0.08 + 0.92 * seen.shadow)
    lamp = lamp * h["light_strength"]
    sky = (0.55 + 0.25 * normal[1] + 0.1 * normal[2]) * (0.2 + 0.8 * seen.occlusion) * k["ambient"]
    warm = 0.09 * h["light_warmth"]
    energy = torch.stack([sky * (1 - 0.5 * warm) + lamp * (1 + warm), sky + lamp,
                          sky * (1 + 0.5 * warm) + lamp * (1 - warm)], 1)  # fmt: skip
    outline = (1 + dot(normal, seen.direction)).clamp(0, 1) ** 2.5 * k["rim"]
    bare = (1 - cover) * ~seen.on_clothes * (1 - hairy) * (1 - framed)
    shine = 1.6 * spec * gloss**power * seen.shadow * h["light_strength"] * bare
    hair_light = sheen * (seen.shadow * 0.85 + 0.15) * (facing + 0.4).clamp(0, 1)
    rgb = (
        albedo * energy
        + shine[:, None]
        + (hair_light * h["light_strength"] * cover)[:, None] * tint
    )
    rgb = rgb + outline[:, None] * k["rim_color"][:, :, None] * (0.25 + albedo)

    hit = seen.hit.to(rgb.dtype)
    dressed = seen.on_clothes * hit
    is_hair = cover * hit * (1 - dressed)
    is_beard = hairy * hit * (1 - dressed) * (1 - is_hair)
    bare_skin = hit - dressed - is_hair - is_beard
    layers = [bare_skin, is_hair, dressed * (1 - accessory), is_beard,
              dressed * accessory]  # fmt: skip
    view, batch = seen.view, len(hit)
    flat = rgb.new_zeros(batch, COLOR + len(layers), view.height * view.width)
    values = torch.cat([rgb.clamp(0, 1.3) * hit[:, None], torch.stack(layers, 1)], 1)
    flat.scatter_(2, seen.index[:, None].expand(-1, flat.shape[1], -1), values)
    flat = flat.view(batch, -1, view.height, view.width)
    small = F.interpolate(flat, size=size, mode="area")
    planes = small[:, COLOR:].clamp(0, 1)
    cover = planes.sum(1, keepdim=True)
    image = (small[:, :COLOR] / cover.clamp_min(1e-3)).clamp(0, 1) ** GAMMA * cover
    return Portrait(image, planes, face_oval(world, view, size))


def _glasses(q: Points, h: Head, k: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Frames, and dark glasses in them, as they cover the skin, 0 … 1."""
    x, y, z = q
    u, v = x.abs() - h.eye_x - 0.01, y - shape.EYE_Y + 0.03
    power = 2.0 + 2.5 * k["hat_low"]
    ring = ((u / 0.235).abs() ** power + (v / (0.15 + 0.05 * k["collar"])).abs() ** power) ** (
        1 / power
    )
    front = z > 0.25
    thick = 0.05 + 0.12 * k["phase"] / 6.28
    frame = ramp(thick, thick * 0.6, (ring - 1).abs()) * front
    bridge = ramp(0.03, 0.015, (v - 0.05).abs()) * (x.abs() < 0.1) * front
    arm = ramp(0.03, 0.015, (v - 0.05).abs()) * (x.abs() > h.eye_x + 0.2) * (z > -0.05)
    framed = torch.maximum(frame, torch.maximum(bridge, arm)) * (k["glasses"] > 0)
    dark = ramp(1.0, 0.96, ring) * front * (k["glasses"] == SUNGLASSES)
    return framed, dark * 0.93


def _cloth(world: People, p: Points, q: Points, noise: Noise) -> tuple[Tensor, Tensor]:
    """Albedo [B, 3, N] of what is worn, and how far it is an accessory and not clothes."""
    x, y, z = p
    h, k = world.head, world.looks
    accessory = (world._hat(q) < world._clothes(p)).float()
    y = y + world.drop
    weave = 0.8 + 0.2 * noise(x * 30, y * 30) + 0.25 * (noise(x * 5 + 2, y * 3 + z * 4) - 0.5)
    main = h["clothes_colour"][:, :, None].expand(-1, -1, x.shape[1])
    inner = k["inner_color"][:, :, None]
    # A suit shows a shirt in a V, a collar and perhaps a tie.
    a = x.abs()
    deep = 1.9 + 0.6 * k["collar"]
    vee = ramp(0.0, 0.02, (y + deep) * 0.42 - a) * (z > -0.2)
    high = ramp(-1.36, -1.32, y)
    shirt = torch.maximum(vee, high) * (k["neckline"] == SUIT)
    rgb = torch.lerp(main, inner.expand_as(main), shirt[:, None])
    tie = (
        (a < 0.07 + 0.03 * (-1.4 - y).clamp(0, 1)) * (k["neckline"] == SUIT) * (k["hat_low"] > 0.5)
    )
    tie = tie * (y < -1.36) * (z > 0)
    rgb = torch.where((tie > 0)[:, None], k["hat_color"][:, :, None].expand_as(rgb), rgb)
    lapel = torch.exp(-((((y + deep) * 0.42 - a + 0.18) / 0.015) ** 2)) * (k["neckline"] == SUIT)
    rgb = rgb * (1 - 0.4 * lapel * (y < -1.3))[:, None]
    around = ramp(-1.5, -1.46, y) * (k["neckline"] == SCARF)
    rgb = torch.lerp(rgb, k["hat_color"][:, :, None].expand_as(rgb), around[:, None])
    rgb = torch.where((accessory > 0)[:, None], k["hat_color"][:, :, None].expand_as(rgb), rgb)
    knit = 1 - 0.25 * ((k["hat"] == BEANIE) | (k["neckline"] == ROLL)) * (
        torch.sin(torch.atan2(q[0], q[2]) * 60) > 0.3
    )
    return rgb * (weave * knit)[:, None], accessory


def face_oval(world: People, view: View, size: tuple[int, int], corners: int = 36) -> Tensor:
    """The outline of each face as MediaPipe's mesh has it, filled: [B, 1, *size] over a
    view."""
    h = world.head
    angle = torch.linspace(0, 2 * math.pi, corners + 1)[:-1].to(h.cranium_x)
    up = angle.sin()
    x = (0.66 + 0.03 * h["jaw_width"]) * angle.cos() * (1 - 0.28 * ramp(0.0, -1.0, up))
    y = torch.where(
        up > 0,
        0.05 + 0.59 * up,  # well below the hairline
        0.05 + (1.05 + 0.035 * h["chin_length"] + 0.12 * h["mouth_open"]) * up,
    )
    z = torch.full_like(x, 1.1)
    for _ in range(25):
        z = (z - shape.skin((x, y, z), h) * 0.8).clamp_min(-0.1)
    p = torch.stack([x, y - PIVOT_Y, z - PIVOT_Z], 1)
    p = world.rotation @ p + p.new_tensor([0, PIVOT_Y, PIVOT_Z])[:, None]
    plane = p[:, :2] * CAMERA / (CAMERA - p[:, 2:])
    points = view.pixels(torch.stack([plane[:, 0], -plane[:, 1]], 2)) * (size[0] / view.height)
    return torch.stack([torch.from_numpy(polygon_mask(c.cpu().numpy(), *size)) for c in points])[
        :, None
    ]
