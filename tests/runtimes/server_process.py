"""A server as a process of its own, for the end-to-end tests."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import requests
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc

from abserve.cluster.ports import free_port
from tests.runtimes.versions import SETOSA

START_SECONDS = 60
STOCK = [str(Path(sys.executable).with_name("mlserver")), "start"]
OURS = [sys.executable, "-m", "runtimes.server"]
REQUEST = {
    "id": "r-1",
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": SETOSA}],
}


class ServerProcess:
    """A server that was started on ports of its own, and what it logged."""

    def __init__(
        self, command: list[str], folder: Path | None, logs: Path, **environment: str
    ) -> None:
        self.http_port, grpc_port, metrics_port = free_port(), free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.grpc_address = f"127.0.0.1:{grpc_port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        # What other tests of this process have set for themselves is no business of the server's.
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ABSERVE_")}
        logs.mkdir(parents=True)
        self._stdout, self._stderr = logs / "stdout", logs / "stderr"
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*command, *([str(folder)] if folder else [])],
                stdout=stdout,
                stderr=stderr,
                cwd=logs,
                env={
                    **kept,
                    "ABSERVE_FEEDBACK_KEY": "a key that only tests know",
                    "ABSERVE_DRAIN_SECONDS": "0",
                    "MLSERVER_HOST": "127.0.0.1",
                    "MLSERVER_HTTP_PORT": str(self.http_port),
                    "MLSERVER_GRPC_PORT": str(grpc_port),
                    "MLSERVER_METRICS_PORT": str(metrics_port),
                    **environment,
                },
            )

    @property
    def stdout(self) -> str:
        return self._stdout.read_text()

    @property
    def stderr(self) -> str:
        return self._stderr.read_text()

    def status(self, path: str) -> int | None:
        try:
            return requests.get(self.url + path, timeout=5).status_code
        except requests.ConnectionError:
            return None

    def wait_until_ready(self) -> set[int | None]:
        """Return every status that readiness had on the way."""
        seen: set[int | None] = set()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            seen.add(self.status("/v2/health/ready"))
            if 200 in seen:
                return seen
            time.sleep(0.01)
        raise AssertionError(f"not ready, exit code {self.process.poll()}: {self.stderr}")

    def post(self, path: str, body: Any, **kwargs: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=10, **kwargs)

    def infer(self, **changes: Any) -> requests.Response:
        return self.post("/v2/models/iris/infer", {**REQUEST, **changes})

    def infer_grpc(self, datatype: str = "FP32") -> dataplane_pb2.ModelInferResponse:
        request = dataplane_pb2.ModelInferRequest(model_name="iris")
        tensor = request.inputs.add(name="features", datatype=datatype, shape=[1, 4])
        tensor.contents.fp32_contents.extend(SETOSA)
        with grpc.insecure_channel(self.grpc_address) as channel:
            stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)
            return stub.ModelInfer(request, timeout=10)

    def send_raw(self, path: str, body: bytes, content_type: str) -> requests.Response:
        headers = {"content-type": content_type}
        return requests.post(self.url + path, data=body, headers=headers, timeout=10)

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


@contextmanager
def running(
    command: list[str], folder: Path | None, logs: Path, **environment: str
) -> Iterator[ServerProcess]:
    server = ServerProcess(command, folder, logs, **environment)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionError:
            return
        time.sleep(0.01)
    raise AssertionError("the server still listens")


def fail_to_start(folder: Path, logs: Path, **environment: str) -> list[str]:
    """Return the lines of stderr of a server that ends by itself, with exit code 1."""
    with running(OURS, folder, logs, **environment) as server:
        assert server.process.wait(timeout=START_SECONDS) == 1
        assert "Traceback" not in server.stdout + server.stderr
        return server.stderr.splitlines()
