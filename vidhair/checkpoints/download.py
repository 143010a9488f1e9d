"""Fetches published weights: gone on with after a break, bounded, checked before they are named.

While it arrives, a file is called NAME.part; the server's mark of its version (NAME.part.tag) lets
a later request ask for the rest of that very version (RFC 9110, If-Range).
"""

import contextlib
import hashlib
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from vidhair.checkpoints.known import KnownWeights
from vidhair.errors import DownloadFailed, os_errors

Progress = Callable[[int, int | None], None]  # bytes that are there, bytes of the whole if known

WEIGHTS_VARIABLE = "VIDHAIR_WEIGHTS"
BLOCK = 1 << 18  # bytes
MAX_SIZE = 4 << 30  # bytes of a file whose size is not known beforehand
TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 9.0)  # seconds before trying again
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
PAGES = ("text/html", "application/json")  # what a host answers that has more to say

log = logging.getLogger(__name__)


class Interrupted(Exception):
    """Why an attempt ended that may be repeated."""


def weights_folder() -> Path:
    """Where fetched weights lie; the environment variable VIDHAIR_WEIGHTS overrides it."""
    override = os.environ.get(WEIGHTS_VARIABLE)
    return Path(override) if override else Path.home() / ".local" / "share" / "vidhair" / "weights"


def present(entry: KnownWeights, folder: Path | None = None) -> bool:
    """Whether the file lies in the folder in its right size; `pull` looks at the checksum too."""
    path = (folder or weights_folder()) / entry.file
    return path.is_file() and entry.size in (None, path.stat().st_size)


