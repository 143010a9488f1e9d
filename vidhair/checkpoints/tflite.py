"""TensorFlow Lite files, read as data: the tensors that they hold and the steps that use them.

Such a file is a FlatBuffer (flatbuffers.dev, "internals"): tables point to their fields, lists and
strings by offsets into the same bytes. Every offset and every length is checked against the file,
how much is followed is bounded, and nothing in it is executed. The numbers of fields and operators
are those of TensorFlow Lite's schema, version 3.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from vidhair.checkpoints.limits import Refused, shown
from vidhair.checkpoints.third_party import shown_path
from vidhair.errors import CheckpointUnreadable

IDENTIFIER = b"TFL3"
MOST_ENTRIES = 20_000  # of all vectors of tables
MOST_SIDES = 8  # of a tensor
LARGEST_FILE = 1 << 30

DTYPES: Mapping[int, np.dtype[Any]] = {
    0: np.dtype("<f4"), 1: np.dtype("<f2"), 2: np.dtype("<i4"),
}  # fmt: skip
CUSTOM = 32
OPERATORS = {0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 54: "PRELU"}
# Options that a step may carry, by operator: name → (number of the field, format, default).
OPTIONS: Mapping[str, Mapping[str, tuple[int, str, int]]] = {
    "ADD": {"activation": (0, "b", 0)},
    "CONCATENATION": {"axis": (0, "i", 0), "activation": (1, "b", 0)},
    "CONV_2D": {
        "padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0),
        "activation": (3, "b", 0), "dilation_w": (4, "i", 1), "dilation_h": (5, "i", 1),
    },
    "DEPTHWISE_CONV_2D": {
        "padding": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0),
        "multiplier": (3, "i", 0), "activation": (4, "b", 0),
        "dilation_w": (5, "i", 1), "dilation_h": (6, "i", 1),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One operator of the graph. inputs, outputs: numbers of tensors; −1 for none."""

    operator: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What a file holds. shapes: of every tensor, as stored (pictures are [N, H, W, C]).

    constants: tensors with values, by number, float32 or int32. inputs, outputs: of the whole.
    """

    shapes: tuple[tuple[int, ...], ...]
    constants: Mapping[int, Tensor]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Bytes:
    """The file, of which nothing beyond its end can be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.entries = MOST_ENTRIES

    def number(self, kind: str, at: int) -> int:
        size = struct.calcsize(kind)
        if not 0 <= at <= len(self.data) - size:
            raise Refused("points beyond its end")
        value: int = struct.unpack_from(f"<{kind}", self.data, at)[0]
        return value

    def follow(self, at: int) -> int:
        """Where the offset at this place leads."""
        return at + self.number("I", at)

    def vector(self, at: int, size: int) -> tuple[int, int]:
        """Number of elements of `size` bytes, and where the first one lies."""
        count = self.number("I", at)
        if at + 4 + count * size > len(self.data):
            raise Refused("holds a list that is longer than the file")
        return count, at + 4


@dataclass(frozen=True)
class _Table:
    """A table: its fields by number."""

    file: _Bytes
    at: int

    def place(self, field: int) -> int | None:
        """Where a field lies, or None if it is left out."""
        slots = self.at - self.file.number("i", self.at)
        length = self.file.number("H", slots)
        if 4 + 2 * field + 2 > length:
            return None
        offset = self.file.number("H", slots + 4 + 2 * field)
        return self.at + offset if offset else None

    def number(self, field: int, kind: str, default: int = 0) -> int:
        at = self.place(field)
        return default if at is None else self.file.number(kind, at)

    def table(self, field: int) -> "_Table | None":
        at = self.place(field)
        return None if at is None else _Table(self.file, self.file.follow(at))

    def tables(self, field: int) -> Iterator["_Table"]:
        at = self.place(field)
        if at is None:
            return
        count, first = self.file.vector(self.file.follow(at), 4)
        self.file.entries -= count
        if self.file.entries < 0:
            raise Refused(f"lists more than {MOST_ENTRIES} things")
        for index in range(count):
            yield _Table(self.file, self.file.follow(first + 4 * index))

    def raw(self, field: int) -> bytes:
        at = self.place(field)
        if at is None:
            return b""
        count, first = self.file.vector(self.file.follow(at), 1)
        return self.file.data[first : first + count]

    def numbers(self, field: int) -> tuple[int, ...]:
        at = self.place(field)
        if at is None:
            return ()
        count, first = self.file.vector(self.file.follow(at), 4)
        self.file.entries -= count
        if self.file.entries < 0:
            raise Refused(f"lists more than {MOST_ENTRIES} things")
        return tuple(self.file.number("i", first + 4 * index) for index in range(count))


