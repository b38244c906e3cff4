"""The files that Envoy watches: routes, clusters and endpoints.

Each SeldonDeployment has the two routes of Seldon's VirtualService, by path for REST and by
headers for gRPC, and each predictor a cluster for either. Field names and meanings are those of
Envoy's v3 API. Where Istio would set a value of its own for a VirtualService, the same value stands
here, so that a request sees the same gateway on one machine and on Kubernetes.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from abserve.gateway.envoy import address, extension, typed, watched
from abserve.gateway.replies import METADATA
from abserve.gateway.routes import Cluster, Endpoint, Retries, Route, Transport

ROUTE_CONFIGURATION = "gateway"

# Seldon's DestinationRule says 60 s. It must be shorter than the server's own keep-alive (75 s):
# the side that sends must be the one that closes, or a request meets a closing connection.
_IDLE_SECONDS = 60

# What Istio retries by default, and `reset`: a replica that dies takes its requests with it. An
# inference changes nothing, and what a dead replica counted is lost, so a second try is safe.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request,reset"
_RETRIES = 2
# How often another replica is drawn for a retry until it is one that has not failed. For a unit the
# first draw is always the one that has.
_HOST_ATTEMPTS = 3
_HOST_ATTEMPTS_OF_UNIT = 12
# What Seldon's operator writes in a VirtualService when an annotation asks for retries.
_SELDONS_RETRY_ON = "gateway-error,connect-failure,refused-stream"
# The path that Seldon's readiness probe asks, and how soon a replica that says no is passed over.
_READY_PATH = "/v2/health/ready"
_HEALTH_INTERVAL = "0.5s"
_EJECTION_TIME = "1s"
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_UNLIMITED = 2**32 - 1

_PROTOCOLS: Mapping[Transport, str] = {
    "rest": "http_protocol_options",
    "grpc": "http2_protocol_options",
}


def route_discovery(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the content of ``routes.json``: each SeldonDeployment with its weights.

    Envoy reports `version` in its statistics once these routes are in force.
    """
    ordered = sorted(routes, key=lambda route: route.path)
    configuration = typed(
        "config.route.v3.RouteConfiguration",
        name=ROUTE_CONFIGURATION,
        virtual_hosts=[
            {
                "name": "all",
                "domains": ["*"],
                "routes": [
                    *(entry for route in ordered for entry in _entries(route, "rest")),
                    *(entry for route in ordered for entry in _entries(route, "grpc")),
                ],
            }
        ],
    )
    return {"version_info": version, "resources": [configuration]}


def cluster_discovery(clusters: Iterable[Cluster], folder: Path, version: str) -> dict[str, Any]:
    """Return the content of ``clusters.json``; the clusters' endpoints stand in `folder`."""
    by_name = {cluster.name: cluster for cluster in clusters}
    return {
        "version_info": version,
        "resources": [_cluster(by_name[name], folder) for name in sorted(by_name)],
    }


def endpoint_discovery(cluster: Cluster, version: str) -> dict[str, Any]:
    """Return the content of a cluster's own file: where its replicas listen."""
    assignment = typed(
        "config.endpoint.v3.ClusterLoadAssignment",
        cluster_name=cluster.name,
        endpoints=[
            {
                "lb_endpoints": [_endpoint(cluster, endpoint) for endpoint in cluster.endpoints],
            }
        ],
    )
    return {"version_info": version, "resources": [assignment]}


def _endpoint(cluster: Cluster, endpoint: Endpoint) -> dict[str, Any]:
    port = endpoint.rest_port if cluster.transport == "rest" else endpoint.grpc_port
    described: dict[str, Any] = {
        "endpoint": {
            "address": address(endpoint.host, port),
            # Readiness has one answer, whatever the transport of the requests.
            "health_check_config": {"port_value": endpoint.rest_port},
        }
    }
    if cluster.sticky:
        # Likewise the replica has one name, which units are given by.
        name = f"{endpoint.host}:{endpoint.rest_port}"
        described["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": name}}}
    return described


def _entries(route: Route, transport: Transport) -> list[dict[str, Any]]:
    match, action = _match(route, transport), _action(route, transport)
    split = {"name": route.path, "match": match, "route": action}
    if route.unit_header is None:
        return [split]
    # A header that is there and says nothing is nobody's: such requests are split at random.
    unit = {"name": route.unit_header, "string_match": {"safe_regex": {"regex": ".*[^,].*"}}}
    sticky = {
        **split,
        "match": {**match, "headers": [*match.get("headers", []), unit]},
        "route": {
            **action,
            "hash_policy": [
                {
                    "header": {
                        "header_name": route.unit_header,
                        # The deployment is part of what is hashed: the units that one experiment
                        # gives to its candidate are no others' than chance gives another's.
                        "regex_rewrite": {
                            "pattern": {"regex": "^"},
                            "substitution": f"{route.namespace}/{route.name}/",
                        },
                    }
                }
            ],
            "weighted_clusters": {**action["weighted_clusters"], "use_hash_policy": True},
            "retry_policy": {
                **action["retry_policy"],
                "host_selection_retry_max_attempts": _HOST_ATTEMPTS_OF_UNIT,
            },
        },
    }
    return [sticky, split]


