"""Serve one version of a classifier of named, numeric columns."""

from pathlib import Path

from mlserver import ModelSettings

from abserve.artifacts import MODEL_ONNX
from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from runtimes.onnx_session import OnnxSession
from runtimes.opened import Parts
from runtimes.outputs import outputs_of
from runtimes.runtime import Runtime
from runtimes.tabular.rows import TableReader


class TabularClassifier(Runtime):
    """Classify rows of named features with one ONNX session.

    Input: one tensor ``features`` of any numeric datatype and of shape (n_rows, n_features) in the
    order of the artifact's schema, or one tensor of shape (n_rows, 1) or (n_rows,) per named
    column, which of a category may also be BYTES, its text. At most 10 000 rows; finite numbers
    only, except where the schema allows a missing one.

    Outputs, all unless the request names some: ``label`` BYTES (n_rows, 1); ``class_index`` INT64
    (n_rows, 1); ``probability`` FP32 (n_rows, n_classes), each in [0, 1], rows summing to 1, with
    the names of its columns in the output's parameter ``classes``.
    """

    @classmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        schema = metadata.schema_
        if schema.classes is None:
            raise ArtifactError(
                f"{folder} names no classes, so it holds a regressor; serve it with "
                "runtimes.tabular.TabularRegressor"
            )
        session = OnnxSession(folder / MODEL_ONNX, schema)
        return Parts(TableReader(schema), session, outputs_of(schema))
