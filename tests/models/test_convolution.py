"""However a convolution is computed, it is torch's."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from tests.models.tiny import random, seeded
from tests.tolerances import relative_error
from vidhair.models import convolution
from vidhair.models.convolution import Conv2d, add, convolved, working_dtype
from vidhair.models.encoders.heads import StyleHead, codes_of

pytestmark = pytest.mark.usefixtures("one_thread")

# (N, C_in, H, W), C_out, taps per side, stride, padding
CASES: dict[str, Any] = {
    "minimal filtering": ((2, 32, 32, 33), 8, 3, 1, 1),
    "few channels": ((1, 3, 32, 32), 8, 3, 1, 1),
    "few pixels": ((1, 32, 8, 8), 8, 3, 1, 1),
    "no padding": ((1, 32, 40, 40), 8, 3, 1, 0),
    "large, halved": ((1, 32, 64, 70), 5, 3, 2, 1),
    "large, of few channels, halved": ((1, 6, 64, 70), 5, 3, 2, 1),
    "halved": ((2, 6, 32, 32), 5, 3, 2, 1),
    "small, halved": ((2, 6, 8, 7), 5, 3, 2, 1),
    "two pixels": ((1, 6, 2, 2), 5, 3, 2, 1),
    "one tap": ((2, 6, 9, 8), 5, 1, 1, 0),
    "one tap, halved": ((2, 6, 9, 8), 5, 1, 2, 0),
    "seven taps": ((1, 3, 20, 20), 5, 7, 2, 3),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_it_is_torchs(case: str, bias: bool) -> None:
    size, outputs, taps, stride, padding = CASES[case]
    given = [random(*size), random(outputs, size[1], taps, taps, seed=1)]
    given += [random(outputs, seed=2)] if bias else []
    how: dict[str, Any] = {"stride": stride, "padding": padding}
    wide: Any = [t.double() for t in given]
    assert relative_error(convolved(*given, **how), F.conv2d(*wide, **how)) < 1e-5

    for tensor in (*given, *wide):
        tensor.requires_grad_()
    got, want = convolved(*given, **how), F.conv2d(*wide, **how)
    dy = random(*want.shape, seed=3)
    gradients = torch.autograd.grad(got, given, dy)
    for a, b in zip(gradients, torch.autograd.grad(want, wide, dy.double()), strict=True):
        assert relative_error(a, b) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_autocast_decides_about_the_dtype(case: str) -> None:
    size, outputs, taps, stride, padding = CASES[case]
    x, weight, bias = random(*size), random(outputs, size[1], taps, taps), random(outputs)
    want = convolved(x, weight, bias, stride=stride, padding=padding)
    with torch.autocast("cpu", torch.bfloat16):
        assert working_dtype(x) == torch.bfloat16
        got = convolved(x, weight, bias, stride=stride, padding=padding)
    assert got.dtype == torch.bfloat16 and working_dtype(x) == torch.float32
    assert relative_error(got, want) < 5e-2


def test_the_module_is_torchs() -> None:
    plain = torch.nn.Conv2d(6, 5, 3, stride=2, padding=1)
    ours = Conv2d(6, 5, 3, stride=2, padding=1)
    ours.load_state_dict(plain.state_dict())
    x = random(1, 6, 8, 8)
    torch.testing.assert_close(ours(x), plain(x))


def test_adding_reuses_memory_unless_gradients_are_wanted() -> None:
    x, y = random(3), random(3, seed=1)
    want = x + y
    assert add(x, y) is x and torch.equal(x, want)
    wanted = random(3).requires_grad_()
    assert add(wanted, y) is not wanted


class TestHeadsTogether:
    @pytest.fixture
    def heads(self) -> list[StyleHead]:
        return [seeded(lambda: StyleHead(6, 5, 64), seed=k) for k in range(4)]

    def test_each_gives_its_own_code(self, heads: list[StyleHead]) -> None:
        """Whether they look at the same features or at others, large or small."""
        one, other = random(2, 6, 64, 64), random(2, 6, 64, 64, seed=1)
        features = [one, one, other, one]
        got = codes_of(heads, features)
        for code, head, x in zip(got, heads, features, strict=True):
            assert relative_error(code, head(x)) < 1e-5

    def test_neighbours_begin_together(
        self, heads: list[StyleHead], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        began = []

        def spy(
            x: torch.Tensor,
            weights: list[torch.Tensor],
            biases: list[torch.Tensor],
            *,
            slope: float,
        ) -> list[torch.Tensor]:
            began.append(len(weights))
            pairs = zip(weights, biases, strict=True)
            return [F.leaky_relu(F.conv2d(x, w, b, 2, 1), slope) for w, b in pairs]

        monkeypatch.setattr("vidhair.models.encoders.heads.downsampling_conv", spy)
        one, other = random(1, 6, 64, 64), random(1, 6, 64, 64, seed=1)
        codes_of(heads, [one, one, one, other])
        assert began == [3, 1]
        monkeypatch.setattr(convolution, "MANY_PIXELS", 64 * 64 + 1)
        codes_of(heads, [one] * 4)
        assert began == [3, 1], "too small to earn it"
