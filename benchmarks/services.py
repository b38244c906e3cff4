"""The services that are compared, each one process on one port.

`abserve` serves a published version with all features on. `mlserver` is stock MLServer with
mlserver-sklearn, `fastapi` what people write by hand, and `floor` uvicorn with a constant reply:
no Python server that answers over HTTP is faster.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

NAMES = ("abserve", "mlserver", "fastapi", "floor")

_BIN = Path(sys.executable).parent
_START_SECONDS = 60.0


@contextmanager
def running(name: str, folder: Path) -> Iterator[str]:
    """Run a service on what `prepare` put into `folder`; give the URL for inference requests."""
    ports = [_free_port() for _ in range(3)]
    environment = {
        **os.environ,
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(ports[0]),
        "MLSERVER_GRPC_PORT": str(ports[1]),
        "MLSERVER_METRICS_PORT": str(ports[2]),
        "ABSERVE_FEEDBACK_KEY": "a key that only benchmarks know",
        "BENCHMARK_MODEL": str(folder / "mlserver" / "model.joblib"),
    }
    uvicorn = [_BIN / "uvicorn", "--host", "127.0.0.1", "--port", str(ports[0]), "--no-access-log"]
    command: list[str | Path] = {
        "abserve": [sys.executable, "-m", "runtimes.server", folder / "abserve"],
        "mlserver": [_BIN / "mlserver", "start", folder / "mlserver"],
        "fastapi": [*uvicorn, "benchmarks.by_hand:app"],
        "floor": [*uvicorn, "benchmarks.by_hand:constant"],
    }[name]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(list(map(str, command)), env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(process, f"http://127.0.0.1:{ports[0]}/v2/models/iris/ready")
        yield f"http://127.0.0.1:{ports[0]}/v2/models/iris/infer"
    finally:
        process.terminate()
        process.wait()


def stock_settings(folder: Path) -> None:
    """Write what stock MLServer needs, at the settings that are its fastest here."""
    model = {
        "name": "iris",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib", "version": "v1"},
    }
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 0}))


def _wait_until_ready(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.05)
    raise SystemExit(f"{process.args} did not become ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
