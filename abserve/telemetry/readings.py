"""What every replica had counted at one moment, and what was counted between two.

::

    reading at 12:00      reading at 12:01             increase
    replica a   40   ──>  replica a   55      15 ┐
    replica b   10   ──>  replica b    2       ? ┴──>  15 + 2, and "b was started again"

Counters of a replica only grow while its process lives, so the process's start time, and not the
numbers alone, tells whether two readings may be taken from each other. Nothing is extrapolated:
what a process counted after the earlier reading and before it ended is not known, and is said to
be lost.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from prometheus_client.parser import text_string_to_metric_families

from abserve.errors import TelemetryError

STARTED = "process_start_time_seconds"
REQUESTS = "abserve_requests_total"
UNITS = "abserve_units_total"
UNIT_INFO = "abserve_unit_info"
SECONDS = "abserve_inference_seconds_bucket"
PREDICTIONS = "abserve_predictions_total"
OUTCOMES = "abserve_outcomes_total"
OUTCOME_SUM = "abserve_outcome_sum_total"
# All that an experiment is counted from. None of them falls while its process lives.
COUNTED = (REQUESTS, UNITS, UNIT_INFO, SECONDS, PREDICTIONS, OUTCOMES, OUTCOME_SUM)
# Comments, and samples of other metrics: most of what a replica exposes, and slow to parse.
_PASSED_OVER = re.compile(rf"(?!(?:{'|'.join((STARTED, *COUNTED))})\b)[a-zA-Z_:#]")
_MAX_SERIES = 1 << 14


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One counter of one model: its name, and its labels without `model`, in order.

    A label that is empty is none, as for Prometheus.
    """

    name: str
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, name: str, labels: Mapping[str, str]) -> "Series":
        kept = {label: value for label, value in labels.items() if value and label != "model"}
        return cls(name, tuple(sorted(kept.items())))

    def __getitem__(self, label: str) -> str:
        return dict(self.labels).get(label, "")


Samples = Mapping[Series, float]


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """What one process had counted; `started_at` is in seconds since 1970."""

    started_at: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Reading:
    """What the replicas of one SeldonDeployment had counted at `at`, by the name of the replica."""

    at: float
    replicas: Mapping[str, ReplicaReading]


@dataclass(frozen=True, slots=True)
class Increase:
    """What was counted between two readings, over all replicas.

    `lost` has a sentence for each replica of which a part is not known.
    """

    samples: Samples
    lost: tuple[str, ...]


def read_replica(exposition: str, model: str) -> ReplicaReading:
    """Read the counters of one model from what a replica exposes.

    Parameters
    ----------
    exposition : str
        What ``/metrics`` answered, in Prometheus' text format.
    model : str
        The model to read; others are passed over.

    Raises
    ------
    TelemetryError
        If the text is not in that format, or does not say when the process was started.
    """
    started_at: float | None = None
    samples: dict[Series, float] = {}
    try:
        for line in exposition.split("\n"):
            if not line or _PASSED_OVER.match(line):
                continue
            head, _, text = line.rpartition(" ")
            of_model, series = _series(head)
            value = float(text)
            if series.name == STARTED:
                started_at = value
            elif of_model == model:
                samples[series] = value
    except ValueError as error:
        raise TelemetryError(
            f"the metrics of model {model!r} cannot be read: {error!r}; expected Prometheus' text "
            "format"
        ) from error
    if started_at is None:
        raise TelemetryError(
            f"the metrics of model {model!r} lack {STARTED}; expected the process's start time, "
            "without which a counter that began anew cannot be told"
        )
    return ReplicaReading(started_at, samples)


@lru_cache(_MAX_SERIES)
def _series(head: str) -> tuple[str | None, Series]:
    """Return the model and the series of a sample, from its line without the value.

    Prometheus' parser takes 20 microseconds for it, and a replica shows the same thousands of
    series each time.
    """
    samples = [
        sample
        for family in text_string_to_metric_families(head + " 0")
        for sample in family.samples
    ]
    if len(samples) != 1 or samples[0].timestamp is not None:
        raise ValueError(f"{head!r} is followed by a value; expected a series without a time")
    [sample] = samples
    return sample.labels.get("model"), Series.of(sample.name, sample.labels)


def increase(before: Reading, after: Reading) -> Increase:
    """Return what was counted between two readings.

    Of a replica that was started again, what it counted since is in the samples; of one that was
    not read before, or whose numbers are none that a counter can show, nothing is.

    Examples
    --------
    >>> requests = Series.of("abserve_requests_total", {"version": "v1"})
    >>> before = Reading(0.0, {"a": ReplicaReading(-9.0, {requests: 40.0})})
    >>> after = Reading(60.0, {"a": ReplicaReading(-9.0, {requests: 55.0})})
    >>> increase(before, after).samples[requests]
    15.0
    """
    total: dict[Series, float] = {}
    lost = [f"replica {name} went away" for name in before.replicas if name not in after.replicas]
    for name, later in after.replicas.items():
        earlier = before.replicas.get(name)
        strange = _strange(earlier, later)
        if strange:
            lost.append(f"replica {name} {strange}")
            continue
        base: Samples = {}
        if earlier is None:
            if later.started_at < before.at:
                lost.append(f"replica {name} was not read before")
                continue
        elif later.started_at == earlier.started_at:
            base = earlier.samples
        else:
            lost.append(f"replica {name} was started again")
        for series, value in later.samples.items():
            total[series] = total.get(series, 0.0) + value - base.get(series, 0.0)
    return Increase(total, tuple(lost))


def _strange(earlier: ReplicaReading | None, later: ReplicaReading) -> str | None:
    """Say what no counter can show, if anything."""
    for replica in (earlier, later) if earlier else (later,):
        for series, value in replica.samples.items():
            if not (math.isfinite(value) and value >= 0):
                return f"counts {value:g} in {series.name}; expected a number that is at least 0"
    if earlier and earlier.started_at == later.started_at:
        for series, value in earlier.samples.items():
            now = later.samples.get(series)
            if now is None or now < value:
                fell = "is missing" if now is None else f"fell to {now:g}"
                return f"counted {value:g} in {series.name}, which then {fell}; expected to grow"
    return None
