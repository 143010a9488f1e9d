"""What is told of packs and weight files, and what checking a pack finds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import small
from tests.checkpoints.test_packs import change_manifest
from tests.models.official_files import one_sentence, pickled, psp, stylegan3, write
from tests.models.test_pack import write as write_small
from tests.models.tiny import R, random, tiny_generator
from vidhair.checkpoints import packs
from vidhair.checkpoints.packs import bundled_folder, file_sha256, open_pack
from vidhair.conversion.convert import Conversion, convert
from vidhair.errors import CheckpointUnreadable, PackDamaged, VidhairError, WeightsDoNotFit
from vidhair.models.pack import load_pack
from vidhair.report.packs import (
    conversion_text,
    describe_file,
    describe_pack,
    file_text,
    pack_text,
    recipes_served,
    verify_pack,
)

pytestmark = pytest.mark.usefixtures("one_thread")

ATTRIBUTES = {
    "directions": random(2, 12), "readout": random(2, 12), "offset": random(2),
    "low": random(2), "high": random(2),
}  # fmt: skip
TABLES = {
    "attributes": ("attributes", {"names": ["yaw", "smile"]}, ATTRIBUTES),
    "editing_vector": ("editing_vector", {}, {"editing_w": random(1, 16, 12)}),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small", **TABLES)


# ---- files


class TestFiles:
    def test_networks_of_a_file(self, tmp_path: Path) -> None:
        file = psp("e4e", changes={"num_ws": 16}, decoder=stylegan3(w_dim=8))
        facts = describe_file(write(tmp_path / "x.pt", file))
        encoder, generator = facts["networks"]
        assert (facts["file"], facts["format"]) == (str(tmp_path / "x.pt"), "torch zip")
        assert (encoder["part"], encoder["kind"], encoder["config"]["num_ws"]) == (
            "encoder", "e4e", 16,
        )  # fmt: skip
        state = tiny_generator(w_dim=8).state_dict()
        assert generator["numbers"] == sum(t.numel() for t in state.values())
        json.dumps(facts)
        first, *lines = file_text(facts).splitlines()
        assert first == f"{tmp_path / 'x.pt'}: torch zip"
        assert "num_ws 16" in lines[0] and "size 32" in lines[0] and "steps 1" in lines[0]
        assert "resolution 16" in lines[1] and "configuration T" in lines[1]
        assert lines[0].index("e4e") == lines[1].index("stylegan3"), "columns"

    @pytest.mark.parametrize(("changes", "letter"), [({}, "T"), (R, "R")])
    def test_configurations_of_stylegan3(
        self, tmp_path: Path, changes: dict[str, Any], letter: str
    ) -> None:
        facts = describe_file(write(tmp_path / "x", pickled(stylegan3(**changes))))
        assert facts["format"] == "pickle"
        assert f"configuration {letter})" in file_text(facts)

    def test_a_direction(self, tmp_path: Path) -> None:
        np.save(tmp_path / "age.npy", np.ones((1, 512)))
        facts = describe_file(tmp_path / "age.npy")
        assert facts["format"] == "numpy array"
        assert file_text(facts).endswith("attributes  direction (512 numbers)")

    @pytest.mark.parametrize(
        ("value", "kind"),
        [({"x": torch.ones(1)}, WeightsDoNotFit), (b"<html>", CheckpointUnreadable)],
    )
    def test_nothing_known(
        self, tmp_path: Path, value: bytes | dict[str, torch.Tensor], kind: type[VidhairError]
    ) -> None:
        path = write(tmp_path / "x", value)
        with pytest.raises(kind) as error:
            describe_file(path)
        one_sentence(error, path)


# ---- packs


class TestPacks:
    def test_of_a_converted_pack(self, tmp_path: Path) -> None:
        files = [write(tmp_path / "g.pkl", pickled(stylegan3())), tmp_path / "age.npy"]
        np.save(files[1], np.ones(12))
        convert(files, tmp_path / "mine")
        facts = describe_pack(open_pack(tmp_path / "mine"))
        json.dumps(facts)
        assert facts["pack"] == "mine" and facts["folder"] == str(tmp_path / "mine")
        assert facts["made_from"][1] == {"file": "age.npy", "sha256": file_sha256(files[1])}
        size = (tmp_path / "mine" / "generator.safetensors").stat().st_size
        assert facts["parts"]["generator"]["bytes"] == size
        text = pack_text(facts)
        assert "authors" in text and "names age" in text and f"{size / 1e6:.1f} MB" in text
        assert f"made from g.pkl (sha256 {file_sha256(files[0])[:12]}…)" in text

    def test_of_the_bundled_pack(self) -> None:
        text = pack_text(describe_pack(open_pack(bundled_folder() / packs.BUNDLED)))
        assert "licence: Apache-2.0" in text and "made from" not in text

    def test_a_missing_file_is_said(self, folder: Path) -> None:
        (folder / "parser.safetensors").unlink()
        facts = describe_pack(open_pack(folder))
        assert facts["parts"]["parser"]["bytes"] is None
        assert "face_parser (missing" in pack_text(facts)

    @pytest.mark.parametrize("value", [None, 3, "text", ["text", 5], {"file": "a"}])
    def test_a_manifest_that_was_written_by_hand(self, folder: Path, value: Any) -> None:
        change_manifest(folder, lambda m: m.update(made_from=value, licence=value))
        facts = describe_pack(open_pack(folder))
        assert facts["made_from"] == [] and pack_text(facts)

    def test_odd_sources(self, folder: Path) -> None:
        change_manifest(
            folder, lambda m: m.update(made_from=[{"file": "a"}, {"file": "b\n\udcff"}])
        )
        text = pack_text(describe_pack(open_pack(folder)))
        assert "made from a " in text and "made from 'b\\n\\udcff' " in text
        text.encode()

    def test_an_empty_pack(self, folder: Path) -> None:
        change_manifest(folder, lambda m: m.update(parts={}))
        assert pack_text(describe_pack(open_pack(folder)))
        assert list(verify_pack(load_pack(folder))) == []


class TestConversions:
    def text(self, *parts: str, left_out: tuple[Any, ...] = (), folder: str = "made") -> list[str]:
        origins: dict[str, tuple[Path, ...]] = {part: (Path(f"{part}.pt"),) for part in parts}
        return conversion_text(Conversion(Path(folder), origins, [*left_out])).splitlines()

    def test_what_came_from_where(self) -> None:
        left_out = (("generator", Path("e4e.pt")),)
        lines = self.text("generator", "encoder", "parser", left_out=left_out)
        assert lines == [
            "generator  from generator.pt",
            "encoder    from encoder.pt",
            "parser     from parser.pt",
            "generator  of e4e.pt is not used",
            "made",
        ]

    def test_what_a_clip_needs(self) -> None:
        assert self.text("generator", "encoder")[-2] == (
            "parser     from the bundled pack, when it is used"
        )
        assert self.text("encoder")[-2] == "to edit clips it lacks: generator"
        assert self.text("parser")[-2] == "to edit clips it lacks: generator, encoder"

    def test_several_files_of_a_part_and_odd_names(self) -> None:
        files = Path("a.npy"), Path("b\nc.npy"), Path("d\udcff.npy")
        origins: dict[str, tuple[Path, ...]] = {"attributes": files}
        text = conversion_text(Conversion(Path("made"), origins, []))
        assert "from a.npy, 'b\\nc.npy', 'd\\udcff.npy'" in text
        text.encode()

    def test_what_a_network_has_no_use_for_is_listed(self) -> None:
        origins: dict[str, tuple[Path, ...]] = {"styleganex": (Path("sr.pt"),)}
        unused = (("encoder.skiplayer.bias", Path("sr.pt")), ("odd\n", Path("sr.pt")))
        lines = conversion_text(Conversion(Path("made"), origins, [], unused)).splitlines()
        assert "encoder.skiplayer.bias  of sr.pt is not used" in lines
        assert "'odd\\n'                 of sr.pt is not used" in lines
        assert not any("lacks" in line for line in lines), "it is complete"


class TestRecipesServed:
    def test_the_bundled_pack(self) -> None:
        served = recipes_served(open_pack(bundled_folder() / packs.BUNDLED))
        assert {"hair_color", "smile", "wave", "toonify", "hair_mask", "restore"} <= set(served)
        assert not {"toonify_network", "sketch_to_face"} & set(served)

    def test_a_pack_without_attributes(self, tmp_path: Path) -> None:
        served = recipes_served(open_pack(write_small(tmp_path / "plain")))
        assert {"reconstruct", "wave", "fringe", "hair_length", "hairstyle"} <= set(served)
        assert not {"smile", "attribute"} & set(served)

    @pytest.mark.parametrize(
        ("task", "recipe"),
        [
            ("toonify", "toonify_network"), ("super_resolution", "restore"),
            ("inversion", "invert_frame"), ("edit", "face_attribute"), ("mask", "mask_to_face"),
            ("sketch", "sketch_to_face"),
        ],
    )  # fmt: skip
    def test_a_network_of_whole_frames_serves_that_of_its_task(
        self, task: str, recipe: str
    ) -> None:
        files = small.wide_pack(task).files
        assert recipes_served(files) == sorted([recipe, "toonify"])
        text = pack_text(describe_pack(files))
        assert f"for the recipes {', '.join(sorted([recipe, 'toonify']))}" in text
        assert f"task {task}" in text


# ---- checking


def verified(folder: Path) -> list[str]:
    return list(verify_pack(load_pack(folder)))


def refused(folder: Path, kind: type[VidhairError], *says: object) -> list[str]:
    """The lines before the error."""
    lines = []
    with pytest.raises(kind) as error:
        for line in verify_pack(load_pack(folder)):
            lines.append(line)  # noqa: PERF402  (those before the error count)
    one_sentence(error, *says)
    return lines


def spoil(folder: Path, part: str, **tensors: torch.Tensor) -> None:
    """Put other tensors into a part, with the checksum to go with them."""
    from safetensors.torch import load_file, save_file

    path = folder / f"{part}.safetensors"
    save_file(load_file(path) | tensors, path)
    sha256 = file_sha256(path)
    change_manifest(folder, lambda m: m["parts"][part].update(sha256=sha256))


class TestVerification:
    def test_a_sound_pack(self, folder: Path) -> None:
        lines = verified(folder)
        assert lines == [
            "generator       stylegan3: checksum, values and shapes are right",
            "encoder         small_encoder: checksum, values and shapes are right",
            "parser          face_parser: checksum, values and shapes are right",
            "attributes      attributes: checksum, values and shapes are right",
            "editing_vector  editing_vector: checksum and values are right",
        ]

    def test_the_bundled_pack(self) -> None:
        folder = bundled_folder() / packs.BUNDLED
        assert len(verified(folder)) == len(open_pack(folder).parts)

    def test_an_altered_byte(self, folder: Path) -> None:
        path = folder / "encoder.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        lines = refused(folder, PackDamaged, path, "sha256")
        assert [line.split()[0] for line in lines] == ["generator"]

    def test_an_altered_byte_of_a_file_that_was_noted_intact(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = folder / "encoder.safetensors"
        monkeypatch.setattr(packs, "known_intact", lambda *_: True)
        assert verified(folder)
        path.write_bytes(path.read_bytes()[:-1] + b"\7")
        assert load_pack(folder).encoder is not None
        refused(folder, PackDamaged, path, "sha256")

    def test_a_missing_file(self, folder: Path) -> None:
        (folder / "parser.safetensors").unlink()
        refused(folder, PackDamaged, folder / "parser.safetensors", "cannot be read")

    @pytest.mark.parametrize("part", ["generator", "attributes", "editing_vector"])
    @pytest.mark.parametrize("value", [torch.nan, torch.inf])
    def test_values_that_are_not_finite(self, folder: Path, part: str, value: float) -> None:
        name = {
            "generator": "mapping.w_avg", "attributes": "offset", "editing_vector": "editing_w",
        }[part]  # fmt: skip
        tensor = open_pack(folder).tensors(part)[name].half()
        tensor.view(-1)[-1] = value
        spoil(folder, part, **{name: tensor})
        refused(folder, CheckpointUnreadable, folder / f"{part}.safetensors", name, "not finite")

    def test_a_part_of_an_unknown_kind(self, folder: Path) -> None:
        change_manifest(folder, lambda m: m["parts"]["parser"].update(kind="oracle"))
        refused(folder, PackDamaged, "'oracle'", "update vidhair")

    def test_a_network_of_other_shapes(self, folder: Path) -> None:
        spoil(folder, "encoder", **{"w_mean": torch.ones(5)})
        refused(folder, PackDamaged, "the encoder of pack 'small'", "does not fit")

    @pytest.mark.parametrize(
        "tensors",
        [
            {"directions": torch.ones(3, 12)}, {"readout": torch.ones(2, 11)},
            {"offset": torch.ones(3)}, {"low": torch.ones(2, 1)}, {"high": torch.ones(())},
            {"more": torch.ones(2)}, {"directions": torch.ones(2)},
        ],
        ids=lambda t: str({name: tuple(v.shape) for name, v in t.items()}),
    )  # fmt: skip
    def test_attributes_of_other_shapes(
        self, folder: Path, tensors: dict[str, torch.Tensor]
    ) -> None:
        spoil(folder, "attributes", **tensors)
        refused(folder, PackDamaged, "attributes of pack 'small'")

    @pytest.mark.parametrize("config", [{}, {"names": ["yaw"]}, {"names": 3}, {"names": None}])
    def test_attributes_of_other_names(self, folder: Path, config: dict[str, Any]) -> None:
        change_manifest(folder, lambda m: m["parts"]["attributes"].update(config=config))
        refused(folder, PackDamaged, "attributes of pack 'small'")

    def test_nothing_is_written(self, folder: Path) -> None:
        before = {path.name: path.stat() for path in folder.iterdir()}
        verified(folder)
        for path in folder.iterdir():
            assert path.stat().st_mtime_ns == before.pop(path.name).st_mtime_ns
        assert not before
