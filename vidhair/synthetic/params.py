"""What a rendered face is made of, as one typed value.

Every field is a tensor [B] or, for colors, [B, 3] (red, green, blue, 0 … 1, display-referred).
Shape fields are in standard deviations of the population; expression fields in 0 … 1 unless
said otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from numbers import Integral

import torch
from torch import Tensor

from vidhair.imaging.named_colors import HAIR_COLORS

COLOR = 3

# Hair styles: length (0 chin-less … 1 below the shoulders), volume, wave, fringe, bun, afro, and
# how far the hairline recedes.
HAIR_STYLES: dict[str, dict[str, float]] = {
    "bald": {"volume": 0.0},
    "buzz": {"volume": 0.035},
    "receding": {"volume": 0.07, "recede": 0.8},
    "short": {"volume": 0.12},
    "pixie": {"volume": 0.14, "fringe": 0.65},
    "quiff": {"volume": 0.15, "lift": 1.0},
    "bob": {"volume": 0.13, "length": 0.42},
    "bob_fringe": {"volume": 0.13, "length": 0.45, "fringe": 0.85},
    "long": {"volume": 0.12, "length": 0.95},
    "long_fringe": {"volume": 0.12, "length": 0.95, "fringe": 0.9},
    "wavy": {"volume": 0.16, "length": 0.85, "wave": 0.8},
    "curly": {"volume": 0.2, "length": 0.4, "wave": 1.0, "curl": 0.5},
    "afro": {"volume": 0.16, "wave": 0.6, "curl": 0.9},
    "bun": {"volume": 0.07, "bun": 1.0},
}

NATURAL_HAIR = (
    "black", "dark brown", "brown", "light brown", "auburn", "ginger", "dark blonde", "blonde",
    "platinum", "grey", "white",
)  # fmt: skip

_IRISES = (
    (0.25, 0.15, 0.08),
    (0.17, 0.10, 0.06),
    (0.28, 0.42, 0.60),
    (0.30, 0.46, 0.30),
    (0.40, 0.33, 0.18),
    (0.42, 0.48, 0.54),
)


@dataclass(frozen=True)
class FaceParams:
    """A batch of faces. Fields by group: shape, skin, hair, expression, pose, light, scene."""

    # shape of the head, N(0, 1)
    cranium_width: Tensor
    cranium_height: Tensor
    jaw_width: Tensor
    chin_length: Tensor
    cheeks: Tensor
    nose_length: Tensor
    nose_width: Tensor
    nose_projection: Tensor
    eye_size: Tensor
    eye_spacing: Tensor
    eye_tilt: Tensor
    brow_height: Tensor
    brow_thickness: Tensor
    brow_arch: Tensor
    lip_thickness: Tensor
    mouth_width: Tensor
    ear_size: Tensor
    # skin and eyes
    melanin: Tensor
    redness: Tensor
    lip_redness: Tensor
    brow_colour: Tensor
    iris_colour: Tensor
    # hair; lengths in units of the style table
    hair_colour: Tensor
    hair_length: Tensor
    hair_volume: Tensor
    hair_wave: Tensor
    hair_wave_rate: Tensor
    hair_fringe: Tensor
    hair_part: Tensor
    hair_bun: Tensor
    hair_curl: Tensor
    hair_lift: Tensor
    hair_recede: Tensor
    hairline: Tensor
    # expression
    mouth_open: Tensor
    smile: Tensor
    blink_left: Tensor
    blink_right: Tensor
    gaze_x: Tensor
    gaze_y: Tensor
    brow_raise: Tensor
    # pose, radians
    yaw: Tensor
    pitch: Tensor
    # light: direction in radians, strength about 1, warmth −1 … 1
    light_azimuth: Tensor
    light_elevation: Tensor
    light_strength: Tensor
    light_warmth: Tensor
    # scene
    background_centre: Tensor
    background_edge: Tensor
    clothes_colour: Tensor

    def __post_init__(self) -> None:
        batch = len(self.yaw)
        for f in fields(self):
            value = getattr(self, f.name)
            want = (batch, COLOR) if f.name in _colors() else (batch,)
            assert tuple(value.shape) == want, f"{f.name} is {tuple(value.shape)}, not {want}"

    def __len__(self) -> int:
        return len(self.yaw)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> FaceParams:
        """Faces by slice, list or tensor of indices; a number gives a batch of one."""
        if isinstance(index, Integral):
            first = range(len(self))[int(index)]
            index = slice(first, first + 1)
        return FaceParams(*(getattr(self, f.name)[index] for f in fields(self)))

    def replace(self, **changes: Tensor | float | tuple[float, ...]) -> FaceParams:
        """A copy with some fields set; numbers and single colors are given to every face."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in changes.items():
            old = values[name]
            values[name] = torch.as_tensor(value, dtype=old.dtype, device=old.device).expand_as(old)
        return FaceParams(**values)

    def to(self, device: str | torch.device) -> FaceParams:
        return FaceParams(*(getattr(self, f.name).to(device) for f in fields(self)))

    def pack(self) -> Tensor:
        """[B, P] float32, one column per number; the order is `column_names`."""
        return torch.cat([getattr(self, f.name).reshape(len(self), -1) for f in fields(self)], 1)

    @staticmethod
    def unpack(columns: Tensor) -> FaceParams:
        """The inverse of `pack`."""
        values, at = [], 0
        for f in fields(FaceParams):
            if f.name in _colors():
                values.append(columns[:, at : at + COLOR])
                at += COLOR
            else:
                values.append(columns[:, at])
                at += 1
        assert at == columns.shape[1], f"{columns.shape[1]} columns for {at} parameters"
        return FaceParams(*values)

    @staticmethod
    def concatenate(batches: list[FaceParams]) -> FaceParams:
        return FaceParams.unpack(torch.cat([b.pack() for b in batches]))


