"""Records what the replicas of a cluster count, at a steady pace.

::

    every 5 s   list the SeldonDeployments ──> list the replicas of those with two variants
                ──> read what each of them exposes, in parallel ──> one look in the recording

Looks are taken at whole multiples of the pace since 1970, where the edges of blocks are as well.
A replica that does not answer in time is left out of that look; nobody waits for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import urllib3.exceptions

from abserve.errors import AbserveError, KubernetesError, TelemetryError
from abserve.promotion import Kubernetes
from abserve.promotion.availability import generation_of, is_available
from abserve.promotion.kubernetes import Document, Pod
from abserve.rollout.recording import STALE_AFTER
from abserve.rollout.recording_writer import RecordingWriter
from abserve.seldon import Predictor, SeldonDeployment, service_name, weights_of
from abserve.telemetry import ReplicaReading, read_replica

_N_VARIANTS = 2

# How long an answer may take: for the lists and the replicas together less than the pace.
_PATIENCE_SECONDS = 2.0
_PATIENCE = 0.4
# A look that begins later than this does not bear the time it was due at.
_LATE_SECONDS = 1.0
_PRUNE_SECONDS = 60
# Together as many as the client library keeps connections.
_LISTERS, _READERS = 2, 8
_CLUSTER, _CLOCK, _RECORDING = "the cluster", "the clock", "the recording"
_SILENT = "it does not answer in time, so its counts are not known"

T = TypeVar("T")


class Recorder:
    """Records every SeldonDeployment of two variants, in all namespaces.

    Parameters
    ----------
    connect : callable
        Returns the cluster as seen from a namespace, whose answers may take that many seconds. It
        is called again after the cluster was away, and is to read the kubeconfig anew.
    recording : RecordingWriter
        Takes what was read.
    every_seconds : int
        The pace.
    report : callable
        Told once what goes wrong, and once that it is over.
    now : callable, optional
        The time, in seconds since 1970.
    """

    def __init__(
        self,
        connect: Callable[[str | None, float], Kubernetes],
        recording: RecordingWriter,
        every_seconds: int,
        report: Callable[[str], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._connect = connect
        self._recording = recording
        self._every_seconds = every_seconds
        self._report = report
        self._now = now
        self._patience_seconds = min(_PATIENCE_SECONDS, _PATIENCE * every_seconds)
        self._last_look = recording.last_look() or 0.0
        self._pruned_at = 0.0
        self._troubles: dict[str, str] = {}
        self._clusters: dict[str | None, Kubernetes] = {}
        self._asked: set[str] = set()
        # Apart, so that replicas which hang do not keep the lists waiting.
        self._listers = ThreadPoolExecutor(_LISTERS, "recorder-list")
        self._readers = ThreadPoolExecutor(_READERS, "recorder-read")

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self.look(await self._next())
        finally:
            self._listers.shutdown(wait=False, cancel_futures=True)
            self._readers.shutdown(wait=False, cancel_futures=True)

    async def look(self, due: float) -> None:
        """Look once, at what is to bear the time `due`."""
        troubles: dict[str, str] = {}
        if self._is_ahead(due, troubles):
            await self._look(due, troubles)
        for about, trouble in troubles.items():
            if about not in self._troubles:
                self._report(f"{about}: {trouble}")
        for about in self._troubles:
            if about not in troubles:
                self._report(f"{about}: that is over")
        self._troubles = troubles

    async def _next(self) -> float:
        """Wait until a look is due; return the time it was due at."""
        while True:
            now = self._now()
            due = (now // self._every_seconds + 1) * self._every_seconds
            await asyncio.sleep(due - now)
            # The clock may have been set meanwhile, and a sleep may end a little early.
            if due <= self._now() < due + self._every_seconds:
                return due

    def _is_ahead(self, due: float, troubles: dict[str, str]) -> bool:
        """Tell whether a look comes after all there are, which a clock that was set may deny."""
        behind = self._last_look - due
        if behind < 0:
            return True
        if behind <= STALE_AFTER * self._every_seconds:
            set_back = f"it was set back; looks go on in {behind:g} s"
            troubles.update({**self._troubles, _CLOCK: set_back})
            return False
        self._recording.begin_anew(
            f"the last look is dated {behind:g} s from now: the clock was wrong then, or is now"
        )
        self._last_look = due
        return True

    async def _look(self, due: float, troubles: dict[str, str]) -> None:
        try:
            documents = await self._in(
                self._listers, lambda: self._cluster(None).deployments(everywhere=True)
            )
        except KubernetesError as error:
            # What was wrong with its replicas may still be.
            troubles.update({**self._troubles, _CLUSTER: str(error)})
            # It may come back elsewhere, and then the kubeconfig says where.
            self._clusters.clear()
            return
        now = self._now()
        at = self._last_look = due if now < due + _LATE_SECONDS else now
        await asyncio.gather(*(self._record(each, at, troubles) for each in documents))
        if at >= self._pruned_at + _PRUNE_SECONDS:
            try:
                self._recording.prune(at)
            except TelemetryError as error:
                troubles[_RECORDING] = str(error)
            self._pruned_at = at

    async def _record(self, document: Document, at: float, troubles: dict[str, str]) -> None:
        """Record one SeldonDeployment, if it has two variants."""
        metadata = document["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        try:
            deployment = SeldonDeployment.parse(document)
            if len(deployment.variants) != _N_VARIANTS:
                return
            pods = await self._in(self._listers, lambda: self._cluster(namespace).pods(name))
            replicas = await self._read(deployment, pods, troubles)
            self._recording.add(namespace, name, at, replicas)
            generation = generation_of(document)
            self._recording.add_setting(
                namespace,
                name,
                at,
                generation=generation,
                weights=weights_of(deployment).by_variant,
                versions={each.name: _version(each) for each in deployment.variants},
                available=is_available(document, generation),
            )
        except AbserveError as error:
            troubles[f"{namespace}/{name}"] = str(error)

    async def _read(
        self, deployment: SeldonDeployment, pods: Sequence[Pod], troubles: dict[str, str]
    ) -> dict[str, ReplicaReading]:
        """Ask the ready replicas of both variants; return what those said that answered in time."""
        variants = {service_name(deployment, each) for each in deployment.variants}
        asked = {}
        # Those that did not answer at the last look come last, so that others need not wait.
        for pod in sorted(pods, key=lambda pod: _known_as(deployment, pod) in self._troubles):
            known_as = _known_as(deployment, pod)
            if not pod.ready or pod.service not in variants:
                continue
            if pod.metrics_port is None:
                troubles[known_as] = "it has no port named 'metrics', so its counts are not known"
            elif known_as in self._asked:
                troubles[known_as] = _SILENT
            else:
                asked[pod.name] = self._ask(deployment, pod)
        if asked:
            await asyncio.wait(asked.values(), timeout=self._patience_seconds)
        readings = {}
        for pod_name, answer in asked.items():
            known_as = f"{deployment.namespace}/{pod_name}"
            if not answer.done():
                troubles[known_as] = _SILENT
                continue
            try:
                readings[pod_name] = answer.result()
            except AbserveError as error:
                troubles[known_as] = str(error)
        return readings

    def _ask(self, deployment: SeldonDeployment, pod: Pod) -> "asyncio.Future[ReplicaReading]":
        cluster = self._cluster(deployment.namespace)
        known_as = _known_as(deployment, pod)
        answer = self._in(
            self._readers, lambda: read_replica(cluster.metrics(pod), deployment.model)
        )
        self._asked.add(known_as)
        answer.add_done_callback(lambda answer: self._answered(known_as, answer))
        return answer

    def _answered(self, known_as: str, answer: "asyncio.Future[ReplicaReading]") -> None:
        self._asked.remove(known_as)
        if not answer.cancelled():
            # Nobody waits for one that comes too late, and asyncio would complain of its error.
            answer.exception()

    def _cluster(self, namespace: str | None) -> Kubernetes:
        cluster = self._clusters.get(namespace)
        if cluster is None:
            cluster = self._connect(namespace, self._patience_seconds)
            self._clusters[namespace] = cluster
        return cluster

    @staticmethod
    def _in(pool: ThreadPoolExecutor, call: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(pool, _ask_again, call)


def _ask_again(call: Callable[[], T]) -> T:
    """Ask again if the cluster hung up: it does so with connections that have been idle."""
    try:
        return call()
    except KubernetesError as error:
        if not isinstance(error.__cause__, urllib3.exceptions.ProtocolError):
            raise
        return call()


def _known_as(deployment: SeldonDeployment, pod: Pod) -> str:
    return f"{deployment.namespace}/{pod.name}"


def _version(predictor: Predictor) -> str:
    return (predictor.graph.model_uri or "").rstrip("/").rpartition("/")[2]
