"""The fast implementations of the ops, one package per op; their sources lie in `kernels/`."""

from importlib.util import find_spec

TRITON_IS_HERE = find_spec("triton") is not None  # which does not import it


def use_threads(count: int) -> None:
    """Let torch and the kernels use this many threads, if the machine has them."""
    import torch
    from numba import config, set_num_threads

    torch.set_num_threads(count)
    torch.get_num_threads()  # torch starts its thread pool before Numba starts its own
    set_num_threads(min(count, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
