"""The status and the scale of an object, each by itself."""

from typing import Any

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import SELDON_DEPLOYMENT
from tests.abserve.cluster.api.writes import IRIS, SDEPS, apply, owned
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import seldon_deployment


@pytest.fixture
async def iris(client: Client) -> dict[str, Any]:
    """The SeldonDeployment iris, as stored."""
    return (await client.post(SDEPS, seldon_deployment())).json


async def test_the_status_can_be_written_by_itself(client: Client, iris: dict) -> None:
    iris["status"] = {"state": "Failed"}
    iris["spec"]["replicas"] = 7
    iris["metadata"]["labels"] = {"a": "b"}
    answer = await client.put(f"{IRIS}/status", iris, fieldManager="bert")
    assert answer.code == 200
    assert answer.json["status"] == {"state": "Failed"}
    assert "replicas" not in answer.json["spec"]
    assert "labels" not in answer.json["metadata"]
    assert answer.json["metadata"]["generation"] == 1
    assert owned(answer.json)["bert status"] == {"f:status": {".": {}, "f:state": {}}}


async def test_the_status_can_be_patched(client: Client, iris: dict) -> None:
    patch = {"status": {"description": "x"}, "spec": {"replicas": 7}}
    answer = await client.patch(f"{IRIS}/status", patch)
    assert (answer.json["status"], answer.json["spec"]) == ({"description": "x"}, iris["spec"])


async def test_the_status_can_be_applied(client: Client, iris: dict) -> None:
    body = {"metadata": {"name": "iris"}, "status": {"state": "Failed"}}
    assert (await apply(client, f"{IRIS}/status", body)).json["status"] == {"state": "Failed"}
    body = {"metadata": {"name": "iris"}, "status": {"replicas": 1}}
    answer = await apply(client, f"{IRIS}/status", body)
    assert answer.json["status"] == {"replicas": 1}
    assert answer.json["spec"] == iris["spec"]


async def test_an_apply_leaves_the_status_alone(client: Client, store: Store) -> None:
    made = (await apply(client, IRIS, seldon_deployment())).json
    store.update(SELDON_DEPLOYMENT, {**made, "status": {"state": "Available"}})
    forged = {**seldon_deployment(labels={"a": "b"}), "status": {"state": "Failed"}}
    answer = await apply(client, IRIS, forged)
    assert answer.json["status"] == {"state": "Available"}
    assert "f:status" not in owned(answer.json)["anna applies"]


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"state": 5}, "status.state"),
        ({"stat": "x"}, "status.stat"),
        ({"conditions": [{"type": "Ready"}]}, "status.conditions[0].status"),
    ],
)
async def test_a_status_that_is_none_is_refused(
    client: Client, iris: dict, status: Any, field: str
) -> None:
    answer = await client.patch(f"{IRIS}/status", {"status": status})
    assert answer.code == 422
    assert [each["field"] for each in answer.json["details"]["causes"]] == [field]


@pytest.mark.parametrize("part", ["status", "scale"])
async def test_parts_of_what_does_not_exist_cannot_be_applied(client: Client, part: str) -> None:
    body = {"metadata": {"name": "iris"}, "spec": {"replicas": 1}}
    assert (await apply(client, f"{IRIS}/{part}", body)).code == 404


async def test_scaling_sets_the_replicas_and_nothing_else(client: Client, iris: dict) -> None:
    answer = await client.patch(f"{IRIS}/scale", {"spec": {"replicas": 2}}, fieldManager="bert")
    assert answer.code == 200
    assert (answer.json["kind"], answer.json["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert answer.json["spec"] == {"replicas": 2}
    stored = (await client.get(IRIS)).json
    assert stored["spec"] == {**iris["spec"], "replicas": 2}
    assert owned(stored)["bert scale"] == {"f:spec": {"f:replicas": {}}}


async def test_the_scale_tells_wanted_and_ready_replicas(
    client: Client, store: Store, iris: dict
) -> None:
    iris["spec"]["replicas"] = 3
    store.update(SELDON_DEPLOYMENT, {**iris, "status": {"replicas": 1}})
    scale = (await client.get(f"{IRIS}/scale")).json
    assert (scale["spec"], scale["status"]) == ({"replicas": 3}, {"replicas": 1})
    assert scale["metadata"]["uid"] == iris["metadata"]["uid"]


async def test_a_scale_can_be_replaced_and_applied(client: Client, iris: dict) -> None:
    body = {"metadata": {"name": "iris"}, "spec": {"replicas": 0}}
    assert (await client.put(f"{IRIS}/scale", body)).json["spec"] == {"replicas": 0}
    body["spec"] = {"replicas": 4}
    answer = await apply(client, f"{IRIS}/scale", body, force="true")
    assert answer.json["spec"] == {"replicas": 4}


async def test_an_old_version_of_a_scale_is_a_conflict(client: Client, iris: dict) -> None:
    await client.patch(f"{IRIS}/scale", {"spec": {"replicas": 2}})
    old = {"metadata": iris["metadata"], "spec": {"replicas": 5}}
    assert (await client.put(f"{IRIS}/scale", old)).code == 409


async def test_there_is_no_scale_to_be_read_where_nothing_says_how_many(
    client: Client, iris: dict
) -> None:
    answer = await client.get(f"{IRIS}/scale")
    assert answer.code == 404
    assert "kubectl scale sdep iris --replicas=1" in answer.json["message"]


@pytest.mark.parametrize("replicas", [-1, "2", 1.5, True, None, 2**31])
async def test_replicas_that_are_no_number_of_pods_are_refused(
    client: Client, iris: dict, replicas: Any
) -> None:
    body = {"metadata": {"name": "iris"}, "spec": {"replicas": replicas}}
    answer = await client.put(f"{IRIS}/scale", body)
    assert answer.code == 422
    assert answer.json["details"]["causes"][0]["field"] == "spec.replicas"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "Deployment", "spec": {"replicas": 1}},
        {"apiVersion": "v1", "spec": {"replicas": 1}},
        {"metadata": {"name": "wine"}, "spec": {"replicas": 1}},
        {"metadata": {"namespace": "shop"}, "spec": {"replicas": 1}},
        {"metadata": "iris", "spec": {"replicas": 1}},
    ],
)
async def test_a_scale_of_something_else_is_refused(client: Client, iris: dict, body: Any) -> None:
    assert (await client.put(f"{IRIS}/scale", body)).code == 400
