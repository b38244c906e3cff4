"""Replicas as Pods: what the API shows of them, their logs, and the way to their metrics."""

import datetime as dt
from collections.abc import Callable, Mapping

import aiohttp

from abserve.cluster.api.kinds import POD
from abserve.cluster.api.status import ApiError, not_found
from abserve.cluster.api.store import Document, Store
from abserve.cluster.ports import HOST
from abserve.cluster.replica import Replica

_PROXY_SECONDS = 30.0

# Our phases in Kubernetes' words.
_PHASES = {
    "Pending": "Pending",
    "Starting": "Running",
    "Ready": "Running",
    "Waiting": "Pending",
    "Terminating": "Running",
}
_SHOWN = {
    "Pending": "Init:0/1",
    "Starting": "ContainerCreating",
    "Ready": "Running",
    "Waiting": "CrashLoopBackOff",
    "Terminating": "Terminating",
}


class PodRegistry:
    """The replicas that run now, by namespace and name."""

    def __init__(
        self, store: Store, http: aiohttp.ClientSession, now: Callable[[], dt.datetime]
    ) -> None:
        self._store = store
        self._now = now
        self._http = http
        self._replicas: dict[tuple[str, str], Replica] = {}

    def show(self, replica: Replica, labels: Mapping[str, str]) -> None:
        """Write the replica's Pod as it is now."""
        key = (replica.spec.namespace, replica.spec.name)
        self._replicas[key] = replica
        document = _pod(replica, labels)
        current = self._store.find(POD, *key)
        if current is None:
            self._store.create(POD, document)
        else:
            document["metadata"] = current["metadata"]
            if replica.phase == "Terminating":
                now = self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
                document["metadata"].setdefault("deletionTimestamp", now)
            self._store.update(POD, document)

    def remove(self, replica: Replica) -> None:
        key = (replica.spec.namespace, replica.spec.name)
        if self._replicas.pop(key, None) is not None:
            self._store.delete(POD, *key)

    def logs(self, namespace: str, name: str, n_lines: int | None) -> str:
        """Return a replica's log, or its last `n_lines` lines."""
        try:
            text = self._find(namespace, name).log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        if n_lines is None:
            return text
        return "".join(text.splitlines(keepends=True)[-n_lines:] if n_lines else [])

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


def _pod(replica: Replica, labels: Mapping[str, str]) -> Document:
    ports = (
        [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (
                ("http", replica.ports.http),
                ("grpc", replica.ports.grpc),
                ("metrics", replica.ports.metrics),
            )
        ]
        if replica.ports
        else []
    )
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": replica.spec.name,
            "namespace": replica.spec.namespace,
            "labels": dict(labels),
        },
        "spec": {"containers": [{"name": replica.spec.model, "ports": ports}]},
        "status": {
            "phase": _PHASES[replica.phase],
            "reason": _SHOWN[replica.phase],
            "message": replica.message,
            "podIP": HOST,
            "conditions": [{"type": "Ready", "status": str(replica.ready)}],
            "containerStatuses": [
                {
                    "name": replica.spec.model,
                    "ready": replica.ready,
                    "restartCount": replica.n_restarts,
                    "image": "",
                    "imageID": "",
                    "state": {},
                }
            ],
        },
    }
