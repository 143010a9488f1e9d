"""Rendered faces: sphere tracing, shading, masks, landmarks.

Rendering has two steps, because a picture with other colors shares its geometry: `trace` finds
what every pixel sees, and `shade` paints it.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidhair.geometry import CropAxes, Similarity, crop_axes
from vidhair.synthetic import shape
from vidhair.synthetic.params import FaceParams
from vidhair.synthetic.shape import Head, Points, ramp

CAMERA = 8.0  # distance of the camera from the origin, along z
PIVOT_Y, PIVOT_Z = -0.75, -0.25  # the head turns about the top of the neck
NEAR, FAR = 6.2, 10.2
SURFACE = 0.005  # a ray closer than this has arrived
GRAZING = 0.08  # … and one closer than this when its steps run out (it is in a crevice)
STRIDE = 0.92  # distances are only nearly lower bounds
COARSE = 4  # pixels per ray of the coarse pass, per axis
GAMMA = 1 / 1.15  # shaded light → picture
BACKGROUND, SKIN, HAIR, CLOTHES, EYE = range(5)


def rotation(faces: FaceParams) -> Tensor:
    """[B, 3, 3]: head space → world space (about the pivot)."""
    cy, sy = faces.yaw.cos(), faces.yaw.sin()
    cp, sp = faces.pitch.cos(), faces.pitch.sin()
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)
    turn = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], 1).view(-1, 3, 3)
    nod = torch.stack([one, zero, zero, zero, cp, -sp, zero, sp, cp], 1).view(-1, 3, 3)
    return turn @ nod


class World:
    """One batch of faces, ready to be asked for distances."""

    def __init__(self, faces: FaceParams):
        self.faces = faces
        self.head = shape.head_of(faces)
        self.rotation = rotation(faces)

    def to_head(self, p: Points) -> Points:
        """World points → head space."""
        x, y, z = p
        y, z = y - PIVOT_Y, z - PIVOT_Z
        r = self.rotation[:, :, :, None]
        hx = r[:, 0, 0] * x + r[:, 1, 0] * y + r[:, 2, 0] * z
        hy = r[:, 0, 1] * x + r[:, 1, 1] * y + r[:, 2, 1] * z
        hz = r[:, 0, 2] * x + r[:, 1, 2] * y + r[:, 2, 2] * z
        return hx, hy + PIVOT_Y, hz + PIVOT_Z

    def distances(self, p: Points) -> tuple[Tensor, Tensor, Tensor]:
        """Distances to skin, hair and clothes."""
        q = self.to_head(p)
        skin = shape.union(shape.skin(q, self.head), shape.neck(*p), 0.10)
        return skin, shape.hair(q, self.head), shape.clothes(*p)

    def distance(self, p: Points) -> Tensor:
        skin, hair, clothes = self.distances(p)
        return torch.minimum(torch.minimum(skin, hair), clothes)


@dataclass(frozen=True)
class View:
    """A picture's place in the plane z = 0 of world space: plane = matrix · (pixel x, y, 1).

    matrix: [B, 2, 3]; plane coordinates are x right, y down. height, width: in pixels.
    """

    matrix: Tensor
    height: int
    width: int

    def finer(self, factor: int) -> "View":
        """The same view with factor² as many pixels."""
        scale = self.matrix.new_tensor([1 / factor, 1 / factor, 1])
        return View(self.matrix * scale, self.height * factor, self.width * factor)

    def rays(self, step: int = 1) -> Points:
        """Unit directions [B, N] through the centres of every `step`-th pixel block."""
        m = self.matrix
        rows = (torch.arange(0, self.height, step, device=m.device) + step / 2).to(m.dtype)
        columns = (torch.arange(0, self.width, step, device=m.device) + step / 2).to(m.dtype)
        v, u = torch.meshgrid(rows, columns, indexing="ij")
        u, v = u.reshape(1, -1), v.reshape(1, -1)
        x = m[:, 0, 0, None] * u + m[:, 0, 1, None] * v + m[:, 0, 2, None]
        y = -(m[:, 1, 0, None] * u + m[:, 1, 1, None] * v + m[:, 1, 2, None])
        length = (x * x + y * y + CAMERA * CAMERA).sqrt()
        return x / length, y / length, -CAMERA / length

    def pixels(self, plane: Tensor) -> Tensor:
        """Plane points [B, K, 2] (y down) → pixel positions [B, K, 2]."""
        inverse = torch.linalg.inv(self.matrix[:, :, :2].double())
        shifted = plane.double() - self.matrix[:, None, :, 2].double()
        return torch.einsum("bij,bkj->bki", inverse, shifted)


def _at(direction: Points, t: Tensor | float) -> Points:
    dx, dy, dz = direction
    return dx * t, dy * t, CAMERA + dz * t


def _march(world: World, direction: Points, start: Tensor, steps: int) -> Tensor:
    """Depth [B, N] of the first surface from `start` on; infinite for none.

    Rays that have arrived, left, or have an infinite start are dropped as the march goes on; every
    face keeps as many as the one with most of them left.
    """
    depth = torch.full_like(start, math.inf)
    active, index = start.isfinite(), torch.arange(start.shape[1], device=start.device)
    index = index.expand_as(start)
    t, rays, d = start, direction, torch.full_like(start, math.inf)
    for _ in range(steps):
        most = int(active.sum(1).max())
        if most == 0:
            break
        if most < 0.85 * active.shape[1]:
            order = active.to(torch.uint8).argsort(dim=1, descending=True)[:, :most]
            active, index, t = (c.gather(1, order) for c in (active, index, t))
            rays = tuple(c.gather(1, order) for c in rays)
        d = world.distance(_at(rays, torch.where(active, t, NEAR)))
        found = active & (d < SURFACE)
        depth.scatter_(1, index, torch.where(found, t, depth.gather(1, index)))
        t = torch.where(active, t + d * STRIDE, t)
        active = active & ~found & (t < FAR)
    if d.shape == active.shape:
        grazing = active & (d < GRAZING)
        depth.scatter_(1, index, torch.where(grazing, t, depth.gather(1, index)))
    return depth


def _depths(world: World, view: View) -> Tensor:
    """Depth [B, H·W]: a coarse pass finds where to begin, so that most steps are shared."""
    step = COARSE
    rows, columns = -(-view.height // step), -(-view.width // step)
    rays = view.rays(step)
    coarse = _march(world, rays, torch.full_like(rays[0], NEAR), steps=40)
    coarse = coarse.view(-1, 1, rows, columns)
    # The nearest surface around a block, less what may stick out between its rays.
    nearest = -F.max_pool2d(-coarse, 3, stride=1, padding=1) - 0.12
    start = nearest.repeat_interleave(step, 2).repeat_interleave(step, 3)
    start = start[:, :, : view.height, : view.width].reshape(len(coarse), -1)
    return _march(world, view.rays(), start, steps=36)


def _normal(world: World, p: Points, e: float = 0.006) -> Points:
    """Surface normal from four distances (tetrahedron)."""
    x, y, z = p
    a = world.distance((x + e, y - e, z - e))
    b = world.distance((x - e, y - e, z + e))
    c = world.distance((x - e, y + e, z - e))
    d = world.distance((x + e, y + e, z + e))
    return unit((a - b - c + d, -a - b + c + d, -a + b - c + d))


def unit(v: Points) -> Points:
    length = (v[0] * v[0] + v[1] * v[1] + v[2] * v[2]).sqrt() + 1e-9
    return v[0] / length, v[1] / length, v[2] / length


def dot(a: Points, b: Points) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _along(p: Points, direction: Points, t: Tensor | float) -> Points:
    return p[0] + direction[0] * t, p[1] + direction[1] * t, p[2] + direction[2] * t


def _occlusion(world: World, p: Points, normal: Points) -> Tensor:
    """Ambient occlusion from three distances along the normal."""
    blocked, weight = torch.zeros_like(p[0]), 1.0
    for k in (1, 2, 3):
        reach = 0.065 * k
        blocked = blocked + (reach - world.distance(_along(p, normal, reach))) * weight
        weight *= 0.75
    return (1 - 1.6 * blocked).clamp(0, 1)


def _shadow(world: World, p: Points, normal: Points, light: Points) -> Tensor:
    """Soft shadow towards the light, 0 … 1."""
    start = _along(p, normal, 0.02)
    t = torch.full_like(p[0], 0.06)
    shadow = torch.ones_like(t)
    for _ in range(8):
        d = world.distance(_along(start, light, t))
        shadow = torch.minimum(shadow, 6 * d / t)
        t = t + d.clamp(0.05, 0.28)
    shadow = shadow.clamp(0, 1)
    return shadow * shadow * (3 - 2 * shadow)


@dataclass(frozen=True)
class Visible:
    """What the pixels of one view see: everything about it that colors do not change.

    The seen points are [B, M]; `index` [B, M] are their pixels and `hit` [B, M] tells which are
    real: every face has as many as the one that fills most pixels.
    """

    world: World
    view: View
    index: Tensor
    hit: Tensor
    point: Points
    direction: Points
    normal: Points
    light: Points
    occlusion: Tensor
    shadow: Tensor
    on_hair: Tensor
    on_clothes: Tensor


def trace(faces: FaceParams, view: View, world: World | None = None) -> Visible:
    """What every pixel of the view sees. faces: [B], view: of B pictures. world: other shapes than
    those of `faces` alone."""
    world = world or World(faces)
    direction: Points = view.rays()
    depth = _depths(world, view)
    hit = depth.isfinite()
    index = hit.to(torch.uint8).argsort(dim=1, descending=True)[:, : int(hit.sum(1).max())]
    hit = hit.gather(1, index)
    depth = torch.where(hit, depth.gather(1, index), NEAR)
    direction = tuple(c.gather(1, index) for c in direction)
    p = _at(direction, depth)
    normal = _normal(world, p)
    azimuth, elevation = world.head["light_azimuth"], world.head["light_elevation"]
    towards = (azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos())
    light = tuple(c.expand_as(depth) for c in towards)
    skin, hair, clothes = world.distances(p)
    on_hair = (hair < skin) & (hair < clothes)
    return Visible(
        world=world,
        view=view,
        index=index,
        hit=hit,
        point=p,
        direction=direction,
        normal=normal,
        light=light,
        occlusion=_occlusion(world, p, normal),
        shadow=_shadow(world, p, normal, light),
        on_hair=on_hair,
        on_clothes=(clothes < skin) & ~on_hair,
    )


class Noise:
    """Smooth tileable noise, mean ½, from a fixed texture."""

    def __init__(self, device: torch.device):
        g = torch.Generator().manual_seed(7)
        grid = torch.rand(1, 1, 64, 64, generator=g)
        grid = F.pad(grid, (2, 3, 2, 3), mode="circular")
        fine = F.interpolate(grid, scale_factor=8, mode="bicubic", align_corners=False)
        self.texture = fine[:, :, 16 : 16 + 513, 16 : 16 + 513].clamp(0, 1).to(device)

    def __call__(self, u: Tensor, v: Tensor) -> Tensor:
        """Noise with about one feature per unit of u and v."""
        u, v = u / 64, v / 64
        grid = torch.stack([u - u.floor(), v - v.floor()], dim=-1) * 2 - 1
        texture = self.texture.expand(u.shape[0], -1, -1, -1)
        return F.grid_sample(texture, grid[:, None], align_corners=True)[:, 0, 0]


def _mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    return a + (b - a) * t


def _paint(seen: Visible, h: Head, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """Colors [B, 3, M], material [B, M] and hair coverage [B, M] of the seen points.

    h may differ from the traced head in its colors and in the strength and warmth of the light.
    """
    p, normal, light, shadow = seen.point, seen.normal, seen.light, seen.shadow
    on_hair, on_clothes, occlusion = seen.on_hair, seen.on_clothes, seen.occlusion
    q = seen.world.to_head(p)
    _, y, _ = q
    facing = dot(normal, light)
    half = unit(tuple(a - b for a, b in zip(light, seen.direction, strict=True)))
    gloss = dot(normal, half).clamp_min(0)
    fresnel = (1 + dot(normal, seen.direction)).clamp(0, 1) ** 4

    skin_rgb, skin_spec, skin_power, is_eye = skin_color(h, q, light, noise)
    strand, sheen, hair_tex = hair_color(seen.world, h, q, normal, half, noise)

    # Near the hairline single strands cover the skin before the mass of hair begins.
    scalp = shape.hairline(q, h)
    density = (h["hair_volume"] / 0.05).clamp(0, 1)
    angle = shape.strand_angle(q, h)
    fray = noise(angle * 60 + 3, y * 5 + 11) - 0.5
    sparse = ramp(-0.05, 0.05, scalp + 0.09 * fray) * density * (h["hair_volume"] > 0.004)
    covered = torch.where(on_hair, 1.0, sparse * ~on_clothes)
    rgb = torch.where(covered[:, None] > 0, _mix(skin_rgb, strand, covered[:, None]), skin_rgb)
    weave = 0.93 + 0.07 * noise(p[0] * 30, p[1] * 30)
    cloth = h["clothes_colour"][:, :, None] * weave[:, None]
    rgb = torch.where(on_clothes[:, None], cloth, rgb)

    wrap = torch.where(covered > 0.5, 0.35, 0.30)
    diffuse = ((facing + wrap) / (1 + wrap)).clamp(0, 1) * (0.22 + 0.78 * shadow)
    diffuse = diffuse * h["light_strength"]
    ambient = (0.50 + 0.16 * normal[1] + 0.08 * normal[2]) * (0.35 + 0.65 * occlusion)
    warm = 0.06 * h["light_warmth"]
    energy = torch.stack(
        [
            ambient * 0.62 * (1 - 0.3 * warm) + diffuse * (0.78 + warm),
            ambient * 0.62 + diffuse * 0.76,
            ambient * 0.66 + diffuse * (0.74 - warm),
        ],
        1,
    )
    bare = (1 - covered) * ~on_clothes
    terminator = torch.exp(-((facing / 0.28) ** 2)) * 0.07 * (1 - 0.5 * h["melanin"]) * bare
    terminator = terminator * ~is_eye
    energy = energy + torch.stack([terminator, terminator * 0.1, torch.zeros_like(terminator)], 1)
    highlight = skin_spec * gloss**skin_power * shadow * h["light_strength"] * bare
    rim = (fresnel * 0.09 * occlusion)[:, None] * (0.4 + rgb)
    hair_light = sheen * (shadow * 0.8 + 0.2) * (facing + 0.4).clamp(0, 1) * h["light_strength"]
    rgb = rgb * energy + highlight[:, None] + rim + (hair_light * covered)[:, None] * hair_tex
    material = torch.where(on_clothes, CLOTHES, torch.where(covered > 0.5, HAIR, SKIN))
    material = torch.where(is_eye & (material == SKIN), EYE, material)
    return rgb, material, covered


def hair_color(
    world: World, h: Head, q: Points, normal: Points, half: Points, noise: Noise
) -> tuple[Tensor, Tensor, Tensor]:
    """Strand color [B, 3, N], sheen [B, N] and sheen tint [B, 3, N]."""
    x, y, z = q
    angle = shape.strand_angle(q, h)
    curl, wave = h["hair_curl"], h["hair_wave"]
    rate = 5 + 3 * h["hair_wave_rate"]
    sway = 0.16 * wave * torch.sin(y * rate + 2 * torch.sin(angle * 3))
    u = angle + sway
    locks, strands, fine = (
        noise(u * 9 + 40, y * 1.1 + 7),
        noise(u * 40 + 90, y * 2.2),
        noise(u * 110 + 20, y * 3.5 + 5),
    )
    mat1 = noise(angle * 14 + z * 9, y * 12 + x * 7)
    mat2 = noise(angle * 34 + 5, y * 30 + x * 17)
    curly = ramp(0.3, 0.6, curl)
    locks, strands = _mix(locks, mat1, curly), _mix(strands, mat2, curly)
    value = 0.66 + 0.28 * locks + 0.22 * (strands - 0.5) + 0.26 * (fine - 0.5) * (1 - curly)
    # `hair_colour` is how the hair looks on average in average light, not its albedo.
    color = 1.2 * h["hair_colour"][:, :, None] ** (1 / GAMMA)
    strand = color * value[:, None]

    # Kajiya-Kay: the highlight is widest across the strand. Strands run down from the crown.
    r = world.rotation[:, :, :, None]
    n, g = (
        tuple(torch.stack([r[:, j, i] * v[j] for j in range(3)]).sum(0) for i in range(3))
        for v in (normal, half)
    )
    top = n[1].clamp_min(0) * 1.5
    t = (x * (0.3 + top) + 0.5 * (locks - 0.5), torch.full_like(x, -1.0), z * 0.3 + (z + 0.3) * top)
    strand_direction = unit(_along(t, n, -dot(t, n)))
    across = (1 - dot(strand_direction, g) ** 2).clamp(0, 1)
    sheen = 0.26 * across**16 * (0.45 + 0.9 * strands) * (1 - 0.75 * curl)
    grey = (color * color.new_tensor([0.3, 0.59, 0.11])[:, None]).sum(1, keepdim=True)
    return strand, sheen, 0.06 + 0.3 * grey + 0.6 * color


def skin_color(
    h: Head, q: Points, light: Points, noise: Noise
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Skin with blush, brows, lips, teeth and eyes: color, gloss, gloss power, is eye."""
    x, y, z = q
    a = x.abs()
    m = h["melanin"]
    red = 0.03 * h["redness"]
    base = torch.stack([0.91 - 0.52 * m + red, 0.70 - 0.475 * m, 0.575 - 0.435 * m - red * 0.5], 1)
    rgb = base.expand(-1, -1, x.shape[1]).clone()
    front = ((z > 0.1) & (y > -1.05)).float()

    def tint(amount: Tensor, to: Tensor) -> None:
        nonlocal rgb
        rgb = _mix(rgb, to, amount[:, None])

    mottle = (noise(x * 16, y * 16 + 3) - 0.5) * 0.05
    rgb = rgb * (1 + mottle[:, None])
    blush = 0.10 * torch.exp(-((a - 0.40) ** 2 + (y + 0.22) ** 2) / 0.035)
    blush = (blush + 0.08 * torch.exp(-(x * x + (y + 0.27) ** 2) / 0.02)) * front
    socket = 0.13 * torch.exp(-((a - h.eye_x) ** 2 / 0.05 + (y - 0.09) ** 2 / 0.018)) * front
    rgb = rgb * torch.stack(
        [1 - 0.8 * socket, (1 - blush) * (1 - socket), (1 - blush) * (1 - socket)], 1
    )

    # lips, mouth, teeth
    face = (z > 0.35).float()
    lip, inner = shape.lips(x, y, h)
    lip, inner = lip * face, inner * face
    lr = h["lip_redness"]
    lip_rgb = torch.stack(
        [
            (0.74 + 0.05 * lr) * (1 - 0.45 * m),
            (0.42 - 0.10 * lr) * (1 - 0.5 * m),
            (0.39 - 0.06 * lr) * (1 - 0.45 * m),
        ],
        1,
    )
    tint(lip, lip_rgb)
    _, upper, lower = shape.mouth_line(x, h)
    u = x / h.mouth_half
    teeth = ramp(0.01, -0.01, (y - (upper - 0.02)).abs() - 0.055) * ramp(0.85, 0.65, u.abs())
    tint(inner, torch.stack([0.20 + 0.66 * teeth, 0.06 + 0.77 * teeth, 0.07 + 0.72 * teeth], 1))
    closed = (1 - (h["mouth_open"] * 4).clamp(0, 1)) * ramp(1.05, 0.85, u.abs())
    line = torch.exp(-(((y - (upper + lower) / 2) / 0.010) ** 2)) * (1 - inner) * closed * face
    rgb = rgb * (1 - 0.55 * line[:, None])

    # brows: short strokes, thinner to the temple
    t = (a - h.eye_x - 0.005) / 0.235
    centre = 0.272 + 0.022 * h["brow_height"] + 0.06 * h["brow_raise"]
    centre = centre + 0.035 * (1 + 0.45 * h["brow_arch"]) * (1 - (t - 0.15) ** 2 * 1.3) - 0.03
    thick = 0.027 * (1 + 0.28 * h["brow_thickness"]) * (1 - 0.6 * ramp(-0.1, 1.1, t))
    stroke = noise(a * 75 + y * 45, y * 16)
    edge = (y - centre).abs() / thick + 0.5 * (stroke - 0.5)
    brow = ramp(1.25, 0.5, edge) * ramp(1.15, 0.8, t.abs()) * (0.45 + 0.45 * stroke) * (z > 0.2)
    tint(brow, h["brow_colour"][:, :, None] * (0.9 + 0.2 * stroke[:, None]))

    # eyes
    opening = shape.eye_opening(x, y, h)
    side = torch.where(x > 0, 1.0, -1.0)
    blink = torch.where(x > 0, h["blink_right"], h["blink_left"])
    v = y - shape.EYE_Y
    is_eye = (opening < 0) & (z > 0.3)
    gu = x - side * h.eye_x - 0.05 * h["gaze_x"]
    gv = v - 0.012 - 0.03 * h["gaze_y"]
    r = (gu * gu + gv * gv).sqrt() / (0.078 * h.eye_scale * h.eye_height.sqrt())
    iris = ramp(1.06, 0.94, r)
    spokes = noise(torch.atan2(gu, gv) * 5 + 20, r * 2)
    depth = 0.55 + 0.45 * ramp(0.2, 0.9, r) * (1 - ramp(0.78, 1.05, r) * 0.8) + 0.2 * (spokes - 0.5)
    pupil = ramp(0.48, 0.38, r)
    iris_rgb = h["iris_colour"][:, :, None] * (1.15 * depth * (1 - 0.95 * pupil))[:, None]
    white = rgb.new_tensor([0.90, 0.88, 0.87])[:, None]
    eye = _mix(white.expand_as(rgb), iris_rgb, iris[:, None])
    shade_lid = 1 - 0.45 * ramp(-0.045, 0.0, opening) * torch.where(v > 0, 1.0, 0.4)
    tint(ramp(0.004, -0.006, opening) * is_eye, eye * shade_lid[:, None])
    glint = ramp(0.022, 0.012, ((gu + 0.03 - 0.02 * light[0]) ** 2 + (gv - 0.032) ** 2).sqrt())
    rgb = rgb + (0.85 * glint * is_eye)[:, None]
    lash = torch.exp(-(((opening - 0.002) / 0.012) ** 2)) * (z > 0.3)
    lash = lash * torch.where((v > -0.01) | (blink > 0.6), 0.8, 0.25)
    rgb = rgb * (1 - 0.9 * lash[:, None])
    spec = torch.where(is_eye, 0.35, 0.13 + 0.12 * lip)
    power = torch.where(is_eye, 60.0, 16.0)
    return rgb, spec, power, is_eye


