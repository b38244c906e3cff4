from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abserve.gateway import (
    ROUTE_CONFIGURATION,
    Backend,
    Cluster,
    Endpoint,
    Route,
    cluster_discovery,
    endpoint_discovery,
    route_discovery,
)
from tests.abserve.gateway.values import (
    BASELINE,
    IDLE,
    ONE,
    RETRIED,
    SHADOWED,
    STICKY,
    TWO,
)

FOLDER = Path("/run/gateway")
REST, GRPC = BASELINE.clusters


def table(*routes: Route) -> list[Any]:
    return route_discovery(routes, "1")["resources"][0]["virtual_hosts"][0]["routes"]


def cluster(of: Cluster = REST) -> Any:
    return cluster_discovery([of], FOLDER, "1")["resources"][0]


def socket(port: int, host: str = "127.0.0.1") -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def watched(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def test_routes_bear_the_name_by_which_envoy_asks_for_them() -> None:
    assert route_discovery([], "1")["resources"][0]["name"] == ROUTE_CONFIGURATION


@pytest.mark.parametrize(
    "said",
    [
        route_discovery([TWO], "7"),
        cluster_discovery([REST], FOLDER, "7"),
        endpoint_discovery(REST, "7"),
    ],
)
def test_what_is_discovered_says_its_version(said: dict[str, Any]) -> None:
    assert said["version_info"] == "7"


def test_a_path_leads_to_its_backends_by_weight() -> None:
    rest, _ = table(TWO)
    assert rest["match"] == {"prefix": "/seldon/shop/iris/"}
    assert rest["route"]["weighted_clusters"] == {
        "clusters": [
            {"name": "shop.iris.baseline.rest", "weight": 90},
            {"name": "shop.iris.candidate.rest", "weight": 10},
        ]
    }


def test_grpc_is_routed_by_the_headers_of_seldons_virtual_service() -> None:
    _, grpc = table(TWO)
    assert grpc["match"] == {
        "safe_regex": {"regex": ".*inference.*"},
        "headers": [
            {"name": "seldon", "string_match": {"exact": "iris"}},
            {"name": "namespace", "string_match": {"exact": "shop"}},
        ],
    }
    assert grpc["route"]["weighted_clusters"] == {
        "clusters": [
            {"name": "shop.iris.baseline.grpc", "weight": 90},
            {"name": "shop.iris.candidate.grpc", "weight": 10},
        ]
    }


def test_the_path_is_taken_off_before_a_version_sees_the_request_but_not_a_methods() -> None:
    rest, grpc = table(ONE)
    assert rest["route"]["prefix_rewrite"] == "/"
    assert "prefix_rewrite" not in grpc["route"]


def test_a_long_inference_is_not_cut() -> None:
    assert [each["route"]["timeout"] for each in table(ONE)] == ["0s", "0s"]


def test_a_calls_own_deadline_holds() -> None:
    _, grpc = table(ONE)
    assert grpc["route"]["max_stream_duration"] == {"grpc_timeout_header_max": "0s"}


def test_what_got_no_answer_is_tried_again_and_elsewhere() -> None:
    for each in table(ONE):
        policy = each["route"]["retry_policy"]
        assert policy["retry_on"] == "connect-failure,refused-stream,reset-before-request,reset"
        assert policy["num_retries"] == 2
        assert "per_try_timeout" not in policy
        assert [predicate["name"] for predicate in policy["retry_host_predicate"]] == [
            "envoy.retry_host_predicates.previous_hosts"
        ]


def test_retries_that_an_annotation_asks_for_are_the_operators() -> None:
    for each in table(RETRIED):
        policy = each["route"]["retry_policy"]
        assert policy["retry_on"] == "gateway-error,connect-failure,refused-stream"
        assert policy["num_retries"] == 3
        assert policy["per_try_timeout"] == "2s"


def test_a_shadow_gets_copies_of_its_percentage() -> None:
    for each, transport in zip(table(SHADOWED), ("rest", "grpc"), strict=True):
        assert each["route"]["request_mirror_policies"] == [
            {
                "cluster": f"shop.iris.shadow.{transport}",
                "runtime_fraction": {"default_value": {"numerator": 20, "denominator": "HUNDRED"}},
            }
        ]


def test_without_a_shadow_nothing_is_copied() -> None:
    assert all("request_mirror_policies" not in each["route"] for each in table(TWO))


def test_requests_of_a_unit_are_assigned_by_its_hash_and_others_at_random() -> None:
    sticky, random, sticky_call, random_call = table(STICKY)
    unit = {"name": "x-unit-id", "string_match": {"safe_regex": {"regex": ".*[^,].*"}}}
    assert sticky["match"] == {"prefix": "/seldon/shop/iris/", "headers": [unit]}
    assert sticky_call["match"]["headers"] == [*random_call["match"]["headers"], unit]
    assert (random, random_call) == tuple(table(TWO))
    for each in (sticky, sticky_call):
        assert each["route"]["weighted_clusters"]["use_hash_policy"] is True
        [policy] = each["route"]["hash_policy"]
        assert policy["header"]["header_name"] == "x-unit-id"


def test_a_units_hash_is_one_for_each_deployment_and_all_its_transports() -> None:
    wine = replace(STICKY, name="wine", path="/seldon/shop/wine/")
    hashed = [
        each["route"]["hash_policy"][0]["header"]["regex_rewrite"]["substitution"]
        for each in table(STICKY, wine)
        if "hash_policy" in each["route"]
    ]
    assert hashed == ["shop/iris/", "shop/wine/", "shop/iris/", "shop/wine/"]


def test_a_unit_is_given_to_a_replica_by_a_name_that_is_one_for_both_transports() -> None:
    found = STICKY.clusters
    assert [cluster(of)["lb_policy"] for of in found] == ["MAGLEV"] * 4
    for of in found[:2]:
        [endpoints] = endpoint_discovery(of, "1")["resources"][0]["endpoints"]
        assert [
            each["metadata"]["filter_metadata"]["envoy.lb"]["hash_key"]
            for each in endpoints["lb_endpoints"]
        ] == ["127.0.0.1:41001", "127.0.0.1:41002"]


def test_without_units_and_for_a_shadow_the_least_busy_replica_is_taken() -> None:
    shadowed = replace(SHADOWED, unit_header="x-unit-id")
    for of in (*TWO.clusters, *shadowed.clusters[-2:]):
        assert cluster(of)["lb_policy"] == "LEAST_REQUEST"
        assert "metadata" not in str(endpoint_discovery(of, "1"))


def test_a_retry_of_a_unit_looks_longer_for_a_replica_that_has_not_failed() -> None:
    sticky, random = table(STICKY)[:2]
    attempts = [
        each["route"]["retry_policy"]["host_selection_retry_max_attempts"]
        for each in (sticky, random)
    ]
    assert attempts == [12, 3]


def test_backends_share_the_row_in_the_order_of_the_route() -> None:
    turned = replace(STICKY, backends=STICKY.backends[::-1])
    names = [each["name"] for each in table(turned)[0]["route"]["weighted_clusters"]["clusters"]]
    assert names == ["shop.iris.candidate.rest", "shop.iris.baseline.rest"]


def test_without_routes_every_path_is_unknown() -> None:
    assert table() == []


def test_routes_stand_in_the_order_of_their_paths_rest_before_grpc() -> None:
    assert table(ONE, IDLE) == table(IDLE, ONE)
    assert [each["name"] for each in table(ONE, IDLE)] == [
        "/seldon/default/wine/",
        "/seldon/shop/iris/",
    ] * 2
    assert ["prefix" in each["match"] for each in table(ONE, IDLE)] == [True, True, False, False]


def test_each_cluster_is_told_once_however_often_it_is_named() -> None:
    said = cluster_discovery([*SHADOWED.clusters, REST], FOLDER, "1")
    assert [each["name"] for each in said["resources"]] == sorted(
        f"shop.iris.{predictor}.{transport}"
        for predictor in ("baseline", "candidate", "shadow")
        for transport in ("rest", "grpc")
    )


def test_a_clusters_endpoints_are_read_from_a_watched_file_of_its_own() -> None:
    assert cluster()["eds_cluster_config"] == {
        "eds_config": watched(f"/run/gateway/{REST.file_name}")
    }
    assert REST.file_name != GRPC.file_name


def test_a_cluster_says_whose_it_is() -> None:
    assert cluster()["metadata"]["filter_metadata"] == {
        "abserve": {"namespace": "shop", "deployment": "iris", "predictor": "baseline"}
    }


@pytest.mark.parametrize(
    ("of", "options"),
    [(REST, {"http_protocol_options": {}}), (GRPC, {"http2_protocol_options": {}})],
)
def test_grpc_is_spoken_over_http_2(of: Cluster, options: dict[str, Any]) -> None:
    protocols = cluster(of)["typed_extension_protocol_options"]
    protocol = protocols["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert protocol["explicit_http_config"] == options


@pytest.mark.parametrize("of", [REST, GRPC])
def test_a_replica_that_is_not_ready_is_passed_over_on_both_transports(of: Cluster) -> None:
    [check] = cluster(of)["health_checks"]
    assert check["http_health_check"] == {
        "path": "/v2/health/ready",
        "codec_client_type": "HTTP1",
    }
    assert check["interval"] == check["no_traffic_interval"] == "0.5s"
    assert cluster(of)["ignore_health_on_host_removal"] is True


def test_as_many_requests_are_tried_again_as_a_dead_replica_had() -> None:
    [limits] = cluster()["circuit_breakers"]["thresholds"]
    assert limits["max_retries"] == 4294967295


def test_what_a_version_answers_takes_no_replica_out() -> None:
    outliers = cluster()["outlier_detection"]
    enforced = {name for name, value in outliers.items() if name.startswith("enf") and value}
    assert enforced == {"enforcing_consecutive_local_origin_failure"}


def test_the_gateway_closes_an_idle_connection_before_the_server_does() -> None:
    options = cluster()["typed_extension_protocol_options"]
    protocol = options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
    assert protocol["common_http_protocol_options"] == {"idle_timeout": "60s"}


@pytest.mark.parametrize(("of", "ports"), [(REST, [41001, 41002]), (GRPC, [42001, 42002])])
def test_every_replica_is_an_endpoint_with_one_readiness(of: Cluster, ports: list[int]) -> None:
    assignment = endpoint_discovery(of, "1")["resources"][0]
    assert assignment["cluster_name"] == of.name
    found = [each["endpoint"] for each in assignment["endpoints"][0]["lb_endpoints"]]
    assert [each["address"] for each in found] == [socket(port) for port in ports]
    assert [each["health_check_config"] for each in found] == [
        {"port_value": 41001},
        {"port_value": 41002},
    ]


def test_a_backend_without_replicas_has_no_endpoints() -> None:
    nobody = Backend("shop", "iris", "baseline", ()).cluster("rest")
    assignment = endpoint_discovery(nobody, "1")["resources"][0]
    assert assignment["endpoints"] == [{"lb_endpoints": []}]


def test_an_endpoint_may_be_on_another_host() -> None:
    backend = Backend("shop", "iris", "baseline", (Endpoint(9000, 9500, "10.0.0.7"),))
    for of, port in zip(backend.clusters, (9000, 9500), strict=True):
        [endpoints] = endpoint_discovery(of, "1")["resources"][0]["endpoints"]
        assert endpoints["lb_endpoints"][0]["endpoint"]["address"] == socket(port, "10.0.0.7")
