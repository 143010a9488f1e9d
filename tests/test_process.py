import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidhair.process import WISHES, give_back_memory, prepare_process

CLEAN = {name: value for name, value in os.environ.items() if name not in WISHES}


def test_importing_changes_nothing_in_the_process() -> None:
    code = (
        "import os, importlib; before = dict(os.environ); import vidhair, vidhair.cli; "
        "names = ['vidhair.flow.edit_video', 'vidhair.kernels', 'vidhair.training.pack']; "
        "[importlib.import_module(name) for name in names]; "
        "assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())"
    )
    subprocess.run([sys.executable, "-c", code], env=CLEAN, check=True)


def test_the_command_line_prepares_it_before_torch_is_there() -> None:
    code = (
        "import os, sys; from vidhair.cli import main; assert 'torch' not in sys.modules; "
        "main(['explain', 'bald', '--json']); "
        f"assert all(os.environ[n] == v for n, v in {WISHES!r}.items())"
    )
    subprocess.run([sys.executable, "-c", code], env=CLEAN, check=True, capture_output=True)


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "active"


def test_too_late_is_said_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch  # noqa: F401

    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("THP_MEM_ALLOC_ENABLE", "1")
    with caplog.at_level("INFO", logger="vidhair.process"):
        prepare_process()
    assert "OMP_WAIT_POLICY may have no effect" in caplog.text


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc"
)
def test_freed_memory_goes_back_to_the_system() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    blocks = [bytearray(os.urandom(1) * 50_000) for _ in range(2_000)]
    last = blocks[-1]  # lies above the others, so that they stay the allocator's
    del blocks
    before = resident()
    give_back_memory()
    assert resident() < before - 50_000_000 and len(last) == 50_000
