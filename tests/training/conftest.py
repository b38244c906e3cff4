from pathlib import Path

import pytest
from sklearn.pipeline import Pipeline

from abserve.repository import Repository
from training import Definition, data, fit, read_definition

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
def parts(definition: Definition) -> data.Parts:
    return data.split(data.load(definition.data), definition.split)


@pytest.fixture
def tree(definition: Definition, parts: data.Parts) -> Pipeline:
    pipeline = fit.build(definition.estimator("v1"), seed=7)
    fit.fit(pipeline, parts.fitted_rows, parts.fitted_classes)
    return pipeline


@pytest.fixture
def logistic(definition: Definition, parts: data.Parts) -> Pipeline:
    pipeline = fit.build(definition.estimator("v2"), seed=7)
    fit.fit(pipeline, parts.fitted_rows, parts.fitted_classes)
    return pipeline


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(f"file://{tmp_path}/repository")
