"""One SeldonDeployment on the local cluster: what is wanted, what runs, what is routed.

::

    wanted ──start──> replica sets ──all ready──> route in force ──> what is not wanted retires
       ▲                   │ one is not
       └── next change     └──────────> the route stays as it was; status says what holds it up

As with the operator, routes change only when every predictor is ready. Whatever is wrong with a
change, what was serving before therefore keeps serving. What is routed is kept on disk, so that
this holds for a cluster that was killed, too. While the disk is full, or the gateway takes no
change, nothing retires, and it is tried again.
"""

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from abserve.cluster.api.kinds import SELDON_DEPLOYMENT
from abserve.cluster.api.store import Document, Store
from abserve.cluster.events import record_event
from abserve.cluster.gateway import Gateway
from abserve.cluster.home import AGAIN_SECONDS
from abserve.cluster.replica import Replica
from abserve.cluster.replica_set import ReplicaSet, digest
from abserve.cluster.state import State
from abserve.errors import ClusterError
from abserve.gateway import Retries, Route
from abserve.seldon import (
    Predictor,
    PredictorState,
    SeldonDeployment,
    build_status,
    gateway_path,
    infer_path,
    mirror_percent,
    place_of,
    retries,
    unit_header,
    with_defaults,
)
from abserve.weights import Weights

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Routed:
    """A predictor as the gateway serves it now."""

    deployment: SeldonDeployment
    predictor: Predictor
    replicas: ReplicaSet


