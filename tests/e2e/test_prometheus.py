"""Counts from a real Prometheus are those that real processes counted."""

import subprocess
from collections.abc import Iterator
from itertools import pairwise
from math import floor
from pathlib import Path
from time import time
from typing import Any

import pytest

from abserve.analysis import Counts, Experiment
from abserve.analysis.countable import check_countable, classes_of
from abserve.analysis.counting import Variants, count_guardrails
from abserve.analysis.experiment_file import Primary
from abserve.errors import LostCountsError, TelemetryError
from abserve.rollout.collecting import collect_span, edge_after
from abserve.rollout.prometheus import PrometheusHistory
from abserve.rollout.prometheus_api import Access
from abserve.slots import slot_of
from tests.e2e.debian import needs
from tests.e2e.local_cluster import wait_until
from tests.e2e.prometheus_process import Exporter, Prometheus

pytestmark = [pytest.mark.e2e, needs("prometheus")]

EXPERIMENT = Experiment.model_validate(
    {
        "deployment": "iris",
        "primary": {"metric": "accuracy"},
        "guardrails": (
            {"metric": "error_rate", "margin": 0.01},
            {"metric": "latency", "within_seconds": 0.1, "margin": 0.05},
            {"metric": "prediction_drift", "margin": 0.1},
        ),
        "interval_seconds": 2,
        "maturity_seconds": 2,
        "maximum_seconds": 600,
        "weight_steps": (50,),
        "step_seconds": 60,
    }
)
VARIANTS = Variants("v1", "v2")
CLASSES = ("setosa", "virginica")


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    exporter = Exporter("iris-baseline-0", "v1", tmp_path_factory.mktemp("baseline"))
    yield exporter
    exporter.kill()


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    exporter = Exporter("iris-candidate-0", "v2", tmp_path_factory.mktemp("candidate"))
    yield exporter
    exporter.kill()


@pytest.fixture(scope="module")
def prometheus(
    baseline: Exporter, candidate: Exporter, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), [baseline, candidate])
    yield prometheus
    prometheus.kill()


@pytest.fixture
def history(prometheus: Prometheus) -> PrometheusHistory:
    return history_of(prometheus.url)


def history_of(url: str, **options: Any) -> PrometheusHistory:
    return PrometheusHistory(Access(url, recent_seconds=3, **options), "shop", "iris", EXPERIMENT)


def name_of(exporter: Exporter) -> str:
    return f"{exporter.pod}/127.0.0.1:{exporter.port}"


def requests_of(n: int, failed: int, slow: int, setosa: int) -> list[tuple[str, Any, float]]:
    return [
        ("requests", {"outcome": "ok"}, n - failed),
        ("requests", {"outcome": "failed"}, failed),
        *(("seconds", {}, 0.5 if i < slow else 0.05) for i in range(n - failed)),
        ("predictions", {"label": "setosa"}, setosa),
        ("predictions", {"label": "virginica"}, n - failed - setosa),
    ]


def test_guardrails_are_exactly_what_was_counted_between_the_edges(
    prometheus: Prometheus,
    history: PrometheusHistory,
    baseline: Exporter,
    candidate: Exporter,
) -> None:
    baseline.count(*requests_of(7, 1, 1, 3))
    began_at = prometheus.edge(baseline, candidate)
    baseline.count(*requests_of(40, 2, 5, 30))
    candidate.count(*requests_of(10, 1, 2, 4))
    ended_at = prometheus.edge(baseline, candidate)
    baseline.count(*requests_of(5, 5, 0, 0))
    prometheus.edge(baseline, candidate)

    before, after = history.reading(began_at), history.reading(ended_at)
    check_countable(before, EXPERIMENT, VARIANTS)
    assert classes_of(before, VARIANTS) == CLASSES
    guardrails, notes = count_guardrails(before, after, EXPERIMENT, VARIANTS, CLASSES)
    assert notes == ()
    assert guardrails == {
        "error_rate": Counts(40, 2, 10, 1),
        "latency": Counts(38, 33, 9, 7),
        "prediction_drift:setosa": Counts(38, 30, 9, 4),
        "prediction_drift:virginica": Counts(38, 8, 9, 5),
    }


