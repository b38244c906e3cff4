from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from abserve.metadata import Distribution
from abserve.schema import Feature, Schema
from abserve.slots import N_SLOTS, PERIODS_SECONDS
from runtimes.exposition import Families
from runtimes.inference import Classified, Regressed, Rows
from runtimes.metrics import VersionMetrics, feedback_of, process_collector
from runtimes.refusals import REASONS
from runtimes.units import HEADER_VARIABLE

CLASSES = ("setosa", "versicolor", "virginica")
FEATURES = (Feature(name="length"), Feature(name="width", minimum=0, maximum=10))
SCHEMA = Schema(features=FEATURES, classes=CLASSES)
REGRESSION = Schema(features=FEATURES)
REFERENCE = {"width": Distribution(edges=(5.0,), shares=(0.5, 0.5))}

_numbers = count(1)


@pytest.fixture
def model() -> str:
    """A name that no other test counts under."""
    return f"model-{next(_numbers)}"


def load(
    model: str,
    version: str = "v1",
    schema: Schema = SCHEMA,
    reference: dict[str, Distribution] = REFERENCE,
) -> VersionMetrics:
    return VersionMetrics(model, version, schema, reference, "0123abc", "2025-01-02")


def value(model: str, name: str, version: str = "v1", **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"model": model, "version": version, **labels})


def samples(model: str) -> dict[str, list[Any]]:
    """The model's samples by name, read from the text that a scrape gets."""
    found: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(generate_latest().decode()):
        for sample in family.samples:
            if sample.labels.get("model") == model:
                found.setdefault(sample.name, []).append(sample)
    return found


def rows(*widths: float) -> Rows:
    return np.array([[1, width] for width in widths], dtype=np.float32)


def classified(*probabilities: tuple[float, float, float]) -> Classified:
    probability = np.array(probabilities, dtype=np.float32)
    return Classified(probability.argmax(axis=1), probability)


ONE_ROW = rows(1)
SETOSA = classified((0.7, 0.2, 0.1))


def answer(metrics: VersionMetrics, n: int = 1, seconds: float = 0.004) -> None:
    for _ in range(n):
        metrics.count_answer(seconds, ONE_ROW, SETOSA)


def test_a_loaded_version_is_visible_before_its_first_request(model: str) -> None:
    load(model)
    for outcome in ("ok", "rejected", "failed"):
        assert value(model, "abserve_requests_total", outcome=outcome) == 0
    for reason in REASONS:
        assert value(model, "abserve_rejected_requests_total", reason=reason) == 0
    for name in CLASSES:
        assert value(model, "abserve_predictions_total", label=name) == 0
    for outcome in ("correct", "incorrect"):
        assert value(model, "abserve_feedback_total", outcome=outcome) == 0
    for histogram in ("inference_seconds", "batch_size_rows", "confidence_ratio"):
        assert value(model, f"abserve_{histogram}_count") == 0
        assert value(model, f"abserve_{histogram}_bucket", le="+Inf") == 0
    assert value(model, "abserve_predicted_rows_total") == 0
    assert value(model, "abserve_out_of_range_values_total", feature="width") == 0
    assert value(model, "abserve_drift_window_rows") == 0
    assert value(model, "abserve_rewards_total") == 0
    assert value(model, "abserve_reward_sum_total") == 0


def test_a_version_says_where_it_comes_from(model: str) -> None:
    load(model)
    labels = {"git_commit": "0123abc", "trained_at": "2025-01-02"}
    assert value(model, "abserve_model_info", **labels) == 1


def test_every_metric_is_ours_and_is_labelled_with_model_and_version_first(model: str) -> None:
    metrics = load(model)
    load(model, "v2", REGRESSION)
    answer(metrics, 100)
    for family in process_collector().collect():
        assert family.name.startswith("abserve_")
        assert family.samples or family.name in {"abserve_outcomes", "abserve_outcome_sum"}
        for sample in family.samples:
            assert list(sample.labels)[:2] == ["model", "version"]


def test_the_registry_knows_our_names(model: str) -> None:
    load(model)
    assert [family.name for family in process_collector().describe()] == [
        family.name for family in Families().all()
    ]
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        REGISTRY.register(process_collector())


def test_rows_are_counted_by_predicted_class(model: str) -> None:
    load(model).count_answer(
        0.1, rows(1, 1, 1), classified((0.9, 0.1, 0), (0, 0.2, 0.8), (0.1, 0.1, 0.8))
    )
    counted = [value(model, "abserve_predictions_total", label=name) for name in CLASSES]
    assert counted == [1, 0, 2]
    assert value(model, "abserve_predicted_rows_total") == 3


