import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from abserve.errors import TrackingError
from abserve.metadata import Metadata
from training.tracking import log

URL = "s3://models/iris/v3"
FILES = {
    "model.onnx": b"large",
    "card.html": b"<p>Iris, \xc3\xa0 la carte</p>",
    "metadata.json": b"{}\n",
    "checksums.json": b"{}\n",
}


def metadata(**changes: Any) -> Metadata:
    found: dict[str, Any] = {
        "model": "iris",
        "version": "v3",
        "described_as": "v2",
        "description": "Tells three flowers apart.",
        "trained_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "git_commit": "1623454",
        "git_dirty": False,
        "libraries": {"scikit-learn": "1.7"},
        "data": {
            "source": "sklearn:iris",
            "n_rows": 150,
            "columns": ["width"],
            "sha256": "ab" * 32,
        },
        "estimator": "sklearn.linear_model.LogisticRegression",
        "parameters": {"C": 10.0, "scale": True},
        "seed": 7,
        "n_fitted": 105,
        "n_held_out": 45,
        "durations_seconds": {"load": 1.0, "fit": 2.5},
        "evaluation": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "log_loss": 0.2},
        "class_recall": {"C++ & co": {"value": 0.5}},
        "slices": {"small": {"n_rows": 20, "metrics": {"accuracy": {"value": 0.7}}}},
        "parity": None,
        "schema": {"features": [{"name": "width"}], "classes": ["a", "b"]},
    }
    return Metadata.model_validate({**found, **changes})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    # For what the tests themselves ask MLflow.
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return f"file://{tmp_path}/tracked"


@pytest.fixture
def server() -> Iterator[str]:
    """A server that is reached, and is none of MLflow's."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404, "there is nothing here")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as running:
        serving = threading.Thread(target=running.serve_forever)
        serving.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        serving.join()


def test_a_run_has_what_the_version_says_of_itself(folder: str) -> None:
    run = MlflowClient(folder).get_run(log(metadata(), FILES, URL, folder))
    assert run.info.run_name == "v3"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"C": "10.0", "scale": "True"}
    assert run.data.metrics == {
        "n_fitted": 105,
        "n_held_out": 45,
        "duration_seconds.load": 1.0,
        "duration_seconds.fit": 2.5,
        "accuracy": 0.9,
        "accuracy_low": 0.8,
        "accuracy_high": 0.95,
        "log_loss": 0.2,
        "class_recall.C:2B:2B :26 co": 0.5,
        "slice.small.accuracy": 0.7,
    }
    assert {name: run.data.tags[name] for name in run.data.tags if name != "mlflow.user"} == {
        "abserve.model": "iris",
        "abserve.version": "v3",
        "abserve.described_as": "v2",
        "abserve.url": URL,
        "abserve.pipeline": "classification",
        "abserve.estimator": "sklearn.linear_model.LogisticRegression",
        "abserve.served": "onnx",
        "abserve.seed": "7",
        "abserve.data_source": "sklearn:iris",
        "abserve.data_sha256": "ab" * 32,
        "abserve.git_dirty": "False",
        "mlflow.source.git.commit": "1623454",
        "mlflow.note.content": "Tells three flowers apart.",
        "mlflow.runName": "v3",
    }


def test_its_time_is_that_of_the_training_and_not_of_the_logging(folder: str) -> None:
    run = MlflowClient(folder).get_run(log(metadata(), FILES, URL, folder))
    assert run.info.end_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1000
    assert run.info.end_time - run.info.start_time == 3500


def test_the_card_and_the_metadata_are_its_artifacts_and_the_model_is_not(
    folder: str, tmp_path: Path
) -> None:
    client, run = MlflowClient(folder), log(metadata(), FILES, URL, folder)
    assert [each.path for each in client.list_artifacts(run)] == ["card.html", "metadata.json"]
    card = client.download_artifacts(run, "card.html", str(tmp_path))
    assert Path(card).read_bytes() == FILES["card.html"]


def test_the_experiment_is_named_as_the_model(folder: str) -> None:
    runs = [log(metadata(version=version), FILES, URL, folder) for version in ("v3", "v4")]
    experiment = MlflowClient(folder).get_experiment_by_name("iris")
    assert experiment is not None
    found = MlflowClient(folder).search_runs([experiment.experiment_id])
    assert {run.info.run_id for run in found} == set(runs)


def test_what_is_logged_already_is_not_logged_again(folder: str) -> None:
    first = log(metadata(), FILES, URL, folder)
    assert log(metadata(), FILES, URL, folder) == first
    assert log(metadata(), FILES, "s3://others/iris/v3", folder) != first


def test_many_and_long_numbers_are_logged_too(folder: str) -> None:
    many = metadata(
        parameters={f"parameter_{each}": "x" * 7000 for each in range(150)},
        class_recall={f"class {each}": 0.5 for each in range(1200)},
    )
    run = MlflowClient(folder).get_run(log(many, FILES, URL, folder))
    assert len(run.data.params) == 150
    assert sum(name.startswith("class_recall.") for name in run.data.metrics) == 1200


def test_a_version_of_long_ago_that_says_little_is_logged(folder: str) -> None:
    early = metadata(git_commit=None, git_dirty=None, data=None, described_as=None)
    run = MlflowClient(folder).get_run(log(early, {}, URL, folder))
    assert "abserve.data_sha256" not in run.data.tags
    assert MlflowClient(folder).list_artifacts(run.info.run_id) == []


def test_a_server_that_is_down_is_told_with_what_to_do_and_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingError) as refused:
        log(metadata(), FILES, URL, "http://me:secret@127.0.0.1:9")
    told = str(refused.value)
    assert "iris v3 is published to s3://models/iris/v3, and cannot be logged to MLflow at " in told
    assert "log it with 'abserve models track iris v3'" in told
    assert "secret" not in told


def test_a_server_of_something_else_is_told(server: str) -> None:
    with pytest.raises(TrackingError, match="there is nothing here"):
        log(metadata(), FILES, URL, f"http://{server}")


def test_without_mlflow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackingError, match="install abserve with its 'mlflow' extra"):
        log(metadata(), FILES, URL, folder)


def test_a_run_that_could_not_be_completed_does_not_count_as_logged(
    folder: str, tmp_path: Path
) -> None:
    with pytest.raises(TrackingError, match="UnicodeDecodeError"):
        log(metadata(), {"card.html": b"\xff"}, URL, folder)
    run = log(metadata(), FILES, URL, folder)
    experiment = MlflowClient(folder).get_run(run).info.experiment_id
    statuses = [each.info.status for each in MlflowClient(folder).search_runs([experiment])]
    assert sorted(statuses) == ["FAILED", "FINISHED"]


def test_nothing_of_it_is_told_to_anybody_else(folder: str) -> None:
    script = (
        "import sys; from abserve.metadata import Metadata; from training.tracking import log\n"
        "log(Metadata.model_validate_json(sys.argv[1]), {}, 's3://m/iris/v3', sys.argv[2])\n"
        "from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    )
    # Where these are set MLflow is silent of its own accord, or takes a folder.
    unset = {"CI", "PYTEST_CURRENT_TEST", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"}
    unset.add("MLFLOW_ALLOW_FILE_STORE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            json.dumps(metadata().model_dump(mode="json", by_alias=True)),
            folder,
        ],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    assert done.stdout == "None\n"
