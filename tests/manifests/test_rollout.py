"""The rollout controller's manifest: its parts fit each other, and it may do what it does."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes.client
import pytest

from abserve.analysis.reading import read_experiment
from abserve.cli.rollout import rollout_command
from abserve.cluster.api.kinds import NAMESPACE
from abserve.errors import KubernetesError
from abserve.promotion import Kubernetes
from abserve.promotion.applying import Applying
from abserve.promotion.availability import generation_of
from abserve.promotion.leases import Leadership
from abserve.rollout.announcing import Announcer
from abserve.rollout.records import Begin, Interference
from abserve.seldon import weights_patch
from abserve.weights import Weights
from tests.abserve.cluster.documents import namespace
from tests.abserve.promotion.local_api import LocalApi, Server
from tests.manifests.rendering import MANIFESTS, ROOT, rendered
from tests.manifests.rights import (
    RecordedRequests,
    Right,
    not_granted,
    not_needed,
    right_for,
    rights_of,
)

NAME = "abserve-rollout-iris"
SELDON = "machinelearning.seldon.io"
MODELS = {
    "ServiceAccount": "V1ServiceAccount",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "Deployment": "V1Deployment",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "NetworkPolicy": "V1NetworkPolicy",
}


@pytest.fixture(scope="module")
def manifest() -> dict[str, dict[str, Any]]:
    """What the base renders, by kind: there is one of each."""
    found = rendered(MANIFESTS / "base/rollout")
    by_kind = {each["kind"]: each for each in found}
    assert len(by_kind) == len(found)
    return by_kind


@pytest.fixture
def container(manifest: dict[str, dict[str, Any]]) -> dict[str, Any]:
    (container,) = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def unknown_fields(value: Any, model: str) -> Iterator[str]:
    """Yield the fields of `value` that the client library's model of it has not."""
    if model.startswith(("List[", "Dict[")):
        inner = model[len("List[") : -1].removeprefix("str, ")
        for each in value if isinstance(value, list) else value.values():
            yield from unknown_fields(each, inner)
        return
    of = getattr(kubernetes.client, model, None)
    if of is None or not hasattr(of, "openapi_types"):
        return
    names = {written: name for name, written in of.attribute_map.items()}
    for field, below in value.items():
        if field not in names:
            yield f"{model}.{field}"
        else:
            yield from unknown_fields(below, of.openapi_types[names[field]])


def test_it_is_of_these_kinds(manifest: dict[str, dict[str, Any]]) -> None:
    assert set(manifest) == set(MODELS)


@pytest.mark.parametrize("kind", MODELS)
def test_every_field_is_one_that_kubernetes_knows(
    kind: str, manifest: dict[str, dict[str, Any]]
) -> None:
    assert list(unknown_fields(manifest[kind], MODELS[kind])) == []


def test_a_field_that_kubernetes_does_not_know_is_found() -> None:
    wrong = {"spec": {"template": {"spec": {"containers": [{"imagePulPolicy": "Always"}]}}}}
    assert list(unknown_fields(wrong, "V1Deployment")) == ["V1Container.imagePulPolicy"]


@pytest.mark.parametrize("kind", MODELS)
def test_the_client_library_takes_it(kind: str, manifest: dict[str, dict[str, Any]]) -> None:
    text = json.dumps(manifest[kind])
    read = kubernetes.client.ApiClient().deserialize(text, MODELS[kind], "application/json")
    assert read.metadata.name == NAME


