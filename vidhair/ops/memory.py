"""Memory that CPU kernels and convolutions get again and again."""

import ctypes
import os
import sys
from functools import cache

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
KEEP_VARIABLE = "VIDHAIR_KEEP_MEMORY"


@cache
def keep_freed_memory() -> bool:
    """Let the process keep what it frees, up to its peak, instead of handing it back at once.

    Feature maps of 100 MB and more come and go with every layer. glibc maps each one anew, and the
    kernel clears it page by page at the first touch: measured at 1044 pixels, that made a product
    of two tensors six times and a convolution up to three times as slow. Returns whether it was
    done: not without glibc, and not if the environment variable VIDHAIR_KEEP_MEMORY is 0.
    """
    if not sys.platform.startswith("linux") or os.environ.get(KEEP_VARIABLE) == "0":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
