"""The same numbers from packages that nobody here wrote.

They are not installed for the tests: ssrm-test and gbstats want numpy below 2. What they answered
stands here; that is what to compare with if a formula is ever doubted.
"""

import numpy as np
import pytest

from abserve.experiment import (
    Blocks,
    Moments,
    difference_of_means,
    log_sample_ratio,
    mixture_bound,
)


@pytest.mark.parametrize(
    ("weight", "n_baseline", "n_candidate", "log_bayes_factors"),
    [
        (
            50,
            [530, 515, 498, 540],
            [470, 485, 502, 460],
            [0.43744642644196574, 0.40543961602907075, -0.5259715913225591, 1.5030019487194295],
        ),
        (
            10,
            [870, 905, 880, 890],
            [130, 95, 120, 110],
            [2.909935928874802, 0.01849804280391254, 1.6986988410562844, 2.025798923763432],
        ),
    ],
)
def test_sample_ratio_is_that_of_ssrm_test_after_each_block(
    weight: int, n_baseline: list[int], n_candidate: list[int], log_bayes_factors: list[float]
) -> None:
    """ssrm-test 0.1.5: `sequential_posteriors` with the shares as both probabilities, k = 100."""
    found = log_sample_ratio(Blocks.from_columns(weight, n_baseline, 0, n_candidate, 0))
    assert found.tolist() == pytest.approx(log_bayes_factors, abs=1e-9)


def proportion(n: int, k: int) -> Moments:
    return Moments(np.array([float(n)]), np.array([float(k)]), np.array([float(k)]))


@pytest.mark.parametrize(
    ("baseline", "candidate", "interval"),
    [
        ((4000, 400), (3900, 470), (-0.0009611882110288628, 0.04198682923666988)),
        ((9000, 1800), (1000, 230), (-0.012737802859929412, 0.07273780285992941)),
    ],
)
def test_interval_of_means_is_that_of_growthbook(
    baseline: tuple[int, int], candidate: tuple[int, int], interval: tuple[float, float]
) -> None:
    """gbstats 0.8.0: `SequentialTwoSidedTTest` of two `ProportionStatistic`, tuned to 5000."""
    lower, upper = difference_of_means(proportion(*baseline), proportion(*candidate))
    assert (lower[0], upper[0]) == pytest.approx(interval, abs=1e-9)


@pytest.mark.parametrize(
    ("parameter", "bound"),
    [(12.600561, 30.35208990384639), (12.17735773911081, 30.3512241302859)],
)
def test_bound_of_the_normal_mixture_is_that_of_ville(parameter: float, bound: float) -> None:
    """ville 0.1.0: `normal_mixture` at v = 100; the second parameter is its own best."""
    assert mixture_bound(100, parameter, 0.05) == pytest.approx(bound, abs=1e-9)
