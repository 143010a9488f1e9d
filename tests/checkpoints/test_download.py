"""Fetching, from a server on this machine that does what servers do."""

import dataclasses
import errno
import hashlib
import io
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.request import Request

import pytest

from tests.checkpoints import host as hosts
from tests.checkpoints.host import ETAG, Handler, Host
from vidhair.checkpoints import download
from vidhair.checkpoints.download import SecureRedirects, present, pull, weights_folder
from vidhair.checkpoints.known import KnownWeights, Licence
from vidhair.errors import DiskFull, DownloadFailed, OutputNotWritable

BODY = random.Random(7).randbytes(50_000)
LICENCE = Licence("terms", "for tests", "https://example.org/licence")
SOURCE = "https://example.org/project"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting, several blocks per file, and no proxy between the test and itself."""
    monkeypatch.setattr(download, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(download, "TIMEOUT", 5.0)
    monkeypatch.setattr(download, "BLOCK", 4096)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def host() -> Iterator[Host]:
    with hosts.running(BODY) as host:
        yield host


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the weights go; not there yet."""
    return tmp_path / "deep" / "weights"


def weights(url: str | None, **changes: Any) -> KnownWeights:
    entry = KnownWeights(
        "net", "parser", "a test", LICENCE, SOURCE, "net.pth", url=url, size=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
    )  # fmt: skip
    return dataclasses.replace(entry, **changes)


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_whole(path: Path) -> None:
    """The file is there, and nothing of what led to it."""
    assert path.read_bytes() == BODY
    assert contents(path.parent) == ["net.pth"]


def begin(host: Host, folder: Path, entry: KnownWeights, after: int = 20_000) -> None:
    """Leaves a part of this many bytes, as a user does who stops the command."""

    def stop(done: int, total: int | None) -> None:
        if done >= after:
            raise KeyboardInterrupt

    host.replies = [hosts.breaking(after), hosts.honest]
    with pytest.raises(KeyboardInterrupt):
        pull(entry, folder, stop)
    assert (folder / "net.pth.part").stat().st_size == after
    assert not (folder / "net.pth").exists()


# ---- what goes well


def test_a_file_is_fetched_whole_and_told_of(host: Host, folder: Path) -> None:
    told: list[tuple[int, int | None]] = []
    path = pull(weights(host.url), folder, lambda *now: told.append(now))
    assert path == folder / "net.pth"
    assert_whole(path)
    assert told[0] == (0, len(BODY)) and told[-1] == (len(BODY), len(BODY))
    assert len(told) > 5 and told == sorted(told)
    assert host.ranges == [None]


def test_what_is_there_is_checked_and_not_fetched_again(host: Host, folder: Path) -> None:
    entry = weights(host.url)
    assert not present(entry, folder)
    pull(entry, folder)
    assert present(entry, folder)
    pull(entry, folder)
    assert len(host.asked) == 1


@pytest.mark.parametrize("length", [8, 64])
def test_a_checksum_may_be_its_beginning(host: Host, folder: Path, length: int) -> None:
    known = hashlib.sha256(BODY).hexdigest()[:length]
    assert_whole(pull(weights(host.url, sha256=known), folder))


@pytest.mark.parametrize("reply", [hosts.honest, hosts.without_length])
def test_a_file_of_unknown_size_and_checksum_is_fetched(
    host: Host, folder: Path, reply: Callable[..., Any]
) -> None:
    host.replies = [reply]
    assert_whole(pull(weights(host.url, size=None, sha256=None), folder))


def test_the_folder_is_the_users_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(download.WEIGHTS_VARIABLE, str(tmp_path))
    assert weights_folder() == tmp_path
    monkeypatch.delenv(download.WEIGHTS_VARIABLE)
    assert weights_folder() == Path.home() / ".local/share/vidhair/weights"


# ---- going on


