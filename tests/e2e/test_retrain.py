"""A model that is trained again because its rows have changed, and competes with what serves."""

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from sklearn.datasets import load_iris

from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    infer,
    iris,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e

BAR = "0.25"
# Within the bounds of the features, and far from every flower that was measured.
GIANT = [9.0, 5.5, 8.5, 3.9]


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    home = tmp_path_factory.mktemp("retraining")
    copy_repository(repository, home)
    with running_cluster(home) as running:
        yield running


@pytest.fixture
def serving(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster with v1 as the only predictor of iris, whose replica has answered nothing."""
    baseline = iris()["spec"]["predictors"][0] | {"traffic": 100}
    applied = cluster.apply(iris(predictors=[baseline]))
    assert applied.returncode == 0, applied.stderr
    cluster.wait_until_available("iris")
    yield cluster
    cluster.delete("iris")


def send(cluster: LocalCluster, rows: list[list[float]]) -> None:
    data = [value for row in rows for value in row]
    tensor = {"name": "features", "shape": [len(rows), 4], "datatype": "FP64", "data": data}
    requests.post(cluster.url(), json={"inputs": [tensor]}, timeout=10).raise_for_status()


def versions(cluster: LocalCluster) -> set[str]:
    return {folder.name for folder in (cluster.home / "repository/iris").glob("v*")}


def predictors(cluster: LocalCluster) -> list[tuple[str, str, int]]:
    return [
        (each["name"], each["graph"]["modelUri"], each["traffic"])
        for each in cluster.get("iris")["spec"]["predictors"]
    ]


def test_rows_that_drift_bring_a_new_version_that_competes_with_the_one_that_serves(
    serving: LocalCluster,
) -> None:
    send(serving, [GIANT] * 200)
    before = versions(serving)
    answer: dict[str, Any] = json.loads(
        serving.must("abserve", "retrain", "iris", "--if-drift", BAR, "--json")
    )
    [new] = versions(serving) - before
    assert new not in before
    assert (answer["opened"], answer["version"], answer["serving"]) == (True, new, "v1")
    assert answer["drift"]["n_rows"] == 200
    assert answer["drift"]["index"] > float(BAR)
    metadata = json.loads((serving.home / "repository/iris" / new / "metadata.json").read_text())
    assert metadata["described_as"] == "v2"

    assert predictors(serving) == [
        ("baseline", "s3://models/iris/v1", 90),
        ("candidate", f"s3://models/iris/{new}", 10),
    ]
    assert serving.get("iris")["status"]["state"] == "Available"
    seen: set[str] = set()

    def both_answered() -> bool:
        seen.add(infer(answer["gateway"]).headers["x-model-version"])
        return seen == {"v1", new}

    wait_until(both_answered, lambda: seen)

    again = serving.abserve("retrain", "iris")
    assert again.returncode == 1
    assert "an experiment is going on" in again.stderr
    told = serving.must("abserve", "retrain", "iris", "--if-idle")
    assert told.startswith("nothing is trained: an experiment is going on")
    assert versions(serving) == before | {new}

    serving.must("abserve", "rollback", "iris")
    told = serving.must("abserve", "retrain", "iris", "--published", "v2")
    assert "iris: v2 has 10 % of the requests, beside v1\n" in told
    assert predictors(serving)[1] == ("candidate", "s3://models/iris/v2", 10)


def test_without_a_reason_or_a_good_enough_version_nothing_changes(
    serving: LocalCluster, tmp_path: Path
) -> None:
    before = versions(serving), serving.get("iris")["spec"]
    told = serving.must("abserve", "retrain", "iris", "--if-drift", BAR)
    assert told.endswith("no drift is known; nothing is trained\n")
    send(serving, load_iris().data.tolist() * 2)
    told = serving.must("abserve", "retrain", "iris", "--if-drift", BAR)
    assert f"not above {BAR}, by the latest 300 rows that v1 answered; nothing is trained" in told

    definition = yaml.safe_load((ROOT / "models/iris.yaml").read_text())
    definition["gates"]["metrics"]["accuracy"]["at_least"] = 1.0
    (tmp_path / "iris.yaml").write_text(yaml.safe_dump(definition))
    failed = serving.abserve("retrain", "iris", "--models", str(tmp_path))
    assert failed.returncode == 1
    assert "accuracy" in failed.stderr
    assert (versions(serving), serving.get("iris")["spec"]) == before


def test_by_a_schedule_it_goes_on_after_a_failure_and_ends_when_it_is_told(
    serving: LocalCluster, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as written:
        watching = subprocess.Popen(
            ["abserve", "retrain", "iris", "--if-drift", BAR, "--every", "1s"],
            cwd=ROOT,
            env=serving.environment,
            stdout=written,
            stderr=written,
        )
    try:
        wait_until(lambda: log.read_text().count("nothing is trained") >= 2, log.read_text)
        serving.delete("iris")
        wait_until(lambda: log.read_text().count("no SeldonDeployment") >= 2, log.read_text)
        watching.send_signal(signal.SIGTERM)
        assert watching.wait(10) == 143
    finally:
        watching.kill()
    assert log.read_text().endswith("iris: ended\n")
