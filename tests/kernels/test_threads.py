"""How many threads compute: the same number in the whole life of a process."""

import os
import subprocess
import sys
from pathlib import Path

CODE = """
import os
import torch
from vidhair.imaging.blur import blur

count = os.cpu_count() + 1  # another than Numba's own
torch.set_num_threads(count)
blur(torch.randn(1, 8, 64, 64), 4)
assert torch.get_num_threads() == count, torch.get_num_threads()
"""


def test_the_first_kernel_leaves_torch_its_number_of_threads() -> None:
    """With another one its sums are rounded otherwise, and two runs in a process would differ."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_kernels_have_as_many_threads_as_openmp_is_told() -> None:
    code = "import vidhair.kernels, numba; print(numba.config.NUMBA_NUM_THREADS)"
    told = {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "1"}
    others = {n: v for n, v in os.environ.items() if not n.endswith("_NUM_THREADS")}
    for variables in told:
        done = subprocess.run(
            [sys.executable, "-c", code], env=others | variables, cwd=Path(__file__).parents[2],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.stdout.strip() == "1", done.stderr
