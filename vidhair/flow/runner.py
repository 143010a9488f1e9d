"""Brings nodes up to date: what the cache has is reused, what is missing is computed by chunks.

Nodes between two that wait for the whole clip go over it together, chunk by chunk, so they share
one decoding of it. A killed run loses at most the chunks it was in. Memory holds a few frames and
the last chunk of every node, however long the clip is.
"""

import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vidhair.cache import Entry, FramesMissing, Key, Store, fingerprint
from vidhair.errors import InvalidSetting
from vidhair.flow.node import Node, NodeReport, passes
from vidhair.flow.overlap import Behind, Now, Window, Workers
from vidhair.media import ClipReader
from vidhair.process import give_back_memory
from vidhair.wiring import Arrays, AtOnce, Progress

log = logging.getLogger(__name__)

EXECUTORS = ("overlapped", "in-order")
MEMORY = 4 << 30  # bytes above the weights, unless a run is told otherwise
LEAST_MEMORY = 512 << 20
HELD_FRAMES = 16
ROWS_AT_ONCE = 512  # of a whole-clip result, in a piece of the cache
STATE_AFTER = 16  # rows at least, from one state that is stored to the next
AHEAD = 8  # frames that are decoded before they are asked for
WAITING = 1  # writes that may wait for the thread that makes them
WORKED_ON = 32  # times its pixels: what a frame takes that is worked on
GIVE_BACK = 10.0  # seconds after which memory that was freed is handed back


