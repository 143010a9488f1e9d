"""What all tests share: data from outside the repository, and how Hypothesis searches."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from tests.memory import release_memory
from vidhair.process import prepare_process

if TYPE_CHECKING:
    from vidhair.flow.overlap import Workers

# Processes that test side by side share the cores: with threads for all of them in each, small
# kernels wait for each other. Before anything imports torch, as what the command line prepares.
SIDE_BY_SIDE = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if SIDE_BY_SIDE > 1:
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // SIDE_BY_SIDE)))
prepare_process()

TESTS = Path(__file__).parent
SHARED = TESTS.parents[1] / "shared"
# Long files are the first ones, so that no process is left alone with one at the end.
# Those of other instruction sets wait for processes that compile everything anew.
LONGEST = (
    "kernels/test_levels.py",
    "test_golden.py",
    "conversion/test_convert_golden.py",
    "flow/test_edit_video.py",
)

# The same examples in every run; `pytest --hypothesis-profile=default` looks for new ones.
settings.register_profile("vidhair", deadline=None, derandomize=True)
settings.load_profile("vidhair")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of outside data by name; a test that needs it is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"{path} is absent")
        return path

    return find


@pytest.fixture(scope="session", autouse=True)
def nothing_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests find the same on every machine, and leave nothing in the home of whoever runs them:
    no weights, packs or notes that are there already."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TORCH_HOME", "VIDHAIR_WEIGHTS", "VIDHAIR_PACKS", "XDG_STATE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="module", autouse=True)
def memory_released_behind_each_file() -> Iterator[None]:
    yield
    release_memory()


@pytest.fixture
def memory_released() -> Iterator[None]:
    """Behind a test with networks of their published sizes."""
    yield
    release_memory()


@pytest.fixture(params=[1, 2, 4])
def workers(request: pytest.FixtureRequest) -> "Iterator[Workers]":
    """Of a machine with as many cores."""
    import torch

    from vidhair.flow.overlap import Workers

    threads = torch.get_num_threads()
    torch.set_num_threads(request.param)
    with Workers(most=8) as found:
        yield found
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Many small tensor operations: waking a second thread costs more than it computes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
