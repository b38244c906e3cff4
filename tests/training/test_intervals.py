import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from abserve.metadata import Estimate
from training.intervals import (
    explained_share,
    mean_loss,
    mean_of_shares,
    root_mean_square,
    share,
    within_0_and_1,
)

N_SIMULATIONS = 2000
# Four standard errors of a coverage of 95 % over so many simulations.
TOLERANCE = 4 * np.sqrt(0.95 * 0.05 / N_SIMULATIONS)


def holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low is not None and bool(estimate.low <= truth <= estimate.high)


@pytest.mark.parametrize(
    ("n_successes", "n_rows", "low", "high"),
    [
        # Table I of Newcombe, "Two-sided confidence intervals for the single proportion:
        # comparison of seven methods", Statistics in Medicine 17, 1998; method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_a_share_has_the_interval_that_newcombe_prints(
    n_successes: int, n_rows: int, low: float, high: float
) -> None:
    estimate = share(n_successes, n_rows)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_has_wilsons_interval(counts: tuple[int, int]) -> None:
    expected = binomtest(*counts).proportion_ci(confidence_level=0.95, method="wilson")
    estimate = share(*counts)
    assert estimate.value == counts[0] / counts[1]
    assert (estimate.low, estimate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_share_of_all_rows_is_not_certain() -> None:
    estimate = share(45, 45)
    assert (estimate.value, estimate.high) == (1.0, 1.0)
    assert estimate.low == pytest.approx(0.921, abs=0.001)


def test_the_mean_of_two_shares_has_the_interval_that_newcombe_prints() -> None:
    """Of 56/70 - 48/80 he prints 0.0524 to 0.3339; it is twice the mean with 32/80, minus 1."""
    estimate = mean_of_shares([share(56, 70), share(32, 80)])
    assert estimate.value == pytest.approx(0.6)
    assert 2 * estimate.low - 1 == pytest.approx(0.0524, abs=5e-5)
    assert 2 * estimate.high - 1 == pytest.approx(0.3339, abs=5e-5)


def test_a_mean_has_students_interval() -> None:
    """Mean 3, standard deviation sqrt(2.5), and 2.776 the quantile of t with 4 degrees."""
    estimate = mean_loss(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    half = 2.7764451 * np.sqrt(2.5 / 5)
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((3, 3 - half, 3 + half))


def test_a_loss_is_never_below_zero() -> None:
    assert mean_loss(np.array([0.0, 0.0, 0.0, 9.0])).low == 0


@pytest.mark.parametrize("losses", [[0.5], [0.5, 0.5, 0.5]])
def test_rows_that_do_not_differ_give_no_interval(losses: list[float]) -> None:
    assert mean_loss(np.array(losses)) == Estimate(value=0.5)


def test_a_root_mean_square_has_the_value_of_its_formula() -> None:
    estimate = root_mean_square(np.array([3.0, -4.0, 5.0]))
    assert estimate.value == pytest.approx(np.sqrt(50 / 3))
    # The interval is even on a logarithmic scale.
    assert estimate.low * estimate.high == pytest.approx(estimate.value**2)


def test_no_error_at_all_has_no_interval() -> None:
    nothing, spread = np.zeros(3), np.array([-1.0, 0.0, 1.0])
    assert root_mean_square(nothing) == Estimate(value=0.0)
    assert explained_share(nothing, spread) == Estimate(value=1.0)


def test_the_explained_share_may_be_negative() -> None:
    estimate = explained_share(np.array([2.0, -2.0, 1.0]), np.array([-1.0, 0.0, 1.0]))
    assert estimate.value == -3.5
    assert estimate.low < -3.5 < estimate.high <= 1


def test_an_interval_of_a_logit_stays_within_0_and_1() -> None:
    estimate = within_0_and_1(0.99, standard_error=0.01)
    assert 0.9 < estimate.low < 0.99 < estimate.high < 1
    assert within_0_and_1(1.0, standard_error=0.0) == Estimate(value=1.0)


def test_intervals_of_shares_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(7)
    counts = random.binomial(60, [0.95, 0.9, 0.8], size=(N_SIMULATIONS, 3))
    found = [mean_of_shares([share(int(k), 60) for k in row]) for row in counts]
    coverage = np.mean([holds(estimate, (0.95 + 0.9 + 0.8) / 3) for estimate in found])
    assert coverage == pytest.approx(0.95, abs=TOLERANCE)


def test_intervals_of_errors_hold_the_truth_as_often_as_they_say() -> None:
    """With 300 rows; the errors are normal, and the target has twice their variance."""
    random = np.random.default_rng(7)
    absolute = root = explained = 0
    for _ in range(N_SIMULATIONS):
        errors = random.normal(size=300)
        targets = random.normal(size=300) + errors
        absolute += holds(mean_loss(np.abs(errors)), np.sqrt(2 / np.pi))
        root += holds(root_mean_square(errors), 1.0)
        explained += holds(explained_share(errors, targets - targets.mean()), 0.5)
    coverage = np.array([absolute, root, explained]) / N_SIMULATIONS
    assert coverage == pytest.approx(0.95, abs=TOLERANCE)


def test_intervals_of_a_log_loss_fall_short_with_few_rows() -> None:
    """As the module says: about 90 of 100 with 30 rows, and 95 with 1,000."""
    random = np.random.default_rng(7)
    log_odds = 2 * random.normal(size=2_000_000)
    probability = 1 / (1 + np.exp(-log_odds))
    truth = np.mean(
        -(probability * np.log(probability) + (1 - probability) * np.log1p(-probability))
    )
    assert coverage_of_log_loss(random, 30, truth) == pytest.approx(0.91, abs=0.03)
    assert coverage_of_log_loss(random, 1000, truth) == pytest.approx(0.95, abs=TOLERANCE)


def coverage_of_log_loss(random: np.random.Generator, n_rows: int, truth: float) -> float:
    probability = 1 / (1 + np.exp(-2 * random.normal(size=(N_SIMULATIONS, n_rows))))
    hit = random.random(probability.shape) < probability
    losses = -np.log(np.where(hit, probability, 1 - probability))
    return float(np.mean([holds(mean_loss(of_one), truth) for of_one in losses]))
