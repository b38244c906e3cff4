"""What if the metric has no upper bound? Then an interval, for large samples.

Shares and rewards in [0, 1] have exact evidence at every sample size. A mean of seconds or of money
has not: for it there is an interval that holds at all times only asymptotically, as confidence
intervals from the central limit theorem do at one time. It begins after 100 units per variant. If a
bound `c` beyond which nothing matters can be named, clip to [0, c], divide by `c` and use
`evidence` instead.

::

    mixture_bound      a bound that a random walk of variance v crosses with probability alpha
       └── mean_half_width          the same for a running mean, scaled by its standard deviation
              ├── difference_of_means           two variants under weights that stay as they are
              └── weighted_difference_of_means  weights that change: each value over its share
"""

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from abserve.errors import ExperimentError
from abserve.experiment.blocks import Floats
from abserve.weights import WHOLE

# The number of units at which the interval is tightest.
TIGHTEST_AT = 5000

# Before so many units per variant the central limit theorem promises nothing.
LEAST_UNITS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Number, sum and sum of squares of the values of each block; the last axis is time.

    Parameters
    ----------
    n, total, total_squares : ndarray of shape (..., n_blocks), float64

    Raises
    ------
    ExperimentError
        If the shapes differ, a number is not finite, `n` is negative or not whole, or no values
        have such sums.
    """

    n: Floats
    total: Floats
    total_squares: Floats

    def __post_init__(self) -> None:
        shapes = {getattr(self, field.name).shape for field in fields(self)}
        if len(shapes) > 1 or () in shapes:
            raise ExperimentError(
                f"moments have shapes {sorted(shapes)}; expected one shape, (..., n_blocks)"
            )
        if not all(np.isfinite(getattr(self, field.name)).all() for field in fields(self)):
            raise ExperimentError("a number, sum or sum of squares of values is not finite")
        if np.any(self.n < 0) or np.any(self.n % 1):
            raise ExperimentError("a number of values is negative or not whole")
        # A sum of equal values may miss the bound by rounding.
        possible = self.total**2 <= self.n * self.total_squares * (1 + 1e-9)
        if not possible.all():
            raise ExperimentError(
                "a sum of squares is too small for its sum; expected n, sum and sum of squares of "
                "the same values"
            )

    @classmethod
    def of(cls, n: ArrayLike, mean: ArrayLike, standard_deviation: ArrayLike) -> "Moments":
        """Take means and standard deviations (dividing by n), broadcast against each other."""
        n, mean, deviation = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(x, dtype=np.float64)) for x in (n, mean, standard_deviation))
        )
        return cls(n, n * mean, n * (mean**2 + deviation**2))


def mixture_parameter(variance: float, alpha: float) -> float:
    """Return the parameter of the normal mixture that makes its bound tightest at a variance.

    Parameters
    ----------
    variance : float
        Above 0.
    alpha : float
        In (0, 1).

    References
    ----------
    .. [1] S. Howard, A. Ramdas, J. McAuliffe and J. Sekhon, "Time-uniform, nonparametric,
       nonasymptotic confidence sequences", Annals of Statistics 49 (2021), arXiv:1810.08240.

    Examples
    --------
    >>> round(mixture_parameter(100, alpha=0.05), 6)
    12.600561
    """
    _require_alpha(alpha)
    if not 0 < variance < np.inf:
        raise ExperimentError(f"the variance is {variance:g}; expected a number above 0")
    surprise = -2 * math.log(alpha)
    return variance / (surprise + math.log1p(surprise))


def mixture_bound(variance: ArrayLike, parameter: float, alpha: float) -> Floats:
    """Return the two-sided normal mixture bound on a sum, for each value of its variance.

    A Gaussian random walk, or any martingale with increments that are no wilder, is ever beyond it
    with probability at most alpha [1]_.

    Parameters
    ----------
    variance : array_like
        Intrinsic time: variance of the sum so far, at least 0.
    parameter : float
        From `mixture_parameter`.
    alpha : float
        In (0, 1).

    Returns
    -------
    ndarray of the shape of `variance`

    References
    ----------
    .. [1] Howard et al., arXiv:1810.08240.

    Examples
    --------
    >>> float(mixture_bound(100, mixture_parameter(100, 0.05), 0.05).round(6))
    30.35209
    """
    _require_alpha(alpha)
    v = np.asarray(variance, dtype=np.float64) + parameter
    return np.sqrt(v * (np.log(v / parameter) - 2 * math.log(alpha)))


def mean_half_width(
    n: ArrayLike, standard_deviation: ArrayLike, alpha: float, tightest_at: float = TIGHTEST_AT
) -> Floats:
    """Return half the width of the asymptotic confidence sequence of a mean.

    With rho = sqrt((-2 ln alpha + ln(1 - 2 ln alpha)) / N*) it is
    sd sqrt(2 (n rho^2 + 1) / (n rho)^2 ln(sqrt(n rho^2 + 1) / alpha)) [1]_, that is
    `mixture_bound` with parameter 1 / rho^2, over n.

    Parameters
    ----------
    n : array_like
        Number of values, at least 1.
    standard_deviation : array_like
        Of the values, at least 0.
    alpha : float
        In (0, 1).
    tightest_at : float
        N*, the number of values at which the interval shall be tightest.

    Returns
    -------
    ndarray

    References
    ----------
    .. [1] I. Waudby-Smith, D. Arbour, R. Sinha, E. Kennedy and A. Ramdas, "Time-uniform central
       limit theory and asymptotic confidence sequences", Annals of Statistics 2024,
       arXiv:2103.06476.

    Examples
    --------
    >>> mean_half_width([10_000, 1000], 1.0, alpha=0.05).round(8).tolist()
    [0.03061477, 0.10637547]
    """
    n = np.asarray(n, dtype=np.float64)
    bound = mixture_bound(n, mixture_parameter(tightest_at, alpha), alpha)
    half_width: Floats = np.asarray(standard_deviation, dtype=np.float64) * bound / n
    return half_width


def difference_of_means(
    baseline: Moments, candidate: Moments, alpha: float = 0.05, tightest_at: float = TIGHTEST_AT
) -> tuple[Floats, Floats]:
    """Compute the asymptotic confidence sequence of candidate - baseline under fixed weights.

    Not valid when weights change during the experiment while the means drift: then use
    `weighted_difference_of_means`.

    Parameters
    ----------
    baseline, candidate : Moments
        Arrays of shape (..., n_blocks).
    alpha, tightest_at : float
        As in `mean_half_width`; values of both variants count towards `tightest_at`.

    Returns
    -------
    lower, upper : ndarray of shape (..., n_blocks)
        After each block. Infinite while a variant has fewer than 100 values.

    Examples
    --------
    >>> lower, upper = difference_of_means(Moments.of(5000, 10, 2), Moments.of(5000, 10.3, 2.5))
    >>> lower.round(7).tolist(), upper.round(7).tolist()
    ([0.1613857], [0.4386143])
    """
    n_a, mean_a, variance_a = _running(baseline)
    n_b, mean_b, variance_b = _running(candidate)
    n = n_a + n_b
    deviation = np.sqrt(n * (variance_a / np.maximum(n_a, 1) + variance_b / np.maximum(n_b, 1)))
    return _around(mean_b - mean_a, n, deviation, np.minimum(n_a, n_b), alpha, tightest_at)


def weighted_difference_of_means(
    weight_candidate: Floats,
    baseline: Moments,
    candidate: Moments,
    alpha: float = 0.05,
    tightest_at: float = TIGHTEST_AT,
) -> tuple[Floats, Floats]:
    """Compute the asymptotic confidence sequence of candidate - baseline while weights change.

    Each value stands for a unit's effect once it is divided by its variant's share (and negated for
    the baseline); the mean of these scores is the effect whatever the weights and however the
    means drift together. The price is width: scores vary with the means themselves, so subtract
    what is known of the mean (any number fixed beforehand) from all values.

    Parameters
    ----------
    weight_candidate : ndarray of shape (..., n_blocks)
        In percent, above 0 and below 100.
    baseline, candidate, alpha, tightest_at
        As in `difference_of_means`.

    Returns
    -------
    lower, upper : ndarray of shape (..., n_blocks)
        After each block. Infinite while a variant has fewer than 100 values.

    Raises
    ------
    ExperimentError
        If a weight is 0 or 100: a variant that nobody can reach has no score.

    References
    ----------
    .. [1] Waudby-Smith et al., arXiv:2103.06476.

    Examples
    --------
    >>> lower, upper = weighted_difference_of_means(
    ...     np.array([50.0]), Moments.of(5000, -0.1, 2), Moments.of(5000, 0.2, 2.5)
    ... )
    >>> lower.round(2).tolist(), upper.round(2).tolist()
    ([0.16], [0.44])
    """
    share = weight_candidate / WHOLE
    if not np.all((share > 0) & (share < 1)):
        raise ExperimentError(
            "a weight is 0 or 100; expected one between: leave out blocks in which a variant got "
            "no units"
        )
    scores = Moments(
        baseline.n + candidate.n,
        candidate.total / share - baseline.total / (1 - share),
        candidate.total_squares / share**2 + baseline.total_squares / (1 - share) ** 2,
    )
    n, mean, variance = _running(scores)
    fewest = np.minimum(np.cumsum(baseline.n, axis=-1), np.cumsum(candidate.n, axis=-1))
    return _around(mean, n, np.sqrt(variance), fewest, alpha, tightest_at)


def _running(moments: Moments) -> tuple[Floats, Floats, Floats]:
    n = np.cumsum(moments.n, axis=-1)
    mean = np.cumsum(moments.total, axis=-1) / np.maximum(n, 1)
    mean_square = np.cumsum(moments.total_squares, axis=-1) / np.maximum(n, 1)
    return n, mean, np.maximum(mean_square - mean**2, 0.0)


def _around(
    effect: Floats,
    n: Floats,
    deviation: Floats,
    fewest: Floats,
    alpha: float,
    tightest_at: float,
) -> tuple[Floats, Floats]:
    half = mean_half_width(np.maximum(n, 1), deviation, alpha, tightest_at)
    half = np.where(fewest >= LEAST_UNITS, half, np.inf)
    return effect - half, effect + half


def _require_alpha(alpha: float) -> None:
    if not 0 < alpha < 1:
        raise ExperimentError(f"alpha is {alpha:g}; expected a number between 0 and 1, as 0.05")
