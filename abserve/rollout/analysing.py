"""One answer now about a SeldonDeployment: find what is to be shown, what was counted, and analyse.

::

    an audit log, if there is one of these versions    else the present weights, since they are in
    experiment and counts as the rollout has them      force: from Prometheus, or the recording

Nothing is changed, and nothing is kept: who asks again is answered anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from abserve.analysis import Analysis, Comparison, Experiment, Observed, compare, conclude
from abserve.analysis.counting import Variants
from abserve.analysis.experiment_file import Primary, UnitHeader
from abserve.errors import ExperimentError, KubernetesError, TelemetryError
from abserve.promotion import Kubernetes
from abserve.rollout.audit import AuditLog, latest_log, log_folder, read_log
from abserve.rollout.changed import predictors_changed_at
from abserve.rollout.collecting import collect_span
from abserve.rollout.experiment import load_experiment
from abserve.rollout.history import History
from abserve.rollout.prometheus import PrometheusHistory
from abserve.rollout.prometheus_api import Access
from abserve.rollout.recording import Recording, Setting
from abserve.rollout.records import version_of
from abserve.seldon import SeldonDeployment, roles, weights_of
from abserve.seldon.routing import unit_header
from abserve.weights import WHOLE

# After a change of the weights the gateways take a moment, and requests are still under way.
_SETTLING_SECONDS = 10.0
# Samples take a moment to be kept.
_KEEPING_SECONDS = 15.0
# Between two looks of the recorder, and a little.
_RECORDED_SECONDS = 6.0

# Without an experiment file: blocks and maturity windows, of which the longest are taken that make
# enough blocks.
_PLAIN_BLOCKS = ((3600, 12 * 3600), (600, 2400), (60, 600), (10, 30))
_ENOUGH_BLOCKS = 30
_NO_END_SECONDS = 10 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class DeploymentAnalysis:
    """The answer, and what it was computed from.

    `sources` says which experiment and which counts these were, in words.
    """

    name: str
    namespace: str
    experiment: Experiment
    comparison: Comparison
    analysis: Analysis
    sources: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "namespace": self.namespace,
            **self.analysis.to_json(),
            "experiment": self.experiment.model_dump(mode="json"),
            "sources": dict(self.sources),
        }


@dataclass(frozen=True, slots=True)
class _Compared:
    """The two variants of a SeldonDeployment as it is now.

    `weights` are by variant; since `changed_at`, in seconds since 1970, it is what it is.
    """

    deployment: SeldonDeployment
    baseline: str
    candidate: str
    variants: Variants
    weights: Mapping[str, int]
    changed_at: float

    @classmethod
    def of(cls, document: Mapping[str, Any], experiment: Experiment | None) -> "_Compared":
        deployment = SeldonDeployment.parse(document)
        if experiment is None:
            baseline, candidate = roles(document)
        else:
            baseline, candidate = experiment.baseline, experiment.candidate
        predictors = deployment.predictor(baseline), deployment.predictor(candidate)
        variants = Variants(*(version_of(each.graph.model_uri or "") for each in predictors))
        weights = weights_of(deployment).by_variant
        return cls(deployment, baseline, candidate, variants, weights, changed_at(document))

    @property
    def versions(self) -> Mapping[str, str]:
        return {self.baseline: self.variants.baseline, self.candidate: self.variants.candidate}

    @property
    def weight_candidate(self) -> float:
        """The candidate's share of the two variants' requests, in percent."""
        weights = self.weights.get(self.baseline, 0), self.weights.get(self.candidate, 0)
        if not all(weights):
            raise ExperimentError(
                f"SeldonDeployment {self.deployment.name!r} gives {self.baseline!r} {weights[0]} % "
                f"of the requests and {self.candidate!r} {weights[1]} %; expected both to get "
                f"some, since only then can they be compared: change it with 'abserve weights "
                f"{self.deployment.name} {self.baseline}=90 {self.candidate}=10'"
            )
        return WHOLE * weights[1] / sum(weights)


@dataclass(frozen=True, slots=True)
class _Source:
    """Who says what was counted since the present weights came into force."""

    shown: str
    began_at: float
    until: float
    lag_seconds: float
    history: Callable[[Experiment], History]


def analyse_log(path: Path, name: str) -> DeploymentAnalysis:
    """Analyse what the audit log of a rollout holds.

    Raises
    ------
    AuditError
        If it is no audit log, or was changed.
    ExperimentError
        If it is of another SeldonDeployment.
    """
    log = read_log(path)
    if log.experiment.deployment != name:
        raise ExperimentError(
            f"{path} is of a rollout of {log.experiment.deployment!r}; expected one of {name!r}"
        )
    return _of_log(log)


def analyse_deployment(
    cluster: Kubernetes,
    name: str,
    *,
    now: float,
    logs: Path | None = None,
    experiment_file: Path | None = None,
    prometheus: Access | None = None,
    recording: Path | None = None,
) -> DeploymentAnalysis:
    """Analyse a SeldonDeployment as it is now.

    The latest audit log is taken if it is of the versions that are compared now, or only one is
    left. Without one, what was counted since the present weights came into force is analysed.

    Parameters
    ----------
    cluster : Kubernetes
        Which namespace of which cluster.
    name : str
        The SeldonDeployment.
    now : float
        In seconds since 1970.
    logs : Path, optional
        The folder of a local cluster, in which audit logs are; by default none is looked for.
    experiment_file : Path, optional
        By default ``manifests/base/<name>/experiment.yaml`` if there is one, else it is asked
        whether the accuracy is higher.
    prometheus : Access, optional
        A Prometheus with the counts.
    recording : Path, optional
        A recording of this cluster with the counts.

    Raises
    ------
    KubernetesError
        If the cluster does not answer, or has no such SeldonDeployment.
    ManifestError
        If there is no second variant.
    ExperimentError
        If the experiment file cannot be read or is of something else, or nothing says what was
        counted.
    TelemetryError
        If what was counted is not known.
    """
    path = latest_log(log_folder(logs, cluster.namespace, name)) if logs else None
    log = read_log(path) if path else None
    try:
        document = cluster.get(name)
    except KubernetesError:
        if log is None:
            raise
        return _of_log(log)
    if log is not None and not _compares_others(document, log):
        return _of_log(log)
    experiment, stated_in = _stated(name, experiment_file)
    compared = _Compared.of(document, experiment)
    weight_candidate = compared.weight_candidate
    source = _source(cluster, compared, now, prometheus, recording)
    if experiment is None:
        experiment = _plain_experiment(compared, source.until - source.began_at)
        stated_in = (
            f"none is written in {_usual_file(name)}, so a plain one: is its accuracy higher, in "
            f"blocks of {experiment.interval_seconds} s, from ground truth that comes within "
            f"{experiment.maturity_seconds} s"
        )
    observed = collect_span(
        experiment,
        compared.variants,
        source.history(experiment),
        source.began_at,
        source.until,
        weight_candidate,
        source.lag_seconds,
        predictors_changed_at(document),
    )
    if not observed.blocks:
        waited = f"no block of {experiment.interval_seconds} s is over since the weights are steady"
        observed = replace(observed, missing=(*observed.missing, waited))
    sources = {
        "experiment": stated_in,
        "counts": f"{source.shown}, from {_time(source.began_at)} to {_time(source.until)}",
        "weights": ", ".join(f"{each} {weight} %" for each, weight in compared.weights.items()),
    }
    return _analysed(name, cluster.namespace, experiment, observed, compared.versions, sources)


def _of_log(log: AuditLog) -> DeploymentAnalysis:
    begin, end = log.state.begin, log.state.end
    standing = f"it ended {_time(end.at)}: {end.outcome}" if end else "it has not ended"
    sources = {
        "experiment": f"of the rollout that began {_time(begin.at)}; {standing}",
        "counts": f"audit log {log.path}, as of {_time(log.state.at)}",
    }
    experiment = log.experiment
    return _analysed(
        experiment.deployment, begin.namespace, experiment, log.observed, _versions(log), sources
    )


def _analysed(
    name: str,
    namespace: str,
    experiment: Experiment,
    observed: Observed,
    versions: Mapping[str, str],
    sources: Mapping[str, str],
) -> DeploymentAnalysis:
    comparison = compare(experiment, observed)
    served = ", ".join(f"{variant} {version}" for variant, version in versions.items())
    return DeploymentAnalysis(
        name,
        namespace,
        experiment,
        comparison,
        conclude(comparison),
        {"versions": served, **sources},
    )


def _versions(log: AuditLog) -> Mapping[str, str]:
    uris, experiment = log.state.begin.model_uris, log.experiment
    return {name: version_of(uris[name]) for name in (experiment.baseline, experiment.candidate)}


def _compares_others(document: Mapping[str, Any], log: AuditLog) -> bool:
    """Tell whether a SeldonDeployment has two variants now that are not those of the rollout.

    If it has only one, the rollout may have promoted it, and is all there is to analyse.
    """
    serving = {
        each.name: version_of(each.graph.model_uri or "")
        for each in SeldonDeployment.parse(document).variants
    }
    return len(serving) > 1 and serving != _versions(log)


def _stated(name: str, file: Path | None) -> tuple[Experiment | None, str]:
    """Return the experiment and where it is written; None if it is nowhere."""
    path = file or _usual_file(name)
    if file is None and not path.exists():
        return None, ""
    experiment = load_experiment(path)
    if experiment.deployment != name:
        raise ExperimentError(
            f"{path} states an experiment with {experiment.deployment!r}; expected deployment: "
            f"{name}"
        )
    return experiment, str(path)


def _usual_file(name: str) -> Path:
    return Path("manifests", "base", name, "experiment.yaml")


def _plain_experiment(compared: _Compared, span_seconds: float) -> Experiment:
    interval, maturity = next(
        (
            (interval, maturity)
            for interval, maturity in _PLAIN_BLOCKS
            if span_seconds >= _ENOUGH_BLOCKS * interval + maturity
        ),
        _PLAIN_BLOCKS[-1],
    )
    header = unit_header(compared.deployment)
    return Experiment(
        deployment=compared.deployment.name,
        baseline=compared.baseline,
        candidate=compared.candidate,
        unit=UnitHeader(header=header) if header else "request",
        primary=Primary(metric="accuracy"),
        interval_seconds=interval,
        maturity_seconds=maturity,
        maximum_seconds=_NO_END_SECONDS,
        weight_steps=(min(max(round(compared.weight_candidate), 1), WHOLE - 1),),
        step_seconds=interval,
    )


def _source(
    cluster: Kubernetes,
    compared: _Compared,
    now: float,
    prometheus: Access | None,
    recording: Path | None,
) -> _Source:
    name, namespace = compared.deployment.name, cluster.namespace
    if prometheus is not None:
        return _Source(
            f"Prometheus at {prometheus.shown}",
            compared.changed_at + _SETTLING_SECONDS,
            now - _KEEPING_SECONDS,
            prometheus.recent_seconds,
            partial(PrometheusHistory, prometheus, namespace, compared.deployment.model),
        )
    if recording is None:
        raise ExperimentError(
            f"nothing says what {name!r} counted: there is no audit log of a rollout of these "
            f"versions, and {cluster.server} is not the local cluster, which records it; name a "
            "Prometheus that does with --prometheus URL"
        )
    recorded = Recording(recording)
    settings = recorded.settings(namespace, name)
    return _Source(
        f"recording {recording}",
        _in_force_since(settings, compared) + _SETTLING_SECONDS,
        settings[-1].until,
        _RECORDED_SECONDS,
        lambda _: recorded.history(namespace, name),
    )


def _in_force_since(settings: Sequence[Setting], compared: _Compared) -> float:
    """Return since when the recording has had the present weights and versions all the time."""
    since: float | None = None
    for setting in reversed(settings):
        same = setting.weights == compared.weights and all(
            setting.versions.get(name) == version for name, version in compared.versions.items()
        )
        if not (same and setting.available):
            break
        since = setting.at
    if since is None:
        latest = settings[-1]
        said = ", ".join(
            f"{each} {latest.versions.get(each)} {weight} %"
            for each, weight in latest.weights.items()
        )
        raise TelemetryError(
            f"the present weights of {compared.deployment.name!r} are not recorded yet: the last "
            f"look was at {_time(latest.until)} and found {said}, "
            f"{'' if latest.available else 'not '}available; ask again in a moment"
        )
    return since


def changed_at(document: Mapping[str, Any]) -> float:
    """Return when a SeldonDeployment was last made what it is, in seconds since 1970.

    That is when somebody last changed its predictors (what `metadata.managedFields` says), or when
    a condition of its status last came true, whichever is later.
    """
    came_true = (
        datetime.fromisoformat(condition["lastTransitionTime"]).timestamp()
        for condition in (document.get("status") or {}).get("conditions") or ()
        if condition["status"] == "True" and condition.get("lastTransitionTime")
    )
    return max((predictors_changed_at(document), *came_true))


def _time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
