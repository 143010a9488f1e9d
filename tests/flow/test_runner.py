"""The runner with made-up nodes: what runs, on which frames, and under which keys."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vidhair.cache import DiskStore, FramesMissing, MemoryStore, Store, fingerprint
from vidhair.flow import runner as module
from vidhair.flow.node import Node
from vidhair.flow.runner import EXECUTORS, WORKED_ON, Means, Runner, Work

FRAMES = 20
SOURCE = fingerprint("clip")
WEIGHTS = fingerprint("weights")


def a_reader(digest: str = SOURCE, frames: int = FRAMES) -> Any:
    """Frames that are all of the value of their number."""

    def read(start: int, stop: int) -> NDArray[Any]:
        return np.arange(start, stop, dtype=np.uint8)[:, None, None, None].repeat(3, 3)

    return SimpleNamespace(
        clip=SimpleNamespace(
            fingerprint=digest, frame_count=frames, width=1, height=1, alpha=False
        ),
        read=read,
        keep=lambda count=16: None,
        reading="",
    )


class Flow:
    """numbers (per frame, from the clip) → mean (per clip) → moved (per frame)."""

    def __init__(self, *, fail_at: int | None = None, shift: float = 0.0, version: int = 1) -> None:
        self.calls: list[tuple[str, int, int]] = []
        self.fail_at = fail_at
        self.shift, self.version = shift, version

    def numbers(self, work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
        self.calls.append(("numbers", start, stop))
        if self.fail_at is not None and start >= self.fail_at:
            raise KeyboardInterrupt
        return {"value": work.frames(start, stop)[:, 0, 0, 0].astype(float)}

    def mean(self, work: Work) -> dict[str, NDArray[Any]]:
        self.calls.append(("mean", 0, work.frame_count))
        work.meter(1, "nearly")
        return {"mean": work.per_frame("numbers", 0, work.frame_count)["value"].mean()[None]}

    def moved(self, work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
        self.calls.append(("moved", start, stop))
        values = work.per_frame("numbers", start, stop)["value"]
        return {"value": values - work.per_clip("mean")["mean"] + self.shift}

    def nodes(self) -> list[Node]:
        return [
            Node("numbers", self.version, self.numbers, source=True, chunk=8),
            Node("mean", 1, self.mean, needs=("numbers",), whole=True, steps=3),
            Node(
                "moved", 1, self.moved, {"shift": self.shift}, ("numbers", "mean"),
                {"generator": WEIGHTS}, chunk=8,
            ),
        ]  # fmt: skip

    def run(
        self, store: MemoryStore, reader: Any = None, reporter: "Listener | None" = None
    ) -> Runner:
        runner = Runner(store, reader or a_reader(), reporter)
        runner.run(self.nodes())
        return runner


class Listener:
    """Writes down what a reporter is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Callable[..., Any]]:
        self.heard.append((name, total, unit))
        yield lambda done, note="": self.heard.append((name, done, note))


def statuses(runner: Runner) -> dict[str, str]:
    return {report.name: report.status for report in runner.reports}


def values(runner: Runner) -> NDArray[Any]:
    return runner.work.per_frame("moved", 0, runner.work.frame_count)["value"]


