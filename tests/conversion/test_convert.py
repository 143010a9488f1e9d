"""Weight files of others become packs whole, or nothing is left of them."""

import errno
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from tests.checkpoints.third_party_files import EasyDict
from tests.models.official_files import (
    ada,
    encoder,
    official,
    one_sentence,
    pickled,
    psp,
    rosinality,
    stylegan3,
    tiny_stylegan2,
    without,
    write,
)
from tests.models.tiny import R, T, random, tiny_generator
from vidhair.checkpoints import generator_names, packs
from vidhair.checkpoints.packs import file_sha256, open_pack
from vidhair.conversion.convert import USUAL, convert, pack_folder
from vidhair.errors import (
    CheckpointUnreadable,
    DiskFull,
    OutputNotWritable,
    VidhairError,
    WeightsDoNotFit,
)
from vidhair.models.encoders.attributes import pack_attributes
from vidhair.models.encoders.restyle import restyle
from vidhair.models.mappers import BALD_GAIN, BaldMapper, CodeMapper
from vidhair.models.pack import load_pack

pytestmark = pytest.mark.usefixtures("one_thread")

WIDTH = 8  # of the codes of the tiny encoders


@pytest.fixture(autouse=True)
def users_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the packs of a user lie; not there yet."""
    monkeypatch.setenv(packs.PACKS_VARIABLE, str(tmp_path / "share" / "packs"))
    return tmp_path / "share" / "packs"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "made" / "pack"


@pytest.fixture
def save(tmp_path: Path) -> Callable[[str, Any], Path]:
    (tmp_path / "files").mkdir()
    return lambda name, value: write(tmp_path / "files" / name, value)


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refused(kind: type[VidhairError], files: list[Path], target: Path, *says: object) -> str:
    """And nothing is left behind."""
    before = everything(target.parent) if target.parent.exists() else []
    with pytest.raises(kind) as error:
        convert(files, target)
    assert (everything(target.parent) if target.parent.exists() else []) == before
    return one_sentence(error, *says)


def stylegan3_of_psp(**changes: Any) -> dict[str, torch.Tensor]:
    """A generator for the tiny encoders, if they have 16 codes."""
    return stylegan3(tiny_generator(w_dim=WIDTH, **changes))


SIXTEEN: dict[str, Any] = {"num_ws": 16}


def direction(values: torch.Tensor, path: Path) -> Path:
    np.save(path, values.numpy()[None])
    return path


# ---- what becomes of files


class TestPacks:
    def test_a_generator_and_the_encoder_that_belongs_to_it(
        self, save: Callable[..., Any], target: Path
    ) -> None:
        files = [
            save("bisenet.pth", pickled(stylegan3_of_psp())),
            save("sg3.pkl", psp("restyle_e4e", changes=SIXTEEN)),
        ]
        conversion = convert(files, target)
        assert conversion.folder == target and conversion.left_out == []
        assert conversion.parts == {"generator": (files[0],), "encoder": (files[1],)}
        pack = load_pack(target)
        assert pack.name == "pack" and set(pack.files.parts) == {"generator", "encoder"}
        generator = tiny_generator(w_dim=WIDTH)
        for name, tensor in generator.state_dict().items():
            assert torch.equal(pack.generator.state_dict()[name], tensor)
        image = random(2, 3, 32, 32)
        average = psp("restyle_e4e", changes=SIXTEEN)["latent_avg"]
        want = restyle(
            image, encoder("restyle_e4e", **SIXTEEN), generator.synthesis, average, steps=3
        )
        torch.testing.assert_close(pack.inverter.codes(image), want[:, -1])
        assert pack.inverter_parts == ("encoder", "generator")

    def test_the_manifest_says_what_it_was_made_of(
        self, save: Callable[..., Any], target: Path
    ) -> None:
        files = [save("a b.pt", stylegan3()), save("ü.npy", b"")]
        direction(random(12), files[1])
        convert(files, target)
        manifest = json.loads((target / "manifest.json").read_text())
        assert manifest["made_from"] == [
            {"file": "a b.pt", "sha256": file_sha256(files[0])},
            {"file": "ü.npy", "sha256": file_sha256(files[1])},
        ]
        assert "authors" in manifest["licence"]
        assert everything(target) == [
            "attributes.safetensors", "generator.safetensors", "manifest.json",
        ]  # fmt: skip

    def test_the_files_are_left_alone(self, save: Callable[..., Any], target: Path) -> None:
        file = save("x", {"g_ema": rosinality(tiny_stylegan2())})
        before = file.read_bytes()
        convert([file], target)
        pack = load_pack(target)
        pack.generator.mapping.w_avg.zero_()
        assert file.read_bytes() == before

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_the_precision_of_the_file_is_kept(
        self, save: Callable[..., Any], target: Path, dtype: torch.dtype
    ) -> None:
        weights = {n: t.to(dtype) for n, t in stylegan3(**R).items()}
        convert([save("x", weights)], target)
        size = (target / "generator.safetensors").stat().st_size
        count = sum(t.numel() for t in tiny_generator(**R).state_dict().values())
        assert count * dtype.itemsize < size < count * dtype.itemsize + 12_000
        state = load_pack(target).generator.state_dict()
        for name, tensor in tiny_generator(**R).state_dict().items():
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], tensor.to(dtype).float()), name

    def test_tensors_that_share_memory(self, save: Callable[..., Any], target: Path) -> None:
        weights = stylegan3()
        same = weights["synthesis.L3_36_12.weight"]
        weights |= {f"synthesis.L{k}_36_12.weight": same for k in range(4)}
        weights["synthesis.L4_36_12.weight"] = same.transpose(0, 1)
        convert([save("x", weights)], target)
        state = load_pack(target).generator.state_dict()
        assert torch.equal(state["synthesis.layers.2.weight"], same)
        assert torch.equal(state["synthesis.layers.4.weight"], same.transpose(0, 1))

    @pytest.mark.parametrize("clamp", [256, None])
    def test_stylegan2_of_both_kinds(
        self, save: Callable[..., Any], tmp_path: Path, clamp: int | None
    ) -> None:
        """With its noise, which the flow leaves out."""
        generator = tiny_stylegan2()
        kwargs = EasyDict(conv_clamp=clamp)
        files = {
            "ada": save("a", pickled(ada(generator), synthesis_kwargs=kwargs)),
            "rosinality": save(
                "b", {"g_ema": rosinality(generator), "latent_avg": generator.mapping.w_avg}
            ),
        }
        ws = generator.mapping(random(2, 8), truncation_psi=0.7)
        want = generator.synthesis(ws)
        for name, file in files.items():
            convert([file], tmp_path / name)
            got = load_pack(tmp_path / name).generator
            assert torch.equal(got.mapping(random(2, 8), truncation_psi=0.7), ws)
            s: Any = got.synthesis
            assert torch.equal(s.render_styles(s.styles(ws), noise=s.stored_noise()), want)

    def test_a_mapper_to_bald_heads(self, save: Callable[..., Any], target: Path) -> None:
        mapper = BaldMapper(6)
        weights = official(mapper.state_dict(), generator_names.BALD_MAPPER)
        convert([save("x", {"state_dict": weights, "alpha": 0.5})], target)
        built = load_pack(target).build("bald_mapper")
        assert built.strength == pytest.approx(BALD_GAIN / 2)
        assert torch.equal(built(random(1, 18, 6)), mapper(random(1, 18, 6)))


class TestAttributes:
    def test_directions_are_called_as_their_files(
        self, save: Callable[..., Any], target: Path
    ) -> None:
        rows = {"age": random(12), "smile_boundary": random(12, seed=1) * 30}
        files = [direction(row, save(f"{name}.npy", b"")) for name, row in rows.items()]
        conversion = convert([*files, save("g.pt", stylegan3())], target)
        assert conversion.parts["attributes"] == tuple(files)
        space = pack_attributes(open_pack(target))
        assert space is not None
        assert space.names == tuple(rows)
        for name, row in rows.items():
            torch.testing.assert_close(space.direction(name), row / row.norm())
        ws = random(3, 16, 12)
        moved = ws + 2.5 * space.direction("age")
        torch.testing.assert_close(
            space.read(moved)[:, 0] - space.read(ws)[:, 0], torch.full((3,), 2.5)
        )
        assert torch.equal(space.high, torch.full((2,), USUAL)) and torch.equal(
            space.low, -space.high
        )

    def test_of_the_same_name_or_other_lengths(
        self, save: Callable[..., Any], tmp_path: Path, target: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        first = direction(random(12), save("age.npy", b""))
        for other in (
            direction(random(12), tmp_path / "other" / "age.npy"),
            direction(random(11), tmp_path / "other" / "smile.npy"),
        ):
            refused(WeightsDoNotFit, [first, other], target, first, other)

    def test_for_codes_of_another_length(self, save: Callable[..., Any], target: Path) -> None:
        files = [direction(random(11), save("age.npy", b"")), save("g.pt", stylegan3())]
        refused(WeightsDoNotFit, files, target, *files, "11", "12", "belong together")

    def test_damaged(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("g.pt", stylegan3()), save("a.npy", b"\x93NUMPY\1\0")]
        refused(CheckpointUnreadable, files, target, files[1])


class TestChoice:
    def test_two_of_a_kind(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("a.pt", stylegan3()), save("b.pt", pickled(stylegan3(**R)))]
        refused(WeightsDoNotFit, files, target, *files, "generator", "leave one of them out")
        files = [save("c.pt", psp("psp")), save("d.pt", psp("e4e"))]
        refused(WeightsDoNotFit, files, target, *files, "psp, e4e")

    def test_the_same_file_twice(self, save: Callable[..., Any], target: Path) -> None:
        file = save("a.pt", stylegan3())
        refused(WeightsDoNotFit, [file, file], target, file)

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_file_of_its_own_goes_before_what_lies_beside(
        self, save: Callable[..., Any], target: Path, order: int
    ) -> None:
        own = save("own", stylegan3_of_psp(**T))
        both = save("both", psp("psp", changes=SIXTEEN, decoder=stylegan3_of_psp(**R)))
        conversion = convert([own, both][::order], target)
        assert conversion.parts == {"generator": (own,), "encoder": (both,)}
        assert conversion.left_out == [("generator", both)]
        config: Any = load_pack(target).generator.config
        assert config.conv_kernel == 3

    def test_what_lies_beside_serves_where_there_is_no_other(
        self, save: Callable[..., Any], target: Path
    ) -> None:
        both = save("both", psp("psp", changes=SIXTEEN, decoder=stylegan3_of_psp(**R)))
        conversion = convert([both], target)
        assert conversion.parts == {"generator": (both,), "encoder": (both,)}
        assert conversion.left_out == []
        config: Any = load_pack(target).generator.config
        assert config.conv_kernel == 1

    def test_a_decoder_alone_is_not_beside(self, save: Callable[..., Any], target: Path) -> None:
        weights = {f"decoder.{name}": tensor for name, tensor in stylegan3().items()}
        files = [save("a", stylegan3()), save("b", {"state_dict": weights})]
        refused(WeightsDoNotFit, files, target, *files)

    def mapper(self) -> dict[str, Any]:
        weights = official(CodeMapper(12).state_dict(), generator_names.STYLECLIP_SINGLE)
        return {"state_dict": {f"mapper.{name}": tensor for name, tensor in weights.items()}}

    def test_many_mappers(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("afro.pt", self.mapper()), save("bob cut.pt", self.mapper())]
        assert set(convert(files, target).parts) == {"mapper-afro", "mapper-bob cut"}
        assert load_pack(target).build("mapper-bob cut")(random(1, 16, 12)).shape == (1, 16, 12)

    def test_mappers_of_one_name(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("afro.pt", self.mapper()), save("afro.pth", self.mapper())]
        refused(WeightsDoNotFit, files, target, *files, "mapper-afro")


class TestBelongingTogether:
    def test_the_number_of_codes(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("e", psp("psp")), save("g", stylegan3_of_psp())]
        refused(WeightsDoNotFit, files, target, *files, "how many codes", "9", "16")

    def test_the_length_of_codes(self, save: Callable[..., Any], target: Path) -> None:
        files = [save("e", psp("psp", changes=SIXTEEN)), save("g", stylegan3())]
        refused(WeightsDoNotFit, files, target, *files, "8", "12", "belong together")

    def test_a_mapper_for_other_codes(self, save: Callable[..., Any], target: Path) -> None:
        weights = official(CodeMapper(6).state_dict(), generator_names.STYLECLIP_SINGLE)
        state = {f"mapper.{name}": tensor for name, tensor in weights.items()}
        files = [save("m.pt", {"state_dict": state}), save("g.pt", stylegan3())]
        refused(WeightsDoNotFit, files, target, *files, "6", "12")

    def test_stylegan2_has_two_codes_for_each_size(
        self, save: Callable[..., Any], target: Path
    ) -> None:
        generator = tiny_stylegan2(64)
        file = {"g_ema": rosinality(generator), "latent_avg": generator.mapping.w_avg}
        files = [save("g", file), save("e", psp("e4e", changes={"num_ws": 10}))]
        assert set(convert(files, target).parts) == {"generator", "encoder"}
        files[1] = save("e", psp("e4e", changes=SIXTEEN))
        refused(WeightsDoNotFit, files, target.with_name("other"), *files, "10", "16")

    @pytest.mark.parametrize("kind", ["psp", "restyle_psp"])
    def test_an_average_that_only_the_generator_knows(
        self, save: Callable[..., Any], target: Path, kind: str
    ) -> None:
        file = without(psp(kind, changes=SIXTEEN), ["latent_avg"])
        files = [save("e", file), save("g", stylegan3_of_psp())]
        refused(WeightsDoNotFit, files[:1], target, files[0], "latent_avg", "with its generator")
        w_avg = random(WIDTH).half()
        files[1] = save("g", stylegan3_of_psp() | {"mapping.w_avg": w_avg})
        convert(files, target)
        want = w_avg.float().expand(16, WIDTH)
        assert torch.equal(load_pack(target).encoder.get_buffer("w_avg"), want)


# ---- where it goes, and what is left if it fails


class TestPlaces:
    def test_a_bare_name_lies_among_the_packs_of_the_user(
        self, save: Callable[..., Any], users_packs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(users_packs.parents[1])
        assert convert([save("g", stylegan3())], "mine").folder == users_packs / "mine"
        assert load_pack("mine").generator.config.resolution == 16
        assert not Path("mine").exists()

    @pytest.mark.parametrize("name", ["./mine", "a/mine", "mine/", "..", ".", "/abs/mine"])
    def test_all_else_is_a_path(self, name: str) -> None:
        path = Path(name)
        assert pack_folder(name) == path

    def test_a_path_object_of_one_name_is_bare_too(self, users_packs: Path) -> None:
        assert pack_folder(Path("mine")) == users_packs / "mine"

    @pytest.mark.parametrize("kind", ["pack", "empty folder", "file", "dangling link"])
    def test_nothing_is_overwritten(
        self, save: Callable[..., Any], target: Path, kind: str
    ) -> None:
        target.parent.mkdir()
        if kind == "pack":
            convert([save("a", stylegan3())], target)
        elif kind == "empty folder":
            target.mkdir()
        elif kind == "file":
            target.write_text("")
        else:
            target.symlink_to("absent")
        refused(OutputNotWritable, [save("g", stylegan3())], target, target, "choose another name")

    @pytest.mark.parametrize("name", [".", "..", ""])
    def test_the_present_folder_is_no_place(self, save: Callable[..., Any], name: str) -> None:
        with pytest.raises(OutputNotWritable):
            convert([save("g", stylegan3())], name)

    def test_below_a_file(self, save: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        target = tmp_path / "file" / "pack"
        with pytest.raises(OutputNotWritable) as error:
            convert([save("g", stylegan3())], target)
        one_sentence(error, target.parent)


def full(*_: Any, **__: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class TestFailure:
    @pytest.fixture
    def files(self, save: Callable[..., Any]) -> list[Path]:
        return [save("g", stylegan3_of_psp()), save("e", psp("psp", changes=SIXTEEN))]

    @pytest.fixture
    def target(self, tmp_path: Path) -> Path:
        (tmp_path / "made").mkdir()
        return tmp_path / "made" / "pack"

    @pytest.mark.parametrize("at", [1, 2])
    def test_a_disk_that_is_full(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch, at: int
    ) -> None:
        real, calls = Path.open, []

        class Full(io.FileIO):
            def write(self, data: Any) -> int:
                super().write(memoryview(data)[:1000])  # what still fits
                return full()

        def opened(path: Path, mode: str = "r", *how: Any, **more: Any) -> Any:
            if mode != "wb":
                return real(path, mode, *how, **more)
            calls.append(path)
            return real(path, mode) if len(calls) < at else Full(path, "w")

        monkeypatch.setattr(Path, "open", opened)
        refused(DiskFull, files, target, target.parent, "free some space")
        assert len(calls) == at and everything(target.parent) == []

    def test_a_disk_that_is_full_for_the_manifest(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Path, "write_text", full)
        refused(DiskFull, files, target, target.parent)

    def test_a_folder_that_cannot_get_its_name(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Path, "rename", full)
        refused(DiskFull, files, target, target.name)

    def test_another_pack_that_took_the_name_meanwhile(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = packs.file_sha256

        def meanwhile(path: Path) -> str:
            if path.suffix == ".safetensors" and not target.exists():
                target.mkdir()
                (target / "other").write_text("")
            return real(path)

        monkeypatch.setattr(packs, "file_sha256", meanwhile)
        with pytest.raises(OutputNotWritable) as error:
            convert(files, target)
        one_sentence(error, target)
        assert everything(target.parent) == ["pack", "pack/other"]

    def test_an_interruption(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(packs, "file_sha256", interrupted)
        with pytest.raises(KeyboardInterrupt):
            convert(files, target)
        assert everything(target.parent) == []

    def test_a_second_file_that_is_unfit(
        self, files: list[Path], save: Callable[..., Any], target: Path
    ) -> None:
        spoilt = psp("psp", changes=SIXTEEN)
        spoilt["state_dict"]["encoder.latlayer1.bias"][0] = torch.nan
        for value, kind in (
            (b"", CheckpointUnreadable),
            (b"<html>", CheckpointUnreadable),
            ({"x": torch.ones(1)}, WeightsDoNotFit),
            (spoilt, CheckpointUnreadable),
            (pickled(stylegan3(), filter_size=8), WeightsDoNotFit),
        ):
            bad = save("bad file.pt", value)
            refused(kind, [files[0], bad], target, bad)

    def test_a_file_that_is_not_there(self, files: list[Path], target: Path) -> None:
        absent = target.parent / "absent\nfile.pt"
        refused(CheckpointUnreadable, [*files, absent], target, "absent\\nfile.pt")

    def test_a_folder_and_a_pipe(self, files: list[Path], target: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for odd in (tmp_path / "pipe", tmp_path):
            refused(CheckpointUnreadable, [odd, *files], target, odd)

    def test_it_succeeds_afterwards(
        self, files: list[Path], target: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_text", full)
            refused(DiskFull, files, target)
        convert(files, target)
        names = ("encoder.safetensors", "generator.safetensors", "manifest.json")
        assert everything(target.parent) == ["pack", *(f"pack/{name}" for name in names)]
