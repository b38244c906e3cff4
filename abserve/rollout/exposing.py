"""Where a rollout stands, as Prometheus collects it: the controller's metrics.

::

    controller ──at each look──> Exposed ──at each scrape──> gauges, made of the latest state

Nothing is counted here: what the log says is shown once more, so a controller that was started
again shows what it showed before; and beside it the weights that the SeldonDeployment really has,
which somebody else may have changed. Of several copies only the one that leads shows anything.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from abserve.errors import ExperimentError
from abserve.experiment import Action
from abserve.rollout.state import State
from abserve.seldon import SeldonDeployment, weights_of

_BY_QUESTION = ("question", "metric", "statement")


class Families:
    """The metrics, each labelled with `deployment` first; without series at first."""

    def __init__(self) -> None:
        self.last_look = _gauge(
            "last_look_timestamp_seconds", "When the SeldonDeployment was last looked at"
        )
        self.running = _gauge("running", "1 while a rollout is under way, else 0")
        self.info = _gauge(
            "info",
            "1; what is compared, and the primary metric",
            "model",
            "metric",
            "baseline_version",
            "candidate_version",
        )
        self.began = _gauge("began_timestamp_seconds", "When the rollout began")
        self.weight = _gauge(
            "weight_percent", "Weights that are to be in force, by variant", "variant"
        )
        self.weights_since = _gauge(
            "weights_in_force_timestamp_seconds",
            "When these weights came into force; absent while they are not",
        )
        self.found_weight = _gauge(
            "found_weight_percent",
            "Weights of the SeldonDeployment when it was last looked at, by variant",
            "variant",
        )
        self.units = _gauge("units", "Units that arrived, in all blocks", "variant")
        self.blocks = _gauge("blocks", "Blocks that were counted")
        self.interval = _gauge("interval_seconds", "Length of a block")
        self.last_block = _gauge(
            "last_block_timestamp_seconds", "When the latest block ended; absent before the first"
        )
        self.effect = _gauge("effect", "candidate - baseline so far", "metric")
        self.effect_lower = _gauge(
            "effect_lower", "Lower end of the primary metric's confidence sequence", "metric"
        )
        self.effect_upper = _gauge(
            "effect_upper", "Upper end of the primary metric's confidence sequence", "metric"
        )
        self.evidence = _gauge(
            "evidence",
            "Natural logarithm of the e-process for a claim or a harm",
            *_BY_QUESTION,
        )
        self.evidence_bar = _gauge(
            "evidence_bar", "From which evidence on it is shown", *_BY_QUESTION
        )
        self.ratio = _gauge(
            "sample_ratio_evidence",
            "Natural logarithm of the highest evidence so far for a sample ratio mismatch",
        )
        self.ratio_bar = _gauge(
            "sample_ratio_evidence_bar", "From which evidence on the rollout is invalid"
        )
        self.decision = _gauge(
            "decision", "1 for the latest decision, 0 for the others", "decision"
        )
        self.decided_at = _gauge(
            "decided_timestamp_seconds", "When the latest decision was made", "decision"
        )
        self.missing = _gauge("missing", "Things that the latest decision could not learn")
        self.outcome = _gauge("outcome", "1; how the rollout came out, once it has", "outcome")

    def all(self) -> Iterator[Metric]:
        yield from vars(self).values()


@dataclass(frozen=True, slots=True)
class _Look:
    state: State | None
    at: float


class Exposed(Collector):
    """Shows the latest look of a controller; nothing while there was none.

    Parameters
    ----------
    deployment : str
        The SeldonDeployment that is looked at.
    """

    def __init__(self, deployment: str) -> None:
        self._deployment = deployment
        # Prometheus is answered by a thread of its own.
        self._lock = Lock()
        self._latest: _Look | None = None
        self._weights: Mapping[str, int] = {}

    def found(self, document: Mapping[str, Any] | None) -> None:
        """Show the weights of the SeldonDeployment as it was found; None if there is none.

        Raises
        ------
        ManifestError
            If it is no SeldonDeployment that could be served.
        """
        weights: Mapping[str, int] = {}
        if document is not None:
            weights = weights_of(SeldonDeployment.parse(document)).by_variant
        with self._lock:
            self._weights = weights

    def look(self, state: State | None, at: float) -> None:
        """Show a rollout as of a look, in seconds since 1970; None if there is none."""
        with self._lock:
            self._latest = _Look(state, at)

    def stand_by(self) -> None:
        """Show nothing: another copy leads, and shows it."""
        with self._lock:
            self._latest = None

    def describe(self) -> Iterator[Metric]:
        """Yield the families without series, by which the registry knows our names."""
        return Families().all()

    def collect(self) -> Iterable[Metric]:
        families = Families()
        with self._lock:
            latest, weights = self._latest, self._weights
        if latest is None:
            return families.all()
        of, state = (self._deployment,), latest.state
        families.last_look.add_metric(of, latest.at)
        families.running.add_metric(of, state is not None and state.end is None)
        for variant, weight in weights.items():
            families.found_weight.add_metric((*of, variant), weight)
        if state is not None:
            _expose_progress(families, of, state)
            if state.decided is not None:
                _expose_conclusion(families, of, state, state.decided.conclusion)
                action = state.decided.conclusion["action"]
                families.decided_at.add_metric((*of, action), state.decided.at)
                families.missing.add_metric(of, len(state.decided.missing))
        return families.all()


def serve(exposed: Exposed, port: int) -> int:
    """Answer Prometheus on all addresses, at ``/metrics``, until the process ends.

    Returns
    -------
    int
        The port; 0 takes any that is free.

    Raises
    ------
    ExperimentError
        If the port cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(exposed)
    try:
        server, _ = start_http_server(port, registry=registry)
    except OSError as error:
        raise ExperimentError(
            f"metrics cannot be served on port {port}: {error.strerror}; expected a port that is "
            "free: choose another with --metrics-port"
        ) from error
    return int(server.server_port)


