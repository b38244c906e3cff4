"""How bytes of a connection become requests: uvicorn's protocol, with a way past ASGI.

::

    connection ──> HttpProtocol ──> whole, plain POST .../infer ──> FastPath ──> connection
                        └─────────> everything else: uvicorn's tasks, scopes and messages ──> app

For each request uvicorn starts a task, and sends two messages each way through it; for an answer
that takes microseconds and waits for nothing, that is most of the work. Here such a request is
answered where its last byte is read. What has no answer becomes a request of uvicorn's, as if
nobody had looked at it.
"""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from runtimes.draining import Draining
from runtimes.fast_path import FastPath, Target, status_line

# Headers of requests that need more than to be read to their end.
_LEFT_TO_UVICORN = frozenset(
    {b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"connection"}
)
_PATH_START = b"/v2/models/"
_PATH_END = b"/infer"
_OK_LINE = status_line(200)


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
        self._target: Target | None = None
        self._chunks: list[bytes] = []
        self._last_answer = False

    def on_headers_complete(self) -> None:
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
            super().on_message_complete()
            return
        self._target = None
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        answer = self._fast_path.answer(target, body)
        if answer is None:
            self._hand_on()
            super().on_body(body)
            super().on_message_complete()
            return
        lines = [_OK_LINE if answer.status == 200 else status_line(answer.status)]  # noqa: PLR2004
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        last = self._last_answer or self._draining.begun
        lines += (answer.head, b"connection: close\r\n\r\n" if last else b"\r\n", answer.body)
        self.transport.write(b"".join(lines))
        if last:
            self.transport.close()
        self.on_response_complete()

    def shutdown(self) -> None:
        """End the connection, after the answer to a request that is on its way."""
        self._last_answer = True
        if self._target is None:
            super().shutdown()

    def _hand_on(self) -> None:
        super().on_headers_complete()
        # No cycle if the connection is to become another protocol's.
        if self.cycle is not None and (self._last_answer or self._draining.begun):
            self.cycle.keep_alive = False

    def _find(self) -> Target | None:
        """Return what the request asks for, if it can be answered without uvicorn."""
        url = self.url
        if not (url.startswith(_PATH_START) and url.endswith(_PATH_END)) or b"%" in url:
            return None
        if self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return None
        # Answers leave in the order of the requests, and no faster than the client reads.
        busy = self.cycle is not None and not self.cycle.response_complete
        if busy or self.pipeline or self.flow.write_paused:
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
