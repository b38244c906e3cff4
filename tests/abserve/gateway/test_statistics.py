"""Envoy's own answer to these expressions is asked in ``tests/e2e/test_envoy.py``."""

import re
from typing import Any

import pytest

from abserve.gateway.statistics import statistics
from tests.abserve.gateway.values import BASELINE

CLUSTER = BASELINE.cluster("grpc").name


def kept(name: str) -> bool:
    patterns: list[Any] = statistics()["stats_matcher"]["inclusion_list"]["patterns"]
    return any(re.fullmatch(each["safe_regex"]["regex"], name) for each in patterns)


def labels(name: str) -> dict[str, str]:
    found = {}
    for tag in statistics()["stats_tags"]:
        if "regex" in tag and (match := re.search(tag["regex"], name)):
            found[tag["tag_name"]] = match[2]
    return found


@pytest.mark.parametrize(
    "name",
    [
        "cluster_manager.cds.version_text",
        "cluster_manager.warming_clusters",
        "http.gateway.rds.gateway.version_text",
        f"cluster.{CLUSTER}.version_text",
        f"cluster.{CLUSTER}.upstream_rq_200",
        f"cluster.{CLUSTER}.upstream_rq_5xx",
        f"cluster.{CLUSTER}.upstream_rq_time",
        f"cluster.{CLUSTER}.grpc.success",
        "http.gateway.downstream_rq_4xx",
        "server.live",
    ],
)
def test_what_somebody_reads_is_kept(name: str) -> None:
    assert kept(name)


@pytest.mark.parametrize(
    "name",
    [
        f"cluster.{CLUSTER}.external.upstream_rq_200",
        f"cluster.{CLUSTER}.lb_recalculate_zone_structures",
        "main_thread.watchdog_miss",
        "listener.127.0.0.1_8080.downstream_cx_destroy",
    ],
)
def test_what_nobody_reads_is_not(name: str) -> None:
    assert not kept(name)


def test_the_parts_of_a_clusters_name_become_labels() -> None:
    assert labels(f"cluster.{CLUSTER}.grpc.14") == {
        "namespace": "shop",
        "deployment": "iris",
        "predictor": "baseline",
        "transport": "grpc",
        "grpc_status": "14",
    }
    assert labels("http.gateway.downstream_rq_4xx") == {}
