"""What a wheel holds: all of the package, and what stands beside it in the tree, at its place."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import vidhair

ROOT = Path(__file__).parents[1]
BESIDE = ("kernels", "pipelines", "sample_videos")
HIDDEN = ("__pycache__", "*.pyc", "*.egg-info", "build", ".*")


def cannot_build() -> str | None:
    """Why no wheel can be built here without fetching anything."""
    for module in ("pip", "setuptools"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed"
    # Read, not imported: once imported, setuptools insists on its own distutils.
    setuptools = importlib.metadata.version("setuptools")
    version = tuple(int(n) for n in setuptools.split(".")[:2])
    # Before 70.1 the command that makes wheels was part of the package `wheel`.
    if version < (70, 1) and importlib.util.find_spec("wheel") is None:
        return f"setuptools {setuptools} needs the package wheel, which is absent"
    return None


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of a wheel that is built from a copy of the tree."""
    reason = cannot_build()
    if reason:
        pytest.skip(reason)
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("vidhair", *BESIDE):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns(*HIDDEN))
    for name in ("pyproject.toml", "README.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--wheel-dir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=out)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("vidhair-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(out / "content")
    return out / "content"


def files(folder: Path, pattern: str) -> set[str]:
    """What lies below a folder, by path."""
    found = (p.relative_to(folder) for p in folder.rglob(pattern) if p.is_file())
    return {str(p) for p in found if "__pycache__" not in p.parts}


def test_every_module_is_in_the_wheel(installed: Any) -> None:
    """pyproject.toml lists the packages by hand; a forgotten one is missing here."""
    assert files(installed / "vidhair", "*.py") >= files(ROOT / "vidhair", "*.py")


def test_type_information_comes_along(installed: Any) -> None:
    assert (installed / "vidhair" / "py.typed").exists()


def test_kernels_stand_inside_the_package(installed: Any) -> None:
    kernels = files(ROOT / "kernels", "*.py")
    assert "filtered_lrelu/cpu.py" in kernels
    assert files(installed / "vidhair" / "kernels", "*.py") >= kernels


def test_recipes_stand_inside_the_package(installed: Any) -> None:
    recipes = files(ROOT / "pipelines", "*.toml")
    assert "hair_color.toml" in recipes
    assert files(installed / "vidhair" / "pipelines", "*") == recipes


def test_sample_clips_come_along(installed: Any) -> None:
    """With their manifest and ground truth, as soon as the tree has some."""
    shipped = {f for p in ("*.mp4", "*.json", "*.npz") for f in files(ROOT / "sample_videos", p)}
    target = installed / "vidhair" / "sample_videos"
    assert not shipped or files(target, "*") >= shipped


def test_packs_come_along(installed: Any) -> None:
    shipped = {f for f in files(ROOT / "vidhair" / "packs", "*") if not f.startswith(".")}
    assert files(installed / "vidhair" / "packs", "*") >= shipped


def test_nothing_is_installed_beside_the_package(installed: Any) -> None:
    """Other packages already import as `kernels` and `pipelines`."""
    beside = {p.name for p in installed.iterdir()} - {"vidhair"}
    assert len(beside) == 1 and beside.pop().endswith(".dist-info")


def test_its_version_is_that_of_the_package(installed: Any) -> None:
    (about,) = installed.glob("*.dist-info/METADATA")
    assert f"\nVersion: {vidhair.__version__}\n" in about.read_text()


def test_the_command_is_declared(installed: Any) -> None:
    (about,) = installed.glob("*.dist-info/entry_points.txt")
    assert "vidhair = vidhair.cli:main" in about.read_text()


def test_it_runs_from_an_empty_folder(installed: Any, tmp_path: Path) -> None:
    """Recipes and kernels are those of the wheel, and are found."""
    code = """
import vidhair.cli, vidhair.recipe, vidhair.kernels.filtered_lrelu.cpu as cpu
print(vidhair.recipe.recipe_folder()); print(cpu.__file__)
print(*vidhair.recipe.recipe_names())
raise SystemExit(vidhair.cli.main(["explain", "hair_color"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder, kernel, names, *explained = done.stdout.splitlines()
    package = installed / "vidhair"
    assert (Path(folder), Path(kernel).parents[2]) == (package / "pipelines", package)
    assert names.split() == sorted(p.stem for p in (ROOT / "pipelines").glob("*.toml"))
    assert explained[0].startswith("hair_color: ")
