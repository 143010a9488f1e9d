"""The high-water mark of this process, and of a pretended one."""

import os
from pathlib import Path

import numpy as np
import pytest

from vidhair.bench.memory import Peak, PeakMemory

MB = 2**20


def test_a_block_of_memory_shows_although_it_is_gone() -> None:
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not tell")
    memory = PeakMemory()
    memory.start()
    block = np.ones(64 * MB, np.uint8)
    del block
    first = memory.stop()
    memory.start()
    second = memory.stop()
    assert first is not None and second is not None
    # Linux counts a few pages per thread late.
    assert 60 * MB < first.above < 96 * MB
    assert second.above < 32 * MB, "the earlier mark is forgotten"
    assert second.total < first.total


def test_the_marks_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  100 kB\nVmRSS:\t   90 kB\n")
    memory = PeakMemory(process=tmp_path)
    memory.start()
    assert (tmp_path / "clear_refs").read_text() == "5"
    (tmp_path / "status").write_text("VmHWM:\t  250 kB\n")
    assert memory.stop() == Peak(250 * 1024, 150 * 1024)


def test_where_the_system_does_not_tell_there_is_no_peak(tmp_path: Path) -> None:
    memory = PeakMemory(process=tmp_path / "absent")
    memory.start()
    assert memory.stop() is None
