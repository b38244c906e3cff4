"""Prometheus as a process of its own, and the targets that it scrapes."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time
from typing import Any, Protocol

import requests

from abserve.cluster.ports import free_port
from tests.e2e.local_cluster import wait_until

EXPORTER = Path(__file__).with_name("exporter.py")


class Started:
    """A process that can be killed, and started again as it was."""

    def __init__(self, command: list[str], log: Path, port: int) -> None:
        self.port, self._command, self._log = port, command, log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(self._answers, self._log.read_text)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Target(Protocol):
    """What Prometheus scrapes: a port of this machine, under these labels."""

    @property
    def port(self) -> int: ...

    @property
    def labels(self) -> Mapping[str, str]: ...


class Exporter(Started):
    """A server of one version, as far as its metrics go."""

    def __init__(self, pod: str, version: str, folder: Path) -> None:
        self.pod, port = pod, free_port()
        command = [sys.executable, str(EXPORTER), str(port), version]
        super().__init__(command, folder / f"{pod}.log", port)

    @property
    def labels(self) -> Mapping[str, str]:
        return {"namespace": "shop", "pod": self.pod}

    def count(self, *counted: tuple[str, Mapping[str, str], float]) -> None:
        requests.post(self.url, data=json.dumps(counted), timeout=5).raise_for_status()


class Prometheus(Started):
    """Scrapes twice a second what it is given, evaluates `rules`, and keeps all in `folder`.

    Alerts go to the `alertmanager`.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[Target] = (),
        rules: Sequence[Path] = (),
        alertmanager: Started | None = None,
    ) -> None:
        told = [f"127.0.0.1:{alertmanager.port}"] if alertmanager else []
        config = folder / "prometheus.yaml"
        config.write_text(
            json.dumps(
                {
                    "global": {
                        "scrape_interval": "500ms",
                        "scrape_timeout": "500ms",
                        "evaluation_interval": "1s",
                    },
                    "rule_files": [str(file) for file in rules],
                    "alerting": {"alertmanagers": [{"static_configs": [{"targets": told}]}]},
                    "scrape_configs": [
                        {
                            "job_name": "pods",
                            "static_configs": [
                                {
                                    "targets": [f"127.0.0.1:{target.port}"],
                                    "labels": dict(target.labels),
                                }
                                for target in targets
                            ],
                        }
                    ],
                }
            )
        )
        port = free_port()
        command = [
            "prometheus",
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            # What was sent before the alertmanager was known is lost, and sent again after this.
            "--rules.alert.resend-delay=1s",
        ]
        super().__init__(command, folder / "prometheus.log", port)

    def edge(self, *targets: Exporter) -> float:
        """Return a moment before which all was scraped that these had counted until now."""
        began_at = time()

        def scraped() -> list[float]:
            found = self.query('timestamp(process_start_time_seconds{namespace="shop"})')
            times = {each["metric"]["pod"]: float(each["value"][1]) for each in found}
            return [times.get(target.pod, 0.0) for target in targets]

        wait_until(lambda: min(scraped()) > began_at, scraped)
        return time()

    def query(self, query: str) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=5)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found
