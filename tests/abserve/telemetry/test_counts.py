import numpy as np
import prometheus_client
import pytest

from abserve.errors import TelemetryError
from abserve.schema import Feature, Schema
from abserve.telemetry import (
    Drift,
    Histogram,
    ReplicaCounts,
    VersionCounts,
    add_counts,
    read_counts,
)
from runtimes.inference import Classified
from runtimes.metrics import VersionMetrics, feedback_of
from tests.abserve.telemetry.replica import Replica

INFINITY = float("inf")


@pytest.fixture
def replica() -> Replica:
    return Replica()


def v1(replica: Replica) -> VersionCounts:
    return read_counts(replica.text, "iris").by_version["v1"]


def test_requests_are_counted_by_what_became_of_them(replica: Replica) -> None:
    replica.answer(ok=7, rejected=2, failed=1)
    assert v1(replica) == VersionCounts(n_requests=10, n_rejected=2, n_failed=1)


def test_rows_with_ground_truth_are_counted(replica: Replica) -> None:
    replica.judge(correct=3, incorrect=1)
    assert v1(replica) == VersionCounts(n_correct=3, n_incorrect=1)


def test_the_inference_time_is_a_histogram(replica: Replica) -> None:
    replica.take([0.05, 0.3, 0.3, 0.7, 2.0])
    assert v1(replica).seconds == Histogram((0.1, 0.5, 1.0, INFINITY), (1, 3, 4, 5))


def test_accuracy_is_the_share_of_judged_rows(replica: Replica) -> None:
    replica.judge(correct=3, incorrect=1)
    assert (v1(replica).n_feedback, v1(replica).accuracy) == (4, 0.75)


def test_without_ground_truth_there_is_no_accuracy(replica: Replica) -> None:
    replica.answer(ok=5)
    assert (v1(replica).n_feedback, v1(replica).accuracy) == (0, None)


def test_versions_are_counted_apart(replica: Replica) -> None:
    replica.answer("v1", ok=5)
    replica.answer("v2", ok=2)
    counts = read_counts(replica.text, "iris").by_version
    assert {version: each.n_requests for version, each in counts.items()} == {"v1": 5, "v2": 2}


def test_other_models_are_passed_over(replica: Replica) -> None:
    replica.answer("v1", ok=5)
    replica.answer("v1", ok=100, model="wine")
    replica.judge("v1", correct=100, model="wine")
    replica.take([0.2] * 100, "v1", model="wine")
    assert read_counts(replica.text, "iris").by_version == {"v1": VersionCounts(n_requests=5)}


def test_the_version_that_a_replica_serves_is_the_one_it_loaded() -> None:
    replica = Replica(serves="v2")
    replica.judge("v1", correct=1)
    assert read_counts(replica.text, "iris").version == "v2"


def test_a_replica_that_loaded_another_model_serves_no_version_of_this_one() -> None:
    assert read_counts(Replica(serves="v2").text, "wine") == ReplicaCounts(None, {})


def test_a_replica_that_has_answered_nothing_has_no_counts(replica: Replica) -> None:
    assert read_counts(replica.text, "iris") == ReplicaCounts("v1", {})


def test_a_replica_that_exposes_nothing_serves_nothing() -> None:
    assert read_counts("", "iris") == ReplicaCounts(None, {})


def test_metrics_of_others_are_passed_over(replica: Replica) -> None:
    replica.answer(ok=5)
    text = replica.text + 'model_infer_request_success_total{model="iris",version="v1"} 9.0\n'
    assert read_counts(text, "iris").by_version == {"v1": VersionCounts(n_requests=5)}


def test_drift_is_that_of_the_version_a_replica_serves(replica: Replica) -> None:
    replica.drift(500, width=0.25, length=0.125)
    replica.drift(900, version="v2", width=3.0)
    assert read_counts(replica.text, "iris").drift == Drift(500, {"width": 0.25, "length": 0.125})


def test_a_replica_without_rows_has_no_drift(replica: Replica) -> None:
    replica.drift(0)
    assert read_counts(replica.text, "iris").drift is None


def test_names_and_labels_are_those_of_the_runtimes() -> None:
    model = "read-by-telemetry"
    schema = Schema(features=(Feature(name="width"),), classes=("a", "b"))
    metrics = VersionMetrics(model, "v1", schema, {}, "1623454", "2026-01-02")
    row = np.ones((1, 1), dtype=np.float32)
    for _ in range(3):
        metrics.count_answer(0.004, row, Classified(np.array([0]), np.array([[0.75, 0.25]])))
    metrics.count_rejected("shape")
    metrics.count_failed()
    feedback_of(model, "v1", is_classifier=True).rows["correct"] += 2
    counts = read_counts(prometheus_client.generate_latest().decode(), model)
    assert counts.version == "v1"
    read = counts.by_version["v1"]
    assert (read.n_requests, read.n_rejected, read.n_failed) == (5, 1, 1)
    assert (read.n_correct, read.n_incorrect, read.seconds.n) == (2, 0, 3)


