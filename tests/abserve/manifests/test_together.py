"""Rules that look at all that a cluster is given: references, selectors, duplicates."""

from pathlib import Path
from typing import Any

import pytest

from tests.abserve.manifests.trees import (
    Document,
    checked,
    found,
    iris,
    kustomization,
    messages,
    thing,
    two,
)

POD = {
    "containers": [
        {"name": "one", "image": "one:1", "ports": [{"name": "web", "containerPort": 1}]}
    ]
}
SECRET_STORE = thing(
    "SecretStore", "cloud", "external-secrets.io/v1", spec={"provider": {"fake": {"data": []}}}
)


def deployment(name: str = "shop", **pod: Any) -> Document:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {**POD, **pod}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return thing("Deployment", name, "apps/v1", spec=spec)


def external_secret(name: str) -> Document:
    spec = {"secretStoreRef": {"name": "cloud", "kind": "SecretStore"}, "target": {"name": name}}
    return thing("ExternalSecret", f"make-{name}", "external-secrets.io/v1", spec=spec)


def with_secret(name: str = "key") -> Document:
    source = {"secretKeyRef": {"name": name, "key": "key"}}
    container = {"name": "one", "image": "one:1", "env": [{"name": "KEY", "valueFrom": source}]}
    return deployment(containers=[container])


# References.


def test_a_secret_that_nobody_makes_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, with_secret())
    (finding,) = found(tmp_path, "reference")
    assert finding.subject == "Deployment/shop"
    assert "found no Secret 'key'" in finding.message


def test_a_secret_that_an_external_secret_makes_is_there(tmp_path: Path) -> None:
    kustomization(tmp_path, with_secret(), external_secret("key"), SECRET_STORE)
    assert messages(tmp_path, "reference") == []


def test_a_secret_that_somebody_makes_by_hand_is_said_in_an_annotation(tmp_path: Path) -> None:
    noted = thing("ConfigMap", "notes")
    noted["metadata"]["annotations"] = {"abserve.io/secrets-made-elsewhere": "other, key"}
    kustomization(tmp_path, with_secret(), noted)
    assert messages(tmp_path, "reference") == []


def test_a_secret_of_another_namespace_is_none_of_this(tmp_path: Path) -> None:
    kustomization(tmp_path / "base/key", external_secret("key"), SECRET_STORE, namespace="other")
    kustomization(tmp_path / "base/shop", with_secret(), namespace="shop")
    (message,) = messages(tmp_path, "reference")
    assert message.startswith(
        "spec.template.spec.containers[0].env[0]: found no Secret 'key' in shop"
    )


def test_a_reference_is_told_once_however_often_it_is_made(tmp_path: Path) -> None:
    kustomization(tmp_path, with_secret(), iris(), namespace="a")
    env = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "key"}}}]
    containers = [{"name": each, "image": "one:1", "env": env} for each in ("one", "two")]
    kustomization(tmp_path, deployment(containers=containers))
    assert len(messages(tmp_path, "reference")) == 1


def test_an_optional_secret_may_be_missing(tmp_path: Path) -> None:
    volume = {"name": "key", "secret": {"secretName": "key", "optional": True}}
    kustomization(tmp_path, deployment(volumes=[volume]))
    assert messages(tmp_path, "reference") == []


def test_a_key_that_a_config_map_does_not_have_is_an_error(tmp_path: Path) -> None:
    source = {"configMapKeyRef": {"name": "settings", "key": "colour"}}
    container = {"name": "one", "image": "one:1", "env": [{"name": "A", "valueFrom": source}]}
    settings = thing("ConfigMap", "settings", data={"color": "red"})
    kustomization(tmp_path, deployment(containers=[container]), settings)
    assert "found no key 'colour' in ConfigMap 'settings'" in messages(tmp_path, "reference")[0]