def test_blocks_have_exactly_their_own_units_and_outcomes(
    prometheus: Prometheus,
    history: PrometheusHistory,
    baseline: Exporter,
    candidate: Exporter,
) -> None:
    # Units are read ten seconds before a block as well.
    first = edge_after(prometheus.edge(baseline, candidate) + 10, EXPERIMENT)
    wait_until(lambda: time() >= first, lambda: first)
    outcomes: dict[int, list[int]] = {}
    sent = [0, 0]
    while (now := time()) < first + 4:
        second = floor(now)
        arrived = {"period": "1", "slot": str(slot_of(second, 1))}
        slot = {**arrived, "metric": "accuracy"}
        right = sent[0] % 3 != 0
        of_second = outcomes.setdefault(second, [0, 0, 0, 0])
        for index, exporter in enumerate((baseline, candidate)):
            exporter.count(
                ("units", arrived, 1),
                ("requests", {"outcome": "ok"}, 1),
                ("outcomes", slot, 1),
                ("outcome_sum", slot, float(right)),
            )
            sent[index] += 1
            of_second[2 * index] += 1
            of_second[2 * index + 1] += right
    wait_until(lambda: time() >= first + 9, lambda: first)
    until = prometheus.edge(baseline, candidate)
    observed = collect_span(EXPERIMENT, VARIANTS, history, first, until, 50, 3, changed_at=first)

    blocks = observed.blocks
    assert observed.missing == ()
    assert [block.began_at for block in blocks[:3]] == [first, first + 2, first + 4]
    for block in blocks[:2]:
        began = int(block.began_at)
        columns = zip(*(outcomes[second] for second in (began, began + 1)), strict=True)
        counted = Counts(*(sum(column) for column in columns))
        assert block.by_metric["accuracy"] == counted
        assert block.units == Counts(counted.n_baseline, 0, counted.n_candidate, 0)


def test_what_a_killed_process_had_counted_is_lost_and_said_to_be(
    prometheus: Prometheus,
    history: PrometheusHistory,
    baseline: Exporter,
    candidate: Exporter,
) -> None:
    edges = [prometheus.edge(baseline, candidate)]
    candidate.count(*requests_of(10, 0, 0, 5))
    candidate.kill()
    candidate.start()
    candidate.count(*requests_of(20, 0, 0, 5))
    edges.append(prometheus.edge(baseline, candidate))
    candidate.kill()
    wait_until(
        lambda: list(history.reading(time()).replicas) == [name_of(baseline)],
        lambda: history.reading(time()),
    )
    edges.append(time())
    # Processes know their start time to a second.
    wait_until(lambda: time() > edges[-1] + 1, lambda: edges)
    candidate.start()
    candidate.count(*requests_of(30, 0, 0, 5))
    edges.append(prometheus.edge(baseline, candidate))

    readings = [history.reading(edge) for edge in edges]
    blocks = list(pairwise(readings))
    for block, said in zip(blocks, ("was started again", "went away"), strict=False):
        with pytest.raises(LostCountsError, match=f"replica {name_of(candidate)} {said}"):
            count_guardrails(*block, EXPERIMENT, VARIANTS, CLASSES)
    guardrails, _ = count_guardrails(*blocks[2], EXPERIMENT, VARIANTS, CLASSES)
    assert guardrails["error_rate"] == Counts(0, 0, 30, 0)


def test_prometheus_says_what_it_does_not_like(
    prometheus: Prometheus, history: PrometheusHistory, baseline: Exporter, candidate: Exporter
) -> None:
    at = prometheus.edge(baseline, candidate)
    with pytest.raises(TelemetryError, match=r"answered 400: bad_data: .*missing closing"):
        history_of(prometheus.url, selector='job=~"pods("').reading(at)
    with pytest.raises(TelemetryError, match="answered 404 with what is no answer of Prometheus"):
        history_of(f"{prometheus.url}/elsewhere").reading(at)
    with pytest.raises(TelemetryError, match="expected a moment that has passed"):
        history.reading(at + 60)
    with pytest.raises(LostCountsError, match="has no samples of abserve's servers"):
        history.reading(at - 3600)
    with pytest.raises(LostCountsError, match="has no samples of abserve's servers"):
        history_of(prometheus.url, selector='job="others"').reading(at)
    narrowed = history_of(prometheus.url, selector='job="pods",pod!=""')
    assert narrowed.reading(at) == history.reading(at)


def test_the_past_stays_as_it_was_while_prometheus_is_down(
    prometheus: Prometheus,
    history: PrometheusHistory,
    baseline: Exporter,
    candidate: Exporter,
) -> None:
    at = prometheus.edge(baseline, candidate)
    before = history.reading(at)
    prometheus.kill()
    with pytest.raises(TelemetryError, match=r"does not answer: .*Connection refused"):
        history.reading(at)
    prometheus.start()
    assert history.reading(at) == before


