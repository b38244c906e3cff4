"""docs/runbook/lost-repository.md, walked: a repository that is gone comes back from its backup."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.local_cluster import LocalCluster, infer, running_cluster
from tests.e2e.on_call import on_call, remotes
from tests.runbook import blocks

pytestmark = pytest.mark.e2e

BUCKET = "abserve-models-production"


class Shop:
    """Buckets of this machine: the repository with v1 and v2, both signed, and its backup."""

    def __init__(self, folder: Path, trained: Path) -> None:
        self.folder = folder
        self.repository = folder / "s3" / BUCKET
        self.backup = folder / "backup/abserve-models"
        self.remotes = remotes(s3=folder / "s3", backup=folder / "backup")
        self.public_key = folder / "public.pem"
        shutil.copytree(trained / BUCKET, self.repository)
        shutil.copy(trained / "public.pem", self.public_key)

    def types(self, beginning: str) -> "subprocess.CompletedProcess[str]":
        """Run one of the page's commands, wherever on the page it is."""
        (command,) = [
            line
            for block in blocks("lost-repository")
            for line in block.text.splitlines()
            if line.startswith(beginning)
        ]
        return subprocess.run(
            ["bash", "-c", command],
            env={**LocalCluster(self.folder).environment, **self.remotes},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def back_up(self) -> "subprocess.CompletedProcess[str]":
        return self.types("rclone copy --immutable --checksum --exclude")

    def restore(self) -> "subprocess.CompletedProcess[str]":
        return self.types("rclone copy --immutable --checksum backup:")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose versions are signed, and the key that says so."""
    folder = tmp_path_factory.mktemp("trained")
    private, public = folder / "private.pem", folder / "public.pem"
    at_work = LocalCluster(folder)
    at_work.must("abserve", "keys", "new", "--private", str(private), "--public", str(public))
    repository = (folder / BUCKET).as_uri()
    at_work.must(
        "abserve", "train", "iris", "--repository", repository, "--private-key", str(private)
    )
    return folder


@pytest.fixture
def shop(trained: Path, tmp_path: Path) -> Shop:
    return Shop(tmp_path, trained)


@pytest.fixture
def cluster(shop: Shop) -> Iterator[LocalCluster]:
    with running_cluster(
        shop.folder / "home",
        *("--repository", shop.repository.as_uri()),
        *("--public-key", str(shop.public_key)),
    ) as running:
        running.apply_iris()
        yield running


def verify(shop: Shop) -> str:
    done = LocalCluster(shop.folder).abserve(
        *("models", "verify", "iris", "--repository", shop.repository.as_uri()),
        *("--public-key", str(shop.public_key)),
    )
    return done.stdout + done.stderr


def versions_that_answer(url: str) -> set[str]:
    return {infer(url).json()["model_version"] for _ in range(60)}


def test_a_lost_repository_comes_back_and_serves(cluster: LocalCluster, shop: Shop) -> None:
    url = cluster.url()
    with on_call("lost-repository", shop.folder, cluster, **shop.remotes) as person:
        person.types("rclone copy --immutable --checksum --exclude")
        shutil.rmtree(shop.repository / "iris/v1")
        (shop.repository / "iris/v2/checksums.json").unlink()
        # What was loaded goes on serving: there is time.
        assert versions_that_answer(url) == {"v1", "v2"}

        looked = person.types("abserve models list", succeeds=False)
        assert "iris/v1/model.onnx: file not in" in looked
        assert "iris/v2/checksums.json: file not in" in looked

        person.types("rclone copy --immutable --checksum backup:")
        assert "v2: as published, and signed" in person.types("abserve models verify iris")
        # A replica that has to copy its version anew finds it.
        assert "Running" in person.types("pod=$(kubectl")
    assert versions_that_answer(url) == {"v1", "v2"}


def test_a_backup_never_takes_over_what_was_damaged(shop: Shop) -> None:
    assert shop.back_up().returncode == 0
    model = shop.repository / "iris/v1/model.onnx"
    whole = model.read_bytes()
    model.chmod(0o644)
    model.write_bytes(b"damaged")

    refused = shop.back_up()
    assert refused.returncode != 0
    assert "immutable file modified" in refused.stderr
    assert (shop.backup / "iris/v1/model.onnx").read_bytes() == whole
    assert "model.onnx has SHA-256" in verify(shop)

    # The damaged version is deleted, and brought back whole.
    shutil.rmtree(shop.repository / "iris/v1")
    assert shop.restore().returncode == 0
    assert "v1: as published, and signed" in verify(shop)


def test_what_was_deleted_by_mistake_stays_in_the_backup(shop: Shop) -> None:
    assert shop.back_up().returncode == 0
    shutil.rmtree(shop.repository / "iris/v2")
    assert shop.back_up().returncode == 0
    assert (shop.backup / "iris/v2/checksums.json").is_file()
