"""Who is told of an alert: the routes of Alertmanager, and that what it sends arrives."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.e2e.alertmanager_process import (
    Inbox,
    alertmanager_telling,
    stack_values,
    webhooks,
    written,
)
from tests.e2e.debian import needs
from tests.e2e.local_cluster import wait_until
from tests.manifests.rendering import MANIFESTS, ROOT, rendered
from tests.manifests.test_monitoring import ALERTS

SECRETS = "/etc/alertmanager/secrets/"
CLOUDS = ("aws", "gcp")
needs_alertmanager = needs("amtool", "prometheus-alertmanager")


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return stack_values()


@pytest.fixture(scope="module")
def config(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = values["alertmanager"]["config"]
    return found


def amtool(*arguments: str) -> str:
    done = subprocess.run(["amtool", *arguments], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@needs_alertmanager
def test_alertmanager_takes_the_configuration(config: dict[str, Any], tmp_path: Path) -> None:
    file = written(config, "http://localhost", tmp_path / "alertmanager.yaml")
    assert "SUCCESS" in amtool("check-config", str(file))


@needs_alertmanager
@pytest.mark.parametrize(
    ("receiver", "labels"),
    [
        ("page", ["alertname=SampleRatioMismatch", "severity=page"]),
        ("page", ["alertname=KubeAPIDown", "severity=critical"]),
        ("ticket", ["alertname=FeatureDrift", "severity=ticket"]),
        ("ticket", ["alertname=KubePodCrashLooping", "severity=warning"]),
        ("ticket", ["alertname=Another", "severity=unheard-of"]),
        ("heartbeat", ["alertname=Watchdog", "severity=none"]),
        ("nobody", ["alertname=InfoInhibitor", "severity=none"]),
        ("nobody", ["alertname=CPUThrottlingHigh", "severity=info"]),
    ],
)
def test_an_alert_goes_to_whom_its_severity_says(
    config: dict[str, Any], tmp_path: Path, receiver: str, labels: list[str]
) -> None:
    file = written(config, "http://localhost", tmp_path / "alertmanager.yaml")
    assert amtool("config", "routes", "test", f"--config.file={file}", *labels) == receiver


@needs_alertmanager
@pytest.mark.parametrize("severity", sorted({rule["labels"]["severity"] for rule in ALERTS}))
def test_somebody_is_told_of_every_alert_of_ours(
    config: dict[str, Any], tmp_path: Path, severity: str
) -> None:
    file = written(config, "http://localhost", tmp_path / "alertmanager.yaml")
    found = amtool("config", "routes", "test", f"--config.file={file}", f"severity={severity}")
    assert found == severity


def told_in_docs() -> list[tuple[str, str]]:
    """Return what the page on monitoring has for services with a form of their own."""
    page = (ROOT / "docs/monitoring.md").read_text()
    return re.findall(r"^\| (\w+) \| `(\w+_configs: .+)` \|$", page, re.MULTILINE)


@needs_alertmanager
@pytest.mark.parametrize(("service", "text"), told_in_docs())
def test_alertmanager_takes_what_the_page_says_of_other_services(
    config: dict[str, Any], tmp_path: Path, service: str, text: str
) -> None:
    file = written(config, "http://localhost", tmp_path / "alertmanager.yaml")
    changed = yaml.safe_load(file.read_text())
    name = "ticket" if "ticket-url" in text else "page"
    receivers = [each for each in changed["receivers"] if each["name"] != name]
    changed["receivers"] = [*receivers, {"name": name, **yaml.safe_load(text)}]
    file.write_text(yaml.safe_dump(changed))
    assert "SUCCESS" in amtool("check-config", str(file)), service


def test_the_page_names_services() -> None:
    assert len(told_in_docs()) == 3


def test_addresses_are_read_from_a_secret_that_is_mounted(values: dict[str, Any]) -> None:
    mounted = values["alertmanager"]["alertmanagerSpec"]["secrets"]
    files = {each["url_file"] for _, each in webhooks(values["alertmanager"]["config"])}
    assert files == {
        f"{SECRETS}{secret}/{name}-url"
        for secret in mounted
        for name in ("page", "ticket", "heartbeat")
    }


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_cloud_keeps_every_address(values: dict[str, Any], cloud: str) -> None:
    found = rendered(MANIFESTS / "infrastructure" / cloud / "configs")
    (secret,) = [each for each in found if each["kind"] == "ExternalSecret"]
    assert secret["metadata"]["namespace"] == "monitoring"
    name = secret["spec"]["target"]["name"]
    assert values["alertmanager"]["alertmanagerSpec"]["secrets"] == [name]
    kept = {each["secretKey"] for each in secret["spec"]["data"]}
    asked = {each["url_file"] for _, each in webhooks(values["alertmanager"]["config"])}
    assert {f"{SECRETS}{name}/{key}" for key in kept} == asked


def test_alerts_say_which_cluster_they_are_of(values: dict[str, Any]) -> None:
    labels = values["prometheus"]["prometheusSpec"]["externalLabels"]
    assert labels == {"environment": "${environment}"}
    assert "environment" in values["alertmanager"]["config"]["route"]["group_by"]


def test_the_heartbeat_is_not_slower_than_its_interval(config: dict[str, Any]) -> None:
    """Alertmanager looks at repeats when it looks at a group: one that is later waits once more."""
    (heartbeat,) = [each for each in config["route"]["routes"] if each["receiver"] == "heartbeat"]
    assert (heartbeat["group_interval"], heartbeat["repeat_interval"]) == ("1m", "50s")


# What arrives.


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    box = Inbox()
    yield box
    box.close()


@pytest.fixture
def alertmanager(config: dict[str, Any], inbox: Inbox, tmp_path: Path) -> Iterator[str]:
    process = alertmanager_telling(inbox, config, tmp_path)
    yield process.url
    process.kill()


def alert(name: str, severity: str, **labels: str) -> dict[str, Any]:
    return {"labels": {"alertname": name, "severity": severity, "namespace": "models", **labels}}


@pytest.mark.e2e
@needs_alertmanager
def test_one_page_for_all_that_is_wrong_with_one_deployment_and_no_ticket_for_the_same(
    alertmanager: str, inbox: Inbox
) -> None:
    fired = [
        alert("ModelUnavailable", "page", deployment="iris", predictor="baseline"),
        alert("AvailabilityBudgetBurn", "page", deployment="iris", window="1h"),
        alert("AvailabilityBudgetBurn", "ticket", deployment="iris", window="3d"),
        alert("ModelUnavailable", "ticket", deployment="iris", predictor="candidate"),
        alert("AvailabilityBudgetBurn", "ticket", deployment="digits", window="3d"),
        alert("Watchdog", "none"),
        alert("CPUThrottlingHigh", "info"),
    ]
    answer = requests.post(f"{alertmanager}/api/v2/alerts", json=fired, timeout=10)
    assert answer.ok, answer.text

    def all_told() -> bool:
        told = (len(inbox.names(path)) for path in ("/page", "/ticket", "/heartbeat"))
        return all(found >= wanted for found, wanted in zip(told, (1, 2, 1), strict=True))

    wait_until(all_told, lambda: dict(inbox.received))
    assert inbox.names("/page") == [["AvailabilityBudgetBurn", "ModelUnavailable"]]
    # That of iris is on the page already; that its candidate is away as well is not.
    assert sorted(inbox.names("/ticket")) == [["AvailabilityBudgetBurn"], ["ModelUnavailable"]]
    assert inbox.names("/heartbeat") == [["Watchdog"]]
    assert set(inbox.received) == {"/page", "/ticket", "/heartbeat"}


# Grafana, which the same release brings.


def test_grafanas_sidecar_finds_our_dashboards(values: dict[str, Any]) -> None:
    sidecar = values["grafana"]["sidecar"]["dashboards"]
    maps = rendered(MANIFESTS / "monitoring/dashboards")
    for each in (each["metadata"] for each in maps):
        assert each["labels"][sidecar["label"]] == sidecar["labelValue"]
        assert each["namespace"] == sidecar["searchNamespace"]
        assert each["annotations"][sidecar["folderAnnotation"]] == "abserve"
    # Without it the folder is made, and Grafana does not look at it.
    assert sidecar["provider"]["foldersFromFilesStructure"] is True


def test_kube_state_metrics_tells_of_flux_what_the_alert_asks(values: dict[str, Any]) -> None:
    state = values["kube-state-metrics"]
    resources = state["customResourceState"]["config"]["spec"]["resources"]
    told = {each["groupVersionKind"]["kind"]: each for each in resources}
    assert set(told) == {"Kustomization", "HelmRelease", "GitRepository"}
    for each in told.values():
        (metric,) = each["metrics"]
        assert f"{each['metricNamePrefix']}_{metric['name']}" == "gotk_resource_info"
        assert set(metric["labelsFromPath"]) == {"exported_namespace", "ready", "suspended"}
        assert set(metric["each"]["info"]["labelsFromPath"]) == {"name"}
    allowed = {
        (group, resource)
        for rule in state["rbac"]["extraRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if set(rule["verbs"]) == {"list", "watch"}
    }
    plurals = {"Kustomization": "kustomizations", "GitRepository": "gitrepositories"}
    assert allowed == {
        (each["groupVersionKind"]["group"], plurals.get(kind, "helmreleases"))
        for kind, each in told.items()
    }
