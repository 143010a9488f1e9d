"""The tests of the GPU kernels in Triton's interpreter, where there is no GPU to run them on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidhair.kernels import TRITON_IS_HERE

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="they run on the GPU")
@pytest.mark.skipif(not TRITON_IS_HERE, reason="Triton is not installed")
def test_gpu_kernels_interpreted() -> None:
    # Many small operations of NumPy and torch: more threads would wait for each other.
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("VIDHAIR_IMPL", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/kernels/gpu"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    print(done.stdout[-4000:], done.stderr[-2000:])
    assert done.returncode == 0 and " passed" in done.stdout
    skipped = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    assert all("golden is absent" in line for line in skipped), skipped
