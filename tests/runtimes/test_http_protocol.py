"""The protocol in front of a real uvicorn: a fast path that echoes, and an app behind it."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import uvicorn

from runtimes.draining import Draining
from runtimes.fast_path import HttpAnswer
from runtimes.http_protocol import HttpProtocol

HEAD = b"POST /v2/models/iris/infer HTTP/1.1\r\nhost: a\r\n"


class Echo:
    """A fast path that answers with what it was asked, and fails when asked to."""

    def find(self, path: str, headers: Any) -> Any:
        return path

    def answer(self, target: Any, body: bytes) -> HttpAnswer:
        if body == b"fail":
            raise ValueError("as asked")
        return HttpAnswer(200, b"content-length: %d\r\n" % len(body), body)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the path and the body, as the app behind."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    content = f"app {scope['path']} ".encode() + body
    headers = [(b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


@pytest.fixture(scope="module")
def draining() -> Draining:
    return Draining()


@pytest.fixture(scope="module")
def port(draining: Draining) -> Iterator[int]:
    protocol = partial(HttpProtocol, fast_path=Echo(), limit_bytes=1000, draining=draining)
    config = uvicorn.Config(
        app, http=protocol, ws="none", lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])))
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


class Connection:
    """One connection to the server, read answer by answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self._socket.sendall(part)

    def read(self) -> tuple[int, dict[bytes, bytes], bytes]:
        status = int(self._file.readline().split()[1])
        headers = {}
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.strip().partition(b": ")
            headers[name] = value
        return status, headers, self._file.read(int(headers[b"content-length"]))

    def ended(self) -> bool:
        return self._file.read() == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@pytest.fixture
def connection(port: int, draining: Draining) -> Iterator[Connection]:
    opened = Connection(port)
    yield opened
    draining.begun = False
    opened.close()


def post(body: bytes, *headers: bytes, path: bytes = b"/v2/models/iris/infer") -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"host: a", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def test_a_whole_request_is_answered_without_the_app(connection: Connection) -> None:
    connection.send(post(b"one"))
    status, headers, body = connection.read()
    assert (status, body) == (200, b"one")
    assert b"date" in headers
    assert b"connection" not in headers


def test_a_request_that_comes_byte_by_byte_is_the_same(connection: Connection) -> None:
    whole = post(b"slowly")
    connection.send(*(whole[at : at + 1] for at in range(len(whole))))
    assert connection.read()[2] == b"slowly"


def test_requests_sent_at_once_are_answered_in_their_order(connection: Connection) -> None:
    connection.send(
        post(b"1") + post(b"2", path=b"/other") + post(b"3") + post(b"4") + post(b"", path=b"/o")
    )
    answers = [connection.read()[2] for _ in range(5)]
    assert answers == [b"1", b"app /other 2", b"app /v2/models/iris/infer 3", *answers[3:]]
    assert answers[3] in {b"4", b"app /v2/models/iris/infer 4"}
    assert answers[4] == b"app /o "


@pytest.mark.parametrize(
    "request_",
    [
        post(b"x", path=b"/v2/models/iris/infer?a=1"),
        post(b"x", path=b"/v2/models/ir%69s/infer"),
        post(b"x", b"content-encoding: gzip"),
        post(b"x", b"connection: close"),
        post(b"x" * 1001),
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD.replace(b"POST", b"PUT") + b"content-length: 1\r\n\r\nx",
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0") + b"content-length: 1\r\n\r\nx",
    ],
)
def test_what_needs_more_than_reading_is_the_apps(connection: Connection, request_: bytes) -> None:
    connection.send(request_)
    status, _, body = connection.read()
    assert (status, body[:4]) == (200, b"app ")


def test_who_asks_first_whether_to_send_is_told(connection: Connection) -> None:
    connection.send(HEAD + b"content-length: 1\r\nexpect: 100-continue\r\n\r\n")
    assert connection._file.readline() == b"HTTP/1.1 100 Continue\r\n"
    assert connection._file.readline() == b"\r\n"
    connection.send(b"x")
    assert connection.read()[2] == b"app /v2/models/iris/infer x"


def test_an_offer_of_another_protocol_is_passed_over(connection: Connection) -> None:
    """As Java's client makes one, with its first request and its body."""
    offer = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABk")
    connection.send(post(b"still here", *offer) + post(b"next"))
    assert connection.read()[2] == b"still here"
    assert connection.read()[2] == b"next"


def test_a_failure_of_ours_is_answered(connection: Connection) -> None:
    connection.send(post(b"fail"))
    status, headers, body = connection.read()
    assert (status, headers[b"connection"]) == (500, b"close")
    assert json.loads(body) == {"error": "internal error; the server's log has the reason"}


@pytest.mark.parametrize(
    ("sent", "status", "message"),
    [
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 405, "CONNECT is not allowed"),
        (b"POST http://a HTTP/1.1\r\nhost: a\r\n\r\n", 400, "the URL has no path"),
        (
            HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
            400,
            "no HTTP/1.1 request: Invalid character in chunk size",
        ),
    ],
)
def test_a_request_that_cannot_be_served_is_answered(
    connection: Connection, sent: bytes, status: int, message: str
) -> None:
    connection.send(sent)
    found, _, body = connection.read()
    assert found == status
    assert message in json.loads(body)["error"]
    assert connection.ended()


def test_an_answer_before_a_fault_still_arrives(connection: Connection) -> None:
    connection.send(post(b"x", path=b"/other") + b"garbage\r\n\r\n")
    _, headers, body = connection.read()
    assert (headers[b"connection"], body) == (b"close", b"app /other x")
    assert connection.ended()


@pytest.mark.parametrize(
    "sent",
    [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"\x16\x03\x01\x02\x00"],
)
def test_what_is_no_http_is_refused_in_the_protocols_form(
    connection: Connection, sent: bytes
) -> None:
    connection.send(sent)
    status, headers, body = connection.read()
    assert (status, headers[b"content-type"]) == (400, b"application/json")
    assert "what was received is no HTTP/1.1 request" in json.loads(body)["error"]
    assert connection.ended()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 700_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\na: " + b"b" * 700_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200_000 + b"\r\n",
    ],
)
def test_a_head_without_end_is_not_read_to_it(connection: Connection, head: bytes) -> None:
    try:
        connection.send(head)
        status, _, body = connection.read()
    except ConnectionError:  # it was closed before all of it was sent
        return
    assert status == 431
    assert "more than 65536 bytes" in json.loads(body)["error"]


def test_while_draining_every_answer_is_the_last(
    connection: Connection, draining: Draining
) -> None:
    draining.begun = True
    connection.send(post(b"one"))
    _, headers, body = connection.read()
    assert (headers[b"connection"], body) == (b"close", b"one")
    assert connection.ended()


def test_while_draining_the_apps_answers_are_the_last_too(
    connection: Connection, draining: Draining
) -> None:
    draining.begun = True
    connection.send(post(b"one", path=b"/other"))
    _, headers, _ = connection.read()
    assert headers[b"connection"] == b"close"
    assert connection.ended()
