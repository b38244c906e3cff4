from datetime import UTC, datetime, timedelta, timezone

import pytest

from abserve.seldon import PredictorState, build_status, state_of
from tests.abserve.seldon.documents import parsed

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = "http://127.0.0.1:8080/seldon/shop/iris/v2/models/iris/infer"
READY = [PredictorState("baseline", 2, 2), PredictorState("candidate", 1, 1)]
LOADING = [PredictorState("baseline", 2, 2), PredictorState("candidate", 0, 1, "loads")]
FAILED = [PredictorState("baseline", 2, 2), PredictorState("candidate", 0, 1, "no s3", True)]


def status(
    predictors: list[PredictorState],
    *,
    routed: bool = True,
    now: datetime = NOW,
    previous: dict | None = None,
) -> dict:
    return build_status(parsed(), predictors, url=URL, routed=routed, now=now, previous=previous)


def conditions(value: dict) -> dict[str, str]:
    return {each["type"]: each["status"] for each in value["conditions"]}


def condition(value: dict, name: str) -> dict[str, str]:
    (found,) = (each for each in value["conditions"] if each["type"] == name)
    return found


def times(value: dict) -> dict[str, str]:
    return {each["type"]: each["lastTransitionTime"] for each in value["conditions"]}


def test_what_answers_and_is_routed_is_available() -> None:
    assert status(READY) == {
        "state": "Available",
        "description": "",
        "deploymentStatus": {
            "iris-baseline-0-iris": {"replicas": 2, "availableReplicas": 2},
            "iris-candidate-0-iris": {"replicas": 1, "availableReplicas": 1},
        },
        "serviceStatus": {
            "iris-baseline": {"svcName": "iris-baseline"},
            "iris-candidate": {"svcName": "iris-candidate"},
        },
        "replicas": 2,
        "address": {"url": URL},
        "conditions": [
            {
                "type": "AmbassadorMappingsReady",
                "status": "True",
                "reason": "No Ambassador Mappaings defined",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "DeploymentsReady",
                "status": "True",
                "reason": "MinimumReplicasAvailable",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "HpasReady",
                "status": "True",
                "reason": "No HPAs defined",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "KedaReady",
                "status": "True",
                "reason": "No KEDA resources defined",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "PdbsReady",
                "status": "True",
                "reason": "No PDBs defined",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:04:05Z"},
            {
                "type": "ServicesReady",
                "status": "True",
                "reason": "All services created",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
            {
                "type": "istioVirtualServicesReady",
                "status": "True",
                "reason": "All VirtualServices created",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            },
        ],
        "observedGeneration": 3,
    }


def test_endpoints_are_told_where_they_are_known() -> None:
    states = [PredictorState("baseline", 1, 1, http="127.0.0.1:9000", grpc="127.0.0.1:9500")]
    assert status(states)["serviceStatus"]["iris-baseline"] == {
        "svcName": "iris-baseline",
        "httpEndpoint": "127.0.0.1:9000",
        "grpcEndpoint": "127.0.0.1:9500",
    }


def test_one_predictor_that_loads_keeps_all_creating_and_says_why() -> None:
    value = status(LOADING, routed=False)
    assert value["state"] == "Creating"
    assert value["description"] == "candidate: loads"
    assert conditions(value) == {
        "AmbassadorMappingsReady": "True",
        "DeploymentsReady": "False",
        "HpasReady": "True",
        "KedaReady": "True",
        "PdbsReady": "True",
        "Ready": "False",
        "ServicesReady": "True",
        "istioVirtualServicesReady": "False",
    }
    ready = condition(value, "Ready")
    assert ready["reason"] == "MinimumReplicasUnavailable"
    assert ready["message"] == "candidate: 0 of 1 replicas ready (loads)"


def test_ready_but_not_yet_routed_is_creating() -> None:
    value = status(READY, routed=False)
    assert value["state"] == "Creating"
    assert conditions(value)["Ready"] == "False"
    assert condition(value, "Ready")["reason"] == "Not all VirtualServices created"


def test_what_will_not_come_is_failed_and_says_why() -> None:
    value = status(FAILED)
    assert value["state"] == "Failed"
    assert value["description"] == (
        "Deployment is no longer progressing and not available. candidate: no s3"
    )
    assert condition(value, "DeploymentsReady")["reason"] == "ProgressDeadlineExceeded"


def test_a_predictor_nobody_reported_has_not_begun() -> None:
    value = status(READY[:1])
    assert value["state"] == "Creating"
    assert value["deploymentStatus"]["iris-candidate-0-iris"] == {
        "replicas": 1,
        "availableReplicas": 0,
    }


@pytest.mark.parametrize(
    ("ready_replicas", "replicas", "ready"),
    [(0, 0, False), (1, 2, False), (2, 2, True), (2, 1, True)],
)
def test_a_predictor_is_ready_when_all_its_replicas_are_and_there_is_one(
    ready_replicas: int, replicas: int, ready: bool
) -> None:
    assert PredictorState("a", ready_replicas, replicas).ready is ready


def test_a_failed_replica_beside_enough_ready_ones_fails_nothing() -> None:
    assert state_of([PredictorState("a", 1, 1, failed=True)], routed=True) == "Available"


def test_a_condition_that_did_not_change_keeps_its_time() -> None:
    before = status(LOADING)
    after = status(READY, now=NOW + timedelta(minutes=1), previous=before)
    changed = {name for name, time in times(after).items() if time == "2026-01-02T03:05:05Z"}
    assert changed == {"DeploymentsReady", "Ready"}
    kept = set(times(after).values()) - {"2026-01-02T03:05:05Z"}
    assert kept == {"2026-01-02T03:04:05Z"}


def test_times_are_told_in_utc() -> None:
    now = NOW.astimezone(timezone(timedelta(hours=2)))
    assert times(status(READY, now=now))["Ready"] == "2026-01-02T03:04:05Z"


def test_a_crash_loop_is_told_in_the_description_and_in_the_ready_condition() -> None:
    said = "CrashLoopBackOff in pod iris-0: the server exited with code 1, last said: no port"
    value = status([READY[0], PredictorState("candidate", 0, 1, said, True)])
    assert f"candidate: {said}" in value["description"]
    ready = next(each for each in value["conditions"] if each["type"] == "Ready")
    assert ready["status"] == "False"
    assert f"({said})" in ready["message"]
