from datetime import UTC, datetime
from typing import Any

import pytest

from abserve.cluster.api.kinds import CONFIG_MAP, EVENT, NAMESPACE, POD, SELDON_DEPLOYMENT, Kind
from abserve.cluster.api.tables import age, table
from tests.abserve.cluster.documents import config_map, namespace, pod, seldon_deployment

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def row(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of one object by column."""
    shown = table(kind, [document], NOW)
    names = [column["name"] for column in shown["columnDefinitions"]]
    return dict(zip(names, shown["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        ("2024-05-01T12:00:00Z", "0s"),
        ("2024-05-01T11:59:15Z", "45s"),
        ("2024-05-01T11:58:01Z", "119s"),
        ("2024-05-01T11:58:00Z", "2m"),
        ("2024-05-01T10:00:01Z", "119m"),
        ("2024-05-01T10:00:00Z", "2h"),
        ("2024-04-29T12:00:01Z", "47h"),
        ("2024-04-29T12:00:00Z", "2d"),
        ("2023-05-01T12:00:00Z", "366d"),
        ("2024-05-01T12:00:07Z", "0s"),
        (None, "<unknown>"),
    ],
)
def test_age_is_told_in_the_largest_unit_that_fits(timestamp: str | None, expected: str) -> None:
    assert age(timestamp, NOW) == expected


def test_a_seldon_deployment_shows_state_and_weights() -> None:
    document = seldon_deployment(creationTimestamp="2024-05-01T11:55:00Z")
    document["status"] = {"state": "Available", "description": "all is well"}
    assert row(SELDON_DEPLOYMENT, document) == {
        "Name": "iris",
        "State": "Available",
        "Predictors": "baseline 90%, candidate 10%",
        "Message": "all is well",
        "Age": "5m",
    }


def test_what_has_no_status_yet_shows_none() -> None:
    assert row(SELDON_DEPLOYMENT, seldon_deployment())["State"] == ""


def test_a_lone_predictor_takes_all_traffic() -> None:
    document = seldon_deployment()
    document["spec"]["predictors"] = [{"name": "baseline"}]
    assert row(SELDON_DEPLOYMENT, document)["Predictors"] == "baseline 100%"


@pytest.mark.parametrize(("traffic", "share"), [({"traffic": 25}, "25%"), ({}, "100%")])
def test_a_shadow_is_shown_as_one(traffic: dict, share: str) -> None:
    document = seldon_deployment()
    document["spec"]["predictors"] = [
        {"name": "baseline", "traffic": 100},
        {"name": "candidate", "shadow": True, **traffic},
    ]
    shown = row(SELDON_DEPLOYMENT, document)["Predictors"]
    assert shown == f"baseline 100%, candidate shadow {share}"


def test_a_baseline_beside_a_shadow_alone_takes_all_traffic() -> None:
    document = seldon_deployment()
    document["spec"]["predictors"] = [{"name": "baseline"}, {"name": "candidate", "shadow": True}]
    shown = row(SELDON_DEPLOYMENT, document)["Predictors"]
    assert shown == "baseline 100%, candidate shadow 100%"


def test_a_pod_shows_readiness_and_restarts() -> None:
    assert row(POD, pod("iris-0")) == {
        "Name": "iris-0",
        "Ready": "1/1",
        "Status": "Running",
        "Restarts": "2",
        "Message": "",
        "Age": "<unknown>",
    }


def test_a_pod_without_containers_is_pending() -> None:
    shown = row(POD, {**pod("iris-0"), "status": {}})
    assert (shown["Ready"], shown["Status"], shown["Restarts"]) == ("0/1", "Pending", "0")


def test_a_namespace_shows_its_phase() -> None:
    assert (
        row(NAMESPACE, {**namespace("shop"), "status": {"phase": "Active"}})["Status"] == "Active"
    )


def test_an_event_shows_what_happened_to_what() -> None:
    event = {
        "metadata": {"name": "iris.1"},
        "type": "Warning",
        "reason": "Failed",
        "message": "no files",
        "involvedObject": {"kind": "SeldonDeployment", "name": "iris"},
    }
    shown = row(EVENT, event)
    assert shown["Object"] == "seldondeployment/iris"
    assert (shown["Type"], shown["Reason"], shown["Message"]) == ("Warning", "Failed", "no files")


def test_other_kinds_show_name_and_age() -> None:
    assert list(row(CONFIG_MAP, config_map("gateway"))) == ["Name", "Age"]


def test_only_a_wide_table_shows_messages() -> None:
    columns = table(SELDON_DEPLOYMENT, [], NOW)["columnDefinitions"]
    assert [column["name"] for column in columns if column["priority"]] == ["Message"]


def test_each_row_names_its_object() -> None:
    shown = table(SELDON_DEPLOYMENT, [seldon_deployment(uid="7")], NOW)
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert shown["rows"][0]["object"]["metadata"]["uid"] == "7"
