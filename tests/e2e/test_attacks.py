"""What a caller tries who has no right to it, at the real Envoy: the local gateway's and Istio's.

The second is made of the policies and filters that `manifests/overlays/staging/access` renders.
"""

import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import requests

from abserve.cluster.certificates import make_certificate
from abserve.gateway import Jwt, Listener, Tls
from tests.e2e.istio_envoy import GATEWAY, istio_envoy, of_kind
from tests.e2e.running_envoy import INFER, Replica, RunningEnvoy, replicas, route_to, running_envoy
from tests.e2e.tokens import AUDIENCE, ISSUER, forged, key_set, token

pytestmark = pytest.mark.e2e

IRIS = "/seldon/shop/iris"
NAMED = (("seldon", "iris"), ("namespace", "shop"))
SPLIT = {"baseline": 50, "candidate": 50}
FORGED = list(forged())


@dataclass(frozen=True)
class Guarded:
    """A gateway that asks for tokens, and what a good one of its says."""

    envoy: RunningEnvoy
    claims: dict[str, Any]
    servers: dict[str, Replica]

    @property
    def good(self) -> dict[str, str]:
        return {"authorization": f"Bearer {token(**self.claims)}"}

    def status(self, headers: dict[str, str], path: str = "/x") -> int:
        return requests.get(f"{self.envoy.path}{path}", headers=headers, timeout=5).status_code

    def answer(self, head: str, headers: dict[str, str] | None = None, rest: str = "") -> bytes:
        """Send bytes that a client would not; return the first line of the answer."""
        lines = [head, *(f"{name}: {value}" for name, value in (headers or {}).items())]
        if "host:" not in rest:
            lines.append("host: models.staging.example.com")
        sent = "\r\n".join(lines) + f"\r\n{rest or 'connection: close'}"
        sent += "" if "\r\n\r\n" in rest else "\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.envoy.port), timeout=5) as connection:
            connection.sendall(sent.encode())
            return connection.makefile("rb").readline()

    @property
    def n_seen(self) -> int:
        return sum(len(each.seen) for each in self.servers.values())


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Replica]]:
    with replicas("baseline", "candidate") as running:
        yield running


@pytest.fixture(scope="module", params=["on one machine", "in the cluster"])
def gateway(
    request: pytest.FixtureRequest,
    servers: dict[str, Replica],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    if request.param == "on one machine":
        route = route_to(SPLIT, servers, unit_header="x-unit-id")
        listener = Listener(jwt=Jwt(ISSUER, AUDIENCE, key_set()))
        with running_envoy(folder, route, listener=listener) as envoy:
            yield Guarded(envoy, {}, servers)
        return
    (rule,) = of_kind("RequestAuthentication", GATEWAY)[0]["spec"]["jwtRules"]
    claims = {"iss": rule["issuer"], "aud": rule["audiences"][0]}
    behind = {name: [server] for name, server in servers.items()}
    with istio_envoy(folder, SPLIT, behind, key_set()) as envoy:
        yield Guarded(envoy, claims, servers)


# Tokens.


def test_a_good_token_is_let_in(gateway: Guarded) -> None:
    assert gateway.status(gateway.good) == 200
    assert gateway.envoy.call(*NAMED, *gateway.good.items()) in SPLIT


@pytest.mark.parametrize("what", FORGED)
def test_a_token_that_the_issuer_did_not_sign_is_refused(gateway: Guarded, what: str) -> None:
    seen = gateway.n_seen
    bad = {"authorization": f"Bearer {forged(**gateway.claims)[what]}"}
    assert gateway.status(bad) == 401
    with pytest.raises(grpc.RpcError) as refused:
        gateway.envoy.call(*NAMED, *bad.items())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert gateway.n_seen == seen


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"exp": datetime.now(UTC) - timedelta(minutes=5)}, 401),
        ({"nbf": datetime.now(UTC) + timedelta(hours=1)}, 401),
        ({"iss": "https://other.example"}, 401),
        ({"iss": f"{ISSUER}//"}, 401),
        ({"iss": None}, 401),
        ({"aud": "other"}, 403),
        ({"aud": f"{AUDIENCE}2"}, 403),
        ({"aud": ["other", "another"]}, 403),
        ({"aud": None}, 403),
    ],
)
def test_a_token_for_another_time_or_place_is_refused(
    gateway: Guarded, claims: dict[str, Any], status: int
) -> None:
    sent = token(**{**gateway.claims, **claims})
    assert gateway.status({"authorization": f"Bearer {sent}"}) == status


def test_a_token_may_name_no_key_and_several_audiences(gateway: Guarded) -> None:
    audiences = ["other", gateway.claims.get("aud", AUDIENCE)]
    sent = token(header={"kid": None}, **{**gateway.claims, "aud": audiences})
    assert gateway.status({"authorization": f"Bearer {sent}"}) == 200


