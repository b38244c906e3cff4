"""What belongs to a pod alone: its log, the way to its metrics, and its end.

Objects of other kinds are gone once they are deleted. A pod goes on until its replica has answered
what it was asked, so whoever runs the pods is told, and removes the object at the end.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from abserve.cluster.api.bodies import content_type, parse, read_body
from abserve.cluster.api.kinds import POD
from abserve.cluster.api.logs import LogOptions, log_options
from abserve.cluster.api.options import DeleteOptions
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.store import Document, Store

_UNSUPPORTED = ("attach", "exec", "portforward")
_NOT_IMPLEMENTED = 501


class Pods(Protocol):
    """What the API needs of whoever runs the pods."""

    def log(self, namespace: str, name: str, options: LogOptions) -> AsyncIterator[bytes]: ...

    def delete(self, namespace: str, name: str) -> Document: ...

    async def proxy(
        self, namespace: str, name: str, port: int | None, path: str
    ) -> tuple[int, str, bytes]: ...


class PodRequests:
    """Answers requests for what belongs to a pod.

    Parameters
    ----------
    store : Store
        The objects.
    pods : Pods
        Whoever runs them.
    now : callable
        The time, in UTC.
    """

    def __init__(self, store: Store, pods: Pods, now: Callable[[], dt.datetime]) -> None:
        self._store = store
        self._pods = pods
        self._now = now

    def routes(self) -> Iterator[tuple[str, str, Callable[[Request], Awaitable[Response]]]]:
        """Yield method, path and handler of each."""
        pod = f"{POD.root}/namespaces/{{namespace}}/pods/{{name}}"
        yield "DELETE", pod, self._delete
        yield "GET", f"{pod}/log", self._log
        yield "GET", f"{pod}/proxy/{{path:path}}", self._proxy
        for subresource in _UNSUPPORTED:
            for method in ("GET", "POST"):
                yield method, f"{pod}/{subresource}", self._refuse

    async def _log(self, request: Request) -> Response:
        namespace, name = _place(request)
        self._store.get(POD, namespace, name)
        options = log_options(name, request.query_params, self._now())
        # What cannot be shown is refused here, before the answer has begun.
        pieces = self._pods.log(namespace, name, options)
        return StreamingResponse(pieces, media_type="text/plain")

    async def _delete(self, request: Request) -> Response:
        body = await read_body(request)
        sent = parse(content_type(request), body).document if body else {}
        options = DeleteOptions.of(request, sent)
        namespace, name = _place(request)
        pod = self._store.get(POD, namespace, name)
        options.check(POD, pod)
        return JSONResponse(pod if options.dry_run else self._pods.delete(namespace, name))

    async def _proxy(self, request: Request) -> Response:
        namespace, named = _place(request)
        name, _, port = named.partition(":")
        if port and not port.isdecimal():
            raise ApiError(400, f"port {port!r} is no number; expected <pod>:<port>")
        self._store.get(POD, namespace, name)
        code, media_type, body = await self._pods.proxy(
            namespace, name, int(port) if port else None, request.path_params["path"]
        )
        return Response(body, code, media_type=media_type)

    async def _refuse(self, request: Request) -> Response:
        namespace, name = _place(request)
        self._store.get(POD, namespace, name)
        wanted = request.url.path.rpartition("/")[2]
        raise ApiError(
            _NOT_IMPLEMENTED,
            f"the local cluster has no {wanted}: pod {name!r} is a process of this machine, on "
            "ports of its own; 'kubectl describe pod' shows its number and its ports",
            reason="NotImplemented",
        )


def _place(request: Request) -> tuple[str, str]:
    return request.path_params["namespace"], request.path_params["name"]
