"""A local cluster driven as its users drive it: by its command line, kubectl and HTTP."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
BASE = ROOT / "manifests/base/iris"
OVERLAY = ROOT / "manifests/overlays/local/iris"

SETOSA = [5.1, 3.5, 1.4, 0.2]
WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class LocalCluster:
    """A running cluster in `home`; every command is a real process."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ABSERVE_")}
        return {
            **kept,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.home / "kubeconfig"),
            "ABSERVE_HOME": str(self.home),
        }

    def run(
        self, *command: str, text: str | None = None, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.within(*command),
            cwd=ROOT,
            env={**self.environment, **environment},
            input=text,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def within(self, *command: str) -> list[str]:
        """Return a command that runs where the cluster is: on this machine, as it stands."""
        return list(command)

    def abserve(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return self.run("abserve", *arguments, **environment)

    def kubectl(
        self, *arguments: str, text: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return self.run("kubectl", *arguments, text=text)

    def must(self, *command: str, text: str | None = None) -> str:
        """Run a command that has to succeed; return what it printed."""
        done = self.run(*command, text=text)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def apply(self, document: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
        return self.kubectl("apply", "-f", "-", text=yaml.safe_dump(document))

    def apply_iris(self) -> None:
        """Apply what the repository ships, and wait until it serves."""
        self.must("kubectl", "apply", "-k", str(OVERLAY))
        self.wait_until_available("iris")

    def wait_until_available(self, name: str) -> None:
        wait_until(
            lambda: (
                (found := self.get(name))["status"].get("state") == "Available"
                and found["status"]["observedGeneration"] == found["metadata"]["generation"]
            ),
            lambda: self.get(name)["status"],
        )

    def delete(self, name: str) -> None:
        self.must("kubectl", "delete", "sdep", name, "--ignore-not-found")
        wait_until(lambda: not self.pods(name), lambda: self.pods(name))

    def get(self, name: str) -> dict[str, Any]:
        found = json.loads(self.must("kubectl", "get", "sdep", name, "-o", "json"))
        return {"status": {}, **found}

    def pods(self, name: str) -> list[dict[str, Any]]:
        selector = f"seldon-deployment-id={name}"
        listed = self.must("kubectl", "get", "pods", "-l", selector, "-o", "json")
        items: list[dict[str, Any]] = json.loads(listed)["items"]
        return items

    def status(self, name: str = "iris") -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.must("abserve", "status", name, "--json"))
        return status

    def predictor(self, predictor: str, name: str = "iris") -> dict[str, Any]:
        found = [each for each in self.status(name)["predictors"] if each["name"] == predictor]
        assert found, f"{name} has no predictor {predictor}"
        return dict(found[0])

    def url(self, name: str = "iris") -> str:
        return str(self.status(name)["gateway"])

    def processes(self) -> list[dict[str, Any]]:
        record = self.home / "processes.json"
        recorded: list[dict[str, Any]] = json.loads(record.read_text()) if record.exists() else []
        return recorded

    def pid_of(self, part: str) -> int:
        """Return the number of the recorded process whose name holds `part`."""
        return next(int(each["pid"]) for each in self.processes() if part in each["name"])

    def break_candidate(self) -> None:
        """Make the candidate of iris crash whenever it is started; return when that is known."""
        for model in self.home.glob("pods/*candidate*/**/model.onnx"):
            model.write_bytes(b"no model")
        psutil.Process(self.pid_of("candidate")).kill()
        wait_until(
            lambda: self.get("iris")["status"]["state"] == "Failed",
            lambda: self.get("iris")["status"],
        )


@contextmanager
def running_cluster(home: Path, *arguments: str) -> Iterator[LocalCluster]:
    """Start a cluster on free ports; stop it at the end, and see that nothing is left."""
    cluster = LocalCluster(home)
    if "--gateway-port" not in arguments:
        arguments = (*arguments, "--gateway-port", "0")
    if "--console-port" not in arguments:
        arguments = (*arguments, "--no-console")
    if "--record-every" not in arguments:
        arguments = (*arguments, "--no-record")
    cluster.must("abserve", "up", "--detach", "--api-port", "0", *arguments)
    children = [psutil.Process(each["pid"]) for each in cluster.processes()]
    try:
        yield cluster
    finally:
        cluster.must("abserve", "down")
        assert not any(child.is_running() for child in children)


def copy_repository(source: Path, home: Path) -> None:
    shutil.copytree(source, home / "repository")


def iris(**changes: Any) -> dict[str, Any]:
    """Return the SeldonDeployment the repository ships; `changes` replace top-level spec fields."""
    document: dict[str, Any] = yaml.safe_load(_iris())
    document["spec"].update(changes)
    return document


@cache
def _iris() -> str:
    made = subprocess.run(
        [BIN / "kubectl", "kustomize", BASE], capture_output=True, check=True, text=True, timeout=60
    )
    documents = made.stdout.split("---\n")
    (found,) = [each for each in documents if "\nkind: SeldonDeployment\n" in each]
    return found


def infer(url: str, row: list[float] | None = None, **fields: Any) -> requests.Response:
    body = {
        "inputs": [
            {"name": "features", "shape": [1, 4], "datatype": "FP64", "data": row or SETOSA}
        ],
        **fields,
    }
    return requests.post(url, json=body, timeout=10)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_until(
    condition: Callable[[], bool], explain: Callable[[], object], seconds: float = WAIT_SECONDS
) -> None:
    """Wait until `condition` holds; fail with what `explain` says if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {explain()}")
        time.sleep(0.05)
