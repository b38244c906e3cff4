import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import POD
from tests.abserve.cluster.asgi import Client

IRIS = "/api/v1/namespaces/default/pods/iris-0"


async def test_a_log_is_plain_text(client: Client) -> None:
    answer = await client.get(f"{IRIS}/log")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "default/iris-0 started\ndefault/iris-0 ready\n"


async def test_what_makes_no_sense_is_refused_before_the_log_begins(client: Client) -> None:
    answer = await client.get(f"{IRIS}/log", tailLines="-1")
    assert answer.code == 422
    assert answer.json["reason"] == "Invalid"


async def test_deleting_a_pod_is_left_to_whoever_runs_it(client: Client, store: Store) -> None:
    answer = await client.delete(IRIS)
    assert (answer.code, answer.json["kind"]) == (200, "Pod")
    assert store.list(POD) == []


async def test_deleting_a_pod_for_show_deletes_nothing(client: Client, store: Store) -> None:
    answer = await client.delete(IRIS, dryRun="All")
    assert answer.json["metadata"]["name"] == "iris-0"
    assert len(store.list(POD)) == 1


async def test_a_pod_is_not_deleted_in_place_of_another_of_its_name(
    client: Client, store: Store
) -> None:
    answer = await client.send("DELETE", IRIS, {"preconditions": {"uid": "other"}})
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    assert len(store.list(POD)) == 1
    own = store.get(POD, "default", "iris-0")["metadata"]["uid"]
    assert (await client.send("DELETE", IRIS, {"preconditions": {"uid": own}})).code == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("subresource", ["attach", "exec", "portforward"])
async def test_what_only_a_container_has_is_not_implemented(
    client: Client, method: str, subresource: str
) -> None:
    answer = await client.send(method, f"{IRIS}/{subresource}")
    assert (answer.code, answer.json["reason"]) == (501, "NotImplemented")
    assert f"the local cluster has no {subresource}: pod 'iris-0' is a process" in answer.text


@pytest.mark.parametrize(("method", "path"), [("DELETE", ""), ("GET", "/log"), ("POST", "/exec")])
async def test_a_pod_that_there_is_not_is_not_found(client: Client, method: str, path: str) -> None:
    answer = await client.send(method, f"/api/v1/namespaces/default/pods/wine-0{path}")
    assert (answer.code, answer.json["message"]) == (404, 'pods "wine-0" not found')
