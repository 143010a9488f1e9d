"""Files and folders that are there whole or not at all, and what a killed process left of them."""

import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidhair.errors import os_errors

try:
    import fcntl
except ImportError:  # not on Windows, where nothing stale is found then
    fcntl = None  # type: ignore[assignment]

_FOLDER = "vidhair-no-cache-"
_STALE_PART = re.compile(r"\..+\.part-[0-9a-f]{8}(\.[^.]+)?")
_STALE_FOLDER = re.compile(rf"{_FOLDER}[a-z0-9_]{{8}}")


def home_of(target: Path) -> Path:
    """Where the bytes of a file lie or will lie: the end of all links."""
    home = Path(os.path.realpath(target))
    if home.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return home


def same_place(a: str | Path, b: str | Path) -> bool:
    """Whether two paths name one file, there or not, however they are spelt."""
    a, b = home_of(Path(a)), home_of(Path(b))
    if a == b or (a.exists() and b.exists()):
        return a == b or a.samefile(b)
    if a.exists() or b.exists() or a.name.casefold() != b.name.casefold():
        return False
    with suppress(OSError):
        return a.parent.samefile(b.parent) and _folds_case(a.parent)
    return False


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A hidden path beside the target; what is written there takes the target's name at the end.

    On any exception it is removed and whatever lay under the target's name stays. Where the target
    is a link, what it leads to is replaced; a file that is replaced keeps its mode.
    """
    with os_errors(target):
        home = home_of(target)
    with scratch_file(home) as part:
        mode = None
        with suppress(OSError):
            mode = stat.S_IMODE(home.stat().st_mode)
        if mode is not None and part.is_file():
            part.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)
        yield part
        with os_errors(target):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            if mode is not None:
                part.chmod(mode)
            part.replace(home)


@contextmanager
def scratch_file(beside: Path, suffix: str | None = None) -> Iterator[Path]:
    """An empty hidden file, removed at the end. It is locked: one without a lock is stale."""
    # The name is cut where it would otherwise grow beyond what file systems allow.
    stem, suffix = beside.name[:48], beside.suffix if suffix is None else suffix
    with os_errors(beside):
        _sweep(beside.parent, _STALE_PART)
        descriptor = None
        while descriptor is None:
            part = beside.with_name(f".{stem}.part-{secrets.token_hex(4)}{suffix}")
            descriptor = _locked(part, os.O_RDWR | os.O_CREAT)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder among the temporary ones, removed at the end, and locked in the same way."""
    _sweep(Path(tempfile.gettempdir()), _STALE_FOLDER)
    descriptor = None
    while descriptor is None:
        folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
        descriptor = _locked(folder, os.O_RDONLY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _locked(path: Path, flags: int) -> int | None:
    """A descriptor that holds the path's lock; None if another process has swept it meanwhile."""
    descriptor = os.open(path, flags, 0o666)
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks: nobody takes it for stale there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


def _sweep(folder: Path, names: re.Pattern[str]) -> None:
    """Remove what processes that are gone have left in a folder under such names."""
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if names.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_stale(Path(entry.path))


def _remove_stale(path: Path) -> None:
    about = path.lstat()
    is_folder = stat.S_ISDIR(about.st_mode)
    if about.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(about.st_mode)):
        return
    descriptor = os.open(path, (os.O_RDONLY if is_folder else os.O_RDWR) | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if somebody holds it
        shutil.rmtree(path) if is_folder else path.unlink()
    finally:
        os.close(descriptor)


def _folds_case(folder: Path) -> bool:
    """Whether a file can be found there by its name in other letters."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".vidhair-case-") as file:
        path = Path(file.name)
        return path.with_name(path.name.swapcase()).exists()
