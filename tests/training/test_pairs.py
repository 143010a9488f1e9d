"""Pairs that networks learn from: of rendered people and of files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.stages.faces import face_mesh
from tests.training.world import InProcess
from vidhair.errors import InvalidSetting, NoFaceFound
from vidhair.imaging.named_colors import HAIR_COLORS
from vidhair.media.images import read_image, write_png
from vidhair.synthetic.params import sample_faces
from vidhair.synthetic.render import aligned_view, shade, trace
from vidhair.training import pairs
from vidhair.training.pairs import (
    WIDE,
    WIDER,
    World,
    file_pairs,
    in_other_colors,
    listed,
    paired,
    rendered_pairs,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "SHARD", 2)
    monkeypatch.setattr(pairs, "ProcessPoolExecutor", InProcess)


@pytest.mark.usefixtures("few")
class TestRendered:
    def test_what_a_pair_shares_and_what_not(self, tmp_path: Path) -> None:
        same, _ = rendered_pairs(tmp_path, World(side=40, people=4), seed=1)
        toon, _ = rendered_pairs(tmp_path, World(side=40, people=4, target="cel"), seed=1)
        dyed, held = rendered_pairs(tmp_path, World(side=40, people=4, target="blue"), seed=1)
        assert len(same) == len(toon) == len(dyed) == len(held) == 2
        first = same.take([0, 1])
        assert first["image"].shape == (2, 3, 40, 40) and first["labels"].shape == (2, 4, 40, 40)
        for other in (toon, dyed):
            assert torch.equal(other.take([0, 1])["image"], first["image"])
        assert torch.equal(first["image"], first["target"])
        change = (dyed.arrays["target"].float() - dyed.arrays["image"]).abs().mean(1)
        for index, amount in enumerate(dyed.arrays["amount"].tolist()):
            labels = dyed.arrays["labels"][index]
            assert (change[index][labels[2] == 0] <= 1).all()
            hair = change[index][labels[2] > 250]
            assert len(hair) == 0 or (hair.mean() > 3) == (amount > 0)
        drawn = (toon.arrays["target"].float() - toon.arrays["image"]).abs().mean()
        assert 5 < drawn < 60

    def test_nothing_is_rendered_twice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world = World(side=40, people=4)
        before, _ = rendered_pairs(tmp_path, world, seed=1)

        def no_more(*_: Any) -> None:
            raise AssertionError("rendered again")

        monkeypatch.setattr(pairs, "render_shard", no_more)
        again, _ = rendered_pairs(tmp_path, world, seed=1)
        assert torch.equal(before.arrays["image"], again.arrays["image"])


def test_hair_of_each_others_colors_is_as_if_rendered() -> None:
    draw = torch.Generator().manual_seed(4)
    faces = sample_faces(3, draw).replace(
        hair_colour=torch.tensor([[0.1, 0.07, 0.05], [0.6, 0.3, 0.1], [0.3, 0.2, 0.8]])
    )
    view = aligned_view(faces, 48, transform=WIDE.sample(3, draw))
    with torch.inference_mode():
        seen = trace(faces, view)

        def rendered(hair: Tensor) -> Tensor:
            return shade(seen, faces.replace(hair_colour=hair)).image * 255

        wanted = torch.tensor(HAIR_COLORS["blonde"])
        own, truth = faces.hair_colour, shade(seen, faces)
        amount = torch.tensor([1.0, 0.75, 0.0])
        target = rendered(torch.lerp(own, wanted, amount[:, None]))
        parts = {"image": truth.image * 255, "target": target, "labels": truth.masks * 255}
        sample = {name: x.round().byte() for name, x in parts.items()}
        sample |= {"amount": amount, "params": faces.pack()}
        found = in_other_colors(sample, "blonde", torch.Generator().manual_seed(0))
        begin = own[torch.randperm(3, generator=torch.Generator().manual_seed(0))]
        begin[2] = own[2]  # was not edited
        assert found["amount"][2] == 0 and (found["amount"][:2] > 0).all()
        assert not torch.equal(begin[:2], own[:2])
        end = torch.lerp(begin, wanted, found["amount"][:, None])
        for name, hair in (("image", begin), ("target", end)):
            apart = (found[name].float() - rendered(hair)).abs()
            assert apart.mean() < 1.5, name
            where = (truth.masks[:, 2:3] > 0.9).expand_as(apart)
            assert apart[where].mean() < 6, name


class TestFiles:
    SIZE = 120

    def folder(self, tmp_path: Path, count: int) -> Path:
        rng = np.random.default_rng(0)
        for part in ("source", "target"):
            (tmp_path / part).mkdir()
            for index in range(count):
                size = self.SIZE if part == "source" else self.SIZE // 2
                picture = rng.integers(0, 256, (size, size, 3), np.uint8)
                write_png(tmp_path / part / f"{index:02d}.png", picture)
        return tmp_path

    @pytest.fixture
    def looks(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Every picture but the second shows a face; the names of those that were looked at."""
        asked: list[str] = []

        def largest_face(picture: Any, path: str, advice: str) -> Any:
            asked.append(Path(path).name)
            if "01" in path:
                raise NoFaceFound(path)
            return face_mesh(60, 60, 30)

        monkeypatch.setattr(pairs, "largest_face", largest_face)
        return asked

    def test_faces_are_cut_alike_from_both(self, tmp_path: Path, looks: list[str]) -> None:
        folder = self.folder(tmp_path, 4)
        data, held = file_pairs(paired(folder), tmp_path / "notes.json", 40)
        assert (len(data), len(held)) == (2, 1) and len(looks) == 4
        sample = data.take([0, 1])
        assert sample["image"].shape == sample["target"].shape == (2, 3, 40, 40)
        assert sample["image"].dtype == torch.uint8 and sample["amount"].tolist() == [1, 1]
        # The target, which is half as large, is cut at half the place.
        axes = data.axes[data.pairs[0][0]]
        double = np.asarray(read_image(data.pairs[0][1])).repeat(2, 0).repeat(2, 1)
        write_png(tmp_path / "double.png", double)
        want = pairs.cut(tmp_path / "double.png", axes, 40)[0]
        assert (sample["target"][0].float() - want.float()).abs().mean() < 12
        assert (sample["image"][0].float() - want.float()).abs().mean() > 20

    def test_where_faces_are_is_remembered(self, tmp_path: Path, looks: list[str]) -> None:
        folder = self.folder(tmp_path, 4)
        file_pairs(paired(folder), tmp_path / "notes.json", 40)
        file_pairs(paired(folder), tmp_path / "notes.json", 40)
        assert len(looks) == 4

    def test_labels_are_made_of_what_is_wanted(self, tmp_path: Path, looks: list[str]) -> None:
        folder = self.folder(tmp_path, 3)
        data, _ = file_pairs(
            paired(folder), tmp_path / "notes.json", 40, labels=lambda x: x[:, :1] // 2
        )
        sample = data.take([0])
        assert torch.equal(sample["labels"], sample["target"][:, :1] // 2)

    def test_too_few_faces(self, tmp_path: Path, looks: list[str]) -> None:
        with pytest.raises(InvalidSetting, match="of 2 pictures 1 show a face"):
            file_pairs(paired(self.folder(tmp_path, 2)), tmp_path / "notes.json", 40)

    def test_what_is_not_there_is_named(self, tmp_path: Path) -> None:
        folder = self.folder(tmp_path, 2)
        (folder / "target" / "01.png").unlink()
        with pytest.raises(InvalidSetting, match=r"1 pictures of .*source.* such as 01\.png"):
            paired(folder)
        with pytest.raises(InvalidSetting, match="no folder"):
            listed(tmp_path / "nowhere")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InvalidSetting, match="holds no pictures"):
            listed(tmp_path / "empty")


def test_a_wide_picture_holds_the_aligned_face_in_its_middle() -> None:
    assert pairs.WIDE.scale == (1 / WIDER, 1 / WIDER)