def test_in_the_cluster_a_token_has_to_say_whose_it_is(gateway: Guarded) -> None:
    status = gateway.status({"authorization": f"Bearer {token(**gateway.claims, sub=None)}"})
    assert status == (403 if gateway.claims else 200)


@pytest.mark.parametrize(
    "where",
    ["Authorization: bearer ", "Authorization: Basic ", "Authorization: ", "Cookie: token=",
     "Proxy-Authorization: Bearer ", "X-Forwarded-Access-Token: "],
)  # fmt: skip
def test_a_token_elsewhere_is_none(gateway: Guarded, where: str) -> None:
    name, _, prefix = where.partition(": ")
    assert gateway.status({name: prefix + token(**gateway.claims)}) in {401, 403}
    query = f"/x?access_token={token(**gateway.claims)}"
    assert gateway.status({}, query) in {401, 403}


@pytest.mark.parametrize("first", [True, False])
def test_of_two_tokens_none_is_believed(gateway: Guarded, first: bool) -> None:
    good, bad = gateway.good["authorization"], f"Bearer {forged(**gateway.claims)['of a stranger']}"
    one, other = (good, bad) if first else (bad, good)
    line = gateway.answer(f"GET {IRIS}/x HTTP/1.1", {"authorization": one, "Authorization": other})
    assert line.startswith(b"HTTP/1.1 401")


# Ways around.


@pytest.mark.parametrize(
    "line",
    [
        f"GET {IRIS}/v2/models/iris HTTP/1.1",
        f"POST {IRIS}/v2/models/iris/infer HTTP/1.1",
        f"OPTIONS {IRIS}/v2/models/iris/infer HTTP/1.1",
        f"HEAD {IRIS}/x HTTP/1.1",
        f"TRACE {IRIS}/x HTTP/1.1",
        f"GET /{IRIS}/x HTTP/1.1",
        f"GET {IRIS}//x HTTP/1.1",
        f"GET {IRIS.upper()}/x HTTP/1.1",
        "GET /seldon/shop/%69ris/x HTTP/1.1",
        "GET /seldon%2fshop%2firis/x HTTP/1.1",
        "GET /healthz/../seldon/shop/iris/x HTTP/1.1",
        "GET /seldon/shop/%2e%2e/shop/iris/x HTTP/1.1",
        "GET /seldon/shop/iris/..;/x HTTP/1.1",
        f"GET {IRIS}/a\\..\\x HTTP/1.1",
        f"GET http://127.0.0.1{IRIS}/x HTTP/1.1",
        "GET /healthz/ready HTTP/1.1",
        "GET /stats/prometheus HTTP/1.1",
        "POST /quitquitquit HTTP/1.1",
        "CONNECT 127.0.0.1:1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
    ],
)
@pytest.mark.parametrize(
    "host",
    ["models.staging.example.com", "MODELS.staging.example.com.", "a.example:443", "127.0.0.1"],
)
def test_without_a_token_no_spelling_reaches_a_version(
    gateway: Guarded, line: str, host: str
) -> None:
    seen = gateway.n_seen
    # A browser's question before a request, which Istio's check of tokens lets pass.
    preflight = {"origin": "https://a.example", "access-control-request-method": "POST"}
    for headers in ({}, preflight, {"x-forwarded-for": "127.0.0.1", "x-envoy-internal": "true"}):
        answer = gateway.answer(line, headers, f"host: {host}\r\nconnection: close")
        assert answer.split()[1] in {b"401", b"403", b"404", b"400"}
    assert gateway.n_seen == seen


@pytest.mark.parametrize(
    "path",
    ["/", "/stats/prometheus", "/metrics", "/prometheus", "/config_dump", "/healthz/ready",
     "/v2/repository/index", "/v2/models/iris/infer", "/seldon/shop/iris", "/seldon/other/iris/x",
     "/seldon/shop/irisx/x", "/seldon/shop/iris%2fx", "//seldon/shop/iris/x",
     "/SELDON/shop/iris/x"],
)  # fmt: skip
def test_with_a_token_there_is_nothing_but_versions(gateway: Guarded, path: str) -> None:
    seen = gateway.n_seen
    answer = gateway.answer(f"GET {path} HTTP/1.1", gateway.good)
    assert answer.startswith(b"HTTP/1.1 404")
    assert gateway.n_seen == seen


@pytest.mark.parametrize(
    "rest",
    [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n\r\nabcde",
        "content-length: +4\r\n\r\nabcd",
        "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "x a: b\r\n\r\n",
    ],
)
def test_a_request_whose_end_could_be_disputed_is_refused(gateway: Guarded, rest: str) -> None:
    seen = gateway.n_seen
    line = gateway.answer(f"POST {IRIS}/x HTTP/1.1", gateway.good, rest)
    assert line.split()[1] in {b"400", b"501"}
    assert gateway.n_seen == seen