def test_a_broken_connection_is_gone_on_with(host: Host, folder: Path) -> None:
    host.replies = [hosts.breaking(20_000), hosts.breaking(10_000), hosts.honest]
    assert_whole(pull(weights(host.url), folder))
    assert host.ranges == [None, "bytes=20000-", "bytes=30000-"]
    assert [asked.get("if-range") for asked in host.asked] == [None, ETAG, ETAG]


def test_a_stopped_command_is_gone_on_with(host: Host, folder: Path) -> None:
    begin(host, folder, weights(host.url))
    assert_whole(pull(weights(host.url), folder))
    assert host.ranges == [None, "bytes=20000-"]


def test_many_breaks_are_borne_as_long_as_each_brings_more(host: Host, folder: Path) -> None:
    host.replies = [hosts.breaking(5_000)]
    assert_whole(pull(weights(host.url), folder))
    assert len(host.asked) == len(BODY) // 5_000


def test_a_server_without_ranges_is_asked_for_all_of_it(host: Host, folder: Path) -> None:
    host.replies = [hosts.breaking(20_000), hosts.without_ranges]
    assert_whole(pull(weights(host.url), folder))


def test_a_server_without_ranges_that_always_breaks_is_given_up(host: Host, folder: Path) -> None:
    def reply(handler: Handler) -> None:
        handler.head(200, Content_Length=len(BODY))
        handler.wfile.write(BODY[:20_000])

    host.replies = [reply]
    with pytest.raises(DownloadFailed, match="ended after 20000 of 50000 bytes"):
        pull(weights(host.url), folder)
    assert len(host.asked) == 1 + len(download.PAUSES)


def test_two_versions_are_never_joined(host: Host, folder: Path) -> None:
    entry = weights(host.url, sha256=None)
    begin(host, folder, entry)
    host.body, host.etag = BODY[::-1], '"second"'
    assert pull(entry, folder).read_bytes() == BODY[::-1]
    assert host.asked[-1]["if-range"] == ETAG


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_mark_or_a_checksum_it_starts_again(
    host: Host, folder: Path, etag: str | None
) -> None:
    host.etag = etag
    entry = weights(host.url, sha256=None)
    begin(host, folder, entry)
    assert_whole(pull(entry, folder))
    assert host.ranges == [None, None]


def test_a_checksum_will_do_instead_of_a_mark(host: Host, folder: Path) -> None:
    host.etag = None
    begin(host, folder, weights(host.url))
    assert_whole(pull(weights(host.url), folder))
    assert host.ranges == [None, "bytes=20000-"] and "if-range" not in host.asked[-1]


@pytest.mark.parametrize("mark", [b"", b"\xff\xfe", b"a\nRange: bytes=0-", b"x" * 5000])
def test_a_damaged_mark_is_not_sent(host: Host, folder: Path, mark: bytes) -> None:
    begin(host, folder, weights(host.url))
    (folder / "net.pth.part.tag").write_bytes(mark)
    assert_whole(pull(weights(host.url), folder))
    assert "if-range" not in host.asked[-1]


@pytest.mark.parametrize(
    ("span", "first"),
    [
        ("bytes 19999-49999/50000", 19_999),
        ("bytes 0-49999/50000", 0),
        ("bytes 20000-49999/60000", 20_000),
        ("bytes 20000-29999/50000", 20_000),
        ("bytes 20000-49999/50000", 20_001),
        ("bytes twenty-49999/50000", 20_000),
        (None, 20_000),
    ],
)
def test_another_range_than_asked_for_is_not_taken(
    host: Host, folder: Path, span: str | None, first: int
) -> None:
    entry = weights(host.url, sha256=None)
    begin(host, folder, entry)
    host.replies = [hosts.ranged(span, first), hosts.honest]
    assert_whole(pull(entry, folder))
    assert host.ranges == [None, "bytes=20000-", None]


def test_a_range_of_a_file_of_unsaid_size_is_taken(host: Host, folder: Path) -> None:
    begin(host, folder, weights(host.url))
    host.replies = [hosts.ranged("bytes 20000-49999/*", 20_000)]
    assert_whole(pull(weights(host.url), folder))


