"""Files of torch.save: zip archives of a pickle and its storages, and the older flat files."""

import struct
from dataclasses import dataclass
from typing import Any

from vidhair.checkpoints.allowed import names
from vidhair.checkpoints.limits import Budget, Refused, shown
from vidhair.checkpoints.pickles import Machine
from vidhair.checkpoints.storages import Storage, declared

MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_MARK = b"\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
PROTOCOL = 1001
TORCH_SAVE = "save it anew with torch.save"

MAX_ENTRIES = 100_000
ENTRY, ENTRY_START = struct.Struct("<4s6H3I5H2I"), b"PK\x01\x02"
LOCAL, LOCAL_START = struct.Struct("<4s5H3I2H"), b"PK\x03\x04"
END, END_START = struct.Struct("<4s4H2IH"), b"PK\x05\x06"
END64, END64_START = struct.Struct("<4sQ2H2I4Q"), b"PK\x06\x06"
LOCATOR64, LOCATOR64_START = struct.Struct("<4sIQI"), b"PK\x06\x07"
ENCRYPTED, SIZES_FOLLOW = 1 << 0, 1 << 3
SYMLINK = 0o120000


@dataclass(frozen=True)
class Entry:
    """One stored file of an archive."""

    name: str
    header: int
    size: int


def read_zip(data: memoryview, budget: Budget) -> Any:
    """The value of a zip-format file, unconverted. Raises Refused."""
    records = zip_records(data)
    folders = {name.partition("/")[0] for name in records}
    folder = folders.pop()
    if folders or f"{folder}/data.pkl" not in records:
        raise Refused("is a zip archive that torch.save did not write")
    if any(name.startswith(f"{folder}/code/") for name in records):
        raise Refused("holds a TorchScript program", "get its state_dict, saved with torch.save")
    order = bytes(records.get(f"{folder}/byteorder", data[:0])[:16])
    if order not in (b"", b"little"):
        raise Refused(
            "holds numbers in the byte order of another kind of machine",
            f"{TORCH_SAVE} on a little-endian machine",
        )
    storages: dict[str, Storage] = {}

    def persistent(reference: Any) -> Storage:
        key, storage = storage_of(reference)
        record = records.get(f"{folder}/data/{key}")
        if record is None:
            raise Refused(f"lacks the storage {shown(key)}")
        return same_or_new(storages, key, storage, record)

    pickle = records[f"{folder}/data.pkl"]
    value, end = Machine(pickle, 0, names(budget, None), budget, persistent).run()
    if end != len(pickle):
        raise Refused("goes on after the end of its pickle")
    return value


def same_or_new(
    known: dict[str, Storage], key: str, storage: Storage, record: memoryview | None
) -> Storage:
    """One storage per key, so that what is copied for its alignment is copied once."""
    if key in known and (known[key].dtype, known[key].count) == (storage.dtype, storage.count):
        return known[key]
    if record is None and key in known:
        raise Refused(f"declares the storage {shown(key)} in two ways")
    if record is not None:
        storage.fill(record)
    return known.setdefault(key, storage) if key not in known else storage


def storage_of(reference: Any) -> tuple[str, Storage]:
    """Key and storage of a persistent id."""
    if type(reference) is not tuple or not reference or reference[0] != "storage":
        if type(reference) is tuple and reference and reference[0] == "module":
            raise Refused("holds a network with its source", "get its state_dict instead")
        raise Refused("refers to something other than a storage")
    if len(reference) not in (5, 6):
        raise Refused("refers to a storage in an unknown form")
    _, kind, key, _, count, *window = reference
    if type(key) is not str or not key.isalnum() or len(key) > 40:
        raise Refused("refers to a storage by what is no key")
    if window not in ([], [None]):
        raise Refused("refers to a part of a storage", f"{TORCH_SAVE} of a newer torch")
    return key, declared(kind, count)


def read_legacy(data: memoryview, budget: Budget, *, nested: bool = False) -> Any:
    """The value of a flat file, unconverted. nested: inside a pickle. Raises Refused."""
    table = names(budget, None)
    storages: dict[str, Storage] = {}
    at = 0

    def persistent(reference: Any) -> Storage:
        key, storage = storage_of(reference)
        return same_or_new(storages, key, storage, None)

    def following(identify: Any = None) -> Any:
        nonlocal at
        value, at = Machine(data, at, table, budget, identify).run()
        return value

    magic, protocol, system = following(), following(), following()
    if (type(magic), magic) != (int, MAGIC) or protocol != PROTOCOL or type(system) is not dict:
        raise Refused("is a torch file of an unknown form")
    if system.get("little_endian") is not True:
        raise Refused(
            "holds numbers in the byte order of another kind of machine",
            f"{TORCH_SAVE} on a little-endian machine",
        )
    value = following(persistent)
    keys = following()
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise Refused("lists its storages in an unknown form")
    if sorted(keys) != sorted(storages):
        raise Refused("lists other storages than its tensors use")
    for key in keys:
        if len(data) - at < 8:
            raise Refused("ends before its storages")
        (count,) = struct.unpack_from("<q", data, at)
        if count != storages[key].count:
            raise Refused(f"declares the storage {shown(key)} in two sizes")
        storages[key].fill(data[at + 8 :])
        at += 8 + storages[key].size
    if at != len(data):
        raise Refused("goes on after its storages")
    if nested and type(value) is not Storage:
        raise Refused("holds something other than a storage where one belongs")
    return value


