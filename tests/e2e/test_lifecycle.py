"""Starting and stopping: ports, ctrl-C, kills, and that nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.e2e.local_cluster import (
    BIN,
    ROOT,
    LocalCluster,
    copy_repository,
    gone,
    infer,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e


def test_ctrl_c_stops_everything(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    cluster = LocalCluster(tmp_path)
    up = subprocess.Popen(
        [BIN / "abserve", "up", "--gateway-port", "0", "--api-port", "0"],
        env=cluster.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        record = tmp_path / "cluster.json"
        wait_until(
            lambda: record.exists() and json.loads(record.read_text())["ready"],
            up.poll,
        )
        cluster.apply_iris()
        children = [each["pid"] for each in cluster.processes()]
        # rclone, Envoy, the console, the recorder, and two replicas.
        assert len(children) == 6
        # As a terminal does: the interrupt goes to the whole foreground group.
        os.killpg(up.pid, signal.SIGINT)
        said, _ = up.communicate(timeout=60)
    finally:
        if up.poll() is None:
            up.kill()
            up.communicate()
            cluster.must("abserve", "down")
    assert up.returncode == 0
    assert said.strip().endswith("stopped")
    assert "Traceback" not in said
    assert all(gone(pid) for pid in children)
    assert not record.exists()


def test_progress_names_each_part_in_order(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    cluster = LocalCluster(tmp_path)
    said = cluster.must("abserve", "up", "--detach", "--gateway-port", "0", "--api-port", "0")
    try:
        places = [said.index(part) for part in ("model repository:", "gateway:", "Kubernetes API:")]
        assert places == sorted(places)
        assert said.index("ready") > places[-1]
    finally:
        cluster.must("abserve", "down")


def test_down_after_a_kill_stops_what_was_left_behind(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    with running_cluster(tmp_path) as cluster:
        cluster.apply_iris()
        children = [each["pid"] for each in cluster.processes()]
        pid = json.loads((tmp_path / "cluster.json").read_text())["process"]["pid"]
        psutil.Process(pid).kill()
        wait_until(lambda: gone(pid), lambda: pid)
        assert not any(gone(child) for child in children)
        assert "left behind" in cluster.must("abserve", "down")
        assert all(gone(child) for child in children)


def test_a_second_cluster_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as cluster:
        refused = cluster.abserve("up", "--gateway-port", "0", "--api-port", "0")
        assert refused.returncode == 1
        assert "already running" in refused.stderr


def test_two_clusters_stand_side_by_side_and_down_stops_its_own_only(tmp_path: Path) -> None:
    with (
        running_cluster(tmp_path / "one") as one,
        running_cluster(tmp_path / "two") as two,
    ):
        own = [each["pid"] for each in one.processes()]
        others = [each["pid"] for each in two.processes()]
        one.must("abserve", "down")
        assert all(gone(pid) for pid in own)
        assert not any(gone(pid) for pid in others)
        two.must("kubectl", "get", "sdep")


def test_a_wanted_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = LocalCluster(tmp_path).abserve("up", "--detach", "--gateway-port", port)
    assert refused.returncode == 1
    assert f"gateway port {port} is taken" in refused.stderr
    assert "--gateway-port" in refused.stderr


def test_a_dead_gateway_is_started_again_and_routes_as_before(
    repository: Path, tmp_path: Path
) -> None:
    copy_repository(repository, tmp_path)
    with running_cluster(tmp_path) as cluster:
        cluster.apply_iris()
        url = cluster.url()
        before = cluster.pid_of("envoy")
        psutil.Process(before).kill()
        wait_until(
            lambda: any(
                each["name"] == "envoy" and each["pid"] != before for each in cluster.processes()
            ),
            cluster.processes,
        )
        cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
        assert {infer(url).json()["model_version"] for _ in range(20)} == {"v2"}


def test_down_with_nothing_running_says_so(tmp_path: Path) -> None:
    done = LocalCluster(tmp_path).abserve("down")
    assert done.returncode == 0
    assert "no local cluster is running" in done.stdout


def test_a_command_without_a_cluster_says_how_to_start_one(tmp_path: Path) -> None:
    refused = LocalCluster(tmp_path).abserve("status", "iris")
    assert refused.returncode == 1
    assert "abserve up" in refused.stderr
    assert "Traceback" not in refused.stderr
