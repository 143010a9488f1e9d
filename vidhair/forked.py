"""Children that cannot compute: forked from a process whose threads had already computed.

A fork copies the memory of OpenMP and Numba but not their threads: the first parallel loop in the
child would wait for ever for threads that are not there.
"""

import os

from vidhair.errors import ForkedTooLate

_computed_in: int | None = None  # the process that has begun to compute, which a child remembers


def about_to_compute() -> None:
    """Called wherever threads are first put to work. Raises ForkedTooLate in such a child."""
    global _computed_in
    if _computed_in is None:
        _computed_in = os.getpid()
    elif _computed_in != os.getpid():
        raise ForkedTooLate(
            f"process {os.getpid()} was forked from one that had already computed "
            f"({_computed_in}), whose threads it lacks; start it by "
            'multiprocessing.get_context("spawn")'
        )
