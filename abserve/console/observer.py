"""Looks at the namespace at a steady pace, and tells whoever watches that there is news.

::

    every 10 s   list, read every replica, add a point and a block
    every  2 s   while somebody watches: list, and read the replicas of what is watched

Replicas are read in parallel, and nobody waits for a slow one: what it says is taken up when it
comes, and one that could not be read is left alone until the next block.
"""

import asyncio
import collections
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from abserve.console.cluster import Cluster, Document
from abserve.console.deployment import Deployment
from abserve.console.ledger import POINT_SECONDS
from abserve.console.objects import Pod, read_pod
from abserve.errors import AbserveError
from abserve.telemetry import read_counts

LOOK_SECONDS = 2.0
_PATIENCE_SECONDS = 1.0
# Together as many as the client library keeps connections.
_LISTERS, _READERS = 2, 8

T = TypeVar("T")


class Observer:
    """What is known of a namespace.

    Parameters
    ----------
    cluster : Cluster
        The namespace.
    now : callable, optional
        The time, in seconds since 1970.
    """

    def __init__(self, cluster: Cluster, now: Callable[[], float] = time.time) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.seen_at: float | None = None
        self.away: str | None = None
        self.closed = False
        self._cluster = cluster
        self._now = now
        self._watched: collections.Counter[str] = collections.Counter()
        self._n_looks = 0
        self._news = asyncio.Condition()
        self._wanted = asyncio.Event()
        self._reading: dict[str, asyncio.Task[None]] = {}
        # Apart, so that replicas which hang do not keep the lists waiting.
        self._listers = ThreadPoolExecutor(_LISTERS, "console-list")
        self._readers = ThreadPoolExecutor(_READERS, "console-read")

    async def run(self) -> None:
        """Look until cancelled."""
        block_ends = 0.0
        try:
            while True:
                began = time.monotonic()
                self._wanted.clear()
                ends_block = began >= block_ends
                await self.look(ends_block=ends_block)
                if ends_block:
                    block_ends = began + POINT_SECONDS
                pace = LOOK_SECONDS if self._watched else POINT_SECONDS
                pause = min(began + pace, block_ends) - time.monotonic()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wanted.wait(), max(pause, 0.0))
        finally:
            self._listers.shutdown(wait=False, cancel_futures=True)
            self._readers.shutdown(wait=False, cancel_futures=True)

    async def look(self, *, ends_block: bool) -> None:
        """Read the namespace once, and every replica that is due."""
        try:
            documents, pods, events = await asyncio.gather(
                self._in(self._listers, self._cluster.deployments),
                self._in(self._listers, self._cluster.pods),
                self._in(self._listers, self._cluster.events),
            )
        except AbserveError as error:
            self.away = str(error)
            await self._tell()
            return
        at = self._now()
        self._show(documents, pods, events, at)
        await self._read_replicas(everything=ends_block)
        at = self._now()
        for deployment in self.deployments.values():
            deployment.mark(at)
            if ends_block:
                deployment.end_block(at)
                # Many experiments take a while to compute; the page does not wait for all.
                await asyncio.sleep(0)
        self.away, self.seen_at = None, at
        await self._tell()

    async def log(self, pod: str, n_lines: int) -> str | None:
        """Return the last lines of a replica's log; None if no such replica is known.

        Raises
        ------
        KubernetesError
            If the cluster refuses.
        """
        containers = (each.container_of(pod) for each in self.deployments.values())
        container = next((each for each in containers if each), None)
        if container is None:
            return None
        return await self._in(self._listers, self._cluster.log, pod, container, n_lines)

    @contextlib.contextmanager
    def watching(self, name: str) -> Iterator[None]:
        """Look often for as long as the block lasts, at the deployment `name` if there is one."""
        self._watched[name] += 1
        self._wanted.set()
        try:
            yield
        finally:
            self._watched[name] -= 1
            self._watched += collections.Counter()

    async def news(self, since: int) -> int:
        """Wait for a look later than `since`; return its number."""
        async with self._news:
            await self._news.wait_for(lambda: self._n_looks > since or self.closed)
            return self._n_looks

    async def hurry(self) -> None:
        """Tell the watchers at once, and look again soon: something was changed."""
        self._wanted.set()
        await self._tell()

    async def close(self) -> None:
        """Let all that wait for news go."""
        self.closed = True
        await self._tell()

    def _show(
        self,
        documents: list[Document],
        pod_documents: list[Document],
        events: list[Document],
        at: float,
    ) -> None:
        pods: dict[str, list[Pod]] = collections.defaultdict(list)
        for pod in map(read_pod, pod_documents):
            pods[pod.deployment].append(pod)
        names = [str(document["metadata"]["name"]) for document in documents]
        known = self.deployments
        self.deployments = {}
        for name, document in sorted(zip(names, documents, strict=True), key=lambda each: each[0]):
            deployment = known.get(name)
            if deployment is None or deployment.uid != document["metadata"].get("uid", ""):
                appeared = self.seen_at is not None
                deployment = Deployment(document, at, from_the_start=appeared)
            deployment.show(document, pods[name])
            deployment.tell(events)
            self.deployments[name] = deployment

    async def _read_replicas(self, *, everything: bool) -> None:
        for deployment in self.deployments.values():
            if everything or self._watched[deployment.name]:
                for pod in deployment.pods.values():
                    retried = everything or not deployment.failed_to_read(pod.name)
                    if pod.ready and retried and pod.name not in self._reading:
                        task = asyncio.create_task(self._read(deployment, pod))
                        self._reading[pod.name] = task
        if self._reading:
            await asyncio.wait(self._reading.values(), timeout=_PATIENCE_SECONDS)

    async def _read(self, deployment: Deployment, pod: Pod) -> None:
        try:
            if pod.metrics_port is None:
                deployment.miss(pod.name, "no port named 'metrics', so its counts are not known")
                return
            text = await self._in(self._readers, self._cluster.metrics, pod.name, pod.metrics_port)
            deployment.take(pod.name, read_counts(text, deployment.spec.model))
        except AbserveError as error:
            deployment.miss(pod.name, f"its counts could not be read: {error}")
        finally:
            del self._reading[pod.name]

    @staticmethod
    async def _in(pool: ThreadPoolExecutor, call: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)

    async def _tell(self) -> None:
        async with self._news:
            self._n_looks += 1
            self._news.notify_all()
