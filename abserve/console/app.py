"""The console's ASGI application: the page, its stream, logs, and changes."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from abserve.console.changes import Changes
from abserve.console.cluster import Cluster, Report
from abserve.console.deployment import Deployment
from abserve.console.guard import Guard
from abserve.console.observer import Observer
from abserve.console.stream import stream
from abserve.errors import AbserveError, ManifestError
from abserve.weights import Weights

_STATIC = Path(__file__).parent / "static"
_MAX_BODY_BYTES = 16_384
_MAX_LOG_LINES = 1000

_logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Response]]


class Console:
    """The web console of one namespace, as an ASGI application in `app`.

    Parameters
    ----------
    cluster : Cluster
        The namespace.
    token : str
        What a browser must show once, as ``/?token=...``.
    port : int
        The port it is served on; cookies are named after it.

    Attributes
    ----------
    app : ASGI application
        To be served, with its lifespan.
    broken : asyncio.Event
        Set when it no longer looks at the cluster: then it must not go on to show what it knew.
    """

    def __init__(self, cluster: Cluster, token: str, port: int) -> None:
        self._cluster = cluster
        self.observer = Observer(cluster)
        self.changes = Changes(self.observer.hurry)
        self.broken = asyncio.Event()
        routes = [
            self._route("/", self._page),
            self._route("/api/stream", self._stream),
            self._route("/api/pods/{pod}/log", self._log),
            self._route("/api/deployments/{name}/weights", self._set_weights, "POST"),
            self._route("/api/deployments/{name}/promote", self._promote, "POST"),
            self._route("/api/deployments/{name}/rollback", self._roll_back, "POST"),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        application = Starlette(
            routes=routes,
            lifespan=self._lifespan,
            exception_handlers={HTTPException: _answer_refusal, AbserveError: _answer_failure},
        )
        denied = (_STATIC / "denied.html").read_text(encoding="utf-8")
        self.app: ASGIApp = Guard(application, token, f"abserve-console-{port}", denied)

    async def close(self) -> None:
        """End the streams, which would otherwise go on for ever."""
        await self.observer.close()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(self.observer.run())
        looking.add_done_callback(self._note_end)
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait([looking])

    def _note_end(self, looking: asyncio.Task[None]) -> None:
        if not looking.cancelled() and looking.exception() is not None:
            _logger.error("the console looks no longer", exc_info=looking.exception())
            self.broken.set()

    @staticmethod
    def _route(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, handler, methods=[method])

    async def _page(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html")

    async def _stream(self, request: Request) -> Response:
        name = request.query_params.get("deployment", "")
        events = stream(self.observer, self.changes, self._cluster, name)
        return StreamingResponse(events, media_type="text/event-stream")

    async def _log(self, request: Request) -> Response:
        lines = request.query_params.get("lines", "200")
        if not lines.isdecimal() or not 0 < int(lines) <= _MAX_LOG_LINES:
            raise HTTPException(400, f"lines is {lines!r}; expected 1 to {_MAX_LOG_LINES}")
        pod = request.path_params["pod"]
        text = await self.observer.log(pod, int(lines))
        if text is None:
            raise HTTPException(404, f"no pod {pod!r} of a SeldonDeployment is known here")
        return PlainTextResponse(text)

    async def _set_weights(self, request: Request) -> Response:
        asked = await _read_json(request)
        deployment = self._deployment(request)
        name, generation, weights = deployment.name, _generation(asked), _weights(asked)
        before = {each.name: each.weight for each in deployment.spec.variants}
        moves = ", ".join(
            f"{variant} {before.get(variant, 0)} % → {weight} %"
            for variant, weight in weights.by_variant.items()
        )

        def work(report: Report) -> None:
            report("changing the weights, and waiting until they are in force")
            self._cluster.set_weights(name, generation, weights)

        return await self._begin(name, f"{name}: {moves}", work)

    async def _roll_back(self, request: Request) -> Response:
        asked = await _read_json(request)
        deployment = self._deployment(request)
        name, spec, generation = deployment.name, deployment.spec, _generation(asked)
        if spec.baseline is None:
            raise HTTPException(409, f"{name} has no baseline to roll back to")

        def work(report: Report) -> None:
            self._cluster.roll_back(name, generation, report)

        return await self._begin(name, f"{name}: all requests to {spec.baseline}", work)

    async def _promote(self, request: Request) -> Response:
        asked = await _read_json(request)
        deployment = self._deployment(request)
        name, spec, generation = deployment.name, deployment.spec, _generation(asked)
        if spec.candidate is None:
            raise HTTPException(409, f"{name} has no candidate to promote")
        summary = f"{name}: promote {spec.candidate}, which becomes {spec.baseline}"

        def work(report: Report) -> None:
            self._cluster.promote(name, generation, report)

        return await self._begin(name, summary, work)

    async def _begin(self, name: str, summary: str, work: Callable[[Report], None]) -> Response:
        running = self.changes.running(name)
        if running:
            raise HTTPException(409, f"still under way is {running.summary}; wait for its end")
        number = await self.changes.begin(name, summary, work)
        return JSONResponse({"number": number}, 202)

    def _deployment(self, request: Request) -> Deployment:
        name = request.path_params["name"]
        if name not in self.observer.deployments:
            raise HTTPException(404, f"no SeldonDeployment {name!r} is known here")
        return self.observer.deployments[name]


async def _read_json(request: Request) -> dict[str, Any]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY_BYTES:
            raise HTTPException(413, f"a change has at most {_MAX_BODY_BYTES} bytes")
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise HTTPException(400, f"the change is no JSON: {error}") from error
    if not isinstance(asked, dict):
        raise HTTPException(400, "a change is a JSON object")
    return asked


def _generation(asked: dict[str, Any]) -> int:
    generation = asked.get("generation")
    if type(generation) is not int:
        raise HTTPException(400, "a change names the generation it was confirmed for")
    return generation


def _weights(asked: dict[str, Any]) -> Weights:
    given = asked.get("weights")
    if not isinstance(given, dict) or any(type(each) is not int for each in given.values()):
        raise HTTPException(400, "weights are an object of whole percents by variant")
    try:
        return Weights(given)
    except ManifestError as error:
        raise HTTPException(400, str(error)) from error


async def _answer_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"message": error.detail}, error.status_code)


async def _answer_failure(_: Request, error: Exception) -> Response:
    return JSONResponse({"message": str(error)}, 502)
