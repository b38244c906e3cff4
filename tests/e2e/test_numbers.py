"""What the local cluster promises in figures, on real parts under load.

The bars are for two cores; each test says what it measured when it fails.
"""

import itertools
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import requests

from abserve.cli.traffic import Traffic
from abserve.cli.train import MODELS, held_out_rows
from abserve.promotion import Kubernetes, set_weights
from abserve.weights import Weights
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

pytestmark = pytest.mark.e2e

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
def test_the_gateway_costs_at_most_a_tenth_of_the_requests_per_second(
    cluster: LocalCluster, body: Path
) -> None:
    document = iris()
    document["spec"]["predictors"] = document["spec"]["predictors"][:1]
    document["spec"]["predictors"][0]["traffic"] = 100
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        pod = cluster.pods("iris")[0]
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        direct = f"http://127.0.0.1:{ports['http']}/v2/models/iris/infer"
        # In turn, so that a slow moment of the machine meets both.
        pairs = [(_rate(cluster.url(), body), _rate(direct, body)) for _ in range(5)]
    finally:
        cluster.delete("iris")
    ratios = sorted(through / straight for through, straight in pairs)
    assert ratios[len(ratios) // 2] >= 0.9, f"(through the gateway, direct) per second: {pairs}"


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
