"""SKLEARN_SERVER: a folder with a pickled model, served by MLServer as it comes."""

import json
from typing import Any

import psutil
import pytest

from tests.e2e.local_cluster import LocalCluster, infer, iris, wait_until
from tests.e2e.pickled import publish_pickle, sklearn_predictor

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(cluster: LocalCluster) -> LocalCluster:
    """The cluster, with a model in its repository that is no version of ours."""
    publish_pickle(cluster)
    return cluster


def deployment(*predictors: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**iris(), "spec": {"protocol": "v2", "predictors": list(predictors), **spec}}


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def test_a_pickled_model_beside_a_version_of_ours(cluster: LocalCluster) -> None:
    candidate = iris()["spec"]["predictors"][1]
    applied = cluster.apply(
        deployment(sklearn_predictor("baseline", traffic=50), candidate | {"traffic": 50})
    )
    assert applied.returncode == 0, applied.stderr
    assert "SKLEARN_SERVER loads s3://models/somebody/iris with joblib" in applied.stderr
    cluster.wait_until_available("iris")
    try:
        url = cluster.url()
        answers = [infer(url).json() for _ in range(60)]
        of_baseline = [each for each in answers if each["model_version"] == "v1"]
        of_candidate = [each for each in answers if each["model_version"] == "v2"]
        assert len(of_baseline) + len(of_candidate) == 60
        # Of 2^59 honest splits, one leaves one of the two without a request.
        assert of_baseline
        assert of_candidate
        assert of_baseline[0]["outputs"][0]["name"] == "predict"
        assert of_baseline[0]["outputs"][0]["data"] == [0]

        shown = cluster.must("abserve", "status", "iris").splitlines()
        baseline = next(line.split() for line in shown if line.startswith("baseline"))
        assert baseline == ["baseline", "-", "50", "%", "1/1", *"-" * 6]
        status = cluster.predictor("baseline")
        assert (status["n_requests"], status["n_errors"], status["n_feedback"]) == (None,) * 3
        assert cluster.predictor("candidate")["n_requests"] == len(of_candidate)

        pod = next(
            each["metadata"]["name"]
            for each in cluster.pods("iris")
            if "baseline" in each["metadata"]["name"]
        )
        assert "iris" in cluster.must("kubectl", "logs", pod)
    finally:
        cluster.delete("iris")


def test_the_environment_is_the_operators_unless_the_users_says_otherwise(
    cluster: LocalCluster,
) -> None:
    env = [{"name": "MLSERVER_MODEL_VERSION", "value": "v3"}]
    own = {"spec": {"containers": [{"name": "iris", "env": env}]}}
    cluster.apply(
        deployment(sklearn_predictor("baseline", componentSpecs=[own]), protocol="kfserving")
    )
    cluster.wait_until_available("iris")
    try:
        assert infer(cluster.url()).json()["model_version"] == "v3"
        environment = psutil.Process(cluster.pid_of("baseline")).environ()
        assert environment["MLSERVER_MODEL_IMPLEMENTATION"] == "mlserver_sklearn.SKLearnModel"
        assert environment["MLSERVER_MODEL_NAME"] == "iris"
        assert environment["PREDICTIVE_UNIT_IMAGE"].startswith("seldonio/mlserver:")
    finally:
        cluster.delete("iris")


def test_it_listens_on_loopback_only_whatever_its_folder_says(cluster: LocalCluster) -> None:
    settings = cluster.home / "repository/somebody/iris/settings.json"
    settings.write_text(json.dumps({"host": "0.0.0.0", "debug": False}))
    cluster.apply(deployment(sklearn_predictor("baseline")))
    cluster.wait_until_available("iris")
    try:
        listening = [
            connection.laddr
            for process in family(cluster.pid_of("baseline"))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert len(listening) >= 3
        # gRPC listens on an IPv6 socket, which writes the address its own way.
        assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    finally:
        settings.unlink()
        cluster.delete("iris")


def test_its_workers_die_with_it(cluster: LocalCluster) -> None:
    cluster.apply(deployment(sklearn_predictor("baseline")))
    cluster.wait_until_available("iris")
    try:
        first = family(cluster.pid_of("baseline"))
        assert len(first) > 1
        first[0].kill()
        _, alive = psutil.wait_procs(first, timeout=10)
        assert alive == []
        wait_until(lambda: cluster.predictor("baseline")["ready"], cluster.processes)
        second = family(cluster.pid_of("baseline"))
    finally:
        cluster.delete("iris")
    _, alive = psutil.wait_procs(second, timeout=10)
    assert alive == []


def test_a_version_of_ours_is_refused_as_the_image_would(cluster: LocalCluster) -> None:
    only = sklearn_predictor("baseline")
    only["graph"]["modelUri"] = "s3://models/iris/v1"
    cluster.apply(deployment(only))
    try:
        wait_until(
            lambda: cluster.get("iris")["status"].get("state") == "Failed",
            lambda: cluster.get("iris"),
        )
        said = cluster.get("iris")["status"]["description"]
        assert "a version for runtimes.tabular.TabularClassifier" in said
        assert "remove implementation from the graph node" in said
    finally:
        cluster.delete("iris")


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("README.md", "holds README.md, expected model.joblib or model.pickle or model.pkl"),
        ("model.joblib", "before it was ready, saying: KeyError: "),
    ],
)
def test_a_folder_without_a_usable_model_says_what_is_wrong(
    cluster: LocalCluster, file: str, told: str
) -> None:
    folder = cluster.home / "repository/somebody" / file.partition(".")[0]
    folder.mkdir()
    (folder / file).write_text("no model yet")
    only = sklearn_predictor("baseline")
    only["graph"]["modelUri"] = f"s3://models/somebody/{folder.name}"
    cluster.apply(deployment(only))
    try:
        wait_until(
            lambda: cluster.get("iris")["status"].get("state") == "Failed",
            lambda: cluster.get("iris"),
        )
        assert told in cluster.get("iris")["status"]["description"]
    finally:
        cluster.delete("iris")