def test_a_generated_config_map_is_there_under_its_new_name(tmp_path: Path) -> None:
    volume = {"name": "settings", "configMap": {"name": "settings"}}
    generator = [{"name": "settings", "literals": ["a=b"]}]
    kustomization(tmp_path, deployment(volumes=[volume]), configMapGenerator=generator)
    assert messages(tmp_path, "reference") == []


@pytest.mark.parametrize(
    ("pod", "missing"),
    [
        ({"serviceAccountName": "clerk"}, "ServiceAccount 'clerk'"),
        (
            {"volumes": [{"name": "a", "persistentVolumeClaim": {"claimName": "disk"}}]},
            "PersistentVolumeClaim 'disk'",
        ),
        ({"volumes": [{"name": "a", "configMap": {"name": "gone"}}]}, "ConfigMap 'gone'"),
        ({"imagePullSecrets": [{"name": "pull"}]}, "Secret 'pull'"),
    ],
)
def test_what_a_pod_names_has_to_be_there(
    tmp_path: Path, pod: dict[str, Any], missing: str
) -> None:
    kustomization(tmp_path, deployment(**pod))
    assert f"found no {missing}" in messages(tmp_path, "reference")[0]


def test_the_secret_of_a_model_repository_has_to_be_there(tmp_path: Path) -> None:
    graph = {"name": "iris", "modelUri": "s3://models/iris/v2", "envSecretRefName": "store"}
    kustomization(tmp_path, iris(*two(graph=graph)))
    (message,) = messages(tmp_path, "reference")
    assert message.startswith("spec.predictors[1].graph.envSecretRefName: found no Secret 'store'")


def test_one_machine_makes_its_own_secrets(tmp_path: Path) -> None:
    graph = {"name": "iris", "modelUri": "s3://m/iris/v2", "envSecretRefName": "model-repository"}
    kustomization(tmp_path / "overlays/local/iris", iris(*two(graph=graph)))
    kustomization(tmp_path / "overlays/staging/iris", iris(*two(graph=graph)))
    (finding,) = found(tmp_path, "reference")
    assert finding.folders == (str(tmp_path / "overlays/staging/iris"),)


RBAC = "rbac.authorization.k8s.io"


@pytest.mark.parametrize(
    ("role", "account", "missing"),
    [
        ({"kind": "Role", "name": "clerk"}, "default", ["Role 'clerk'"]),
        ({"kind": "ClusterRole", "name": "view"}, "default", []),
        ({"kind": "ClusterRole", "name": "view"}, "clerk", ["ServiceAccount 'clerk'"]),
    ],
)
def test_a_binding_needs_its_role_and_its_account(
    tmp_path: Path, role: dict[str, str], account: str, missing: list[str]
) -> None:
    binding = thing(
        "RoleBinding",
        "clerk",
        f"{RBAC}/v1",
        roleRef={"apiGroup": RBAC, **role},
        subjects=[{"kind": "ServiceAccount", "name": account}],
    )
    kustomization(tmp_path, binding)
    said = messages(tmp_path, "reference")
    assert [each.partition("found no ")[2].partition(";")[0] for each in said] == missing


def autoscaler(target: str) -> Document:
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
        "maxReplicas": 5,
    }
    return thing("HorizontalPodAutoscaler", "iris", "autoscaling/v2", spec=spec)


def test_an_autoscaler_may_scale_what_seldon_makes(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(), autoscaler("iris-candidate-0-iris"))
    assert messages(tmp_path, "reference") == []


def test_an_autoscaler_of_nothing_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(), autoscaler("iris-candidate"))
    assert "found no Deployment 'iris-candidate'" in messages(tmp_path, "reference")[0]


def test_a_probe_of_a_port_that_the_pod_does_not_have_is_an_error(tmp_path: Path) -> None:
    probed = {**POD["containers"][0], "readinessProbe": {"httpGet": {"path": "/", "port": "admin"}}}
    kustomization(tmp_path, deployment(containers=[probed]))
    assert "found port 'admin', expected one of web" in messages(tmp_path, "reference")[0]


