"""Real versions of ensembles, whose members' answers are known beforehand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS, seal
from tests.runtimes.skops_versions import skops_files
from tests.runtimes.versions import CLASSES, COLUMNS, change_json, version_files

Files = dict[str, bytes]


def saying(*counts: int) -> Files:
    """Return a classifier whose probabilities, for any row, are these counts by their sum."""
    classes = np.repeat(np.arange(len(counts)), counts)
    return named(skops_files(DummyClassifier().fit(np.zeros((len(classes), 4)), classes)), counts)


def predicting(number: float) -> Files:
    """Return a regressor that predicts this number for any row."""
    dummy = DummyRegressor(strategy="constant", constant=number).fit(np.zeros((1, 4)), [number])
    features = [{"name": name} for name in COLUMNS]
    return named(skops_files(dummy, None, features), number)


def named(files: Files, what: Any) -> Files:
    """Return a version of a model that is called after what it says."""
    name = f"says {what}"
    files = change_json(files, METADATA, model=name)
    return change_json(files, MODEL_SETTINGS, name=name)


def with_schema(files: Files, **schema: Any) -> Files:
    usual = {"features": [{"name": name} for name in COLUMNS], "classes": CLASSES}
    return change_json(files, METADATA, schema={**usual, **schema})


def ensemble_files(
    members: Mapping[str, Files], method: Any = "mean", **schema: Any
) -> dict[str, bytes]:
    """Return the unsealed files of a version of an ensemble of sealed members."""
    files = with_schema(version_files(), **schema)
    del files[MODEL_ONNX]
    parameters = {"uri": ".", "version": "v1", "extra": {"method": method}}
    files = change_json(
        files,
        MODEL_SETTINGS,
        implementation="runtimes.ensemble.Ensemble",
        parameters=parameters,
    )
    return {
        **{
            f"members/{name}/{file}": content
            for name, member in members.items()
            for file, content in seal(member).items()
        },
        **files,
    }


def write_ensemble(folder: Path, files: Files) -> Path:
    for name, content in seal(files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder
