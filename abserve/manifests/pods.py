"""Pods that selectors may mean: those of objects, of charts, and of clusters.

Of charts those are known whose pods manifests of this repository select, with the labels that the
chart gives them; whatever else a chart runs is not known, so a selector that finds nothing among
them is noted, and no error.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from abserve.manifests.deployments import is_seldon_deployment, parsed
from abserve.manifests.documents import (
    Document,
    dig,
    entries,
    kind_of,
    mapping,
    name_of,
    namespace_of,
    pod_template,
)
from abserve.seldon import SeldonDeployment, pod_labels

SELDON_PORTS = frozenset({"http", "grpc", "metrics"})

_NAME, _COMPONENT = "app.kubernetes.io/name", "app.kubernetes.io/component"
# Labels and named ports, by the name of the chart.
_OF_CHARTS: Mapping[str, tuple[tuple[Mapping[str, str], tuple[str, ...]], ...]] = {
    "cert-manager": (({_NAME: "cert-manager", _COMPONENT: "controller"}, ("http-metrics",)),),
    "istiod": (({"app": "istiod", "istio": "pilot"}, ("http-monitoring",)),),
    "kube-prometheus-stack": (({_NAME: "prometheus"}, ("http-web",)),),
}
# What istio's `gateway` chart makes is called as its release.
_GATEWAY = "gateway"
_OF_CLUSTERS = (
    *(("kube-system", {"k8s-app": name}, None)
      for name in ("kube-dns", "node-local-dns", "konnectivity-agent")),
    *(("flux-system", {"app": f"{name}-controller"}, frozenset({"http-prom"}))
      for name in ("source", "kustomize", "helm", "notification")),
)  # fmt: skip


@dataclass(frozen=True)
class Pod:
    """Pods that an object makes, all alike.

    `ports` is None where they are not known. Of pods that are not `ours` there may be others.
    """

    owner: str
    namespace: str | None
    labels: Mapping[str, str]
    ports: frozenset[str] | None
    ours: bool = True


def pods(document: Document) -> Iterator[Pod]:
    """Yield the pods that an object makes."""
    namespace, owner = namespace_of(document), f"{kind_of(document)}/{name_of(document)}"
    if is_seldon_deployment(document):
        deployment = parsed(document)
        if deployment is not None:
            yield from _of_seldon(deployment, namespace, owner)
        return
    if kind_of(document) == "HelmRelease":
        yield from _of_chart(document, owner)
    found = pod_template(document)
    if found is not None:
        _, template = found
        labels = {str(k): str(v) for k, v in mapping(template, "metadata", "labels").items()}
        yield Pod(owner, namespace, labels, port_names(mapping(template, "spec")))


def pods_of_clusters() -> Iterator[Pod]:
    """Yield what clusters run before anything of this repository is applied, Flux among it."""
    for namespace, labels, ports in _OF_CLUSTERS:
        yield Pod(namespace, namespace, labels, ports, ours=False)


def port_names(pod: Mapping[str, Any]) -> frozenset[str]:
    """Return the named ports of a PodSpec."""
    return frozenset(
        str(port["name"])
        for container in [*entries(pod, "containers"), *entries(pod, "initContainers")]
        for port in entries(container, "ports")
        if "name" in port
    )


def _of_seldon(deployment: SeldonDeployment, namespace: str | None, owner: str) -> Iterator[Pod]:
    for predictor in deployment.spec.predictors:
        for index, component in enumerate(predictor.component_specs):
            own = {port.name for each in component.containers for port in each.ports if port.name}
            labels = pod_labels(deployment, predictor, index)
            yield Pod(f"{owner} {predictor.name}", namespace, labels, SELDON_PORTS | own)


def gateway_account(document: Document) -> tuple[str, str] | None:
    """Return namespace and name of the ServiceAccount of a gateway; None if it makes none."""
    if kind_of(document) != "HelmRelease" or _chart(document) != _GATEWAY:
        return None
    return _target(document), _release(document)


def _of_chart(document: Document, owner: str) -> Iterator[Pod]:
    known = _OF_CHARTS.get(_chart(document), ())
    if _chart(document) == _GATEWAY:
        name = _release(document)
        own = {"app": name, "istio": name.removeprefix("istio-"), _NAME: name}
        known = ((own, ("http-envoy-prom",)),)
    for labels, ports in known:
        yield Pod(owner, _target(document), labels, frozenset(ports), ours=False)


def _chart(document: Document) -> str:
    return str(dig(document, "spec", "chart", "spec", "chart"))


def _release(document: Document) -> str:
    return str(dig(document, "spec", "releaseName") or name_of(document))


def _target(document: Document) -> str:
    return str(dig(document, "spec", "targetNamespace") or namespace_of(document))
