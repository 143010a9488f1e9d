"""Drawing of hair strands on CPUs.

M segments, D directions of light, V versions of the pigment, H × W pixels.
"""

import math

import numpy as np

from vidhair.kernels.simd import compiled

INVISIBLE = 0.0005  # of the light from behind; what lies deeper is not drawn
PIXEL_REACH = 0.7072  # half a pixel's diagonal
FRESNEL = 0.0465  # reflected by hair, of refractive index 1.55, at right angles


@compiled(fastmath=True, error_model="numpy")
def add_matter(grid, corner, step, starts, ends, widths):
    """Add to `grid` [X, Y, Z] the optical depth per length of segments.

    starts, ends: float32 [M, 3], widths: float32 [M]; corner: float [3], place of the first
    voxel's outer corner; step: of the grid. Fibres of length l and width w per volume hide
    π/4 · l · w of it in the mean over directions.
    """
    share = math.pi / 4 / step**3
    for m in range(len(starts)):
        dx = ends[m, 0] - starts[m, 0]
        dy = ends[m, 1] - starts[m, 1]
        dz = ends[m, 2] - starts[m, 2]
        amount = math.sqrt(dx * dx + dy * dy + dz * dz) * widths[m] * share
        # Spread over eight voxels, so that the grid is smooth.
        fx = (starts[m, 0] + 0.5 * dx - corner[0]) / step - 0.5
        fy = (starts[m, 1] + 0.5 * dy - corner[1]) / step - 0.5
        fz = (starts[m, 2] + 0.5 * dz - corner[2]) / step - 0.5
        x, y, z = math.floor(fx), math.floor(fy), math.floor(fz)
        if x < 0 or y < 0 or z < 0:
            continue
        if x + 1 >= grid.shape[0] or y + 1 >= grid.shape[1] or z + 1 >= grid.shape[2]:
            continue
        fx, fy, fz = fx - x, fy - y, fz - z
        for i in range(2):
            for j in range(2):
                for k in range(2):
                    u = fx if i else 1 - fx
                    v = fy if j else 1 - fy
                    w = fz if k else 1 - fz
                    grid[x + i, y + j, z + k] += np.float32(amount * u * v * w)


@compiled(fastmath=True, error_model="numpy")
def optical_depths(grid, corner, step, points, directions, first, growth, count):
    """Optical depth [M, D] between points and the lights.

    points: float32 [M, 3]; directions: float32 [D, 3], unit vectors towards the lights. The path
    is cut into `count` steps: the first of length `first`, each `growth` times as long as the one
    before it.
    """
    found = np.zeros((len(points), len(directions)), np.float32)
    for m in range(len(points)):
        for d in range(len(directions)):
            length, at, depth = first, 0.5 * first, 0.0
            for _ in range(count):
                fx = (points[m, 0] + directions[d, 0] * at - corner[0]) / step - 0.5
                fy = (points[m, 1] + directions[d, 1] * at - corner[1]) / step - 0.5
                fz = (points[m, 2] + directions[d, 2] * at - corner[2]) / step - 0.5
                x, y, z = math.floor(fx), math.floor(fy), math.floor(fz)
                if x < 0 or y < 0 or z < 0:
                    break
                if x + 1 >= grid.shape[0] or y + 1 >= grid.shape[1] or z + 1 >= grid.shape[2]:
                    break
                fx, fy, fz = fx - x, fy - y, fz - z
                near = (1 - fx) * ((1 - fy) * grid[x, y, z] + fy * grid[x, y + 1, z])
                near += fx * ((1 - fy) * grid[x + 1, y, z] + fy * grid[x + 1, y + 1, z])
                far = (1 - fx) * ((1 - fy) * grid[x, y, z + 1] + fy * grid[x, y + 1, z + 1])
                far += fx * ((1 - fy) * grid[x + 1, y, z + 1] + fy * grid[x + 1, y + 1, z + 1])
                depth += ((1 - fz) * near + fz * far) * length
                at += 0.5 * length * (1 + growth)
                length *= growth
            found[m, d] = depth
    return found


