from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from abserve.cluster.api.kinds import (
    CONFIG_MAP,
    EVENT,
    KINDS,
    NAMESPACE,
    POD,
    SECRET,
    SELDON_DEPLOYMENT,
    SERVICE,
    Kind,
)
from abserve.cluster.api.status import ApiError
from abserve.cluster.api.tables import age, included, table
from abserve.cluster.own_objects import gateway_service
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import config_map, namespace, pod, secret, seldon_deployment
from tests.abserve.seldon.documents import predictor

NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def row(kind: Kind, document: dict[str, Any]) -> dict[str, Any]:
    """Return the cells of one object by column."""
    shown = table(kind, [document], NOW)
    names = [column["name"] for column in shown["columnDefinitions"]]
    return dict(zip(names, shown["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0s"),
        (45, "45s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (659, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (53 * 3600, "2d5h"),
        (9 * 86_400 + 3600, "9d"),
        (2 * 365 * 86_400, "2y"),
        (2 * 365 * 86_400 + 86_400, "2y1d"),
        (9 * 365 * 86_400, "9y"),
        (-7, "0s"),
    ],
)
def test_age_is_told_as_kubectl_tells_it(seconds: int, expected: str) -> None:
    timestamp = (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert age(timestamp, NOW) == expected


def test_the_age_of_what_has_no_time_is_unknown() -> None:
    assert age(None, NOW) == "<unknown>"


def test_a_seldon_deployment_shows_what_serves_and_how_much_of_it() -> None:
    document = seldon_deployment(creationTimestamp="2024-05-01T11:55:00Z")
    document["spec"]["predictors"][0]["replicas"] = 2
    document["status"] = {
        "state": "Available",
        "description": "all is well",
        "deploymentStatus": {
            "iris-baseline-0-iris": {"replicas": 2, "availableReplicas": 1},
            "iris-candidate-0-iris": {"replicas": 1, "availableReplicas": 1},
        },
    }
    assert row(SELDON_DEPLOYMENT, document) == {
        "Name": "iris",
        "State": "Available",
        "Predictors": "baseline 90%, candidate 10%",
        "Age": "5m",
        "Replicas": "1/2, 1/1",
        "Versions": "v1, v2",
        "Message": "all is well",
    }


def test_what_has_no_status_yet_shows_none() -> None:
    shown = row(SELDON_DEPLOYMENT, seldon_deployment())
    assert (shown["State"], shown["Replicas"]) == ("", "0/1, 0/1")


def test_a_prepackaged_server_is_counted_though_its_pods_are_not_written() -> None:
    document = seldon_deployment()
    only = document["spec"]["predictors"][0]
    only["graph"]["implementation"] = "SKLEARN_SERVER"
    del only["componentSpecs"]
    document["spec"]["predictors"] = [only]
    document["status"] = {"deploymentStatus": {"iris-baseline-0-iris": {"availableReplicas": 1}}}
    assert row(SELDON_DEPLOYMENT, document)["Replicas"] == "1/1"


def test_a_lone_predictor_takes_all_traffic() -> None:
    document = seldon_deployment()
    del document["spec"]["predictors"][1]
    assert row(SELDON_DEPLOYMENT, document)["Predictors"] == "baseline 100%"


def test_a_version_that_is_not_named_is_shown_as_none() -> None:
    document = seldon_deployment()
    del document["spec"]["predictors"][1]["graph"]["modelUri"]
    document["spec"]["predictors"][0]["graph"]["modelUri"] = "s3://models/iris/v7/"
    assert row(SELDON_DEPLOYMENT, document)["Versions"] == "v7, <none>"


@pytest.mark.parametrize(("traffic", "share"), [({"traffic": 25}, "25%"), ({}, "100%")])
def test_a_shadow_is_shown_as_one(traffic: dict, share: str) -> None:
    document = seldon_deployment()
    document["spec"]["predictors"] = [
        predictor("baseline", "v1", traffic=100),
        predictor("candidate", "v2", shadow=True, **traffic),
    ]
    shown = row(SELDON_DEPLOYMENT, document)["Predictors"]
    assert shown == f"baseline 100%, candidate shadow {share}"


def test_a_baseline_beside_a_shadow_alone_takes_all_traffic() -> None:
    document = seldon_deployment()
    document["spec"]["predictors"] = [
        predictor("baseline", "v1"),
        predictor("candidate", "v2", shadow=True),
    ]
    shown = row(SELDON_DEPLOYMENT, document)["Predictors"]
    assert shown == "baseline 100%, candidate shadow 100%"


def test_a_pod_shows_readiness_restarts_and_where_it_listens() -> None:
    document = pod("iris-0")
    document["metadata"]["labels"] = {"version": "baseline"}
    ports = [{"name": "http", "containerPort": 9000}, {"name": "grpc", "containerPort": 9500}]
    document["spec"] = {"containers": [{"name": "iris", "ports": ports}]}
    assert row(POD, document) == {
        "Name": "iris-0",
        "Ready": "1/1",
        "Status": "Running",
        "Restarts": "2",
        "Age": "<unknown>",
        "Predictor": "baseline",
        "Ports": "http 9000, grpc 9500",
        "Message": "",
    }


def test_a_pod_without_containers_is_pending() -> None:
    shown = row(POD, {**pod("iris-0"), "status": {}})
    assert (shown["Ready"], shown["Status"], shown["Restarts"]) == ("0/1", "Pending", "0")
    assert shown["Ports"] == "<none>"


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ({"running": {}}, "Init:0/1"),
        ({"waiting": {"reason": "PodInitializing"}}, "Init:0/1"),
        ({"waiting": {"reason": "CrashLoopBackOff"}}, "Init:CrashLoopBackOff"),
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "Init:Error"),
        ({"terminated": {"exitCode": 0, "reason": "Completed"}}, "Running"),
    ],
)
def test_a_pod_shows_how_far_its_copy_is(state: dict[str, Any], shown: str) -> None:
    document = pod("iris-0")
    document["status"]["initContainerStatuses"] = [{"name": "copy", "state": state}]
    assert row(POD, document)["Status"] == shown


