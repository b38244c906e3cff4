import math
from collections.abc import Callable, Mapping

import pytest

from abserve.analysis import Counts
from abserve.analysis.counting import Variants, count_guardrails, count_outcomes, count_units
from abserve.errors import ExperimentError, LostCountsError
from abserve.slots import slot_of
from abserve.telemetry import Reading, ReplicaReading, Series
from tests.abserve.analysis.served import (
    BEGAN,
    CLASSES,
    EXPERIMENT,
    MINUTE,
    START,
    VARIANTS,
    reading,
    served,
)

Count = Callable[[Reading, Reading], object]


def in_slot(version: str, minute: int) -> dict[str, str]:
    slot = slot_of(BEGAN + minute * MINUTE, MINUTE)
    return {"version": version, "period": "60", "slot": str(slot)}


def units(before: Reading, after: Reading) -> Counts:
    return count_units(before, after, BEGAN, BEGAN + MINUTE, EXPERIMENT, VARIANTS)


def guardrails(before: Reading, after: Reading) -> tuple[Mapping[str, Counts], tuple[str, ...]]:
    return count_guardrails(before, after, EXPERIMENT, VARIANTS, CLASSES)


def test_a_block_has_units_and_guardrails_of_all_replicas() -> None:
    before = reading(
        0, a=served("v1", 50, failed=1, slow=2), b=served("v1", 0), c=served("v2", 3, setosa=3)
    )
    after = reading(
        60,
        a=served("v1", 80, failed=3, slow=5, rejected=1, setosa=20),
        b=served("v1", 10, setosa=1),
        c=served("v2", 13, failed=1, slow=2, setosa=8),
    )
    assert units(before, after) == Counts(40, 0, 10, 0)
    known, notes = guardrails(before, after)
    assert notes == ()
    assert known == {
        "error_rate": Counts(40, 2, 10, 1),
        "rejection_rate": Counts(40, 1, 10, 0),
        "latency": Counts(37, 34, 9, 7),
        "prediction_drift:setosa": Counts(37, 21, 9, 5),
        "prediction_drift:virginica": Counts(37, 16, 9, 4),
    }


def test_a_class_that_one_version_does_not_know_is_never_predicted_by_it() -> None:
    after = reading(60, a=served("v1", 5, classes=("virginica",)), b=served("v2", 5, setosa=2))
    before = reading(0, a=served("v1", 0, classes=("virginica",)), b=served("v2", 0))
    assert guardrails(before, after)[0]["prediction_drift:setosa"] == Counts(5, 0, 5, 2)


@pytest.mark.parametrize("count", [units, guardrails])
def test_if_anything_is_lost_nothing_is_known(count: Count) -> None:
    with pytest.raises(LostCountsError, match=r"^replica b went away$"):
        count(START, reading(60, a=served("v1", 40)))


@pytest.mark.parametrize("count", [units, guardrails])
def test_a_version_that_is_served_no_more_is_not_known(count: Count) -> None:
    before, after = reading(0, a=served("v1", 0)), reading(60, a=served("v1", 40))
    with pytest.raises(LostCountsError, match=r"no replica counts requests of version 'v2' \(cand"):
        count(before, after)


def test_what_becomes_of_a_shadow_loses_nothing() -> None:
    before = reading(0, a=served("v1", 0), b=served("v2", 0), shadow=served("v3", 9))
    after = reading(60, a=served("v1", 4), b=served("v2", 2))
    assert units(before, after) == Counts(4, 0, 2, 0)
    assert guardrails(before, after)[0]["error_rate"] == Counts(4, 0, 2, 0)


def test_a_replica_that_still_loads_when_the_block_begins_loses_nothing() -> None:
    after = reading(60, a=served("v1", 4), b=served("v2", 2))
    assert units(reading(0, a=served("v1", 0), b={}), after) == Counts(4, 0, 2, 0)


def test_units_of_another_time_are_not_of_the_block() -> None:
    other = Series.of("abserve_units_total", in_slot("v1", 1))
    after = reading(60, a={**served("v1", 4), other: 9.0}, b=served("v2", 2))
    assert units(START, after) == Counts(4, 0, 2, 0)


def test_a_slot_that_was_never_counted_in_has_no_units() -> None:
    none = {
        series: value
        for series, value in served("v2", 5).items()
        if series.name != "abserve_units_total"
    }
    elsewhere = Series.of("abserve_units_total", in_slot("v2", -7))
    idle = {**none, elsewhere: 40.0}
    before, after = (reading(at, a=served("v1", at), b=idle) for at in (0, 60))
    assert units(before, after) == Counts(60, 0, 0, 0)


