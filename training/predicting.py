"""What a fitted pipeline says of rows."""

import numpy as np
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from abserve.errors import TrainingError
from training.dataset import Predictions, Rows


def predict(pipeline: Pipeline, rows: Rows) -> Predictions:
    """Return what a fitted pipeline predicts, and with which probabilities if of classes.

    On one thread, for the same reason as in `training.fit.fit`: equal bytes on any machine.

    Raises
    ------
    TrainingError
        If it is a classifier that gives no probabilities.
    """
    with threadpool_limits(1):
        if not is_classifier(pipeline):
            return Predictions(np.asarray(pipeline.predict(rows), dtype=np.float64).ravel(), None)
        if not hasattr(pipeline, "predict_proba"):
            estimator = type(pipeline.named_steps["estimator"]).__name__
            raise TrainingError(
                f"{estimator} gives no probabilities with these parameters; change the "
                "parameters, or take a classifier that always does"
            )
        return Predictions(
            values=np.asarray(pipeline.predict(rows), dtype=np.int64),
            probability=np.asarray(pipeline.predict_proba(rows), dtype=np.float64),
        )
