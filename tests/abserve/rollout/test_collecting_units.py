"""Units are those that arrived in a block, whenever replicas are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from abserve.analysis import Counts, Experiment
from abserve.analysis.counting import Variants
from abserve.experiment import Blocks, log_sample_ratio
from abserve.rollout.collecting import Collector, collect_span, edge_after
from abserve.slots import N_SLOTS, period_of
from abserve.telemetry import Reading, ReplicaReading, Series

VARIANTS = Variants("v1", "v2")
NOON = 1_800_000_000
BAR = np.log(1000)  # of the sample ratio


def experiment(interval: int, maturity: int, **stated: object) -> Experiment:
    return Experiment.model_validate(
        {
            "deployment": "iris",
            "primary": {"metric": "accuracy"},
            "interval_seconds": interval,
            "maturity_seconds": maturity,
            "maximum_seconds": 1_000_000,
            "weight_steps": [10],
            "step_seconds": interval,
            **stated,
        }
    )


@dataclass
class Replica:
    """A replica that counts `arrivals`, by the second from `began_at` on, each in its middle.

    It is scraped every `every` seconds, `offset` after a multiple of it, and what it answers is of
    `takes` later.
    """

    version: str
    arrivals: NDArray[np.int64]
    began_at: int
    every: float
    offset: float
    takes: float
    period: int
    header: str = ""

    def arrived(self, began_at: float, ended_at: float) -> int:
        return int(
            self.arrivals[int(began_at) - self.began_at : int(ended_at) - self.began_at].sum()
        )

    def scraped_at(self, at: float) -> float:
        return (at - self.offset) // self.every * self.every + self.offset

    def reading(self, scraped_at: float) -> ReplicaReading:
        of = {"version": self.version}
        n_seconds = int(np.ceil(scraped_at + self.takes - 0.5 - self.began_at))
        counted = self.arrivals[: max(n_seconds, 0)]
        numbers = (self.began_at + np.arange(len(counted))) // self.period % N_SLOTS
        in_slots = np.bincount(numbers, weights=counted, minlength=N_SLOTS)
        slots = {
            Series.of(
                "abserve_units_total", {**of, "period": str(self.period), "slot": str(number)}
            ): float(in_slots[number])
            for number in sorted({*numbers.tolist(), self.began_at // self.period % N_SLOTS})
        }
        requests = Series.of("abserve_requests_total", {**of, "outcome": "ok"})
        unit_info = Series.of("abserve_unit_info", {**of, "header": self.header})
        setosa = Series.of("abserve_predictions_total", {**of, "label": "setosa"})
        n = float(counted.sum())
        return ReplicaReading(
            self.began_at - 1.0, {**slots, requests: n, unit_info: 1.0, setosa: n}
        )


@dataclass
class Scrapes:
    """A history of such replicas, as Prometheus keeps it."""

    replicas: Sequence[Replica]

    def reading(self, at: float, since: float | None = None) -> Reading:
        scraped = {
            str(number): (replica, replica.scraped_at(at))
            for number, replica in enumerate(self.replicas)
        }
        return Reading(
            at,
            {
                name: replica.reading(scraped_at)
                for name, (replica, scraped_at) in scraped.items()
                if since is None or scraped_at >= since
            },
        )


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(10, 20), (30, 20), (60, 120), (600, 1200)]),
    st.tuples(st.floats(0, 15), st.floats(0, 15)),
    st.tuples(st.floats(0, 1), st.floats(0, 5)),
    st.floats(17, 45),
    st.integers(0, 2**32),
)
def test_units_are_exactly_those_that_arrived_in_the_block(
    lengths: tuple[int, int],
    offsets: tuple[float, float],
    takes: tuple[float, float],
    lag_seconds: float,
    seed: int,
) -> None:
    """Replicas are scraped every 15 s, at times of their own, and take their time to answer."""
    stated = experiment(*lengths)
    interval, period = lengths[0], period_of(*lengths)
    n_blocks = 6
    began_at = NOON - 130 * period
    n = NOON + n_blocks * interval + 200 - began_at
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.normal(3, 2, size=n // 20 + 1)).repeat(20)[:n]
    replicas = [
        Replica(version, rng.poisson(share * rates), began_at, 15.0, offset, took, period)
        for version, share, offset, took in zip(
            ("v1", "v2"), (0.9, 0.1), offsets, takes, strict=True
        )
    ]
    collector = Collector(stated, VARIANTS, (), Scrapes(replicas), lag_seconds)
    first = edge_after(NOON, stated)
    for number in range(1, n_blocks + 1):
        edges = first + (number - 1) * interval, first + number * interval
        block = collector.end_block(number, *edges, 10)
        baseline, candidate = (replica.arrived(*edges) for replica in replicas)
        assert (block.units, block.notes) == (Counts(baseline, 0, candidate, 0), ())


def sample_ratio(counts: Sequence[tuple[int, int]]) -> float:
    """Return the highest evidence of a 90/10 split over these blocks."""
    n_baseline, n_candidate = np.array(counts, dtype=np.float64).T
    none = np.zeros_like(n_baseline)
    blocks = Blocks(np.full_like(none, 10.0), n_baseline, none, n_candidate, none)
    return float(log_sample_ratio(blocks).max())


def test_an_honest_split_at_a_high_rate_stays_honest_while_scrapes_are_offset() -> None:
    """5,000 requests a second that ebb and flow; the candidate is scraped 15 s later."""
    rng = np.random.default_rng(20_270_115)
    n, began_at = 2 * 3600, NOON - 600
    rates = 5000 * (1 + 0.5 * np.sin(np.arange(n) / 300))
    requests = rng.poisson(rates)
    of_candidate = rng.binomial(requests, 0.1)
    replicas = [
        Replica(version, arrivals, began_at, 30.0, offset, 0.2, 60)
        for version, arrivals, offset in (
            ("v1", requests - of_candidate, 1.0),
            ("v2", of_candidate, 16.0),
        )
    ]
    history = Scrapes(replicas)
    observed = collect_span(
        experiment(60, 120), VARIANTS, history, NOON, NOON + 6000, 10, 60, changed_at=began_at
    )
    units = [
        (block.units.n_baseline, block.units.n_candidate)
        for block in observed.blocks
        if block.units
    ]
    assert len(units) == len(observed.blocks) == 99
    assert sum(map(sum, units)) > 2e7
    assert sample_ratio(units) < BAR

    # What the two had counted between the edges is of spans that are shifted by 15 s.
    def n_requests(at: float) -> NDArray[np.float64]:
        found = history.reading(at).replicas.values()
        return np.array(
            [
                sum(n for series, n in replica.samples.items() if "requests" in series.name)
                for replica in found
            ]
        )

    between_edges = [
        tuple(n_requests(block.ended_at) - n_requests(block.began_at)) for block in observed.blocks
    ]
    assert sample_ratio(between_edges) > 10 * BAR


def steady(**options: Any) -> list[Replica]:
    usual: dict[str, Any] = {
        "began_at": NOON - 600,
        "every": 15.0,
        "offset": 3.0,
        "takes": 0.1,
        "period": 60,
    }
    arrivals = np.full(2000, 5)
    return [Replica(version, arrivals, **(usual | options)) for version in ("v1", "v2")]


def units_of(history: Scrapes, lag_seconds: float = 30.0) -> tuple[Counts | None, tuple[str, ...]]:
    collector = Collector(experiment(60, 120), VARIANTS, (), history, lag_seconds)
    block = collector.end_block(1, NOON, NOON + 60, 10)
    return block.units, block.notes


def test_a_replica_that_was_not_read_since_the_block_loses_it() -> None:
    baseline, candidate = steady()
    candidate.every = 600.0
    assert units_of(Scrapes([baseline, candidate])) == (None, ("replica 1 went away",))


def test_a_lag_that_is_shorter_than_the_time_between_scrapes_loses_blocks_and_never_units() -> None:
    baseline, candidate = steady()
    candidate.offset = 12.0
    units, notes = units_of(Scrapes([baseline, candidate]), lag_seconds=5.0)
    assert (units, notes) == (None, ("replica 1 went away",))


def test_a_replica_that_is_first_read_after_the_block_began_has_counted_all_since_its_start() -> (
    None
):
    began = [*steady(), *steady(began_at=NOON - 9)[1:]]
    unread = Scrapes(began)
    assert unread.reading(NOON - 10).replicas.keys() == {"0", "1", "2"}

    class Late(Scrapes):
        def reading(self, at: float, since: float | None = None) -> Reading:
            found = super().reading(at, since)
            return Reading(at, {k: v for k, v in found.replicas.items() if k != "2" or at >= NOON})

    assert units_of(Late(began)) == (Counts(300, 0, 600, 0), ())


def test_a_replica_that_counts_no_units_by_that_period_loses_the_block() -> None:
    baseline, candidate = steady()
    candidate.period = 3600
    units, [note] = units_of(Scrapes([baseline, candidate]))
    assert units is None
    assert note.startswith("replica 1 does not count units of version 'v2' by periods of 60 s")


@pytest.mark.parametrize(
    ("starts", "changed_at", "said"),
    [
        ((0, 30), -5, None),
        ((0, 60), 59, None),
        ((0, 90), -5, "replicas were started up to 90 s apart"),
        ((0, 30), 300, "the predictors were changed 301 s after a replica was started"),
    ],
)
def test_units_of_a_header_are_comparable_if_all_replicas_began_together(
    starts: tuple[int, int], changed_at: float, said: str | None
) -> None:
    began_at = NOON - 600
    replicas = [
        Replica(version, np.full(3000, 5), began_at + start, 15.0, 3.0, 0.1, 60, "x-user")
        for version, start in zip(("v1", "v2"), starts, strict=True)
    ]
    observed = collect_span(
        experiment(60, 120, unit={"header": "x-user"}),
        VARIANTS,
        Scrapes(replicas),
        NOON,
        NOON + 600,
        10,
        30,
        changed_at=began_at + changed_at,
    )
    assert len(observed.blocks) == 9
    assert len(observed.missing) == (said is not None)
    assert said is None or said in observed.missing[0]