def read_graph(path: Path) -> Graph:
    """Read a .tflite file. Raises CheckpointUnreadable, which names the file and what is wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
        return parse_graph(data)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointUnreadable(
            f"{shown_path(path)} cannot be read ({reason}); give the path of a .tflite file"
        ) from error
    except Refused as refused:
        raise CheckpointUnreadable(
            f"{shown_path(path)} {refused.reason}; {refused.remedy}"
        ) from refused


def is_tflite(head: bytes) -> bool:
    """Whether a file that begins with these bytes says that it is one."""
    return head[4:8] == IDENTIFIER


def parse_graph(data: bytes) -> Graph:
    """The one graph of a file's bytes. Raises Refused."""
    if len(data) > LARGEST_FILE:
        raise Refused(f"is larger than {LARGEST_FILE >> 20} MiB")
    if not is_tflite(data):
        raise Refused("is no TensorFlow Lite file of version 3")
    file = _Bytes(data)
    model = _Table(file, file.follow(0))
    graphs = list(model.tables(2))
    if len(graphs) != 1:
        raise Refused(f"holds {len(graphs)} graphs, not one")
    buffers = [table.raw(0) for table in model.tables(4)]
    operators = [_operator(table) for table in model.tables(1)]
    shapes: list[tuple[int, ...]] = []
    constants: dict[int, Tensor] = {}
    for number, table in enumerate(graphs[0].tables(0)):
        shape = table.numbers(0)
        if len(shape) > MOST_SIDES or min(shape, default=1) < 0:
            raise Refused(f"declares a tensor of the shape {shape}")
        shapes.append(shape)
        values = _pick(buffers, table.number(2, "I"), "buffer")
        if values:
            constants[number] = _constant(values, shape, table.number(1, "b"))
    steps = tuple(_step(table, operators, len(shapes)) for table in graphs[0].tables(3))
    ends = [graphs[0].numbers(field) for field in (1, 2)]
    for number in (*ends[0], *ends[1]):
        _pick(shapes, number, "tensor")
    return Graph(tuple(shapes), constants, steps, *ends)


T = TypeVar("T")


def _pick(things: Sequence[T], number: int, kind: str) -> T:
    if not 0 <= number < len(things):
        raise Refused(f"refers to {kind} {number} of {len(things)}")
    return things[number]


def _operator(table: _Table) -> str:
    # Where the number does not fit the older field, the newer one has it.
    number = max(table.number(0, "b"), table.number(3, "i"))
    if number == CUSTOM:
        at = table.place(1)
        if at is None:
            raise Refused("uses an operator without a name")
        count, first = table.file.vector(table.file.follow(at), 1)
        name = table.file.data[first : first + count]
        return shown(name.decode("latin-1"))
    return OPERATORS.get(number, f"number {number}")


def _constant(values: bytes, shape: tuple[int, ...], kind: int) -> Tensor:
    if kind not in DTYPES:
        raise Refused(f"holds values of kind {kind}, which is not read here")
    dtype = DTYPES[kind]
    if math.prod(shape) * dtype.itemsize != len(values):
        raise Refused(f"holds {len(values)} bytes for a tensor of the shape {shape}")
    array = np.frombuffer(values, dtype).reshape(shape)
    return torch.from_numpy(array.astype(np.int32 if dtype.kind == "i" else np.float32))


def _step(table: _Table, operators: Sequence[str], tensors: int) -> Step:
    name = _pick(operators, table.number(0, "I"), "operator")
    inputs, outputs = table.numbers(1), table.numbers(2)
    for number in (*inputs, *outputs):
        if not -1 <= number < tensors:
            raise Refused(f"refers to tensor {number} of {tensors}")
    options: dict[str, int] = {}
    known, given = OPTIONS.get(name, {}), table.table(4)
    for option, (field_number, kind, default) in known.items():
        options[option] = default if given is None else given.number(field_number, kind, default)
    return Step(name, inputs, outputs, options)
