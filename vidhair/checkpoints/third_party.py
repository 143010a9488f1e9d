"""Reading weight files that others made, without running a line of their code."""

import mmap
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.limits import Budget, Refused, shown
from vidhair.checkpoints.plain import Made, Plain
from vidhair.checkpoints.safetensors_files import looks_like_safetensors, read_safetensors
from vidhair.checkpoints.torch_files import LEGACY_MARK, read_legacy, read_pickle, read_zip
from vidhair.errors import CheckpointUnreadable

__all__ = ["Checkpoint", "Made", "check_tensors", "read_checkpoint"]

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
COUNTS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds, as plain data.

    `data` is made of dictionaries, lists, tuples, sets, numbers, text, bytes, torch.dtype and
    tensors. A network that was saved whole is a dictionary of its tensors by their dotted
    paths; `networks` says, by its key in `data` ("" for `data` itself), which class it was and
    how it was made. Tensors lie over the file where possible: leave it as it is while they are
    in use; writing to them leaves the file alone.
    """

    path: Path
    format: str  # safetensors, torch zip, torch legacy, pickle
    data: Any
    networks: Mapping[str, Made] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)  # of safetensors


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a weight file: safetensors, torch.save's two formats, or a pickle of NVIDIA's.

    The format is found from the content. Raises CheckpointUnreadable, which names the file,
    if the file is missing, damaged, of another format, or asks for anything but plain data.
    """
    path = Path(path)
    try:
        return interpreted(path, mapped(path))
    except Refused as refusal:
        raise CheckpointUnreadable(
            f"{shown_path(path)} {refusal.reason}; {refusal.remedy}"
        ) from refusal
    except OSError as error:
        raise CheckpointUnreadable(
            f"{shown_path(path)} cannot be read ({error.strerror or error}); check its name and "
            "its permissions"
        ) from error


def mapped(path: Path) -> memoryview:
    """The bytes of a regular file; what is written to them stays in memory."""
    if "\0" in str(path):
        raise Refused("is no name of a file", "give another")
    # Without O_NONBLOCK, opening a named pipe waits for a writer.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            raise Refused("is a folder", "name the file in it that holds the weights")
        if not stat.S_ISREG(status.st_mode):
            raise Refused("is not a regular file", "name a file that holds weights")
        if not status.st_size:
            raise Refused("is empty", "download it again")
        return memoryview(mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY))
    finally:
        os.close(descriptor)


def interpreted(path: Path, data: memoryview) -> Checkpoint:
    budget = Budget(len(data))
    start = bytes(data[:32])
    if start.startswith(b"PK\x03\x04"):
        kind, value = "torch zip", read_zip(data, budget)
    elif start[:1] == b"\x80" and LEGACY_MARK in start:
        kind, value = "torch legacy", read_legacy(data, budget)
    elif start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        kind, value = "pickle", read_pickle(data, budget)
    elif looks_like_safetensors(data):
        tensors, metadata = read_safetensors(data, budget)
        return Checkpoint(path, "safetensors", tensors, metadata=metadata)
    else:
        raise Refused(f"is {other_kind(data)}", "name a .safetensors, .pt, .pth or .pkl file")
    plain = Plain(budget)
    converted = plain.convert(value)
    networks = {}
    if id(converted) in plain.made:
        networks[""] = plain.made[id(converted)]
    elif type(converted) is dict:
        networks = {
            key: plain.made[id(entry)]
            for key, entry in converted.items()
            if id(entry) in plain.made and type(key) is str
        }
    return Checkpoint(path, kind, converted, networks)


def other_kind(data: memoryview) -> str:
    """What a file is that holds no weights in a known format."""
    start = bytes(data[:512])
    if start[4:8] == b"ftyp" or start[:4] in (b"\x1aE\xdf\xa3", b"RIFF", b"OggS"):
        return "a video or a sound"
    if start[:8] == b"\x89PNG\r\n\x1a\n" or start[:3] == b"\xff\xd8\xff":
        return "a picture"
    if start[:6] == b"\x93NUMPY":
        return "an array of numpy's"
    if start[:8] == b"\x89HDF\r\n\x1a\n":
        return "an HDF5 file, as Keras writes"
    if start[257:262] == b"ustar":
        return "a tar archive, as the first releases of torch wrote"
    if start[:2] == b"\x1f\x8b" or start[:6] in (b"7z\xbc\xaf\x27\x1c", b"\xfd7zXZ\0"):
        return "a compressed file, to be unpacked first"
    if start[:4] == b"PK\x05\x06":
        return "an empty zip archive"
    if b"<html" in start.lower() or b"<!doctype" in start.lower():
        return "a web page, as a failed download leaves"
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of git LFS, not the file itself"
    return f"in no known format (it begins with {start[:8].hex(' ')})"


def shown_path(path: Path) -> str:
    """The path, on one line whatever characters it has."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def check_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    wanted: str = "the weights that this converter is for",
) -> dict[str, Tensor]:
    """The tensors, if all are fit to be weights: finite real numbers, or whole ones.

    With shapes, exactly these names must be there, in these shapes. Raises
    CheckpointUnreadable, which names the file (path), the first tensor at fault, and what to use
    instead (wanted).
    """

    def refused(fault: str, remedy: str) -> CheckpointUnreadable:
        return CheckpointUnreadable(f"{shown_path(Path(path))} {fault}; {remedy}")

    other = f"use {wanted}"
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise refused(f"holds {shown(tensor)} as {shown(name)}, not a tensor", other)
        if tensor.dtype not in FLOATS + COUNTS:
            raise refused(f"holds {shown(name)} as {tensor.dtype}", "save it as float32 or float16")
        if tensor.is_floating_point() and not finite(tensor):
            raise refused(
                f"holds values in {shown(name)} that are not finite",
                "its training failed or it is damaged, use another release of it",
            )
    if shapes is not None:
        for name in shapes.keys() - tensors.keys():
            raise refused(f"lacks the tensor {shown(name)}", other)
        for name in tensors.keys() - shapes.keys():
            raise refused(f"holds the tensor {shown(name)}, which nothing takes", other)
        for name, shape in shapes.items():
            if tuple(tensors[name].shape) != tuple(shape):
                raise refused(
                    f"holds {shown(name)} in the shape {tuple(tensors[name].shape)} "
                    f"instead of {tuple(shape)}",
                    other,
                )
    return dict(tensors)


def finite(tensor: Tensor) -> bool:
    """Whether no value is infinite or not a number, without memory for a mask."""
    if not tensor.numel():
        return True
    low, high = torch.aminmax(tensor)  # both are NaN if any value is
    return bool(torch.isfinite(low) and torch.isfinite(high))