@dataclass(frozen=True)
class Means:
    """With what a run is made; nothing of it changes a key or, but for rounding, a picture.

    executor: "overlapped" decodes, computes, encodes and stores at once, "in-order" one after the
    other, with the same results. memory: bytes that may be taken above the weights.
    Raises InvalidSetting.
    """

    executor: str = EXECUTORS[0]
    memory: int = MEMORY

    def __post_init__(self) -> None:
        if self.executor not in EXECUTORS:
            known = " or ".join(EXECUTORS)
            raise InvalidSetting(f"executor {self.executor!r} is unknown; use {known}")
        if self.memory < LEAST_MEMORY:
            raise InvalidSetting(
                f"memory of {self.memory >> 20} MiB is too little; give {LEAST_MEMORY >> 20}M or "
                "more"
            )

    def at_once(self, width: int, height: int) -> int:
        """How many frames of this size may be computed at a time."""
        return min(max(1, self.memory // 32 // (3 * width * height)), HELD_FRAMES)

    def kept(self, width: int, height: int, wanted: int) -> int:
        """How many of the wanted frames may be kept for stages that ask for them again."""
        return min(max(1, self.memory // 2 // (3 * width * height) - AHEAD), wanted)

    def workers(self, width: int, height: int) -> int:
        """How many threads may work on a frame each."""
        return max(1, self.memory // 4 // (WORKED_ON * 3 * width * height))

    @property
    def layers(self) -> int:
        """Bytes that the layers of a network may take."""
        return self.memory // 2


class Meter(Protocol):
    """Shows how far one stage is."""

    def __call__(self, done: float, note: str = "") -> None: ...


class Reporter(Protocol):
    """Told about every stage that computes something; several may be at work in turns."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]: ...


class Silent:
    """A reporter that shows nothing."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return nullcontext(lambda done, note="": None)


@dataclass
class Work:
    """What a node may use: the clip, results of the nodes it needs, a progress meter."""

    reader: ClipReader
    means: Means = field(default_factory=Means)
    entries: dict[str, Entry] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    recomputed: dict[str, int] = field(default_factory=dict)
    clip_results: dict[str, Arrays] = field(default_factory=dict)
    meter: Meter = lambda done, note="": None
    progress: Progress = field(default_factory=Progress)
    # Of the pass under way: where frames come from, what makes several at once, and each node's
    # last piece.
    source: Window | None = None
    at_once: AtOnce = map
    last: dict[str, tuple[int, Arrays]] = field(default_factory=dict)
    store: Behind | Now = field(default_factory=Now)

    @property
    def frame_count(self) -> int:
        return self.reader.clip.frame_count

    def frames(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 [T, H, W, 3]."""
        return (self.source or self.reader).read(start, stop)

    def alpha(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 [T, H, W]."""
        return (self.source or self.reader).alpha(start, stop)

    def per_frame(
        self, node: str, start: int, stop: int, names: tuple[str, ...] | None = None
    ) -> Arrays:
        """Results of a node by frames, or only the named ones; the caller owns them."""
        first, arrays = self.last.get(node, (0, {}))
        if arrays and first <= start and stop <= first + len(next(iter(arrays.values()))):
            chosen = arrays if names is None else {name: arrays[name] for name in names}
            return {n: a[start - first : stop - first].copy() for n, a in chosen.items()}
        if node in self.last:
            self.store.wait()
        while True:
            try:
                return self.entries[node].read(start, stop, names)
            except FramesMissing:
                # Damage shows only in reading; the store then forgets the chunk: make it anew.
                self._mend(node, start, stop)

    def _mend(self, name: str, start: int, stop: int) -> None:
        node, entry = self.nodes[name], self.entries[name]
        if node.whole:
            self.make_clip(name, Progress())
            self.recomputed[name] = self.recomputed.get(name, 0) + 1
            return
        for first, last in _pieces(entry.missing(start, stop), node.chunk):
            entry.write(first, node.compute(self, first, last), node.compress)
            self.recomputed[name] = self.recomputed.get(name, 0) + last - first

    def per_clip(self, node: str) -> Arrays:
        """Results of a whole-clip node, without those that have a row per frame."""
        if node not in self.clip_results:
            arrays = self.entries[node].read_clip()
            if arrays is None:
                raise FramesMissing(f"{node} has no result for the clip")
            self.clip_results[node] = arrays
        return self.clip_results[node]

    def begun(self, name: str) -> Progress:
        """How far a killed run came with a whole-clip node that can go on."""
        state = self.entries[name].read_state() if self.nodes[name].resumes else None
        return Progress(*state) if state else Progress()

    def make_clip(self, name: str, progress: Progress) -> None:
        """Make and store the result of a whole-clip node, as far as there is none yet."""
        former, self.progress = self.progress, progress
        try:
            self._write_clip(name, self.nodes[name].compute(self), progress)
        finally:
            self.progress = former

    def _write_clip(self, name: str, made: Arrays | Iterator[Arrays], progress: Progress) -> None:
        """Store what a whole-clip node has made: what has rows in pieces, and the rest."""
        node, entry = self.nodes[name], self.entries[name]
        rest: Arrays = {}
        written = resumable = progress.rows
        for arrays in [made] if isinstance(made, dict) else made:
            rows = {key: arrays[key] for key in node.rows}
            count = len(next(iter(rows.values()))) if rows else 0
            for start in range(0, count, ROWS_AT_ONCE):
                piece = {k: a[start : start + ROWS_AT_ONCE] for k, a in rows.items()}
                entry.write(written + start, piece, node.compress)
            written += count
            if progress.rows == written and resumable + STATE_AFTER <= written < self.frame_count:
                entry.write_state(written, progress.state)
                resumable = written
            rest = {key: array for key, array in arrays.items() if key not in rows}
        entry.write_clip(rest)
        self.clip_results[name] = rest

    def has_clip(self, name: str) -> bool:
        """Whether the whole result of a whole-clip node is stored."""
        node, entry = self.nodes[name], self.entries[name]
        arrays = entry.read_clip()
        if arrays is None:
            return False
        if node.rows and set(node.rows) <= set(arrays):  # as earlier versions stored it
            self._write_clip(name, arrays, Progress())
        elif node.rows and entry.missing(0, self.frame_count):
            return False
        else:
            self.clip_results[name] = arrays
        return True


class Runner:
    """Brings nodes up to date in a store."""

    def __init__(
        self,
        store: Store,
        reader: ClipReader,
        reporter: Reporter | None = None,
        means: Means | None = None,
    ):
        self.store = store
        self.reporter = reporter or Silent()
        self.work = Work(reader, means or Means())
        self.keys: dict[str, Key] = {}
        self._reports: dict[str, NodeReport] = {}
        self._kept: dict[str, bool] = {}
        self._after: dict[str, int] = {}  # frames behind a chunk that must be there before it

    @property
    def reports(self) -> list[NodeReport]:
        """Of the nodes that have run, in the order of the plan."""
        return [self._reports[name] for name in self.keys if name in self._reports]

    def key(self, node: Node) -> Key:
        """The cache key of a node whose needs have keys already."""
        digests: dict[str, list[str]] = {}
        for name in node.needs:
            digests.setdefault(self.keys[name].stage, []).append(self.keys[name].digest)
        inputs = {
            stage: found[0] if len(found) == 1 else fingerprint(found)
            for stage, found in digests.items()
        } | dict(node.inputs)
        if node.source:
            inputs["source"] = self.work.reader.clip.fingerprint
            if self.work.reader.reading:
                inputs["reading"] = fingerprint(self.work.reader.reading)
        stage = node.stage or node.name
        return Key(stage, node.version, dict(node.settings), inputs, dict(node.weights))

    def run(self, nodes: list[Node]) -> None:
        """Compute what is missing of every node; makers come before takers."""
        for node in nodes:
            self.keys[node.name] = self.key(node)
            unkept = [self._after[name] for name in node.needs if not self._kept[name]]
            self._kept[node.name] = node.kept
            self._after[node.name] = node.after + max(unkept, default=0)
        for together in passes(nodes):
            here = [self._sized(node) for node in together if node.kept or node.sink]
            for node in here:
                self.work.nodes[node.name] = node
                if node.kept:
                    self.work.entries[node.name] = self.store.open(self.keys[node.name])
            if here and here[0].whole:
                self._whole(here[0])
            elif here:
                self._pass(here)

    def _sized(self, node: Node) -> Node:
        """With a chunk as the clip's frames allow it."""
        if node.whole or node.chunk:
            return node
        clip = self.work.reader.clip
        return replace(node, chunk=self.work.means.at_once(clip.width, clip.height))

    def _report(self, node: Node, computed: int, total: int, seconds: float) -> None:
        report = self._reports[node.name] = NodeReport(node.name, computed, total, seconds)
        log.info("%s: %s (%s)", node.name, report.status, self.keys[node.name].folder)

    def _whole(self, node: Node) -> None:
        started, computed, of = time.perf_counter(), 0, 1
        if not self.work.has_clip(node.name):
            progress, computed = self.work.begun(node.name), 1
            if progress.rows:
                of = self.work.frame_count
                computed = of - progress.rows
            total = self.work.frame_count - progress.rows if node.steps is None else node.steps
            unit = "frame" if node.steps is None else "step"
            with self.reporter.stage(node.name, total, unit) as meter, ExitStack() as open_now:
                self.work.meter = meter
                self._work_at_once(open_now)
                self.work.make_clip(node.name, progress)
                meter(total)
        self._report(node, computed, of, time.perf_counter() - started)

    def _pass(self, nodes: list[Node]) -> None:
        """Compute what is missing of nodes of frames; makers come before takers."""
        work, count = self.work, self.work.frame_count
        todo: dict[str, deque[tuple[int, int]]] = {}
        for node in nodes:
            missing = work.entries[node.name].missing(0, count) if node.kept else [(0, count)]
            todo[node.name] = deque(_pieces(missing, node.chunk))
        totals = {n: sum(stop - start for start, stop in pieces) for n, pieces in todo.items()}
        seconds = dict.fromkeys(todo, 0.0)
        done = dict.fromkeys(todo, 0)
        active = [node for node in nodes if todo[node.name]]
        with ExitStack() as open_now:
            if active:
                self._begin(active, open_now)
            meters = {
                node.name: open_now.enter_context(
                    self.reporter.stage(node.name, totals[node.name], "frame")
                )
                for node in active
            }

            def step(index: int) -> None:
                node = active[index]
                name, (start, stop) = node.name, todo[node.name].popleft()
                for maker in range(index):
                    pieces = todo[active[maker].name]
                    while pieces and pieces[0][0] < stop + self._after[name]:
                        step(maker)
                started = time.perf_counter()
                work.meter = meters[name]
                arrays = node.compute(work, start, stop)
                if node.kept:
                    work.last[name] = start, arrays
                    work.store(work.entries[name].write, start, arrays, node.compress)
                done[name] += stop - start
                meters[name](done[name])
                seconds[name] += time.perf_counter() - started

            given_back = time.perf_counter()
            while left := [index for index, node in enumerate(active) if todo[node.name]]:
                # Who reaches least far is next, so that no frame is asked for late.
                step(min(left, key=lambda index: todo[active[index].name][0][1]))
                if time.perf_counter() - given_back > GIVE_BACK:
                    give_back_memory()
                    given_back = time.perf_counter()
        for node in nodes:
            self._report(node, totals[node.name], count, seconds[node.name])

    def _work_at_once(self, open_now: ExitStack) -> bool:
        """Let threads work on frames until `open_now` is closed, where the executor says so."""
        work, clip = self.work, self.work.reader.clip

        def end() -> None:
            work.at_once = map

        open_now.callback(end)
        overlapped = work.means.executor == "overlapped"
        if overlapped:
            work.at_once = open_now.enter_context(
                Workers(work.means.workers(clip.width, clip.height))
            )
        return overlapped

    def _begin(self, nodes: list[Node], open_now: ExitStack) -> None:
        """Set up what a pass reads from and writes to, until `open_now` is closed."""
        work, clip = self.work, self.work.reader.clip

        def end() -> None:
            work.source, work.store = None, Now()
            work.last.clear()

        open_now.callback(end)
        overlapped = self._work_at_once(open_now)
        if overlapped:
            work.store = open_now.enter_context(Behind("store", WAITING, finish=True))
        reading = [node for node in nodes if node.source]
        if reading:
            longest = max(node.chunk for node in reading)
            # How far a node may begin before the chunk in which another one has just been.
            early = max(n.before + (n.chunk if longest % n.chunk else 0) for n in reading)
            reach = early + longest + max(node.after for node in reading)
            kept = work.means.kept(clip.width, clip.height, reach)
            ahead = min(AHEAD, work.means.at_once(clip.width, clip.height)) if overlapped else 0
            work.source = open_now.enter_context(Window(work.reader, kept, ahead))


def _pieces(missing: list[tuple[int, int]], chunk: int) -> Iterator[tuple[int, int]]:
    """Missing ranges cut at multiples of `chunk`, so that a resumed run cuts as the first one."""
    for start, stop in missing:
        while start < stop:
            end = min(stop, (start // chunk + 1) * chunk)
            yield start, end
            start = end
