import math

import pytest

from abserve.errors import GateError
from abserve.metadata import Estimate, Fingerprint, GateOutcome, Metadata, Parity, Slice
from training.definition import Bar, Gates, Margin, SliceGate
from training.evaluation import Evaluation
from training.gates import check, judge, remarks

EXACT = Parity(n_rows=45, n_edge_rows=193, n_different_labels=0, largest_difference=3e-7)
DATA = Fingerprint(source="sklearn:iris", n_rows=150, columns=("a",), sha256="0123")


def evaluation(recall: dict[str, float] | None = None, **metrics: float) -> Evaluation:
    return Evaluation(
        {name: Estimate(value=value) for name, value in metrics.items()},
        {name: Estimate(value=value) for name, value in (recall or {}).items()},
    )


def outcome_of(
    gates: Gates,
    candidate: Evaluation,
    serving: Evaluation | None = None,
    slices: dict[str, Slice] | None = None,
) -> GateOutcome:
    """The first outcome: of the one gate that is set."""
    return judge(gates, candidate, slices or {}, serving, 0.5, 2000, EXACT)[0]


def serving_metadata(sha256: str | None) -> Metadata:
    return Metadata.model_validate(
        {
            "model": "iris",
            "version": "v1",
            "trained_at": "2025-01-02T03:04:05+00:00",
            "git_commit": None,
            "git_dirty": None,
            "libraries": {},
            "data": None if sha256 is None else DATA.model_copy(update={"sha256": sha256}),
            "estimator": "sklearn.tree.DecisionTreeClassifier",
            "parameters": {},
            "seed": 7,
            "n_fitted": 105,
            "n_held_out": 45,
            "evaluation": {},
            "parity": None,
            "schema": {"features": [{"name": "a"}], "classes": ["x", "y"]},
        }
    )


def test_a_metric_at_its_bar_passes() -> None:
    outcome = outcome_of(Gates(metrics={"accuracy": Bar(at_least=0.9)}), evaluation(accuracy=0.9))
    assert outcome == GateOutcome(
        gate="accuracy", bar="at least 0.9", found=0.9, by=0.0, passed=True
    )


def test_a_metric_below_its_bar_fails_and_says_by_how_much() -> None:
    outcome = outcome_of(Gates(metrics={"accuracy": Bar(at_least=0.9)}), evaluation(accuracy=0.75))
    assert not outcome.passed
    assert outcome.by == pytest.approx(-0.15)


def test_of_a_loss_less_is_better() -> None:
    gates = Gates(metrics={"log_loss": Bar(at_most=0.2)})
    assert outcome_of(gates, evaluation(log_loss=0.1)).by == pytest.approx(0.1)
    assert not outcome_of(gates, evaluation(log_loss=0.3)).passed


@pytest.mark.parametrize("found", [evaluation(), evaluation(accuracy=math.nan)])
def test_what_could_not_be_measured_has_not_passed(found: Evaluation) -> None:
    outcome = outcome_of(Gates(metrics={"accuracy": Bar(at_least=0.0)}), found)
    assert (outcome.passed, outcome.note) == (False, "could not be measured")


def test_the_recall_of_a_class_has_a_bar_of_its_own() -> None:
    gates = Gates(recall={"malignant": Bar(at_least=0.9)})
    outcome = outcome_of(gates, evaluation({"malignant": 0.8, "benign": 1.0}))
    assert (outcome.gate, outcome.found, outcome.passed) == ("recall of malignant", 0.8, False)


def test_a_slice_has_bars_of_its_own() -> None:
    old = SliceGate(feature="age", minimum=60, metrics={"accuracy": Bar(at_least=0.9)})
    found = {"old": Slice(n_rows=9, metrics={"accuracy": Estimate(value=0.95)})}
    outcome = outcome_of(Gates(slices={"old": old}), evaluation(), slices=found)
    assert (outcome.gate, outcome.passed) == ("old: accuracy", True)


def test_a_slice_without_rows_has_not_passed() -> None:
    old = SliceGate(feature="age", minimum=60, metrics={"accuracy": Bar(at_least=0.9)})
    assert not outcome_of(Gates(slices={"old": old}), evaluation()).passed


@pytest.mark.parametrize(
    ("metric", "serving", "candidate", "passed"),
    [
        ("accuracy", 0.8, 0.7, True),
        ("accuracy", 0.8, 0.69, False),
        ("accuracy", 0.8, 0.9, True),
        ("log_loss", 0.2, 0.3, True),
        ("log_loss", 0.2, 0.31, False),
        ("mean_absolute_error", 50.0, 50.1, True),
        ("r2", 0.5, 0.39, False),
    ],
)
def test_a_version_may_be_worse_than_the_one_that_serves_by_the_margin_and_no_more(
    metric: str, serving: float, candidate: float, passed: bool
) -> None:
    gates = Gates(serving={metric: Margin(margin=0.1)})
    outcome = outcome_of(gates, evaluation(**{metric: candidate}), evaluation(**{metric: serving}))
    assert outcome.gate == f"{metric} against serving"
    assert outcome.passed is passed
    assert outcome.note == f"the version that serves has {serving:.6g}, the margin is 0.1"


