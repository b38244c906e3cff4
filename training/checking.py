"""Whether rows are what a definition says, and can be learned from at all.

Everything that would fail or mislead after minutes of fitting is refused here, before it. Rows are
counted from 1, without the header of a file.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from abserve.errors import TrainingError
from abserve.schema import Feature, Schema
from training.dataset import Dataset
from training.definition import Definition, Target

# Models compute in FP32, and whatever is larger is infinite to them.
_LARGEST = float(np.finfo(np.float32).max)


def validate(dataset: Dataset, definition: Definition) -> Schema:
    """Check rows and targets, and return what the model takes and answers.

    Raises
    ------
    TrainingError
        If the columns are not the features; a value is missing, not whole or out of bounds
        where that is not allowed; a feature is constant; or the targets are one class only, lack a
        class, or are numbers that are constant or out of bounds. It names the first such row, and
        says how many there are.
    """
    features = definition.inputs
    names = tuple(feature.name for feature in features)
    if names != dataset.columns:
        raise TrainingError(
            f"the definition's features are {', '.join(names)}; the data has "
            f"{', '.join(dataset.columns)}; expected the same, in the same order"
        )
    for feature, column in zip(features, dataset.rows.T, strict=True):
        _check_feature(feature, column)
        # A pixel at the rim may be black in every picture, and cannot be left out.
        if definition.picture is None:
            _refuse_constant(feature.name, column)
    if dataset.class_names is None:
        _check_numbers(dataset.targets.astype(np.float64), definition.target)
    else:
        _check_classes(
            dataset.targets.astype(np.int64), dataset.class_names, definition.target.name
        )
    return Schema(features=features, classes=dataset.class_names)


def _check_feature(feature: Feature, column: NDArray[np.float64]) -> None:
    name = feature.name
    missing = np.isnan(column)
    if feature.missing == "refuse":
        advice = "give it a value, remove the row, or let the feature be `missing: allow`"
        _refuse(f"{name} is missing", column, missing, advice)
    _refuse(
        f"{name} is outside {_bounds(feature.minimum, feature.maximum)}",
        column,
        ~missing & _outside(column, feature.minimum, feature.maximum),
        "correct the data or widen the feature's bounds",
    )
    if feature.type == "integer":
        fractional = ~missing & (column != np.floor(column))
        advice = "correct the data, or make it a feature of type number"
        _refuse(f"{name} is no whole number", column, fractional, advice)


def _refuse_constant(name: str, column: NDArray[np.float64]) -> None:
    values = "missing" if np.isnan(column[0]) else str(column[0])
    if (column == column[0]).all() or np.isnan(column).all():
        raise TrainingError(
            f"{name} is {values} in all of {column.size} rows, and nothing can be learned from "
            "it; remove it from the features, or find rows in which it varies"
        )


def _check_classes(targets: NDArray[np.int64], classes: Sequence[str], name: str) -> None:
    counts = np.bincount(targets, minlength=len(classes))
    if np.max(counts) == len(targets):
        raise TrainingError(
            f"the target {name} is {classes[int(np.argmax(counts))]} in all of {len(targets)} "
            "rows; expected two classes or more: find rows of another class"
        )
    if not counts.all():
        raise TrainingError(
            f"the target {name} is {classes[int(np.argmin(counts))]} in no row; "
            "find rows of that class, or remove it from target.classes"
        )


def _check_numbers(targets: NDArray[np.float64], target: Target) -> None:
    _refuse(
        f"the target {target.name} is outside {_bounds(target.minimum, target.maximum)}",
        targets,
        _outside(targets, target.minimum, target.maximum),
        "correct the data or widen the target's bounds",
    )
    if (targets == targets[0]).all():
        raise TrainingError(
            f"the target {target.name} is {targets[0]} in all of {len(targets)} rows, and there "
            "is nothing to learn; find rows in which it varies"
        )


def _outside(
    column: NDArray[np.float64], minimum: float | None, maximum: float | None
) -> NDArray[np.bool_]:
    low = -_LARGEST if minimum is None else minimum
    high = _LARGEST if maximum is None else maximum
    # Written so that NaN, which compares false with everything, is outside.
    outside: NDArray[np.bool_] = ~((column >= low) & (column <= high))
    return outside


def _bounds(minimum: float | None, maximum: float | None) -> str:
    low = f"{-_LARGEST:.2g}" if minimum is None else str(minimum)
    high = f"{_LARGEST:.2g}" if maximum is None else str(maximum)
    return f"[{low}, {high}]"


def _refuse(what: str, column: NDArray[np.float64], wrong: NDArray[np.bool_], advice: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        first = rows[0]
        raise TrainingError(
            f"{what} in {rows.size} of {column.size} rows, first in row {first + 1}: "
            f"{column[first]}; {advice}"
        )