@dataclass(frozen=True)
class RenderedTruth:
    """Pictures and what is true of them. Images and masks are [B, C, H, W] in 0 … 1.

    masks: hair, skin (face, ears, neck), clothes, background; they sum to one.
    landmarks: [B, K, 2] pixel positions (x, y) in the order LANDMARKS.
    """

    image: Tensor
    hair: Tensor
    skin: Tensor
    clothes: Tensor
    background: Tensor
    landmarks: Tensor

    @property
    def masks(self) -> Tensor:
        """[B, 4, H, W]: background, skin, hair, clothes."""
        return torch.cat([self.background, self.skin, self.hair, self.clothes], 1)


LANDMARKS = ("eye_left", "eye_right", "mouth_left", "mouth_right", "nose_tip", "chin")


@cache
def noise_on(device: str) -> Noise:
    return Noise(torch.device(device))


def shade(
    seen: Visible, faces: FaceParams, *, reduce: int = 1, wall: View | None = None
) -> RenderedTruth:
    """Paint a traced view with the colors of `faces` (same shapes, hair, pose and light position).

    reduce: how many pixels per side of the traced view make one of the result (anti-aliasing).
    wall: how the background lies in the picture, if it does not move with the person.
    """
    painted = _paint(seen, shape.head_of(faces), noise_on(str(faces.yaw.device)))
    return assembled(seen, faces, *painted, background(wall or seen.view, faces), reduce)


