"""What stages read frames from and write to, while a thread decodes ahead and others write behind.

Decoders, encoders, compression and disks need Python's lock only now and then, so their work goes
on while stages compute. What comes out is the same as without threads.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from vidhair.kernels import share_threads, use_threads
from vidhair.media import ClipReader
from vidhair.wiring import A, B

FAR = 32  # frames over which decoding goes on rather than begin anew where frames are asked for

Call = tuple[Callable[..., Any], tuple[Any, ...]]  # with its arguments


class Behind:
    """Calls that a thread makes, in order, while its owner goes on.

    depth: how many may wait. An error is raised at the owner's next call, or at the end. Where the
    owner fails, what waits is left out, or made still if `finish`.
    """

    def __init__(self, name: str, depth: int, *, finish: bool = False):
        self._calls: queue.Queue[Call | None] = queue.Queue(depth)
        self._finish = finish
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self._raise()
        self._calls.put((call, arguments))

    def wait(self) -> None:
        """Until all calls have been made."""
        self._calls.join()
        self._raise()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None and not self._finish:
            self._error = self._error or error
        self._calls.put(None)
        self._thread.join()
        if error is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (one := self._calls.get()) is not None:
            if self._error is None:
                call, arguments = one
                try:
                    call(*arguments)
                except BaseException as error:
                    self._error = error
                del call, arguments
            del one
            self._calls.task_done()


class Now:
    """As `Behind`, without a thread."""

    def __call__(self, call: Callable[..., Any], *arguments: Any) -> None:
        call(*arguments)

    def wait(self) -> None:
        pass


class Workers:
    """As the built-in `map`, by threads that make results of several items at once.

    most: how many. Of the processor's cores each thread has its share.
    """

    def __init__(self, most: int):
        self._cores = torch.get_num_threads()
        self._count = min(most, self._cores) if share_threads() else 1
        self._pool = ThreadPoolExecutor(
            self._count, "frames", use_threads, (self._cores // self._count,)
        )

    def __enter__(self) -> Self:
        return self

    def __call__(self, function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
        if self._count == 1:
            yield from map(function, items)
            return
        begun: deque[Future[B]] = deque()
        for item in items:
            begun.append(self._pool.submit(function, item))
            del item
            if len(begun) > self._count:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    def __exit__(self, *exc: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._cores)  # of threads that are yet to start


class Window:
    """Frames of a clip for stages that go over it together: each is decoded once.

    kept: frames up to the last one that was asked for that can be asked for again.
    ahead: frames after it that a thread decodes meanwhile; 0 for no thread.
    """

    def __init__(self, reader: ClipReader, kept: int, ahead: int):
        self._reader, self._kept, self._ahead = reader, kept, ahead
        self._count = reader.clip.frame_count
        self._changed = threading.Condition()
        self._reading = threading.Lock()
        self._frames: deque[NDArray[np.uint8]] = deque()
        self._first = self._asked = 0  # the first frame that is held; asked for are those before
        self._turn = 0  # raised where decoding begins at another frame
        self._error: BaseException | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._decode, name="decode", daemon=True)

    def __enter__(self) -> Self:
        # An alpha plane is read from the decoded frame once more, after others were decoded.
        if self._reader.clip.alpha:
            self._reader.keep(self._kept + self._ahead)
        if self._ahead:
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._ahead:
            self._thread.join()
        self._reader.keep()

    def read(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames start … stop − 1, uint8 [T, H, W, 3]."""
        if stop - start > self._kept:  # more than may be held
            with self._reading:
                return self._reader.read(start, stop)
        with self._changed:
            if not self._first <= start <= self._next + FAR:
                self._frames.clear()
                self._first = self._asked = start
                self._turn += 1
            self._asked = max(self._asked, stop)
            self._forget()
            while not self._ahead and self._next < stop:
                self._take(self._reader.read(self._next, self._next + 1)[0])
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._error or self._next >= stop)
            if self._error is not None:
                raise self._error
            return np.stack([self._frames[n - self._first] for n in range(start, stop)])

    def alpha(self, start: int, stop: int) -> NDArray[np.uint8]:
        """As the reader's."""
        with self._reading:
            return self._reader.alpha(start, stop)

    @property
    def _next(self) -> int:
        return self._first + len(self._frames)

    def _take(self, frame: NDArray[np.uint8]) -> None:
        self._frames.append(frame)
        self._forget()

    def _forget(self) -> None:
        while self._frames and self._first < self._asked - self._kept:
            self._frames.popleft()
            self._first += 1

    def _decode(self) -> None:
        def wanted() -> bool:
            goal = self._asked + self._ahead if self._asked else 0
            return self._closed or self._next < min(goal, self._count)

        try:
            while True:
                with self._changed:
                    self._changed.wait_for(wanted)
                    if self._closed:
                        return
                    number, turn = self._next, self._turn
                with self._reading:
                    frame = self._reader.read(number, number + 1)[0]
                with self._changed:
                    if turn == self._turn:
                        self._take(frame)
                        self._changed.notify_all()
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()
