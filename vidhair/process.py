"""What vidhair asks of a process. Importing changes nothing: the command line calls this, and a
program that wants the same does so before it imports torch."""

import ctypes
import logging
import os
import sys

log = logging.getLogger(__name__)

WISHES = {
    # Large tensors in large pages, read by torch at its first tensor. Feature maps of 100 MB and
    # more come and go with every layer, and the kernel clears each page at its first touch: in
    # small pages that takes four times as long as a product of two tensors itself.
    "THP_MEM_ALLOC_ENABLE": "1",
    # Threads that wait for others sleep, read when OpenMP is loaded. Where they turn in circles, a
    # step of tuning beside one other busy program took two to ten times as long.
    "OMP_WAIT_POLICY": "passive",
}


def prepare_process() -> None:
    """Set environment variables for memory and threads that are not set yet.

    Native libraries read them once, when they load: after torch was imported it is too late for
    some, which is said in the log.
    """
    missing = {name: value for name, value in WISHES.items() if name not in os.environ}
    if missing and "torch" in sys.modules:
        log.info("torch is loaded already: %s may have no effect", ", ".join(missing))
    os.environ.update(missing)


def give_back_memory() -> None:
    """Hand memory that was freed, and that the allocator keeps for later, back to the system.

    Otherwise Linux fills the gaps between what is in use with large pages, little by little. Where
    there is no glibc, nothing happens.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
