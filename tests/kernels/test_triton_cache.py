import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidhair.kernels import triton_cache
from vidhair.kernels.triton_cache import FOLDER_VARIABLE, HOME_VARIABLE


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.delenv(HOME_VARIABLE, raising=False)
    triton_cache.make_writable.cache_clear()
    yield
    triton_cache.make_writable.cache_clear()


def test_a_folder_that_can_be_written_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "new" / "folder"))
    triton_cache.make_writable()
    assert os.environ[FOLDER_VARIABLE] == str(tmp_path / "new" / "folder")
    assert not list((tmp_path / "new" / "folder").iterdir())


@pytest.mark.parametrize("variable", [FOLDER_VARIABLE, HOME_VARIABLE])
def test_where_it_cannot_be_written_there_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: Any
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "")  # so that what is set is undone
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(variable, str(tmp_path / "file"))
    triton_cache.make_writable()
    other = Path(os.environ[FOLDER_VARIABLE])
    assert other != tmp_path / "file" and other.is_dir()
    (other / "kernel").write_text("compiled")
