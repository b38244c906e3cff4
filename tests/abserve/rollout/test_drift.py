"""Drift as Prometheus has it; `test_prometheus.py` has what is common to all that asks one."""

from urllib.parse import parse_qs, urlsplit

import pytest

from abserve.promotion.candidate import Baseline
from abserve.rollout.drift import read_drift
from abserve.rollout.prometheus_api import Access
from abserve.telemetry import Drift
from tests.abserve.rollout.test_prometheus import AT, POD, Answering, answering

__all__ = ["answering"]

V1 = Baseline("iris", "baseline", "iris", "v1", "s3://models/iris")
ROWS = {"__name__": "abserve_drift_window_rows", "model": "iris", "version": "v1"}
OTHER_POD = {**POD, "pod": "iris-1", "instance": "10.0.0.8:6000"}
WIDTH = {"__name__": "abserve_drift_psi", "model": "iris", "version": "v1", "feature": "width"}


def drift(answering: Answering, **options: str) -> Drift | None:
    return read_drift(Access(answering.url, **options), "shop", V1, AT)


def test_the_replicas_are_combined_by_their_rows(answering: Answering) -> None:
    answering.answer(
        (POD | ROWS, [(AT - 40, "200"), (AT - 10, "300")]),
        (POD | WIDTH, [(AT - 40, "0.9"), (AT - 10, "0.1")]),
        (OTHER_POD | ROWS, [(AT - 10, "100")]),
        (OTHER_POD | WIDTH, [(AT - 10, "0.3")]),
    )
    assert drift(answering) == Drift(400, {"width": pytest.approx(0.15)})


def test_another_version_is_passed_over(answering: Answering) -> None:
    answering.answer(
        (POD | ROWS, [(AT - 10, "300")]),
        (POD | WIDTH, [(AT - 10, "0.1")]),
        (OTHER_POD | ROWS | {"version": "v2"}, [(AT - 10, "900")]),
        (OTHER_POD | WIDTH | {"version": "v2"}, [(AT - 10, "7")]),
    )
    assert drift(answering) == Drift(300, {"width": 0.1})


def test_few_rows_have_no_drift_and_none_are_unknown(answering: Answering) -> None:
    answering.answer((POD | ROWS, [(AT - 10, "40")]))
    assert drift(answering) == Drift(40, {})
    answering.answer((POD | ROWS, [(AT - 10, "0")]))
    assert drift(answering) is None
    answering.answer()
    assert drift(answering) is None


def test_labels_that_the_target_has_too_are_the_metrics_own(answering: Answering) -> None:
    target = POD | {"version": "blue"}
    own = {"exported_version": "v1"}
    answering.answer(
        (target | {"__name__": ROWS["__name__"], "model": "iris"} | own, [(AT - 10, "300")]),
        (
            target | {"__name__": WIDTH["__name__"], "model": "iris", "feature": "width"} | own,
            [(AT - 10, "0.1")],
        ),
    )
    assert drift(answering) == Drift(300, {"width": 0.1})


def test_it_asks_for_the_drift_of_the_deployment_and_no_more(answering: Answering) -> None:
    answering.answer()
    drift(answering, selector='job="models"')
    assert parse_qs(urlsplit(answering.path).query)["query"] == [
        '{__name__=~"abserve_drift_psi|abserve_drift_window_rows",namespace="shop",'
        'model=~"|iris",seldon_deployment_id=~"|iris",job="models"}[60000ms]'
    ]
