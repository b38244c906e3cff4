"""The queries that KEDA asks, asked of a Prometheus that scrapes two predictors under load.

Istio's metrics are not here: Envoy's own histogram of the same time is scraped under Istio's names.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import psutil
import pytest
import requests

from abserve.cluster.ports import free_port
from tests.e2e.debian import needs
from tests.e2e.local_cluster import SETOSA, LocalCluster, wait_until
from tests.e2e.prometheus_process import Prometheus, Started
from tests.manifests.test_scaling import scaled, specs

pytestmark = [pytest.mark.e2e, needs("prometheus"), needs("wrk")]

N_CONNECTIONS = 24
LOAD_SECONDS = 90
# In place of the minute of the manifest, which a test would have to wait for. Envoy adds up its
# histograms every 5 s, so that a quarter of it may be missing.
WINDOW_SECONDS = 20
WINDOW = f"[{WINDOW_SECONDS}s]"


class Scraping(Prometheus):
    """Prometheus, with the labels that our PodMonitors and Istio give."""

    def __init__(self, folder: Path, metrics_ports: Mapping[str, int], admin_port: int) -> None:
        replicas = [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {"namespace": "models", "deployment": "iris", "predictor": predictor},
            }
            for predictor, port in metrics_ports.items()
        ]
        gateway = {
            "targets": [f"127.0.0.1:{admin_port}"],
            "labels": {"destination_workload_namespace": "models", "reporter": "source"},
        }
        renaming = [
            {
                "source_labels": ["__name__"],
                "regex": "envoy_cluster_upstream_rq_time_sum",
                "replacement": "istio_request_duration_milliseconds_sum",
                "target_label": "__name__",
            },
            {"source_labels": ["deployment"], "target_label": "destination_canonical_service"},
        ]
        jobs = [
            {"job_name": "pods", "metrics_path": "/prometheus", "static_configs": [replicas[0]]},
            {"job_name": "others", "metrics_path": "/prometheus", "static_configs": [replicas[1]]},
            {
                "job_name": "gateway",
                "metrics_path": "/stats/prometheus",
                "static_configs": [gateway],
                "metric_relabel_configs": renaming,
            },
        ]
        config = folder / "prometheus.yaml"
        settings = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
        config.write_text(json.dumps({"global": settings, "scrape_configs": jobs}))
        port = free_port()
        command = [
            *("prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        Started.__init__(self, command, folder / "prometheus.log", port)

    def number(self, query: str) -> float:
        """Return what KEDA would take the answer for: it has to be one number."""
        (only,) = self.query(query)
        return float(only["value"][1])


@dataclass(frozen=True)
class Seen:
    """What the queries said at the end of a time under load, and what was so meanwhile."""

    wished_by_cpu: float
    wished_by_waiting: float
    cores: float
    cores_asked: float
    in_flight: float
    in_flight_asked: float


def in_flight(admin_port: int) -> int:
    text = requests.get(f"http://127.0.0.1:{admin_port}/stats/prometheus", timeout=5).text
    pattern = r'envoy_cluster_upstream_rq_active\{.*transport="rest"\} (\d+)'
    return sum(int(each) for each in re.findall(pattern, text))


def load(folder: Path, url: str) -> "subprocess.Popen[bytes]":
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}
    script = folder / "body.lua"
    body = json.dumps({"inputs": [tensor]})
    script.write_text(
        f"wrk.method = 'POST'\nwrk.body = '{body}'\n"
        "wrk.headers['content-type'] = 'application/json'\n"
    )
    connections = f"-c{N_CONNECTIONS}"
    command = ["wrk", "-t1", connections, f"-d{LOAD_SECONDS}s", "-s", str(script), url]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    deployment = scaled(tmp_path_factory.mktemp("keda"), "keda", "iris", (90, 10))
    triggers: list[dict[str, Any]] = specs(deployment)[0]["kedaSpec"]["triggers"]
    return [each["metadata"]["query"].replace("[1m]", WINDOW) for each in triggers]


@pytest.fixture
def seen(iris_cluster: LocalCluster, queries: list[str], tmp_path: Path) -> Iterator[Seen]:
    servers = [each for each in iris_cluster.processes() if "ports" in each["details"]]
    ports = {each["name"].split("-")[1]: each["details"]["ports"]["metrics"] for each in servers}
    (envoy,) = [each for each in iris_cluster.processes() if "admin_port" in each["details"]]
    admin_port = int(envoy["details"]["admin_port"])
    prometheus = Scraping(tmp_path, ports, admin_port)
    processes = [psutil.Process(each["pid"]) for each in servers]

    def used() -> float:
        return sum(sum(each.cpu_times()[:2]) for each in processes)

    client = load(tmp_path, iris_cluster.url())
    try:
        by_cpu, by_waiting = queries
        waiting = by_waiting.removeprefix("ceil(").removesuffix(" / 8)")
        # The past hour is looked at every 15 s.
        wait_until(lambda: any(float(each["value"][1]) for each in prometheus.query(waiting)), str)
        wait_until(lambda: bool(prometheus.query(by_cpu)), str)
        began_at, began_with, counted = time.monotonic(), used(), []
        while time.monotonic() - began_at < WINDOW_SECONDS:
            counted.append(in_flight(admin_port))
        seconds = time.monotonic() - began_at
        cores = (used() - began_with) / seconds
        (summed,) = set(re.findall(r"sum\(rate\(process_cpu[^)]*\)\)", by_cpu))
        yield Seen(
            prometheus.number(by_cpu),
            prometheus.number(by_waiting),
            cores,
            prometheus.number(summed),
            mean(counted),
            prometheus.number(waiting),
        )
    finally:
        client.kill()
        client.wait()
        prometheus.kill()


def test_a_load_is_told_in_cores_and_in_requests_that_wait(seen: Seen) -> None:
    assert seen.cores_asked == pytest.approx(seen.cores, rel=0.2)
    assert seen.in_flight_asked == pytest.approx(seen.in_flight, rel=0.4)
    assert seen.wished_by_cpu in {1.0, 2.0, 3.0}
    assert seen.wished_by_waiting == -(-seen.in_flight_asked // 8)
