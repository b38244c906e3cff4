from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline

from abserve.repository import Repository
from training import Definition, fit, read_definition
from training.dataset import Parts
from training.sources import load
from training.splitting import split

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings_folder() -> Path:
    return ROOT / "model-settings"


@pytest.fixture
def definition() -> Definition:
    return read_definition(ROOT / "models", "iris")


@pytest.fixture
def iris_yaml() -> str:
    return (ROOT / "models" / "iris.yaml").read_text()


@pytest.fixture
def parts(definition: Definition) -> Parts:
    return split(load(definition, lambda _: None), definition.split)


@pytest.fixture
def tree(definition: Definition, parts: Parts) -> Pipeline:
    return _fitted(definition, "v1", parts)


@pytest.fixture
def logistic(definition: Definition, parts: Parts) -> Pipeline:
    return _fitted(definition, "v2", parts)


def _fitted(definition: Definition, version: str, parts: Parts) -> Pipeline:
    described = definition.estimator(version)
    pipeline = fit.build(described, definition.inputs, seed=7)
    return fit.fit(pipeline, parts, described, seed=7, report=lambda _: None).pipeline


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(f"file://{tmp_path}/repository")
