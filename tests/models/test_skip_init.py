import subprocess
import sys

import pytest
import torch
from torch import nn

from vidhair.models.skip_init import SkipInit


def test_nothing_is_written_and_all_else_is_as_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "empty", lambda *size, **_: torch.zeros(*size).fill_(7))
    with SkipInit():
        assert (torch.randn(2, 3) == 7).all() and (torch.rand(4) == 7).all()
        weight = torch.zeros(3).normal_()
        layer = nn.Linear(4, 5)
        filters = torch.as_tensor([1.0, 2.0]) / 3
    assert not weight.any()
    assert layer.weight.shape == (5, 4)
    assert (layer.weight == 7).all() and (layer.bias == 7).all()
    assert filters.tolist() == (torch.tensor([1.0, 2.0]) / 3).tolist()
    assert torch.randn(50).std() > 0.1, "outside of it nothing changes"


def test_building_loads_no_compiler() -> None:
    """As a device without memory would: that takes seconds."""
    code = """
import sys
import torch
from vidhair.models.generators.stylegan3 import Generator, StyleGAN3Config
from vidhair.models.skip_init import SkipInit
before = set(sys.modules)
with SkipInit():
    Generator(StyleGAN3Config(resolution=16, channel_base=64, channel_max=8))
print([name for name in set(sys.modules) - before if name.startswith(("sympy", "torch._dynamo"))])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
