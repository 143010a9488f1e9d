"""One contract for every store; what is particular to disks: damage, bounds, other processes."""

import contextlib
import errno
import itertools
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vidhair.cache import DiskStore, Entry, FramesMissing, Key, MemoryStore, Store, fingerprint
from vidhair.errors import CacheUnusable, DiskFull

DTYPES = [*"?bBhHiIqQefdFD", ">f4", "<u2"]


def key_of(number: int = 0, stage: str = "smooth") -> Key:
    inputs = {"styles": fingerprint("clip")}
    return Key(stage, 1, {"number": number}, inputs, {"generator": fingerprint("pack")})


def frames(start: int, stop: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Arrays whose every frame tells its own number."""
    numbers = np.arange(start, stop) + 1000 * seed
    codes = numbers[:, None, None] + np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    return {"codes": codes.astype(np.float32), "face_found": numbers % 3 > 0, "number": numbers}


def assert_equal(result: dict[str, NDArray[Any]] | None, expected: dict[str, NDArray[Any]]) -> None:
    assert result is not None and list(result) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(result[name], array, strict=True)


class StoreContract:
    """What every store does. A subclass says how to make an empty one."""

    def make(self, folder: Path) -> Store:
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return self.make(tmp_path / "deeper" / "cache")

    @pytest.fixture
    def entry(self, store: DiskStore | MemoryStore) -> Entry:
        return store.open(key_of())

    def test_new_entry_misses_everything(
        self, store: DiskStore | MemoryStore, entry: Entry
    ) -> None:
        assert entry.missing(0, 10) == [(0, 10)]
        assert entry.missing(4, 4) == []
        assert entry.read_clip() is None
        assert store.entries() == [] and store.size() == 0
        with pytest.raises(FramesMissing):
            entry.read(0, 1)

    def test_reads_what_was_written(self, entry: Entry) -> None:
        entry.write(3, frames(3, 8))
        assert entry.missing(0, 10) == [(0, 3), (8, 10)]
        assert entry.missing(3, 8) == entry.missing(5, 6) == []
        assert_equal(entry.read(3, 8), frames(3, 8))
        assert_equal(entry.read(5, 6), frames(5, 6))

    def test_reads_across_chunks(self, entry: Entry) -> None:
        for start, stop in [(8, 9), (0, 3), (3, 8), (20, 25)]:
            entry.write(start, frames(start, stop))
        assert entry.missing(0, 30) == [(9, 20), (25, 30)]
        assert_equal(entry.read(0, 9), frames(0, 9))
        assert_equal(entry.read(2, 9), frames(2, 9))
        with pytest.raises(FramesMissing, match="frame 9 "):
            entry.read(0, 21)

    def test_any_sequence_of_writes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "fsync", lambda fd: None)
        range_ = st.tuples(st.integers(0, 25), st.integers(0, 6))

        @given(st.lists(st.tuples(range_, st.booleans()), max_size=8), st.lists(range_, min_size=3))
        @settings(max_examples=60, deadline=None)
        def check(writes: list[tuple[tuple[int, int], bool]], asked: list[tuple[int, int]]) -> None:
            with tempfile.TemporaryDirectory() as folder:
                entry = self.make(Path(folder)).open(key_of())
                model = set()
                for (start, more), compress in writes:
                    entry.write(start, frames(start, start + more + 1), compress=compress)
                    model |= set(range(start, start + more + 1))
                for start, n in asked:
                    gaps = entry.missing(start, start + n)
                    flat = [frame for gap in gaps for frame in range(*gap)]
                    assert flat == sorted(set(range(start, start + n)) - model)
                    assert all(a[1] < b[0] for a, b in itertools.pairwise(gaps))
                    if gaps:
                        with pytest.raises(FramesMissing):
                            entry.read(start, start + n)
                    elif n:
                        assert_equal(entry.read(start, start + n), frames(start, start + n))

        check()

    def test_reads_the_named_arrays_only(self, entry: Entry) -> None:
        entry.write(0, frames(0, 4))
        assert list(entry.read(0, 4, names=["number"])) == ["number"]
        assert entry.read(0, 4, names=()) == {}
        with pytest.raises(AssertionError, match="height"):
            entry.read(0, 4, names=["height"])

    def test_same_range_again_replaces(self, entry: Entry) -> None:
        entry.write(0, frames(0, 4))
        entry.write(0, frames(0, 4, seed=1))
        assert_equal(entry.read(0, 4), frames(0, 4, seed=1))

    @pytest.mark.parametrize("compress", [False, True])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes_and_shapes(self, entry: Entry, dtype: str, compress: bool) -> None:
        arrays = {
            str(shape): (np.arange(math.prod(shape)).reshape(shape) * 1.37).astype(dtype)
            for shape in [(3,), (3, 1), (3, 2, 5), (3, 0), (3, 4, 0, 2)]
        }
        entry.write(0, arrays, compress=compress)
        little = np.dtype(dtype).newbyteorder("<")
        assert_equal(entry.read(0, 3), {name: a.astype(little) for name, a in arrays.items()})

    @pytest.mark.parametrize("bits", [0x7FC00001, 0xFF800000, 0x80000000, 1])
    def test_floats_keep_their_bits(self, entry: Entry, bits: int) -> None:
        array = np.array([bits], np.uint32).view(np.float32)
        entry.write(0, {"a": array})
        assert entry.read(0, 1)["a"].view(np.uint32)[0] == bits

    def test_strided_arrays(self, entry: Entry) -> None:
        array = np.arange(24).reshape(2, 3, 4)
        entry.write(0, {"a": array.T, "b": array.transpose(2, 0, 1)[::-1]})
        assert_equal(entry.read(0, 4), {"a": array.T, "b": array.transpose(2, 0, 1)[::-1]})

    def test_arrays_are_not_shared_with_the_caller(self, entry: Entry) -> None:
        given = frames(0, 4)
        entry.write(0, given)
        entry.write_clip(given)
        given["codes"][:] = -1
        for _ in range(2):
            for result in (entry.read(0, 4), entry.read_clip()):
                assert_equal(result, frames(0, 4))
                assert result is not None
                result["codes"][:] = -1

    def test_whole_clip_results(self, entry: Entry) -> None:
        result: dict[str, NDArray[Any]] = {
            "weights": np.zeros((2, 0, 3), np.float16),
            "mean": np.array(2.5),
            "n": np.array([1], np.int8),
        }
        for compress in (False, True):
            entry.write_clip({"old": np.arange(3)})
            entry.write_clip(result, compress=compress)
            assert_equal(entry.read_clip(), result)
        entry.write_clip({})
        assert entry.read_clip() == {}
        assert entry.missing(0, 1) == [(0, 1)]

    def test_the_latest_state_is_there_until_the_whole_clip_is(self, entry: Entry) -> None:
        assert entry.read_state() is None
        entry.write(0, frames(0, 4))
        for rows in (2, 4):
            planes = np.linspace(0, rows, 6, dtype=np.float32).reshape(2, 3)
            entry.write_state(rows, {"planes": planes, "seen": np.arange(rows)})
            state = entry.read_state()
            assert state is not None and state[0] == rows
            assert_equal(state[1], {"planes": planes, "seen": np.arange(rows)})
        assert entry.missing(0, 6) == [(4, 6)] and entry.read_clip() is None
        assert_equal(entry.read(0, 4), frames(0, 4))
        entry.write_clip({})
        assert entry.read_state() is None

    def test_a_state_without_all_frames_before_it_is_none(self, entry: Entry) -> None:
        entry.write_state(4, {})
        assert entry.read_state() is None
        entry.write(0, frames(0, 2))
        assert entry.read_state() is None
        entry.write(1, frames(1, 5))
        assert entry.read_state() == (4, {})

    def test_names_dtypes_and_shapes_are_fixed_by_the_first_write(
        self, store: DiskStore | MemoryStore, entry: Entry
    ) -> None:
        entry.write(0, frames(0, 4))
        good = frames(4, 6)
        for bad in (
            {"codes": good["codes"]},
            {**good, "more": good["number"]},
            {**good, "codes": good["codes"].astype(np.float64)},
            {**good, "codes": good["codes"][:, :1]},
        ):
            for opened in (entry, store.open(key_of())):
                with pytest.raises(AssertionError):
                    opened.write(4, bad)
        assert entry.missing(0, 6) == [(4, 6)]

    @pytest.mark.parametrize(
        "arrays",
        [
            {},
            {"a": np.zeros((0, 3))},
            {"a": np.array(1.0)},
            {"a": np.zeros(2), "b": np.zeros(3)},
            {"a": np.array(["text"])},
            {"a": np.array([None])},
            {"a": np.zeros(2, np.longdouble)},
            {"__metadata__": np.zeros(2)},
            {"a": [1.0, 2.0]},
        ],
    )
    def test_what_is_not_frames_is_not_written(
        self, store: DiskStore | MemoryStore, entry: Entry, arrays: dict[str, Any]
    ) -> None:
        with pytest.raises(AssertionError):
            entry.write(0, arrays)
        assert store.entries() == []

    def test_entries_of_different_keys_are_apart(self, store: DiskStore | MemoryStore) -> None:
        a, b = store.open(key_of(1)), store.open(key_of(2))
        a.write(0, frames(0, 4, seed=1))
        assert b.missing(0, 4) == [(0, 4)]
        b.write(0, frames(0, 4, seed=2))
        assert_equal(a.read(0, 4), frames(0, 4, seed=1))

    def test_opened_again_it_holds_the_same(
        self, store: DiskStore | MemoryStore, entry: Entry
    ) -> None:
        entry.write(0, frames(0, 4))
        entry.write_clip({"n": np.array(4)})
        again = store.open(key_of())
        assert_equal(again.read(0, 4), frames(0, 4))
        entry.write(4, frames(4, 6))
        assert_equal(again.read(2, 6), frames(2, 6))
        assert_equal(again.read_clip(), {"n": np.array(4)})

    def test_listing_and_clearing(self, store: DiskStore | MemoryStore) -> None:
        opened = [store.open(key_of(number)) for number in range(3)]
        for entry in opened:
            entry.write(0, frames(0, 4))
        opened[0].read(0, 1)
        rows = store.entries()
        order = [json.loads(row.key_text)["config"]["number"] for row in rows]
        assert order == [1, 2, 0]
        assert [row.folder for row in rows] == [key_of(n).folder for n in order]
        assert store.size() == sum(row.bytes for row in rows)
        assert all(row.bytes >= sum(a.nbytes for a in frames(0, 4).values()) for row in rows)
        store.clear()
        assert store.entries() == [] and store.size() == 0
        assert opened[0].missing(0, 4) == [(0, 4)]
        opened[0].write(1, frames(1, 3))
        assert_equal(opened[0].read(1, 3), frames(1, 3))

    def test_threads_write_the_same_entry(self, entry: Entry) -> None:
        def work(first: int) -> None:
            for start in range(first, 40, 4):
                entry.write(start, frames(start, start + 1))

        threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert entry.missing(0, 40) == []
        assert_equal(entry.read(0, 40), frames(0, 40))


class TestMemoryStore(StoreContract):
    def make(self, folder: Path) -> MemoryStore:
        return MemoryStore()


class TestDiskStore(StoreContract):
    def make(self, folder: Path) -> DiskStore:
        return DiskStore(folder)

    def test_another_process_later_holds_the_same(self, store: DiskStore, entry: Any) -> None:
        entry.write(0, frames(0, 4))
        entry.write_clip({"n": np.array(4)})
        later = DiskStore(store.root).open(key_of())
        assert later.missing(0, 6) == [(4, 6)]
        assert_equal(later.read(0, 4), frames(0, 4))
        assert_equal(later.read_clip(), {"n": np.array(4)})

    def test_layout_is_as_described(self, store: DiskStore, entry: Any) -> None:
        entry.write(0, frames(0, 64))
        entry.write_clip({"n": np.array(4)})
        folder = store.root / key_of().folder
        names = ["00000000-00000064.safetensors", "clip.safetensors", "key.json"]
        assert sorted(p.name for p in folder.iterdir()) == names
        assert [p.name for p in store.root.iterdir()] == [folder.name]
        assert (folder / "key.json").read_text() == key_of().text

    def test_files_open_with_safetensors(self, store: DiskStore, entry: Any) -> None:
        arrays = {d: np.arange(6).reshape(2, 3).astype(d) for d in "?bBhHiIqQefd"}
        entry.write(0, {**arrays, "empty": np.zeros((2, 0))})
        found = safetensors.numpy.load_file(store.root / key_of().folder / chunk_name(0, 2))
        assert_equal({name: found[name] for name in arrays}, arrays)
        for compressed in ({"F": np.zeros(2, "F")}, {"a": np.zeros(2)}):
            entry.write_clip(compressed, compress=True)
            found = safetensors.numpy.load_file(store.root / key_of().folder / "clip.safetensors")
            assert all(array.dtype == np.uint8 for array in found.values())

    def test_compression_makes_mattes_small(self, store: DiskStore) -> None:
        matte = np.zeros((8, 256, 256), np.uint8)
        matte[:, 60:200, 80:180] = 255
        entry = store.open(key_of())
        entry.write(0, {"matte": matte}, compress=True)
        assert store.size() < matte.nbytes / 50
        assert_equal(entry.read(0, 8), {"matte": matte})


class TestBoundedDiskStore(StoreContract):
    def make(self, folder: Path) -> DiskStore:
        return DiskStore(folder, max_bytes=100)


def chunk_name(start: int, stop: int) -> str:
    return f"{start:08d}-{stop:08d}.safetensors"


class TestDamage:
    @pytest.fixture
    def store(self, tmp_path: Path) -> DiskStore:
        return DiskStore(tmp_path)

    @pytest.fixture
    def folder(self, store: DiskStore) -> Path:
        """An entry of three chunks and a clip result, written by somebody else."""
        entry = store.open(key_of())
        for start in (0, 4, 8):
            entry.write(start, frames(start, start + 4))
        entry.write_clip({"n": np.array(4)})
        return store.root / key_of().folder

    @pytest.mark.parametrize("size", [0, 1, 7, 8, 20, 100, 600, -1, -60])
    def test_truncated_chunk_is_missing_at_once(
        self, store: DiskStore, folder: Path, size: int
    ) -> None:
        path = folder / chunk_name(4, 8)
        content = path.read_bytes()
        path.write_bytes(content[:size])
        entry = store.open(key_of())
        assert entry.missing(0, 12) == [(4, 8)]
        assert not path.exists()
        with pytest.raises(FramesMissing, match="frame 4 "):
            entry.read(0, 12)
        assert_equal(entry.read(8, 12), frames(8, 12))
        entry.write(4, frames(4, 8))
        assert_equal(entry.read(0, 12), frames(0, 12))

    def test_grown_chunk_is_missing(self, store: DiskStore, folder: Path) -> None:
        with (folder / chunk_name(4, 8)).open("ab") as file:
            file.write(b"\0")
        assert store.open(key_of()).missing(0, 12) == [(4, 8)]

    def test_no_altered_byte_goes_unseen(self, store: DiskStore, folder: Path) -> None:
        path = folder / chunk_name(4, 8)
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            entry = store.open(key_of())
            with pytest.raises(FramesMissing):
                entry.read(4, 8)
            assert entry.missing(0, 12) == [(4, 8)]
            assert not path.exists()

    def test_altered_after_missing_said_it_is_there(self, store: DiskStore, folder: Path) -> None:
        path = folder / chunk_name(4, 8)
        entry = store.open(key_of())
        assert entry.missing(0, 12) == []
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x7f")
        assert entry.missing(0, 12) == []
        assert_equal(entry.read(4, 8, names=["codes"]), {"codes": frames(4, 8)["codes"]})
        with pytest.raises(FramesMissing):
            entry.read(0, 12)
        assert entry.missing(0, 12) == [(4, 8)]
        assert not path.exists()

    def test_another_chunk_stands_in_for_a_damaged_one(
        self, store: DiskStore, folder: Path
    ) -> None:
        entry = store.open(key_of())
        entry.write(2, frames(2, 9))
        path = folder / chunk_name(2, 9)
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        assert_equal(entry.read(0, 12), frames(0, 12))
        assert not path.exists()

    def test_damaged_clip_result_is_none(self, store: DiskStore, folder: Path) -> None:
        path = folder / "clip.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        entry = store.open(key_of())
        assert entry.read_clip() is None
        assert not path.exists()
        entry.write_clip({"n": np.array(5)})
        assert_equal(entry.read_clip(), {"n": np.array(5)})

    @pytest.mark.parametrize("name", ["state", "00000004-00000008"])
    @pytest.mark.parametrize("size", [0, 100, -1])
    def test_a_state_is_none_if_it_or_frames_before_it_are_cut_short(
        self, store: DiskStore, folder: Path, name: str, size: int
    ) -> None:
        store.open(key_of()).write_state(12, {"a": np.arange(9)})
        assert store.open(key_of()).read_state() is not None
        path = folder / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        assert store.open(key_of()).read_state() is None
        assert not path.exists()

    def test_no_altered_byte_of_a_state_goes_unseen(self, store: DiskStore, folder: Path) -> None:
        entry, path = store.open(key_of()), folder / "state.safetensors"
        entry.write_state(12, {"a": np.arange(3)})
        content = path.read_bytes()
        for at in range(len(content)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :])
            assert entry.read_state() is None and not path.exists()

    def test_chunk_under_the_name_of_another_range(self, store: DiskStore, folder: Path) -> None:
        (folder / chunk_name(0, 4)).rename(folder / chunk_name(12, 16))
        assert store.open(key_of()).missing(0, 16) == [(0, 4), (12, 16)]

    def test_chunk_from_another_key(self, store: DiskStore, folder: Path) -> None:
        store.open(key_of(1)).write(4, frames(4, 8, seed=1))
        (store.root / key_of(1).folder / chunk_name(4, 8)).rename(folder / chunk_name(4, 8))
        entry = store.open(key_of())
        assert entry.missing(0, 12) == [(4, 8)]

    @pytest.mark.parametrize(
        "content",
        [
            b"\xff" * 64,
            (10**15).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"{}",
            (200_000).to_bytes(8, "little") + b"[" * 200_000,
            safetensors.numpy.save({"codes": np.zeros((4, 2, 3), np.float32)}),
        ],
    )
    def test_hostile_files_are_misses(self, store: DiskStore, folder: Path, content: bytes) -> None:
        (folder / chunk_name(4, 8)).write_bytes(content)
        (folder / "clip.safetensors").write_bytes(content)
        entry = store.open(key_of())
        assert entry.missing(0, 12) == [(4, 8)]
        assert entry.read_clip() is None

    def test_names_that_are_no_ranges_are_ignored(self, store: DiskStore, folder: Path) -> None:
        for name in ("4-8.safetensors", chunk_name(16, 12), chunk_name(12, 12), "notes.txt"):
            (folder / name).write_bytes(b"")
        (folder / chunk_name(12, 16)).mkdir()
        (folder / chunk_name(16, 20)).symlink_to("absent")
        entry = store.open(key_of())
        assert entry.missing(0, 24) == [(12, 24)]
        assert_equal(entry.read(0, 12), frames(0, 12))

    def test_unreadable_chunk_that_cannot_be_removed_is_missing(
        self, store: DiskStore, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = folder / chunk_name(4, 8)
        content = path.read_bytes()
        entry = store.open(key_of())
        assert entry.missing(0, 12) == []
        path.write_bytes(content[:-1])

        def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", refuse)
            with pytest.raises(FramesMissing):
                entry.read(0, 12)
            assert entry.missing(0, 12) == [(4, 8)]
        entry.write(4, frames(4, 8))
        assert_equal(entry.read(0, 12), frames(0, 12))

    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", key_of(1).text.encode(), None])
    def test_folder_with_another_key_is_never_read(
        self, store: DiskStore, folder: Path, content: bytes | None
    ) -> None:
        if content is None:
            (folder / "key.json").unlink()
        else:
            (folder / "key.json").write_bytes(content)
        entry = store.open(key_of())
        assert entry.missing(0, 12) == [(0, 12)]
        assert entry.read_clip() is None
        assert store.entries() == []
        entry.write(4, frames(4, 8, seed=1))
        assert entry.missing(0, 12) == [(0, 4), (8, 12)]
        assert_equal(entry.read(4, 8), frames(4, 8, seed=1))
        assert entry.read_clip() is None

    def test_file_in_the_place_of_a_folder(self, store: DiskStore) -> None:
        (store.root / key_of().folder).write_text("a file")
        entry = store.open(key_of())
        assert entry.missing(0, 4) == [(0, 4)]
        entry.write(0, frames(0, 4))
        assert_equal(entry.read(0, 4), frames(0, 4))
        assert [p.name for p in store.root.iterdir()] == [key_of().folder]


KILLED_WHILE_WRITING = """
import os, signal, sys
from tests.cache.test_store import *
entry = DiskStore(sys.argv[1]).open(key_of())
entry.write(0, frames(0, 4))
os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
entry.write(4, frames(4, 8))
"""


class TestInterruption:
    def test_killed_process_leaves_a_miss(self, tmp_path: Path) -> None:
        run = subprocess.run([sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path)])
        assert run.returncode == -signal.SIGKILL
        folder = tmp_path / key_of().folder
        (left,) = folder.glob("*.tmp")
        entry = DiskStore(tmp_path).open(key_of())
        assert entry.missing(0, 8) == [(4, 8)]
        assert_equal(entry.read(0, 4), frames(0, 4))
        assert left.exists()

        os.utime(left, (0, 0))
        DiskStore(tmp_path).open(key_of())
        assert not left.exists()

    def test_interrupted_in_this_process(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = DiskStore(tmp_path).open(key_of())
        entry.write(0, frames(0, 4))

        def interrupt(fd: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            entry.write(4, frames(4, 8))
        assert sorted(p.suffix for p in (tmp_path / key_of().folder).iterdir()) == [
            ".json",
            ".safetensors",
        ]
        assert entry.missing(0, 8) == [(4, 8)]

    def test_stale_folders_are_removed_but_nothing_else(self, tmp_path: Path) -> None:
        stale = tmp_path / f".{'0' * 32}.tmp"
        foreign = tmp_path / "draft.tmp"
        for folder in (stale, foreign):
            folder.mkdir()
            (folder / "file").touch()
            os.utime(folder, (0, 0))
        DiskStore(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["draft.tmp"]


class TestDiskErrors:
    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
        entry = DiskStore(tmp_path).open(key_of())
        entry.write(0, frames(0, 4))

        def full(fd: int) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            for opened in (entry, DiskStore(tmp_path).open(key_of(1))):
                with pytest.raises(DiskFull, match=rf"{tmp_path}.*; free"):
                    opened.write(4, frames(4, 8))
        assert entry.missing(0, 8) == [(4, 8)]
        assert list(tmp_path.rglob("*.tmp")) == []
        entry.write(4, frames(4, 8))
        assert_equal(entry.read(0, 8), frames(0, 8))

    def test_full_disk_at_the_start(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(self: Any, *args: Any, **kwargs: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "mkdir", full)
        with pytest.raises(DiskFull):
            DiskStore(tmp_path / "cache")

    @pytest.mark.parametrize("name", ["file", "file/below", "file/far/below"])
    def test_root_that_cannot_be_a_folder(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(CacheUnusable, match=r"cannot be used \(.+\); name one"):
            DiskStore(tmp_path / name)

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
    def test_root_that_is_not_writable(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(CacheUnusable, match="Permission denied"):
            DiskStore(tmp_path)

    @pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")
    def test_root_that_nobody_can_write_to(self) -> None:
        with pytest.raises(CacheUnusable, match="/proc"):
            DiskStore("/proc")

    def test_disk_that_becomes_read_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = DiskStore(tmp_path).open(key_of())
        entry.write(0, frames(0, 4))

        def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(Path, "replace", refuse)
        with pytest.raises(CacheUnusable, match="Read-only"):
            entry.write(4, frames(4, 8))
        assert_equal(entry.read(0, 4), frames(0, 4))

    def test_folder_that_cannot_be_replaced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / key_of().folder).write_text("a file")
        entry = DiskStore(tmp_path).open(key_of())
        monkeypatch.setattr(DiskStore, "_remove", lambda *args: None)
        with pytest.raises(CacheUnusable, match="cannot be replaced"):
            entry.write(0, frames(0, 4))

    def test_root_removed_in_between(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path / "cache")
        entry = store.open(key_of())
        store.root.rmdir()
        assert entry.missing(0, 4) == [(0, 4)]
        entry.write(0, frames(0, 4))
        assert_equal(entry.read(0, 4), frames(0, 4))


KIB = 1024


def fill(store: Store, number: int, kib: int) -> None:
    """Write an entry of about this size, and let go of it."""
    store.open(key_of(number)).write(0, {"a": np.zeros((kib, KIB), np.uint8)})


def kept(store: Store) -> list[int]:
    return [json.loads(row.key_text)["config"]["number"] for row in store.entries()]


class TestBounds:
    def test_least_recently_used_entries_go_first(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path, max_bytes=200 * KIB)
        for number in range(3):
            fill(store, number, 60)
        store.open(key_of(0))
        fill(store, 3, 60)
        assert kept(store) == [2, 0, 3]
        assert store.open(key_of(1)).missing(0, 60) == [(0, 60)]
        assert store.size() <= 200 * KIB
        fill(store, 4, 120)
        assert kept(store) == [3, 4]

    def test_use_by_reading_counts(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path, max_bytes=200 * KIB)
        fill(store, 0, 60)
        old = store.open(key_of(0))
        for number in (1, 2):
            fill(store, number, 60)
        old.read(0, 1)
        del old
        fill(store, 3, 60)
        assert kept(store) == [2, 0, 3]

    def test_entries_held_open_stay(self, tmp_path: Path) -> None:
        store = DiskStore(tmp_path, max_bytes=100 * KIB)
        fill(store, 0, 60)
        elsewhere = DiskStore(tmp_path / ".." / tmp_path.name).open(key_of(0))
        fill(store, 1, 60)
        held = store.open(key_of(2))
        for start in range(4):
            held.write(60 * start, {"a": np.zeros((60, KIB), np.uint8)})
        assert kept(store) == [0, 2]
        assert elsewhere.missing(0, 60) == held.missing(0, 240) == []
        del held, elsewhere
        fill(store, 3, 60)
        assert kept(store) == [3]

    def test_a_smaller_bound_applies_from_the_first_write(self, tmp_path: Path) -> None:
        for number in range(5):
            fill(DiskStore(tmp_path), number, 60)
        fill(DiskStore(tmp_path, max_bytes=130 * KIB), 5, 60)
        assert kept(DiskStore(tmp_path)) == [4, 5]

    def test_writes_of_other_stores_are_noticed(self, tmp_path: Path) -> None:
        stores = [DiskStore(tmp_path, max_bytes=800 * KIB) for _ in range(4)]
        for number in range(100):
            fill(stores[number % 4], number, 20)
            assert stores[0].size() <= 800 * KIB + 3 * 100 * KIB

    def test_the_store_is_not_measured_at_every_write(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = DiskStore(tmp_path, max_bytes=8000 * KIB)
        walks = []
        entries = store.entries

        def walked() -> Any:
            walks.append(1)
            return entries()

        monkeypatch.setattr(store, "entries", walked)
        for number in range(50):
            fill(store, number, 10)
        assert len(walks) == 1

    def test_what_is_no_entry_is_neither_counted_nor_removed(self, tmp_path: Path) -> None:
        foreign = tmp_path / "photos"
        foreign.mkdir()
        (foreign / "key.json").write_text('{"private_key": "…"}')
        (tmp_path / "a.mp4").write_bytes(bytes(500 * KIB))
        nearly = tmp_path / key_of(9).folder
        nearly.mkdir()
        (nearly / "key.json").write_text("[" * 100_000)
        store = DiskStore(tmp_path, max_bytes=100 * KIB)
        fill(store, 0, 60)
        fill(store, 1, 60)
        assert kept(store) == [1]
        store.clear()
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "photos", nearly.name]

    def test_a_removed_entry_is_missing_for_who_still_reads_it(self, tmp_path: Path) -> None:
        reader = DiskStore(tmp_path).open(key_of(0))
        reader.write(0, frames(0, 4))
        code = "import sys; from vidhair.cache import DiskStore; DiskStore(sys.argv[1]).clear()"
        subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
        with pytest.raises(FramesMissing):
            reader.read(0, 4)
        assert reader.missing(0, 4) == [(0, 4)]
        reader.write(0, frames(0, 4))
        assert_equal(reader.read(0, 4), frames(0, 4))


def work_against_others(root: str, seed: int, rounds: int) -> None:
    """Fill and read entries that other processes fill, read and remove; sees misses at worst."""
    os.fsync = lambda fd: None
    rng = np.random.default_rng(seed)
    store = DiskStore(root, max_bytes=20 * KIB)
    for _ in range(rounds):
        number = int(rng.integers(6))
        entry = store.open(key_of(number))
        start = int(rng.integers(60))
        stop = start + int(rng.integers(1, 20))
        for gap in entry.missing(start, stop):
            entry.write(gap[0], frames(*gap, seed=number), compress=bool(rng.integers(2)))
        # Another process may have taken them away, and put them back since.
        with contextlib.suppress(FramesMissing):
            assert_equal(entry.read(start, stop), frames(start, stop, seed=number))
        if rng.integers(40) == 0:
            store.clear()


class TestProcesses:
    def test_two_processes_at_once(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        workers = [
            context.Process(target=work_against_others, args=(str(tmp_path), seed, 400))
            for seed in range(2)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0, 0]
        store = DiskStore(tmp_path)
        for number in range(6):
            entry = store.open(key_of(number))
            for start in range(80):
                if not entry.missing(start, start + 1):
                    assert_equal(
                        entry.read(start, start + 1), frames(start, start + 1, seed=number)
                    )
        assert [p for p in tmp_path.iterdir() if p.name.startswith(".")] == []
