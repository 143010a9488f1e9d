"""Every instruction set below this processor's widest, with which all other tests run.

Ours, torch's, oneDNN's and MKL's code is forced down, in processes of their own.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import pytest

from vidhair.errors import DeviceUnavailable
from vidhair.kernels.simd import LEVELS, SWITCH, limited

ROOT = Path(__file__).parents[2]
HOST = llvm.get_host_cpu_features()
THEIRS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
    "sse": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
}
BELOW = {"avx2": "avx512", "sse": "avx2"}  # → what a processor has if that is not its widest
TESTS = (
    "test_simd.py",
    "test_gemm.py",
    "test_filtered_lrelu.py::TestContract::test_layouts_of_the_upstream_gradient",
    "test_filtered_lrelu.py::TestContract::test_large_values_are_clamped_and_stop_the_gradient",
    "test_modulated_conv.py::test_inputs_of_other_memory_layouts",
    "test_modulated_conv.py::test_strips_join_without_a_seam",
    "test_strided_conv.py::test_strips_join_without_a_seam",
    "each_level.py",
    "test_arm.py",
)


@pytest.fixture(scope="module")
def started(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[subprocess.Popen[Any], Path]]]:
    """The tests with every level, side by side."""
    running = {}
    for level, above in BELOW.items():
        if HOST.get(LEVELS[above]):
            log = tmp_path_factory.mktemp(level) / "log"
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs"]
            environment = os.environ | THEIRS[level] | {SWITCH: level, "OMP_NUM_THREADS": "2"}
            environment.pop("VIDHAIR_IMPL", None)
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [*command, *(f"tests/kernels/{test}" for test in TESTS)],
                    cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
                )  # fmt: skip
            running[level] = process, log
    yield running
    for process, _ in running.values():
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("level", BELOW)
def test_kernels_pictures_and_a_run(started: Any, level: Any) -> None:
    if level not in started:
        pytest.skip(f"this processor's widest is {level}, or another architecture's")
    process, log = started[level]
    status = process.wait()
    text = log.read_text()
    print(text[-6000:])
    assert status == 0 and " passed" in text
    skipped = [line for line in text.splitlines() if line.startswith("SKIPPED")]
    assert all("four lanes" in line for line in skipped), skipped


AVX512 = {"avx512f": True, "avx512bf16": True, "avx2": True, "fma": True, "sse2": True}


@pytest.mark.parametrize(
    ("level", "kept"),
    [("avx512", set(AVX512)), ("avx2", {"avx2", "fma", "sse2"}), ("sse", {"sse2"})],
)
def test_a_level_leaves_out_what_is_above_it(level: str, kept: Any) -> None:
    features = limited(level, AVX512 | {"bmi": False})
    assert features.keys() == {*AVX512, "bmi"}
    assert {name for name, on in features.items() if on} == kept


@pytest.mark.parametrize(
    ("level", "has", "says"),
    [
        ("neon", AVX512, "VIDHAIR_SIMD=neon is unknown; choose from avx512, avx2, sse"),
        ("avx512", {"avx2": True, "sse2": True}, "does not have that; choose from avx2, sse"),
        ("sse", {"neon": True}, "VIDHAIR_SIMD=sse: this processor does not have that; unset it"),
    ],
)
def test_a_level_that_is_not_there_is_refused(level: str, has: Any, says: str) -> None:
    with pytest.raises(DeviceUnavailable, match=says):
        limited(level, has)


def test_what_numba_is_told_by_its_own_variables_holds_too() -> None:
    """Else vectors would be wider than the code may be, and pairs would stop the compiler."""
    code = "from vidhair.kernels.simd import HAS_PAIRS, LANES; print(LANES, HAS_PAIRS)"
    environment = os.environ | {"NUMBA_CPU_NAME": "generic"}
    environment.pop(SWITCH, None)
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert shown.stdout.split() == ["4", "False"]
