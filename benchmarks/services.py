"""The services that are compared, each one process on ports of its own.

Ours serves a published version with all features on. The peers are stock MLServer with
mlserver-sklearn, what people write by hand with FastAPI, and as the floor uvicorn with a constant
reply: no Python server that answers over HTTP is faster.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from abserve.cluster.ports import free_port
from abserve.errors import AbserveError
from benchmarks.cases import Service
from benchmarks.models import NAME, ROOT, Prepared

_BIN = Path(sys.executable).parent
# A hundred models take their time.
_START_SECONDS = 120.0
_END_SECONDS = 20.0
_LAST_LINES = 5


class ServiceError(AbserveError):
    """A service does not start; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers: where, and as which process."""

    service: Service
    process_id: int
    http_port: int
    grpc_port: int

    @property
    def infer_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/v2/models/{NAME}/infer"


@contextmanager
def running(service: Service, prepared: Prepared, log: Path) -> Iterator[Running]:
    """Run a service until the block ends; what it says goes to `log`.

    Raises
    ------
    ServiceError
        If it ends, or does not say in time that it is ready.
    """
    http, grpc, metrics = free_port(), free_port(), free_port()
    environment = {
        **os.environ,
        # What is measured is the code beside this, wherever it was started from.
        "PYTHONPATH": str(ROOT),
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(http),
        "MLSERVER_GRPC_PORT": str(grpc),
        "MLSERVER_METRICS_PORT": str(metrics),
        "ABSERVE_FEEDBACK_KEY": "a key that only benchmarks know",
        "BENCHMARK_MODEL": str(prepared.joblib),
    }
    uvicorn = [f"{_BIN}/uvicorn", "--host", "127.0.0.1", "--port", str(http), "--no-access-log"]
    command = {
        Service.OURS: [sys.executable, "-m", "runtimes.server", str(prepared.ours)],
        Service.STOCK: [f"{_BIN}/mlserver", "start", str(prepared.stock)],
        Service.BY_HAND: [*uvicorn, "benchmarks.by_hand:app"],
        Service.FLOOR: [*uvicorn, "benchmarks.by_hand:constant"],
    }[service]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=log.parent, env=environment, stdout=output, stderr=output
        )
    try:
        started = Running(service, process.pid, http, grpc)
        if not _becomes_ready(process, started):
            said = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
            raise ServiceError(f"{service} did not become ready; it said last: {' | '.join(said)}")
        yield started
    finally:
        _end(process)


def _becomes_ready(process: "subprocess.Popen[bytes]", started: Running) -> bool:
    ports = [started.http_port]
    if started.service in {Service.OURS, Service.STOCK}:
        ports.append(started.grpc_port)
    url = f"http://127.0.0.1:{started.http_port}/v2/models/{NAME}/ready"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if all(map(_listens, ports)) and _says_ready(url):
            return True
        time.sleep(0.05)
    return False


def _says_ready(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).ok
    except requests.RequestException:
        return False


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
