"""Pieces of pictures, for the compiled kernels."""

from vidhair.kernels.simd import compiled, microkernel


@microkernel
def copy(v, x, at, y, to):
    """One vector."""
    v.store(v.load(x, at), y, to)


@compiled
def patch_of(x, start, shape, top, left, side, offset, patch):
    """A square of LANES channels of x [H, W, C'], zero beyond the border, as patch[side·i + j]."""
    height, width, channels = shape
    for i in range(side):
        for j in range(side):
            if 0 <= top + i < height and 0 <= left + j < width:
                at = start + ((top + i) * width + left + j) * channels + offset
                copy(x, at, patch, side * i + j)
            else:
                patch[side * i + j] = 0
