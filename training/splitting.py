"""Which rows an estimator is fitted on, and which it is judged by.

A seed decides, and every class is held out alike. A row that is held out and has a twin among the
fitted ones, equal in every feature, would be judged by memory: unless the definition says what
becomes of such a leak, it is refused. Rows are counted from 1, without the header of a file.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from abserve.errors import TrainingError
from training.checking import validate
from training.dataset import Dataset, Parts, Rows
from training.definition import Definition, Split
from training.sources import load

_Indices = NDArray[np.int64]


def split(dataset: Dataset, by: Split) -> Parts:
    """Hold out a fraction of the rows, of every class alike where there are classes.

    Raises
    ------
    TrainingError
        If a class, or everything, would be missing on either side; or if rows are equal in all
        features on both sides and `by` does not say what becomes of them.
    """
    fitted, held_out = _divide(dataset, by)
    if by.duplicates != "keep":
        twins = _twins(dataset.rows, fitted, held_out)
        if len(twins) and by.duplicates == "refuse":
            raise TrainingError(_leak(twins, len(held_out)))
        moved = np.isin(held_out, twins[:, 1])
        fitted, held_out = np.concatenate([fitted, held_out[moved]]), held_out[~moved]
    _refuse_absent(dataset, by, fitted, held_out)
    return Parts(
        fitted_rows=dataset.rows[fitted],
        fitted_targets=dataset.targets[fitted],
        held_out_rows=dataset.rows[held_out],
        held_out_targets=dataset.targets[held_out],
    )


def held_out(definition: Definition) -> tuple[Rows, list[str] | list[float]]:
    """Return the rows that no version of a model was fitted on, and what they are.

    Returns
    -------
    rows : ndarray of shape (n_rows, n_features), float64
        In the order of the definition's features.
    truths : list of str or float
        Each row's ground truth: the name of its class, or a number.

    Raises
    ------
    TrainingError
        If the data and the definition do not fit together.
    """
    dataset = load(definition, lambda _: None)
    validate(dataset, definition)
    parts = split(dataset, definition.split)
    targets = parts.held_out_targets.tolist()
    if dataset.class_names is None:
        return parts.held_out_rows, targets
    return parts.held_out_rows, [dataset.class_names[index] for index in targets]


def _divide(dataset: Dataset, by: Split) -> tuple[_Indices, _Indices]:
    try:
        fitted, held_out = train_test_split(
            np.arange(len(dataset.rows)),
            test_size=by.held_out,
            stratify=None if dataset.class_names is None else dataset.targets,
            random_state=by.seed,
        )
    except ValueError as error:
        raise TrainingError(
            f"holding out {by.held_out} of {len(dataset.rows)} rows leaves too few on one side "
            f"({' '.join(str(error).split())}); change split.held_out, or add rows"
        ) from error
    return fitted, held_out


def _twins(rows: Rows, fitted: _Indices, held_out: _Indices) -> NDArray[np.int64]:
    """Return the pairs of a fitted and a held-out row that are equal: shape (n_pairs, 2).

    Every held-out row is in one pair at most.
    """
    # Equal numbers have equal bytes but for zero, which has two signs, and NaN, which has many.
    plain = rows + 0.0
    plain[np.isnan(plain)] = np.nan
    keys = plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).ravel()
    # Backwards, so that of equal rows the first is kept.
    ordered = np.sort(fitted)[::-1]
    fitted_with = dict(zip(keys[ordered].tolist(), ordered.tolist(), strict=True))
    pairs = [
        (fitted_with[key], index)
        for key, index in zip(keys[held_out].tolist(), held_out.tolist(), strict=True)
        if key in fitted_with
    ]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _leak(twins: NDArray[np.int64], n_held_out: int) -> str:
    first, second = sorted(min(twins.tolist(), key=sorted))
    return (
        f"{len(twins)} of {n_held_out} held-out rows are equal in all features to one that is "
        f"fitted on, first rows {first + 1} and {second + 1}: the model would be judged on what "
        "it has seen, a leak; remove the duplicates, or fit on them as well with "
        "`split: {duplicates: together}`, or, if they are different things that were measured "
        "alike, write `split: {duplicates: keep}`"
    )


def _refuse_absent(dataset: Dataset, by: Split, fitted: _Indices, held_out: _Indices) -> None:
    """Refuse a division in which one side has no row, or no row of a class."""
    for side, indices in (("fit on", fitted), ("judge by", held_out)):
        if not indices.size:
            raise TrainingError(
                f"holding out {by.held_out} of {len(dataset.rows)} rows leaves none to {side}; "
                "change split.held_out, or add rows"
            )
        if dataset.class_names is None:
            continue
        counts = np.bincount(dataset.targets[indices], minlength=len(dataset.class_names))
        if not counts.all():
            absent = int(np.argmin(counts))
            raise TrainingError(
                f"holding out {by.held_out} of {np.count_nonzero(dataset.targets == absent)} rows "
                f"of the class {dataset.class_names[absent]} leaves none to {side}; "
                "change split.held_out, or add rows of that class"
            )
