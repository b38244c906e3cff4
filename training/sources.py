"""Where rows come from: scikit-learn's own data sets, or a file of rows.

::

    sklearn: a bundle ────────────┐
    CSV, Parquet ─> `tables` ─────┴─> columns by the names of the features ─> numbers, classes
                     batches                                   `columns`         Dataset

The features name the columns and give their order; a file may hold others. Here a value becomes a
number or an error; whether the numbers can be learned from is asked by `training.checking`.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from abserve.errors import TrainingError
from abserve.metadata import Fingerprint
from training.columns import NO_LABEL, Labels, WrongValueError, feature_values, numbers
from training.dataset import Dataset, Rows, Targets
from training.definition import BundledData, CsvData, Definition, ParquetData
from training.estimators import short_list
from training.tables import Table, open_table

_BUNDLES: Mapping[str, Callable[[], Any]] = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": lambda: datasets.load_diabetes(scaled=False),
    "digits": datasets.load_digits,
}

_REPORT_EVERY_ROWS = 100_000
_MOST_CLASSES = 1000


def load(definition: Definition, report: Callable[[str], None]) -> Dataset:
    """Return the rows that a definition names, in the order of its features.

    Parameters
    ----------
    definition : Definition
        What to read, and what its columns are.
    report : callable
        Told how many rows have been read, every 100,000 of them.

    Raises
    ------
    TrainingError
        If there is no such file, it is not what the definition says, or holds a value that cannot
        be what its column is for. The message says where.
    """
    if isinstance(definition.data, BundledData):
        return _from_bundle(definition.data, definition)
    return _from_file(definition.data, definition, report)


def _from_bundle(data: BundledData, definition: Definition) -> Dataset:
    bundle = _BUNDLES[data.name]()
    source = f"sklearn:{data.name}"
    columns = [_as_feature_name(name) for name in bundle.feature_names]
    names = [feature.name for feature in definition.inputs]
    if unknown := [name for name in names if name not in columns]:
        raise TrainingError(
            f"{source} has no column {unknown[0]!r}; it has {short_list(columns, unknown[0])}: "
            "correct the name of the feature"
        )
    values = np.asarray(bundle.data, dtype=np.float64)
    rows = np.ascontiguousarray(values[:, [columns.index(name) for name in names]])
    if definition.kind == "regression":
        return _dataset(source, definition, rows, np.asarray(bundle.target, np.float64), None)
    found = tuple(str(name) for name in bundle.target_names)
    declared = definition.target.classes or found
    if set(declared) != set(found):
        raise TrainingError(
            f"target.classes are {', '.join(declared)}; those of {source} are "
            f"{', '.join(found)}: name these, or leave target.classes out"
        )
    renumbered = np.array([declared.index(name) for name in found], dtype=np.int64)
    return _dataset(source, definition, rows, renumbered[bundle.target], declared)


def _from_file(
    data: CsvData | ParquetData, definition: Definition, report: Callable[[str], None]
) -> Dataset:
    table = open_table(data)
    features, target = definition.inputs, definition.target.name
    labels = Labels() if definition.kind == "classification" else None
    rows: list[Rows] = []
    targets: list[NDArray[Any]] = []
    n_rows = 0
    for batch in table.batches([*(feature.name for feature in features), target]):
        name = ""
        try:
            block = np.empty((batch.num_rows, len(features)))
            for index, feature in enumerate(features):
                name = feature.name
                block[:, index] = feature_values(batch.column(name), feature)
            name = target
            column = batch.column(target)
            targets.append(numbers(column) if labels is None else labels.encode(column))
        except WrongValueError as error:
            where = "" if error.position is None else f" in {table.place(n_rows + error.position)}"
            raise TrainingError(
                f"{table.source}: {name} is {error.found}{where}, expected {error.expected}; "
                "correct the file, or what the definition says of the column"
            ) from error
        rows.append(block)
        before, n_rows = n_rows, n_rows + len(block)
        if before // _REPORT_EVERY_ROWS < n_rows // _REPORT_EVERY_ROWS:
            report(f"{n_rows:,} rows of {table.source} read")
    if not n_rows:
        raise TrainingError(f"{table.source} has no rows; expected some under its header")
    found = np.concatenate(targets)
    missing = np.flatnonzero(np.isnan(found) if labels is None else found == NO_LABEL)
    if missing.size:
        raise TrainingError(
            f"{table.source}: the target {target} is missing in {missing.size} of {n_rows} rows, "
            f"first in {table.place(missing[0])}; remove these rows, or find out their target"
        )
    classes = None
    if labels is not None:
        classes, found = _numbered(found, labels.names, definition, table)
    return _dataset(table.source, definition, np.concatenate(rows), found, classes)


def _numbered(
    codes: NDArray[np.int64], names: Sequence[str], definition: Definition, table: Table
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the classes in their order, and the position of each row's class in them."""
    target, declared = definition.target.name, definition.target.classes
    if len(names) > _MOST_CLASSES:
        raise TrainingError(
            f"{table.source}: the target {target} has {len(names)} different values, expected at "
            f"most {_MOST_CLASSES} classes; name regressors under versions if it is a number"
        )
    classes = tuple(sorted(names, key=_numbers_first)) if declared is None else declared
    positions = {name: position for position, name in enumerate(classes)}
    for code, name in enumerate(names):
        if name not in positions:
            found = np.flatnonzero(codes == code)
            raise TrainingError(
                f'{table.source}: the target {target} is "{name}" in {found.size} '
                f"of {len(codes)} rows, first in {table.place(found[0])}; target.classes are "
                f"{short_list(classes, name)}: correct the file, or name it there too"
            )
    return classes, np.array([positions[name] for name in names], dtype=np.int64)[codes]


def _dataset(
    source: str,
    definition: Definition,
    rows: Rows,
    targets: Targets,
    class_names: tuple[str, ...] | None,
) -> Dataset:
    columns = tuple(feature.name for feature in definition.inputs)
    named = (*columns, definition.target.name)
    _round_to_float32(rows)
    digest = hashlib.sha256(json.dumps([named, class_names]).encode())
    digest.update(rows.data)
    digest.update(targets.data)
    fingerprint = Fingerprint(
        source=source, n_rows=len(rows), columns=named, sha256=digest.hexdigest()
    )
    return Dataset(columns, rows, targets, class_names, fingerprint)


def _round_to_float32(rows: Rows) -> None:
    """Round rows in place to the values that a runtime hands to a model.

    What was fitted on others would answer a value between two thresholds, one of each precision,
    differently when it serves. Beyond float32, values stay for `checking` to refuse.
    """
    with np.errstate(over="ignore"):
        for column in rows.T:
            rounded = column.astype(np.float32)
            np.copyto(column, rounded, where=np.isfinite(rounded))


def _numbers_first(name: str) -> tuple[bool, float, str]:
    try:
        return False, float(name), name
    except ValueError:
        return True, 0.0, name


def _as_feature_name(column: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")
