"""Server-side apply: who owns what, conflicts, and kubectl's way there and back."""

import json
from typing import Any

import pytest

from abserve.cluster.api import Store
from abserve.cluster.api.field_managers import LAST_APPLIED
from abserve.cluster.api.kinds import SECRET
from tests.abserve.cluster.api.writes import (
    APPLY,
    COLOURS,
    IRIS,
    JSON_PATCH,
    MAPS,
    SDEPS,
    SECRETS,
    apply,
    colours,
    owned,
)
from tests.abserve.cluster.asgi import Client
from tests.abserve.cluster.documents import config_map, secret, seldon_deployment


@pytest.fixture
async def iris(client: Client) -> dict[str, Any]:
    """The SeldonDeployment iris, as stored."""
    return (await client.post(SDEPS, seldon_deployment())).json


# Applying.


async def test_applying_creates_what_is_missing(client: Client) -> None:
    answer = await apply(client, COLOURS, colours(sky="blue"))
    assert answer.code == 201
    [entry] = answer.json["metadata"]["managedFields"]
    assert entry == {
        "manager": "anna",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": "2024-05-01T12:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:sky": {}}},
    }


async def test_applying_changes_what_is_there(client: Client) -> None:
    await apply(client, COLOURS, colours(sky="blue", sea="green"))
    answer = await apply(client, COLOURS, colours(sky="grey"))
    assert (answer.code, answer.json["data"]) == (200, {"sky": "grey"})


async def test_applying_the_same_again_is_no_change(client: Client, store: Store) -> None:
    first = await apply(client, IRIS, seldon_deployment())
    version = store.version
    assert (await apply(client, IRIS, seldon_deployment())).json == first.json
    assert store.version == version


async def test_yaml_can_be_applied(client: Client) -> None:
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: colours}\ndata:\n  sky: blue\n"
    assert (await apply(client, COLOURS, body)).json["data"] == {"sky": "blue"}


async def test_two_appliers_of_different_fields_do_not_meet(client: Client) -> None:
    await apply(client, COLOURS, colours(sky="blue"), "anna")
    answer = await apply(client, COLOURS, colours(sea="green"), "bert")
    assert answer.json["data"] == {"sky": "blue", "sea": "green"}
    assert owned(answer.json) == {
        "anna applies": {"f:data": {"f:sky": {}}},
        "bert applies": {"f:data": {"f:sea": {}}},
    }


async def test_a_conflict_is_told_as_kubernetes_tells_it(client: Client) -> None:
    await apply(client, COLOURS, colours(sky="blue"), "anna")
    answer = await apply(client, COLOURS, colours(sky="grey"), "bert")
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    assert answer.json["message"] == (
        'Apply failed with 1 conflict: conflict with "anna": .data.sky'
    )
    assert answer.json["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "anna"',
            "field": ".data.sky",
        }
    ]
    assert (await client.get(COLOURS)).json["data"] == {"sky": "blue"}


async def test_several_conflicts_are_listed_by_manager(client: Client) -> None:
    await client.post(MAPS, colours(sky="blue", sea="green"), fieldManager="kubectl-create")
    await apply(client, COLOURS, colours(sun="red"), "anna")
    answer = await apply(client, COLOURS, colours(sky="x", sea="x", sun="x"), "bert")
    assert answer.json["message"] == (
        "Apply failed with 3 conflicts: "
        'conflicts with "anna":\n- .data.sun\n'
        'conflicts with "kubectl-create" using v1:\n- .data.sea\n- .data.sky'
    )


async def test_force_takes_what_others_own(client: Client) -> None:
    await apply(client, COLOURS, colours(sky="blue", sea="green"), "anna")
    answer = await apply(client, COLOURS, colours(sky="grey"), "bert", force="true")
    assert answer.json["data"] == {"sky": "grey", "sea": "green"}
    assert owned(answer.json) == {
        "anna applies": {"f:data": {"f:sea": {}}},
        "bert applies": {"f:data": {"f:sky": {}}},
    }


async def test_predictors_are_owned_as_a_whole(client: Client) -> None:
    await apply(client, IRIS, seldon_deployment(), "anna")
    changed = seldon_deployment()
    for predictor, traffic in zip(changed["spec"]["predictors"], (80, 20), strict=True):
        predictor["traffic"] = traffic
    answer = await apply(client, IRIS, changed, "bert")
    assert [each["field"] for each in answer.json["details"]["causes"]] == [".spec.predictors"]


async def test_what_was_there_before_the_first_apply_is_owned_too(
    client: Client, store: Store
) -> None:
    store.create(SECRET, secret(a="YQ=="))
    answer = await apply(client, f"{SECRETS}/key", secret(a="Yg=="), "bert")
    assert 'conflict with "before-first-apply" using v1: .data.a' in answer.json["message"]


