"""What Flux reconciles: every step finds its folder, its source and what it waits for."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.manifests.rendering import MANIFESTS, ROOT
from tests.manifests.rendering import rendered as rendered_anew

CLUSTERS = ["staging", "production"]
CLOUDS = ["aws", "gcp", "airgapped"]
MODELS = ["breast-cancer", "diabetes", "digits", "iris"]
# Flux substitutes only where a Kustomization says so; there it takes a shell's variables as well.
VARIABLE = re.compile(r"\$\{(\w+)[^}]*\}")
EXACT = re.compile(r"v?\d+\.\d+\.\d+")
CHART = """
apiVersion: {api}
kind: {kind}
metadata: {{name: nice}}
spec: {{template: {{spec: {{containers: [{{name: nice, image: nice}}]}}}}}}
"""


@cache
def rendered(folder: Path) -> list[dict[str, Any]]:
    """Return what kustomize makes of a folder; many tests ask for the same."""
    return rendered_anew(folder)


def of_kind(kind: str, folder: str) -> dict[str, dict[str, Any]]:
    """Return what a folder renders of one kind, by name."""
    found = [each for each in rendered(MANIFESTS / folder) if each["kind"] == kind]
    by_name = {each["metadata"]["name"]: each for each in found}
    assert len(by_name) == len(found)
    return by_name


def steps(cluster: str) -> dict[str, dict[str, Any]]:
    return {
        name: each["spec"] for name, each in of_kind("Kustomization", f"clusters/{cluster}").items()
    }


def releases(cloud: str) -> dict[str, dict[str, Any]]:
    found = of_kind("HelmRelease", f"infrastructure/{cloud}/controllers")
    return {name: each["spec"] for name, each in found.items()}


def order(specs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return names so that each comes after what it depends on; a cycle raises CycleError."""
    graph = {
        name: [each["name"] for each in spec.get("dependsOn", [])] for name, spec in specs.items()
    }
    unknown = {each for below in graph.values() for each in below} - set(graph)
    assert not unknown, f"dependsOn names {sorted(unknown)}, which is nowhere"
    return list(TopologicalSorter(graph).static_order())


def folder_of(path: str) -> Path:
    assert path.startswith("./"), path
    return (ROOT / path).resolve()


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield key
            yield from strings(below)
    elif isinstance(value, list):
        for below in value:
            yield from strings(below)


def variables(folder: Path) -> set[str]:
    return {name for each in strings(rendered(folder)) for name in VARIABLE.findall(each)}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_step_applies_a_folder_that_there_is(cluster: str) -> None:
    ours = {name: spec for name, spec in steps(cluster).items() if name != "flux"}
    assert len(ours) == 7 + len(MODELS)
    for name, spec in ours.items():
        assert (folder_of(spec["path"]) / "kustomization.yaml").is_file(), name


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_overlay_is_applied_by_a_step(cluster: str) -> None:
    found = {
        each.parent.name
        for each in (MANIFESTS / "overlays" / cluster).glob("*/kustomization.yaml")
        if yaml.safe_load(each.read_text())["kind"] == "Kustomization"
    }
    applied = {folder_of(spec["path"]).name for spec in steps(cluster).values()}
    assert found <= applied
    assert set(MODELS) <= found


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_cluster_applies_its_own_folder(cluster: str) -> None:
    assert steps(cluster)["cluster"]["path"] == f"./manifests/clusters/{cluster}"
    assert steps(cluster)["iris"]["path"] == f"./manifests/overlays/{cluster}/iris"


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_models_come_after_what_they_need(cluster: str) -> None:
    found = order(steps(cluster))
    for model in MODELS:
        before = ["infrastructure", "configs", "access", "monitoring", model]
        assert min(before, key=found.index) == "infrastructure"
        assert {"access", "monitoring"} <= set(found[: found.index(model)])
    assert found.index("iris") < found.index("rollout")


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_step_waits_prunes_and_gives_up(cluster: str) -> None:
    for name, spec in steps(cluster).items():
        assert spec["prune"] is True, name
        assert {"interval", "retryInterval", "timeout"} <= set(spec), name
        # One applies the others and itself, so it would wait for itself; the other holds a Job, for
        # whose end Flux would wait.
        assert spec["wait"] is (name not in {"cluster", "jobs"}), name


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_step_that_is_deleted_by_mistake_takes_no_operator_with_it(cluster: str) -> None:
    kept = {name for name, spec in steps(cluster).items() if spec.get("deletionPolicy") == "Orphan"}
    assert kept == {"cluster", "flux", "infrastructure"}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_step_has_its_source(cluster: str) -> None:
    for name, spec in steps(cluster).items():
        source = spec["sourceRef"]
        assert source["name"] in of_kind(source["kind"], f"clusters/{cluster}"), name


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_model_is_healthy_when_seldon_says_that_it_is_available(cluster: str) -> None:
    for model in MODELS:
        (check,) = steps(cluster)[model]["healthCheckExprs"]
        assert check["kind"] == "SeldonDeployment"
        assert check["current"] == "status.state == 'Available'"


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_step_of_ours_reports_to_the_commit(cluster: str) -> None:
    alert = of_kind("Alert", f"clusters/{cluster}")["commit-status"]["spec"]
    provider = of_kind("Provider", f"clusters/{cluster}")[alert["providerRef"]["name"]]["spec"]
    assert {each["name"] for each in alert["eventSources"]} == set(steps(cluster)) - {
        "cluster",
        "flux",
    }
    assert provider["commitStatusExpr"].startswith(f"'{cluster}'")
    assert provider["secretRef"] == {"name": "github-token"}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_variable_that_is_substituted_is_defined(cluster: str) -> None:
    settings = of_kind("ConfigMap", f"clusters/{cluster}")["cluster"]["data"]
    used: set[str] = set()
    for name, spec in steps(cluster).items():
        # Flux's own has none of ours, and the first step only hands names on to the others.
        if name in {"flux", "cluster"}:
            continue
        found = variables(folder_of(spec["path"]))
        if "postBuild" in spec:
            assert spec["postBuild"] == {
                "substituteFrom": [{"kind": "ConfigMap", "name": "cluster"}]
            }
            used |= found | {one for each in strings(spec) for one in VARIABLE.findall(each)}
        else:
            assert not found, f"{name} substitutes nothing, and its folder names {sorted(found)}"
    # The cloud only chooses folders.
    assert set(settings) - {"cloud"} == used


