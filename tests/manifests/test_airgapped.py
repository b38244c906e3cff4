"""docs/air-gapped.md, followed: its cluster renders, is whole, and names no public host."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.bundle_images import images_of
from tests.manifests.rendering import MANIFESTS, ROOT, rendered
from tests.manifests.test_gitops import order, strings, variables

PAGE = (ROOT / "docs/air-gapped.md").read_text()
FILE = re.compile(r"```yaml\n +# (\S+\.yaml)\n(.*?) +```", re.DOTALL)
HOST = re.compile(r"\b(?:https?|oci|git|ssh)://([\w.-]+)")
# What only a store of the cloud has, and the overlays that ask for it.
SECRETS = {
    "access": "  - ../../../base/access/secrets\n",
    "jobs": "  - ../../../base/jobs/secrets\n",
}
# Of the page; and of settings.env, which says to replace them.
INSIDE = ("customer.example", "example.com")
# Links for whoever is called. Nothing follows them by itself.
LINK = re.compile(r"https://github\.com/abserve/abserve/blob/main/docs/\S+")


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests, changed as step 6 says."""
    manifests = tmp_path_factory.mktemp("branch") / "manifests"
    shutil.copytree(MANIFESTS, manifests)
    files = FILE.findall(PAGE)
    assert [name for name, _ in files] == ["kustomization.yaml", "cluster.yaml"]
    for name, text in files:
        written = yaml.safe_load(text)
        (manifests / "clusters/production" / name).write_text(yaml.safe_dump(written))
    for overlay, line in SECRETS.items():
        changed = manifests / "overlays/production" / overlay / "kustomization.yaml"
        assert line in changed.read_text()
        changed.write_text(changed.read_text().replace(line, ""))
    return manifests


@pytest.fixture(scope="module")
def cluster(branch: Path) -> list[dict[str, Any]]:
    """What Flux is told."""
    return rendered(branch / "clusters/production")


@pytest.fixture(scope="module")
def steps(cluster: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each["spec"]
        for each in cluster
        if each["kind"] == "Kustomization"
    }


@pytest.fixture(scope="module")
def applied(
    branch: Path, cluster: list[dict[str, Any]], steps: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """All that is applied, by whichever step."""
    folders = [branch.parent / spec["path"] for spec in steps.values()]
    return cluster + [each for folder in folders for each in rendered(folder)]


def outside(documents: list[dict[str, Any]]) -> set[str]:
    """Return the hosts that documents name, but for the customer's and the cluster's own."""
    namespaces = {each["metadata"].get("namespace", "default") for each in documents}
    found = {host for each in strings(documents) for host in HOST.findall(LINK.sub("", each))}
    return {
        host
        for host in found
        if not host.endswith(INSIDE) and "." in host and host.split(".")[1] not in namespaces
    }


def test_the_branch_is_whole(branch: Path) -> None:
    command = [
        Path(sys.executable).with_name("abserve"),
        "check",
        "--manifests",
        str(branch),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = [each for each in json.loads(done.stdout)["findings"] if each["severity"] == "error"]
    assert found == []
    assert done.returncode == 0


def test_every_step_has_its_folder_and_its_order(
    branch: Path, steps: dict[str, dict[str, Any]]
) -> None:
    assert steps["infrastructure"]["path"] == "./manifests/infrastructure/airgapped/controllers"
    for name, spec in steps.items():
        assert (branch.parent / spec["path"] / "kustomization.yaml").is_file(), name
        assert spec["sourceRef"] == {"kind": "GitRepository", "name": "abserve"}, name
    assert order(steps)


def test_no_address_is_outside(applied: list[dict[str, Any]]) -> None:
    assert outside(applied) == set()


@pytest.mark.parametrize(
    "address",
    [
        "oci://ghcr.io/fluxcd/flux-manifests",
        "https://charts.jetstack.io",
        "https://github.com/abserve/abserve",
        "see https://acme-v02.api.letsencrypt.org/directory",
    ],
)
def test_an_address_outside_is_found(address: str) -> None:
    inside = {
        "url": "http://prometheus-operated.monitoring:9090",
        "git": "https://git.customer.example",
    }
    document = {"metadata": {"namespace": "monitoring"}, "spec": {**inside, "other": address}}
    assert len(outside([document])) == 1


def test_charts_and_manifests_come_from_inside(applied: list[dict[str, Any]]) -> None:
    sources = {
        (each["kind"], each["spec"]["url"], each["spec"].get("secretRef", {}).get("name"))
        for each in applied
        if each["apiVersion"].startswith("source.toolkit.fluxcd.io/")
    }
    assert sources == {
        ("GitRepository", "https://git.customer.example/abserve.git", "git"),
        ("HelmRepository", "oci://${registry}/charts", None),
    }


def test_nothing_asks_a_cloud_or_reports_to_one(applied: list[dict[str, Any]]) -> None:
    groups = {each["apiVersion"].partition("/")[0] for each in applied}
    assert not groups & {"external-secrets.io", "notification.toolkit.fluxcd.io"}
    (issuer,) = [each for each in applied if each["kind"] == "ClusterIssuer"]
    assert set(issuer["spec"]) == {"ca"}


def test_programs_that_would_report_home_are_told_not_to(applied: list[dict[str, Any]]) -> None:
    values = {
        each["metadata"]["name"]: each["spec"].get("values", {})
        for each in applied
        if each["kind"] == "HelmRelease"
    }
    assert values["seldon-core"]["usageMetrics"] == {"enabled": False}
    grafana = values["kube-prometheus-stack"]["grafana"]["grafana.ini"]
    assert set(grafana["analytics"].values()) == {False}
    assert grafana["plugins"]["preinstall_disabled"] is True


def test_every_variable_is_in_the_file_of_the_page(
    branch: Path, cluster: list[dict[str, Any]], steps: dict[str, dict[str, Any]]
) -> None:
    (settings,) = [each["data"] for each in cluster if each["kind"] == "ConfigMap"]
    substituting = [spec for spec in steps.values() if "postBuild" in spec]
    used = {name for each in substituting for name in variables(branch.parent / each["path"])}
    # The others choose folders, or are copied by kustomize.
    assert used == set(settings) - {"cloud", "git"}


def test_nodes_know_every_registry_that_images_are_named_after(
    applied: list[dict[str, Any]],
) -> None:
    known = set(
        re.findall(r"`([\w.]+\.io)`", PAGE.partition("containerd that")[2].partition("(`")[0])
    )
    assert known == {"docker.io", "ghcr.io", "quay.io", "registry.k8s.io", "registry.istio.io"}
    named = {each.partition("/")[0] for each in images_of(applied) if "." in each.partition("/")[0]}
    assert named <= known
    assert "ghcr.io" in named


def test_every_secret_of_the_page_is_one_that_somebody_reads(
    branch: Path, applied: list[dict[str, Any]]
) -> None:
    made = set(re.findall(r"create secret \w+ ([\w-]+)", PAGE))
    by_hand = {
        name
        for each in applied
        for name in each["metadata"]
        .get("annotations", {})
        .get("abserve.io/secrets-made-elsewhere", "")
        .split(", ")
        if name
    }
    # The rest is asked for by Flux, cert-manager, Alertmanager and jobs, which go on without it.
    assert by_hand <= made
    written = json.dumps(applied)
    assert {name for name in made if f'"{name}"' not in written} == set()