def test_an_answered_request_is_counted_and_timed(model: str) -> None:
    metrics = load(model)
    metrics.count_answer(0.004, ONE_ROW, SETOSA)
    metrics.count_answer(0.02, ONE_ROW, SETOSA)
    assert value(model, "abserve_requests_total", outcome="ok") == 2
    assert value(model, "abserve_inference_seconds_count") == 2
    assert value(model, "abserve_inference_seconds_sum") == pytest.approx(0.024)
    assert value(model, "abserve_inference_seconds_bucket", le="0.0025") == 0
    assert value(model, "abserve_inference_seconds_bucket", le="0.005") == 1
    assert value(model, "abserve_inference_seconds_bucket", le="10.0") == 2


def test_inference_of_some_microseconds_is_told_apart(model: str) -> None:
    metrics = load(model)
    answer(metrics, seconds=0.00002)
    answer(metrics, seconds=0.00004)
    assert value(model, "abserve_inference_seconds_bucket", le="1e-05") == 0
    assert value(model, "abserve_inference_seconds_bucket", le="2.5e-05") == 1
    assert value(model, "abserve_inference_seconds_bucket", le="5e-05") == 2


def test_the_rows_of_requests_are_a_histogram(model: str) -> None:
    metrics = load(model)
    answer(metrics)
    metrics.count_answer(0.1, rows(1, 1, 1), classified(*((1, 0, 0),) * 3))
    assert value(model, "abserve_batch_size_rows_bucket", le="1.0") == 1
    assert value(model, "abserve_batch_size_rows_bucket", le="2.0") == 1
    assert value(model, "abserve_batch_size_rows_bucket", le="4.0") == 2
    assert value(model, "abserve_batch_size_rows_sum") == 4


def test_the_largest_probability_of_each_row_is_its_confidence(model: str) -> None:
    result = classified((0.5, 0.25, 0.25), (0.05, 0.9, 0.05), (0.01, 0, 0.99))
    load(model).count_answer(0.1, rows(1, 1, 1), result)
    bucket = "abserve_confidence_ratio_bucket"
    assert [value(model, bucket, le=le) for le in ("0.4", "0.5", "0.9", "0.99")] == [0, 1, 2, 3]
    assert value(model, "abserve_confidence_ratio_sum") == pytest.approx(0.5 + 0.9 + 0.99)


def test_no_confidence_is_above_one(model: str) -> None:
    """FP32 probabilities that were rounded up still are at most 1."""
    above = np.array([[np.nextafter(np.float32(1), np.float32(2)), 0, 0]], dtype=np.float32)
    load(model).count_answer(0.1, ONE_ROW, Classified(np.array([0]), above))
    assert value(model, "abserve_confidence_ratio_bucket", le="1.0") == 1


def test_a_refused_request_is_counted_by_reason_but_not_timed(model: str) -> None:
    metrics = load(model)
    metrics.count_rejected("shape")
    metrics.count_rejected("shape")
    metrics.count_rejected("range")
    assert value(model, "abserve_rejected_requests_total", reason="shape") == 2
    assert value(model, "abserve_rejected_requests_total", reason="range") == 1
    assert value(model, "abserve_rejected_requests_total", reason="value") == 0
    assert value(model, "abserve_requests_total", outcome="rejected") == 3
    assert value(model, "abserve_inference_seconds_count") == 0


def test_a_failed_request_is_counted_but_not_timed(model: str) -> None:
    load(model).count_failed()
    assert value(model, "abserve_requests_total", outcome="failed") == 1
    assert value(model, "abserve_requests_total", outcome="rejected") == 0
    assert value(model, "abserve_inference_seconds_count") == 0


def test_values_beyond_the_bounds_are_counted(model: str) -> None:
    widths = (-0.1, 0, 5, 10, 10.1, 1e30, np.nan)
    load(model).count_answer(0.1, rows(*widths), classified(*((1, 0, 0),) * 7))
    assert value(model, "abserve_out_of_range_values_total", feature="width") == 3


def test_a_bound_is_rounded_as_the_rows_are(model: str) -> None:
    tenth = Schema(features=(Feature(name="width", maximum=0.1),), classes=CLASSES)
    assert float(np.float32(0.1)) > 0.1
    load(model, schema=tenth).count_answer(0.1, np.array([[0.1]], dtype=np.float32), SETOSA)
    assert value(model, "abserve_out_of_range_values_total", feature="width") == 0


