"""What there is to know of a SeldonDeployment now: who serves what, how much of it, how well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from abserve.errors import KubernetesError
from abserve.promotion.kubernetes import Document, Kubernetes, Pod
from abserve.seldon import SeldonDeployment, infer_path, service_name, with_defaults
from abserve.telemetry import ReplicaCounts, VersionCounts, add_counts, read_counts

# Written by the local cluster, and on Kubernetes by whoever sets the gateway up: the resource's own
# address names the first predictor's service only.
_GATEWAY_NAMESPACE, _GATEWAY_CONFIG_MAP, _GATEWAY_KEY = "kube-public", "abserve-gateway", "url"


@dataclass(frozen=True, slots=True)
class PredictorStatus:
    """One predictor: its weight in whole percent, its replicas, and what they counted.

    `version` is None as long as no replica says what it serves, which a server other than ours
    never does; then nothing is known of its requests either. `counts` holds the predictor's own
    requests; its ground truth is that of its version, wherever the feedback arrived.
    """

    name: str
    version: str | None
    weight: int
    shadow: bool
    n_ready: int
    n_replicas: int
    counts: VersionCounts

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values; what is not known is null."""
        counts = self.counts
        known = self.version is not None
        return {
            "name": self.name,
            "version": self.version,
            "weight": self.weight,
            "shadow": self.shadow,
            "ready": self.n_ready == self.n_replicas > 0,
            "n_ready": self.n_ready,
            "n_replicas": self.n_replicas,
            "n_requests": counts.n_requests if known else None,
            "n_errors": counts.n_rejected + counts.n_failed if known else None,
            "n_rejected": counts.n_rejected if known else None,
            "n_failed": counts.n_failed if known else None,
            "latency_p50_seconds": counts.seconds.quantile(0.5),
            "latency_p99_seconds": counts.seconds.quantile(0.99),
            "n_feedback": counts.n_feedback if known else None,
            "accuracy": counts.accuracy,
        }


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """One SeldonDeployment; `gateway` is the URL that takes its inference requests, if known."""

    name: str
    namespace: str
    model: str
    state: str
    description: str
    gateway: str | None
    predictors: tuple[PredictorStatus, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON values; times in seconds, shares in [0, 1]."""
        return {
            "name": self.name,
            "namespace": self.namespace,
            "model": self.model,
            "state": self.state,
            "description": self.description,
            "gateway": self.gateway,
            "predictors": [predictor.to_json() for predictor in self.predictors],
        }


@dataclass(frozen=True, slots=True)
class DeploymentSummary:
    """One SeldonDeployment of many: `weights` by predictor, in whole percent."""

    name: str
    namespace: str
    state: str
    description: str
    weights: Mapping[str, int]
    shadow: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "namespace": self.namespace,
            "state": self.state,
            "description": self.description,
            "weights": dict(self.weights),
            "shadow": self.shadow,
        }


def list_deployments(
    cluster: Kubernetes, *, everywhere: bool = False
) -> tuple[DeploymentSummary, ...]:
    """Return the SeldonDeployments of the cluster's namespace, or of all namespaces."""
    return tuple(_summary(document) for document in cluster.deployments(everywhere=everywhere))


def gateway_of(cluster: Kubernetes) -> str | None:
    """Return the gateway's base URL as the cluster publishes it, if it does."""
    return cluster.config_map(_GATEWAY_NAMESPACE, _GATEWAY_CONFIG_MAP).get(_GATEWAY_KEY)


def read_status(cluster: Kubernetes, name: str, gateway: str | None = None) -> DeploymentStatus:
    """Ask the cluster for a SeldonDeployment, and its replicas for their counts.

    Parameters
    ----------
    cluster : Kubernetes
        The cluster and namespace.
    name : str
        The SeldonDeployment's name.
    gateway : str, optional
        Base URL of the gateway; by default the one the cluster publishes.

    Raises
    ------
    KubernetesError
        If there is no such SeldonDeployment, or the cluster does not answer.
    TelemetryError
        If a replica's counts cannot be read.
    """
    document = cluster.get(name)
    deployment = SeldonDeployment.parse(document)
    model = deployment.model
    pods = cluster.pods(name)
    replicas = {pod.name: _replica_counts(cluster, pod, name, model) for pod in pods}
    by_version = add_counts(counts for counts in replicas.values() if counts is not None)
    base = gateway or gateway_of(cluster)
    weights = _weights(deployment)
    status = document.get("status") or {}
    return DeploymentStatus(
        name=name,
        namespace=cluster.namespace,
        model=model,
        state=status.get("state") or "Creating",
        description=status.get("description") or "",
        gateway=base.rstrip("/") + infer_path(cluster.namespace, name, model) if base else None,
        predictors=tuple(
            _predictor_status(
                predictor.name,
                weights[predictor.name],
                predictor.shadow,
                [pod for pod in pods if pod.service == service_name(deployment, predictor)],
                replicas,
                by_version,
            )
            for predictor in deployment.spec.predictors
        ),
    )


def _summary(document: Document) -> DeploymentSummary:
    status = document.get("status") or {}
    deployment = SeldonDeployment.parse(document)
    weights = _weights(deployment)
    return DeploymentSummary(
        name=deployment.name,
        namespace=deployment.namespace,
        state=status.get("state") or "Creating",
        description=status.get("description") or "",
        weights={each.name: weights[each.name] for each in deployment.variants},
        shadow=deployment.shadow.name if deployment.shadow else None,
    )


def _replica_counts(
    cluster: Kubernetes, pod: Pod, deployment: str, model: str
) -> ReplicaCounts | None:
    if not pod.ready or pod.metrics_port is None:
        return None
    try:
        return read_counts(cluster.metrics(pod), model)
    except KubernetesError:
        # It was ready a moment ago and is gone now: then it has no counts any more.
        if any(each.name == pod.name and each.ready for each in cluster.pods(deployment)):
            raise
        return None


def _predictor_status(
    name: str,
    weight: int,
    shadow: bool,
    pods: Sequence[Pod],
    replicas: Mapping[str, ReplicaCounts | None],
    by_version: Mapping[str, VersionCounts],
) -> PredictorStatus:
    own = [counts for pod in pods if (counts := replicas[pod.name]) is not None]
    version = next((counts.version for counts in own if counts.version), None)
    served = add_counts(own).get(version or "", VersionCounts())
    judged = by_version.get(version or "", VersionCounts())
    return PredictorStatus(
        name=name,
        version=version,
        weight=weight,
        shadow=shadow,
        n_ready=sum(pod.ready for pod in pods),
        n_replicas=len(pods),
        counts=VersionCounts(
            n_requests=served.n_requests,
            n_rejected=served.n_rejected,
            n_failed=served.n_failed,
            n_correct=judged.n_correct,
            n_incorrect=judged.n_incorrect,
            seconds=served.seconds,
        ),
    )


def _weights(deployment: SeldonDeployment) -> dict[str, int]:
    """Return each predictor's weight, and of a shadow the share that it gets copies of."""
    predictors = with_defaults(deployment).spec.predictors
    return {each.name: each.traffic or 0 for each in predictors}