def test_a_namespace_that_nobody_makes_is_an_error_once_some_are_made(tmp_path: Path) -> None:
    kustomization(tmp_path, thing("Namespace", "models"))
    kustomization(tmp_path / "base/a", thing("ConfigMap", "a"), namespace="modles")
    kustomization(tmp_path / "base/b", thing("Namespace", "models"))
    (tmp_path / "kustomization.yaml").unlink()
    (tmp_path / "namespace-models.yaml").unlink()
    assert "found 'modles', which no manifest makes" in messages(tmp_path, "reference")[0]


def callers(*principals: str) -> Document:
    rules = [{"from": [{"source": {"principals": [*principals]}}]}]
    return thing("AuthorizationPolicy", "shop", "security.istio.io/v1", spec={"rules": rules})


@pytest.mark.parametrize(
    ("account", "missing"),
    [
        ("istio-ingress/sa/istio-ingress", []),
        ("shop/sa/clerk", []),
        ("istio-ingress/sa/ingress", ["ServiceAccount 'ingress' in istio-ingress"]),
        ("shop/sa/clark", ["ServiceAccount 'clark' in shop"]),
        # Whom a chart makes there is not known, and a wildcard names no single one.
        ("monitoring/sa/prometheus", []),
        ("shop/sa/*", []),
    ],
)
def test_a_policy_names_callers_that_there_are(
    account: str, missing: list[str], tmp_path: Path
) -> None:
    clerk = thing("ServiceAccount", "clerk")
    clerk["metadata"]["namespace"] = "shop"
    repository = thing("HelmRepository", "istio", "source.toolkit.fluxcd.io/v1", spec={})
    kustomization(tmp_path, callers(f"cluster.local/ns/{account}"), clerk, gateway(), repository)
    said = messages(tmp_path, "reference")
    assert [each.partition("found no ")[2].partition(";")[0] for each in said] == missing


# Flux.


def flux(name: str, path: str, **spec: Any) -> Document:
    source = {"kind": "GitRepository", "name": "flux-system"}
    fields = {"interval": "1h", "prune": True, "path": path, "sourceRef": source, **spec}
    return thing("Kustomization", name, "kustomize.toolkit.fluxcd.io/v1", spec=fields)


def test_what_flux_applies_belongs_to_the_environment(tmp_path: Path) -> None:
    tree = tmp_path / "manifests"
    kustomization(tree / "overlays/staging/shop", with_secret())
    kustomization(tree / "base/secrets", external_secret("key"), SECRET_STORE)
    assert len(messages(tree, "reference", tree)) == 1
    kustomization(tree / "clusters/staging", flux("secrets", "./manifests/base/secrets"))
    assert messages(tree, "reference", tree) == []


def test_flux_needs_a_folder_and_what_it_depends_on(tmp_path: Path) -> None:
    tree = tmp_path / "manifests"
    wrong = flux("apps", "./manifests/apps", dependsOn=[{"name": "infrastructure"}])
    kustomization(tree / "clusters/staging", wrong)
    said = messages(tree, "reference", tree)
    assert any("spec.path: found './manifests/apps'" in each for each in said)
    assert any("found no Kustomization 'infrastructure'" in each for each in said)


def test_folders_of_another_repository_are_not_looked_for(tmp_path: Path) -> None:
    tree = tmp_path / "manifests"
    other = flux("theirs", "./deploy", sourceRef={"kind": "GitRepository", "name": "theirs"})
    source = thing("GitRepository", "theirs", "source.toolkit.fluxcd.io/v1")
    kustomization(tree / "clusters/staging", other, source)
    assert messages(tree, "reference", tree) == []


