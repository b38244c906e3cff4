"""Who may change what, and what a change is refused for."""

from typing import Any

import pytest

from tests.abserve.cluster.api.writes import (
    APPLY,
    COLOURS,
    IRIS,
    JSON_PATCH,
    MAPS,
    SDEPS,
    SECRETS,
    colours,
)
from tests.abserve.cluster.asgi import Answer, Client
from tests.abserve.cluster.documents import config_map, secret, seldon_deployment


@pytest.fixture
async def iris(client: Client) -> dict[str, Any]:
    """The SeldonDeployment iris, as stored."""
    return (await client.post(SDEPS, seldon_deployment())).json


# Concurrency.


async def test_a_custom_resource_is_replaced_only_by_who_has_seen_it(
    client: Client, iris: dict
) -> None:
    answer = await client.put(IRIS, seldon_deployment())
    assert answer.code == 422
    assert (
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        in (answer.json["message"])
    )


async def test_a_built_in_kind_may_be_replaced_unseen(client: Client) -> None:
    await client.post(MAPS, colours(sky="blue"))
    assert (await client.put(COLOURS, colours(sky="grey"))).json["data"] == {"sky": "grey"}


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", JSON_PATCH])
async def test_a_patch_that_names_an_old_version_is_a_conflict(
    client: Client, iris: dict, content_type: str
) -> None:
    version = iris["metadata"]["resourceVersion"]
    await client.patch(IRIS, {"metadata": {"labels": {"a": "b"}}})
    patch: Any = {"metadata": {"resourceVersion": version, "labels": {"a": "c"}}}
    if content_type == JSON_PATCH:
        path = "/metadata/resourceVersion"
        patch = [{"op": "replace", "path": path, "value": version}]
    answer = await client.patch(IRIS, patch, content_type)
    assert (answer.code, answer.json["reason"]) == (409, "Conflict")
    assert "please apply your changes to the latest version and try again" in answer.json["message"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_change_of_an_object_of_another_uid_is_a_conflict(
    client: Client, iris: dict, method: str
) -> None:
    iris["metadata"]["uid"] = "5"
    headers = {"content-type": "application/merge-patch+json"} if method == "PATCH" else {}
    answer = await client.send(method, IRIS, iris, headers)
    assert answer.code == 409
    assert "Precondition failed: UID in precondition: 5" in answer.json["message"]


async def test_what_the_cluster_writes_cannot_be_forged(client: Client, iris: dict) -> None:
    forged = {"generation": 9, "creationTimestamp": "2020-01-01T00:00:00Z"}
    answer = await client.patch(IRIS, {"metadata": forged})
    assert answer.json == iris


async def test_an_object_to_be_created_has_no_version_yet(client: Client) -> None:
    document = config_map("colours", resourceVersion="5")
    answer = await client.post(MAPS, document)
    assert answer.code == 400
    assert "resourceVersion should not be set" in answer.json["message"]


async def test_the_server_can_choose_the_end_of_a_name(client: Client) -> None:
    document = {"metadata": {"generateName": "colours-"}, "data": {}}
    names = [(await client.post(MAPS, document)).json["metadata"]["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(name.startswith("colours-") and len(name) == 13 for name in names)


@pytest.mark.parametrize("prefix", ["Colours_", "", 5, None])
async def test_a_name_cannot_begin_with_what_no_name_has(client: Client, prefix: Any) -> None:
    assert (await client.post(MAPS, {"metadata": {"generateName": prefix}})).code == 422


async def test_an_object_cannot_grow_without_end(client: Client) -> None:
    await client.post(MAPS, colours())
    part = "x" * 1_000_000
    codes = [(await client.patch(COLOURS, {"data": {str(n): part}})).code for n in range(4)]
    assert codes == [200, 200, 200, 413]


# Deleting.


async def delete(client: Client, path: str, body: Any, **query: str) -> Answer:
    return await client.send("DELETE", path, body, **query)


@pytest.mark.parametrize(
    "options",
    [
        {"propagationPolicy": "Foreground"},
        {"propagationPolicy": "Orphan", "gracePeriodSeconds": 0},
        {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"},
        {},
    ],
)
async def test_an_object_is_deleted_however_it_should_be(
    client: Client, iris: dict, options: Any
) -> None:
    assert (await delete(client, IRIS, options)).code == 200
    assert (await client.get(IRIS)).code == 404


@pytest.mark.parametrize(("options", "query"), [({"dryRun": ["All"]}, {}), ({}, {"dryRun": "All"})])
async def test_a_dry_run_of_deleting_deletes_nothing(
    client: Client, iris: dict, options: Any, query: dict[str, str]
) -> None:
    assert (await delete(client, IRIS, options, **query)).code == 200
    assert (await client.get(IRIS)).json == iris


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_only_the_object_that_is_meant_is_deleted(
    client: Client, iris: dict, field: str
) -> None:
    answer = await delete(client, IRIS, {"preconditions": {field: "5"}})
    assert (answer.code, "in the precondition (5)" in answer.json["message"]) == (409, True)
    right = {"preconditions": {field: iris["metadata"][field]}}
    assert (await delete(client, IRIS, right)).code == 200


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"propagationPolicy": "Sideways"}, 422),
        ({"dryRun": ["some"]}, 422),
        ({"dryRun": "All"}, 400),
        ({"preconditions": []}, 200),
        ({"preconditions": [1]}, 400),
        ({"preconditions": {"uid": 5}}, 400),
        ([], 400),
    ],
)
async def test_options_that_a_deletion_cannot_have_are_refused(
    client: Client, iris: dict, options: Any, code: int
) -> None:
    assert (await delete(client, IRIS, options)).code == code
    assert ((await client.get(IRIS)).code == 404) == (code == 200)


