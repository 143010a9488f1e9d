"""Safetensors files: a JSON header with offsets, then the bytes of the tensors."""

import json
import math
from typing import Any

import torch
from torch import Tensor

from vidhair.checkpoints.limits import MAX_NAME, Budget, Refused, shown
from vidhair.checkpoints.storages import MAX_DIMENSIONS, MAX_SIZE, from_bytes

MAX_HEADER = 16 << 20
MAX_BRACKETS = 100_000  # one per tensor's table, shape and offsets

TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "C64": torch.complex64,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def looks_like_safetensors(data: memoryview) -> bool:
    """Whether a file begins with the length of a header and the brace that opens it."""
    return len(data) >= 9 and data[8] == ord("{") and bytes(data[5:8]) == b"\0\0\0"


def read_safetensors(data: memoryview, budget: Budget) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors by name, and the metadata. Raises Refused.

    The tensors must fill the file without a gap and without sharing a byte.
    """
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER:
        raise Refused(f"declares a header of {size} bytes, more than the {MAX_HEADER} allowed")
    if size > len(data) - 8:
        raise Refused(f"declares a header of {size} bytes and has {len(data) - 8} bytes in all")
    header = parsed(bytes(data[8 : 8 + size]))
    body = data[8 + size :]
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(type(v) is str for v in metadata.values()):
        raise Refused("holds metadata that are not a table of texts")
    spans, tensors = [], {}
    for name, entry in header.items():
        dtype, shape, first, last = checked_entry(name, entry, len(body))
        spans.append((first, last, name))
        flat = from_bytes(body[first:last], dtype, budget)
        tensors[name] = flat.reshape(shape)
    end = 0
    for first, last, name in sorted(spans):
        if first != end:
            fault = "shares bytes with another tensor" if first < end else "leaves a gap before it"
            raise Refused(f"holds the tensor {shown(name)}, which {fault}")
        end = last
    if end != len(body):
        raise Refused(f"has {len(body) - end} bytes that belong to no tensor")
    return tensors, metadata


def parsed(text: bytes) -> dict[str, Any]:
    """The header as a table. Raises Refused."""
    if text.count(b"[") + text.count(b"{") > 3 * MAX_BRACKETS:
        raise Refused("has a header of too many parts")

    def table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            raise Refused("names something twice in its header")
        return made

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=table)
    except (ValueError, RecursionError) as error:
        raise Refused("has a header that is not JSON") from error
    if not isinstance(header, dict):
        raise Refused("has a header that is not a table")
    return header


def checked_entry(name: str, entry: Any, size: int) -> tuple[torch.dtype, list[int], int, int]:
    """Type, shape and place of a tensor. Raises Refused."""
    if len(name) > MAX_NAME:
        raise Refused(f"holds a tensor with a name of {len(name)} characters")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"describes the tensor {shown(name)} in an unknown form")
    if type(entry["dtype"]) is not str or entry["dtype"] not in TYPES:
        raise Refused(f"holds the tensor {shown(name)} of the type {shown(entry['dtype'])}")
    dtype, shape, offsets = TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    for numbers in (shape, offsets):
        whole = isinstance(numbers, list) and all(
            type(n) is int and 0 <= n <= MAX_SIZE for n in numbers
        )
        if not whole or len(numbers) > MAX_DIMENSIONS:
            raise Refused(f"describes the tensor {shown(name)} by what are no sizes")
    if len(offsets) != 2 or not offsets[0] <= offsets[1] <= size:
        raise Refused(f"places the tensor {shown(name)} outside its {size} bytes")
    if math.prod(n for n in shape if n) > MAX_SIZE:
        raise Refused(f"holds the tensor {shown(name)} of more elements than any machine holds")
    if math.prod(shape) * dtype.itemsize != offsets[1] - offsets[0]:
        raise Refused(
            f"holds the tensor {shown(name)} of {math.prod(shape)} elements in "
            f"{offsets[1] - offsets[0]} bytes"
        )
    return dtype, shape, offsets[0], offsets[1]
