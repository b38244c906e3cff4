import gzip
import json
from typing import Any

import pytest

from abserve.errors import AbserveError
from runtimes.body_limit import LIMIT_VARIABLE, BodyLimit, limit_from_environment

LIMIT = 100


class Echo:
    """An ASGI app that answers with what it was sent, and keeps the headers."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = dict(scope["headers"])
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def post(
    body: bytes, *headers: tuple[bytes, bytes], chunk: int = 64, app: Any = None
) -> tuple[int, bytes]:
    chunks = [body[i : i + chunk] for i in range(0, len(body), chunk)] or [b""]
    messages = iter(
        {"type": "http.request", "body": each, "more_body": i + 1 < len(chunks)}
        for i, each in enumerate(chunks)
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    await BodyLimit(app or Echo(), LIMIT)(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def of_length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()


CHUNKED = (b"transfer-encoding", b"chunked")
GZIP = (b"content-encoding", b"gzip")


async def test_a_body_up_to_the_limit_goes_through() -> None:
    body = b"x" * LIMIT
    assert await post(body, of_length(body)) == (200, body)
    assert await post(body, CHUNKED) == (200, body)


@pytest.mark.parametrize("n_bytes", [LIMIT + 1, 50 * LIMIT])
async def test_a_larger_body_is_refused_with_the_way_out(n_bytes: int) -> None:
    body = b"x" * n_bytes
    status, answer = await post(body, of_length(body))
    assert status == 413
    assert f"has {n_bytes} bytes; at most 100 are read" in json.loads(answer)["error"]


async def test_a_larger_body_of_no_stated_length_is_refused() -> None:
    status, answer = await post(b"x" * (LIMIT + 1), CHUNKED)
    assert status == 413
    assert LIMIT_VARIABLE in json.loads(answer)["error"]


async def test_gzip_is_unpacked_for_all_that_follows() -> None:
    app = Echo()
    packed = gzip.compress(b"hello", mtime=0)
    assert await post(packed, of_length(packed), GZIP, app=app) == (200, b"hello")
    assert app.headers == {b"content-length": b"5"}


async def test_gzip_that_unpacks_beyond_the_limit_is_refused() -> None:
    packed = gzip.compress(b"0" * 10_000, mtime=0)
    assert len(packed) < LIMIT
    status, answer = await post(packed, of_length(packed), GZIP)
    assert status == 413
    assert "unpacks to more than 100 bytes" in json.loads(answer)["error"]


@pytest.mark.parametrize(
    "packed",
    [b"no gzip", gzip.compress(b"hello", mtime=0)[:-4], gzip.compress(b"hello", mtime=0) + b"more"],
)
async def test_damaged_gzip_is_the_clients_fault(packed: bytes) -> None:
    status, answer = await post(packed, of_length(packed), GZIP)
    assert status == 400
    assert "gzip" in json.loads(answer)["error"]


async def test_another_encoding_is_refused_by_name() -> None:
    status, answer = await post(b"x", of_length(b"x"), (b"content-encoding", b"br"))
    assert status == 415
    assert "'br'" in json.loads(answer)["error"]


async def test_a_request_without_a_body_goes_through() -> None:
    assert await post(b"") == (200, b"")


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert limit_from_environment() == 16 * 1024 * 1024
    monkeypatch.setenv(LIMIT_VARIABLE, "1000")
    assert limit_from_environment() == 1000


@pytest.mark.parametrize("given", ["", "0", "-1", "16 MB"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(LIMIT_VARIABLE, given)
    with pytest.raises(AbserveError, match="expected a number of bytes"):
        limit_from_environment()