def _match(route: Route, transport: Transport) -> dict[str, Any]:
    if transport == "rest":
        return {"prefix": route.path}
    return {
        "safe_regex": {"regex": ".*inference.*"},
        "headers": [
            {"name": "seldon", "string_match": {"exact": route.name}},
            {"name": "namespace", "string_match": {"exact": route.namespace}},
        ],
    }


def _action(route: Route, transport: Transport) -> dict[str, Any]:
    action: dict[str, Any] = {
        # Envoy's default of 15 s would cut a long inference; Istio sets none. A gRPC call may
        # bring its own.
        "timeout": "0s",
        "max_stream_duration": {"grpc_timeout_header_max": "0s"},
        "retry_policy": _retry_policy(route.retries),
        "weighted_clusters": {
            "clusters": [
                {
                    "name": backend.cluster(transport).name,
                    "weight": route.weights.by_variant[backend.predictor],
                }
                for backend in route.backends
            ]
        },
    }
    if transport == "rest":
        action["prefix_rewrite"] = "/"
    if route.shadow is not None:
        action["request_mirror_policies"] = [
            {
                "cluster": route.shadow.cluster(transport).name,
                "runtime_fraction": {
                    "default_value": {"numerator": route.shadow_percent, "denominator": "HUNDRED"}
                },
            }
        ]
    return action


def _retry_policy(asked: Retries | None) -> dict[str, Any]:
    previous_hosts = "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
    policy: dict[str, Any] = {
        "retry_on": _RETRY_ON,
        "num_retries": _RETRIES,
        # Not the replica again that just failed, if there is another.
        "retry_host_predicate": [
            extension("envoy.retry_host_predicates.previous_hosts", typed(previous_hosts))
        ],
        "host_selection_retry_max_attempts": _HOST_ATTEMPTS,
    }
    if asked is not None:
        policy |= {
            "retry_on": _SELDONS_RETRY_ON,
            "num_retries": asked.attempts,
            "per_try_timeout": f"{asked.seconds_per_try}s",
        }
    return policy


def _cluster(cluster: Cluster, folder: Path) -> dict[str, Any]:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    return typed(
        "config.cluster.v3.Cluster",
        name=cluster.name,
        type="EDS",
        connect_timeout="1s",
        # The hash that gave the unit its variant, as a place in a table whose size is a prime: it
        # says nothing of the place in the hundred that the variants hold.
        lb_policy="MAGLEV" if cluster.sticky else "LEAST_REQUEST",
        eds_cluster_config={"eds_config": watched(folder / cluster.file_name)},
        metadata={
            "filter_metadata": {
                METADATA: {
                    "namespace": cluster.namespace,
                    "deployment": cluster.deployment,
                    "predictor": cluster.predictor,
                }
            }
        },
        # As Istio sets them: Envoy's own limit of 3 retries at a time is soon reached when a
        # replica dies, and its other ones would turn away what a replica has room for.
        circuit_breakers={"thresholds": [dict.fromkeys(_LIMITS, _UNLIMITED)]},
        health_checks=[
            {
                "timeout": "1s",
                "interval": _HEALTH_INTERVAL,
                # Envoy's default, while nobody asks, is once a minute.
                "no_traffic_interval": _HEALTH_INTERVAL,
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": _READY_PATH, "codec_client_type": "HTTP1"},
            }
        ],
        # A replica that is taken out of the file is out, however well it is.
        ignore_health_on_host_removal=True,
        # Between two checks: one that cannot be reached three times in a row is passed over. What a
        # version answers, errors included, is its own affair.
        outlier_detection={
            "split_external_local_origin_errors": True,
            "consecutive_local_origin_failure": 3,
            "enforcing_consecutive_local_origin_failure": 100,
            "enforcing_consecutive_5xx": 0,
            "enforcing_consecutive_gateway_failure": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "interval": "1s",
            "base_ejection_time": _EJECTION_TIME,
            "max_ejection_percent": 50,
        },
        typed_extension_protocol_options={
            f"envoy.{options}": typed(
                options,
                explicit_http_config={_PROTOCOLS[cluster.transport]: {}},
                common_http_protocol_options={"idle_timeout": f"{_IDLE_SECONDS}s"},
            )
        },
    )
