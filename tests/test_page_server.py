"""The server of the explorer: who is refused, what is answered, and that only the newest request is computed."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from sgc.errors import UsageError
from sgc.explorer.page_server import MOST, PageServer, serving

HOLD = threading.Event()
COMPUTED: list[int] = []


def held(body: bytes) -> dict[str, Any]:
    COMPUTED.append(json.loads(body)["number"])
    HOLD.wait(10)
    return {"computed": COMPUTED[-1]}


def broken(body: bytes) -> dict[str, Any]:
    if json.loads(body).get("mine"):
        raise UsageError("no such row")
    raise ZeroDivisionError("/home/secret/file.py")


@pytest.fixture
def server() -> Iterator[PageServer]:
    answers = {"echo": lambda body: {"echo": json.loads(body)["word"]}, "held": held, "broken": broken}
    HOLD.clear()
    COMPUTED.clear()
    with serving(PageServer(0, lambda key: f"<p>{key}</p>", answers)) as running:
        yield running


def ask(
    server: PageServer, path: str, body: object = None, *, method: str = "", **headers: str
) -> tuple[int, str, dict[str, str]]:
    """Send a request as the page does, but for the headers that are given; `-` leaves one out."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    own = {"Content-Type": "application/json", "X-Sgc-Key": server.key} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    text = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(
        method or ("GET" if body is None else "POST"), path, text, {n: v for n, v in own.items() if v != "-"}
    )
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), dict(answer.headers)
    connection.close()
    return found


def test_the_page_is_given_to_whoever_has_its_address(server: PageServer) -> None:
    path = server.address.partition(str(server.server_address[1]))[2]
    status, page, headers = ask(server, path)
    assert (status, page) == (200, f"<p>{server.key}</p>")
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/api/echo", {"word": "é</script>"})[:2] == (200, '{"echo": "é</script>"}')


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/", None, {}, 403),  # without the key
        ("/?key=wrong", None, {}, 403),
        ("/etc/passwd", None, {}, 404),
        ("/../../etc/passwd", None, {}, 404),
        ("/api/nothing", {}, {}, 404),
        ("/api/../echo", {}, {}, 404),
        ("/echo", {}, {}, 404),
        ("/api/echo", {"word": 1}, {"X_Sgc_Key": "-"}, 403),
        ("/api/echo", {"word": 1}, {"X_Sgc_Key": "wrong"}, 403),
        ("/api/echo", {"word": 1}, {"Host": "evil.example"}, 403),  # a name that was made to resolve to this machine
        ("/api/echo", {"word": 1}, {"Host": "127.0.0.1.evil.example:80"}, 403),
        ("/api/echo", {"word": 1}, {"Host": "["}, 403),
        ("/api/echo", {"word": 1}, {"Origin": "https://evil.example"}, 403),
        ("/api/echo", {"word": 1}, {"Origin": "null"}, 403),
        ("/api/echo", {"word": 1}, {"Origin": "http://localhost:1"}, 403),  # another server of this machine
        ("/api/echo", {"word": 1}, {"Sec_Fetch_Site": "cross-site"}, 403),
        ("/api/echo", {"word": 1}, {"Content_Type": "text/plain"}, 415),  # what a form of another page may send
        ("/api/echo", b" " * (MOST + 1), {}, 413),
        ("/api/echo", {"word": 1}, {"Content_Length": "-1"}, 411),
    ],
)
def test_others_are_refused(server: PageServer, path: str, body: Any, headers: dict[str, str], status: int) -> None:
    try:
        assert ask(server, path, body, **headers)[0] == status
    except (BrokenPipeError, ConnectionResetError):
        assert status == 413  # it did not wait for all of it
    assert ask(server, "/api/echo", {"word": 1})[0] == 200  # and it goes on


def test_the_page_may_be_reached_through_a_tunnel(server: PageServer) -> None:
    far = {"Host": "localhost:9999", "Origin": "http://localhost:9999", "Sec_Fetch_Site": "same-origin"}
    assert ask(server, "/api/echo", {"word": 1}, **far)[0] == 200


def test_faults_are_words_and_no_traceback(server: PageServer) -> None:
    assert json.loads(ask(server, "/api/broken", {"mine": True})[1]) == {"fault": "no such row"}
    status, text, _ = ask(server, "/api/broken", {})
    assert status == 200
    assert "Traceback" not in text
    assert "fault" in json.loads(text)
    assert "fault" in json.loads(ask(server, "/api/echo", b"[" * 100_000)[1])


def test_of_the_requests_of_a_window_only_the_newest_is_computed(server: PageServer) -> None:
    answers: dict[int, Any] = {}

    def send(number: int, tab: str) -> None:
        answers[number] = json.loads(ask(server, "/api/held", {"tab": tab, "number": number})[1])

    threads = [threading.Thread(target=send, args=(1, "a"))]
    threads[0].start()
    while not COMPUTED:
        pass
    for number, tab in ((2, "a"), (3, "a"), (7, "b"), (4, "a")):
        threads.append(threading.Thread(target=send, args=(number, tab)))
        threads[-1].start()
        while server.newest.of(f"held {tab}") != number:
            pass
    HOLD.set()
    for thread in threads:
        thread.join()
    assert answers == {
        1: {"computed": 1}, 2: {"stale": True}, 3: {"stale": True}, 4: {"computed": 4}, 7: {"computed": 7}
    }  # fmt: skip
    assert COMPUTED == [1, 7, 4]  # one after the other


def test_a_port_that_is_taken_is_told_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"^port {port} is taken, by another explorer perhaps: port={port + 1} "):
            PageServer(port, str, {})
