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

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from abserve.errors import TelemetryError

STARTED = "process_start_time_seconds"


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One counter of one model: its name, and its labels without `model`, in order."""

    name: str
    labels: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, name: str, labels: Mapping[str, str]) -> "Series":
        return cls(name, tuple(sorted(item for item in labels.items() if item[0] != "model")))

    def __getitem__(self, label: str) -> str:
        return dict(self.labels)[label]


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
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if sample.name == STARTED:
                    started_at = sample.value
                elif sample.labels.get("model") == model and sample.name.startswith("abserve_"):
                    samples[Series.of(sample.name, sample.labels)] = sample.value
    except (ValueError, KeyError) as error:
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


def increase(before: Reading, after: Reading) -> Increase:
    """Return what was counted between two readings.

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
    for name, replica in after.replicas.items():
        earlier = before.replicas.get(name)
        if earlier is None:
            if replica.started_at < before.at:
                lost.append(f"replica {name} was not read before")
                continue
            base: Samples = {}
        elif _goes_on(earlier, replica):
            base = earlier.samples
        else:
            lost.append(f"replica {name} was started again")
            base = {}
        for series, value in replica.samples.items():
            total[series] = total.get(series, 0.0) + value - base.get(series, 0.0)
    return Increase(total, tuple(lost))


def _goes_on(earlier: ReplicaReading, later: ReplicaReading) -> bool:
    return later.started_at == earlier.started_at and all(
        later.samples.get(series, 0.0) >= value for series, value in earlier.samples.items()
    )
