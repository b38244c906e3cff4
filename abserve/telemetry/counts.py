"""From the text a replica exposes to the counts of each version."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from abserve.errors import TelemetryError
from abserve.telemetry.drift import Drift
from abserve.telemetry.histogram import Histogram

_REQUESTS = "abserve_requests_total"
_SECONDS = "abserve_inference_seconds_bucket"
_FEEDBACK = "abserve_feedback_total"
DRIFT = "abserve_drift_psi"
DRIFT_ROWS = "abserve_drift_window_rows"
_INFO = "abserve_model_info"
_READ = (_REQUESTS, _SECONDS, _FEEDBACK, DRIFT, DRIFT_ROWS, _INFO)
# Comments, and samples of other metrics: most of what a replica exposes, and slow to parse.
_PASSED_OVER = re.compile(rf"(?!(?:{'|'.join(_READ)})\b)[a-zA-Z_:#]")


@dataclass(frozen=True, slots=True)
class VersionCounts:
    """What is known of one version's traffic.

    `n_rejected` requests were the client's fault (4xx), `n_failed` ours (5xx); both are part of
    `n_requests`. `n_correct` and `n_incorrect` count rows with ground truth. `seconds` holds the
    inference time of answered requests.

    Counts are added with ``+`` over replicas, and taken from later ones with ``-``.
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

    def __sub__(self, earlier: "VersionCounts") -> "VersionCounts":
        return VersionCounts(
            n_requests=self.n_requests - earlier.n_requests,
            n_rejected=self.n_rejected - earlier.n_rejected,
            n_failed=self.n_failed - earlier.n_failed,
            n_correct=self.n_correct - earlier.n_correct,
            n_incorrect=self.n_incorrect - earlier.n_incorrect,
            seconds=self.seconds - earlier.seconds,
        )

    def follows(self, earlier: "VersionCounts") -> bool:
        """Tell whether these can be the same replica's counts some time later: none fell."""
        return (
            self.n_requests >= earlier.n_requests
            and self.n_rejected >= earlier.n_rejected
            and self.n_failed >= earlier.n_failed
            and self.n_correct >= earlier.n_correct
            and self.n_incorrect >= earlier.n_incorrect
            and self.seconds.follows(earlier.seconds)
        )


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """What one replica counted.

    `version` is the one it serves, None if it serves none of this model; `by_version` may hold
    others too, whose feedback happened to arrive here. `drift` is that of the version it serves,
    None until it has taken up rows or if it has nothing to compare them with.
    """

    version: str | None
    by_version: Mapping[str, VersionCounts]
    drift: Drift | None = None

    def since(self, earlier: "ReplicaCounts") -> dict[str, VersionCounts]:
        """Return what the replica counted after `earlier`, by version.

        A replica that was started again counts from nothing: if any count fell, all there is was
        counted since.
        """
        none = VersionCounts()
        restarted = any(
            not self.by_version.get(version, none).follows(counts)
            for version, counts in earlier.by_version.items()
        )
        before = {} if restarted else earlier.by_version
        return {
            version: counts - before.get(version, none)
            for version, counts in self.by_version.items()
        }


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
    drift: dict[str, dict[str, float]] = defaultdict(dict)
    drift_rows: dict[str, int] = {}
    served: str | None = None
    lines = (line for line in exposition.split("\n") if not _PASSED_OVER.match(line))
    try:
        for family in text_string_to_metric_families("\n".join(lines)):
            for sample in family.samples:
                if sample.labels.get("model") != model:
                    continue
                version = sample.labels["version"]
                if sample.name in {_REQUESTS, _FEEDBACK}:
                    by_outcome[version][sample.labels["outcome"]] = int(sample.value)
                elif sample.name == _SECONDS:
                    buckets[version][float(sample.labels["le"])] = sample.value
                elif sample.name == DRIFT:
                    drift[version][sample.labels["feature"]] = sample.value
                elif sample.name == DRIFT_ROWS:
                    drift_rows[version] = int(sample.value)
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
    n_rows = drift_rows.get(served or "", 0)
    return ReplicaCounts(served, by_version, Drift(n_rows, drift[served or ""]) if n_rows else None)


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
