"""A namespace that a test fills: the outside of the console, with the real signatures."""

from collections.abc import Callable
from typing import Any

from abserve.errors import KubernetesError
from abserve.weights import Weights
from tests.abserve.seldon.documents import Document, document
from tests.abserve.telemetry.replica import Replica

METRICS_PORT = 6000


def pod(name: str, predictor: str, *, ready: bool = True, **status: Any) -> Document:
    """Return a pod of iris."""
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "labels": {"seldon-deployment-id": "iris", "seldon-app": f"iris-{predictor}"},
        },
        "spec": {"containers": [{"ports": [{"name": "metrics", "containerPort": METRICS_PORT}]}]},
        "status": {"containerStatuses": [{"ready": ready, "restartCount": 0}], **status},
    }


def event(about: str, message: str, at: str = "2026-01-02T03:04:05Z") -> Document:
    return {
        "metadata": {"name": message},
        "involvedObject": {"name": about},
        "type": "Normal",
        "reason": "Told",
        "message": message,
        "lastTimestamp": at,
    }


class Shop:
    """The namespace ``shop``, with iris at 90/10 and a replica for each predictor."""

    server = "https://127.0.0.1:6443"
    namespace = "shop"

    def __init__(self) -> None:
        self.documents = [document()]
        self.pod_documents = [pod("b-1", "baseline"), pod("c-1", "candidate")]
        self.event_documents: list[Document] = []
        self.replicas = {"b-1": Replica("v1"), "c-1": Replica("v2")}
        self.trouble = ""
        self.changes: list[tuple[Any, ...]] = []
        self.reads: list[str] = []
        self.before_reading: Callable[[str], None] = lambda _: None

    def deployments(self) -> list[Document]:
        if self.trouble:
            raise KubernetesError(self.trouble)
        return self.documents

    def pods(self) -> list[Document]:
        return self.pod_documents

    def events(self) -> list[Document]:
        return self.event_documents

    def metrics(self, pod: str, port: int) -> str:
        assert port == METRICS_PORT
        self.reads.append(pod)
        self.before_reading(pod)
        if pod not in self.replicas:
            raise KubernetesError(f"pod {pod!r} does not answer")
        return self.replicas[pod].text

    def log(self, pod: str, container: str, n_lines: int) -> str:
        if self.trouble:
            raise KubernetesError(self.trouble)
        return f"last {n_lines} lines of {container} in {pod}"

    def set_weights(self, name: str, generation: int, weights: Weights) -> None:
        self._change("weights", name, generation, dict(weights.by_variant))

    def roll_back(self, name: str, generation: int, report: Callable[[str], None]) -> None:
        report("sending all requests to baseline")
        self._change("roll back", name, generation)

    def promote(self, name: str, generation: int, report: Callable[[str], None]) -> None:
        report("sending all requests to candidate")
        self._change("promote", name, generation)

    def _change(self, *change: Any) -> None:
        if self.trouble:
            raise KubernetesError(self.trouble)
        self.changes.append(change)
