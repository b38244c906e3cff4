from typing import Any

import pytest

from tests.abserve.cluster.asgi import Client

SELDON = "machinelearning.seldon.io"
ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
RULES = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def may(client: Client, **attributes: str) -> dict[str, Any]:
    answer = await client.post(ACCESS, {"spec": {"resourceAttributes": attributes}})
    assert answer.code == 201
    return dict(answer.json["status"])


@pytest.mark.parametrize(
    "attributes",
    [
        {"verb": "create", "group": SELDON, "resource": "seldondeployments"},
        {"verb": "patch", "group": SELDON, "resource": "seldondeployments", "subresource": "scale"},
        {"verb": "delete", "resource": "secrets", "namespace": "shop", "name": "key"},
        {"verb": "get", "resource": "pods", "subresource": "log"},
        {"verb": "*", "group": "*", "resource": "*"},
    ],
)
async def test_whoever_holds_the_token_may_do_all_there_is(
    client: Client, attributes: dict[str, str]
) -> None:
    assert await may(client, **attributes) == {"allowed": True}


@pytest.mark.parametrize(
    "attributes",
    [
        {"verb": "create", "resource": "pods"},
        {"verb": "get", "group": "apps", "resource": "deployments"},
        {"verb": "create", "resource": "seldondeployments"},
        {},
    ],
)
async def test_nobody_may_do_what_there_is_not(client: Client, attributes: dict[str, str]) -> None:
    status = await may(client, **attributes)
    assert status["allowed"] is False
    assert "the local cluster has no" in status["reason"]


@pytest.mark.parametrize(("verb", "allowed"), [("get", True), ("delete", False)])
async def test_paths_without_objects_can_be_read(client: Client, verb: str, allowed: bool) -> None:
    spec = {"nonResourceAttributes": {"path": "/version", "verb": verb}}
    answer = await client.post(ACCESS, {"spec": spec})
    assert answer.json["status"]["allowed"] is allowed


async def test_the_rules_list_all_there_is(client: Client) -> None:
    status = (await client.post(RULES, {"spec": {"namespace": "default"}})).json["status"]
    found = {
        (*each["apiGroups"], *each["resources"]): each["verbs"] for each in status["resourceRules"]
    }
    assert found[SELDON, "seldondeployments/scale"] == ["get", "patch", "update"]
    assert "create" in found["", "secrets"]


async def test_whoever_asks_is_told_who_they_are(client: Client) -> None:
    user = (await client.post(WHO, {})).json["status"]["userInfo"]
    assert user["username"] == "abserve"


@pytest.mark.parametrize(
    "body", [{}, {"spec": []}, {"spec": {}}, {"spec": {"resourceAttributes": 5}}]
)
async def test_a_review_of_nothing_is_a_bad_request(client: Client, body: Any) -> None:
    assert (await client.post(ACCESS, body)).code == 400
