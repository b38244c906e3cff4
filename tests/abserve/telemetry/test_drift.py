import pytest

from abserve.telemetry import Drift, combine_drift


def test_replicas_count_by_their_rows() -> None:
    combined = combine_drift([Drift(300, {"width": 0.1}), Drift(100, {"width": 0.3})])
    assert combined == Drift(400, {"width": pytest.approx(0.15)})


def test_a_feature_is_that_of_the_replicas_that_know_it() -> None:
    combined = combine_drift(
        [Drift(300, {"width": 0.1}), Drift(100, {"width": 0.1, "length": 0.5})]
    )
    assert combined == Drift(400, {"width": pytest.approx(0.1), "length": 0.5})


def test_no_replica_has_no_drift() -> None:
    assert combine_drift([]) is None
