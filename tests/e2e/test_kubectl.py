"""What kubectl changes, and what then serves."""

import base64
import json

import pytest
import requests

from tests.e2e.local_cluster import OVERLAY, LocalCluster, infer, wait_until

pytestmark = pytest.mark.e2e


def test_get_shows_state_and_weights(iris_cluster: LocalCluster) -> None:
    shown = iris_cluster.must("kubectl", "get", "sdep")
    assert shown.splitlines()[0].split() == ["NAME", "STATE", "PREDICTORS", "AGE"]
    assert "Available" in shown
    assert "baseline 90%, candidate 10%" in shown


def test_wait_returns_once_the_route_serves(cluster: LocalCluster) -> None:
    cluster.must("kubectl", "apply", "-k", str(OVERLAY))
    cluster.must("kubectl", "wait", "--for=condition=Ready", "sdep/iris", "--timeout=60s")
    try:
        assert infer(cluster.url()).status_code == 200
    finally:
        cluster.delete("iris")


def test_applying_the_same_again_changes_nothing(iris_cluster: LocalCluster) -> None:
    assert "unchanged" in iris_cluster.must("kubectl", "apply", "-k", str(OVERLAY))


def test_diff_shows_what_an_apply_would_change(iris_cluster: LocalCluster) -> None:
    patch = [
        {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 80},
        {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 20},
    ]
    iris_cluster.must("kubectl", "patch", "sdep", "iris", "--type=json", "-p", json.dumps(patch))
    differs = iris_cluster.kubectl("diff", "-k", str(OVERLAY))
    assert differs.returncode == 1
    assert "+    traffic: 90" in differs.stdout
    assert iris_cluster.get("iris")["spec"]["predictors"][0]["traffic"] == 80


def test_a_merge_patch_of_an_annotation_is_kept(iris_cluster: LocalCluster) -> None:
    iris_cluster.must("kubectl", "annotate", "sdep", "iris", "team=blue")
    assert iris_cluster.get("iris")["metadata"]["annotations"]["team"] == "blue"
    iris_cluster.wait_until_available("iris")


def test_a_traffic_patch_moves_the_weights(iris_cluster: LocalCluster) -> None:
    patch = [
        {"op": "test", "path": "/spec/predictors/1/name", "value": "candidate"},
        {"op": "replace", "path": "/spec/predictors/0/traffic", "value": 0},
        {"op": "replace", "path": "/spec/predictors/1/traffic", "value": 100},
    ]
    iris_cluster.must("kubectl", "patch", "sdep", "iris", "--type=json", "-p", json.dumps(patch))
    iris_cluster.wait_until_available("iris")
    url = iris_cluster.url()
    versions = {infer(url).json()["model_version"] for _ in range(30)}
    assert versions == {"v2"}


def test_changing_weights_starts_no_replica_anew(iris_cluster: LocalCluster) -> None:
    before = {pod["metadata"]["uid"] for pod in iris_cluster.pods("iris")}
    iris_cluster.must("abserve", "weights", "iris", "baseline=40", "candidate=60")
    assert {pod["metadata"]["uid"] for pod in iris_cluster.pods("iris")} == before


def test_logs_show_what_a_replica_said(iris_cluster: LocalCluster) -> None:
    name = iris_cluster.pods("iris")[0]["metadata"]["name"]
    assert "Loaded model 'iris'" in iris_cluster.must("kubectl", "logs", name)


def test_delete_ends_the_route_and_the_replicas(cluster: LocalCluster) -> None:
    cluster.apply_iris()
    url = cluster.url()
    cluster.must("kubectl", "delete", "sdep", "iris")
    wait_until(lambda: infer(url).status_code == 404, lambda: infer(url).text)
    assert "no SeldonDeployment is served at this path" in infer(url).json()["error"]
    wait_until(lambda: not cluster.pods("iris"), lambda: cluster.pods("iris"))
    assert not any("iris" in each["name"] for each in cluster.processes())


def test_a_deployment_in_its_own_namespace_has_its_own_path(cluster: LocalCluster) -> None:
    cluster.must("kubectl", "create", "namespace", "shop")
    cluster.must("kubectl", "apply", "-n", "shop", "-k", str(OVERLAY))
    cluster.must(
        "kubectl", "wait", "-n", "shop", "--for=condition=Ready", "sdep/iris", "--timeout=60s"
    )
    url = json.loads(cluster.must("abserve", "-n", "shop", "status", "iris", "--json"))["gateway"]
    assert "/seldon/shop/iris/" in url
    assert infer(url).status_code == 200
    cluster.must("kubectl", "delete", "namespace", "shop")
    wait_until(lambda: infer(url).status_code == 404, lambda: infer(url).text)


def test_secrets_and_config_maps_are_made_as_anywhere(cluster: LocalCluster) -> None:
    cluster.must("kubectl", "create", "secret", "generic", "pass", "--from-literal=word=sesame")
    secret = json.loads(cluster.must("kubectl", "get", "secret", "pass", "-o", "json"))
    assert base64.b64decode(secret["data"]["word"]) == b"sesame"
    cluster.must("kubectl", "create", "configmap", "colours", "--from-literal=sky=blue")
    colours = json.loads(cluster.must("kubectl", "get", "configmap", "colours", "-o", "json"))
    assert colours["data"] == {"sky": "blue"}
    assert "sesame" not in cluster.must("kubectl", "get", "secrets")


def test_the_api_refuses_whoever_has_no_token(cluster: LocalCluster) -> None:
    config = json.loads(cluster.must("kubectl", "config", "view", "-o", "json"))
    server = config["clusters"][0]["cluster"]["server"]
    certificate = str(cluster.home / "tls/api.crt")
    assert server.startswith("https://127.0.0.1:")
    assert requests.get(f"{server}/api", verify=certificate, timeout=10).status_code == 401


def test_credentials_are_for_their_owner_only(cluster: LocalCluster) -> None:
    assert (cluster.home / "kubeconfig").stat().st_mode & 0o077 == 0
    assert cluster.home.stat().st_mode & 0o077 == 0
