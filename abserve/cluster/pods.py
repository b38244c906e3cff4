"""Replicas as Pods: what the API shows of them, their events, logs, metrics and deletion."""

import datetime as dt
from collections.abc import AsyncIterator, Callable

import aiohttp

from abserve.cluster.api.kinds import POD
from abserve.cluster.api.logs import LogOptions
from abserve.cluster.api.status import ApiError, not_found
from abserve.cluster.api.store import Document, Store
from abserve.cluster.containers import Container, Waiting
from abserve.cluster.events import pod_events, record_event
from abserve.cluster.logs import read_log
from abserve.cluster.pod_documents import PodTemplate
from abserve.cluster.ports import HOST
from abserve.cluster.replica import Replica

_PROXY_SECONDS = 30.0


class PodRegistry:
    """The replicas that run now, by namespace and name."""

    def __init__(
        self, store: Store, http: aiohttp.ClientSession, now: Callable[[], dt.datetime]
    ) -> None:
        self.now = now
        self._store = store
        self._http = http
        self._replicas: dict[tuple[str, str], Replica] = {}

    def show(self, replica: Replica, template: PodTemplate) -> None:
        """Write the replica's Pod as it is now, and tell what happened to it since."""
        key = (replica.spec.namespace, replica.spec.name)
        self._replicas[key] = replica
        now = self.now()
        earlier = self._store.find(POD, *key)
        document = template.document(replica, earlier, now)
        if earlier is None:
            self._store.create(POD, document)
            return
        self._store.update(POD, document)
        for event in pod_events(earlier, document):
            record_event(self._store, document, *event, now)

    def remove(self, replica: Replica) -> None:
        key = (replica.spec.namespace, replica.spec.name)
        if self._replicas.pop(key, None) is not None:
            self._store.delete(POD, *key)

    def delete(self, namespace: str, name: str) -> Document:
        """Let another replica take this one's place; return the Pod, which ends in order."""
        self._find(namespace, name).dismiss()
        return self._store.get(POD, namespace, name)

    def log(self, namespace: str, name: str, options: LogOptions) -> AsyncIterator[bytes]:
        """Return what a container of a pod said, piece by piece.

        Raises
        ------
        ApiError
            If there is no such pod, container or run.
        """
        replica = self._find(namespace, name)
        container = _container(replica, options.container)
        run = _run(container, name, previous=options.previous)
        try:
            return read_log(
                container.logs.path(run),
                options,
                began=container.run_began(run),
                running=lambda: container.is_running(run),
            )
        except FileNotFoundError:
            raise ApiError(
                404, f"the log of container {container.name!r} in pod {name!r} was removed"
            ) from None

    async def proxy(
        self, namespace: str, name: str, port: int | None, path: str
    ) -> tuple[int, str, bytes]:
        """Fetch a path from one of the replica's own ports; return status, type and body."""
        replica = self._find(namespace, name)
        own = {replica.ports.http, replica.ports.metrics} if replica.ports else set()
        if port is None and replica.ports is not None:
            port = replica.ports.http
        if port not in own:
            raise ApiError(
                400, f"pod {name!r} has no port {port}; expected one of {sorted(own) or 'none yet'}"
            )
        try:
            async with self._http.get(
                f"http://{HOST}:{port}/{path}",
                timeout=aiohttp.ClientTimeout(total=_PROXY_SECONDS),
            ) as response:
                return response.status, response.content_type, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(503, f"pod {name!r} does not answer on port {port}: {error}") from error

    def _find(self, namespace: str, name: str) -> Replica:
        try:
            return self._replicas[namespace, name]
        except KeyError:
            raise not_found(POD.plural, "", name) from None


def _container(replica: Replica, name: str | None) -> Container:
    for container in (replica.container, replica.initializer):
        if name in {None, container.name}:
            return container
    raise ApiError(
        400,
        f"container {name} is not valid for pod {replica.spec.name}; choose one of: "
        f"[{replica.container.name}] or one of the init containers: [{replica.initializer.name}]",
    )


def _run(container: Container, pod: str, *, previous: bool) -> int:
    """Return the run whose log to show; while a container waits, that is the one that ended."""
    waiting = container.state if isinstance(container.state, Waiting) else None
    run = container.logs.newest - (previous and waiting is None)
    if run >= 0:
        return run
    where = f'container "{container.name}" in pod "{pod}"'
    if previous or waiting is None:
        raise ApiError(400, f"previous terminated {where} not found")
    raise ApiError(400, f"{where} is waiting to start: {waiting.reason}")
