"""Where results lie under their key: per frame in chunks, and once per clip; on disk or in memory.

Frames count from 0 and ranges are half-open. On disk, below the root:

    smooth-v1-3fa9c2d81b0e47aa/           an entry; the folder appears together with its key.json
        key.json                          what the results depend on; touched at every use
        00000000-00000064.safetensors     frames 0 … 63
        clip.safetensors                  the whole-clip result
        state.safetensors                 until that is there: what making it goes on from
        *.tmp                             a write under way, or one that was interrupted
    .*.tmp/                               an entry on its way in or out

Every byte of a .safetensors file is covered by a CRC-32: the header, with the key and the range
it was written for, by one that `missing` checks beside the file's size, each tensor by one that is
checked as it is read. What does not match is removed and counts as missing.
"""

import contextlib
import errno
import io
import json
import os
import re
import shutil
import threading
import time
import uuid
import weakref
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from vidhair.cache.key import Key
from vidhair.errors import CacheUnusable, DiskFull

Arrays = dict[str, NDArray[Any]]
Frames = tuple[int, int]
Part = Frames | Literal["clip", "state"]

# What an interrupted process left behind is removed after this time; no write takes that long.
_STALE_SECONDS = 3600.0

# How often a write starts again when its folder is removed under it.
_ATTEMPTS = 10

_ROWS = "rows"  # of a state: how many frames it follows

_SAFETENSORS_TYPES = {
    "|b1": "BOOL", "|i1": "I8", "|u1": "U8", "<i2": "I16", "<u2": "U16", "<i4": "I32",
    "<u4": "U32", "<i8": "I64", "<u8": "U64", "<f2": "F16", "<f4": "F32", "<f8": "F64",
}  # fmt: skip


class FramesMissing(KeyError):
    """A read of frames that are not stored; callers ask `missing` first."""


@dataclass(frozen=True)
class StoredEntry:
    """What a store holds under one key. last_use: seconds since the epoch."""

    folder: str
    key_text: str
    bytes: int
    last_use: float


class Store(Protocol):
    """Keeps results under keys."""

    def open(self, key: Key) -> "Entry":
        """The results under this key, perhaps none yet; they are kept while the entry is held."""
        ...

    def entries(self) -> list[StoredEntry]:
        """What is stored, the least recently used first."""
        ...

    def size(self) -> int:
        """Bytes of all entries."""
        ...

    def clear(self) -> None:
        """Remove all entries; those held open are empty from now on."""
        ...


