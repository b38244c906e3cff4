"""Run the exported classifier of one version."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from abserve.errors import ArtifactError
from abserve.schema import Schema

INPUT = "input"
CLASS_INDEX = "class_index"
PROBABILITY = "probability"


class OnnxClassifier:
    """One ONNX session whose tensors are those that its version's schema promises.

    Parameters
    ----------
    path : Path
        The ``model.onnx`` of a version.
    schema : Schema
        What the same version says of its columns and classes.

    Raises
    ------
    ArtifactError
        If the file is no ONNX model, or has other inputs and outputs than the schema promises.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._n_features = len(schema.features)
        self._n_classes = len(schema.classes)
        options = onnxruntime.SessionOptions()
        # A request is answered in microseconds on one thread; handing it to others costs more,
        # and several versions share one machine.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no common ancestor
            raise ArtifactError(f"{path} is no model that can be loaded: {error}") from error
        self._check_tensors()
        self._warm_up()

    def run(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Classify `rows` of shape (n_rows, n_features).

        Returns
        -------
        class_index : ndarray of shape (n_rows,), int64
            Position of the predicted class in the schema's `classes`.
        probability : ndarray of shape (n_rows, n_classes), float32
            Not finite where the features overflow the model's arithmetic.
        """
        class_index, probability = self._session.run([CLASS_INDEX, PROBABILITY], {INPUT: rows})
        return class_index, probability

    def _check_tensors(self) -> None:
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if list(inputs) != [INPUT]:
            raise self._mismatch(f"has inputs {sorted(inputs)}", f"the one input {INPUT!r}")
        self._check(inputs[INPUT], "tensor(float)", (self._n_features,))
        if not {CLASS_INDEX, PROBABILITY} <= outputs.keys():
            raise self._mismatch(
                f"has outputs {sorted(outputs)}", f"{CLASS_INDEX!r} and {PROBABILITY!r}"
            )
        self._check(outputs[CLASS_INDEX], "tensor(int64)", ())
        self._check(outputs[PROBABILITY], "tensor(float)", (self._n_classes,))

    def _check(self, tensor: Any, datatype: str, width: tuple[int, ...]) -> None:
        """Compare a tensor's datatype, and its axes after the first where the file states them."""
        axes = tuple(tensor.shape[1:])
        fits = len(axes) == len(width) and all(
            axis == wanted for axis, wanted in zip(axes, width, strict=True) if type(axis) is int
        )
        if tensor.type != datatype or not fits:
            raise self._mismatch(
                f"declares {tensor.name!r} as {tensor.type} of shape {tensor.shape}",
                f"{datatype} of shape {['n', *width]}",
            )

    def _warm_up(self) -> None:
        try:
            class_index, probability = self.run(np.zeros((1, self._n_features), np.float32))
        except Exception as error:  # onnxruntime's own errors have no common ancestor
            raise ArtifactError(f"{self._path} cannot classify a row: {error}") from error
        if class_index.shape != (1,) or probability.shape != (1, self._n_classes):
            raise self._mismatch(
                f"answers one row with shapes {class_index.shape} and {probability.shape}",
                f"(1,) and (1, {self._n_classes})",
            )

    def _mismatch(self, found: str, expected: str) -> ArtifactError:
        return ArtifactError(
            f"{self._path} {found}; its metadata's schema promises {expected}: train it again"
        )
