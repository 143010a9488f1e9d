"""Where Triton keeps what it has compiled."""

import os
import tempfile
from functools import cache
from pathlib import Path

FOLDER_VARIABLE, HOME_VARIABLE = "TRITON_CACHE_DIR", "TRITON_HOME"


@cache
def make_writable() -> None:
    """Give Triton a folder for this process alone where its own cannot be written.

    To be called before the first kernel is compiled.
    """
    home = Path(os.environ.get(HOME_VARIABLE) or Path.home())
    folder = Path(os.environ.get(FOLDER_VARIABLE) or home / ".triton" / "cache")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError:
        os.environ[FOLDER_VARIABLE] = _temporary().name


@cache
def _temporary() -> tempfile.TemporaryDirectory:
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="vidhair-triton-")