async def test_a_collection_can_be_deleted_by_label(client: Client) -> None:
    for name, team in (("a", "blue"), ("b", "red"), ("c", "blue")):
        await client.post(MAPS, config_map(name, labels={"team": team}))
    await client.post(MAPS.replace("default", "shop"), config_map("a", "shop"))
    dry = await delete(client, MAPS, {"dryRun": ["All"]})
    assert len(dry.json["items"]) == 3
    answer = await client.delete(MAPS, labelSelector="team=blue")
    assert answer.json["kind"] == "ConfigMapList"
    assert [each["metadata"]["name"] for each in answer.json["items"]] == ["a", "c"]
    left = (await client.get("/api/v1/configmaps")).json["items"]
    assert [each["metadata"]["namespace"] for each in left] == ["default", "shop"]


# Fields that are misspelt, or written twice.

TWICE = b'{"metadata": {"name": "colours"}, "data": {"sky": "blue", "sky": "grey"}}'


def misspelt() -> dict[str, Any]:
    document = seldon_deployment(lables={"a": "b"})
    document["spec"]["predictors"][1]["trafic"] = 20
    return document


@pytest.mark.parametrize("query", [{"fieldValidation": "Strict"}, {"fieldValidation": "Warn"}, {}])
async def test_a_misspelt_field_is_refused(client: Client, query: dict[str, str]) -> None:
    answer = await client.post(SDEPS, misspelt(), **query)
    assert (answer.code, answer.json["reason"]) == (400, "BadRequest")
    told = answer.json["message"]
    assert 'strict decoding error: unknown field "metadata.lables"' in told
    assert 'unknown field "spec.predictors[1].trafic"' in told
    assert "did you mean traffic?" in told
    assert (await client.get(IRIS)).code == 404


async def test_a_misspelt_field_is_dropped_where_that_is_asked_for(client: Client) -> None:
    answer = await client.post(SDEPS, misspelt(), fieldValidation="Ignore")
    assert (answer.code, answer.json["spec"]) == (201, seldon_deployment()["spec"])
    assert "lables" not in answer.json["metadata"]
    assert "warning" not in answer.headers


@pytest.mark.parametrize("content_type", ["application/merge-patch+json", APPLY])
async def test_a_patch_cannot_add_a_misspelt_field(
    client: Client, iris: dict, content_type: str
) -> None:
    body = {"metadata": {"name": "iris"}, "spec": {"protocl": "v2"}}
    answer = await client.patch(IRIS, body, content_type, fieldManager="anna")
    assert answer.code == 400
    assert 'unknown field "spec.protocl"' in answer.json["message"]


@pytest.mark.parametrize("path", [MAPS, SECRETS])
async def test_a_misspelt_field_of_a_built_in_kind_is_refused_without_its_value(
    client: Client, path: str
) -> None:
    answer = await client.post(path, {"metadata": {"name": "key"}, "dta": {"password": "sesame"}})
    assert answer.code == 400
    assert 'unknown field "dta"' in answer.json["message"]
    assert "sesame" not in answer.text


async def test_a_field_that_is_written_twice_is_refused_strictly(client: Client) -> None:
    answer = await client.post(MAPS, TWICE, fieldValidation="Strict")
    assert answer.code == 400
    assert 'strict decoding error: duplicate field "data.sky"' in answer.json["message"]


async def test_a_field_that_is_written_twice_is_told_in_a_warning(client: Client) -> None:
    answer = await client.post(MAPS, TWICE)
    assert (answer.code, answer.json["data"]) == (201, {"sky": "grey"})
    assert answer.headers["warning"] == '299 - "duplicate field \\"data.sky\\""'


async def test_a_field_that_is_written_twice_can_be_ignored(client: Client) -> None:
    answer = await client.post(MAPS, TWICE, fieldValidation="Ignore")
    assert (answer.code, "warning" in answer.headers) == (201, False)


async def test_of_very_many_faults_the_first_are_told(client: Client) -> None:
    document = {"metadata": {"name": "colours"}, **{f"x{n}": 1 for n in range(500)}}
    answer = await client.post(MAPS, document)
    assert answer.code == 400
    assert answer.json["message"].endswith(", and 480 more")


async def test_a_warning_is_no_longer_than_clients_read(client: Client) -> None:
    name = b"x" * 100_000
    body = b'{"metadata": {"name": "colours"}, "data": {"%b": "a", "%b": "b"}}' % (name, name)
    answer = await client.post(MAPS, body)
    assert answer.code == 201
    assert len(answer.headers["warning"]) < 1100


# What is secret.


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"password": "sesame!"}},
        {"data": {"password": 31337}},
        {"stringData": {"password": 31337}},
        {"stringData": {"password": ["sesame"]}},
        {"data": "sesame"},
        {"type": ["sesame"]},
        {"immutable": "sesame"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH", "apply"])
async def test_no_refusal_tells_the_value_of_a_secret(
    client: Client, change: dict[str, Any], method: str
) -> None:
    document = {**secret(), **change}
    if method == "POST":
        answer = await client.post(SECRETS, document)
    else:
        await client.post(SECRETS, secret(password="b3Blbg=="))
        content_type = APPLY if method == "apply" else "application/merge-patch+json"
        answer = await client.patch(f"{SECRETS}/key", document, content_type, fieldManager="anna")
    assert 400 <= answer.code < 500
    assert not any(word in answer.text for word in ("sesame", "31337", "b3Blbg"))
