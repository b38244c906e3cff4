"""Real versions of fitted scikit-learn estimators, and skops files that were tampered with."""

import io
import json
import warnings
from collections.abc import Callable
from typing import Any
from zipfile import ZipFile

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.datasets import load_diabetes, load_iris

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS, MODEL_SKOPS
from tests.runtimes.versions import CLASSES, COLUMNS, change_json, version_files

DIABETES_COLUMNS = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]


def iris() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    features, classes = load_iris(return_X_y=True)
    return features.astype(np.float32), classes


def diabetes() -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    features, progression = load_diabetes(return_X_y=True)
    return features.astype(np.float32), progression


def fit(estimator: Any) -> Any:
    """Fit an estimator on iris, or on diabetes if it is a regressor."""
    features, truth = iris() if is_classifier(estimator) else diabetes()
    with warnings.catch_warnings():
        # About few iterations, which make these tests fast.
        warnings.simplefilter("ignore")
        return estimator.fit(features.astype(np.float64), truth)


def skops_files(
    estimator: Any,
    classes: list[str] | None = CLASSES,
    features: list[dict[str, Any]] | None = None,
    libraries: dict[str, str] | None = None,
) -> dict[str, bytes]:
    """Return the unsealed files of a version of a fitted estimator, or of skops' bytes of one."""
    content = estimator if isinstance(estimator, bytes) else skops.io.dumps(estimator)
    names = COLUMNS if classes else DIABETES_COLUMNS
    schema = {"features": features or [{"name": name} for name in names], "classes": classes}
    files = {**version_files(), MODEL_SKOPS: content}
    del files[MODEL_ONNX]
    files = change_json(files, METADATA, schema=schema, libraries=libraries or {})
    return change_json(
        files,
        MODEL_SETTINGS,
        implementation="runtimes.scikit_learn.SklearnRuntime",
        parameters={"uri": f"./{MODEL_SKOPS}", "version": "v1"},
    )


def tampered(estimator: Any, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Return the skops file of an estimator after `change` was made to each object it describes."""
    with ZipFile(io.BytesIO(skops.io.dumps(estimator))) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(contents["schema.json"])
    for each in list(_objects_in(schema)):
        change(each)
    written = io.BytesIO()
    with ZipFile(written, "w") as file:
        for name, content in contents.items():
            file.writestr(name, json.dumps(schema) if name == "schema.json" else content)
    return written.getvalue()


def _objects_in(state: Any) -> Any:
    if isinstance(state, dict):
        if "__loader__" in state:
            yield state
        for each in state.values():
            yield from _objects_in(each)
    elif isinstance(state, list):
        for each in state:
            yield from _objects_in(each)
