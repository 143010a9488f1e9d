"""Microkernels do what their vectors say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import config
from numpy.typing import NDArray

from vidhair.kernels import simd
from vidhair.kernels.simd import LANES, compiled, empty_places, microkernel, zero_places


@microkernel
def _three_taps(v: Any, x: Any, at: int, c: Any, y: Any, to: Any) -> None:
    samples = [v.load(x, at, k) for k in range(3)]
    v.store(v.dot(c, samples), y, to)


@microkernel
def _arithmetic(v: Any, x: Any, y: Any) -> None:
    zero = v.sum(v.place(0), v.place(0))
    a, b = v.load(x, zero), v.load(x, zero, 1)
    results = [
        v.add(a, b),
        v.subtract(a, b),
        v.multiply(a, b),
        v.negative(a),
        v.maximum(a, b),
        v.minimum(a, b),
        v.multiply_add(a, b, v.number(1)),
        v.multiply_subtract(v.number(1), a, b),
        v.select("<=", a, v.number(0), a, b),
        v.everywhere(x, v.place(1), 1),
    ]
    for k, value in enumerate(results):
        v.store(value, y, zero, k)


@microkernel
def _copied(v: Any, x: Any, y: Any) -> None:
    v.store(v.load(x, v.place(0)), y, v.place(0))


@microkernel
def _powers(v: Any, x: Any, count: int, y: Any) -> None:
    def step(k: Any, values: Any) -> Any:
        return [v.multiply(values[0], v.load(x, v.place(0)))]

    (result,) = v.repeat(count, [v.number(1)], step)
    v.store(result, y, v.place(0))


def numbers(*shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_places_count_vectors_in_two_dimensions_and_elements_in_one() -> None:
    @compiled
    def run(x: Any, flat: Any, c: Any, y: Any) -> None:
        _three_taps(x, 1, (c[0], c[1], c[2]), y, 0)
        _three_taps(flat, 1, (c[0], c[1], c[2]), y, 1)

    x, flat, c, y = numbers(4, LANES), numbers(3 * LANES), numbers(3), numbers(2, LANES)
    run(x, flat, c, y)
    np.testing.assert_allclose(y[0], c @ x[1:], rtol=1e-5, atol=1e-6)
    want = sum(c[k] * flat[1 + k : 1 + k + LANES] for k in range(3))
    np.testing.assert_allclose(y[1], want, rtol=1e-5, atol=1e-6)


def test_arithmetic() -> None:
    @compiled
    def run(x: Any, y: Any) -> None:
        _arithmetic(x, y)

    x, y = numbers(3, LANES), numbers(10, LANES)
    run(x, y)
    a, b = x[:2]
    want = [a + b, a - b, a * b, -a, np.maximum(a, b), np.minimum(a, b), a * b + 1, 1 - a * b]
    want.append(np.where(a <= 0, a, b))
    np.testing.assert_allclose(y[:9], want, rtol=1e-6, atol=1e-6)
    assert (y[9] == x[2, 0]).all()


def test_bfloat16_rounds_as_torch_does() -> None:
    @compiled
    def run(x: Any, half: Any, back: Any) -> None:
        _copied(x, half)
        _copied(half, back)

    x = numbers(1, LANES) * 100
    x[0, :3] = 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8  # halfway between two
    half, back = np.zeros((1, LANES), np.uint16), np.zeros((1, LANES), np.float32)
    run(x, half, back)
    want = torch.from_numpy(x).bfloat16()
    assert torch.equal(torch.from_numpy(half).view(torch.bfloat16), want)
    assert torch.equal(torch.from_numpy(back), want.float())


def test_repeated_steps_carry_their_values() -> None:
    @compiled
    def run(x: Any, y: Any) -> None:
        _powers(x, 5, y)

    x, y = numbers(1, LANES), numbers(1, LANES)
    run(x, y)
    np.testing.assert_allclose(y, x**5, rtol=1e-5)


def test_products_of_pairs() -> None:
    @microkernel
    def emit(v: Any, x: Any, other: str, bits: Any, y: Any) -> None:
        v.store_pairs(v.load(x, v.place(0)), v.load(other, v.place(0)), bits, v.place(0))
        pairs = v.load_pairs(bits, v.place(0))
        one = v.pair_everywhere(bits, v.place(0))
        v.store(v.multiply_add_pairs(pairs, one, v.number(1)), y, v.place(0))

    @compiled
    def run(x: Any, other: str, bits: Any, y: Any) -> None:
        emit(x, other, bits, y)

    x, other, y = numbers(1, LANES), numbers(1, LANES)[:, ::-1].copy(), numbers(1, LANES)
    bits = np.zeros(2 * LANES, np.uint16)
    run(x, other, bits, y)
    pairs = torch.from_numpy(bits).view(torch.bfloat16).view(LANES, 2)
    want = torch.from_numpy(np.stack([x[0], other[0]], 1)).bfloat16()
    assert torch.equal(pairs, want)
    np.testing.assert_allclose(y[0], (want.double() @ want[0].double() + 1).numpy(), rtol=1e-5)


def test_scratch_begins_with_a_cache_line() -> None:
    @compiled
    def run(count: int) -> Any:
        return empty_places(count), zero_places(count)

    for count in (1, 7, 100):
        empty, zeros = run(count)
        assert empty.shape == zeros.shape == (count, LANES)
        assert empty.ctypes.data % (4 * LANES) == zeros.ctypes.data % (4 * LANES) == 0
        assert not zeros.any()


def test_what_is_kept_is_found_again_only_for_the_same_vectors_and_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The file of a kernel stays the same when that of the microkernels changes."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def is_found() -> bool:
        again = compiled(simd.empty_places.py_func)
        again(1)
        return bool(again.stats.cache_hits)

    assert [is_found(), is_found()] == [False, True]
    monkeypatch.setattr(simd, "_KEY", (2 * LANES, *simd._KEY[1:]))
    assert [is_found(), is_found()] == [False, True]
    monkeypatch.setattr(simd, "_KEY", (*simd._KEY[:-1], "another text"))
    assert [is_found(), is_found()] == [False, True]


def test_where_no_folder_keeps_compiled_code_it_is_compiled_anew() -> None:
    """As for a function that has no file."""
    names: dict[str, Any] = {}
    exec("def double(x):\n    return 2 * x", names)
    assert compiled(names["double"])(21) == 42
