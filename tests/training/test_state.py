import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vidhair.training import state
from vidhair.training.state import (
    Curves,
    Table,
    load_state,
    prefixed,
    save_state,
    seed_everything,
    strip,
)


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.ones(2, 6).t()}
    save_state(tmp_path / "s.safetensors", tensors, {"step": 3, "seconds": 1.5})
    found = load_state(tmp_path / "s.safetensors")
    assert found is not None
    loaded, meta = found
    assert meta == {"step": 3, "seconds": 1.5}
    assert set(loaded) == set(tensors)
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert [p.name for p in tmp_path.iterdir()] == ["s.safetensors"]


def test_nothing_saved_yet(tmp_path: Path) -> None:
    assert load_state(tmp_path / "s.safetensors") is None


def test_an_interrupted_write_leaves_the_old_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.zeros(2)}, {"step": 1})

    def half(tensors: Any, target: Path, metadata: Any) -> None:
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(state, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, {"a": torch.ones(2)}, {"step": 2})
    found = load_state(path)
    assert found is not None
    tensors, meta = found
    assert meta == {"step": 1} and torch.equal(tensors["a"], torch.zeros(2))


def test_prefixes_come_off_again() -> None:
    tensors = {"a": torch.zeros(1), "a.b": torch.ones(1)}
    both = prefixed("net", tensors) | prefixed("network", {"c": torch.ones(1)})
    assert set(both) == {"net.a", "net.a.b", "network.c"}
    assert strip("net", both) == tensors
    assert set(strip("network", both)) == {"c"}


def test_curves_go_on_where_the_state_is(tmp_path: Path) -> None:
    """What was measured after the last saved step is measured again, not twice."""
    path = tmp_path / "deeper" / "curve.jsonl"
    first = Curves(path, 0)
    for step in (20, 40, 60):
        first.add(step, loss=1 / step)
    Curves(path, 40).add(60, loss=0.5, psnr=20.0)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[0]["loss"] == 0.05 and rows[2] == {"step": 60, "loss": 0.5, "psnr": 20.0}


def test_a_table_goes_on_with_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "task.csv"
    first = Table(path, ("loss", "codes", "held_out"), 0)
    for step in (1, 2, 3):
        first.add(step, loss=1 / step, codes=step, held_out=9)
    Table(path, ("loss", "parsed", "held_out"), 2).add(3, parsed=0.5)
    assert path.read_text().splitlines() == [
        "step,loss,parsed,held_out", "1,1,,9", "2,0.5,,9", "3,,0.5,",
    ]  # fmt: skip


def test_a_seed_fixes_both_sources_of_chance() -> None:
    drawn = []
    for seed in (1, 1, 2):
        generator = seed_everything(seed)
        drawn.append((torch.rand(3).tolist(), torch.rand(3, generator=generator).tolist()))
    assert drawn[0] == drawn[1]
    assert drawn[0][0] != drawn[2][0] and drawn[0][1] != drawn[2][1]
