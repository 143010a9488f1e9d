"""The fast implementations of the ops, one package per op; their sources lie in `kernels/`."""

import os
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# Numba's threads are as many as OpenMP is told to have, unless it is told otherwise: where others
# use the cores, more of them wait for each other at every small kernel.
if os.environ.get("OMP_NUM_THREADS", "").isdecimal() and int(os.environ["OMP_NUM_THREADS"]):
    os.environ.setdefault("NUMBA_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

TRITON_IS_HERE = find_spec("triton") is not None  # which does not import it


@cache
def start_threads() -> None:
    """Start torch's threads and then Numba's, before the first kernel.

    As Numba starts its own it sets OpenMP's number of threads, which is torch's too. Without the
    number set back, torch would go on with another one, by which its sums are rounded.
    """
    import torch
    from numba import get_num_threads

    count = torch.get_num_threads()
    get_num_threads()
    torch.set_num_threads(count)


def use_threads(count: int) -> None:
    """Let torch and the kernels use this many threads, if the machine has them."""
    import torch
    from numba import config, set_num_threads

    start_threads()
    torch.set_num_threads(count)
    set_num_threads(min(count, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def share_threads() -> bool:
    """Whether threads of Python may call kernels at the same time. Numba's own threads, which it
    takes where it finds neither OpenMP nor TBB, end the process when two of them do."""
    from numba import threading_layer  # type: ignore[attr-defined]

    start_threads()
    return bool(threading_layer() != "workqueue")


def plain(*tensors: "Tensor") -> bool:
    """Whether the kernels for pictures on CPUs take tensors: float32, and no gradients."""
    return all(
        x.device.type == "cpu" and x.element_size() == 4 and x.is_floating_point()
        and not x.requires_grad for x in tensors
    )  # fmt: skip
