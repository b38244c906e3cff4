"""Compare the model as it is served with the fitted one, request by request.

The fitted model is given the rows as they are, the served one as they reach a runtime: what
rounding to float32 does to an answer is part of the difference.
"""

import math

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from abserve.errors import TrainingError
from abserve.metadata import Parity
from training.dataset import Parts, Predictions, Rows, Targets
from training.predicting import predict as predict_fitted
from training.served import Predict, blocks


def compare(
    served: Predict, pipeline: Pipeline, parts: Parts, edge_rows: Rows, at_most: float | None
) -> Parity:
    """Return how closely a model as it is served repeats the fitted pipeline.

    Parameters
    ----------
    served : callable
        Answers as a runtime does.
    pipeline : Pipeline
        What was fitted.
    parts : Parts
        Whose held-out rows are compared, and whose fitted targets say how far a regressor's numbers
        spread.
    edge_rows : ndarray of shape (n_edge_rows, n_features)
        Compared as well.
    at_most : float or None
        By how much a probability may differ, if at all. Two labels are different only if the fitted
        probabilities of the two are further apart than twice that: closer ones are as good as
        equal, and which comes first is left to rounding.

    Returns
    -------
    Parity
        The largest difference is NaN if the served model answers with what is no number.

    Raises
    ------
    TrainingError
        If the fitted model cannot answer a row that its schema allows.
    """
    tie = 2 * (at_most or 0.0)
    spread = float(np.std(parts.fitted_targets))
    n_different = 0
    largest = [0.0]
    for rows in (*blocks(parts.held_out_rows), *blocks(edge_rows)):
        expected, found = _fitted_answers(pipeline, rows), served(rows)
        if expected.probability is None or found.probability is None:
            largest.append(_largest_relative(found.values, expected.values, spread))
        else:
            largest.append(float(np.max(np.abs(found.probability - expected.probability))))
            n_different += _n_different_labels(found, expected, expected.probability, tie)
    return Parity(
        n_rows=len(parts.held_out_rows),
        n_edge_rows=len(edge_rows),
        n_different_labels=n_different,
        # Not `max`, which passes over what is no number.
        largest_difference=float(np.max(largest)),
    )


def _fitted_answers(pipeline: Pipeline, rows: Rows) -> Predictions:
    try:
        answers = predict_fitted(pipeline, rows)
    except (ValueError, LookupError) as error:  # scikit-learn's words for rows it cannot take
        raise _unanswered(str(error).partition("\n")[0]) from error
    numbers = answers.values if answers.probability is None else answers.probability
    if not np.isfinite(numbers).all():
        raise _unanswered("what it answers is no number")
    return answers


def _unanswered(reason: str) -> TrainingError:
    return TrainingError(
        f"the fitted model cannot answer rows that the schema allows: {reason}; narrow what the "
        "features say of bounds, categories and missing values, or train an estimator that can"
    )


def _largest_relative(found: Targets, expected: Targets, spread: float) -> float:
    """Return the largest difference relative to the spread, or to the number if that is larger.

    Where numbers are far from zero and close to each other, the digits of float32 end before those
    of the spread do.
    """
    scale = np.maximum(np.abs(expected), max(spread, math.ulp(0.0)))
    return float(np.max(np.abs(found - expected) / scale))


def _n_different_labels(
    found: Predictions, expected: Predictions, probability: NDArray[np.float64], tie: float
) -> int:
    differ = np.flatnonzero(found.values != expected.values)
    between = (
        probability[differ, expected.values[differ]] - probability[differ, found.values[differ]]
    )
    return int(np.count_nonzero(~(np.abs(between) <= tie)))
