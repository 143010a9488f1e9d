"""Files that are whole or not there, what they keep of those they replace, and what is swept."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from vidhair.errors import OutputNotWritable
from vidhair.media import check_distinct, check_target
from vidhair.media.files import same_place, scratch_folder, whole_file

HOLDER = """
import sys, time
from pathlib import Path
from vidhair.media.files import scratch_folder, whole_file
with whole_file(Path(sys.argv[1])) as part, scratch_folder() as folder:
    part.write_bytes(b"half")
    (folder / "entry").touch()
    print(part.name, folder, flush=True)
    time.sleep(60)
"""


@contextmanager
def held(target: Path) -> Iterator[tuple[subprocess.Popen[Any], Path, Path]]:
    """Another process in the midst of writing: (it, its part, its folder)."""
    command = [sys.executable, "-c", HOLDER, str(target)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        part, folder = process.stdout.readline().split()
        try:
            yield process, target.with_name(part), Path(folder)
        finally:
            process.kill()


def replace(target: Path, data: bytes = b"after") -> None:
    with whole_file(target) as part:
        part.write_bytes(data)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "temporary"


def test_what_the_dead_left_is_removed_and_nothing_of_the_living(
    tmp_path: Path, temporary: Path
) -> None:
    target = tmp_path / "a.mp4"
    strangers = [tmp_path / ".a.mp4.part-zzzz.mp4", tmp_path / "b.part-01234567.mp4"]
    for path in strangers:
        path.touch()
    with held(target) as (process, part, folder):
        replace(target)
        with scratch_folder():
            pass
        assert part.read_bytes() == b"half" and (folder / "entry").exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert part.exists() and folder.exists()
        replace(tmp_path / "another.mp4")
        with scratch_folder() as mine:
            assert list(temporary.iterdir()) == [mine]
        assert not part.exists()
    assert all(path.exists() for path in strangers)
    assert list(temporary.iterdir()) == []
    assert target.read_bytes() == b"after"


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    home = tmp_path / "far" / "b.mp4"
    home.write_bytes(b"before")
    (tmp_path / "middle.mp4").symlink_to("far/b.mp4")
    (tmp_path / "a.mp4").symlink_to("middle.mp4")
    replace(tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").is_symlink() and home.read_bytes() == b"after"
    home.unlink()
    replace(tmp_path / "a.mp4", b"again")
    assert home.read_bytes() == b"again" and list((tmp_path / "far").iterdir()) == [home]


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("missing/b.mp4")
    with pytest.raises(OutputNotWritable, match=r"no folder .*missing; create it first"):
        check_target(tmp_path / "a.mp4")
    (tmp_path / "c.mp4").symlink_to("c.mp4")
    with pytest.raises(OutputNotWritable, match="cannot be written"):
        check_target(tmp_path / "c.mp4")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "a.mp4"
    target.touch()
    target.chmod(mode)
    with whole_file(target) as part:
        assert part.stat().st_mode & 0o777 == mode | 0o600  # never wider than it will be
        part.write_bytes(b"after")
    assert target.stat().st_mode & 0o777 == mode


def test_a_new_file_is_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        replace(tmp_path / "a.mp4")
    finally:
        os.umask(old)
    assert (tmp_path / "a.mp4").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_that_may_not_be_written_is_left(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch(0o444)
    with pytest.raises(OutputNotWritable, match="may not be written"):
        check_target(tmp_path / "a.mp4")


def test_one_file_by_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "alias").symlink_to("folder")
    target = Path("folder/a.mp4")
    spellings: list[str | Path] = [
        "./folder/a.mp4",
        "folder/../folder/a.mp4",
        "alias/a.mp4",
        tmp_path / target,
    ]
    Path("to_a.mp4").symlink_to(target)
    for there in (False, True):
        for name in [*spellings, "to_a.mp4"]:
            assert same_place(name, target)
            if there:
                with pytest.raises(OutputNotWritable, match="the source itself"):
                    check_target(name, target)
        with pytest.raises(OutputNotWritable, match="the same file"):
            check_distinct(Path("folder/b.mp4"), target, Path("to_a.mp4"))
        assert not same_place("folder/b.mp4", target)
        target.touch()
    os.link(target, "hard.mp4")
    assert same_place("hard.mp4", target)


@pytest.mark.parametrize("folds", [False, True])
def test_letters_count_where_the_file_system_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folds: bool
) -> None:
    monkeypatch.setattr("vidhair.media.files._folds_case", lambda folder: folds)
    assert same_place(tmp_path / "A.MP4", tmp_path / "a.mp4") == folds
