"""How good a model is on rows it never saw, and how sure that is.

::

    Predictions ─┐                 accuracy, macro_recall, log_loss, brier,
    targets ─────┴─> evaluate ──>  calibration_error, roc_auc, recall of each class
                                   or mean_absolute_error, root_mean_squared_error, r2

Every metric is an `Estimate`: its value, and an interval of 95 % confidence (`intervals` says
how). A metric that has no answer on some rows, such as the area under the ROC curve where all are
of one class, is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from abserve.errors import TrainingError
from abserve.metadata import Estimate, Slice
from abserve.schema import Feature
from training.calibration import Bins, bins_of, calibration_error
from training.dataset import Predictions, Rows, Targets
from training.definition import SliceGate
from training.intervals import (
    Floats,
    explained_share,
    mean_loss,
    mean_of_shares,
    root_mean_square,
    share,
)
from training.roc import roc_auc


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Metrics by name, and the recall of each class by the class's name."""

    metrics: Mapping[str, Estimate]
    class_recall: Mapping[str, Estimate]


def evaluate(
    predictions: Predictions,
    targets: Targets,
    classes: tuple[str, ...] | None,
    positive: str | None,
    seed: int,
) -> Evaluation:
    """Judge predictions by ground truth.

    Parameters
    ----------
    predictions : Predictions
        Of as many rows as there are targets.
    targets : ndarray of shape (n_rows,)
        Ground truth: indices into `classes`, or numbers.
    classes : tuple of str or None
        The names of the classes; None for a regressor.
    positive : str or None
        Of two classes, the one whose probability is judged; by default the second.
    seed : int
        Of the draws that the interval of the calibration error comes from.

    Raises
    ------
    TrainingError
        If a prediction is not finite.

    Examples
    --------
    >>> right = Predictions(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    >>> evaluate(right, np.array([0, 1]), ("no", "yes"), None, seed=7).metrics["accuracy"].value
    1.0
    """
    if classes is None:
        return Evaluation(_answered(_REGRESSION, _regressed(predictions, targets)), {})
    positive_index = _SECOND if positive is None else classes.index(positive)
    classified = _classified(predictions, targets, positive_index, seed)
    recalls = zip(classes, classified.recalls(), strict=True)
    return Evaluation(
        _answered(_CLASSIFICATION, classified),
        {name: recall for name, recall in recalls if recall is not None},
    )


def evaluate_slices(
    predictions: Predictions,
    rows: Rows,
    targets: Targets,
    features: Sequence[Feature],
    slices: Mapping[str, SliceGate],
    classes: tuple[str, ...] | None,
    positive: str | None,
    seed: int,
) -> Mapping[str, Slice]:
    """Judge the predictions of each slice by themselves.

    A slice holds the rows whose feature lies between its minimum and maximum, both included; a row
    without that value is in none.

    Raises
    ------
    TrainingError
        If a slice holds no row, or a metric that it has a bar for has no answer on its rows.
    """
    names = [feature.name for feature in features]
    found = {}
    for name, gate in slices.items():
        column = rows[:, names.index(gate.feature)]
        low = -np.inf if gate.minimum is None else gate.minimum
        high = np.inf if gate.maximum is None else gate.maximum
        inside = (column >= low) & (column <= high)
        n_rows = int(np.count_nonzero(inside))
        if n_rows == 0:
            raise TrainingError(
                f"slice {name} is empty: {gate.feature} lies within [{low}, {high}] in none of "
                f"the {len(rows)} held-out rows; widen the slice or remove it"
            )
        of_slice = _only(predictions, inside)
        metrics = evaluate(of_slice, targets[inside], classes, positive, seed).metrics
        if unanswered := sorted(gate.metrics.keys() - metrics.keys()):
            raise TrainingError(
                f"slice {name} has no {unanswered[0]}: the targets of its {n_rows} held-out rows "
                "are all the same; widen the slice, or put its bar on another metric"
            )
        found[name] = Slice(n_rows=n_rows, metrics=metrics)
    return found


def measure(metric: str, predictions: Predictions, targets: Targets) -> float | None:
    """Return the value of one metric, or None where it has no answer.

    Raises
    ------
    TrainingError
        If a prediction is not finite.
    """
    estimate = (
        _REGRESSION[metric](_regressed(predictions, targets))
        if predictions.probability is None
        else _CLASSIFICATION[metric](_classified(predictions, targets))
    )
    return None if estimate is None else estimate.value


def calibration_bins(predictions: Predictions, targets: Targets, positive: int = 1) -> Bins:
    """Return how often a classifier was right, by the probability it gave.

    Of two classes, that is the probability of the one at position `positive`; of several, that of
    the class that was predicted.
    """
    return _classified(predictions, targets, positive).bins()


_SECOND = 1


@dataclass(frozen=True, slots=True)
class _Regressed:
    errors: Floats
    deviations: Floats


