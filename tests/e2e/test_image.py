"""What a target of the Dockerfile copies, run as in a pod, without Docker.

The same files, packages that the lock lacks cannot be imported, the file system is read-only but
for one folder, as /tmp in a pod, and the user is the operator's, who has no name and no home.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import requests

from abserve.cluster.ports import HOST, free_port
from tests import image_files
from tests.e2e.local_cluster import wait_until
from tests.runtimes.server_process import REQUEST
from tests.runtimes.versions import write_version

pytestmark = pytest.mark.e2e


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A folder in which ``tmp`` can be written, and nothing else can."""
    (tmp_path / "tmp").mkdir()
    done = subprocess.run(
        image_files.contained(tmp_path / "tmp", ["sh", "-c", f"touch {tmp_path}/refused"]),
        capture_output=True,
        text=True,
        check=False,
    )
    if "Read-only file system" not in done.stderr:
        pytest.skip(f"this machine lets nobody make a read-only root: {done.stderr.strip()}")
    return tmp_path


def as_in_a_pod(ground: Path, target: str, module: str) -> dict[str, Any]:
    """Return what starts a module in a container of the target, as arguments of `subprocess`."""
    return {
        "args": image_files.contained(ground / "tmp", image_files.command(target, module)),
        "cwd": ground / "tmp",
        "env": image_files.environment(
            image_files.lay_out(target, ground / "app"),
            TMPDIR=str(ground / "tmp"),
            MPLCONFIGDIR=str(ground / "tmp/matplotlib"),
        ),
    }


def abserve(ground: Path, target: str, *arguments: str) -> str:
    pod = as_in_a_pod(ground, target, "abserve.cli")
    pod["args"] += arguments
    done = subprocess.run(**pod, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def healthy(port: int) -> bool:
    """Ask as the image's own health check does."""
    (check,) = image_files.inherited("serving", "HEALTHCHECK")
    command = json.loads(check[check.index("[") :])
    environment = {"PATH": os.environ["PATH"], "MLSERVER_HTTP_PORT": str(port)}
    done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=30)
    return done.returncode == 0


def test_any_user_can_serve_from_code_that_cannot_be_written(ground: Path) -> None:
    version = write_version(ground / "models")
    port, grpc_port, metrics_port = (free_port() for _ in range(3))
    pod = as_in_a_pod(ground, "serving", "runtimes.server")
    pod["env"] |= {
        "ABSERVE_DRAIN_SECONDS": "0",
        "ABSERVE_FEEDBACK_KEY": "a key that only tests know",
        "MLSERVER_HOST": HOST,
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(grpc_port),
        "MLSERVER_METRICS_PORT": str(metrics_port),
        "MLSERVER_MODELS_DIR": str(version),
    }
    assert not healthy(port)
    log = ground / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(**pod, stdout=output, stderr=output)
    try:
        wait_until(lambda: process.poll() is not None or healthy(port), log.read_text)
        assert process.poll() is None, log.read_text()
        answer = requests.post(
            f"http://{HOST}:{port}/v2/models/iris/infer", json=REQUEST, timeout=10
        )
        assert answer.json()["model_version"] == "v1"
        process.terminate()
        assert process.wait(30) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


def test_the_training_image_trains_and_publishes(ground: Path) -> None:
    answer = abserve(
        ground,
        "training",
        "train",
        "iris",
        "--version=v1",
        f"--repository={(ground / 'tmp/repository').as_uri()}",
        f"--models={ground / 'app/models'}",
        f"--settings={ground / 'app/model-settings'}",
        "--json",
    )
    assert json.loads(answer)["metadata"]["version"] == "v1"
    assert (ground / "tmp/repository/iris/v1/checksums.json").exists()


@pytest.mark.parametrize("words", ["retrain", "models prune", "score"])
def test_the_training_image_has_what_its_other_commands_import(ground: Path, words: str) -> None:
    assert abserve(ground, "training", *words.split(), "--help").startswith("Usage:")


def test_the_rollout_image_runs_its_command(ground: Path) -> None:
    (words,) = image_files.inherited("rollout", "CMD")
    assert "--keep-watching" in abserve(ground, "rollout", *json.loads(words))
