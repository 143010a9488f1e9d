"""Importing what --vs names, and refusing in one sentence what does not fit."""

import sys
from pathlib import Path

import pytest
import torch

from tests.bench import others
from vidhair.bench.baseline import find_baseline
from vidhair.errors import InvalidSetting


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("others", "must be MODULE:FUNCTION"),
        (":f", "must be MODULE:FUNCTION"),
        ("others:", "must be MODULE:FUNCTION"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("tests.bench.others:absent", "AttributeError"),
        ("tests.bench.others:NUMBER", "is a int; name a function"),
        ("not a module:f", "cannot be imported"),
        ("spoiled:f", "cannot be imported (ZeroDivisionError"),
    ],
)
def test_bad_names(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spoiled.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidSetting) as caught:
        find_baseline(name)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_module_in_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here_for_vidhair.py").write_text("def f(x): return x + 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    baseline = find_baseline("only_here_for_vidhair:f")
    assert baseline.name == "only_here_for_vidhair:f"
    assert baseline(torch.ones(1)).item() == 2


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("broken", "failed (ValueError: no such thing)"),
        ("no_tensor", "returned list; it must return a tensor"),
    ],
)
def test_what_a_function_does_wrong(function: str, says: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        find_baseline(f"{others.__name__}:{function}")(1)
    assert says in str(caught.value) and "\n" not in str(caught.value)