def test_its_account_has_its_role_and_no_other(manifest: dict[str, dict[str, Any]]) -> None:
    binding = manifest["RoleBinding"]
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": manifest["Role"]["metadata"]["name"],
    }
    account = manifest["ServiceAccount"]["metadata"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == account["name"]
    assert pod["automountServiceAccountToken"] is True


def test_an_overlay_of_another_namespace_changes_it_everywhere(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS / "base/rollout", tmp_path / "base")
    (tmp_path / "kustomization.yaml").write_text("{namespace: shop, resources: [base]}")
    found = rendered(tmp_path)
    assert {each["metadata"]["namespace"] for each in found} == {"shop"}
    (binding,) = [each for each in found if each["kind"] == "RoleBinding"]
    assert binding["subjects"][0]["namespace"] == "shop"


def test_the_overlay_in_the_documentation_renders(tmp_path: Path) -> None:
    page = (ROOT / "docs/rollout-in-the-cluster.md").read_text()
    (overlay,) = [
        each.partition("```")[0]
        for each in page.split("```yaml\n")
        if each.startswith("apiVersion: kustomize")
    ]
    folder = tmp_path / "manifests/overlays/production/rollout"
    folder.mkdir(parents=True)
    (folder / "kustomization.yaml").write_text(overlay)
    shutil.copytree(MANIFESTS / "base/rollout", tmp_path / "manifests/base/rollout")
    (deployment,) = [each for each in rendered(folder) if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/abserve/rollout:0.1.0"
    assert "--prometheus=http://prometheus.metrics:9090" in container["args"]


def test_selectors_select_its_pods_and_no_others(manifest: dict[str, dict[str, Any]]) -> None:
    deployment = manifest["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    for selector in (deployment["selector"], manifest["NetworkPolicy"]["spec"]["podSelector"]):
        assert selector["matchLabels"] == {
            "app.kubernetes.io/name": "abserve-rollout",
            "app.kubernetes.io/instance": "iris",
        }
        assert selector["matchLabels"].items() <= labels.items()


def test_what_is_mounted_is_there(
    manifest: dict[str, dict[str, Any]], container: dict[str, Any]
) -> None:
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert {each["name"] for each in container["volumeMounts"]} == set(volumes)
    claim = volumes["log"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest["PersistentVolumeClaim"]["metadata"]["name"]
    made = [each for each in rendered(MANIFESTS / "base/iris") if each["kind"] == "ConfigMap"]
    assert [each["metadata"]["name"] for each in made] == [
        volumes["experiment"]["configMap"]["name"]
    ]


def test_its_options_are_those_of_the_command(container: dict[str, Any]) -> None:
    command, *arguments = container["args"]
    assert command == rollout_command.name
    context = rollout_command.make_context("rollout", arguments)
    options = context.params
    assert (options["name"], options["keep_watching"]) == ("iris", True)
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert options["experiment_file"].parent == Path(mounts["experiment"])
    assert options["log_folder"].is_relative_to(mounts["log"])
    assert options["prometheus_url"].startswith("http://")


def test_the_experiment_is_the_one_that_is_shipped(container: dict[str, Any]) -> None:
    (config_map,) = [
        each for each in rendered(MANIFESTS / "base/iris") if each["kind"] == "ConfigMap"
    ]
    (option,) = [each for each in container["args"] if each.startswith("--experiment=")]
    ((name, text),) = config_map["data"].items()
    assert Path(option.partition("=")[2]).name == name
    assert text == (MANIFESTS / "base/iris/experiment.yaml").read_text()
    experiment = read_experiment(text, name)
    assert experiment.deployment == "iris"


def test_the_network_policy_lets_it_reach_prometheus(
    manifest: dict[str, dict[str, Any]], container: dict[str, Any]
) -> None:
    (option,) = [each for each in container["args"] if each.startswith("--prometheus=")]
    host, port = option.rpartition("//")[2].split(":")
    egress = manifest["NetworkPolicy"]["spec"]["egress"]
    of_host = [
        each
        for each in egress
        for to in each.get("to", ())
        if host.partition(".")[2] in to.get("namespaceSelector", {}).get("matchLabels", {}).values()
    ]
    assert [each["ports"] for each in of_host] == [[{"protocol": "TCP", "port": int(port)}]]


def test_its_pod_keeps_to_the_restricted_profile(
    manifest: dict[str, dict[str, Any]], container: dict[str, Any]
) -> None:
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_one_pod_at_a_time_has_the_log(manifest: dict[str, dict[str, Any]]) -> None:
    assert manifest["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert manifest["Deployment"]["spec"]["replicas"] == 1
    assert manifest["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}


def test_the_probe_looks_at_the_file_that_the_controller_touches(container: dict[str, Any]) -> None:
    environment = {each["name"]: each.get("value") for each in container["env"]}
    command = container["livenessProbe"]["exec"]["command"]
    assert environment["ABSERVE_ALIVE_FILE"] in command[-1]


def test_its_image_is_the_second_target_of_the_dockerfile(container: dict[str, Any]) -> None:
    name, _, version = container["image"].partition(":")
    assert name == "abserve/rollout"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert f"docker build --target rollout -t {name}:{version} ." in dockerfile
    assert " AS rollout\n" in dockerfile


# Rights.


@pytest.mark.parametrize(
    ("method", "path", "query", "right"),
    [
        ("GET", "/api/v1/namespaces/shop/pods", b"", ("list", "", "pods", "")),
        ("GET", "/api/v1/namespaces/shop/pods/a", b"", ("get", "", "pods", "a")),
        ("GET", "/api/v1/namespaces/shop/pods/a/log", b"", ("get", "", "pods/log", "a")),
        ("POST", "/api/v1/namespaces/shop/events", b"", ("create", "", "events", "")),
        (
            "GET",
            f"/apis/{SELDON}/v1/namespaces/shop/seldondeployments",
            b"watch=true&fieldSelector=metadata.name%3Diris",
            ("watch", SELDON, "seldondeployments", "iris"),
        ),
    ],
)
def test_a_request_needs_a_right(
    method: str, path: str, query: bytes, right: tuple[str, ...]
) -> None:
    assert right_for(method, path, query) == right


def test_a_right_for_all_names_is_one_for_each() -> None:
    granted = {Right("get", "", "pods", ""), Right("get", "", "secrets", "key")}
    needed = {Right("get", "", "pods", "a"), Right("get", "", "secrets", "other")}
    assert not_granted(needed, granted) == {Right("get", "", "secrets", "other")}
    assert not_needed(needed, granted) == {Right("get", "", "secrets", "key")}


@pytest.fixture
def recorded(api: LocalApi, server: Server) -> RecordedRequests:
    """What is asked of the API from now on."""
    api.create(NAMESPACE, namespace("shop"))
    assert server.app is not None
    recorder = RecordedRequests(server.app)
    server.app = recorder
    return recorder


def begin() -> Begin:
    experiment = read_experiment((MANIFESTS / "base/iris/experiment.yaml").read_text(), "iris")
    versions = {"baseline": "s3://models/iris/v1", "candidate": "s3://models/iris/v2"}
    return Begin(
        at=0.0,
        namespace="shop",
        uid="7",
        model="iris",
        experiment=experiment,
        model_uris=versions,
        weights={"baseline": 90, "candidate": 10},
        classes=(),
        software={},
    )


def test_it_may_do_what_it_does_and_nothing_else(
    api: LocalApi, recorded: RecordedRequests, manifest: dict[str, dict[str, Any]]
) -> None:
    api.apply()
    cluster = Kubernetes(api.kubeconfig, "shop")
    failures: list[str] = []
    for _ in range(2):  # a Lease that is there is taken otherwise than one that is not
        with Leadership(cluster, NAME, "anna") as leading:
            applying = Applying(cluster, leading.check)
            half = weights_patch(cluster.get("iris"), Weights({"baseline": 50, "candidate": 50}))
            changed = applying.patch("iris", half)
            with pytest.raises(KubernetesError, match="after 1 s"):
                applying.wait_until_available("iris", generation_of(changed) + 1, 1)
    cluster.names()
    announcer = Announcer(cluster, failures.append)
    announcer.announce(begin(), Interference(at=0.0, what="somebody changed the weights"))
    granted = rights_of(manifest["Role"])
    assert failures == []
    assert not_granted(recorded.needed, granted) == set()
    assert not_needed(recorded.needed, granted) == set()