def pull(entry: KnownWeights, folder: Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch a file into the folder, unless it is there; returns its path, checked either way.

    Raises DownloadFailed if it has no direct download, cannot be reached, or is not what the
    catalogue says; DiskFull or OutputNotWritable if it cannot be written. What has arrived when
    the connection, the disk or the user ends it is kept, and the next call goes on from there.
    """
    target = (folder or weights_folder()) / entry.file
    if target.exists():
        check(entry, target, f"remove it to fetch it again from {entry.source}")
        return target
    if entry.url is None:
        raise DownloadFailed(
            f"{entry.name} cannot be fetched without a person; get {entry.file} from "
            f"{entry.page or entry.source} and put it into {target.parent}"
        )
    part = target.with_name(f"{target.name}.part")
    with os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    receive(entry, entry.url, part, progress or (lambda done, total: None))
    try:
        check(entry, part, f"it was removed; see {entry.source} for what has become of the file")
    except DownloadFailed:
        discard(part)
        raise
    with os_errors(target):
        part.replace(target)
        tag_file(part).unlink(missing_ok=True)
    return target


def check(entry: KnownWeights, path: Path, remedy: str) -> None:
    """Raises DownloadFailed unless the file has the size and the checksum of the catalogue."""
    with os_errors(path), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if entry.size not in (None, size):
            raise DownloadFailed(f"{path} has {size} bytes instead of {entry.size}; {remedy}")
        if entry.sha256 is not None:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not digest.startswith(entry.sha256):
                raise DownloadFailed(
                    f"{path} does not match the published checksum (sha256 {digest[:12]}…, "
                    f"expected {entry.sha256[:12]}…); {remedy}"
                )


def receive(entry: KnownWeights, url: str, part: Path, progress: Progress) -> None:
    """Fill the part, in as many attempts as bring it further, and a few that do not."""
    furthest, failures = bytes_of(part), 0
    while True:
        try:
            return attempt(entry, url, part, progress)
        except Interrupted as reason:
            failures = failures + 1 if bytes_of(part) <= furthest else 1
            furthest = max(furthest, bytes_of(part))
            if failures > len(PAUSES):
                raise DownloadFailed(
                    f"{entry.file} could not be fetched ({reason}); check the network and repeat "
                    "the command, which goes on from what has arrived"
                ) from reason
            pause = PAUSES[failures - 1]
            log.info("%s: %s; trying again in %g s", entry.file, reason, pause)
            time.sleep(pause)


def attempt(entry: KnownWeights, url: str, part: Path, progress: Progress) -> None:
    """One request, for what the part lacks if the result can be trusted, else for all of it."""
    have, tag = bytes_of(part), kept_tag(part)
    if have and have == entry.size:
        return
    if tag is None and entry.sha256 is None:
        have = 0  # two versions of the file could be joined unnoticed
    request = Request(url, headers={"User-Agent": "vidhair"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if tag is not None:
            request.add_header("If-Range", tag)
    with answer(entry, request, part) as response:
        if response.headers.get_content_type() in PAGES:
            raise DownloadFailed(
                f"{url} answers with a page instead of {entry.file}; open {entry.source} to see why"
            )
        start, total = extent(response, have, part)
        known = total if entry.size is None else entry.size
        if total not in (None, known):
            raise DownloadFailed(
                f"{url} offers {total} bytes instead of {entry.size}; see {entry.source} for what "
                "has become of the file"
            )
        limit = MAX_SIZE if known is None else known
        if limit > MAX_SIZE:
            raise DownloadFailed(
                f"{url} offers {limit} bytes, more than the {MAX_SIZE} of any known weights; "
                f"see {entry.source} for what has become of the file"
            )
        if not start:
            keep_tag(part, response.headers)
        done = start
        with os_errors(part), part.open("ab" if start else "wb") as file:
            progress(done, known)
            for block in blocks(response):
                done += len(block)
                if done > limit:
                    break
                file.write(block)
                progress(done, known)
            file.flush()
            os.fsync(file.fileno())
    if done > limit:
        discard(part)
        raise DownloadFailed(
            f"{url} sends more than the {limit} bytes of {entry.file}; see {entry.source} for what "
            "has become of it"
        )
    if known is not None and done < known:
        raise Interrupted(f"the connection ended after {done} of {known} bytes")


def answer(entry: KnownWeights, request: Request, part: Path) -> HTTPResponse:
    """The response to a request. Raises Interrupted if asking again may help."""
    url = request.full_url
    if not (is_secure(url) or is_local(url)):
        raise DownloadFailed(f"{url} is not an https address; see {entry.source} for another")
    try:
        result: HTTPResponse = build_opener(SecureRedirects).open(request, timeout=TIMEOUT)
        return result
    except HTTPError as error:
        error.close()
        if error.code == 416 and request.has_header("Range"):
            discard(part)
            raise Interrupted("the server does not have the rest of it") from error
        if error.code in TRANSIENT:
            raise Interrupted(f"the server answers {error.code} {error.reason}") from error
        raise DownloadFailed(
            f"{url} answers {error.code} {error.reason}; see {entry.source} for where "
            f"{entry.file} lies now"
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        host = urlsplit(url).hostname
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadFailed(
                f"{host} cannot prove that it is {host} ({reason.verify_message}); check the clock "
                "and the certificates of this machine"
            ) from error
        raise Interrupted(f"{host} cannot be reached: {said(reason)}") from error


def extent(response: HTTPResponse, have: int, part: Path) -> tuple[int, int | None]:
    """(byte of the file at which the response begins, bytes of the whole file if it says so)."""
    length = response.headers.get("Content-Length", "")
    size = int(length) if length.isascii() and length.isdigit() else None
    if response.status != 206:
        return 0, size
    stated = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", stated)
    if match and have:
        first, last = int(match[1]), int(match[2])
        whole = last + 1 if match[3] == "*" else int(match[3])
        if first == have and last + 1 == whole and size in (None, whole - first):
            return have, whole
    discard(part)
    raise Interrupted(f"the server sends another range than asked for ({stated or 'unnamed'})")


def blocks(response: HTTPResponse) -> Iterator[bytes]:
    """The body in pieces. Raises Interrupted where the connection breaks."""
    while True:
        try:
            block = response.read(BLOCK)
        except (OSError, HTTPException) as error:
            raise Interrupted(f"the connection broke: {said(error)}") from error
        if not block:
            return
        yield block


def said(reason: object) -> str:
    """An error of the network in the system's words."""
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


class SecureRedirects(HTTPRedirectHandler):
    """Follows https to https, and this machine to itself."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        stays = is_local(req.full_url) and is_local(newurl)
        if not (is_secure(newurl) or stays):
            raise DownloadFailed(
                f"{req.full_url} leads to {newurl}, which is not encrypted; fetch the file from "
                "another place"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_secure(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def is_local(url: str) -> bool:
    """Whether this is plain http that does not leave the machine."""
    address = urlsplit(url)
    return address.scheme == "http" and address.hostname in ("127.0.0.1", "::1", "localhost")


def bytes_of(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def kept_tag(part: Path) -> str | None:
    """What to ask with for the rest of the same version."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        tag = tag_file(part).read_text(encoding="ascii")
        if tag and len(tag) < 400 and tag.isprintable():
            return tag
    return None


def keep_tag(part: Path, headers: HTTPMessage) -> None:
    """A weak tag marks files that differ in their bytes, so it is of no use here."""
    tag = headers.get("ETag") or headers.get("Last-Modified") or ""
    with os_errors(part):
        if tag.isascii() and not tag.startswith("W/"):
            tag_file(part).write_text(tag, encoding="ascii")
        else:
            tag_file(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    with os_errors(part):
        part.unlink(missing_ok=True)
        tag_file(part).unlink(missing_ok=True)