def _expose_progress(families: Families, of: tuple[str], state: State) -> None:
    begin, experiment = state.begin, state.experiment
    versions = begin.variants
    labels = (begin.model, experiment.primary.metric, versions.baseline, versions.candidate)
    families.info.add_metric((*of, *labels), 1)
    families.began.add_metric(of, begin.at)
    for variant, weight in (state.weights or begin.weights).items():
        families.weight.add_metric((*of, variant), weight)
    _add(families.weights_since, of, state.step_began_at)
    known = [block.units for block in state.blocks if block.units is not None]
    families.units.add_metric((*of, experiment.baseline), sum(each.n_baseline for each in known))
    families.units.add_metric((*of, experiment.candidate), sum(each.n_candidate for each in known))
    families.blocks.add_metric(of, len(state.blocks))
    families.interval.add_metric(of, experiment.interval_seconds)
    if state.blocks:
        families.last_block.add_metric(of, state.counted_until)
    if state.end is not None:
        families.outcome.add_metric((*of, state.end.outcome), 1)


def _expose_conclusion(
    families: Families, of: tuple[str], state: State, conclusion: Mapping[str, Any]
) -> None:
    for action in Action:
        chosen = conclusion["action"] == action.value
        families.decision.add_metric((*of, action.value), chosen)
    analysis, primary = conclusion["analysis"], state.experiment.primary.metric
    # Of one metric there may be several claims, about one and the same effect.
    effects = {each["metric"]: each["effect"] for each in analysis["claims"]}
    for metric, effect in ({primary: analysis["effect"]} | effects).items():
        _add(families.effect, (*of, metric), effect)
    lower, upper = analysis["interval"] or (None, None)
    _add(families.effect_lower, (*of, primary), lower)
    _add(families.effect_upper, (*of, primary), upper)
    for question, findings in (("claim", analysis["claims"]), ("harm", analysis["harms"])):
        for each in findings:
            labels = (*of, question, each["metric"], each["statement"])
            _add(families.evidence, labels, each["log_evidence"])
            _add(families.evidence_bar, labels, each["log_bar"])
    ratio = analysis["sample_ratio"]
    if ratio:
        _add(families.ratio, of, ratio["log_evidence"])
        _add(families.ratio_bar, of, ratio["log_bar"])


def _add(family: GaugeMetricFamily, labels: tuple[str, ...], value: float | None) -> None:
    """Add a series; what is not known has none."""
    if value is not None:
        family.add_metric(labels, value)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"abserve_rollout_{name}", text, labels=("deployment", *labels))