HOUR = 3600
DAY = 20_000 * 24 * HOUR
SAMPLED_SECONDS = 300
# Units are read a little before the day, and a little after it.
FIRST_SAMPLE, LAST_SAMPLE = DAY - SAMPLED_SECONDS, DAY + 24 * HOUR + 2 * SAMPLED_SECONDS
HOURLY = EXPERIMENT.model_copy(
    update={
        "primary": Primary(metric="reward"),
        "interval_seconds": HOUR,
        "maturity_seconds": 2 * HOUR,
        "guardrails": (),
    }
)


def day_of_samples() -> Iterator[str]:
    """What two replicas counted on a day, sampled every five minutes in OpenMetrics' format.

    The candidate has one request in five, and is started again at half past one p.m.; a reward
    comes 90 minutes later. From 18:20 to 18:50 nothing was scraped.
    """
    lines: dict[str, list[str]] = {}
    for version, per_sample, pod in (("v1", 40, "baseline-0"), ("v2", 10, "candidate-0")):
        target = f'namespace="shop",pod="{pod}",instance="{pod}:6000"'
        of = f'{target},model="iris",version="{version}"'
        counted: dict[str, float] = {}
        started_at = FIRST_SAMPLE - 60.0
        for at in range(FIRST_SAMPLE, LAST_SAMPLE + 1, SAMPLED_SECONDS):
            if version == "v2" and at == DAY + 13.5 * HOUR:
                counted, started_at = {}, at - 30.0
            arrived = slot_of(at - SAMPLED_SECONDS, HOUR)
            for name in (
                f'abserve_units_total{{period="3600",slot="{arrived}"}}',
                'abserve_requests_total{outcome="ok"}',
            ):
                counted[name] = counted.get(name, 0) + per_sample
            hour = (at - 1.5 * HOUR) // HOUR
            slot = f'{{metric="reward",period="3600",slot="{int(hour) % 120}"}}'
            for name, amount in (("outcomes", per_sample), ("outcome_sum", per_sample * 0.75)):
                series = f"abserve_{name}_total{slot}"
                counted[series] = counted.get(series, 0) + amount
            if DAY + 18 * HOUR + 1200 < at < DAY + 18 * HOUR + 3000:
                continue
            exposed = {
                f"process_start_time_seconds{{{target}}}": started_at,
                f'abserve_unit_info{{{of},header=""}}': 1,
            }
            for series, value in counted.items():
                name, _, own = series.partition("{")
                exposed[f"{name}{{{of}{',' + own.rstrip('}') if own else ''}}}"] = value
            for series, value in exposed.items():
                lines.setdefault(series, []).append(f"{series} {value} {at}")
    for series in sorted(lines):
        yield from lines[series]
    yield "# EOF"


@needs("promtool", "prometheus")
def test_a_day_that_prometheus_kept_is_counted_hour_by_hour(tmp_path: Path) -> None:
    samples = tmp_path / "samples.txt"
    samples.write_text("\n".join(day_of_samples()) + "\n")
    written = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(samples)]
    subprocess.run([*written, str(tmp_path / "data")], check=True, capture_output=True, timeout=60)
    prometheus = Prometheus(tmp_path)
    try:
        access = Access(prometheus.url, recent_seconds=2 * SAMPLED_SECONDS)
        history = PrometheusHistory(access, "shop", "iris", HOURLY)
        lag = 2 * SAMPLED_SECONDS
        observed = collect_span(
            HOURLY, VARIANTS, history, DAY, LAST_SAMPLE, 20, lag, changed_at=DAY
        )
        edges = [
            "promtool query instant "
            f"--time={DAY + hour * HOUR} {prometheus.url} abserve_requests_total"
            for hour in (7, 8)
        ]
        shown = [
            subprocess.run(each.split(), check=True, capture_output=True, text=True).stdout
            for each in edges
        ]
    finally:
        prometheus.kill()
    whole = Counts(12 * 40, 0, 12 * 10, 0)
    units = [block.units for block in observed.blocks]
    assert units == [whole] * 13 + [None] + [whole] * 10
    by_promtool = [
        [int(line.split("=> ")[1].split(" @")[0]) for line in sorted(text.splitlines())]
        for text in shown
    ]
    assert [b - a for a, b in zip(*by_promtool, strict=True)] == [480, 120]
    labelled = [block.by_metric.get("reward") for block in observed.blocks]
    full = Counts(480, 360, 120, 90)
    assert [each for each in labelled[:11] + labelled[14:22] if each != full] == []
    assert [each.n_candidate for each in labelled[11:14] if each] == [70, 120, 120]
    assert labelled[22:] == [None, None]
