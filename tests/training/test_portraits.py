from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.synthetic.few import thinned
from tests.training.world import InProcess
from vidhair.synthetic import strand_people
from vidhair.synthetic.people import PLANES
from vidhair.synthetic.strands import STRAND_STYLES
from vidhair.training import portraits
from vidhair.training.portraits import PAINTS, Portraits, render_people

pytestmark = pytest.mark.usefixtures("one_thread")

SIDE, PEOPLE = 16, 2


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portraits, "SHARD_PEOPLE", PEOPLE)
    monkeypatch.setattr(portraits, "ProcessPoolExecutor", InProcess)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portraits, "SHARD_PEOPLE", PEOPLE)
        patch.setattr(portraits, "ProcessPoolExecutor", InProcess)
        render_people(folder, people=2 * PEOPLE, side=SIDE, seed=1)
    return folder


def test_a_shard_holds_each_person_in_several_colorings(rendered: Any) -> None:
    assert [p.name for p in sorted(rendered.iterdir())] == [
        "portrait_0000.safetensors",
        "portrait_0001.safetensors",
    ]
    arrays = load_file(rendered / "portrait_0000.safetensors")
    size = SIDE + 2 * round(portraits.MARGIN * SIDE)
    assert {n: tuple(t.shape) for n, t in arrays.items()} == {
        "image": (PEOPLE * PAINTS, 3, size, size),
        "planes": (PEOPLE * PAINTS, 5, size, size),
        "oval": (PEOPLE * PAINTS, 1, size, size),
    }
    assert int(arrays["planes"].int().sum(1).max()) <= 255 + 3, "shares of a pixel"
    cover = arrays["planes"].int().sum(1)
    assert torch.allclose(cover[0].float(), cover[1].float(), atol=3), "the same shape"
    assert not torch.equal(arrays["image"][0], arrays["image"][1])


def test_missing_shards_are_made_again_the_same(rendered: Any, tmp_path: Path) -> None:
    want = (rendered / "portrait_0001.safetensors").read_bytes()
    kept = rendered / "portrait_0000.safetensors"
    first = tmp_path / kept.name
    first.write_bytes(kept.read_bytes())
    stamp = first.stat().st_mtime_ns
    render_people(tmp_path, people=2 * PEOPLE, side=SIDE, seed=1)
    assert (tmp_path / "portrait_0001.safetensors").read_bytes() == want
    assert first.stat().st_mtime_ns == stamp


def test_an_interrupted_shard_is_no_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(arrays: Any, path: Any) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(portraits, "save_file", half)
    with pytest.raises(KeyboardInterrupt):
        render_people(tmp_path, people=1, side=SIDE, seed=1)
    assert list(tmp_path.glob("*.safetensors")) == []


def test_the_first_shard_is_held_out_and_batches_go_through_the_others(rendered: Any) -> None:
    training, held_out = (Portraits(rendered, held_out=held) for held in (False, True))
    assert len(training) == len(held_out) == PEOPLE * PAINTS
    assert not torch.equal(training.arrays["image"], held_out.arrays["image"])
    batches = training.batches(2, torch.Generator().manual_seed(0))
    seen = torch.cat([next(batches)["image"] for _ in range(PEOPLE * PAINTS // 2)])
    sums = sorted(seen.int().sum((1, 2, 3)).tolist())
    assert sums == sorted(training.arrays["image"].int().sum((1, 2, 3)).tolist())


def test_a_share_of_the_shards_is_of_strands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {}

    def noted(path: Path, side: int, seed: int, people: int, *, strands: bool) -> None:
        made[path.stem[-1]] = strands

    monkeypatch.setattr(portraits, "render_portraits", noted)
    for share, want in ((0, []), (0.25, ["0", "4"]), (0.5, ["0", "2", "4"]), (1, list("012345"))):
        render_people(tmp_path, people=6 * PEOPLE, side=SIDE, seed=1, strands=share)
        assert [name for name, strands in made.items() if strands] == want


def test_shards_of_strands_are_as_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {name: thinned(style, 0.05) for name, style in STRAND_STYLES.items()}
    monkeypatch.setattr(strand_people, "STRAND_STYLES", few)
    render_people(tmp_path, people=1, side=SIDE, seed=1, strands=1.0)
    arrays = Portraits(tmp_path, held_out=True).arrays
    size = SIDE + 2 * round(portraits.MARGIN * SIDE)
    assert {n: tuple(t.shape[1:]) for n, t in arrays.items()} == {
        "image": (3, size, size), "planes": (5, size, size), "oval": (1, size, size)
    }  # fmt: skip
    assert len(arrays["image"]) == PEOPLE * PAINTS
    planes = arrays["planes"].float() / 255
    assert float(planes[:, PLANES.index("hair")].mean()) > 0.01
    assert float(planes.sum(1).max()) <= 1 + 3 / 255
    assert torch.equal(planes[0, 0] > 0, planes[1, 0] > 0), "the same shape"
