import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.world import SHARD, SIZE, InProcess, made_up_faces
from vidhair.synthetic.params import FaceParams, sample_faces
from vidhair.training import dataset
from vidhair.training.dataset import (
    ALIGNED,
    MOVED,
    PAINTED,
    RenderedFaces,
    render_group,
    repaint,
)
from vidhair.training.portraits import PORTRAIT

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "SHARD_TRACES", SHARD)
    monkeypatch.setattr(dataset, "ProcessPoolExecutor", InProcess)


def render(folder: Path, *, traces: int = 2 * SHARD, seed: int = 1) -> dict[str, bytes]:
    render_group(folder, MOVED, traces=traces, paints=2, size=SIZE, seed=seed)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.usefixtures("in_process")
def test_a_group_is_rendered_once_the_same_from_a_seed_and_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = render(tmp_path / "a")
    assert list(first) == ["moved_0000.safetensors", "moved_0001.safetensors"]

    def no_more(*_: Any) -> None:
        raise AssertionError("rendered again")

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "render_shard", no_more)
        assert render(tmp_path / "a") == first

    # Without its first shard, only that one is made, and it is the same again.
    (tmp_path / "a" / "moved_0000.safetensors").unlink()
    kept = (tmp_path / "a" / "moved_0001.safetensors").stat().st_mtime_ns
    assert render(tmp_path / "a") == first
    assert (tmp_path / "a" / "moved_0001.safetensors").stat().st_mtime_ns == kept

    other = render(tmp_path / "b", traces=SHARD, seed=2)
    assert list(other) == ["moved_0000.safetensors"]
    assert set(other.values()).isdisjoint(first.values())

    arrays = load_file(tmp_path / "a" / "moved_0000.safetensors")
    again = load_file(tmp_path / "a" / "moved_0001.safetensors")
    assert not torch.equal(arrays["params"], again["params"])
    check_shard(arrays)


def check_shard(arrays: dict[str, torch.Tensor]) -> None:
    """Two colorings of every head: the same shape and place in other colors."""
    n = 2 * SHARD
    assert {name: tuple(t.shape) for name, t in arrays.items()} == {
        "image": (n, 3, SIZE, SIZE),
        "mask": (n, 3, SIZE, SIZE),
        "params": (n, arrays["params"].shape[1]),
        "transform": (n, 4),
    }
    assert arrays["image"].dtype == arrays["mask"].dtype == torch.uint8
    first, second = ({k: t[half] for k, t in arrays.items()} for half in HALVES)
    assert torch.equal(first["mask"], second["mask"])
    assert torch.equal(first["transform"], second["transform"])
    assert float((first["image"].float() - second["image"].float()).abs().mean()) > 5
    skin, hair, clothes = first["mask"].float().mean((0, 2, 3)) / 255
    assert 0.05 < float(skin) < 0.8 and float(hair) < 0.8 and float(clothes) < 0.8
    assert int(first["mask"].int().sum(1).max()) <= 255 + 2, "shares of a pixel"
    turn, _, _, scale = first["transform"].unbind(1)
    assert float(turn.abs().max()) <= 2.5 * MOVED.turn_deg
    assert MOVED.scale[0] <= float(scale.min()) and float(scale.max()) <= MOVED.scale[1]


HALVES = (slice(0, SHARD), slice(SHARD, 2 * SHARD))


@pytest.mark.usefixtures("in_process")
def test_an_interrupted_shard_is_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(arrays: dict[str, torch.Tensor], path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(dataset, "save_file", half)
    monkeypatch.setattr(dataset, "trace", lambda *_: None)

    class Truth:
        image = masks = torch.zeros(SHARD, 4, SIZE, SIZE)

    monkeypatch.setattr(dataset, "shade", lambda *_, **__: Truth)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path, traces=SHARD)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_framings_move_as_far_as_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    still = ALIGNED.sample(50, generator)
    assert not still.angle_deg.any() and not still.tx.any() and not still.ty.any()
    assert (still.scale == 1).all()
    for framing in (MOVED, PORTRAIT):
        move = framing.sample(4000, generator)
        assert np.abs(move.angle_deg).max() <= 2.5 * framing.turn_deg
        assert move.angle_deg.std() == pytest.approx(framing.turn_deg, rel=0.1)
        assert np.abs(move.tx).max() <= 2.5 * framing.shift
        assert move.ty.mean() == pytest.approx(-framing.lift, abs=0.01)
        low, high = framing.scale
        assert low <= move.scale.min() < low + 0.05 and high - 0.05 < move.scale.max() <= high


def test_repainting_changes_colors_only() -> None:
    faces = sample_faces(30, torch.Generator().manual_seed(0))
    other = repaint(faces, torch.Generator().manual_seed(1))
    for name in FaceParams.__dataclass_fields__:
        same = torch.equal(getattr(faces, name), getattr(other, name))
        assert same == (name not in PAINTED), name


def test_the_first_shard_of_every_group_is_held_out(tmp_path: Path) -> None:
    made_up_faces(tmp_path)
    training = RenderedFaces(tmp_path, ("moved",), held_out=False)
    held_out = RenderedFaces(tmp_path, ("moved",), held_out=True)
    assert (len(training), len(held_out)) == (2 * SHARD, SHARD)
    first = load_file(tmp_path / "moved_0000.safetensors")
    assert torch.equal(held_out.arrays["params"], first["params"])
    seen = {tuple(row.tolist()) for row in training.arrays["params"]}
    assert seen.isdisjoint(tuple(row.tolist()) for row in first["params"])


def test_batches_go_through_all_faces_in_ever_new_orders(tmp_path: Path) -> None:
    made_up_faces(tmp_path)
    faces = RenderedFaces(tmp_path, ("moved",), held_out=False)
    batches = faces.batches(SHARD, torch.Generator().manual_seed(0))
    wanted = sorted(row.tolist() for row in faces.arrays["params"])
    orders = []
    for _ in range(3):
        epoch = list(itertools.islice(batches, len(faces) // SHARD))
        rows = torch.cat([batch["params"] for batch in epoch]).tolist()
        assert sorted(rows) == wanted
        orders.append(rows)
    assert orders[0] != orders[1] != orders[2]
    # What belongs together stays together.
    row = epoch[0]["params"][2]
    index = int((faces.arrays["params"] == row).all(1).nonzero())
    assert torch.equal(epoch[0]["image"][2], faces.arrays["image"][index])
