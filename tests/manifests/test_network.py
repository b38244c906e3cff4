"""Every connection that something needs is allowed, and what nobody needs is not."""

import json
from functools import cache
from typing import Any

import pytest
import yaml

from abserve.manifests.given import Given
from tests.manifests.network import Network, Peer
from tests.manifests.rendering import MANIFESTS, rendered

ENVIRONMENTS = ["staging", "production"]
CLOUDS = ["aws", "gcp"]
# Of pods, as the modules give them out.
POD = "10.40.3.7"

# Pods of charts, by the labels that their charts give them.
CHARTS = {
    "gateway": Peer(POD, "istio-ingress", {"app": "istio-ingress", "istio": "ingress"}),
    "istiod": Peer(POD, "istio-system", {"app": "istiod"}),
    "dns": Peer(POD, "kube-system", {"k8s-app": "kube-dns"}),
    "dns-cache": Peer(POD, "kube-system", {"k8s-app": "node-local-dns"}),
    "agent": Peer(POD, "kube-system", {"k8s-app": "konnectivity-agent"}),
    "prometheus": Peer(POD, "monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "grafana": Peer(POD, "monitoring", {"app.kubernetes.io/name": "grafana"}),
    "seldon": Peer(POD, "seldon-system", {"app": "seldon"}),
    "keda": Peer(POD, "keda", {"app": "keda-operator"}),
    "external-secrets": Peer(
        POD, "external-secrets", {"app.kubernetes.io/name": "external-secrets"}
    ),
    "cert-manager": Peer(POD, "cert-manager", {"app.kubernetes.io/name": "cert-manager"}),
    # One that somebody starts, and one that says it is what it is not.
    "stranger": Peer(POD, "default", {"app": "stranger"}),
    "pretender": Peer(POD, "default", {"istio": "ingress", "app.kubernetes.io/name": "prometheus"}),
    "unlabelled": Peer(POD, "models", {}),
    "beside-gateway": Peer(POD, "istio-ingress", {}),
}
ADDRESSES = {
    "internet": Peer("203.0.113.5"),
    "store": Peer("203.0.113.80"),
    "api": Peer("10.40.195.9"),
    "node": Peer("10.40.64.1"),
    "credentials": Peer("169.254.169.254"),
    "dns-address": Peer("169.254.20.10"),
}
OURS = {
    "iris": "SeldonDeployment/iris baseline",
    "iris-candidate": "SeldonDeployment/iris candidate",
    "digits": "SeldonDeployment/digits baseline",
    "rollout": "Deployment/abserve-rollout-iris",
    "train": "Job/abserve-train",
    "retrain": "CronJob/abserve-retrain-iris",
    "prune": "CronJob/abserve-prune",
    "score": "Job/abserve-score-iris",
}

# Written: from whom > to whom : ports.
NEEDED = """
internet > gateway : 443
gateway > iris iris-candidate digits : 9000 9500
gateway > istiod : 15012
iris digits rollout train retrain prune score gateway > dns dns-cache dns-address : 53 53/UDP
iris iris-candidate digits rollout > istiod : 15012
iris digits train retrain prune > store : 443
rollout retrain prune > api : 443 6443
rollout retrain > prometheus : 9090
score > internet gateway : 443
prometheus > iris iris-candidate digits : 6000 6001 6002
prometheus > rollout : 8083
prometheus > gateway : 15090
api agent > iris iris-candidate : 6000 6001 6002
api > seldon : 4443
api > istiod : 15017
keda > prometheus : 9090
external-secrets cert-manager istiod > internet : 443
"""
REFUSED = """
stranger pretender unlabelled internet node > digits iris-candidate : 9000 9500
iris rollout train retrain prune score > digits iris-candidate : 9000 9500
prometheus grafana seldon keda api agent > iris : 9000 9500
stranger pretender unlabelled grafana gateway node internet > iris : 6000 6001 6002
rollout train retrain prune score digits > iris : 6000 6001 6002
stranger pretender unlabelled grafana gateway iris node internet api > rollout : 8083
stranger pretender iris internet prometheus > train retrain prune score : 8080 443
iris digits rollout train retrain prune score unlabelled > internet : 80 53 53/UDP 22 8080
iris train score > api : 6443
train retrain prune score > istiod : 15012
iris train prune score gateway > prometheus : 9090
iris train score > grafana : 3000
unlabelled gateway > internet : 443
gateway > api credentials stranger : 443 80 6443
gateway > iris rollout : 6000 8083 15020
internet stranger iris > gateway : 80 15000 15020 15021 15090
stranger pretender > gateway : 15090
internet stranger gateway iris > unlabelled beside-gateway : 80 443 9000
beside-gateway > internet iris dns prometheus : 53 443 9000 9090
rollout score gateway unlabelled > credentials : 80
iris train retrain prune > credentials : 443 8080
"""


def rows(text: str) -> list[tuple[str, str, int, str]]:
    found = []
    for line in text.strip().splitlines():
        sources, _, rest = line.partition(" > ")
        targets, _, ports = rest.partition(" : ")
        for source in sources.split():
            for target in targets.split():
                for port in ports.split():
                    number, _, protocol = port.partition("/")
                    found.append((source, target, int(number), protocol or "TCP"))
    return found


@cache
def given(environment: str, cloud: str) -> tuple[dict[str, Peer], tuple[dict[str, Any], ...]]:
    """Return who there is by name, and the policies: ours as they are rendered and filled in."""
    overlays = MANIFESTS / f"overlays/{environment}"
    folders = [each.parent for each in overlays.glob("*/kustomization.yaml")]
    documents = [
        document
        for folder in (*folders, MANIFESTS / f"infrastructure/{cloud}/configs")
        if folder.name != "environment"
        for document in rendered(folder)
    ]
    # The example is of no environment; where there are others, it is in their namespace.
    example = json.dumps(rendered(MANIFESTS / "base/jobs/score"))
    documents += json.loads(example.replace('"namespace": "default"', '"namespace": "models"'))
    file = MANIFESTS / f"clusters/{environment}/cluster.yaml"
    settings = yaml.safe_load(file.read_text())["data"]
    kept = [each for each in documents if each["kind"] == "NetworkPolicy"]
    text = json.dumps(kept).replace("${api_server_cidr}", settings["api_server_cidr"])
    pods = {each.owner: each for each in Given(documents).pods}
    ours = {
        name: Peer(POD, pods[owner].namespace or "", pods[owner].labels, {"metrics": 8083})
        for name, owner in OURS.items()
    }
    return {**CHARTS, **ADDRESSES, **ours}, tuple(json.loads(text))


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_something_needs_is_allowed_however_a_network_reads_addresses(
    environment: str, cloud: str
) -> None:
    peers, policies = given(environment, cloud)
    strict = Network(policies, blocks_hold_pods=False)
    refused = [
        row
        for row in rows(NEEDED)
        if not strict.allows(peers[row[0]], peers[row[1]], row[2], row[3])
    ]
    assert refused == []


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_what_nothing_needs_is_refused_however_a_network_reads_addresses(
    environment: str, cloud: str
) -> None:
    peers, policies = given(environment, cloud)
    wide = Network(policies, blocks_hold_pods=True)
    allowed = [
        row for row in rows(REFUSED) if wide.allows(peers[row[0]], peers[row[1]], row[2], row[3])
    ]
    assert allowed == []


@pytest.mark.parametrize("pod", ["iris", "digits", "train", "retrain", "prune"])
def test_only_where_the_address_gives_a_pod_its_own_identity_may_pods_ask_it(pod: str) -> None:
    for cloud, open_ in (("aws", False), ("gcp", True)):
        peers, policies = given("production", cloud)
        network = Network(policies, blocks_hold_pods=True)
        assert network.allows(peers[pod], peers["credentials"], 80) is open_


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_pod_of_ours_is_closed_both_ways_unless_a_policy_opens_it(environment: str) -> None:
    peers, policies = given(environment, "aws")
    network = Network(policies, blocks_hold_pods=True)
    nobody = Peer("10.40.9.9", "nowhere")
    for name in (*OURS, "gateway", "unlabelled"):
        assert not network.allows(nobody, peers[name], 1), name
        assert not network.allows(peers[name], nobody, 1), name