@compiled(fastmath=True, error_model="numpy")
def covered(distance, half_width, nx, ny):
    """Area of a pixel under an infinite strip: exact.

    distance: of the strip's axis from the pixel's centre; (nx, ny): unit normal of the strip.
    """
    a, b = abs(nx), abs(ny)
    if a < b:
        a, b = b, a
    return _half_plane(distance + half_width, a, b) - _half_plane(distance - half_width, a, b)


@compiled(fastmath=True, error_model="numpy")
def _half_plane(s, a, b):
    """Area of the unit square on the near side of a line at signed distance s from its centre.

    The line's normal is (a, b), a ≥ b ≥ 0. The area's derivative is a trapezoid: 1 / a as far as
    (a − b) / 2, from there on falling to 0 at (a + b) / 2.
    """
    outer, inner = 0.5 * (a + b), 0.5 * (a - b)
    t = abs(s)
    if t >= outer:
        area = 0.5
    elif t <= inner:
        area = t / a
    else:
        rest = outer - t
        area = 0.5 - rest * rest / (2 * a * b)
    return 0.5 + area if s > 0 else 0.5 - area


@compiled(fastmath=True, error_model="numpy")
def draw(order, starts, ends, start_z, end_z, widths, colors, layer, limit, light, amount, clear):
    """Lay segments over each other from front to back.

    order: int64 [M], nearest first. starts, ends: float32 [M, 2] in pixels; start_z, end_z:
    float32 [M], larger is nearer; widths: float32 [M] in pixels. colors: float32 [M, C].
    layer: uint8 [M], which of K layers a segment belongs to. limit: float32 [H, W], the z behind
    which nothing is seen. Results are added to: light [K, H, W, C], amount [K, H, W] (how much of
    the pixel each layer is seen in), clear [H, W] (from 1 on: what stays visible of what is
    behind). Fibres within a pixel are taken to lie independently: each hides its own area's share
    of what is behind it.
    """
    height, width = clear.shape
    channels = colors.shape[1]
    for n in range(len(order)):
        m = order[n]
        ax, ay, bx, by = starts[m, 0], starts[m, 1], ends[m, 0], ends[m, 1]
        dx, dy = bx - ax, by - ay
        length = math.sqrt(dx * dx + dy * dy)
        half = 0.5 * widths[m]
        if length < 1e-4:
            continue
        tx, ty = dx / length, dy / length
        reach = half + PIXEL_REACH
        top = max(0, math.floor(min(ay, by) - reach))
        bottom = min(height - 1, math.floor(max(ay, by) + reach))
        left = max(0, math.floor(min(ax, bx) - reach))
        right = min(width - 1, math.floor(max(ax, bx) + reach))
        k = layer[m]
        for y in range(top, bottom + 1):
            first, last = left, right
            if abs(ty) > 0.05:
                middle = ax + (y + 0.5 - ay) * tx / ty
                span = reach / abs(ty)
                first = max(left, math.floor(middle - span))
                last = min(right, math.floor(middle + span))
            for x in range(first, last + 1):
                through = clear[y, x]
                if through < INVISIBLE:
                    continue
                px, py = x + 0.5 - ax, y + 0.5 - ay
                away = px * -ty + py * tx
                if abs(away) > reach:
                    continue
                along = px * tx + py * ty
                z = start_z[m] + (end_z[m] - start_z[m]) * min(1.0, max(0.0, along / length))
                if z < limit[y, x]:
                    continue
                share = covered(away, half, -ty, tx)
                share *= covered(along - 0.5 * length, 0.5 * length, tx, ty)
                if share < 1e-5:
                    continue
                seen = through * share
                clear[y, x] = through - seen
                amount[k, y, x] += seen
                for c in range(channels):
                    light[k, y, x, c] += seen * colors[m, c]


