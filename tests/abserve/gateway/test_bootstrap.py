from pathlib import Path
from typing import Any

import pytest

from abserve.gateway import ROUTE_CONFIGURATION, STAT_PREFIX, Listener, bootstrap
from tests.abserve.gateway.values import JWT, KEY_SET, PLAIN, full_listener

FOLDER = Path("/run/gateway")
FULL = full_listener(FOLDER)


def started(chosen: Listener = PLAIN) -> Any:
    return bootstrap(8080, 41000, FOLDER, chosen)


def listener(chosen: Listener = PLAIN) -> Any:
    return started(chosen)["static_resources"]["listeners"][0]


def manager(chosen: Listener = PLAIN) -> Any:
    return listener(chosen)["filter_chains"][0]["filters"][0]["typed_config"]


def filters(chosen: Listener = PLAIN) -> dict[str, Any]:
    return {
        each["name"].removeprefix("envoy.filters.http."): each["typed_config"]
        for each in manager(chosen)["http_filters"]
    }


def socket(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def watched(path: str) -> dict[str, Any]:
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


@pytest.mark.parametrize("chosen", [PLAIN, FULL])
def test_requests_and_statistics_are_taken_on_the_loopback_address_only(chosen: Listener) -> None:
    assert listener(chosen)["address"] == socket(8080)
    assert started(chosen)["admin"]["address"] == socket(41000)


def test_the_port_is_the_gateways_alone() -> None:
    assert listener()["enable_reuse_port"] is False


def test_routes_and_clusters_are_read_from_watched_files() -> None:
    assert manager()["rds"] == {
        "route_config_name": ROUTE_CONFIGURATION,
        "config_source": watched("/run/gateway/routes.json"),
    }
    assert started()["dynamic_resources"] == {"cds_config": watched("/run/gateway/clusters.json")}


def test_statistics_bear_the_gateways_prefix() -> None:
    assert manager()["stat_prefix"] == STAT_PREFIX


def test_a_callers_request_id_is_kept() -> None:
    assert manager()["preserve_external_request_id"] is True


def test_a_request_may_wait_for_its_answer_as_long_as_it_takes() -> None:
    assert manager()["stream_idle_timeout"] == "0s"


def test_by_default_anybody_is_served_and_nothing_is_logged() -> None:
    assert list(filters()) == ["grpc_stats", "router"]
    assert "access_log" not in manager()
    assert "transport_socket" not in listener()["filter_chains"][0]
    assert PLAIN.scheme == "http"


def test_requests_are_counted_before_tokens_are_looked_at() -> None:
    assert list(filters(FULL)) == ["local_ratelimit", "jwt_authn", "grpc_stats", "router"]


def test_the_rate_limit_is_the_requests_of_a_second_and_their_burst() -> None:
    limit = filters(Listener(requests_per_second=100))["local_ratelimit"]
    assert limit["token_bucket"] == {
        "max_tokens": 100,
        "tokens_per_fill": 100,
        "fill_interval": "1s",
    }


def test_a_token_is_taken_from_one_header_and_goes_no_further() -> None:
    checked = filters(Listener(jwt=JWT))["jwt_authn"]
    provider = checked["providers"]["gateway"]
    assert (provider["issuer"], provider["audiences"]) == ("https://issuer.example", ["abserve"])
    assert provider["local_jwks"] == {"inline_string": KEY_SET}
    assert provider["from_headers"] == [{"name": "Authorization", "value_prefix": "Bearer "}]
    assert provider["forward"] is False
    assert [rule["match"] for rule in checked["rules"]] == [{"prefix": "/"}]


def test_tls_offers_http_2_for_grpc() -> None:
    socket_ = listener(FULL)["filter_chains"][0]["transport_socket"]["typed_config"]
    context = socket_["common_tls_context"]
    assert context["alpn_protocols"] == ["h2", "http/1.1"]
    assert context["tls_params"] == {"tls_minimum_protocol_version": "TLSv1_2"}
    assert context["tls_certificates"] == [
        {
            "certificate_chain": {"filename": "/run/gateway/tls.crt"},
            "private_key": {"filename": "/run/gateway/tls.key"},
        }
    ]
    assert FULL.scheme == "https"


def test_the_access_log_names_neither_headers_that_tell_on_people_nor_the_query() -> None:
    [log] = manager(FULL)["access_log"]
    assert log["typed_config"]["path"] == "/run/gateway/access.log"
    line = log["typed_config"]["log_format"]["json_format"]
    asked = {value for value in line.values() if value.startswith("%REQ(")}
    assert asked == {"%REQ(:METHOD)%", "%REQ(:AUTHORITY)%", "%REQ(X-REQUEST-ID)%"}
    assert line["path"] == "%PATH(NQ:ORIG_OR_PATH)%"
