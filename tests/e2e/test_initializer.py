"""The container that copies a version into a pod, with its arguments, by the real rclone.

A pod's image has a version of its own (manifests/base/cluster); this is the one of the environment.
"""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.local_cluster import BIN, LocalCluster
from tests.manifests.models import deployment, pods

pytestmark = pytest.mark.e2e

# How rclone ends if --error-on-no-transfer found nothing to do.
NOTHING_COPIED = 9


def copy(cluster: LocalCluster, folder: Path, version: str) -> "subprocess.CompletedProcess[str]":
    """Run the initializer of a candidate in production, on the local cluster's model repository."""
    document = deployment("production", "iris")
    _, pod = pods(document)
    _, candidate = document["spec"]["predictors"]
    (container,) = pod["initContainers"]
    # Where a pod has its volume, and what production serves.
    places = {
        "/mnt/models": str(folder),
        candidate["graph"]["modelUri"]: f"s3://models/iris/{version}",
    }
    assert places.keys() <= set(container["args"])
    return subprocess.run(
        [BIN / "rclone", *(places.get(each, each) for each in container["args"])],
        # Nothing else: a pod's file system is read-only, and its user has no home.
        env={**variables(container), **secret(cluster, container), "HOME": "/nonexistent"},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container["env"]}


def secret(cluster: LocalCluster, container: dict[str, Any]) -> dict[str, str]:
    (source,) = container["envFrom"]
    name = source["secretRef"]["name"]
    data = json.loads(cluster.must("kubectl", "get", "secret", name, "-o", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_a_version_is_copied_as_it_was_published_and_again(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    published = files(cluster.home / "repository/iris/v2")
    assert published
    for _ in range(2):  # A pod whose sandbox is made anew keeps the volume.
        done = copy(cluster, tmp_path / "models", "v2")
        assert done.returncode == 0, done.stderr
        assert files(tmp_path / "models") == published


def test_a_version_that_is_not_there_is_no_empty_folder(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    done = copy(cluster, tmp_path / "models", "v99")
    assert done.returncode == NOTHING_COPIED, done.stderr
