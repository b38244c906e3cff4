"""What the gateway is asked to do, before it is said in Envoy's words."""

from dataclasses import dataclass

from abserve.errors import ManifestError
from abserve.weights import Weights


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where one replica listens."""

    port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Backend:
    """The replicas of one predictor, under the name of its Kubernetes service."""

    namespace: str
    service: str
    endpoints: tuple[Endpoint, ...]

    @property
    def cluster(self) -> str:
        """The name by which Envoy knows this backend; also safe as a file name."""
        return f"{self.namespace}.{self.service}"


@dataclass(frozen=True, slots=True)
class Route:
    """One SeldonDeployment's path, and who answers on it.

    `weights` is keyed by the name of a backend's service. `shadow` gets copies of
    `shadow_percent` of the requests, in whole percent, and its answers are dropped.
    """

    namespace: str
    name: str
    path: str
    backends: tuple[Backend, ...]
    weights: Weights
    shadow: Backend | None = None
    shadow_percent: int = 100

    def __post_init__(self) -> None:
        served = {backend.service for backend in self.backends}
        if served != set(self.weights.by_variant):
            raise ManifestError(
                f"route {self.path} has backends {sorted(served)} and weights for "
                f"{sorted(self.weights.by_variant)}; give each backend one weight"
            )

    @property
    def all_backends(self) -> tuple[Backend, ...]:
        return self.backends if self.shadow is None else (*self.backends, self.shadow)