class LocalDeployment:
    """Keeps one SeldonDeployment as the store says it should be.

    Parameters
    ----------
    namespace, name : str
        Which one.
    store : Store
        Holds what is wanted, and gets the status.
    gateway : Gateway
        Gets the route.
    state : State
        Keeps what is routed.
    new_replica_set : callable
        Makes the replica set of a predictor; its last argument is called on each change.
    report : callable
        Told in words when something begins or ends to serve.
    now : callable
        The time, in UTC.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        *,
        store: Store,
        gateway: Gateway,
        state: State,
        new_replica_set: Callable[[SeldonDeployment, Predictor, Callable[[], None]], ReplicaSet],
        report: Callable[[str], None],
        now: Callable[[], dt.datetime],
    ) -> None:
        self._namespace = namespace
        self._name = name
        self._store = store
        self._gateway = gateway
        self._state = state
        self._routed_setting = f"routed/{namespace}/{name}"
        self._new_replica_set = new_replica_set
        self._report = report
        self._now = now
        self._path = gateway_path(namespace, name)
        self._sets: dict[tuple[str, str], ReplicaSet] = {}
        self._routed: list[_Routed] = []
        self._surplus: list[tuple[ReplicaSet, list[Replica]]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._wake.set()
        self._said = ""

    def resume(self) -> None:
        """Go on with what an earlier cluster routed, and take over what still runs of it.

        Raises
        ------
        InvalidManifestError
            If this abserve no longer reads what the earlier one did.
        """
        kept = self._state.setting(self._routed_setting)
        if kept is None:
            return
        deployment = with_defaults(SeldonDeployment.parse(json.loads(kept)))
        for predictor in deployment.spec.predictors:
            replica_set = self._replica_set(deployment, predictor)
            replica_set.scale(predictor.replicas or 0)
            self._routed.append(_Routed(deployment, predictor, replica_set))

    def wake(self) -> None:
        """Look again at what is wanted and what runs."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the SeldonDeployment until it is deleted; then leave nothing behind."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            document = self._store.find(SELDON_DEPLOYMENT, self._namespace, self._name)
            if document is None:
                break
            try:
                await self._reconcile(document)
            except ClusterError as error:
                self._tell(f"{self._name}: {error}")
                self._look_again()
            except (
                Exception
            ):  # a fault of ours must not end what serves; the next change tries again
                _logger.exception("SeldonDeployment %s could not be reconciled", self._name)
                self._report(f"{self._name}: internal error, see the cluster's log")
        await self.stop()
        self._report(f"{self._name}: deleted")

    async def stop(self) -> None:
        """Take the route out of force, and stop all replicas."""
        try:
            await self._gateway.withdraw(self._path)
            self._state.settle(self._routed_setting, None)
        except ClusterError as error:
            self._report(f"{self._name}: {error}")
        self._retire_surplus()
        for replica_set in self._sets.values():
            self._retire(replica_set, replica_set.scale(0))
        self._sets.clear()
        await asyncio.gather(*self._retiring)

    async def _reconcile(self, document: Document) -> None:
        deployment = with_defaults(SeldonDeployment.parse(document))
        wanted: list[_Routed] = []
        for predictor in deployment.spec.predictors:
            replica_set = self._replica_set(deployment, predictor)
            self._surplus.append((replica_set, replica_set.scale(predictor.replicas or 0)))
            wanted.append(_Routed(deployment, predictor, replica_set))
        # What still serves in place of what is not ready yet: its pods may be deleted, too.
        for each in self._routed:
            if all(each.replicas is not other.replicas for other in wanted):
                replicas = each.replicas.scale(each.predictor.replicas or 0)
                self._surplus.append((each.replicas, replicas))
        trouble = ""
        try:
            if all(each.replicas.ready for each in wanted):
                self._state.settle(self._routed_setting, json.dumps(document))
                self._routed = wanted
            await self._route()
        except ClusterError as error:
            trouble = str(error)
            self._look_again()
        else:
            self._retire_surplus()
            self._retire_all_but({id(each.replicas) for each in (*wanted, *self._routed)})
        self._write_status(deployment, wanted, trouble)

    def _replica_set(self, deployment: SeldonDeployment, predictor: Predictor) -> ReplicaSet:
        key = (predictor.name, digest(predictor))
        if key not in self._sets:
            self._sets[key] = self._new_replica_set(deployment, predictor, self.wake)
        return self._sets[key]

    def _look_again(self) -> None:
        """Look again in a while, also if nothing changes until then."""
        if self._again is not None:
            self._again.cancel()
        self._again = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self.wake)

    async def _route(self) -> None:
        """Put what is routed in force."""
        if not self._routed:
            return
        variants = sorted(
            (each for each in self._routed if not each.predictor.shadow),
            key=lambda each: place_of(each.predictor),
        )
        shadow = next((each for each in self._routed if each.predictor.shadow), None)
        backends = tuple(each.replicas.backend() for each in variants)
        deployment = self._routed[0].deployment
        retry = retries(deployment)
        route = Route(
            namespace=self._namespace,
            name=self._name,
            path=self._path,
            backends=backends,
            weights=Weights(
                {
                    backend.predictor: each.predictor.traffic or 0
                    for backend, each in zip(backends, variants, strict=True)
                }
            ),
            shadow=shadow.replicas.backend() if shadow else None,
            shadow_percent=mirror_percent(shadow.predictor) if shadow else 100,
            unit_header=unit_header(deployment),
            retries=Retries(*retry) if retry else None,
        )
        await self._gateway.serve(route)

    def _retire_surplus(self) -> None:
        for replica_set, replicas in self._surplus:
            self._retire(replica_set, replicas)
        self._surplus.clear()

    def _retire(self, replica_set: ReplicaSet, replicas: list[Replica]) -> None:
        if replicas:
            task = asyncio.get_running_loop().create_task(replica_set.retire(replicas))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    def _retire_all_but(self, kept: set[int]) -> None:
        for key, replica_set in list(self._sets.items()):
            if id(replica_set) not in kept:
                self._retire(replica_set, replica_set.scale(0))
                del self._sets[key]

    def _write_status(
        self, deployment: SeldonDeployment, wanted: list[_Routed], trouble: str
    ) -> None:
        # The document may have changed while the route was put in force; the status says of which
        # generation it speaks.
        document = self._store.find(SELDON_DEPLOYMENT, self._namespace, self._name)
        if document is None:
            return
        status = build_status(
            deployment,
            [
                PredictorState(
                    name=each.predictor.name,
                    ready_replicas=each.replicas.n_ready,
                    replicas=len(each.replicas.replicas),
                    message=each.replicas.message,
                    failed=each.replicas.failing,
                )
                for each in wanted
            ],
            url=self._gateway.url + infer_path(self._namespace, self._name, deployment.model),
            routed=self._routed == wanted and not trouble,
            now=self._now(),
            previous=document.get("status") or {},
        )
        if trouble:
            status["description"] = f"{status['description']} {trouble}".strip()
        self._store.update(SELDON_DEPLOYMENT, {**document, "status": status})
        shares = _shares(deployment) if status["state"] == "Available" else "starting"
        said = f"{self._name}: {status['state']}, {status['description'] or shares}"
        if self._tell(said):
            record_event(
                self._store,
                document,
                "Warning" if status["state"] == "Failed" else "Normal",
                status["state"],
                said.partition(", ")[2],
                self._now(),
            )

    def _tell(self, said: str) -> bool:
        """Report something, unless it was the last that was; return whether it was not."""
        news = said != self._said
        if news:
            self._said = said
            self._report(said)
        return news


def _shares(deployment: SeldonDeployment) -> str:
    """Return who serves with which weight, in words: "baseline 90 %, candidate 10 %"."""
    return ", ".join(f"{each.name} {each.traffic} %" for each in deployment.variants)
