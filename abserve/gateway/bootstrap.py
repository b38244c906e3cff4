"""What Envoy starts with: one port for requests, what is asked of them, and the files it watches.

::

    connection ──TLS?──> rate limit? ──> token? ──> count gRPC ──> route ──> cluster
                             429           401
"""

from pathlib import Path
from typing import Any

from abserve.gateway.discovery import ROUTE_CONFIGURATION
from abserve.gateway.envoy import address, extension, typed, watched
from abserve.gateway.listener import Jwt, Listener, Tls
from abserve.gateway.replies import access_log, reply_configuration
from abserve.gateway.statistics import STAT_PREFIX, statistics

_LOOPBACK = "127.0.0.1"


def bootstrap(port: int, admin_port: int, folder: Path, listener: Listener) -> dict[str, Any]:
    """Return the configuration Envoy starts with.

    Parameters
    ----------
    port, admin_port : int
        Loopback ports for requests and for Envoy's own statistics.
    folder : Path
        Holds ``routes.json`` and ``clusters.json``, which must exist when Envoy starts.
    listener : Listener
        What the user chose.
    """
    chain: dict[str, Any] = {
        "filters": [
            extension("envoy.filters.network.http_connection_manager", _manager(folder, listener))
        ]
    }
    if listener.tls is not None:
        chain["transport_socket"] = _transport_socket(listener.tls)
    return {
        "node": {"id": "abserve-gateway", "cluster": "abserve"},
        "admin": {"address": address(_LOOPBACK, admin_port)},
        "stats_config": statistics(),
        "dynamic_resources": {"cds_config": watched(folder / "clusters.json")},
        "static_resources": {
            "listeners": [
                {
                    "name": "gateway",
                    "address": address(_LOOPBACK, port),
                    # With SO_REUSEPORT, Envoy's default, a second gateway would silently take
                    # half of the connections of the first.
                    "enable_reuse_port": False,
                    "filter_chains": [chain],
                }
            ]
        },
    }


def _manager(folder: Path, listener: Listener) -> dict[str, Any]:
    manager = typed(
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=STAT_PREFIX,
        codec_type="AUTO",
        # The caller's own id is what feedback and logs refer to.
        preserve_external_request_id=True,
        normalize_path=True,
        # No version understands another protocol, and answers as if nobody had asked for one.
        http_protocol_options={"ignore_http_11_upgrade": [{"safe_regex": {"regex": ".*"}}]},
        common_http_protocol_options={"idle_timeout": "3600s"},
        # As Istio: Envoy's five minutes would cut an inference that takes longer.
        stream_idle_timeout="0s",
        rds={
            "route_config_name": ROUTE_CONFIGURATION,
            "config_source": watched(folder / "routes.json"),
        },
        local_reply_config=reply_configuration(),
        http_filters=_filters(listener),
    )
    if listener.access_log is not None:
        manager["access_log"] = [access_log(listener.access_log)]
    return manager


def _filters(listener: Listener) -> list[dict[str, Any]]:
    filters = []
    if listener.requests_per_second is not None:
        filters.append(_rate_limit(listener.requests_per_second))
    if listener.jwt is not None:
        filters.append(_token(listener.jwt))
    filters += [
        extension(
            "envoy.filters.http.grpc_stats",
            typed("extensions.filters.http.grpc_stats.v3.FilterConfig"),
        ),
        extension("envoy.filters.http.router", typed("extensions.filters.http.router.v3.Router")),
    ]
    return filters


def _rate_limit(requests_per_second: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return extension(
        "envoy.filters.http.local_ratelimit",
        typed(
            "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            stat_prefix=STAT_PREFIX,
            token_bucket={
                "max_tokens": requests_per_second,
                "tokens_per_fill": requests_per_second,
                "fill_interval": "1s",
            },
            filter_enabled=always,
            filter_enforced=always,
            enable_x_ratelimit_headers="DRAFT_VERSION_03",
            response_headers_to_add=[{"header": {"key": "retry-after", "value": "1"}}],
            rate_limited_as_resource_exhausted=True,
        ),
    )


def _token(jwt: Jwt) -> dict[str, Any]:
    provider = {
        "issuer": jwt.issuer,
        "audiences": [jwt.audience],
        "local_jwks": {"inline_string": jwt.jwks},
        # Not from the query, which ends up in logs. A version never sees the token, as with Istio.
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "forward": False,
    }
    return extension(
        "envoy.filters.http.jwt_authn",
        typed(
            "extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            providers={"gateway": provider},
            rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "gateway"}}],
        ),
    )


def _transport_socket(tls: Tls) -> dict[str, Any]:
    return extension(
        "envoy.transport_sockets.tls",
        typed(
            "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            common_tls_context={
                # gRPC needs the first.
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [
                    {
                        "certificate_chain": {"filename": str(tls.certificate)},
                        "private_key": {"filename": str(tls.key)},
                    }
                ],
            },
        ),
    )
