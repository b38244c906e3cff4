"""The metrics of all versions of a process, as Prometheus collects them.

What is counted at every request is read once in many seconds. So it is kept in the form that is
cheapest to count in, and one collector makes Prometheus' form of it at each scrape. Label values
come from a version's artifact, from a fixed list, or from a token that we signed, never from a
client, so their number is bounded.

The counts are this process's. MLServer must run with ``parallel_workers`` 0: workers would each
count on their own, and the collector of the main process would know nothing of it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from abserve.metadata import MAX_REFERENCE_FEATURES, Distribution
from abserve.schema import Schema
from abserve.slots import N_SLOTS
from runtimes.drift import MIN_ROWS, WINDOW_ROWS
from runtimes.tally import Buckets, Counts, Feedback, Tally

_Name = tuple[str, str]
_BY_VERSION = ("model", "version")
_SLOT_LABELS = ("period", "slot")
_IN_SLOTS = f"in a ring of {N_SLOTS} slots for each period in seconds"
_BY_SLOT = f"by the time of assignment, {_IN_SLOTS}"


class Families:
    """The metrics, each labelled with `model` and `version` first; without series at first."""

    def __init__(self) -> None:
        self.requests = _counter(
            "requests",
            "Inference requests: ok, rejected (the client's fault) or failed (ours)",
            "outcome",
        )
        self.rejected = _counter(
            "rejected_requests", "Rejected inference requests, by what was wrong", "reason"
        )
        self.seconds = _histogram(
            "inference_seconds", "Time from the parsed inference request to its response"
        )
        self.batch_size = _histogram("batch_size_rows", "Rows of each answered request")
        self.rows = _counter("predicted_rows", "Rows answered")
        self.predictions = _counter("predictions", "Rows classified, by predicted class", "label")
        self.confidence = _histogram(
            "confidence_ratio", "Largest probability of each classified row"
        )
        self.out_of_range = _counter(
            "out_of_range_values",
            "Answered rows whose value is beyond the feature's bounds, for the first "
            f"{MAX_REFERENCE_FEATURES} features; rejected_requests has those that are refused",
            "feature",
        )
        self.drift = _gauge(
            "drift_psi",
            f"Population stability index of the latest {WINDOW_ROWS} rows against those the "
            f"version was fitted on, for the first {MAX_REFERENCE_FEATURES} features; absent below "
            f"{MIN_ROWS} rows",
            "feature",
        )
        self.drift_rows = _gauge("drift_window_rows", "Rows that drift_psi is computed from")
        self.feedback = _counter(
            "feedback",
            "Rows whose ground truth became known: classified correct or incorrect, or measured",
            "outcome",
        )
        self.absolute_error = _counter(
            "absolute_error_sum", "Sum of the absolute errors of measured rows"
        )
        self.squared_error = _counter(
            "squared_error_sum", "Sum of the squared errors of measured rows"
        )
        self.rewards = _counter("rewards", "Responses that a reward was given for")
        self.reward = _counter("reward_sum", "Sum of the rewards, each in [0, 1]")
        self.outcomes = _counter(
            "outcomes",
            f"Units of which an outcome became known, {_BY_SLOT}",
            "metric",
            *_SLOT_LABELS,
        )
        self.outcome = _counter(
            "outcome_sum",
            f"Sum of those outcomes, each in [0, 1], {_BY_SLOT}",
            "metric",
            *_SLOT_LABELS,
        )
        self.units = _counter(
            "units", f"Units, by the time they arrived, {_IN_SLOTS}", *_SLOT_LABELS
        )
        self.unit = InfoMetricFamily(
            "abserve_unit",
            "1; the header that tells units apart, empty if every request is one",
            labels=_BY_VERSION,
        )
        self.info = InfoMetricFamily(
            "abserve_model", "1 for each version that was loaded", labels=_BY_VERSION
        )

    def all(self) -> Iterator[Metric]:
        yield from vars(self).values()


@dataclass(slots=True)
class _Version:
    """What is known of a loaded version.

    There is one tally, or one for each content it ever had under this name: versions are
    immutable, but nobody keeps a developer from replacing one and loading it again. The last is
    the present one.
    """

    counts: Counts
    tallies: list[Tally]
    info: dict[str, str]


class VersionsCollector(Collector):
    """Collects the metrics of all versions that were loaded here, or got feedback here."""

    def __init__(self) -> None:
        # MLServer serves the metrics from a thread.
        self._lock = Lock()
        self._versions: dict[_Name, _Version] = {}
        self._feedback: dict[_Name, Feedback] = {}

    def load(
        self,
        name: _Name,
        schema: Schema,
        reference: Mapping[str, Distribution],
        info: Mapping[str, str],
    ) -> tuple[Counts, Tally]:
        """Return where to count a version; one that is loaded again goes on where it was."""
        self.feedback(name, is_classifier=schema.classes is not None)
        with self._lock:
            version = self._versions.setdefault(name, _Version(Counts(), [], {}))
            version.info = dict(info)
            known = (each for each in version.tallies if each.is_of(schema, reference))
            tally = next(known, None)
            if tally is None:
                with version.counts.lock:
                    tally = Tally(schema, reference, version.counts)
            version.tallies = [*(each for each in version.tallies if each is not tally), tally]
            return version.counts, tally

    def feedback(self, name: _Name, *, is_classifier: bool) -> Feedback:
        """Return where to count the feedback of a version, whether or not it is loaded here."""
        with self._lock:
            feedback = self._feedback.setdefault(name, Feedback())
            for outcome in ("correct", "incorrect") if is_classifier else ("measured",):
                feedback.rows.setdefault(outcome, 0)
            return feedback

    def describe(self) -> Iterator[Metric]:
        """Yield the families without series, by which the registry knows our names."""
        return Families().all()

    def collect(self) -> Iterable[Metric]:
        families = Families()
        with self._lock:
            versions = list(self._versions.items())
            for name, feedback in self._feedback.items():
                _expose_feedback(families, name, feedback)
        for name, version in versions:
            tallies = version.tallies
            with version.counts.lock:
                for tally in tallies:
                    tally.count_pending()
                _expose_counts(families, name, version.counts)
                _expose_drift(families, name, tallies[-1])
            families.info.add_metric(name, version.info)
        return families.all()


def _expose_counts(families: Families, name: _Name, counts: Counts) -> None:
    outcomes = {
        "ok": counts.seconds.n,
        "rejected": sum(counts.rejected.values()),
        "failed": counts.n_failed,
    }
    _add_each(families.requests, name, outcomes)
    _add_each(families.rejected, name, counts.rejected)
    _add_buckets(families.seconds, name, counts.seconds)
    _add_buckets(families.batch_size, name, counts.batch_size)
    families.rows.add_metric(name, counts.batch_size.sum)
    if counts.predictions:
        _add_each(families.predictions, name, counts.predictions)
        _add_buckets(families.confidence, name, counts.confidence)
    _add_each(families.out_of_range, name, counts.out_of_range)
    for period, number, n in counts.units.slots():
        families.units.add_metric((*name, str(period), str(number)), n)
    families.unit.add_metric(name, {"header": counts.units.header})


def _expose_drift(families: Families, name: _Name, tally: Tally) -> None:
    if tally.drift is None:
        return
    _add_each(families.drift, name, tally.drift.indices())
    families.drift_rows.add_metric(name, tally.drift.n_rows)


def _expose_feedback(families: Families, name: _Name, feedback: Feedback) -> None:
    _add_each(families.feedback, name, feedback.rows)
    if "measured" in feedback.rows:
        families.absolute_error.add_metric(name, feedback.absolute_error)
        families.squared_error.add_metric(name, feedback.squared_error)
    families.rewards.add_metric(name, feedback.n_rewards)
    families.reward.add_metric(name, feedback.reward)
    for metric, period, number, slot in feedback.outcomes.slots():
        labels = (*name, metric, str(period), str(number))
        families.outcomes.add_metric(labels, slot.n)
        families.outcome.add_metric(labels, slot.sum)


def _add_each(
    family: CounterMetricFamily | GaugeMetricFamily, name: _Name, values: Mapping[str, float]
) -> None:
    for label, value in values.items():
        family.add_metric((*name, label), value)


def _add_buckets(family: HistogramMetricFamily, name: Sequence[str], buckets: Buckets) -> None:
    family.add_metric(name, buckets.cumulative(), buckets.sum)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"abserve_{name}", text, labels=(*_BY_VERSION, *labels))


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"abserve_{name}", text, labels=(*_BY_VERSION, *labels))


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"abserve_{name}", text, labels=_BY_VERSION)
