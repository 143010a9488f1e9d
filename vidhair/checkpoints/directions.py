"""Directions in latent space as they are published: one row of numbers in a .npy file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidhair.checkpoints.foreign import shown_path
from vidhair.errors import CheckpointUnreadable

MAGIC = b"\x93NUMPY"
LONGEST = 1 << 16


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
    try:
        # Mapped, so that a size that is only claimed takes no memory; never unpickled.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointUnreadable(
            f"{shown_path(path)} is a damaged array or one of objects ({reason}); download it again"
        ) from error
    if array.dtype.kind != "f" or not 1 < array.size <= LONGEST or max(array.shape) != array.size:
        raise CheckpointUnreadable(
            f"{shown_path(path)} holds {array.dtype} numbers of shape {array.shape}, not one row "
            "of real ones; give the boundary of one attribute"
        )
    row = torch.from_numpy(np.array(array, np.float32).reshape(-1))
    if not row.isfinite().all() or not row.any():
        raise CheckpointUnreadable(
            f"{shown_path(path)} holds a direction that is zero or not finite; download it again"
        )
    return row
