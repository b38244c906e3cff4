import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from training.roc import area_and_error, roc_auc


def test_area_and_error_are_those_that_stata_prints() -> None:
    """The ratings of 109 CT images by Hanley and McNeil (Radiology 143, 1982, table I).

    Stata's manual, under ``roctab``, prints area 0.8932, standard error 0.0307 (DeLong) and the
    interval 0.83295 to 0.95339, which is even around the area.
    """
    normal, abnormal = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]
    rating = np.repeat([1.0, 2, 3, 4, 5] * 2, normal + abnormal)
    disease = np.repeat([0, 1], [sum(normal), sum(abnormal)])
    area, error = area_and_error(np.column_stack([-rating, rating]), disease)
    assert area == pytest.approx(0.8932, abs=5e-5)
    assert error == pytest.approx(0.0307, abs=5e-5)
    assert area - 1.959964 * error == pytest.approx(0.83295, abs=5e-6)
    assert area + 1.959964 * error == pytest.approx(0.95339, abs=5e-6)


def test_the_error_of_the_area_is_delongs() -> None:
    """Placements by hand, of scores 0.1 0.4 (class 0) and 0.35 0.8 0.4 (class 1).

    Those of class 1 are 0.5, 1 and 0.75, with variance 1/16; those of class 0 are 1 and 0.5, with
    variance 1/8: together 1/16/3 + 1/8/2.
    """
    score = np.array([0.1, 0.4, 0.35, 0.8, 0.4])
    area, error = area_and_error(np.column_stack([1 - score, score]), np.array([0, 0, 1, 1, 1]))
    assert area == 0.75
    assert error == pytest.approx(np.sqrt(1 / 48 + 1 / 16))


@given(st.integers(2, 5), st.integers(20, 60), st.integers(0, 2**32 - 1))
def test_the_area_is_that_of_scikit_learn(n_classes: int, n_rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Rounded, so that there are ties.
    scores = np.round(random.dirichlet(np.ones(n_classes), n_rows), 1)
    scores[:, -1] = 1 - scores[:, :-1].sum(axis=1)
    targets = np.arange(n_rows) % n_classes
    expected = roc_auc_score(
        targets,
        scores[:, 1] if n_classes == 2 else scores,
        multi_class="ovr",
        average="macro",
    )
    assert area_and_error(scores, targets)[0] == pytest.approx(expected)


def test_two_classes_are_the_special_case_of_several() -> None:
    random = np.random.default_rng(7)
    targets = random.integers(0, 2, 100)
    score = random.normal(size=100) + targets
    never = np.full(100, -1.0)
    two = area_and_error(np.column_stack([-score, score]), targets)
    of_three = area_and_error(np.column_stack([-score, score, never]), targets)
    assert of_three == pytest.approx(two)


def test_rows_of_one_class_cannot_be_ranked() -> None:
    assert roc_auc(np.array([[0.2, 0.8], [0.6, 0.4]]), np.array([1, 1])) is None


def test_a_perfect_ranking_has_no_interval() -> None:
    estimate = roc_auc(np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]]), np.array([0, 0, 1]))
    assert (estimate.value, estimate.low, estimate.high) == (1.0, None, None)


def test_a_class_of_one_row_gives_no_interval() -> None:
    scores = np.array([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    assert roc_auc(scores, np.array([0, 0, 1])).low is None


@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_intervals_hold_the_area_as_often_as_they_say(distance: float) -> None:
    """150 rows, of which 30 % are of the class, with normal scores so far apart."""
    random = np.random.default_rng(7)
    truth = norm.cdf(distance / np.sqrt(2))
    held = 0
    for _ in range(1000):
        targets = (random.random(150) < 0.3).astype(np.int64)
        score = random.normal(size=150) + distance * targets
        estimate = roc_auc(np.column_stack([-score, score]), targets)
        held += estimate.low <= truth <= estimate.high
    assert held / 1000 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 1000))
