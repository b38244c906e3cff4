"""The gateway: what Envoy is told so that requests reach the versions in their weights.

::

    POST /seldon/<namespace>/<name>/v2/...        listener (one port)
          │  prefix rewritten to /                 route configuration, from a file (RDS)
          ├── weight 90 ──> <name>-baseline        cluster, from a file (CDS)
          │                    ├── 127.0.0.1:41001 endpoints, from a file per cluster (EDS)
          │                    └── 127.0.0.1:41002
          ├── weight 10 ──> <name>-candidate
          └── copy 20 % ──> <name>-shadow          its answers are dropped

Envoy watches the files. A change of weights is one file renamed into place, so no connection is
dropped and no process restarts. Everything here turns values into Envoy's configuration; writing
files and running Envoy is the local cluster's business.
"""

from abserve.gateway.configuration import (
    ROUTE_CONFIGURATION,
    STAT_PREFIX,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from abserve.gateway.routes import Backend, Endpoint, Route

__all__ = [
    "ROUTE_CONFIGURATION",
    "STAT_PREFIX",
    "Backend",
    "Endpoint",
    "Route",
    "bootstrap",
    "cluster_discovery",
    "endpoint_discovery",
    "route_discovery",
]