@dataclass(frozen=True, slots=True)
class _Classified:
    predicted: NDArray[np.int64]
    probability: Floats
    targets: NDArray[np.int64]
    positive: int
    seed: int

    @property
    def n_classes(self) -> int:
        return int(self.probability.shape[1])

    @property
    def binary(self) -> bool:
        return self.n_classes == 2  # noqa: PLR2004

    @property
    def right(self) -> NDArray[np.bool_]:
        return np.equal(self.predicted, self.targets)

    def recalls(self) -> list[Estimate | None]:
        """Return the recall of every class, None where no row is of it."""
        n_rows = np.bincount(self.targets, minlength=self.n_classes)
        n_right = np.bincount(self.targets[self.right], minlength=self.n_classes)
        return [share(int(k), int(n)) if n else None for k, n in zip(n_right, n_rows, strict=True)]

    def bins(self) -> Bins:
        if self.binary:
            return bins_of(self.probability[:, self.positive], self.targets == self.positive)
        return bins_of(_of_class(self.probability, self.predicted), self.right)


def _accuracy(judged: _Classified) -> Estimate:
    return share(int(np.count_nonzero(judged.right)), len(judged.targets))


def _macro_recall(judged: _Classified) -> Estimate:
    """Return the mean recall of the classes that the rows are of."""
    return mean_of_shares([recall for recall in judged.recalls() if recall is not None])


def _log_loss(judged: _Classified) -> Estimate:
    """Return the mean of minus the logarithm of the probability given to the true class, in nats.

    A probability of 0 counts as 2.2e-16, the smallest step from 1, and so costs 36 nats: without
    that, one such row would make the loss of all infinite. scikit-learn does the same.
    """
    epsilon = np.finfo(np.float64).eps
    given = _of_class(judged.probability, judged.targets)
    return mean_loss(-np.log(np.clip(given, epsilon, 1 - epsilon)))


def _brier(judged: _Classified) -> Estimate:
    """Return the mean squared distance between the probabilities and the truth.

    Of two classes it is that of the positive one's probability, in [0, 1]; of several the sum over
    all of them, in [0, 2], as Brier defined it ("Verification of Forecasts Expressed in Terms of
    Probability", Monthly Weather Review 78, 1950).
    """
    if judged.binary:
        hit = judged.targets == judged.positive
        return mean_loss((judged.probability[:, judged.positive] - hit) ** 2)
    # sum (p - y)^2 = sum p^2 - 2 p_true + 1, without an array of the truth.
    squares = np.einsum("ij,ij->i", judged.probability, judged.probability)
    return mean_loss(squares - 2 * _of_class(judged.probability, judged.targets) + 1)


def _calibration_error(judged: _Classified) -> Estimate:
    return calibration_error(judged.bins(), judged.seed)


def _roc_auc(judged: _Classified) -> Estimate | None:
    return roc_auc(judged.probability, judged.targets)


def _mean_absolute_error(judged: _Regressed) -> Estimate:
    return mean_loss(np.abs(judged.errors))


def _root_mean_squared_error(judged: _Regressed) -> Estimate:
    return root_mean_square(judged.errors)


def _r2(judged: _Regressed) -> Estimate | None:
    return explained_share(judged.errors, judged.deviations) if judged.deviations.any() else None


_CLASSIFICATION: Mapping[str, Callable[[_Classified], Estimate | None]] = {
    "accuracy": _accuracy,
    "macro_recall": _macro_recall,
    "log_loss": _log_loss,
    "brier": _brier,
    "calibration_error": _calibration_error,
    "roc_auc": _roc_auc,
}
_REGRESSION: Mapping[str, Callable[[_Regressed], Estimate | None]] = {
    "mean_absolute_error": _mean_absolute_error,
    "root_mean_squared_error": _root_mean_squared_error,
    "r2": _r2,
}

_Judged = TypeVar("_Judged")


def _answered(
    measures: Mapping[str, Callable[[_Judged], Estimate | None]], judged: _Judged
) -> Mapping[str, Estimate]:
    found = {name: compute(judged) for name, compute in measures.items()}
    return {name: estimate for name, estimate in found.items() if estimate is not None}


def _regressed(predictions: Predictions, targets: Targets) -> _Regressed:
    numbers = np.asarray(targets, dtype=np.float64)
    _refuse_infinite(predictions.values)
    return _Regressed(errors=numbers - predictions.values, deviations=numbers - numbers.mean())


def _classified(
    predictions: Predictions, targets: Targets, positive: int = _SECOND, seed: int = 0
) -> _Classified:
    probability = predictions.probability
    if probability is None:
        raise TrainingError(
            "there are classes, but the model gives no probabilities; expected a classifier: "
            "change the estimator, or the pipeline to regression"
        )
    _refuse_infinite(probability)
    return _Classified(
        predicted=np.asarray(predictions.values, dtype=np.int64),
        probability=probability,
        targets=np.asarray(targets, dtype=np.int64),
        positive=positive,
        seed=seed,
    )


def _refuse_infinite(predicted: NDArray[np.float64] | NDArray[np.int64]) -> None:
    n_wrong = int(np.count_nonzero(~np.isfinite(predicted)))
    if n_wrong:
        raise TrainingError(
            f"{n_wrong} of the {predicted.size} numbers that the model predicted are not finite; "
            "scale the features, or take another estimator"
        )


def _of_class(probability: Floats, classes: NDArray[np.int64]) -> Floats:
    return probability[np.arange(len(classes)), classes]


def _only(predictions: Predictions, inside: NDArray[np.bool_]) -> Predictions:
    probability = predictions.probability
    return Predictions(
        predictions.values[inside], None if probability is None else probability[inside]
    )
