"""Files that are there whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vidhair.errors import os_errors


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
