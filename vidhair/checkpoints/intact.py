"""Files whose checksum was found right before, so that it need not be computed at every start.

A file counts as the same while its place, size, inode and times of change are the same, as for git.
What is remembered lies in the user's state folder; without one, files are checked anew.
"""

import hashlib
import os
import time
from pathlib import Path

# A file that changed this recently may change again within the same tick of its clock.
SETTLED_SECONDS = 2.0


def _folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "vidhair" / "intact"


def _note(path: Path, sha256: str) -> Path:
    s = path.stat()
    # Whoever alters a file can put back its st_mtime, but not its st_ctime.
    facts = (path.resolve(), s.st_size, s.st_ino, s.st_mtime_ns, s.st_ctime_ns, sha256)
    return _folder() / hashlib.sha256("\0".join(map(str, facts)).encode()).hexdigest()


def known_intact(path: Path, sha256: str) -> bool:
    """Whether this file was seen to have this checksum. Raises OSError if it cannot be found."""
    return os.access(_note(path, sha256), os.F_OK)  # false in a folder that may not be entered


def remember_intact(path: Path, sha256: str) -> None:
    """Note that this file has this checksum, if it has come to rest and notes can be kept."""
    try:
        status = path.stat()
        if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED_SECONDS:
            note = _note(path, sha256)
            note.parent.mkdir(parents=True, exist_ok=True)
            note.touch()
    except OSError:
        pass
