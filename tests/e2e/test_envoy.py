"""What the real Envoy does with our configuration, in front of servers that say who they are."""

import asyncio
import json
import os
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import grpc
import pytest
import requests
from scipy import stats

from abserve.cluster.gateway import Gateway
from abserve.cluster.home import Home
from abserve.cluster.ports import free_port
from abserve.cluster.processes import Processes
from abserve.cluster.state import State
from abserve.gateway import Backend, Jwt, Listener, Retries
from tests.e2e.local_cluster import wait_until
from tests.e2e.raw_http import ask
from tests.e2e.running_envoy import (
    Replica,
    RunningEnvoy,
    backend_of,
    replicas,
    route_to,
    running_envoy,
)
from tests.e2e.tokens import AUDIENCE, ISSUER, KEYS, STRANGER, key_set, token

pytestmark = pytest.mark.e2e

Servers = dict[str, Replica]

UNITS = [f"user-{number}" for number in range(2000)]
NAMED = (("seldon", "iris"), ("namespace", "shop"))


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with replicas("baseline", "candidate", "other", "shadow") as running:
        yield running


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvoy]:
    with running_envoy(tmp_path_factory.mktemp("envoy")) as running:
        yield running


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as opened:
        yield opened


def variants(
    session: requests.Session, envoy: RunningEnvoy, units: list[str], deployment: str = "iris"
) -> dict[str, str]:
    """Return who answers each unit."""
    url = f"{envoy.url}/seldon/shop/{deployment}/x"
    return {
        unit: session.get(url, headers={"x-unit-id": unit}, timeout=5).json()["name"]
        for unit in units
    }


def interval(n: int, share: float) -> tuple[float, float]:
    # Envoy draws anew each time: of all such tests one in a million runs may be out.
    low, high = stats.binom.interval(1 - 1e-7, n, share)
    return float(low), float(high)


# Weights and shadows, over either transport.


def test_grpc_is_split_by_the_same_weights(envoy: RunningEnvoy, servers: Servers) -> None:
    envoy.serve(route_to({"baseline": 80, "candidate": 20}, servers))
    with grpc.insecure_channel(f"localhost:{envoy.port}") as channel:
        answered = Counter(envoy.call_over(channel, *NAMED) for _ in range(2000))
    low, high = interval(2000, 0.20)
    assert low <= answered["candidate"] <= high
    assert answered.total() == 2000