def read_pickle(data: memoryview, budget: Budget) -> Any:
    """The value of a plain pickle with its storages inside, unconverted. Raises Refused."""

    def inline(inner: memoryview) -> Storage:
        result: Storage = read_legacy(inner, budget, nested=True)
        return result

    value, end = Machine(data, 0, names(budget, inline), budget).run()
    if end != len(data):
        raise Refused("goes on after the end of its pickle")
    return value


def zip_records(data: memoryview) -> dict[str, memoryview]:
    """Name → bytes of every file of an archive whose files are stored as they are.

    Raises Refused if the archive is damaged, or holds what torch.save does not write:
    compressed or encrypted files, links, names that lead out of it, comments.
    """
    start, end, count = directory(data)
    if not 0 < count <= MAX_ENTRIES:
        raise Refused(f"is a zip archive of {count} files")
    entries: dict[str, Entry] = {}
    at = start
    for _ in range(count):
        entry, at = directory_entry(data, at, end)
        if entry.name in entries:
            raise Refused(f"holds two files named {shown(entry.name)}")
        entries[entry.name] = entry
    if at != end:
        raise Refused("is a zip archive with a damaged directory")
    records = {}
    free = 0  # up to where the archive is taken by the files before
    for entry in sorted(entries.values(), key=lambda e: e.header):
        if entry.header < free:
            raise Refused(f"holds the file {shown(entry.name)} inside another")
        first = local_header(data, entry, start)
        free = first + entry.size
        if free > start:
            raise Refused(
                f"declares {entry.size} bytes of {shown(entry.name)} where there are "
                f"{max(start - first, 0)} bytes"
            )
        records[entry.name] = data[first:free]
    return records


def directory(data: memoryview) -> tuple[int, int, int]:
    """Start, end and number of entries of the central directory."""
    at = len(data) - END.size
    damaged = Refused("is a zip archive that is cut short or goes on after its end")
    if at < 0 or bytes(data[at : at + 4]) != END_START:
        raise damaged
    _, disk, first_disk, here, count, size, start, comment = END.unpack_from(data, at)
    if disk or first_disk or here != count or comment:
        raise damaged
    locator = at - LOCATOR64.size
    if locator >= 0 and bytes(data[locator : locator + 4]) == LOCATOR64_START:
        at = LOCATOR64.unpack_from(data, locator)[2]
        if at + END64.size != locator or bytes(data[at : at + 4]) != END64_START:
            raise damaged
        _, _, _, _, disk, first_disk, here, count, size, start = END64.unpack_from(data, at)
        if disk or first_disk or here != count:
            raise damaged
    if start + size != at:
        raise damaged
    return start, at, count


def directory_entry(data: memoryview, at: int, end: int) -> tuple[Entry, int]:
    damaged = Refused("is a zip archive with a damaged directory")
    if end - at < ENTRY.size:
        raise damaged
    head = ENTRY.unpack_from(data, at)
    made_by, flags, method = head[1], head[3], head[4]
    packed, size, name_size, extra_size, comment_size = head[8:13]
    attributes, header = head[15], head[16]
    first = at + ENTRY.size
    after = first + name_size + extra_size + comment_size
    if head[0] != ENTRY_START or after > end:
        raise damaged
    name = checked_name(bytes(data[first : first + name_size]))
    extra = bytes(data[first + name_size : first + name_size + extra_size])
    size, packed, header = extended(extra, size, packed, header)
    if flags & ENCRYPTED:
        raise Refused(f"holds {shown(name)} encrypted", TORCH_SAVE)
    if method != 0 or packed != size:
        raise Refused(f"holds {shown(name)} compressed", TORCH_SAVE)
    if made_by >> 8 == 3 and (attributes >> 16) & 0o170000 == SYMLINK:
        raise Refused(f"holds {shown(name)}, which is a link", TORCH_SAVE)
    return Entry(name, header, size), after


def extended(extra: bytes, *values: int) -> list[int]:
    """The values, with those that 32 bits do not hold taken from the extra field."""
    at, wide = 0, b""
    while len(extra) - at >= 4:
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = extra[at + 4 : at + 4 + size]
        at += 4 + size
    result = []
    for value in values:
        if value == 0xFFFFFFFF:
            if len(wide) < 8:
                raise Refused("is a zip archive with a damaged directory")
            value, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        result.append(value)
    return result


def checked_name(raw: bytes) -> str:
    """The name of a file in an archive: relative, with no step upwards. Raises Refused."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("holds a file whose name is not UTF-8") from error
    parts = name.split("/")
    if len(parts) < 2 or any(part in ("", ".", "..") for part in parts):
        raise Refused(f"holds a file named {shown(name)!r}, which is no place in an archive")
    if not name.isprintable() or "\\" in name or ":" in name or len(name) > 400:
        raise Refused(f"holds a file named {shown(name)!r}, which is no place in an archive")
    return name


def local_header(data: memoryview, entry: Entry, limit: int) -> int:
    """Where the bytes of an entry begin."""
    first = entry.header + LOCAL.size
    if first > limit or bytes(data[entry.header : entry.header + 4]) != LOCAL_START:
        raise Refused(f"holds no file where {shown(entry.name)} should begin")
    head = LOCAL.unpack_from(data, entry.header)
    flags, method, packed, size, name_size, extra_size = head[2], head[3], *head[7:11]
    after = first + name_size
    name = bytes(data[first:after])
    sizes = (entry.size, 0xFFFFFFFF)
    told = flags & SIZES_FOLLOW or (size in sizes and packed in sizes)
    if name != entry.name.encode() or method or flags & ENCRYPTED or not told:
        raise Refused(f"describes {shown(entry.name)} in two ways")
    result: int = after + extra_size
    return result
