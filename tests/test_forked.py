"""What a process that was forked can do: everything if its parent had only imported vidhair."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import multiprocessing, sys
import torch
import vidhair
from vidhair.errors import VidhairError
from vidhair.kernels import use_threads
from vidhair.ops.filtered_lrelu import filtered_lrelu

def kernel():
    x = torch.randn(1, 8, 64, 64)
    with torch.inference_mode():
        return list(filtered_lrelu(x, up=2, down=2, fu=torch.ones(4), fd=torch.ones(4)).shape)

def edit():
    return vidhair.edit_video(sys.argv[2], "bald", sys.argv[3], pack="no such pack")

def told(call):
    try:
        return call()
    except VidhairError as error:
        return f"{type(error).__name__}: {error}"

use_threads(2)
if sys.argv[1] == "computed":
    kernel()
with multiprocessing.get_context("fork").Pool(1) as pool:
    for call in (kernel, edit):
        print(pool.apply_async(told, [call]).get(40), flush=True)
"""


def forked(after: str, folder: Path) -> list[str]:
    (folder / "a.mp4").touch()
    command = [sys.executable, "-c", CODE, after, str(folder / "a.mp4"), str(folder / "b.mp4")]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("call", [0, 1], ids=["kernel", "edit"])
def test_a_fork_after_computing_is_told_of_spawn(tmp_path: Path, call: int) -> None:
    told = forked("computed", tmp_path)[call]
    assert told.startswith("ForkedTooLate") and "spawn" in told


def test_a_fork_after_an_import_computes(tmp_path: Path) -> None:
    shape, edit = forked("imported", tmp_path)
    assert shape.startswith("[1, 8, ") and edit.startswith("PackNotFound")
