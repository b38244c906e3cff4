"""Write what docker-compose.yaml mounts: ``compose.py [--candidate PERCENT]``.

The gateway is told what the local cluster's is told, by the same code; only where it listens and
how it finds the versions is different, because here each of them is a container with a name::

    127.0.0.1:8080 ──> gateway:8080 ──90──> baseline:8080   clusters.json, routes.json
                            │       └─10──> candidate:8080
    prometheus ──> gateway:9902 ──> 127.0.0.1:9901/stats/prometheus, and nothing else of it

Envoy follows routes.json: other weights are in force a moment after they are written, without a
restart. The recording rules are those of the cluster, taken out of their PrometheusRules.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import yaml

from abserve.gateway import (
    Backend,
    Endpoint,
    Listener,
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from abserve.gateway.envoy import address, extension, typed
from abserve.weights import Weights

ROOT = Path(__file__).resolve().parents[1]
ENVOY = ROOT / "compose" / "envoy"
RULES = ROOT / "compose" / "prometheus" / "recording.yaml"
CLUSTERS_RULES = ROOT / "manifests" / "monitoring" / "rules"
CANDIDATE_PERCENT = 10

# Where ENVOY is in the container.
_FOLDER = Path("/etc/envoy/abserve")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - of a container; docker-compose.yaml says who reaches it
_PORT, _ADMIN_PORT, _STATISTICS_PORT = 8080, 9901, 9902
_REST_PORT, _GRPC_PORT = 8080, 8081


def gateway_files(candidate_percent: int) -> dict[str, dict[str, Any]]:
    """Return what Envoy reads, by the name of the file."""
    backends = tuple(
        Backend("default", "iris", name, (Endpoint(_REST_PORT, _GRPC_PORT, name),))
        for name in ("baseline", "candidate")
    )
    weights = {"baseline": 100 - candidate_percent, "candidate": candidate_percent}
    route = Route("default", "iris", "/seldon/default/iris/", backends, Weights(weights))
    clusters = cluster_discovery(route.clusters, _FOLDER, "1")
    for described, cluster in zip(
        clusters["resources"], sorted(route.clusters, key=lambda each: each.name), strict=True
    ):
        # Endpoints from a file must be addresses. A name is one for Envoy's own DNS.
        del described["eds_cluster_config"]
        (assignment,) = endpoint_discovery(cluster, "1")["resources"]
        del assignment["@type"]
        described |= {
            "type": "STRICT_DNS",
            # The images listen on 0.0.0.0; Envoy would take an address of IPv6 first.
            "dns_lookup_family": "V4_ONLY",
            "load_assignment": assignment,
        }
    start = bootstrap(_PORT, _ADMIN_PORT, _FOLDER, Listener())
    resources = start["static_resources"]
    (gateway,) = resources["listeners"]
    gateway["address"] = address(_EVERYWHERE, _PORT)
    resources["listeners"].append(_statistics_listener())
    resources["clusters"] = [_admin_cluster()]
    return {
        "bootstrap.json": start,
        "clusters.json": clusters,
        # What is in force is told by its version, in Envoy's statistics.
        "routes.json": route_discovery([route], f"candidate-{candidate_percent}"),
    }


def _statistics_listener() -> dict[str, Any]:
    """Return what answers Prometheus: one page of the admin interface, which could also stop it."""
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="statistics",
        route_config={
            "virtual_hosts": [
                {
                    "name": "statistics",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"path": "/stats/prometheus"}, "route": {"cluster": "admin"}}
                    ],
                }
            ]
        },
        http_filters=[
            extension(
                "envoy.filters.http.router", typed("extensions.filters.http.router.v3.Router")
            )
        ],
    )
    return {
        "name": "statistics",
        "address": address(_EVERYWHERE, _STATISTICS_PORT),
        "filter_chains": [
            {
                "filters": [
                    extension("envoy.filters.network.http_connection_manager", manager),
                ]
            }
        ],
    }


def _admin_cluster() -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address("127.0.0.1", _ADMIN_PORT)}}
    return {
        "name": "admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "admin",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def recording_rules(folder: Path) -> str:
    """Return what the PrometheusRules of a folder record, as a file that Prometheus reads itself.

    Alerts are left out: nobody is woken by one machine.
    """
    groups = []
    for file in sorted(folder.glob("*.yaml")):
        for group in yaml.safe_load(file.read_text())["spec"]["groups"]:
            rules = [rule for rule in group["rules"] if "record" in rule]
            if rules:
                groups.append({**group, "rules": rules})
    head = "# Written by scripts/compose.py from manifests/monitoring/rules.\n"
    return head + yaml.safe_dump({"groups": groups}, sort_keys=False, width=100)


def main() -> None:
    parser = argparse.ArgumentParser(description="Write what docker-compose.yaml mounts.")
    parser.add_argument(
        "--candidate",
        type=int,
        default=CANDIDATE_PERCENT,
        metavar="PERCENT",
        help=f"the candidate's share of the requests; {CANDIDATE_PERCENT} by default",
    )
    for name, content in gateway_files(parser.parse_args().candidate).items():
        _write(ENVOY / name, json.dumps(content, indent=2) + "\n")
    _write(RULES, recording_rules(CLUSTERS_RULES))


def _write(path: Path, text: str) -> None:
    """Rename the whole file into place, which is what Envoy looks out for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    main()
