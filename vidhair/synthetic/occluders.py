"""What is worn or held before the hair: drawn in front of everything.

H × W pixels. Pictures are linear light [H, W, 4] with coverage last, not premultiplied.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.synthetic import pigment
from vidhair.synthetic.render import CAMERA, PIVOT_Y, PIVOT_Z, Visible
from vidhair.synthetic.strands import Strands

Plane = NDArray[np.float32]
Vector = tuple[float, float, float]
BLACK, RED = (0.09, 0.09, 0.1), (0.5, 0.1, 0.1)
BRIM = (0.62, 0.16)  # height of a hat's edge in head space, and how it rises to the front


@dataclass(frozen=True)
class _Rod:
    """A capsule in space: ends in head or world space, radius, sRGB color, gloss 0 … 1."""

    start: Vector
    end: Vector
    radius: float
    color: Vector
    gloss: float = 0.1


def _chain(
    places: Sequence[Vector], radius: float, color: Vector, gloss: float = 0.1
) -> list[_Rod]:
    return [_Rod(a, b, radius, color, gloss) for a, b in pairwise(places)]


def _skin_color(seen: Visible) -> Vector:
    faces = seen.world.faces
    m, red = float(faces.melanin), 0.03 * float(faces.redness)
    return 0.91 - 0.52 * m + red, 0.70 - 0.475 * m, 0.575 - 0.435 * m - 0.5 * red


def _hand(seen: Visible, time: float) -> list[_Rod]:
    """Fingers that comb through the hair at one temple."""
    color = _skin_color(seen)
    x, y, z = -0.78 + 0.10 * np.sin(1.7 * time), 0.42 + 0.12 * np.sin(2.3 * time + 1), 1.0
    rods = [
        _Rod((x - 0.30, y - 1.60, z - 0.3), (x - 0.06, y - 0.42, z), 0.155, color),
        _Rod((x - 0.10, y - 0.40, z), (x + 0.06, y - 0.16, z), 0.135, color),
        _Rod((x + 0.02, y - 0.42, z), (x + 0.14, y - 0.20, z), 0.125, color),
        _Rod((x + 0.06, y - 0.45, z + 0.05), (x + 0.34, y - 0.24, z + 0.1), 0.058, color),
        _Rod((x + 0.34, y - 0.24, z + 0.1), (x + 0.44, y - 0.06, z + 0.1), 0.05, color),
    ]
    for finger in range(4):
        lean = 0.10 * finger - 0.08
        size = (0.9, 1.0, 0.95, 0.75)[3 - finger]
        base = (x - 0.07 + 0.095 * finger, y - 0.14 - 0.02 * finger, z)
        knee = (base[0] + lean, base[1] + 0.24 * size, z + 0.05)
        tip = (knee[0] + 0.8 * lean + 0.05, knee[1] + 0.20 * size, z - 0.05)
        rods += _chain((base, knee, tip), 0.053, color)
    return rods


def _microphone(seen: Visible, time: float) -> list[_Rod]:
    """Held before one side of the chin, with the hand that holds it."""
    x, y, z = 0.52 + 0.05 * np.sin(1.3 * time), -0.62 + 0.04 * np.sin(2.1 * time), 1.15
    color = _skin_color(seen)
    rods = [
        _Rod((x + 0.25, y - 1.6, z - 0.4), (x + 0.05, y - 0.28, z), 0.075, BLACK, 0.5),
        _Rod((x, y, z), (x + 0.01, y - 0.06, z), 0.155, BLACK, 0.7),
        _Rod((x + 0.9, y - 1.9, z - 0.3), (x + 0.30, y - 0.80, z), 0.16, color),
    ]
    for finger in range(4):
        level = y - 0.52 - 0.105 * finger
        rods += [_Rod((x + 0.25, level - 0.03, z), (x - 0.02, level, z + 0.1), 0.056, color)]
    return rods


def _glasses(seen: Visible, time: float) -> list[_Rod]:
    """Thick rims with side pieces to the ears."""
    head = seen.world.head
    eye, rim, gloss = float(head.eye_x), (0.07, 0.045, 0.035), 0.6
    rods: list[_Rod] = []
    for side in (-1, 1):
        turn = np.linspace(0, 2 * np.pi, 25)
        ring = [
            (side * (eye + 0.01) + 0.215 * np.cos(t), 0.03 + 0.165 * np.sin(t), 0.90) for t in turn
        ]
        rods += _chain(ring, 0.018, rim, gloss)
        corner = side * (eye + 0.22)
        ear = side * (float(head.cranium_x) + 0.08)
        rods += _chain(
            ((corner, 0.08, 0.88), (side * 0.64, 0.10, 0.62), (ear, 0.10, -0.05)), 0.02, rim, gloss
        )
    rods += _chain(((-eye + 0.2, 0.06, 0.91), (0, 0.1, 0.95), (eye - 0.2, 0.06, 0.91)), 0.016, rim)
    return rods


def _headphones(seen: Visible, time: float) -> list[_Rod]:
    """A band over the head and two cups."""
    head = seen.world.head
    x, y = float(head.cranium_x) + 0.16, float(head.cranium_y) + 0.15
    turn = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 25)
    band = [(x * np.sin(t), 0.30 + y * np.cos(t), -0.05) for t in turn]
    rods = _chain(band, 0.055, BLACK, 0.5)
    for side in (-1, 1):
        rods += _chain(((side * x, 0.3, -0.05), (side * x, 0.05, -0.03)), 0.05, (0.3, 0.3, 0.32))
        rods += [
            _Rod((side * (x - 0.06), 0, 0), (side * (x + 0.02), 0, 0), 0.23, BLACK),
            _Rod((side * (x + 0.02), 0, 0), (side * (x + 0.10), 0, 0), 0.17, RED, 0.4),
        ]
    return rods


# name → (what makes its rods, whether it moves with the head)
OCCLUDERS = {
    "hand": (_hand, False),
    "microphone": (_microphone, False),
    "glasses": (_glasses, True),
    "headphones": (_headphones, True),
    "hat": (None, True),
}


def under_hat(hair: Strands) -> Strands:
    """Hair of which nothing is seen where a hat is."""
    y, z = hair.points[..., 1], hair.points[..., 2]
    covered = y > BRIM[0] + BRIM[1] * z
    return replace(hair, widths=np.where(covered, 0, hair.widths).astype(np.float32))


def draw_occluder(
    name: str,
    seen: Visible,
    time: float,
    lights: NDArray[np.float32],
    powers: NDArray[np.float32],
) -> Plane:
    """[H, W, 4] of the traced view. time: seconds. lights, powers: [D, 3], the lamp first."""
    make, worn = OCCLUDERS[name]
    if make is None:
        return _hat(seen, lights, powers)
    rods = make(seen, time)
    height, width = seen.view.height, seen.view.width
    picture = np.zeros((height, width, 4), np.float32)
    matrix = seen.view.matrix[0].double().numpy()
    inverse = np.linalg.inv(matrix[:, :2])
    scale = np.abs(np.linalg.det(inverse)) ** 0.5
    rotation = seen.world.rotation[0].double().numpy() if worn else np.eye(3)
    pivot = np.array([0, PIVOT_Y, PIVOT_Z])
    ends = np.array([[rod.start, rod.end] for rod in rods])
    ends = (ends - pivot) @ rotation.T + pivot
    near = CAMERA / (CAMERA - ends[..., 2])
    plane = np.stack([ends[..., 0] * near, -ends[..., 1] * near], -1)
    pixels = (plane - matrix[:, 2]) @ inverse.T
    turn = inverse / scale  # plane → picture, without its scale
    for n in np.argsort(ends[..., 2].mean(1), kind="stable"):
        rod, radius = rods[n], rods[n].radius * scale * near[n].mean()
        low = np.floor(pixels[n].min(0) - radius - 2).clip(0, (width, height)).astype(int)
        high = np.ceil(pixels[n].max(0) + radius + 2).clip(0, (width, height)).astype(int)
        if (high <= low).any():
            continue
        x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
        p = np.stack([x, y], -1) - pixels[n, 0]
        d = pixels[n, 1] - pixels[n, 0]
        along = np.clip((p @ d) / max(d @ d, 1e-9), 0, 1)
        off = p - along[..., None] * d
        away = np.linalg.norm(off, axis=-1)
        cover = np.clip(radius - away + 0.5, 0, 1)
        flat = (off @ turn) / radius
        up = np.sqrt(np.clip(1 - (flat**2).sum(-1), 0, 1))
        normal = np.stack([flat[..., 0], -flat[..., 1], up], -1)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        color = _lit(normal, pigment.linear(np.array(rod.color)), rod.gloss, lights, powers)
        here = picture[low[1] : high[1], low[0] : high[0]]
        _lay(here, color, cover)
    return picture


def _lay(under: Plane, color: NDArray[Any], cover: NDArray[Any]) -> None:
    """Lay a color over a picture with coverage, in place."""
    before = under[..., 3] * (1 - cover)
    total = before + cover
    mixed = under[..., :3] * before[..., None] + color * cover[..., None]
    under[..., :3] = mixed / np.maximum(total, 1e-6)[..., None]
    under[..., 3] = total


def _lit(
    normal: NDArray[Any],
    albedo: NDArray[Any],
    gloss: float,
    lights: NDArray[np.float32],
    powers: NDArray[np.float32],
) -> NDArray[Any]:
    """A matt surface with a highlight of the lamp. normal [..., 3], albedo [..., 3]."""
    facing = np.clip((normal @ lights.T + 0.25) / 1.25, 0, 1)
    half = lights[0] + np.array([0, 0, 1])
    shine = gloss * np.clip(normal @ (half / np.linalg.norm(half)), 0, 1) ** 40
    found: NDArray[Any] = albedo * (facing @ powers) + 0.35 * shine[..., None] * powers[0]
    return found


def _hat(seen: Visible, lights: NDArray[np.float32], powers: NDArray[np.float32]) -> Plane:
    """A knitted hat: an ellipsoid around the skull, above a plane."""
    head, view = seen.world.head, seen.view
    rotation = seen.world.rotation[0].double().numpy()
    pivot = np.array([0, PIVOT_Y, PIVOT_Z])
    rays = torch.stack([c[0] for c in view.rays()], -1).double().numpy() @ rotation
    origin = (np.array([0, 0, CAMERA]) - pivot) @ rotation + pivot
    centre = np.array([0, 0.36, -0.16])
    radii = np.array([float(head.cranium_x) + 0.15, float(head.cranium_y) + 0.17, 1.06])
    o, d = (origin - centre) / radii, rays / radii
    b, a, c = d @ o, (d * d).sum(-1), o @ o - 1
    inside = b * b - a * c
    t = (-b - np.sqrt(np.maximum(inside, 0))) / a
    p = origin + rays * t[:, None]
    edge = p[:, 1] - BRIM[0] - BRIM[1] * p[:, 2]
    roll = np.clip(1 - edge / 0.22, 0, 1)  # the turned-up edge is thicker and lighter
    normal = (p - centre) / radii**2
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    angle = np.arctan2(p[:, 0], p[:, 2] + 0.16)
    knit = 0.8 + 0.2 * np.sin(70 * angle) * np.where(roll > 0, 1, np.sin(60 * p[:, 1]))
    base = pigment.linear(np.array([0.16, 0.19, 0.30]))
    albedo = base * (knit * np.where(roll > 0, 1.25, 1.0))[:, None]
    world = normal @ rotation.T
    color = _lit(world, albedo, 0.0, lights, powers)
    cover = (inside > 0) & (edge > 0)
    picture = np.concatenate([color, cover[:, None]], 1).astype(np.float32)
    reshaped: Plane = picture.reshape(view.height, view.width, 4)
    return reshaped
