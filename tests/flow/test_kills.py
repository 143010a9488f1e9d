"""Runs that are killed, again and again, and end as if nothing had been."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import small
from tests.flow.in_fives import in_fives

# Forks, for each line that it is sent, a process that edits and is killed: what all of them import
# is imported once. Nothing is computed before a fork.
KILLED = """
import json, os, signal, sys, threading
from contextlib import contextmanager
from pathlib import Path
from vidhair.process import prepare_process
prepare_process()
import torch
torch.set_num_threads(1)
from tests import small
from tests.flow.in_fives import in_fives

class Kills:
    '''Kills the process a moment after it has been told something for the nth time.'''

    def __init__(self, after, delay, log):
        self.left, self.delay, self.log = after, delay, log

    @contextmanager
    def stage(self, name, total, unit):
        def hear(done, note=""):
            print(name, file=self.log, flush=True)
            self.left -= 1
            if self.left == 0:
                threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

        yield hear

def edit(source, pack, cache, target, log, after, delay):
    small.clip = lambda: Path(source)
    small.pack_folder = lambda: Path(pack)
    with in_fives(), open(log, "w") as told:
        small.edit(Path(target), Path(cache), reporter=Kills(after, delay, told))

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.alarm(300)
        edit(*json.loads(line))
        os._exit(0)
    _, ended = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(ended), flush=True)
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[Path, Path, int, float], tuple[int, list[str]]]]:
    """(cache, target, after, delay) → (exit code, stages that were told of until then)."""
    log, errors = tmp_path / "log", tmp_path / "errors"
    with errors.open("w") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-c", KILLED],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

        def edit(cache: Path, target: Path, after: int, delay: float) -> tuple[int, list[str]]:
            assert server.stdin is not None and server.stdout is not None
            paths = [small.clip(), small.pack_folder(), cache, target, log]
            server.stdin.write(json.dumps([*map(str, paths), after, delay]) + "\n")
            server.stdin.flush()
            code = int(server.stdout.readline())
            assert code in (0, -signal.SIGKILL), errors.read_text()
            return code, log.read_text().split()

        yield edit
        server.communicate(timeout=60)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")  # as in the processes that are killed
def test_twenty_kills_at_random_leave_a_run_that_ends_the_same(
    tmp_path: Path, run: Callable[[Path, Path, int, float], tuple[int, list[str]]]
) -> None:
    """In any stage, composing and encoding included."""
    chance = np.random.default_rng(3)
    whole, early, late = (tmp_path / name for name in ("whole", "early", "late"))
    target = tmp_path / "a.mp4"
    with in_fives():
        want = small.edit(tmp_path / "want.mp4", whole).path.read_bytes()
    small.forget(whole, "edited", "changes")

    def told(cache: Path, after: int, delay: float) -> list[str]:
        """Of which stages, until the run was killed or done."""
        code, stages = run(cache, target, after, delay)
        assert target.exists() or code != 0
        if target.exists():  # whole, if it was killed just after
            assert target.read_bytes() == want
            target.unlink()
        return stages

    reached = []
    for kill in range(20):
        if kill % 2:  # at the end, which takes least time
            shutil.rmtree(late, ignore_errors=True)
            shutil.copytree(whole, late)
        cache, least = (late, 9) if kill % 2 else (early, 30)
        reached += told(cache, int(chance.integers(1, least)), float(chance.uniform(0, 0.02)))[-1:]
    # What was told of last was done: "edited" where composing was killed.
    assert {"edited", "encode"} <= set(reached) and len(set(reached)) > 3, reached
    assert told(early, 0, 0)[-1] == "encode"
    assert [p.name for p in tmp_path.glob(".*")] == [], "what killed runs left is cleared away"
