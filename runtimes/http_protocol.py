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
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from runtimes.draining import Draining
from runtimes.fast_path import FastPath, HttpAnswer, Refused, Target, error_answer, status_line
from runtimes.opened import FailedError

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
# Of a head that comes in several pieces; one piece is as large as the event loop reads at once.
_MAX_HEAD_BYTES = 64 * 1024

_logger = logging.getLogger("mlserver.abserve.http")


class _HeadRefusedError(Exception):
    """A request that is refused for its URL or its headers."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


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
        self._in_head = False
        self._head_bytes = 0
        self._last_answer = False
        self._default_headers: list[tuple[bytes, bytes]] | None = None
        self._default_lines = b""
        self._answered_at = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        unread: bytes | None = data
        while unread is not None and not self.transport.is_closing():
            unread = self._feed(unread)

    def _feed(self, data: bytes) -> bytes | None:
        """Read `data`; return what is to be read again, in another form."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._end_with(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the URL and the headers have more than {_MAX_HEAD_BYTES} bytes; "
                    "expected fewer",
                )
                return None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, _HeadRefusedError):
                self._end_with(error.__context__.status, str(error.__context__))
            else:
                _logger.exception("a request could not be read")
                self._end_with(HTTPStatus.INTERNAL_SERVER_ERROR, str(FailedError()))
        except httptools.HttpParserError as error:
            self._end_with(
                HTTPStatus.BAD_REQUEST, f"what was received is no HTTP/1.1 request: {error}"
            )
        return None

    def on_message_begin(self) -> None:
        # What uvicorn makes here besides is made when a request is handed on.
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self.parser.get_method() == b"CONNECT":
            raise _HeadRefusedError(
                HTTPStatus.METHOD_NOT_ALLOWED, "CONNECT is not allowed; this server is no proxy"
            )
        if self.parser.should_upgrade():
            return  # the parser stops here, see `_feed`
        self._target = self._find()
        if self._target is None:
            self._hand_on()
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
        answer = self._fast_path.answer(target, body)
        last = self._last_answer or self._draining.begun
        self._send(answer, last=last)
        if not last:
            self._wait_for_more()

    def shutdown(self) -> None:
        """End the connection, after the answer to a request that is on its way."""
        self._last_answer = True
        if self._target is None:
            super().shutdown()

    def _send(self, answer: HttpAnswer, *, last: bool) -> None:
        first = _OK_LINE if answer.status == _OK else status_line(answer.status)
        end = b"connection: close\r\n\r\n" if last else b"\r\n"
        # uvicorn makes the list anew each second, with the date.
        if self._default_headers is not self.server_state.default_headers:
            self._default_headers = self.server_state.default_headers
            self._default_lines = b"".join(
                b"%b: %b\r\n" % header for header in self._default_headers
            )
        parts = (first, self._default_lines, answer.head, end, answer.body)
        self.transport.write(b"".join(parts))
        if last:
            self.transport.close()

    def _wait_for_more(self) -> None:
        """Keep the connection for as long as uvicorn would, with less to do for each request."""
        self.server_state.total_requests += 1
        self._answered_at = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._idle_timer = None
        waiting = self.cycle is None or self.cycle.response_complete
        # Where uvicorn answered last, it has a timer of its own.
        if not waiting or self.timeout_keep_alive_task is not None:
            return
        left = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self._in_head or self._target is not None:
            left = self.timeout_keep_alive
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._end_if_idle)
        else:
            self.transport.close()

    def _end_with(self, status: HTTPStatus, message: str) -> None:
        """Refuse what cannot be read on, and end the connection after the answers before it."""
        answering = [cycle for cycle, _ in self.pipeline]
        if self.cycle is not None and not self.cycle.response_complete:
            answering.append(self.cycle)
        for cycle in answering:
            # The request at fault is the one whose body still comes.
            if cycle.more_body and not cycle.response_started:
                cycle.disconnected = True
                cycle.message_event.set()
            else:
                cycle.keep_alive = False
        if all(cycle.disconnected for cycle in answering):
            self._send(error_answer(status, message), last=True)

    def _hand_on(self) -> None:
        """Begin a request of uvicorn's, as if nobody had looked at it."""
        _check_url(self.url)
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        if self._last_answer or self._draining.begun:
            self.cycle.keep_alive = False

    def _without_upgrade(self, rest: bytes) -> bytes:
        """Return the request as one that asks for no other protocol, and what follows it."""
        lines = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name not in _OF_UPGRADES:
                lines += (name, b": ", value, b"\r\n")
        self.parser = httptools.HttpRequestParser(self)
        # As uvicorn's own: what follows the last request of a connection is no fault of that one.
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return b"".join([*lines, b"\r\n", rest])

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


def _check_url(url: bytes) -> None:
    """Refuse a URL that uvicorn would fail to read."""
    try:
        valid = url.isascii() and httptools.parse_url(url).path is not None
    except httptools.HttpParserInvalidURLError:
        valid = False
    if not valid:
        raise _HeadRefusedError(
            HTTPStatus.BAD_REQUEST, "the URL has no path; expected one such as /v2/health/ready"
        )
