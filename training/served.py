"""Open the file of a version that is served, and predict as a runtime does.

A runtime gets float32: whatever precision a request had, this is where it ends. ONNX computes with
it; scikit-learn gets the same numbers as float64, in which it was fitted. Answers are float32 too.
"""

from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from abserve.errors import TrainingError
from abserve.schema import Schema
from abserve.skops_file import load_estimator
from training.dataset import Predictions, Rows
from training.onnx_graph import CLASS_INDEX, INPUT, PREDICTION, PROBABILITY
from training.predicting import predict as predict_fitted

Predict = Callable[[Rows], Predictions]
"""Answers rows of shape (n_rows, n_features), however many."""

# As many as a request may have. Some estimators need memory of rows times fitted rows.
_BLOCK_ROWS = 10_000


class UnfitShapeError(TrainingError):
    """An exported model answers in another shape than runtimes expect."""


def blocks(rows: Rows) -> Iterator[Rows]:
    """Yield rows in blocks that any estimator has memory for."""
    for start in range(0, len(rows), _BLOCK_ROWS):
        yield rows[start : start + _BLOCK_ROWS]


def open_onnx(content: bytes, schema: Schema) -> Predict:
    """Return how the exported model in `content` answers, on one thread as in a runtime.

    Raises
    ------
    UnfitShapeError
        When it is called, if it answers in other shapes than the schema promises.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Errors alone, and those are raised.
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    classes = schema.classes

    def run(names: list[str], rows: Rows) -> list[NDArray[np.float32]]:
        answers: list[NDArray[np.float32]] = session.run(names, {INPUT: rows.astype(np.float32)})
        return answers

    def regress(rows: Rows) -> Predictions:
        (prediction,) = run([PREDICTION], rows)
        _check_shape(prediction, (len(rows), 1))
        return Predictions(prediction[:, 0].astype(np.float64), None)

    def classify(rows: Rows) -> Predictions:
        class_index, probability = run([CLASS_INDEX, PROBABILITY], rows)
        _check_shape(class_index, (len(rows),))
        _check_shape(probability, (len(rows), len(classes or ())))
        return Predictions(class_index.astype(np.int64), probability.astype(np.float64))

    return _in_blocks(regress if classes is None else classify)


def open_skops(content: bytes, name: str) -> Predict:
    """Return how the fitted pipeline in `content` answers when the scikit-learn runtime serves it.

    Raises
    ------
    ArtifactError
        If that runtime would not load it. `name` is what the message calls it.
    """
    estimator = load_estimator(content, name)

    def answer(rows: Rows) -> Predictions:
        found = predict_fitted(estimator, _as_float32(rows))
        if found.probability is None:
            return Predictions(_as_float32(found.values), None)
        return Predictions(found.values, _as_float32(found.probability))

    return _in_blocks(answer)


def _in_blocks(answer: Predict) -> Predict:
    def predict(rows: Rows) -> Predictions:
        found = [answer(block) for block in blocks(rows)]
        probability = [each.probability for each in found if each.probability is not None]
        return Predictions(
            np.concatenate([each.values for each in found]),
            np.concatenate(probability) if probability else None,
        )

    return predict


def _as_float32(numbers: NDArray[np.generic]) -> NDArray[np.float64]:
    return numbers.astype(np.float32).astype(np.float64)


def _check_shape(found: NDArray[np.generic], expected: tuple[int, ...]) -> None:
    if found.shape != expected:
        raise UnfitShapeError(
            f"the exported model answers {expected[0]} rows with shape {found.shape}, expected "
            f"{expected}"
        )
