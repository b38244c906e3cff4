"""How far the rows of late lie from those that a version was fitted on, feature by feature.

::

    answered rows ──> Window: the latest 10 000 ──> rows per bin of the reference ──> one index

A row costs a copy into the window; everything else is done when somebody asks for the index.
"""

from collections.abc import Mapping, Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from abserve.metadata import Distribution
from runtimes.inference import Rows

WINDOW_ROWS = 10_000
MIN_ROWS = 100

_HALF_A_ROW = 0.5


def population_stability_index(reference: Sequence[float], counts: Sequence[int]) -> float:
    r"""Return how far rows lie from a reference distribution.

    The index is :math:`\sum_i (a_i - r_i) \ln (a_i / r_i)`, with the shares `a` of the rows and `r`
    of the reference in each bin. It is 0 if they are equal; by custom, up to 0.1 is little, up to
    0.25 moderate and beyond that a significant change [1]_. Rows that do follow the reference give
    about (n_bins - 1) / n_rows, which is why few rows say little [1]_.

    Half a row is added to every bin, of the rows and of as many rows of the reference [2]_: without
    it, one empty bin would make the index infinite.

    Parameters
    ----------
    reference : sequence of float
        Share of the reference in each bin, summing to 1.
    counts : sequence of int
        Rows in each of the same bins, at least one in all.

    Returns
    -------
    float
        At least 0, in nats.

    References
    ----------
    .. [1] B. Yurdakul and J. Naranjo, "Statistical properties of the population stability index",
       Journal of Risk Model Validation 14(4), 2020.
    .. [2] R. Krichevsky and V. Trofimov, "The performance of universal encoding", IEEE
       Transactions on Information Theory 27(2), 1981.

    Examples
    --------
    >>> population_stability_index([0.5, 0.5], [50, 50])
    0.0
    >>> round(population_stability_index([0.5, 0.5], [75_000, 25_000]), 3)  # ln(3) / 4
    0.275
    """
    n_rows = sum(counts)
    smoothed = n_rows + _HALF_A_ROW * len(counts)
    index = 0.0
    for share, count in zip(reference, counts, strict=True):
        expected = (share * n_rows + _HALF_A_ROW) / smoothed
        actual = (count + _HALF_A_ROW) / smoothed
        index += (actual - expected) * log(actual / expected)
    return index


class Window:
    """The latest rows, column by column; the oldest are overwritten first.

    Parameters
    ----------
    n_columns : int
        How many columns a row has.
    size_rows : int, optional
        How many rows are kept.
    """

    def __init__(self, n_columns: int, size_rows: int = WINDOW_ROWS) -> None:
        # Each column in one piece, for they are read one by one; memory is taken as it is filled.
        self._columns = np.empty((n_columns, size_rows), dtype=np.float32)
        self._size_rows = size_rows
        self._next = 0
        self.n_rows = 0

    def add(self, rows: Rows) -> None:
        """Keep the last of `rows`, of shape (n_rows, n_columns), that the window has room for."""
        latest = rows[-self._size_rows :]
        start = self._next
        to_the_end = latest[: self._size_rows - start]
        from_the_start = latest[len(to_the_end) :]
        self._columns[:, start : start + len(to_the_end)] = to_the_end.T
        self._columns[:, : len(from_the_start)] = from_the_start.T
        self._next = (start + len(latest)) % self._size_rows
        self.n_rows = min(self.n_rows + len(latest), self._size_rows)

    def column(self, index: int) -> NDArray[np.float32]:
        """Return the values of one column, in no order."""
        return self._columns[index, : self.n_rows]


class Drift:
    """Watches the features of one version that a reference describes.

    With at most `MAX_REFERENCE_FEATURES` features of 10 000 rows, it takes up to 2 MB.

    Parameters
    ----------
    features : sequence of str
        The features to watch: the columns of the rows, in order.
    reference : mapping of str to Distribution
        What they were like when the version was fitted.
    """

    def __init__(self, features: Sequence[str], reference: Mapping[str, Distribution]) -> None:
        self._bins = [
            _Bins(column, name, reference[name])
            for column, name in enumerate(features)
            if name in reference
        ]
        self._window = Window(len(features))

    @property
    def n_rows(self) -> int:
        """How many rows the window holds."""
        return self._window.n_rows

    def add(self, rows: Rows) -> None:
        """Take up rows that were answered, of shape (n_rows, n_features)."""
        self._window.add(rows)

    def indices(self) -> dict[str, float]:
        """Return the index of each feature that has at least `MIN_ROWS` rows in the window."""
        indices: dict[str, float] = {}
        for bins in self._bins:
            counts = bins.count(self._window.column(bins.column))
            if sum(counts) >= MIN_ROWS:
                indices[bins.name] = population_stability_index(bins.shares, counts)
        return indices


class _Bins:
    """The bins of one feature: those between the edges, and perhaps one of missing values."""

    def __init__(self, column: int, name: str, distribution: Distribution) -> None:
        self.column = column
        self.name = name
        self._edges = np.asarray(distribution.edges, dtype=np.float32)
        self._missing = distribution.missing is not None
        missing = () if distribution.missing is None else (distribution.missing,)
        self.shares = (*distribution.shares, *missing)

    def count(self, values: NDArray[np.float32]) -> list[int]:
        """Return how many of `values` are in each bin; missing ones count only in their own."""
        n_missing = int(np.count_nonzero(np.isnan(values)))
        # With few edges this is several times faster than a search for each value.
        above = [int(np.count_nonzero(values > edge)) for edge in self._edges]
        least = [len(values) - n_missing, *above]
        counts = [more - fewer for more, fewer in zip(least, [*above, 0], strict=True)]
        return [*counts, n_missing] if self._missing else counts
