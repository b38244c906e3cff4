"""Answer rows with a fitted estimator of scikit-learn.

Rows are float32, as they arrive; estimators get the same numbers as float64, in which they were
fitted, and so answer what the fitted pipeline answers for the rows that were sent. In float32 some
would compute less exactly: a scaler by about 1e-7 of a column's mean.
"""

import threading
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from abserve.errors import ArtifactError
from abserve.schema import Schema
from runtimes.inference import Classified, Regressed, Result, Rows
from runtimes.onnx_session import check_finite
from runtimes.refusals import RefusedError
from runtimes.texts import enumerate_names, shorten

# Their `predict` is the most probable class by definition, of equal ones the first, so that it need
# not be computed again.
_MOST_PROBABLE_IS_PREDICTED = (
    BaggingClassifier,
    CalibratedClassifierCV,
    DecisionTreeClassifier,
    ExtraTreesClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
_LONGEST_REASON = 200

_this_thread = threading.local()


class Fitted(ABC):
    """A fitted estimator that has the columns and classes its version's schema promises.

    Parameters
    ----------
    path : Path
        Where it was loaded from, for messages.
    estimator : Any
        A fitted estimator of scikit-learn.
    schema : Schema
        What the same version says of its columns and classes.

    Raises
    ------
    ArtifactError
        If the estimator has other columns or classes than the schema promises, or cannot answer.
    """

    def __init__(self, path: Path, estimator: Any, schema: Schema) -> None:
        self._path = path
        self._estimator = estimator
        try:
            self._check(schema)
        except ArtifactError:
            raise
        except Exception as error:  # whatever a damaged state makes of scikit-learn's classes
            raise ArtifactError(
                f"{path} cannot compute a row: {type(error).__name__}: {error}; train it again"
            ) from error

    def compute(self, rows: Rows) -> Result:
        """Return what the estimator makes of `rows` of shape (n_rows, n_features).

        Raises
        ------
        RefusedError
            If the features overflow the estimator's arithmetic, or it refuses their values.
        """
        _use_one_thread()
        # scikit-learn's warnings are for whoever fits; here they would come with every request.
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                result = self._answer(rows.astype(np.float64))
            except ValueError as error:
                # Its word for rows that it cannot take: a category that it was not fitted on, a
                # number that overflowed between two steps.
                reason = shorten(str(error).partition("\n")[0], _LONGEST_REASON)
                raise RefusedError(
                    "value",
                    f"the model cannot compute an answer for these features: {reason}; expected "
                    "values like those it was trained on",
                ) from error
        check_finite(result)
        return result

    @abstractmethod
    def _check_kind(self, schema: Schema) -> None: ...

    @abstractmethod
    def _widths(self, schema: Schema) -> list[tuple[int, ...]]:
        """Return the shapes of the arrays of a result, without the axis of rows."""

    @abstractmethod
    def _answer(self, values: NDArray[np.float64]) -> Result: ...

    def _check(self, schema: Schema) -> None:
        try:
            check_is_fitted(self._estimator)
        except NotFittedError as error:
            raise ArtifactError(
                f"{self._path} holds {type(_last_step(self._estimator)).__name__}, which was never "
                "fitted; train it, and publish what was fitted"
            ) from error
        n_features = getattr(self._estimator, "n_features_in_", len(schema.features))
        if n_features != len(schema.features):
            raise self._misfit(f"takes {n_features} columns", f"{len(schema.features)}")
        self._check_kind(schema)
        self._warm_up(schema)

    def _warm_up(self, schema: Schema) -> None:
        row = np.zeros((1, len(schema.features)), np.float32)
        try:
            result = self.compute(row)
        except RefusedError:
            # Zeros may be nothing it can take, such as an unknown category. That says nothing of
            # other rows.
            return
        widths = [array.shape[1:] for array in result]
        if widths != self._widths(schema):
            raise self._misfit(f"answers with shapes {widths}", f"{self._widths(schema)}")
        may_miss = [feature.missing == "allow" for feature in schema.features]
        if not any(may_miss):
            return
        row[:, may_miss] = np.nan
        try:
            self.compute(row)
        except RefusedError as error:
            names = [name for name, may in zip(schema.feature_names, may_miss, strict=True) if may]
            raise self._misfit(
                "cannot answer a row with missing values", f"that {enumerate_names(names)} may miss"
            ) from error

    def _misfit(self, found: str, promised: str) -> ArtifactError:
        return ArtifactError(
            f"{self._path} {found}; its metadata's schema promises {promised}: train it again"
        )


class FittedClassifier(Fitted):
    """A classifier whose classes are 0, 1 and so on: positions in the schema's classes."""

    def _check_kind(self, schema: Schema) -> None:
        self._n_classes = len(schema.classes or ())
        if not (is_classifier(self._estimator) and hasattr(self._estimator, "predict_proba")):
            raise ArtifactError(
                f"{self._path} holds {type(_last_step(self._estimator)).__name__}, which gives no "
                "probabilities, and its metadata's schema names classes; train a classifier that "
                "does, or put it into a CalibratedClassifierCV"
            )
        classes = getattr(self._estimator, "classes_", None)
        numbered = np.arange(self._n_classes)
        # A list is what an estimator of several labels at once has.
        if not (isinstance(classes, np.ndarray) and np.array_equal(classes, numbered)):
            raise self._misfit(
                f"has the classes {shorten(classes)}",
                f"{self._n_classes}, numbered from 0",
            )
        self._predicts_most_probable = isinstance(
            _last_step(self._estimator), _MOST_PROBABLE_IS_PREDICTED
        )

    def _widths(self, schema: Schema) -> list[tuple[int, ...]]:
        return [(), (self._n_classes,)]

    def _answer(self, values: NDArray[np.float64]) -> Result:
        probability = self._estimator.predict_proba(values)
        # Where they differ it is `predict` that answers: with another threshold than one half, or
        # with a margin from which the probabilities were estimated afterwards.
        indices = (
            probability.argmax(axis=1)
            if self._predicts_most_probable
            else np.asarray(self._estimator.predict(values))
        )
        known = (indices >= 0) & (indices < self._n_classes)
        if not known.all():
            raise RefusedError(
                "value",
                f"row {int(np.argmin(known))} (from 0) is of none of the classes to the model; "
                "expected values like those it was trained on",
            )
        return Classified(indices.astype(np.int64), probability.astype(np.float32))


class FittedRegressor(Fitted):
    """A regressor of one number."""

    def _check_kind(self, schema: Schema) -> None:
        if not is_regressor(self._estimator):
            raise ArtifactError(
                f"{self._path} holds {type(_last_step(self._estimator)).__name__}, which is no "
                "regressor, and its metadata's schema names no classes; train a regressor, or "
                "name the classes"
            )

    def _widths(self, schema: Schema) -> list[tuple[int, ...]]:
        return [()]

    def _answer(self, values: NDArray[np.float64]) -> Result:
        found = np.asarray(self._estimator.predict(values))
        # Some keep the shape of the column that they were fitted on.
        one_column = found.ndim > 1 and found.shape[1:] == (1,)
        return Regressed((found[:, 0] if one_column else found).astype(np.float32))


def _last_step(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _use_one_thread() -> None:
    # A row takes gradient boosting less time than waking its threads, which also wait for cores
    # that other versions use. OpenMP counts threads for each thread that calls it, so loading in
    # another one is not the place; BLAS counts them once for the process.
    if not hasattr(_this_thread, "limits"):
        _this_thread.limits = threadpool_limits(limits=1)
