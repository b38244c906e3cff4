"""Real version folders, small enough to be made for each test session."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import is_classifier
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS, SETTINGS, seal, to_json

COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
CLASSES = ["setosa", "versicolor", "virginica"]
SETOSA = [5.1, 3.5, 1.4, 0.2]
VIRGINICA = [6.3, 3.3, 6.0, 2.5]


# What skl2onnx calls the outputs, and what an artifact does.
_RENAMED = {
    "label": "class_index",
    "probabilities": "probability",
    "variable": "prediction",
}


def export(estimator: Any, n_features: int) -> bytes:
    """Return a fitted estimator as an artifact has it, its tensors named as a runtime expects."""
    model = to_onnx(
        estimator,
        initial_types=[("input", FloatTensorType([None, n_features]))],
        options={id(estimator): {"zipmap": False}} if is_classifier(estimator) else None,
        target_opset=17,
    )
    outputs = {output.name: _RENAMED[output.name] for output in model.graph.output}
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [outputs.get(name, name) for name in names]
    for output in model.graph.output:
        output.name = outputs[output.name]
    return bytes(model.SerializeToString())


@cache
def train_onnx() -> bytes:
    features, classes = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    return export(pipeline.fit(features, classes), len(COLUMNS))


def version_files(
    version: str = "v1",
    classes: list[str] = CLASSES,
    columns: list[str] = COLUMNS,
    **settings: Any,
) -> dict[str, bytes]:
    """Return the unsealed files of a version; `settings` go into ``settings.json``."""
    metadata = {
        "model": "iris",
        "version": version,
        "trained_at": "2025-01-02T03:04:05+00:00",
        "git_commit": "0123abc",
        "git_dirty": False,
        "libraries": {},
        "estimator": "LogisticRegression",
        "parameters": {},
        "seed": 0,
        "n_fitted": 150,
        "n_held_out": 0,
        "evaluation": {},
        "parity": {
            "n_rows": 0,
            "n_different_labels": 0,
            "largest_difference": 0.0,
        },
        "schema": {"features": [{"name": name} for name in columns], "classes": classes},
    }
    model_settings = {
        "name": "iris",
        "implementation": "runtimes.tabular.TabularClassifier",
        "platform": "onnx",
        "parameters": {"uri": f"./{MODEL_ONNX}", "version": version},
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, len(columns)]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "class_index", "datatype": "INT64", "shape": [-1, 1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1, len(classes)]},
        ],
    }
    return {
        MODEL_ONNX: train_onnx(),
        METADATA: to_json(metadata),
        MODEL_SETTINGS: to_json(model_settings),
        SETTINGS: to_json({"debug": False, "parallel_workers": 0, **settings}),
    }


def write_version(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, content in seal(files or version_files()).items():
        (folder / name).write_bytes(content)
    return folder


def change_json(files: dict[str, bytes], file: str, /, **changes: Any) -> dict[str, bytes]:
    return {**files, file: to_json({**json.loads(files[file]), **changes})}
