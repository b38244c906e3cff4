"""Turn a fitted pipeline into the files that are served and audited, and prove them equal.

::

    fitted pipeline ─┬─> model.skops   always: for audit, and to be served if ONNX cannot
                     └─> model.onnx    served, where ONNX can express the pipeline

What ONNX cannot express at all is served from the skops file, and says so. What it expresses with
other answers is not: that is for the gate of parity to refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import skops.io
from onnx.checker import ValidationError
from onnx.shape_inference import InferenceError
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from abserve.artifacts import MODEL_ONNX, MODEL_SKOPS
from abserve.errors import ArtifactError, TrainingError
from abserve.metadata import Parity
from abserve.schema import Schema
from training.dataset import Parts, Rows
from training.definition import Bar
from training.edges import edge_rows
from training.onnx_graph import GraphTooLargeError, to_onnx
from training.parity import compare
from training.served import Predict, UnfitShapeError, open_onnx, open_skops

_LONGEST_REASON = 160

# What says that something has no ONNX form, and nothing else, so that our own mistakes do not pass
# for it. skl2onnx's errors are RuntimeErrors, those of onnxruntime have no common ancestor.
_INEXPRESSIBLE = (
    RuntimeError,
    GraphTooLargeError,
    InferenceError,
    ValidationError,
    UnfitShapeError,
    onnxruntime_errors.Fail,
    onnxruntime_errors.InvalidArgument,
    onnxruntime_errors.InvalidGraph,
    onnxruntime_errors.NotImplemented,
    onnxruntime_errors.RuntimeException,
)


@dataclass(frozen=True, slots=True)
class Exported:
    """A version's model as files, and as it is served.

    `served` says which of `files` a runtime loads, `predict` answers as that runtime will, and
    `parity` how closely that repeats what was fitted. `notes` are for whoever reads the card.
    """

    files: Mapping[str, bytes]
    served: Literal["onnx", "skops"]
    parity: Parity
    notes: tuple[str, ...]
    predict: Predict

    @property
    def size_bytes(self) -> int:
        """How large the file is that a runtime loads."""
        return len(self.files[MODEL_ONNX if self.served == "onnx" else MODEL_SKOPS])


class _InexpressibleError(Exception):
    """ONNX has no form of a pipeline; the message says what was missing."""


def export(pipeline: Pipeline, schema: Schema, parts: Parts, seed: int, allowed: Bar) -> Exported:
    """Return a fitted pipeline as the files of a version.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with class indices or numbers as its targets. Equal ones give equal bytes in
        ``model.onnx``.
    schema : Schema
        Its columns and classes.
    parts : Parts
        The rows that the two models are compared on, with those at the edges of the schema.
    seed : int
        Of what is drawn of the edges.
    allowed : Bar
        The gate of parity, which says when labels differ; see `training.parity.compare`.

    Raises
    ------
    TrainingError
        If neither ONNX can express the pipeline nor the scikit-learn runtime load it, or the fitted
        model cannot answer rows that the schema allows.
    """
    edges = edge_rows(schema, parts.fitted_rows, seed)
    files = {MODEL_SKOPS: bytes(skops.io.dumps(pipeline))}
    served: Literal["onnx", "skops"] = "onnx"
    notes: tuple[str, ...] = ()
    try:
        files[MODEL_ONNX], predict = _express(pipeline, schema, edges)
    except _InexpressibleError as error:
        served = "skops"
        predict = _serve_fitted(files[MODEL_SKOPS], error)
        notes = (
            f"ONNX cannot express {type(pipeline.steps[-1][1]).__name__}, so the scikit-learn "
            f"runtime serves {MODEL_SKOPS}, which takes longer to answer. The reason was {error}",
        )
    with threadpool_limits(1):
        parity = compare(predict, pipeline, parts, edges, allowed.at_most)
    return Exported(files, served, parity, notes, predict)


def _express(pipeline: Pipeline, schema: Schema, rows: Rows) -> tuple[bytes, Predict]:
    try:
        content = to_onnx(pipeline, schema)
        predict = open_onnx(content, schema)
        # There are graphs that load and do not run, or not for a single row.
        predict(rows[:1])
        predict(rows)
    except _INEXPRESSIBLE as error:
        raise _InexpressibleError(f"{type(error).__name__}: {_first_words(error)}") from error
    return content, predict


def _serve_fitted(model_skops: bytes, inexpressible: _InexpressibleError) -> Predict:
    try:
        return open_skops(model_skops, MODEL_SKOPS)
    except ArtifactError as error:
        raise TrainingError(
            f"nothing can serve this: ONNX cannot express it ({inexpressible}), and {error}"
        ) from error


def _first_words(error: Exception) -> str:
    sentence = " ".join(str(error).split()).partition(". ")[0]
    return sentence if len(sentence) <= _LONGEST_REASON else f"{sentence[:_LONGEST_REASON]}..."
