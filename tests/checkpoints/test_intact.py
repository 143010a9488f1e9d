"""Checksums are remembered only of files that lie still, and of no altered one."""

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from vidhair.checkpoints import packs
from vidhair.checkpoints.intact import known_intact, remember_intact
from vidhair.checkpoints.packs import open_pack, write_pack
from vidhair.errors import PackDamaged

SHA256 = "0" * 64
START = time.time


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of states of a user; not there yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """So much that files written now have come to rest."""
    monkeypatch.setattr(time, "time", lambda: START() + 60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    return path


def notes(state: Path) -> list[Path]:
    return [path for path in state.rglob("*") if path.is_file()]


@pytest.mark.usefixtures("later")
class TestNotes:
    def test_a_file_is_known_once_it_was_found_right(self, file: Path, state: Path) -> None:
        assert not known_intact(file, SHA256) and not state.exists()
        remember_intact(file, SHA256)
        assert known_intact(file, SHA256)
        (note,) = notes(state)
        assert note.parent == state / "vidhair" / "intact" and not note.read_bytes()

    def test_by_any_path(self, file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        remember_intact(file, SHA256)
        (tmp_path / "link").symlink_to(file)
        monkeypatch.chdir(tmp_path)
        assert known_intact(Path("weights"), SHA256) and known_intact(tmp_path / "link", SHA256)

    def test_of_this_checksum_only(self, file: Path) -> None:
        remember_intact(file, SHA256)
        assert not known_intact(file, "1" * 64)

    def test_not_of_another_file_of_the_same_contents(self, file: Path, tmp_path: Path) -> None:
        remember_intact(file, SHA256)
        (tmp_path / "copy").write_bytes(file.read_bytes())
        assert not known_intact(tmp_path / "copy", SHA256)

    def test_not_of_a_file_that_was_altered_in_place(self, file: Path) -> None:
        """Same place, inode and size, and a time of change that was put back."""
        before = file.stat()
        remember_intact(file, SHA256)
        time.sleep(0.02)  # at least a tick of the file system's clock
        with file.open("r+b") as opened:
            opened.write(b"W")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = file.stat()
        for fact in ("st_size", "st_ino", "st_mtime_ns"):
            assert getattr(after, fact) == getattr(before, fact)
        assert not known_intact(file, SHA256)

    def test_not_of_a_file_that_took_its_place(self, file: Path, tmp_path: Path) -> None:
        before = file.stat()
        remember_intact(file, SHA256)
        other = tmp_path / "other"
        other.write_bytes(b"WEIGHTS")
        other.rename(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert not known_intact(file, SHA256)

    def test_a_file_that_is_gone(self, file: Path) -> None:
        remember_intact(file, SHA256)
        file.unlink()
        with pytest.raises(FileNotFoundError):
            known_intact(file, SHA256)
        remember_intact(file, SHA256)  # and nothing to note


class TestRest:
    def test_a_file_that_was_just_written_is_not_noted(self, file: Path, state: Path) -> None:
        remember_intact(file, SHA256)
        assert not known_intact(file, SHA256) and not state.exists()

    @pytest.mark.parametrize(("seconds", "noted"), [(1.9, False), (2.2, True), (-60, False)])
    def test_after_two_seconds(
        self, file: Path, state: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, noted: bool
    ) -> None:
        change = file.stat().st_mtime
        monkeypatch.setattr(time, "time", lambda: change + seconds)
        remember_intact(file, SHA256)
        assert known_intact(file, SHA256) is noted and bool(notes(state)) is noted

    def test_an_old_time_that_a_copy_was_given_does_not_count(
        self, file: Path, state: Path
    ) -> None:
        os.utime(file, (0, 0))
        remember_intact(file, SHA256)
        assert not notes(state)


@pytest.mark.usefixtures("later")
class TestStateFolder:
    @pytest.fixture(params=["a file", "a name too long", "closed", "full"])
    def unusable(
        self,
        request: pytest.FixtureRequest,
        tmp_path: Path,
        state: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        if request.param == "a file":
            state.write_text("")
        elif request.param == "a name too long":
            monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / ("x" * 300)))
        elif request.param == "closed":
            if os.geteuid() == 0:
                pytest.skip("no folder is closed to root")
            state.mkdir(mode=0)
        else:

            def full(*_: Any, **__: Any) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            monkeypatch.setattr(Path, "touch", full)

    def test_that_cannot_be_used_is_no_error(self, file: Path, unusable: Any) -> None:
        remember_intact(file, SHA256)
        assert not known_intact(file, SHA256)

    def test_packs_are_read_all_the_same(self, tmp_path: Path, unusable: Any) -> None:
        write_pack(tmp_path / "p", "p", {"t": ("table", {}, {"x": torch.ones(2)})}, {})
        for _ in range(2):
            assert open_pack(tmp_path / "p").tensors("t")["x"].sum() == 2

    def test_in_the_home_of_a_user_without_another(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("XDG_STATE_HOME")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        remember_intact(file, SHA256)
        assert len(notes(tmp_path / "home" / ".local" / "state" / "vidhair" / "intact")) == 1


@pytest.mark.usefixtures("later")
class TestPacks:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_pack(tmp_path / "p", "p", {"t": ("table", {}, {"x": torch.ones(2)})}, {})
        return tmp_path / "p"

    @pytest.fixture
    def computed(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """The files whose checksum was computed."""
        calls: list[Path] = []
        real = packs.file_sha256

        def noted(path: Path) -> str:
            calls.append(path)
            return real(path)

        monkeypatch.setattr(packs, "file_sha256", noted)
        return calls

    def test_a_checksum_is_computed_once(self, folder: Path, computed: list[Any]) -> None:
        for _ in range(3):
            assert open_pack(folder).tensors("t")["x"].sum() == 2
        assert computed == [folder / "t.safetensors"]

    def test_unless_it_is_asked_for(self, folder: Path, computed: list[Any]) -> None:
        for _ in range(3):
            open_pack(folder).check("t", anew=True)
        assert len(computed) == 3

    def test_an_altered_file_of_the_same_size_is_found(
        self, folder: Path, computed: list[Any]
    ) -> None:
        path = folder / "t.safetensors"
        open_pack(folder).check("t")
        time.sleep(0.02)
        with path.open("r+b") as opened:
            opened.seek(-1, os.SEEK_END)
            opened.write(b"\7")
        for _ in range(2):  # what was found wrong is not remembered
            with pytest.raises(PackDamaged, match="does not match its manifest"):
                open_pack(folder).tensors("t")
        assert len(computed) == 3

    def test_a_byte_that_was_altered_unseen_is_found_anew(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a failing disk does, without any time of change."""
        path = folder / "t.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\7")
        monkeypatch.setattr(packs, "known_intact", lambda *_: True)
        open_pack(folder).check("t")
        with pytest.raises(PackDamaged, match="does not match its manifest"):
            open_pack(folder).check("t", anew=True)