def test_a_range_that_nobody_asked_for_is_not_taken(host: Host, folder: Path) -> None:
    host.replies = [hosts.ranged("bytes 0-49999/50000")]
    with pytest.raises(DownloadFailed, match="another range than asked for"):
        pull(weights(host.url), folder)
    assert contents(folder) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_part_that_is_too_long_is_dropped(host: Host, folder: Path, size: int | None) -> None:
    entry = weights(host.url, size=size)
    begin(host, folder, entry)
    (folder / "net.pth.part").write_bytes(bytes(len(BODY) + 1))
    assert_whole(pull(entry, folder))


def test_a_part_that_is_whole_needs_no_request(host: Host, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "net.pth.part").write_bytes(BODY)
    assert_whole(pull(weights(host.url), folder))
    assert host.asked == []


# ---- what is refused


def test_another_checksum_leaves_nothing(host: Host, folder: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"published checksum .* it was removed; see https:"):
        pull(weights(host.url, sha256="0" * 64), folder)
    assert contents(folder) == []


def test_another_size_is_refused_before_it_is_read(host: Host, folder: Path) -> None:
    with pytest.raises(DownloadFailed, match="offers 50000 bytes instead of 40000"):
        pull(weights(host.url, size=40_000), folder)
    assert contents(folder) == [] and len(host.asked) == 1


