"""Small TensorFlow Lite files, written byte by byte."""

import struct
from collections.abc import Mapping, Sequence
from typing import Any

Field = tuple[str, Any]  # a format of struct, or "table", "tables", "numbers", "bytes"


class Writer:
    """Writes tables after the places that point to them, so every offset is positive."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0\0\0\0TFL3")

    def pad(self) -> int:
        self.data += b"\0" * (-len(self.data) % 4)
        return len(self.data)

    def point(self, at: int) -> None:
        """The offset at `at` leads to what is written next."""
        struct.pack_into("<I", self.data, at, self.pad() - at)

    def table(self, fields: Mapping[int, Field]) -> None:
        slots = self.pad()
        count = max(fields, default=-1) + 1
        self.data += struct.pack("<HH", 4 + 2 * count, 4 + 4 * len(fields))
        places = {number: 4 + 4 * index for index, number in enumerate(sorted(fields))}
        for number in range(count):
            self.data += struct.pack("<H", places.get(number, 0))
        start = self.pad()
        # Where the table was expected, it has to begin: its list of slots lies before it.
        self.data += struct.pack("<i", start - slots) + b"\0" * 4 * len(fields)
        self.start = start
        for number in sorted(fields):
            kind, value = fields[number]
            at = start + places[number]
            if kind in ("b", "i", "I"):
                struct.pack_into(f"<{kind}", self.data, at, value)
            else:
                self.reference(at, kind, value)

    def reference(self, at: int, kind: str, value: Any) -> None:
        if kind == "table":
            self.lead_to_table(at, value)
            return
        self.point(at)
        self.data += struct.pack("<I", len(value))
        if kind == "bytes":
            self.data += value
        elif kind == "numbers":
            self.data += struct.pack(f"<{len(value)}i", *value)
        else:
            first = len(self.data)
            self.data += b"\0" * 4 * len(value)
            for index, fields in enumerate(value):
                self.lead_to_table(first + 4 * index, fields)

    def lead_to_table(self, at: int, fields: Mapping[int, Field]) -> None:
        size = 4 + 2 * (max(fields, default=-1) + 1)
        start = self.pad() + size + (-size % 4)
        struct.pack_into("<I", self.data, at, start - at)
        self.table(fields)


def written(model: Mapping[int, Field]) -> bytes:
    writer = Writer()
    writer.lead_to_table(0, model)
    return bytes(writer.data)


def tensor(shape: Sequence[int], buffer: int, kind: int = 0) -> Mapping[int, Field]:
    return {0: ("numbers", shape), 1: ("b", kind), 2: ("I", buffer)}


def model(
    tensors: Sequence[Mapping[int, Field]],
    buffers: Sequence[bytes],
    steps: Sequence[Mapping[int, Field]],
    operators: Sequence[Mapping[int, Field]],
    ends: tuple[Sequence[int], Sequence[int]] = ((0,), (0,)),
) -> dict[int, Field]:
    graph = {
        0: ("tables", tensors), 1: ("numbers", ends[0]), 2: ("numbers", ends[1]),
        3: ("tables", steps),
    }  # fmt: skip
    return {
        0: ("I", 3), 1: ("tables", operators), 2: ("tables", [graph]),
        4: ("tables", [{0: ("bytes", b)} if b else {} for b in buffers]),
    }  # fmt: skip
