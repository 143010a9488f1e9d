"""Directions in latent space as they are published: numbers in a .npy file, or saved by torch.

numpy would read the header as Python source; one form of it is enough here.
"""

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vidhair.checkpoints.limits import shown
from vidhair.checkpoints.third_party import read_checkpoint, shown_path
from vidhair.errors import CheckpointUnreadable

MAGIC = b"\x93NUMPY"
HEADER = re.compile(
    rb"\{'descr': '([<>]f[248])', 'fortran_order': (True|False), "
    rb"'shape': \(([\dL, ]{0,80})\),? ?\}\s*"
)
LONGEST = 1 << 16  # numbers
MOST_AXES = 8
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
    array = _read_array(path)
    if array.numel() != max(array.shape):
        raise _refused(path, f"holds numbers of the shape {tuple(array.shape)}, not one row")
    return array.flatten()


def read_directions(path: Path) -> Tensor:
    """Directions [K, D] in float32, of a .npy file or of a tensor that torch saved.

    Raises CheckpointUnreadable, which names the file.
    """
    array = _read_array(path) if is_direction(path) else read_checkpoint(path).data
    if not (isinstance(array, Tensor) and array.is_floating_point() and array.ndim):
        raise _refused(path, "holds no array of numbers")
    if array.numel() != math.prod(array.shape[-2:]):
        raise _refused(path, f"holds numbers of the shape {tuple(array.shape)}, not rows")
    return _checked(path, array.float().reshape(-1, array.shape[-1]).clone())


def _refused(path: Path, fault: str) -> CheckpointUnreadable:
    return CheckpointUnreadable(
        f"{shown_path(path)} {fault}; give numbers of codes or directions as they were published"
    )


def _checked(path: Path, rows: Tensor) -> Tensor:
    if not 1 < rows.numel() <= LONGEST:
        raise _refused(path, f"holds numbers of the shape {tuple(rows.shape)}, not one row")
    if not rows.isfinite().all() or not rows.any():
        raise _refused(path, "holds a direction that is zero or not finite")
    return rows


def _read_array(path: Path) -> Tensor:
    """float32 in the shape that a .npy file says."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from error
    start = 10 if data[6:7] == b"\1" else 12  # by the version of the format
    end = start + int.from_bytes(data[8:start], "little")
    header = data[start:end]
    match = HEADER.fullmatch(header)
    if match is None or not data.startswith(MAGIC):
        said = shown(header.decode("latin-1").strip()) or "nothing"
        raise _refused(path, f"says that it holds {said}")
    shape = tuple(int(size) for size in re.findall(rb"\d+", match[3]))
    count = math.prod(shape)
    if not (0 < len(shape) <= MOST_AXES and 1 < count <= LONGEST):
        raise _refused(path, f"holds numbers of the shape {shape}, not one row")
    dtype = np.dtype(match[1].decode())
    if len(data) - end != dtype.itemsize * count:
        raise _refused(path, f"has {len(data) - end} bytes for {count} numbers")
    numbers = np.frombuffer(data, dtype, offset=end).astype(np.float64)
    order: Literal["C", "F"] = "F" if match[2] == b"True" else "C"
    return _checked(path, torch.from_numpy(numbers.reshape(shape, order=order).copy()).float())
