import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlserver.repository.load import load_model_settings
from mlserver.types import InferenceRequest, RequestInput

from abserve.artifacts import MODEL_SETTINGS
from runtimes.tabular import TabularClassifier
from tests.runtimes.versions import SETOSA, write_version


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    # What a session refuses by the thousand would bury what it says itself.
    patch.setenv("ABSERVE_REQUEST_LOG", "none")
    if "ABSERVE_FEEDBACK_KEY" not in os.environ:
        patch.setenv("ABSERVE_FEEDBACK_KEY", "a key that only tests know")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def version_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("iris") / "v1")


def make_runtime(folder: Path) -> TabularClassifier:
    return TabularClassifier(load_model_settings(str(folder / MODEL_SETTINGS)))


@pytest.fixture(scope="session")
def runtime(version_folder: Path) -> TabularClassifier:
    loaded = make_runtime(version_folder)
    loaded.ready = asyncio.run(loaded.load())
    return loaded


@pytest.fixture
def request_() -> InferenceRequest:
    tensor = RequestInput(name="features", datatype="FP32", shape=[1, 4], data=SETOSA)
    return InferenceRequest(inputs=[tensor])
