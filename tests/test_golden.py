"""The golden cases, and the command that runs them."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SHARED
from tests.golden import adapters  # noqa: F401  (registers the adapters)
from tests.golden.__main__ import main
from tests.golden.runner import ADAPTERS, Case, cases, find_adapter, run

ROOT = Path(__file__).parents[1]
GOLDEN = SHARED / "golden"
LARGE = 50_000_000  # parameters that are drawn, compared and gone in a few seconds


def parameters(case: Case) -> int:
    models = case.spec.get("models") or {}
    return sum(math.prod(p["shape"]) for model in models.values() for p in model["params"])


CHECKED = [
    pytest.param(case.name, marks=pytest.mark.slow if parameters(case) > LARGE else ())
    for case in cases(GOLDEN)
    if find_adapter(case.name)
]


@pytest.mark.usefixtures("memory_released")
@pytest.mark.parametrize("name", CHECKED or ["every case"])
def test_agrees_with_the_official_implementation(name: str, shared: Callable[..., Any]) -> None:
    report = run(Case(shared("golden"), name))
    assert report.passed, report.line()


def test_every_adapter_has_a_case(shared: Callable[..., Any]) -> None:
    names = [case.name for case in cases(shared("golden"))]
    unused = [a for a in ADAPTERS if not any(n == a or n.startswith(a + "_") for n in names)]
    assert not unused


def copy(name: str, source: Path, target: Path) -> Path:
    for file in (f"{name}.json", f"{name}.npz", "fill.py"):
        shutil.copyfile(source / file, target / file)
    return target


def alter(folder: Path, name: str, array: str, change: Any) -> None:
    path = folder / f"{name}.npz"
    with np.load(path) as file:
        data = dict(file)
    data[array] = change(data[array])
    np.savez(path, **data)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tests.golden", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """What the command does with arguments: (exit code, standard output)."""
    return lambda *arguments: (main([*map(str, arguments)]), capsys.readouterr().out)


class TestCommand:
    def test_good_folder_passes(self, shared: Callable[..., Any], tmp_path: Path) -> None:
        copy("smooth", shared("golden"), tmp_path)
        copy("align", shared("golden"), tmp_path)
        done = command(tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "2 passed, 0 failed, 0 without an adapter" in done.stdout

    def test_a_case_can_be_chosen(
        self, shared: Callable[..., Any], tmp_path: Path, called: Callable[..., tuple[int, str]]
    ) -> None:
        copy("smooth", shared("golden"), tmp_path)
        copy("align", shared("golden"), tmp_path)
        code, said = called(tmp_path, "smooth")
        assert code == 0 and "1 passed, 0 failed" in said
        assert "align" not in said

    def test_altered_array_fails(
        self, shared: Callable[..., Any], tmp_path: Path, called: Callable[..., tuple[int, str]]
    ) -> None:
        copy("smooth", shared("golden"), tmp_path)
        alter(tmp_path, "smooth", "smooth_ws", lambda a: a + 0.01 * np.abs(a).max())
        code, said = called(tmp_path)
        assert code == 1
        assert "FAIL  smooth" in said and "smooth_ws" in said

    def test_a_crash_is_a_failure_and_hides_no_other_case(
        self, shared: Callable[..., Any], tmp_path: Path, called: Callable[..., tuple[int, str]]
    ) -> None:
        copy("align", shared("golden"), tmp_path)
        copy("smooth", shared("golden"), tmp_path)
        alter(tmp_path, "align", "pos/landmarks", lambda a: a[:, :40])
        code, said = called(tmp_path)
        assert code == 1
        assert "ERROR align" in said and "ok    smooth" in said
        assert "1 passed, 1 failed" in said

    def test_unknown_case_or_folder(
        self, shared: Callable[..., Any], tmp_path: Path, called: Callable[..., tuple[int, str]]
    ) -> None:
        copy("smooth", shared("golden"), tmp_path)
        code, said = called(tmp_path, "smooth", "nonsense")
        assert code == 2 and "no case nonsense" in said
        assert command(tmp_path / "nowhere").returncode == 2

    def test_cases_without_an_adapter_alone_are_no_success(
        self, shared: Callable[..., Any], tmp_path: Path, called: Callable[..., tuple[int, str]]
    ) -> None:
        copy("smooth", shared("golden"), tmp_path)
        for file in (tmp_path / "smooth.json", tmp_path / "smooth.npz"):
            file.rename(tmp_path / file.name.replace("smooth", "unheard_of"))
        code, said = called(tmp_path)
        assert code == 1 and "1 without an adapter" in said


class TestRunner:
    @pytest.fixture
    def case(self, shared: Callable[..., Any], tmp_path: Path) -> Case:
        return Case(copy("smooth", shared("golden"), tmp_path), "smooth")

    def test_good_case(self, case: Case) -> None:
        assert run(case).passed

    @pytest.mark.parametrize(
        "change",
        [
            lambda a: np.full_like(a, np.nan),
            lambda a: a[:-1],
            lambda a: a[::-1].copy(),
            lambda a: a * (1 + 1e-4),
        ],
        ids=["NaN", "another shape", "another order", "a little more"],
    )
    def test_any_difference_fails(self, case: Case, change: Any) -> None:
        alter(case.folder, "smooth", "smooth_ws", change)
        report = run(case)
        assert not report.passed
        assert [check.array for check in report.checks if not check.passed] == ["smooth_ws"]

    def test_output_that_no_adapter_computes_fails(self, case: Case) -> None:
        path = case.folder / "smooth.json"
        spec = json.loads(path.read_text())
        spec["arrays"]["one_more"] = spec["arrays"]["smooth_ws"]
        path.write_text(json.dumps(spec))
        report = run(case)
        assert not report.passed and report.missing == ["one_more"]
        assert "not computed: one_more" in report.line()

    def test_an_adapter_that_skips_an_output_fails(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lazy(case: Case) -> Iterator[Any]:
            dict(case.options)
            yield "smooth_ws", case.data["smooth_ws"]

        monkeypatch.setitem(ADAPTERS, "smooth", lazy)
        report = run(case)
        assert not report.passed and "inversion/latents" in report.missing

    def test_an_adapter_that_checks_nothing_fails(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def idle(case: Case) -> Iterator[Any]:
            dict(case.options)
            yield from ()

        monkeypatch.setitem(ADAPTERS, "smooth", idle)
        assert not run(case).passed
