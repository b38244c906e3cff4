from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_cluster import LocalCluster, copy_repository, running_cluster


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with iris v1 and v2, made by the command users type."""
    home = tmp_path_factory.mktemp("trained")
    for version in ("v1", "v2"):
        LocalCluster(home).must("abserve", "train", "iris", "--version", version)
    return home / "repository"


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A running cluster for the tests of one file."""
    home = tmp_path_factory.mktemp("cluster")
    copy_repository(repository, home)
    with running_cluster(home) as running:
        yield running


@pytest.fixture
def iris_cluster(cluster: LocalCluster) -> Iterator[LocalCluster]:
    """The cluster with iris served at 90/10, from new replicas that have counted nothing."""
    cluster.apply_iris()
    yield cluster
    cluster.delete("iris")
