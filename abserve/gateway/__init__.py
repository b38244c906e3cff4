"""The gateway: what Envoy is told so that requests reach the versions in their weights.

::

    POST /seldon/<namespace>/<name>/v2/...        listener (one port; TLS, tokens and a rate limit
    gRPC, seldon: <name>, namespace: <namespace>        │     where the user chose them)
          │                                       route configuration, from a file (RDS)
          ├── weight 90 ──> baseline              cluster per transport, from a file (CDS)
          │                    ├── 127.0.0.1:41001   endpoints, from a file per cluster (EDS)
          │                    └── 127.0.0.1:41002
          ├── weight 10 ──> candidate
          └── copy 20 % ──> shadow                its answers are dropped

Envoy watches the files. A change of weights is one file renamed into place, so no connection is
dropped and no process restarts. Everything here turns values into Envoy's configuration; writing
files and running Envoy is the local cluster's business.
"""

from abserve.gateway.bootstrap import bootstrap
from abserve.gateway.discovery import (
    ROUTE_CONFIGURATION,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from abserve.gateway.listener import Jwt, Listener, Tls
from abserve.gateway.routes import Backend, Cluster, Endpoint, Retries, Route
from abserve.gateway.statistics import STAT_PREFIX

__all__ = [
    "ROUTE_CONFIGURATION",
    "STAT_PREFIX",
    "Backend",
    "Cluster",
    "Endpoint",
    "Jwt",
    "Listener",
    "Retries",
    "Route",
    "Tls",
    "bootstrap",
    "cluster_discovery",
    "endpoint_discovery",
    "route_discovery",
]