def test_grpc_of_another_name_or_namespace_is_unimplemented_and_says_why(
    envoy: RunningEnvoy, servers: Servers
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    for metadata in ((), NAMED[:1], (NAMED[0], ("namespace", "default")), (("seldon", "x"),)):
        with pytest.raises(grpc.RpcError) as refused:
            envoy.call(*metadata)
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert refused.value.details().startswith("no SeldonDeployment is served by this name;")


def test_grpc_of_another_service_is_not_routed(envoy: RunningEnvoy, servers: Servers) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    assert envoy.call(*NAMED, method="/inference.Another/Method") == "baseline"
    with pytest.raises(grpc.RpcError) as refused:
        envoy.call(*NAMED, method="/seldon.protos.Seldon/Predict")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_shadow_gets_a_body_that_is_too_large_for_one_buffer(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    shadow = servers["shadow"]
    envoy.serve(route_to({"baseline": 100}, servers, shadow=backend_of(shadow)))
    shadow.n_bytes_seen = 0
    answer = session.post(f"{envoy.path}/large", data=b"0" * 5_000_000, timeout=10)
    assert answer.json()["n_bytes"] == 5_000_000
    wait_until(lambda: shadow.n_bytes_seen == 5_000_000, lambda: shadow.n_bytes_seen, 5)


async def test_predictors_come_and_go_under_load_without_a_failed_request(
    servers: Servers, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    home.make()
    one = route_to({"baseline": 100}, servers)
    two = route_to({"baseline": 10, "candidate": 90}, servers)
    answered: Counter[tuple[int, str]] = Counter()
    async with aiohttp.ClientSession() as http:
        gateway = Gateway(
            Processes(home), home.gateway, home.logs / "envoy.log", State(), free_port(),
            Listener(), http,
        )  # fmt: skip
        child = await gateway.start()

        async def ask() -> None:
            while child.running:
                async with http.get(f"{gateway.url}{one.path}x") as answer:
                    name = (await answer.json(content_type=None)).get("name", "")
                    answered[answer.status, name] += 1

        try:
            await gateway.serve(one)
            async with asyncio.TaskGroup() as group:
                asking = [group.create_task(ask()) for _ in range(4)]
                for _ in range(20):
                    await gateway.serve(two)
                    n_before = answered[200, "candidate"]
                    while answered[200, "candidate"] == n_before:
                        await asyncio.sleep(0.01)
                    await gateway.serve(one)
                for task in asking:
                    task.cancel()
        finally:
            await child.stop(5)
    assert answered.keys() == {(200, "baseline"), (200, "candidate")}


# Sticky assignment.


@pytest.mark.parametrize("percent", [10, 30, 50])
def test_the_candidates_share_of_units_is_its_weight(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session, percent: int
) -> None:
    weights = {"baseline": 100 - percent, "candidate": percent}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
    found = variants(session, envoy, UNITS)
    low, high = interval(len(UNITS), percent / 100)
    assert low <= Counter(found.values())["candidate"] <= high
    assert variants(session, envoy, UNITS) == found


def test_a_rising_weight_moves_units_from_the_baseline_to_the_candidate_only(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    before: dict[str, str] = {}
    for percent in (0, 10, 30, 50, 100):
        weights = {"baseline": 100 - percent, "candidate": percent}
        envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
        now = variants(session, envoy, UNITS)
        moved = {(before[unit], now[unit]) for unit in before if before[unit] != now[unit]}
        assert moved <= {("baseline", "candidate")}
        before = now
    assert set(before.values()) == {"candidate"}


@pytest.mark.parametrize("rising", ["other", "candidate"])
def test_of_three_variants_any_may_rise_at_the_baselines_cost(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session, rising: str
) -> None:
    weights = {"other": 10, "baseline": 80, "candidate": 10}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
    before = variants(session, envoy, UNITS)
    higher = {**weights, rising: 40, "baseline": 50}
    envoy.serve(route_to(higher, servers, unit_header="x-unit-id"))
    now = variants(session, envoy, UNITS)
    moved = {(before[unit], now[unit]) for unit in UNITS if before[unit] != now[unit]}
    assert moved == {("baseline", rising)}


def test_two_deployments_give_their_candidates_other_units(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(
        *(route_to(weights, servers, name, unit_header="x-unit-id") for name in ("iris", "wine"))
    )
    iris = variants(session, envoy, UNITS)
    wine = variants(session, envoy, UNITS, "wine")
    same = sum(iris[unit] == wine[unit] for unit in UNITS)
    low, high = interval(len(UNITS), 0.5)
    assert low <= same <= high


def test_a_unit_gets_the_same_variant_over_grpc(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
    units = UNITS[:200]
    rest = variants(session, envoy, units)
    with grpc.insecure_channel(f"localhost:{envoy.port}") as channel:
        calls = {unit: envoy.call_over(channel, *NAMED, ("x-unit-id", unit)) for unit in units}
    assert calls == rest


def test_the_header_may_be_another(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(route_to(weights, servers, unit_header="x-customer"))
    url = f"{envoy.path}/x"
    for header, n_variants in (("x-customer", 1), ("X-Customer", 1), ("x-unit-id", 2)):
        found = {
            session.get(url, headers={header: "user-1"}, timeout=5).json()["name"]
            for _ in range(100)
        }
        assert len(found) == n_variants


@pytest.mark.parametrize("value", [None, "", ",", ",,"])
def test_a_request_of_no_unit_is_split_at_random(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session, value: str | None
) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
    sent = {} if value is None else {"x-unit-id": value}
    found = Counter(
        session.get(f"{envoy.path}/x", headers=sent, timeout=5).json()["name"] for _ in range(500)
    )
    low, high = interval(500, 0.5)
    assert low <= found["candidate"] <= high


def test_several_headers_are_one_unit_in_any_order(envoy: RunningEnvoy, servers: Servers) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))

    def answer(*units: str) -> str:
        lines = "".join(f"x-unit-id: {unit}\r\n" for unit in units)
        with socket.create_connection(("localhost", envoy.port)) as connection:
            request = f"GET /seldon/shop/iris/x HTTP/1.1\r\nhost: a\r\n{lines}\r\n"
            return str(json.loads(ask(connection, request.encode(), "GET").content)["name"])

    pairs = [(f"a-{number}", f"b-{number}") for number in range(50)]
    found = [answer(*pair) for pair in pairs]
    assert [answer(*pair[::-1]) for pair in pairs] == found
    assert set(found) == {"baseline", "candidate"}


def test_a_unit_may_be_as_long_as_a_header_may(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    weights = {"baseline": 50, "candidate": 50}
    envoy.serve(route_to(weights, servers, unit_header="x-unit-id"))
    units = [f"{number}".rjust(50_000, "u") for number in range(20)]
    found = variants(session, envoy, units)
    assert variants(session, envoy, units) == found
    assert set(found.values()) == {"baseline", "candidate"}
    refused = session.get(f"{envoy.path}/x", headers={"x-unit-id": "u" * 70_000}, timeout=5)
    assert refused.status_code == 431
    assert "shorter headers" in refused.json()["error"]


def three_replicas(servers: Servers) -> tuple[Backend, Backend]:
    """A baseline with three replicas, and a candidate with one."""
    endpoints = tuple(servers[name].endpoint for name in ("baseline", "other", "shadow"))
    return Backend("shop", "iris", "baseline", endpoints), backend_of(servers["candidate"])


def test_a_unit_stays_on_one_replica_of_its_variant_over_both_transports(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    route = route_to({"baseline": 50, "candidate": 50}, servers, unit_header="x-unit-id")
    envoy.serve(replace(route, backends=three_replicas(servers)))
    found = variants(session, envoy, UNITS)
    assert variants(session, envoy, UNITS) == found
    with grpc.insecure_channel(f"localhost:{envoy.port}") as channel:
        over_grpc = {
            unit: envoy.call_over(channel, *NAMED, ("x-unit-id", unit)) for unit in UNITS[:300]
        }
    assert over_grpc == {unit: found[unit] for unit in UNITS[:300]}


@pytest.mark.parametrize("percent", [10, 50, 90])
def test_the_replicas_of_a_variant_have_equal_shares_of_its_units(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session, percent: int
) -> None:
    weights = {"baseline": percent, "candidate": 100 - percent}
    route = route_to(weights, servers, unit_header="x-unit-id")
    envoy.serve(replace(route, backends=three_replicas(servers)))
    counts = Counter(variants(session, envoy, UNITS).values())
    n_baseline = len(UNITS) - counts["candidate"]
    low, high = interval(len(UNITS), percent / 100)
    assert low <= n_baseline <= high
    low, high = interval(n_baseline, 1 / 3)
    assert all(low <= counts[name] <= high for name in ("baseline", "other", "shadow"))


def test_requests_of_no_unit_go_to_all_replicas_of_a_sticky_variant(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    route = route_to({"baseline": 100, "candidate": 0}, servers, unit_header="x-unit-id")
    envoy.serve(replace(route, backends=three_replicas(servers)))
    found = Counter(session.get(f"{envoy.path}/x", timeout=5).json()["name"] for _ in range(600))
    low, high = interval(600, 1 / 3)
    assert all(low <= found[name] <= high for name in ("baseline", "other", "shadow"))


def test_the_units_of_a_replica_that_is_not_ready_go_to_the_others_meanwhile(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    units = UNITS[:300]
    route = route_to({"baseline": 100, "candidate": 0}, servers, unit_header="x-unit-id")
    envoy.serve(replace(route, backends=three_replicas(servers)))
    before = variants(session, envoy, units)
    servers["other"].ready = False
    try:
        wait_until(lambda: "other" not in variants(session, envoy, units).values(), str)
        meanwhile = variants(session, envoy, units)
    finally:
        servers["other"].ready = True
    stayed = [unit for unit in units if before[unit] == meanwhile[unit]]
    assert len(stayed) > 0.8 * sum(name != "other" for name in before.values())
    wait_until(lambda: variants(session, envoy, units) == before, str)


def test_a_unit_whose_replica_breaks_off_is_sent_to_another(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    route = route_to({"baseline": 100, "candidate": 0}, servers, unit_header="x-unit-id")
    envoy.serve(replace(route, backends=three_replicas(servers)))
    for unit in UNITS[:20]:
        for server in servers.values():
            server.seen.clear()
        headers = {"x-unit-id": unit}
        assert session.get(f"{envoy.path}/cut", headers=headers, timeout=5).status_code == 503
        tried = [name for name, server in servers.items() if "/cut" in server.seen]
        assert len(tried) >= 2


# Timeouts and retries.


def test_what_a_version_answers_is_passed_on_once(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    seen = servers["baseline"].seen
    seen.clear()
    assert session.get(f"{envoy.path}/status/503", timeout=5).json()["name"] == "baseline"
    assert seen == ["/status/503"]


def test_with_seldons_retries_a_gateway_error_is_tried_again(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers, retries=Retries(3, 5)))
    seen = servers["baseline"].seen
    seen.clear()
    assert session.get(f"{envoy.path}/status/503", timeout=5).status_code == 503
    assert session.get(f"{envoy.path}/status/500", timeout=5).status_code == 500
    assert Counter(seen) == {"/status/503": 4, "/status/500": 1}


def test_a_try_that_takes_too_long_is_ended_with_504(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers, retries=Retries(1, 1)))
    seen = servers["baseline"].seen
    seen.clear()
    answer = session.get(f"{envoy.path}/sleep/3", timeout=10)
    assert answer.status_code == 504
    assert "did not answer in time" in answer.json()["error"]
    assert seen == ["/sleep/3"] * 2


def test_otherwise_a_version_may_take_its_time(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    # Longer than a try of Istio's would take, and than Envoy's own default for a route.
    assert session.get(f"{envoy.path}/sleep/16", timeout=30).status_code == 200


# Answers of the gateway's own.


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (b"NONSENSE\r\n\r\n", 400, "no valid HTTP"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "no valid HTTP"),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400, "no valid HTTP"),
        (b"GET / HTTP/1.0\r\n\r\n", 426, "HTTP/1.1"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no SeldonDeployment is served at this path"),
        (b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no SeldonDeployment"),
        (b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n", 404, "no SeldonDeployment"),
        (b"GET /seldon/shop/iris HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no SeldonDeployment"),
        (b"GET /seldon/shop/iris/../x HTTP/1.1\r\nhost: a\r\n\r\n", 404, "no SeldonDeployment"),
    ],
)
def test_what_leads_nowhere_is_told_in_json(
    envoy: RunningEnvoy, servers: Servers, request_: bytes, status: int, words: str
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    with socket.create_connection(("localhost", envoy.port), 5) as connection:
        answer = ask(connection, request_, "GET")
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert words in json.loads(answer.content)["error"]


def test_a_predictor_without_replicas_is_unavailable(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    nobody = Backend("shop", "iris", "baseline", ())
    envoy.serve(replace(route_to({"baseline": 100}, servers), backends=(nobody,)))
    answer = session.get(f"{envoy.path}/x", timeout=5)
    assert answer.status_code == 503
    assert answer.json()["error"].startswith("no replica of this predictor is ready")
    with pytest.raises(grpc.RpcError) as refused:
        envoy.call(*NAMED)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert refused.value.details().startswith("no replica of this predictor is ready")


def test_a_replica_that_cannot_be_reached_or_breaks_off_is_told(
    envoy: RunningEnvoy, servers: Servers, session: requests.Session
) -> None:
    envoy.serve(route_to({"baseline": 100}, servers))
    cut = session.get(f"{envoy.path}/cut", timeout=5)
    assert (cut.status_code, "ended before it answered" in cut.json()["error"]) == (503, True)
    with replicas("gone") as gone:
        envoy.serve(route_to({"gone": 100}, gone))
    unreachable = session.get(f"{envoy.path}/x", timeout=5)
    assert unreachable.status_code == 503
    assert "cannot be reached" in unreachable.json()["error"]


# Tokens.


@pytest.fixture(scope="module")
def guarded(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEnvoy]:
    listener = Listener(jwt=Jwt(ISSUER, AUDIENCE, key_set()))
    folder = tmp_path_factory.mktemp("guarded")
    with running_envoy(folder, route_to({"baseline": 100}, servers), listener=listener) as running:
        yield running


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_token_is_taken_and_kept_from_the_version(
    guarded: RunningEnvoy, algorithm: str
) -> None:
    headers = {"authorization": f"Bearer {token(algorithm)}"}
    answer = requests.get(f"{guarded.path}/x", headers=headers, timeout=5)
    assert answer.status_code == 200
    assert "authorization" not in {name.lower() for name in answer.json()["headers"]}
    assert guarded.call(*NAMED, *headers.items()) == "baseline"


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (None, 401, "Jwt is missing"),
        ("nonsense", 401, "Jwt is not in the form"),
        (token(exp=datetime.now(UTC) - timedelta(minutes=5)), 401, "Jwt is expired"),
        (token(iss="https://other.example"), 401, "Jwt issuer is not configured"),
        (token(key=STRANGER), 401, "Jwt verification fails"),
        (token(aud="other"), 403, "Audiences in Jwt are not allowed"),
        (token(aud=None), 403, "Audiences in Jwt are not allowed"),
    ],
)
def test_any_other_is_refused_with_words(
    guarded: RunningEnvoy, sent: str | None, status: int, words: str
) -> None:
    headers = {} if sent is None else {"authorization": f"Bearer {sent}"}
    for path in ("/seldon/shop/iris/x", "/unknown"):
        answer = requests.get(f"{guarded.url}{path}", headers=headers, timeout=5)
        assert answer.status_code == status
        assert words in answer.json()["error"]
        assert "send " in answer.json()["error"]


def test_a_token_in_the_query_is_no_token(guarded: RunningEnvoy) -> None:
    answer = requests.get(f"{guarded.path}/x?access_token={token()}", timeout=5)
    assert answer.status_code == 401


def test_grpc_without_a_token_is_unauthenticated(guarded: RunningEnvoy) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        guarded.call(*NAMED)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert refused.value.details().startswith("Jwt is missing; send")


def test_replicas_are_asked_for_their_health_without_a_token(guarded: RunningEnvoy) -> None:
    healthy = 'membership_healthy{namespace="shop",deployment="iris",predictor="baseline"'
    lines = [line for line in guarded.metrics().splitlines() if healthy in line]
    assert [line.split()[-1] for line in lines] == ["1", "1"]


# Rate limit.


def test_what_comes_too_fast_is_answered_with_429(
    servers: Servers, session: requests.Session, tmp_path: Path
) -> None:
    listener = Listener(requests_per_second=5)
    with running_envoy(tmp_path, route_to({"baseline": 100}, servers), listener=listener) as envoy:
        answers = [session.get(f"{envoy.path}/x", timeout=5) for _ in range(30)]
        assert Counter(answer.status_code for answer in answers).keys() == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert "more requests than this gateway takes" in refused.json()["error"]
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["x-ratelimit-limit"].startswith("5")
        with pytest.raises(grpc.RpcError) as exhausted:
            Counter(envoy.call(*NAMED) for _ in range(10))
        assert exhausted.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        wait_until(
            lambda: session.get(f"{envoy.path}/x", timeout=5).status_code == 200, lambda: "429", 5
        )


# What is written down.


def test_a_request_becomes_a_line_without_secrets(servers: Servers, tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    listener = Listener(access_log=log)
    route = route_to({"baseline": 100}, servers, unit_header="x-unit-id")
    with running_envoy(tmp_path, route, listener=listener) as envoy:
        sent = {"x-unit-id": "SECRET-1", "authorization": "Bearer SECRET-2", "x-request-id": "r-1"}
        requests.post(f"{envoy.path}/x?token=SECRET-3", data=b"0123", headers=sent, timeout=5)
        requests.get(f"{envoy.url}/unknown", timeout=5)
        envoy.call(*NAMED)
        wait_until(lambda: log.read_text().count("\n") == 3, log.read_text)
        known, unknown, call = (json.loads(line) for line in log.read_text().splitlines())
    assert "SECRET" not in log.read_text()
    host = f"127.0.0.1:{servers['baseline'].server_port}"
    assert datetime.fromisoformat(known.pop("start_time")).tzinfo is not None
    assert known.pop("duration_ms") >= 0
    assert known.pop("bytes_sent") > 0
    assert known == {
        "method": "POST",
        "path": "/seldon/shop/iris/x",
        "authority": f"localhost:{envoy.port}",
        "protocol": "HTTP/1.1",
        "status": 200,
        "grpc_status": None,
        "response_flags": "-",
        "bytes_received": 4,
        "request_id": "r-1",
        "namespace": "shop",
        "deployment": "iris",
        "predictor": "baseline",
        "upstream_cluster": "shop.iris.baseline.rest",
        "upstream_host": host,
    }
    assert (unknown["status"], unknown["response_flags"], unknown["predictor"]) == (404, "NR", None)
    assert (call["grpc_status"], call["predictor"]) == (0, "baseline")


def test_the_log_goes_on_at_its_beginning_once_it_is_emptied(
    servers: Servers, tmp_path: Path
) -> None:
    """What keeps the cluster's logs small copies and empties them under whoever writes."""
    log = tmp_path / "access.log"
    listener = Listener(access_log=log)
    with running_envoy(tmp_path, route_to({"baseline": 100}, servers), listener=listener) as envoy:
        for path in ("/first", "/second"):
            requests.get(f"{envoy.path}{path}", timeout=5)
            wait_until(lambda: log.read_text().endswith("\n"), log.read_text)
            [line] = log.read_text().splitlines()
            assert json.loads(line)["path"].endswith(path)
            os.truncate(log, 0)


def test_statistics_say_whose_they_are(servers: Servers, tmp_path: Path) -> None:
    with running_envoy(tmp_path, route_to({"baseline": 100}, servers)) as envoy:
        for path in ("x", "x", "status/500"):
            requests.get(f"{envoy.path}/{path}", timeout=5)
        envoy.call(*NAMED)
        whose = 'namespace="shop",deployment="iris",predictor="baseline",transport='
        expected = {
            f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",{whose}"rest"}} 2',
            f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{whose}"rest"}} 1',
            f'envoy_cluster_upstream_rq{{envoy_response_code="500",{whose}"rest"}} 1',
            f'envoy_cluster_upstream_rq_time_count{{{whose}"rest"}} 3',
            f'envoy_cluster_grpc_success{{{whose}"grpc"}} 1',
            f'envoy_cluster_grpc{{{whose}"grpc",grpc_status="0"}} 1',
            f'envoy_cluster_membership_healthy{{{whose}"rest"}} 1',
        }
        # Histograms are merged every few seconds.
        wait_until(
            lambda: expected <= set(envoy.metrics().splitlines()),
            lambda: (expected - set(envoy.metrics().splitlines()), envoy.metrics()),
            15,
        )
