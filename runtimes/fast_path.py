"""The fast path: inference requests are answered before MLServer's REST app sees them.

::

    HttpProtocol ──> whole requests ─┐              ┌─> one of our runtimes: infer_json, or if it
    FastPathApp  ──> anything else ──┴─> FastPath ──┤     has no answer to that, answer_rest
                                                    └─> other runtimes: MLServer's REST app

Around an inference of microseconds the app's layers cost hundreds; this does what they do for an
inference request, and nothing more: the same JSON, the same headers, the same metrics.
"""

import gzip
import logging
from collections.abc import Coroutine, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import msgspec
import orjson
from mlserver import Settings
from mlserver.cloudevents import CloudEventsMiddleware
from mlserver.errors import MLServerError
from mlserver.handlers import DataPlane

from runtimes.answer_headers import headers_of
from runtimes.asgi import App, Headers, Receive, Scope, Send
from runtimes.logs import request_log
from runtimes.lookup import find_model
from runtimes.opened import FailedError
from runtimes.rest_requests import HEADER_LENGTH, answer_rest
from runtimes.runtime import Runtime
from runtimes.server_metrics import InferenceCounts, RequestCounts
from runtimes.texts import shorten
from runtimes.units import unit_header_from_environment, unit_of

# Compressing what fits into one packet anyway costs time and saves none.
_COMPRESSED_FROM_BYTES = 1400
_COMPRESSION_LEVEL = 6
_OK = 200
_JSON = b"application/json"
_JSON_LINE = b"content-type: application/json\r\n"
_MAX_PENDING = 512

_T = TypeVar("_T")

_logger = logging.getLogger("mlserver.abserve.rest")


class Target(msgspec.Struct, gc=False):
    """What an inference request asks, as far as its head says."""

    runtime: Runtime
    names_version: bool
    header_length: bytes | None
    takes_gzip: bool
    unit: bytes | None = None


class Refused(NamedTuple):
    """What an inference request is refused with, as far as its head says."""

    error: MLServerError
    names_version: bool


