"""Runs nodes in order: what the cache has is reused, what is missing is computed chunk by chunk.

A killed run loses at most the chunk it was in. Memory holds a few frames, however many a chunk
has, and whole-clip results, which are small numbers per frame.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vidhair.cache import Entry, FramesMissing, Key, Store, fingerprint
from vidhair.flow.node import Arrays, Node, NodeReport
from vidhair.media import ClipReader

log = logging.getLogger(__name__)

HELD_BYTES, HELD_FRAMES = 128 << 20, 16  # of frames at a time, but one at least


def at_once(width: int, height: int) -> int:
    """How many frames of this size may be held at a time."""
    return min(max(1, HELD_BYTES // (3 * width * height)), HELD_FRAMES)


class Meter(Protocol):
    """Shows how far one stage is."""

    def __call__(self, done: float, note: str = "") -> None: ...


class Reporter(Protocol):
    """Told about every stage that computes something."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]: ...


class Silent:
    """A reporter that shows nothing."""

    def stage(self, name: str, total: int, unit: str) -> AbstractContextManager[Meter]:
        return nullcontext(lambda done, note="": None)


@dataclass
class Work:
    """What a node may use: the clip, results of the nodes it needs, a progress meter."""

    reader: ClipReader
    entries: dict[str, Entry] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    mended: dict[str, int] = field(default_factory=dict)
    clip_results: dict[str, Arrays] = field(default_factory=dict)
    meter: Meter = lambda done, note="": None

    @property
    def frame_count(self) -> int:
        return self.reader.clip.frame_count

    def frames(self, start: int, stop: int) -> np.ndarray:
        """uint8 [T, H, W, 3]."""
        return self.reader.read(start, stop)

    def per_frame(
        self, node: str, start: int, stop: int, names: tuple[str, ...] | None = None
    ) -> Arrays:
        """Results of a per-frame node, or only the named ones."""
        entry = self.entries[node]
        while True:
            try:
                return entry.read(start, stop, names)
            except FramesMissing:
                # Damage shows only in reading; the store then forgets the chunk: make it anew.
                for first, last in _pieces(entry.missing(start, stop), self.nodes[node].chunk):
                    entry.write(first, self.nodes[node].compute(self, first, last))
                    self.mended[node] = self.mended.get(node, 0) + last - first

    def per_clip(self, node: str) -> Arrays:
        """Results of a whole-clip node."""
        if node not in self.clip_results:
            arrays = self.entries[node].read_clip()
            if arrays is None:
                raise FramesMissing(f"{node} has no result for the clip")
            self.clip_results[node] = arrays
        return self.clip_results[node]


class Runner:
    """Brings nodes up to date in a store."""

    def __init__(self, store: Store, reader: ClipReader, reporter: Reporter | None = None):
        self.store = store
        self.reporter = reporter or Silent()
        self.work = Work(reader)
        self.keys: dict[str, Key] = {}
        self.reports: list[NodeReport] = []

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
        """Compute what is missing of every node, in the order given."""
        for node in nodes:
            key = self.keys[node.name] = self.key(node)
            if not node.kept:
                continue
            self.work.nodes[node.name] = node
            entry = self.work.entries[node.name] = self.store.open(key)
            started = time.perf_counter()
            computed = self._whole(node, entry) if node.whole else self._chunks(node, entry)
            total = 1 if node.whole else self.work.frame_count
            seconds = time.perf_counter() - started
            report = NodeReport(node.name, computed, total, seconds)
            self.reports.append(report)
            log.info("%s: %s (%s)", node.name, report.status, key.folder)

    def _whole(self, node: Node, entry: Entry) -> int:
        arrays = entry.read_clip()
        computed = 0
        if arrays is None:
            total = self.work.frame_count if node.steps is None else node.steps
            unit = "frame" if node.steps is None else "step"
            with self.reporter.stage(node.name, total, unit) as meter:
                self.work.meter = meter
                arrays = node.compute(self.work)
                meter(total)
            entry.write_clip(arrays)
            computed = 1
        self.work.clip_results[node.name] = arrays
        return computed

    def _chunks(self, node: Node, entry: Entry) -> int:
        pieces = list(_pieces(entry.missing(0, self.work.frame_count), node.chunk))
        if not pieces:
            return 0
        total = sum(stop - start for start, stop in pieces)
        with self.reporter.stage(node.name, total, "frame") as meter:
            self.work.meter = meter
            done = 0
            for start, stop in pieces:
                stop = min(stop, self.work.frame_count)
                entry.write(start, node.compute(self.work, start, stop))
                done += stop - start
                meter(done)
        return total


def _pieces(missing: list[tuple[int, int]], chunk: int) -> Iterator[tuple[int, int]]:
    """Missing ranges cut at multiples of `chunk`, so that a resumed run cuts as the first one."""
    for start, stop in missing:
        while start < stop:
            end = min(stop, (start // chunk + 1) * chunk)
            yield start, end
            start = end
