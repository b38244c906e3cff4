"""Envoy as Istio's gateway would run it: Seldon's routes, with our EnvoyFilters merged in.

Istio itself is not here. What it makes of a VirtualService, and how it merges a patch, is written
down below as its source has it (1.30: ``pilot/pkg/networking/core/route/route.go``,
``pkg/proto/merge``): lists are appended to, messages merged, and of fields that exclude each other
the patch's stays. Tokens are asked for where a test brings the issuer's keys.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from abserve.gateway import Listener
from abserve.gateway.envoy import address, extension, typed
from tests.e2e.istio_security import access_filters, process, token_filter
from tests.e2e.running_envoy import Replica, RunningEnvoy
from tests.manifests.rendering import MANIFESTS, rendered

GATEWAY = "istio-ingress"
_CLUSTER_SPECIFIERS = {"cluster", "cluster_header", "weighted_clusters"}


@cache
def of_kind(kind: str, namespace: str) -> list[dict[str, Any]]:
    """Return what staging's access renders of one kind in one namespace."""
    return [
        each
        for each in rendered(MANIFESTS / "overlays/staging/access")
        if each["kind"] == kind and each["metadata"].get("namespace") == namespace
    ]


def patch_of(name: str, apply_to: str) -> dict[str, Any]:
    """Return what one of our EnvoyFilters puts somewhere."""
    (found,) = [
        each for each in of_kind("EnvoyFilter", GATEWAY) if each["metadata"]["name"] == name
    ]
    patches = found["spec"]["configPatches"]
    value = next(each for each in patches if each["applyTo"] == apply_to)["patch"]["value"]
    return dict(value)


def merged(value: Any, patch: Any) -> Any:
    """Return what Istio makes of a message and a patch for it."""
    if isinstance(value, list) and isinstance(patch, list):
        return [*value, *patch]
    if not (isinstance(value, dict) and isinstance(patch, Mapping)):
        return patch
    kept = dict(value)
    if _CLUSTER_SPECIFIERS & set(patch):
        for other in _CLUSTER_SPECIFIERS - set(patch):
            kept.pop(other, None)
    return kept | {key: merged(kept.get(key), each) for key, each in patch.items()}


def cluster_name(predictor: str, port: int, namespace: str = "shop", model: str = "iris") -> str:
    host = f"{model}-{predictor}.{namespace}.svc.cluster.local"
    return f"outbound|{port}|{predictor}|{host}"


def istio_bootstrap(
    port: int,
    admin_port: int,
    weights: Mapping[str, int],
    servers: Mapping[str, list[Replica]],
    filters: list[dict[str, Any]],
    route_patch: Mapping[str, Any],
    cluster_patch: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the configuration of a gateway with iris of namespace ``shop`` behind it.

    `weights` are those of the VirtualService; one alone becomes a cluster without weights.
    """
    rest = {
        "match": {"prefix": "/seldon/shop/iris/"},
        "route": {**_destination(weights, 9000), "prefix_rewrite": "/", "timeout": "0s"},
    }
    headers = [
        {"name": "seldon", "string_match": {"exact": "iris"}},
        {"name": "namespace", "string_match": {"exact": "shop"}},
    ]
    grpc = {
        "match": {"safe_regex": {"regex": ".*inference.*"}, "headers": headers},
        "route": {**_destination(weights, 9500), "timeout": "0s"},
    }
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="gateway",
        use_remote_address=True,
        normalize_path=True,
        forward_client_cert_details="SANITIZE_SET",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        http_filters=[
            *filters,
            extension(
                "envoy.filters.http.router", typed("extensions.filters.http.router.v3.Router")
            ),
        ],
        route_config={
            "name": "gateway",
            "virtual_hosts": [
                {
                    "name": "models.example.com:443",
                    "domains": ["*"],
                    "routes": [merged(each, route_patch) for each in (rest, grpc)],
                }
            ],
        },
    )
    chain = {"filters": [extension("envoy.filters.network.http_connection_manager", manager)]}
    return {
        "admin": {"address": address("127.0.0.1", admin_port)},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": address("127.0.0.1", port),
                    "enable_reuse_port": False,
                    "filter_chains": [chain],
                }
            ],
            "clusters": [
                merged(_cluster(predictor, transport_port, running), cluster_patch)
                for predictor, running in servers.items()
                for transport_port in (9000, 9500)
            ],
        },
    }


def _destination(weights: Mapping[str, int], port: int) -> dict[str, Any]:
    if len(weights) == 1:
        return {"cluster": cluster_name(*weights, port)}
    return {
        "weighted_clusters": {
            "clusters": [
                {"name": cluster_name(predictor, port), "weight": weight}
                for predictor, weight in weights.items()
                if weight
            ]
        }
    }


def _cluster(predictor: str, port: int, running: list[Replica]) -> dict[str, Any]:
    options = "extensions.upstreams.http.v3.HttpProtocolOptions"
    rest = port == 9000
    protocol = "http_protocol_options" if rest else "http2_protocol_options"
    name = cluster_name(predictor, port)
    ports = [each.endpoint.rest_port if rest else each.endpoint.grpc_port for each in running]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address("127.0.0.1", each)}}]}
                for each in ports
            ],
        },
        "typed_extension_protocol_options": {
            f"envoy.{options}": typed(options, explicit_http_config={protocol: {}})
        },
    }


def security_filters(keys: str) -> list[dict[str, Any]]:
    """Return what asks for tokens, with the issuer's `keys`, and refuses who has none."""
    (tokens,) = of_kind("RequestAuthentication", GATEWAY)
    policies = of_kind("AuthorizationPolicy", GATEWAY)
    return [token_filter(tokens["spec"], keys), *access_filters(policies, {})]


@contextmanager
def istio_envoy(
    folder: Path,
    weights: Mapping[str, int],
    servers: Mapping[str, list[Replica]],
    keys: str | None = None,
) -> Iterator[RunningEnvoy]:
    """Run the gateway with both of our EnvoyFilters; stop it at the end."""
    envoy = RunningEnvoy(folder, Listener())
    # Each is inserted as the first, and the one of the higher priority is inserted last.
    filters = [patch_of("sticky", "HTTP_FILTER"), patch_of("rate-limit", "HTTP_FILTER")]
    if keys is not None:
        filters += security_filters(keys)
    content = istio_bootstrap(
        envoy.port,
        envoy.admin_port,
        weights,
        servers,
        filters,
        patch_of("sticky", "HTTP_ROUTE"),
        patch_of("sticky", "CLUSTER"),
    )
    # The tests are faster than 200 requests per second.
    content = json.loads(json.dumps(content).replace('"max_tokens": 200', '"max_tokens": 100000'))
    with process(folder, "istio", content, envoy):
        yield envoy
