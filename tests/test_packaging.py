"""Every dependency has an end, and what was tried together lies within the bounds."""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import vidhair

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DECLARED = [
    Requirement(text)
    for texts in (
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        PROJECT["build-system"]["requires"],
    )
    for text in texts
]
PYTHONS = ("3.11", "3.12")
PIN = re.compile(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)")  # no label, no address, no hash


def constraints(python: str) -> dict[str, Version]:
    lines = (ROOT / f"constraints/py{python.replace('.', '')}.txt").read_text().splitlines()
    found = [PIN.fullmatch(line) for line in lines if not line.startswith("#")]
    assert found and all(found), "a line that is no plain pin"
    return {m[1]: Version(m[2]) for m in found if m}


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_every_dependency_has_an_end(requirement: Any) -> None:
    assert {s.operator for s in requirement.specifier} & {"<", "<=", "=="}


def test_the_version_stands_in_one_place() -> None:
    assert "version" not in PROJECT["project"] and PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "vidhair.__version__"}
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [vidhair.__version__]


def test_hooks_before_a_commit_run_what_is_installed() -> None:
    """No hook fetches anything, and together they are what `make lint` runs."""
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.+)", hooks) == ["local"]
    assert set(re.findall(r"language: (.+)", hooks)) == {"system"}
    recipe = (ROOT / "Makefile").read_text().split("\nlint:")[1].split("\n\n")[0]
    checks = re.findall(r"\$\(BIN\)/(ruff \w+|mypy)", recipe)
    assert re.findall(r"entry: \.venv/bin/(ruff \w+|mypy)", hooks) == checks


def test_no_extra_is_empty() -> None:
    assert all(PROJECT["project"]["optional-dependencies"].values())


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_what_was_tried_lies_within_the_bounds(python: Any, requirement: Any) -> None:
    assert constraints(python)[canonicalize_name(requirement.name)] in requirement.specifier


def test_each_python_that_is_claimed_has_its_constraints() -> None:
    claimed = Requirement(f"python{PROJECT['project']['requires-python']}").specifier
    assert [f"3.{minor}" for minor in range(30) if f"3.{minor}" in claimed] == list(PYTHONS)


@pytest.mark.parametrize(
    ("system", "machine", "there"),
    [
        ("linux", "x86_64", True),
        ("win32", "AMD64", True),
        ("linux", "aarch64", False),
        ("darwin", "arm64", False),
        ("darwin", "x86_64", False),  # its wheels end at Python 3.8
    ],
)
def test_decord_is_asked_for_only_where_it_has_wheels(
    system: str, machine: str, there: bool
) -> None:
    (decord,) = (r for r in DECLARED if r.name == "decord")
    assert decord.marker
    assert decord.marker.evaluate({"sys_platform": system, "platform_machine": machine}) == there


@pytest.mark.parametrize(("given", "used"), [((), True), (("CONSTRAINTS=",), False)])
def test_make_installs_what_was_tried_unless_told_otherwise(
    given: tuple[str, ...], used: bool
) -> None:
    if not (ROOT / "Makefile").exists():
        pytest.skip("no Makefile here")
    command = ["make", "--dry-run", "VENV=.venv-none", f"PYTHON={sys.executable}", *given]
    # What the `make` that runs these tests was told is not for this one.
    plain = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    done = subprocess.run(
        [*command, ".venv-none/.installed"], capture_output=True, text=True, cwd=ROOT, env=plain
    )
    assert done.returncode == 0, done.stderr
    assert ("--constraint constraints/" in done.stdout) == used


def test_freezing_leaves_out_labels_and_the_package_itself() -> None:
    spec = importlib.util.spec_from_file_location("freeze", ROOT / "constraints/freeze.py")
    assert spec is not None and spec.loader is not None
    freeze = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(freeze)
    pins = freeze.pins()
    assert all(PIN.fullmatch(pin) for pin in pins)
    assert "vidhair" not in {pin.split("==")[0] for pin in pins}
