"""What the console asks of a cluster."""

from collections.abc import Callable
from typing import Any, Protocol

from abserve.weights import Weights

Document = dict[str, Any]
Report = Callable[[str], None]


class Cluster(Protocol):
    """One namespace of a cluster.

    Every call waits for an answer, is made from a thread, and raises AbserveError with what the
    cluster said if it refuses or does not answer. Documents are what the Kubernetes API sends.
    """

    @property
    def server(self) -> str:
        """URL of the Kubernetes API."""

    @property
    def namespace(self) -> str: ...

    def deployments(self) -> list[Document]:
        """Return the SeldonDeployments."""

    def pods(self) -> list[Document]: ...

    def events(self) -> list[Document]: ...

    def metrics(self, pod: str, port: int) -> str:
        """Return what a replica exposes to Prometheus."""

    def log(self, pod: str, container: str, n_lines: int) -> str:
        """Return the last lines of what a container of a pod has written."""

    def set_weights(self, name: str, generation: int, weights: Weights) -> None:
        """Give the variants of a SeldonDeployment new weights; return when they are in force.

        Refuses if the SeldonDeployment is no longer of this generation.
        """

    def promote(self, name: str, generation: int, report: Report) -> None:
        """Make the candidate the baseline, and report each step before it begins.

        Refuses if the SeldonDeployment is no longer of this generation.
        """

    def roll_back(self, name: str, generation: int, report: Report) -> None:
        """Give the baseline all requests, and report each step before it begins.

        A candidate that is not ready is removed. Refuses if the SeldonDeployment is no longer of
        this generation.
        """
