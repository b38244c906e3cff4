"""The replicas of one predictor at one state of its specification."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from abserve.cluster.api.kinds import CONFIG_MAP, SECRET
from abserve.cluster.api.store import Store
from abserve.cluster.home import Home
from abserve.cluster.pods import PodRegistry
from abserve.cluster.processes import Processes
from abserve.cluster.replica import Replica, ReplicaSpec
from abserve.cluster.secrets import decoded
from abserve.errors import ManifestError
from abserve.gateway import Backend, Endpoint
from abserve.seldon import (
    Ports,
    Predictor,
    SeldonDeployment,
    container_environment,
    deployment_name,
    pod_labels,
    resolve_environment,
    service_name,
)

_USUAL_GRACE_SECONDS = 20.0
_DIGEST_LENGTH = 8


def digest(predictor: Predictor) -> str:
    """Return what tells two states of a predictor apart, as far as its replicas are concerned.

    Weight, number of replicas and being a shadow are the gateway's business: changing them starts
    no process anew, on Kubernetes neither.
    """
    running = predictor.model_dump(mode="json", exclude={"traffic", "replicas", "shadow"})
    for component in running["component_specs"]:
        component.pop("replicas", None)
    text = json.dumps(running, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


class ReplicaSet:
    """Replicas that all run the same.

    Parameters
    ----------
    deployment, predictor
        From `with_defaults`.
    store : Store
        Where Secrets and ConfigMaps are looked up, at every start of a replica.
    changed : callable
        Called when a replica became ready, or stopped being so.
    """

    def __init__(
        self,
        deployment: SeldonDeployment,
        predictor: Predictor,
        *,
        home: Home,
        processes: Processes,
        pods: PodRegistry,
        store: Store,
        http: aiohttp.ClientSession,
        changed: Callable[[], None],
    ) -> None:
        self.predictor = predictor
        self.replicas: list[Replica] = []
        self._deployment = deployment
        self._home = home
        self._processes = processes
        self._pods = pods
        self._store = store
        self._http = http
        self._changed = changed
        self._labels = pod_labels(deployment, predictor)

    @property
    def n_ready(self) -> int:
        return sum(replica.ready for replica in self.replicas)

    @property
    def ready(self) -> bool:
        """Whether all replicas answer; a predictor of no replicas never does."""
        return 0 < len(self.replicas) == self.n_ready

    @property
    def message(self) -> str:
        """What holds up the first replica that is not ready; empty if all are."""
        return next((replica.message for replica in self.replicas if not replica.ready), "")

    @property
    def failing(self) -> bool:
        return any(replica.failing for replica in self.replicas)

    def backend(self) -> Backend:
        """Return the ready replicas as the gateway sees them."""
        return Backend(
            self._deployment.namespace,
            service_name(self._deployment, self.predictor),
            tuple(
                Endpoint(replica.ports.http)
                for replica in self.replicas
                if replica.ready and replica.ports is not None
            ),
        )

    def scale(self, n_replicas: int) -> list[Replica]:
        """Start replicas until there are `n_replicas`; return those that are too many."""
        while len(self.replicas) < n_replicas:
            self.replicas.append(self._new_replica())
        surplus = self.replicas[n_replicas:]
        del self.replicas[n_replicas:]
        return surplus

    async def retire(self, replicas: list[Replica]) -> None:
        """Stop replicas that get no new requests any more, once they have answered the old."""

        async def end(replica: Replica) -> None:
            await replica.drain()
            await replica.stop()
            self._pods.remove(replica)

        await asyncio.gather(*(end(replica) for replica in replicas))

    def _new_replica(self) -> Replica:
        base = deployment_name(self._deployment, self.predictor)
        # Never the name of another: one of the same digest may still be answering its last
        # requests, in a folder of its name.
        name = f"{base}-{digest(self.predictor)}-{secrets.token_hex(3)}"
        container = self.predictor.model_container
        pod = self.predictor.component_specs[0].spec
        grace = pod.termination_grace_period_seconds if pod else None
        unique = f"{self._deployment.namespace}.{name}"
        spec = ReplicaSpec(
            name=name,
            namespace=self._deployment.namespace,
            model=container.name,
            model_uri=self.predictor.graph.model_uri or "",
            credentials=self._credentials,
            environment=self._environment,
            grace_seconds=_USUAL_GRACE_SECONDS if grace is None else float(grace),
        )
        replica: Replica

        def changed() -> None:
            self._pods.show(replica, self._labels)
            self._changed()

        replica = Replica(
            spec,
            self._processes,
            self._home.pods / unique,
            self._home.logs / f"{unique}.log",
            self._http,
            changed,
        )
        self._pods.show(replica, self._labels)
        replica.start()
        return replica

    def _credentials(self) -> Mapping[str, str]:
        name = self.predictor.graph.env_secret_ref_name
        if name is None:
            return {}
        secret = self._store.find(SECRET, self._deployment.namespace, name)
        if secret is None:
            raise ManifestError(
                f"envSecretRefName of predictor {self.predictor.name!r} is {name!r}, but namespace "
                f"{self._deployment.namespace!r} has no such Secret; create it, or name "
                "'model-repository', which the local cluster makes"
            )
        return decoded(secret)

    def _environment(self, ports: Ports, model_folder: Path) -> Mapping[str, str]:
        namespace = self._deployment.namespace
        users = resolve_environment(
            self.predictor.model_container,
            {
                secret["metadata"]["name"]: decoded(secret)
                for secret in self._store.list(SECRET, namespace)
            },
            {
                config_map["metadata"]["name"]: config_map.get("data") or {}
                for config_map in self._store.list(CONFIG_MAP, namespace)
            },
        )
        operators = container_environment(self._deployment, self.predictor, ports, model_folder)
        return {**users, **operators}
