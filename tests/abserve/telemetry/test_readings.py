import doctest
import math

import pytest

from abserve.errors import TelemetryError
from abserve.telemetry import Reading, ReplicaReading, Series, increase, read_replica, readings

UNITS = Series.of("abserve_units_total", {"version": "v1", "period": "60", "slot": "7"})
FAILED = Series.of("abserve_requests_total", {"version": "v1", "outcome": "failed"})
EXPOSITION = """\
# HELP abserve_units_total Units
# TYPE abserve_units_total counter
abserve_units_total{model="iris",period="60",slot="7",version="v1"} 40.0
abserve_units_total{model="wine",period="60",slot="7",version="v1"} 7.0
# TYPE abserve_units_created gauge
abserve_units_created{model="iris",period="60",slot="7",version="v1"} 1.7e+09
# TYPE abserve_unit info
abserve_unit_info{header="",model="iris",version="v1"} 1.0
# TYPE abserve_drift_psi gauge
abserve_drift_psi{feature="a",model="iris",version="v1"} 0.1
# TYPE process_start_time_seconds gauge
process_start_time_seconds 1.7e+09
"""


def replica(n_units: float, started_at: float = -60.0) -> ReplicaReading:
    return ReplicaReading(started_at, {UNITS: n_units})


def test_the_examples_are_true() -> None:
    assert doctest.testmod(readings).failed == 0


def test_a_replica_is_read_from_its_exposition_without_what_may_fall() -> None:
    assert read_replica(EXPOSITION, "iris") == ReplicaReading(
        1.7e9, {UNITS: 40.0, Series("abserve_unit_info", (("version", "v1"),)): 1.0}
    )


@pytest.mark.parametrize("text", ["<html>", 'abserve_units_total{model="iris"} forty'])
def test_a_text_that_is_no_exposition_is_refused(text: str) -> None:
    with pytest.raises(TelemetryError, match="expected Prometheus' text format"):
        read_replica(text, "iris")


def test_without_its_start_time_a_replica_cannot_be_read() -> None:
    with pytest.raises(TelemetryError, match="lack process_start_time_seconds"):
        read_replica(EXPOSITION.replace("process_start_time", "process_time"), "iris")


def test_an_empty_label_is_none() -> None:
    assert Series.of("a", {"header": ""}) == Series.of("a", {})
    assert Series.of("a", {})["header"] == ""


def test_replicas_are_added_up() -> None:
    before = Reading(0, {"a": replica(40), "b": replica(10)})
    after = Reading(60, {"a": replica(55), "b": replica(12)})
    found = increase(before, after)
    assert (found.samples, found.lost) == ({UNITS: 17.0}, ())


def test_a_replica_that_was_started_between_has_counted_all_it_shows() -> None:
    after = Reading(60, {"a": replica(55), "b": replica(5, started_at=1.0)})
    found = increase(Reading(0, {"a": replica(40)}), after)
    assert (found.samples, found.lost) == ({UNITS: 20.0}, ())


def test_a_replica_that_is_new_and_older_than_the_earlier_reading_is_left_out() -> None:
    found = increase(Reading(0, {}), Reading(60, {"a": replica(55, started_at=-1.0)}))
    assert (found.samples, found.lost) == ({}, ("replica a was not read before",))


def test_a_process_started_again_has_lost_what_it_counted_before() -> None:
    before = Reading(0, {"a": replica(40)})
    after = Reading(60, {"a": replica(100, started_at=30.0)})
    found = increase(before, after)
    assert (found.samples, found.lost) == ({UNITS: 100.0}, ("replica a was started again",))


def test_a_replica_that_went_away_is_lost() -> None:
    found = increase(Reading(0, {"a": replica(40)}), Reading(60, {}))
    assert (found.samples, found.lost) == ({}, ("replica a went away",))


def test_a_counter_that_falls_while_its_process_goes_on_counts_for_nothing() -> None:
    found = increase(Reading(0, {"a": replica(40)}), Reading(60, {"a": replica(30)}))
    assert found.samples == {}
    assert found.lost == (
        "replica a counted 40 in abserve_units_total, which then fell to 30; expected to grow",
    )


def test_a_counter_that_disappears_is_lost() -> None:
    before = ReplicaReading(-60.0, {UNITS: 4.0, FAILED: 2.0})
    found = increase(Reading(0, {"a": before}), Reading(60, {"a": replica(5)}))
    assert found.samples == {}
    assert found.lost == (
        "replica a counted 2 in abserve_requests_total, which then is missing; expected to grow",
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -1.0])
def test_numbers_that_no_counter_shows_count_for_nothing(number: float) -> None:
    good, bad = Reading(0, {"a": replica(4)}), Reading(60, {"a": replica(number)})
    for found in (increase(good, bad), increase(bad, good)):
        assert found.samples == {}
        assert found.lost == (
            f"replica a counts {number:g} in abserve_units_total; expected a number that is at "
            "least 0",
        )
