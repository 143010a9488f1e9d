"""Fused filtered leaky ReLU on GPUs: rows by ordinary arithmetic, columns by the matrix units.

The plain form writes the four times larger upsampled signal to memory three times. Here a program
holds a strip of columns for 64 lines (a line is a channel of a strip, in channels-last memory, so
that any number of channels fills it) and walks down the rows; nothing but x and y moves.

Notation, per axis, with `up` U, padding before p, flipped filters a (up) and d (down), and x zero
outside its range:

    u[m] = Σ_k a[k] · x[(m + k − p) / U]      over k for which the index is whole
    y[i] = Σ_t d[t] · act(u[2i + t])

Down the columns, six rows of x make an upsampled row, and that adds to six rows of y. Along it the
filters are banded matrices. A downsampling filter of two dimensions is a sum of few separable ones.
(Twelve matrices, one for every row of that filter, would do for any, and measured up to twice as
slow.) The matrix units take 16-bit numbers; sums are kept in float32. What enters them is scaled
by 1/32, so that nothing overflows.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch
from torch import Tensor
from torch._subclasses import FakeTensor

from vidhair.errors import DeviceUnavailable
from vidhair.kernels import TRITON_IS_HERE, triton_cache
from vidhair.kernels import layout_gpu as layout
from vidhair.kernels.cached import prepared

DEVICES = ("cuda",)
TAPS_PER_PHASE = 6
DOWN, DOWN_TAPS = 2, 12
SCALE = 1 / 32
# By dtype of x: what the matrix units take, forward and backward. Gradients may be too small for
# float16 where x is not float16 itself.
OPERANDS = {
    torch.float16: (torch.float16, torch.float16),
    torch.bfloat16: (torch.float16, torch.bfloat16),
    torch.float32: (torch.float32, torch.float32),
}


@dataclass(frozen=True)
class Tile:
    """Columns: of the strip that a program walks down, of the tiles in which it holds them, of
    those of the upsampled signal, and of the rows that come in (x, and for the gradient dy)."""

    strip: int
    out: int
    upsampled: int
    x: int
    dy: int = 0


# By U. The wide ones compute less twice, but leave no registers for a second part of a filter or
# for numbers of 32 bits: 1712 µs against 1091 µs for two parts, U = 4, and 1044² × 161 results.
WIDE = {2: Tile(21, 32, 64, 32), 4: Tile(26, 32, 64, 32)}
NARROW = {2: Tile(11, 16, 32, 32), 4: Tile(10, 16, 32, 16)}
WIDE_BACK = {2: Tile(21, 32, 64, 32, 32), 4: Tile(6, 16, 64, 16, 32)}
NARROW_BACK = {2: Tile(11, 16, 32, 32, 32), 4: Tile(6, 16, 64, 16, 32)}
LINES, WARPS = 64, 4  # of a program; with fewer warps, each alone, it took up to twice as long
VECTOR = layout.FEWEST  # channels that lie side by side whatever else
PROGRAMS = 2  # at once on a multiprocessor: they need that many registers
EXTRA_ROWS = 6  # that a program looks at before its first result is complete

# The downsampling filter as a sum of separable ones: how much of it (the sum of absolute taps) may
# be missing, by what it is multiplied with, and how many parts there may be. A filter that is the
# same from all sides has six at most, and the radial ones of StyleGAN3 two or three in 16 bit.
MISSING = {torch.float16: 5e-4, torch.float32: 1e-6}
MOST_PARTS = 6


def refusal(
    x: Tensor,
    *,
    fu: Tensor | None = None,
    fd: Tensor | None = None,
    b: Tensor | None = None,
    up: int = 1,
    down: int = 1,
    padding: int | Sequence[int] = 0,
    gain: float = math.sqrt(2),
    slope: float = 0.2,
    clamp: float | None = None,
    flip_filter: bool = False,
) -> str | None:
    """Why this kernel cannot do the call, or None if it can."""
    if x.device.type not in DEVICES:
        return f"runs on {DEVICES[0]}, not on {x.device.type}"
    if x.dtype not in OPERANDS:
        return f"no kernel for {x.dtype}"
    if up not in WIDE or down != DOWN:
        return f"made for up 2 or 4 and down 2, not {up} and {down}"
    if fu is None or fd is None:
        return f"there is no {'up' if fu is None else 'down'}sampling filter"
    for name, f, factor in (("up", fu, up), ("down", fd, down)):
        for taps in f.shape:
            if taps != TAPS_PER_PHASE * factor:
                return f"made for {TAPS_PER_PHASE * factor} {name}sampling taps, not {taps}"
    if fu.ndim != 1:
        return "the upsampling filter is not separable"
    if fd.ndim == 2 and _parts(fd, x.dtype) > MOST_PARTS:
        return f"the downsampling filter is not a sum of {MOST_PARTS} separable ones"
    if not 0 <= slope <= 1 or gain < 0:
        return f"made for a slope of 0 … 1 and a gain that is not negative, not {slope} and {gain}"
    if torch.is_grad_enabled() and (fu.requires_grad or fd.requires_grad):
        return "no gradient for the filters"
    return None if TRITON_IS_HERE else "Triton is not installed"


def empty_result(x: Tensor, fu: Tensor, fd: Tensor, b, up: int, down: int, padding, *_) -> Tensor:
    """[N, C, H', W'], allocated as `forward` returns it."""
    x0, x1, y0, y1 = padding
    n, c, h, w = x.shape
    beyond = 1 - fu.shape[-1] - fd.shape[-1]
    out_h, out_w = (h * up + y0 + y1 + beyond) // down + 1, (w * up + x0 + x1 + beyond) // down + 1
    assert out_h > 0 and out_w > 0, f"{tuple(x.shape)} is too small for {padding=}"
    return layout.empty((n, c, out_h, out_w), like=x)


def empty_gradient(x: Tensor) -> Tensor:
    """[N, C, H, W], allocated as `backward` returns it."""
    return layout.empty(x.shape, like=x)


def forward(
    x: Tensor,
    fu: Tensor,
    fd: Tensor,
    b: Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int],
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> Tensor:
    """y, for the calls that `refusal` lets through. padding: x before, after, y before, after."""
    y = empty_result(x, fu, fd, b, up, down, padding)
    if not y.numel():
        return y
    filters = _filters(fu, fd, up, padding[0], gain, flip_filter, x.dtype)
    source, target, tile = layout.whole(layout.laid_out(x)), layout.whole(y), filters.tile
    n, c, out_h, out_w = len(x), _alive(x), *y.shape[2:]
    strips = -(-out_w // tile.strip)
    lines = -(-n * strips * c // LINES)
    rows = _rows(x.device, lines, out_h)
    x0, _, y0, _ = padding
    first_row = (up - 1 - y0) // up
    skew = up - 1 - y0 - up * first_row
    steps = -(-(DOWN * (rows - 1) + DOWN_TAPS + skew) // up)
    _kernels().forward[lines, -(-out_h // rows)](
        source, _pointer(b, x), target, filters.upsample, filters.downsample, filters.taps_up,
        tuple(t / filters.scale for t in filters.taps_down),
        filters.scale, slope,
        x.shape[1], (target.shape[1] - c) // VECTOR,
        n * strips * c // VECTOR, c // VECTOR, strips, *x.shape[2:], out_h, out_w,
        *_strides(source), *_strides(target),
        first_row, -(x0 // up), DOWN * tile.strip // up, rows, steps, skew,
        LIMIT=_limit(clamp, filters.scale), BIASED=b is not None, VEC=VECTOR, UP=up, ODD=skew % 2,
        RANK=filters.parts, STRIP=tile.strip, M=LINES, IN=tile.x, UPSAMPLED=tile.upsampled,
        OUT=tile.out, **_types(x.dtype), num_warps=WARPS,
    )  # fmt: skip
    return y


def backward(
    dy: Tensor,
    x: Tensor,
    fu: Tensor,
    fd: Tensor,
    b: Tensor | None,
    up: int,
    down: int,
    padding: Sequence[int],
    gain: float,
    slope: float,
    clamp: float | None,
    flip_filter: bool,
) -> Tensor:
    """dx; u is computed again rather than kept."""
    dx = empty_gradient(x)
    if not dx.numel():
        return dx
    filters = _filters(fu, fd, up, padding[0], gain, flip_filter, x.dtype)
    source, target = layout.whole(layout.laid_out(x)), layout.whole(dx)
    upstream = layout.whole(layout.laid_out(dy.to(x.dtype)))
    tile = filters.tile_back
    n, c, h, w = len(x), _alive(x), *x.shape[2:]
    strips = -(-w // tile.strip)
    lines = -(-n * strips * c // LINES)
    rows = _rows(x.device, lines, h)
    x0, _, y0, _ = padding
    # The first upsampled row that the first step looks at, and column that the first strip does.
    top, left = y0 + 1 - 6 * up, x0 + 1 - 6 * up
    _kernels().backward[lines, -(-h // rows)](
        source, _pointer(b, x), upstream, target,
        filters.upsample_again, filters.transposed, filters.back,
        filters.taps_up, filters.taps_down, filters.scale, slope,
        x.shape[1], (target.shape[1] - c) // VECTOR,
        n * strips * c // VECTOR, c // VECTOR, strips, h, w, *dy.shape[2:],
        *_strides(source), *_strides(upstream), *_strides(target),
        -(-top // 2) - 1, -((DOWN_TAPS - 1 - left) // 2), up * tile.strip // DOWN,
        rows, rows + 5,
        LIMIT=_limit(clamp, filters.scale), BIASED=b is not None, VEC=VECTOR, UP=up, ODD=top % 2,
        RANK=filters.parts, STRIP=tile.strip, M=LINES, IN=tile.x, IN_Y=tile.dy,
        UPSAMPLED=tile.upsampled, OUT=tile.out, **_types(x.dtype),
        GRADIENT=_triton_dtype(OPERANDS[x.dtype][1]), num_warps=WARPS,
    )  # fmt: skip
    return dx


@dataclass(frozen=True)
class _Filters:
    """A pair of filters as the loops take them.

    taps_up, taps_down: down the columns, [6·U] and [parts · 12]. The others are banded matrices
    along a row, input × output; `transposed`, `upsample_again` and `back` for the gradient, in
    whose tiles the strip lies elsewhere. `upsample_again` is followed by what rounding took off.
    """

    scale: float
    parts: int
    tile: Tile
    tile_back: Tile
    taps_up: tuple[float, ...]
    taps_down: tuple[float, ...]
    upsample: Tensor
    downsample: Tensor
    upsample_again: Tensor
    transposed: Tensor
    back: Tensor


def _banded(f: Tensor, rows: int, columns: int, tap) -> Tensor:
    """[…, rows, columns]: f[…, tap(i, o)], zero where there is no such tap."""
    i, o = torch.arange(rows)[:, None], torch.arange(columns)[None, :]
    k = tap(i, o)
    found = f[..., k.clamp(0, f.shape[-1] - 1)]
    return torch.where((k >= 0) & (k < f.shape[-1]), found, 0.0)


def _separated(d: Tensor, missing: float) -> tuple[Tensor, Tensor]:
    """d ≈ Σ_r vertical[r] ⊗ horizontal[r], with as few parts as may be."""
    u, s, v = torch.linalg.svd(d)
    vertical, horizontal = u.t() * s[:, None], v
    left = d
    for parts in range(1, len(d) + 1):
        left = left - torch.outer(vertical[parts - 1], horizontal[parts - 1])
        if float(left.abs().sum()) <= missing * float(d.abs().sum()):
            break
    return vertical[:parts], horizontal[:parts]


def _design(
    fu: Tensor, fd: Tensor, up: int, x0: int, gain: float, flip: bool, dtype: torch.dtype
) -> _Filters:
    a, d = fu.detach().double().cpu() * up, fd.detach().double().cpu()
    if d.ndim == 1:
        d = torch.outer(d, d)
    if not flip:
        a, d = a.flip(0), d.flip(0, 1)
    scale = 1.0 if dtype == torch.float32 else SCALE
    exact, upstream = OPERANDS[dtype]
    vertical, horizontal = _separated(d, MISSING[exact])
    if len(horizontal) > MOST_PARTS:
        raise DeviceUnavailable(
            f"filtered_lrelu was traced for a downsampling filter that is a sum of {MOST_PARTS} "
            f"separable ones, and this one is one of {len(horizontal)}; trace it with "
            "VIDHAIR_IMPL=reference"
        )
    wide = len(horizontal) == 1 and dtype != torch.float32
    tile, tile_back = (WIDE[up], WIDE_BACK[up]) if wide else (NARROW[up], NARROW_BACK[up])
    first = -(x0 // up)
    left = x0 + 1 - 6 * up
    y_first = -((DOWN_TAPS - 1 - left) // 2)

    def ready(matrix: Tensor, dtype: torch.dtype) -> Tensor:
        return matrix.to(fu.device, dtype).contiguous()

    def upward(tile: Tile, shift: int) -> Tensor:
        return _banded(a * gain, tile.x, tile.upsampled, lambda i, m: up * i + shift - m)

    t = tile_back
    downward = _banded(horizontal, tile.upsampled, tile.out, lambda m, j: m - DOWN * j)
    again = upward(t, up - 1)
    transposed = _banded(
        horizontal, t.dy, t.upsampled, lambda j, m: left + m - DOWN * (y_first + j)
    )
    back = _banded(a * gain, t.upsampled, t.out, lambda m, i: up * i + 6 * up - 1 - m)
    return _Filters(
        scale,
        len(horizontal),
        tile,
        tile_back,
        tuple(a.tolist()),
        tuple(vertical.flatten().tolist()),
        ready(upward(tile, up * first + x0), exact),
        ready(downward, exact),
        ready(torch.stack([again, again - again.to(exact).double()]), exact),
        ready(transposed, upstream),
        ready(back, upstream),
    )


def _filters(fu: Tensor, fd: Tensor, up: int, *options) -> _Filters:
    """Made once for filters that stay as they are: reading them waits for the device."""
    if fu.is_inference():
        return _design(fu, fd, up, *options)
    # The result holds fu, so that its number is not given to another.
    what = "gpu", id(fu), fu._version, up, *options
    return prepared(fd, what, lambda fd: (_design(fu, fd, up, *options), fu))[0]


def _parts(fd: Tensor, dtype: torch.dtype) -> int:
    """Of a filter [n, n]; while a call is traced there are no values, and `forward` finds out."""
    if torch.compiler.is_compiling() or isinstance(fd, FakeTensor):
        return 0
    missing = MISSING[OPERANDS[dtype][0]]

    def count(fd: Tensor) -> int:
        return len(_separated(fd.double().cpu(), missing)[0])

    return prepared(fd, ("parts", missing), count)


def _limit(clamp: float | None, scale: float) -> float:
    return math.inf if clamp is None else clamp * scale


def _alive(x: Tensor) -> int:
    """Channels to compute; behind them are zeros."""
    return -(-x.shape[1] // VECTOR) * VECTOR


def _strides(x: Tensor) -> tuple[int, int, int]:
    """Of image, row and column, in vectors."""
    return x.stride(0) // VECTOR, x.stride(2) // VECTOR, x.stride(3) // VECTOR


@lru_cache
def _processors(device: torch.device) -> int:
    if device.type != "cuda":
        return 1
    return torch.cuda.get_device_properties(device).multi_processor_count


@lru_cache
def _rows(device: torch.device, lines: int, height: int) -> int:
    """Of a program; even. All multiprocessors shall be busy for as long, with the fewest rows that
    two programs look at."""
    places = PROGRAMS * _processors(device)

    def cost(rows: int) -> int:
        return -(-lines * -(-height // rows) // places) * (rows + EXTRA_ROWS)

    shares = {-(-height // count) for count in range(1, height + 1)}
    return min((share + share % 2 for share in shares), key=cost)


def _pointer(b: Tensor | None, x: Tensor) -> Tensor:
    """The bias, or anything where there is none."""
    return x if b is None else b.detach().contiguous()


def _types(dtype: torch.dtype) -> dict:
    """Of what the matrix units take; float32 numbers are split in three for them."""
    precision = "tf32x3" if dtype == torch.float32 else "ieee"
    return {"DOT": _triton_dtype(OPERANDS[dtype][0]), "PRECISION": precision}


def _triton_dtype(dtype: torch.dtype):
    import triton.language as tl

    return getattr(tl, str(dtype).removeprefix("torch."))


@cache
def _kernels():
    triton_cache.make_writable()
    from vidhair.kernels.filtered_lrelu import _triton

    return _triton
