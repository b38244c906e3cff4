"""How bytes of a connection become requests: uvicorn's protocol, with a way past ASGI.

::

    connection ──> HttpProtocol ──> whole POST .../infer ──> FastPath ──> connection
                        └─────────> everything else: uvicorn's tasks, scopes and messages ──> app

For each request uvicorn starts a task, and sends two messages each way through it; for an answer
that takes microseconds and waits for nothing, that is most of the work. Here such a request is
answered where its last byte is read.

What is no HTTP is refused here too, in the form that the protocol has for refusals.
"""

import asyncio
import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from runtimes.draining import Draining
from runtimes.fast_path import FastPath, HttpAnswer, Refused, Target, error_answer, status_line

# Headers of requests that need more than to be read to their end.
_LEFT_TO_UVICORN = frozenset(
    {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"connection"}
)
# Headers that ask for another protocol. Who understands none of them answers as if they were not
# there; Java's client sends them with its first request.
_OF_UPGRADES = frozenset({b"upgrade", b"connection", b"http2-settings"})
_PATH_START = b"/v2/models/"
_PATH_END = b"/infer"
_OK = 200
_OK_LINE = status_line(_OK)
_MAX_HEAD_BYTES = 64 * 1024

_logger = logging.getLogger("mlserver.abserve.http")


class _HeadTooLargeError(Exception):
    """A request whose URL and headers are not read to their end."""


class HttpProtocol(HttpToolsProtocol):
    """One connection.

    Parameters
    ----------
    fast_path : FastPath
        Answers the requests that it can.
    limit_bytes : int
        The largest body read here; a larger one is refused behind.
    draining : Draining
        Once it has begun, every answer is the last of its connection.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        fast_path: FastPath,
        limit_bytes: int,
        draining: Draining,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._fast_path = fast_path
        self._limit_bytes = limit_bytes
        self._draining = draining
        self._target: Target | Refused | None = None
        self._chunks: list[bytes] = []
        self._head_bytes = 0
        self._last_answer = False

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _HeadTooLargeError):
                raise
            self._end_with(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the URL and the headers have more than {_MAX_HEAD_BYTES} bytes; expected fewer",
            )
        except httptools.HttpParserError as error:
            self._end_with(
                HTTPStatus.BAD_REQUEST, f"what was received is no HTTP/1.1 request: {error}"
            )

    def on_message_begin(self) -> None:
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # the parser stops here, see `data_received`
        self._target = self._find()
        if self._target is None:
            super().on_headers_complete()
            if self._last_answer or self._draining.begun:
                self.cycle.keep_alive = False
        else:
            self._chunks = []

    def on_body(self, body: bytes) -> None:
        if self._target is None:
            super().on_body(body)
        else:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        target = self._target
        if target is None:
            if not self.parser.should_upgrade():
                super().on_message_complete()
            return
        self._target = None
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            answer = (
                self._fast_path.refuse(target)
                if isinstance(target, Refused)
                else self._fast_path.answer(target, body)
            )
        except Exception:  # whatever a runtime raises is our fault, and nobody above says so
            _logger.exception("an inference failed")
            answer = error_answer(
                HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the server's log has the reason"
            )
        last = self._last_answer or self._draining.begun
        self._send(answer, last=last)
        if not last:
            self.on_response_complete()

    def shutdown(self) -> None:
        """End the connection, after the answer to a request that is on its way."""
        self._last_answer = True
        if self._target is None:
            super().shutdown()

    def _send(self, answer: HttpAnswer, *, last: bool) -> None:
        lines = [_OK_LINE if answer.status == _OK else status_line(answer.status)]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (answer.head, b"connection: close\r\n\r\n" if last else b"\r\n", answer.body)
        self.transport.write(b"".join(lines))
        if last:
            self.transport.close()

    def _end_with(self, status: HTTPStatus, message: str) -> None:
        """Refuse what cannot be read on, unless an answer before it is still on its way."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
        elif not self.transport.is_closing():
            self._send(error_answer(status, message), last=True)

    def _count_head(self, n_bytes: int) -> None:
        self._head_bytes += n_bytes
        if self._head_bytes > _MAX_HEAD_BYTES:
            raise _HeadTooLargeError

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request again as one that asks for no other protocol, and what follows it."""
        lines = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        kept: Iterable[tuple[bytes, bytes]] = (
            header for header in self.headers if header[0] not in _OF_UPGRADES
        )
        for name, value in kept:
            lines += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"".join([*lines, b"\r\n", rest]))

    def _find(self) -> Target | Refused | None:
        """Return what the request asks for, if it can be answered without uvicorn."""
        url = self.url
        if not (url.startswith(_PATH_START) and url.endswith(_PATH_END)) or b"%" in url:
            return None
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return None
        # Answers leave in the order of the requests, and no faster than the client reads.
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.pipeline or self.flow.write_paused or self.transport.is_closing():
            return None
        length = None
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)
            elif name in _LEFT_TO_UVICORN and value.lower() != b"keep-alive":
                return None
        if length is None or length > self._limit_bytes:
            return None
        return self._fast_path.find(url.decode("ascii"), self.headers)
