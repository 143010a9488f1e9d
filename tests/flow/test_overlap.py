"""Threads beside the one that computes, with made-up frames and calls."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidhair.flow.overlap import Behind, Now, Window, Workers

FRAMES = 100


class Reader:
    """Frames of the value of their number; decoded: which were read, in order."""

    def __init__(self, fail_at: int = FRAMES, alpha: bool = False) -> None:
        self.clip: Any = SimpleNamespace(frame_count=FRAMES, alpha=alpha)
        self.decoded: list[int] = []
        self.fail_at = fail_at
        self.held: list[int] = []

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if stop > self.fail_at:
            raise OSError("the disk is gone")
        self.decoded += range(start, stop)
        return np.arange(start, stop, dtype=np.uint8)[:, None, None, None].repeat(3, 3)

    def alpha(self, start: int, stop: int) -> NDArray[Any]:
        return np.arange(start, stop)

    def keep(self, count: int = 16) -> None:
        self.held.append(count)


@contextmanager
def cores(count: int) -> Iterator[None]:
    """As on a machine with so many."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(threads)


def numbers(frames: NDArray[Any]) -> list[int]:
    return frames[:, 0, 0, 0].tolist()


@pytest.fixture(params=[0, 8], ids=["in order", "ahead"])
def ahead(request: pytest.FixtureRequest) -> int:
    return request.param


def test_stages_that_follow_each_other_share_a_decoding(ahead: int) -> None:
    """One looks at chunks of 64 with frames before them, one at single ones, one at 32."""
    reader: Any = Reader()
    with Window(reader, 70, ahead) as window:
        for start in range(0, FRAMES, 64):
            stop = min(start + 64, FRAMES)
            early = max(0, start - 2)
            assert numbers(window.read(early, stop)) == list(range(early, stop))
            for number in range(start, stop):
                assert numbers(window.read(number, number + 1)) == [number]
            for first in range(start, stop, 32):
                last = min(first + 32, stop)
                assert numbers(window.read(first, last)) == list(range(first, last))
    assert reader.decoded == list(range(FRAMES))


def test_what_lies_too_far_back_is_decoded_again(ahead: int) -> None:
    reader: Any = Reader()
    with Window(reader, 10, ahead) as window:
        for start in (0, 10, 20, 30, 5, 90):
            assert numbers(window.read(start, start + 10)) == list(range(start, start + 10))
    assert reader.decoded.count(5) == 2 and 60 not in reader.decoded


def test_more_frames_than_may_be_held(ahead: int) -> None:
    reader: Any = Reader()
    with Window(reader, 4, ahead) as window:
        assert numbers(window.read(3, 30)) == list(range(3, 30))


def test_no_more_is_decoded_than_may_lie_ahead() -> None:
    reader: Any = Reader()
    with Window(reader, 4, 8) as window:
        window.read(0, 2)
        for _ in range(100):
            if len(reader.decoded) >= 10:
                break
            time.sleep(0.01)
        time.sleep(0.05)
        assert reader.decoded == list(range(10))


def test_what_a_reader_owns_is_never_handed_out_twice() -> None:
    reader: Any = Reader()
    with Window(reader, 4, 0) as window:
        window.read(0, 2)[:] = 99
        assert numbers(window.read(0, 2)) == [0, 1]


def test_an_error_of_the_reader_reaches_who_asks(ahead: int) -> None:
    reader: Any = Reader(fail_at=20)
    with (
        pytest.raises(OSError, match="the disk is gone"),
        Window(reader, 8, ahead) as window,
    ):
        for start in range(0, FRAMES, 4):
            window.read(start, start + 4)
    assert not [t for t in threading.enumerate() if t.name == "decode"]


def test_transparency_comes_from_frames_that_are_still_there(ahead: int) -> None:
    reader: Any = Reader(alpha=True)
    with Window(reader, 8, ahead) as window:
        window.read(0, 8)
        assert window.alpha(2, 4).tolist() == [2, 3]
    assert reader.held == [8 + ahead, 16]


def test_calls_are_made_in_their_order() -> None:
    made: list[int] = []
    with Behind("write", 2) as behind:
        for number in range(20):
            behind(made.append, number)
        behind.wait()
        assert made == list(range(20))
    now = Now()
    now(made.append, 20)
    now.wait()
    assert made[-1] == 20