@pytest.mark.parametrize(("seconds", "times"), [(-1.0, 3 + 3), (100.0, 0)])
def test_freed_memory_is_given_back_now_and_then(
    monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    """After every piece of the two passes, where no time at all has to pass between."""
    calls: list[None] = []
    monkeypatch.setattr(module, "give_back_memory", lambda: calls.append(None))
    monkeypatch.setattr(module, "GIVE_BACK", seconds)
    Flow().run(MemoryStore())
    assert len(calls) == times


def test_results_reach_the_nodes_that_need_them() -> None:
    runner = Flow(shift=2).run(MemoryStore())
    np.testing.assert_allclose(values(runner), np.arange(FRAMES) - 9.5 + 2)


def test_per_frame_nodes_run_in_chunks_and_whole_ones_once() -> None:
    flow = Flow()
    flow.run(MemoryStore())
    assert flow.calls == [
        ("numbers", 0, 8), ("numbers", 8, 16), ("numbers", 16, 20), ("mean", 0, 20),
        ("moved", 0, 8), ("moved", 8, 16), ("moved", 16, 20),
    ]  # fmt: skip


def test_a_second_run_computes_nothing() -> None:
    store, again = MemoryStore(), Flow()
    first = Flow().run(store)
    second = again.run(store)
    assert again.calls == []
    assert statuses(first) == dict.fromkeys(("numbers", "mean", "moved"), "computed")
    assert statuses(second) == dict.fromkeys(("numbers", "mean", "moved"), "reused")
    np.testing.assert_array_equal(values(first), values(second))


def test_a_setting_recomputes_only_what_follows() -> None:
    store, other = MemoryStore(), Flow(shift=1)
    Flow().run(store)
    assert statuses(other.run(store)) == {
        "numbers": "reused",
        "mean": "reused",
        "moved": "computed",
    }
    back = Flow()
    back.run(store)
    assert back.calls == []


def test_a_version_recomputes_all_that_follows() -> None:
    store, newer = MemoryStore(), Flow(version=2)
    Flow().run(store)
    assert set(statuses(newer.run(store)).values()) == {"computed"}


def test_another_clip_shares_nothing() -> None:
    store, other = MemoryStore(), Flow()
    Flow().run(store)
    runner = other.run(store, a_reader(fingerprint("another clip")))
    assert set(statuses(runner).values()) == {"computed"}


def test_an_interrupted_node_goes_on_at_its_chunk() -> None:
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt):
        Flow(fail_at=16).run(store)
    again = Flow()
    runner = again.run(store)
    assert again.calls[0] == ("numbers", 16, 20) and again.calls[1][0] == "mean"
    report = runner.reports[0]
    assert (report.computed, report.total, report.status) == (4, FRAMES, "resumed")
    np.testing.assert_array_equal(values(runner), values(Flow().run(MemoryStore())))


def test_a_resumed_node_keeps_the_cuts_between_chunks() -> None:
    """Wherever frames are missing: chunks are what the tracker's warm-up depends on."""
    store, again = MemoryStore(), Flow()
    node = again.nodes()[0]
    entry = store.open(Runner(store, a_reader()).key(node))
    entry.write(2, {"value": np.arange(2.0, 11.0)})
    again.run(store)
    assert [call for call in again.calls if call[0] == "numbers"] == [
        ("numbers", 0, 2), ("numbers", 11, 16), ("numbers", 16, 20),
    ]  # fmt: skip


def test_the_reporter_hears_of_nodes_that_compute_and_of_no_others() -> None:
    store, first, second = MemoryStore(), Listener(), Listener()
    Flow().run(store, reporter=first)
    assert [h for h in first.heard if h[2] in ("frame", "step")] == [
        ("numbers", 20, "frame"), ("mean", 3, "step"), ("moved", 20, "frame"),
    ]  # fmt: skip
    assert [h[1] for h in first.heard if h[0] == "moved" and h[2] == ""] == [8, 16, 20]
    assert ("mean", 1, "nearly") in first.heard
    Flow().run(store, reporter=second)
    assert second.heard == []


def test_the_reporter_of_a_resumed_node_counts_what_is_left() -> None:
    store, listener = MemoryStore(), Listener()
    with pytest.raises(KeyboardInterrupt):
        Flow(fail_at=8).run(store)
    Flow().run(store, reporter=listener)
    assert listener.heard[:3] == [("numbers", 12, "frame"), ("numbers", 8, ""), ("numbers", 12, "")]


def test_a_key_names_all_that_a_node_depends_on() -> None:
    runner = Runner(MemoryStore(), a_reader())
    runner.keys["mean"] = runner.key(Node("mean", 1, dict))
    node = Node("moved", 1, dict, {"shift": 1}, ("mean",), {"generator": WEIGHTS})
    key = runner.key(node)
    assert dict(key.inputs) == {"mean": runner.keys["mean"].digest}
    for changed in (
        replace(node, name="other"),
        replace(node, version=2),
        replace(node, settings={"shift": 1.0}),
        replace(node, settings={"shift": 1, "more": 0}),
        replace(node, needs=()),
        replace(node, weights={"generator": SOURCE}),
        replace(node, weights={"encoder": WEIGHTS}),
        replace(node, source=True),
    ):
        assert runner.key(changed).digest != key.digest
    for same in (
        replace(node, chunk=3),
        replace(node, steps=9),
        replace(node, resumes=True),
        replace(node, compute=Ramp().compute),
    ):
        assert runner.key(same).digest == key.digest


