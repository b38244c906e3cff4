"""The fast path: plain inference requests are answered before MLServer's REST app sees them.

::

    request ──> FastPath ──> a plain POST .../infer, and a runtime that can ──> infer_json
                   └───────> everything else, and what has no answer ──> MLServer's REST app

A runtime can if it has `infer_json`, which takes the body and returns a `JsonAnswer`, or None to
leave the request to `predict`. Around an inference of microseconds the app's layers cost hundreds;
this one does what they do for a plain request, and nothing more. It gives no answer of its own to
what is wrong: such a request is handed on, bytes untouched, so that there is one place that says
so.
"""

import gzip
from time import perf_counter
from typing import Any, NamedTuple

from mlserver import Settings
from mlserver.cloudevents import CloudEventsMiddleware, CloudEventsTypes
from mlserver.errors import MLServerError
from mlserver.handlers import DataPlane
from starlette_exporter import PrometheusMiddleware

from runtimes.asgi import App, Headers, Message, Receive, Scope, Send, replay
from runtimes.plain_json import JsonAnswer

# Headers that ask for something only the app does.
_HANDED_ON = frozenset({b"content-encoding", b"inference-header-content-length"})
# Compressing what fits into one packet anyway costs time and saves none.
_COMPRESSED_FROM_BYTES = 1400
_COMPRESSION_LEVEL = 6

_ROUTE = "/v2/models/{model_name}/infer"
_VERSION_ROUTE = "/v2/models/{model_name}/versions/{model_version}/infer"


class _Series(NamedTuple):
    """The time series one kind of request is counted in; the last two only if the app has them."""

    n_inferences: Any
    inference_seconds: Any
    n_requests: Any
    request_seconds: Any


class FastPath:
    """An ASGI app in front of MLServer's REST app.

    Parameters
    ----------
    app : ASGI app
        Gets what is not answered here.
    settings : Settings
        MLServer's. Where they ask for what only the app does, nothing is answered here.
    data_plane : DataPlane
        Knows the models, and holds MLServer's metrics of inference.
    """

    def __init__(self, app: App, settings: Settings, data_plane: DataPlane) -> None:
        self._app = app
        self._data_plane = data_plane
        self._cloud_events = CloudEventsMiddleware(settings)
        self._gzip = bool(settings.gzip_enabled)
        self._open = not (
            settings.cache_enabled
            or settings.tracing_server
            or settings.cors_settings
            or settings.root_path
        )
        self._series: dict[tuple[str, str | None, str], _Series] = {}
        # The app's own metrics; they belong to the class, not to one middleware.
        self._http_metrics = (
            PrometheusMiddleware(
                app, app_name="mlserver", prefix=settings.metrics_rest_server_prefix
            )
            if settings.metrics_endpoint
            else None
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = perf_counter()
        target = _target(scope) if self._open and scope["type"] == "http" else None
        model = await self._find(*target) if target is not None else None
        if target is None or model is None or not _is_plain(scope):
            await self._app(scope, receive, send)
            return
        messages, body = await _read(receive)
        answer = model.infer_json(body) if body is not None else None
        if answer is None:
            await self._app(scope, replay(messages, receive), send)
            return
        headers = self._headers(model, answer)
        content = answer.body
        if self._gzip and len(content) >= _COMPRESSED_FROM_BYTES and _accepts_gzip(scope):
            content = gzip.compress(content, _COMPRESSION_LEVEL)
            headers += [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
        headers.append((b"content-length", str(len(content)).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
        self._count(model, target, perf_counter() - start)

    async def _find(self, name: str, version: str | None) -> Any:
        """Return the model if it is ready and can answer here, else None."""
        try:
            model = await self._data_plane._model_registry.get_model(name, version)
        except MLServerError:
            return None
        batched = (model.settings.max_batch_size or 0) > 1
        able = model.ready and not batched and hasattr(model, "infer_json")
        return model if able else None

    def _headers(self, model: Any, answer: JsonAnswer) -> Headers:
        """Return the headers of MLServer's answer; the runtime let only ids pass that fit there."""
        events = self._cloud_events._get_headers(
            CloudEventsTypes.Response, model.settings, answer.request_id
        )
        return [
            (b"content-type", b"application/json"),
            (b"x-model-version", answer.version.encode()),
            (b"x-request-id", answer.request_id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in events.items()),
        ]

    def _count(self, model: Any, target: tuple[str, str | None], seconds: float) -> None:
        route = _ROUTE if target[1] is None else _VERSION_ROUTE
        key = (model.name, model.version, route)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._find_series(*key)
        series.n_inferences.inc()
        series.inference_seconds.observe(seconds)
        if series.n_requests is not None:
            # The gauge of requests in progress stays as it is: nothing runs beside an answer
            # that is given without waiting.
            series.n_requests.inc()
            series.request_seconds.observe(seconds)

    def _find_series(self, model: str, version: str | None, route: str) -> _Series:
        plane, http = self._data_plane, self._http_metrics
        of_model = {"model": model, "version": version}
        of_route = ("POST", route, 200, "mlserver")
        return _Series(
            plane._ModelInferRequestSuccess.labels(**of_model),
            plane._ModelInferRequestDuration.labels(**of_model),
            http.request_count.labels(*of_route) if http else None,
            http.request_time.labels(*of_route) if http else None,
        )


def _target(scope: Scope) -> tuple[str, str | None] | None:
    """Return the model and version an inference request asks for, None for other requests."""
    if scope["method"] != "POST":
        return None
    match scope["path"].split("/"):
        case ["", "v2", "models", name, "infer"]:
            return name, None
        case ["", "v2", "models", name, "versions", version, "infer"]:
            return name, version
        case _:
            return None


def _is_plain(scope: Scope) -> bool:
    is_json = False
    for name, value in scope["headers"]:
        if name == b"content-type":
            is_json = value.partition(b";")[0].strip().lower() == b"application/json"
        elif name in _HANDED_ON:
            return False
    return is_json


def _accepts_gzip(scope: Scope) -> bool:
    return any(name == b"accept-encoding" and b"gzip" in value for name, value in scope["headers"])


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
