"""Threads beside the one that computes, with made-up frames and calls."""

import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vidhair.flow.overlap import Behind, Now, Window

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
