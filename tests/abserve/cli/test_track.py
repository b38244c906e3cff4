import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from abserve.artifacts import CARD, METADATA, seal, to_json
from abserve.repository import Repository
from tests.abserve.cli.conftest import Run
from tests.training.test_tracking import metadata


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(f"file://{tmp_path}/repository")
    for version, card in (("v3", {CARD: b"<p>"}), ("v4", {})):
        said = metadata(version=version).model_dump(mode="json", by_alias=True)
        repository.publish("iris", version, seal({METADATA: to_json(said), **card}))
    return repository


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # For what the test itself asks MLflow.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path}/tracked"


@pytest.mark.parametrize(("version", "artifacts"), [("v3", [CARD, METADATA]), ("v4", [METADATA])])
def test_a_version_can_be_logged_later(
    version: str, artifacts: list[str], repository: Repository, folder: str, abserve: Run
) -> None:
    ended = abserve(
        *("models", "track", "iris", version, "--repository", repository.url, "--mlflow", folder),
        "--json",
    )
    assert ended.code == 0
    client, run = MlflowClient(folder), json.loads(ended.out)["run_id"]
    assert client.get_run(run).data.tags["abserve.url"] == f"{repository.url}/iris/{version}"
    assert [each.path for each in client.list_artifacts(run)] == artifacts


def test_what_is_logged_already_is_told_with_its_run(
    repository: Repository, folder: str, abserve: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", folder)
    said = [
        abserve("models", "track", "iris", "v3", "--repository", repository.url).out
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert said[0].startswith("iris v3 is run ")


def test_without_a_server_it_is_wrong_usage(
    repository: Repository, abserve: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    ended = abserve("models", "track", "iris", "v3", "--repository", repository.url)
    assert ended.code == 2
    assert "--mlflow" in ended.err
