"""From the text a replica exposes to the counts of each version."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from abserve.errors import TelemetryError
from abserve.telemetry.histogram import Histogram

_REQUESTS = "abserve_requests_total"
_SECONDS = "abserve_inference_seconds_bucket"
_FEEDBACK = "abserve_feedback_total"
_INFO = "abserve_model_info"


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """What is known of one version's traffic.

    `n_rejected` requests were the client's fault (4xx), `n_failed` ours (5xx); both are part of
    `n_requests`. `n_correct` and `n_incorrect` count rows with ground truth. `seconds` holds the
    inference time of answered requests.
    """

    n_requests: int = 0
    n_rejected: int = 0
    n_failed: int = 0
    n_correct: int = 0
    n_incorrect: int = 0
    seconds: Histogram = field(default_factory=Histogram.empty)

    @property
    def n_feedback(self) -> int:
        return self.n_correct + self.n_incorrect

    @property
    def accuracy(self) -> float | None:
        """Share of rows with ground truth that were labelled correctly; None without any."""
        return self.n_correct / self.n_feedback if self.n_feedback else None

    def __add__(self, other: "VersionCounts") -> "VersionCounts":
        return VersionCounts(
            n_requests=self.n_requests + other.n_requests,
            n_rejected=self.n_rejected + other.n_rejected,
            n_failed=self.n_failed + other.n_failed,
            n_correct=self.n_correct + other.n_correct,
            n_incorrect=self.n_incorrect + other.n_incorrect,
            seconds=self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """What one replica counted.

    `version` is the one it serves, None if it serves none of this model; `by_version` may hold
    others too, whose feedback happened to arrive here.
    """

    version: str | None
    by_version: Mapping[str, VersionCounts]


def read_counts(exposition: str, model: str) -> ReplicaCounts:
    """Read one replica's counts of `model`.

    Parameters
    ----------
    exposition : str
        What ``/metrics`` answered, in Prometheus' text format.
    model : str
        The model to read; others are passed over.

    Raises
    ------
    TelemetryError
        If the text is not in that format.
    """
    by_outcome: dict[str, dict[str, int]] = defaultdict(dict)
    buckets: dict[str, dict[float, float]] = defaultdict(dict)
    served: str | None = None
    try:
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.labels.get("model") != model:
                    continue
                version = sample.labels["version"]
                if sample.name in {_REQUESTS, _FEEDBACK}:
                    by_outcome[version][sample.labels["outcome"]] = int(sample.value)
                elif sample.name == _SECONDS:
                    buckets[version][float(sample.labels["le"])] = sample.value
                elif sample.name == _INFO:
                    served = version
    except (ValueError, KeyError, OverflowError) as error:
        raise TelemetryError(
            f"the metrics of model {model!r} cannot be read: {error!r}; expected Prometheus' text "
            "format with the metrics of abserve's runtimes"
        ) from error
    by_version = {
        version: _counts(by_outcome[version], Histogram.from_buckets(buckets[version]))
        for version in sorted(by_outcome.keys() | buckets.keys())
    }
    return ReplicaCounts(served, by_version)


def add_counts(replicas: Iterable[ReplicaCounts]) -> dict[str, VersionCounts]:
    """Add up the counts of several replicas, by version."""
    total: dict[str, VersionCounts] = {}
    for replica in replicas:
        for version, count in replica.by_version.items():
            total[version] = total.get(version, VersionCounts()) + count
    return total


def _counts(by_outcome: Mapping[str, int], seconds: Histogram) -> VersionCounts:
    rejected, failed = by_outcome.get("rejected", 0), by_outcome.get("failed", 0)
    return VersionCounts(
        n_requests=by_outcome.get("ok", 0) + rejected + failed,
        n_rejected=rejected,
        n_failed=failed,
        n_correct=by_outcome.get("correct", 0),
        n_incorrect=by_outcome.get("incorrect", 0),
        seconds=seconds,
    )
