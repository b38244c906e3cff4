"""How sure a metric is: the value on the held-out rows, and an interval of 95 % confidence.

The held-out rows are taken as independent draws from those that a version will meet; an interval
holds the metric on all of those in 95 of 100 trainings. Every metric here is a share, a mean or a
function of means over rows, so that each has a formula, and nothing has to be drawn by chance:

- shares of rows: Wilson's interval, which is right for few rows and for shares of 0 and 1;
- means of shares: those intervals, put together by MOVER;
- means of losses: the central limit theorem, with Student's t;
- functions of means: the same on a scale where they are free of bounds, by the delta method.

The last two need some tens of rows, and a loss that a few rows do not dominate. For fewer they are
too short: with 30 rows of a log loss they hold the truth in about 90 of 100 cases.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtrit

from abserve.metadata import Estimate

UPPER_TAIL = 0.975
Z = NormalDist().inv_cdf(UPPER_TAIL)

Floats = NDArray[np.float64]


def share(n_successes: int, n_rows: int) -> Estimate:
    r"""Return a share of rows with Wilson's score interval.

    With :math:`p = k / n` and the normal quantile :math:`z`, the interval is

    .. math::

        \frac{1}{1 + z^2 / n} \left( p + \frac{z^2}{2n}
        \pm z \sqrt{\frac{p (1 - p)}{n} + \frac{z^2}{4 n^2}} \right).

    Parameters
    ----------
    n_successes : int
        At most `n_rows`.
    n_rows : int
        At least 1.

    References
    ----------
    .. [1] E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference",
       Journal of the American Statistical Association 22, 1927.

    Examples
    --------
    >>> estimate = share(81, 263)
    >>> round(estimate.low, 4), round(estimate.high, 4)
    (0.2553, 0.3662)
    """
    p = n_successes / n_rows
    shrink = 1 + Z**2 / n_rows
    centre = (p + Z**2 / (2 * n_rows)) / shrink
    half = Z * np.sqrt(p * (1 - p) / n_rows + Z**2 / (4 * n_rows**2)) / shrink
    # Exactly 0 and 1 at the ends, which rounding would miss.
    low = 0.0 if n_successes == 0 else float(centre - half)
    high = 1.0 if n_successes == n_rows else float(centre + half)
    return Estimate(value=p, low=low, high=high)


def mean_of_shares(shares: Sequence[Estimate]) -> Estimate:
    r"""Return the mean of independent shares.

    MOVER, the method of variance estimates recovery: the distance of the mean :math:`\theta` of
    :math:`K` shares from its lower limit is recovered from theirs,

    .. math:: \theta - L = \frac{1}{K} \sqrt{\sum_k (p_k - l_k)^2},

    and likewise for the upper one [1]_. For two shares it is Newcombe's interval [2]_.

    References
    ----------
    .. [1] G. Y. Zou and A. Donner, "Construction of confidence limits about effect measures: A
       general approach", Statistics in Medicine 27, 2008.
    .. [2] R. G. Newcombe, "Interval estimation for the difference between independent proportions:
       comparison of eleven methods", Statistics in Medicine 17, 1998; method 10.
    """
    values = np.array([share.value for share in shares])
    below = values - np.array([share.low for share in shares], dtype=np.float64)
    above = np.array([share.high for share in shares], dtype=np.float64) - values
    value = float(values.mean())
    return Estimate(
        value=value,
        low=max(0.0, value - float(np.sqrt(np.sum(below**2))) / len(shares)),
        high=min(1.0, value + float(np.sqrt(np.sum(above**2))) / len(shares)),
    )


def mean_loss(losses: Floats) -> Estimate:
    r"""Return the mean of a loss, which is never below 0: :math:`\bar x \pm t_{n-1} s / \sqrt n`.

    Parameters
    ----------
    losses : ndarray of shape (n_rows,), float64
        One loss per row. Where all are equal, they do not say how they vary: there is no interval.
    """
    value = float(losses.mean())
    half = _t(losses.size) * _standard_error(losses)
    return _estimate(value, half, max(0.0, value - half), value + half)


def root_mean_square(errors: Floats) -> Estimate:
    r"""Return the root of the mean square of errors.

    The interval is that of :math:`\log \overline{e^2}`, whose standard error is that of the mean
    square divided by it (the delta method) [1]_: errors of squares are skewed to the right.

    References
    ----------
    .. [1] A. W. van der Vaart, "Asymptotic Statistics", Cambridge University Press 1998, chapter 3.
    """
    squares = errors**2
    mean_square = float(squares.mean())
    value = float(np.sqrt(mean_square))
    if value == 0.0:
        return Estimate(value=value)
    half = _t(errors.size) * _standard_error(squares) / mean_square / 2
    return _estimate(value, half, value * np.exp(-half), value * np.exp(half))


def explained_share(errors: Floats, deviations: Floats) -> Estimate:
    r"""Return :math:`R^2 = 1 - \sum e^2 / \sum d^2`, at most 1.

    The interval is that of :math:`\log (1 - R^2)`, the logarithm of a ratio of means. Its standard
    error is that of the mean of :math:`e_i^2 / \overline{e^2} - d_i^2 / \overline{d^2}` (the delta
    method, as for `root_mean_square`).

    Parameters
    ----------
    errors : ndarray of shape (n_rows,), float64
        Ground truth minus prediction.
    deviations : ndarray of shape (n_rows,), float64
        Ground truth minus its mean; not all 0.
    """
    squared_errors, squared_deviations = errors**2, deviations**2
    unexplained = float(squared_errors.mean() / squared_deviations.mean())
    if unexplained == 0.0:
        return Estimate(value=1.0)
    influence = (
        squared_errors / squared_errors.mean() - squared_deviations / squared_deviations.mean()
    )
    half = _t(errors.size) * _standard_error(influence)
    low, high = 1 - unexplained * np.exp(half), 1 - unexplained * np.exp(-half)
    return _estimate(1 - unexplained, half, low, high)


def within_0_and_1(value: float, standard_error: float) -> Estimate:
    r"""Return an estimate that lies in [0, 1], given its standard error.

    The interval is that of the logit, :math:`\log \frac{v}{1 - v}`, whose standard error is
    :math:`s / (v (1 - v))`; it never leaves [0, 1]. At 0 and 1 there is none.
    """
    if not 0 < value < 1:
        return Estimate(value=value)
    half = Z * standard_error / (value * (1 - value))
    centre = logit(value)
    return _estimate(value, half, expit(centre - half), expit(centre + half))


def _estimate(value: float, half: float, low: float, high: float) -> Estimate:
    # Rows that are all alike, or a single one, say nothing of how rows differ.
    known = np.isfinite(half) and half > 0
    return (
        Estimate(value=value, low=float(low), high=float(high)) if known else Estimate(value=value)
    )


def _standard_error(of: Floats) -> float:
    return float(of.std(ddof=1) / np.sqrt(of.size)) if of.size > 1 else np.nan


def _t(n_rows: int) -> float:
    return float(stdtrit(n_rows - 1, UPPER_TAIL)) if n_rows > 1 else np.nan
