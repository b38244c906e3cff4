"""Whether a probability means what it says: 80 of 100 rows that are given 0.8 are of the class.

::

    n_rows  probability  share
        30         0.05   0.03   ─┐
        30         0.48   0.60    ├─> the calibration error: the mean gap between the two
        30         0.97   0.99   ─┘

The rows are put in bins of equal size by their probability; rows of the same probability stay
together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abserve.metadata import Estimate
from training.intervals import UPPER_TAIL, Floats, Z

_MOST_BINS = 10
_ROWS_PER_BIN = 10
_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Bins:
    """Rows by their probability, ascending; all arrays of shape (n_bins,).

    `probability` is the mean of what the model gave them, `share` how many of them are of the
    class, and `error` the standard error of the gap between the two.
    """

    n_rows: NDArray[np.int64]
    probability: Floats
    share: Floats
    error: Floats


def bins_of(probability: Floats, hit: NDArray[np.bool_]) -> Bins:
    """Put rows in ten bins, or in fewer so that each has ten rows.

    Parameters
    ----------
    probability : ndarray of shape (n_rows,), float64
        The probability of what `hit` says, by the model.
    hit : ndarray of shape (n_rows,), bool
        Whether the row is of the class.
    """
    n_bins = max(1, min(_MOST_BINS, len(probability) // _ROWS_PER_BIN))
    edges = np.unique(np.quantile(probability, np.arange(1, n_bins) / n_bins))
    bin_ = np.searchsorted(edges, probability, side="left")
    n_rows = np.bincount(bin_)
    bin_, n_rows = np.unique(bin_, return_inverse=True)[1], n_rows[n_rows > 0]
    gap = probability - hit
    mean_gap = np.bincount(bin_, gap) / n_rows
    spread = np.bincount(bin_, (gap - mean_gap[bin_]) ** 2) / np.maximum(n_rows - 1, 1)
    return Bins(
        n_rows=n_rows,
        probability=np.bincount(bin_, probability) / n_rows,
        share=np.bincount(bin_, hit) / n_rows,
        error=np.sqrt(spread / n_rows),
    )


def calibration_error(bins: Bins, seed: int) -> Estimate:
    r"""Return the expected calibration error: the mean gap between probability and share.

    With :math:`w_b` the part of the rows that is in bin :math:`b`, and :math:`g_b` its mean
    probability minus its share, the estimate is :math:`T = \sum_b w_b |g_b|` [1]_, [2]_. Chance
    makes gaps too, so that it is too large: by about
    :math:`\sqrt{2 / \pi} \sum_b w_b \sigma_b` for a model without any error, with the standard
    errors :math:`\sigma_b` of the gaps. That is 0.03 with 1,000 rows and 0.09 with 50.

    The bootstrap repeats this and its interval misses a calibrated model's 0 always. Ours follows
    from the triangle inequality, with :math:`\varepsilon_b \sim N(0, \sigma_b^2)` the errors of
    the gaps and :math:`\theta` the true mean gap of these bins:

    - :math:`T \le \theta + \sum_b w_b |\varepsilon_b|`, so that the lower end is :math:`T` minus
      the 97.5 % quantile of that sum (from draws by `seed`);
    - :math:`T \ge \theta + \sum_b \pm w_b \varepsilon_b` with the signs of the true gaps, so that
      the upper end is :math:`T + 1.96 \sqrt{\sum_b w_b^2 \sigma_b^2}`.

    Parameters
    ----------
    bins : Bins
        From `bins_of`.
    seed : int
        Of the draws.

    References
    ----------
    .. [1] M. P. Naeini, G. F. Cooper and M. Hauskrecht, "Obtaining Well Calibrated Probabilities
       Using Bayesian Binning", AAAI 2015.
    .. [2] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
       Networks", ICML 2017.
    """
    weights = bins.n_rows / bins.n_rows.sum()
    value = float(weights @ np.abs(bins.probability - bins.share))
    errors = np.random.default_rng(seed).normal(scale=bins.error, size=(_DRAWS, weights.size))
    by_chance = float(np.quantile(np.abs(errors) @ weights, UPPER_TAIL))
    above = Z * float(np.sqrt(np.sum((weights * bins.error) ** 2)))
    return Estimate(value=value, low=max(0.0, value - by_chance), high=min(1.0, value + above))