async def test_applying_is_admitted_like_any_other_change(client: Client) -> None:
    document = seldon_deployment()
    document["spec"]["transport"] = "pigeon"
    assert (await apply(client, IRIS, document)).code == 422
    assert (await client.get(IRIS)).code == 404


async def test_a_dry_run_of_applying_changes_nothing(client: Client, store: Store) -> None:
    assert (await apply(client, COLOURS, colours(sky="blue"), dryRun="All")).code == 201
    await apply(client, COLOURS, colours(sky="blue"))
    version = store.version
    answer = await apply(client, COLOURS, colours(sky="grey"), dryRun="All")
    assert answer.json["data"] == {"sky": "grey"}
    assert store.version == version


@pytest.mark.parametrize(
    ("query", "code", "word"),
    [
        ({}, 422, "fieldManager: Required value: is required for apply patch"),
        ({"fieldManager": "x" * 129}, 422, "fieldManager"),
        ({"fieldManager": "a\nb"}, 422, "printable"),
        ({"fieldManager": "a", "force": "maybe"}, 400, "force"),
        ({"fieldManager": "a", "fieldValidation": "Lax"}, 422, "fieldValidation"),
    ],
)
async def test_options_that_an_apply_cannot_have_are_refused(
    client: Client, query: dict[str, str], code: int, word: str
) -> None:
    answer = await client.patch(COLOURS, colours(sky="blue"), APPLY, **query)
    assert answer.code == code
    assert word in answer.json["message"]


async def test_force_is_only_for_applying(client: Client, iris: dict) -> None:
    answer = await client.patch(IRIS, {}, force="true")
    assert answer.code == 422
    assert "force: Forbidden: may not be specified for non-apply patch" in answer.json["message"]


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"name": "shapes"}, 400),
        ({"name": "colours", "namespace": "shop"}, 400),
        ({"name": "colours", "managedFields": [{"manager": "anna"}]}, 400),
        ({"name": "colours", "uid": "5"}, 409),
        ({"name": "colours", "resourceVersion": "5"}, 409),
        ({}, 422),
        ("colours", 400),
    ],
)
async def test_metadata_that_an_apply_cannot_have_is_refused(
    client: Client, metadata: Any, code: int
) -> None:
    assert (await apply(client, COLOURS, {"metadata": metadata, "data": {}})).code == code
    assert (await client.get(COLOURS)).code == 404


@pytest.mark.parametrize("body", [b"", b"[]", b"a: [", b"a: b: c", b"- " * 200])
async def test_a_malformed_apply_is_a_bad_request(client: Client, body: bytes) -> None:
    assert (await apply(client, COLOURS, body)).code == 400


async def test_applying_an_old_version_is_a_conflict(client: Client) -> None:
    first = (await apply(client, COLOURS, colours(sky="blue"))).json
    await apply(client, COLOURS, colours(sky="grey"))
    stale = colours(sky="red")
    stale["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"]
    answer = await apply(client, COLOURS, stale)
    assert (answer.code, "has been modified" in answer.json["message"]) == (409, True)


async def test_applying_in_a_missing_namespace_is_refused(client: Client) -> None:
    path = COLOURS.replace("default", "nowhere")
    answer = await apply(client, path, {"metadata": {"name": "colours"}})
    assert answer.json["message"] == 'namespaces "nowhere" not found'


# What other writes leave in the entries.


async def test_every_write_notes_its_manager(client: Client) -> None:
    agent = {"user-agent": "kubectl/v1.31 (linux)"}
    await client.send("POST", MAPS, colours(sky="blue"), agent)
    merge = {**agent, "content-type": "application/merge-patch+json"}
    await client.send("PATCH", COLOURS, {"data": {"sea": "green"}}, merge, fieldManager="bert")
    operations = [{"op": "add", "path": "/metadata/labels", "value": {"a": "b"}}]
    await client.patch(COLOURS, operations, JSON_PATCH, fieldManager="carl")
    stored = (await client.get(COLOURS)).json
    stored["data"]["sun"] = "red"
    answer = await client.put(COLOURS, stored, fieldManager="dora")
    assert owned(answer.json) == {
        "kubectl": {"f:data": {".": {}, "f:sky": {}}},
        "bert": {"f:data": {"f:sea": {}}},
        "carl": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}},
        "dora": {"f:data": {"f:sun": {}}},
    }


async def test_who_changes_a_field_takes_it_from_who_applied_it(client: Client) -> None:
    await apply(client, COLOURS, colours(sky="blue", sea="green"))
    answer = await client.patch(COLOURS, {"data": {"sky": "grey"}}, fieldManager="bert")
    assert owned(answer.json) == {
        "anna applies": {"f:data": {"f:sea": {}}},
        "bert": {"f:data": {"f:sky": {}}},
    }


