"""Publishing to and serving from an S3 endpoint: rclone's own server, and clients of others."""

import base64
import json
from pathlib import Path

import pytest

from abserve.artifacts import CHECKSUMS
from tests.e2e.local_cluster import LocalCluster, infer, iris

pytestmark = pytest.mark.e2e


def aws_environment(cluster: LocalCluster) -> dict[str, str]:
    """Return what the Secret of the local cluster says about its S3 endpoint."""
    shown = cluster.must("kubectl", "get", "secret", "model-repository", "-o", "json")
    data = json.loads(shown)["data"]
    decoded = {key: base64.b64decode(value).decode() for key, value in data.items()}
    return {key: value for key, value in decoded.items() if key.startswith("AWS_")}


def test_a_version_published_over_s3_is_served(cluster: LocalCluster, tmp_path: Path) -> None:
    definition = tmp_path / "iris.yaml"
    text = Path("models/iris.yaml").read_text()
    definition.write_text(text.replace("  v2:\n", "  v7:\n"))
    arguments = ("train", "iris", "--version", "v7", "--repository", "s3://models")
    environment = aws_environment(cluster)
    done = cluster.abserve(*arguments, "--models", str(tmp_path), **environment)
    assert done.returncode == 0, done.stderr
    assert "published to s3://models/iris/v7" in done.stdout
    assert (cluster.home / "repository/iris/v7" / CHECKSUMS).exists()

    document = iris()
    document["spec"]["predictors"][1]["graph"]["modelUri"] = "s3://models/iris/v7"
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
        assert infer(cluster.url()).json()["model_version"] == "v7"
    finally:
        cluster.delete("iris")

    again = cluster.abserve(*arguments, "--models", str(tmp_path), **environment)
    assert again.returncode == 1
    assert "already in s3://models" in again.stderr


def test_a_repository_that_refuses_the_key_is_told(cluster: LocalCluster) -> None:
    environment = {**aws_environment(cluster), "AWS_SECRET_ACCESS_KEY": "wrong"}
    refused = cluster.abserve(
        "train", "iris", "--version", "v1", "--repository", "s3://models", **environment
    )
    assert refused.returncode == 1
    assert "repository s3://models cannot be read" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_cluster_serves_from_a_repository_elsewhere(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    # The first cluster's endpoint plays the object store for the second.
    environment = aws_environment(cluster)
    second = LocalCluster(tmp_path)
    ports = ("--gateway-port", "0", "--api-port", "0")
    up = second.abserve("up", "--detach", "--repository", "s3://models", *ports, **environment)
    assert up.returncode == 0, up.stderr
    try:
        second.apply_iris()
        assert infer(second.url()).status_code == 200
        assert next(each["name"] for each in second.processes()) == "envoy"
    finally:
        second.must("abserve", "down")
