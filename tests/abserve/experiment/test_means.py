import numpy as np
import pytest

from abserve.errors import ExperimentError
from abserve.experiment import (
    Moments,
    difference_of_means,
    mean_half_width,
    mixture_bound,
    mixture_parameter,
    weighted_difference_of_means,
)


def moments(values: np.ndarray) -> Moments:
    """One block per row."""
    n = np.full(values.shape[:-1], float(values.shape[-1]))
    return Moments(n, values.sum(axis=-1), (values**2).sum(axis=-1))


def test_known_answers_of_the_normal_mixture() -> None:
    parameter = mixture_parameter(100, 0.05)
    assert parameter == pytest.approx(12.600561, abs=5e-7)
    assert mixture_bound(100, parameter, 0.05) == pytest.approx(30.352090, abs=5e-7)


def test_known_answers_of_one_mean() -> None:
    assert mixture_parameter(5000, 0.05) ** -0.5 == pytest.approx(0.03984007, abs=5e-9)
    assert mean_half_width(10_000, 1, 0.05) == pytest.approx(0.03061477, abs=5e-9)
    assert mean_half_width(1000, 1, 0.05) == pytest.approx(0.10637547, abs=5e-9)


def test_known_answer_of_two_means() -> None:
    lower, upper = difference_of_means(Moments.of(5000, 10, 2), Moments.of(5000, 10.3, 2.5))
    assert (upper[0] - lower[0]) / 2 == pytest.approx(0.1386143, abs=5e-8)
    assert (lower[0], upper[0]) == pytest.approx((0.1613857, 0.4386143), abs=5e-8)


def test_blocks_add_up_to_their_values() -> None:
    values = np.random.default_rng(1).lognormal(size=(2, 4, 250))
    lower, upper = difference_of_means(moments(values[0]), moments(values[1]))
    together = values.reshape(2, 1, 1000)
    lower_1, upper_1 = difference_of_means(moments(together[0]), moments(together[1]))
    assert (lower[-1], upper[-1]) == pytest.approx((lower_1[0], upper_1[0]))


@pytest.mark.parametrize("n_baseline", [0, 99])
def test_interval_is_infinite_before_100_values_per_variant(n_baseline: int) -> None:
    few, many = Moments.of(n_baseline, 1, 1), Moments.of(5000, 1, 1)
    for lower, upper in (
        difference_of_means(few, many),
        weighted_difference_of_means(np.array([50.0]), few, many),
    ):
        assert (lower[0], upper[0]) == (-np.inf, np.inf)


def test_scores_find_the_effect_under_a_ramp_where_pooled_means_do_not() -> None:
    weight = np.array([5.0, 75.0])
    base = np.array([1.0, 3.0])
    n_candidate = weight * 1000
    baseline = Moments.of(100_000 - n_candidate, base, 1.0)
    candidate = Moments.of(n_candidate, base + 0.1, 1.0)
    lower, upper = weighted_difference_of_means(weight, baseline, candidate)
    assert lower[-1] <= 0.1 <= upper[-1]
    pooled_lower, _ = difference_of_means(baseline, candidate)
    assert pooled_lower[-1] > 0.5


def test_weight_of_0_has_no_scores() -> None:
    with pytest.raises(ExperimentError, match="a weight is 0 or 100"):
        weighted_difference_of_means(np.array([0.0]), Moments.of(9, 1, 1), Moments.of(0, 1, 1))


@pytest.mark.parametrize(
    ("n", "total", "total_squares", "message"),
    [
        (-1.0, 0.0, 0.0, "negative or not whole"),
        (1.5, 0.0, 0.0, "negative or not whole"),
        (2.0, np.nan, 1.0, "not finite"),
        (2.0, 4.0, 7.0, "sum of squares is too small"),
        (0.0, 1.0, 1.0, "sum of squares is too small"),
    ],
)
def test_moments_that_no_values_have_are_refused(
    n: float, total: float, total_squares: float, message: str
) -> None:
    with pytest.raises(ExperimentError, match=message):
        Moments(np.array([n]), np.array([total]), np.array([total_squares]))


def test_moments_of_different_length_are_refused() -> None:
    with pytest.raises(ExperimentError, match="moments have shapes"):
        Moments(np.zeros(1), np.zeros(2), np.zeros(2))


def test_bounds_on_nothing_are_refused() -> None:
    with pytest.raises(ExperimentError, match="the variance is 0"):
        mixture_parameter(0, 0.05)
    with pytest.raises(ExperimentError, match="alpha is 2"):
        mean_half_width(100, 1, 2)
