"""Get, list and watch: as objects, or as the tables that kubectl prints."""

import asyncio
import datetime
import json
import math
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from abserve.cluster.api.kinds import Kind
from abserve.cluster.api.parts import Part
from abserve.cluster.api.selectors import field_selector, label_selector
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document, Store
from abserve.cluster.api.tables import Include, included, table


class Reader:
    """Answers requests that change nothing.

    Parameters
    ----------
    store : Store
        The objects.
    now : callable
        The time, in UTC.
    """

    def __init__(self, store: Store, now: Callable[[], datetime.datetime]) -> None:
        self._store = store
        self._now = now

    async def get(self, kind: Kind, part: Part, request: Request) -> Response:
        document = self._store.get(kind, namespace_of(request), request.path_params["name"])
        if part.has_table and _wants_table(request):
            return JSONResponse(table(kind, [document], self._now(), _included(request)))
        return JSONResponse(part.shown(document))

    async def list(self, kind: Kind, request: Request) -> Response:
        if request.query_params.get("watch") in {"true", "1"}:
            # What cannot be read is refused before the answer has begun.
            events = self._watch(
                kind,
                request,
                _selection(kind, request),
                _since(request),
                _timeout_seconds(request),
                _included(request),
            )
            return StreamingResponse(events, media_type="application/json")
        _check_pages(request)
        documents = selected(self._store, kind, request)
        if _wants_table(request):
            shown = table(kind, documents, self._now(), _included(request))
            shown["metadata"] = {"resourceVersion": str(self._store.version)}
            return JSONResponse(shown)
        return JSONResponse(list_of(kind, documents, self._store.version))

    async def _watch(
        self,
        kind: Kind,
        request: Request,
        wanted: Callable[[Document], bool],
        since: int,
        seconds: float,
        include: Include,
    ) -> AsyncIterator[bytes]:
        def shown(document: Document) -> Document:
            as_table = _wants_table(request)
            return table(kind, [document], self._now(), include) if as_table else document

        initial = request.query_params.get("sendInitialEvents") == "true"
        if initial or since == 0:
            since = self._store.version
            for document in selected(self._store, kind, request):
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


def namespace_of(request: Request) -> str:
    """Return the namespace in a request's path; nothing where it has none."""
    return str(request.path_params.get("namespace", ""))


def selected(store: Store, kind: Kind, request: Request) -> Sequence[Document]:
    """Return the objects that a request for a collection is about.

    Raises
    ------
    ApiError
        400 if a selector cannot be read.
    """
    wanted = _selection(kind, request)
    namespace = request.path_params.get("namespace")
    return [document for document in store.list(kind, namespace) if wanted(document)]


def list_of(kind: Kind, documents: Sequence[Document], version: int) -> dict[str, Any]:
    return {
        "kind": f"{kind.name}List",
        "apiVersion": kind.api_version,
        "metadata": {"resourceVersion": str(version)},
        "items": documents,
    }


def _selection(kind: Kind, request: Request) -> Callable[[Document], bool]:
    labels = label_selector(request.query_params.get("labelSelector", ""))
    fields = field_selector(kind, request.query_params.get("fieldSelector", ""))
    return lambda document: labels(document) and fields(document)


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


def _included(request: Request) -> Include:
    return included(request.query_params.get("includeObject", ""))


def _check_pages(request: Request) -> None:
    """Check what would cut a list into pages; Kubernetes leaves it to the server, ours does not."""
    limit = request.query_params.get("limit") or "0"
    if not limit.isdecimal():
        raise ApiError(400, f"limit is {limit!r}; expected a whole number")
    if request.query_params.get("continue"):
        raise ApiError(400, "continue key is not valid: a list is answered whole; list again")


def _wants_table(request: Request) -> bool:
    return "as=Table" in request.headers.get("accept", "").replace(" ", "")


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
