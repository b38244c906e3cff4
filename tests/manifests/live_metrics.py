"""Which metrics there are, with which labels: read from servers that run, where they can run here.

::

    runtimes      two versions, served and asked          the labels of PodMonitor abserve-runtimes
    gateway       Envoy with our configuration            as it names them itself
    controller    a rollout that promotes                 the labels of PodMonitor abserve-rollout
    the cluster   Istio, kube-state-metrics, kubelet, cert-manager, Flux: from their documentation

`live_metrics` starts them once for a test session, and ends them when it has read.
"""

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from tests.abserve.rollout.scene import Scene
from tests.e2e.local_cluster import wait_until
from tests.e2e.running_envoy import INFER, replicas, route_to, running_envoy
from tests.manifests.rendering import ROOT
from tests.runtimes.server_process import OURS, ServerProcess, running

# What Prometheus adds to each sample of a target.
_TARGET = {"job", "instance", "namespace", "pod", "container", "endpoint"}
_RUNTIMES = {*_TARGET, "seldon_deployment_id", "deployment", "predictor", "node"}

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(\{.*\})? ", re.MULTILINE)
_LABEL = re.compile(r'[{,](\w+)="(?:[^"\\]|\\.)*"')

# https://istio.io/latest/docs/reference/config/metrics/
_ISTIO = {
    "reporter",
    "source_workload",
    "source_workload_namespace",
    "source_principal",
    "source_app",
    "source_version",
    "source_cluster",
    "destination_workload",
    "destination_workload_namespace",
    "destination_principal",
    "destination_app",
    "destination_version",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "destination_cluster",
    "request_protocol",
    "response_code",
    "response_flags",
    "connection_security_policy",
    "grpc_response_status",
}
DOCUMENTED: Mapping[str, set[str]] = {
    "istio_requests_total": {*_TARGET, *_ISTIO},
    "istio_request_duration_milliseconds_bucket": {*_TARGET, *_ISTIO, "le"},
    # https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics
    "kube_deployment_spec_replicas": {*_TARGET, "deployment"},
    "kube_deployment_status_replicas_available": {*_TARGET, "deployment"},
    "kube_pod_container_status_waiting_reason": {*_TARGET, "uid", "reason"},
    "kube_job_failed": {*_TARGET, "job_name", "condition"},
    # https://kubernetes.io/docs/reference/instrumentation/metrics/
    "kubelet_volume_stats_available_bytes": {*_TARGET, "persistentvolumeclaim"},
    "kubelet_volume_stats_capacity_bytes": {*_TARGET, "persistentvolumeclaim"},
    # https://cert-manager.io/docs/devops-tips/prometheus-metrics/
    "certmanager_certificate_expiration_timestamp_seconds": {
        *_TARGET,
        "name",
        "issuer_name",
        "issuer_kind",
        "issuer_group",
    },
    # https://fluxcd.io/flux/monitoring/metrics/#resource-metrics
    "gotk_resource_info": {
        *_TARGET,
        "name",
        "exported_namespace",
        "customresource_kind",
        "ready",
        "suspended",
    },
    # https://prometheus.io/docs/concepts/jobs_instances/
    "up": _RUNTIMES,
    # manifests/monitoring/wanted-version
    "abserve_wanted_version": {"namespace", "deployment", "predictor", "version"},
}


@cache
def live_metrics() -> dict[str, set[str]]:
    """Return the names of all metrics, as they are queried, with all labels that they can have."""
    found: dict[str, set[str]] = defaultdict(set)
    with TemporaryDirectory(prefix="abserve-metrics-") as folder:
        for text, target in (
            (_of_runtimes(Path(folder, "runtimes")), _RUNTIMES),
            (_of_envoy(Path(folder, "envoy")), _TARGET),
            (_of_controller(Path(folder, "controller")), _TARGET),
        ):
            for name, labels in _names(text):
                found[name] |= {*labels, *target}
    for name, documented in DOCUMENTED.items():
        found[name] |= documented
    return dict(found)


def _names(text: str) -> Iterable[tuple[str, set[str]]]:
    # prometheus_client's parser adds `_total` to counters that are without, as Envoy's are.
    for name, labels in _SAMPLE.findall(text):
        yield name, set(_LABEL.findall(labels))


def _of_runtimes(folder: Path) -> str:
    """Serve a classifier and a regressor; ask, be wrong, and tell what was right."""
    models = folder / "models"
    for model in ("iris", "diabetes"):
        command = [sys.executable, "-m", "abserve.cli", "--home", str(folder / "home"), "train"]
        subprocess.run(
            [*command, model, "--version", "v1", "--repository", models.as_uri()],
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=300,
        )
    with running(OURS, models, folder / "logs") as server:
        server.wait_until_ready()
        _ask(server, "iris", [5.1, 3.5, 1.4, 0.2], "setosa")
        patient = [59.0, 2.0, 32.1, 101.0, 157.0, 93.2, 38.0, 4.0, 4.86, 87.0]
        _ask(server, "diabetes", patient, 151.0)
        assert server.post("/v2/models/iris/infer", {"inputs": []}).status_code == 400
        server.infer_grpc()
        return requests.get(server.metrics_url, timeout=10).text


def _ask(server: ServerProcess, model: str, row: list[float], truth: Any) -> None:
    # Drift is told from 100 rows on.
    tensor = {
        "name": "features",
        "datatype": "FP64",
        "shape": [200, len(row)],
        "data": row * 200,
    }
    answered = server.post(f"/v2/models/{model}/infer", {"inputs": [tensor]})
    assert answered.ok, answered.text
    answer = answered.json()
    told = {"feedback_token": answer["parameters"]["feedback_token"]}
    for more in ({"ground_truth": [truth] * 200}, {"reward": 1.0}):
        reply = server.post(f"/v2/models/{model}/feedback", told | more)
        assert reply.ok, reply.text


def _of_envoy(folder: Path) -> str:
    folder.mkdir()
    with (
        replicas("baseline", "candidate") as servers,
        running_envoy(folder, route_to({"baseline": 50, "candidate": 50}, servers)) as envoy,
    ):
        path = f"{envoy.path}/v2/models/iris/infer"

        def counted() -> bool:
            requests.post(path, json={}, timeout=10)
            envoy.call(("seldon", "iris"), ("namespace", "shop"), method=INFER)
            return "envoy_cluster_grpc" in envoy.metrics()

        wait_until(counted, envoy.metrics)
        return envoy.metrics()


def _of_controller(folder: Path) -> str:
    scene = Scene(folder, 0.60, 0.90)
    scene.run()
    log = scene.log()
    scene.exposed.look(log.state, log.state.at)
    registry = CollectorRegistry()
    registry.register(scene.exposed)
    return generate_latest(registry).decode()
