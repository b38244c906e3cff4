"""Blocks of servers that count as ours do, start and end as they like, and have late feedback."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abserve.analysis import Counts, Experiment, Observed, ObservedBlock
from abserve.analysis.counting import Variants
from abserve.errors import ExperimentError, LostCountsError, TelemetryError
from abserve.rollout.collecting import Collector, collect_span, edge_after
from abserve.slots import is_within_reach, rest_seconds, slot_of
from abserve.telemetry import Reading, ReplicaReading, Series

VARIANTS = Variants("v1", "v2")
MINUTE = 60
BEGAN = 30_000_000 * MINUTE
LAG = 20


def experiment(**stated: Any) -> Experiment:
    usual = {
        "deployment": "iris",
        "primary": {"metric": "accuracy"},
        "guardrails": ({"metric": "error_rate", "margin": 0.01},),
        "interval_seconds": MINUTE,
        "maturity_seconds": 2 * MINUTE,
        "maximum_seconds": 60_000,
        "weight_steps": (50,),
        "step_seconds": MINUTE,
    }
    return Experiment.model_validate(usual | stated)


EXPERIMENT = experiment()


@dataclass
class Server:
    """One process, which counts as the runtimes do."""

    version: str
    started_at: float
    samples: dict[Series, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        of = {"version": self.version}
        self.samples = {
            Series.of("abserve_unit_info", of): 1.0,
            Series.of("abserve_predictions_total", {**of, "label": "setosa"}): 0.0,
            **{
                Series.of("abserve_requests_total", {**of, "outcome": outcome}): 0.0
                for outcome in ("ok", "failed", "rejected")
            },
        }

        self.serve(0, BEGAN)

    def serve(self, n: int, at: int) -> None:
        of = {"version": self.version}
        slot = {"period": str(MINUTE), "slot": str(slot_of(at, MINUTE))}
        for series in (
            Series.of("abserve_units_total", {**of, **slot}),
            Series.of("abserve_requests_total", {**of, "outcome": "ok"}),
        ):
            self.samples[series] = self.samples.get(series, 0.0) + n

    def learn(self, version: str, assigned_at: int, now: int, *, right: bool, period: int) -> None:
        if not is_within_reach(assigned_at, now, period):
            return
        slot = str(slot_of(assigned_at, period))
        of = {"version": version, "metric": "accuracy", "period": str(period), "slot": slot}
        for name, amount in (("outcomes", 1), ("outcome_sum", int(right))):
            series = Series.of(f"abserve_{name}_total", of)
            self.samples[series] = self.samples.get(series, 0.0) + amount

    def reading(self) -> ReplicaReading:
        return ReplicaReading(self.started_at, dict(self.samples))


class Past:
    """A history of which some moments were written down.

    Units are read a little before a block and a little after it; nothing happens in between.
    """

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.readings: dict[float, Reading] = {}
        self.down = False

    def write(self, at: float, servers: dict[str, Server]) -> None:
        read = {name: server.reading() for name, server in servers.items()}
        self.readings[at] = Reading(at, read)
        for moment in (at - 10, at + LAG):
            self.readings.setdefault(moment, Reading(moment, read))

    def reading(self, at: float, since: float | None = None) -> Reading:
        if self.down:
            raise TelemetryError("does not answer")
        self.asked.append(at)
        if at not in self.readings:
            raise LostCountsError(f"has no samples of {at}")
        return self.readings[at]


def steady(n_minutes: int) -> Past:
    """Each minute the baseline has 8 requests and the candidate 2, a quarter of them wrong."""
    past, servers = Past(), {"a": Server("v1", BEGAN - 9.0), "b": Server("v2", BEGAN - 9.0)}
    past.write(BEGAN, servers)
    for began in range(BEGAN, BEGAN + n_minutes * MINUTE, MINUTE):
        for server, n in ((servers["a"], 8), (servers["b"], 2)):
            server.serve(n, began)
            for i in range(n):
                server.learn(server.version, began, began, right=i % 4 > 0, period=MINUTE)
        past.write(began + MINUTE, servers)
    return past


def span(past: Past, began_at: float, until: float, of: Experiment = EXPERIMENT) -> Observed:
    return collect_span(of, VARIANTS, past, began_at, until, 20, LAG, changed_at=BEGAN - 9.0)


def test_a_span_is_made_of_whole_blocks_and_those_that_are_mature_have_outcomes() -> None:
    past = steady(6)
    observed = span(past, BEGAN - 30, BEGAN + 5 * MINUTE + LAG)
    assert [block.number for block in observed.blocks] == [1, 2, 3, 4, 5]
    assert [block.units for block in observed.blocks] == [Counts(8, 0, 2, 0)] * 5
    labelled = [block.by_metric.get("accuracy") for block in observed.blocks]
    assert labelled == [Counts(8, 6, 2, 1)] * 3 + [None] * 2
    assert observed.elapsed_seconds == 5 * MINUTE + LAG
    assert observed.classes == ("setosa",)
    assert observed.missing == ()


def test_each_moment_is_asked_for_once() -> None:
    past = steady(6)
    collector = Collector(EXPERIMENT, VARIANTS, (), past, LAG)
    for number in range(1, 5):
        began = BEGAN + (number - 1) * MINUTE
        collector.mature(collector.end_block(number, began, began + MINUTE, 20))
    assert sorted(past.asked) == sorted(set(past.asked))


def test_a_span_without_a_whole_block_has_none() -> None:
    observed = span(steady(2), BEGAN + 1, BEGAN + MINUTE)
    assert (observed.blocks, observed.elapsed_seconds) == ((), 0.0)


def test_a_block_of_which_nothing_was_kept_is_not_known_and_others_are() -> None:
    past = steady(8)
    del past.readings[BEGAN + 2 * MINUTE]
    observed = span(past, BEGAN, BEGAN + 8 * MINUTE + LAG)
    none = [block.number for block in observed.blocks if block.units is None]
    assert none == [2, 3]
    # The baseline of block 3's outcomes is gone, and so is the end of nobody's window.
    assert [b.number for b in observed.blocks if "accuracy" not in b.by_metric] == [3, 7, 8]
    assert observed.blocks[2].notes == (f"has no samples of {BEGAN + 2 * MINUTE}",) * 2
    assert observed.missing == ()


def test_the_newest_block_and_the_newest_mature_one_are_waited_for() -> None:
    past = steady(8)
    collector = Collector(EXPERIMENT, VARIANTS, (), past, LAG)
    known = ObservedBlock(1, BEGAN, BEGAN + MINUTE, 20, Counts(8, 0, 2, 0))
    lost = ObservedBlock(2, BEGAN + MINUTE, BEGAN + 2 * MINUTE, 20, None, notes=("b went away",))
    newest = ObservedBlock(3, BEGAN + 2 * MINUTE, BEGAN + 3 * MINUTE, 20, Counts(8, 0, 2, 0))
    assert collector.missing([], BEGAN) == ()
    assert collector.missing([known, lost], BEGAN + 2 * MINUTE) == ("block 2: b went away",)
    assert collector.missing([known, lost, newest], BEGAN + 3 * MINUTE) == ()
    assert collector.missing([known, lost, newest], BEGAN + 4 * MINUTE) == ("block 2: b went away",)


def test_a_history_that_does_not_answer_is_asked_again() -> None:
    past = steady(4)
    collector = Collector(EXPERIMENT, VARIANTS, (), past, LAG)
    past.down = True
    with pytest.raises(TelemetryError, match="does not answer"):
        collector.end_block(1, BEGAN, BEGAN + MINUTE, 20)
    past.down = False
    block = collector.end_block(1, BEGAN, BEGAN + MINUTE, 20)
    past.down = True
    with pytest.raises(TelemetryError, match="does not answer"):
        collector.mature(block)
    past.down = False
    assert collector.mature(block).by_metric["accuracy"] == Counts(8, 6, 2, 1)


def test_outcomes_that_cannot_be_are_noted() -> None:
    past = steady(4)
    right = Series.of(
        "abserve_outcome_sum_total",
        {"version": "v1", "metric": "accuracy", "period": "60", "slot": str(slot_of(BEGAN, 60))},
    )
    last = past.readings[BEGAN + 3 * MINUTE].replicas["a"]
    last.samples[right] = 50.0  # type: ignore[index]
    collector = Collector(EXPERIMENT, VARIANTS, (), past, LAG)
    block = collector.mature(collector.end_block(1, BEGAN, BEGAN + MINUTE, 20))
    assert "accuracy" not in block.by_metric
    assert block.notes[0].startswith("accuracy of version 'v1' is 50 of 8")


def test_what_is_not_counted_is_said_before_anything_is() -> None:
    with pytest.raises(ExperimentError, match="is no bound that version 'v1' counts by"):
        span(
            steady(2),
            BEGAN,
            BEGAN + 2 * MINUTE,
            experiment(guardrails=({"metric": "latency", "within_seconds": 1.0, "margin": 0.1},)),
        )


@pytest.mark.parametrize(("moment", "edge"), [(0.0, 0), (0.5, 60), (60.0, 60), (60.001, 120)])
def test_blocks_begin_where_periods_do(moment: float, edge: int) -> None:
    assert edge_after(BEGAN + moment, EXPERIMENT) == BEGAN + edge


@dataclass
class Replicas:
    """Replicas that come, go and are started again; `served` is what they counted in truth."""

    running: dict[str, Server]
    scraped: dict[str, Server] = field(default_factory=dict)
    served: list[int] = field(default_factory=lambda: [0, 0])

    def happens(self, event: str, name: str, n: int, now: float) -> bool:
        """Let it happen; tell whether anything may be lost by it."""
        version = "v1" if name in "ac" else "v2"
        lossy = event == "not scraped" or (name in self.running and event != "serve")
        match event:
            case "serve" if name in self.running:
                self.running[name].serve(n, int(now))
                self.served[version == "v2"] += n
            case "start":
                self.running[name] = Server(version, now)
            case "vanish":
                self.running.pop(name, None)
        self.scraped = dict(self.running)
        if event == "not scraped":
            self.scraped.pop(name, None)
        return lossy


HAPPENING = st.lists(
    st.tuples(
        st.sampled_from(["serve", "serve", "serve", "start", "vanish", "not scraped"]),
        st.sampled_from("abcd"),
        st.integers(1, 50),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(HAPPENING, min_size=1, max_size=12))
def test_known_blocks_never_have_more_than_was_counted_and_all_if_nothing_was_lost(
    minutes: list[list[tuple[str, str, int]]],
) -> None:
    replicas = Replicas({"a": Server("v1", BEGAN - 9.0), "b": Server("v2", BEGAN - 9.0)})
    past = Past()
    past.write(BEGAN, replicas.running)
    collector = Collector(experiment(guardrails=()), VARIANTS, (), past, LAG)
    known, absent = np.zeros(2), False
    for number, happening in enumerate(minutes):
        began, before = BEGAN + number * MINUTE, list(replicas.served)
        lossy = absent
        for second, (event, name, n) in enumerate(happening):
            lossy |= replicas.happens(event, name, n, began + second + 1)
        past.write(began + MINUTE, replicas.scraped)
        absent = replicas.scraped != replicas.running
        units = collector.end_block(number + 1, began, began + MINUTE, 50).units
        if units is not None:
            known += units.n_baseline, units.n_candidate
            exactly = np.subtract(replicas.served, before).tolist()
            assert lossy or [units.n_baseline, units.n_candidate] == exactly
        assert (known <= replicas.served).all()
        assert units is not None or lossy or {"a", "b"} - replicas.running.keys()


@pytest.mark.parametrize("lag_of", [lambda *_: 0, rest_seconds])
@pytest.mark.parametrize(
    ("interval", "maturity", "period"),
    [(1, 10, 1), (10, 30, 1), (44, 15, 1), (60, 120, 60), (1800, 1739, 60)],
)
def test_late_feedback_counts_in_the_block_of_its_assignment_round_after_round(
    interval: int, maturity: int, period: int, lag_of: Callable[[int, int], int]
) -> None:
    """Over three turns of the ring, with feedback that comes too late as well.

    Readings at the blocks' edges may lag as far as slots rest: what arrived since is not in them.
    """
    rng = np.random.default_rng(20_250_101)
    of = experiment(
        interval_seconds=interval, maturity_seconds=maturity, guardrails=(), step_seconds=interval
    )
    lag = lag_of(interval, period)
    n_blocks = 3 * 120 * period // interval + 2
    first = edge_after(BEGAN, of)
    ends = first + n_blocks * interval + maturity
    feedback = []
    expected: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for _ in range(6000):
        # From a turn of the ring before the first block on, so that no slot is new to it.
        assigned = int(rng.integers(first - 120 * period, ends))
        arrives = assigned + int(rng.integers(0, 70 * period))
        role, right = int(rng.integers(2)), bool(rng.integers(2))
        feedback.append((arrives, assigned, role, right))
        block = (assigned - first) // interval
        if arrives < first + (block + 1) * interval + maturity - lag:
            expected[block][2 * role] += 1
            expected[block][2 * role + 1] += right
    feedback.sort()
    edges = {first + number * interval for number in range(n_blocks + 1)}
    edges |= {edge + maturity for edge in edges}
    past, servers = Past(), [Server(version, first - 9e6) for version in ("v1", "v2")]
    position = 0
    for edge in sorted(edges):
        while position < len(feedback) and feedback[position][0] < edge - lag:
            arrives, assigned, role, right = feedback[position]
            receiver = servers[int(rng.integers(2))]
            receiver.learn(servers[role].version, assigned, arrives, right=right, period=period)
            position += 1
        past.write(edge, dict(zip("ab", servers, strict=True)))
    collector = Collector(of, VARIANTS, (), past, LAG)
    for number in range(n_blocks):
        began = first + number * interval
        block = ObservedBlock(number + 1, began, began + interval, 50, None)
        assert collector.mature(block).by_metric["accuracy"] == Counts(*expected[number])