def assembled(
    seen: Visible,
    faces: FaceParams,
    rgb: Tensor,
    material: Tensor,
    covered: Tensor,
    behind: Tensor,
    reduce: int,
    ink: Tensor | None = None,
) -> RenderedTruth:
    """Painted points before a background, with what is true of them.

    rgb [B, 3, M], material [B, M] and covered [B, M] of the seen points; behind [B, 3, H·W];
    ink: [B, 1, H·W], a factor of the picture.
    """
    view, batch = seen.view, len(faces)
    hit = seen.hit.to(rgb.dtype)
    is_clothes = (material == CLOTHES) * hit
    is_hair = covered * hit * (material != CLOTHES)
    layers = torch.stack([hit - is_hair - is_clothes, is_hair, is_clothes], 1)
    masks = rgb.new_zeros(batch, 3, view.height * view.width)
    where = seen.index[:, None].expand(-1, 3, -1)
    masks.scatter_(2, where, layers)
    image = behind.scatter(2, where, torch.where(seen.hit[:, None], rgb, behind.gather(2, where)))
    image = image if ink is None else image * ink

    planes = torch.cat([image.clamp(0, 1), masks], 1)
    planes = planes.view(batch, 6, view.height, view.width)
    planes = F.avg_pool2d(planes, reduce)
    masks = planes[:, 3:].clamp(0, 1)
    return RenderedTruth(
        image=planes[:, :3] ** GAMMA,
        hair=masks[:, 1:2],
        skin=masks[:, 0:1],
        clothes=masks[:, 2:3],
        background=(1 - masks.sum(1, keepdim=True)).clamp(0, 1),
        landmarks=view.pixels(landmarks(faces)) / reduce,
    )


