"""Memory that kernels need while they run, kept for the next call.

Fresh memory costs as much as the work done in it: the system clears every page at its first touch.
"""

import threading

import torch
from torch import Tensor

_kept = threading.local()


def scratch(name: str, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[size] with any content. A name stands for one piece of memory per thread, which grows."""
    pieces = vars(_kept).setdefault("pieces", {})
    piece = pieces.get((name, dtype))
    if piece is None or len(piece) < size:
        with torch.inference_mode(False):
            piece = pieces[name, dtype] = torch.empty(size, dtype=dtype)
    return piece[:size]