def test_a_pod_shows_when_it_was_started_anew() -> None:
    document = pod("iris-0")
    ended = {"exitCode": 137, "finishedAt": "2024-05-01T11:55:00Z"}
    document["status"]["containerStatuses"][0]["lastState"] = {"terminated": ended}
    assert row(POD, document)["Restarts"] == "2 (5m ago)"


@pytest.mark.parametrize("state", ["waiting", "terminated"])
def test_a_pod_shows_why_its_container_does_not_run(state: str) -> None:
    document = pod("iris-0")
    document["status"]["containerStatuses"][0]["state"] = {state: {"reason": "CrashLoopBackOff"}}
    assert row(POD, document)["Status"] == "CrashLoopBackOff"


def test_a_pod_that_is_told_to_go_is_terminating() -> None:
    document = pod("iris-0")
    document["metadata"]["deletionTimestamp"] = "2024-05-01T11:59:00Z"
    assert row(POD, document)["Status"] == "Terminating"


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
        "source": {"component": "abserve"},
        "firstTimestamp": "2024-05-01T11:00:00Z",
        "lastTimestamp": "2024-05-01T11:59:30Z",
        "count": 3,
    }
    assert row(EVENT, event) == {
        "Last Seen": "30s",
        "Type": "Warning",
        "Reason": "Failed",
        "Object": "seldondeployment/iris",
        "Source": "abserve",
        "Message": "no files",
        "First Seen": "60m",
        "Count": "3",
        "Name": "iris.1",
    }


def test_a_secret_shows_how_many_values_it_has_and_none_of_them() -> None:
    shown = row(SECRET, {**secret(a="c2VzYW1l", b="Yg=="), "type": "Opaque"})
    assert (shown["Type"], shown["Data"]) == ("Opaque", "2")
    assert "c2VzYW1l" not in str(table(SECRET, [secret(a="c2VzYW1l")], NOW))


