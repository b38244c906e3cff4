"""A better candidate is promoted and a worse one rolled back, by nobody but the controller.

Both are real: v1 and v2 of iris, once in either role, on rows that neither was fitted on. Ground
truth comes seconds after the answer, as it would come days after it elsewhere.
"""

import heapq
import json
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from abserve.cli.training import MODELS, held_out_rows
from tests.e2e.debian import needs
from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    iris,
    running_cluster,
    wait_until,
)
from tests.e2e.prometheus_process import Prometheus

pytestmark = pytest.mark.e2e

_DELAYS_SECONDS = (1.0, 4.0)
_REQUESTS_PER_SECOND = 60
_WITHIN_SECONDS = 150.0

EXPERIMENT: dict[str, Any] = {
    "primary": {"metric": "accuracy", "claim": "superiority"},
    "guardrails": [{"metric": "error_rate", "margin": 0.05}],
    "interval_seconds": 5,
    "maturity_seconds": 5,
    "minimum_units": 200,
    "maximum_seconds": 600,
    "weight_steps": [25, 50],
    "step_seconds": 10,
    "unavailable_seconds": 20,
}


@dataclass
class Users:
    """Ask at a steady pace, and tell the truth some seconds after each answer."""

    url: str
    n_answered: int = 0
    n_told: int = 0
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def asking(self) -> Iterator[None]:
        stop = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._ask_until, stop)
            try:
                yield
            finally:
                stop.set()
            running.result()

    def _ask_until(self, stop: threading.Event) -> None:
        rows, labels = held_out_rows("iris", ROOT / MODELS)
        examples = list(zip(rows, labels, strict=True))
        chance = random.Random(7)
        untold: list[tuple[float, str, str]] = []
        with requests.Session() as session:
            while not stop.wait(1 / _REQUESTS_PER_SECOND):
                row, label = chance.choice(examples)
                answer = self._post(session, self.url, _request(row))
                if answer is not None:
                    self.n_answered += 1
                    due = time.monotonic() + chance.uniform(*_DELAYS_SECONDS)
                    token = answer["parameters"]["feedback_token"]
                    heapq.heappush(untold, (due, token, label))
                while untold and untold[0][0] <= time.monotonic():
                    _, token, label = heapq.heappop(untold)
                    truth = {"feedback_token": token, "ground_truth": label}
                    feedback = f"{self.url.removesuffix('/infer')}/feedback"
                    self.n_told += self._post(session, feedback, truth) is not None

    def _post(
        self, session: requests.Session, url: str, body: dict[str, Any]
    ) -> dict[str, Any] | None:
        try:
            response = session.post(url, json=body, timeout=10)
            response.raise_for_status()
        except requests.RequestException as error:
            self.failures.append(str(error))
            return None
        answer: dict[str, Any] = response.json()
        return answer


def _request(row: "list[float] | Any") -> dict[str, Any]:
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": list(row)}
    return {"inputs": [tensor]}


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    home = tmp_path_factory.mktemp("cluster")
    copy_repository(repository, home)
    with running_cluster(home, "--record-every", "1") as running:
        for name, versions in (("better", ("v1", "v2")), ("worse", ("v2", "v1"))):
            document = iris()
            document["metadata"]["name"] = name
            for predictor, version, weight in zip(
                document["spec"]["predictors"], versions, (100, 0), strict=True
            ):
                predictor["graph"]["modelUri"] = f"s3://models/iris/{version}"
                predictor["traffic"] = weight
            applied = running.apply(document)
            assert applied.returncode == 0, applied.stderr
        for name in ("better", "worse"):
            running.wait_until_available(name)
        yield running


def experiment(folder: Path, deployment: str, **changes: Any) -> Path:
    file = folder / f"{deployment}.yaml"
    file.write_text(yaml.safe_dump({"deployment": deployment, **EXPERIMENT, **changes}))
    return file


@dataclass(frozen=True)
class Replica:
    """A replica as Prometheus finds it: under the labels that a PodMonitor gives it."""

    port: int
    labels: dict[str, str]


def replicas(cluster: LocalCluster, name: str) -> Iterator[Replica]:
    for pod in cluster.pods(name):
        ports = [port for each in pod["spec"]["containers"] for port in each["ports"]]
        (port,) = (port["containerPort"] for port in ports if port["name"] == "metrics")
        yield Replica(
            port,
            {
                "__metrics_path__": "/prometheus",
                "namespace": "default",
                "pod": pod["metadata"]["name"],
                "seldon_deployment_id": name,
            },
        )


def rollout(cluster: LocalCluster, file: Path, name: str, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            *("abserve", "rollout", name, "--experiment", str(file)),
            *("--settling", "2", "--json", *options),
        ],
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def log_of(cluster: LocalCluster, name: str) -> Path:
    (log,) = (cluster.home / "rollouts/default" / name).glob("*.jsonl")
    return log


def uris(cluster: LocalCluster, name: str) -> dict[str, tuple[str, int]]:
    """Return what each predictor serves, and its weight."""
    return {
        each["name"]: (each["graph"]["modelUri"], each["traffic"])
        for each in cluster.get(name)["spec"]["predictors"]
    }


@pytest.fixture
def prometheus(cluster: LocalCluster, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus, which scrapes the replicas of the worse candidate and its baseline."""
    scraped = list(replicas(cluster, "worse"))
    running = Prometheus(tmp_path, scraped)
    found = "process_start_time_seconds"
    wait_until(lambda: len(running.query(found)) == len(scraped), lambda: running.query(found))
    yield running
    running.kill()


@needs("prometheus")
def test_better_candidate_is_promoted_and_worse_one_rolled_back(
    cluster: LocalCluster, prometheus: Prometheus, tmp_path: Path
) -> None:
    """The one by what the local cluster recorded, the other by Prometheus."""
    files = {name: experiment(tmp_path, name) for name in ("better", "worse")}
    users = {name: Users(cluster.url(name)) for name in files}
    with users["better"].asking(), users["worse"].asking():
        worse = rollout(cluster, files["worse"], "worse", "--prometheus", prometheus.url)
        killed = rollout(cluster, files["better"], "better")
        assert killed.stdout is not None
        # Its second block: by then it has something to lose.
        blocks = (line for line in killed.stdout if '"kind": "block"' in line)
        assert [next(blocks), next(blocks)]
        killed.kill()
        killed.communicate()
        better = rollout(cluster, files["better"], "better")
        for controller in (better, worse):
            output, errors = controller.communicate(timeout=_WITHIN_SECONDS)
            assert controller.returncode == 0, output[-2000:] + errors
    assert users["better"].failures == []
    assert users["worse"].failures == []
    assert uris(cluster, "better") == {"baseline": ("s3://models/iris/v2", 100)}
    assert uris(cluster, "worse") == {
        "baseline": ("s3://models/iris/v2", 100),
        "candidate": ("s3://models/iris/v1", 0),
    }
    outcomes = {name: records(log_of(cluster, name))[-1] for name in files}
    assert outcomes["better"]["outcome"] == "promoted"
    assert outcomes["worse"]["outcome"] == "rolled back"
    for name, said in (("better", "promoted"), ("worse", "rolled back")):
        log = log_of(cluster, name)
        assert cluster.must("abserve", "replay", str(log)).endswith("decisions: all the same\n")
        analysis = cluster.abserve("analyze", name, "--log", str(log))
        assert analysis.returncode == 0
        assert said in analysis.stdout
    # Reads like what happened to those who only look at the cluster.
    events = cluster.must("kubectl", "events", "--for", "sdep/better")
    assert "promoted" in events
