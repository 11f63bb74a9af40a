"""The server of the page: this machine alone, one computation at a time, and only the newest of a window's requests.

Whoever else may reach the port is refused: other machines, for it listens on 127.0.0.1; a page of the web that has
its name resolve to this machine, by the host that it asks for; other pages in the same browser, and other users of
the machine, by a key that only the printed address has.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sgc.errors import DataError, RunError, SpecError, UsageError, is_about_memory, option

ADDRESS = "127.0.0.1"
HOSTS = (ADDRESS, "localhost")

MOST = 1 << 20  # bytes of a request
BROUGHT = 64 << 20  # bytes of one that brings rows
WINDOWS = 64  # whose newest requests are known
PATIENCE = 60  # seconds that a connection may stay silent

Answer = Callable[[bytes], Mapping[str, Any]]  # Any: what JSON can say

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Stale(Exception):
    """A request that a newer one of the same window has overtaken."""


class Newest:
    """Which request of each window is the newest."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def arrived(self, window: str, number: int) -> None:
        """Note that a request has come in."""
        with self._lock:
            self._numbers[window] = max(number, self._numbers.pop(window, 0))
            if len(self._numbers) > WINDOWS:
                self._numbers.popitem(last=False)

    def of(self, window: str) -> int:
        """Give the number of the newest request of a window."""
        with self._lock:
            return self._numbers.get(window, 0)

    def check(self, window: str, number: int) -> None:
        """Let the newest request pass. Raises: Stale where a newer one has come in."""
        with self._lock:
            if self._numbers.get(window, number) > number:
                raise Stale


class PageServer(ThreadingHTTPServer):
    """Serves one page and answers its requests, whose computations run one after the other in one thread."""

    daemon_threads = True
    allow_reuse_address = os.name != "nt"  # where two servers could have one port
    request_queue_size = 32

    def __init__(self, port: int, page: Callable[[str], str], answers: Mapping[str, Answer]) -> None:
        """Listen on a port; 0: on any that is free.

        page: writes the page, given the key of its requests. answers: by the last part of their address.

        Raises: UsageError where the port cannot be had.
        """
        self.key = secrets.token_urlsafe(16)
        self.page, self.answers, self.newest = page, answers, Newest()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        try:
            super().__init__((ADDRESS, port), PageHandler)
        except OSError as problem:
            raise UsageError(port_words(port, problem)) from None

    @property
    def address(self) -> str:
        """The address of the page, its key with it."""
        return f"http://{ADDRESS}:{self.server_address[1]}/?key={self.key}"

    def answer(self, path: str, body: bytes) -> Mapping[str, Any]:  # Any: what JSON can say
        """Answer a request; a fault that the user can mend is an answer, too."""
        window, number = _window(body)
        group = f"{path} {window}"
        self.newest.arrived(group, number)

        def work() -> Mapping[str, Any]:  # Any: as above
            self.newest.check(group, number)
            return self.answers[path](body)

        try:
            return self._thread.submit(work).result()
        except Stale:
            return {"stale": True}
        except (UsageError, DataError, RunError, SpecError) as problem:
            return {"fault": str(problem)}
        except Exception as problem:
            return {"fault": _words(problem)}

    def handle_error(self, request: Any, client_address: Any) -> None:  # Any: as in the standard library
        """Say nothing of a browser that has gone away."""

    def server_close(self) -> None:
        super().server_close()
        self._thread.shutdown(wait=False, cancel_futures=True)


class PageHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sgc", ""
    disable_nagle_algorithm = True  # or each answer waits for the browser to confirm its head
    wbufsize = -1
    timeout = PATIENCE

    def do_GET(self) -> None:
        """Give the page to whoever has its key."""
        asked = urlsplit(self.path)
        if not self._allowed():
            return
        if asked.path != "/":
            self._refuse(404, "there is one page here, at /")
        elif not self._has_key(parse_qs(asked.query).get("key", [""])[0]):
            self._refuse(403, "this page wants the key that is in the address which sgc explore has printed")
        else:
            self._send(200, self.server.page(self.server.key).encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Answer a request of the page."""
        path = urlsplit(self.path).path.removeprefix("/api/")
        if not self._allowed():
            return
        if not self._has_key(self.headers.get("X-Sgc-Key", "")):
            self._refuse(403, "the explorer was started anew: open the address that it prints now")
        elif path not in self.server.answers or not self.path.startswith("/api/"):
            self._refuse(404, "nothing is answered here")
        elif self.headers.get_content_type() != "application/json":
            self._refuse(415, "wanted application/json")
        else:
            body = self._body(BROUGHT if path == "bring" else MOST)
            if body is not None:
                text = json.dumps(self.server.answer(path, body), ensure_ascii=False, allow_nan=False)
                self._send(200, text.encode(), "application/json; charset=utf-8")

    def _allowed(self) -> bool:
        """Refuse requests to another name of this machine, and from other pages."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        if _hostname(f"//{host}") not in HOSTS:
            self._refuse(403, f"wanted a request to {ADDRESS} or localhost")
            return False
        if origin is not None and urlsplit(origin).netloc != host:
            self._refuse(403, "wanted a request from the page itself")
            return False
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and self.command != "GET":
            self._refuse(403, "wanted a request from the page itself")
            return False
        return True

    def _has_key(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), self.server.key.encode())

    def _body(self, most: int) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or len(length) > 12:
            self._refuse(411, "wanted a request with its length")
            return None
        if int(length) > most:
            self._refuse(413, f"a request may have {most >> 20} MiB")
            return None
        return self.rfile.read(int(length))

    def _refuse(self, status: int, words: str) -> None:
        self.close_connection = True  # what it sends further is not read
        self._send(status, f"{words}\n".encode(), "text/plain; charset=utf-8")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionError):
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # Any: as in the standard library
        """Keep the terminal free."""


@contextlib.contextmanager
def serving(server: PageServer) -> Iterator[PageServer]:
    """Serve in a thread of its own while inside."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def port_words(port: int, problem: OSError) -> str:
    """Say why a port cannot be had, and what to do."""
    any_port = _port_option(0)
    if problem.errno == errno.EADDRINUSE:
        other = _port_option(port + 1 if port < 65535 else 0)
        taken = f"port {port} is taken, by another explorer perhaps"
        return f"{taken}: {other} takes another one, {any_port} any that is free"
    if problem.errno == errno.EACCES:
        return f"port {port} is kept for the system: take one above 1023, or {any_port} for any that is free"
    return f"port {port}: {problem.strerror or problem}; {any_port} takes any that is free"


def _hostname(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""


def _window(body: bytes) -> tuple[str, int]:
    """Read which window asks, and the number of its request; the request itself is checked later."""
    try:
        asked = json.loads(body)
        window, number = asked.get("tab", ""), asked.get("number", 0)
    except (ValueError, AttributeError, RecursionError):
        return "", 0
    return (window[:200], number) if isinstance(window, str) and type(number) is int else ("", 0)


def _words(problem: Exception) -> str:
    """Say what happened where it is nothing that is expected."""
    if is_about_memory(problem):
        return "not enough memory"
    if type(problem).__module__.startswith(("torch", "builtins", "numpy")):
        lines = str(problem).splitlines()
        return f"it could not be computed: {lines[0] if lines else type(problem).__name__}"
    return f"it could not be computed ({type(problem).__name__})"


def _port_option(port: int) -> str:
    return option("port", str(port), python=f"port={port}")
