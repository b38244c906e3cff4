"""The fast path: inference requests are answered before MLServer's REST app sees them.

::

    HttpProtocol ──> whole and plain ─┐                                  ┌─> infer_json
    FastPathApp  ──> anything else   ─┴─> FastPath ─> one of our runtimes ─┴─> binary tensors
                                             └─> no answer: MLServer's REST app

Around an inference of microseconds the app's layers cost hundreds; this does what they do for a
request of JSON, and nothing more. It gives no answer of its own to what is wrong: such a request is
handed on, bytes untouched, so that there is one place that says so. Only the binary tensors, which
MLServer does not know, are answered here whatever they hold.
"""

import gzip
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import orjson
from mlserver import Settings
from mlserver.cloudevents import CloudEventsMiddleware, CloudEventsTypes
from mlserver.errors import MLServerError
from mlserver.handlers import DataPlane

from abserve import __version__
from runtimes.asgi import App, Headers, Message, Receive, Scope, Send, replay
from runtimes.binary_requests import HEADER_LENGTH, BinaryAnswer, answer_binary, asks_for_binary
from runtimes.runtime import Runtime
from runtimes.server_metrics import InferenceCounts, RequestCounts

# Compressing what fits into one packet anyway costs time and saves none.
_COMPRESSED_FROM_BYTES = 1400
_COMPRESSION_LEVEL = 6
_OK = 200
_FAULT = 500

_T = TypeVar("_T")


class Target(NamedTuple):
    """What an inference request asks, as far as its head says."""

    runtime: Runtime
    names_version: bool
    header_length: bytes | None
    takes_gzip: bool


class HttpAnswer(NamedTuple):
    """A response: `head` is its header lines, each ended, but for those of the connection."""

    status: int
    head: bytes
    body: bytes


