"""Serve one version of a fitted scikit-learn estimator, without a pickle anywhere."""

from pathlib import Path

import sklearn
from mlserver import ModelSettings
from mlserver_sklearn import SKLearnModel
from mlserver_sklearn.sklearn import WELLKNOWN_MODEL_FILENAMES

from abserve.artifacts import MODEL_SKOPS
from abserve.errors import ArtifactError
from abserve.metadata import Metadata
from abserve.skops_file import read_estimator
from runtimes.opened import Parts
from runtimes.outputs import outputs_of
from runtimes.runtime import Runtime
from runtimes.scikit_learn.fitted import FittedClassifier, FittedRegressor
from runtimes.tabular.rows import TableReader

_DISTRIBUTION = "scikit-learn"


# `Runtime` first: its `load` and `predict` take the place of those that read a pickle.
class SklearnRuntime(Runtime, SKLearnModel):
    """Answer rows of named features with a fitted estimator, loaded from its version's skops file.

    For estimators that ONNX cannot express; others answer 20 to 200 times as fast with
    `runtimes.tabular`. A version whose schema names classes is a classifier, any other a regressor.

    Input: as for `runtimes.tabular.TabularClassifier`.

    Outputs of a classifier, all unless the request names some: ``label`` BYTES (n_rows, 1), what
    the estimator's ``predict`` says, which most estimators define as the most probable class, of
    equal ones the first; ``class_index`` INT64 (n_rows, 1); ``probability`` FP32
    (n_rows, n_classes), each in [0, 1], rows summing to 1, with the names of its columns in the
    output's parameter ``classes``. Of a regressor: ``prediction`` FP32 (n_rows, 1).

    A version is loaded by the release of scikit-learn that trained it, patch releases apart:
    scikit-learn promises of others neither that they load it nor that they answer alike.
    """

    @classmethod
    def open_parts(cls, folder: Path, metadata: Metadata, settings: ModelSettings) -> Parts:
        _refuse_pickles(folder, settings)
        _refuse_other_releases(folder, metadata)
        path = folder / MODEL_SKOPS
        schema = metadata.schema_
        fitted = FittedRegressor if schema.classes is None else FittedClassifier
        estimator = fitted(path, read_estimator(path), schema)
        return Parts(TableReader(schema), estimator, outputs_of(schema))


def _refuse_pickles(folder: Path, settings: ModelSettings) -> None:
    """Refuse what names a pickle, or brings one for a stock runtime to find."""
    uri = settings.parameters.uri if settings.parameters else None
    named = Path(uri or "").name
    pickle = next((name for name in WELLKNOWN_MODEL_FILENAMES if (folder / name).exists()), None)
    if named in {"", MODEL_SKOPS, folder.resolve().name} and pickle is None:
        return
    raise ArtifactError(
        f"{folder} is to be served from {pickle or named}, expected {MODEL_SKOPS}: whoever loads a "
        "pickle runs the code in it, and none is ever loaded; write the estimator with "
        "skops.io.dump, and leave the pickle out"
    )


def _refuse_other_releases(folder: Path, metadata: Metadata) -> None:
    trained = metadata.libraries.get(_DISTRIBUTION)
    if trained is None:
        return
    release, installed = (text.split(".")[:2] for text in (trained, sklearn.__version__))
    if release != installed:
        raise ArtifactError(
            f"{folder} was trained with {_DISTRIBUTION} {trained}, installed is "
            f"{sklearn.__version__}; serve it with {'.'.join(release)}, or train it again"
        )
