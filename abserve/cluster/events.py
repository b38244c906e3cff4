"""Events: what happened to an object, for ``kubectl describe`` and ``kubectl events``."""

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Any, Literal

from abserve.cluster.api.kinds import EVENT
from abserve.cluster.api.store import Document, Store
from abserve.cluster.containers import CONFIG_ERROR, CRASH_LOOP, UNHEALTHY
from abserve.errors import ClusterError
from abserve.seldon import as_time

_LATEST_KEPT = 200
_LONGEST_MESSAGE = 1024

Severity = Literal["Normal", "Warning"]
Told = tuple[Severity, str, str]
"""Severity, reason and message of an event."""

_logger = logging.getLogger(__name__)


def record_event(
    store: Store,
    about: Document,
    severity: Severity,
    reason: str,
    message: str,
    now: dt.datetime,
) -> None:
    """Note that something happened to an object; the same again only counts up.

    One that there is no room for is lost: what happened goes on without it, as on Kubernetes.
    """
    try:
        _record(store, about, severity, reason, message, as_time(now))
    except ClusterError as error:
        _logger.warning("the event %s of %s is lost: %s", reason, about["metadata"]["name"], error)


def _record(
    store: Store, about: Document, severity: Severity, reason: str, message: str, time: str
) -> None:
    metadata = about["metadata"]
    namespace = metadata["namespace"]
    if len(message) > _LONGEST_MESSAGE:
        message = f"{message[: _LONGEST_MESSAGE - 3]}..."
    known = store.list(EVENT, namespace)
    earlier = next((each for each in known if _tells(each, metadata["uid"], reason, message)), None)
    if earlier is not None:
        store.update(EVENT, {**earlier, "lastTimestamp": time, "count": earlier["count"] + 1})
        return
    event: dict[str, Any] = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        # By name is by time, which is how they are listed: a time has only whole seconds.
        "metadata": {"name": f"{metadata['name']}.{store.version:016x}", "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "type": severity,
        "reason": reason,
        "message": message,
        "source": {"component": "abserve"},
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }
    store.create(EVENT, event)
    known.sort(key=_last_seen)
    for old in known[: max(0, len(known) + 1 - _LATEST_KEPT)]:
        store.delete(EVENT, namespace, old["metadata"]["name"])


def _tells(event: Document, uid: str, reason: str, message: str) -> bool:
    # By uid: what happened to an earlier object of the name happened to another.
    found = event["involvedObject"].get("uid"), event.get("reason"), event.get("message")
    return found == (uid, reason, message) and "count" in event


def _last_seen(event: Document) -> str:
    # A client need not say when; then it was when the event was written.
    return str(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])


def pod_events(before: Document, after: Document) -> Iterator[Told]:
    """Yield what happened to a Pod from one state to the next, as Kubernetes' kubelet words it.

    The copy of the model, which has no counterpart there, is Copying and Copied.
    """
    pod = after["metadata"]
    for initializer in _changed(before, after, "initContainerStatuses"):
        uri = after["spec"]["initContainers"][0]["args"][0]
        if "running" in initializer["state"]:
            yield "Normal", "Copying", f'Copying model "{uri}"'
        if initializer["state"].get("terminated", {}).get("exitCode") == 0:
            yield "Normal", "Copied", f'Copied model "{uri}"'
        yield from _trouble(initializer, pod["name"])
    for container in _changed(before, after, "containerStatuses"):
        if "running" in container["state"]:
            yield "Normal", "Created", f"Created container: {container['name']}"
            yield "Normal", "Started", f"Started container {container['name']}"
        yield from _trouble(container, pod["name"])
    if "deletionTimestamp" in pod.keys() - before["metadata"].keys():
        for status in after["status"]["containerStatuses"]:
            if "running" in status["state"]:
                yield "Normal", "Killing", f"Stopping container {status['name']}"


def _changed(before: Document, after: Document, field: str) -> list[Document]:
    """Return the statuses of containers that are in another state, or in another run."""
    return [
        new
        for old, new in zip(before["status"][field], after["status"][field], strict=True)
        if any(old[part] != new[part] for part in ("state", "restartCount"))
    ]


def _trouble(status: Document, pod: str) -> Iterator[Told]:
    waiting = status["state"].get("waiting") or {}
    ended = status["lastState"].get("terminated") or {}
    name = status["name"]
    if waiting.get("reason") == CONFIG_ERROR:
        yield "Warning", "Failed", f"Error: {waiting['message']}"
    if waiting.get("reason") == CRASH_LOOP:
        if ended["reason"] == UNHEALTHY:
            yield "Warning", "Unhealthy", f"Startup probe failed: {ended['message']}"
            yield "Normal", "Killing", f"Container {name} failed startup probe"
        message = f"Back-off restarting failed container {name} in pod {pod}: "
        yield "Warning", "BackOff", message + ended["message"]
