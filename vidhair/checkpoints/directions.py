"""Directions in latent space as they are published: numbers in a .npy file, or saved by torch.

numpy would read the header as Python source; one form of it is enough here.
"""

import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

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
MOST_COMPONENTS = 1 << 20  # numbers: a component for each of 1024
MOST_EFFECTS = 1 << 24  # numbers: what 16,000 channels do to 1024 numbers of an embedding
MOST_AXES = 8
HEADER_BYTES = 1 << 12
DIRECTION = "direction"  # its name in a safetensors file
CHANNELS = ("layer", "channel", "amount")  # their names in one of channels
# The names of mean, components and standard deviations: encoder4editing's, then GANSpace's own.
COMPONENT_NAMES = (("mean", "comp", "std"), ("lat_mean", "lat_comp", "lat_stdev"))


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


def read_directions(path: Path, longest: int = LONGEST) -> Tensor:
    """Directions [K, D] in float32, of a .npy file, of a tensor that torch saved, or of the tensor
    "direction" of a safetensors file. longest: numbers in all that are taken.

    Raises CheckpointUnreadable, which names the file.
    """
    array = _read_array(path, longest) if is_direction(path) else read_checkpoint(path).data
    if isinstance(array, dict) and DIRECTION in array:
        array = array[DIRECTION]
    if not (isinstance(array, Tensor) and array.is_floating_point() and array.ndim):
        raise _refused(path, "holds no array of numbers")
    if array.numel() != math.prod(array.shape[-2:]):
        raise _refused(path, f"holds numbers of the shape {tuple(array.shape)}, not rows")
    return _checked(path, array.float().reshape(-1, array.shape[-1]).clone(), longest)


@dataclass(frozen=True)
class Components:
    """Principal components of codes. mean: [D]; directions: [K, D], of unit length; deviations:
    [K], standard deviations along them."""

    mean: Tensor
    directions: Tensor
    deviations: Tensor


def read_components(path: Path) -> Components:
    """Of an .npz file as GANSpace writes it, or a table of tensors with the same names, or
    encoder4editing's. Raises CheckpointUnreadable, which names the file."""
    held = _unpacked(path) if _is_npz(path) else read_checkpoint(path).data
    names = [names for names in COMPONENT_NAMES if isinstance(held, dict) and {*names} <= {*held}]
    if not names:
        raise _refused(path, f"has no {', '.join(COMPONENT_NAMES[0])} as GANSpace's files have")
    mean, rows, deviations = (held[name] for name in names[0])
    if not all(isinstance(x, Tensor) and x.is_floating_point() for x in (mean, rows, deviations)):
        raise _refused(path, "holds components that are no numbers")
    width, count = mean.numel(), deviations.numel()
    if not count or rows.numel() != count * width or rows.shape[-1] != width:
        raise _refused(
            path,
            f"holds components of the shape {tuple(rows.shape)} for {count} deviations and a mean "
            f"of {width} numbers",
        )
    rows = _checked(path, rows.float().reshape(count, width).clone(), MOST_COMPONENTS)
    mean, deviations = (x.float().flatten().clone() for x in (mean, deviations))
    if not (mean.isfinite().all() and deviations.isfinite().all() and (deviations > 0).all()):
        raise _refused(path, "holds a mean or deviations that are none")
    return Components(mean, rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-12), deviations)


def _is_npz(path: Path) -> bool:
    """Whether a zip archive holds arrays of numpy's, which torch's archives do not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return all(name.endswith(".npy") for name in archive.namelist()[:100])
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def _unpacked(path: Path) -> Mapping[str, Any]:
    """Those arrays of an .npz file that are asked for; the others are not read."""
    asked, found, most = {*sum(COMPONENT_NAMES, ())}, {}, 8 * MOST_COMPONENTS + HEADER_BYTES
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                if name in asked:
                    with archive.open(info) as file:
                        found[name] = _array_of(path, file.read(most), MOST_COMPONENTS)
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise _refused(path, f"cannot be unpacked ({error})") from error
    return found


def read_channels(path: Path) -> list[tuple[int, int, float]]:
    """(layer, channel, amount) of channels of S, of a safetensors file with the tensors "layer",
    "channel" and "amount" [K]. Raises CheckpointUnreadable, which names the file."""
    held = read_checkpoint(path).data
    given = [held.get(name) for name in CHANNELS] if isinstance(held, dict) else []
    rows = [row for row in given if isinstance(row, Tensor) and row.ndim == 1]
    if len(rows) < len(CHANNELS):
        raise _refused(path, f"has no rows {', '.join(CHANNELS)}")
    layers, channels, amounts = rows
    whole = not any(row.is_floating_point() or bool((row < 0).any()) for row in rows[:2])
    if not (whole and len(layers) == len(channels) == len(amounts) > 0):
        raise _refused(path, "holds channels that are none")
    if not amounts.isfinite().all():
        raise _refused(path, "holds amounts that are not finite")
    return list(zip(layers.tolist(), channels.tolist(), amounts.tolist(), strict=True))


def _refused(path: Path, fault: str) -> CheckpointUnreadable:
    return CheckpointUnreadable(
        f"{shown_path(path)} {fault}; give numbers of codes or directions as they were published"
    )


def _checked(path: Path, rows: Tensor, longest: int = LONGEST) -> Tensor:
    if not 1 < rows.numel() <= longest:
        raise _refused(path, f"holds numbers of the shape {tuple(rows.shape)}, not one row")
    if not rows.isfinite().all() or not rows.any():
        raise _refused(path, "holds a direction that is zero or not finite")
    return rows


def _read_array(path: Path, longest: int = LONGEST) -> Tensor:
    """float32 in the shape that a .npy file says."""
    try:
        with path.open("rb") as file:
            data = file.read(8 * longest + HEADER_BYTES)
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror or error})") from error
    return _checked(path, _array_of(path, data, longest), longest)


def _array_of(path: Path, data: bytes, longest: int) -> Tensor:
    start = 10 if data[6:7] == b"\1" else 12  # by the version of the format
    end = start + int.from_bytes(data[8:start], "little")
    header = data[start:end]
    match = HEADER.fullmatch(header)
    if match is None or not data.startswith(MAGIC):
        said = shown(header.decode("latin-1").strip()) or "nothing"
        raise _refused(path, f"says that it holds {said}")
    shape = tuple(int(size) for size in re.findall(rb"\d+", match[3]))
    count = math.prod(shape)
    if not (0 < len(shape) <= MOST_AXES and 1 < count <= longest):
        raise _refused(path, f"holds numbers of the shape {shape}, not one row")
    dtype = np.dtype(match[1].decode())
    if len(data) - end != dtype.itemsize * count:
        raise _refused(path, f"has {len(data) - end} bytes for {count} numbers")
    numbers = np.frombuffer(data, dtype, offset=end).astype(np.float64)
    order: Literal["C", "F"] = "F" if match[2] == b"True" else "C"
    return torch.from_numpy(numbers.reshape(shape, order=order).copy()).float()
