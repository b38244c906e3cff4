"""The version that serves now, opened from the model repository to be compared with.

It answers the same held-out rows as the candidate, as a runtime would have it answer. So it has to
be about the same columns and classes; a schema that changed leaves nothing to compare.
"""

from dataclasses import dataclass

import sklearn

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SKOPS, parse_metadata
from abserve.errors import ArtifactError, TrainingError
from abserve.metadata import Metadata
from abserve.repository import Repository
from abserve.schema import Feature, Schema
from training.served import Predict, open_onnx, open_skops

_MOST_LISTED = 8


@dataclass(frozen=True, slots=True)
class ServingVersion:
    """A published version: what it says of itself, and how it answers rows."""

    metadata: Metadata
    predict: Predict

    def check_comparable(self, schema: Schema) -> None:
        """Refuse to compare models of different columns or classes.

        Bounds may differ: they say what a model was made for, not what its columns are.

        Raises
        ------
        TrainingError
            If `schema`, the candidate's, is about something else than this version's.
        """
        of_this = self.metadata.schema_
        if (difference := _difference(of_this, schema)) is not None:
            raise TrainingError(
                f"{self.metadata.model} {self.metadata.version}, which serves now, {difference}, "
                "so the two cannot be compared on the same rows; leave out gates.serving until a "
                "version of the new schema serves, or describe the old one"
            )


def open_version(repository: Repository, model: str, version: str) -> ServingVersion:
    """Open a published version.

    Raises
    ------
    RepositoryError
        If it is not published, or the repository cannot be read.
    ArtifactError
        If its files are not those that were published, or cannot be loaded.
    TrainingError
        If it is served by another release of scikit-learn than the one that is installed.
    """
    name = f"{model} {version}"
    metadata = parse_metadata(repository.read(model, version, METADATA), f"{METADATA} of {name}")
    if metadata.served == "skops":
        _refuse_other_releases(name, metadata)
        content = repository.read(model, version, MODEL_SKOPS)
        return ServingVersion(metadata, open_skops(content, f"{MODEL_SKOPS} of {name}"))
    content = repository.read(model, version, MODEL_ONNX)
    try:
        predict = open_onnx(content, metadata.schema_)
    except Exception as error:  # onnxruntime's own errors have no common ancestor
        raise ArtifactError(
            f"{MODEL_ONNX} of {name} is no model that can be loaded: {error}; publish it again as "
            "a new version"
        ) from error
    return ServingVersion(metadata, predict)


def _refuse_other_releases(name: str, metadata: Metadata) -> None:
    trained = metadata.libraries.get("scikit-learn", sklearn.__version__)
    release, installed = (text.split(".")[:2] for text in (trained, sklearn.__version__))
    if release != installed:
        raise TrainingError(
            f"{name}, which serves now, was trained with scikit-learn {trained}, installed is "
            f"{sklearn.__version__}, which promises neither to load it nor to answer alike; "
            f"install {'.'.join(release)} for this comparison, or leave out gates.serving"
        )


def _difference(old: Schema, new: Schema) -> str | None:
    """Return in words what differs, or None."""
    if old.feature_names != new.feature_names:
        return f"has the columns {_listed(old.feature_names)}, not {_listed(new.feature_names)}"
    for before, after in zip(old.features, new.features, strict=True):
        if _kind(before) != _kind(after):
            return f"takes {before.name} as {_kind(before)}, not as {_kind(after)}"
    if old.classes != new.classes:
        return f"answers with {_answers(old)}, not with {_answers(new)}"
    if old.picture != new.picture:
        return "makes other features of a picture"
    return None


def _kind(feature: Feature) -> str:
    return "numbers" if feature.categories is None else f"one of {_listed(feature.categories)}"


def _answers(schema: Schema) -> str:
    return "a number" if schema.classes is None else f"one of {_listed(schema.classes)}"


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_MOST_LISTED])
    left = len(names) - _MOST_LISTED
    return f"{shown} and {left} more" if left > 0 else shown
