"""Serve one version of a classifier of pictures."""

from pathlib import Path

from mlserver import ModelSettings

from abserve.artifacts import MODEL_ONNX
from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from runtimes.image.pictures import PictureReader
from runtimes.image.top import TopLabelOutput, TopProbabilityOutput
from runtimes.onnx_session import OnnxSession
from runtimes.opened import Parts
from runtimes.outputs import Outputs, outputs_of
from runtimes.runtime import Runtime
from runtimes.texts import shorten

TOP_K = "top_k"
USUAL_TOP_K = 5


class ImageClassifier(Runtime):
    """Classify pictures with one ONNX session.

    Input: one tensor ``image`` BYTES of shape (n_pictures,) or (n_pictures, 1), each element one
    PNG or JPEG file: its bytes in gRPC and in REST's binary form, standard base64 in JSON (and
    anywhere else, if need be). At most 256 pictures, fewer if the schema's are large; as many
    pixels as 4096 x 4096 in each, and twice that in all. The schema says what a picture is resized
    to, and to which numbers its pixels are mapped.

    Outputs, all unless the request names some: ``label`` BYTES (n_pictures, 1); ``class_index``
    INT64 (n_pictures, 1); ``probability`` FP32 (n_pictures, n_classes), each in [0, 1], rows
    summing to 1, with the names of its columns in the output's parameter ``classes``; ``top_label``
    BYTES (n_pictures, k) and ``top_probability`` FP32 (n_pictures, k), the most probable classes,
    the first of them first, and of equal ones the one that comes first in the schema. k is
    ``parameters.extra.top_k`` of the model settings, or else 5, or the number of classes if there
    are fewer.
    """

    @classmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        schema = metadata.schema_
        if schema.picture is None:
            raise ArtifactError(
                f"{folder} has no picture in its metadata's schema, so its features are columns; "
                "serve it with runtimes.tabular, or say how a picture becomes features and train "
                "it again"
            )
        if schema.classes is None:
            raise ArtifactError(
                f"{folder} names no classes, so it holds a regressor; "
                "runtimes.image.ImageClassifier serves classifiers only"
            )
        k = _top_k(folder, len(schema.classes), settings)
        outputs = [
            *outputs_of(schema).all,
            TopLabelOutput(schema.classes, k),
            TopProbabilityOutput(k),
        ]
        session = OnnxSession(folder / MODEL_ONNX, schema)
        return Parts(PictureReader(schema.picture, schema.features), session, Outputs(outputs))


def _top_k(folder: Path, n_classes: int, settings: ModelSettings) -> int:
    extra = settings.parameters.extra if settings.parameters else None
    k = (extra or {}).get(TOP_K, min(USUAL_TOP_K, n_classes))
    if type(k) is not int or not 1 <= k <= n_classes:
        raise ArtifactError(
            f"the model settings of {folder} have parameters.extra.{TOP_K} {shorten(k)}; expected "
            f"a whole number from 1 to {n_classes}, the number of classes"
        )
    return k
