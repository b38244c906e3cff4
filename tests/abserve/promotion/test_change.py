import datetime as dt
from typing import Any

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import SELDON_DEPLOYMENT
from abserve.errors import KubernetesError, ManifestError
from abserve.promotion import Kubernetes, promote, roll_back, set_weights
from abserve.seldon import PredictorState, build_status
from abserve.weights import Weights
from tests.abserve.promotion.local_api import LocalApi, Operator, delete, do_nothing, fail
from tests.abserve.seldon.documents import Document, document, parsed, predictor

HALF = Weights({"baseline": 50, "candidate": 50})


def split(deployment: Document) -> list[tuple[str, str, int]]:
    """Return name, version and weight of each predictor."""
    return [
        (each["name"], each["graph"]["modelUri"].rpartition("/")[2], each["traffic"])
        for each in deployment["spec"]["predictors"]
    ]


def ignore(_: str) -> None:
    pass


def serve_all_but(*names: str, n_ready: int = 0, n_replicas: int = 1) -> Operator:
    """Return an operator under which these predictors crash, and the others are ready."""

    def operate(store: Store, changed: Document) -> None:
        deployment = parsed(changed)
        states = [
            PredictorState(each.name, n_ready, n_replicas, "it crashes", failed=True)
            if each.name in names
            else PredictorState(each.name, 1, 1)
            for each in deployment.spec.predictors
        ]
        ready = all(state.ready for state in states)
        status = build_status(deployment, states, url="", routed=ready, now=dt.datetime.now(dt.UTC))
        store.update(SELDON_DEPLOYMENT, {**changed, "status": status})

    return operate


THREE_AND_SHADOW = document(
    predictor("other", "v3", traffic=20),
    predictor("baseline", "v1", traffic=50),
    predictor("shadow", "v4", traffic=7, shadow=True),
    predictor("candidate", "v2", traffic=30),
)


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


