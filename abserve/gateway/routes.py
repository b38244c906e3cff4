"""What the gateway is asked to do, before it is said in Envoy's words."""

import hashlib
from dataclasses import dataclass, replace
from typing import Literal

from abserve.errors import ManifestError
from abserve.weights import Weights

Transport = Literal["rest", "grpc"]
TRANSPORTS: tuple[Transport, ...] = ("rest", "grpc")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one replica listens."""

    rest_port: int
    grpc_port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Cluster:
    """The replicas of one predictor over one transport, as Envoy knows them.

    If `sticky`, requests of one unit go to one replica, the same over every transport.
    """

    namespace: str
    deployment: str
    predictor: str
    transport: Transport
    endpoints: tuple[Endpoint, ...]
    sticky: bool = False

    @property
    def name(self) -> str:
        """Unique, because no part of it has a dot; statistics are read from it."""
        return f"{self.namespace}.{self.deployment}.{self.predictor}.{self.transport}"

    @property
    def file_name(self) -> str:
        """Where its endpoints stand; the name itself may be too long for a file's."""
        return f"{hashlib.sha256(self.name.encode()).hexdigest()[:32]}.json"


@dataclass(frozen=True, slots=True)
class Backend:
    """The replicas of one predictor."""

    namespace: str
    deployment: str
    predictor: str
    endpoints: tuple[Endpoint, ...]

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        return tuple(self.cluster(transport) for transport in TRANSPORTS)

    def cluster(self, transport: Transport) -> Cluster:
        return Cluster(self.namespace, self.deployment, self.predictor, transport, self.endpoints)


@dataclass(frozen=True, slots=True)
class Retries:
    """What replaces the gateway's own retries: how many, and how long each try may take."""

    attempts: int
    seconds_per_try: int


@dataclass(frozen=True, slots=True)
class Route:
    """One SeldonDeployment, by its path and by its name and namespace, and who answers for it.

    `weights` is keyed by the name of a backend's predictor. `shadow` gets copies of
    `shadow_percent` of the requests, in whole percent, and its answers are dropped. With a
    `unit_header`, requests of one unit go to one backend, and there to one replica; the backends'
    order then says which units move when weights change: those at the border of two neighbours.
    """

    namespace: str
    name: str
    path: str
    backends: tuple[Backend, ...]
    weights: Weights
    shadow: Backend | None = None
    shadow_percent: int = 100
    unit_header: str | None = None
    retries: Retries | None = None

    def __post_init__(self) -> None:
        served = {backend.predictor for backend in self.backends}
        if served != set(self.weights.by_variant):
            raise ManifestError(
                f"route {self.path} has backends {sorted(served)} and weights for "
                f"{sorted(self.weights.by_variant)}; give each backend one weight"
            )

    @property
    def all_backends(self) -> tuple[Backend, ...]:
        return self.backends if self.shadow is None else (*self.backends, self.shadow)

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        sticky = self.unit_header is not None
        return tuple(
            # A shadow takes no part in an experiment, and may share its load as evenly as it can.
            replace(cluster, sticky=sticky and backend is not self.shadow)
            for backend in self.all_backends
            for cluster in backend.clusters
        )
