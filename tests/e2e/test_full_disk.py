"""docs/runbook/full-disk.md, walked on a disk that is full to its last byte: nothing is lost.

The disk is a file system in memory, in a mount namespace of its own, where the cluster's folder is.
"""

import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.local_cluster import ROOT, LocalCluster, infer, wait_until
from tests.e2e.on_call import on_call

SIZE_MIB = 64
_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
# It holds the namespace until nobody is left who could write to it.
_MOUNT = "mount -t tmpfs -o size={size}m none {folder} && echo mounted && exec cat"


def may_mount() -> bool:
    try:
        tried = subprocess.run(
            [*_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:
        return False
    return tried.returncode == 0


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not may_mount(), reason="this kernel lets no user mount a file system"),
]


@dataclass(frozen=True)
class SmallDisk(LocalCluster):
    """A cluster whose folder is a small disk; what runs in its namespace sees it, nobody else."""

    holder: int

    def within(self, *command: str) -> list[str]:
        namespace = ("nsenter", "--target", str(self.holder), "--user", "--mount")
        return [*namespace, "--preserve-credentials", f"--wd={ROOT}", *command]

    @property
    def seen_from_here(self) -> LocalCluster:
        """The same cluster, as its files are found from outside of the namespace."""
        return LocalCluster(Path(f"/proc/{self.holder}/root{self.home}"))

    def fill(self) -> None:
        """Leave not one byte."""
        filled = self.run("sh", "-c", f"cat /dev/zero > {self.home}/filler")
        assert "No space left on device" in filled.stderr

    def make_room(self) -> None:
        self.must("rm", f"{self.home}/filler")


@contextmanager
def small_disk(home: Path) -> Iterator[SmallDisk]:
    home.mkdir()
    mounting = _MOUNT.format(size=SIZE_MIB, folder=home)
    with subprocess.Popen(
        [*_NAMESPACE, "sh", "-c", mounting],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mounted\n"
        yield SmallDisk(home, holder.pid)


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk") as disk:
        disk.must(
            *("abserve", "up", "--detach", "--repository", repository.as_uri(), "--no-console"),
            *("--api-port", "0", "--gateway-port", "0"),
        )
        try:
            disk.apply_iris()
            yield disk
        finally:
            disk.must("abserve", "down")


def candidate_pod(cluster: SmallDisk) -> dict[str, Any]:
    (found,) = [
        each
        for each in cluster.pods("iris")
        if each["metadata"]["labels"]["version"] == "candidate"
    ]
    return found


def test_a_full_disk_costs_no_request_and_no_change_that_was_made(
    cluster: SmallDisk, tmp_path: Path
) -> None:
    url = cluster.url()
    before = cluster.get("iris")["spec"]
    cluster.fill()

    refused = cluster.abserve("weights", "iris", "baseline=50", "candidate=50")
    assert refused.returncode == 1
    assert "refused (507): nothing was changed" in refused.stderr
    assert "state.db cannot be written (database or disk is full); make room" in refused.stderr
    assert cluster.get("iris")["spec"] == before

    # A replica that crashes is started again, although nothing of it can be written down.
    psutil.Process(cluster.seen_from_here.pid_of("candidate")).kill()
    wait_until(
        lambda: (
            candidate_pod(cluster)["status"]["containerStatuses"][0]["restartCount"] == 1
            and candidate_pod(cluster)["status"]["containerStatuses"][0]["ready"]
        ),
        lambda: candidate_pod(cluster)["status"],
    )
    answers = [infer(url) for _ in range(60)]
    assert Counter(each.status_code for each in answers) == {200: 60}
    assert {each.json()["model_version"] for each in answers} == {"v1", "v2"}

    with on_call("full-disk", tmp_path / "typed", cluster) as person:
        assert "100%" in person.types("df -h")

    cluster.make_room()
    cluster.must("abserve", "weights", "iris", "baseline=50", "candidate=50")
    assert [each["traffic"] for each in cluster.get("iris")["spec"]["predictors"]] == [50, 50]
    assert Counter(infer(url).status_code for _ in range(60)) == {200: 60}
    # The replica that was started meanwhile is on record by now: a later cluster would find it.
    recorded = cluster.seen_from_here
    wait_until(
        lambda: any("candidate" in each["name"] for each in recorded.processes()),
        recorded.processes,
    )


def test_a_cluster_ends_and_does_not_begin_on_a_full_disk(
    cluster: SmallDisk, repository: Path
) -> None:
    up = ("abserve", "up", "--detach", "--repository", repository.as_uri(), "--no-console")
    cluster.fill()
    cluster.must("abserve", "down")
    refused = cluster.run(*up)
    assert refused.returncode == 1
    assert "bytes are free on the disk of" in refused.stderr
    cluster.make_room()
    # With room it is the cluster that it was.
    cluster.must(*up)
    cluster.wait_until_available("iris")
    assert infer(cluster.url()).status_code == 200
