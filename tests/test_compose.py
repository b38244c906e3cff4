"""docker-compose.yaml: pinned, contained, on loopback only, and in step with the cluster."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts import compose

ROOT = Path(__file__).parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = [pytest.param(service, id=name) for name, service in COMPOSE["services"].items()]
SHARES = {"baseline": 90, "candidate": 10}


def volumes(service: dict[str, Any]) -> list[str]:
    """Return the volumes of a service, with the defaults of their variables."""
    return [re.sub(r"\$\{\w+:-([^}]+)\}", r"\1", each) for each in service.get("volumes", [])]


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_built_here_or_pinned_by_digest(service: dict[str, Any]) -> None:
    if "build" in service:
        assert service["build"] == {"context": ".", "target": "serving"}
    else:
        assert re.fullmatch(r"[\w./-]+:v?[\d.]+@sha256:[0-9a-f]{64}", service["image"])


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_can_write_nothing_and_become_nobody(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert service["mem_limit"]


@pytest.mark.parametrize("service", SERVICES)
def test_only_this_machine_reaches_a_port(service: dict[str, Any]) -> None:
    assert [port for port in service.get("ports", []) if not port.startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("name", SHARES)
def test_a_version_reaches_nothing_outside(name: str) -> None:
    assert COMPOSE["services"][name]["networks"] == ["versions"]
    assert COMPOSE["networks"]["versions"] == {"internal": True}


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_cannot_be_written_and_is_in_the_checkout(service: dict[str, Any]) -> None:
    for volume in volumes(service):
        source, _, rest = volume.partition(":")
        if source in COMPOSE["volumes"]:
            continue
        assert rest.endswith(":ro")
        assert source.startswith("./.abserve/") or (ROOT / source).is_dir()


@pytest.mark.parametrize("name", ["gateway", "prometheus", "grafana"])
def test_a_service_says_how_it_is(name: str) -> None:
    # The image of the versions has a health check of its own.
    assert COMPOSE["services"][name]["healthcheck"]["test"][0] == "CMD"


def test_no_secret_has_a_default() -> None:
    environment = COMPOSE["services"]["baseline"]["environment"]
    assert environment["ABSERVE_FEEDBACK_KEY"].startswith("${ABSERVE_FEEDBACK_KEY:?")
    assert environment == COMPOSE["services"]["candidate"]["environment"]


def test_the_gateways_files_are_those_that_our_code_writes() -> None:
    written = {path.name: json.loads(path.read_text()) for path in compose.ENVOY.glob("*.json")}
    # Run `python scripts/compose.py` if they are not.
    assert written == compose.gateway_files(compose.CANDIDATE_PERCENT)


def test_the_recording_rules_are_those_of_the_cluster() -> None:
    # Run `python scripts/compose.py` if they are not.
    assert compose.RULES.read_text() == compose.recording_rules(compose.CLUSTERS_RULES)


def test_the_split_is_ninety_to_ten() -> None:
    routes = json.loads((compose.ENVOY / "routes.json").read_text())["resources"][0]
    for route in routes["virtual_hosts"][0]["routes"]:
        clusters = route["route"]["weighted_clusters"]["clusters"]
        assert {each["name"].split(".")[2]: each["weight"] for each in clusters} == SHARES


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool is not None, "promtool comes with Debian's package prometheus"
    folder = shutil.copytree(ROOT / "compose/prometheus", tmp_path / "prometheus")
    done = subprocess.run(
        [promtool, "check", "config", folder / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_scrapes_every_version_and_the_gateway() -> None:
    scraped = yaml.safe_load((ROOT / "compose/prometheus/prometheus.yaml").read_text())
    jobs = {job["job_name"]: job["static_configs"] for job in scraped["scrape_configs"]}
    targets = [target for each in jobs["abserve-runtimes"] for target in each["targets"]]
    assert targets == ["baseline:8082", "candidate:8082"]
    for each in jobs["abserve-runtimes"]:
        assert each["labels"]["predictor"] == each["labels"]["pod"] == each["targets"][0][:-5]
    assert jobs["gateway"][0]["targets"] == ["gateway:9902"]


def test_grafana_finds_the_dashboards_and_prometheus() -> None:
    provisioned = ROOT / "compose/grafana"
    provider = yaml.safe_load((provisioned / "dashboards/abserve.yaml").read_text())["providers"][0]
    mounted = dict(each.split(":")[:2] for each in volumes(COMPOSE["services"]["grafana"]))
    assert mounted["./compose/grafana"] == "/etc/grafana/provisioning"
    assert mounted["./manifests/monitoring/dashboards"] == provider["options"]["path"]
    assert list((ROOT / "manifests/monitoring/dashboards").glob("*.json"))
    source = yaml.safe_load((provisioned / "datasources/prometheus.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"
