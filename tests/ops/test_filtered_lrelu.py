from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.ops import definitions
from tests.tolerances import assert_close
from vidhair.ops import filtered_lrelu

taps = st.integers(1, 6)
filters = st.none() | taps | st.tuples(taps, taps)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_filter(shape: int | tuple[int, int] | None, seed: int) -> torch.Tensor | None:
    if shape is None:
        return None
    return random(*([shape] if isinstance(shape, int) else shape), seed=seed).float()


@given(
    size=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    up_filter=filters,
    down_filter=filters,
    bias=st.booleans(),
    up=st.integers(1, 4),
    down=st.integers(1, 4),
    padding=st.tuples(*[st.integers(-4, 12)] * 4),
    gain=st.sampled_from([1.0, 2**0.5, 3.0]),
    slope=st.sampled_from([0.0, 0.2, 1.0]),
    clamp=st.sampled_from([None, 0.5, 20.0]),
    flip_filter=st.booleans(),
)
@settings(max_examples=120)
def test_reference_equals_the_composition(
    size: tuple[int, int],
    up_filter: int | tuple[int, int] | None,
    down_filter: int | tuple[int, int] | None,
    bias: bool,
    **options: Any,
) -> None:
    x, b = random(2, 3, *size), random(3, seed=3) if bias else None
    fu, fd = make_filter(up_filter, 1), make_filter(down_filter, 2)
    for axis in (0, 1):
        low, high = options["padding"][2 - 2 * axis : 4 - 2 * axis]
        length = size[axis] * options["up"] + low + high
        needed = sum(
            0 if f is None else f.shape[axis - f.ndim if f.ndim > 1 else 0] - 1 for f in (fu, fd)
        )
        assume(length > needed)
    y = filtered_lrelu(x, fu=fu, fd=fd, b=b, impl="reference", **options)
    want = definitions.filtered_lrelu(x, fu=fu, fd=fd, b=b, **options)
    # Sums of terms that cancel: the scale is that of a term.
    assert_close("filtered_lrelu", y, want, scale=max(abs(want).max(), 1.0))


def test_gradients() -> None:
    x, b = random(1, 2, 5, 4).requires_grad_(), random(2, seed=3).requires_grad_()
    fu, fd = make_filter(4, 1), make_filter((3, 2), 2)

    def op(x: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return filtered_lrelu(x, fu=fu, fd=fd, b=b, up=2, down=2, padding=3, clamp=1.0)

    assert torch.autograd.gradcheck(op, (x, b))


def test_a_wave_below_the_limit_gets_no_aliases() -> None:
    """What the op is for: a plain leaky ReLU folds the wave's harmonics back, this one does not."""
    from vidhair.ops.fir import lowpass

    size, cycles = 64, 14.5
    phase = 2 * torch.pi * cycles * (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x = torch.sin(phase).expand(1, 1, size, size)
    filters = {
        name: torch.as_tensor(lowpass(12, size / 4, size / 8, 2 * size), dtype=torch.float64)
        for name in ("fu", "fd")
    }
    got = filtered_lrelu(x, up=2, down=2, padding=11, slope=0.0, impl="reference", **filters)

    def loudest_beside(signal: torch.Tensor) -> float:
        """Loudest frequency other than zero and the wave's own, as a share of the wave's."""
        line = signal[0, 0, 32, 8:56]
        spectrum = torch.fft.rfft(
            (line - line.mean()) * torch.hann_window(48, dtype=line.dtype)
        ).abs()
        own = round(cycles * 48 / size)
        spectrum[0:2], beside = 0, spectrum.clone()
        beside[own - 2 : own + 3] = 0
        return float(beside.max() / spectrum.max())

    assert loudest_beside(got) < 0.1 * loudest_beside(torch.relu(x))


@pytest.mark.parametrize("impl", ["auto", "reference"])
def test_input_and_filters_are_left_alone(impl: str) -> None:
    tensors: dict[str, Any] = {
        "x": random(1, 2, 8, 8),
        "fu": make_filter(12, 1),
        "fd": make_filter(12, 2),
    }
    tensors |= {"b": random(2, seed=3)}
    kept = {name: t.clone() for name, t in tensors.items()}
    filtered_lrelu(**tensors, up=2, down=2, padding=10, clamp=0.5, impl=impl)
    assert all(torch.equal(tensors[name], t) for name, t in kept.items())
