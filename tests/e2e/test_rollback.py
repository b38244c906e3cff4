"""Back to the baseline under load: from a candidate that serves, and from one that cannot."""

import json
import shutil
from typing import Any

import pytest

from abserve.cli.traffic import Traffic
from abserve.cli.training import MODELS, held_out_rows
from tests.e2e.local_cluster import ROOT, LocalCluster, iris, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture
def traffic(iris_cluster: LocalCluster) -> Traffic:
    return Traffic(iris_cluster.url(), *held_out_rows("iris", ROOT / MODELS))


@pytest.fixture(params=["missing", "damaged"])
def broken_version(request: pytest.FixtureRequest, iris_cluster: LocalCluster) -> str:
    """A version that is not in the repository, or one whose runtime dies when it is loaded."""
    version: str = request.param
    if version == "damaged":
        folder = iris_cluster.home / "repository/iris" / version
        shutil.copytree(folder.with_name("v2"), folder)
        (folder / "model.onnx").write_bytes(b"no model")
    return version


def split(cluster: LocalCluster) -> list[tuple[str, int]]:
    return [(each["name"], each["traffic"]) for each in cluster.get("iris")["spec"]["predictors"]]


def with_candidate(version: str) -> dict[str, Any]:
    document = iris()
    baseline, candidate = document["spec"]["predictors"]
    baseline["traffic"] = candidate["traffic"] = 50
    candidate["graph"]["modelUri"] = f"s3://models/iris/{version}"
    return document


def test_a_candidate_that_cannot_serve_is_not_promoted_and_rolled_back_without_a_failed_request(
    iris_cluster: LocalCluster, traffic: Traffic, broken_version: str
) -> None:
    with traffic.flowing() as tally:
        iris_cluster.apply(with_candidate(broken_version))
        wait_until(
            lambda: iris_cluster.get("iris")["status"]["state"] == "Failed",
            lambda: iris_cluster.get("iris")["status"],
        )
        before = iris_cluster.get("iris")["spec"]
        refused = iris_cluster.abserve("promote", "iris")
        assert refused.returncode == 1
        assert (
            "candidate of SeldonDeployment 'iris' is not ready (0 of 1 replicas" in refused.stderr
        )
        assert "abserve rollback iris" in refused.stderr
        assert iris_cluster.get("iris")["spec"] == before

        rolled_back = iris_cluster.must("abserve", "rollback", "iris")
        assert rolled_back.splitlines()[0] == (
            "sending all requests to baseline and removing candidate"
        )
        assert set(traffic.send(200, lambda: None).seconds) == {"v1"}
    assert tally.failures == []
    assert split(iris_cluster) == [("baseline", 100)]
    assert iris_cluster.get("iris")["status"]["state"] == "Available"


def test_a_candidate_that_dies_while_it_serves_is_taken_out(
    iris_cluster: LocalCluster, traffic: Traffic
) -> None:
    iris_cluster.must("abserve", "weights", "iris", "baseline=50", "candidate=50")
    iris_cluster.break_candidate()
    assert split(iris_cluster) == [("baseline", 50), ("candidate", 50)]
    iris_cluster.must("abserve", "rollback", "iris")
    tally = traffic.send(200, lambda: None)
    assert (tally.failures, set(tally.seconds)) == ([], {"v1"})
    assert split(iris_cluster) == [("baseline", 100)]


def test_a_candidate_that_serves_is_rolled_back_by_its_weight_without_a_failed_request(
    iris_cluster: LocalCluster, traffic: Traffic
) -> None:
    with traffic.flowing() as tally:
        iris_cluster.must("abserve", "weights", "iris", "baseline=50", "candidate=50")
        told = iris_cluster.must("abserve", "rollback", "iris")
        assert set(traffic.send(200, lambda: None).seconds) == {"v1"}
        assert split(iris_cluster) == [("baseline", 100), ("candidate", 0)]
        assert iris_cluster.predictor("candidate")["ready"]
        again = iris_cluster.must("abserve", "rollback", "iris")
        removed = iris_cluster.must("abserve", "rollback", "iris", "--remove", "--json")
    assert tally.failures == []
    assert set(tally.seconds) == {"v1", "v2"}
    serves = "iris: baseline serves s3://models/iris/v1 with 100 %\n"
    assert told == f"sending all requests to baseline\n{serves}"
    assert again == f"all requests go to baseline already\n{serves}"
    assert json.loads(removed)["model_uri"] == "s3://models/iris/v1"
    assert split(iris_cluster) == [("baseline", 100)]
