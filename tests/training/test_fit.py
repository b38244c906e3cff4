import pytest
from sklearn.pipeline import Pipeline

from abserve.errors import TrainingError
from training import Definition, data, fit
from training.definition import Estimator


def described(estimator: str, **parameters: object) -> Estimator:
    return Estimator.model_validate(
        {"estimator": estimator, "scale": False, "parameters": parameters}
    )


def test_scaling_is_a_step_before_the_estimator(definition: Definition) -> None:
    assert list(fit.build(definition.estimator("v1"), seed=7).named_steps) == ["estimator"]
    assert list(fit.build(definition.estimator("v2"), seed=7).named_steps) == ["scale", "estimator"]


def test_an_estimator_that_takes_chances_gets_the_seed(definition: Definition) -> None:
    assert fit.parameters(definition.estimator("v1"), seed=7) == {"max_depth": 2, "random_state": 7}


def test_a_seed_of_its_own_wins() -> None:
    tree = described("sklearn.tree.DecisionTreeClassifier", random_state=3)
    assert fit.parameters(tree, seed=7) == {"random_state": 3}


def test_an_estimator_without_chances_gets_no_seed() -> None:
    assert fit.parameters(described("sklearn.naive_bayes.GaussianNB"), seed=7) == {}


def test_parameters_that_switch_probabilities_off_are_refused() -> None:
    hinge = described("sklearn.linear_model.SGDClassifier", loss="hinge")
    with pytest.raises(TrainingError, match="SGDClassifier gives no probabilities with these"):
        fit.build(hinge, seed=7)


def test_an_estimator_that_stops_too_early_is_refused(parts: data.Parts) -> None:
    hasty = fit.build(described("sklearn.linear_model.LogisticRegression", max_iter=1), seed=7)
    with pytest.raises(TrainingError, match=r"did not converge .*; scale the features, or allow"):
        fit.fit(hasty, parts.fitted_rows, parts.fitted_classes)


def test_the_baseline_is_as_good_as_its_definition_says(tree: Pipeline, parts: data.Parts) -> None:
    evaluation = fit.evaluate(tree, parts.held_out_rows, parts.held_out_classes)
    assert evaluation["accuracy"] == 40 / 45
    assert evaluation["macro_recall"] == pytest.approx(40 / 45)  # the classes are equally large
    assert evaluation["log_loss"] == pytest.approx(0.360, abs=0.001)


def test_the_second_version_is_better_on_every_metric(
    logistic: Pipeline, parts: data.Parts
) -> None:
    evaluation = fit.evaluate(logistic, parts.held_out_rows, parts.held_out_classes)
    assert evaluation["accuracy"] == 44 / 45
    assert evaluation["macro_recall"] == pytest.approx(44 / 45)
    assert evaluation["log_loss"] == pytest.approx(0.080, abs=0.001)
