from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from abserve.experiment import Blocks
from abserve.experiment.evidence import log_likelihood_ratio
from abserve.experiment.projection import Rates, project

rates = st.floats(1e-9, 1 - 1e-9)
numbers = st.integers(1, 10**9)


def guess_of(t_a: float, t_b: float) -> Rates:
    return Rates(*(np.array([rate]) for rate in (t_a, 1 - t_a, t_b, 1 - t_b)))


def projected(t_a: float, t_b: float, n_a: float, n_b: float, difference: float) -> Rates:
    return project(guess_of(t_a, t_b), np.array([float(n_a)]), np.array([float(n_b)]), difference)


def by_bisection(t_a: float, t_b: float, n_a: int, n_b: int, difference: float) -> Decimal:
    """Solve the score equation as it is printed, with 60 digits."""
    with localcontext() as context:
        context.prec = 60
        t_a_, t_b_, d = Decimal(t_a), Decimal(t_b), Decimal(difference)
        low, high = max(Decimal(0), -d), min(Decimal(1), 1 - d)
        for _ in range(180):
            x = (low + high) / 2
            y = x + d
            score = n_a * (t_a_ / x - (1 - t_a_) / (1 - x)) + n_b * (
                t_b_ / y - (1 - t_b_) / (1 - y)
            )
            low, high = (x, high) if score > 0 else (low, x)
        return low


@pytest.mark.parametrize(
    ("difference", "x", "log_e"), [(0.0, 0.175, 0.96644717), (-0.05, 0.20542581, 2.79024185)]
)
def test_known_answers_for_one_block(difference: float, x: float, log_e: float) -> None:
    block = Blocks.from_columns(50, 100, 13, 100, 21)
    null = projected(0.15, 0.20, 100, 100, difference)
    assert null.baseline[0] == pytest.approx(x, abs=5e-9)
    found = log_likelihood_ratio(block, guess_of(0.15, 0.20), null)
    assert found[0] == pytest.approx(log_e, abs=5e-9)


@given(rates, rates, numbers, numbers, st.floats(-0.999, 0.999))
@example(0.5, 0.5, 1, 10**9, 0.0)
@example(1e-9, 1 - 1e-9, 10**9, 1, -0.999)
@example(0.321, 0.9999999933801828, 123029980, 218, 0.6785619511945782)
def test_projection_solves_the_score_equation(
    t_a: float, t_b: float, n_a: int, n_b: int, difference: float
) -> None:
    null = projected(t_a, t_b, n_a, n_b, difference)
    x = by_bisection(t_a, t_b, n_a, n_b, difference)
    y = x + Decimal(difference)
    truth = [float(rate) for rate in (x, 1 - x, y, 1 - y)]
    # A rate that the other variant's billion units dictate keeps 1e-16 of theirs, not of its own.
    assert [float(rate[0]) for rate in null] == pytest.approx(truth, rel=1e-9)


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.99), st.integers(1, 10**4), st.integers(1, 10**4))
def test_projection_agrees_with_scipys_root_finder(
    t_a: float, t_b: float, n_a: int, n_b: int
) -> None:
    def score(x: float) -> float:
        y = x + 0.1
        return n_a * (t_a / x - (1 - t_a) / (1 - x)) + n_b * (t_b / y - (1 - t_b) / (1 - y))

    root = brentq(score, 1e-12, 0.9 - 1e-12, xtol=1e-14)
    assert projected(t_a, t_b, n_a, n_b, 0.1).baseline[0] == pytest.approx(root, abs=1e-12)


def test_equal_guesses_are_their_own_projection_exactly() -> None:
    null = projected(0.5, 0.5, 900, 100, 0.0)
    assert null.baseline[0] == null.candidate[0] == 0.5


def expectation(
    guess: tuple[float, float], n: tuple[int, int], difference: float, thetas: np.ndarray, at: float
) -> np.ndarray:
    """E[e] for true rates (theta, theta + at), by going through all outcomes of one block."""
    k_a, k_b = (column.ravel() for column in np.mgrid[: n[0] + 1, : n[1] + 1])
    outcomes = Blocks.from_columns(50, n[0], k_a, n[1], k_b)
    null = projected(*guess, *n, difference)
    e = np.exp(log_likelihood_ratio(outcomes, guess_of(*guess), null))
    theta = thetas[:, None]
    return (binom.pmf(k_a, n[0], theta) * binom.pmf(k_b, n[1], theta + at)) @ e


@pytest.mark.parametrize(
    ("guess", "n", "difference", "printed"),
    [
        ((0.1, 0.3), (10, 5), 0.0, 0.99996),
        ((0.2, 0.2), (8, 8), -0.05, 1.0),
        ((0.3, 0.25), (12, 4), -0.1, 1.0),
        ((0.05, 0.2), (6, 9), 0.1, 0.99998),
    ],
)
class TestExpectation:
    """No pair of rates in the null gives an e-value an expectation above 1."""

    def test_is_highest_at_the_projection_and_1_there(
        self, guess: tuple[float, float], n: tuple[int, int], difference: float, printed: float
    ) -> None:
        low, high = max(0.0, -difference), min(1.0, 1 - difference)
        on_the_line = expectation(guess, n, difference, np.linspace(low, high, 2001), difference)
        assert on_the_line.max() <= 1 + 1e-12
        # The printed suprema are those of a grid that need not hold the projection.
        assert on_the_line.max() == pytest.approx(printed, abs=5e-5)
        x = projected(*guess, *n, difference).baseline
        assert expectation(guess, n, difference, x, difference)[0] == pytest.approx(1, abs=1e-12)

    def test_stays_below_1_in_the_half_plane_beyond_the_line(
        self, guess: tuple[float, float], n: tuple[int, int], difference: float, printed: float
    ) -> None:
        side = -1 if guess[1] - guess[0] > difference else 1
        for further in (0.01, 0.1, 0.3):
            at = difference + side * further
            thetas = np.linspace(max(0.0, -at), min(1.0, 1 - at), 501)
            assert expectation(guess, n, difference, thetas, at).max() <= 1 + 1e-12