def test_a_bound_beyond_fp32_is_no_bound(model: str) -> None:
    wide = Schema(features=(Feature(name="width", maximum=1e300),), classes=CLASSES)
    load(model, schema=wide)
    assert value(model, "abserve_out_of_range_values_total", feature="width") is None


def test_only_features_that_can_be_out_of_range_have_a_series(model: str) -> None:
    schema = Schema(
        features=(
            Feature(name="open"),
            Feature(name="from_zero", minimum=0),
            Feature(name="refused", minimum=0, outside="refuse"),
        ),
        classes=CLASSES,
    )
    load(model, schema=schema)
    series = samples(model)["abserve_out_of_range_values_total"]
    assert [sample.labels["feature"] for sample in series] == ["from_zero"]


def test_drift_is_given_from_a_hundred_rows_on(model: str) -> None:
    metrics = load(model)
    answer(metrics, 99)
    assert value(model, "abserve_drift_psi", feature="width") is None
    assert value(model, "abserve_drift_window_rows") == 99
    answer(metrics)
    # All 100.5 of 101 smoothed rows are narrow, where half of them were expected.
    assert value(model, "abserve_drift_psi", feature="width") == pytest.approx(
        50 / 101 * np.log(100.5 / 50.5) - 50 / 101 * np.log(0.5 / 50.5)
    )
    assert value(model, "abserve_drift_psi", feature="length") is None


def test_rows_like_those_it_was_fitted_on_do_not_drift(model: str) -> None:
    load(model).count_answer(0.1, rows(*(1, 9) * 50), classified(*((1, 0, 0),) * 100))
    assert value(model, "abserve_drift_psi", feature="width") == 0


def test_a_version_without_a_reference_has_no_drift(model: str) -> None:
    answer(load(model, reference={}), 200)
    assert not any(name.startswith("abserve_drift") for name in samples(model))


def test_a_regressor_counts_rows_and_errors_but_no_classes(model: str) -> None:
    metrics = load(model, schema=REGRESSION)
    metrics.count_answer(0.1, rows(1, 99), Regressed(np.array([1, 2], dtype=np.float32)))
    assert value(model, "abserve_predicted_rows_total") == 2
    assert value(model, "abserve_out_of_range_values_total", feature="width") == 1
    assert value(model, "abserve_drift_window_rows") == 2
    assert value(model, "abserve_feedback_total", outcome="measured") == 0
    assert value(model, "abserve_absolute_error_sum_total") == 0
    assert value(model, "abserve_squared_error_sum_total") == 0
    assert value(model, "abserve_feedback_total", outcome="correct") is None
    absent = {"abserve_predictions_total", "abserve_confidence_ratio_count"}
    assert samples(model).keys().isdisjoint(absent)


def test_a_classifier_has_no_errors(model: str) -> None:
    load(model)
    assert "abserve_absolute_error_sum_total" not in samples(model)


def test_a_version_that_is_only_heard_of_has_its_feedback_and_nothing_else(model: str) -> None:
    load(model, "v2")
    feedback_of(model, "v1", is_classifier=True).rows["correct"] += 1
    assert value(model, "abserve_feedback_total", outcome="correct") == 1
    assert value(model, "abserve_requests_total", outcome="ok") is None


def test_versions_are_counted_apart(model: str) -> None:
    first, second = load(model, "v1"), load(model, "v2")
    answer(first, 2)
    answer(second, 3)
    assert value(model, "abserve_requests_total", "v1", outcome="ok") == 2
    assert value(model, "abserve_requests_total", "v2", outcome="ok") == 3


def test_a_version_that_is_loaded_again_goes_on_counting(model: str) -> None:
    first = load(model)
    answer(first, 60)
    first.count_rejected("rows")
    second = load(model)
    answer(second, 60)
    # It may still be answering what came before the reload.
    answer(first, 5)
    second.count_failed()
    assert value(model, "abserve_requests_total", outcome="ok") == 125
    assert value(model, "abserve_requests_total", outcome="rejected") == 1
    assert value(model, "abserve_requests_total", outcome="failed") == 1
    assert value(model, "abserve_drift_window_rows") == 125


