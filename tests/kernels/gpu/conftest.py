"""The GPU kernels on a GPU, or, where there is none, in Triton's interpreter on the CPU.

The interpreter is chosen before Triton is imported, so those tests run in a process of their own:
see `tests/kernels/test_interpreted.py`.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import vidhair.ops.modulated_conv  # noqa: F401  (its op, beside those of the package)
from tests.golden import adapters  # noqa: F401  (registers the adapters)
from tests.golden.runner import Case, find_adapter, relative_error
from vidhair.kernels import TRITON_IS_HERE

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
OPS = ("bias_act", "filtered_lrelu", "modulated_conv", "upfirdn2d")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the kernels run; calls of the ops get there and nowhere else."""
    if not TRITON_IS_HERE:
        pytest.skip("Triton is not installed")
    if not INTERPRETED and not torch.cuda.is_available():
        pytest.skip("no GPU; interpreted by tests/kernels/test_interpreted.py")
    for name in OPS:
        module = sys.modules[f"vidhair.ops.{name}"]
        triton = [i for i in module.op().fast if i.name.startswith("triton")]
        monkeypatch.setattr(module.op(), "fast", triton)
        if INTERPRETED:  # then the kernels take memory of the CPU
            monkeypatch.setattr(module.KERNELS["cuda"], "DEVICES", ("cpu",))
            monkeypatch.setitem(module.KERNELS, "cpu", module.KERNELS["cuda"])
    if not INTERPRETED:
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        return "cuda"
    # The interpreter multiplies the bits of bfloat16 numbers, not the numbers.
    operands = sys.modules["vidhair.kernels.filtered_lrelu.gpu"].OPERANDS
    monkeypatch.setitem(operands, torch.bfloat16, (torch.float16, torch.float32))
    # It takes as long for a small block as for a large one.
    monkeypatch.setattr(sys.modules["vidhair.kernels.upfirdn2d.gpu"], "BLOCK", 2048)
    return "cpu"


@dataclass
class OnDevice(Case):
    """A golden case whose inputs lie on a device."""

    device: str = "cpu"

    def tensor(self, name: str) -> torch.Tensor:
        return super().tensor(name).to(self.device)


@pytest.fixture
def golden(device: Any, shared: Callable[..., Any]) -> Callable[[str], int]:
    """Checks all arrays of a golden case and returns how many there were."""

    def check(name: str) -> int:
        case = OnDevice(Path(shared("golden")), name, device)
        compute = find_adapter(name)
        assert compute is not None
        count = 0
        items: Any = compute(case)
        for array, value in items:
            error = relative_error(value.detach().cpu(), case.data[array])
            assert error <= case.bound(array), f"{name} {array}: off by {error:.1e}"
            count += 1
        return count

    return check
