"""How much a model relies on each feature: permutation importance, on held-out rows.

The values of one feature are dealt to other rows, so that they say nothing of their own row any
more; by how much the error grows is what the model relies on the feature for [1]_ [2]_. It is
measured on the model as it is served. Two features that say the same share their importance: the
model still has the one when the other is dealt, and both look less important than they are.

The pixels of a picture are dealt in square patches, so small that there are about a hundred of them
at most: one pixel among thousands says next to nothing.

References
----------
.. [1] L. Breiman, "Random Forests", Machine Learning 45, 2001, section 10.
.. [2] A. Fisher, C. Rudin, F. Dominici, "All Models are Wrong, but Many are Useful", Journal of
   Machine Learning Research 20 (177), 2019: the importance here is their difference of losses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from abserve.schema import Picture, Schema
from training.dataset import Predictions, Rows, Targets

N_REPEATS = 5
MAX_ROWS = 2000
MIN_ROWS = 100
# Wide tables get fewer rows, so that the time does not grow with the width until `MIN_ROWS`.
MAX_PREDICTED_ROWS = 200_000
MAX_PATCHES = 100

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Importance:
    """By how much the error grows when a feature's values are dealt to other rows.

    `increase` is the mean over the repeats and `spread` their standard deviation; both have the
    shape (n_features,), or of a picture (n_patches_down, n_patches_across), where a patch is
    `patch_pixels` wide and high, less at the right and lower edge. A value at or below zero means
    that nothing was lost.
    """

    metric: Literal["log_loss", "mean_absolute_error"]
    increase: _Floats
    spread: _Floats
    n_rows: int
    n_repeats: int = N_REPEATS
    patch_pixels: int = 1


def permutation_importance(
    predict: Callable[[Rows], Predictions],
    rows: Rows,
    targets: Targets,
    schema: Schema,
    seed: int,
) -> Importance:
    """Measure how much a model relies on each feature.

    Of many rows a sample is taken: at most `MAX_ROWS`, fewer where features are many.

    Parameters
    ----------
    predict : callable
        The model as it is served.
    rows : ndarray of shape (n_rows, n_features), float64
        Rows the model was not fitted on, at least one.
    targets : ndarray of shape (n_rows,)
        What was true of them: int64 indices of classes, or float64 numbers.
    schema : Schema
        What the columns are.
    seed : int
        Decides which rows are taken and how values are dealt; equal seeds give equal results.

    Returns
    -------
    Importance
        In nats of log loss for a classifier, in the target's unit for a regressor.
    """
    patch_pixels = _patch_pixels(schema.picture) if schema.picture else 1
    groups = (
        _patches(schema.picture, patch_pixels)
        if schema.picture
        else np.arange(len(schema.features))
    )
    n_groups = int(groups.max()) + 1
    rng = np.random.default_rng(seed)
    n_rows = min(len(rows), MAX_ROWS, max(MIN_ROWS, MAX_PREDICTED_ROWS // (N_REPEATS * n_groups)))
    taken = np.sort(rng.choice(len(rows), n_rows, replace=False))
    rows, targets = rows[taken], targets[taken]
    orders = np.array([rng.permutation(n_rows) for _ in range(N_REPEATS)])
    usual = _errors(predict(rows), targets).mean()
    dealt_errors = np.empty((n_groups, N_REPEATS))
    for group in range(n_groups):
        columns = groups == group
        dealt = np.tile(rows, (N_REPEATS, 1))
        dealt[:, columns] = rows[orders.ravel()][:, columns]
        errors = _errors(predict(dealt), np.tile(targets, N_REPEATS))
        dealt_errors[group] = errors.reshape(N_REPEATS, n_rows).mean(axis=1)
    increases = dealt_errors - usual
    shape = _shape(schema.picture, patch_pixels) if schema.picture else (n_groups,)
    return Importance(
        metric="mean_absolute_error" if schema.classes is None else "log_loss",
        increase=increases.mean(axis=1).reshape(shape),
        spread=increases.std(axis=1, ddof=1).reshape(shape),
        n_rows=n_rows,
        patch_pixels=patch_pixels,
    )


def _errors(predictions: Predictions, targets: NDArray[Any]) -> _Floats:
    if predictions.probability is None:
        errors: _Floats = np.abs(predictions.values - targets)
        return errors
    of_true = predictions.probability[np.arange(len(targets)), targets.astype(np.int64)]
    # As in the evaluation, one row that was called impossible does not make all infinite.
    return -np.log(np.maximum(of_true, np.finfo(np.float64).eps))


def _shape(picture: Picture, patch_pixels: int) -> tuple[int, int]:
    return -(-picture.height // patch_pixels), -(-picture.width // patch_pixels)


def _patch_pixels(picture: Picture) -> int:
    """Return the side of the smallest patches of which there are not too many."""
    side = 1
    while np.prod(_shape(picture, side)) > MAX_PATCHES:
        side += 1
    return side


def _patches(picture: Picture, patch_pixels: int) -> NDArray[np.int64]:
    """Return for each feature the number of its patch, counted row by row."""
    _, across = _shape(picture, patch_pixels)
    down_of = np.arange(picture.height) // patch_pixels
    across_of = np.arange(picture.width) // patch_pixels
    numbers = down_of[:, np.newaxis] * across + across_of
    return np.repeat(numbers.ravel(), picture.n_channels)
