"""Serve one version of a regressor of named, numeric columns."""

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


class TabularRegressor(Runtime):
    """Predict a number for rows of named features with one ONNX session.

    Input: as for `TabularClassifier`. Output: ``prediction`` FP32 (n_rows, 1).
    """

    @classmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        schema = metadata.schema_
        if schema.classes is not None:
            raise ArtifactError(
                f"{folder} names classes, so it holds a classifier; serve it with "
                "runtimes.tabular.TabularClassifier"
            )
        session = OnnxSession(folder / MODEL_ONNX, schema)
        return Parts(TableReader(schema), session, outputs_of(schema))