class FastPath:
    """Answers inference requests that it can.

    Parameters
    ----------
    app : ASGI app
        MLServer's REST app, whose metrics are counted here too.
    settings : Settings
        MLServer's. Where they ask for what only the app does, nothing is answered here.
    data_plane : DataPlane
        Knows the models, and holds MLServer's metrics of inference.
    """

    def __init__(self, app: App, settings: Settings, data_plane: DataPlane) -> None:
        self._registry = data_plane._model_registry
        self._cloud_events = CloudEventsMiddleware(settings)
        self._gzip = bool(settings.gzip_enabled)
        self._open = not (settings.tracing_server or settings.cors_settings or settings.root_path)
        self._inferences = InferenceCounts(data_plane)
        self._requests = RequestCounts(app, settings) if settings.metrics_endpoint else None
        self._heads: dict[tuple[str, str | None], Callable[[bytes], bytes]] = {}

    def find(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Target | None:
        """Return what a POST request asks for, None if it is not for the fast path.

        Parameters
        ----------
        path : str
            Without the query.
        headers : sequence of (bytes, bytes)
            Names in lower case.
        """
        asked = _model_of(path)
        if asked is None or not self._open:
            return None
        is_json, takes_gzip, header_length = True, False, None
        for key, value in headers:
            if key == b"content-type":
                is_json = value.partition(b";")[0].strip().lower() == b"application/json"
            elif key == b"accept-encoding":
                takes_gzip = b"gzip" in value
            elif key == HEADER_LENGTH:
                header_length = value
        if not is_json and header_length is None:
            return None
        try:
            runtime = _now(self._registry.get_model(*asked))
        except MLServerError:
            return None
        if not isinstance(runtime, Runtime) or not runtime.ready:
            return None
        return Target(runtime, asked[1] is not None, header_length, takes_gzip)

    def answer(self, target: Target, body: bytes) -> HttpAnswer | None:
        """Return the response to a request, None if it is left to the app."""
        start = perf_counter()
        runtime = target.runtime
        if target.header_length is None:
            answer = runtime.infer_json(body)
            if answer is not None:
                return self._to_http(target, answer.request_id, answer.body, start)
            if not asks_for_binary(body):
                return None
        try:
            binary = answer_binary(runtime, body, target.header_length)
        except MLServerError as error:
            return self._refuse(target, error, start)
        return self._to_http(target, binary.request_id, binary.body, start, binary)

    def _to_http(
        self,
        target: Target,
        request_id: str,
        body: bytes,
        start: float,
        binary: BinaryAnswer | None = None,
    ) -> HttpAnswer:
        runtime = target.runtime
        key = (runtime.name, runtime.version)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._make_head(runtime)
        lines = head(request_id.encode())
        if binary is None:
            lines += b"content-type: application/json\r\n"
        else:
            lines += (
                b"content-type: application/octet-stream\r\n"
                b"inference-header-content-length: %d\r\n" % binary.header_length
            )
        if self._gzip and target.takes_gzip and len(body) >= _COMPRESSED_FROM_BYTES:
            body = gzip.compress(body, _COMPRESSION_LEVEL)
            lines += b"content-encoding: gzip\r\nvary: Accept-Encoding\r\n"
        lines += b"content-length: %d\r\n" % len(body)
        self._count(target, perf_counter() - start, _OK)
        return HttpAnswer(_OK, lines, body)

    def _refuse(self, target: Target, error: MLServerError, start: float) -> HttpAnswer:
        body = orjson.dumps({"error": str(error)})
        head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        self._count(target, perf_counter() - start, error.status_code)
        return HttpAnswer(error.status_code, head, body)

    def _make_head(self, runtime: Runtime) -> Callable[[bytes], bytes]:
        """Return what makes the headers of MLServer's answers from a request id."""
        events = self._cloud_events._get_headers(CloudEventsTypes.Response, runtime.settings, None)
        fixed = {
            "x-model-version": runtime.version or "",
            "x-service-version": __version__,
            **events,
        }
        lines = "".join(f"{name.lower()}: {value}\r\n" for name, value in fixed.items()).encode()

        # Runtimes let only ids pass that fit into a header.
        def head(request_id: bytes) -> bytes:
            return b"%bx-request-id: %b\r\nce-id: %b\r\nce-requestid: %b\r\n" % (
                lines,
                request_id,
                request_id,
                request_id,
            )

        return head

    def _count(self, target: Target, seconds: float, status: int) -> None:
        runtime = target.runtime
        self._inferences.count(runtime.name, runtime.version, seconds, success=status == _OK)
        if self._requests is not None:
            self._requests.count(seconds, status, with_version=target.names_version)


class FastPathApp:
    """An ASGI app in front of MLServer's, for what does not come whole in one piece.

    Parameters
    ----------
    app : ASGI app
        Gets what is not answered here.
    fast_path : FastPath
        Answers.
    """

    def __init__(self, app: App, fast_path: FastPath) -> None:
        self._app = app
        self._fast_path = fast_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = (
            self._fast_path.find(scope["path"], scope["headers"])
            if scope["type"] == "http" and scope["method"] == "POST"
            else None
        )
        if target is None:
            await self._app(scope, receive, send)
            return
        messages, body = await _read(receive)
        answer = None if body is None else self._fast_path.answer(target, body)
        if answer is None:
            await self._app(scope, replay(messages, receive), send)
            return
        headers: Headers = []
        for line in answer.head.splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _model_of(path: str) -> tuple[str, str | None] | None:
    """Return the model and version a path asks an inference of, None for other paths."""
    match path.split("/"):
        case ["", "v2", "models", name, "infer"]:
            return name, None
        case ["", "v2", "models", name, "versions", version, "infer"]:
            return name, version
        case _:
            return None


def status_line(status: int) -> bytes:
    """Return the first line of a response."""
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def _now(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns that never waits, as those of MLServer's registry."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        found: _T = done.value
        return found
    coroutine.close()
    raise RuntimeError("a lookup in MLServer's registry waits, which it must not")


async def _read(receive: Receive) -> tuple[list[Message], bytes | None]:
    """Return what was received, and the body in it; no body if the client went away."""
    messages: list[Message] = []
    while True:
        message = await receive()
        messages.append(message)
        if message["type"] != "http.request":
            return messages, None
        if not message.get("more_body", False):
            return messages, b"".join(each.get("body", b"") for each in messages)
