import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from abserve.errors import TrainingError
from abserve.schema import Feature
from training.dataset import Predictions
from training.definition import SliceGate
from training.evaluation import calibration_bins, evaluate, evaluate_slices, measure
from training.metric_names import names_of

SPECIES = ("setosa", "versicolor", "virginica")


def classified(n_classes: int, n_rows: int, seed: int) -> tuple[Predictions, np.ndarray]:
    random = np.random.default_rng(seed)
    probability = random.dirichlet(np.ones(n_classes), n_rows)
    # Every class occurs, as a split makes sure.
    return Predictions(probability.argmax(axis=1), probability), np.arange(n_rows) % n_classes


@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_metrics_of_classes_are_those_of_scikit_learn(
    n_classes: int, n_rows: int, seed: int
) -> None:
    predictions, targets = classified(n_classes, n_rows, seed)
    names = tuple(f"class_{index}" for index in range(n_classes))
    evaluation = evaluate(predictions, targets, names, None, seed=7)
    values, probability = predictions.values, predictions.probability
    ranked = probability[:, 1] if n_classes == 2 else probability
    truth = np.eye(n_classes)[targets]
    expected = {
        "accuracy": metrics.accuracy_score(targets, values),
        "macro_recall": metrics.recall_score(targets, values, average="macro"),
        "log_loss": metrics.log_loss(targets, probability),
        "brier": ((probability - truth) ** 2).sum(axis=1).mean() / (2 if n_classes == 2 else 1),
        "roc_auc": metrics.roc_auc_score(targets, ranked, multi_class="ovr"),
    }
    found = {name: evaluation.metrics[name].value for name in expected}
    assert found == pytest.approx(expected)
    recalls = [evaluation.class_recall[name].value for name in names]
    assert recalls == pytest.approx(metrics.recall_score(targets, values, average=None))


@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_metrics_of_numbers_are_those_of_scikit_learn(n_rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    targets, values = random.normal(size=(2, n_rows))
    evaluation = evaluate(Predictions(values, None), targets, None, None, seed=7)
    assert {name: estimate.value for name, estimate in evaluation.metrics.items()} == pytest.approx(
        {
            "mean_absolute_error": metrics.mean_absolute_error(targets, values),
            "root_mean_squared_error": metrics.root_mean_squared_error(targets, values),
            "r2": metrics.r2_score(targets, values),
        }
    )
    assert not evaluation.class_recall


@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 2**32 - 1))
def test_every_value_lies_in_its_interval(n_classes: int, n_rows: int, seed: int) -> None:
    predictions, targets = classified(n_classes, n_rows, seed)
    evaluation = evaluate(predictions, targets, tuple("abcde")[:n_classes], None, seed=7)
    for estimate in [*evaluation.metrics.values(), *evaluation.class_recall.values()]:
        if estimate.low is not None:
            assert estimate.low <= estimate.value <= estimate.high


def test_metrics_by_hand() -> None:
    """Of four rows one is wrong, and it was given 0.4 for its class."""
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])
    predictions = Predictions(np.array([0, 0, 1, 1]), probability)
    evaluation = evaluate(predictions, np.array([0, 1, 1, 1]), ("no", "yes"), "yes", seed=7)
    assert {name: estimate.value for name, estimate in evaluation.metrics.items()} == pytest.approx(
        {
            "accuracy": 3 / 4,
            "macro_recall": (1 + 2 / 3) / 2,
            "log_loss": -np.log([0.9, 0.4, 0.8, 0.5]).mean(),
            "brier": (0.1**2 + 0.6**2 + 0.2**2 + 0.5**2) / 4,
            "calibration_error": 3 / 4 - (0.1 + 0.4 + 0.8 + 0.5) / 4,
            "roc_auc": 1.0,
        }
    )
    assert evaluation.class_recall["yes"].value == 2 / 3


def test_every_metric_that_a_gate_may_name_is_measured() -> None:
    predictions, targets = classified(3, 30, seed=7)
    of_classes = evaluate(predictions, targets, SPECIES, None, seed=7)
    of_numbers = evaluate(Predictions(np.arange(3.0), None), np.ones(3).cumsum(), None, None, 7)
    assert tuple(of_classes.metrics) == names_of("classification")
    assert tuple(of_numbers.metrics) == names_of("regression")


def test_the_positive_class_is_the_second_unless_another_is_named() -> None:
    predictions, targets = classified(2, 45, seed=7)
    second = calibration_bins(predictions, targets)
    assert (
        second.share.tolist() != calibration_bins(predictions, targets, positive=0).share.tolist()
    )
    named = evaluate(predictions, targets, ("no", "yes"), "yes", seed=7)
    assert named == evaluate(predictions, targets, ("no", "yes"), None, seed=7)


