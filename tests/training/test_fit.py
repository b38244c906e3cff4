from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from abserve.errors import TrainingError
from abserve.schema import Feature, Schema
from training import Definition, fit
from training.dataset import Parts, Predictions
from training.definition import Bar, Estimator
from training.evaluation import evaluate
from training.export import Exported, export

NUMBERS = tuple(Feature(name=name) for name in ("length", "width"))
COLOURS = ("red", "green", "blue")
MIXED = (
    Feature(name="length"),
    Feature(name="colour", type="category", categories=COLOURS),
    Feature(name="width"),
    Feature(name="shape", type="category", categories=("round", "square"), missing="allow"),
)


def described(estimator: str, *, scale: bool = False, **parameters: object) -> Estimator:
    return Estimator.model_validate(
        {"estimator": estimator, "scale": scale, "parameters": parameters}
    )


def fitted(
    estimator: Estimator, parts: Parts, features: Sequence[Feature], seed: int = 7
) -> fit.Fitted:
    pipeline = fit.build(estimator, features, seed)
    return fit.fit(pipeline, parts, estimator, seed, report=lambda _: None)


@pytest.fixture
def mixed() -> Parts:
    """Rows of `MIXED`, of class 1 where they are green or have no shape."""
    random = np.random.default_rng(7)
    rows = np.column_stack(
        [
            random.normal(10, 3, 300),
            random.integers(0, 3, 300),
            random.normal(-5, 2, 300),
            random.choice([0, 1, np.nan], 300),
        ]
    )
    targets = ((rows[:, 1] == 1) | np.isnan(rows[:, 3])).astype(np.int64)
    return Parts(rows[:200], targets[:200], rows[200:], targets[200:])


@pytest.fixture
def line() -> Parts:
    """Rows of one feature, and targets that are twice it plus noise."""
    random = np.random.default_rng(7)
    rows = random.normal(size=(100, 1))
    targets = 2 * rows[:, 0] + random.normal(scale=0.1, size=100)
    return Parts(rows[:70], targets[:70], rows[70:], targets[70:])


def test_scaling_is_a_step_before_the_estimator(definition: Definition) -> None:
    steps = {
        version: list(fit.build(definition.estimator(version), definition.inputs, 7).named_steps)
        for version in ("v1", "v2")
    }
    assert steps == {"v1": ["estimator"], "v2": ["scale", "estimator"]}


def test_an_estimator_that_takes_chances_gets_the_seed(definition: Definition) -> None:
    assert fit.parameters(definition.estimator("v1"), seed=7) == {"max_depth": 2, "random_state": 7}


def test_a_seed_of_its_own_wins() -> None:
    tree = described("sklearn.tree.DecisionTreeClassifier", random_state=3)
    assert fit.parameters(tree, seed=7) == {"random_state": 3}


def test_an_estimator_without_chances_gets_no_seed() -> None:
    assert fit.parameters(described("sklearn.naive_bayes.GaussianNB"), seed=7) == {}


def test_a_category_becomes_a_column_for_each_of_its_values(mixed: Parts) -> None:
    """One more for those that may be missing; only the numbers are scaled."""
    estimator = described("sklearn.linear_model.LogisticRegression", scale=True)
    pipeline = fitted(estimator, mixed, MIXED).pipeline
    row = np.array([[10.0, 2.0, -5.0, np.nan], [10.0, 0.0, -5.0, 1.0]])
    encoded = pipeline.named_steps["encode"].transform(row)
    assert abs(encoded[:, :2]).max() < 0.3
    assert encoded[:, 2:5].tolist() == [[0, 0, 1], [1, 0, 0]]
    assert encoded[:, 5:].tolist() == [[1, 0, 0], [0, 0, 1]]


def test_numbers_beside_categories_are_left_alone_without_scaling(mixed: Parts) -> None:
    pipeline = fitted(described("sklearn.tree.DecisionTreeClassifier"), mixed, MIXED).pipeline
    encoded = pipeline.named_steps["encode"].transform(mixed.held_out_rows)
    assert np.array_equal(encoded[:, :2], mixed.held_out_rows[:, [0, 2]])


def test_a_category_that_did_not_occur_has_its_column_all_the_same(mixed: Parts) -> None:
    known = mixed.fitted_rows[:, 1] != 2
    some = Parts(
        mixed.fitted_rows[known],
        mixed.fitted_targets[known],
        mixed.held_out_rows,
        mixed.held_out_targets,
    )
    pipeline = fitted(described("sklearn.linear_model.LogisticRegression"), some, MIXED).pipeline
    assert fit.predict(pipeline, some.held_out_rows).probability.shape == (100, 2)


@pytest.mark.parametrize("scale", [False, True])
def test_categories_are_exported_with_the_pipeline(mixed: Parts, scale: bool) -> None:
    known = Parts(
        mixed.fitted_rows[:, :3],
        mixed.fitted_targets,
        mixed.held_out_rows[:, :3],
        mixed.held_out_targets,
    )
    exported = exported_with(known, MIXED[:3], scale=scale)
    assert exported.served == "onnx"
    assert exported.parity.largest_difference < 1e-5


def test_a_category_that_may_be_missing_is_served_as_it_was_fitted(mixed: Parts) -> None:
    assert exported_with(mixed, MIXED, scale=True).parity.largest_difference < 1e-5


