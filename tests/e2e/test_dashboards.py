"""Every panel shows something: its queries, asked of a Prometheus that scrapes what really runs.

Two versions of iris, one of diabetes, the gateway and the rollout controller are scraped under the
labels that our PodMonitors give them, while clients ask, are refused, and tell the truth. Our rules
are evaluated once a second instead of once a minute, and nothing else differs.
"""

import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
import yaml
from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc

from abserve.cli.training import MODELS, held_out_rows
from tests.dashboards.reading import (
    FILES,
    Expression,
    annotation_expressions,
    dashboard,
    panel_expressions,
    variable_expressions,
)
from tests.e2e.debian import needs
from tests.e2e.local_cluster import (
    ROOT,
    LocalCluster,
    copy_repository,
    iris,
    running_cluster,
    wait_until,
)
from tests.e2e.prometheus_process import Prometheus, free_port
from tests.manifests.rendering import MANIFESTS, rendered

pytestmark = [pytest.mark.e2e, needs("prometheus")]

WITHIN_SECONDS = 180.0
RULES = MANIFESTS / "monitoring" / "rules"
DIABETES = MANIFESTS / "overlays" / "local" / "diabetes"

# Nothing is decided for as long as the test runs: no variant ever has as many units.
EXPERIMENT: Mapping[str, Any] = {
    "deployment": "iris",
    "primary": {"metric": "accuracy", "claim": "superiority"},
    "guardrails": [{"metric": "error_rate", "margin": 0.05}],
    "interval_seconds": 2,
    "maturity_seconds": 2,
    "minimum_units": 1_000_000,
    "maximum_seconds": 3600,
    "weight_steps": [50],
    "step_seconds": 60,
    "unavailable_seconds": 60,
}
LONGEST_NAME = 80
# A regressor has no classes, and a classifier no errors: they are asked for where they are.
OF_REGRESSORS = {"Mean absolute error", "Root mean squared error"}
CHOICES = {
    "namespace": "default",
    "predictor": ".*",
    "model": ".*",
    "version": ".*",
    "window": "15m",
    # More than the four scrapes that Grafana waits for: the machine may be busy.
    "__rate_interval": "10s",
    "__range": "15m",
}

each_page = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


@dataclass(frozen=True)
class Scraped:
    port: int
    labels: dict[str, str]


@dataclass(frozen=True)
class Client:
    """Asks one SeldonDeployment with rows it was not fitted on, and tells what they were."""

    url: str
    model: str

    def ask(self, chance: random.Random) -> None:
        rows, truths = held_out_rows(self.model, ROOT / MODELS)
        chosen = [chance.randrange(len(rows)) for _ in range(20)]
        data = [[float(value) for value in rows[index]] for index in chosen]
        answer = self._post("infer", {"inputs": [_tensor(data)]})
        told = [truths[index] for index in chosen]
        token = answer["parameters"]["feedback_token"]
        self._post("feedback", {"feedback_token": token, "ground_truth": told, "reward": 0.5})
        refused = requests.post(self.url, json={"inputs": [_tensor([[1.0]])]}, timeout=10)
        assert refused.status_code == 400, refused.text

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        url = f"{self.url.removesuffix('/infer')}/{path}"
        response = requests.post(url, json=body, timeout=10)
        assert response.ok, response.text
        answer: dict[str, Any] = response.json()
        return answer


@dataclass(frozen=True)
class Scene:
    prometheus: Prometheus
    clients: Sequence[Client]
    grpc_ports: Sequence[int]
    chance: random.Random

    def without_data(self, asked: Sequence[Expression]) -> list[Expression]:
        return [each for each in asked if not self._has_data(each)]

    def _has_data(self, expression: Expression) -> bool:
        found = self.prometheus.query(expression.chosen(choices(expression)))
        return any(not isnan(float(each["value"][1])) for each in found)

    def values(self, label: str, expression: Expression) -> list[str]:
        url = f"{self.prometheus.url}/api/v1/label/{label}/values"
        matching = {"match[]": expression.chosen(choices(expression))}
        found: list[str] = requests.get(url, params=matching, timeout=5).json()["data"]
        return found

    def be_asked(self) -> None:
        for client in self.clients:
            client.ask(self.chance)
        for port in self.grpc_ports:
            _ask_by_grpc(port)


def choices(expression: Expression) -> dict[str, str]:
    regressor = any(title in expression.where for title in OF_REGRESSORS)
    return {**CHOICES, "deployment": "diabetes" if regressor else "iris"}


def _tensor(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    shape = [len(rows), len(rows[0])]
    return {"name": "features", "shape": shape, "datatype": "FP64", "data": rows}


def _ask_by_grpc(port: int) -> None:
    request = dataplane_pb2.ModelInferRequest(model_name="iris")
    tensor = request.inputs.add(name="features", datatype="FP64", shape=[1, 4])
    tensor.contents.fp64_contents.extend([5.1, 3.5, 1.4, 0.2])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        dataplane_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=10)


def _port(pod: Mapping[str, Any], name: str) -> int:
    ports = (each for one in pod["spec"]["containers"] for each in one["ports"])
    (found,) = (int(each["containerPort"]) for each in ports if each["name"] == name)
    return found


def _replicas(cluster: LocalCluster, name: str) -> Iterator[Scraped]:
    for pod in cluster.pods(name):
        labels = {
            "__metrics_path__": "/prometheus",
            "namespace": "default",
            "deployment": name,
            "predictor": pod["metadata"]["labels"]["version"],
            "pod": pod["metadata"]["name"],
        }
        yield Scraped(_port(pod, "metrics"), labels)