def test_a_config_map_shows_how_many_values_it_has() -> None:
    document = {**config_map("colours"), "binaryData": {"picture": "Yg=="}}
    assert row(CONFIG_MAP, document)["Data"] == "2"


def test_a_service_shows_where_it_is_reached() -> None:
    shown = row(SERVICE, gateway_service("http://localhost:8080"))
    assert (shown["External-IP"], shown["Port(s)"]) == ("localhost", "8080/TCP")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_kind_has_a_table(kind: Kind) -> None:
    titles = [column["name"] for column in table(kind, [], NOW)["columnDefinitions"]]
    assert "Name" in titles


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        (SELDON_DEPLOYMENT, ["Replicas", "Versions", "Message"]),
        (POD, ["Predictor", "Ports", "Message"]),
        (EVENT, ["Source", "First Seen", "Count", "Name"]),
        (NAMESPACE, []),
    ],
)
def test_only_a_wide_table_shows_more(kind: Kind, titles: list[str]) -> None:
    columns = table(kind, [], NOW)["columnDefinitions"]
    assert [column["name"] for column in columns if column["priority"]] == titles


def test_each_row_names_its_object() -> None:
    shown = table(SELDON_DEPLOYMENT, [seldon_deployment(uid="7")], NOW)
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert shown["rows"][0]["object"]["metadata"]["uid"] == "7"


def test_a_row_can_hold_its_whole_object() -> None:
    document = seldon_deployment()
    assert table(SELDON_DEPLOYMENT, [document], NOW, "Object")["rows"][0]["object"] == document


def test_a_row_can_hold_nothing_but_its_cells() -> None:
    assert set(table(SELDON_DEPLOYMENT, [seldon_deployment()], NOW, "None")["rows"][0]) == {"cells"}


@pytest.mark.parametrize(
    ("text", "expected"), [("", "Metadata"), ("Metadata", "Metadata"), ("Object", "Object")]
)
def test_what_a_row_holds_is_read_from_the_request(text: str, expected: str) -> None:
    assert included(text) == expected


def test_a_row_cannot_hold_what_nobody_knows() -> None:
    with pytest.raises(ApiError, match="'Everything'; expected Metadata, Object or None"):
        included("Everything")


# As they are asked for.

SECRETS = "/api/v1/namespaces/default/secrets"


@pytest.mark.parametrize("path", [SECRETS, f"{SECRETS}/key"])
async def test_a_row_holds_as_much_as_the_request_says(client: Client, path: str) -> None:
    stored = (await client.post(SECRETS, secret(a="c2VzYW1l"))).json
    (shown,) = (await client.table(path, includeObject="Object")).json["rows"]
    assert shown["object"] == stored
    (shown,) = (await client.table(path)).json["rows"]
    assert shown["object"]["kind"] == "PartialObjectMetadata"


@pytest.mark.parametrize("query", [{}, {"watch": "true"}])
async def test_a_table_of_what_nobody_knows_is_a_bad_request(
    client: Client, query: dict[str, str]
) -> None:
    answer = await client.table(SECRETS, includeObject="All", **query)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")


async def test_a_list_is_whole_however_long_a_page_should_be(client: Client) -> None:
    for name in ("a", "b", "c"):
        await client.post(SECRETS, secret(name))
    listed = (await client.get(SECRETS, limit="1")).json
    assert [each["metadata"]["name"] for each in listed["items"]] == ["a", "b", "c"]
    assert "continue" not in listed["metadata"]


@pytest.mark.parametrize("query", [{"limit": "many"}, {"limit": "-1"}, {"continue": "abc"}])
async def test_a_page_that_cannot_be_had_is_a_bad_request(
    client: Client, query: dict[str, str]
) -> None:
    answer = await client.get(SECRETS, **query)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")
