"""Files that are there whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidhair.errors import DiskFull, OutputNotWritable


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A hidden path beside the target; what is written there takes the target's name at the end.

    On any exception it is removed and whatever lay under the target's name stays.
    """
    # The name is cut where it would otherwise grow beyond what file systems allow.
    name = f".{target.name[:48]}.part-{secrets.token_hex(4)}{target.suffix}"
    part = target.with_name(name)
    try:
        yield part
        with os_errors(target):
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def os_errors(target: Path) -> Iterator[None]:
    """Name the target and the remedy when the system refuses to write."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(
                f"no room left in {target.parent} while writing {target.name}; "
                "free some space or write elsewhere"
            ) from error
        raise OutputNotWritable(
            f"{target} cannot be written ({error.strerror or error}); choose another place"
        ) from error
