"""Build the pipeline that a definition describes, fit it, and judge it on rows it never saw."""

import inspect
import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, log_loss, recall_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from abserve.errors import TrainingError
from training.data import Classes, Rows
from training.definition import Estimator
from training.estimators import find_classifier


def parameters(described: Estimator, seed: int) -> dict[str, Any]:
    """Return the parameters a classifier is built with.

    They are those described, and the seed for a classifier that takes chances and was given none.
    """
    takes = inspect.signature(find_classifier(described.estimator)).parameters
    seeded = {"random_state": seed} if "random_state" in takes else {}
    return {**seeded, **described.parameters}


def build(described: Estimator, seed: int) -> Pipeline:
    """Return the pipeline, not yet fitted: an optional step ``scale``, then ``estimator``.

    Raises
    ------
    TrainingError
        If the parameters switch probabilities off.
    """
    classifier = find_classifier(described.estimator)(**parameters(described, seed))
    if not hasattr(classifier, "predict_proba"):
        raise TrainingError(
            f"{described.name} gives no probabilities with these parameters; "
            "change the parameters, or take a classifier that always does"
        )
    scale = [("scale", StandardScaler())] if described.scale else []
    return Pipeline([*scale, ("estimator", classifier)])


def fit(pipeline: Pipeline, rows: Rows, classes: Classes) -> None:
    """Fit `pipeline` in place.

    Raises
    ------
    TrainingError
        If the estimator stopped before it had converged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            pipeline.fit(rows, classes)
        except ConvergenceWarning as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(
                f"the estimator did not converge ({reason}); scale the features, or allow more "
                "iterations with its parameter max_iter"
            ) from error


def evaluate(pipeline: Pipeline, rows: Rows, classes: Classes) -> dict[str, float]:
    """Return accuracy, log loss (in nats) and recall averaged over the classes."""
    probability = pipeline.predict_proba(rows)
    predicted = pipeline.predict(rows)
    known = np.arange(probability.shape[1])
    return {
        "accuracy": float(accuracy_score(classes, predicted)),
        "log_loss": float(log_loss(classes, probability, labels=known)),
        "macro_recall": float(
            recall_score(classes, predicted, labels=known, average="macro", zero_division=0)
        ),
    }
