"""The rows that a definition names, checked against it and divided in two."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.model_selection import train_test_split

from abserve.errors import TrainingError
from abserve.schema import Feature
from training.definition import Data, Definition, Split

Rows = NDArray[np.float64]
Classes = NDArray[np.int64]

_LOADERS: Mapping[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled rows.

    `rows` has shape (n_rows, n_columns), `classes` (n_rows,): indices into `class_names`.
    """

    columns: tuple[str, ...]
    rows: Rows
    classes: Classes
    class_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """The rows an estimator is fitted on, and those it never sees."""

    fitted_rows: Rows
    fitted_classes: Classes
    held_out_rows: Rows
    held_out_classes: Classes


def load(data: Data) -> Dataset:
    """Return the data set, its columns named as a feature is: ``sepal_length_cm``."""
    bundle = _LOADERS[data.name]()
    return Dataset(
        columns=tuple(_as_feature_name(name) for name in bundle.feature_names),
        rows=np.asarray(bundle.data, dtype=np.float64),
        classes=np.asarray(bundle.target, dtype=np.int64),
        class_names=tuple(str(name) for name in bundle.target_names),
    )


def validate(dataset: Dataset, features: tuple[Feature, ...]) -> None:
    """Check that the features are the data's columns, and every value lies within its bounds.

    Raises
    ------
    TrainingError
        If a column is not the feature of that position, or a value is not finite or not
        between the feature's minimum and maximum.
    """
    names = tuple(feature.name for feature in features)
    if names != dataset.columns:
        raise TrainingError(
            f"the definition's features are {', '.join(names)}; the data has "
            f"{', '.join(dataset.columns)}; name the columns of the data, all and in their order"
        )
    for feature, column in zip(features, dataset.rows.T, strict=True):
        low = -np.inf if feature.minimum is None else feature.minimum
        high = np.inf if feature.maximum is None else feature.maximum
        # Written so that NaN, which compares false with everything, is outside.
        outside = np.flatnonzero(~(np.isfinite(column) & (column >= low) & (column <= high)))
        if outside.size:
            raise TrainingError(
                f"{feature.name} is {column[outside[0]]} in row {outside[0]} and outside "
                f"[{low}, {high}] in {outside.size} of {column.size} rows; "
                "correct the data or widen the feature's bounds"
            )


def split(dataset: Dataset, by: Split) -> Parts:
    """Hold out a fraction of every class.

    Raises
    ------
    TrainingError
        If a class would be missing on either side.
    """
    try:
        fitted_rows, held_out_rows, fitted_classes, held_out_classes = train_test_split(
            dataset.rows,
            dataset.classes,
            test_size=by.held_out,
            stratify=dataset.classes,
            random_state=by.seed,
        )
    except ValueError as error:
        raise TrainingError(
            f"holding out {by.held_out} of {len(dataset.rows)} rows leaves a class without rows "
            f"({error}); change split.held_out"
        ) from error
    return Parts(fitted_rows, fitted_classes, held_out_rows, held_out_classes)


def held_out(definition: Definition) -> tuple[Rows, list[str]]:
    """Return the rows that no version of a model was fitted on, and what they are.

    Returns
    -------
    rows : ndarray of shape (n_rows, n_features), float64
        In the order of the definition's features.
    labels : list of str
        The name of each row's class: its ground truth.

    Raises
    ------
    TrainingError
        If the data and the definition do not fit together.
    """
    dataset = load(definition.data)
    validate(dataset, definition.features)
    parts = split(dataset, definition.split)
    return parts.held_out_rows, [dataset.class_names[index] for index in parts.held_out_classes]


def _as_feature_name(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