def _gateway(cluster: LocalCluster) -> Scraped:
    (envoy,) = [each for each in cluster.processes() if "admin_port" in each["details"]]
    return Scraped(envoy["details"]["admin_port"], {"__metrics_path__": "/stats/prometheus"})


def _rules(folder: Path) -> list[Path]:
    """Write the rules that the cluster has as files of Prometheus' own, evaluated at its pace."""
    documents = [
        document
        for file in sorted(RULES.glob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document["kind"] == "PrometheusRule"
    ]
    assert documents, f"no PrometheusRule in {RULES}"
    written = []
    for document in documents:
        groups = [
            {key: value for key, value in group.items() if key != "interval"}
            for group in document["spec"]["groups"]
        ]
        file = folder / f"{document['metadata']['name']}.yaml"
        file.write_text(yaml.safe_dump({"groups": groups}))
        written.append(file)
    return written


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    home = tmp_path_factory.mktemp("cluster")
    copy_repository(repository, home)
    LocalCluster(home).must("abserve", "train", "diabetes", "--version", "v1")
    with running_cluster(home, "--record-every", "1") as running:
        document = iris()
        for predictor in document["spec"]["predictors"]:
            predictor["traffic"] = 50
        applied = running.apply(document)
        assert applied.returncode == 0, applied.stderr
        (of_diabetes,) = [each for each in rendered(DIABETES) if each["kind"] == "SeldonDeployment"]
        alone = of_diabetes["spec"]["predictors"][0]
        of_diabetes["spec"]["predictors"] = [{**alone, "traffic": 100}]
        applied = running.apply(of_diabetes)
        assert applied.returncode == 0, applied.stderr
        for name in ("iris", "diabetes"):
            running.wait_until_available(name)
        yield running


@pytest.fixture(scope="module")
def controller(
    cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scraped]:
    """The rollout controller of iris, which goes on for as long as it is let."""
    folder = tmp_path_factory.mktemp("controller")
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(dict(EXPERIMENT)))
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("abserve", "rollout", "iris", "--experiment", str(file)),
                *("--settling", "2", "--keep-watching", "--metrics-port", str(port)),
            ],
            cwd=ROOT,
            env=cluster.environment,
            stdout=log,
            stderr=log,
        )
    yield Scraped(port, {"namespace": "default", "pod": "abserve-rollout-iris-0"})
    ended = process.poll()
    process.terminate()
    process.wait(timeout=30)
    assert ended is None, (folder / "log").read_text()


@pytest.fixture(scope="module")
def scene(
    cluster: LocalCluster, controller: Scraped, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("prometheus")
    names = ("iris", "diabetes")
    replicas = [each for name in names for each in _replicas(cluster, name)]
    targets = [controller, _gateway(cluster), *replicas]
    prometheus = Prometheus(folder, targets, _rules(folder))
    yield Scene(
        prometheus,
        [Client(cluster.url(name), name) for name in names],
        [_port(pod, "grpc") for pod in cluster.pods("iris")],
        random.Random(7),
    )
    prometheus.kill()


@each_page
def test_every_query_of_every_panel_has_data(scene: Scene, file: Path) -> None:
    missing = list(panel_expressions(dashboard(file)))
    deadline = time.monotonic() + WITHIN_SECONDS
    while missing and time.monotonic() < deadline:
        scene.be_asked()
        missing = scene.without_data(missing)
    assert [f"{each}: {each.text}" for each in missing] == []


@each_page
def test_every_series_has_a_name_of_its_own_that_fits_into_a_legend(
    scene: Scene, file: Path
) -> None:
    for each in panel_expressions(dashboard(file)):
        # A panel that is repeated shows one version.
        one = {"version": "v2"} if "$version" in each.where else {}
        found = scene.prometheus.query(each.chosen({**choices(each), **one}))
        names = [each.named(series["metric"]) for series in found]
        assert len(set(names)) == len(names), f"{each}: {names}"
        assert all(len(name) <= LONGEST_NAME for name in names), f"{each}: {names}"


@each_page
def test_every_choice_at_the_top_of_a_page_has_values(scene: Scene, file: Path) -> None:
    """Grafana asks Prometheus for `label_values(metric, label)` in this way."""

    expected = {"namespace": "default", "deployment": "iris", "predictor": "candidate"}
    expected |= {"model": "iris", "version": "v2"}

    def without_value() -> list[str]:
        return [
            each.where
            for each in variable_expressions(dashboard(file))
            for (label,) in [each.shown]
            if expected[label] not in scene.values(label, each)
        ]

    wait_until(lambda: not without_value(), without_value)


@each_page
def test_every_mark_is_a_query_that_prometheus_takes(scene: Scene, file: Path) -> None:
    for each in annotation_expressions(dashboard(file)):
        query = {"query": each.chosen(choices(each))}
        answer = requests.get(f"{scene.prometheus.url}/api/v1/query", params=query, timeout=5)
        assert answer.json()["status"] == "success", answer.text


def test_new_weights_are_marked_when_they_came_into_force(scene: Scene) -> None:
    (file,) = [each for each in FILES if each.stem == "experiment"]
    marks = {each.where: each for each in annotation_expressions(dashboard(file))}
    mark = marks["abserve-experiment: mark New weights"]

    def found() -> list[dict[str, Any]]:
        return scene.prometheus.query(mark.chosen(choices(mark)))

    wait_until(lambda: bool(found()), found)
    # Grafana takes the value for a moment, in milliseconds.
    (value,) = [float(each["value"][1]) / 1000 for each in found()]
    (began,) = scene.prometheus.query("abserve_rollout_began_timestamp_seconds")
    assert float(began["value"][1]) <= value <= time.time()
