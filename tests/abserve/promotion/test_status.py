import json
from typing import Any

import pytest

from abserve.errors import KubernetesError, TelemetryError
from abserve.promotion import DeploymentStatus, Kubernetes, PredictorStatus, read_status
from abserve.telemetry import VersionCounts
from tests.abserve.promotion.local_api import LocalApi, do_nothing, fail
from tests.abserve.seldon.documents import document, predictor
from tests.abserve.telemetry.replica import Replica

HERE = "http://127.0.0.1:8080"
INFER = "/seldon/shop/iris/v2/models/iris/infer"


def status(cluster: Kubernetes, name: str = "baseline") -> PredictorStatus:
    """Return one predictor of iris."""
    found = {each.name: each for each in read_status(cluster, "iris").predictors}
    return found[name]


def test_a_deployment_that_serves_is_available(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    found = read_status(cluster, "iris")
    assert (found.name, found.namespace, found.model) == ("iris", "shop", "iris")
    assert (found.state, found.description) == ("Available", "")


def test_a_deployment_that_failed_says_why(api: LocalApi, cluster: Kubernetes) -> None:
    api.operator = fail
    api.apply()
    found = read_status(cluster, "iris")
    assert (found.state, found.description) == ("Failed", "candidate: no such bucket")


def test_a_deployment_of_which_no_operator_spoke_is_being_created(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = do_nothing
    api.apply()
    assert read_status(cluster, "iris").state == "Creating"


def test_what_is_not_there_has_no_status(cluster: Kubernetes) -> None:
    with pytest.raises(KubernetesError, match="no SeldonDeployment 'iris'"):
        read_status(cluster, "iris")


def test_predictors_stand_in_their_order_with_their_weights(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    found = read_status(cluster, "iris").predictors
    assert [(each.name, each.weight, each.shadow) for each in found] == [
        ("baseline", 90, False),
        ("candidate", 10, False),
    ]


def test_a_lone_variant_has_all_requests(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(document(predictor("baseline", "v1")))
    assert status(cluster).weight == 100


def test_a_shadow_has_the_share_it_gets_copies_of(api: LocalApi, cluster: Kubernetes) -> None:
    shadow = predictor("shadow", "v2", shadow=True, traffic=20)
    api.apply(document(predictor("baseline", "v1", traffic=100), shadow))
    found = status(cluster, "shadow")
    assert (found.weight, found.shadow) == (20, True)


def test_a_shadow_of_no_stated_share_gets_copies_of_all(api: LocalApi, cluster: Kubernetes) -> None:
    shadow = predictor("shadow", "v2", shadow=True)
    api.apply(document(predictor("baseline", "v1", traffic=100), shadow))
    assert status(cluster, "shadow").weight == 100


def test_replicas_are_counted_by_predictor(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", Replica("v1").text)
    api.run_pod("iris-baseline-2", "baseline", Replica("v1").text, ready=False)
    api.run_pod("iris-candidate-1", "candidate", Replica("v2").text)
    assert (status(cluster).n_ready, status(cluster).n_replicas) == (1, 2)
    assert (status(cluster, "candidate").n_ready, status(cluster, "candidate").n_replicas) == (1, 1)


def test_a_predictor_serves_the_version_that_its_replica_loaded(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.run_pod("iris-candidate-1", "candidate", Replica("v2").text)
    assert status(cluster, "candidate").version == "v2"


def test_what_a_predictor_without_replicas_serves_is_unknown(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    assert status(cluster).version is None
    assert status(cluster).counts == VersionCounts()


def test_a_replica_that_is_not_ready_is_not_asked(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", None, ready=False)
    assert status(cluster).version is None


def test_requests_of_all_replicas_of_a_predictor_are_added_up(
    api: LocalApi, cluster: Kubernetes
) -> None:
    first, second = Replica("v1"), Replica("v1")
    first.answer("v1", ok=5, rejected=1)
    second.answer("v1", ok=2, failed=3)
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", first.text)
    api.run_pod("iris-baseline-2", "baseline", second.text)
    assert status(cluster).counts == VersionCounts(11, n_rejected=1, n_failed=3)


def test_ground_truth_counts_for_the_version_that_answered_wherever_it_arrived(
    api: LocalApi, cluster: Kubernetes
) -> None:
    baseline, candidate = Replica("v1"), Replica("v2")
    baseline.judge("v1", correct=3)
    baseline.judge("v2", incorrect=1)
    candidate.judge("v1", correct=1)
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", baseline.text)
    api.run_pod("iris-candidate-1", "candidate", candidate.text)
    assert (status(cluster).counts.n_correct, status(cluster).counts.n_incorrect) == (4, 0)
    counts = status(cluster, "candidate").counts
    assert (counts.n_correct, counts.n_incorrect) == (0, 1)


def test_two_predictors_of_one_version_keep_their_own_requests(
    api: LocalApi, cluster: Kubernetes
) -> None:
    baseline, candidate = Replica("v2"), Replica("v2")
    baseline.answer("v2", ok=5)
    candidate.answer("v2", ok=2)
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", baseline.text)
    api.run_pod("iris-candidate-1", "candidate", candidate.text)
    assert status(cluster).counts.n_requests == 5
    assert status(cluster, "candidate").counts.n_requests == 2


def test_a_replica_that_is_ready_and_does_not_answer_is_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", None)
    with pytest.raises(KubernetesError, match="pod 'iris-baseline-1' does not answer"):
        read_status(cluster, "iris")


def test_a_replica_that_ends_while_it_is_asked_has_no_counts(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", None)
    api.pods.end_when_asked = api.end_pod
    assert status(cluster).version is None


def test_a_replica_that_exposes_something_else_is_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.run_pod("iris-baseline-1", "baseline", "<html>")
    with pytest.raises(TelemetryError, match="metrics of model 'iris' cannot be read"):
        read_status(cluster, "iris")


def test_the_gateway_is_the_one_the_cluster_publishes(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    api.publish_gateway(HERE)
    assert read_status(cluster, "iris").gateway == HERE + INFER


@pytest.mark.parametrize("given", ["https://models.example", "https://models.example/"])
def test_a_gateway_that_is_given_comes_first(
    given: str, api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.publish_gateway(HERE)
    assert read_status(cluster, "iris", given).gateway == f"https://models.example{INFER}"


def test_where_nobody_says_where_the_gateway_is_it_is_unknown(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    assert read_status(cluster, "iris").gateway is None


def test_an_inference_request_names_the_graph_node_not_the_deployment(
    api: LocalApi, cluster: Kubernetes
) -> None:
    deployment = document()
    deployment["metadata"]["name"] = "flowers"
    api.apply(deployment)
    url = read_status(cluster, "flowers", HERE).gateway
    assert url == f"{HERE}/seldon/shop/flowers/v2/models/iris/infer"


def as_json(counts: VersionCounts, n_ready: int = 1, n_replicas: int = 1) -> Any:
    only = PredictorStatus("baseline", "v1", 100, False, n_ready, n_replicas, counts)
    whole = DeploymentStatus("iris", "shop", "iris", "Available", "", None, (only,)).to_json()
    return json.loads(json.dumps(whole))


def test_the_same_is_told_to_machines() -> None:
    replica = Replica("v1")
    replica.answer("v1", ok=7, rejected=2, failed=1)
    replica.judge("v1", correct=3, incorrect=1)
    counts = VersionCounts(10, n_rejected=2, n_failed=1, n_correct=3, n_incorrect=1)
    assert as_json(counts) == {
        "name": "iris",
        "namespace": "shop",
        "model": "iris",
        "state": "Available",
        "description": "",
        "gateway": None,
        "predictors": [
            {
                "name": "baseline",
                "version": "v1",
                "weight": 100,
                "shadow": False,
                "ready": True,
                "n_ready": 1,
                "n_replicas": 1,
                "n_requests": 10,
                "n_errors": 3,
                "n_rejected": 2,
                "n_failed": 1,
                "latency_p50_seconds": None,
                "latency_p99_seconds": None,
                "n_feedback": 4,
                "accuracy": 0.75,
            }
        ],
    }


@pytest.mark.parametrize(
    ("n_ready", "n_replicas", "ready"), [(1, 1, True), (1, 2, False), (0, 0, False)]
)
def test_a_predictor_is_ready_when_all_its_replicas_are_and_there_is_one(
    n_ready: int, n_replicas: int, ready: bool
) -> None:
    assert as_json(VersionCounts(), n_ready, n_replicas)["predictors"][0]["ready"] is ready