def background(view: View, faces: FaceParams) -> Tensor:
    """[B, 3, H·W]: a soft spot on a wall."""
    dx, dy, dz = view.rays()
    x, y = -CAMERA * dx / dz, -CAMERA * dy / dz
    t = ramp(0.0, 1.8, torch.hypot(x * 0.8 - 0.3, y * 0.8 - 0.2))[:, None]
    return torch.lerp(faces.background_centre[:, :, None], faces.background_edge[:, :, None], t)


def render(faces: FaceParams, view: View, *, oversample: int = 2) -> RenderedTruth:
    """Trace and shade with `oversample`² rays per pixel."""
    return shade(trace(faces, view.finer(oversample)), faces, reduce=oversample)


def landmarks(faces: FaceParams) -> Tensor:
    """[B, K, 2] float64 positions in the plane (x right, y down), in the order LANDMARKS."""
    world = World(faces)
    h = world.head
    eye, mouth = h.eye_x, h.mouth_half * 0.97
    corner = h.mouth_y + 0.07 * h["smile"]
    zero = torch.zeros_like(eye)
    chin = -0.99 - 0.035 * h["chin_length"] - 0.12 * h["mouth_open"]
    x = torch.cat([-eye, eye, -mouth, mouth, zero, zero], 1)
    eye_y = zero + shape.EYE_Y
    y = torch.cat([eye_y, eye_y, corner, corner, h.nose_tip_y, chin], 1)
    z = torch.full_like(x, 1.6)
    for _ in range(80):
        z = z - shape.skin((x, y, z), h) * 0.8
    p = torch.stack([x, y - PIVOT_Y, z - PIVOT_Z], 1)
    p = world.rotation @ p + p.new_tensor([0, PIVOT_Y, PIVOT_Z])[:, None]
    plane = p[:, :2] * CAMERA / (CAMERA - p[:, 2:])
    return torch.stack([plane[:, 0], -plane[:, 1]], 2).double()


def true_crop(points: Tensor) -> CropAxes:
    """The FFHQ crop from landmarks [B, K, 2] in any coordinates with y down."""
    return crop_axes(*(points[:, LANDMARKS.index(n)].numpy() for n in LANDMARKS[:4]))


def aligned_view(
    faces: FaceParams,
    size: int,
    *,
    transform: Similarity | None = None,
    margin: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> View:
    """The FFHQ crop of each face, moved by `transform` [B], with extra pixels around.

    size: side of the nominal square. margin: pixels beyond it: left, top, right, bottom.
    """
    axes = true_crop(landmarks(faces).cpu())
    left, top, right, bottom = margin
    corner = (-0.5 - left / size, -0.5 - top / size)
    unit = np.array([[1 / size, 0, corner[0]], [0, 1 / size, corner[1]], [0, 0, 1]])
    if transform is not None:
        unit = np.linalg.inv(transform.matrices()) @ unit
    crop = np.stack([2 * axes.x, 2 * axes.y, axes.centre], axis=-1)
    matrix = torch.as_tensor(crop @ unit, dtype=torch.float32, device=faces.yaw.device)
    return View(matrix, top + size + bottom, left + size + right)
