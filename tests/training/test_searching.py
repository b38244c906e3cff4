from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from abserve.errors import TrainingError
from abserve.metadata import Search
from training import fit, searching
from training.dataset import Parts
from training.definition import Definition, Estimator, SearchSpace

LOGISTIC = "sklearn.linear_model.LogisticRegression"
FOREST = "sklearn.ensemble.RandomForestClassifier"


def described(estimator: str, scale: bool = True, **search: Any) -> Estimator:
    return Estimator.model_validate({"estimator": estimator, "scale": scale, "search": search})


def found(estimator: Estimator, parts: Parts, definition: Definition, seed: int = 7) -> fit.Fitted:
    features = definition.inputs[: parts.fitted_rows.shape[1]]
    pipeline = fit.build(estimator, features, seed)
    return fit.fit(pipeline, parts, estimator, seed, report=lambda _: None)


def test_the_best_point_is_chosen_recorded_and_fitted(definition: Definition, parts: Parts) -> None:
    grid = described(LOGISTIC, kind="grid", scoring="log_loss", space={"C": [0.01, 10, 0.1]})
    fitted = found(grid, parts, definition)
    assert fitted.parameters == {"random_state": 7, "C": 10}
    assert fitted.pipeline.get_params()["estimator__C"] == 10
    assert (fitted.search.kind, fitted.search.scoring) == ("grid", "log_loss")
    assert (fitted.search.folds, fitted.search.n_tried) == (5, 3)
    # Of a loss the least is best.
    assert [tried.parameters["C"] for tried in fitted.search.best] == [10, 0.1, 0.01]
    scores = [tried.score for tried in fitted.search.best]
    assert 0 < scores[0] < scores[1] < scores[2]


def test_a_score_is_the_mean_of_the_metric_over_the_folds(
    definition: Definition, parts: Parts
) -> None:
    grid = described(LOGISTIC, scale=False, kind="grid", scoring="log_loss", space={"C": [0.1, 1]})
    (best, _) = found(grid, parts, definition).search.best
    rows, targets = parts.fitted_rows, parts.fitted_targets
    folds = StratifiedKFold(5, shuffle=True, random_state=7)
    probability = cross_val_predict(
        LogisticRegression(C=1), rows, targets, cv=folds, method="predict_proba"
    )
    losses = [log_loss(targets[fold], probability[fold]) for _, fold in folds.split(rows, targets)]
    assert best.score == pytest.approx(np.mean(losses))
    assert best.spread == pytest.approx(np.std(losses))


def test_a_higher_score_is_better_where_the_metric_says_so(
    definition: Definition, parts: Parts
) -> None:
    grid = described(LOGISTIC, kind="grid", scoring="accuracy", space={"C": [0.0001, 10]})
    best, other = found(grid, parts, definition).search.best
    assert best.parameters == {"C": 10}
    assert best.score > other.score


@pytest.mark.parametrize("kind", ["random", "halving"])
def test_points_are_drawn_from_lists_and_ranges(
    kind: str, definition: Definition, parts: Parts
) -> None:
    search = described(
        FOREST,
        kind=kind,
        scoring="roc_auc",
        candidates=6,
        folds=3,
        space={
            "n_estimators": {"low": 2, "high": 20, "log": True},
            "max_depth": {"low": 1, "high": 4},
            "max_features": {"low": 0.3, "high": 1.0},
            "ccp_alpha": {"low": 0.0001, "high": 0.1, "log": True},
            "criterion": ["gini", "entropy"],
        },
    )
    record = found(search, parts, definition).search
    assert record.n_tried == 6
    for tried in record.best:
        assert isinstance(tried.parameters["n_estimators"], int)
        assert 2 <= tried.parameters["n_estimators"] <= 20
        assert tried.parameters["max_depth"] in {1, 2, 3, 4}
        assert isinstance(tried.parameters["max_features"], float)
        assert 0.3 <= tried.parameters["max_features"] <= 1
        assert 0.0001 <= tried.parameters["ccp_alpha"] <= 0.1
    # Plain values: what is read back is what was written.
    assert Search.model_validate_json(record.model_dump_json()) == record


