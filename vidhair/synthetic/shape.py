"""The shape of a rendered head as signed distances.

Head space: x right as seen, y up, z towards the viewer; the head is about two units high and its
eyes lie at y = 0.07. Points are three tensors [B, N]; the fields of `Head` are [B, 1]. Distances
are lower bounds near the surface, good enough for sphere tracing.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from vidhair.synthetic.params import FaceParams

Points = tuple[Tensor, ...]  # x, y, z
Size = Tensor | float  # [B, 1], or the same for all
Place = tuple[Size, Size, Size]
NOWHERE = 9.0  # distance of a part that is absent


def ellipsoid(x: Tensor, y: Tensor, z: Tensor, a: Size, b: Size, c: Size) -> Tensor:
    ax, ay, az = x / a, y / b, z / c
    k0 = (ax * ax + ay * ay + az * az).sqrt()
    ax, ay, az = ax / a, ay / b, az / c
    k1 = (ax * ax + ay * ay + az * az).sqrt() + 1e-6
    result: Tensor = k0 * (k0 - 1) / k1
    return result


def union(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Minimum with a blend of radius k."""
    h = (k - (a - b).abs()).clamp_min(0)
    return torch.minimum(a, b) - h * h * (0.25 / k)


def intersection(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Maximum with a blend of radius k."""
    h = (k - (a - b).abs()).clamp_min(0)
    return torch.maximum(a, b) + h * h * (0.25 / k)


def ramp(low: Size, high: Size, x: Tensor) -> Tensor:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    result: Tensor = t * t * (3 - 2 * t)
    return result


def soft_abs(x: Tensor, radius: float = 0.03) -> Tensor:
    """|x| without the crease that mirrored parts would meet in."""
    return (x * x + radius * radius).sqrt()


def capsule(x: Tensor, y: Tensor, z: Tensor, a: Place, b: Place, ra: float, rb: float) -> Tensor:
    """A stroke from a to b (triples) whose radius goes from ra to rb."""
    d = [q - p for p, q in zip(a, b, strict=True)]
    v = [x - a[0], y - a[1], z - a[2]]
    along = sum(p * q for p, q in zip(v, d, strict=True)) / sum(q * q for q in d)
    t = torch.as_tensor(along).clamp(0, 1)
    v = [p - t * q for p, q in zip(v, d, strict=True)]
    result: Tensor = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt() - (ra + (rb - ra) * t)
    return result


@dataclass(frozen=True)
class Head:
    """Sizes that follow from the parameters; every field is [B, 1]."""

    params: dict[str, Tensor]
    cranium_x: Tensor
    cranium_y: Tensor
    eye_x: Tensor
    eye_scale: Tensor
    eye_height: Tensor  # of the opening, in its usual heights
    mouth_half: Tensor
    mouth_y: Tensor
    nose_tip_y: Tensor
    nose_tip_z: Tensor
    nose_scale: Tensor

    def __getitem__(self, name: str) -> Tensor:
        return self.params[name]


EYE_Y = 0.07
CRANIUM_Y, CRANIUM_Z, CRANIUM_DEPTH = 0.32, -0.16, 0.92


def head_of(faces: FaceParams) -> Head:
    """Derived sizes of a batch of faces."""
    p = {n: v[:, None] if v.ndim == 1 else v for n, v in vars(faces).items()}
    smile, opened = p["smile"], p["mouth_open"]
    return Head(
        params=p,
        cranium_x=0.735 * (1 + 0.035 * p["cranium_width"]),
        cranium_y=0.83 * (1 + 0.03 * p["cranium_height"]),
        eye_x=0.318 * (1 + 0.04 * p["eye_spacing"]),
        eye_scale=1 + 0.07 * p["eye_size"],
        eye_height=torch.ones_like(p["eye_size"]),
        mouth_half=0.25 * (1 + 0.10 * p["mouth_width"]) * (1 + 0.2 * smile) * (1 - 0.14 * opened),
        mouth_y=-0.615 - 0.03 * p["nose_length"],
        nose_tip_y=-0.27 - 0.045 * p["nose_length"],
        nose_tip_z=0.925 + 0.035 * p["nose_projection"],
        nose_scale=1 + 0.12 * p["nose_width"],
    )


def eye_opening(x: Tensor, y: Tensor, h: Head) -> Tensor:
    """Negative between the lids, in head units, seen from the front."""
    u, v = x.abs() - h.eye_x, y - EYE_Y
    tilt = 0.09 * h["eye_tilt"] + 0.05
    c, s = tilt.cos(), tilt.sin()
    u, v = u * c + v * s, v * c - u * s
    width = 0.158 * h.eye_scale
    q = u / width
    g = (1 - q * q).clamp_min(1e-4)
    blink = torch.where(x > 0, h["blink_right"], h["blink_left"])
    size = h.eye_scale * h.eye_height
    lower = -0.05 * size * g**0.9 * (1 - 0.2 * h["smile"])
    upper = 0.078 * size * g ** (0.62 + 0.1 * q)
    upper = upper + (lower * 0.85 - upper) * blink
    inside = torch.maximum(v - upper, lower - v) * 0.9
    return torch.where(q.abs() >= 1, u.abs() - width + 0.02, inside)


def mouth_line(x: Tensor, h: Head) -> tuple[Tensor, Tensor, Tensor]:
    """(1 − (x / half width)², upper edge, lower edge) of the opening between the lips."""
    u = x / h.mouth_half
    g = (1 - u * u).clamp_min(0)
    smile, opened = h["smile"], h["mouth_open"]
    centre = h.mouth_y + 0.07 * smile * u * u - 0.012 * (1 - u.abs())
    root = g.sqrt()
    upper = centre + (0.035 * opened + 0.012 * smile.clamp_min(0)) * root
    lower = centre - (0.18 * opened + 0.018 * smile.clamp_min(0)) * root
    return g, upper, lower


def lips(x: Tensor, y: Tensor, h: Head) -> tuple[Tensor, Tensor]:
    """(how much lip, how much open mouth), both 0 … 1, seen from the front."""
    g, upper, lower = mouth_line(x, h)
    u = x / h.mouth_half
    thick = 0.058 * (1 + 0.22 * h["lip_thickness"])
    bow = 1 - 0.28 * torch.exp(-((u / 0.16) ** 2))
    top = upper + thick * 0.85 * g**0.8 * bow
    bottom = lower - thick * 1.25 * g.sqrt() * (0.6 + 0.4 * g)
    inner = ramp(0.0, 0.014, torch.minimum(upper - y, y - lower))
    middle = (upper + lower) / 2
    lip = torch.where(y <= middle, ramp(-0.006, 0.012, y - bottom), ramp(-0.006, 0.012, top - y))
    inside = g > 0
    return torch.where(inside, lip * (1 - inner), 0.0), torch.where(inside, inner, 0.0)


def cranium(x: Tensor, y: Tensor, z: Tensor, h: Head, grow: Size = 0.0) -> Tensor:
    """The skull, or a shell around it."""
    return ellipsoid(
        x,
        y - CRANIUM_Y,
        z - CRANIUM_Z,
        h.cranium_x + grow,
        h.cranium_y + grow,
        CRANIUM_DEPTH + grow,
    )


def skin(p: Points, h: Head) -> Tensor:
    """Distance to the head without hair."""
    x, y, z = p
    a = soft_abs(x)
    opened, smile = h["mouth_open"], h["smile"]
    jaw, chin = h["jaw_width"], h["chin_length"]

    d = cranium(x, y, z, h)
    jaw_x = 0.635 * (1 + 0.055 * jaw + 0.02 * h["cranium_width"])
    jaw_y = 0.70 + 0.03 * chin + 0.055 * opened
    d = union(d, ellipsoid(x, y + 0.28 + 0.05 * opened, z - 0.12, jaw_x, jaw_y, 0.66), 0.32)
    chin_y = -0.86 - 0.035 * chin - 0.12 * opened
    d = union(d, ellipsoid(x, y - chin_y, z - 0.46, 0.29 * (1 + 0.12 * jaw), 0.15, 0.19), 0.28)
    cheek = 0.255 + 0.022 * h["cheeks"] + 0.02 * smile
    d = union(
        d, ((a - 0.37) ** 2 + (y + 0.19 - 0.04 * smile) ** 2 + (z - 0.42) ** 2).sqrt() - cheek, 0.24
    )
    # brow ridge, sockets, lids
    d = union(d, capsule(a, y, z, (0.08, 0.255, 0.695), (0.45, 0.265, 0.555), 0.055, 0.045), 0.2)
    socket = ((a - h.eye_x) ** 2 + (y - EYE_Y) ** 2 + (z - 0.90) ** 2).sqrt() - 0.205
    d = intersection(d, -socket, 0.19)
    ball = ((a - h.eye_x) ** 2 + (y - EYE_Y) ** 2 + (z - 0.57) ** 2).sqrt() - 0.168 * (
        0.6 + 0.4 * h.eye_scale
    )
    lid = 0.015 * ramp(-0.004, 0.018, eye_opening(x, y, h))
    d = union(d, ball - lid * (z > 0.3), 0.05)
    # nose
    n, tip_y, tip_z = h.nose_scale, h.nose_tip_y, h.nose_tip_z
    bridge = capsule(
        x / n, y, z, (0.0, 0.15, 0.715), (0.0, tip_y + 0.03, tip_z - 0.07), 0.05, 0.078
    )
    tip = ((x / n) ** 2 + (y - tip_y) ** 2 + (z - tip_z + 0.03) ** 2).sqrt() - 0.074
    wing_z = z - tip_z + 0.12
    wing = ((a - 0.092 * n) ** 2 + (y - tip_y + 0.012) ** 2 + wing_z**2).sqrt() - 0.056
    nose = union(union(bridge, tip, 0.08), wing, 0.05)
    d = union(d, nose, 0.14)
    nostril = ellipsoid(a - 0.052 * n, y - tip_y + 0.078, z - tip_z + 0.06, 0.03, 0.022, 0.05)
    d = intersection(d, -nostril, 0.03)
    # mouth
    d = union(d, ellipsoid(x, y - h.mouth_y, z - 0.60, 0.27, 0.20, 0.15), 0.18)
    lip, inner = lips(x, y, h)
    front = ramp(0.15, 0.35, z)
    d = d - (0.028 * lip - 0.06 * inner) * front
    # ears
    e = 1 + 0.12 * h["ear_size"]
    xe, ye, ze = a - h.cranium_x * 0.985 - 0.03, y - 0.02, z + 0.10
    xr, zr = xe * 0.85 + ze * 0.5, ze * 0.85 - xe * 0.5
    ear = ellipsoid(xr, ye, zr, 0.052, 0.20 * e, 0.12 * e)
    hollow = ellipsoid(xr - 0.06, ye - 0.02, zr - 0.01, 0.05, 0.14 * e, 0.072 * e)
    ear = intersection(ear, -hollow, 0.04)
    return union(d, ear, 0.06)


def hairline(p: Points, h: Head) -> Tensor:
    """How far inside the hair-bearing scalp a point lies; negative on the face and neck."""
    x, y, z = p
    fringe = h["hair_fringe"]
    top = 1.0 + 0.04 * h["hairline"] + 0.10 * h["hair_recede"]
    temples = 0.61 + 0.02 * h["cranium_width"] + 0.02 * h["hair_curl"]
    # The face is a superellipse seen from the front; receding hair opens it at the temples.
    q = (x / temples).abs()
    above = (y + 0.22).clamp_min(0)
    notch = 0.20 * h["hair_recede"] * torch.exp(-(((x.abs() - 0.34) / 0.16) ** 2))
    # Longer hair falls to both sides of its part and takes the corners of the forehead.
    drape = (h["hair_length"] * 1.5).clamp(0, 1) * (1 - fringe) * (1 - h["hair_curl"])
    fall = soft_abs(x - 0.16 * h["hair_part"], 0.08) - 0.08
    height = top + notch + drape * (0.10 - 0.75 * fall) + 0.06 * h["hair_part"] * x * (1 - drape)
    height = height.clamp_min(0.35)
    face = ((q**2.6 + (above / height) ** 2.6) ** (1 / 2.6) - 1) * 0.55
    behind = 0.06 - z
    nape = -0.06 - 0.55 * ramp(0.15, -0.65, z)
    return torch.minimum(torch.maximum(face, behind), (y - nape) * 0.8)


def strand_angle(p: Points, h: Head) -> Tensor:
    """Which strand a point belongs to: the direction in which it left the crown, in radians."""
    x, _, z = p
    return torch.atan2(x - 0.12 * h["hair_part"], z + 0.3)


def cap(p: Points, h: Head, scalp: Tensor, volume: Tensor) -> Tensor:
    """Hair on the skull. It grows from nothing at the hairline, to leave the forehead without a
    step. scalp: from `hairline`; volume: [B, 1] or [B, N]."""
    x, y, z = p
    curl = h["hair_curl"]
    rise = ramp(0.0, 0.16, scalp)
    lift = h["hair_lift"] * 0.13 * ramp(0.0, 0.3, scalp) * ramp(0.4, 1.0, y) * ramp(-0.6, 0.5, z)
    grow = volume + 0.36 * curl * ramp(0.1, 0.5, scalp + 0.2)
    d = cranium(x, y, z, h, grow * 0.6)
    d = d - (grow * 0.4) * rise - lift + 0.05 * (1 - rise)
    return intersection(d, -scalp * 0.9, 0.05)


def curtain(p: Points, h: Head) -> Tensor:
    """Long hair: an elliptic tube that falls from the crown, open in front of the face."""
    x, y, z = p
    volume, length = h["hair_volume"], h["hair_length"]
    angle = strand_angle(p, h)
    width = h.cranium_x + volume
    flare = ramp(0.3, -1.2, y)
    qx = x / (width * (0.97 + 0.10 * flare) + 0.02)
    qz = (z + 0.26) / ((CRANIUM_DEPTH + volume) * 0.86)
    tube = ((qx * qx + qz * qz).sqrt() - 1) * width * 0.9
    end = 0.05 - 1.55 * length + 0.04 * torch.sin(angle * 9) + 0.025 * torch.sin(angle * 23 + 1)
    tube = intersection(tube, end - y, 0.10)
    tube = intersection(tube, y - 0.45, 0.30)
    opening = (0.595 - 0.05 * ramp(0.0, -0.8, y) * length) - x.abs()
    tube = intersection(tube, torch.minimum(opening, z - 0.05), 0.08)
    return torch.where(length > 0.02, tube, NOWHERE)


def fringe(p: Points, h: Head) -> Tensor:
    """A sheet that hangs over the forehead."""
    x, y, z = p
    angle = strand_angle(p, h)
    sheet = cranium(x, y, z, h, h["hair_volume"] * 0.75).abs() - 0.02
    low = 0.86 - 0.48 * h["hair_fringe"]
    low = low + 0.02 * torch.sin(angle * 31) + 0.012 * torch.sin(angle * 71 + 2)
    low = low + 0.10 * h["hair_part"] * x
    sheet = intersection(sheet, low - y, 0.03)
    sheet = intersection(sheet, x.abs() - 0.60, 0.06)
    sheet = intersection(sheet, torch.maximum(0.15 - z, y - 1.02), 0.05)
    return torch.where(h["hair_fringe"] > 0.02, sheet, NOWHERE)


def bun(p: Points, h: Head) -> Tensor:
    x, y, z = p
    b = h["hair_bun"]
    bun_y = CRANIUM_Y + h.cranium_y + 0.18 * b
    d = ellipsoid(x, y - bun_y, z + 0.35, 0.33 * b + 0.01, 0.28 * b + 0.01, 0.33 * b + 0.01)
    return torch.where(b > 0.05, d, NOWHERE)


def ruffled(d: Tensor, p: Points, h: Head) -> Tensor:
    """A distance to hair, with waves, curls and locks."""
    x, y, z = p
    volume, curl, wave = h["hair_volume"], h["hair_curl"], h["hair_wave"]
    angle = strand_angle(p, h)
    rate = 5 + 3 * h["hair_wave_rate"]
    wave_d = torch.sin(y * rate + 2 * torch.sin(angle * 3)) * 0.045 * wave
    d = d + wave_d * (0.4 + 0.6 * ramp(0.8, -0.2, y)) * (1 - 0.8 * curl)
    curls = torch.sin(11 * x + 1) * torch.sin(11 * y) * torch.sin(11 * z + 2)
    d = d + (curl * 0.9 + 0.1 * wave) * 0.05 * curls
    locks = torch.sin(angle * 26 + 1.5 * torch.sin(y * 3))
    return d - torch.minimum(0.06 * volume, torch.full_like(volume, 0.008)) * locks * (1 - curl)


def hair(p: Points, h: Head) -> Tensor:
    """Distance to the hair."""
    volume = h["hair_volume"]
    d = union(cap(p, h, hairline(p, h), volume), curtain(p, h), 0.10)
    d = union(d, fringe(p, h), 0.06)
    d = union(d, bun(p, h), 0.08)
    return torch.where(volume > 0.004, ruffled(d, p, h), NOWHERE)


def neck(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """World space: the body does not turn with the head."""
    return capsule(x, y, z, (0.0, -0.55, -0.28), (0.0, -1.5, -0.38), 0.36, 0.40)


def clothes(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    a = soft_abs(x)
    d = capsule(a, y, z, (0.25, -1.60, -0.40), (1.20, -1.95, -0.45), 0.36, 0.38)
    d = union(d, ellipsoid(x, y + 3.1, z + 0.35, 1.5, 1.9, 0.6), 0.25)
    return intersection(d, -ellipsoid(x, y + 1.22, z + 0.25, 0.43, 0.20, 0.62), 0.05)
