"""Directions in latent space as they are published: one row of numbers in a .npy file.

numpy would read the header as Python source; one form of it is enough here.
"""

import math
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidhair.checkpoints.foreign import shown_path
from vidhair.checkpoints.limits import shown
from vidhair.errors import CheckpointUnreadable

MAGIC = b"\x93NUMPY"
HEADER = re.compile(
    rb"\{'descr': '([<>]f[248])', 'fortran_order': (?:True|False), "
    rb"'shape': \(([\dL, ]{0,80})\),? ?\}\s*"
)
LONGEST = 1 << 16  # numbers
MAX_BYTES = 8 * LONGEST + (1 << 12)


def is_direction(path: Path) -> bool:
    """Whether the file is an array of numpy's, by its first bytes; False if it cannot be read."""
    try:
        if not path.is_file():  # opening a named pipe would wait for a writer
            return False
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def read_direction(path: Path) -> Tensor:
    """A direction [D] in float32. Raises CheckpointUnreadable, which names the file."""

    def refused(fault: str) -> CheckpointUnreadable:
        return CheckpointUnreadable(
            f"{shown_path(path)} {fault}; give the boundary of one attribute, as it was published"
        )

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise refused(f"cannot be read ({error.strerror or error})") from error
    start = 10 if data[6:7] == b"\1" else 12  # by the version of the format
    end = start + int.from_bytes(data[8:start], "little")
    header = data[start:end]
    match = HEADER.fullmatch(header)
    if match is None or not data.startswith(MAGIC):
        raise refused(f"says that it holds {shown(header.decode('latin-1').strip()) or 'nothing'}")
    shape = tuple(int(size) for size in re.findall(rb"\d+", match[2]))
    if not 1 < max(shape, default=0) == math.prod(shape) <= LONGEST:
        raise refused(f"holds numbers of the shape {shape}, not one row")
    dtype = np.dtype(match[1].decode())
    if len(data) - end != dtype.itemsize * math.prod(shape):
        raise refused(f"has {len(data) - end} bytes for {math.prod(shape)} numbers")
    row = torch.from_numpy(np.frombuffer(data, dtype, offset=end).astype(np.float64)).float()
    if not row.isfinite().all() or not row.any():
        raise refused("holds a direction that is zero or not finite")
    return row
