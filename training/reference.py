"""What the features were like in the rows a version was fitted on.

A runtime compares the rows it answers with this, in bins that hold about as many of the fitted rows
each: the fewer rows there are, the fewer bins, for an index over many bins of few rows is large by
chance alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from abserve.metadata import MAX_REFERENCE_FEATURES, Distribution
from abserve.schema import Feature
from training.dataset import Rows

MAX_BINS = 10
MIN_ROWS_PER_BIN = 20


def describe(rows: Rows, features: Sequence[Feature]) -> Mapping[str, Distribution]:
    """Return the distribution of each of the first `MAX_REFERENCE_FEATURES` features.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_features), float64
        The rows that the estimator is fitted on, at least one, with values that FP32 can hold.
    features : sequence of Feature
        What the columns are. Where a value may be missing, NaN stands for it.

    Returns
    -------
    mapping of str to Distribution
        By feature; at most `MAX_BINS` bins, and one more where a value may be missing. The edges
        are values of the column as FP32, in which a runtime gets its rows.
    """
    watched = features[:MAX_REFERENCE_FEATURES]
    columns = rows[:, : len(watched)].T
    return {
        feature.name: _describe(feature, column)
        for feature, column in zip(watched, columns, strict=True)
    }


def _describe(feature: Feature, column: NDArray[np.float64]) -> Distribution:
    rounded = column.astype(np.float32)
    values = np.sort(rounded[~np.isnan(rounded)])
    may_be_missing = feature.missing == "allow"
    n_rows = len(column) if may_be_missing else len(values)
    edges = _edges(values)
    at_or_below = np.searchsorted(values, edges, side="right")
    counts = np.diff(at_or_below, prepend=0, append=len(values))
    return Distribution(
        edges=tuple(edges.tolist()),
        shares=tuple((counts / n_rows).tolist()),
        missing=(len(column) - len(values)) / n_rows if may_be_missing else None,
    )


def _edges(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the edges between bins of about as many of the sorted `values` each.

    They are values themselves, each the last of its bin, so that equal values share a bin. A
    constant gets a bin of its own, between two that are empty.
    """
    if not len(values):
        return values
    below_largest = values[: np.searchsorted(values, values[-1])]
    if not len(below_largest):
        with np.errstate(over="ignore"):
            before = np.nextafter(values[:1], np.float32(-np.inf))
        return np.concatenate([before[np.isfinite(before)], values[:1]])
    n_bins = min(max(len(values) // MIN_ROWS_PER_BIN, 2), MAX_BINS)
    last_of_bin = np.arange(1, n_bins) * len(values) // n_bins - 1
    edges: NDArray[np.float32] = np.unique(values[np.maximum(last_of_bin, 0)])
    # Nothing lies above the largest value: it is no edge, however often it occurs.
    edges = edges[: np.searchsorted(edges, values[-1])]
    return edges if len(edges) else below_largest[-1:]
