"""Each mistake gets one clear message, and what was serving keeps serving."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.local_cluster import ROOT, LocalCluster, infer, iris, wait_until

pytestmark = pytest.mark.e2e


def set_traffic(document: dict[str, Any]) -> None:
    document["spec"]["predictors"][1]["traffic"] = 20


def set_name(document: dict[str, Any]) -> None:
    document["spec"]["predictors"][1]["name"] = "baseline"


def misspell(document: dict[str, Any]) -> None:
    document["spec"]["predictors"][1]["trafic"] = 10


def set_protocol(document: dict[str, Any]) -> None:
    document["spec"]["protocol"] = "seldon"


def set_image(document: dict[str, Any]) -> None:
    container = document["spec"]["predictors"][1]["componentSpecs"][0]["spec"]["containers"][0]
    container["image"] = "nginx:1.27"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (set_traffic, ["sums to 110", "expected 100"]),
        (set_name, ["'baseline' a second time", "its own name"]),
        (misspell, ["'trafic'", "did you mean traffic?"]),
        (set_protocol, ["protocol", "v2"]),
        (set_image, ["nginx:1.27", "abserve/runtimes"]),
    ],
)
def test_kubectl_says_what_is_wrong_and_nothing_changes(
    iris_cluster: LocalCluster, spoil: Callable[[dict[str, Any]], None], words: list[str]
) -> None:
    generation = iris_cluster.get("iris")["metadata"]["generation"]
    document = iris()
    spoil(document)
    refused = iris_cluster.apply(document)
    assert refused.returncode == 1
    assert all(word in refused.stderr for word in words), refused.stderr
    assert iris_cluster.get("iris")["metadata"]["generation"] == generation
    assert infer(iris_cluster.url()).status_code == 200


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("s3://models/iris/v9", ["candidate", "s3://models/iris/v9 holds no files", "publish it"]),
        ("s3://nobucket/iris/v2", ["s3://nobucket/iris/v2 cannot be copied", "check the bucket"]),
        ("s3://models/iris", ["is not the folder of a version", "s3://models/iris/v1"]),
    ],
)
def test_a_wrong_model_uri_is_told_and_the_old_version_keeps_serving(
    iris_cluster: LocalCluster, uri: str, words: list[str]
) -> None:
    document = iris()
    document["spec"]["predictors"][1]["graph"]["modelUri"] = uri
    iris_cluster.apply(document)
    wait_until(
        lambda: iris_cluster.get("iris")["status"]["state"] == "Failed",
        lambda: iris_cluster.get("iris")["status"],
    )
    told = iris_cluster.get("iris")["status"]["description"]
    assert all(word in told for word in words), told
    assert told in " ".join(iris_cluster.status()["description"].split())
    url = iris_cluster.url()
    answers = [infer(url) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["model_version"] for answer in answers} <= {"v1", "v2"}
    changed = iris_cluster.abserve("weights", "iris", "baseline=50", "candidate=50")
    assert changed.returncode == 1
    assert words[0] in changed.stderr


def test_a_version_published_late_heals_the_deployment(iris_cluster: LocalCluster) -> None:
    document = iris()
    document["spec"]["predictors"][1]["graph"]["modelUri"] = "s3://models/iris/v3"
    iris_cluster.apply(document)
    wait_until(
        lambda: iris_cluster.get("iris")["status"]["state"] == "Failed",
        lambda: iris_cluster.get("iris")["status"],
    )
    versions = iris_cluster.home / "repository/iris"
    try:
        shutil.copytree(versions / "v2", versions / "v3")
        iris_cluster.wait_until_available("iris")
    finally:
        shutil.rmtree(versions / "v3")


def test_an_altered_version_is_not_served(iris_cluster: LocalCluster) -> None:
    versions = iris_cluster.home / "repository/iris"
    shutil.copytree(versions / "v2", versions / "v4")
    model = versions / "v4/model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    document = iris()
    document["spec"]["predictors"][1]["graph"]["modelUri"] = "s3://models/iris/v4"
    try:
        iris_cluster.apply(document)
        wait_until(
            lambda: iris_cluster.get("iris")["status"]["state"] == "Failed",
            lambda: iris_cluster.get("iris")["status"],
        )
        assert "the file was changed" in iris_cluster.get("iris")["status"]["description"]
        assert infer(iris_cluster.url()).status_code == 200
    finally:
        shutil.rmtree(versions / "v4")


def test_a_crashed_server_comes_back_and_the_other_never_stops(
    iris_cluster: LocalCluster,
) -> None:
    iris_cluster.must("abserve", "weights", "iris", "baseline=100", "candidate=0")
    url = iris_cluster.url()
    psutil.Process(iris_cluster.pid_of("iris-candidate")).kill()

    def restarts() -> int:
        pods = [pod for pod in iris_cluster.pods("iris") if "candidate" in pod["metadata"]["name"]]
        return int(pods[0]["status"]["containerStatuses"][0]["restartCount"])

    def serving() -> bool:
        assert infer(url).status_code == 200
        return restarts() == 1

    wait_until(serving, lambda: iris_cluster.pods("iris"))
    iris_cluster.wait_until_available("iris")
    events = iris_cluster.must("kubectl", "get", "events")
    assert "killed by SIGKILL" in events
    iris_cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    assert infer(url).json()["model_version"] == "v2"


def test_an_unknown_model_is_refused_by_the_server(iris_cluster: LocalCluster) -> None:
    url = iris_cluster.url().replace("/models/iris/", "/models/rose/")
    response = infer(url)
    assert response.status_code == 404
    assert "rose" in response.json()["error"]


def test_an_unknown_deployment_is_refused_by_the_gateway(iris_cluster: LocalCluster) -> None:
    url = iris_cluster.url().replace("/default/iris/", "/default/rose/")
    response = infer(url)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/json"
    assert "kubectl get sdep" in response.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"", b'{"inputs": []}', b"\xff\xfe"])
def test_a_malformed_request_is_the_clients_fault(iris_cluster: LocalCluster, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = requests.post(iris_cluster.url(), data=body, headers=headers, timeout=10)
    assert 400 <= response.status_code < 500
    assert response.json()["error"]


def test_a_definition_with_a_mistake_is_told_with_its_line(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    text = (ROOT / "models/iris.yaml").read_text()
    (tmp_path / "iris.yaml").write_text(text.replace("held_out: 0.3", "held_out: 1.3"))
    refused = cluster.abserve("train", "iris", "--version", "v5", "--models", str(tmp_path))
    assert refused.returncode == 1
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "held_out: 0.3" in each)
    assert f"line {line}" in refused.stderr
    assert "1.3" in refused.stderr
    assert not (cluster.home / "repository/iris/v5").exists()


def test_an_unknown_name_is_answered_with_what_there_is(iris_cluster: LocalCluster) -> None:
    refused = iris_cluster.abserve("status", "rose")
    assert refused.returncode == 1
    assert "there: iris" in refused.stderr
