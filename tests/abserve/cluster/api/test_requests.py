from typing import Any

import pytest

from abserve.cluster.api.bodies import parse_json
from abserve.cluster.api.kinds import CONFIG_MAP, NAMESPACE, SELDON_DEPLOYMENT
from abserve.cluster.api.requests import check_document
from abserve.cluster.api.status import ApiError
from tests.abserve.cluster.asgi import HEADERS, TOKEN, Client
from tests.abserve.cluster.documents import config_map, namespace, seldon_deployment

MAPS = "/api/v1/namespaces/default/configmaps"
LARGEST_BODY_BYTES = 1_572_864


def check(document: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    return check_document(CONFIG_MAP, document, "default", name)


def refusal(document: dict[str, Any], name: str | None = None) -> ApiError:
    with pytest.raises(ApiError) as caught:
        check(document, name)
    return caught.value


@pytest.mark.parametrize("given", ["Bearer other", "Bearer ", f"Basic {TOKEN}", TOKEN, ""])
async def test_a_wrong_token_is_unauthorized(client: Client, given: str) -> None:
    answer = await client.send("GET", MAPS, headers={"authorization": given})
    assert (answer.code, answer.json["reason"]) == (401, "Unauthorized")
    assert "kubeconfig" in answer.json["message"]


async def test_a_missing_token_is_unauthorized(client: Client) -> None:
    answer = await client.send_chunks("GET", MAPS, [b""], {"host": "127.0.0.1:6443"})
    assert answer.code == 401


@pytest.mark.parametrize("path", ["/version", "/api", "/apis", "/healthz", "/openapi/v3", MAPS])
async def test_no_path_answers_without_the_token(client: Client, path: str) -> None:
    assert (await client.send("GET", path, headers={"authorization": "no"})).code == 401


async def test_a_refused_request_changes_nothing(client: Client) -> None:
    await client.send("POST", MAPS, config_map("colours"), {"authorization": "no"})
    assert (await client.get(f"{MAPS}/colours")).code == 404


@pytest.mark.parametrize("host", ["localhost", "localhost:6443", "127.0.0.1", "127.0.0.1:6443"])
async def test_this_machine_goes_by_two_names(client: Client, host: str) -> None:
    assert (await client.send("GET", MAPS, headers={"host": host})).code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io:6443", "10.0.0.1", "", "["]
)
async def test_a_request_under_a_foreign_name_is_forbidden(client: Client, host: str) -> None:
    answer = await client.send("GET", MAPS, headers={"host": host})
    assert (answer.code, answer.json["reason"]) == (403, "Forbidden")


async def test_a_body_of_the_largest_size_is_read(client: Client) -> None:
    document = config_map("colours")
    document["data"] = {"colour": ""}
    padding = LARGEST_BODY_BYTES - len(str(document))
    document["data"] = {"colour": "x" * padding}
    assert (await client.post(MAPS, document)).code == 201


async def test_a_body_that_is_too_large_is_refused_before_it_has_arrived(client: Client) -> None:
    chunks = (b" " * (LARGEST_BODY_BYTES // 2) for _ in range(4))
    answer = await client.send_chunks("POST", MAPS, chunks, HEADERS)
    assert (answer.code, answer.json["reason"]) == (413, "RequestEntityTooLarge")


async def test_a_body_may_arrive_in_parts(client: Client) -> None:
    chunks = [b'{"metadata": {"na', b'me": "colours"}}']
    assert (await client.send_chunks("POST", MAPS, chunks)).code == 201


def test_patches_cannot_make_an_object_too_deep() -> None:
    document = config_map("colours")
    document["data"]["deep"] = parse_json(b"[" * 99 + b"]" * 99).value
    assert refusal(document).code == 400


def test_what_the_path_says_is_filled_in() -> None:
    checked = check({"metadata": {"name": "colours"}})
    assert checked == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "colours", "namespace": "default"},
    }


def test_checking_leaves_what_was_sent_alone() -> None:
    sent: dict[str, Any] = {"metadata": {"name": "colours"}}
    check(sent)
    assert sent == {"metadata": {"name": "colours"}}


@pytest.mark.parametrize(
    ("field", "value"),
    [("kind", "Secret"), ("kind", 5), ("apiVersion", "v2"), ("apiVersion", "apps/v1")],
)
def test_an_object_of_another_kind_is_refused_with_the_kind_expected(
    field: str, value: Any
) -> None:
    refused = refusal({**config_map("colours"), field: value})
    assert refused.code == 400
    assert f"{field} is {value!r}" in str(refused)


@pytest.mark.parametrize("metadata", [None, [], "colours"])
def test_an_object_without_metadata_is_refused(metadata: Any) -> None:
    assert "metadata is missing" in str(refusal({"metadata": metadata}))


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        5,
        "Iris",
        "iris_1",
        "-iris",
        "iris-",
        ".iris",
        "iris/../x",
        "a" * 254,
        "ir\nis",
        "é",
    ],
)
def test_a_name_that_dns_would_not_take_is_refused(name: Any) -> None:
    refused = refusal({"metadata": {"name": name}})
    assert refused.code == 422
    assert refused.status["details"]["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize("name", ["a", "7", "iris-v1", "kube-root-ca.crt", "a" * 253])
def test_a_dns_name_is_taken(name: str) -> None:
    assert check({"metadata": {"name": name}})["metadata"]["name"] == name


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_the_name_of_a_namespace_is_a_single_label(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_document(NAMESPACE, namespace(name), "", None)
    assert caught.value.code == 422


def test_an_object_of_another_name_than_the_path_is_refused() -> None:
    assert "named 'colours', the path 'shapes'" in str(refusal(config_map("colours"), "shapes"))


def test_an_object_of_another_namespace_than_the_path_is_refused() -> None:
    refused = refusal(config_map("colours", "shop"))
    assert refused.code == 400
    assert "of namespace 'shop', the path of 'default'" in str(refused)


def test_metadata_that_holds_nothing_is_left_out() -> None:
    given = config_map("colours", labels={}, annotations=None, creationTimestamp=None)
    assert check(given) == config_map("colours")


@pytest.mark.parametrize("field", ["labels", "annotations"])
@pytest.mark.parametrize("entries", [{"a": 1}, {"a": None}, {"a": {}}, ["a"], "a"])
def test_labels_and_annotations_map_strings_to_strings(field: str, entries: Any) -> None:
    refused = refusal(config_map("colours", **{field: entries}))
    assert refused.code == 400
    assert f"metadata.{field} must map strings to strings" in str(refused)


def test_a_seldon_deployment_is_checked_against_its_own_group() -> None:
    document = {**seldon_deployment(), "apiVersion": "machinelearning.seldon.io/v1alpha2"}
    with pytest.raises(ApiError, match=r"this path takes .machinelearning\.seldon\.io/v1.$"):
        check_document(SELDON_DEPLOYMENT, document, "default", None)
