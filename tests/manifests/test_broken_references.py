"""Each kind of reference of ours, broken once: the check tells it."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from abserve.manifests.documents import subject_of
from abserve.manifests.given import Given
from abserve.manifests.references import reference_faults
from abserve.manifests.selectors import selector_faults
from tests.manifests.rendering import MANIFESTS, ROOT, rendered

Document = dict[str, Any]


def applied(cluster: str) -> Iterator[Document]:
    """Yield what a cluster is given: what Flux reads, and the folders that this names."""
    itself = rendered(MANIFESTS / "clusters" / cluster)
    yield from itself
    for each in itself:
        path = each["spec"]["path"] if each["kind"] == "Kustomization" else "./"
        # Flux's own manifests are in another repository, and the cluster's folder is above.
        if path not in {"./", f"./manifests/clusters/{cluster}"}:
            yield from rendered(ROOT / path)


@pytest.fixture(scope="module")
def production() -> list[Document]:
    return list(applied("production"))


def faults(document: Document, documents: list[Document]) -> list[str]:
    given = Given(documents)
    selectors = [f"{severity} {fault}" for fault, severity in selector_faults(document, given)]
    return [*reference_faults(document, given), *selectors]


def test_nothing_of_ours_is_broken(production: list[Document]) -> None:
    assert [fault for each in production for fault in faults(each, production)] == []


POD = "spec.predictors.0.componentSpecs.0.spec"
ROLLOUT = "spec.template.spec"


@pytest.mark.parametrize(
    ("subject", "field", "value", "said"),
    [
        # Secrets, and keys of them.
        ("SeldonDeployment/iris", "spec.predictors.1.graph.envSecretRefName", "s3", "Secret 's3'"),
        (
            "SeldonDeployment/iris",
            f"{POD}.initContainers.0.envFrom.0.secretRef.name",
            "s3",
            "initContainers[0].envFrom[0]: found no Secret 's3'",
        ),
        (
            "SeldonDeployment/iris",
            f"{POD}.containers.0.env.0.valueFrom.secretKeyRef.name",
            "feedback",
            "containers[0].env[0]: found no Secret 'feedback'",
        ),
        ("Gateway/seldon-gateway", "spec.servers.0.tls.credentialName", "tls", "Secret 'tls'"),
        ("Provider/commit-status", "spec.secretRef.name", "token", "Secret 'token'"),
        # ConfigMaps, claims, accounts, roles.
        (
            "Deployment/abserve-rollout-iris",
            f"{ROLLOUT}.volumes.0.configMap.name",
            "iris",
            "found no ConfigMap 'iris'",
        ),
        (
            "Deployment/abserve-rollout-iris",
            f"{ROLLOUT}.volumes.1.persistentVolumeClaim.claimName",
            "iris",
            "found no PersistentVolumeClaim 'iris'",
        ),
        (
            "Deployment/abserve-rollout-iris",
            f"{ROLLOUT}.serviceAccountName",
            "rollout",
            "found no ServiceAccount 'rollout'",
        ),
        ("RoleBinding/abserve-rollout-iris", "roleRef.name", "rollout", "no Role 'rollout'"),
        (
            "RoleBinding/abserve-rollout-iris",
            "subjects.0.name",
            "rollout",
            "found no ServiceAccount 'rollout'",
        ),
        (
            "AuthorizationPolicy/inference",
            "spec.rules.0.from.0.source.principals.0",
            "cluster.local/ns/istio-ingress/sa/ingress",
            "found no ServiceAccount 'ingress' in istio-ingress",
        ),
        (
            "ConfigMap/iris-experiment",
            "data",
            {"experiment.yaml": "{deployment: iris, baseline: stable, candidate: candidate}"},
            "data.experiment.yaml: baseline: found no predictor 'iris/stable' in models",
        ),
        (
            "ConfigMap/iris-experiment",
            "data",
            {"experiment.yaml": "{deployment: irises, baseline: baseline, candidate: candidate}"},
            "data.experiment.yaml: deployment: found no SeldonDeployment 'irises'",
        ),
        # Stores, issuers, charts, Flux.
        ("ExternalSecret/model-repository", "spec.secretStoreRef.name", "s", "SecretStore 's'"),
        ("Certificate/models", "spec.issuerRef.name", "letsencrypt", "no ClusterIssuer"),
        ("HelmRelease/keda", "spec.chart.spec.sourceRef.name", "keda", "no HelmRepository 'keda'"),
        ("HelmRelease/istio-cni", "spec.dependsOn.0.name", "istio", "no HelmRelease 'istio'"),
        ("Kustomization/access", "spec.dependsOn.0.name", "config", "no Kustomization 'config'"),
        ("Kustomization/access", "spec.sourceRef.name", "git", "no GitRepository 'git'"),
        ("Alert/commit-status", "spec.providerRef.name", "github", "no Provider 'github'"),
        (
            "ServiceAccount/abserve-rollout-iris",
            "metadata.namespace",
            "modles",
            "no manifest makes",
        ),
        # Ports.
        (
            "SeldonDeployment/iris",
            f"{POD}.containers.0.readinessProbe.httpGet.port",
            "web",
            "readinessProbe: found port 'web'",
        ),
        (
            "PodMonitor/abserve-runtimes",
            "spec.podMetricsEndpoints.0.port",
            "prometheus",
            "error spec.podMetricsEndpoints[0].port: found port 'prometheus'",
        ),
        # Selectors.
        (
            "PodMonitor/abserve-runtimes",
            "spec.selector",
            {"matchLabels": {"app": "model"}},
            "error spec.selector: selects app=model",
        ),
        (
            "PodDisruptionBudget/iris-baseline",
            "spec.selector.matchLabels.version",
            "v1",
            "error spec.selector: selects seldon-deployment-id=iris, version=v1",
        ),
        (
            "NetworkPolicy/inference",
            "spec.podSelector",
            {"matchLabels": {"app": "model"}},
            "error spec.podSelector: selects app=model",
        ),
        (
            "Gateway/seldon-gateway",
            "spec.selector",
            {"istio": "ingressgateway"},
            "note spec.selector: selects istio=ingressgateway",
        ),
        (
            "EnvoyFilter/sticky",
            "spec.workloadSelector.labels",
            {"istio": "ingressgateway"},
            "note spec.workloadSelector: selects istio=ingressgateway",
        ),
    ],
)
def test_a_broken_reference_is_told(
    subject: str, field: str, value: Any, said: str, production: list[Document]
) -> None:
    (whole,) = [each for each in production if subject_of(each) == subject]
    broken = deepcopy(whole)
    *path, last = [int(each) if each.isdigit() else each for each in field.split(".")]
    part: Any = broken
    for each in path:
        part = part[each]
    assert last in part or isinstance(last, int)
    part[last] = value
    others = [each for each in production if each is not whole]
    assert any(said in each for each in faults(broken, [broken, *others]))


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("ExternalSecret/model-repository", "SeldonDeployment/iris"),
        ("ExternalSecret/feedback-key", "SeldonDeployment/digits"),
        ("ConfigMap/iris-experiment", "Deployment/abserve-rollout-iris"),
        ("ServiceAccount/abserve-rollout-iris", "Deployment/abserve-rollout-iris"),
        ("Role/abserve-rollout-iris", "RoleBinding/abserve-rollout-iris"),
        ("ClusterSecretStore/abserve", "ExternalSecret/model-repository"),
        ("ClusterIssuer/abserve", "Certificate/models"),
        ("Certificate/models", "Gateway/seldon-gateway"),
        ("SeldonDeployment/iris", "PodDisruptionBudget/iris-candidate"),
        ("HelmRelease/istio-ingress", "EnvoyFilter/rate-limit"),
    ],
)
def test_what_is_gone_is_missed_by_what_names_it(
    gone: str, left: str, production: list[Document]
) -> None:
    rest = [each for each in production if subject_of(each) != gone]
    assert len(rest) < len(production)
    named = [each for each in rest if subject_of(each) == left]
    assert [fault for each in named for fault in faults(each, rest)] != []
