import pytest

from abserve.analysis.countable import (
    MAX_CLASSES,
    check_countable,
    classes_of,
    incomparable_units,
)
from abserve.errors import ExperimentError, TelemetryError
from abserve.telemetry import Reading, ReplicaReading, Series
from tests.abserve.analysis.served import (
    CLASSES,
    DRIFT,
    ERROR_RATE,
    EXPERIMENT,
    LATENCY,
    START,
    VARIANTS,
    experiment,
    reading,
    served,
)


def test_the_servers_of_the_runtimes_are_countable() -> None:
    check_countable(START, EXPERIMENT, VARIANTS)
    assert classes_of(START, VARIANTS) == CLASSES


def test_a_version_that_nobody_serves_is_not_countable() -> None:
    with pytest.raises(TelemetryError, match=r"'v2' \(candidate\); found \['v1'\] among 1 repl"):
        check_countable(reading(0, a=served("v1", 0)), EXPERIMENT, VARIANTS)


def test_an_unknown_latency_bound_is_refused_with_the_nearest() -> None:
    stated = experiment({**LATENCY, "within_seconds": 0.08})
    with pytest.raises(ExperimentError, match=r"0\.08, which is no bound .* 0\.05 or 0\.1"):
        check_countable(START, stated, VARIANTS)


def test_units_are_those_that_servers_count_by() -> None:
    with pytest.raises(ExperimentError, match=r"is the header 'x-user', .* count by the request"):
        check_countable(START, experiment(unit={"header": "x-user"}), VARIANTS)
    by_user = reading(0, a=served("v1", 0, header="x-user"), b=served("v2", 0, header="x-user"))
    check_countable(by_user, experiment(unit={"header": "x-user"}), VARIANTS)
    with pytest.raises(ExperimentError, match=r"is the request, .* count by the header 'x-user'"):
        check_countable(by_user, EXPERIMENT, VARIANTS)


def test_a_server_that_does_not_say_its_units_is_refused() -> None:
    info = Series.of("abserve_unit_info", {"version": "v1"})
    older = {series: value for series, value in served("v1", 0).items() if series != info}
    with pytest.raises(TelemetryError, match="no replica says what the units of version 'v1' are"):
        check_countable(reading(0, a=older, b=served("v2", 0)), EXPERIMENT, VARIANTS)


def test_regressors_have_rewards_and_no_classes() -> None:
    numbers = reading(0, a=served("v1", 0, classes=()), b=served("v2", 0, classes=()))
    by_reward = {"primary": {"metric": "reward"}}
    check_countable(numbers, experiment(ERROR_RATE, **by_reward), VARIANTS)
    with pytest.raises(ExperimentError, match="expected the metric reward"):
        check_countable(numbers, experiment(), VARIANTS)
    with pytest.raises(ExperimentError, match="prediction_drift is a guardrail, and version 'v1'"):
        check_countable(numbers, experiment(DRIFT, **by_reward), VARIANTS)


def test_drift_of_many_classes_is_refused() -> None:
    many = tuple(f"c{number:03}" for number in range(MAX_CLASSES + 1))
    pictures = reading(0, a=served("v1", 0, classes=many), b=served("v2", 0, classes=many))
    with pytest.raises(ExperimentError, match="there are 65 classes"):
        check_countable(pictures, EXPERIMENT, VARIANTS)
    check_countable(pictures, experiment(), VARIANTS)


def test_servers_that_count_units_by_no_such_period_are_refused() -> None:
    units = "abserve_units_total"
    older = {series: value for series, value in served("v1", 0).items() if series.name != units}
    older[Series.of(units, {"version": "v1"})] = 0.0
    with pytest.raises(TelemetryError, match="counts the units of version 'v1' by periods of 60 s"):
        check_countable(reading(0, a=older, b=served("v2", 0)), EXPERIMENT, VARIANTS)


BY_USER = experiment(unit={"header": "x-user"})


def started(**starts: float) -> Reading:
    """Replicas of v1 but for those whose name begins with c, by when they were started."""
    return Reading(
        1000.0,
        {
            name: ReplicaReading(at, served("v2" if name.startswith("c") else "v1", 0))
            for name, at in starts.items()
        },
    )


def test_requests_are_comparable_whenever_servers_were_started() -> None:
    assert incomparable_units(started(b=0, c=900), EXPERIMENT, VARIANTS, 900.0) is None


def test_named_units_are_comparable_if_all_replicas_were_started_together() -> None:
    assert incomparable_units(started(b=100, b2=130, c=160), BY_USER, VARIANTS, 90.0) is None
    late = incomparable_units(started(b=100, b2=130, c=161), BY_USER, VARIANTS, 90.0)
    assert late is not None
    assert "replicas were started up to 61 s apart" in late
    assert "set the weights and an annotation of both predictors in one change" in late


def test_named_units_are_not_comparable_if_weights_were_set_after_the_start() -> None:
    later = incomparable_units(started(b=100, c=110), BY_USER, VARIANTS, 500.0)
    assert later is not None
    assert "the predictors were changed 400 s after a replica was started" in later


def test_a_shadow_may_be_started_at_any_time() -> None:
    found = started(b=100, c=110)
    shadow = ReplicaReading(900.0, served("v3", 0))
    reading_of_three = Reading(found.at, {**found.replicas, "shadow": shadow})
    assert incomparable_units(reading_of_three, BY_USER, VARIANTS, 90.0) is None
