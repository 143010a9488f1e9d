"""Packs come back as they were written; whatever is wrong with one is said, naming the file."""

import io
import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from vidhair.checkpoints.packs import (
    BUNDLED,
    CODES,
    PACKS_VARIABLE,
    file_sha256,
    find_pack,
    open_pack,
    user_folder,
    write_pack,
    write_tensors,
)
from vidhair.errors import OutputNotWritable, PackDamaged, PackNotFound


def tensors() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "layer.weight": torch.randn(5, 3, generator=g),
        "strided": torch.randn(4, 6, generator=g).t(),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 4),
        "count": torch.tensor(2**40 + 1),
        "mask": torch.tensor([True, False]),
    }


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    parts = {
        "numbers": ("table", {"names": ["a", "b"], "size": 3}, tensors()),
        "other": ("table", {}, {"x": torch.ones(2)}),
    }
    write_pack(folder, "mine", parts, {"licence": "CC0", "quality": {"psnr": 30.5}})
    return folder


@pytest.fixture(autouse=True)
def packs_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of packs in place of this user's."""
    folder = tmp_path / "packs of the user"
    folder.mkdir()
    monkeypatch.setenv(PACKS_VARIABLE, str(folder))
    return folder


def change_manifest(pack: Path, change: Callable[..., Any]) -> None:
    path = pack / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def one_sentence(error: pytest.ExceptionInfo[Any], *names: object) -> str:
    """The message, after checking that it is a sentence that names all these."""
    message = str(error.value)
    assert "\n" not in message and len(message) > 30
    for name in names:
        assert str(name) in message
    return message