@cache
def _colors() -> frozenset[str]:
    scenery = {"background_centre", "background_edge"}
    return frozenset({f.name for f in fields(FaceParams) if f.name.endswith("_colour")} | scenery)


@cache
def column_names() -> tuple[str, ...]:
    """A name per column of `FaceParams.pack`: `yaw`, …, `hair_colour.r`, …"""
    names: list[str] = []
    for f in fields(FaceParams):
        names += [f"{f.name}.{c}" for c in "rgb"] if f.name in _colors() else [f.name]
    return tuple(names)


SHAPE = [f.name for f in fields(FaceParams)][:17]
_STYLE = ("length", "volume", "wave", "fringe", "bun", "curl", "lift", "recede")


def sample_faces(
    count: int,
    generator: torch.Generator,
    *,
    style: str | None = None,
    neutral: bool = False,
) -> FaceParams:
    """Random faces, in the range of poses that FFHQ crops hold.

    style: a key of HAIR_STYLES; default: any. neutral: no expression and a frontal pose.
    """
    rgb = (count, COLOR)

    def normal(scale: float = 1.0, size: tuple[int, ...] = (count,)) -> Tensor:
        return torch.randn(size, generator=generator).clamp(-2, 2) * scale

    def uniform(low: float, high: float, size: tuple[int, ...] = (count,)) -> Tensor:
        return torch.rand(size, generator=generator) * (high - low) + low

    def one_of(colors: Iterable[tuple[float, float, float]]) -> Tensor:
        table = torch.tensor(list(colors))
        return table[torch.randint(len(table), (count,), generator=generator)]

    names = list(HAIR_STYLES)
    index = torch.randint(len(names), (count,), generator=generator)
    if style is not None:
        index = torch.full((count,), names.index(style))
    table = torch.tensor([[HAIR_STYLES[n].get(k, 0.0) for k in _STYLE] for n in names])
    hair = dict(zip(_STYLE, table[index].unbind(1), strict=True))

    def around(name: str, scale: float, high: float = 1.2) -> Tensor:
        """Vary a feature of a style that has it; the others stay without."""
        varied = (hair[name] + normal(scale)).clamp(0.02, high)
        return torch.where(hair[name] > 0, varied, 0.0)

    # Mixtures of two named colors; dyed ones are rarer than natural ones.
    weight = torch.tensor([1.0 if n in NATURAL_HAIR else 0.3 for n in HAIR_COLORS])
    pair = torch.multinomial(weight.expand(count, -1), 2, generator=generator)
    colors = torch.tensor(list(HAIR_COLORS.values()))
    hair_colour = torch.lerp(colors[pair[:, 0]], colors[pair[:, 1]], uniform(0, 0.35)[:, None])
    natural = one_of(HAIR_COLORS[n] for n in NATURAL_HAIR[:8])
    is_natural = weight[pair[:, 0]] == 1
    brow = torch.where(is_natural[:, None], hair_colour, natural) * 0.6

    melanin = uniform(0, 1).pow(1.5)
    grey = uniform(0.1, 0.9)[:, None] + normal(0.08, rgb)
    active = 0.0 if neutral else 1.0
    blink = uniform(-3, 1).clamp_min(0) * active
    return FaceParams(
        **{name: normal() for name in SHAPE},
        melanin=melanin,
        redness=normal(),
        lip_redness=uniform(0, 1.5),
        brow_colour=brow.clamp(0.02, 0.5),
        iris_colour=(one_of(_IRISES) * uniform(0.8, 1.2)[:, None]).clamp(0.03, 0.8),
        hair_colour=(hair_colour + normal(0.012, rgb)).clamp(0.02, 0.95),
        hair_length=around("length", 0.12),
        hair_volume=torch.where(hair["volume"] > 0, hair["volume"] * (1 + normal(0.15)), 0.0),
        hair_wave=around("wave", 0.12),
        hair_wave_rate=uniform(0, 1),
        hair_fringe=around("fringe", 0.1, high=1.0),
        hair_part=uniform(-1, 1),
        hair_bun=around("bun", 0.12),
        hair_curl=around("curl", 0.1),
        hair_lift=around("lift", 0.2),
        hair_recede=around("recede", 0.15),
        hairline=normal(),
        mouth_open=uniform(-1, 1).clamp_min(0) * active,
        smile=uniform(-0.25, 1) * active,
        blink_left=blink,
        blink_right=blink,
        gaze_x=uniform(-1, 1) * active,
        gaze_y=uniform(-1, 1) * active,
        brow_raise=uniform(-0.5, 1) * active,
        yaw=normal(0.2) * active,
        pitch=normal(0.12) * active,
        light_azimuth=uniform(-0.9, 0.9),
        light_elevation=uniform(0.1, 0.9),
        light_strength=uniform(0.75, 1.15),
        light_warmth=uniform(-1, 1),
        background_centre=(grey + 0.08).clamp(0, 1),
        background_edge=(grey - 0.12 + normal(0.04, rgb)).clamp(0, 1),
        clothes_colour=torch.lerp(uniform(0.05, 0.85, (count, 1)), uniform(0, 0.8, rgb), 0.55),
    )
