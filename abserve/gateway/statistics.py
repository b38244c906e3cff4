"""Which statistics Envoy keeps, and under which names Prometheus finds them.

The names of clusters hold whose they are, and become labels::

    cluster.shop.iris.baseline.rest.upstream_rq_2xx
    envoy_cluster_upstream_rq_xx{namespace="shop", deployment="iris", predictor="baseline",
                                 transport="rest", envoy_response_code_class="2"}
"""

from typing import Any

from abserve.gateway.routes import TRANSPORTS

STAT_PREFIX = "gateway"

_PARTS = ("namespace", "deployment", "predictor", "transport")

# Of hundreds. The first two tell which configuration is in force.
_KEPT = (
    r".*\.version_text",
    r"cluster_manager\.warming_clusters",
    r"(cluster_manager\.cds|http\.gateway\.rds\.gateway)\.update_rejected",
    r"server\.(live|uptime)",
    r"cluster\.([^.]+\.){4}("
    r"upstream_rq_(\d{3}|\dxx|time|active|retry|retry_limit_exceeded|timeout|per_try_timeout)|"
    r"upstream_cx_(active|connect_fail)|membership_(healthy|total)|grpc\.(success|failure|\d+))",
    r"http\.gateway\.(downstream_(rq_(\dxx|time|active)|cx_active)|jwt_authn\.(allowed|denied))",
    r"gateway\.http_local_rate_limit\.(ok|rate_limited)",
)

# Milliseconds, finer than Envoy's own below 100: a version answers in a few.
_BUCKETS_MS = (
    *(1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 75),
    *(100, 150, 200, 300, 500, 750, 1000, 2000, 5000, 10_000, 30_000, 60_000),
)  # fmt: skip


def statistics() -> dict[str, Any]:
    """Return what Envoy is told of its own statistics."""
    return {
        "use_all_default_tags": False,
        "stats_tags": [
            {"tag_name": "envoy.response_code"},
            {"tag_name": "envoy.response_code_class"},
            {"tag_name": "envoy.http_conn_manager_prefix"},
            *({"tag_name": part, "regex": _part(index)} for index, part in enumerate(_PARTS)),
            {"tag_name": "grpc_status", "regex": r"^cluster\..*\.grpc(\.(\d+))$"},
        ],
        "stats_matcher": {
            "inclusion_list": {"patterns": [{"safe_regex": {"regex": kept}} for kept in _KEPT]}
        },
        "histogram_bucket_settings": [
            {"match": {"suffix": "rq_time"}, "buckets": [float(each) for each in _BUCKETS_MS]}
        ],
    }


def _part(index: int) -> str:
    """Return what finds one part of a cluster's name; its first group is left out of the name."""
    parts = [r"[^.]+", r"[^.]+", r"[^.]+", f"(?:{'|'.join(TRANSPORTS)})"]
    found = [rf"{part}\." for part in parts]
    found[index] = rf"(({parts[index]})\.)"
    return r"^cluster\." + "".join(found)