def test_a_result_that_is_asked_for_too_early() -> None:
    runner = Flow().run(MemoryStore())
    late = Node("late", 1, dict, whole=True)
    runner.work.entries["late"] = runner.store.open(runner.key(late))
    with pytest.raises(FramesMissing, match="late has no result"):
        runner.work.per_clip("late")


def test_a_clip_of_one_frame() -> None:
    runner = Flow().run(MemoryStore(), a_reader(frames=1))
    assert values(runner).tolist() == [0]


@pytest.mark.parametrize(
    ("size", "count"), [((640, 360), 16), ((1920, 1080), 16), ((3840, 2160), 5), ((20000, 9000), 1)]
)
def test_fewer_frames_are_held_the_larger_they_are(size: tuple[int, int], count: int) -> None:
    assert Means().at_once(*size) == count


class Ramp:
    """A node that runs once and makes a number per frame, and one that does not depend on them."""

    def __init__(self) -> None:
        self.made = 0

    def compute(self, work: Work) -> dict[str, NDArray[Any]]:
        self.made += 1
        return {"value": np.arange(work.frame_count), "mean": np.array(9.5)}

    @property
    def node(self) -> Node:
        return Node("ramp", 1, self.compute, whole=True, source=True, rows=("value",))

    def run(self, store: MemoryStore) -> Runner:
        runner = Runner(store, a_reader(frames=1300))
        runner.run([self.node])
        return runner


def test_what_is_made_once_but_for_every_frame_is_read_by_range() -> None:
    store = MemoryStore()
    work = Ramp().run(store).work
    assert work.per_frame("ramp", 700, 703)["value"].tolist() == [700, 701, 702]
    assert list(work.per_clip("ramp")) == ["mean"]
    entry: Any = work.entries["ramp"]
    assert max(len(p["value"]) for p in entry.parts.values() if "value" in p) < 600


def test_what_earlier_versions_stored_in_one_piece_is_used() -> None:
    store, now = MemoryStore(), Ramp()
    entry = store.open(Runner(store, a_reader(frames=1300)).key(now.node))
    entry.write_clip({"value": np.arange(1300), "mean": np.array(9.5)})
    work = now.run(store).work
    assert now.made == 0
    assert work.per_frame("ramp", 700, 703)["value"].tolist() == [700, 701, 702]


def test_what_is_made_bit_by_bit_is_read_as_if_it_had_been_made_at_once() -> None:
    def compute(work: Work) -> Iterator[dict[str, NDArray[Any]]]:
        for start in range(0, work.frame_count, 300):
            stop = min(start + 300, work.frame_count)
            yield {"value": np.arange(start, stop), "mean": np.array(9.5)}

    store = MemoryStore()
    runner = Runner(store, a_reader(frames=1300))
    runner.run([replace(Ramp().node, compute=compute)])
    work = runner.work
    assert work.per_frame("ramp", 0, 1300)["value"].tolist() == list(range(1300))
    assert {k: float(v) for k, v in work.per_clip("ramp").items()} == {"mean": 9.5}
    assert Ramp().run(store).work.per_frame("ramp", 299, 301)["value"].tolist() == [299, 300]


class Sums:
    """A node that makes sums of all frames up to each, four at a time, and goes on from the last.

    stop: how many frames are made before it is killed. made: numbers of the frames.
    """

    def __init__(self, stop: int = FRAMES) -> None:
        self.stop = stop
        self.made: list[int] = []

    def compute(self, work: Work) -> Iterator[dict[str, NDArray[Any]]]:
        progress = work.progress
        total = progress.state.get("total", np.zeros(2))
        for start in range(progress.rows, work.frame_count, 4):
            sums = []
            for number in range(start, start + 4):
                if number == self.stop:
                    raise KeyboardInterrupt
                self.made.append(number)
                total = total / 3 + number  # such that rounding it is seen
                sums.append(total)
            progress.reached(start + 4, {"total": total})
            yield {"sum": np.stack(sums), "count": np.array(work.frame_count)}

    def run(self, store: Store, **changes: Any) -> Runner:
        node = Node("sums", 1, self.compute, whole=True, source=True, rows=("sum",), resumes=True)
        runner = Runner(store, a_reader(), changes.pop("reporter", None))
        runner.run([replace(node, **changes)])
        return runner

    def result(self, store: Store) -> NDArray[Any]:
        return self.run(store).work.per_frame("sums", 0, FRAMES)["sum"]


