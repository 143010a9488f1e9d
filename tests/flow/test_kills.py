"""Runs that are killed, again and again, and end as if nothing had been."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import small
from tests.flow.in_fives import in_fives

KILLED = """
import os, random, signal, sys, threading
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

    def __init__(self, after, delay):
        self.left, self.delay = after, delay

    @contextmanager
    def stage(self, name, total, unit):
        def hear(done, note=""):
            print(name, flush=True)
            self.left -= 1
            if self.left == 0:
                threading.Timer(self.delay, os.kill, (os.getpid(), signal.SIGKILL)).start()

        yield hear

source, pack, cache, target, after, delay = sys.argv[1:]
small.clip = lambda: Path(source)
small.pack_folder = lambda: Path(pack)
with in_fives():
    small.edit(Path(target), Path(cache), reporter=Kills(int(after), float(delay)))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")  # as in the processes that are killed
def test_twenty_kills_at_random_leave_a_run_that_ends_the_same(tmp_path: Path) -> None:
    """In any stage, composing and encoding included."""
    chance = np.random.default_rng(3)
    whole, early, late = (tmp_path / name for name in ("whole", "early", "late"))
    target = tmp_path / "a.mp4"
    with in_fives():
        want = small.edit(tmp_path / "want.mp4", whole).path.read_bytes()
    small.forget(whole, "edited", "changes")

    def run(cache: Path, after: int, delay: float) -> list[str]:
        """Stages that were told of, until the run was killed or done."""
        paths = [small.clip(), small.pack_folder(), cache, target]
        command = [sys.executable, "-c", KILLED, *map(str, paths), str(after), str(delay)]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=300
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        assert target.exists() or done.returncode != 0
        if target.exists():  # whole, if it was killed just after
            assert target.read_bytes() == want
            target.unlink()
        return done.stdout.split()

    reached = []
    for kill in range(20):
        if kill % 2:  # at the end, which takes least time
            shutil.rmtree(late, ignore_errors=True)
            shutil.copytree(whole, late)
        cache, least = (late, 9) if kill % 2 else (early, 30)
        reached += run(cache, int(chance.integers(1, least)), float(chance.uniform(0, 0.02)))[-1:]
    # What was told of last was done: "edited" where composing was killed.
    assert {"edited", "encode"} <= set(reached) and len(set(reached)) > 3, reached
    assert run(early, 0, 0)[-1] == "encode"
    assert [p.name for p in tmp_path.glob(".*")] == [], "what killed runs left is cleared away"