def test_a_search_repeats_itself_with_any_number_of_processes(
    definition: Definition, parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = described(
        FOREST,
        kind="random",
        scoring="log_loss",
        candidates=3,
        space={"n_estimators": {"low": 2, "high": 20}},
    )
    alone = found(search, parts, definition)
    monkeypatch.setattr(searching, "_WORTH_PROCESSES_BYTES", 0)
    with_several = found(search, parts, definition)
    assert with_several.search == alone.search
    assert with_several.parameters == alone.parameters


def test_another_seed_draws_other_points(definition: Definition, parts: Parts) -> None:
    search = described(
        LOGISTIC,
        kind="random",
        scoring="log_loss",
        candidates=2,
        space={"C": {"low": 0.1, "high": 10.0}},
    )
    seven, eight = (found(search, parts, definition, seed).parameters["C"] for seed in (7, 8))
    assert seven != eight


def test_a_regressor_is_searched_too(definition: Definition) -> None:
    random = np.random.default_rng(7)
    rows = random.normal(size=(60, 3))
    targets = rows @ [1.0, 2.0, 3.0]
    parts = Parts(rows, targets, rows, targets)
    ridge = described(
        "sklearn.linear_model.Ridge",
        kind="halving",
        scoring="root_mean_squared_error",
        candidates=5,
        space={"alpha": {"low": 0.001, "high": 1000.0, "log": True}},
    )
    fitted = found(ridge, parts, definition)
    alphas = [tried.parameters["alpha"] for tried in fitted.search.best]
    assert fitted.parameters["alpha"] == min(alphas)
    assert all(tried.score > 0 for tried in fitted.search.best)


def test_a_finite_space_is_tried_once_at_most(definition: Definition, parts: Parts) -> None:
    search = described(
        LOGISTIC, kind="random", scoring="log_loss", candidates=50, space={"C": [0.1, 1.0, 10.0]}
    )
    assert found(search, parts, definition).search.n_tried == 3


def test_a_point_that_does_not_converge_is_counted_and_not_chosen(
    definition: Definition, parts: Parts
) -> None:
    search = described(LOGISTIC, kind="grid", scoring="log_loss", space={"max_iter": [1, 2, 100]})
    record = found(search, parts, definition).search
    assert record.n_tried == 3
    assert [tried.parameters for tried in record.best] == [{"max_iter": 100}]


def test_a_search_in_which_nothing_converges_is_refused(
    definition: Definition, parts: Parts
) -> None:
    search = described(LOGISTIC, kind="grid", scoring="log_loss", space={"max_iter": [1, 2]})
    with pytest.raises(TrainingError, match="none of the 2 points that were tried converged"):
        found(search, parts, definition)


def test_a_point_that_the_estimator_refuses_is_told(definition: Definition, parts: Parts) -> None:
    search = described(LOGISTIC, kind="grid", scoring="log_loss", space={"C": [1.0, -1.0]})
    with pytest.raises(TrainingError, match=r"cannot be fitted \(The 'C' parameter .*Got -1.0"):
        found(search, parts, definition)


def test_a_point_without_probabilities_is_told(definition: Definition, parts: Parts) -> None:
    search = described(
        "sklearn.linear_model.SGDClassifier",
        kind="grid",
        scoring="log_loss",
        space={"loss": ["log_loss", "hinge"]},
    )
    with pytest.raises(TrainingError, match="SGDClassifier gives no probabilities with these"):
        found(search, parts, definition)


def test_fewer_rows_than_folds_are_refused(definition: Definition, parts: Parts) -> None:
    few = Parts(
        parts.fitted_rows[:12],
        np.array([0, 1, 2] * 4),
        parts.held_out_rows,
        parts.held_out_targets,
    )
    grid = described(LOGISTIC, kind="grid", scoring="log_loss", space={"C": [0.1, 1]})
    with pytest.raises(
        TrainingError, match="has 5 folds, and there are 4 rows to fit on of one class; expected"
    ):
        found(grid, few, definition)


def test_what_is_searched_is_reported(definition: Definition, parts: Parts) -> None:
    grid = described(LOGISTIC, kind="grid", scoring="log_loss", folds=3, space={"C": [0.1, 10]})
    pipeline = fit.build(grid, definition.inputs, seed=7)
    said: list[str] = []
    fit.fit(pipeline, parts, grid, seed=7, report=said.append)
    assert said[0] == "trying 2 points in 3 folds for the best log_loss, 1 at a time"
    assert said[1].endswith('with {"C": 10}')


def test_processes_are_as_many_as_fit_in_memory() -> None:
    few, many = np.zeros((105, 4)), np.zeros((2_000_000, 20))
    assert searching._processes(few, n_fits=100) == 1
    assert searching._processes(many, n_fits=100) == 1
    assert searching._processes(np.zeros((1000, 100)), n_fits=100) == joblib.cpu_count()


@pytest.mark.parametrize(
    ("n_rows", "n_smallest", "n_points", "first"),
    [
        (9000, 4500, 9, 1000),  # 1,000 rows for 9 points, 3,000 for 3, all for the last
        (9000, 4500, 100, 111),  # two more rounds
        (1257, 120, 12, 1257),  # ten rows of the rarest class in each of 5 folds: 524
        (105, 35, 12, 105),  # too few rows to begin with fewer
    ],
)
def test_halving_begins_so_that_it_ends_with_all_rows(
    n_rows: int, n_smallest: int, n_points: int, first: int
) -> None:
    assert searching._first_rows(n_rows, n_smallest, 5, n_points) == first


def test_whole_numbers_are_drawn_evenly_by_their_logarithm() -> None:
    space = SearchSpace.model_validate(
        {
            "kind": "random",
            "scoring": "log_loss",
            "candidates": 2,
            "space": {"n": {"low": 1, "high": 99, "log": True}},
        }
    )
    drawn = searching._choices(space.space["n"]).rvs(20_000, random_state=7)
    assert (drawn.min(), drawn.max()) == (1, 99)
    # From 1 to 9 lies half of what there is from 1 to 100.
    assert np.mean(drawn < 10) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 20_000))
