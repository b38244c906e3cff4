"""A new version beside the one that serves: how an experiment is opened.

::

    baseline v1  100 ──>  90            100 ──>  90, v3 does not come to serve ──> 100
    candidate    none     10, v3        none     10, v3                            removed

Whether there is room for a candidate is asked before anything is trained, by `find_baseline`. The
operator gives the candidate no request before it is ready, so the baseline answers all meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from abserve.errors import KubernetesError, ManifestError
from abserve.names import is_version_name
from abserve.promotion.availability import generation_of
from abserve.promotion.change import SeldonDeployments, set_weights
from abserve.promotion.kubernetes import Document, Kubernetes, Report, say_nothing
from abserve.promotion.readiness import unready_predictors
from abserve.seldon import (
    CANDIDATE,
    SeldonDeployment,
    baseline_and_candidate,
    check_no_experiment,
    check_scaled_together,
    open_experiment,
    service_name,
    shift_all,
)
from abserve.telemetry import Drift, combine_drift, read_counts
from abserve.weights import WHOLE, Weights


@dataclass(frozen=True, slots=True)
class Baseline:
    """What serves a model now.

    `predictor` serves `version` of the model from below `folder`, where other versions lie too, and
    requests name it `model`.
    """

    deployment: str
    predictor: str
    model: str
    version: str
    folder: str

    def uri_of(self, version: str) -> str:
        """Return where another version of the model lies."""
        return f"{self.folder}/{version}"


def find_baseline(document: Mapping[str, Any], model: str) -> Baseline:
    """Return what serves now, if a candidate may be added to it.

    Parameters
    ----------
    document : mapping
        The SeldonDeployment as the cluster holds it.
    model : str
        The model in the repository that it has to serve.

    Raises
    ------
    UnderWayError
        If an experiment is going on.
    ManifestError
        If the baseline serves no version of `model`, or is scaled by its own load.
    KubernetesError
        If a predictor that would stay is not ready, for which no change would come into force.
    """
    check_no_experiment(document)
    check_scaled_together(SeldonDeployment.parse(document))
    baseline = read_baseline(document, model)
    _, candidate = baseline_and_candidate(document)
    unready = unready_predictors(document)
    for name in unready.keys() - {candidate}:
        raise KubernetesError(
            f"{name} of SeldonDeployment {baseline.deployment!r} is not ready ({unready[name]}), "
            "expected it to be before a candidate is added; mend or remove it first"
        )
    return baseline


def read_baseline(document: Mapping[str, Any], model: str) -> Baseline:
    """Return what serves now, whatever goes on beside it.

    Raises
    ------
    ManifestError
        If it cannot be told which predictor is the baseline, or it serves no version of `model`.
    """
    baseline, _ = baseline_and_candidate(document)
    deployment = SeldonDeployment.parse(document)
    uri = deployment.predictor(baseline).graph.model_uri or ""
    folder, _, version = uri.rstrip("/").rpartition("/")
    if folder.rpartition("/")[2] != model or not is_version_name(version):
        raise ManifestError(
            f"{baseline} of SeldonDeployment {deployment.name!r} serves {uri or 'no modelUri'}, "
            f"expected a version of the model {model!r}, such as s3://models/{model}/v1; name the "
            "SeldonDeployment that serves it with --name"
        )
    return Baseline(deployment.name, baseline, deployment.model, version, folder)


def read_drift(cluster: Kubernetes, baseline: Baseline) -> Drift | None:
    """Ask the baseline's replicas how far the rows of late lie from those it was fitted on.

    Returns
    -------
    Drift or None
        None if no replica has taken up rows, or the version says nothing of what it was fitted on.

    Raises
    ------
    KubernetesError
        If the cluster, or a replica that is ready, does not answer.
    TelemetryError
        If what a replica answers cannot be read.
    """
    deployment = SeldonDeployment.parse(cluster.get(baseline.deployment))
    service = service_name(deployment, deployment.predictor(baseline.predictor))
    found = [
        read_counts(cluster.metrics(pod), baseline.model).drift
        for pod in cluster.pods(baseline.deployment)
        if pod.service == service and pod.ready and pod.metrics_port is not None
    ]
    return combine_drift(drift for drift in found if drift is not None)


def add_candidate(
    cluster: SeldonDeployments,
    baseline: Baseline,
    version: str,
    weight: int,
    report: Report,
    timeout_seconds: float,
    wait: Report = say_nothing,
    *,
    candidate: str = CANDIDATE,
) -> Document:
    """Serve a version beside the baseline, with a part of the requests.

    Parameters
    ----------
    cluster : SeldonDeployments
        The cluster and namespace.
    baseline : Baseline
        What serves now; it is not restarted.
    version : str
        A published version, in the same folder.
    weight : int
        Its share of the requests, 1 to 99 percent.
    report : callable
        Told what is done before it is.
    timeout_seconds : float
        How long the change may take to be in force.
    wait : callable
        Told what is waited for.
    candidate : str
        What to call the candidate, if none stands there already.

    Returns
    -------
    dict
        The SeldonDeployment with both versions serving.

    Raises
    ------
    UnderWayError
        If an experiment is going on meanwhile.
    KubernetesError
        If the cluster refuses the change; or if the version does not come to serve in time, and
        it is taken out again, whether or not the cluster puts that in force in time.
    """
    name = baseline.deployment
    document = cluster.get(name)
    check_no_experiment(document)
    weights = {each.name: each.traffic or 0 for each in SeldonDeployment.parse(document).variants}
    if any(weights[each] for each in weights.keys() - {baseline.predictor}):
        # Of the same version, or the check had refused it.
        report(f"sending all requests to {baseline.predictor}")
        alone = {each: WHOLE * (each == baseline.predictor) for each in weights}
        document = set_weights(cluster, name, Weights(alone), timeout_seconds, wait)
    standing = baseline_and_candidate(document)[1] or candidate
    report(f"making {version} the {standing}, with {weight} % of the requests")
    patch = open_experiment(document, baseline.uri_of(version), weight, candidate)
    changed = cluster.patch(name, patch)
    try:
        return cluster.wait_until_available(name, generation_of(changed), timeout_seconds, wait)
    except KubernetesError as error:
        failed = f"{baseline.uri_of(version)} did not come to serve ({error})"
        try:
            changed = _take_out(cluster, baseline, standing, report)
        except (KubernetesError, ManifestError) as another:
            raise KubernetesError(
                f"{failed}, and could not be taken out again: {another}; "
                f"'abserve rollback {name} --remove' does that"
            ) from error
        try:
            cluster.wait_until_available(name, generation_of(changed), timeout_seconds, wait)
        except KubernetesError as another:
            raise KubernetesError(
                f"{failed} and is taken out of the SeldonDeployment again, which is not in force "
                f"yet either: {another}"
            ) from error
        raise KubernetesError(
            f"{failed} and is taken out again; {baseline.predictor} serves {baseline.version} with "
            "all requests, as before"
        ) from error


def _take_out(
    cluster: SeldonDeployments, baseline: Baseline, candidate: str, report: Report
) -> Document:
    """Remove a candidate that was added, and give the baseline all requests.

    Unlike a rollback it does not ask whether the baseline is ready. It was when the candidate was
    added, and an operator that has not looked at that says nothing of it.
    """
    report(f"sending all requests to {baseline.predictor} and removing {candidate}")
    document = cluster.get(baseline.deployment)
    patch = shift_all(document, baseline.predictor, without=[candidate])
    return cluster.patch(baseline.deployment, patch)