def test_of_several_classes_the_predicted_one_is_what_calibration_is_about() -> None:
    """Three of four rows were right, and were given 0.8 each."""
    probability = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.2, 0.0]])
    predictions = Predictions(probability.argmax(axis=1), probability)
    error = measure("calibration_error", predictions, np.array([0, 1, 2, 1]))
    assert error == pytest.approx(0.8 - 3 / 4)


def test_a_probability_of_zero_costs_36_nats_not_everything() -> None:
    sure = Predictions(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert measure("log_loss", sure, np.array([0, 0])) == pytest.approx(36.04 / 2, abs=0.01)


def test_what_has_no_answer_is_left_out() -> None:
    one_class = Predictions(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    evaluation = evaluate(one_class, np.array([1, 1]), ("no", "yes"), None, seed=7)
    assert "roc_auc" not in evaluation.metrics
    assert list(evaluation.class_recall) == ["yes"]
    same_targets = Predictions(np.array([1.0, 2.0]), None)
    assert "r2" not in evaluate(same_targets, np.array([3.0, 3.0]), None, None, seed=7).metrics


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_predictions_that_are_no_numbers_are_refused(wrong: float) -> None:
    diverged = Predictions(np.array([1.0, wrong]), None)
    with pytest.raises(TrainingError, match="1 of the 2 numbers that the model predicted are not"):
        evaluate(diverged, np.array([1.0, 2.0]), None, None, seed=7)


def test_classes_without_probabilities_are_refused() -> None:
    with pytest.raises(TrainingError, match="gives no probabilities; expected a classifier"):
        evaluate(Predictions(np.array([0, 1]), None), np.array([0, 1]), ("a", "b"), None, seed=7)


def test_an_evaluation_repeats_itself() -> None:
    predictions, targets = classified(3, 300, seed=7)
    assert evaluate(predictions, targets, SPECIES, None, seed=7) == evaluate(
        predictions, targets, SPECIES, None, seed=7
    )


FEATURES = (Feature(name="age"), Feature(name="height", missing="allow"))
ROWS = np.array([[10.0, 1.0], [20.0, np.nan], [30.0, 1.7], [40.0, 1.8]])
TARGETS = np.array([0, 1, 1, 0])
RIGHT_ONCE = Predictions(
    np.array([0, 0, 0, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
)


def slice_(feature: str, metric: str, **bounds: float) -> dict[str, SliceGate]:
    bars = {metric: {"at_most" if metric == "mean_absolute_error" else "at_least": 0.5}}
    return {"some": SliceGate.model_validate({"feature": feature, "metrics": bars, **bounds})}


def test_a_slice_is_the_rows_within_its_bounds() -> None:
    slices = slice_("age", "accuracy", minimum=10, maximum=30)
    found = evaluate_slices(
        RIGHT_ONCE, ROWS, TARGETS, FEATURES, slices, ("no", "yes"), None, seed=7
    )
    assert found["some"].n_rows == 3
    assert found["some"].metrics["accuracy"].value == 1 / 3


def test_a_row_without_the_value_is_in_no_slice() -> None:
    slices = slice_("height", "accuracy", maximum=3)
    found = evaluate_slices(
        RIGHT_ONCE, ROWS, TARGETS, FEATURES, slices, ("no", "yes"), None, seed=7
    )
    assert found["some"].n_rows == 3


def test_a_slice_of_a_regressor_is_judged_by_its_errors() -> None:
    slices = slice_("age", "mean_absolute_error", minimum=30)
    predictions = Predictions(np.array([1.0, 1.0, 1.0, 2.0]), None)
    found = evaluate_slices(
        predictions, ROWS, np.array([1.0, 1.0, 2.0, 5.0]), FEATURES, slices, None, None, seed=7
    )
    assert found["some"].metrics["mean_absolute_error"].value == 2.0


def test_an_empty_slice_is_refused_by_name() -> None:
    slices = slice_("age", "accuracy", minimum=50)
    with pytest.raises(
        TrainingError, match=r"slice some is empty: age lies within \[50, inf\] in none of the 4"
    ):
        evaluate_slices(RIGHT_ONCE, ROWS, TARGETS, FEATURES, slices, ("no", "yes"), None, seed=7)


def test_a_bar_that_has_no_answer_on_its_slice_is_refused() -> None:
    slices = slice_("age", "roc_auc", minimum=40)
    with pytest.raises(TrainingError, match="slice some has no roc_auc: the targets of its 1 held"):
        evaluate_slices(RIGHT_ONCE, ROWS, TARGETS, FEATURES, slices, ("no", "yes"), None, seed=7)
