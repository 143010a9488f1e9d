"""What is told of published weights, and the command that fetches them."""

import dataclasses
import hashlib
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from tests.checkpoints import host as hosts
from tests.checkpoints.host import Host
from vidhair import cli
from vidhair.checkpoints import download, known
from vidhair.checkpoints.known import KNOWN, KnownWeights, Licence
from vidhair.report import progress
from vidhair.report.known_weights import as_data, table

BODY = bytes(range(256)) * 100
TERMS = Licence("The Terms", "for tests only", "https://example.org/terms")
DIRECT = KnownWeights(
    "direct", "parser", "finds hair", TERMS, "https://example.org/direct", "direct.pth",
    size=len(BODY), sha256=hashlib.sha256(BODY).hexdigest(),
)  # fmt: skip
DRIVE = KnownWeights(
    "drive", "encoder", "reads faces", TERMS, "https://example.org/drive", "drive.pt",
    page="https://drive.example.org/1",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(download.WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Host]:
    """The catalogue is these two, the first of them served from here."""
    monkeypatch.setattr(download, "PAUSES", (0.0,))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    level = logging.getLogger("vidhair").level
    with hosts.running(BODY) as host:
        monkeypatch.setattr(known, "KNOWN", (dataclasses.replace(DIRECT, url=host.url), DRIVE))
        yield host
    logging.getLogger("vidhair").setLevel(level)


def models(*arguments: object) -> int:
    return cli.main(["models", *map(str, arguments)])


# ---- list


def test_the_table_says_of_each_what_it_is_for_and_where_it_is(folder: Path) -> None:
    (folder / "direct.pth").write_bytes(BODY)
    entries = (DIRECT, DRIVE, dataclasses.replace(DIRECT, name="far", file="far", url="https://a"))
    lines = table(entries, folder).splitlines()
    assert lines[:4] == [
        "The Terms: for tests only",
        "  direct  parser   finds hair   here",
        "  drive   encoder  reads faces  by hand",
        "  far     parser   finds hair   can be pulled",
    ]
    assert f"folder  {folder}" in lines


def test_a_file_of_another_size_is_not_here(folder: Path) -> None:
    (folder / "direct.pth").write_bytes(BODY[1:])
    (told,) = as_data([DIRECT], folder)
    assert told["present"] is False and told["path"] == str(folder / "direct.pth")


def test_the_list_holds_every_entry_and_every_licence(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert models("list") == 0
    printed, told = capfd.readouterr()
    assert told == ""
    for entry in KNOWN:
        assert f"  {entry.name} " in printed
        assert f"{entry.licence.name}: {entry.licence.terms}\n" in printed
    assert max(map(len, printed.splitlines())) < 125


def test_the_list_as_json(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "drive.pt").touch()
    assert models("list", "--json") == 0
    printed, told = capfd.readouterr()
    entries = {entry["name"]: entry for entry in json.loads(printed)}
    assert told == "" and list(entries) == [entry.name for entry in KNOWN]
    bisenet = entries["bisenet"]
    assert bisenet["licence"]["name"] == "MIT, for the code" and bisenet["size"] == 53_289_463
    assert bisenet["present"] is False and bisenet["path"] == str(folder / "79999_iter.pth")


# ---- pull


def test_the_licence_is_named_before_the_file_is_fetched(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A server that refuses: nothing came, but the terms were told."""
    host.replies = [hosts.status(404)]
    assert models("pull", "direct") == 25
    printed, told = capfd.readouterr()
    assert printed == ""
    first, second = told.splitlines()
    assert first == "direct: The Terms (for tests only), https://example.org/terms"
    assert second.startswith("vidhair: ") and "answers 404" in second


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_pull_prints_where_the_file_is(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str], quiet: list[str]
) -> None:
    assert models("pull", "direct", *quiet) == 0
    printed, told = capfd.readouterr()
    assert printed == f"{folder / 'direct.pth'}\n" and "The Terms" in told
    assert (folder / "direct.pth").read_bytes() == BODY
    assert models("pull", "direct", *quiet) == 0
    assert capfd.readouterr() == (printed, ""), "known, accepted and checked"
    assert len(host.asked) == 1


def test_what_needs_a_person_is_explained_and_the_rest_is_fetched(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", "drive", "direct") == cli.LEFT_TO_DO
    printed, told = capfd.readouterr()
    assert printed == f"{folder / 'direct.pth'}\n"
    for what in (DRIVE.page, DRIVE.source, DRIVE.file, str(folder / "drive.pt"), TERMS.text):
        assert str(what) in told


def test_what_a_person_has_fetched_is_taken(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "drive.pt").write_bytes(b"weights")
    assert models("pull", "drive") == 0
    assert capfd.readouterr() == (f"{folder / 'drive.pt'}\n", "")


def test_nothing_is_fetched_where_a_name_is_unknown(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert models("pull", "direct", "dirve") == 15
    assert "did you mean drive?" in capfd.readouterr().err
    assert host.asked == []


def test_an_interruption_says_that_it_goes_on(
    host: Host, folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "blocks", interrupted)
    assert models("pull", "direct", "-q") == cli.INTERRUPTED
    told = capfd.readouterr().err
    assert "vidhair: stopped" in told and "goes on" in told and "Traceback" not in told
    assert (folder / "direct.pth.part").read_bytes() == BODY[:1000]


def interrupted(response: Any) -> Iterator[bytes]:
    yield response.read(1000)
    raise KeyboardInterrupt


def test_a_terminal_shows_how_far_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, real = Terminal(), tqdm
    monkeypatch.setattr(
        progress, "tqdm", lambda **options: real(**options, file=terminal, mininterval=0)
    )
    with progress.transfer_bar("net.pth") as meter:
        meter(0, None)
        meter(1_500_000, 3_000_000)
        meter(3_000_000, 3_000_000)
    shown = terminal.getvalue()
    assert "net.pth" in shown and "1.50M/3.00M" in shown and "100%" in shown


def test_listing_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from vidhair.cli import main; main(['models', 'list']); "
        "raise SystemExit('torch' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root)
    assert done.returncode == 0, done.stderr