class TestGoingOn:
    """A node that remembers, killed and run again."""

    @pytest.fixture(autouse=True)
    def every_eight(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "STATE_AFTER", 8)

    @pytest.mark.parametrize("stop", range(FRAMES))
    def test_wherever_it_was_killed(self, tmp_path: Path, stop: int) -> None:
        with pytest.raises(KeyboardInterrupt):
            Sums(stop).run(DiskStore(tmp_path))
        again = Sums()
        got = again.result(DiskStore(tmp_path))
        assert got.tobytes() == Sums().result(MemoryStore()).tobytes()
        assert again.made == list(range(stop // 8 * 8, FRAMES))
        assert Sums().run(DiskStore(tmp_path)).work.per_clip("sums")["count"] == FRAMES
        assert not list(tmp_path.glob("*/state.safetensors"))

    def test_killed_again_and_again(self, tmp_path: Path) -> None:
        for stop in (13, 9, 17, 19):
            with pytest.raises(KeyboardInterrupt):
                Sums(stop).run(DiskStore(tmp_path))
        again = Sums()
        want = Sums().result(MemoryStore())
        assert again.result(DiskStore(tmp_path)).tobytes() == want.tobytes()
        assert again.made == list(range(16, FRAMES))

    def test_what_is_left_is_told_of(self) -> None:
        store, listener = MemoryStore(), Listener()
        with pytest.raises(KeyboardInterrupt):
            Sums(11).run(store)
        (report,) = Sums().run(store, reporter=listener).reports
        assert (report.computed, report.total, report.status) == (12, FRAMES, "resumed")
        assert listener.heard == [("sums", 12, "frame"), ("sums", 12, "")]

    def test_until_it_is_done_nobody_else_reads_it_as_done(self) -> None:
        store = MemoryStore()
        with pytest.raises(KeyboardInterrupt):
            Sums(19).run(store)
        runner = Runner(store, a_reader())
        node = Node("sums", 1, dict, whole=True, source=True, rows=("sum",), resumes=True)
        runner.work.nodes["sums"] = node
        runner.work.entries["sums"] = store.open(runner.key(node))
        assert not runner.work.has_clip("sums")
        with pytest.raises(FramesMissing):
            runner.work.per_clip("sums")

    @pytest.mark.parametrize("name", ["state", "00000000-00000004", "00000004-00000008"])
    def test_what_is_damaged_begins_anew(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(KeyboardInterrupt):
            Sums(14).run(DiskStore(tmp_path))
        (path,) = tmp_path.glob(f"*/{name}.safetensors")
        path.write_bytes(path.read_bytes()[:-3])
        again = Sums()
        want = Sums().result(MemoryStore())
        assert again.result(DiskStore(tmp_path)).tobytes() == want.tobytes()
        assert again.made == list(range(FRAMES))

    def test_damage_that_shows_in_reading_is_mended(self, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            Sums(14).run(DiskStore(tmp_path))
        (path,) = tmp_path.glob("*/00000004-00000008.safetensors")
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
        want = Sums().result(MemoryStore())
        assert Sums().result(DiskStore(tmp_path)).tobytes() == want.tobytes()

    def test_a_node_that_does_not_go_on_is_not_told(self) -> None:
        store = MemoryStore()
        with pytest.raises(KeyboardInterrupt):
            Sums(14).run(store)
        again = Sums()
        again.run(store, resumes=False)
        assert again.made == list(range(FRAMES))


def test_half_of_it_is_none() -> None:
    store, again = MemoryStore(), Ramp()
    entry: Any = Ramp().run(store).work.entries["ramp"]
    del entry.parts[512, 1024]
    again.run(store)
    assert again.made == 1


def test_a_node_that_looks_ahead_waits_for_what_it_sees() -> None:
    """Its maker is asked for whole chunks and for none twice."""
    calls: list[tuple[str, int, int]] = []

    def first(work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
        calls.append(("first", start, stop))
        return {"value": np.arange(start, stop)}

    def second(work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
        calls.append(("second", start, stop))
        late = min(stop + 2, FRAMES)
        return {"value": work.per_frame("first", start, late)["value"][: stop - start]}

    runner = Runner(MemoryStore(), a_reader())
    nodes = [
        Node("first", 1, first, chunk=8),
        Node("second", 1, second, needs=("first",), chunk=4, after=2),
    ]
    runner.run(nodes)
    assert runner.work.per_frame("second", 0, FRAMES)["value"].tolist() == list(range(FRAMES))
    assert [c for c in calls if c[0] == "first"] == [
        ("first", 0, 8), ("first", 8, 16), ("first", 16, 20),
    ]  # fmt: skip
    assert calls.index(("second", 4, 8)) > calls.index(("first", 8, 16))
    assert calls.index(("second", 0, 4)) < calls.index(("first", 16, 20))


def test_a_sink_runs_on_every_frame_and_leaves_nothing() -> None:
    store, taken = MemoryStore(), []

    def take(work: Work, start: int, stop: int) -> dict[Any, Any]:
        taken.append(work.per_frame("numbers", start, stop)["value"].tolist())
        return {}

    for _ in range(2):
        sink = Node("out", 1, take, needs=("numbers",), chunk=8, kept=False, sink=True)
        runner = Runner(store, a_reader())
        runner.run([Flow().nodes()[0], sink])
        assert statuses(runner)["out"] == "computed"
    assert np.concatenate(taken[:3]).tolist() == list(range(FRAMES)) and taken[:3] == taken[3:]
    assert {entry.folder.split("-")[0] for entry in store.entries()} == {"numbers"}


def test_what_is_held_at_a_time_follows_the_memory() -> None:
    uhd, small = (3840, 2160), (640, 360)
    for means in (Means(memory=512 << 20), Means(), Means(memory=64 << 30)):
        for size in (uhd, small):
            frame, held = 3 * size[0] * size[1], means.kept(*size, 80)
            assert means.at_once(*size) == 1 or means.at_once(*size) * frame <= means.memory / 32
            assert held == 1 or (held + 8) * frame <= means.memory / 2
    assert Means().kept(*uhd, 80) > 64 and Means().kept(*small, 80) == 80
    assert Means(memory=64 << 30).at_once(*uhd) == 16


@pytest.mark.parametrize("memory", [512 << 20, 4 << 30, 64 << 30])
def test_frames_that_are_worked_on_take_a_share_of_the_memory(memory: int) -> None:
    means = Means(memory=memory)
    for width, height in ((640, 360), (1920, 1080), (3840, 2160)):
        count = means.workers(width, height)
        taken = count * WORKED_ON * 3 * width * height
        assert count == 1 or memory / 8 < taken <= memory / 4
    assert Means().workers(1920, 1080) > 4 > 1 == Means(memory=512 << 20).workers(1920, 1080)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_stages_make_several_frames_at_once_unless_they_are_made_in_order(executor: str) -> None:
    def compute(work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
        where = work.at_once(lambda _: threading.current_thread().name, range(start, stop))
        here = threading.current_thread().name
        return {"beside": np.array([name != here for name in where])}

    runner = Runner(MemoryStore(), a_reader(), means=Means(executor=executor))
    threads, alive = torch.get_num_threads(), threading.active_count()
    torch.set_num_threads(2)
    runner.run([Node("where", 1, compute)])
    torch.set_num_threads(threads)
    beside = runner.work.per_frame("where", 0, FRAMES)["beside"]
    assert set(beside.tolist()) == {executor == "overlapped"}
    assert runner.work.at_once is map and threading.active_count() == alive


@pytest.mark.parametrize("executor", EXECUTORS)
def test_nodes_of_different_chunks_share_a_decoding(executor: str) -> None:
    decoded: list[int] = []
    reader = a_reader(frames=150)
    read = reader.read

    def counted(start: int, stop: int) -> NDArray[Any]:
        decoded.extend(range(start, stop))
        return read(start, stop)

    def node(name: str, chunk: int, before: int, after: int) -> Node:
        def compute(work: Work, start: int, stop: int) -> dict[str, NDArray[Any]]:
            early, late = max(0, start - before), min(150, stop + after)
            pixels = work.frames(early, late)[start - early : stop - early]
            return {"value": pixels[:, 0, 0, 0]}

        return Node(name, 1, compute, source=True, chunk=chunk, before=before, after=after)

    reader.read = counted
    runner = Runner(MemoryStore(), reader, means=Means(executor=executor))
    nodes = [node("a", 64, 2, 0), node("b", 32, 0, 0), node("c", 5, 2, 2)]
    runner.run(nodes)
    assert decoded == list(range(150))
    for one in nodes:
        assert runner.work.per_frame(one.name, 0, 150)["value"].tolist() == list(range(150))
