"""Retention as the CronJob does it: what is old goes, and nothing that somebody serves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    infer,
    iris,
    running_cluster,
)
from tests.manifests.rendering import MANIFESTS, rendered

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    home = tmp_path_factory.mktemp("retention")
    copy_repository(repository, home)
    for _ in range(4):
        LocalCluster(home).must("abserve", "train", "iris", "--next", "--like", "v1")
    with running_cluster(home) as running:
        yield running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with the definition of iris, by which the newest version alone is to stay."""
    definition = yaml.safe_load((ROOT / "models/iris.yaml").read_text())
    definition["retention"] = {"keep_last": 1, "keep_days": 0}
    (tmp_path / "iris.yaml").write_text(yaml.safe_dump(definition))
    return tmp_path


def job() -> list[str]:
    """What the CronJob runs."""
    (found,) = [
        each for each in rendered(MANIFESTS / "base/jobs/prune") if each["kind"] == "CronJob"
    ]
    (container,) = found["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return ["abserve", *container["args"]]


def versions(cluster: LocalCluster) -> set[str]:
    return {folder.name for folder in (cluster.home / "repository/iris").glob("v*")}


def test_versions_that_serve_or_stand_by_stay_however_old(
    cluster: LocalCluster, models: Path
) -> None:
    document = iris()
    baseline, candidate = document["spec"]["predictors"]
    baseline["traffic"], candidate["traffic"] = 100, 0
    shadow = yaml.safe_load(yaml.safe_dump(baseline)) | {"name": "shadow", "shadow": True}
    del shadow["traffic"]
    shadow["graph"]["modelUri"] = "s3://models/iris/v3"
    document["spec"]["predictors"].append(shadow)
    applied = cluster.apply(document)
    assert applied.returncode == 0, applied.stderr
    cluster.wait_until_available("iris")
    assert versions(cluster) == {"v1", "v2", "v3", "v4", "v5", "v6"}

    told = cluster.must(*job(), "--models", str(models))
    assert "used by default/iris baseline" in told
    assert versions(cluster) == {"v1", "v2", "v3", "v6"}
    cluster.must("abserve", "models", "verify", "iris", "v1")

    # A replica that is made anew finds its version.
    cluster.delete("iris")
    cluster.apply(document)
    cluster.wait_until_available("iris")
    assert infer(cluster.url()).headers["x-model-version"] == "v1"

    again = cluster.must(*job(), "--models", str(models))
    assert versions(cluster) == {"v1", "v2", "v3", "v6"}
    assert "v6" in again


def test_without_a_cluster_that_answers_nothing_goes(
    cluster: LocalCluster, models: Path, tmp_path: Path
) -> None:
    before = versions(cluster)
    dead = yaml.safe_load((cluster.home / "kubeconfig").read_text())
    dead["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "dead").write_text(yaml.safe_dump(dead))
    kubeconfig = str(tmp_path / "dead")
    ended = cluster.run(*job(), "--models", str(models), KUBECONFIG=kubeconfig)
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr
    assert versions(cluster) == before
