"""From readings of the servers' counters to the counts of a block.

::

    began_at ──────── ended_at ─────────── ended_at + maturity
    │<── requests ──────>│                        │
    │<── units, by time of arrival                │
    │<── outcomes, by time of assignment ────────>│

Units and outcomes are what the block's slots (`abserve.slots`) grew by, whenever they are read: so
replicas that are read at different moments are counted over the same span of time, and the two
variants' units can be held against the weights. Guardrails are made of requests, which are what was
counted between the readings at the block's edges; `n` and `k` come from one reading of a replica,
whenever that was. If any of these is lost, nothing of them is known. Of the outcomes, a server that
is started again loses some of both `n` and `k`, which distorts neither.

Counts are by version and over all replicas: feedback may arrive at any of them.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from abserve.analysis.experiment_file import Experiment, Latency, PredictionDrift
from abserve.analysis.observed import DRIFT_OF, Counts
from abserve.errors import ExperimentError, LostCountsError
from abserve.slots import N_SLOTS, period_of, slot_of
from abserve.telemetry import Increase, Reading, ReplicaReading, Series, increase
from abserve.telemetry.readings import (
    OUTCOME_SUM,
    OUTCOMES,
    PREDICTIONS,
    REQUESTS,
    SECONDS,
    UNITS,
    Samples,
)

_OF_REQUESTS = frozenset({REQUESTS, SECONDS, PREDICTIONS})
# Sums of rewards are floats, and what they grow by is their difference.
_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Variants:
    """The version that each variant serves."""

    baseline: str
    candidate: str

    def __post_init__(self) -> None:
        if self.baseline == self.candidate:
            raise ExperimentError(
                f"baseline and candidate both serve version {self.baseline!r}; expected two "
                "versions, by which what was counted is told apart"
            )

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield role and version of each."""
        yield "baseline", self.baseline
        yield "candidate", self.candidate


def count_units(
    before: Reading,
    after: Reading,
    began_at: float,
    ended_at: float,
    experiment: Experiment,
    variants: Variants,
) -> Counts:
    """Count the units of a block, as `n`.

    Parameters
    ----------
    before : Reading
        From before the block, while its slots rest.
    after : Reading
        From after the block, before its slots stand for another time.
    began_at, ended_at : float
        The block's edges: whole periods since 1970.

    Raises
    ------
    ExperimentError
        If the edges are not between periods.
    LostCountsError
        If not all of them are known.
    """
    period, slots = _slots(began_at, ended_at, experiment)
    wanted = {
        version: _in_slots(UNITS, slots, version=version, period=str(period))
        for _, version in variants
    }
    _check_slots_known(after, period, variants)
    # What was started since the slots stood for another time has counted nothing else in them.
    rested_since = Reading(ended_at - N_SLOTS * period, before.replicas)
    series = {each for some in wanted.values() for each in some}
    series |= _series_of({REQUESTS}, wanted, before, after)
    samples = _nothing_lost(_increase(rested_since, after, series), variants)
    n = {version: sum(samples.get(each, 0.0) for each in some) for version, some in wanted.items()}
    return _counts("units", variants, lambda version: n[version], lambda _: 0.0)


def count_guardrails(
    before: Reading,
    after: Reading,
    experiment: Experiment,
    variants: Variants,
    classes: Sequence[str],
) -> tuple[Mapping[str, Counts], tuple[str, ...]]:
    """Count the guardrails of a block.

    Parameters
    ----------
    before, after : Reading
        At the block's edges.
    classes : sequence of str
        All that are predicted, of `classes_of` before the first block.

    Returns
    -------
    mapping of str to Counts, tuple of str
        What is known, and a sentence for whatever is not.

    Raises
    ------
    LostCountsError
        If not all requests are known.
    """
    versions = {version for _, version in variants}
    series = _series_of(_OF_REQUESTS, versions, before, after)
    samples = _nothing_lost(_increase(before, after, series), variants)
    known: dict[str, Counts] = {}
    notes: list[str] = []
    for name, n, k in _of_requests(samples, experiment, classes):
        try:
            known[name] = _counts(name, variants, n, k)
        except LostCountsError as error:
            notes.append(str(error))
    return known, tuple(notes)


def count_outcomes(
    readings: Sequence[Reading],
    began_at: float,
    ended_at: float,
    experiment: Experiment,
    variants: Variants,
) -> Counts:
    """Count the primary metric of a mature block.

    Parameters
    ----------
    readings : sequence of Reading
        From the block's beginning to the end of its maturity window, oldest first. Those in
        between keep what a server that is started again would lose.
    began_at, ended_at : float
        The block's edges: whole periods since 1970.

    Raises
    ------
    ExperimentError
        If the edges are not between periods.
    LostCountsError
        If the numbers are none that servers can have counted.
    """
    metric = experiment.primary.metric
    period, slots = _slots(began_at, ended_at, experiment)
    wanted = {
        (name, version): _in_slots(name, slots, version=version, metric=metric, period=str(period))
        for name in (OUTCOMES, OUTCOME_SUM)
        for _, version in variants
    }
    total = dict.fromkeys(wanted, 0.0)
    every = [each for some in wanted.values() for each in some]
    kept = (_keep(reading, every) for reading in readings)
    for before, after in pairwise(kept):
        samples = increase(before, after).samples
        for key, some in wanted.items():
            total[key] += sum(samples.get(each, 0.0) for each in some)
    return _counts(
        metric,
        variants,
        lambda version: total[OUTCOMES, version],
        lambda version: total[OUTCOME_SUM, version],
    )


