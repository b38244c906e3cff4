from typing import Any

import pytest

from abserve.errors import KubernetesError, ManifestError
from abserve.promotion import Kubernetes, promote, set_weights
from abserve.weights import Weights
from tests.abserve.promotion.local_api import LocalApi, delete, do_nothing, fail
from tests.abserve.seldon.documents import Document, document, predictor

HALF = Weights({"baseline": 50, "candidate": 50})


def split(deployment: Document) -> list[tuple[str, str, int]]:
    """Return name, version and weight of each predictor."""
    return [
        (each["name"], each["graph"]["modelUri"].rpartition("/")[2], each["traffic"])
        for each in deployment["spec"]["predictors"]
    ]


def ignore(_: str) -> None:
    pass


def test_new_weights_are_in_force_when_the_change_returns(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    changed = set_weights(cluster, "iris", HALF, 5)
    assert split(changed) == [("baseline", "v1", 50), ("candidate", "v2", 50)]
    assert changed["status"] == {
        "state": "Available",
        "description": "",
        "observedGeneration": 2,
    }


def test_weights_it_already_has_change_nothing(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    same = set_weights(cluster, "iris", Weights({"baseline": 90, "candidate": 10}), 5)
    assert same["metadata"]["generation"] == 1


def test_weights_of_other_variants_are_refused(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    with pytest.raises(ManifestError, match="expected one for each of baseline, candidate"):
        set_weights(cluster, "iris", Weights({"baseline": 100}), 5)


def test_weights_of_what_is_not_there_are_refused(cluster: Kubernetes) -> None:
    with pytest.raises(KubernetesError, match="no SeldonDeployment 'iris'"):
        set_weights(cluster, "iris", HALF, 5)


def test_weights_that_are_not_in_force_in_time_are_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.operator = do_nothing
    with pytest.raises(KubernetesError, match="'iris' is not Available as changed, after 1 s"):
        set_weights(cluster, "iris", HALF, 1)


def test_weights_that_the_operator_cannot_serve_are_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.operator = fail
    with pytest.raises(KubernetesError, match="'iris' failed: candidate: no such bucket"):
        set_weights(cluster, "iris", HALF, 5)


def test_weights_of_what_is_deleted_meanwhile_are_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.operator = delete
    with pytest.raises(KubernetesError, match=r"deleted meanwhile|no SeldonDeployment 'iris'"):
        set_weights(cluster, "iris", HALF, 5)


def test_a_promotion_is_three_changes_each_in_force_before_the_next(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    promote(cluster, "iris", ignore, 5)
    assert [split(each) for each in api.generations] == [
        [("baseline", "v1", 90), ("candidate", "v2", 10)],
        [("baseline", "v1", 0), ("candidate", "v2", 100)],
        [("baseline", "v2", 0), ("candidate", "v2", 100)],
        [("baseline", "v2", 100)],
    ]


def test_a_promotion_returns_what_serves_then(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    promoted = promote(cluster, "iris", ignore, 5)
    assert split(promoted) == [("baseline", "v2", 100)]
    assert promoted["status"]["state"] == "Available"


def test_each_step_of_a_promotion_is_told_before_it_begins(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    told: list[tuple[str, Any]] = []
    promote(cluster, "iris", lambda step: told.append((step, len(api.generations))), 5)
    assert told == [
        ("sending all requests to candidate", 1),
        ("giving baseline the version of candidate", 2),
        ("sending all requests to baseline and removing candidate", 3),
    ]


def test_without_a_candidate_there_is_nothing_to_promote(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(document(predictor("baseline", "v1", traffic=100)))
    with pytest.raises(ManifestError, match="nothing to promote"):
        promote(cluster, "iris", ignore, 5)


def test_a_candidate_that_fails_with_all_requests_ends_the_promotion(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    api.operator = fail
    with pytest.raises(KubernetesError, match="'iris' failed"):
        promote(cluster, "iris", ignore, 5)
    assert split(api.generations[-1]) == [("baseline", "v1", 0), ("candidate", "v2", 100)]


@pytest.mark.parametrize(
    "left",
    [
        document(predictor("baseline", "v1", traffic=0), predictor("candidate", "v2", traffic=100)),
        document(predictor("baseline", "v2", traffic=0), predictor("candidate", "v2", traffic=100)),
    ],
    ids=["after the first step", "after the second step"],
)
def test_a_promotion_that_was_interrupted_goes_on_when_it_is_run_again(
    left: Document, api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(left)
    assert split(promote(cluster, "iris", ignore, 5)) == [("baseline", "v2", 100)]