def test_a_file_larger_than_any_is_refused(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_SIZE", 40_000)
    with pytest.raises(DownloadFailed, match="more than the 40000"):
        pull(weights(host.url, size=None), folder)
    assert contents(folder) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_an_endless_file_does_not_fill_the_disk(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    monkeypatch.setattr(download, "MAX_SIZE", 60_000)
    largest = 0

    def watch(done: int, total: int | None) -> None:
        nonlocal largest
        largest = max(largest, (folder / "net.pth.part").stat().st_size)

    host.replies = [hosts.endless]
    with pytest.raises(DownloadFailed, match=f"sends more than the {size or 60_000} bytes"):
        pull(weights(host.url, size=size), folder, watch)
    assert contents(folder) == [] and largest <= 60_000 and len(host.asked) == 1


def test_a_file_that_ends_early_and_silently_is_not_taken(host: Host, folder: Path) -> None:
    host.body = BODY[:-1]
    host.replies = [hosts.without_length]
    with pytest.raises(DownloadFailed, match="ended after 49999 of 50000 bytes"):
        pull(weights(host.url, sha256=None), folder)
    assert not (folder / "net.pth").exists()


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/json"])
def test_a_page_is_no_file(host: Host, folder: Path, kind: str) -> None:
    host.replies = [hosts.typed(kind)]
    with pytest.raises(DownloadFailed, match="answers with a page instead of net"):
        pull(weights(host.url, size=None, sha256=None), folder)
    assert contents(folder) == []


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(host: Host, folder: Path, code: int) -> None:
    host.replies = [hosts.status(code)]
    with pytest.raises(DownloadFailed, match=f"answers {code} .*see {SOURCE}"):
        pull(weights(host.url), folder)
    assert len(host.asked) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_busy_server_is_asked_again(host: Host, folder: Path, code: int) -> None:
    host.replies = [hosts.status(code), hosts.status(code), hosts.honest]
    assert_whole(pull(weights(host.url), folder))
    assert len(host.asked) == 3


def test_a_server_that_stays_busy_is_given_up(host: Host, folder: Path) -> None:
    host.replies = [hosts.status(503)]
    with pytest.raises(DownloadFailed, match="the server answers 503"):
        pull(weights(host.url), folder)
    assert len(host.asked) == 1 + len(download.PAUSES)


def test_a_server_that_says_nothing_is_given_up(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    monkeypatch.setattr(download, "PAUSES", (0.0,))
    host.replies = [hosts.silent]
    start = time.monotonic()
    with pytest.raises(DownloadFailed, match="timed out"):
        pull(weights(host.url), folder)
    assert time.monotonic() - start < 1.5


def test_no_network_is_one_sentence(folder: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/weights"
        with pytest.raises(DownloadFailed) as caught:
            pull(weights(url), folder)
    message = str(caught.value)
    assert "127.0.0.1 cannot be reached: Connection refused" in message
    assert "check the network" in message and "\n" not in message


def test_without_a_direct_download_it_says_what_to_do(folder: Path) -> None:
    page = "https://drive.example.org/net"
    with pytest.raises(DownloadFailed, match=f"get net.pth from {page} and put it into {folder}"):
        pull(weights(None, page=page), folder)
    assert not folder.exists()


def test_a_file_of_that_name_that_is_another_is_left_alone(host: Host, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "net.pth").write_bytes(BODY[::-1])
    with pytest.raises(DownloadFailed, match=r"net\.pth does not match .*remove it"):
        pull(weights(host.url), folder)
    assert (folder / "net.pth").read_bytes() == BODY[::-1] and host.asked == []
    assert not present(weights(host.url, size=1), folder)


# ---- where a request may lead


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_with_its_range(host: Host, folder: Path, code: int) -> None:
    begin(host, folder, weights(host.url))
    host.replies = [hosts.status(code, Location="/elsewhere"), hosts.honest]
    assert_whole(pull(weights(host.url), folder))
    assert host.ranges[-2:] == ["bytes=20000-"] * 2
    assert host.asked[-1]["if-range"] == ETAG


@pytest.mark.parametrize("place", ["http://example.org/net.pth", "ftp://127.0.0.1/net.pth"])
def test_a_redirect_to_what_is_not_encrypted_is_refused(
    host: Host, folder: Path, place: str
) -> None:
    host.replies = [hosts.status(302, Location=place)]
    with pytest.raises(DownloadFailed, match="not encrypted"):
        pull(weights(host.url), folder)


@pytest.mark.parametrize("place", ["http://127.0.0.1/net.pth", "http://example.org/net.pth"])
def test_https_is_never_left(place: str) -> None:
    request = Request("https://example.org/net.pth")
    with pytest.raises(DownloadFailed, match="not encrypted"):
        SecureRedirects().redirect_request(
            request, io.BytesIO(), 302, "Found", HTTPMessage(), place
        )
    onward = SecureRedirects().redirect_request(
        request, io.BytesIO(), 302, "Found", HTTPMessage(), "https://cdn.example.org/net.pth"
    )
    assert onward is not None and onward.full_url == "https://cdn.example.org/net.pth"


def test_a_redirect_in_a_circle_ends(host: Host, folder: Path) -> None:
    host.replies = [hosts.status(302, Location="/weights")]
    with pytest.raises(DownloadFailed, match="answers 302"):
        pull(weights(host.url), folder)


@pytest.mark.parametrize("url", ["http://example.org/a", "ftp://127.0.0.1/a", "file:///etc/hosts"])
def test_only_https_is_asked(folder: Path, url: str) -> None:
    with pytest.raises(DownloadFailed, match="is not an https address"):
        pull(weights(url, size=None, sha256=None), folder)
    assert contents(folder) == []


# ---- the disk


def test_a_full_disk_keeps_what_has_arrived(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    host.replies = [hosts.breaking(20_000), hosts.honest]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="no room left in"):
            pull(weights(host.url), folder)
    assert contents(folder) == ["net.pth.part", "net.pth.part.tag"]
    assert_whole(pull(weights(host.url), folder))
    assert host.ranges == [None, "bytes=20000-"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_on_which_every_write_fails(host: Host, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "net.pth.part").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match="no room left in"):
        pull(weights(host.url), folder)


def test_a_folder_that_cannot_be_made(host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputNotWritable, match="choose another place"):
        pull(weights(host.url), tmp_path / "file" / "weights")
    assert host.asked == []
