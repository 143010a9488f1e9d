"""The report as plain values and as a table."""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from vidhair.bench import table
from vidhair.bench.benchmark import Difference, Row
from vidhair.bench.clock import Timing
from vidhair.bench.counting import Work
from vidhair.bench.memory import Peak
from vidhair.bench.roofline import Roofline

F32, BF16 = torch.float32, torch.bfloat16
ROOFLINE = Roofline({F32: 400e9, BF16: 800e9}, {F32: 200e9, BF16: 100e9}, copy=50e9)
ROWS = [
    Row(
        "256-T render",
        "vidhair float32",
        Timing((2.0, 1.0, 4.0), peak=Peak(300_000_000, 20_000_000)),
        Work(convolution=100e9, filter=50e9),
        shares={"filters": 0.25, "convolutions": 0.5},
    ),
    Row(
        "256-T render",
        "others:render",
        Timing((5.0, 5.0, 5.0)),
        Work(convolution=100e9, filter=50e9),
        ratio=2.5,
        difference=Difference(3e-5, 71.25),
        note="the middle half is compared",
    ),
    Row(
        "block 4 bias_act",
        "reference",
        Timing((2e-3, 2e-3, 2e-3), calls=10),
        Work(bytes=50e6),
        BF16,
        difference=Difference(0.0, math.inf),
    ),
]


def report(
    rows: list[Row] = ROWS, roofline: Roofline | None = ROOFLINE, skipped: Sequence[str] = ()
) -> dict[str, Any]:
    return {
        "what": "render",
        "machine": {"device": "cpu", "name": "A processor", "threads": 2, "torch": "2.0"},
        "roofline": None if roofline is None else roofline.describe(),
        "skipped": list(skipped),
        "rows": [table.facts(row, roofline) for row in rows],
        "noise": table.noise(rows),
    }


def test_facts() -> None:
    ours, theirs, op = report()["rows"]
    assert (ours["seconds"], ours["spread"], ours["repeats"]) == (2.0, 1.5, 3)
    assert ours["gflops"] == 150.0 and ours["gbs"] is None
    assert ours["of_ceiling"] == pytest.approx((200 / 400 + 100 / 400) / 2)
    assert ours["of_convolution"] == pytest.approx(200 / 200 / 2)
    assert ours["bound"] == "arithmetic"
    assert (ours["peak_bytes"], ours["peak_above_bytes"]) == (300_000_000, 20_000_000)
    assert (ours["filters_share"], ours["convolutions_share"]) == (0.25, 0.5)
    assert theirs["ratio"] == 2.5 and theirs["largest_difference"] == 3e-5
    assert theirs["psnr_db"] == 71.25 and theirs["peak_bytes"] is None
    assert op["gbs"] == pytest.approx(25.0) and op["gflops"] is None
    assert op["bound"] == "memory" and op["of_ceiling"] == pytest.approx(0.5)
    assert op["of_convolution"] is None and op["calls_per_repeat"] == 10
    assert op["largest_difference"] == 0.0 and op["psnr_db"] is None, "equal"


def test_everything_is_json() -> None:
    text = json.dumps(report(), allow_nan=False)
    assert json.loads(text) == report()


def test_the_table() -> None:
    lines = table.text(report()).splitlines()
    assert lines[0].split() == [
        "time", "×", "first", "GFLOP/s", "GB/s", "of", "roofline", "of", "conv", "peak", "MB", "+",
        "MB", "in", "filters", "in", "conv", "differs", "by", "PSNR", "dB",
    ]  # fmt: skip
    assert lines[1] == "256-T render" and lines[4] == "block 4 bias_act"
    assert lines[2].split() == [
        "vidhair", "float32", "2", "s", "150.0", "38%", "50%", "300", "20", "25%", "50%",
    ]  # fmt: skip
    assert lines[3].split()[:5] == ["others:render", "5", "s", "2.50", "60.0"]
    assert lines[3].endswith("3.0e-05     71.2  the middle half is compared")
    assert lines[5].split() == ["reference", "2", "ms", "25.0", "50%", "0.0e+00"]
    end = lines[0].index("GFLOP/s") + len("GFLOP/s")
    assert lines[2][:end].endswith(" 150.0") and lines[3][:end].endswith(" 60.0")
    assert "machine   A processor, cpu, 2 threads, torch 2.0" in lines
    footer = "\n".join(lines[6:])
    assert "float32 400, bfloat16 800 GFLOP/s, copy 50.0 GB/s" in footer
    assert "float32 200, bfloat16 100 GFLOP/s" in footer
    assert "typically 0% of the median, at worst 150% (256-T render, vidhair float32)" in footer


def test_columns_without_a_value_are_left_out_and_so_are_ceilings() -> None:
    text = table.text(report([Row("hair_color", "faces, a frame", Timing((0.5,)))], None))
    assert text.splitlines()[0].split() == ["time"]
    assert "roofline" not in text
    assert "noise     unknown: every row was measured once" in text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(92, "92 s"), (1.0, "1 s"), (0.0123, "12.3 ms"), (4.2e-5, "42 µs"), (3e-9, "3 ns")],
)
def test_durations(seconds: float, said: str) -> None:
    assert table.duration(seconds) == said


def test_the_machine_has_a_name() -> None:
    found = table.machine("cpu")
    assert found["name"] and found["threads"] == torch.get_num_threads()


def test_what_is_emulated_has_no_ceiling_and_is_named() -> None:
    known = Roofline({F32: 400e9}, {F32: 200e9}, copy=50e9)
    ours, _, op = report(roofline=known)["rows"]
    assert ours["of_ceiling"] and op["of_ceiling"] is None and op["gbs"]
    says = "skipped   bfloat16, emulated on this device; --dtype bfloat16 measures it"
    assert says in table.text(report(roofline=known, skipped=["bfloat16"])).splitlines()
    assert "skipped" not in table.text(report())
