import random
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints.tflite_files import model, tensor, written
from vidhair.checkpoints.limits import Refused
from vidhair.checkpoints.tflite import MOST_ENTRIES, Step, parse_graph, read_graph
from vidhair.errors import CheckpointUnreadable

WEIGHTS = struct.pack("<8f", *range(8))
CONV = {0: ("b", 3)}
CUSTOM = {0: ("b", 32), 1: ("bytes", b"MaxUnpooling2D")}
STEP = {
    0: ("I", 0), 1: ("numbers", (0, 1, -1)), 2: ("numbers", (2,)),
    4: ("table", {1: ("i", 2), 2: ("i", 3), 5: ("i", 4)}),
}  # fmt: skip
TENSORS = [tensor((1, 4, 4, 2), 0), tensor((2, 1, 2, 2), 1), tensor((1, 2, 2, 2), 0)]


def small(**changed: Any) -> bytes:
    parts = {
        "tensors": TENSORS,
        "buffers": [b"", WEIGHTS],
        "steps": [STEP, {0: ("I", 1), 1: ("numbers", (2,)), 2: ("numbers", (0,))}],
        "operators": [CONV, CUSTOM],
        "ends": ((0,), (2,)),
    }
    return written(model(**{**parts, **changed}))


def test_tensors_steps_and_options_are_read() -> None:
    graph = parse_graph(small())
    assert graph.shapes == ((1, 4, 4, 2), (2, 1, 2, 2), (1, 2, 2, 2))
    assert list(graph.constants) == [1]
    assert torch.equal(graph.constants[1], torch.arange(8.0).reshape(2, 1, 2, 2))
    conv, unpool = graph.steps
    assert (conv.operator, conv.inputs, conv.outputs) == ("CONV_2D", (0, 1, -1), (2,))
    assert conv.options == {
        "padding": 0, "stride_w": 2, "stride_h": 3, "activation": 0, "dilation_w": 1,
        "dilation_h": 1,
    } | {"dilation_h": 4}  # fmt: skip
    assert unpool == Step("MaxUnpooling2D", (2,), (0,))
    assert (graph.inputs, graph.outputs) == ((0,), (2,))


def test_half_precision_becomes_single() -> None:
    halves = struct.pack("<8e", *range(8))
    graph = parse_graph(small(tensors=[TENSORS[0], tensor((8,), 1, kind=1), TENSORS[2]],
                              buffers=[b"", halves]))  # fmt: skip
    assert graph.constants[1].dtype == torch.float32
    assert graph.constants[1].tolist() == list(range(8))


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"tensors": [TENSORS[0], tensor((3, 3), 1), TENSORS[2]]}, "32 bytes for a tensor"),
        ({"tensors": [TENSORS[0], tensor((8,), 1, kind=9), TENSORS[2]]}, "values of kind 9"),
        ({"tensors": [TENSORS[0], tensor((8,), 7), TENSORS[2]]}, "buffer 7 of 2"),
        ({"tensors": [TENSORS[0], tensor((1 << 30, 1 << 30), 1), TENSORS[2]]}, "bytes for"),
        ({"tensors": [tensor((1,) * 9, 0)]}, "shape"),
        ({"tensors": [tensor((-4,), 0)]}, "shape"),
        ({"ends": ((0,), (3,))}, "tensor 3 of 3"),
        ({"operators": [CONV]}, "operator 1 of 1"),
        ({"operators": [CONV, {0: ("b", 32)}]}, "without a name"),
        ({"steps": [{**STEP, 1: ("numbers", (0, 3))}]}, "tensor 3 of 3"),
        ({"steps": [{**STEP, 1: ("numbers", (-2,))}]}, "tensor -2 of 3"),
        ({"buffers": [b""] * (MOST_ENTRIES + 1)}, "more than"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(changed: dict[str, Sequence[Any]], reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        parse_graph(small(**changed))


def test_many_graphs_are_refused() -> None:
    parts = model(TENSORS, [b"", WEIGHTS], [STEP], [CONV])
    kind, graphs = parts[2]
    with pytest.raises(Refused, match="2 graphs"):
        parse_graph(written(parts | {2: (kind, [*graphs, *graphs])}))


def test_every_beginning_of_a_file_is_refused() -> None:
    data = small()
    for end in range(len(data) - 4):
        with pytest.raises(Refused):
            parse_graph(data[:end])


def test_damage_is_refused_or_harmless() -> None:
    data, rng = small(), random.Random(0)
    refused = 0
    for _ in range(4000):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(8, len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        try:
            parse_graph(bytes(damaged))
        except Refused:
            refused += 1
    assert 400 < refused < 4000


def test_a_list_within_itself_ends() -> None:
    """Vectors of tables that lead back to their own beginning make no file endless."""
    data = bytearray(small())
    for at in range(8, len(data) - 4, 4):
        looped = bytearray(data)
        struct.pack_into("<I", looped, at, 0xFFFFFFFC)
        with pytest.raises(Refused):
            parse_graph(bytes(looped[: at + 4]))


def test_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hair.tflite"
    with pytest.raises(CheckpointUnreadable, match=r"hair\.tflite cannot be read"):
        read_graph(path)
    path.write_bytes(b"\0\0\0\0TFL2")
    with pytest.raises(CheckpointUnreadable, match=r"hair\.tflite is no TensorFlow Lite file"):
        read_graph(path)
    path.write_bytes(small())
    assert len(read_graph(path).steps) == 2