def test_a_version_that_was_replaced_goes_on_counting_too(model: str) -> None:
    """Versions are immutable, but a developer may train one anew and load it."""
    first = load(model)
    answer(first, 3)
    flowers = Schema(features=(Feature(name="height"),), classes=("rose", "tulip"))
    rose = Classified(np.array([0]), np.array([[0.9, 0.1]], dtype=np.float32))
    second = load(model, schema=flowers, reference={})
    second.count_answer(0.1, np.ones((1, 1), dtype=np.float32), rose)
    answer(first)
    assert value(model, "abserve_requests_total", outcome="ok") == 5
    assert value(model, "abserve_predictions_total", label="setosa") == 4
    assert value(model, "abserve_predictions_total", label="rose") == 1
    assert value(model, "abserve_drift_window_rows") is None


def test_no_request_makes_a_time_series(model: str) -> None:
    metrics = load(model)
    answer(metrics, 100)
    before = {name: len(found) for name, found in samples(model).items()}
    for n_rows in (1, 3, 10_000, 1):
        widths = np.random.default_rng(n_rows).normal(0, 1e6, size=n_rows)
        metrics.count_answer(99, rows(*widths), classified(*((0, 1, 0),) * n_rows))
        metrics.count_rejected("other")
        metrics.count_failed()
    assert {name: len(found) for name, found in samples(model).items()} == before


def n_units(model: str, period: int) -> float:
    return sum(
        sample.value
        for sample in samples(model)["abserve_units_total"]
        if sample.labels["period"] == str(period)
    )


def test_every_request_is_a_unit(model: str) -> None:
    metrics = load(model)
    assert [n_units(model, period) for period in PERIODS_SECONDS] == [0] * 4
    assert [metrics.count_unit(None), metrics.count_unit(b"user-1")] == [True, True]
    assert [n_units(model, period) for period in PERIODS_SECONDS] == [2] * 4
    assert value(model, "abserve_unit_info", header="") == 1


def test_with_a_header_its_distinct_values_are_the_units(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEADER_VARIABLE, "x-user")
    metrics = load(model)
    answer(metrics, 9)
    for unit in (b"a", b"b", b"a", None, None):
        metrics.count_unit(unit)
    assert n_units(model, 3600) == 4
    assert value(model, "abserve_unit_info", header="x-user") == 1


def test_a_version_that_is_loaded_again_remembers_its_units(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEADER_VARIABLE, "x-user")
    load(model).count_unit(b"a")
    assert load(model).count_unit(b"a") is False
    assert n_units(model, 3600) == 1


def test_the_outcomes_of_a_version_have_a_bounded_number_of_series(model: str) -> None:
    outcomes = feedback_of(model, "v1", is_classifier=True).outcomes
    assert "abserve_outcomes_total" not in samples(model)
    for period in PERIODS_SECONDS:
        for number in range(2 * N_SLOTS):
            assigned_at = 1_800_000_000 + number * period
            outcomes.add("accuracy", 1, assigned_at, assigned_at)
    found = samples(model)
    for name in ("abserve_outcomes_total", "abserve_outcome_sum_total"):
        assert len(found[name]) == len(PERIODS_SECONDS) * N_SLOTS
        assert {each.labels["metric"] for each in found[name]} == {"accuracy"}


def test_there_are_two_hundred_series_at_most_for_a_version_of_many_features(model: str) -> None:
    features = tuple(Feature(name=f"f{i}", minimum=0) for i in range(784))
    reference = {feature.name: REFERENCE["width"] for feature in features}
    schema = Schema(features=features, classes=CLASSES)
    metrics = load(model, schema=schema, reference=reference)
    metrics.count_answer(
        0.1, np.zeros((100, 784), dtype=np.float32), classified(*((1, 0, 0),) * 100)
    )
    found = samples(model)
    assert len(found["abserve_drift_psi"]) == 50
    assert len(found["abserve_out_of_range_values_total"]) == 50
    assert sum(map(len, found.values())) <= 200


def test_nothing_is_lost_while_others_look(model: str) -> None:
    """MLServer serves the metrics from a thread, while the event loop counts."""
    metrics = load(model)
    with ThreadPoolExecutor(2) as pool:
        scrapes = [pool.submit(generate_latest) for _ in range(5)]
        n_answers = 0
        while not all(scrape.done() for scrape in scrapes):
            answer(metrics)
            n_answers += 1
    assert value(model, "abserve_requests_total", outcome="ok") == n_answers
    assert value(model, "abserve_predictions_total", label="setosa") == n_answers
    assert value(model, "abserve_inference_seconds_bucket", le="+Inf") == n_answers
