"""Run the exported model of one version: what both kinds of estimators have in common."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from abserve.errors import ArtifactError
from abserve.schema import Schema
from runtimes.inference import Classified, Regressed, Result, Rows
from runtimes.refusals import RefusedError

INPUT = "input"
CLASS_INDEX = "class_index"
PROBABILITY = "probability"
PREDICTION = "prediction"

# numpy takes a microsecond for each look at an array, however short.
_FEW = 16


class OnnxSession:
    """One ONNX session whose tensors are those that its version's schema promises.

    Parameters
    ----------
    path : Path
        The ``model.onnx`` of a version: ``input`` FLOAT (n_rows, n_features); for a classifier
        ``class_index`` INT64 (n_rows,) and ``probability`` FLOAT (n_rows, n_classes); for a
        regressor ``prediction`` FLOAT (n_rows, 1).
    schema : Schema
        What the same version says of its columns and classes.

    Raises
    ------
    ArtifactError
        If the file is no ONNX model, or has other inputs and outputs than the schema promises.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._promised: dict[str, tuple[str, tuple[int, ...]]] = (
            {PREDICTION: ("tensor(float)", (1,))}
            if schema.classes is None
            else {
                CLASS_INDEX: ("tensor(int64)", ()),
                PROBABILITY: ("tensor(float)", (len(schema.classes),)),
            }
        )
        self._names = list(self._promised)
        self._n_features = len(schema.features)
        options = onnxruntime.SessionOptions()
        # A request is answered in microseconds on one thread; handing it to others costs more,
        # and several versions share one machine.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # The arena would keep the largest batch's memory for good, in every version that is loaded.
        options.enable_cpu_mem_arena = False
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own errors have no common ancestor
            raise ArtifactError(f"{path} is no model that can be loaded: {error}") from error
        self._check_tensors()
        self._warm_up()

    def compute(self, rows: Rows) -> Result:
        """Return what the model makes of `rows` of shape (n_rows, n_features).

        Raises
        ------
        RefusedError
            If the features overflow the model's arithmetic.
        """
        found = self._session.run(self._names, {INPUT: rows})
        result = (
            Classified(found[0], found[1])
            if len(found) > 1
            else Regressed(found[0].reshape(len(rows)))
        )
        check_finite(result)
        return result

    def _check_tensors(self) -> None:
        inputs = {tensor.name: tensor for tensor in self._session.get_inputs()}
        outputs = {tensor.name: tensor for tensor in self._session.get_outputs()}
        if list(inputs) != [INPUT]:
            raise self._mismatch(f"has inputs {sorted(inputs)}", f"the one input {INPUT!r}")
        self._check(inputs[INPUT], "tensor(float)", (self._n_features,))
        if not self._promised.keys() <= outputs.keys():
            raise self._mismatch(
                f"has outputs {sorted(outputs)}", " and ".join(map(repr, self._promised))
            )
        for name, (datatype, width) in self._promised.items():
            self._check(outputs[name], datatype, width)

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
        row = np.zeros((1, self._n_features), np.float32)
        try:
            found = self._session.run(self._names, {INPUT: row})
        except Exception as error:  # onnxruntime's own errors have no common ancestor
            raise ArtifactError(f"{self._path} cannot compute a row: {error}") from error
        shapes = [array.shape for array in found]
        promised = [(1, *width) for _, width in self._promised.values()]
        if shapes != promised:
            raise self._mismatch(
                f"answers one row with shapes {' and '.join(map(str, shapes))}",
                " and ".join(map(str, promised)),
            )

    def _mismatch(self, found: str, expected: str) -> ArtifactError:
        return ArtifactError(
            f"{self._path} {found}; its metadata's schema promises {expected}: train it again"
        )


def check_finite(result: Result) -> None:
    """Refuse what has no answer: features so large that the model's arithmetic overflowed."""
    numbers: NDArray[np.float32] = result[-1]
    # A sum is finite only if all its terms are; the other way round, terms may add up to infinity.
    total = sum(numbers.ravel().tolist()) if numbers.size <= _FEW else numbers.sum()
    if math.isfinite(total):
        return
    finite = np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
    if not finite.all():
        raise RefusedError(
            "value",
            f"the features of row {int(np.argmin(finite))} (from 0) are too large for the model "
            "to compute an answer; expected values of the size it was trained on",
        )