def _slots(began_at: float, ended_at: float, experiment: Experiment) -> tuple[int, list[int]]:
    """Return the period by which a block is counted, and its slots."""
    period = period_of(experiment.interval_seconds, experiment.maturity_seconds)
    if began_at % period or ended_at % period or not began_at < ended_at:
        raise ExperimentError(
            f"the block from {began_at:.3f} to {ended_at:.3f} is not made of whole periods of "
            f"{period} s; expected both to be multiples of {period}"
        )
    return period, [slot_of(time, period) for time in range(int(began_at), int(ended_at), period)]


def _in_slots(name: str, slots: Iterable[int], **labels: str) -> list[Series]:
    return [Series.of(name, {**labels, "slot": str(slot)}) for slot in slots]


def _check_slots_known(reading: Reading, period: int, variants: Variants) -> None:
    """Check that each replica that serves a version says when its units arrived."""
    for _, version in variants:
        any_slot = _in_slots(UNITS, range(N_SLOTS), version=version, period=str(period))
        requests = _series_of({REQUESTS}, {version}, reading)
        for name, replica in reading.replicas.items():
            serves = not requests.isdisjoint(replica.samples)
            if serves and not any(each in replica.samples for each in any_slot):
                raise LostCountsError(
                    f"replica {name} does not count units of version {version!r} by periods of "
                    f"{period} s; expected {UNITS} to be kept, of this release of abserve's "
                    "runtimes"
                )


_ByVersion = Callable[[str], float | None]


def _of_requests(
    samples: Samples, experiment: Experiment, classes: Sequence[str]
) -> Iterator[tuple[str, _ByVersion, _ByVersion]]:
    """Yield the name of each metric, and what counts its `n` and `k` of a version."""

    def of(name: str, **labels: str) -> _ByVersion:
        return lambda version: _sum(samples, name, version, **labels)

    def within(bound: float) -> _ByVersion:
        return lambda version: _buckets(samples, version).get(bound)

    def predicted(label: str) -> _ByVersion:
        # The other version alone may know the class.
        return lambda version: _sum(samples, PREDICTIONS, version, label=label) or 0.0

    for guardrail in experiment.guardrails:
        match guardrail:
            case PredictionDrift():
                for label in classes:
                    yield f"{DRIFT_OF}{label}", of(PREDICTIONS), predicted(label)
            case Latency(within_seconds=bound):
                yield guardrail.metric, within(math.inf), within(bound)
            case _:
                outcome = "failed" if guardrail.metric == "error_rate" else "rejected"
                yield guardrail.metric, of(REQUESTS), of(REQUESTS, outcome=outcome)


def _counts(metric: str, variants: Variants, n: _ByVersion, k: _ByVersion) -> Counts:
    (n_baseline, k_baseline), (n_candidate, k_candidate) = (
        _possible(metric, version, n(version), k(version)) for _, version in variants
    )
    return Counts(n_baseline, k_baseline, n_candidate, k_candidate)


def _possible(metric: str, version: str, n: float | None, k: float | None) -> tuple[int, float]:
    if n is None or k is None:
        raise LostCountsError(
            f"{metric} of version {version!r} is not counted any more; expected its series as at "
            "the beginning"
        )
    slack = _ROUNDING * max(n, 1.0)
    if n % 1 or not -slack <= k <= n + slack:
        raise LostCountsError(
            f"{metric} of version {version!r} is {k:g} of {n:g}; expected a whole number of which "
            "no more than all are counted"
        )
    return int(n), min(max(k, 0.0), n)


def _keep(reading: Reading, wanted: Iterable[Series]) -> Reading:
    wanted = tuple(wanted)
    return Reading(
        reading.at,
        {
            name: ReplicaReading(
                replica.started_at,
                {each: replica.samples[each] for each in wanted if each in replica.samples},
            )
            for name, replica in reading.replicas.items()
        },
    )


def _series_of(
    names: Collection[str], versions: Collection[str], *readings: Reading
) -> set[Series]:
    """Return all series of these metrics and versions."""
    return {
        series
        for reading in readings
        for replica in reading.replicas.values()
        for series in replica.samples
        if series.name in names and series["version"] in versions
    }


def _increase(before: Reading, after: Reading, wanted: Collection[Series]) -> Increase:
    """Return the increase of these series, by replicas that have any of them.

    Whatever became of others, such as a shadow's, loses nothing that is asked for.
    """
    kept = [_keep(reading, wanted) for reading in (before, after)]
    serving = {
        name for reading in kept for name, replica in reading.replicas.items() if replica.samples
    }
    return increase(
        *(
            Reading(
                reading.at,
                {name: each for name, each in reading.replicas.items() if name in serving},
            )
            for reading in kept
        )
    )


def _nothing_lost(counted: Increase, variants: Variants) -> Samples:
    unknown = counted.lost or tuple(
        f"no replica counts requests of version {version!r} ({role})"
        for role, version in variants
        if _sum(counted.samples, REQUESTS, version) is None
    )
    if unknown:
        raise LostCountsError("; ".join(unknown))
    return counted.samples


def _sum(samples: Samples, name: str, version: str, **labels: str) -> float | None:
    """Add up the series with these labels; None if there is none."""
    found = [
        value
        for series, value in samples.items()
        if series.name == name
        and series["version"] == version
        and all(series[label] == wanted for label, wanted in labels.items())
    ]
    return sum(found) if found else None


def _buckets(samples: Samples, version: str) -> dict[float, float]:
    """Return how many answers took at most as long as each bound of the histogram."""
    buckets: dict[float, float] = {}
    for series, value in samples.items():
        if series.name == SECONDS and series["version"] == version:
            bound = float(series["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
    return buckets