@pytest.mark.parametrize("labels", [None, {}, {"period": "3600", "slot": "3"}])
def test_units_that_are_not_kept_are_not_known(labels: dict[str, str] | None) -> None:
    """The server of an older release, or a Prometheus that drops them."""
    kept = {
        series: value
        for series, value in served("v2", 5).items()
        if series.name != "abserve_units_total"
    }
    if labels is not None:
        kept[Series.of("abserve_units_total", {"version": "v2", **labels})] = 5.0
    readings = [reading(at, a=served("v1", 4), b=kept) for at in (0, 60)]
    with pytest.raises(LostCountsError, match="replica b does not count units of version 'v2' by"):
        units(*readings)


@pytest.mark.parametrize("number", [math.nan, -1.0, 2.5])
def test_a_broken_exporter_makes_the_units_unknown(number: float) -> None:
    counter = Series.of("abserve_units_total", in_slot("v2", 0))
    after = reading(60, a=served("v1", 4), b={**served("v2", 2), counter: number})
    with pytest.raises(LostCountsError):
        units(START, after)


def test_more_failures_than_requests_are_noted_and_the_rest_is_known() -> None:
    late = Series.of("abserve_inference_seconds_bucket", {"version": "v2", "le": "0.1"})
    after = reading(60, a=served("v1", 4), b={**served("v2", 2), late: 3.0})
    known, notes = guardrails(START, after)
    assert "latency" not in known
    assert "error_rate" in known
    assert notes == (
        "latency of version 'v2' is 3 of 2; expected a whole number of which no more than all are "
        "counted",
    )


def outcomes(version: str, minute: int, n: float, total: float) -> dict[Series, float]:
    labels = {**in_slot(version, minute), "metric": "accuracy"}
    return {
        Series.of("abserve_outcomes_total", labels): n,
        Series.of("abserve_outcome_sum_total", labels): total,
    }


def block_outcomes(*readings: Reading, minutes: int = 1) -> Counts:
    return count_outcomes(readings, BEGAN, BEGAN + minutes * MINUTE, EXPERIMENT, VARIANTS)


def test_outcomes_are_those_of_the_blocks_periods_wherever_feedback_arrived() -> None:
    # The slot has been round the ring before.
    before = reading(BEGAN, a=outcomes("v1", 0, 100, 60), b={})
    after = reading(
        BEGAN + 180,
        a={**outcomes("v1", 0, 109, 67.5), **outcomes("v2", 0, 1, 1), **outcomes("v1", 1, 5, 5)},
        b=outcomes("v2", 0, 2, 0.5),
    )
    assert block_outcomes(before, after) == Counts(9, 7.5, 3, 1.5)


def test_a_process_started_again_loses_only_what_was_not_read() -> None:
    readings = [
        reading(BEGAN, a={}),
        reading(BEGAN + 60, a=outcomes("v1", 0, 5, 4)),
        Reading(BEGAN + 120, {"a": ReplicaReading(BEGAN + 90.0, outcomes("v1", 0, 3, 1))}),
        Reading(BEGAN + 180, {"a": ReplicaReading(BEGAN + 90.0, outcomes("v1", 0, 4, 2))}),
    ]
    assert block_outcomes(*readings) == Counts(9, 6, 0, 0)


def test_rounding_keeps_rewards_within_what_is_possible() -> None:
    before = reading(BEGAN, a=outcomes("v1", 0, 10, 10.0))
    after = reading(BEGAN + 180, a=outcomes("v1", 0, 13, 13.000000001))
    assert block_outcomes(before, after) == Counts(3, 3.0, 0, 0)


def test_outcomes_that_cannot_be_are_refused() -> None:
    after = reading(BEGAN + 180, a=outcomes("v1", 0, 2, 3))
    with pytest.raises(LostCountsError, match="accuracy of version 'v1' is 3 of 2"):
        block_outcomes(reading(BEGAN, a={}), after)


def test_a_block_is_made_of_whole_periods() -> None:
    with pytest.raises(ExperimentError, match="expected both to be multiples of 60"):
        count_outcomes([START, START], BEGAN + 1, BEGAN + 61, EXPERIMENT, VARIANTS)


def test_variants_of_one_version_cannot_be_told_apart() -> None:
    with pytest.raises(ExperimentError, match="both serve version 'v1'"):
        Variants("v1", "v1")