def test_a_source_whose_folders_are_here_is_this_repository(tmp_path: Path) -> None:
    tree = tmp_path / "manifests"
    ours = {"kind": "GitRepository", "name": "ours"}
    source = thing("GitRepository", "ours", "source.toolkit.fluxcd.io/v1")
    itself = flux("cluster", "./manifests/clusters/staging", sourceRef=ours)
    apps = flux("apps", "./manifests/apps", sourceRef=ours)
    kustomization(tree / "clusters/staging", itself, apps, source)
    assert "spec.path: found './manifests/apps'" in messages(tree, "reference", tree)[0]


# Selectors.


def budget(**labels: str) -> Document:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    return thing("PodDisruptionBudget", "iris", "policy/v1", spec=spec)


def test_a_budget_for_pods_that_seldon_makes_selects_them(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(), budget(**{"seldon-app": "iris-candidate"}))
    assert messages(tmp_path, "selector") == []


def test_weights_that_are_wrong_are_one_fault_and_not_two(tmp_path: Path) -> None:
    labels = {"seldon-app": "iris-candidate"}
    kustomization(tmp_path, iris(*two(traffic=20)), budget(**labels))
    assert messages(tmp_path, "selector") == []


def test_a_budget_for_no_pod_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, iris(), budget(**{"seldon-app": "iris-canary"}))
    assert "selects seldon-app=iris-canary, and no pod" in messages(tmp_path, "selector")[0]


def test_a_selector_of_pods_that_a_chart_may_make_is_noted(tmp_path: Path) -> None:
    kustomization(tmp_path, budget(app="prometheus"), namespace="monitoring")
    (note,) = checked(tmp_path).findings
    assert (note.severity, note.rule) == ("note", "selector")


def gateway(**spec: Any) -> Document:
    chart = {"chart": "gateway", "sourceRef": {"kind": "HelmRepository", "name": "istio"}}
    fields = {"interval": "1h", "targetNamespace": "istio-ingress", "chart": {"spec": chart}}
    api = "helm.toolkit.fluxcd.io/v2"
    return thing("HelmRelease", "istio-ingress", api, spec={**fields, **spec})


def gateway_monitor(port: str = "http-envoy-prom", **labels: str) -> Document:
    spec = {"selector": {"matchLabels": labels}, "podMetricsEndpoints": [{"port": port}]}
    made = thing("PodMonitor", "gateway", "monitoring.coreos.com/v1", spec=spec)
    made["metadata"]["namespace"] = "istio-ingress"
    return made


def noted(folder: Path) -> list[str]:
    found = checked(folder).findings
    return [each.message for each in found if (each.severity, each.rule) == ("note", "selector")]


def test_pods_of_a_chart_that_is_known_are_there(tmp_path: Path) -> None:
    kustomization(tmp_path, gateway(), gateway_monitor(istio="ingress"))
    assert (noted(tmp_path), messages(tmp_path, "selector")) == ([], [])


def test_a_chart_may_make_other_pods_than_are_known(tmp_path: Path) -> None:
    kustomization(tmp_path, gateway(), gateway_monitor(istio="ingres"))
    (note,) = noted(tmp_path)
    assert "selects istio=ingres in istio-ingress" in note


def test_the_gateway_is_called_as_its_release(tmp_path: Path) -> None:
    kustomization(tmp_path, gateway(releaseName="edge"), gateway_monitor(istio="edge"))
    assert noted(tmp_path) == []


def test_pods_of_a_chart_have_the_ports_of_the_chart(tmp_path: Path) -> None:
    kustomization(tmp_path, gateway(), gateway_monitor("metrics", istio="ingress"))
    assert (
        "found port 'metrics', which pods of HelmRelease/istio-ingress"
        in (messages(tmp_path, "selector")[0])
    )


def test_what_every_cluster_runs_is_there(tmp_path: Path) -> None:
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    spec = {"podSelector": {}, "egress": [{"to": [peer]}]}
    kustomization(tmp_path, thing("NetworkPolicy", "names", "networking.k8s.io/v1", spec=spec))
    assert checked(tmp_path).findings == ()