def test_the_module_for_gke_prints_every_variable_that_its_folders_have() -> None:
    text = (ROOT / "infrastructure/gke/outputs.tf").read_text()
    printed = set(re.findall(r"^ {4}(\w+) +=", text.partition("yamlencode({")[2], re.MULTILINE))
    folders = ["controllers", "configs"]
    used = {name for each in folders for name in variables(MANIFESTS / "infrastructure/gcp" / each)}
    for spec in steps("production").values():
        if "postBuild" in spec and spec["path"].startswith("./manifests/overlays"):
            used |= variables(folder_of(spec["path"]))
    assert used == printed - {"cloud"} | {"acme_server", "acme_email"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_releases_depend_on_each_other_without_a_cycle(cloud: str) -> None:
    found = order(releases(cloud))
    assert found.index("cert-manager") < found.index("seldon-core")
    assert found.index("istio-base") < found.index("istiod") < found.index("istio-ingress")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_every_chart_has_an_exact_version_and_a_repository(cloud: str) -> None:
    repositories = of_kind("HelmRepository", f"infrastructure/{cloud}/controllers")
    for name, spec in releases(cloud).items():
        chart = spec["chart"]["spec"]
        assert EXACT.fullmatch(chart["version"]), name
        assert chart["sourceRef"]["name"] in repositories, name
    used = {each["chart"]["spec"]["sourceRef"]["name"] for each in releases(cloud).values()}
    assert used == set(repositories)


def test_the_versions_on_the_page_are_those_that_are_installed() -> None:
    page = (ROOT / "docs/gitops.md").read_text()
    table = page.partition("## Versions")[2].partition("\n\nFlux")[0]
    written = set(re.findall(r"^\| [^|]+ \| (\S+) \|", table, re.MULTILINE)) - {"version", "---"}
    assert written == {spec["chart"]["spec"]["version"] for spec in releases("aws").values()}


def test_flux_has_one_version_wherever_it_is_named() -> None:
    (source,) = of_kind("OCIRepository", "clusters/production").values()
    version = source["spec"]["ref"]["tag"]
    (identity,) = source["spec"]["verify"]["matchOIDCIdentity"]
    assert identity["subject"].endswith(f"@refs/tags/{re.escape(version)}$")
    named = [f"manifests/clusters/{each}/kustomization.yaml" for each in CLUSTERS]
    for path in [*named, "docs/gitops.md", "docs/air-gapped.md"]:
        found = re.findall(r"flux install --version=(\S+)", (ROOT / path).read_text())
        assert set(found) == {version}, path


@pytest.mark.parametrize("cloud", CLOUDS)
def test_seldon_core_stays_the_last_release_under_the_apache_licence(cloud: str) -> None:
    assert releases(cloud)["seldon-core"]["chart"]["spec"]["version"] == "1.17.1"


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_release_goes_into_a_namespace_that_there_is(cloud: str) -> None:
    namespaces = of_kind("Namespace", f"infrastructure/{cloud}/controllers")
    for name, spec in releases(cloud).items():
        assert spec["targetNamespace"] in namespaces, name
        assert spec["storageNamespace"] == spec["targetNamespace"], name


def test_all_namespaces_are_restricted_but_two_that_work_on_the_node() -> None:
    profiles = {
        name: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name, each in of_kind("Namespace", "infrastructure/controllers").items()
    }
    privileged = {name for name, profile in profiles.items() if profile == "privileged"}
    assert privileged == {"istio-cni", "node-exporter"}
    assert {profiles[name] for name in set(profiles) - privileged} == {"restricted"}


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_flux_never_deletes_a_namespace_or_what_a_volume_holds(cluster: str) -> None:
    folders = [spec["path"] for name, spec in steps(cluster).items() if name != "flux"]
    kept = [
        each
        for folder in folders
        for each in rendered(folder_of(folder))
        if each["kind"] in {"Namespace", "PersistentVolumeClaim"}
    ]
    assert {each["kind"] for each in kept} == {"Namespace", "PersistentVolumeClaim"}
    for each in kept:
        annotations = each["metadata"].get("annotations", {})
        assert annotations.get("kustomize.toolkit.fluxcd.io/prune") == "Disabled", each["metadata"]


def test_definitions_outlive_their_charts() -> None:
    keep = {"helm.sh/resource-policy": "keep"}
    values = {name: spec.get("values", {}) for name, spec in releases("aws").items()}
    assert values["cert-manager"]["crds"]["keep"] is True
    assert values["external-secrets"]["crds"]["annotations"] == keep
    assert values["keda"]["crds"]["additionalAnnotations"] == keep
    assert values["seldon-core"]["crd"]["annotations"] == keep


def test_volumes_of_a_cluster_on_aws_are_encrypted_and_kept() -> None:
    (storage,) = of_kind("StorageClass", "infrastructure/aws/controllers").values()
    assert storage["parameters"]["encrypted"] == "true"
    assert storage["reclaimPolicy"] == "Retain"
    assert "storageclass.kubernetes.io/is-default-class" in storage["metadata"]["annotations"]


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
@pytest.mark.parametrize(
    ("api", "kind", "path"),
    [
        ("apps/v1", "Deployment", ("spec", "template", "spec")),
        ("monitoring.coreos.com/v1", "Prometheus", ("spec",)),
        ("monitoring.coreos.com/v1", "Alertmanager", ("spec",)),
    ],
)
def test_operators_run_in_their_own_pool(
    cloud: str, api: str, kind: str, path: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "chart.yaml").write_text(CHART.format(api=api, kind=kind))
    for name, spec in releases(cloud).items():
        # As Flux does with what Helm rendered.
        (renderer,) = spec["postRenderers"]
        changes = {"resources": ["chart.yaml"], **renderer["kustomize"]}
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(changes))
        (pod,) = rendered_anew(tmp_path)
        for key in path:
            pod = pod[key]
        assert pod["nodeSelector"] == {"abserve.io/pool": "system"}, name


