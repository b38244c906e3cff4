"""The area under the ROC curve, and how sure it is."""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from abserve.metadata import Estimate
from training.intervals import Floats, within_0_and_1


def roc_auc(scores: Floats, targets: NDArray[np.int64]) -> Estimate | None:
    """Return the area under the ROC curve; for several classes the mean of one against the rest.

    See `area_and_error` for what is computed; the interval is that of the area's logit. An area of
    exactly 0 or 1 has none.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes), float64
        A row's score for each class, the higher the likelier. Of two classes, only the second
        one's is looked at.
    targets : ndarray of shape (n_rows,), int64
        The class of each row.

    Returns
    -------
    Estimate or None
        None if all rows are of one class, between which there is nothing to rank.
    """
    found = area_and_error(scores, targets)
    return None if found is None else within_0_and_1(*found)


def area_and_error(scores: Floats, targets: NDArray[np.int64]) -> tuple[float, float] | None:
    r"""Return the area and its standard error by the method of DeLong.

    The area of class :math:`k` is the share of pairs, of one row of the class and one of the rest,
    in which the former has the higher score; a tie counts one half. Each row has a *placement*
    :math:`V`: the share of the rows on the other side that it is on the right side of, from
    midranks [2]_. The area is the mean placement, and DeLong's variance is the sum, over the
    classes, of the variance of their rows' placements, divided by the number of those rows [1]_.
    For the mean over several classes, a row's placements in all of them are added before that,
    each divided by the number of rows it is a mean of; for two classes this is DeLong's own.

    References
    ----------
    .. [1] E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, "Comparing the Areas under Two or
       More Correlated Receiver Operating Characteristic Curves: A Nonparametric Approach",
       Biometrics 44, 1988.
    .. [2] X. Sun and W. Xu, "Fast Implementation of DeLong's Algorithm for Comparing the Areas
       Under Correlated Receiver Operating Characteristic Curves", IEEE Signal Processing Letters
       21, 2014.

    Examples
    --------
    >>> scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])
    >>> area_and_error(scores, np.array([0, 0, 1, 1]))[0]
    0.75
    """
    present = np.unique(targets)
    if len(present) < 2:  # noqa: PLR2004
        return None
    ranked = present[1:] if scores.shape[1] == 2 else present  # noqa: PLR2004
    areas = []
    contribution = np.zeros(len(targets))
    for index in ranked:
        inside = targets == index
        placement = _placements(scores[:, index], inside)
        areas.append(placement[inside].mean())
        n_inside = np.count_nonzero(inside)
        contribution += placement / np.where(inside, n_inside, len(targets) - n_inside)
    contribution /= len(ranked)
    variance = 0.0
    for index in present:
        of_class = contribution[targets == index]
        if of_class.size > 1:
            variance += of_class.size * of_class.var(ddof=1)
        else:
            variance = np.nan
    return float(np.mean(areas)), float(np.sqrt(variance))


def _placements(score: Floats, inside: NDArray[np.bool_]) -> Floats:
    """Return the share of the rows on the other side that each row is on the right side of."""
    n_inside = np.count_nonzero(inside)
    n_outside = len(score) - n_inside
    rank = rankdata(score)
    placement = np.empty(len(score))
    placement[inside] = (rank[inside] - rankdata(score[inside])) / n_outside
    placement[~inside] = 1 - (rank[~inside] - rankdata(score[~inside])) / n_inside
    return placement
