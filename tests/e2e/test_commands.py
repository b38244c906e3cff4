"""The commands as users and scripts type them, on a cluster that serves iris."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.local_cluster import BIN, ROOT, LocalCluster, copy_repository, infer, wait_until
from tests.terminal import terminal

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Running:
    """A command that runs, and the files that get what it says."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path

    def interrupt(self) -> int:
        """Do what ctrl-C does; return the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(10)


Start = Callable[..., Running]


@pytest.fixture
def start(iris_cluster: LocalCluster, tmp_path: Path) -> Iterator[Start]:
    """Start a command; it ends with the test at the latest."""
    # Shells make what runs in their background deaf to ctrl-C, these tests included, and whoever
    # starts a process hands that on.
    earlier = signal.signal(signal.SIGINT, signal.default_int_handler)
    out, err = tmp_path / "out", tmp_path / "err"
    started = []

    def start(*arguments: str) -> Running:
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [BIN / "abserve", *arguments],
                env=iris_cluster.environment,
                cwd=ROOT,
                stdout=stdout,
                stderr=stderr,
            )
        started.append(process)
        return Running(process, out, err)

    yield start
    for process in started:
        process.kill()
        process.wait()
    signal.signal(signal.SIGINT, earlier)


def test_status_without_a_name_lists_what_is_there(iris_cluster: LocalCluster) -> None:
    shown = iris_cluster.must("abserve", "status")
    assert f"a local cluster is running in {iris_cluster.home}" in shown
    assert "gateway: http://localhost:" in shown
    assert shown.splitlines()[-1].split()[:2] == ["iris", "Available"]
    answer = json.loads(iris_cluster.must("abserve", "status", "--all-namespaces", "--json"))
    assert [(each["namespace"], each["name"]) for each in answer["deployments"]] == [
        ("default", "iris")
    ]
    assert answer["local_cluster"]["gateway_url"] == answer["gateway"]


def test_every_answer_is_one_json_document(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    cluster = LocalCluster(tmp_path)
    ports = ("--gateway-port", "0", "--api-port", "0")
    up = json.loads(cluster.must("abserve", "up", "--detach", *ports, "--json"))
    try:
        assert up["kubeconfig"] == str(tmp_path / "kubeconfig")
        assert psutil.Process(up["pid"]).is_running()
        cluster.apply_iris()
        changed = cluster.must(
            "abserve", "weights", "iris", "baseline=50", "candidate=50", "--json"
        )
        assert json.loads(changed)["weights"] == {"baseline": 50, "candidate": 50}
        promoted = json.loads(cluster.must("abserve", "promote", "iris", "--json"))
        assert promoted["model_uri"] == "s3://models/iris/v2"
    finally:
        down = json.loads(cluster.must("abserve", "down", "--json"))
    assert down == {"home": str(tmp_path), "stopped": True}


def test_logs_of_all_replicas_are_told_apart(iris_cluster: LocalCluster) -> None:
    lines = iris_cluster.must("abserve", "logs", "iris", "--tail", "1").splitlines()
    assert {line.split("/")[0] for line in lines} == {"baseline", "candidate"}
    only = iris_cluster.must("abserve", "logs", "iris", "baseline", "--tail", "1")
    assert len(only.splitlines()) == 1
    assert not only.startswith("baseline/")


def test_logs_follow_what_is_said_until_ctrl_c(iris_cluster: LocalCluster, start: Start) -> None:
    url = iris_cluster.url()
    logs = start("logs", "iris", "--follow", "--tail", "0")

    def refused_request_is_told() -> bool:
        infer(url, inputs=[])
        return "refused" in logs.out.read_text()

    wait_until(refused_request_is_told, logs.err.read_text)
    assert logs.interrupt() == 130
    assert logs.err.read_text() == "\n"


def test_the_log_of_the_run_before_is_kept(iris_cluster: LocalCluster) -> None:
    psutil.Process(iris_cluster.pid_of("baseline")).kill()
    wait_until(lambda: bool(iris_cluster.predictor("baseline")["ready"]), iris_cluster.processes)
    assert iris_cluster.must("abserve", "logs", "iris", "baseline", "--previous")


def test_the_local_clusters_own_parts_have_logs(iris_cluster: LocalCluster) -> None:
    lines = iris_cluster.must("abserve", "logs", "--system").splitlines()
    assert {"cluster", "rclone"} <= {line.partition(":")[0] for line in lines}
    assert any(line.endswith("ready") for line in lines if line.startswith("cluster:"))


def test_on_a_terminal_a_wait_shows_what_is_waited_for(iris_cluster: LocalCluster) -> None:
    with terminal() as screen:
        done = subprocess.run(
            [BIN / "abserve", "promote", "iris", "--json"],
            env={**iris_cluster.environment, "TERM": "xterm", "COLUMNS": "200"},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=screen.stream,
            text=True,
            timeout=120,
            check=True,
        )
    assert json.loads(done.stdout)["variant"] == "baseline"
    assert "iris: promoting" in screen.said
    assert "giving baseline the version of candidate" in screen.said
    assert "iris: Creating, baseline: " in screen.said


def test_an_interrupted_wait_ends_with_130_and_says_no_more(
    iris_cluster: LocalCluster, start: Start
) -> None:
    promote = start("promote", "iris")
    # From then on it waits for a server to start.
    wait_until(lambda: "giving baseline" in promote.out.read_text(), promote.err.read_text)
    assert promote.interrupt() == 130
    assert "Traceback" not in promote.err.read_text()


def test_names_are_completed_from_the_cluster(iris_cluster: LocalCluster) -> None:
    completing = {"_ABSERVE_COMPLETE": "bash_complete", "COMP_CWORD": "3"}
    done = iris_cluster.run("abserve", COMP_WORDS="abserve weights iris ", **completing)
    assert done.stdout.split() == ["plain,baseline=", "plain,candidate="]
