"""The memory that the CPU kernels keep pictures in."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vidhair.kernels import layout_cpu as layout
from vidhair.kernels.buffers import LINE, SMALLEST, SPARE, BufferPool

SHAPES = st.tuples(*[st.integers(1, n) for n in (3, 40, 7, 7)])


@given(SHAPES)
def test_a_copy_has_the_numbers_and_zeros_behind_them(shape: Any) -> None:
    x = torch.randn(shape)
    kept = layout.laid_out(x)
    assert torch.equal(kept, x)
    whole = layout.whole(kept)
    assert whole.shape == (shape[0], *shape[2:], layout.padded_width(shape[1]))
    assert whole.is_contiguous() and not whole[..., shape[1] :].any()


@given(SHAPES)
def test_what_is_in_the_layout_is_not_copied(shape: Any) -> None:
    x = layout.empty(shape, like=torch.zeros(1))
    assert x.shape == shape
    assert layout.laid_out(x).data_ptr() == x.data_ptr()


def test_what_only_looks_like_it_is_copied() -> None:
    """Behind its last pixel there is no memory."""
    memory = torch.zeros(4 * 4 * 16 - 6)
    x = memory.as_strided((1, 10, 4, 4), (256, 1, 64, 16))
    assert layout.laid_out(x).data_ptr() != x.data_ptr()
    whole = torch.zeros(256).as_strided((1, 10, 4, 4), (256, 1, 64, 16))
    assert layout.laid_out(whole).data_ptr() == whole.data_ptr()


def test_vectors_are_padded_with_zeros() -> None:
    found = layout.vectors(torch.arange(1, 20))
    assert found.size == 32 and found.ravel()[:19].tolist() == list(range(1, 20))
    assert not found.ravel()[19:].any()


class TestBufferPool:
    SIZE = SMALLEST  # numbers of four bytes

    def test_memory_is_taken_again_once_nobody_holds_it(self) -> None:
        buffer_pool = BufferPool()
        first = buffer_pool.take(self.SIZE, torch.float32)
        place = first.data_ptr()
        view = first[5:].view(-1, 1)
        del first
        assert buffer_pool.take(self.SIZE, torch.float32).data_ptr() != place
        del view
        assert buffer_pool.take(self.SIZE, torch.float32).data_ptr() == place

    def test_two_tensors_never_share(self) -> None:
        buffer_pool, held = BufferPool(), []
        for k in range(6):
            tensor = buffer_pool.take(self.SIZE + k, torch.float32)
            held.append(tensor.fill_(k))
        assert [float(t.sum()) / len(t) for t in held] == pytest.approx(range(6))

    def test_dtypes_and_alignment(self) -> None:
        buffer_pool = BufferPool()
        for dtype in (torch.float32, torch.bfloat16, torch.uint8):
            tensor = buffer_pool.take(2 * SMALLEST + 3, dtype)
            assert tensor.dtype == dtype and len(tensor) == 2 * SMALLEST + 3
            assert tensor.data_ptr() % LINE == 0

    def test_small_results_do_not_take_large_pieces(self) -> None:
        """What kernels prepare of weights stays: it would hold the memory of a whole picture."""
        buffer_pool = BufferPool()
        held = [buffer_pool.take(8 * self.SIZE, torch.float32)]
        large = held.pop().data_ptr()
        held.append(buffer_pool.take(self.SIZE, torch.float32))
        assert held[0].data_ptr() != large
        assert held[0].untyped_storage().nbytes() < 2 * 4 * self.SIZE

    def test_kept_memory_is_bounded_by_what_was_in_use(self) -> None:
        buffer_pool = BufferPool()
        for size in range(1, 12):
            tensor = buffer_pool.take(size * self.SIZE, torch.float32)
            in_use = 4 * self.SIZE * max(1, 2 * size - 1)  # the last one is still held
            assert buffer_pool.kept <= SPARE * in_use
        assert len(tensor) == 11 * self.SIZE

    def test_release_gives_back_what_is_not_in_use(self) -> None:
        buffer_pool = BufferPool()
        held = buffer_pool.take(self.SIZE, torch.float32)
        buffer_pool.take(3 * self.SIZE, torch.float32)
        buffer_pool.release()
        assert buffer_pool.kept == held.nbytes
        assert float(held.fill_(2).sum()) == 2 * self.SIZE
