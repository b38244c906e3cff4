"""Envoy's configuration: a fixed bootstrap and three kinds of files it watches.

Field names and meanings are those of Envoy's v3 API. Where Istio would set a value of its own for
a SeldonDeployment's VirtualService, the same value stands here, so that a request sees the same
gateway on one machine and on Kubernetes.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from abserve.gateway.routes import Backend, Route

ROUTE_CONFIGURATION = "gateway"
STAT_PREFIX = "gateway"

# Seldon's DestinationRule says 60 s. It must be shorter than the server's own keep-alive (75 s):
# the side that sends must be the one that closes, or a request meets a closing connection.
_IDLE_SECONDS = 60

# What Istio retries by default, and `reset`: a replica that dies takes its requests with it. An
# inference changes nothing, and what a dead replica counted is lost, so a second try is safe.
_RETRY_ON = "connect-failure,refused-stream,reset-before-request,reset"
# The path that Seldon's readiness probe asks, and how soon a replica that says no is passed over.
_READY_PATH = "/v2/health/ready"
_HEALTH_INTERVAL = "0.5s"
_EJECTION_TIME = "1s"
_LIMITS = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
_UNLIMITED = 2**32 - 1

_TYPE = "type.googleapis.com/envoy"
_CLUSTER = f"{_TYPE}.config.cluster.v3.Cluster"
_ROUTES = f"{_TYPE}.config.route.v3.RouteConfiguration"
_PREVIOUS_HOSTS = f"{_TYPE}.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_ASSIGNMENT = f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment"


def bootstrap(port: int, admin_port: int, folder: Path) -> dict[str, Any]:
    """Return the configuration Envoy starts with.

    Parameters
    ----------
    port, admin_port : int
        Loopback ports for requests and for Envoy's own statistics.
    folder : Path
        Holds ``routes.json`` and ``clusters.json``, which must exist when Envoy starts.
    """
    manager = {
        "@type": (
            f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
        ),
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        # The caller's own id is what feedback and logs refer to.
        "preserve_external_request_id": True,
        "normalize_path": True,
        "common_http_protocol_options": {"idle_timeout": "3600s"},
        "rds": {
            "route_config_name": ROUTE_CONFIGURATION,
            "config_source": _watched(folder / "routes.json"),
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"},
            }
        ],
    }
    return {
        "node": {"id": "abserve-gateway", "cluster": "abserve"},
        "admin": {"address": _address("127.0.0.1", admin_port)},
        "dynamic_resources": {"cds_config": _watched(folder / "clusters.json")},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": _address("127.0.0.1", port),
                    # With SO_REUSEPORT, Envoy's default, a second gateway would silently take
                    # half of the connections of the first.
                    "enable_reuse_port": False,
                    "filter_chains": [
                        {
                            "filters": [
                                {
                                    "name": "envoy.filters.network.http_connection_manager",
                                    "typed_config": manager,
                                }
                            ]
                        }
                    ],
                }
            ]
        },
    }


def route_discovery(routes: Iterable[Route], version: str) -> dict[str, Any]:
    """Return the content of ``routes.json``: each SeldonDeployment's path with its weights.

    Envoy reports `version` in its statistics once these routes are in force.
    """
    ordered = sorted(routes, key=lambda route: route.path)
    unknown = {
        "match": {"prefix": "/"},
        "direct_response": {
            "status": 404,
            "body": {
                "inline_string": (
                    '{"error": "no SeldonDeployment is served at this path; '
                    "expected /seldon/<namespace>/<name>/v2/..., where 'kubectl get sdep' "
                    'shows the deployment as Available"}'
                )
            },
        },
        "response_headers_to_add": [
            {
                "header": {"key": "content-type", "value": "application/json"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }
    configuration = {
        "@type": _ROUTES,
        "name": ROUTE_CONFIGURATION,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [*(_route(route) for route in ordered), unknown],
            }
        ],
    }
    return {"version_info": version, "resources": [configuration]}


def cluster_discovery(backends: Iterable[Backend], folder: Path, version: str) -> dict[str, Any]:
    """Return the content of ``clusters.json``: one cluster per backend, endpoints in `folder`."""
    names = sorted({backend.cluster for backend in backends})
    return {"version_info": version, "resources": [_cluster(name, folder) for name in names]}


def endpoint_discovery(backend: Backend, version: str) -> dict[str, Any]:
    """Return the content of ``<folder>/<cluster>.json``: where a backend's replicas listen."""
    assignment = {
        "@type": _ASSIGNMENT,
        "cluster_name": backend.cluster,
        "endpoints": [
            {
                "lb_endpoints": [
                    {"endpoint": {"address": _address(endpoint.host, endpoint.port)}}
                    for endpoint in backend.endpoints
                ]
            }
        ],
    }
    return {"version_info": version, "resources": [assignment]}


def _route(route: Route) -> dict[str, Any]:
    action: dict[str, Any] = {
        "prefix_rewrite": "/",
        # Envoy's default of 15 s would cut a long inference; Istio sets none.
        "timeout": "0s",
        "retry_policy": {
            "retry_on": _RETRY_ON,
            "num_retries": 2,
            # Not the replica again that just failed, if there is another.
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": _PREVIOUS_HOSTS},
                }
            ],
            "host_selection_retry_max_attempts": 3,
        },
        "weighted_clusters": {
            "clusters": [
                {
                    "name": backend.cluster,
                    "weight": route.weights.by_variant[backend.service],
                }
                for backend in route.backends
            ]
        },
    }
    if route.shadow is not None:
        action["request_mirror_policies"] = [
            {
                "cluster": route.shadow.cluster,
                "runtime_fraction": {
                    "default_value": {"numerator": route.shadow_percent, "denominator": "HUNDRED"}
                },
            }
        ]
    return {"name": route.path, "match": {"prefix": route.path}, "route": action}


def _cluster(name: str, folder: Path) -> dict[str, Any]:
    return {
        "@type": _CLUSTER,
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "eds_cluster_config": {"eds_config": _watched(folder / f"{name}.json")},
        # As Istio sets them: Envoy's own limit of 3 retries at a time is soon reached when a
        # replica dies, and its other ones would turn away what a replica has room for.
        "circuit_breakers": {"thresholds": [dict.fromkeys(_LIMITS, _UNLIMITED)]},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": _HEALTH_INTERVAL,
                # Envoy's default, while nobody asks, is once a minute.
                "no_traffic_interval": _HEALTH_INTERVAL,
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": _READY_PATH},
            }
        ],
        # A replica that is taken out of the file is out, however well it is.
        "ignore_health_on_host_removal": True,
        # Between two checks: one that cannot be reached three times in a row is passed over. What a
        # version answers, errors included, is its own affair.
        "outlier_detection": {
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
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": f"{_IDLE_SECONDS}s"},
            }
        },
    }


def _watched(path: Path) -> dict[str, Any]:
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