def test_where_nobody_labels_nodes_operators_run_anywhere() -> None:
    assert {
        name for name, spec in releases("airgapped").items() if "postRenderers" in spec
    } == set()


def test_every_release_is_looked_at_for_drift() -> None:
    modes = {name: spec["driftDetection"]["mode"] for name, spec in releases("aws").items()}
    assert modes.pop("seldon-core") == "warn"
    assert set(modes.values()) == {"enabled"}


def test_what_webhooks_and_istiod_write_by_themselves_is_no_drift() -> None:
    ignored = {
        (name, each["target"]["kind"], *each["paths"])
        for name, spec in releases("aws").items()
        for each in spec["driftDetection"].get("ignore", [])
    }
    webhook = ("ValidatingWebhookConfiguration", "/webhooks/0/failurePolicy")
    validated = "/metadata/annotations/prometheus-operator-validated"
    assert ignored == {
        ("istio-base", *webhook),
        ("istiod", *webhook),
        ("kube-prometheus-stack", "PrometheusRule", validated),
    }


def test_where_there_is_no_internet_nothing_comes_from_it() -> None:
    for name, each in of_kind("HelmRepository", "infrastructure/airgapped/controllers").items():
        assert each["spec"]["url"] == "oci://${registry}/charts", name
        assert each["spec"]["type"] == "oci", name


def test_the_gateway_that_seldon_names_is_the_one_that_there_is() -> None:
    values = releases("aws")["seldon-core"]["values"]
    namespace, name = values["istio"]["gateway"].split("/")
    gateway = MANIFESTS / "base/access/gateway.yaml"
    text = gateway.read_text()
    assert f"name: {name}\n  namespace: {namespace}" in text


def test_a_cycle_is_found() -> None:
    with pytest.raises(ValueError, match="cycle"):
        order({"a": {"dependsOn": [{"name": "b"}]}, "b": {"dependsOn": [{"name": "a"}]}})


def test_a_dependency_on_nothing_is_found() -> None:
    with pytest.raises(AssertionError, match="'b'"):
        order({"a": {"dependsOn": [{"name": "b"}]}})
