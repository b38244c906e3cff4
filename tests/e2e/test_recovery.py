"""Killed or stopped, and started again: the same cluster, and no request knows of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from abserve.cli.traffic import Traffic
from abserve.cli.training import MODELS, held_out_rows
from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    gone,
    infer,
    iris,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e


@pytest.fixture
def cluster(repository: Path, tmp_path: Path) -> Iterator[LocalCluster]:
    copy_repository(repository, tmp_path)
    with running_cluster(tmp_path, "--console-port", "0", "--record-every", "5") as running:
        running.apply_iris()
        yield running


@pytest.fixture
def traffic(cluster: LocalCluster) -> Traffic:
    return Traffic(cluster.url(), *held_out_rows("iris", ROOT / MODELS))


def kill_api(cluster: LocalCluster) -> None:
    """Kill the process of ``abserve up``: the API, the controller and all supervision."""
    pid = json.loads((cluster.home / "cluster.json").read_text())["process"]["pid"]
    psutil.Process(pid).kill()
    wait_until(lambda: gone(pid), lambda: pid)


def pids(cluster: LocalCluster) -> dict[str, int]:
    return {each["name"]: each["pid"] for each in cluster.processes()}


def objects(cluster: LocalCluster) -> list[dict[str, Any]]:
    """Return everything that is kept, versions and times included."""
    kinds = "sdep,secrets,configmaps,namespaces"
    listed = cluster.must("kubectl", "get", kinds, "-A", "-o", "json", "--show-managed-fields")
    found: list[dict[str, Any]] = json.loads(listed)["items"]
    return found


def test_up_after_a_kill_finds_the_same_state_and_no_request_was_lost(
    cluster: LocalCluster, traffic: Traffic
) -> None:
    cluster.must("kubectl", "create", "secret", "generic", "mine", "--from-literal=key=value")
    cluster.must("kubectl", "label", "sdep", "iris", "team=flowers")
    kept, processes = objects(cluster), pids(cluster)
    kubeconfig = (cluster.home / "kubeconfig").read_bytes()
    with traffic.flowing() as tally:
        kill_api(cluster)
        before = tally.n_answered
        wait_until(lambda: tally.n_answered > before + 200, lambda: tally.failures)
        cluster.must("abserve", "up", "--detach")
        assert objects(cluster) == kept
        assert pids(cluster) == processes
        assert (cluster.home / "kubeconfig").read_bytes() == kubeconfig
        # What was taken over is not only alive but followed: weights, promotion, new replicas.
        cluster.must("abserve", "weights", "iris", "baseline=50", "candidate=50")
        cluster.must("abserve", "promote", "iris")
    assert tally.failures == []
    assert [each["version"] for each in cluster.status()["predictors"]] == ["v2"]


def test_a_replica_that_was_taken_over_is_restarted_when_it_dies(cluster: LocalCluster) -> None:
    kill_api(cluster)
    cluster.must("abserve", "up", "--detach")
    before = cluster.pid_of("baseline")
    psutil.Process(before).kill()
    wait_until(
        lambda: any("baseline" in name and pid != before for name, pid in pids(cluster).items()),
        cluster.processes,
    )
    cluster.wait_until_available("iris")
    assert cluster.predictor("baseline")["n_ready"] == 1


def test_what_died_while_nobody_looked_is_started_again(
    cluster: LocalCluster, traffic: Traffic
) -> None:
    before = pids(cluster)
    kill_api(cluster)
    dead = [name for name in before if name in {"envoy", "rclone"} or "candidate" in name]
    for name in dead:
        psutil.Process(before[name]).kill()
    cluster.must("abserve", "up", "--detach")
    cluster.wait_until_available("iris")
    after = pids(cluster)
    assert not {before[name] for name in dead} & set(after.values())
    assert after[next(name for name in after if "baseline" in name)] in before.values()
    assert traffic.send(100, lambda: None).failures == []


def test_a_change_that_a_kill_interrupted_goes_on_without_a_lost_request(
    cluster: LocalCluster, traffic: Traffic
) -> None:
    # The candidate of the change can never start, so what is routed is not what is wanted.
    document = iris()
    document["spec"]["predictors"][1]["graph"]["modelUri"] = "s3://models/iris/v99"
    cluster.apply(document)
    wait_until(lambda: cluster.get("iris")["status"]["state"] == "Failed", cluster.processes)
    with traffic.flowing() as tally:
        kill_api(cluster)
        cluster.must("abserve", "up", "--detach")
        before = tally.n_answered
        wait_until(lambda: tally.n_answered > before + 200, lambda: tally.failures)
        assert cluster.get("iris")["status"]["state"] == "Failed"
        cluster.apply_iris()
    assert tally.failures == []
    assert set(tally.seconds) == {"v1", "v2"}


def test_what_was_applied_is_served_again_after_down_and_up(cluster: LocalCluster) -> None:
    cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    url, spec = cluster.url(), cluster.get("iris")["spec"]
    children = list(pids(cluster).values())
    cluster.must("abserve", "down")
    assert all(gone(pid) for pid in children)
    cluster.must("abserve", "up", "--detach")
    cluster.wait_until_available("iris")
    assert cluster.get("iris")["spec"] == spec
    # On the ports of before, so that no client has to be told.
    assert cluster.url() == url
    assert infer(url).json()["model_version"] == "v2"


def test_processes_of_a_deployment_nobody_wants_any_more_are_stopped(
    cluster: LocalCluster,
) -> None:
    before = pids(cluster)
    kill_api(cluster)
    # As if the state had been restored from before iris was applied.
    for file in cluster.home.glob("state.db*"):
        file.unlink()
    said = cluster.must("abserve", "up", "--detach")
    assert "left behind" in said
    assert all(gone(pid) for name, pid in before.items() if "iris" in name)
    assert list((cluster.home / "pods").iterdir()) == []


def test_a_state_that_cannot_be_read_is_refused_and_kept(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    (tmp_path / "state.db").write_bytes(b"not a database at all, but long enough to be read as one")
    refused = LocalCluster(tmp_path).abserve("up", "--gateway-port", "0", "--api-port", "0")
    assert refused.returncode == 1
    assert "state.db" in refused.stderr
    assert "move it away" in refused.stderr
    assert (tmp_path / "state.db").read_bytes().startswith(b"not a database")


def test_another_repository_can_be_named_at_the_next_start(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    cluster.must("abserve", "down")
    shutil.move(tmp_path / "repository", tmp_path / "elsewhere")
    cluster.must("abserve", "up", "--detach", "--repository", (tmp_path / "elsewhere").as_uri())
    cluster.wait_until_available("iris")
    assert infer(cluster.url()).status_code == 200
