import re

import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from training.estimators import accepted_parameters, find_estimator, kind_of, short_list


def test_a_classifier_is_found_by_its_import_path() -> None:
    assert find_estimator("sklearn.linear_model.LogisticRegression") is LogisticRegression
    assert kind_of(LogisticRegression) == "classification"


def test_a_regressor_is_found_by_its_import_path() -> None:
    assert find_estimator("sklearn.linear_model.Ridge") is Ridge
    assert kind_of(Ridge) == "regression"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("os.system", "is 'os.system'; expected a classifier or regressor of scikit-learn by its"),
        ("Ridge", "is 'Ridge'; expected a classifier or regressor of scikit-learn by its import"),
        ("sklearn.Ridge", "expected a classifier or regressor of scikit-learn by its import path"),
        ("sklearn.tree._classes.DecisionTreeClassifier", "by its import path, as sklearn.tree."),
        ("sklearn.conftest.Ridge", "expected a classifier or regressor of scikit-learn by its"),
        ("sklearn.clone.Ridge", "expected a classifier or regressor of scikit-learn by its import"),
        ("sklearn.tree.Oak", "which scikit-learn does not have; correct it"),
        ("sklearn.linear_model.Rigde", "does not have; did you mean sklearn.linear_model.Ridge?"),
        ("sklearn.cluster.KMeans", "which is no estimator; expected a classifier or regressor"),
        ("sklearn.preprocessing.StandardScaler", "which is no estimator; expected a classifier"),
        ("sklearn.svm.LinearSVC", "which gives no probabilities; expected a classifier with pred"),
        ("sklearn.ensemble.VotingClassifier", "which needs 'estimators'; expected an estimator"),
        ("sklearn.multioutput.MultiOutputRegressor", "which needs 'estimator'; expected an est"),
    ],
)
def test_what_cannot_be_trained_is_refused(path: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        find_estimator(path)


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_every_estimator_of_scikit_learn_is_found_or_refused_in_words(kind: str) -> None:
    for name, estimator in all_estimators(type_filter=kind):
        path = f"{'.'.join(estimator.__module__.split('.')[:2])}.{name}"
        try:
            assert find_estimator(path) is estimator
        except ValueError as error:
            assert "which needs" in str(error) or "no probabilities" in str(error)  # noqa: PT017


def test_deprecated_parameters_are_not_accepted() -> None:
    accepted = accepted_parameters(SVC)
    assert "gamma" in accepted
    assert "probability" not in accepted


def test_a_short_list_begins_with_what_was_probably_meant() -> None:
    accepted = accepted_parameters(LogisticRegression)
    assert short_list(accepted, "maxiter").startswith("max_iter, ")
    assert re.search(r" and \d+ more$", short_list(accepted, "maxiter"))


def test_a_short_list_ends_with_what_every_estimator_takes() -> None:
    assert short_list(["random_state", "n_jobs", "C"], "zzz") == "C, random_state, n_jobs"
