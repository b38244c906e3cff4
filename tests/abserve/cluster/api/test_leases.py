"""Leases, and events, as clients write them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.kinds import EVENT, LEASE, SELDON_DEPLOYMENT
from abserve.cluster.events import record_event
from abserve.cluster.state import State
from tests.abserve.cluster.api.writes import apply
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import seldon_deployment

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
IRIS = f"{LEASES}/iris"
EVENTS = "/api/v1/namespaces/default/events"
NOW = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)


def lease(holder: str = "anna", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "iris"},
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": 15,
            "acquireTime": "2024-05-01T12:00:00.000000Z",
            "renewTime": "2024-05-01T12:00:02.123456Z",
            "leaseTransitions": 0,
            **spec,
        },
    }


def event(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": "iris.", "namespace": "default"},
        "involvedObject": {"kind": "SeldonDeployment", "name": "iris", "namespace": "default"},
        "type": "Normal",
        "reason": "Promoted",
        "message": "candidate is better",
        "reportingComponent": "abserve-rollout",
        "firstTimestamp": None,
        "lastTimestamp": None,
        **fields,
    }


async def test_a_lease_is_written_and_read(client: Client) -> None:
    created = await client.post(LEASES, lease())
    assert created.code == 201
    assert created.json["metadata"]["namespace"] == "default"
    assert (await client.get(IRIS)).json["spec"] == lease()["spec"]
    assert len((await client.get("/apis/coordination.k8s.io/v1/leases")).json["items"]) == 1
    changed = await client.patch(IRIS, {"spec": {"holderIdentity": "bert"}})
    assert changed.json["spec"]["holderIdentity"] == "bert"
    assert (await client.delete(IRIS)).code == 200
    assert (await client.get(IRIS)).code == 404


async def test_of_two_updates_of_one_version_one_is_a_conflict(client: Client) -> None:
    seen = (await client.post(LEASES, lease())).json
    first, second = [
        await client.put(IRIS, {**seen, "spec": lease(holder)["spec"]})
        for holder in ("bert", "carl")
    ]
    assert (first.code, second.code) == (200, 409)
    assert second.json["reason"] == "Conflict"
    assert (await client.get(IRIS)).json["spec"]["holderIdentity"] == "bert"


async def test_a_lease_is_applied(client: Client) -> None:
    assert (await apply(client, IRIS, lease())).code == 201
    refused = await apply(client, IRIS, lease("bert"), manager="bert")
    assert refused.code == 409
    assert ".spec.holderIdentity" in refused.json["message"]


async def test_changes_of_a_lease_are_watched(client: Client) -> None:
    seen = (await client.post(LEASES, lease())).json
    version = seen["metadata"]["resourceVersion"]
    async with client.watch(LEASES, resourceVersion=version) as events:
        await client.put(IRIS, {**seen, "spec": lease("bert")["spec"]})
        await client.delete(IRIS)
        assert await events.names(2) == [("MODIFIED", "iris"), ("DELETED", "iris")]


async def test_a_table_of_leases_tells_who_holds_them(client: Client) -> None:
    await client.post(LEASES, lease())
    (row,) = (await client.table(LEASES)).json["rows"]
    assert row["cells"] == ["iris", "anna", "0s"]


async def test_a_lease_that_was_released_has_an_empty_holder(client: Client) -> None:
    await client.post(LEASES, lease("", leaseDurationSeconds=1, acquireTime=None))
    (row,) = (await client.table(LEASES)).json["rows"]
    assert row["cells"] == ["iris", "", "0s"]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("leaseDurationSeconds", 0, "expected at least 1"),
        ("leaseDurationSeconds", "15", "expected a whole number"),
        ("leaseTransitions", -1, "expected at least 0"),
        ("renewTime", "2024-05-01T12:00:00Z", "expected a time to the microsecond"),
        ("renewTime", "2024-06-31T12:00:00.000000Z", "expected a time to the microsecond"),
    ],
)
async def test_what_kubernetes_would_not_take_in_a_lease_is_refused(
    field: str, value: Any, told: str, client: Client
) -> None:
    refused = await client.post(LEASES, lease(**{field: value}))
    assert refused.code == 422
    (cause,) = refused.json["details"]["causes"]
    assert cause["field"] == f"spec.{field}"
    assert told in cause["message"]


async def test_a_misspelt_field_of_a_lease_is_named(client: Client) -> None:
    refused = await client.post(LEASES, lease(holder="anna", holderIdentitty="bert"))
    assert refused.code == 400
    assert "did you mean holderIdentity?" in refused.json["message"]


async def test_leases_outlive_the_process(tmp_path: Path) -> None:
    document = lease()
    document["metadata"]["namespace"] = "default"
    Store(lambda: NOW, State(tmp_path / "state.db")).create(LEASE, document)
    kept = Store(lambda: NOW, State(tmp_path / "state.db")).get(LEASE, "default", "iris")
    assert kept["spec"] == lease()["spec"]


# Events.


async def test_a_client_tells_what_happened(client: Client) -> None:
    created = await client.post(EVENTS, event())
    assert created.code == 201
    assert created.json["metadata"]["name"].startswith("iris.")
    (row,) = (await client.table(EVENTS)).json["rows"]
    assert row["cells"][:4] == ["<unknown>", "Normal", "Promoted", "seldondeployment/iris"]


async def test_an_event_counts_up_by_a_patch(client: Client) -> None:
    name = (await client.post(EVENTS, event(count=1))).json["metadata"]["name"]
    changed = await client.patch(
        f"{EVENTS}/{name}", {"count": 2}, "application/strategic-merge-patch+json"
    )
    assert changed.json["count"] == 2


async def test_an_event_of_no_known_type_is_refused(client: Client) -> None:
    assert (await client.post(EVENTS, event(type="Fine"))).code == 422


async def test_what_clients_tell_does_not_keep_the_cluster_from_telling(
    client: Client, store: Store
) -> None:
    await client.post(EVENTS, event(involvedObject={}, reason="Available", message="it serves"))
    about = store.create(SELDON_DEPLOYMENT, seldon_deployment())
    for _ in range(2):
        record_event(store, about, "Normal", "Available", "it serves", NOW)
    assert sorted(each.get("count", 0) for each in store.list(EVENT, "default")) == [0, 2]
