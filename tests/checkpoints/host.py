"""A web server on this machine that hands out one file, well or badly."""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ETAG = '"first"'


class Handler(BaseHTTPRequestHandler):
    server: "Host"

    def do_GET(self) -> None:
        host = self.server
        host.asked.append({name.lower(): value for name, value in self.headers.items()})
        reply = host.replies.pop(0) if len(host.replies) > 1 else host.replies[0]
        with contextlib.suppress(ConnectionError):  # the other side may have heard enough
            reply(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


Reply = Callable[[Handler], None]


class Host(ThreadingHTTPServer):
    """`replies` are given in turn, the last one for ever; `asked` are the headers of requests."""

    daemon_threads = True

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = body
        self.etag: str | None = ETAG
        self.replies: list[Reply] = [honest]
        self.asked: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights"

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("range") for headers in self.asked]

    def handle_error(self, *_: Any) -> None:
        pass


@contextmanager
def running(body: bytes) -> Iterator[Host]:
    with Host(body) as host:
        thread = threading.Thread(target=host.serve_forever, args=[0.01])
        thread.start()
        try:
            yield host
        finally:
            host.shutdown()
            thread.join()


def opened(handler: Handler) -> bytes:
    """Sends the head as RFC 9110 wants it; returns the body that belongs to it."""
    host, headers = handler.server, handler.headers
    tag = {"ETag": host.etag} if host.etag else {}
    wanted = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    if wanted and headers.get("If-Range", host.etag) == host.etag:
        first, whole = int(wanted[1]), len(host.body)
        if first >= whole:
            handler.head(416, Content_Range=f"bytes */{whole}", Content_Length=0)
            return b""
        span = f"bytes {first}-{whole - 1}/{whole}"
        handler.head(206, Content_Range=span, Content_Length=whole - first, **tag)
        return host.body[first:]
    handler.head(200, Content_Length=len(host.body), **tag)
    return host.body


def honest(handler: Handler) -> None:
    handler.wfile.write(opened(handler))


def breaking(after: int) -> Reply:
    """The connection ends this many bytes into the body."""

    def reply(handler: Handler) -> None:
        handler.wfile.write(opened(handler)[:after])

    return reply


def without_ranges(handler: Handler) -> None:
    handler.head(200, Content_Length=len(handler.server.body))
    handler.wfile.write(handler.server.body)


def without_length(handler: Handler) -> None:
    """The end of the connection is the end of the file (HTTP/1.0)."""
    handler.head(200)
    handler.wfile.write(handler.server.body)


def endless(handler: Handler) -> None:
    handler.head(200)
    for _ in range(10_000):
        handler.wfile.write(bytes(1 << 14))


def silent(handler: Handler) -> None:
    handler.head(200, Content_Length=len(handler.server.body))
    handler.wfile.flush()
    threading.Event().wait(2)


def ranged(span: str | None, first: int = 0) -> Reply:
    """A 206 that says it holds this span, and holds the file from `first` on."""

    def reply(handler: Handler) -> None:
        body = handler.server.body[first:]
        named = {} if span is None else {"Content_Range": span}
        handler.head(206, Content_Length=len(body), **named)
        handler.wfile.write(body)

    return reply


def status(code: int, **headers: object) -> Reply:
    def reply(handler: Handler) -> None:
        handler.head(code, Content_Length=0, **headers)

    return reply


def typed(kind: str) -> Reply:
    """The file under another type, as a page of consent would come."""

    def reply(handler: Handler) -> None:
        handler.head(200, Content_Type=kind, Content_Length=len(handler.server.body))
        handler.wfile.write(handler.server.body)

    return reply
