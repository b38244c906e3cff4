"""docs/runbook/lost-repository.md, tried: a repository that is gone comes back from its backup."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_cluster import (
    BIN,
    LocalCluster,
    copy_repository,
    infer,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e


@pytest.fixture
def home(repository: Path, tmp_path: Path) -> LocalCluster:
    """Commands with a repository of v1 and v2; no cluster runs."""
    copy_repository(repository, tmp_path / "home")
    return LocalCluster(tmp_path / "home")


@pytest.fixture
def cluster(home: LocalCluster) -> Iterator[LocalCluster]:
    with running_cluster(home.home) as running:
        running.apply_iris()
        yield running


def back_up(source: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    """Copy as the runbook says: nothing that the backup holds is ever changed or deleted."""
    return subprocess.run(
        [
            BIN / "rclone",
            "copy",
            "--immutable",
            "--checksum",
            "--exclude=.publishing/**",
            source,
            target,
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def versions_that_answer(cluster: LocalCluster) -> set[str]:
    url = cluster.url()
    return {infer(url).json()["model_version"] for _ in range(60)}


def test_a_lost_repository_comes_back_and_serves(cluster: LocalCluster, tmp_path: Path) -> None:
    repository, backup = cluster.home / "repository", tmp_path / "backup"
    assert back_up(repository, backup).returncode == 0

    shutil.rmtree(repository / "iris")
    assert cluster.abserve("models", "verify", "iris").returncode == 1
    # What was loaded goes on serving: there is time.
    assert versions_that_answer(cluster) == {"v1", "v2"}

    assert back_up(backup, repository).returncode == 0
    verified = cluster.must("abserve", "models", "verify", "iris")
    assert "v1: as published" in verified
    assert "v2: as published" in verified
    # Replicas that have to copy their versions anew find them.
    cluster.delete("iris")
    cluster.apply_iris()
    wait_until(lambda: versions_that_answer(cluster) == {"v1", "v2"}, cluster.processes)


def test_a_backup_never_takes_over_what_was_damaged(home: LocalCluster, tmp_path: Path) -> None:
    repository, backup = home.home / "repository", tmp_path / "backup"
    assert back_up(repository, backup).returncode == 0
    model = repository / "iris/v1/model.onnx"
    whole = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(b"damaged")

    refused = back_up(repository, backup)
    assert refused.returncode != 0
    assert "immutable file modified" in refused.stderr
    assert (backup / "iris/v1/model.onnx").read_bytes() == whole

    # The damaged version is deleted, and brought back whole.
    shutil.rmtree(repository / "iris/v1")
    assert back_up(backup, repository).returncode == 0
    assert "v1: as published" in home.must("abserve", "models", "verify", "iris")


def test_what_was_deleted_by_mistake_stays_in_the_backup(
    home: LocalCluster, tmp_path: Path
) -> None:
    repository, backup = home.home / "repository", tmp_path / "backup"
    assert back_up(repository, backup).returncode == 0
    shutil.rmtree(repository / "iris/v2")
    assert back_up(repository, backup).returncode == 0
    assert (backup / "iris/v2/checksums.json").is_file()