class TestTensors:
    @pytest.mark.parametrize("dtype", CODES, ids=str)
    def test_every_type_comes_back_as_it_is(self, tmp_path: Path, dtype: torch.dtype) -> None:
        want = {
            "a": torch.tensor([[0.0, 1], [2, 3]]).to(dtype).t(), "b": torch.tensor(True),
            "c": torch.ones(3, 2).to(dtype)[:, 1:],
        }  # fmt: skip
        write_tensors(tmp_path / "a", want, None)
        got = load_file(tmp_path / "a")
        assert got.keys() == want.keys()
        for name, tensor in want.items():
            assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor)

    def test_one_tensor_is_in_memory_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Published networks take a gigabyte."""
        sizes: list[int] = []

        class Sink(io.BytesIO):
            def write(self, data: Any) -> int:
                sizes.append(memoryview(data).nbytes)
                return super().write(data)

        monkeypatch.setattr(Path, "open", lambda self, mode: Sink())
        write_tensors(Path("a"), {str(n): torch.ones(1000) for n in range(9)}, None)
        assert sizes[1:] == 9 * [4000]


class TestRoundTrip:
    def test_tensors_come_back_to_half_precision(self, pack: Path) -> None:
        got, want = open_pack(pack).tensors("numbers"), tensors()
        assert got.keys() == want.keys()
        for name, tensor in want.items():
            if tensor.is_floating_point():
                assert got[name].dtype == torch.float32
                assert torch.equal(got[name], tensor.half().float())
            else:
                assert got[name].dtype == tensor.dtype and torch.equal(got[name], tensor)

    def test_full_precision_on_demand(self, tmp_path: Path) -> None:
        write_pack(tmp_path / "p", "p", {"t": ("table", {}, tensors())}, {}, dtype=torch.float32)
        got = open_pack(tmp_path / "p").tensors("t")
        assert all(torch.equal(got[name], tensor) for name, tensor in tensors().items())

    def test_the_manifest_says_what_the_parts_are(self, pack: Path) -> None:
        files = open_pack(pack)
        assert files.name == "mine" and list(files.parts) == ["numbers", "other"]
        assert files.parts["numbers"].kind == "table"
        assert files.parts["numbers"].config == {"names": ["a", "b"], "size": 3}
        assert files.manifest["licence"] == "CC0"
        assert files.manifest["quality"] == {"psnr": 30.5}
        for part in files.parts.values():
            assert part.sha256 == file_sha256(pack / part.file)

    def test_what_is_written_is_left_alone(self, tmp_path: Path) -> None:
        given, kept = tensors(), tensors()
        write_pack(tmp_path / "p", "p", {"t": ("table", {}, given)}, {})
        assert all(torch.equal(given[n], t) and given[n].dtype == t.dtype for n, t in kept.items())

    def test_parameters_are_written_without_their_gradients(self, tmp_path: Path) -> None:
        weight = torch.nn.Parameter(torch.ones(3))
        write_pack(tmp_path / "p", "p", {"t": ("table", {}, {"w": weight})}, {})
        got = open_pack(tmp_path / "p").tensors("t")["w"]
        assert torch.equal(got, torch.ones(3)) and not got.requires_grad

    def test_the_same_contents_make_the_same_files(self, pack: Path, tmp_path: Path) -> None:
        again = tmp_path / "again"
        write_pack(again, "mine", {"numbers": ("table", {}, tensors())}, {})
        name = "numbers.safetensors"
        assert (again / name).read_bytes() == (pack / name).read_bytes()

    def test_a_pack_can_be_written_anew(self, pack: Path) -> None:
        write_pack(pack, "newer", {"numbers": ("table", {}, {"x": torch.zeros(1)})}, {})
        files = open_pack(pack)
        assert files.name == "newer" and list(files.parts) == ["numbers"]
        assert files.tensors("numbers")["x"] == 0

    def test_nothing_is_loaded_before_it_is_asked_for(self, pack: Path) -> None:
        (pack / "numbers.safetensors").unlink()
        assert open_pack(pack).tensors("other")["x"].sum() == 2


class TestFinding:
    def test_by_path(self, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(pack.parent)
        assert find_pack(pack) == find_pack(str(pack)) == pack
        assert find_pack("mine") == Path("mine")

    def test_by_name_among_the_packs_of_the_user(self, pack: Path, packs_of_the_user: Path) -> None:
        pack.rename(packs_of_the_user / "mine")
        assert find_pack("mine") == packs_of_the_user / "mine"
        assert open_pack("mine").tensors("other")["x"].sum() == 2

    def test_a_pack_of_the_user_goes_before_the_bundled_one(
        self, pack: Path, packs_of_the_user: Path
    ) -> None:
        pack.rename(packs_of_the_user / BUNDLED)
        assert open_pack().name == "mine"

    def test_the_folder_of_the_user(
        self, packs_of_the_user: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert user_folder() == packs_of_the_user
        monkeypatch.delenv(PACKS_VARIABLE)
        assert user_folder().is_relative_to(Path.home())

    def test_an_absent_name_is_said_with_the_known_ones(
        self, pack: Path, packs_of_the_user: Path
    ) -> None:
        pack.rename(packs_of_the_user / "mine")
        with pytest.raises(PackNotFound) as error:
            open_pack("yours")
        one_sentence(error, "'yours'", "mine", packs_of_the_user)

    def test_a_folder_that_only_holds_packs(self, pack: Path) -> None:
        with pytest.raises(PackNotFound) as error:
            open_pack(pack.parent)
        one_sentence(error, pack.parent, "manifest.json")


class TestDamage:
    @pytest.mark.parametrize("place", ["first", "header", "last"])
    def test_an_altered_byte(self, pack: Path, place: str) -> None:
        path = pack / "numbers.safetensors"
        data = bytearray(path.read_bytes())
        data[{"first": 0, "header": 40, "last": -1}[place]] ^= 1
        path.write_bytes(data)
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, path, "sha256")

    @pytest.mark.parametrize("length", [0, 7, 100, -1])
    def test_a_file_cut_short(self, pack: Path, length: int) -> None:
        path = pack / "numbers.safetensors"
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, path)

    def test_a_missing_file(self, pack: Path) -> None:
        path = pack / "numbers.safetensors"
        path.unlink()
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, path, "cannot be read")

    def test_a_folder_in_place_of_a_file(self, pack: Path) -> None:
        path = pack / "numbers.safetensors"
        path.unlink()
        path.mkdir()
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, path, "cannot be read")

    def test_a_wrong_sha256_in_the_manifest(self, pack: Path) -> None:
        change_manifest(pack, lambda m: m["parts"]["numbers"].update(sha256="0" * 64))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, pack / "numbers.safetensors", "0" * 12)

    def test_a_part_that_the_pack_does_not_have(self, pack: Path) -> None:
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("encoder")
        one_sentence(error, "'mine'", "'encoder'", "numbers, other")

    @pytest.mark.parametrize("contents", [b"", b"\xff" * 64, b"PK\x03\x04" + b"\0" * 60])
    def test_a_file_of_another_kind(self, pack: Path, contents: bytes) -> None:
        path = pack / "numbers.safetensors"
        path.write_bytes(contents)
        sha256 = file_sha256(path)
        change_manifest(pack, lambda m: m["parts"]["numbers"].update(sha256=sha256))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack).tensors("numbers")
        one_sentence(error, path, "not a safetensors file")

    def test_a_pickle_is_not_executed(self, pack: Path, tmp_path: Path) -> None:
        class Hostile:
            def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
                return os.mkdir, (str(tmp_path / "executed"),)

        path = pack / "numbers.safetensors"
        path.write_bytes(pickle.dumps(Hostile()))
        sha256 = file_sha256(path)
        change_manifest(pack, lambda m: m["parts"]["numbers"].update(sha256=sha256))
        with pytest.raises(PackDamaged):
            open_pack(pack).tensors("numbers")
        assert not (tmp_path / "executed").exists()

    @pytest.mark.parametrize("key", ["format", "name", "parts"])
    def test_a_manifest_that_lacks_a_key(self, pack: Path, key: str) -> None:
        change_manifest(pack, lambda m: m.pop(key))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json", key)

    @pytest.mark.parametrize("key", ["kind", "config", "file", "sha256"])
    def test_a_part_that_lacks_a_key(self, pack: Path, key: str) -> None:
        change_manifest(pack, lambda m: m["parts"]["other"].pop(key))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json", key)

    @pytest.mark.parametrize(
        "text",
        [b"", b"{", b"[]", b"3", b"null", b'"format"', b"\xff\xfe{}", b"[" * 20],
        ids=["empty", "cut", "list", "number", "null", "text", "not UTF-8", "nested"],
    )
    def test_a_manifest_that_is_none(self, pack: Path, text: bytes) -> None:
        (pack / "manifest.json").write_bytes(text)
        with pytest.raises(PackDamaged) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json")

    @pytest.mark.parametrize(
        "parts", [None, 3, ["numbers"], {"numbers": None}, {"numbers": "table"}]
    )
    def test_parts_of_a_wrong_form(
        self, pack: Path, parts: int | list[str] | dict[str, Any] | None
    ) -> None:
        change_manifest(pack, lambda m: m.update(parts=parts))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json")

    @pytest.mark.parametrize("config", [None, 3, "text", [1, 2]])
    def test_a_configuration_of_a_wrong_form(
        self, pack: Path, config: int | str | list[int] | None
    ) -> None:
        change_manifest(pack, lambda m: m["parts"]["other"].update(config=config))
        with pytest.raises(PackDamaged) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json")

    @pytest.mark.parametrize("version", [0, 2, "1", None])
    def test_another_format(self, pack: Path, version: int | str | None) -> None:
        change_manifest(pack, lambda m: m.update(format=version))
        with pytest.raises(PackDamaged, match=re.escape(f"format {version!r}")) as error:
            open_pack(pack)
        one_sentence(error, pack / "manifest.json", "update vidhair")

    def test_a_file_outside_the_pack(self, pack: Path, tmp_path: Path) -> None:
        secret = tmp_path / "secret.safetensors"
        save_file({"x": torch.ones(1)}, secret)
        for name in ("../secret.safetensors", str(secret), "mine/../../secret.safetensors"):
            entry = {"file": name, "sha256": file_sha256(secret)}
            change_manifest(pack, lambda m, e=entry: m["parts"]["other"].update(e))
            with pytest.raises(PackDamaged, match="outside the pack") as error:
                open_pack(pack)
            one_sentence(error, pack / "manifest.json", name)


class TestWriting:
    def test_a_file_in_the_way_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputNotWritable) as error:
            write_pack(tmp_path / "taken", "p", {}, {})
        one_sentence(error, tmp_path / "taken")

    def test_a_folder_in_the_way_of_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "p" / "t.safetensors").mkdir(parents=True)
        with pytest.raises(OutputNotWritable) as error:
            write_pack(tmp_path / "p", "p", {"t": ("table", {}, {"x": torch.ones(1)})}, {})
        one_sentence(error, tmp_path / "p")