@compiled(fastmath=True, error_model="numpy")
def _lobe(angle, width):
    """Normal distribution."""
    return math.exp(-0.5 * (angle / width) ** 2) / (math.sqrt(2 * math.pi) * width)


@compiled(fastmath=True, error_model="numpy")
def shine(tangents, views, depths, directions, powers, jitter, absorption, albedo, tilt, rough):
    """Light [M, V, 3] that fibres send to the viewer.

    tangents, views: float32 [M, 3], unit vectors from root to tip and to the viewer; depths
    [M, D]: optical depths towards the lights in directions [D, 3]; powers [D, 3]: irradiance / π;
    jitter: [M], of the scales' tilt, radians. absorption, albedo: float32 [M, V, 3] (see
    `vidhair.synthetic.pigment`). tilt, rough: of the scales and of the lobes, radians.
    The first direction is a lamp with highlights, the others are parts of the sky.

    Light reflected once (R), passing through (TT) and reflected inside (TRT), as Marschner et al.
    2003 have them: a normal distribution in the angle along the fibre, shifted by the scales' tilt,
    times a fixed shape around it, times what the pigment leaves of 0, 2 and 4 radii. All that
    scatters more often is the albedo by Kajiya and Kay's sine; it reaches the deeper the lighter
    the hair is, as light that is scattered forward does (Zinke et al. 2008).
    """
    count, versions = albedo.shape[0], albedo.shape[1]
    found = np.zeros((count, versions, 3), np.float32)
    for m in range(count):
        tx, ty, tz = tangents[m, 0], tangents[m, 1], tangents[m, 2]
        vx, vy, vz = views[m, 0], views[m, 1], views[m, 2]
        sin_out = tx * vx + ty * vy + tz * vz
        out = math.asin(min(1.0, max(-1.0, sin_out)))
        ox, oy, oz = vx - sin_out * tx, vy - sin_out * ty, vz - sin_out * tz
        for d in range(len(directions)):
            lx, ly, lz = directions[d, 0], directions[d, 1], directions[d, 2]
            sin_in = tx * lx + ty * ly + tz * lz
            cos_in = math.sqrt(max(0.0, 1 - sin_in * sin_in))
            depth = depths[m, d]
            first = second = third = 0.0
            if d == 0:
                ix, iy, iz = lx - sin_in * tx, ly - sin_in * ty, lz - sin_in * tz
                norm = math.sqrt((ix * ix + iy * iy + iz * iz) * (ox * ox + oy * oy + oz * oz))
                cos_phi = (ix * ox + iy * oy + iz * oz) / (norm + 1e-6)
                mean = 0.5 * (out + math.asin(min(1.0, max(-1.0, sin_in))))
                lean = tilt + jitter[m]
                direct = math.exp(-depth) * cos_in * math.pi
                half_cos = math.sqrt(max(0.0, 0.5 + 0.5 * cos_phi))
                first = direct * FRESNEL * _lobe(mean + lean, rough) * half_cos * 0.183
                back = math.exp(-4 * (1 + cos_phi))
                second = direct * 0.91 * _lobe(mean - 0.5 * lean, 0.5 * rough) * back * 0.35
                glint = math.exp(-2.5 * (1 - cos_phi))
                third = direct * FRESNEL * _lobe(mean - 1.5 * lean, 2 * rough) * glint * 0.41
            spread = 0.3 + 0.7 * cos_in
            for v in range(versions):
                for c in range(3):
                    base = albedo[m, v, c]
                    sigma = absorption[m, v, c]
                    soft = math.exp(-depth * (1 - 0.75 * math.sqrt(base)))
                    value = base * spread * soft + first
                    if d == 0:
                        value += second * math.exp(-2 * sigma) + third * math.exp(-4 * sigma)
                    found[m, v, c] += powers[d, c] * value
    return found
