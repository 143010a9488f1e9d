from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.ops import definitions
from tests.tolerances import assert_close, gradient
from vidhair.ops import upfirdn2d
from vidhair.ops.upfirdn2d import downsample2d, filter2d, setup_filter, upsample2d

factor = st.integers(1, 4)
taps = st.integers(1, 7)
filters = st.none() | taps | st.tuples(taps, taps)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_filter(shape: int | tuple[int, int] | None) -> torch.Tensor | None:
    """None, separable [taps] or [fh, fw]."""
    if shape is None:
        return None
    return random(*([shape] if isinstance(shape, int) else shape), seed=1).float()


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    shape=filters,
    up=st.tuples(factor, factor),
    down=st.tuples(factor, factor),
    padding=st.tuples(*[st.integers(-9, 9)] * 4),
    flip_filter=st.booleans(),
    gain=st.sampled_from([1.0, 1.5, 4.0]),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
@settings(max_examples=250)
def test_equals_its_definition_in_value_and_gradient(
    size: tuple[int, int], shape: int | tuple[int, int] | None, dtype: torch.dtype, **options: Any
) -> None:
    x, f = random(2, 3, *size).to(dtype), make_filter(shape)
    fh, fw = (1, 1) if f is None else (f.shape[0], f.shape[-1])
    (ux, uy), (x0, x1, y0, y1) = options["up"], options["padding"]
    assume(size[1] * ux + x0 + x1 >= fw and size[0] * uy + y0 + y1 >= fh)

    y = upfirdn2d(x.requires_grad_(), f, **options)
    want = definitions.upfirdn2d(x.detach(), f, **options)
    largest = definitions.upfirdn2d(x.detach().abs(), None if f is None else f.abs(), **options)
    assert_close("upfirdn2d", y, want, scale=float(largest.max()))

    # The gradient is the transposed operator: ⟨Aᵀ·dy, v⟩ = ⟨dy, A·v⟩ for every v.
    dy, v = random(*y.shape, seed=2).to(dtype), random(*x.shape, seed=3)
    y.backward(dy)
    projected = definitions.upfirdn2d(v, f, **options)
    scale = float(np.linalg.norm(dy) * np.linalg.norm(projected)) or 1.0
    got, want = (gradient(x).double() * v).sum().to(dtype), (dy.double().numpy() * projected).sum()
    assert_close("upfirdn2d", got, want, scale=scale)


@pytest.mark.parametrize("shape", [None, 5, (3, 4)])
def test_memory_layout_does_not_matter(shape: int | tuple[int, int] | None) -> None:
    x, f = random(2, 6, 9, 8), make_filter(shape)
    want = upfirdn2d(x, f, up=2, padding=3)
    layouts = [
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(2, 3).contiguous().transpose(2, 3),
        torch.cat([x, x], 1)[:, :6],
        x.flip(3).flip(3),
    ]
    for layout in layouts:
        assert torch.equal(upfirdn2d(layout, f, up=2, padding=3), want)
    row = x[:, :, :1].expand(-1, -1, 9, -1)
    assert torch.equal(upfirdn2d(row, f), upfirdn2d(row.contiguous(), f))


def test_short_forms_of_the_arguments() -> None:
    x, f = random(1, 2, 9, 8), make_filter(4)
    full = upfirdn2d(x, f, up=(2, 2), down=(3, 3), padding=(5, 5, 5, 5))
    assert torch.equal(upfirdn2d(x, f, up=2, down=3, padding=5), full)
    full = upfirdn2d(x, f, padding=(5, 5, 2, 2))
    assert torch.equal(upfirdn2d(x, f, padding=(5, 2)), full)


def test_bfloat16_stays_bfloat16() -> None:
    x, f = random(2, 3, 9, 8).bfloat16(), make_filter(6)
    assert f is not None
    y = upfirdn2d(x, f, up=2, padding=3)
    scale = float(
        definitions.upfirdn2d(x.abs().double(), f.abs(), up=(2, 2), padding=[3] * 4).max()
    )
    assert y.dtype == torch.bfloat16
    assert_close(
        "upfirdn2d",
        y,
        definitions.upfirdn2d(x.double(), f, up=(2, 2), padding=[3] * 4),
        scale=scale,
    )


def test_picture_smaller_than_the_filter_is_refused() -> None:
    with pytest.raises(AssertionError, match="filter of 7 taps does not fit"):
        upfirdn2d(random(1, 1, 9, 3), make_filter(7), padding=1)
    with pytest.raises(AssertionError, match=r"takes \[N, C, H, W\]"):
        upfirdn2d(random(1, 9, 9), make_filter(3))


def test_setup_filter_normalises_and_chooses_a_form() -> None:
    assert torch.equal(setup_filter(None), torch.ones(1, 1))
    short, long = setup_filter([1, 3, 3, 1]), setup_filter([1.0] * 8)
    assert short.shape == (4, 4) and long.shape == (8,)
    for f in (short, long, setup_filter([[1, 2], [3, 4]], separable=False)):
        torch.testing.assert_close(f.sum(), torch.tensor(1.0))
    assert setup_filter([1, 3, 3, 1], separable=True).shape == (4,)
    raw = setup_filter([[1, 2], [3, 4]], normalize=False, flip_filter=True, gain=2)
    assert torch.equal(raw, torch.tensor([[8.0, 6.0], [4.0, 2.0]]))
    # A gain of a separable filter counts once for both passes.
    separable = setup_filter([1.0] * 8, gain=4)
    torch.testing.assert_close(torch.outer(separable, separable).sum(), torch.tensor(4.0))


@pytest.mark.parametrize("f", [None, [1, 3, 3, 1], [1, 2, 1], [1.0] * 12, [[1, 2, 1], [0, 3, 1]]])
@pytest.mark.parametrize("factors", [2, 3, (2, 3)])
def test_resampling_keeps_a_constant_and_the_size(
    f: list[float | list[int]] | None, factors: int | tuple[int, int]
) -> None:
    taps = None if f is None else setup_filter(f)
    x = torch.full((1, 2, 24, 30), 3.0)
    wide, high = (factors, factors) if isinstance(factors, int) else factors
    same, more, less = (
        filter2d(x, taps),
        upsample2d(x, taps, up=factors),
        downsample2d(x, taps, down=factors),
    )
    assert same.shape == x.shape
    assert more.shape == (1, 2, 24 * high, 30 * wide) and less.shape == (
        1,
        2,
        24 // high,
        30 // wide,
    )
    assert_close("upfirdn2d", same[..., 8:-8, 8:-8], np.full((1, 2, 8, 14), 3.0))
    inside = less[..., 4:-4, 4:-4]
    assert_close("upfirdn2d", inside, np.full(inside.shape, 3.0))
    # Repetition and interpolation keep it too, if the filter has something for every new sample.
    if taps is not None and f == [1.0] * 12:
        assert_close(
            "upfirdn2d", more[..., 12:-12, 12:-12], np.full(more[..., 12:-12, 12:-12].shape, 3.0)
        )


def test_upsampling_a_ramp_keeps_it_in_place() -> None:
    x = torch.arange(12.0).expand(1, 1, 12, 12)
    y = upsample2d(x, setup_filter([1, 3, 3, 1]))
    # Pixel centres: the new samples lie at ±¼ of an old one.
    want = (torch.arange(24.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(y[0, 0, 12, 2:-2], want[2:-2])
    torch.testing.assert_close(
        downsample2d(y, setup_filter([1, 1]))[..., 2:-2, 2:-2], x[..., 2:-2, 2:-2]
    )
