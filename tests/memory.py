"""What a process of tests holds, and need not."""

import sys

from vidhair.process import give_back_memory


def release_memory() -> None:
    """What kernels keep for their next call, and what was freed, which malloc keeps."""
    if buffers := sys.modules.get("vidhair.kernels.buffers"):
        buffers.buffer_pool.release()
    give_back_memory()
