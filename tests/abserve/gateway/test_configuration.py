import json
from pathlib import Path
from typing import Any

import pytest

from abserve.gateway import (
    ROUTE_CONFIGURATION,
    STAT_PREFIX,
    Backend,
    Endpoint,
    Route,
    bootstrap,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from tests.abserve.gateway.values import BASELINE, CANDIDATE, IDLE, ONE, SHADOW, SHADOWED, TWO

FOLDER = Path("/run/gateway")


def listener() -> Any:
    return bootstrap(8080, 41000, FOLDER)["static_resources"]["listeners"][0]


def manager() -> Any:
    return listener()["filter_chains"][0]["filters"][0]["typed_config"]


def table(*routes: Route) -> list[Any]:
    return route_discovery(routes, "1")["resources"][0]["virtual_hosts"][0]["routes"]


def socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def watched(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def test_requests_and_statistics_are_taken_on_the_loopback_address_only() -> None:
    assert listener()["address"] == socket(8080)
    assert bootstrap(8080, 41000, FOLDER)["admin"]["address"] == socket(41000)


def test_the_port_is_the_gateways_alone() -> None:
    assert listener()["enable_reuse_port"] is False


def test_routes_and_clusters_are_read_from_watched_files() -> None:
    assert manager()["rds"] == {
        "route_config_name": ROUTE_CONFIGURATION,
        "config_source": watched("/run/gateway/routes.json"),
    }
    assert bootstrap(8080, 41000, FOLDER)["dynamic_resources"] == {
        "cds_config": watched("/run/gateway/clusters.json")
    }


def test_statistics_bear_the_gateways_prefix() -> None:
    assert manager()["stat_prefix"] == STAT_PREFIX


def test_a_callers_request_id_is_kept() -> None:
    assert manager()["preserve_external_request_id"] is True


def test_routes_bear_the_name_by_which_envoy_asks_for_them() -> None:
    assert route_discovery([], "1")["resources"][0]["name"] == ROUTE_CONFIGURATION


@pytest.mark.parametrize(
    "said",
    [
        route_discovery([TWO], "7"),
        cluster_discovery([BASELINE], FOLDER, "7"),
        endpoint_discovery(BASELINE, "7"),
    ],
)
def test_what_is_discovered_says_its_version(said: dict[str, Any]) -> None:
    assert said["version_info"] == "7"


def test_a_path_leads_to_its_backends_by_weight() -> None:
    assert table(TWO)[0]["match"] == {"prefix": "/seldon/shop/iris/"}
    assert table(TWO)[0]["route"]["weighted_clusters"] == {
        "clusters": [
            {"name": "shop.iris-baseline", "weight": 90},
            {"name": "shop.iris-candidate", "weight": 10},
        ]
    }


def test_the_path_is_taken_off_before_a_version_sees_the_request() -> None:
    assert table(ONE)[0]["route"]["prefix_rewrite"] == "/"


def test_a_long_inference_is_not_cut() -> None:
    assert table(ONE)[0]["route"]["timeout"] == "0s"


def test_what_got_no_answer_is_tried_again_and_elsewhere() -> None:
    policy = table(ONE)[0]["route"]["retry_policy"]
    assert policy["retry_on"] == "connect-failure,refused-stream,reset-before-request,reset"
    assert policy["num_retries"] == 2
    assert [each["name"] for each in policy["retry_host_predicate"]] == [
        "envoy.retry_host_predicates.previous_hosts"
    ]


def test_a_replica_that_is_not_ready_is_passed_over() -> None:
    cluster = cluster_discovery([BASELINE], FOLDER, "1")["resources"][0]
    [check] = cluster["health_checks"]
    assert check["http_health_check"] == {"path": "/v2/health/ready"}
    assert check["interval"] == check["no_traffic_interval"] == "0.5s"
    assert cluster["ignore_health_on_host_removal"] is True


def test_as_many_requests_are_tried_again_as_a_dead_replica_had() -> None:
    cluster = cluster_discovery([BASELINE], FOLDER, "1")["resources"][0]
    [limits] = cluster["circuit_breakers"]["thresholds"]
    assert limits["max_retries"] == 4294967295


def test_what_a_version_answers_takes_no_replica_out() -> None:
    outliers = cluster_discovery([BASELINE], FOLDER, "1")["resources"][0]["outlier_detection"]
    enforced = {name for name, value in outliers.items() if name.startswith("enf") and value}
    assert enforced == {"enforcing_consecutive_local_origin_failure"}


def test_a_shadow_gets_copies_of_its_percentage() -> None:
    assert table(SHADOWED)[0]["route"]["request_mirror_policies"] == [
        {
            "cluster": "shop.iris-shadow",
            "runtime_fraction": {"default_value": {"numerator": 20, "denominator": "HUNDRED"}},
        }
    ]


def test_without_a_shadow_nothing_is_copied() -> None:
    assert "request_mirror_policies" not in table(TWO)[0]["route"]


def test_an_unknown_path_is_answered_with_404_and_words() -> None:
    last = table(ONE)[-1]
    assert last["match"] == {"prefix": "/"}
    assert last["direct_response"]["status"] == 404
    body = json.loads(last["direct_response"]["body"]["inline_string"])
    assert body["error"].startswith("no SeldonDeployment is served at this path")


def test_without_routes_every_path_is_unknown() -> None:
    assert [each["match"] for each in table()] == [{"prefix": "/"}]


def test_routes_stand_in_the_order_of_their_paths() -> None:
    assert table(ONE, IDLE) == table(IDLE, ONE)
    assert [each.get("name") for each in table(ONE, IDLE)] == [
        "/seldon/default/wine/",
        "/seldon/shop/iris/",
        None,
    ]


def test_each_backend_is_one_cluster_however_often_it_is_named() -> None:
    said = cluster_discovery([SHADOW, BASELINE, CANDIDATE, BASELINE], FOLDER, "1")
    assert [each["name"] for each in said["resources"]] == [
        "shop.iris-baseline",
        "shop.iris-candidate",
        "shop.iris-shadow",
    ]


def test_a_clusters_endpoints_are_read_from_a_watched_file_of_its_name() -> None:
    cluster = cluster_discovery([BASELINE], FOLDER, "1")["resources"][0]
    assert cluster["eds_cluster_config"] == {
        "eds_config": watched("/run/gateway/shop.iris-baseline.json")
    }


def test_the_gateway_closes_an_idle_connection_before_the_server_does() -> None:
    cluster = cluster_discovery([BASELINE], FOLDER, "1")["resources"][0]
    options = cluster["typed_extension_protocol_options"]
    protocol = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert protocol["common_http_protocol_options"] == {"idle_timeout": "60s"}


def test_every_replica_of_a_backend_is_an_endpoint() -> None:
    assignment = endpoint_discovery(BASELINE, "1")["resources"][0]
    assert assignment["cluster_name"] == "shop.iris-baseline"
    assert assignment["endpoints"] == [
        {
            "lb_endpoints": [
                {"endpoint": {"address": socket(41001)}},
                {"endpoint": {"address": socket(41002)}},
            ]
        }
    ]


def test_a_backend_without_replicas_has_no_endpoints() -> None:
    assignment = endpoint_discovery(Backend("shop", "iris-baseline", ()), "1")["resources"][0]
    assert assignment["endpoints"] == [{"lb_endpoints": []}]


def test_an_endpoint_may_be_on_another_host() -> None:
    backend = Backend("shop", "iris-baseline", (Endpoint(9000, "10.0.0.7"),))
    endpoint = endpoint_discovery(backend, "1")["resources"][0]["endpoints"][0]["lb_endpoints"][0]
    assert endpoint["endpoint"]["address"] == {
        "socket_address": {"address": "10.0.0.7", "port_value": 9000}
    }
