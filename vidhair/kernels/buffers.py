"""Memory for the CPU kernels that was used before.

The system clears fresh memory page by page, at its first touch. For a picture of many channels that
takes up to as long as the filter that writes it; memory that has been used is at hand at once.
"""

import sys
import threading

import numpy as np
import torch
from torch import Tensor

SMALLEST = 1 << 20  # bytes; less than that the allocator keeps itself
LINE = 64  # bytes of a cache line, with which pieces begin
FITS = 2.0  # how much larger a piece may be than what is asked for: small results may stay for long
SPARE = 1.25  # how much may be kept, relative to the most that was in use at once


class BufferPool:
    """Memory of results: taken anew once nobody holds the tensor that was made of it."""

    def __init__(self) -> None:
        self._pieces: list[np.ndarray] = []
        self._most = 0  # bytes in use at once
        self._lock = threading.Lock()

    def take(self, size: int, dtype: torch.dtype) -> Tensor:
        """[size] with any content."""
        if size * dtype.itemsize < SMALLEST:
            return torch.empty(size, dtype=dtype)
        with self._lock:
            piece = self._piece(size * dtype.itemsize)
            return torch.from_numpy(piece)[: size * dtype.itemsize].view(dtype)

    def release(self) -> None:
        """Give back what is not in use."""
        with self._lock:
            self._pieces = [piece for piece in self._pieces if not self._free(piece)]
            self._most = 0

    @property
    def kept(self) -> int:
        """Bytes, in use or not."""
        return sum(piece.nbytes for piece in self._pieces)

    def _piece(self, needed: int) -> np.ndarray:
        free = [piece for piece in self._pieces if self._free(piece)]
        fitting = [piece for piece in free if needed <= piece.nbytes <= FITS * needed]
        if fitting:
            return min(fitting, key=len)
        used = self.kept - sum(piece.nbytes for piece in free)
        self._most = max(self._most, used + needed)
        while free and self.kept + needed > SPARE * self._most:
            gone = free.pop(0)
            self._pieces = [piece for piece in self._pieces if piece is not gone]
        memory = np.empty(needed + LINE, np.uint8)
        first = -memory.ctypes.data % LINE
        self._pieces.append(memory[first : first + needed])
        return self._pieces[-1]

    @staticmethod
    def _free(piece: np.ndarray) -> bool:
        """Whether nothing refers to it but the list, its reader, this argument and the counter."""
        return sys.getrefcount(piece) <= 4


buffer_pool = BufferPool()
_kept = threading.local()


def scratch(name: str, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[size] with any content, until the next call for the same name by the same thread."""
    pieces = vars(_kept).setdefault("pieces", {})
    piece = pieces.get((name, dtype))
    if piece is None or len(piece) < size:
        with torch.inference_mode(False):
            piece = pieces[name, dtype] = torch.empty(size, dtype=dtype)
    return piece[:size]