def test_a_regressor_of_the_runtimes_is_read_without_accuracy() -> None:
    model = "regressor-read-by-telemetry"
    VersionMetrics(model, "v1", Schema(features=(Feature(name="width"),)), {}, "1623454", "2026")
    feedback_of(model, "v1", is_classifier=False).rows["measured"] += 2
    read = read_counts(prometheus_client.generate_latest().decode(), model).by_version["v1"]
    assert (read.n_feedback, read.accuracy) == (0, None)


@pytest.mark.parametrize(
    "text",
    [
        "<html><body>502 Bad Gateway</body></html>",
        'abserve_requests_total{model="iris",version="v1",outcome="ok"} many',
        'abserve_requests_total{model="iris",version="v1",outcome="ok"} NaN',
        'abserve_requests_total{model="iris",version="v1",outcome="ok"} +Inf',
        'abserve_requests_total{model="iris",version="v1",outcome="ok"',
        'abserve_requests_total{model="iris",version="v1"} 1.0',
        'abserve_requests_total{model="iris",outcome="ok"} 1.0',
        'abserve_inference_seconds_bucket{model="iris",version="v1"} 1.0',
        'abserve_inference_seconds_bucket{model="iris",version="v1",le="soon"} 1.0',
    ],
)
def test_text_that_is_no_exposition_of_ours_is_refused(text: str) -> None:
    with pytest.raises(TelemetryError, match="metrics of model 'iris' cannot be read"):
        read_counts(text, "iris")


def test_replicas_are_added_up_by_version() -> None:
    first = ReplicaCounts("v1", {"v1": VersionCounts(n_requests=5, n_rejected=1, n_failed=2)})
    second = ReplicaCounts(
        "v2",
        {"v1": VersionCounts(n_requests=0, n_correct=3, n_incorrect=1), "v2": VersionCounts(4)},
    )
    assert add_counts([first, second]) == {
        "v1": VersionCounts(5, n_rejected=1, n_failed=2, n_correct=3, n_incorrect=1),
        "v2": VersionCounts(4),
    }


def test_histograms_of_replicas_are_added_up() -> None:
    first, second = Replica(), Replica()
    first.take([0.05, 0.3])
    second.take([0.3, 2.0])
    counts = add_counts(read_counts(each.text, "iris") for each in (first, second))
    assert counts["v1"].seconds == Histogram((0.1, 0.5, 1.0, INFINITY), (1, 3, 3, 4))


def test_replicas_with_other_buckets_are_not_added_up() -> None:
    first, second = Replica(bounds=(0.1, 1.0)), Replica(bounds=(0.2, 1.0))
    first.take([0.05])
    second.take([0.05])
    with pytest.raises(TelemetryError, match="same release of the runtimes"):
        add_counts(read_counts(each.text, "iris") for each in (first, second))


def test_no_replicas_have_no_counts() -> None:
    assert add_counts([]) == {}


def test_what_a_replica_counted_later_is_the_difference(replica: Replica) -> None:
    replica.answer(ok=5, rejected=1)
    replica.take([0.3])
    earlier = read_counts(replica.text, "iris")
    replica.answer(ok=2, failed=1)
    replica.take([0.05, 0.3])
    replica.judge("v2", correct=3, incorrect=1)
    later = read_counts(replica.text, "iris").since(earlier)
    assert later == {
        "v1": VersionCounts(
            3, n_failed=1, seconds=Histogram((0.1, 0.5, 1.0, INFINITY), (1, 2, 2, 2))
        ),
        "v2": VersionCounts(n_correct=3, n_incorrect=1),
    }


def test_a_replica_that_counts_less_than_before_was_started_again() -> None:
    earlier = ReplicaCounts("v1", {"v1": VersionCounts(10, n_correct=5), "v2": VersionCounts(1)})
    now = ReplicaCounts("v1", {"v1": VersionCounts(12, n_correct=1), "v2": VersionCounts(1)})
    assert now.since(earlier) == now.by_version


def test_a_replica_that_forgot_a_version_was_started_again() -> None:
    earlier = ReplicaCounts("v1", {"v1": VersionCounts(3), "v2": VersionCounts(1)})
    now = ReplicaCounts("v1", {"v1": VersionCounts(4)})
    assert now.since(earlier) == {"v1": VersionCounts(4)}


def test_a_replica_with_other_buckets_was_started_again() -> None:
    first, second = Replica(bounds=(0.1, 1.0)), Replica(bounds=(0.2, 1.0))
    first.take([0.05])
    second.take([0.05, 0.05])
    earlier, now = (read_counts(each.text, "iris") for each in (first, second))
    assert now.since(earlier) == now.by_version


def test_a_replica_that_counted_nothing_more_has_counted_nothing_since(replica: Replica) -> None:
    replica.answer(ok=5)
    counts = read_counts(replica.text, "iris")
    assert counts.since(counts) == {"v1": VersionCounts()}