def test_no_more_calls_wait_than_may() -> None:
    go = threading.Event()
    made: list[Any] = []
    with Behind("write", 2) as behind:
        behind(go.wait)
        behind(made.append, 1)
        behind(made.append, 2)
        late = threading.Thread(target=behind, args=(made.append, 3))
        late.start()
        late.join(0.1)
        assert late.is_alive() and made == []
        go.set()
        late.join()
    assert made == [1, 2, 3]


def fail() -> None:
    raise OSError("no room")


def test_an_error_of_a_call_is_raised_and_later_calls_are_left_out() -> None:
    made: list[int] = []
    with pytest.raises(OSError, match="no room"), Behind("write", 2) as behind:
        behind(fail)
        for number in range(50):
            behind(made.append, number)
    assert made == []
    with pytest.raises(OSError, match="no room"), Behind("write", 2) as behind:
        behind(fail)


@pytest.mark.parametrize("finish", [True, False])
def test_what_waits_when_its_owner_fails(finish: bool) -> None:
    """Results that are computed are stored; frames of a video that will not be are dropped."""
    go = threading.Event()
    made: list[Any] = []
    with pytest.raises(KeyboardInterrupt), Behind("write", 3, finish=finish) as behind:
        behind(go.wait, 0.2)
        behind(made.append, 1)
        raise KeyboardInterrupt
    assert made == ([1] if finish else [])


class TestWorkers:
    def test_results_come_in_order_whoever_is_done_first(self, workers: Workers) -> None:
        def late(number: int) -> int:
            time.sleep(0.002 * (7 - number % 8))
            return number

        assert list(workers(late, range(24))) == list(range(24))

    def test_one_map_may_take_what_another_makes(self, workers: Workers) -> None:
        squares = workers(lambda x: x * x, range(20))
        assert list(workers(str, squares)) == [str(x * x) for x in range(20)]

    def test_no_more_is_taken_than_is_worked_on_and_one(self) -> None:
        with cores(3), Workers(2) as workers:
            taken: list[int] = []
            found = workers(int, (taken.append(n) or n for n in range(20)))  # type: ignore[func-returns-value]
            for number in range(20):
                assert next(found) == number
                assert len(taken) <= number + 3

    def test_items_are_taken_by_who_asks_and_worked_on_by_others(self) -> None:
        """So what hands them out need not expect threads."""
        here = threading.current_thread()
        with cores(2), Workers(8) as workers:
            items = (threading.current_thread() for _ in range(6))
            pairs = list(workers(lambda taker: (taker, threading.current_thread()), items))
        assert {taker for taker, _ in pairs} == {here} and here not in {who for _, who in pairs}

    @pytest.mark.parametrize(
        ("count", "most", "each"), [(1, 8, 1), (2, 8, 1), (6, 2, 3), (6, 1, 6)]
    )
    def test_all_together_use_the_cores_once(self, count: int, most: int, each: int) -> None:
        with cores(count), Workers(most) as workers:
            assert set(workers(lambda _: torch.get_num_threads(), range(12))) == {each}
            assert torch.get_num_threads() == count

    def test_one_is_no_thread(self) -> None:
        with cores(4), Workers(1) as workers:
            found = set(workers(lambda _: threading.current_thread(), range(4)))
        assert found == {threading.current_thread()}

    @pytest.mark.parametrize("error", [OSError("no room"), KeyboardInterrupt()])
    def test_an_error_comes_where_its_result_would(
        self, workers: Workers, error: BaseException
    ) -> None:
        begun: list[int] = []

        def work(number: int) -> int:
            begun.append(number)
            if number == 5:
                raise error
            return number

        got: list[int] = []
        with pytest.raises(type(error)):
            got.extend(workers(work, range(1000)))
        assert got == [0, 1, 2, 3, 4] and max(begun) <= 10

    def test_none_is_left(self) -> None:
        """Of those that are told to stop while more waits, too."""
        made: list[int] = []

        def work(number: int) -> None:
            time.sleep(0.05)
            made.append(number)

        with pytest.raises(OSError, match="elsewhere"), cores(2), Workers(8) as workers:
            next(workers(work, range(100)))
            raise OSError("elsewhere")
        assert len(made) <= 4
        assert not [t for t in threading.enumerate() if t.name.startswith("frames")]