def test_a_service_needs_pods_with_its_port(tmp_path: Path) -> None:
    ports = [{"port": 80, "targetPort": "web"}, {"port": 81, "targetPort": "admin"}]
    service = thing("Service", "shop", spec={"selector": {"app": "shop"}, "ports": ports})
    kustomization(tmp_path, deployment(), service)
    (message,) = messages(tmp_path, "selector")
    assert message.startswith("spec.ports[1].targetPort: found port 'admin'")


def monitor(port: str) -> Document:
    spec = {
        "selector": {"matchExpressions": [{"key": "seldon-app", "operator": "Exists"}]},
        "podMetricsEndpoints": [{"port": port}],
    }
    return thing("PodMonitor", "iris", "monitoring.coreos.com/v1", spec=spec)


def test_a_monitor_scrapes_a_port_that_the_pods_have(tmp_path: Path) -> None:
    kustomization(tmp_path / "right", iris(), monitor("metrics"))
    kustomization(tmp_path / "wrong", iris(), monitor("prometheus"))
    assert messages(tmp_path / "right", "selector") == []
    assert "found port 'prometheus'" in messages(tmp_path / "wrong", "selector")[0]


def test_a_policy_has_to_be_for_somebody(tmp_path: Path) -> None:
    selector = {"matchLabels": {"app": "shops"}}
    policy = thing("NetworkPolicy", "shop", "networking.k8s.io/v1", spec={"podSelector": selector})
    everybody = thing("NetworkPolicy", "all", "networking.k8s.io/v1", spec={"podSelector": {}})
    kustomization(tmp_path, deployment(), policy, everybody)
    (finding,) = found(tmp_path, "selector")
    assert finding.subject == "NetworkPolicy/shop"


# The tree.


def test_what_does_not_render_is_one_fault_and_not_one_for_each_that_refers_to_it(
    tmp_path: Path,
) -> None:
    kustomization(tmp_path / "overlays/local/shop", with_secret())
    kustomization(tmp_path / "overlays/local/secrets", resources=["gone.yaml"])
    (error, note) = checked(tmp_path).findings
    assert (error.rule, note.rule, note.severity) == ("render", "reference", "note")
    assert "in local were not looked at" in note.message


def test_two_kustomizations_of_one_environment_must_not_apply_the_same(tmp_path: Path) -> None:
    settings = thing("ConfigMap", "settings")
    for folder in ("overlays/staging/a", "overlays/staging/b", "overlays/production/a"):
        kustomization(tmp_path / folder, settings)
    (finding,) = found(tmp_path, "duplicate")
    assert finding.folders == (str(tmp_path / "overlays/staging/b"),)


def test_a_tree_without_kustomizations_does_not_matter(tmp_path: Path) -> None:
    folder = kustomization(tmp_path / "one", thing("ConfigMap", "a"))
    (tmp_path / "manifests").mkdir()
    assert checked(folder, tmp_path / "manifests").findings == ()


def test_an_object_in_no_kustomization_is_an_error(tmp_path: Path) -> None:
    kustomization(tmp_path, thing("ConfigMap", "a"))
    (tmp_path / "forgotten.yaml").write_text("{apiVersion: v1, kind: Secret}")
    (tmp_path / "values.yaml").write_text("{a: b}")
    (finding,) = found(tmp_path, "unused")
    assert finding.file == str(tmp_path / "forgotten.yaml")


def test_a_fault_of_a_base_is_told_once_with_all_overlays(tmp_path: Path) -> None:
    kustomization(tmp_path / "base", thing("ConfigMap", "a", datum={}))
    for name in ("staging", "production"):
        kustomization(tmp_path / "overlays" / name / "a", resources=["../../../base"])
    (finding,) = found(tmp_path, "schema")
    assert finding.file == str(tmp_path / "base/configmap-a.yaml")
    assert len(finding.folders) == 2