def exported_with(parts: Parts, features: Sequence[Feature], *, scale: bool) -> Exported:
    estimator = described("sklearn.linear_model.LogisticRegression", scale=scale)
    schema = Schema(features=tuple(features), classes=("no", "yes"))
    pipeline = fitted(estimator, parts, features).pipeline
    return export(pipeline, schema, parts, seed=7, allowed=Bar(at_most=1e-5))


def test_missing_numbers_need_an_estimator_that_takes_them() -> None:
    features = (Feature(name="length"), Feature(name="width", missing="allow"))
    logistic = described("sklearn.linear_model.LogisticRegression")
    with pytest.raises(
        TrainingError,
        match="width may be missing, and LogisticRegression takes no missing values; "
        "take HistGradientBoostingClassifier, or write `missing: refuse`",
    ):
        fit.build(logistic, features, seed=7)
    with pytest.raises(TrainingError, match="take HistGradientBoostingRegressor"):
        fit.build(described("sklearn.linear_model.Ridge"), features, seed=7)


@pytest.mark.parametrize("scale", [False, True])
def test_an_estimator_may_take_missing_numbers(line: Parts, scale: bool) -> None:
    rows = line.fitted_rows.copy()
    rows[::5] = np.nan
    some = Parts(rows, line.fitted_targets, line.held_out_rows, line.held_out_targets)
    boosting = described("sklearn.ensemble.HistGradientBoostingRegressor", scale=scale)
    pipeline = fitted(boosting, some, [Feature(name="x", missing="allow")]).pipeline
    assert np.isfinite(fit.predict(pipeline, np.array([[np.nan], [0.5]])).values).all()


def test_an_estimator_that_stops_too_early_is_refused(definition: Definition, parts: Parts) -> None:
    hasty = described("sklearn.linear_model.LogisticRegression", max_iter=1)
    with pytest.raises(TrainingError, match=r"did not converge .*; scale the features, or allow"):
        fitted(hasty, parts, definition.inputs)


def test_parameters_that_the_estimator_refuses_are_told(
    definition: Definition, parts: Parts
) -> None:
    wrong = described("sklearn.linear_model.LogisticRegression", C=-1.0)
    with pytest.raises(TrainingError, match=r"LogisticRegression cannot be fitted \(The 'C' param"):
        fitted(wrong, parts, definition.inputs)


def test_fitting_leaves_what_was_built_as_it_was(definition: Definition, parts: Parts) -> None:
    built = fit.build(definition.estimator("v1"), definition.inputs, seed=7)
    fit.fit(built, parts, definition.estimator("v1"), 7, report=lambda _: None)
    assert not hasattr(built.named_steps["estimator"], "tree_")


def test_the_baseline_is_as_good_as_its_definition_says(tree: Pipeline, parts: Parts) -> None:
    metrics = iris_metrics(fit.predict(tree, parts.held_out_rows), parts)
    assert metrics["accuracy"] == 40 / 45
    assert metrics["macro_recall"] == pytest.approx(40 / 45)  # the classes are equally large
    assert metrics["log_loss"] == pytest.approx(0.360, abs=0.001)


def test_the_second_version_is_better_on_every_metric(logistic: Pipeline, parts: Parts) -> None:
    metrics = iris_metrics(fit.predict(logistic, parts.held_out_rows), parts)
    assert metrics["accuracy"] == 44 / 45
    assert metrics["macro_recall"] == pytest.approx(44 / 45)
    assert metrics["log_loss"] == pytest.approx(0.080, abs=0.001)


def iris_metrics(predictions: Predictions, parts: Parts) -> dict[str, float]:
    species = ("setosa", "versicolor", "virginica")
    evaluation = evaluate(predictions, parts.held_out_targets, species, None, seed=7)
    return {name: estimate.value for name, estimate in evaluation.metrics.items()}


def test_a_regressor_predicts_numbers(line: Parts) -> None:
    ridge = described("sklearn.linear_model.Ridge", scale=True, alpha=0.01)
    predictions = fit.predict(fitted(ridge, line, [Feature(name="x")]).pipeline, line.held_out_rows)
    assert predictions.probability is None
    assert predictions.values == pytest.approx(line.held_out_targets, abs=0.5)


def test_a_fitted_estimator_computes_alone(mixed: Parts) -> None:
    """Its record says what was described."""
    forest = described("sklearn.ensemble.ExtraTreesClassifier", n_estimators=5, n_jobs=2)
    numbers = Parts(
        mixed.fitted_rows[:, [0, 2]],
        mixed.fitted_targets,
        mixed.held_out_rows[:, [0, 2]],
        mixed.held_out_targets,
    )
    found = fitted(forest, numbers, NUMBERS)
    assert found.pipeline.get_params()["estimator__n_jobs"] is None
    assert found.parameters == {"random_state": 7, "n_estimators": 5, "n_jobs": 2}


@pytest.mark.parametrize(
    "estimator", ["sklearn.linear_model.LogisticRegression", "sklearn.neural_network.MLPClassifier"]
)
def test_the_number_of_threads_changes_no_bit(estimator: str, definition: Definition) -> None:
    random = np.random.default_rng(7)
    rows = random.normal(size=(20_000, 4))
    targets = (rows.sum(axis=1) + random.normal(size=20_000) > 0).astype(np.int64)
    parts = Parts(rows, targets, rows[:100], targets[:100])
    kwargs = {"max_iter": 200, "tol": 1e-2} if "neural" in estimator else {}
    probability = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            pipeline = fitted(described(estimator, **kwargs), parts, definition.inputs).pipeline
            probability.append(pipeline.predict_proba(rows[:100]))
    assert np.array_equal(*probability)
