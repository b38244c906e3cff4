"""Who may open a connection to whom, by the semantics of NetworkPolicies.

A pod that a policy selects takes part only in what some policy allows; what no policy selects is
open. Both ends have to allow a connection. Where a pod has an address of an `ipBlock`, some
networks let it through and others do not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from abserve.manifests.selectors import matches

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """A pod, or an address that is nobody's: then `namespace` is empty."""

    address: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Network:
    """What policies there are, and whether an `ipBlock` is for pods with its addresses, too."""

    policies: tuple[Policy, ...]
    blocks_hold_pods: bool

    def allows(self, source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
        """Tell whether a connection comes about."""
        wanted = (port, protocol)
        leaves = self._one_end("Egress", source, target, target, wanted)
        return leaves and self._one_end("Ingress", target, source, target, wanted)

    def _one_end(
        self, direction: str, own: Peer, other: Peer, target: Peer, wanted: tuple[int, str]
    ) -> bool:
        selecting = [each for each in self.policies if _selects(each, own, direction)]
        if not selecting:
            return True
        rules = (rule for each in selecting for rule in each["spec"].get(direction.lower()) or ())
        peers = "to" if direction == "Egress" else "from"
        return any(
            self._holds(rule.get(peers), own, other)
            and _has_port(rule.get("ports"), target, wanted)
            for rule in rules
        )

    def _holds(self, peers: Iterable[Policy] | None, own: Peer, other: Peer) -> bool:
        return not peers or any(self._is(each, own, other) for each in peers)

    def _is(self, peer: Policy, own: Peer, other: Peer) -> bool:
        if "ipBlock" in peer:
            return (self.blocks_hold_pods or not other.namespace) and _in(peer["ipBlock"], other)
        if not other.namespace:
            return False
        if "namespaceSelector" in peer:
            labels = {"kubernetes.io/metadata.name": other.namespace}
            if not matches(peer["namespaceSelector"], labels):
                return False
        elif other.namespace != own.namespace:
            return False
        return matches(peer.get("podSelector") or {}, other.labels)


def _selects(policy: Policy, pod: Peer, direction: str) -> bool:
    spec = policy["spec"]
    usual = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return (
        policy["metadata"]["namespace"] == pod.namespace
        and direction in spec.get("policyTypes", usual)
        and matches(spec["podSelector"], pod.labels)
    )


def _has_port(ports: Iterable[Policy] | None, target: Peer, wanted: tuple[int, str]) -> bool:
    if not ports:
        return True
    return any(
        (target.ports.get(each["port"], each["port"]), each.get("protocol", "TCP")) == wanted
        for each in ports
    )


def _in(block: Policy, peer: Peer) -> bool:
    address = ip_address(peer.address)
    return address in ip_network(block["cidr"]) and not any(
        address in ip_network(each) for each in block.get("except") or ()
    )