async def test_a_manager_that_owns_nothing_any_more_is_not_listed(client: Client) -> None:
    await client.post(MAPS, colours(sky="blue"), fieldManager="anna")
    await client.patch(COLOURS, {"data": {"sea": "green"}}, fieldManager="bert")
    answer = await client.patch(COLOURS, {"data": {"sea": None}}, fieldManager="carl")
    assert set(owned(answer.json)) == {"anna"}


async def test_a_client_that_sends_no_entries_keeps_those_there_are(client: Client) -> None:
    first = (await client.post(MAPS, colours(sky="blue"), fieldManager="anna")).json
    answer = await client.put(COLOURS, colours(sky="blue"), fieldManager="bert")
    assert answer.json == first


@pytest.mark.parametrize(
    "entries",
    [
        [{"manager": "anna"}],
        [{"manager": "a", "operation": "Steal", "fieldsType": "FieldsV1"}],
    ],
)
async def test_entries_that_cannot_be_read_change_nothing(client: Client, entries: Any) -> None:
    first = (await client.post(MAPS, colours(sky="blue"), fieldManager="anna")).json
    patch = [{"op": "add", "path": "/metadata/managedFields", "value": entries}]
    answer = await client.patch(COLOURS, patch, JSON_PATCH)
    assert answer.json == first


async def test_a_client_can_clear_the_entries(client: Client) -> None:
    await client.post(MAPS, colours(sky="blue"), fieldManager="anna")
    answer = await client.patch(COLOURS, {"metadata": {"managedFields": [{}]}})
    assert "managedFields" not in answer.json["metadata"]
    answer = await client.patch(COLOURS, {"data": {"sky": "grey"}})
    assert "managedFields" not in answer.json["metadata"]


async def test_a_client_can_rewrite_the_entries(client: Client) -> None:
    stored = (await client.post(MAPS, colours(sky="blue"), fieldManager="anna")).json
    [entry] = stored["metadata"]["managedFields"]
    entry.update({"manager": "bert", "operation": "Apply", "fieldsV1": {"f:data": {"f:sky": {}}}})
    await client.put(COLOURS, stored)
    assert (await apply(client, COLOURS, colours(), "bert")).json.get("data", {}) == {}


# From kubectl's own apply to the server's, and back.


@pytest.fixture
async def client_applied(client: Client) -> dict[str, Any]:
    """Colours as kubectl apply creates them."""
    document = colours(sky="blue", sea="green")
    noted = {"annotations": {LAST_APPLIED: json.dumps(document)}}
    document["metadata"] = {**document["metadata"], **noted}
    return (await client.post(MAPS, document, fieldManager="kubectl-client-side-apply")).json


@pytest.mark.usefixtures("client_applied")
async def test_what_kubectl_applied_itself_is_no_conflict_for_it(client: Client) -> None:
    answer = await apply(client, COLOURS, colours(sky="grey", sea="green"), "kubectl")
    assert answer.json["data"] == {"sky": "grey", "sea": "green"}


@pytest.mark.usefixtures("client_applied")
async def test_what_kubectl_applied_itself_is_a_conflict_for_others(client: Client) -> None:
    answer = await apply(client, COLOURS, colours(sky="grey"), "bert")
    assert "kubectl-client-side-apply" in answer.json["message"]


@pytest.mark.usefixtures("client_applied")
async def test_what_was_changed_since_is_a_conflict_for_kubectl(client: Client) -> None:
    await client.patch(COLOURS, {"data": {"sky": "black"}}, fieldManager="bert")
    answer = await apply(client, COLOURS, colours(sky="grey", sea="red"), "kubectl")
    assert answer.json["message"] == (
        'Apply failed with 1 conflict: conflict with "bert" using v1: .data.sky'
    )


@pytest.mark.usefixtures("client_applied")
async def test_the_note_of_what_kubectl_applied_is_kept_up_to_date(client: Client) -> None:
    answer = await apply(client, COLOURS, colours(sky="grey"), "kubectl")
    noted = json.loads(answer.json["metadata"]["annotations"][LAST_APPLIED])
    assert noted["data"] == {"sky": "grey"}


@pytest.mark.parametrize("note", ["", "no JSON", "[]", "5", '{"apiVersion": "v2"}', "[" * 9999])
async def test_a_note_that_kubectl_did_not_write_makes_no_exception(
    client: Client, note: str
) -> None:
    document = config_map("colours", annotations={LAST_APPLIED: note})
    await client.post(MAPS, document, fieldManager="bert")
    assert (await apply(client, COLOURS, colours(colour="red"), "kubectl")).code == 409
