"""Alertmanager as a process of its own, and whoever it tells.

The configuration is that of the cluster's HelmRelease. Debian's Alertmanager is older than the
cluster's and does not know `url_file`, so each receiver is given the address itself.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from abserve.cluster.ports import free_port
from tests.e2e.prometheus_process import Started
from tests.manifests.rendering import MANIFESTS, rendered


def stack_values() -> dict[str, Any]:
    """Return what Flux gives to kube-prometheus-stack."""
    found = rendered(MANIFESTS / "infrastructure/controllers")
    (release,) = [
        each
        for each in found
        if each["kind"] == "HelmRelease" and each["metadata"]["name"] == "kube-prometheus-stack"
    ]
    chosen: dict[str, Any] = release["spec"]["values"]
    return chosen


def webhooks(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for receiver in config["receivers"]:
        for each in receiver.get("webhook_configs", ()):
            yield receiver["name"], each


def written(config: Mapping[str, Any], address: str, file: Path) -> Path:
    """Write the configuration with receivers below an address, each at its own name."""
    changed = json.loads(json.dumps(config))
    for name, each in webhooks(changed):
        del each["url_file"]
        each["url"] = f"{address}/{name}"
    file.write_text(yaml.safe_dump(changed))
    return file


class Inbox:
    """A web server that keeps what is posted to it, by path."""

    def __init__(self) -> None:
        received: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                received[self.path].append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.received = received
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def names(self, path: str) -> list[list[str]]:
        """Return the names of the alerts in each message to a path."""
        return [
            sorted(alert["labels"]["alertname"] for alert in message["alerts"])
            for message in self.received[path]
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def alertmanager_telling(inbox: Inbox, config: Mapping[str, Any], folder: Path) -> Started:
    """Start one with our routes, which collects for one second what belongs together."""
    sooner = json.loads(json.dumps(config))
    for route in (sooner["route"], *sooner["route"]["routes"]):
        if route.get("group_wait", "0s") != "0s":
            route["group_wait"] = "1s"
    port = free_port()
    command = [
        "prometheus-alertmanager",
        f"--config.file={written(sooner, inbox.url, folder / 'alertmanager.yaml')}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    return Started(command, folder / "alertmanager.log", port)
