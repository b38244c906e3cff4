"""Rows with what is known of them: the values that the steps of a training hand on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from abserve.metadata import Fingerprint

Rows = NDArray[np.float64]
"""Shape (n_rows, n_features); NaN stands for a value that is missing."""

Targets = NDArray[np.int64] | NDArray[np.float64]
"""Shape (n_rows,): int64 indices of classes, or a regressor's float64 numbers."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows and their targets.

    `rows` has shape (n_rows, n_features), its columns named by `columns`. `targets` has shape
    (n_rows,): indices into `class_names`, or numbers where that is None.
    """

    columns: tuple[str, ...]
    rows: Rows
    targets: Targets
    class_names: tuple[str, ...] | None
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows an estimator is fitted on, and those it never sees."""

    fitted_rows: Rows
    fitted_targets: Targets
    held_out_rows: Rows
    held_out_targets: Targets


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of rows.

    `values` has shape (n_rows,): int64 indices of classes, or float64 numbers. `probability` has
    shape (n_rows, n_classes), float64 in [0, 1], and is None for a regressor.
    """

    values: Targets
    probability: NDArray[np.float64] | None
