"""Build the pipeline that a definition describes, and fit it.

::

    rows ──> encode or scale ──> estimator ──> predictions
             (where need be)

Numbers are standardised if the definition says so. A category, which is a position in the feature's
categories, becomes one column of 0 and 1 for each of them, since no estimator should think of the
third category as three times the first; a category that is missing is one more.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils import get_tags
from threadpoolctl import threadpool_limits

from abserve.errors import TrainingError
from abserve.metadata import Search
from abserve.schema import Feature
from training.dataset import Parts
from training.definition import Estimator
from training.estimators import find_estimator
from training.predicting import predict
from training.searching import search

__all__ = ["Fitted", "build", "fit", "parameters", "predict"]

_MISSING = -1.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """A fitted pipeline, the parameters its estimator was built with, and how they were found."""

    pipeline: Pipeline
    parameters: Mapping[str, Any]
    search: Search | None


def parameters(described: Estimator, seed: int) -> dict[str, Any]:
    """Return the parameters an estimator is built with.

    They are those described, and the seed for an estimator that takes chances and was given none.
    """
    takes = inspect.signature(find_estimator(described.estimator)).parameters
    seeded = {"random_state": seed} if "random_state" in takes else {}
    return {**seeded, **described.parameters}


def build(described: Estimator, features: Sequence[Feature], seed: int) -> Pipeline:
    """Return the pipeline, not yet fitted: ``encode`` or ``scale`` if need be, then ``estimator``.

    Parameters
    ----------
    described : Estimator
        What to fit, and whether to scale numbers first.
    features : sequence of Feature
        The columns of the rows, in order.
    seed : int
        For an estimator that takes chances.

    Raises
    ------
    TrainingError
        If the values of a number may be missing, and the estimator cannot do without them.
    """
    estimator = find_estimator(described.estimator)(**parameters(described, seed))
    may_miss = [
        feature.name
        for feature in features
        if feature.missing == "allow" and feature.type != "category"
    ]
    if may_miss and not get_tags(estimator).input_tags.allow_nan:
        suffix = "Classifier" if described.kind == "classification" else "Regressor"
        raise TrainingError(
            f"{may_miss[0]} may be missing, and {described.name} takes no missing values; "
            f"take HistGradientBoosting{suffix}, or write `missing: refuse`"
        )
    return Pipeline([*_first_step(described.scale, features), ("estimator", estimator)])


def fit(
    pipeline: Pipeline,
    parts: Parts,
    described: Estimator,
    seed: int,
    report: Callable[[str], None],
) -> Fitted:
    """Fit a pipeline on the rows to fit on, after a search for parameters if one is described.

    Everything is computed on one thread, save where `n_jobs` of the estimator says otherwise: sums
    over threads depend on their number, and equal trainings shall give equal bytes on any machine.

    Parameters
    ----------
    pipeline : Pipeline
        From `build`; it is left as it is.
    parts : Parts
        The held-out rows are not looked at.
    described : Estimator
        What `pipeline` was built from.
    seed : int
        Of the search.
    report : callable
        Told what the search does.

    Raises
    ------
    TrainingError
        If the estimator refuses its parameters or the rows, or stops before it has converged.
    """
    found = None
    rows, targets = parts.fitted_rows, parts.fitted_targets
    pipeline = clone(pipeline)
    with threadpool_limits(1), _refusals(described.name):
        if described.search is not None:
            found = search(_alone(clone(pipeline)), rows, targets, described.search, seed, report)
            pipeline.set_params(
                **{f"estimator__{name}": value for name, value in found.parameters.items()}
            )
        pipeline.fit(rows, targets)
    return Fitted(
        pipeline=_alone(pipeline),
        parameters={**parameters(described, seed), **(found.parameters if found else {})},
        search=found.search if found else None,
    )


def _first_step(scale: bool, features: Sequence[Feature]) -> list[tuple[str, Any]]:
    if all(feature.type != "category" for feature in features):
        return [("scale", StandardScaler())] if scale else []

    def columns(category: bool, missing: str | None = None) -> list[int]:
        return [
            index
            for index, feature in enumerate(features)
            if (feature.type == "category") is category and missing in {None, feature.missing}
        ]

    numbers, known, unsure = columns(False), columns(True, "refuse"), columns(True, "allow")
    # ONNX casts a category to a whole number, and what becomes of NaN then depends on the machine.
    fill = SimpleImputer(strategy="constant", fill_value=_MISSING, keep_empty_features=True)
    encode_unsure = Pipeline([("fill", fill), ("encode", _one_hot(features, unsure, _MISSING))])
    parts = [
        ("numbers", StandardScaler() if scale else "passthrough", numbers),
        ("categories", _one_hot(features, known, 0.0), known),
        ("categories_or_missing", encode_unsure, unsure),
    ]
    return [("encode", ColumnTransformer([part for part in parts if part[2]]))]


def _one_hot(features: Sequence[Feature], columns: list[int], first: float) -> OneHotEncoder:
    return OneHotEncoder(
        categories=[np.arange(first, len(features[index].categories or ())) for index in columns],
        sparse_output=False,
    )


def _alone(pipeline: Pipeline) -> Pipeline:
    """Set the estimator to compute without others beside it.

    A forest adds up the votes of its trees in the order in which threads are done, so that its
    probabilities vary in the last digit; and a server has better things to do with its cores.
    """
    if pipeline.get_params().get("estimator__n_jobs") not in {None, "deprecated"}:
        pipeline.set_params(estimator__n_jobs=None)
    return pipeline


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            yield
        except ConvergenceWarning as error:
            raise TrainingError(
                f"the estimator did not converge ({_first_line(error)}); scale the features, or "
                "allow more iterations with its parameter max_iter"
            ) from error
        except (TypeError, ValueError) as error:
            raise TrainingError(
                f"{name} cannot be fitted ({_first_line(error)}); correct its parameters, or the "
                "data"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
