"""What there is to know of a SeldonDeployment now: who serves what, how much of it, how well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from abserve.errors import KubernetesError
from abserve.promotion.kubernetes import Kubernetes, Pod
from abserve.seldon import SeldonDeployment, infer_path, service_name, with_defaults
from abserve.telemetry import ReplicaCounts, VersionCounts, add_counts, read_counts

# Written by the local cluster, and on Kubernetes by whoever sets the gateway up: the resource's own
# address names the first predictor's service only.
_GATEWAY_NAMESPACE, _GATEWAY_CONFIG_MAP, _GATEWAY_KEY = "kube-public", "abserve-gateway", "url"


@dataclass(frozen=True, slots=True)
class PredictorStatus:
    """One predictor: its weight in whole percent, its replicas, and what they counted.

    `version` is None until a replica has said what it serves. `counts` holds the predictor's own
    requests; its ground truth is that of its version, wherever the feedback arrived.
    """

    name: str
    version: str | None
    weight: int
    shadow: bool
    n_ready: int
    n_replicas: int
    counts: VersionCounts


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
            "predictors": [
                {
                    "name": predictor.name,
                    "version": predictor.version,
                    "weight": predictor.weight,
                    "shadow": predictor.shadow,
                    "ready": predictor.n_ready == predictor.n_replicas > 0,
                    "n_ready": predictor.n_ready,
                    "n_replicas": predictor.n_replicas,
                    "n_requests": predictor.counts.n_requests,
                    "n_errors": predictor.counts.n_rejected + predictor.counts.n_failed,
                    "n_rejected": predictor.counts.n_rejected,
                    "n_failed": predictor.counts.n_failed,
                    "latency_p50_seconds": predictor.counts.seconds.quantile(0.5),
                    "latency_p99_seconds": predictor.counts.seconds.quantile(0.99),
                    "n_feedback": predictor.counts.n_feedback,
                    "accuracy": predictor.counts.accuracy,
                }
                for predictor in self.predictors
            ],
        }


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
    base = gateway or cluster.config_map(_GATEWAY_NAMESPACE, _GATEWAY_CONFIG_MAP).get(_GATEWAY_KEY)
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
