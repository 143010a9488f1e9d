"""The compiled products of `product`."""

from numba import prange

from vidhair.kernels.simd import LANES, compiled, microkernel

# The sums of ROWS × PANEL vectors stay in registers: 24 of 32, or 12 of 16.
ROWS, PANEL = (8, 3) if LANES == 16 else (4, 3)
WIDTH = PANEL * LANES  # columns of a panel; the last one of a product may be narrower
STRETCH = 96  # rows of a that meet one panel after the other, while the cache holds them


def _block(vectors: int, *, onto: bool):
    """ROWS rows and some vectors of columns of c = a·b, or of what is added to c."""
    across = range(vectors)

    def block(v, a, at, a_row, a_step, b, from_, b_step, count, c, to, c_row):
        rows = [v.sum(to, v.times(i, c_row)) for i in range(ROWS)]
        places = [(row, j * LANES) for row in rows for j in across]

        # In bfloat16 a step takes two k, which lie beside each other in a and in b.
        load, everywhere, multiply_add, size = (
            (v.load_pairs, v.pair_everywhere, v.multiply_add_pairs, 2 * LANES)
            if a.bfloat16
            else (v.load, v.everywhere, v.multiply_add, LANES)
        )

        def step(k, sums):
            columns = [load(b, v.sum(from_, v.product(k, b_step)), j * size) for j in across]
            along = v.sum(at, v.product(k, a_step))
            left = [everywhere(a, v.sum(along, v.times(i, a_row))) for i in range(ROWS)]
            factors = [(x, y) for x in left for y in columns]
            return [multiply_add(x, y, s) for (x, y), s in zip(factors, sums, strict=True)]

        start = [v.load(c, *place) if onto else v.number(0) for place in places]
        for place, total in zip(places, v.repeat(count, start, step), strict=True):
            v.store(total, c, *place)

    return microkernel(block)


_three, _two, _one = (_block(n, onto=False) for n in (3, 2, 1))
_add_three, _add_two, _add_one = (_block(n, onto=True) for n in (3, 2, 1))


@compiled
def _panel(a, at, a_row, a_step, b, from_, b_step, count, c, to, c_row, rows, width, onto):
    """Some rows of the columns of one panel."""
    for r in range(0, rows, ROWS):
        # Where ROWS does not divide the rows, the last ones are computed once more.
        row = min(r, rows - ROWS)
        x, y = at + row * a_row, to + row * c_row
        if onto:
            if width == WIDTH:
                _add_three(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)
            elif width == 2 * LANES:
                _add_two(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)
            else:
                _add_one(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)
        elif width == WIDTH:
            _three(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)
        elif width == 2 * LANES:
            _two(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)
        else:
            _one(a, x, a_row, a_step, b, from_, b_step, count, c, y, c_row)


@compiled(parallel=True)
def multiply(a, a_strides, b, b_strides, c, c_strides, shape, onto):
    """c [B, M, N] = a [B, M, K] · b [B, K, N], or added to c; all three flat.

    shape: (B, M, K, N); N is a multiple of LANES, and M at least ROWS, and a multiple of it if the
    product is added. a_strides: of (B, M, K), c_strides: of (B, M), in elements. b_strides: of
    (B, panels, K), the last one 0 where `pack` has put the columns of a panel beside each other.
    In float32, or a and b in bfloat16: then K counts pairs, and so do the strides along it, but in
    elements.
    """
    batch, rows, count, columns = shape
    panels = -(-columns // WIDTH)
    stretches = -(-rows // STRETCH)
    for task in prange(batch * stretches * panels):
        panel = task % panels
        first = task // panels % stretches * STRETCH
        i = task // (panels * stretches)
        some = min(STRETCH, rows - first)
        if some < ROWS:
            first, some = rows - ROWS, ROWS
        width = min(WIDTH, columns - panel * WIDTH)
        b_step = b_strides[2] if b_strides[2] else width * a_strides[2]
        _panel(
            a, i * a_strides[0] + first * a_strides[1], a_strides[1], a_strides[2],
            b, i * b_strides[0] + panel * b_strides[1], b_step, count,
            c, i * c_strides[0] + first * c_strides[1] + panel * WIDTH, c_strides[1],
            some, width, onto,
        )  # fmt: skip


@microkernel
def _scaled(v, x, at, rows, k, columns, j, out, to):
    factor = v.multiply(v.everywhere(rows, k), v.load(columns, j))
    v.store(v.multiply(v.load(x, at), factor), out, to)


@microkernel
def _scaled_pairs(v, x, at, second, rows, k, columns, j, out, to):
    factors = v.load(columns, j)
    first = v.multiply(v.load(x, at), v.multiply(v.everywhere(rows, k), factors))
    other = v.multiply(v.load(x, second), v.multiply(v.everywhere(rows, k, 1), factors))
    v.store_pairs(first, other, out, to)


@compiled(parallel=True)
def pack(x, shape, rows, columns, out):
    """x [B, K, N] times rows [K] and columns [N] → panels [B, N / WIDTH, K, WIDTH], all flat.

    The last panel is as narrow as the columns that are left.
    """
    batch, count, wide = shape
    panels = -(-wide // WIDTH)
    for task in prange(batch * panels):
        i, first = task // panels, task % panels * WIDTH
        width = min(WIDTH, wide - first)
        for k in range(count):
            at = (i * count + k) * wide + first
            to = (i * wide + first) * count + k * width
            for j in range(0, width, LANES):
                _scaled(x, at + j, rows, k, columns, first + j, out, to + j)


@compiled(parallel=True)
def pack_pairs(x, shape, rows, columns, out):
    """As `pack`, with two rows beside each other in bfloat16: [B, N / WIDTH, K / 2, WIDTH, 2].

    K is even; the last row of x may be missing where that of `rows` is zero.
    """
    batch, count, wide = shape
    panels = -(-wide // WIDTH)
    given = len(x) // (batch * wide)
    for task in prange(batch * panels):
        i, first = task // panels, task % panels * WIDTH
        width = min(WIDTH, wide - first)
        for k in range(0, count, 2):
            at = (i * given + k) * wide + first
            second = at + wide if k + 1 < given else at
            to = (i * wide + first) * count + k * width
            for j in range(0, width, LANES):
                _scaled_pairs(x, at + j, second + j, rows, k, columns, first + j, out, to + 2 * j)
