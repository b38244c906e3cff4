"""The gateway of a real cluster: weights, units, gRPC, statistics, tokens and TLS."""

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import jwt
import psutil
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from scipy import stats

from tests.e2e.local_cluster import (
    SETOSA,
    LocalCluster,
    copy_repository,
    iris,
    running_cluster,
    wait_until,
)

pytestmark = pytest.mark.e2e

BODY = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}
NAMED = {"seldon": "iris", "namespace": "default"}
SENDERS = 4


@pytest.fixture(scope="module")
def cluster(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A running cluster that logs its requests."""
    home = tmp_path_factory.mktemp("cluster")
    copy_repository(repository, home)
    with running_cluster(home, "--access-log") as running:
        yield running


def split(candidate: int, **spec: Any) -> dict[str, Any]:
    document = iris(**spec)
    baseline, other = document["spec"]["predictors"]
    baseline["traffic"], other["traffic"] = 100 - candidate, candidate
    return document


def serve(cluster: LocalCluster, document: dict[str, Any]) -> str:
    """Apply a SeldonDeployment; return its URL once it serves."""
    applied = cluster.apply(document)
    assert applied.returncode == 0, applied.stderr
    cluster.wait_until_available("iris")
    return cluster.url()


def versions(url: str, units: list[str | None]) -> list[str]:
    """Return who answered a request of each unit; None is a request of no unit."""
    kept = threading.local()

    def ask(unit: str | None) -> str:
        if not hasattr(kept, "session"):
            kept.session = requests.Session()
        headers = {} if unit is None else {"x-unit-id": unit}
        answer = kept.session.post(url, json=BODY, headers=headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return str(answer.headers["x-model-version"])

    with ThreadPoolExecutor(SENDERS) as senders:
        return list(senders.map(ask, units))


def call(url: str, n: int = 1, **wanted: Any) -> dict[str, Any]:
    """Return what tritonclient got over gRPC from the gateway of `url`."""
    sent = {"headers": NAMED, "units": [None] * n, **wanted}
    script = Path(__file__).with_name("triton_gateway.py")
    done = subprocess.run(
        [sys.executable, script, urlsplit(url).netloc, json.dumps(sent)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def interval(n: int, share: float) -> tuple[float, float]:
    # Envoy draws anew each time: of all such tests one in a million runs may be out.
    low, high = stats.binom.interval(1 - 1e-7, n, share)
    return float(low), float(high)


def test_ten_thousand_requests_split_as_the_weights_say(cluster: LocalCluster) -> None:
    url = serve(cluster, split(20))
    answered = Counter(versions(url, [None] * 10_000))
    low, high = interval(10_000, 0.20)
    assert low <= answered["v2"] <= high
    assert answered.total() == 10_000


def test_two_thousand_units_keep_their_version_or_go_to_the_candidate(
    cluster: LocalCluster,
) -> None:
    units: list[str | None] = [f"user-{number}" for number in range(2000)]
    sticky = {"abserve.io/sticky": "true"}
    before = versions(serve(cluster, split(10, annotations=sticky)), units)
    # The order in the file is no matter.
    risen = split(30, annotations=sticky)
    risen["spec"]["predictors"].reverse()
    now = versions(serve(cluster, risen), units)
    moved = Counter(zip(before, now, strict=True))
    assert moved["v2", "v1"] == 0
    for found, share in ((before, 0.10), (now, 0.30)):
        low, high = interval(2000, share)
        assert low <= found.count("v2") <= high


def test_a_unit_has_one_version_over_both_transports_and_anybody_else_either(
    cluster: LocalCluster,
) -> None:
    url = serve(cluster, split(50, annotations={"abserve.io/sticky": "true"}))
    units: list[str | None] = [f"user-{number}" for number in range(100)]
    assert call(url, units=units)["versions"] == versions(url, units)
    assert set(call(url, 100)["versions"]) == set(versions(url, [None] * 100)) == {"v1", "v2"}


def test_tritonclient_over_grpc_is_split_as_the_weights_say(cluster: LocalCluster) -> None:
    url = serve(cluster, split(20))
    answered = Counter(call(url, 2000)["versions"])
    low, high = interval(2000, 0.20)
    assert low <= answered["v2"] <= high
    assert answered.total() == 2000


@pytest.mark.parametrize("headers", [{}, {**NAMED, "seldon": "wine"}, {**NAMED, "namespace": "x"}])
def test_grpc_that_names_nobody_we_serve_is_refused_at_once(
    cluster: LocalCluster, headers: dict[str, str]
) -> None:
    answer = call(serve(cluster, split(20)), headers=headers)
    assert answer["status"] == "StatusCode.UNIMPLEMENTED"
    assert "no SeldonDeployment is served by this name" in answer["message"]


def test_the_death_of_one_of_two_replicas_fails_no_call(cluster: LocalCluster) -> None:
    document = split(0)
    document["spec"]["predictors"] = document["spec"]["predictors"][:1]
    document["spec"]["predictors"][0].update(replicas=2, traffic=100)
    url = serve(cluster, document)
    with ThreadPoolExecutor(1) as caller:
        called = caller.submit(call, url, 2000)
        key = "envoy_cluster_grpc_success"
        wait_until(lambda: metric(cluster, key, "baseline", "grpc") > 200, lambda: called)
        psutil.Process(cluster.pid_of("baseline")).kill()
        assert not called.done()
        assert called.result() == {"versions": ["v1"] * 2000}


def test_retries_without_a_meaning_are_refused_when_applied(cluster: LocalCluster) -> None:
    refused = cluster.apply(split(20, annotations={"seldon.io/istio-retries": "often"}))
    assert refused.returncode == 1
    assert "spec.annotations[seldon.io/istio-retries]" in refused.stderr
    assert "found 'often', expected how often to try again" in refused.stderr


def metric(cluster: LocalCluster, name: str, predictor: str, transport: str) -> float:
    """Return the sum of a statistic of one predictor."""
    [envoy] = [each for each in cluster.processes() if each["name"] == "envoy"]
    url = f"http://127.0.0.1:{envoy['details']['admin_port']}/stats/prometheus"
    whose = f'namespace="default",deployment="iris",predictor="{predictor}",transport="{transport}"'
    return sum(
        float(line.split()[-1])
        for line in requests.get(url, timeout=5).text.splitlines()
        if line.startswith(f"{name}{{") and whose in line
    )


def test_statistics_and_the_log_say_which_predictor_answered(cluster: LocalCluster) -> None:
    url = serve(cluster, split(50))

    def counts() -> dict[str, float]:
        name = "envoy_cluster_upstream_rq_xx"
        return {
            version: metric(cluster, name, predictor, "rest")
            for predictor, version in (("baseline", "v1"), ("candidate", "v2"))
        }

    before = counts()
    log = cluster.home / "logs/access.log"
    begun = datetime.now(UTC)

    def lines() -> list[dict[str, Any]]:
        written = [json.loads(line) for line in log.read_text().splitlines()]
        return [each for each in written if datetime.fromisoformat(each["start_time"]) >= begun]

    answered = Counter(versions(url, ["SECRET"] * 100))
    assert counts() == {version: before[version] + answered[version] for version in before}
    wait_until(lambda: len(lines()) == 100, lines)
    assert Counter(line["predictor"] for line in lines()) == {
        "baseline": answered["v1"],
        "candidate": answered["v2"],
    }
    assert {line["deployment"] for line in lines()} == {"iris"}
    assert "SECRET" not in log.read_text()


ISSUER, AUDIENCE = "https://issuer.example", "abserve"
KEY = ec.generate_private_key(ec.SECP256R1())


def token(**claims: Any) -> str:
    said = {"iss": ISSUER, "aud": AUDIENCE, "exp": datetime.now(UTC) + timedelta(minutes=10)}
    return jwt.encode({**said, **claims}, KEY, "ES256", {"kid": "k"})


@pytest.fixture(scope="module")
def guarded(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster that takes requests over TLS, with a token."""
    home = tmp_path_factory.mktemp("guarded")
    copy_repository(repository, home)
    jwks = tmp_path_factory.mktemp("keys") / "jwks.json"
    public = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}
    jwks.write_text(json.dumps({"keys": [public]}))
    options = ("--tls", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwks", str(jwks))
    with running_cluster(home, *options) as running:
        running.apply_iris()
        yield running


def curl(cluster: LocalCluster, *arguments: str) -> tuple[int, str, dict[str, Any]]:
    """Return the status, the version of HTTP and the answer that curl got from the gateway."""
    command = ["curl", "--silent", "--show-error", "--max-time", "10", *arguments,
               "--cacert", str(cluster.home / "tls/api.crt"), "--json", json.dumps(BODY),
               "--write-out", "\n%{http_code} %{http_version}", cluster.url()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    body, _, summary = done.stdout.rpartition("\n")
    status, version = summary.split()
    return int(status), version, json.loads(body)


@pytest.mark.parametrize(("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")])
def test_curl_with_a_token_is_answered_over_tls(
    guarded: LocalCluster, option: str, version: str
) -> None:
    assert guarded.url().startswith("https://localhost:")
    status, spoken, answer = curl(guarded, option, "-H", f"authorization: Bearer {token()}")
    assert (status, spoken) == (200, version)
    assert answer["model_name"] == "iris"


def test_curl_without_a_good_token_is_told_what_to_send(guarded: LocalCluster) -> None:
    expired = token(exp=datetime.now(UTC) - timedelta(minutes=10))
    for arguments, words in (
        ((), "Jwt is missing; send 'authorization: Bearer <token>'"),
        (("-H", f"authorization: Bearer {expired}"), "Jwt is expired"),
    ):
        # Over HTTP/2, curl before release 8 does not show an answer that comes before it has sent
        # the whole request.
        status, _, answer = curl(guarded, "--http1.1", *arguments)
        assert status == 401
        assert words in answer["error"]


def test_tritonclient_with_a_token_is_answered_over_tls(guarded: LocalCluster) -> None:
    certificates = str(guarded.home / "tls/api.crt")
    headers = {**NAMED, "authorization": f"Bearer {token()}"}
    answer = call(guarded.url(), 20, headers=headers, certificates=certificates)
    assert len(answer["versions"]) == 20
    refused = call(guarded.url(), certificates=certificates)
    assert refused["status"] == "StatusCode.UNAUTHENTICATED"


@pytest.mark.parametrize(
    "path",
    [
        "/v2/repository/models/iris/unload",
        "//v2/repository/models/iris/unload",
        "/v2//repository/models/iris/unload",
        "/v2%2Frepository%2Fmodels%2Firis%2Funload",
        "/v2/%72epository/models/iris/unload",
        "/v2/models/..%2F..%2Fv2%2Frepository/models/iris/unload",
        "/V2/repository/models/iris/unload",
        "/v2/docs",
        "/metrics",
        "/prometheus",
    ],
)
def test_a_caller_with_a_token_unloads_nothing_and_reads_no_metrics(
    guarded: LocalCluster, path: str
) -> None:
    base, trusted = guarded.url().partition("/v2/")[0], str(guarded.home / "tls/api.crt")
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {token()}"
        for method in ("POST", "GET"):
            asked = session.prepare_request(requests.Request(method, base))
            # As it is written, which `requests` would not send.
            asked.url = base + path
            assert session.send(asked, timeout=5, verify=trusted).status_code in {404, 405}
        served = session.post(guarded.url(), json=BODY, timeout=5, verify=trusted)
    assert served.status_code == 200


@pytest.mark.parametrize(
    "method",
    [
        "inference.GRPCInferenceService/RepositoryModelUnload",
        "inference.model_repository.ModelRepositoryService/RepositoryModelUnload",
    ],
)
def test_nor_over_grpc_by_either_name(guarded: LocalCluster, method: str) -> None:
    credentials = grpc.ssl_channel_credentials((guarded.home / "tls/api.crt").read_bytes())
    metadata = (*NAMED.items(), ("authorization", f"Bearer {token()}"))
    opened = grpc.secure_channel(urlsplit(guarded.url()).netloc, credentials)
    with opened as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{method}")(b"\n\x04iris", metadata=metadata, timeout=5)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "loading and unloading are closed" in refused.value.details()


def test_versions_are_ready_though_nobody_gave_their_probes_a_token(guarded: LocalCluster) -> None:
    assert guarded.get("iris")["status"]["state"] == "Available"
    for predictor in ("baseline", "candidate"):
        for transport in ("rest", "grpc"):
            name = "envoy_cluster_membership_healthy"
            assert metric(guarded, name, predictor, transport) == 1


def test_a_rate_limit_given_to_up_is_kept(tmp_path: Path) -> None:
    with running_cluster(tmp_path, "--rate-limit", "3") as cluster:
        url = json.loads((cluster.home / "cluster.json").read_text())["gateway_url"]
        answers = [requests.get(f"{url}/unknown", timeout=5) for _ in range(20)]
    assert Counter(answer.status_code for answer in answers).keys() == {404, 429}
    assert all(answer.json()["error"] for answer in answers)
