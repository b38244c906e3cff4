"""Whether what an object names is there: Secrets, accounts, roles, stores, targets, sources."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from abserve.manifests.deployments import is_seldon_deployment
from abserve.manifests.documents import (
    Document,
    dig,
    entries,
    kind_of,
    listed,
    mapping,
    namespace_of,
    pod_template,
    yaml_documents,
)
from abserve.manifests.given import MADE_ELSEWHERE, Given
from abserve.manifests.pods import SELDON_PORTS, port_names

_CLUSTER_WIDE = (
    "ClusterRole",
    "ClusterIssuer",
    "ClusterSecretStore",
    "ClusterTriggerAuthentication",
)
# Of these a health check can be told from here; others may be a chart's.
_OURS = ("HelmRelease", "SeldonDeployment", "Kustomization", "Certificate", "ExternalSecret")
_PVC = "pvc://"
_EXPERIMENT = "experiment.yaml"
# With a wildcard it names no single account.
_PRINCIPAL = re.compile(r"[^/*]+/ns/([^/*]+)/sa/([^/*]+)")


@dataclass(frozen=True, slots=True)
class Reference:
    """What an object names, and at which of its fields.

    `of_a_caller` is a ServiceAccount under which others may run, a chart's pods for instance.
    """

    field: str
    kind: str
    name: str
    namespace: str | None
    key: str | None = None
    of_a_caller: bool = False


def reference_faults(document: Document, given: Given) -> Iterator[str]:
    """Yield what an object names and `given` does not hold."""
    namespace = namespace_of(document)
    if namespace is not None and not given.has_namespace(namespace):
        yield f"metadata.namespace: found {namespace!r}, which no manifest makes; add the Namespace"
    fields: dict[Reference, list[str]] = {}
    for each in references(document):
        fields.setdefault(replace(each, field=""), []).append(each.field)
    for each, named_at in fields.items():
        at, where = ", ".join(named_at), f" in {each.namespace}" if each.namespace else ""
        if not given.has(each.kind, each.name, each.namespace):
            if each.of_a_caller and not given.has_accounts(each.namespace):
                continue
            yield f"{at}: found no {each.kind} {each.name!r}{where}; {_remedy(each.kind)}"
        elif each.key and given.lacks_key(each.kind, each.name, each.namespace, each.key):
            yield (
                f"{at}: found no key {each.key!r} in {each.kind} {each.name!r}{where}; correct the "
                "key, or add it"
            )
    yield from _port_faults(document)


def references(document: Document) -> Iterator[Reference]:
    """Yield all that an object names."""
    for field, pod in _pod_specs(document):
        yield from _of_pod(field, pod, namespace_of(document))
    of_kind = _OF_KIND.get(kind_of(document))
    if of_kind is not None:
        yield from of_kind(document)


def _remedy(kind: str) -> str:
    if kind == "Secret":
        return (
            "correct the name, add an ExternalSecret that makes it, or name it in the annotation "
            f"{MADE_ELSEWHERE} of an object in that namespace, if somebody makes it by hand"
        )
    return "correct the name, or add it to what is applied there"


# Pods.


def _pod_specs(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if is_seldon_deployment(document):
        for index, predictor in enumerate(entries(document, "spec", "predictors")):
            for position, pod in enumerate(entries(predictor, "componentSpecs")):
                where = f"spec.predictors[{index}].componentSpecs[{position}].spec"
                yield where, mapping(pod, "spec")
        return
    found = pod_template(document)
    if found is not None:
        field, template = found
        yield field, mapping(template, "spec")


def _of_pod(field: str, pod: Mapping[str, Any], namespace: str | None) -> Iterator[Reference]:
    def named(where: str, kind: str, value: Any, key: Any = None) -> Iterator[Reference]:
        if isinstance(value, str) and value:
            yield Reference(where, kind, value, namespace, key if isinstance(key, str) else None)

    yield from named(f"{field}.serviceAccountName", "ServiceAccount", pod.get("serviceAccountName"))
    for index, secret in enumerate(entries(pod, "imagePullSecrets")):
        yield from named(f"{field}.imagePullSecrets[{index}]", "Secret", secret.get("name"))
    for index, volume in enumerate(entries(pod, "volumes")):
        where = f"{field}.volumes[{index}]"
        for source in (volume, *entries(volume, "projected", "sources")):
            for part, kind, key in (
                ("secret", "Secret", "secretName"),
                ("configMap", "ConfigMap", "name"),
                ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
            ):
                found = mapping(source, part)
                if found.get("optional") is not True:
                    yield from named(where, kind, found.get(key) or found.get("name"))
    for name in ("containers", "initContainers"):
        for index, container in enumerate(entries(pod, name)):
            yield from _of_container(f"{field}.{name}[{index}]", container, namespace)


def _of_container(
    field: str, container: Mapping[str, Any], namespace: str | None
) -> Iterator[Reference]:
    for index, variable in enumerate(entries(container, "env")):
        for part, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            found = mapping(variable, "valueFrom", part)
            if found.get("name") and found.get("optional") is not True:
                where = f"{field}.env[{index}]"
                yield Reference(where, kind, str(found["name"]), namespace, str(found.get("key")))
    for index, source in enumerate(entries(container, "envFrom")):
        for part, kind in (("secretRef", "Secret"), ("configMapRef", "ConfigMap")):
            found = mapping(source, part)
            if found.get("name") and found.get("optional") is not True:
                yield Reference(f"{field}.envFrom[{index}]", kind, str(found["name"]), namespace)


def _port_faults(document: Document) -> Iterator[str]:
    """Yield the probes that name a port which the pod does not have."""
    for field, pod in _pod_specs(document):
        known = port_names(pod) | (SELDON_PORTS if is_seldon_deployment(document) else frozenset())
        for index, container in enumerate(entries(pod, "containers")):
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                for way in ("httpGet", "tcpSocket"):
                    port = dig(container, probe, way, "port")
                    if isinstance(port, str) and not port.isdigit() and port not in known:
                        yield (
                            f"{field}.containers[{index}].{probe}: found port {port!r}, expected "
                            f"one of {', '.join(sorted(known)) or 'none'}; name a port of the pod"
                        )


# Other kinds.


def _seldon_deployment(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    for index, predictor in enumerate(entries(document, "spec", "predictors")):
        graph, field = mapping(predictor, "graph"), f"spec.predictors[{index}].graph"
        for key, kind in (("envSecretRefName", "Secret"), ("serviceAccountName", "ServiceAccount")):
            if graph.get(key):
                yield Reference(f"{field}.{key}", kind, str(graph[key]), namespace)
        uri = str(graph.get("modelUri") or "")
        if uri.startswith(_PVC):
            claim = uri.removeprefix(_PVC).partition("/")[0]
            yield Reference(f"{field}.modelUri", "PersistentVolumeClaim", claim, namespace)


def _config_map(document: Document) -> Iterator[Reference]:
    """Yield what an experiment is about: a rollout that does not find it never starts."""
    try:
        (experiment,) = yaml_documents(str(dig(document, "data", _EXPERIMENT) or ""))
    except (ValueError, yaml.YAMLError):
        return
    deployment, namespace = dig(experiment, "deployment"), namespace_of(document)
    field = f"data.{_EXPERIMENT}"
    if isinstance(deployment, str):
        yield Reference(f"{field}: deployment", "SeldonDeployment", deployment, namespace)
        # The candidate may be added later: a retraining does.
        if dig(experiment, "baseline"):
            name = f"{deployment}/{dig(experiment, 'baseline')}"
            yield Reference(f"{field}: baseline", "predictor", name, namespace)


def _role_binding(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    yield from _one(document, ("roleRef",), "Role", namespace)
    for index, subject in enumerate(entries(document, "subjects")):
        if subject.get("kind") == "ServiceAccount":
            where = str(subject["namespace"]) if subject.get("namespace") else namespace
            name = str(subject.get("name"))
            yield Reference(f"subjects[{index}]", "ServiceAccount", name, where)


def _autoscaler(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    yield from _one(document, ("spec", "scaleTargetRef"), "Deployment", namespace)
    for index, trigger in enumerate(entries(document, "spec", "triggers")):
        for each in _one(trigger, ("authenticationRef",), "TriggerAuthentication", namespace):
            yield Reference(f"spec.triggers[{index}]", each.kind, each.name, each.namespace)


def _trigger_authentication(document: Document) -> Iterator[Reference]:
    for index, each in enumerate(entries(document, "spec", "secretTargetRef")):
        where = f"spec.secretTargetRef[{index}]"
        yield Reference(
            where, "Secret", str(each.get("name")), namespace_of(document), str(each.get("key"))
        )


def _certificate(document: Document) -> Iterator[Reference]:
    if dig(document, "spec", "issuerRef", "group") in (None, "cert-manager.io"):
        yield from _one(document, ("spec", "issuerRef"), "Issuer", namespace_of(document))


def _external_secret(document: Document) -> Iterator[Reference]:
    yield from _one(document, ("spec", "secretStoreRef"), "SecretStore", namespace_of(document))


def _secret_store(document: Document) -> Iterator[Reference]:
    for provider, settings in mapping(document, "spec", "provider").items():
        for way in mapping(settings, "auth"):
            path = ("spec", "provider", provider, "auth", way, "serviceAccountRef")
            yield from _one(document, path, "ServiceAccount", namespace_of(document))


def _virtual_service(document: Document) -> Iterator[Reference]:
    for index, gateway in enumerate(listed(document, "spec", "gateways")):
        namespace, slash, name = str(gateway).rpartition("/")
        if name != "mesh":
            where = namespace if slash else namespace_of(document)
            yield Reference(f"spec.gateways[{index}]", "Gateway", name, where)


def _gateway(document: Document) -> Iterator[Reference]:
    for index, server in enumerate(entries(document, "spec", "servers")):
        secret = dig(server, "tls", "credentialName")
        if secret:
            # It lies beside the gateway's pods, which need not be where the Gateway is.
            yield Reference(f"spec.servers[{index}].tls", "Secret", str(secret), None)


def _authorization_policy(document: Document) -> Iterator[Reference]:
    for index, rule in enumerate(entries(document, "spec", "rules")):
        for place, source in enumerate(entries(rule, "from")):
            for each in listed(source, "source", "principals"):
                named = _PRINCIPAL.fullmatch(str(each))
                if named is not None:
                    field = f"spec.rules[{index}].from[{place}].source.principals"
                    yield Reference(field, "ServiceAccount", named[2], named[1], of_a_caller=True)


def _flux_kustomization(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    yield from _dependencies(document, "Kustomization")
    yield from _one(document, ("spec", "sourceRef"), "GitRepository", namespace)
    yield from _one(document, ("spec", "decryption", "secretRef"), "Secret", namespace)
    for index, each in enumerate(entries(document, "spec", "healthChecks")):
        if each.get("kind") in _OURS:
            where = str(each["namespace"]) if each.get("namespace") else namespace
            kind, name = str(each["kind"]), str(each.get("name"))
            yield Reference(f"spec.healthChecks[{index}]", kind, name, where)


def _helm_release(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    yield from _dependencies(document, "HelmRelease")
    yield from _one(document, ("spec", "chart", "spec", "sourceRef"), "HelmRepository", namespace)
    yield from _one(document, ("spec", "chartRef"), "OCIRepository", namespace)
    for index, each in enumerate(entries(document, "spec", "valuesFrom")):
        if each.get("optional") is not True:
            kind, name = str(each.get("kind")), str(each.get("name"))
            key = each.get("valuesKey")
            where = f"spec.valuesFrom[{index}]"
            yield Reference(where, kind, name, namespace, str(key) if key else None)


def _notification(document: Document) -> Iterator[Reference]:
    namespace = namespace_of(document)
    yield from _one(document, ("spec", "providerRef"), "Provider", namespace)
    yield from _one(document, ("spec", "secretRef"), "Secret", namespace)


def _dependencies(document: Document, kind: str) -> Iterator[Reference]:
    for index, each in enumerate(entries(document, "spec", "dependsOn")):
        where = str(each["namespace"]) if each.get("namespace") else namespace_of(document)
        yield Reference(f"spec.dependsOn[{index}]", kind, str(each.get("name")), where)


def _one(
    value: Mapping[str, Any], path: tuple[str, ...], usual_kind: str, namespace: str | None
) -> Iterator[Reference]:
    found = mapping(value, *path)
    if found.get("name"):
        kind = str(found.get("kind") or usual_kind)
        where = str(found["namespace"]) if found.get("namespace") else namespace
        yield Reference(
            ".".join(path), kind, str(found["name"]), None if kind in _CLUSTER_WIDE else where
        )


_OF_KIND: Mapping[str, Callable[[Document], Iterator[Reference]]] = {
    "SeldonDeployment": _seldon_deployment,
    "ConfigMap": _config_map,
    "RoleBinding": _role_binding,
    "ClusterRoleBinding": _role_binding,
    "HorizontalPodAutoscaler": _autoscaler,
    "ScaledObject": _autoscaler,
    "TriggerAuthentication": _trigger_authentication,
    "Certificate": _certificate,
    "ExternalSecret": _external_secret,
    "SecretStore": _secret_store,
    "ClusterSecretStore": _secret_store,
    "AuthorizationPolicy": _authorization_policy,
    "VirtualService": _virtual_service,
    "Gateway": _gateway,
    "Kustomization": _flux_kustomization,
    "HelmRelease": _helm_release,
    "Provider": _notification,
    "Alert": _notification,
}