class Entry(ABC):
    """The results under one key: arrays by name, with frames on their first axis.

    The first write of frames fixes the names and each name's dtype and shape of one frame. Every
    boolean and numeric dtype but long double is kept, in little-endian byte order. The key names
    all that the frames depend on, so two writes of one frame hold the same; a second write of
    the same range replaces the first, and where other ranges overlap either may be read.
    """

    _layout: dict[str, tuple[str, tuple[int, ...]]] | None = None

    def write(self, start: int, arrays: Mapping[str, NDArray[Any]], compress: bool = False) -> None:
        """Store frames start … start + n - 1, where n ≥ 1 is the first axis of every array.

        compress: with zlib's fastest level. Worth it for mattes, not for photographs or codes.
        """
        arrays = _plain(arrays)
        lengths = {a.shape[:1] for a in arrays.values()}
        assert len(lengths) == 1 and lengths.isdisjoint({(), (0,)}), f"frames differ: {lengths}"
        assert start >= 0, start
        layout = {name: (a.dtype.str, a.shape[1:]) for name, a in arrays.items()}
        if self._layout is None:
            self._layout = self._stored_layout() or layout
        assert layout == self._layout, f"was {self._layout}, now {layout}"
        (n,) = lengths.pop()
        self._save((start, start + n), arrays, compress)

    def missing(self, start: int, stop: int) -> list[Frames]:
        """The ranges of [start, stop) that are not stored, sorted and disjoint."""
        assert 0 <= start <= stop, (start, stop)
        gaps, at = [], start
        for first, last in sorted(self._chunks()):
            if last <= at or first >= stop:
                continue
            if first > at:
                gaps.append((at, first))
            at = last
        return [*gaps, (at, stop)] if at < stop else gaps

    def read(self, start: int, stop: int, names: Iterable[str] | None = None) -> Arrays:
        """Frames start … stop - 1 of the named arrays (all by default); the caller owns them.

        Raises FramesMissing, also for frames that turn out damaged: they are missing from then on.
        """
        assert 0 <= start < stop, (start, stop)
        names = None if names is None else list(names)
        while True:
            pieces = []
            for chunk, first, last in self._cover(start, stop):
                arrays = self._load(chunk, names)
                if arrays is None:
                    break
                pieces.append({k: a[first - chunk[0] : last - chunk[0]] for k, a in arrays.items()})
            else:
                break
        if len(pieces) == 1:
            return pieces[0]
        return {name: np.concatenate([p[name] for p in pieces]) for name in pieces[0]}

    def write_clip(self, arrays: Mapping[str, NDArray[Any]], compress: bool = False) -> None:
        """Store the whole-clip result in place of an earlier one; arrays may have any shape."""
        self._save("clip", _plain(arrays), compress)
        self._drop("state")

    def read_clip(self) -> Arrays | None:
        """The whole-clip result, or None if there is none."""
        return self._load("clip", None)

    def write_state(self, rows: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Store what the frames from `rows` on can be made from, where those before are stored, in
        place of an earlier state; it is removed as the whole-clip result is written."""
        assert rows > 0 and _ROWS not in arrays, (rows, list(arrays))
        self._save("state", _plain({_ROWS: np.array(rows), **arrays}), False)

    def read_state(self) -> tuple[int, Arrays] | None:
        """What `write_state` was given; None if there is none, or frames before it are missing."""
        arrays = self._load("state", None)
        if arrays is None:
            return None
        rows = int(arrays.pop(_ROWS))
        return None if self.missing(0, rows) else (rows, arrays)

    def _cover(self, start: int, stop: int) -> list[tuple[Frames, int, int]]:
        """(chunk, first, last): which chunk to read frames [first, last) from."""
        cover, chunk = [], (0, 0)
        following = deque(sorted(self._chunks()))
        while start < stop:
            while following and following[0][0] <= start:
                chunk = max(chunk, following.popleft(), key=lambda c: c[1])
            if chunk[1] <= start:
                raise FramesMissing(f"frame {start} is not stored")
            last = min(chunk[1], stop)
            cover.append((chunk, start, last))
            start = last
        return cover

    @abstractmethod
    def _chunks(self) -> list[Frames]:
        """The ranges that are stored, in any order; they may overlap."""

    @abstractmethod
    def _stored_layout(self) -> dict[str, tuple[str, tuple[int, ...]]] | None: ...

    @abstractmethod
    def _save(self, part: Part, arrays: Arrays, compress: bool) -> None:
        """Store a chunk, the whole-clip result or a state."""

    @abstractmethod
    def _load(self, part: Part, names: list[str] | None) -> Arrays | None:
        """A part as fresh arrays, or None if it is gone; `_chunks` does not list it again."""

    @abstractmethod
    def _drop(self, part: Part) -> None:
        """Remove a part if it is there and can be removed."""


class MemoryStore:
    """Results in memory, for as long as the store lives. Nothing is ever evicted."""

    def __init__(self) -> None:
        self._entries: dict[str, _MemoryEntry] = {}

    def open(self, key: Key) -> Entry:
        entry = self._entries.setdefault(key.digest, _MemoryEntry(key))
        entry.last_use = time.time()
        return entry

    def entries(self) -> list[StoredEntry]:
        filled = [e for e in self._entries.values() if e.parts]
        rows = [StoredEntry(e.key.folder, e.key.text, e.bytes(), e.last_use) for e in filled]
        return sorted(rows, key=lambda row: row.last_use)

    def size(self) -> int:
        return sum(row.bytes for row in self.entries())

    def clear(self) -> None:
        for entry in self._entries.values():
            entry.parts.clear()


class _MemoryEntry(Entry):
    def __init__(self, key: Key) -> None:
        self.key = key
        self.last_use = 0.0
        self.parts: dict[Part, Arrays] = {}

    def bytes(self) -> int:
        return sum(array.nbytes for arrays in self.parts.values() for array in arrays.values())

    def _chunks(self) -> list[Frames]:
        return [part for part in self.parts if isinstance(part, tuple)]

    def _stored_layout(self) -> None:
        return None

    def _save(self, part: Part, arrays: Arrays, compress: bool) -> None:
        self.last_use = time.time()
        self.parts[part] = {name: array.copy() for name, array in arrays.items()}

    def _load(self, part: Part, names: list[str] | None) -> Arrays | None:
        self.last_use = time.time()
        arrays = self.parts.get(part)
        if arrays is None:
            return None
        return {name: arrays[name].copy() for name in _chosen(names, arrays)}

    def _drop(self, part: Part) -> None:
        self.parts.pop(part, None)


# Entries that this process holds open, in whichever store; they are not evicted.
_held: "weakref.WeakSet[_DiskEntry]" = weakref.WeakSet()
_held_lock = threading.Lock()


class DiskStore:
    """Results below a folder. Several processes may use it at once; the last write of a file wins.

    max_bytes: when a write makes the store larger, the least recently used entries are removed,
    except those this process holds open. Other processes' writes are noticed after at most
    max_bytes / 8 bytes of one's own. A process that still reads a removed entry sees it missing.
    """

    def __init__(self, root: str | Path, max_bytes: int | None = None) -> None:
        assert max_bytes is None or max_bytes >= 0, max_bytes
        self.root = Path(root).absolute()
        self.max_bytes = max_bytes
        self._allowance = 0  # bytes that may be written before the store is measured again
        with self._usable():
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / f".{uuid.uuid4().hex}.tmp"
            probe.mkdir()
            probe.rmdir()
            self.root = self.root.resolve()
            _remove_stale(self.root)

    def open(self, key: Key) -> Entry:
        entry = _DiskEntry(self, key)
        with _held_lock:
            _held.add(entry)
        return entry

    def entries(self) -> list[StoredEntry]:
        rows = []
        with self._usable():
            folders = [d for d in os.scandir(self.root) if d.is_dir(follow_symlinks=False)]
        for folder in folders:
            # Gone meanwhile, or never an entry: whatever else lies in the root is left alone.
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
                key_file = Path(folder.path, "key.json")
                key_text = key_file.read_text("ascii")
                key = json.loads(key_text)
                if folder.name == f"{key['stage']}-v{key['version']}-{key['digest'][:16]}":
                    last_use = key_file.stat().st_mtime
                    rows.append(StoredEntry(folder.name, key_text, _size(folder.path), last_use))
        return sorted(rows, key=lambda row: row.last_use)

    def size(self) -> int:
        return sum(row.bytes for row in self.entries())

    def clear(self) -> None:
        for row in self.entries():
            self._remove(row.folder)

    def _make_room(self, written: int) -> None:
        if self.max_bytes is None:
            return
        self._allowance -= written
        if self._allowance >= 0:
            return
        rows = self.entries()
        total = sum(row.bytes for row in rows)
        with _held_lock:
            held = {entry.folder for entry in _held}
        for row in rows:
            if total <= self.max_bytes:
                break
            if self.root / row.folder not in held:
                self._remove(row.folder)
                total -= row.bytes
        self._allowance = max(0, min(self.max_bytes - total, self.max_bytes // 8))

    def _remove(self, folder: str) -> None:
        # Renamed first, so that nobody sees an entry without some of its files.
        out = self.root / f".{uuid.uuid4().hex}.tmp"
        with contextlib.suppress(OSError):
            (self.root / folder).rename(out)
            _delete(out)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(
                    f"no room for the cache in {self.root}; free some or name another folder"
                ) from error
            raise CacheUnusable(
                f"the cache folder {self.root} cannot be used ({error.strerror or error}); "
                "name one that you can write to, or run without a cache"
            ) from error


class _DiskEntry(Entry):
    def __init__(self, store: DiskStore, key: Key) -> None:
        self.folder = store.root / key.folder
        self._store = store
        self._key = key
        # File name → the inode whose header was right, or None if the file is of no use.
        self._seen: dict[str, int | None] = {}
        _remove_stale(self.folder)
        self._touch()

    def _chunks(self) -> list[Frames]:
        if not self._is_mine():
            return []
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as files:
            for file in files:
                match = re.fullmatch(r"(\d{8,})-(\d{8,})\.safetensors", file.name)
                if match is None:
                    continue
                frames, inode = (int(match[1]), int(match[2])), file.inode()
                known = self._seen.get(file.name, -1)
                if known not in (None, inode) and self._inspect(frames, lambda file: True):
                    self._seen[file.name] = known = inode
                if known == inode:
                    found.append(frames)
        return found

    def _stored_layout(self) -> dict[str, tuple[str, tuple[int, ...]]] | None:
        for frames in self._chunks():
            layout = self._inspect(frames, lambda file: file.layout())
            if layout is not None:
                result: dict[str, tuple[str, tuple[int, ...]]] | None = layout
                return result
        return None

    def _load(self, part: Part, names: list[str] | None) -> Arrays | None:
        self._touch()
        return self._inspect(part, lambda file: file.read(names)) if self._is_mine() else None

    def _drop(self, part: Part) -> None:
        with contextlib.suppress(OSError):
            if self._is_mine():
                (self.folder / f"{_part_name(part)}.safetensors").unlink()

    def _save(self, part: Part, arrays: Arrays, compress: bool) -> None:
        name = _part_name(part)
        blocks = _serialized(self._key.digest, name, arrays, compress)
        with self._store._usable():
            for _ in range(_ATTEMPTS):
                # Another process may remove the folder at any time.
                with contextlib.suppress(FileNotFoundError):
                    if self._is_mine() or self._create():
                        _write_whole(self.folder / f"{name}.safetensors", blocks)
                        break
            else:
                raise OSError(f"{self._key.folder} cannot be replaced")
        self._seen.pop(f"{name}.safetensors", None)
        self._touch()
        self._store._make_room(sum(len(block) for block in blocks))

    def _create(self) -> bool:
        """Make the folder and its key.json appear at once; whether they are there now."""
        new = self._store.root / f".{uuid.uuid4().hex}.tmp"
        new.mkdir(parents=True)
        try:
            _write_whole(new / "key.json", [self._key.text.encode()])
            new.rename(self.folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            # Another process made it, or what stands there belongs to another key.
            if not self._is_mine():
                self._store._remove(self._key.folder)
        finally:
            shutil.rmtree(new, ignore_errors=True)
        return self._is_mine()

    def _is_mine(self) -> bool:
        try:
            return (self.folder / "key.json").read_bytes() == self._key.text.encode()
        except OSError:
            return False

    def _touch(self) -> None:
        now = time.time_ns()
        with contextlib.suppress(OSError):
            os.utime(self.folder / "key.json", ns=(now, now))

    def _inspect(self, part: Part, look: "Callable[[_File], Any]") -> Any:
        """What `look` sees in a file; None if there is no such file or it is damaged."""
        path = self.folder / f"{_part_name(part)}.safetensors"
        try:
            try:
                with path.open("rb") as file:
                    return look(_File(file, self._key.digest, path.stem))
            except _Damaged:
                path.unlink()
                self._seen.pop(path.name, None)
        except OSError:
            self._seen[path.name] = None
        return None


class _Damaged(Exception):
    """A file is not what was written."""


# The header is JSON that begins with its own checksum, eight hex digits.
_HEADER_START = b'{"__metadata__":{"checksum":"'


class _File:
    """An open chunk, whole-clip or state file whose header has been verified."""

    def __init__(self, file: io.BufferedReader, digest: str, name: str) -> None:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not len(_HEADER_START) + 8 <= length <= size - 8:
            raise _Damaged
        header = file.read(length)
        rest = header[len(_HEADER_START) + 8 :]
        if header != _HEADER_START + _checksum(rest) + rest:
            raise _Damaged
        tensors = json.loads(header)
        about = tensors.pop("__metadata__")
        data_bytes = max((t["data_offsets"][1] for t in tensors.values()), default=0)
        if (about["key"], about["part"]) != (digest, name) or size != 8 + length + data_bytes:
            raise _Damaged
        self._file = file
        self._data_start = 8 + length
        self._offsets = {name: t["data_offsets"] for name, t in tensors.items()}
        self._arrays = json.loads(about["arrays"])

    def layout(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {name: (a["dtype"], tuple(a["shape"][1:])) for name, a in self._arrays.items()}

    def read(self, names: list[str] | None) -> Arrays:
        return {name: self._read_array(name) for name in _chosen(names, self._arrays)}

    def _read_array(self, name: str) -> NDArray[Any]:
        about = self._arrays[name]
        begin, end = self._offsets[name]
        data = np.empty(end - begin, np.uint8)
        self._file.seek(self._data_start + begin)
        if self._file.readinto(data.data) != end - begin:
            raise _Damaged
        if _checksum(data.data) != about["checksum"].encode():
            raise _Damaged
        if about["zlib"]:
            data = np.frombuffer(bytearray(zlib.decompress(data.data)), np.uint8)
        result: NDArray[Any] = data.view(about["dtype"]).reshape(about["shape"])
        return result


def _serialized(digest: str, name: str, arrays: Arrays, compress: bool) -> list[bytes | memoryview]:
    """The bytes of a safetensors file, in blocks. What the format lacks is stored compressed."""
    tensors: dict[str, dict[str, Any]] = {}
    about: dict[str, dict[str, Any]] = {}
    blocks: list[bytes | memoryview] = []
    at = 0
    for array_name, array in arrays.items():
        dtype = array.dtype.str
        packed = compress or dtype not in _SAFETENSORS_TYPES
        data = array.reshape(-1).view(np.uint8).data
        block = zlib.compress(data, 1) if packed else data
        tensors[array_name] = {
            "dtype": "U8" if packed else _SAFETENSORS_TYPES[dtype],
            "shape": [len(block)] if packed else list(array.shape),
            "data_offsets": [at, at := at + len(block)],
        }
        about[array_name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "zlib": packed,
            "checksum": _checksum(block).decode(),
        }
        blocks.append(block)
    metadata = {"checksum": "", "key": digest, "part": name, "arrays": json.dumps(about)}
    header = json.dumps({"__metadata__": metadata, **tensors}, separators=(",", ":")).encode()
    rest = header.removeprefix(_HEADER_START)
    # The format wants tensor data to begin at a multiple of eight.
    rest += b" " * (-(len(header) + 8) % 8)
    header = _HEADER_START + _checksum(rest) + rest
    return [len(header).to_bytes(8, "little"), header, *blocks]


def _checksum(data: bytes | memoryview) -> bytes:
    return b"%08x" % zlib.crc32(data)


def _write_whole(path: Path, blocks: Iterable[bytes | memoryview]) -> None:
    """Write a file so that it has all of its content or does not exist."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            for block in blocks:
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _remove_stale(folder: Path) -> None:
    # Another process may take the folder away while this one looks.
    with contextlib.suppress(FileNotFoundError):
        oldest = time.time() - _STALE_SECONDS
        for path in folder.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if re.search(r"\.[0-9a-f]{32}\.tmp$", path.name) and path.stat().st_mtime < oldest:
                    _delete(path)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _size(folder: str) -> int:
    size = 0
    for file in os.scandir(folder):
        with contextlib.suppress(FileNotFoundError):
            size += file.stat().st_size
    return size


def _part_name(part: Part) -> str:
    return part if isinstance(part, str) else f"{part[0]:08d}-{part[1]:08d}"


def _plain(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays in C order and little-endian, after a check of names and dtypes."""
    plain = {}
    for name, array in arrays.items():
        assert isinstance(array, np.ndarray) and array.dtype.kind in "biufc", (name, type(array))
        assert array.dtype.char not in "gG", f"{name} is {array.dtype}, whose bytes are padded"
        assert isinstance(name, str) and name != "__metadata__", name
        plain[name] = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    return plain


def _chosen(names: list[str] | None, stored: Iterable[str]) -> list[str]:
    stored = list(stored)
    assert names is None or set(names) <= set(stored), f"{names} are not all among {stored}"
    return stored if names is None else names
