"""The regressor on ONNX Runtime, with a real model of scikit-learn's diabetes data."""

import asyncio
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlserver.repository.load import load_model_settings
from mlserver.types import InferenceRequest, RequestInput
from sklearn.linear_model import Ridge

from abserve.artifacts import METADATA, MODEL_ONNX, MODEL_SETTINGS
from abserve.errors import ArtifactError
from runtimes.tabular import TabularRegressor
from tests.runtimes.conftest import make_runtime
from tests.runtimes.contract import RuntimeContract
from tests.runtimes.skops_versions import DIABETES_COLUMNS, diabetes
from tests.runtimes.versions import change_json, export, version_files, write_version

ROWS, PROGRESSION = diabetes()


@cache
def fitted() -> Ridge:
    return Ridge(alpha=0.1).fit(ROWS.astype(np.float64), PROGRESSION)


def regressor_files(classes: list[str] | None = None) -> dict[str, bytes]:
    schema = {"features": [{"name": name} for name in DIABETES_COLUMNS], "classes": classes}
    files = {**version_files(), MODEL_ONNX: export(fitted(), len(DIABETES_COLUMNS))}
    files = change_json(files, METADATA, schema=schema)
    return change_json(files, MODEL_SETTINGS, implementation="runtimes.tabular.TabularRegressor")


def load(folder: Path) -> TabularRegressor:
    return TabularRegressor(load_model_settings(str(folder / MODEL_SETTINGS)))


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> TabularRegressor:
    loaded = load(write_version(tmp_path_factory.mktemp("diabetes") / "v1", regressor_files()))
    loaded.ready = asyncio.run(loaded.load())
    return loaded


def ask(rows: Any) -> InferenceRequest:
    tensor = RequestInput(
        name="features", datatype="FP32", shape=[len(rows), 10], data=np.ravel(rows).tolist()
    )
    return InferenceRequest(inputs=[tensor])


@pytest.fixture
def request_() -> InferenceRequest:
    return ask(ROWS[:1])


class TestContract(RuntimeContract):
    pass


async def test_predicts_what_the_fitted_estimator_does(runtime: TabularRegressor) -> None:
    response = await runtime.predict(ask(ROWS))
    output = response.outputs[0]
    assert (output.name, output.datatype, output.shape) == ("prediction", "FP32", [len(ROWS), 1])
    assert output.data.root == pytest.approx(fitted().predict(ROWS), rel=1e-4)


def test_both_forms_of_json_hold_the_same_numbers(runtime: TabularRegressor) -> None:
    request = ask(ROWS[:3])
    answer = runtime.infer_json(request.model_dump_json(exclude_none=True).encode())
    assert answer is not None
    in_json = json.loads(answer[0])["outputs"][0]["data"]
    assert in_json == asyncio.run(runtime.predict(request)).outputs[0].data.root


async def test_ground_truth_is_measured(runtime: TabularRegressor) -> None:
    response = await runtime.predict(ask(ROWS[:2]))
    predicted = response.outputs[0].data.root
    counted = await runtime.feedback(
        {
            "feedback_token": response.parameters.feedback_token,
            "ground_truth": [predicted[0] + 2.0, None],
        }
    )
    assert counted["counted"] == 1
    assert counted["mean_absolute_error"] == pytest.approx(2.0, abs=1e-3)


async def test_a_classifier_is_not_served_as_a_regressor(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1", regressor_files(classes=["a", "b"]))
    with pytest.raises(ArtifactError, match=r"serve it with runtimes\.tabular\.TabularClassifier"):
        await load(folder).load()


async def test_a_regressor_is_not_served_as_a_classifier(tmp_path: Path) -> None:
    folder = write_version(tmp_path / "v1", regressor_files())
    with pytest.raises(ArtifactError, match=r"serve it with runtimes\.tabular\.TabularRegressor"):
        await make_runtime(folder).load()