def test_a_metric_that_the_serving_version_has_no_answer_to_has_not_passed() -> None:
    gates = Gates(serving={"roc_auc": Margin(margin=0.1)})
    outcome = outcome_of(gates, evaluation(roc_auc=0.9), evaluation())
    assert (outcome.passed, outcome.note) == (False, "could not be measured")


def test_where_none_serves_the_bars_against_it_have_no_outcome() -> None:
    gates = Gates(serving={"accuracy": Margin(margin=0.1)})
    outcomes = judge(gates, evaluation(accuracy=0.9), {}, None, 0.5, 2000, EXACT)
    assert [outcome.gate for outcome in outcomes] == ["parity"]


def test_latency_and_size_are_held_against_their_bars() -> None:
    gates = Gates(latency_ms=Bar(at_most=0.4), size_bytes=Bar(at_most=2000))
    slow, small, _ = judge(gates, evaluation(), {}, None, 0.5, 2000, EXACT)
    assert (slow.gate, slow.passed, slow.by) == ("latency_ms", False, pytest.approx(-0.1))
    assert (small.gate, small.passed, small.found) == ("size_bytes", True, 2000.0)


@pytest.mark.parametrize(
    ("n_different", "largest", "passed"),
    [(0, 1e-5, True), (0, 2e-5, False), (1, 1e-7, False), (0, math.nan, False)],
)
def test_parity_is_about_numbers_and_labels(n_different: int, largest: float, passed: bool) -> None:
    parity = Parity(
        n_rows=45, n_edge_rows=193, n_different_labels=n_different, largest_difference=largest
    )
    (outcome,) = judge(Gates(), evaluation(), {}, None, 0.5, 2000, parity)
    assert (outcome.gate, outcome.bar, outcome.passed) == ("parity", "at most 1e-05", passed)


def test_all_gates_are_judged_whatever_the_first_ones_say() -> None:
    gates = Gates(metrics={"accuracy": Bar(at_least=0.9), "log_loss": Bar(at_most=0.2)})
    outcomes = judge(gates, evaluation(accuracy=0.5, log_loss=0.1), {}, None, 0.5, 2000, EXACT)
    assert [(each.gate, each.passed) for each in outcomes] == [
        ("accuracy", False),
        ("log_loss", True),
        ("parity", True),
    ]


def test_a_version_that_passed_is_let_through() -> None:
    check(judge(Gates(), evaluation(), {}, None, 0.5, 2000, EXACT))


def test_a_version_that_failed_is_refused_with_a_sentence_for_each_gate() -> None:
    gates = Gates(
        metrics={"accuracy": Bar(at_least=0.9), "roc_auc": Bar(at_least=0.5)},
        serving={"accuracy": Margin(margin=0.05)},
    )
    outcomes = judge(
        gates, evaluation(accuracy=0.85), {}, evaluation(accuracy=0.95), 0.5, 2000, EXACT
    )
    with pytest.raises(GateError) as raised:
        check(outcomes)
    assert raised.value.outcomes == outcomes
    assert str(raised.value) == (
        "3 of 4 gates failed, and nothing was published: accuracy is 0.85, expected at least 0.9, "
        "0.05 away; roc_auc could not be measured, expected at least 0.5; accuracy against serving "
        "is 0.85, expected at least 0.9, 0.05 away (the version that serves has 0.95, the margin "
        "is 0.05). Improve the version, or state in the definition what is good enough"
    )


def test_a_failure_of_parity_says_what_to_try() -> None:
    parity = Parity(n_rows=45, n_edge_rows=55, n_different_labels=3, largest_difference=0.2)
    with pytest.raises(GateError, match=r"3 of 100 rows get another label .* trees need none"):
        check(judge(Gates(), evaluation(), {}, None, 0.5, 2000, parity))


def test_that_none_serves_is_remarked_where_a_gate_asks_for_it() -> None:
    gates = Gates(serving={"accuracy": Margin(margin=0.05)})
    assert remarks(gates, DATA, None) == (
        "No version served when this one was trained, so it was not compared with one: "
        "gates.serving (accuracy) did not apply",
    )
    assert remarks(Gates(), DATA, None) == ()


@pytest.mark.parametrize(("sha256", "n_remarks"), [("0123", 0), ("4567", 1), (None, 1)])
def test_that_the_serving_version_knows_other_rows_is_remarked(
    sha256: str | None, n_remarks: int
) -> None:
    gates = Gates(serving={"accuracy": Margin(margin=0.05)})
    found = remarks(gates, DATA, serving_metadata(sha256))
    assert len(found) == n_remarks
    assert all("may have been among them, which favours it" in remark for remark in found)
