"""The API's paths: discovery, objects, watches and what belongs to a pod."""

import asyncio
import datetime
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from abserve.cluster.api import kinds
from abserve.cluster.api.kinds import KINDS, NAMESPACE, POD, Kind
from abserve.cluster.api.patches import apply_patch
from abserve.cluster.api.requests import authorize, check_document, parse_document, read_body
from abserve.cluster.api.selectors import field_selector, label_selector
from abserve.cluster.api.status import ApiError, deleted
from abserve.cluster.api.store import Document, Store
from abserve.cluster.api.tables import table


class Pods(Protocol):
    """What the API needs of whoever runs the pods."""

    def logs(self, namespace: str, name: str, n_lines: int | None) -> str: ...

    async def proxy(
        self, namespace: str, name: str, port: int | None, path: str
    ) -> tuple[int, str, bytes]: ...


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
        Answers for logs and metrics.
    now : callable
        The time, in UTC.
    """

    def __init__(
        self,
        store: Store,
        token: str,
        admit: Callable[[Kind, Document], tuple[Document, Sequence[str]]],
        pods: Pods,
        now: Callable[[], datetime.datetime],
    ) -> None:
        self._store = store
        self._token = token
        self._admit = admit
        self._pods = pods
        self._now = now
        self.app = Starlette(
            routes=self._routes(),
            exception_handlers={
                ApiError: _answer_refusal,
                404: _answer_unknown_path,
                405: _answer_unknown_path,
            },
        )

    def _routes(self) -> list[Route]:
        routes = [
            self._route("/version", _fixed({"major": "1", "minor": "31", "gitVersion": "v1.31.0"})),
            *(self._route(path, _ok) for path in ("/healthz", "/livez", "/readyz")),
            self._route("/api", _fixed({"kind": "APIVersions", "versions": ["v1"]})),
            self._route("/apis", _fixed(kinds.group_list())),
            self._route("/api/v1", _fixed(kinds.resource_list(""))),
            self._route("/openapi/v3", _fixed(_openapi_index())),
            self._route("/openapi/v3/api/v1", _fixed(kinds.openapi(""))),
        ]
        for group in kinds.groups():
            root = f"/apis/{group}/v1"
            routes.append(self._route(root, _fixed(kinds.resource_list(group))))
            routes.append(self._route(f"/openapi/v3{root}", _fixed(kinds.openapi(group))))
        for kind in KINDS:
            routes.extend(self._kind_routes(kind))
        pod = f"{POD.root}/namespaces/{{namespace}}/pods"
        routes.append(self._route(f"{pod}/{{name}}/log", self._log))
        routes.append(self._route(f"{pod}/{{name}}/proxy/{{path:path}}", self._proxy))
        return routes

    def _kind_routes(self, kind: Kind) -> list[Route]:
        scope = "/namespaces/{namespace}" if kind.namespaced else ""
        collection = f"{kind.root}{scope}/{kind.plural}"
        single = f"{collection}/{{name}}"
        routes = [
            self._route(collection, self._bind(self._list, kind)),
            self._route(single, self._bind(self._get, kind)),
        ]
        if kind.namespaced:
            routes.append(self._route(f"{kind.root}/{kind.plural}", self._bind(self._list, kind)))
        for verb, method, path, handler in (
            ("create", "POST", collection, self._create),
            ("update", "PUT", single, self._update),
            ("patch", "PATCH", single, self._patch),
            ("delete", "DELETE", single, self._delete),
        ):
            if verb in kind.verbs:
                routes.append(self._route(path, self._bind(handler, kind), method))
        routes.extend(
            self._route(f"{single}/{subresource}", self._bind(self._get, kind))
            for subresource in kind.subresources
            if subresource == "status"
        )
        return routes

    def _route(
        self, path: str, handler: Callable[[Request], Awaitable[Response]], method: str = "GET"
    ) -> Route:
        async def authorized(request: Request) -> Response:
            authorize(request, self._token)
            return await handler(request)

        return Route(path, authorized, methods=[method])

    @staticmethod
    def _bind(
        handler: Callable[[Kind, Request], Awaitable[Response]], kind: Kind
    ) -> Callable[[Request], Awaitable[Response]]:
        async def bound(request: Request) -> Response:
            return await handler(kind, request)

        return bound

    async def _get(self, kind: Kind, request: Request) -> Response:
        document = self._store.get(kind, _namespace(request), request.path_params["name"])
        if _wants_table(request):
            return JSONResponse(table(kind, [document], self._now()))
        return JSONResponse(document)

    async def _list(self, kind: Kind, request: Request) -> Response:
        if request.query_params.get("watch") in {"true", "1"}:
            # What cannot be read is refused before the answer has begun.
            events = self._watch(
                kind, request, _selection(request), _since(request), _timeout_seconds(request)
            )
            return StreamingResponse(events, media_type="application/json")
        documents = self._selected(kind, request)
        if _wants_table(request):
            shown = table(kind, documents, self._now())
            shown["metadata"] = {"resourceVersion": str(self._store.version)}
            return JSONResponse(shown)
        return JSONResponse(
            {
                "kind": f"{kind.name}List",
                "apiVersion": kind.api_version,
                "metadata": {"resourceVersion": str(self._store.version)},
                "items": documents,
            }
        )

    async def _create(self, kind: Kind, request: Request) -> Response:
        namespace = _namespace(request)
        if kind.namespaced:
            self._store.get(NAMESPACE, "", namespace)
        sent = parse_document(_content_type(request), await read_body(request))
        checked = check_document(kind, _without_status(kind, sent), namespace, None)
        document, warnings = self._admit(kind, checked)
        stored = self._store.create(kind, document, dry_run=_dry_run(request))
        return JSONResponse(stored, 201, headers=_warning_headers(warnings))

    async def _update(self, kind: Kind, request: Request) -> Response:
        sent = parse_document(_content_type(request), await read_body(request))
        return self._replace(kind, request, sent)

    async def _patch(self, kind: Kind, request: Request) -> Response:
        body = await read_body(request)
        current = self._store.get(kind, _namespace(request), request.path_params["name"])
        patched = apply_patch(kind, current, _content_type(request), body)
        return self._replace(kind, request, patched)

    def _replace(self, kind: Kind, request: Request, sent: Document) -> Response:
        namespace, name = _namespace(request), request.path_params["name"]
        current = self._store.get(kind, namespace, name)
        checked = check_document(kind, _without_status(kind, sent), namespace, name)
        if kind is kinds.SELDON_DEPLOYMENT and "status" in current:
            checked["status"] = current["status"]
        document, warnings = self._admit(kind, checked)
        stored = self._store.update(kind, document, dry_run=_dry_run(request))
        return JSONResponse(stored, headers=_warning_headers(warnings))

    async def _delete(self, kind: Kind, request: Request) -> Response:
        namespace, name = _namespace(request), request.path_params["name"]
        if kind is NAMESPACE and name in kinds.OWN_NAMESPACES:
            raise ApiError(403, f"namespace {name!r} belongs to the cluster and stays")
        document = self._store.delete(kind, namespace, name, dry_run=_dry_run(request))
        return JSONResponse(deleted(kind.plural, kind.group, name, document["metadata"]["uid"]))

    async def _log(self, request: Request) -> Response:
        lines = request.query_params.get("tailLines")
        if lines is not None and not lines.isdecimal():
            raise ApiError(400, f"tailLines is {lines!r}; expected a whole number")
        namespace, name = _namespace(request), request.path_params["name"]
        self._store.get(POD, namespace, name)
        return PlainTextResponse(
            self._pods.logs(namespace, name, int(lines) if lines is not None else None)
        )

    async def _proxy(self, request: Request) -> Response:
        namespace = _namespace(request)
        name, _, port = request.path_params["name"].partition(":")
        if port and not port.isdecimal():
            raise ApiError(400, f"port {port!r} is no number; expected <pod>:<port>")
        self._store.get(POD, namespace, name)
        code, content_type, body = await self._pods.proxy(
            namespace, name, int(port) if port else None, request.path_params["path"]
        )
        return Response(body, code, media_type=content_type)

    def _selected(self, kind: Kind, request: Request) -> list[Document]:
        wanted = _selection(request)
        namespace = request.path_params.get("namespace")
        return [document for document in self._store.list(kind, namespace) if wanted(document)]

    async def _watch(
        self,
        kind: Kind,
        request: Request,
        wanted: Callable[[Document], bool],
        since: int,
        seconds: float,
    ) -> AsyncIterator[bytes]:
        shown = (lambda d: table(kind, [d], self._now())) if _wants_table(request) else _unchanged
        initial = request.query_params.get("sendInitialEvents") == "true"
        if initial or since == 0:
            since = self._store.version
            for document in self._selected(kind, request):
                yield _line("ADDED", shown(document))
            if initial:
                yield _line("BOOKMARK", _bookmark(kind, since))
        changes = self._store.watch(kind, request.path_params.get("namespace"), since)
        try:
            async with asyncio.timeout(seconds):
                async for event in changes:
                    if wanted(event.document):
                        yield _line(event.change, shown(event.document))
        except TimeoutError:
            return
        except ApiError as error:
            yield _line("ERROR", error.status)


def _selection(request: Request) -> Callable[[Document], bool]:
    labels = label_selector(request.query_params.get("labelSelector", ""))
    fields = field_selector(request.query_params.get("fieldSelector", ""))
    return lambda document: labels(document) and fields(document)


def _namespace(request: Request) -> str:
    return str(request.path_params.get("namespace", ""))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip()


def _dry_run(request: Request) -> bool:
    given = [each for each in request.query_params.getlist("dryRun") if each]
    if any(each != "All" for each in given):
        raise ApiError(400, f"dryRun is {', '.join(given)}; expected All, or nothing")
    return bool(given)


def _since(request: Request) -> int:
    text = request.query_params.get("resourceVersion") or "0"
    if not text.isdecimal():
        raise ApiError(400, f"resourceVersion is {text!r}; expected one that a list told")
    return int(text)


def _timeout_seconds(request: Request) -> float:
    text = request.query_params.get("timeoutSeconds") or "3600"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ApiError(400, f"timeoutSeconds is {text!r}; expected a number of seconds")
    return seconds


def _wants_table(request: Request) -> bool:
    return "as=Table" in request.headers.get("accept", "").replace(" ", "")


def _without_status(kind: Kind, document: Document) -> Document:
    """Take away what only the cluster writes."""
    if kind is not kinds.SELDON_DEPLOYMENT:
        return document
    return {key: value for key, value in document.items() if key != "status"}


def _warning_headers(warnings: Sequence[str]) -> dict[str, str] | None:
    if not warnings:
        return None
    # They repeat names from the document, which may hold what a header must not.
    text = "".join(
        letter if letter.isascii() and letter.isprintable() else f"\\u{ord(letter):04x}"
        for letter in "; ".join(warnings)
    )
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return {"Warning": f'299 - "{quoted}"'}


def _unchanged(document: Document) -> Document:
    return document


def _line(change: str, shown: Document) -> bytes:
    return json.dumps({"type": change, "object": shown}).encode() + b"\n"


def _bookmark(kind: Kind, version: int) -> Document:
    return {
        "kind": kind.name,
        "apiVersion": kind.api_version,
        "metadata": {
            "resourceVersion": str(version),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }


def _openapi_index() -> dict[str, Any]:
    roots = ["api/v1", *(f"apis/{group}/v1" for group in kinds.groups())]
    return {"paths": {root: {"serverRelativeURL": f"/openapi/v3/{root}"} for root in roots}}


def _fixed(content: dict[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return JSONResponse(content)

    return answer


async def _ok(_: Request) -> Response:
    return PlainTextResponse("ok")


async def _answer_refusal(_: Request, error: Exception) -> Response:
    if not isinstance(error, ApiError):
        raise error
    return JSONResponse(error.status, error.code)


async def _answer_unknown_path(request: Request, error: Exception) -> Response:
    refusal = ApiError(
        error.status_code if isinstance(error, HTTPException) else 404,
        f"the local cluster has no {request.method} {request.url.path}; "
        "'kubectl api-resources' lists what it knows",
    )
    return JSONResponse(refusal.status, refusal.code)
