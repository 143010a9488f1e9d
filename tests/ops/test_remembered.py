from copy import deepcopy
from typing import Any

import torch

from tests.tolerances import gradient
from vidhair.ops.remembered import Remembered


def counted() -> tuple[Remembered[torch.Tensor], list[Any]]:
    calls = []

    def double(x: torch.Tensor) -> torch.Tensor:
        calls.append(x)
        return x * 2

    return Remembered(double), calls


def test_computed_once_until_the_tensor_changes() -> None:
    remembered, calls = counted()
    x = torch.arange(3.0)
    for value in (x * 2, x * 2, x * 6, x * 6):
        if len(calls) == 1 and value[1] == 6:
            x.mul_(3)
        assert torch.equal(remembered.of(x), value)
    assert len(calls) == 2


def test_another_tensor_is_another_value() -> None:
    remembered, calls = counted()
    for value in (1.0, 2.0, 1.0):
        assert remembered.of(torch.full((2,), value)).tolist() == [2 * value] * 2
    assert len(calls) == 3


def test_new_data_under_the_same_parameter() -> None:
    remembered, _ = counted()
    parameter = torch.nn.Parameter(torch.ones(3), requires_grad=False)
    remembered.of(parameter)
    parameter.data = torch.full((3,), 5.0)
    assert remembered.of(parameter).tolist() == [10.0] * 3


def test_with_gradients_it_is_computed_every_time() -> None:
    remembered, calls = counted()
    x = torch.ones(2, requires_grad=True)
    for _ in range(2):
        (gradient,) = torch.autograd.grad(remembered.of(x).sum(), x)
        assert gradient.tolist() == [2.0, 2.0]
    with torch.no_grad():
        assert not remembered.of(x).requires_grad
    assert len(calls) == 3


def test_a_value_found_in_inference_mode_serves_gradients_of_others() -> None:
    remembered, calls = counted()
    weight, x = torch.ones(2), torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        remembered.of(weight)
    (x * remembered.of(weight)).sum().backward()
    assert gradient(x).tolist() == [2.0, 2.0] and len(calls) == 1


def test_a_copy_of_a_module_remembers_for_itself() -> None:
    remembered, _ = counted()
    x = torch.ones(2)
    remembered.of(x)
    other = deepcopy(remembered)
    assert other.of(x * 3).tolist() == [6.0, 6.0]
    assert remembered.of(x).tolist() == [2.0, 2.0]
