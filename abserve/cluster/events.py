"""Events: what happened to an object, for ``kubectl describe`` and ``kubectl get events``."""

import datetime as dt
import hashlib
from typing import Any, Literal

from abserve.cluster.api.kinds import EVENT, SELDON_DEPLOYMENT
from abserve.cluster.api.store import Document, Store

_LATEST_KEPT = 200


def record_event(
    store: Store,
    about: Document,
    severity: Literal["Normal", "Warning"],
    reason: str,
    message: str,
    now: dt.datetime,
) -> None:
    """Note that something happened to a SeldonDeployment; the same again only counts up."""
    metadata = about["metadata"]
    namespace = metadata["namespace"]
    told = hashlib.sha256(f"{reason}\n{message}".encode()).hexdigest()[:16]
    name = f"{metadata['name']}.{told}"
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    earlier = store.find(EVENT, namespace, name)
    event: dict[str, Any] = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.name,
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": SELDON_DEPLOYMENT.api_version,
            "kind": SELDON_DEPLOYMENT.name,
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "type": severity,
        "reason": reason,
        "message": message,
        "source": {"component": "abserve"},
        "firstTimestamp": earlier["firstTimestamp"] if earlier else time,
        "lastTimestamp": time,
        "count": earlier["count"] + 1 if earlier else 1,
    }
    if earlier:
        store.update(EVENT, event)
    else:
        store.create(EVENT, event)
        for old in _oldest(store, namespace):
            store.delete(EVENT, namespace, old["metadata"]["name"])


def _oldest(store: Store, namespace: str) -> list[Document]:
    events = sorted(store.list(EVENT, namespace), key=lambda event: str(event["lastTimestamp"]))
    return events[:-_LATEST_KEPT]