def test_http_1_0_is_refused_and_so_are_headers_without_end(gateway: Guarded) -> None:
    assert b" 426 " in gateway.answer(f"GET {IRIS}/x HTTP/1.0", gateway.good)
    long = {**gateway.good, "x-long": "x" * 70_000}
    assert b" 431 " in gateway.answer(f"GET {IRIS}/x HTTP/1.1", long)


@pytest.mark.parametrize("protocol", ["websocket", "h2c", "TLS/1.2"])
def test_another_protocol_is_not_spoken_with_or_without_a_token(
    gateway: Guarded, protocol: str
) -> None:
    asked = {"connection": "upgrade", "upgrade": protocol}
    refused = gateway.answer(f"GET {IRIS}/x HTTP/1.1", asked, "x: y")
    assert refused.split()[1] in {b"401", b"403"}
    answered = gateway.answer(f"GET {IRIS}/x HTTP/1.1", {**gateway.good, **asked}, "x: y")
    # Istio lets one for websockets through, which no version understands, and refuses others.
    assert answered.split()[1] in ({b"200", b"403"} if gateway.claims else {b"200"})


def test_a_caller_neither_shortens_nor_repeats_nor_pretends(gateway: Guarded) -> None:
    told = {
        "x-envoy-upstream-rq-timeout-ms": "1",
        "x-envoy-max-retries": "9",
        "x-envoy-retry-on": "5xx",
        "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/istio-ingress/sa/istio-ingress",
        **gateway.good,
    }
    assert gateway.status(told, "/sleep/0.1") == 200
    seen = gateway.n_seen
    assert gateway.status(told, "/status/503") == 503
    assert gateway.n_seen == seen + 1
    answer = requests.get(f"{gateway.envoy.path}/x", headers=told, timeout=5).json()
    believed = {name.lower() for name in answer["headers"]}
    assert not believed & {name for name in told if name.startswith(("x-envoy", "x-forwarded-c"))}
    assert "authorization" not in believed


def test_grpc_without_a_token_is_refused_whatever_it_calls(gateway: Guarded) -> None:
    for method in (
        INFER,
        "/inference.GRPCInferenceService/ServerLive",
        "/grpc.health.v1.Health/Check",
    ):
        with pytest.raises(grpc.RpcError) as refused:
            gateway.envoy.call(*NAMED, method=method)
        assert refused.value.code() in {
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.PERMISSION_DENIED,
        }


def test_a_caller_does_not_choose_its_variant(gateway: Guarded) -> None:
    """By a name that is hashed, and another that is routed by."""
    envoy, good = gateway.envoy, tuple(gateway.good.items())
    unit = ("x-unit-id", "user-7")
    own = envoy.call(*NAMED, *good, unit)
    for number in range(12):
        for metadata, method in (
            (NAMED, f"/seldon/shop/{number}/inference"),
            ((("seldon", f"{number}"), *NAMED), INFER),
            ((*NAMED, ("namespace", f"{number}")), INFER),
        ):
            with suppress(grpc.RpcError):
                assert envoy.call(*metadata, *good, unit, method=method) == own
    metadata = {**gateway.good, "x-unit-id": "user-7", "seldon": "other", "namespace": "other"}
    answer = requests.get(f"{envoy.path}/x", headers=metadata, timeout=5)
    assert answer.json()["name"] == own


# TLS.


@pytest.fixture(scope="module")
def tls_port(
    servers: dict[str, Replica], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The port of a gateway that speaks TLS only."""
    folder = tmp_path_factory.mktemp("tls")
    made = make_certificate(folder, datetime.now(UTC))
    listener = Listener(tls=Tls(made.certificate, made.key))
    with running_envoy(folder, route_to(SPLIT, servers), listener=listener) as envoy:
        yield envoy.port


def first_line(port: int, context: ssl.SSLContext) -> bytes:
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    with plain, context.wrap_socket(plain) as connection:
        connection.sendall(f"GET {IRIS}/x HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        return connection.makefile("rb").readline()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_from_1_2_on_is_spoken(tls_port: int, version: ssl.TLSVersion) -> None:
    context = _unchecked(version)
    assert first_line(tls_port, context) == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_tls_is_refused_by_the_gateway(tls_port: int, version: ssl.TLSVersion) -> None:
    context = _unchecked(version)
    # Else it is our side that refuses.
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        first_line(tls_port, context)


def test_without_tls_nothing_is_answered(tls_port: int, servers: dict[str, Replica]) -> None:
    seen = sum(len(each.seen) for each in servers.values())
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{tls_port}{IRIS}/x", timeout=5)
    assert sum(len(each.seen) for each in servers.values()) == seen


def _unchecked(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    return context
