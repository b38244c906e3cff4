"""Whether what an object selects by labels is there: a selector of nothing is silent in Kubernetes.

A budget that protects no pod, a monitor that scrapes none and a policy for nobody are all accepted,
and nobody notices.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from abserve.manifests.documents import (
    Document,
    dig,
    entries,
    kind_of,
    listed,
    mapping,
    namespace_of,
)
from abserve.manifests.findings import Severity
from abserve.manifests.given import Given
from abserve.manifests.pods import Pod

Namespaces = tuple[str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Selector:
    """Labels that pods of some namespaces (None: of all) should have, and ports by name."""

    field: str
    namespaces: Namespaces
    selector: Mapping[str, Any]
    ports: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        labels = [f"{key}={value}" for key, value in mapping(self.selector, "matchLabels").items()]
        labels += [
            f"{each.get('key')} {each.get('operator')} {each.get('values') or ''}".strip()
            for each in entries(self.selector, "matchExpressions")
        ]
        return ", ".join(labels)


def selector_faults(document: Document, given: Given) -> Iterator[tuple[str, Severity]]:
    """Yield the selectors of an object that select no pod, and ports that its pods have not."""
    of_kind = _OF_KIND.get(kind_of(document))
    for each in of_kind(document) if of_kind is not None else ():
        if not each.text:
            continue  # All pods of the namespace, as many as there are.
        there = given.pods_in(each.namespaces)
        found = [pod for pod in there if matches(each.selector, pod.labels)]
        if found:
            yield from _port_faults(each, found)
        elif _holds_our_pods(each.namespaces, there):
            yield (
                f"{each.field}: selects {each.text}, and no pod{_where(each)} has these labels; "
                "correct them, or remove what selects nothing",
                Severity.ERROR,
            )
        else:
            yield (
                f"{each.field}: selects {each.text}{_where(each)}, where no manifest of ours makes "
                "such pods; if a chart does, look at its labels",
                Severity.NOTE,
            )


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a Kubernetes label selector selects these labels.

    Examples
    --------
    >>> matches({"matchLabels": {"app": "iris"}}, {"app": "iris", "version": "v1"})
    True
    """
    exact = mapping(selector, "matchLabels").items()
    if any(labels.get(key) != value for key, value in exact):
        return False
    return all(_holds(each, labels) for each in entries(selector, "matchExpressions"))


def _holds_our_pods(namespaces: Namespaces, pods: tuple[Pod, ...]) -> bool:
    """Tell whether one of the namespaces is ours to fill: pods without one may be anywhere."""
    return namespaces is not None and any(pod.ours and pod.namespace in namespaces for pod in pods)


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = str(expression.get("key")), expression.get("values") or []
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


def _port_faults(selector: Selector, pods: list[Pod]) -> Iterator[tuple[str, Severity]]:
    for field, port in selector.ports:
        without = [pod.owner for pod in pods if pod.ports is not None and port not in pod.ports]
        if without:
            yield (
                f"{field}: found port {port!r}, which pods of {', '.join(without)} do not have; "
                "name a port of theirs",
                Severity.ERROR,
            )


def _where(selector: Selector) -> str:
    if selector.namespaces is None:
        return " in any namespace"
    named = [each for each in selector.namespaces if each]
    return f" in {', '.join(named)}" if named else ""


def _own(document: Document) -> Namespaces:
    return (namespace_of(document),)


def _service(document: Document) -> Iterator[Selector]:
    ports = tuple(
        (f"spec.ports[{index}].targetPort", str(each["targetPort"]))
        for index, each in enumerate(entries(document, "spec", "ports"))
        if isinstance(each.get("targetPort"), str) and not each["targetPort"].isdigit()
    )
    labels = {"matchLabels": mapping(document, "spec", "selector")}
    yield Selector("spec.selector", _own(document), labels, ports)


def _budget(document: Document) -> Iterator[Selector]:
    yield Selector("spec.selector", _own(document), mapping(document, "spec", "selector"))


def _network_policy(document: Document) -> Iterator[Selector]:
    own = _own(document)
    ports = tuple(
        (f"spec.ingress[{index}].ports", str(port["port"]))
        for index, rule in enumerate(entries(document, "spec", "ingress"))
        for port in entries(rule, "ports")
        if isinstance(port.get("port"), str)
    )
    selector = mapping(document, "spec", "podSelector")
    yield Selector("spec.podSelector", own, selector, ports)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(entries(document, "spec", direction)):
            for position, peer in enumerate(entries(rule, peers)):
                where = f"spec.{direction}[{index}].{peers}[{position}]"
                namespaces = _peer_namespaces(peer, own)
                yield Selector(where, namespaces, mapping(peer, "podSelector"))


def _peer_namespaces(peer: Mapping[str, Any], own: Namespaces) -> Namespaces:
    if "namespaceSelector" not in peer:
        return own
    name = dig(peer, "namespaceSelector", "matchLabels", "kubernetes.io/metadata.name")
    return None if name is None else (str(name),)


def _pod_monitor(document: Document) -> Iterator[Selector]:
    namespaces = mapping(document, "spec", "namespaceSelector")
    chosen: Namespaces = _own(document)
    if namespaces.get("any") is True:
        chosen = None
    elif namespaces.get("matchNames"):
        chosen = tuple(str(each) for each in listed(namespaces, "matchNames"))
    ports = tuple(
        (f"spec.podMetricsEndpoints[{index}].port", str(each["port"]))
        for index, each in enumerate(entries(document, "spec", "podMetricsEndpoints"))
        if isinstance(each.get("port"), str)
    )
    yield Selector("spec.selector", chosen, mapping(document, "spec", "selector"), ports)


def _istio_policy(document: Document) -> Iterator[Selector]:
    yield Selector("spec.selector", _own(document), mapping(document, "spec", "selector"))


def _envoy_filter(document: Document) -> Iterator[Selector]:
    labels = mapping(document, "spec", "workloadSelector", "labels")
    yield Selector("spec.workloadSelector", _own(document), {"matchLabels": labels})


def _gateway(document: Document) -> Iterator[Selector]:
    # Istio looks for the gateway's pods in all namespaces.
    yield Selector("spec.selector", None, {"matchLabels": mapping(document, "spec", "selector")})


_OF_KIND: Mapping[str, Callable[[Document], Iterator[Selector]]] = {
    "Service": _service,
    "PodDisruptionBudget": _budget,
    "NetworkPolicy": _network_policy,
    "PodMonitor": _pod_monitor,
    "AuthorizationPolicy": _istio_policy,
    "RequestAuthentication": _istio_policy,
    "PeerAuthentication": _istio_policy,
    "EnvoyFilter": _envoy_filter,
    "Sidecar": _envoy_filter,
    "Gateway": _gateway,
}
