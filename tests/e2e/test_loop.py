"""The loop: apply, split, feed back, weigh, promote, on real parts."""

import numpy as np
import psutil
import pytest
import requests
from scipy import stats
from tritonclient.http import InferenceServerClient, InferInput

from abserve.cli.traffic import Tally, Traffic
from abserve.cli.training import MODELS, held_out_rows
from tests.e2e.local_cluster import ROOT, SETOSA, LocalCluster, infer, iris, wait_until

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def examples() -> tuple[list[list[float]], list[str]]:
    return held_out_rows("iris", ROOT / MODELS)


def send(cluster: LocalCluster, examples: tuple[list[list[float]], list[str]], n: int) -> Tally:
    tally = Traffic(cluster.url(), *examples).send(n, lambda: None)
    assert tally.failures == []
    return tally


def test_two_thousand_requests_split_as_the_weights_say(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    tally = send(iris_cluster, examples, 2000)
    low, high = stats.binom.interval(0.99999, 2000, 0.10)
    assert low <= len(tally.seconds["v2"]) <= high
    assert tally.n_answered == 2000


def test_status_counts_what_was_sent_and_what_was_true(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    tally = send(iris_cluster, examples, 400)
    status = iris_cluster.status()
    baseline, candidate = status["predictors"]
    assert (baseline["version"], candidate["version"]) == ("v1", "v2")
    assert (baseline["weight"], candidate["weight"]) == (90, 10)
    assert baseline["n_requests"] == baseline["n_feedback"] == len(tally.seconds["v1"])
    assert candidate["n_requests"] == candidate["n_feedback"] == len(tally.seconds["v2"])
    assert 0.7 < baseline["accuracy"] < candidate["accuracy"] <= 1
    assert 0 < baseline["latency_p50_seconds"] <= baseline["latency_p99_seconds"]
    assert baseline["n_errors"] == candidate["n_errors"] == 0


def test_feedback_counts_for_the_version_that_answered_wherever_it_arrives(
    iris_cluster: LocalCluster,
) -> None:
    url = iris_cluster.url()
    answers = []
    while {"v1", "v2"} - {answer["model_version"] for answer in answers}:
        answers.append(infer(url).json())
    by_version = {answer["model_version"]: answer for answer in answers}
    # All requests go to the candidate from now on, so v1's feedback arrives at v2's replica.
    iris_cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    for version, truth in (("v1", "setosa"), ("v2", "virginica")):
        response = requests.post(
            url.replace("/infer", "/feedback"),
            json={
                "id": by_version[version]["id"],
                "feedback_token": by_version[version]["parameters"]["feedback_token"],
                "ground_truth": truth,
            },
            timeout=10,
        )
        assert response.status_code == 200
        assert response.json()["model_version"] == version
    assert iris_cluster.predictor("baseline")["accuracy"] == 1
    assert iris_cluster.predictor("candidate")["accuracy"] == 0


def test_a_forged_token_is_refused(iris_cluster: LocalCluster) -> None:
    url = iris_cluster.url()
    answer = infer(url).json()
    token = answer["parameters"]["feedback_token"]
    forged = token[:-2] + ("A" if token[-2] != "A" else "B") + token[-1]
    response = requests.post(
        url.replace("/infer", "/feedback"),
        json={"id": answer["id"], "feedback_token": forged, "ground_truth": "setosa"},
        timeout=10,
    )
    assert response.status_code == 400
    assert "feedback token" in response.json()["error"]


def test_the_gateway_speaks_v2_to_a_client_nobody_here_wrote(iris_cluster: LocalCluster) -> None:
    base = iris_cluster.url().removeprefix("http://").partition("/v2/")[0]
    with InferenceServerClient(base) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("iris")
        features = InferInput("features", [2, 4], "FP64")
        rows = np.array([SETOSA, [6.3, 3.3, 6.0, 2.5]])
        features.set_data_from_numpy(rows)
        result = client.infer("iris", [features], request_id="r-1")
        assert result.get_response()["id"] == "r-1"
        assert result.as_numpy("label").ravel().tolist() == [b"setosa", b"virginica"]
        assert result.as_numpy("probability").sum(axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_weights_change_under_load_without_a_failed_request(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    with Traffic(iris_cluster.url(), *examples).flowing() as tally:
        for candidate in (50, 100, 0, 30):
            weights = (f"baseline={100 - candidate}", f"candidate={candidate}")
            iris_cluster.must("abserve", "weights", "iris", *weights)
    assert tally.failures == []
    assert tally.n_answered > 100
    assert iris_cluster.predictor("candidate")["weight"] == 30


def test_weights_are_in_force_when_the_command_returns(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    iris_cluster.must("abserve", "weights", "iris", "baseline=0", "candidate=100")
    assert set(send(iris_cluster, examples, 200).seconds) == {"v2"}


def test_promotion_under_load_fails_no_request_and_leaves_the_new_baseline(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    with Traffic(iris_cluster.url(), *examples).flowing() as tally:
        iris_cluster.must("abserve", "promote", "iris")
    assert tally.failures == []
    assert set(tally.seconds) == {"v1", "v2"}
    predictors = iris_cluster.get("iris")["spec"]["predictors"]
    assert [each["name"] for each in predictors] == ["baseline"]
    assert predictors[0]["graph"]["modelUri"] == "s3://models/iris/v2"
    assert predictors[0]["traffic"] == 100
    assert set(send(iris_cluster, examples, 100).seconds) == {"v2"}


def test_applying_the_file_again_undoes_a_promotion_without_a_failed_request(
    iris_cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    with Traffic(iris_cluster.url(), *examples).flowing() as tally:
        # The second time, replicas like those that are just being stopped are started again.
        for _ in range(2):
            iris_cluster.must("abserve", "promote", "iris")
            iris_cluster.apply_iris()
    assert tally.failures == []
    versions = [each["version"] for each in iris_cluster.status()["predictors"]]
    assert versions == ["v1", "v2"]


def test_promotion_without_a_candidate_is_refused(iris_cluster: LocalCluster) -> None:
    iris_cluster.must("abserve", "promote", "iris")
    refused = iris_cluster.abserve("promote", "iris")
    assert refused.returncode == 1
    assert "nothing to promote" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_two_replicas_share_the_requests_of_one_predictor(
    cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    document = iris()
    document["spec"]["predictors"][0]["replicas"] = 2
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        send(cluster, examples, 200)
        baseline = cluster.predictor("baseline")
        assert (baseline["n_ready"], baseline["n_replicas"]) == (2, 2)
        assert baseline["n_requests"] + cluster.predictor("candidate")["n_requests"] == 200
        pods = [pod["metadata"]["name"] for pod in cluster.pods("iris") if "baseline" in str(pod)]
        assert len(pods) == 2
    finally:
        cluster.delete("iris")


def test_the_death_of_one_of_two_replicas_fails_no_request(
    cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    document = iris()
    document["spec"]["predictors"] = document["spec"]["predictors"][:1]
    document["spec"]["predictors"][0].update(replicas=2, traffic=100)
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        with Traffic(cluster.url(), *examples).flowing() as tally:
            for _ in range(3):
                victim = next(each for each in cluster.processes() if "baseline" in each["name"])
                before = tally.n_answered
                psutil.Process(victim["pid"]).kill()
                wait_until(
                    lambda before=before: tally.n_answered > before + 200, lambda: tally.failures
                )
                cluster.wait_until_available("iris")
                wait_until(lambda: cluster.predictor("baseline")["n_ready"] == 2, cluster.processes)
        assert tally.failures == []
    finally:
        cluster.delete("iris")


def test_a_shadow_gets_copies_and_answers_nobody(
    cluster: LocalCluster, examples: tuple[list[list[float]], list[str]]
) -> None:
    document = iris()
    baseline, shadow = document["spec"]["predictors"]
    baseline["traffic"] = 100
    shadow.update(shadow=True, traffic=100)
    cluster.apply(document)
    cluster.wait_until_available("iris")
    try:
        assert set(send(cluster, examples, 100).seconds) == {"v1"}
        assert cluster.predictor("candidate")["n_requests"] == 100
    finally:
        cluster.delete("iris")