class HttpAnswer(msgspec.Struct, gc=False):
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
        self._unit_header = unit_header_from_environment().encode()
        self._open = not (settings.tracing_server or settings.cors_settings or settings.root_path)
        self._inferences = InferenceCounts(data_plane)
        self._requests = RequestCounts(app, settings) if settings.metrics_endpoint else None
        self._served: dict[tuple[Runtime, bool], _Served] = {}

    def find(self, path: str, headers: Sequence[tuple[bytes, bytes]]) -> Target | Refused | None:
        """Return what a POST request asks for, None if it is left to the app.

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
        names_version = asked[1] is not None
        try:
            runtime = _now(find_model(self._registry, *asked))
        except MLServerError as error:
            return Refused(error, names_version)
        if not isinstance(runtime, Runtime) or not runtime.ready:
            return None
        content_type, takes_gzip, header_length = _JSON, False, None
        for key, value in headers:
            if key == b"content-type":
                content_type = value
            elif key == b"accept-encoding":
                takes_gzip = b"gzip" in value
            elif key == HEADER_LENGTH:
                header_length = value
        if content_type != _JSON and header_length is None and not _is_json(content_type):
            return Refused(_not_json(content_type), names_version)
        unit = None
        if self._unit_header:
            unit = unit_of(value for key, value in headers if key == self._unit_header)
        return Target(runtime, names_version, header_length, takes_gzip, unit)

    def answer(self, target: Target | Refused, body: bytes) -> HttpAnswer:
        """Return the response to a request."""
        if isinstance(target, Refused):
            return self._refuse(target)
        start = perf_counter()
        try:
            first = target.runtime.count_unit(target.unit)
            if target.header_length is None:
                plain = target.runtime.infer_json(body, first_exposure=first)
                if plain is not None:
                    content, request_id = plain
                    return self._to_http(target, content, request_id, b"", start)
            answer = answer_rest(target.runtime, body, target.header_length, first_exposure=first)
            return self._to_http(target, answer.body, answer.request_id, answer.lines(), start)
        except MLServerError as error:
            status, message = error.status_code, str(error)
        except Exception:  # whatever it is, it is our fault, and nobody above says so
            _logger.exception("an inference failed")
            failed = FailedError()
            status, message = failed.status_code, str(failed)
        runtime, seconds = target.runtime, perf_counter() - start
        self._inferences.count(runtime.name, runtime.version, seconds, success=False)
        if self._requests is not None:
            self._requests.count(seconds, status, with_version=target.names_version)
        return error_answer(status, message)

    def _refuse(self, refused: Refused) -> HttpAnswer:
        error = refused.error
        request_log().refused(None, error.status_code, str(error))
        if self._requests is not None:
            self._requests.count(0.0, error.status_code, with_version=refused.names_version)
        return error_answer(error.status_code, str(error))

    def count_pending(self) -> None:
        """Count what was answered since the last time; to be called before the metrics are read."""
        for (runtime, names_version), served in self._served.items():
            seconds = served.seconds
            if seconds:
                self._inferences.count_successes(runtime.name, runtime.version, seconds)
                if self._requests is not None:
                    self._requests.count_successes(seconds, with_version=names_version)
        # All of it, because a runtime may be unloaded.
        self._served.clear()

    def _to_http(
        self, target: Target, body: bytes, request_id: str, lines: bytes, start: float
    ) -> HttpAnswer:
        """Return an answer with its head; `lines` are the header lines of tensors in binary."""
        served = self._served.get((target.runtime, target.names_version))
        if served is None:
            served = self._begin_to_serve(target)
        packed = b""
        if self._gzip and target.takes_gzip and len(body) >= _COMPRESSED_FROM_BYTES:
            body = gzip.compress(body, _COMPRESSION_LEVEL)
            packed = b"content-encoding: gzip\r\nvary: Accept-Encoding\r\n"
        # Runtimes let only ids pass that fit into a header.
        sent_id = request_id.encode()
        head = (
            b"%bx-request-id: %b\r\nce-id: %b\r\nce-requestid: %b\r\n%b%bcontent-length: %d\r\n"
            % (served.head, sent_id, sent_id, sent_id, lines or _JSON_LINE, packed, len(body))
        )
        served.seconds.append(perf_counter() - start)
        if len(served.seconds) >= _MAX_PENDING:
            self.count_pending()
        return HttpAnswer(_OK, head, body)

    def _begin_to_serve(self, target: Target) -> "_Served":
        headers = headers_of(target.runtime, self._cloud_events)
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        served = self._served[target.runtime, target.names_version] = _Served(head, [])
        return served


class _Served(NamedTuple):
    """What all answers of a runtime have in common, and the durations not counted yet."""

    head: bytes
    seconds: list[float]


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
        found = (
            self._fast_path.find(scope["path"], scope["headers"])
            if scope["type"] == "http" and scope["method"] == "POST"
            else None
        )
        if found is None:
            await self._app(scope, receive, send)
            return
        body = await _read(receive)
        if body is None:  # the client went away
            return
        answer = self._fast_path.answer(found, body)
        headers: Headers = []
        for line in answer.head.splitlines():
            name, _, value = line.partition(b": ")
            headers.append((name, value))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _model_of(path: str) -> tuple[str, str | None] | None:
    """Return the model and version a path asks an inference of, None for other paths."""
    match path.split("/"):
        # MLServer's other name for the same.
        case ["", "v2", "models", name, "infer" | "generate"]:
            return name, None
        case ["", "v2", "models", name, "versions", version, "infer" | "generate"]:
            return name, version
        case _:
            return None


def status_line(status: int) -> bytes:
    """Return the first line of a response."""
    return b"HTTP/1.1 %d %b\r\n" % (status, HTTPStatus(status).phrase.encode())


def error_answer(status: int, message: str) -> HttpAnswer:
    """Return a refusal in the protocol's form."""
    body = orjson.dumps({"error": message})
    head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
    return HttpAnswer(status, head, body)


def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == _JSON


def _not_json(content_type: bytes) -> MLServerError:
    return MLServerError(
        f"the content-type is {shorten(content_type.decode('latin-1'))}; expected "
        "application/json, or tensors in binary with the header Inference-Header-Content-Length",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )


def _now(coroutine: Coroutine[Any, Any, _T]) -> _T:
    """Return what a coroutine returns that never waits, as those of MLServer's registry."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        found: _T = done.value
        return found
    coroutine.close()
    raise RuntimeError("a lookup in MLServer's registry waits, which it must not")


async def _read(receive: Receive) -> bytes | None:
    """Return the body, None if the client went away."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
