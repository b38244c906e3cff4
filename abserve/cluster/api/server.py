"""The API's paths, and who answers them."""

import datetime
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from abserve.cluster.api import kinds, openapi, reviews
from abserve.cluster.api.kinds import KINDS, Kind
from abserve.cluster.api.parts import SCALE, STATUS, WHOLE
from abserve.cluster.api.pods import PodRequests, Pods
from abserve.cluster.api.reading import Reader
from abserve.cluster.api.requests import authorize
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Store
from abserve.cluster.api.writing import Admit, Writer
from abserve.errors import ClusterError


class Api:
    """The Kubernetes API of one local cluster, as an ASGI application in `app`.

    Parameters
    ----------
    store : Store
        The objects.
    token : str
        What each request must carry.
    admit : callable
        Called with kind and document before anything is stored; returns the document to store
        and warnings, raises ApiError to refuse.
    pods : Pods
        Answers for logs and metrics, and ends pods.
    now : callable
        The time, in UTC.
    """

    def __init__(
        self,
        store: Store,
        token: str,
        admit: Admit,
        pods: Pods,
        now: Callable[[], datetime.datetime],
    ) -> None:
        self._token = token
        self._pods = PodRequests(store, pods, now)
        self._reader = Reader(store, now)
        self._writer = Writer(store, admit, now)
        self.app = Starlette(
            routes=self._routes(),
            exception_handlers={
                ApiError: _answer_refusal,
                ClusterError: _answer_no_room,
                404: _answer_unknown_path,
                405: _answer_unknown_path,
            },
        )
        # A path with a slash too many is one that there is not, and nobody is sent elsewhere.
        self.app.router.redirect_slashes = False

    def _routes(self) -> list[Route]:
        routes = [
            self._route("/version", _fixed({"major": "1", "minor": "37", "gitVersion": "v1.37.0"})),
            *(self._route(path, _ok) for path in ("/healthz", "/livez", "/readyz")),
            self._route("/api", _discovery({"kind": "APIVersions", "versions": ["v1"]}, [""])),
            self._route("/apis", _discovery(kinds.group_list(), kinds.groups())),
            *(
                self._route(kinds.root_of(group), _fixed(kinds.resource_list(group)))
                for group in ("", *kinds.groups())
            ),
            self._route("/openapi/v2", _openapi_v2),
            self._route("/openapi/v3", _fixed(openapi.index())),
            *(
                self._route(f"/openapi/v3/{name}", _published(document))
                for name, document in openapi.documents().items()
            ),
        ]
        routes.extend(self._route(path, handler, "POST") for path, handler in reviews.routes())
        # Before the kinds' own: a pod is deleted otherwise than the rest.
        routes.extend(
            self._route(path, handler, method) for method, path, handler in self._pods.routes()
        )
        for kind in KINDS:
            routes.extend(self._kind_routes(kind))
        return routes

    def _kind_routes(self, kind: Kind) -> list[Route]:
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        collection = f"{kind.root}{scope}/{kind.plural}"
        single = f"{collection}/{{name}}"
        handlers: list[tuple[str, str, str, Callable[..., Awaitable[Response]]]] = [
            ("list", "GET", collection, partial(self._reader.list, kind)),
            ("create", "POST", collection, partial(self._writer.create, kind)),
            ("deletecollection", "DELETE", collection, partial(self._writer.delete_all, kind)),
            ("delete", "DELETE", single, partial(self._writer.delete, kind)),
        ]
        if kind.namespaced:
            everywhere = f"{kind.root}/{kind.plural}"
            handlers.append(("list", "GET", everywhere, partial(self._reader.list, kind)))
        for part in (WHOLE, STATUS, SCALE):
            if part.subresource not in {"", *kind.subresources}:
                continue
            path = f"{single}/{part.subresource}".rstrip("/")
            handlers += [
                ("get", "GET", path, partial(self._reader.get, kind, part)),
                ("update", "PUT", path, partial(self._writer.replace, kind, part)),
                ("patch", "PATCH", path, partial(self._writer.patch, kind, part)),
            ]
        return [
            self._route(path, handler, method)
            for verb, method, path, handler in handlers
            if verb in kind.verbs
        ]

    def _route(
        self, path: str, handler: Callable[[Request], Awaitable[Response]], method: str = "GET"
    ) -> Route:
        async def authorized(request: Request) -> Response:
            authorize(request, self._token)
            return await handler(request)

        return Route(path, authorized, methods=[method])


def _fixed(content: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return JSONResponse(content)

    return answer


def _discovery(
    content: dict[str, Any], groups: Sequence[str]
) -> Callable[[Request], Awaitable[Response]]:
    """Answer with `content`, or with all of its groups at once where a client asks for that."""
    aggregated = kinds.aggregated(groups)

    async def answer(request: Request) -> Response:
        if kinds.AGGREGATED in request.headers.get("accept", "").replace(" ", ""):
            return JSONResponse(aggregated, media_type=kinds.AGGREGATED)
        return JSONResponse(content)

    return answer


def _published(document: openapi.Published) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        named = request.query_params.get("hash") == document.digest
        caching = "public, max-age=31536000, immutable" if named else "no-cache"
        headers = {"cache-control": caching, "etag": f'"{document.digest}"'}
        return Response(document.body, media_type="application/json", headers=headers)

    return answer


async def _openapi_v2(request: Request) -> Response:
    """Answer with a document of no schemas: they are in version 3 only.

    kubectl looks here for kinds that it finds nowhere else, before it says that they are not there.
    """
    if "protobuf" in request.headers.get("accept", ""):
        return Response(openapi.V2_PROTOBUF, media_type=openapi.V2_PROTOBUF_TYPE)
    return JSONResponse(openapi.V2)


async def _ok(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _answer_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.status, error.code)


async def _answer_no_room(_: Request, error: Exception) -> Response:
    refusal = ApiError(507, f"nothing was changed: {error}", reason="InsufficientStorage")
    return JSONResponse(refusal.status, refusal.code)


async def _answer_unknown_path(request: Request, error: Exception) -> Response:
    refusal = ApiError(
        error.status_code if isinstance(error, HTTPException) else 404,
        f"the local cluster has no {request.method} {request.url.path}; "
        "'kubectl api-resources' lists what it knows",
    )
    return JSONResponse(refusal.status, refusal.code)