def test_a_candidate_that_is_not_ready_is_not_promoted_and_nothing_is_changed(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("candidate")
    api.apply()
    with pytest.raises(
        KubernetesError,
        match=r"candidate .* is not ready \(0 of 1 replicas ready: it crashes\).*abserve rollback",
    ):
        promote(cluster, "iris", ignore, 5)
    assert cluster.get("iris")["metadata"]["generation"] == 1


def test_a_rollback_gives_the_baseline_all_requests_and_leaves_the_candidate(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply()
    rolled_back = roll_back(cluster, "iris", ignore, 5)
    assert split(rolled_back) == [("baseline", "v1", 100), ("candidate", "v2", 0)]
    assert rolled_back["status"]["observedGeneration"] == 2


def test_a_rollback_removes_the_candidate_if_asked_to(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    assert split(roll_back(cluster, "iris", ignore, 5, remove=True)) == [("baseline", "v1", 100)]


def test_a_candidate_that_is_not_ready_is_removed_in_the_change_that_rolls_back(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("candidate")
    api.apply()
    told: list[str] = []
    roll_back(cluster, "iris", told.append, 5)
    assert [split(each) for each in api.generations] == [
        [("baseline", "v1", 90), ("candidate", "v2", 10)],
        [("baseline", "v1", 100)],
    ]
    assert told == ["sending all requests to baseline and removing candidate"]


def test_a_candidate_with_too_few_replicas_is_removed_too(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("candidate", n_ready=1, n_replicas=2)
    api.apply()
    assert split(roll_back(cluster, "iris", ignore, 5)) == [("baseline", "v1", 100)]


def test_a_candidate_that_the_operator_has_not_looked_at_is_removed_once_it_turns_out_not_ready(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but()
    api.apply()
    api.operator = serve_all_but("candidate")
    told: list[str] = []
    roll_back(cluster, "iris", told.append, 5)
    assert [split(each) for each in api.generations[1:]] == [
        [("baseline", "v1", 100), ("candidate", "v2", 0)],
        [("baseline", "v1", 100)],
    ]
    assert told == [
        "sending all requests to baseline",
        "sending all requests to baseline and removing candidate",
    ]


@pytest.mark.parametrize("crashing", [("candidate",), ()], ids=["removed", "left at 0"])
def test_what_is_rolled_back_stays_as_it_is(
    crashing: tuple[str, ...], api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but(*crashing)
    api.apply()
    once = roll_back(cluster, "iris", ignore, 5)
    told: list[str] = []
    assert roll_back(cluster, "iris", told.append, 5) == once
    assert told == ["all requests go to baseline already"]


def test_a_candidate_left_at_0_can_be_removed_later(api: LocalApi, cluster: Kubernetes) -> None:
    api.apply()
    roll_back(cluster, "iris", ignore, 5)
    assert split(roll_back(cluster, "iris", ignore, 5, remove=True)) == [("baseline", "v1", 100)]


def test_a_rollback_leaves_other_variants_without_requests_and_the_shadow_its_copies(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(THREE_AND_SHADOW)
    assert split(roll_back(cluster, "iris", ignore, 5)) == [
        ("other", "v3", 0),
        ("baseline", "v1", 100),
        ("shadow", "v4", 7),
        ("candidate", "v2", 0),
    ]


def test_a_rollback_removes_whatever_holds_it_up(api: LocalApi, cluster: Kubernetes) -> None:
    api.operator = serve_all_but("other", "shadow")
    api.apply(THREE_AND_SHADOW)
    assert split(roll_back(cluster, "iris", ignore, 5)) == [
        ("baseline", "v1", 100),
        ("candidate", "v2", 0),
    ]


def test_a_rollback_to_a_baseline_without_a_ready_replica_is_refused(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("baseline", "candidate")
    api.apply()
    with pytest.raises(
        KubernetesError,
        match=r"baseline .* cannot take the requests \(0 of 1 replicas ready: it crashes\)",
    ):
        roll_back(cluster, "iris", ignore, 5)
    assert cluster.get("iris")["metadata"]["generation"] == 1


def test_a_rollback_to_a_baseline_that_lacks_a_replica_waits_for_it(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but("baseline", n_ready=1, n_replicas=2)
    api.apply()
    with pytest.raises(KubernetesError, match="it crashes"):
        roll_back(cluster, "iris", ignore, 5)
    api.operator = serve_all_but()
    assert split(roll_back(cluster, "iris", ignore, 5, remove=True)) == [("baseline", "v1", 100)]


@pytest.mark.parametrize(
    ("left", "serves"),
    [
        (
            document(
                predictor("baseline", "v1", traffic=0), predictor("candidate", "v2", traffic=100)
            ),
            "v1",
        ),
        (
            document(
                predictor("baseline", "v2", traffic=0), predictor("candidate", "v2", traffic=100)
            ),
            "v2",
        ),
    ],
    ids=["after the first step", "after the second step"],
)
def test_a_promotion_that_was_interrupted_can_be_rolled_back_to_what_the_baseline_serves_then(
    left: Document, serves: str, api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(left)
    rolled_back = roll_back(cluster, "iris", ignore, 5)
    assert split(rolled_back) == [("baseline", serves, 100), ("candidate", "v2", 0)]


def test_a_candidate_alone_has_nothing_to_be_rolled_back_to(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.apply(document(predictor("candidate", "v2", traffic=100)))
    with pytest.raises(ManifestError, match=r"nothing to roll back to: .* only the predictor"):
        roll_back(cluster, "iris", ignore, 5, remove=True)


def test_a_rollback_that_the_cluster_does_not_serve_in_time_is_an_error(
    api: LocalApi, cluster: Kubernetes
) -> None:
    api.operator = serve_all_but()
    api.apply()
    api.operator = do_nothing
    with pytest.raises(KubernetesError, match="'iris' is not Available as changed, after 1 s"):
        roll_back(cluster, "iris", ignore, 1)
