import pytest

from abserve.console.ledger import N_POINTS, Ledger
from abserve.telemetry import Drift, ReplicaCounts, VersionCounts, read_counts
from tests.abserve.telemetry.replica import Replica

PODS = {"b-1": "baseline", "b-2": "baseline", "c-1": "candidate"}
VARIANTS = ("baseline", "candidate")


@pytest.fixture
def ledger() -> Ledger:
    """A ledger that found its replicas running."""
    ledger = Ledger(from_the_start=False)
    ledger.keep(PODS)
    return ledger


def reading(replica: Replica) -> ReplicaCounts:
    return read_counts(replica.text, "iris")


def requests(ledger: Ledger) -> dict[str, int]:
    return {name: counts.n_requests for name, counts in ledger.served.items()}


def test_what_a_replica_counted_before_we_looked_is_not_ours(ledger: Ledger) -> None:
    replica = Replica("v1")
    replica.answer(ok=1000)
    ledger.take("b-1", reading(replica))
    replica.answer(ok=5)
    ledger.take("b-1", reading(replica))
    assert requests(ledger) == {"baseline": 5}


def test_what_a_replica_reports_in_all_is_shown_as_well(ledger: Ledger) -> None:
    replica = Replica("v1")
    replica.answer(ok=1000, rejected=2)
    ledger.take("b-1", reading(replica))
    assert ledger.reported("baseline") == VersionCounts(1002, n_rejected=2)


def test_a_replica_that_appears_while_we_look_is_counted_from_nothing(ledger: Ledger) -> None:
    ledger.keep({**PODS, "c-2": "candidate"})
    replica = Replica("v2")
    replica.answer("v2", ok=3)
    ledger.take("c-2", reading(replica))
    assert requests(ledger) == {"candidate": 3}


def test_a_deployment_that_appears_while_we_look_is_counted_from_nothing() -> None:
    ledger = Ledger(from_the_start=True)
    ledger.keep(PODS)
    replica = Replica("v1")
    replica.answer(ok=3)
    ledger.take("b-1", reading(replica))
    assert requests(ledger) == {"baseline": 3}


def test_replicas_of_a_predictor_are_added_up(ledger: Ledger) -> None:
    for pod in ("b-1", "b-2"):
        replica = Replica("v1")
        ledger.take(pod, reading(replica))
        replica.answer(ok=4)
        ledger.take(pod, reading(replica))
    assert requests(ledger) == {"baseline": 8}


def test_a_replica_that_was_started_again_is_counted_from_nothing(ledger: Ledger) -> None:
    before, after = Replica("v1"), Replica("v1")
    before.answer(ok=10)
    ledger.take("b-1", reading(before))
    after.answer(ok=4)
    ledger.take("b-1", reading(after))
    assert requests(ledger) == {"baseline": 4}


def test_a_replica_that_is_gone_takes_nothing_away(ledger: Ledger) -> None:
    replica = Replica("v1")
    ledger.take("b-1", reading(replica))
    replica.answer(ok=4)
    ledger.take("b-1", reading(replica))
    ledger.keep({"c-1": "candidate"})
    assert requests(ledger) == {"baseline": 4}


def test_what_arrives_from_a_replica_that_is_gone_is_dropped(ledger: Ledger) -> None:
    ledger.keep({"c-1": "candidate"})
    ledger.take("b-1", reading(Replica("v1")))
    assert ledger.version("baseline") is None


def test_feedback_counts_for_its_version_wherever_it_arrives(ledger: Ledger) -> None:
    replica = Replica("v1")
    ledger.take("b-1", reading(replica))
    replica.judge("v2", correct=3, incorrect=1)
    ledger.take("b-1", reading(replica))
    assert ledger.judged == {"v2": VersionCounts(n_correct=3, n_incorrect=1)}
    assert requests(ledger) == {}


def test_a_point_is_made_of_what_was_counted_lately(ledger: Ledger) -> None:
    replica = Replica("v1")
    ledger.take("b-1", reading(replica))
    ledger.mark(0, VARIANTS)
    replica.answer(ok=40, rejected=8, failed=2)
    replica.take([0.05] * 40)
    replica.judge(correct=3, incorrect=1)
    ledger.take("b-1", reading(replica))
    ledger.mark(10, VARIANTS)
    ledger.add_points(10)
    (point,) = ledger.points["baseline"]
    assert (point.at, point.rate, point.rejected, point.failed) == (10, 5, 0.16, 0.04)
    assert (point.accuracy, point.n_feedback) == (0.75, 4)
    assert (point.p50, point.p90, point.p99) == pytest.approx((0.05, 0.09, 0.099))


def test_a_quarter_of_an_hour_of_points_is_kept(ledger: Ledger) -> None:
    for at in range(200):
        ledger.mark(at, VARIANTS)
        ledger.add_points(at)
    assert [len(ledger.points[name]) for name in VARIANTS] == [N_POINTS, N_POINTS]


def test_a_predictor_that_is_gone_is_forgotten(ledger: Ledger) -> None:
    ledger.mark(0, VARIANTS)
    ledger.add_points(0)
    ledger.mark(10, ["baseline"])
    ledger.add_points(10)
    assert list(ledger.points) == ["baseline"]


def test_drift_is_that_of_the_predictors_replicas(ledger: Ledger) -> None:
    ledger.take("b-1", ReplicaCounts("v1", {}, Drift(300, {"width": 0.1})))
    ledger.take("b-2", ReplicaCounts("v1", {}, Drift(100, {"width": 0.3})))
    assert ledger.drift("baseline") == Drift(400, {"width": pytest.approx(0.15)})
    assert ledger.drift("candidate") is None
