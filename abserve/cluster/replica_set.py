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
from abserve.cluster.home import Home, ProcessRecord
from abserve.cluster.model_server import ModelServer
from abserve.cluster.pod_documents import PodTemplate
from abserve.cluster.pods import PodRegistry
from abserve.cluster.processes import Processes
from abserve.cluster.replica import Replica, ReplicaSpec
from abserve.cluster.secrets import decoded
from abserve.errors import ManifestError
from abserve.gateway import Backend, Endpoint
from abserve.keys import read_public_keys
from abserve.seldon import (
    Ports,
    Predictor,
    SeldonDeployment,
    container_environment,
    deployment_name,
    resolve_environment,
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
    public_key : Path or None
        Keys one of which must have signed what is served; None where nobody has to have signed.
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
        public_key: Path | None,
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
        self._public_key = public_key
        self._changed = changed
        self._template = PodTemplate(deployment, predictor)
        # The digest is part of every replica's name, so that two states never share one.
        self._stem = f"{deployment_name(deployment, predictor)}-{digest(predictor)}"

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
            self._deployment.name,
            self.predictor.name,
            tuple(
                Endpoint(replica.ports.http, replica.ports.grpc)
                for replica in self.replicas
                if replica.ready and replica.ports is not None
            ),
        )

    def scale(self, n_replicas: int) -> list[Replica]:
        """Start replicas until there are `n_replicas`; return those that are to stop.

        Those that an earlier cluster left running are taken over before any is started.
        """
        unwanted = [replica for replica in self.replicas if replica.unwanted]
        self.replicas = [replica for replica in self.replicas if not replica.unwanted]
        while len(self.replicas) < n_replicas:
            self.replicas.append(self._replica_left_running() or self._started_replica())
        surplus = self.replicas[n_replicas:]
        del self.replicas[n_replicas:]
        return [*unwanted, *surplus]

    async def retire(self, replicas: list[Replica]) -> None:
        """Stop replicas that get no new requests any more, once they have answered the old."""

        async def end(replica: Replica) -> None:
            await replica.drain()
            await replica.stop()
            self._pods.remove(replica)

        await asyncio.gather(*(end(replica) for replica in replicas))

    def _started_replica(self) -> Replica:
        # Never the name of another: one of the same digest may still be answering its last
        # requests, in a folder of its name.
        replica = self._replica(f"{self._stem}-{secrets.token_hex(3)}")
        replica.start()
        self._pods.show(replica, self._template)
        return replica

    def _replica_left_running(self) -> Replica | None:
        for record in self._processes.left:
            if self._is_ours(record) and self._trusts(record):
                replica = self._replica(record.name)
                child = self._processes.take_over(record, replica.container.log)
                if child is not None:
                    replica.resume(child, record.details)
                    self._pods.show(replica, self._template)
                    return replica
        return None

    def _is_ours(self, record: ProcessRecord) -> bool:
        stem, _, _ = record.name.rpartition("-")
        own = (self._deployment.namespace, self._stem)
        return (record.details.get("namespace"), stem) == own

    def _trusts(self, record: ProcessRecord) -> bool:
        """Return whether what a process serves was signed as it has to be now."""
        return self._public_key is None or record.details.get("signed_by") in {
            key.fingerprint for key in read_public_keys(self._public_key)
        }

    def _replica(self, name: str) -> Replica:
        container = self.predictor.model_container
        pod = self.predictor.component_specs[0].spec
        grace = pod.termination_grace_period_seconds if pod else None
        unique = f"{self._deployment.namespace}.{name}"
        spec = ReplicaSpec(
            name=name,
            namespace=self._deployment.namespace,
            model=container.name,
            model_uri=self.predictor.graph.model_uri or "",
            server=ModelServer.of(self.predictor),
            credentials=self._credentials,
            environment=self._environment,
            grace_seconds=_USUAL_GRACE_SECONDS if grace is None else float(grace),
            public_key=self._public_key,
        )
        replica: Replica

        def changed() -> None:
            self._pods.show(replica, self._template)
            self._changed()

        replica = Replica(
            spec,
            self._processes,
            self._home.pods / unique,
            self._http,
            changed,
            self._pods.now,
        )
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
