"""The same fitted model for every service: published for ours, as it is for the peers."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import joblib
import skops.io

from abserve.artifacts import (
    CHECKSUMS,
    METADATA,
    MODEL_SETTINGS,
    MODEL_SKOPS,
    SETTINGS,
    seal,
    to_json,
)
from abserve.repository import Repository
from benchmarks.cases import FOREST, LINEAR
from training import Definition, Order, read_definition, train
from training.definition import Estimator

ROOT = Path(__file__).parents[1]
NAME, VERSION = "iris", "v1"

_ESTIMATORS = {
    LINEAR: Estimator(estimator="sklearn.linear_model.LogisticRegression", scale=True),
    FOREST: Estimator(
        estimator="sklearn.ensemble.RandomForestClassifier",
        scale=False,
        parameters={"n_estimators": 100},
    ),
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the services are started with: a version's folder, stock MLServer's, and a file."""

    ours: Path
    stock: Path

    @property
    def joblib(self) -> Path:
        return self.stock / "model.joblib"


def prepare(folder: Path, model: str) -> Prepared:
    """Fit one model, publish it for ours, and hand the same fitted pipeline to the peers."""
    described = read_definition(ROOT / "models", NAME)
    definition = Definition.model_validate(
        {**described.model_dump(), "gates": {}, "versions": {VERSION: _ESTIMATORS[model]}}
    )
    repository = Repository((folder / "repository").as_uri())
    train(
        Order(definition, VERSION, VERSION),
        repository,
        ROOT / "model-settings",
        lambda _step, _what: None,
    )
    prepared = Prepared(folder / "repository" / NAME / VERSION, folder / "stock")
    content = (prepared.ours / MODEL_SKOPS).read_bytes()
    # We wrote it a moment ago, so whatever types it names are ours.
    pipeline = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
    prepared.stock.mkdir()
    joblib.dump(pipeline, prepared.joblib)
    _write_stock_settings(prepared)
    return prepared


def copy_many(version: Path, folder: Path, n_models: int) -> None:
    """Fill `folder` with `n_models` models: the one in `version`, and the same by other names."""
    shutil.copytree(version, folder / NAME)
    # Read for the folder that is served; without it MLServer would debug, and start workers.
    shutil.copy(version / SETTINGS, folder)
    files = {path.name: path.read_bytes() for path in version.iterdir() if path.name != CHECKSUMS}
    for i in range(1, n_models):
        name = f"{NAME}-{i}"
        settings = {**json.loads(files[MODEL_SETTINGS]), "name": name}
        metadata = {**json.loads(files[METADATA]), "model": name}
        renamed = {**files, MODEL_SETTINGS: to_json(settings), METADATA: to_json(metadata)}
        (folder / name).mkdir()
        for file, content in seal(renamed).items():
            (folder / name / file).write_bytes(content)


def _write_stock_settings(prepared: Prepared) -> None:
    """Write what stock MLServer needs, at the settings that are its fastest here."""
    model = {
        "name": NAME,
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": f"./{prepared.joblib.name}", "version": VERSION},
    }
    (prepared.stock / "model-settings.json").write_text(json.dumps(model))
    settings = {"debug": False, "parallel_workers": 0}
    (prepared.stock / "settings.json").write_text(json.dumps(settings))
