"""Server-sent events: each kind of news is sent once, and again only when it differs.

::

    tick        when the cluster was last seen, and why it is away     every look
    namespace   the list of deployments
    deployment  all about the one that is looked at, but its past
    change      the latest change of it
    charts      its last quarter of an hour                            every block
    experiment  its evidence                                           every block
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from abserve.console.changes import Changes
from abserve.console.cluster import Cluster
from abserve.console.observer import Observer

_RETRY_MILLISECONDS = 2000
# Somewhere between a browser and us, a silent connection may be taken for a dead one.
_SILENCE_SECONDS = 15.0


async def stream(
    observer: Observer, changes: Changes, cluster: Cluster, name: str
) -> AsyncIterator[bytes]:
    """Yield the events of one page until the console ends.

    Parameters
    ----------
    observer, changes, cluster
        What there is to tell.
    name : str
        The deployment that is looked at; empty for none.
    """
    yield f"retry: {_RETRY_MILLISECONDS}\n\n".encode()
    sent: dict[str, bytes] = {}
    seen = -1
    with observer.watching(name):
        while not observer.closed:
            try:
                seen = await asyncio.wait_for(observer.news(seen), _SILENCE_SECONDS)
            except TimeoutError:
                yield b": nothing new\n\n"
                continue
            for kind, value in _news(observer, changes, cluster, name):
                message = event(kind, value)
                if sent.get(kind) != message:
                    sent[kind] = message
                    yield message


def event(kind: str, value: Any) -> bytes:
    """Return one event; JSON holds no line break, so its data is one line."""
    return f"event: {kind}\ndata: {json.dumps(value, separators=(',', ':'))}\n\n".encode()


def _news(
    observer: Observer, changes: Changes, cluster: Cluster, name: str
) -> Iterator[tuple[str, Any]]:
    yield "tick", {"at": observer.seen_at, "away": observer.away}
    yield (
        "namespace",
        {
            "server": cluster.server,
            "namespace": cluster.namespace,
            "known": observer.seen_at is not None,
            "deployments": [each.overview() for each in observer.deployments.values()],
        },
    )
    deployment = observer.deployments.get(name)
    yield "deployment", deployment.detail() if deployment else None
    yield "change", changes.of(name)
    if deployment:
        yield "charts", deployment.charts()
        yield "experiment", deployment.experiment()
