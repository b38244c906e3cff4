"""What the local cluster promises in figures, on real parts under load.

The bars are for two cores; each test says what it measured when it fails.
"""

import itertools
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from abserve.cli.traffic import Traffic
from abserve.cli.training import MODELS, held_out_rows
from abserve.promotion import Kubernetes, set_weights
from abserve.weights import Weights
from tests.e2e.bare_envoy import bare_envoy
from tests.e2e.debian import needs
from tests.e2e.local_cluster import (
    ROOT,
    SETOSA,
    LocalCluster,
    copy_repository,
    infer,
    iris,
    running_cluster,
    wait_until,
)
from tests.e2e.pickled import publish_pickle, sklearn_predictor

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

_N_CHANGES = 100
_WITHIN_SECONDS = 60.0


@pytest.fixture
def traffic(iris_cluster: LocalCluster) -> Traffic:
    return Traffic(iris_cluster.url(), *held_out_rows("iris", ROOT / MODELS))


def test_a_hundred_changes_of_weights_in_a_minute_fail_no_request_and_are_in_force_at_once(
    iris_cluster: LocalCluster, traffic: Traffic
) -> None:
    api = Kubernetes(iris_cluster.home / "kubeconfig", None)
    url = iris_cluster.url()
    seconds = []
    began = time.monotonic()
    with traffic.flowing() as tally, requests.Session() as session:
        for candidate, version in itertools.islice(
            itertools.cycle([(100, "v2"), (0, "v1")]), _N_CHANGES
        ):
            # Spread over the minute, not as fast as it goes.
            due = began + len(seconds) * _WITHIN_SECONDS / _N_CHANGES
            time.sleep(max(0.0, due - time.monotonic()))
            changed = time.monotonic()
            weights = Weights({"baseline": 100 - candidate, "candidate": candidate})
            set_weights(api, "iris", weights, timeout_seconds=10)
            seconds.append(time.monotonic() - changed)
            # In force means: from here on nobody else answers.
            answers = [_version(session, url) for _ in range(3)]
            assert answers == [version] * 3
    assert tally.failures == []
    assert tally.n_answered > 1000
    assert time.monotonic() - began < _WITHIN_SECONDS + 5
    assert max(seconds) < 1, f"slowest five: {sorted(seconds)[-5:]}"


def _version(session: requests.Session, url: str) -> str:
    body = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP64", "data": SETOSA}]}
    answer = session.post(url, json=body, timeout=10)
    answer.raise_for_status()
    return str(answer.json()["model_version"])


def test_the_only_replica_serves_again_within_five_seconds_of_a_kill(
    cluster: LocalCluster,
) -> None:
    document = iris()
    document["spec"]["predictors"] = document["spec"]["predictors"][:1]
    document["spec"]["predictors"][0]["traffic"] = 100
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        url = cluster.url()
        victim = cluster.pid_of("baseline")
        psutil.Process(victim).kill()
        killed = time.monotonic()
        # Until the gateway or the health check has noticed, nobody may answer with success.
        wait_until(lambda: infer(url).status_code == 503, lambda: "answers still come")
        wait_until(lambda: infer(url).status_code == 200, lambda: infer(url).text)
        assert time.monotonic() - killed < 5
    finally:
        cluster.delete("iris")


def test_iris_is_available_within_fifteen_seconds_of_up(repository: Path, tmp_path: Path) -> None:
    copy_repository(repository, tmp_path)
    began = time.monotonic()
    with running_cluster(tmp_path) as cluster:
        cluster.apply_iris()
        assert infer(cluster.url()).status_code == 200
        assert time.monotonic() - began < 15


@pytest.fixture
def body(tmp_path: Path) -> Path:
    """A wrk script that posts one row."""
    script = tmp_path / "row.lua"
    script.write_text(
        'wrk.method = "POST"\n'
        'wrk.headers["Content-Type"] = "application/json"\n'
        'wrk.body = \'{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP64",'
        '"data":[5.1,3.5,1.4,0.2]}]}\'\n'
    )
    return script


@needs("wrk")
def test_the_gateway_costs_at_most_a_tenth_of_what_mlserver_serves_as_it_comes(
    cluster: LocalCluster, body: Path
) -> None:
    publish_pickle(cluster)
    # Without the worker process beside it, which would want the core that the gateway has.
    alone = {"name": "MLSERVER_PARALLEL_WORKERS", "value": "0"}
    quiet = {"name": "MLSERVER_DEBUG", "value": "false"}
    containers = [{"name": "iris", "env": [alone, quiet]}]
    predictor = sklearn_predictor(
        "baseline", traffic=100, componentSpecs=[{"spec": {"containers": containers}}]
    )
    with _serving_alone(cluster, predictor, protocol="v2") as direct:
        pairs = _pairs(cluster.url(), direct, body)
    assert _middle(pairs) >= 0.9, f"(through the gateway, direct) per second: {pairs}"


@needs("wrk")
def test_what_we_ask_of_envoy_costs_little_beside_envoy_itself(
    cluster: LocalCluster, body: Path, tmp_path: Path
) -> None:
    """Our own server answers so fast that Envoy alone, bare, takes more than a tenth."""
    predictor = iris()["spec"]["predictors"][0] | {"traffic": 100}
    with _serving_alone(cluster, predictor) as direct, bare_envoy(direct, tmp_path) as bare:
        pairs = _pairs(cluster.url(), bare, body)
    assert _middle(pairs) >= 0.8, f"(our gateway, a bare Envoy) per second: {pairs}"


@contextmanager
def _serving_alone(cluster: LocalCluster, predictor: dict[str, Any], **spec: Any) -> Iterator[str]:
    """Serve iris with one predictor; yield its replica's own URL for inference requests."""
    cluster.apply(iris(predictors=[predictor], **spec))
    cluster.wait_until_available("iris")
    try:
        (pod,) = cluster.pods("iris")
        ports = {each["name"]: each for each in pod["spec"]["containers"][0]["ports"]}
        yield f"http://127.0.0.1:{ports['http']['containerPort']}/v2/models/iris/infer"
    finally:
        cluster.delete("iris")


def _pairs(one: str, other: str, body: Path) -> list[tuple[float, float]]:
    """Measure two URLs in turn, so that a slow moment of the machine meets both."""
    for url in (one, other):
        _rate(url, body)  # the first requests of all find cold caches
    return [(_rate(one, body), _rate(other, body)) for _ in range(5)]


def _middle(pairs: list[tuple[float, float]]) -> float:
    return statistics.median(one / other for one, other in pairs)


def _rate(url: str, script: Path) -> float:
    """Return the requests per second that eight connections get answered."""
    said = subprocess.run(
        ["wrk", "-t1", "-c8", "-d2s", "-s", str(script), url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert "Non-2xx" not in said, said
    line = next(line for line in said.splitlines() if line.startswith("Requests/sec"))
    return float(line.split()[1])
