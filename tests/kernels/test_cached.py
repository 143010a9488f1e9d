"""What kernels keep of weights."""

import torch
from torch import Tensor

from vidhair.kernels.cached import prepared


def test_it_is_made_once_until_the_tensor_changes() -> None:
    made = []

    def twice(tensor: Tensor) -> Tensor:
        made.append(tensor)
        return 2 * tensor

    weight, other = torch.ones(3), torch.ones(3)
    for _ in range(2):
        assert torch.equal(prepared(weight, "twice", twice), 2 * weight)
        prepared(other, "twice", twice)
    assert len(made) == 2
    weight += 1
    assert torch.equal(prepared(weight, "twice", twice), 2 * weight) and len(made) == 3
