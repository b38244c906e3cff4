from typing import Any

import pytest

from abserve.errors import KubernetesError, ManifestError
from abserve.promotion import Kubernetes
from abserve.promotion.candidate import Baseline, add_candidate, find_baseline, read_drift
from abserve.telemetry import Drift
from tests.abserve.promotion.local_api import LocalApi, delete, do_nothing
from tests.abserve.promotion.test_change import ignore, serve_all_but, split
from tests.abserve.seldon.documents import Document, document, predictor
from tests.abserve.telemetry.replica import Replica

V1 = Baseline("iris", "baseline", "iris", "v1", "s3://models/iris")
ALONE = document(predictor("baseline", "v1", traffic=100))
ROLLED_BACK = document(
    predictor("baseline", "v1", traffic=100), predictor("candidate", "v2", traffic=0)
)


def served(value: Document) -> Document:
    return {**value, "status": {"state": "Available", "observedGeneration": 3}}


def test_a_baseline_alone_has_room_for_a_candidate() -> None:
    assert find_baseline(served(ALONE), "iris") == V1
    assert V1.uri_of("v3") == "s3://models/iris/v3"


def test_a_candidate_that_was_rolled_back_leaves_room() -> None:
    assert find_baseline(served(ROLLED_BACK), "iris") == V1


def test_an_experiment_leaves_none() -> None:
    with pytest.raises(ManifestError, match="an experiment is going on"):
        find_baseline(document(), "iris")


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        ("s3://models/wine/v1", "iris"),
        ("s3://models/iris/latest", "iris"),
        ("s3://models/iris", "iris"),
        ("gs://iris", "iris"),
        ("", "iris"),
    ],
)
def test_what_is_no_version_of_the_model_is_refused(uri: str, model: str) -> None:
    value = document(predictor("baseline", "v1"))
    value["spec"]["predictors"][0]["graph"]["modelUri"] = uri
    with pytest.raises(ManifestError, match="expected a version of the model 'iris', such as s3:"):
        find_baseline(value, model)


@pytest.mark.parametrize(
    "scaling",
    [
        pytest.param({"hpaSpec": {"maxReplicas": 5}}, id="hpa"),
        pytest.param(
            {"kedaSpec": {"triggers": [{"type": "cpu", "metadata": {"value": "70"}}]}}, id="keda"
        ),
    ],
)
def test_a_baseline_that_is_scaled_by_its_own_load_leaves_none(scaling: dict[str, Any]) -> None:
    value = document(predictor("baseline", "v1", traffic=100))
    value["spec"]["predictors"][0]["componentSpecs"][0] |= scaling
    with pytest.raises(ManifestError, match="scale both by what they do together"):
        find_baseline(value, "iris")


def test_a_predictor_that_is_not_ready_and_stays_leaves_no_room(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("shadow")
    api.apply(
        document(predictor("baseline", "v1", traffic=100), predictor("shadow", "v2", shadow=True))
    )
    with pytest.raises(KubernetesError, match=r"shadow of .* is not ready \(0 of 1 replicas"):
        find_baseline(cluster.get("iris"), "iris")


def test_a_candidate_that_is_not_ready_is_replaced_and_leaves_room(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("candidate")
    api.apply(ROLLED_BACK)
    assert find_baseline(cluster.get("iris"), "iris") == V1


def test_a_candidate_is_added_in_one_change(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(ALONE)
    told: list[str] = []
    added = add_candidate(cluster, V1, "v3", 10, told.append, 5)
    assert split(added) == [("baseline", "v1", 90), ("candidate", "v3", 10)]
    assert added["status"]["state"] == "Available"
    assert told == ["making v3 the candidate, with 10 % of the requests"]
    assert len(api.generations) == 2


def test_a_candidate_of_the_same_version_gives_its_requests_back_before_it_is_replaced(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(
        document(predictor("baseline", "v1", traffic=50), predictor("candidate", "v1", traffic=50))
    )
    add_candidate(cluster, V1, "v3", 10, ignore, 5)
    assert [split(each) for each in api.generations] == [
        [("baseline", "v1", 50), ("candidate", "v1", 50)],
        [("baseline", "v1", 100), ("candidate", "v1", 0)],
        [("baseline", "v1", 90), ("candidate", "v3", 10)],
    ]


def test_what_has_begun_meanwhile_is_not_disturbed(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    with pytest.raises(ManifestError, match="an experiment is going on"):
        add_candidate(cluster, V1, "v3", 10, ignore, 5)
    assert len(api.generations) == 1


def test_a_version_that_does_not_come_to_serve_is_taken_out_again(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("candidate")
    api.apply(ALONE)
    with pytest.raises(
        KubernetesError,
        match=r"s3://models/iris/v3 did not come to serve \(.*it crashes\) and is taken out "
        "again; baseline serves v1 with all requests, as before",
    ):
        add_candidate(cluster, V1, "v3", 10, ignore, 5)
    assert split(cluster.get("iris")) == [("baseline", "v1", 100)]


def test_it_is_taken_out_even_if_the_operator_looks_at_nothing(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(ALONE)
    api.operator = do_nothing
    with pytest.raises(
        KubernetesError, match=r"after 1 s.* and is taken out .*, which is not in force yet either"
    ):
        add_candidate(cluster, V1, "v3", 10, ignore, 1)
    assert split(cluster.get("iris")) == [("baseline", "v1", 100)]


def test_if_it_cannot_be_taken_out_it_is_said_how(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(ALONE)
    api.operator = delete
    with pytest.raises(KubernetesError, match="'abserve rollback iris --remove' does that"):
        add_candidate(cluster, V1, "v3", 10, ignore, 5)


def test_drift_is_that_of_the_baselines_replicas(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(ROLLED_BACK)
    for name, n_rows, index in (("b-0", 300, 0.1), ("b-1", 100, 0.3)):
        replica = Replica("v1")
        replica.drift(n_rows, width=index)
        api.run_pod(name, "baseline", replica.text)
    candidate = Replica("v2")
    candidate.drift(500, "v2", width=9.0)
    api.run_pod("c-0", "candidate", candidate.text)
    api.run_pod("b-2", "baseline", None, ready=False)
    assert read_drift(cluster, V1) == Drift(400, {"width": pytest.approx(0.15)})


def test_replicas_that_answered_nothing_know_no_drift(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(ALONE)
    api.run_pod("b-0", "baseline", Replica("v1").text)
    assert read_drift(cluster, V1) is None


def test_few_rows_are_known_without_their_drift(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply(ALONE)
    replica = Replica("v1")
    replica.drift(40)
    api.run_pod("b-0", "baseline", replica.text)
    assert read_drift(cluster, V1) == Drift(40, {})
